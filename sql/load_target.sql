-- One load of a publication: its view evaluated, the target brought to it in its mode.

CREATE FUNCTION etl._is_snapshot(pipeline text, source regclass) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	-- a view over everything this pipeline holds tells what is gone; a view that also
	-- reads tables nobody here fills tells only what it has
	SELECT bool_and(EXISTS (SELECT FROM etl._tasks(pipeline) t WHERE t.target_schema = r.schema_name AND t.target_name = r.relation_name
							AND t.kind IN ('extract', 'load')))
	FROM etl._tables_read(source) r
$$;
COMMENT ON FUNCTION etl._is_snapshot(text, regclass) IS 'whether a view reads only tables that its pipeline fills, so that an absent key is gone';

-- on_duplicate => latest: of several rows of a key the greatest by order_by, and of equal
-- ones the same at each run.
CREATE FUNCTION etl._keep_latest(key text[], order_by text[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	any_twice boolean;
	dropped bigint := 0;
BEGIN
	EXECUTE format('SELECT EXISTS (SELECT FROM pg_temp.etl_source GROUP BY %s HAVING count(*) > 1)', etl._column_list(key)) INTO any_twice;
	IF any_twice THEN
		EXECUTE format('DELETE FROM pg_temp.etl_source s USING (
				SELECT x.ctid AS etl_place, row_number() OVER (PARTITION BY %s ORDER BY %s, row(x.*)::text COLLATE "C" DESC) AS etl_number
				FROM pg_temp.etl_source x WHERE %s) d
			WHERE s.ctid = d.etl_place AND d.etl_number > 1',
			etl._column_list(key, 'x.%I'), etl._column_list(order_by, 'x.%I DESC NULLS LAST'), etl._column_list(key, 'x.%I IS NOT NULL', ' AND '));
		GET DIAGNOSTICS dropped = ROW_COUNT;
	END IF;
	RETURN dropped;
END
$$;
COMMENT ON FUNCTION etl._keep_latest(text[], text[]) IS 'leaves one row of each key in pg_temp.etl_source, the latest';

CREATE FUNCTION etl._load_target(pipeline text, task text, timezone text, definition jsonb, target regclass, latest_interval timestamptz)
RETURNS etl._load_counts LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	source regclass := to_regclass(definition ->> 'source');
	mode text := definition ->> 'mode';
	key text[] := (SELECT array_agg(k ORDER BY n) FROM jsonb_array_elements_text(definition -> 'key') WITH ORDINALITY e(k, n));
	touch text[] := (SELECT array_agg(c) FROM jsonb_array_elements_text(definition #> '{options,touch}') c);
	order_by text[] := (SELECT array_agg(c ORDER BY n) FROM jsonb_array_elements_text(definition -> 'order_by') WITH ORDINALITY e(c, n));
	parent_key text[] := (SELECT array_agg(k ORDER BY n) FROM jsonb_array_elements_text(definition -> 'parent_key') WITH ORDINALITY e(k, n));
	form text;
	observations regclass;
	snapshots regclass;
	counts etl._load_counts := (0, 0, 0, 0);
	deletes text;
	marked bigint;
	parent etl.task;
	changed_rows bigint;
	lookups etl._lookup_parts;
	unknown_key text;
	repaired bigint := 0;
	scope text := 'true';
	message text;
	detail text;
BEGIN
	IF source IS NULL OR target IS NULL THEN
		RAISE EXCEPTION 'relation "%" does not exist', CASE WHEN source IS NULL THEN definition ->> 'source' ELSE task END
			USING ERRCODE = 'undefined_table', HINT = format('It was there when the load was declared; make it again, or drop the task of pipeline "%s".', pipeline);
	END IF;
	PERFORM etl._prepare_target(pipeline, task, timezone, definition, target, etl.data_interval_start(), etl.data_interval_end());
	form := etl._observation_form(source, definition);
	IF form IS NOT NULL THEN
		SELECT etl._relation(n.nspname, ('obs_' || c.relname)::name), etl._relation(n.nspname, ('snp_' || c.relname)::name) INTO observations, snapshots
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = target;
		IF observations IS NULL OR form IN ('runs', 'children') AND snapshots IS NULL THEN
			RAISE EXCEPTION 'the observations of % are gone', target
				USING ERRCODE = 'undefined_table', HINT = format('Declare the load of %s again; it makes them anew.', target);
		END IF;
	END IF;
	deletes := CASE WHEN mode <> 'incremental' OR parent_key IS NOT NULL THEN 'ignore'
		WHEN coalesce(definition ->> 'source_kind' = 'snapshot', definition ->> 'deletes' <> 'ignore', etl._is_snapshot(pipeline, source) AND NOT etl._reads_interval(source), false)
		THEN coalesce(definition ->> 'deletes', 'delete') ELSE 'ignore' END;
	-- the unknown member belongs to no source: none can withdraw it
	unknown_key := etl._unknown_member_key(target, definition);
	IF unknown_key IS NOT NULL THEN
		PERFORM etl._ensure_unknown_member(target, definition, false);
		scope := format('t.%I <> -1', unknown_key);
	END IF;
	IF definition ? 'lookups' THEN
		lookups := etl._lookup_parts(target, definition -> 'lookups', timezone);
		repaired := etl._repair_lookups(pipeline, task, target, definition -> 'lookups', timezone, touch);
	END IF;
	-- a state of one interval, nothing remembered: the latest stays
	IF (mode = 'full' OR deletes <> 'ignore' AND form IS NULL) AND latest_interval > etl.data_interval_start() AND etl._reads_interval(source) THEN
		PERFORM etl._log('INFO', pipeline, etl.run_id(), task, format('%s keeps the state of the later interval %s', target, latest_interval));
		EXECUTE format('SELECT count(*) FROM %s', target) INTO counts.unchanged;
		counts.updated := repaired;
		RETURN counts;
	END IF;
	IF mode <> 'scd2' THEN
		PERFORM etl._materialize_source(source, target, key, CASE WHEN coalesce(form, 'rows') = 'rows' THEN lookups END);
		PERFORM etl._keep_latest(key, order_by) WHERE order_by IS NOT NULL;
		PERFORM etl._check_source_keys(source, key) WHERE key IS NOT NULL;
	END IF;
	IF parent_key IS NOT NULL THEN
		SELECT x.* INTO parent FROM etl._tasks(pipeline) x WHERE x.task = _load_target.definition ->> 'parent' AND x.kind = 'load';
		IF NOT FOUND OR to_regclass(parent.definition ->> 'source') IS NULL THEN
			RAISE EXCEPTION 'parent "%" of % is gone', definition ->> 'parent', target
				USING ERRCODE = 'undefined_object', HINT = 'Declare its load again.';
		END IF;
		PERFORM etl._materialize_parents(target, parent, parent_key);
	END IF;
	IF mode = 'scd2' THEN
		counts := etl._load_scd2(target, source, pipeline, timezone, key, definition, touch);
	ELSIF mode = 'full' THEN
		counts := etl._load_full(target, key, touch, scope);
	ELSIF mode = 'partition' THEN
		counts := etl._load_partition(target, source, key, touch, definition ->> 'partition_by', timezone);
	ELSIF form = 'points' THEN
		counts := etl._load_observed(target, observations, pipeline, key, definition ->> 'version', touch, mode = 'delta', lookups);
	ELSIF form = 'runs' THEN
		counts := etl._load_snapshot_runs(target, observations, snapshots, pipeline, key, definition ->> 'version', touch, deletes, lookups);
	ELSIF form = 'children' THEN
		counts := etl._load_children(target, observations, snapshots, pipeline, key, parent_key, touch, lookups);
	ELSIF form = 'rows' THEN
		counts := etl._append_interval(target, observations, pipeline, touch, lookups.columns);
	ELSIF mode = 'delta' THEN
		counts := CASE WHEN key IS NULL THEN etl._append_new_rows(target, touch) ELSE etl._append_new_keys(target, key, touch) END;
	ELSIF parent_key IS NOT NULL THEN
		counts := etl._apply_difference(target, 'pg_temp.etl_source', key, touch,
			CASE WHEN coalesce(definition ->> 'source_kind' = 'snapshot', etl._is_snapshot(pipeline, source)) THEN 'true'
				 ELSE format('EXISTS (SELECT FROM pg_temp.etl_parent p WHERE %s) OR EXISTS (SELECT FROM pg_temp.etl_source x WHERE %s)',
					etl._key_match('p', 't', target, parent_key), etl._key_match('x', 't', target, key)) END, true);
	ELSE
		IF deletes = 'mark' THEN
			marked := etl._mark_absent(target, key, touch, coalesce(greatest(latest_interval, etl.data_interval_start()), statement_timestamp()), scope);
		END IF;
		counts := etl._apply_difference(target, 'pg_temp.etl_source', key, touch, scope, deletes = 'delete');
		counts.deleted := counts.deleted + coalesce(marked, 0);
	END IF;
	counts.updated := counts.updated + repaired;
	changed_rows := counts.inserted + counts.updated + counts.deleted;
	IF changed_rows > 0 AND changed_rows >= 0.1 * (SELECT greatest(reltuples, 0) FROM pg_class WHERE oid = target) THEN
		EXECUTE format('ANALYZE %s', target);		-- what reads it next in this run plans with today's figures
	END IF;
	RETURN counts;
EXCEPTION WHEN foreign_key_violation THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	RAISE EXCEPTION '%', message
		USING ERRCODE = 'foreign_key_violation', DETAIL = detail,
			  HINT = 'Tables are filled one after another: make the foreign key DEFERRABLE INITIALLY DEFERRED, so that it is checked when all are.';
END
$$;
COMMENT ON FUNCTION etl._load_target(text, text, text, jsonb, regclass, timestamptz) IS 'fills one target from its view in its mode; returns what changed';
