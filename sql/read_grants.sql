-- Who may read what a pipeline publishes: remembered, and given for targets declared later.
-- Rights are granted by the owner of the tables, in declarations too.

CREATE TABLE etl.read_grant (
	pipeline   text NOT NULL,
	role_name  name NOT NULL,
	granted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (pipeline, role_name)
);
COMMENT ON TABLE etl.read_grant IS 'roles that may read the targets of a pipeline; changed by etl.grant_read and etl.revoke_read';
SELECT pg_catalog.pg_extension_config_dump('etl.read_grant', '');

CREATE FUNCTION etl._readers_as_owner(pipeline text) RETURNS name[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(array_agg(g.role_name ORDER BY g.role_name), '{}')
	FROM etl._own_pipeline(pipeline) p JOIN etl.read_grant g ON g.pipeline = p.pipeline JOIN pg_roles r ON r.rolname = g.role_name
$$;
CREATE FUNCTION etl._readers(pipeline text) RETURNS name[]
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._readers_as_owner(text) IS 'does what etl._readers does, with the rights of the extension';
COMMENT ON FUNCTION etl._readers(text) IS 'the roles that etl.grant_read was called for, as far as there still are such';

CREATE FUNCTION etl._remember_reader_as_owner(pipeline text, role_name name, remember boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline := etl._lock_own_pipeline(pipeline);
BEGIN
	IF remember THEN
		INSERT INTO etl.read_grant (pipeline, role_name) VALUES (p.pipeline, role_name) ON CONFLICT DO NOTHING;
	ELSE
		DELETE FROM etl.read_grant g WHERE g.pipeline = p.pipeline AND g.role_name = _remember_reader_as_owner.role_name;
	END IF;
END
$$;
CREATE FUNCTION etl._remember_reader(pipeline text, role_name name, remember boolean) RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._remember_reader_as_owner(text, name, boolean) IS 'does what etl._remember_reader does, with the rights of the extension';
COMMENT ON FUNCTION etl._remember_reader(text, name, boolean) IS 'remembers, or forgets, a role that may read a pipeline''s targets';

-- What a load publishes: its target and the view of it; neither raw nor observations.
CREATE FUNCTION etl._published_relations(schema_name name, relation_name name) RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT r FROM unnest('{"",vr_}'::text[]) p(prefix), etl._relation(schema_name, (p.prefix || relation_name)::name) r WHERE r IS NOT NULL $$;
COMMENT ON FUNCTION etl._published_relations(name, name) IS 'the relations of a load that readers read';

CREATE FUNCTION etl._grant_target(schema_name name, relation_name name, role_name name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	relation regclass;
BEGIN
	EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', schema_name, role_name);
	FOR relation IN SELECT * FROM etl._published_relations(schema_name, relation_name) LOOP
		EXECUTE format('GRANT SELECT ON %s TO %I', relation, role_name);
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._grant_target(name, name, name) IS 'lets a role read a target and its view';

CREATE FUNCTION etl._check_reader(role_name name) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role_name) THEN
		RAISE EXCEPTION 'role "%" does not exist', coalesce(role_name, 'NULL')
			USING ERRCODE = 'undefined_object', HINT = 'Name a role, for example one that all analysts are members of.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_reader(name) IS 'raises for a role that does not exist';

CREATE FUNCTION etl.grant_read(pipeline text, role name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM etl._own_pipeline(pipeline);
	PERFORM etl._check_reader(role);
	PERFORM etl._remember_reader(pipeline, role, true);
	PERFORM etl._grant_target(t.target_schema, t.target_name, role) FROM etl._tasks(pipeline) t WHERE t.kind = 'load' AND etl._relation(t.target_schema, t.target_name) IS NOT NULL;
END
$$;
COMMENT ON FUNCTION etl.grant_read(text, name) IS
	'lets a role read the targets of a pipeline, those declared later too; not raw, samples or quarantine';

-- USAGE of the schemas stays: what else the role reads there is not known here.
CREATE FUNCTION etl.revoke_read(pipeline text, role name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	relation regclass;
BEGIN
	PERFORM etl._own_pipeline(pipeline);
	PERFORM etl._check_reader(role);
	PERFORM etl._remember_reader(pipeline, role, false);
	FOR relation IN
		SELECT r FROM etl._tasks(pipeline) t, etl._published_relations(t.target_schema, t.target_name) r WHERE t.kind = 'load'
		  -- filled by another pipeline too, and readable by its grant
		  AND NOT EXISTS (SELECT FROM etl._declared_tasks o WHERE o.pipeline <> t.pipeline AND o.kind = 'load'
						  AND o.target_schema = t.target_schema AND o.target_name = t.target_name AND role = ANY (etl._readers(o.pipeline)))
	LOOP
		EXECUTE format('REVOKE SELECT ON %s FROM %I', relation, role);
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl.revoke_read(text, name) IS 'takes back what etl.grant_read gave; USAGE of the schemas stays';
