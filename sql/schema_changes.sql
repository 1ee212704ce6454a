-- What becomes of a target when the columns of its view change: on_schema_change.  Decided in
-- a short step before the publication, so that nothing is written when the answer is no.

CREATE FUNCTION etl._column_type(relation regclass, column_name text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = relation AND attname = column_name AND attnum > 0 AND NOT attisdropped $$;
COMMENT ON FUNCTION etl._column_type(regclass, text) IS 'the type of a column as SQL writes it; NULL when there is none';

CREATE FUNCTION etl._schema_differences(target regclass, source regclass, definition jsonb, recorded jsonb)
RETURNS TABLE (column_name text, kind text, view_type text, target_type text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT v.attname::text, CASE WHEN t.type IS NULL THEN 'new' ELSE 'changed' END, v.type, t.type
	FROM (SELECT attname, attnum, etl._column_type(source, attname) AS type FROM pg_attribute WHERE attrelid = source AND attnum > 0 AND NOT attisdropped) v
	CROSS JOIN LATERAL (SELECT etl._column_type(target, v.attname) AS type) t
	WHERE t.type IS NULL AND NOT (definition ->> 'mode' = 'scd2' AND v.attname IN (coalesce(definition #>> '{options,effective_at}', ''), coalesce(definition ->> 'version', '')))
	   OR t.type <> v.type AND recorded ->> v.attname <> v.type
	UNION ALL
	SELECT r.key, 'gone', NULL, etl._column_type(target, r.key)
	FROM jsonb_each_text(recorded) r
	WHERE etl._column_type(source, r.key) IS NULL AND etl._column_type(target, r.key) IS NOT NULL
$$;
COMMENT ON FUNCTION etl._schema_differences(regclass, regclass, jsonb, jsonb) IS 'columns of a view that are new, of another type or gone since its load was declared';

-- Whether values of one type are values of the other without loss and without a word.
CREATE FUNCTION etl._is_wider(from_relation regclass, to_relation regclass, column_name text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE
		WHEN t.atttypid <> f.atttypid THEN
			t.atttypmod = -1 AND EXISTS (SELECT FROM pg_cast WHERE castsource = f.atttypid AND casttarget = t.atttypid AND castcontext = 'i')
		WHEN t.atttypmod = -1 OR t.atttypmod = f.atttypmod THEN true
		WHEN f.atttypmod = -1 THEN false
		WHEN t.atttypid = 'numeric'::regtype THEN
			((t.atttypmod - 4) & 65535) >= ((f.atttypmod - 4) & 65535)
			AND ((t.atttypmod - 4) >> 16) - ((t.atttypmod - 4) & 65535) >= ((f.atttypmod - 4) >> 16) - ((f.atttypmod - 4) & 65535)
		ELSE t.atttypid IN ('varchar'::regtype, 'varbit'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype, 'time'::regtype) AND t.atttypmod > f.atttypmod END
	FROM pg_attribute f, pg_attribute t
	WHERE f.attrelid = from_relation AND f.attname = column_name AND NOT f.attisdropped
	  AND t.attrelid = to_relation AND t.attname = column_name AND NOT t.attisdropped
$$;
COMMENT ON FUNCTION etl._is_wider(regclass, regclass, text) IS 'whether the type of a column in the second relation holds every value of that in the first';

CREATE FUNCTION etl._column_dependents(target regclass, vr_view regclass, widened text[], dropped text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT string_agg(DISTINCT what, ', ' ORDER BY what) FROM (
		SELECT 'view ' || w.ev_class::regclass AS what
		FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
		LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
		WHERE d.refclassid = 'pg_class'::regclass AND w.ev_class NOT IN (target, coalesce(vr_view, target))
		  AND (d.refobjid = target AND a.attname = ANY (widened || dropped) OR d.refobjid = vr_view)
		UNION ALL
		SELECT format('constraint "%s" of %s', c.conname, c.conrelid::regclass) FROM pg_constraint c, pg_attribute a
		WHERE a.attrelid = target AND a.attname = ANY (dropped) AND c.contype <> 'n'
		  AND (c.conrelid = target AND a.attnum = ANY (c.conkey) OR c.confrelid = target AND a.attnum = ANY (c.confkey))
		UNION ALL
		SELECT format('index %s', i.indexrelid::regclass) FROM pg_index i, pg_attribute a
		WHERE a.attrelid = target AND a.attname = ANY (dropped) AND i.indrelid = target AND a.attnum = ANY (i.indkey)) d
$$;
COMMENT ON FUNCTION etl._column_dependents(regclass, regclass, text[], text[]) IS 'what depends on columns of a target, or on its vr_ view, which is made anew when they change';

-- Alters the target, and obs_<table> with it.
CREATE FUNCTION etl._alter_target(target regclass, source regclass, added text[], widened text[], dropped text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s'
AS $$
DECLARE
	n record;
	observations regclass;
	vr_view regclass;
	grants record;
	restore text := '';
	c text;
BEGIN
	SELECT s.nspname AS schema_name, t.relname AS relation_name INTO n FROM pg_class t JOIN pg_namespace s ON s.oid = t.relnamespace WHERE t.oid = target;
	observations := etl._relation(n.schema_name, ('obs_' || n.relation_name)::name);
	vr_view := etl._relation(n.schema_name, ('vr_' || n.relation_name)::name);
	IF vr_view IS NOT NULL AND cardinality(widened || dropped) > 0 THEN
		FOR grants IN SELECT e.privilege_type, e.is_grantable, CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE e.grantee::regrole::text END AS grantee
			FROM pg_class v, aclexplode(v.relacl) e WHERE v.oid = vr_view AND e.grantee <> v.relowner
		LOOP
			restore := restore || format('GRANT %s ON %I.%I TO %s%s;', grants.privilege_type, n.schema_name, 'vr_' || n.relation_name, grants.grantee,
				CASE WHEN grants.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
		END LOOP;
		EXECUTE format('DROP VIEW %s', vr_view);
	END IF;
	FOREACH c IN ARRAY added LOOP
		EXECUTE format('ALTER TABLE %s ADD COLUMN %I %s', target, c, etl._column_type(source, c));
	END LOOP;
	FOREACH c IN ARRAY widened LOOP
		EXECUTE format('ALTER TABLE %s ALTER COLUMN %I TYPE %s', target, c, etl._column_type(source, c));
		IF etl._column_type(observations, c) <> etl._column_type(source, c) THEN
			EXECUTE format('ALTER TABLE %s ALTER COLUMN %I TYPE %s', observations, c, etl._column_type(source, c));
		END IF;
	END LOOP;
	FOREACH c IN ARRAY dropped LOOP
		EXECUTE format('ALTER TABLE %s DROP COLUMN %I', target, c);
		IF observations IS NOT NULL THEN
			EXECUTE format('ALTER TABLE %s DROP COLUMN IF EXISTS %I', observations, c);
		END IF;
	END LOOP;
	EXECUTE format('CREATE OR REPLACE VIEW %1$I.%2$I AS SELECT * FROM %1$I.%3$I', n.schema_name, 'vr_' || n.relation_name, n.relation_name);
	EXECUTE format('COMMENT ON VIEW %I.%I IS %L', n.schema_name, 'vr_' || n.relation_name, 'all columns of ' || target);
	IF restore <> '' THEN
		EXECUTE restore;
	END IF;
END
$$;
COMMENT ON FUNCTION etl._alter_target(regclass, regclass, text[], text[], text[]) IS 'adds, widens and drops columns of a target, its observations and its vr_ view';

CREATE FUNCTION etl._change_schema(pipeline text, task text, target regclass, source regclass, definition jsonb, recorded jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	policy text := coalesce(definition ->> 'on_schema_change', 'fail');
	needed text[] := (SELECT coalesce(array_agg(x) FILTER (WHERE x IS NOT NULL), '{}') FROM (SELECT jsonb_array_elements_text(definition -> 'key') UNION ALL SELECT jsonb_array_elements_text(definition -> 'order_by')
		UNION ALL SELECT jsonb_array_elements_text(definition -> 'parent_key') UNION ALL SELECT definition ->> 'partition_by'
		UNION ALL SELECT c #>> '{}' FROM jsonb_path_query(definition, '$.lookups[*].fact_key[*]') c UNION ALL SELECT c #>> '{}' FROM jsonb_path_query(definition, '$.lookups[*].as_of') c) y(x));
	added text[] := '{}';
	widened text[] := '{}';
	dropped text[] := '{}';
	refused text[] := '{}';
	statements text[] := '{}';
	dependents text;
	vr_view regclass := (SELECT etl._relation(n.nspname, ('vr_' || c.relname)::name) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = target);
	d record;
BEGIN
	FOR d IN SELECT * FROM etl._schema_differences(target, source, definition, recorded) LOOP
		IF d.kind = 'new' THEN
			added := added || d.column_name;
			statements := statements || format('ALTER TABLE %s ADD COLUMN %I %s;', target, d.column_name, d.view_type);
			CONTINUE WHEN policy <> 'fail';
			refused := refused || format('column "%s" (%s) is new', d.column_name, d.view_type);
		ELSIF d.kind = 'changed' THEN
			CONTINUE WHEN policy <> 'fail' AND etl._is_wider(source, target, d.column_name);
			statements := statements || format('ALTER TABLE %s ALTER COLUMN %I TYPE %s;', target, d.column_name, d.view_type);
			IF policy = 'sync' AND etl._is_wider(target, source, d.column_name) THEN
				widened := widened || d.column_name;
				CONTINUE;
			END IF;
			refused := refused || format('column "%s" is now %s, was %s', d.column_name, d.view_type, d.target_type);
		ELSE
			IF policy = 'sync' AND d.column_name <> ALL (needed) THEN
				dropped := dropped || d.column_name;
				CONTINUE;
			END IF;
			CONTINUE WHEN policy = 'append_columns' AND d.column_name <> ALL (needed);
			statements := statements || format('ALTER TABLE %s DROP COLUMN %I;', target, d.column_name);
			refused := refused || format('column "%s" is gone', d.column_name);
		END IF;
	END LOOP;
	IF refused <> '{}' THEN
		RAISE EXCEPTION 'the columns of % have changed', source
			USING ERRCODE = 'invalid_table_definition', DETAIL = format('Compared with %s: %s.', target, array_to_string(refused, '; ')),
				  HINT = format('%s Or change the view back%s.', array_to_string(statements, ' '),
					CASE policy WHEN 'fail' THEN ', or declare the load with on_schema_change => ''append_columns'' or ''sync'''
								WHEN 'append_columns' THEN '; append_columns only adds' ELSE '; sync only widens types' END);
	END IF;
	dependents := CASE WHEN cardinality(widened || dropped) > 0 THEN etl._column_dependents(target, vr_view, widened, dropped) END;
	IF dependents IS NOT NULL THEN
		RAISE EXCEPTION 'columns of % cannot follow those of %', target, source
			USING ERRCODE = 'dependent_objects_still_exist',
				  DETAIL = format('%s; on them, or on %s, depends: %s.', concat_ws('; ', 'to be dropped: ' || nullif(array_to_string(dropped, ', '), ''),
					'to be widened: ' || nullif(array_to_string(widened, ', '), '')), vr_view, dependents),
				  HINT = 'Drop what depends on them and make it again afterwards, or change the view back.';
	END IF;
	IF cardinality(added || widened || dropped) > 0 THEN
		PERFORM etl._alter_target(target, source, added, widened, dropped);
		PERFORM etl._log('INFO', pipeline, etl.run_id(), task, format('%s follows %s: %s', target, source, concat_ws('; ', 'added ' || nullif(array_to_string(added, ', '), ''),
			'widened ' || nullif(array_to_string(widened, ', '), ''), 'dropped ' || nullif(array_to_string(dropped, ', '), ''))));
	END IF;
END
$$;
COMMENT ON FUNCTION etl._change_schema(text, text, regclass, regclass, jsonb, jsonb) IS 'makes a target follow its view, as far as on_schema_change says; else raises';

-- The columns of obs_<table> follow those of the view and the target.
CREATE FUNCTION etl._observations_follow(target regclass, source regclass, definition jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s'
AS $$
DECLARE
	n record;
	observations regclass;
BEGIN
	SELECT s.nspname AS schema_name, t.relname AS relation_name INTO n FROM pg_class t JOIN pg_namespace s ON s.oid = t.relnamespace WHERE t.oid = target;
	observations := etl._relation(n.schema_name, ('obs_' || n.relation_name)::name);
	IF observations IS NULL OR NOT EXISTS (SELECT FROM pg_attribute v WHERE v.attrelid = source AND v.attnum > 0 AND NOT v.attisdropped AND etl._column_type(observations, v.attname) IS NULL) THEN
		RETURN;
	ELSIF definition ->> 'mode' = 'scd2' THEN
		PERFORM etl._create_scd2_observations(n.schema_name, n.relation_name, source, (SELECT array_agg(k ORDER BY o) FROM jsonb_array_elements_text(definition -> 'key') WITH ORDINALITY e(k, o)),
			definition -> 'options', etl._column_type(target, coalesce(definition #>> '{options,columns,valid_from}', 'valid_from'))::regtype);
	ELSE
		PERFORM etl._add_missing_columns(observations, target, source);
	END IF;
END
$$;
COMMENT ON FUNCTION etl._observations_follow(regclass, regclass, jsonb) IS 'gives obs_<table> the columns its view has got';

-- What a load needs of DDL, done or refused before it writes.
CREATE FUNCTION etl._prepare_target(pipeline text, task text, timezone text, definition jsonb, target regclass, since timestamptz, until timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	source regclass := to_regclass(definition ->> 'source');
BEGIN
	IF source IS NULL OR target IS NULL THEN
		RETURN;			-- the load says so
	END IF;
	PERFORM etl._change_schema(pipeline, task, target, source, definition, definition -> 'columns');
	PERFORM etl._observations_follow(target, source, definition);
	IF definition ->> 'mode' = 'partition' AND since IS NOT NULL THEN
		PERFORM etl._ensure_partitions(target, definition ->> 'partition_by', timezone, definition #> '{options,partitions}', since, until);
	END IF;
END
$$;
COMMENT ON FUNCTION etl._prepare_target(text, text, text, jsonb, regclass, timestamptz, timestamptz) IS 'the DDL a load needs: columns of its target, partitions';

CREATE FUNCTION etl._record_view_columns(task_run_id bigint, attempt integer, task text, columns jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t etl.task_run := etl._fence(task_run_id, attempt);
BEGIN
	UPDATE etl.task x SET definition = x.definition || jsonb_build_object('columns', _record_view_columns.columns)
	FROM etl.run r WHERE r.run_id = t.run_id AND x.pipeline = r.pipeline AND x.task = _record_view_columns.task AND x.kind = 'load';
END
$$;
COMMENT ON FUNCTION etl._record_view_columns(bigint, integer, text, jsonb) IS 'remembers which columns the view of a load has, once its target has followed';

-- The worker's step before a publication, in a transaction of its own.
CREATE FUNCTION etl._prepare_targets(task_run_id bigint, attempt integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s record;
	began timestamptz;
	columns jsonb;
BEGIN
	FOR s IN SELECT * FROM etl._publish_steps(task_run_id, attempt) x WHERE x.kind = 'load' AND x.definition IS NOT NULL LOOP
		began := clock_timestamp();
		PERFORM etl._set_context(s.run_id, s.data_interval_start, s.data_interval_end, s.run_date);
		PERFORM etl._note(jsonb_build_object('task', s.task, 'kind', s.kind, 'started_at', began));
		PERFORM etl._prepare_target(s.pipeline, s.task, s.timezone, s.definition, etl._relation(s.target_schema, s.target_name), s.data_interval_start, s.data_interval_end);
		columns := etl._view_columns(to_regclass(s.definition ->> 'source'));
		IF columns IS DISTINCT FROM s.definition -> 'columns' AND columns IS NOT NULL THEN
			PERFORM etl._record_view_columns(task_run_id, attempt, s.task, columns);
		END IF;
		PERFORM etl._note(jsonb_build_object('task', s.task, 'kind', s.kind, 'started_at', began, 'ended_at', clock_timestamp()));
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._prepare_targets(bigint, integer) IS 'the DDL that the loads of a publication need, done before it begins';
