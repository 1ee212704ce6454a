-- Declaring tasks.  Everything is checked here, so that a run fails for what the source
-- or the data do, not for what was written down.

CREATE FUNCTION etl._task_name(pipeline text, written text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- a check is named freely; raw.select and raw."select" are one table
	IF EXISTS (SELECT FROM etl._tasks(pipeline) t WHERE t.task = written) THEN
		RETURN written;
	END IF;
	RETURN (SELECT etl._full_name(n.schema_name, n.relation_name) FROM etl._parse_name(written) n);
EXCEPTION WHEN invalid_name OR name_too_long OR reserved_name THEN
	RETURN written;		-- whoever looks for it says that there is none
END
$$;
COMMENT ON FUNCTION etl._task_name(text, text) IS 'a task as depends_on names it, spelt as the catalog does';

CREATE FUNCTION etl._forget_target_state_as_owner(pipeline text, task text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
	DELETE FROM etl.target_state s USING etl._own_pipeline(_forget_target_state_as_owner.pipeline) p
	WHERE s.pipeline = p.pipeline AND s.task = _forget_target_state_as_owner.task
$$;
CREATE FUNCTION etl._forget_target_state(pipeline text, task text) RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._forget_target_state_as_owner(text, text) IS 'does what etl._forget_target_state does, with the rights of the extension';
COMMENT ON FUNCTION etl._forget_target_state(text, text) IS 'forgets how far a target has got: it was made anew';

CREATE FUNCTION etl._write_task_as_owner(pipeline text, task text, kind text, target_schema name, target_name name,
	definition jsonb, depends_on text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline := etl._lock_own_pipeline(pipeline);
	existing_kind text;
	other_pipeline text;
BEGIN
	SELECT t.kind INTO existing_kind FROM etl.task t
	WHERE t.pipeline = p.pipeline AND t.task = _write_task_as_owner.task AND t.generation = p.generation;
	IF existing_kind <> kind THEN
		RAISE EXCEPTION 'task "%" of pipeline "%" is already declared as %', task, p.pipeline, existing_kind
			USING ERRCODE = 'duplicate_object', HINT = 'A table is filled by one task, and a check is not named like one.';
	END IF;
	-- Workers are the owner: what another role made here, they could not write.
	IF etl._acting_role() <> p.owner THEN
		RAISE EXCEPTION 'only role "%" can declare tasks of pipeline "%"', p.owner, p.pipeline
			USING ERRCODE = 'insufficient_privilege',
				  DETAIL = 'Tables and views are made by who declares, and workers connect as the owner of the pipeline.',
				  HINT = format('SET ROLE %I;', p.owner);
	END IF;
	SELECT t.pipeline INTO other_pipeline FROM etl.task t
	WHERE _write_task_as_owner.kind = 'extract' AND t.kind = 'extract' AND t.pipeline <> p.pipeline
	  AND t.target_schema = _write_task_as_owner.target_schema AND t.target_name = _write_task_as_owner.target_name LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'raw table % is filled by another pipeline', task
			USING ERRCODE = 'duplicate_object',
				  DETAIL = CASE WHEN etl._is_member((SELECT x.owner FROM etl.pipeline x WHERE x.pipeline = other_pipeline), etl._acting_role())
							THEN format('It is the target of pipeline "%s".', other_pipeline) END,
				  HINT = 'A raw table is filled by one task; choose another target.';
	END IF;
	depends_on := coalesce((SELECT array_agg(etl._task_name(p.pipeline, d) ORDER BY o) FROM unnest(depends_on) WITH ORDINALITY u(d, o)), '{}');
	INSERT INTO etl.task (pipeline, task, kind, target_schema, target_name, definition, depends_on, generation)
	VALUES (p.pipeline, task, kind, target_schema, target_name, definition, depends_on, p.generation)
	ON CONFLICT ON CONSTRAINT task_pkey DO UPDATE
	SET kind = excluded.kind, target_schema = excluded.target_schema, target_name = excluded.target_name,
		definition = excluded.definition, depends_on = excluded.depends_on, generation = excluded.generation;
	PERFORM etl._task_order(p.pipeline);
END
$$;
CREATE FUNCTION etl._write_task(pipeline text, task text, kind text, target_schema name, target_name name,
	definition jsonb, depends_on text[]) RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._write_task_as_owner(text, text, text, name, name, jsonb, text[]) IS 'does what etl._write_task does, with the rights of the extension';
COMMENT ON FUNCTION etl._write_task(text, text, text, name, name, jsonb, text[]) IS 'writes a task''s declaration for the acting role and refuses circles';

-- Readers get their rights from who declares, as the owner of the table.
CREATE FUNCTION etl._save_task(pipeline text, task text, kind text, target_schema name, target_name name,
	definition jsonb, depends_on text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM etl._write_task(pipeline, task, kind, target_schema, target_name, definition, depends_on);
	PERFORM etl._grant_target(target_schema, target_name, r) FROM unnest(etl._readers(pipeline)) r WHERE kind = 'load';
END
$$;
COMMENT ON FUNCTION etl._save_task(text, text, text, name, name, jsonb, text[]) IS 'writes a task''s declaration, and lets readers of the pipeline read its target';

CREATE FUNCTION etl._check_columns(relation regclass, columns text[], what text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	missing text;
BEGIN
	SELECT c INTO missing FROM unnest(columns) c
	WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = relation AND attname = c AND attnum > 0 AND NOT attisdropped)
	LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'column "%" named by % does not exist in %', missing, what, relation
			USING ERRCODE = 'undefined_column',
				  HINT = 'Its columns are: ' || (SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
												 WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped) || '.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_columns(regclass, text[], text) IS 'raises for a column the relation does not have, naming those it has';

CREATE FUNCTION etl._drop_task_as_owner(pipeline text, task text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline := etl._lock_own_pipeline(pipeline);
	name text := etl._task_name(p.pipeline, task);
	waiting text;
BEGIN
	SELECT string_agg(format('"%s" (%s)', d.task, d.because), ', ' ORDER BY d.task) INTO waiting
	FROM etl._task_dependencies(p.pipeline) d WHERE d.needs = name AND d.because IN ('depends_on', 'parent');
	IF waiting IS NOT NULL THEN
		RAISE EXCEPTION 'other tasks of pipeline "%" wait for task "%"', p.pipeline, name
			USING ERRCODE = 'dependent_objects_still_exist', DETAIL = format('They are: %s.', waiting), HINT = 'Drop them first, or declare them without it.';
	END IF;
	DELETE FROM etl.task t USING etl._tasks(p.pipeline) x WHERE t.pipeline = x.pipeline AND t.task = x.task AND x.task = name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'task "%" of pipeline "%" does not exist', task, p.pipeline
			USING ERRCODE = 'undefined_object',
				  HINT = coalesce('Its tasks are: ' || (SELECT string_agg(x.task, ', ' ORDER BY x.task) FROM etl._tasks(p.pipeline) x) || '.', 'It has none.');
	END IF;
END
$$;
CREATE FUNCTION etl.drop_task(pipeline text, task text) RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._drop_task_as_owner(text, text) IS 'does what etl.drop_task does, with the rights of the extension';
COMMENT ON FUNCTION etl.drop_task(text, text) IS 'drops the declaration of a task; its table, watermark and history stay';
