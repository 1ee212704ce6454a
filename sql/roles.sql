-- Who acts, and what they may do.

CREATE FUNCTION etl._acting_role() RETURNS name
LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'etl_acting_role';
COMMENT ON FUNCTION etl._acting_role() IS 'the role that called, also inside functions that run with the extension''s rights';

CREATE FUNCTION etl._is_member(role_name name, member name) RETURNS boolean
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'etl_is_member';
COMMENT ON FUNCTION etl._is_member(name, name) IS 'whether member has the rights of role_name; false, not an error, when either is gone';

-- Asked for every row of a view, hence in C.
CREATE FUNCTION etl._owns(owner name) RETURNS boolean
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'etl_owns';
COMMENT ON FUNCTION etl._owns(name) IS 'filter of columns that show data: the owner''s role and its members';
CREATE FUNCTION etl._may_see(owner name) RETURNS boolean
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'etl_may_see';
COMMENT ON FUNCTION etl._may_see(name) IS 'row filter of the views: the owner''s role and its members, and those of etl_reader';

CREATE FUNCTION etl._may_operate(owner name, role_name name) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT etl._is_member(owner, role_name) OR etl._is_member('etl_operator', role_name) $$;
COMMENT ON FUNCTION etl._may_operate(name, name) IS 'whether a role may run, cancel, pause and resume pipelines of that owner';

-- Raises unless the acting role may change the pipeline; returns the pipeline.
CREATE FUNCTION etl._own_pipeline_as_owner(pipeline text) RETURNS etl.pipeline
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found_pipeline etl.pipeline;
BEGIN
	SELECT * INTO found_pipeline FROM etl.pipeline p WHERE p.pipeline = _own_pipeline_as_owner.pipeline;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'pipeline "%" does not exist', pipeline
			USING ERRCODE = 'undefined_object',
				  HINT = coalesce('Declared pipelines are: '
					|| (SELECT string_agg(p.pipeline, ', ' ORDER BY p.pipeline) FROM etl.pipeline p
						WHERE etl._is_member(p.owner, etl._acting_role())) || '.',
					'Declare one with etl.create_pipeline or etl.install.');
	END IF;
	IF NOT etl._is_member(found_pipeline.owner, etl._acting_role()) THEN
		RAISE EXCEPTION 'permission denied for pipeline "%"', pipeline
			USING ERRCODE = 'insufficient_privilege',
				  DETAIL = format('It belongs to role "%s".', found_pipeline.owner),
				  HINT = 'Only its owner, members of the owner''s role and superusers may change it.';
	END IF;
	RETURN found_pipeline;
END
$$;
CREATE FUNCTION etl._own_pipeline(pipeline text) RETURNS etl.pipeline
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._own_pipeline_as_owner(text) IS 'does what etl._own_pipeline does, with the rights of the extension';
COMMENT ON FUNCTION etl._own_pipeline(text) IS 'the pipeline, if the acting role may change it; an error otherwise';

-- Declarations of one pipeline queue on its row.  A statement of its own: the row as it is
-- after the wait, not as it was when the waiting began.
CREATE FUNCTION etl._lock_own_pipeline(pipeline text) RETURNS etl.pipeline
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline;
BEGIN
	PERFORM FROM etl.pipeline x WHERE x.pipeline = _lock_own_pipeline.pipeline FOR UPDATE;
	p := etl._own_pipeline(pipeline);
	RETURN p;
END
$$;
COMMENT ON FUNCTION etl._lock_own_pipeline(text) IS 'the pipeline, locked, if the acting role may change it; for functions that run with the rights of the extension';

-- The same for who may run and pause it, but not change it.
CREATE FUNCTION etl._operated_pipeline(pipeline text) RETURNS etl.pipeline
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found_pipeline etl.pipeline;
BEGIN
	SELECT * INTO found_pipeline FROM etl.pipeline p WHERE p.pipeline = _operated_pipeline.pipeline;
	IF NOT FOUND OR etl._is_member(found_pipeline.owner, etl._acting_role()) THEN
		RETURN etl._own_pipeline(pipeline);
	END IF;
	IF NOT etl._may_operate(found_pipeline.owner, etl._acting_role()) THEN
		RAISE EXCEPTION 'permission denied for pipeline "%"', pipeline
			USING ERRCODE = 'insufficient_privilege', DETAIL = format('It belongs to role "%s".', found_pipeline.owner),
				  HINT = 'Only its owner, members of the owner''s role or of etl_operator, and superusers may run, pause or cancel it.';
	END IF;
	RETURN found_pipeline;
END
$$;
COMMENT ON FUNCTION etl._operated_pipeline(text) IS 'the pipeline, if the acting role may operate it; for functions that run with the rights of the extension';

-- For functions that run with the rights of the extension: whoever made them act, what
-- happens to a run is logged.
CREATE FUNCTION etl._write_log(level text, pipeline text, run_id bigint, task text, message text, detail jsonb DEFAULT NULL) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO etl.log_entry (level, pipeline, owner, run_id, task, message, detail)
	SELECT level, r.pipeline, r.owner, r.run_id, task, message, detail FROM etl.run r WHERE r.run_id = _write_log.run_id
$$;
COMMENT ON FUNCTION etl._write_log(text, text, bigint, text, text, jsonb) IS 'adds an entry to etl.log';

CREATE FUNCTION etl._log_as_owner(level text, pipeline text, run_id bigint, task text, message text, detail jsonb) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
	SELECT etl._write_log(level, pipeline, r.run_id, task, message, detail)
	FROM etl.run r WHERE r.run_id = _log_as_owner.run_id AND etl._is_member(r.owner, etl._acting_role())
$$;
CREATE FUNCTION etl._log(level text, pipeline text, run_id bigint, task text, message text, detail jsonb DEFAULT NULL) RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._log_as_owner(text, text, bigint, text, text, jsonb) IS 'does what etl._log does, with the rights of the extension';
COMMENT ON FUNCTION etl._log(text, text, bigint, text, text, jsonb) IS 'adds an entry to etl.log for a pipeline of the acting role';

CREATE FUNCTION etl._database_identity() RETURNS TABLE (system_identifier bigint, database_oid oid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT s.system_identifier, d.oid FROM pg_control_system() s, pg_database d WHERE d.datname = current_database()
$$;
COMMENT ON FUNCTION etl._database_identity() IS 'what tells this database from a restored or cloned copy of it';

CREATE FUNCTION etl._is_copy() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT EXISTS (SELECT FROM etl.instance i, etl._database_identity() d
				   WHERE (i.system_identifier, i.database_oid) IS DISTINCT FROM (d.system_identifier, d.database_oid))
$$;
COMMENT ON FUNCTION etl._is_copy() IS 'whether the pipelines were declared in another database: this one was restored or cloned and is paused until etl.resume()';

CREATE FUNCTION etl._claim_instance() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO etl.instance (system_identifier, database_oid) SELECT * FROM etl._database_identity()
	ON CONFLICT (singleton) DO NOTHING
$$;
COMMENT ON FUNCTION etl._claim_instance() IS 'remembers, at the first declaration, which database the pipelines belong to';
