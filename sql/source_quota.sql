-- What sources have said about their quotas, for the next extraction: until a quota begins
-- anew, nobody has to use a request up to find out that there is none.
--
-- A source may have several quotas and name them (GitHub's "core" and "search"); which of them
-- a request counts in only its answer tells.  So one that has a name holds for the paths whose
-- answers have named it.

CREATE TABLE etl.source_quota (
	server	   oid NOT NULL,
	credential text NOT NULL,
	resource   text NOT NULL,
	remaining  bigint,
	resets_at  timestamptz,
	not_before timestamptz,
	paths	   text[] NOT NULL,
	noted_at   timestamptz NOT NULL,
	PRIMARY KEY (server, credential, resource)
);
COMMENT ON TABLE etl.source_quota IS 'quotas as answers have told them; read etl.source_quotas';
COMMENT ON COLUMN etl.source_quota.server IS 'of pg_foreign_server';
COMMENT ON COLUMN etl.source_quota.credential IS 'a digest of what is sent, or of the OAuth client; empty: nothing is';
COMMENT ON COLUMN etl.source_quota.resource IS 'which quota it is, in the words of the source; empty: it has one';
COMMENT ON COLUMN etl.source_quota.not_before IS 'no request is sent before';
COMMENT ON COLUMN etl.source_quota.paths IS 'of tasks whose answers have told it, as declared';

CREATE FUNCTION etl._known_quotas(task_run_id bigint, attempt integer, server oid)
RETURNS TABLE (credential text, resource text, remaining bigint, resets_at timestamptz, not_before timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t etl.task_run := etl._fence(task_run_id, attempt);
BEGIN
	RETURN QUERY
	SELECT q.credential, q.resource, q.remaining, q.resets_at, q.not_before
	FROM etl.source_quota q
	WHERE q.server = _known_quotas.server AND has_server_privilege(session_user, q.server, 'USAGE')
	  AND greatest(q.resets_at, q.not_before) > clock_timestamp()
	  AND (q.resource = '' OR EXISTS (
		SELECT FROM etl.run r JOIN etl.task d ON d.pipeline = r.pipeline AND d.task = t.task
		WHERE r.run_id = t.run_id AND d.definition ->> 'path' = ANY (q.paths)));
END
$$;
COMMENT ON FUNCTION etl._known_quotas(bigint, integer, oid) IS 'what is known about the quotas that the requests of a task count in';

CREATE FUNCTION etl._note_quotas(task_run_id bigint, attempt integer, server oid, credentials text[], resources text[], remaining bigint[],
	resets_at timestamptz[], not_before timestamptz[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t etl.task_run := etl._fence(task_run_id, attempt);
	path text;
BEGIN
	IF NOT has_server_privilege(session_user, server, 'USAGE') THEN
		RETURN;
	END IF;
	SELECT d.definition ->> 'path' INTO path
	FROM etl.run r JOIN etl.task d ON d.pipeline = r.pipeline AND d.task = t.task WHERE r.run_id = t.run_id;
	DELETE FROM etl.source_quota q WHERE greatest(q.resets_at, q.not_before) < clock_timestamp() - interval '1 day';
	INSERT INTO etl.source_quota AS q (server, credential, resource, remaining, resets_at, not_before, paths, noted_at)
	SELECT server, u.*, array_remove(ARRAY[path], NULL), clock_timestamp()
	FROM unnest(credentials, resources, remaining, resets_at, not_before) u
	ORDER BY 1, 2, 3
	ON CONFLICT ON CONSTRAINT source_quota_pkey DO UPDATE
	SET -- what others have used of the same window meanwhile is used
		remaining = CASE WHEN abs(extract(epoch FROM excluded.resets_at - q.resets_at)) < 5 THEN least(excluded.remaining, q.remaining) ELSE excluded.remaining END,
		resets_at = excluded.resets_at, not_before = excluded.not_before, noted_at = excluded.noted_at,
		paths = CASE WHEN path = ANY (q.paths) OR path IS NULL THEN q.paths ELSE q.paths || path END;
END
$$;
COMMENT ON FUNCTION etl._note_quotas(bigint, integer, oid, text[], text[], bigint[], timestamptz[], timestamptz[]) IS
	'keeps what answers have told about quotas of a server';

CREATE FUNCTION etl._forget_quotas_as_owner(server text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	forgotten bigint;
BEGIN
	IF NOT has_server_privilege(etl._acting_role(), server, 'USAGE') THEN
		RAISE EXCEPTION 'permission denied for server "%"', server
			USING ERRCODE = 'insufficient_privilege', HINT = 'Its owner can GRANT USAGE ON FOREIGN SERVER.';
	END IF;
	DELETE FROM etl.source_quota q USING pg_foreign_server s WHERE s.srvname = _forget_quotas_as_owner.server AND q.server = s.oid;
	GET DIAGNOSTICS forgotten = ROW_COUNT;
	RETURN forgotten;
END
$$;
CREATE FUNCTION etl.forget_quotas(server text) RETURNS bigint
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._forget_quotas_as_owner(text) IS 'does what etl.forget_quotas does, with the rights of the extension';
COMMENT ON FUNCTION etl.forget_quotas(text) IS 'forgets what a source has said about its quotas: the next extraction asks, whatever it said; returns how many there were';

CREATE VIEW etl.source_quotas WITH (security_barrier) AS
	SELECT s.srvname AS server, pg_catalog.row_number() OVER (PARTITION BY q.server, q.resource ORDER BY q.credential) AS credential,
		   NULLIF(q.resource, '') AS resource, q.remaining, q.resets_at, q.not_before, q.noted_at
	FROM etl.source_quota q JOIN pg_catalog.pg_foreign_server s ON s.oid = q.server
	WHERE GREATEST(q.resets_at, q.not_before) > pg_catalog.clock_timestamp()
	  AND (pg_catalog.has_server_privilege(s.oid, 'USAGE') OR etl._may_see(pg_catalog.pg_get_userbyid(s.srvowner)));
COMMENT ON VIEW etl.source_quotas IS 'what sources have said about their quotas that still holds: a row a credential, and a quota that has a name';
