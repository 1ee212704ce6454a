-- What a run of a pipeline would do, and why in that order.  Nothing is run: estimates are the planner's.

CREATE FUNCTION etl._explain_extract(d jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT concat_ws('; ',
		format('%s %s%s%s', coalesce(d ->> 'method', 'GET'), coalesce(u.base_url, d ->> 'server' || ':'), d ->> 'path',
			(SELECT '?' || string_agg(q.key || '=' || q.value, '&' ORDER BY q.key) FROM jsonb_each_text(CASE jsonb_typeof(d -> 'query') WHEN 'object' THEN d -> 'query' ELSE '{}' END) q)),
		'for each row of ' || (d ->> 'for_each'),
		'as ' || nullif(coalesce(d #>> '{format,type}', d ->> 'format'), 'json'),
		'records ' || (d ->> 'records'),
		'pagination ' || nullif(d #>> '{pagination,type}', 'none'),
		'key ' || (SELECT string_agg(k, ', ' ORDER BY o) FROM jsonb_array_elements_text(d -> 'key') WITH ORDINALITY e(k, o)),
		'version ' || (d ->> 'version'),
		CASE WHEN d -> 'watermark' <> 'null' THEN 'from the watermark on' END,
		CASE WHEN d -> 'record_schema' <> 'null' THEN 'records that break the schema: ' || coalesce(d ->> 'on_invalid', 'quarantine') END,
		CASE d ->> 'on_rerun' WHEN 'append' THEN 'a load more at each run' ELSE 'replaces the interval''s load' END)
	FROM (SELECT (SELECT regexp_replace(o.option_value, '//[^/@]*@', '//') FROM pg_foreign_server f, pg_options_to_table(f.srvoptions) o
				  WHERE f.srvname = d ->> 'server' AND o.option_name = 'base_url') AS base_url) u
$$;
COMMENT ON FUNCTION etl._explain_extract(jsonb) IS 'an extraction in words: its requests, and what becomes of records';

CREATE FUNCTION etl._explain_load(pipeline text, target regclass, d jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	source regclass := to_regclass(d ->> 'source');
	reads_interval boolean := etl._reads_interval(source);
	form text := etl._observation_form(source, d);
	snapshot boolean := coalesce(d ->> 'source_kind' = 'snapshot', d ->> 'deletes' <> 'ignore', NOT reads_interval AND etl._is_snapshot(pipeline, source), false);
BEGIN
	RETURN concat_ws('; ',
		format('%s from %s', d ->> 'mode', coalesce(source::text, (d ->> 'source') || ' (which is gone)')),
		'key ' || (SELECT string_agg(k, ', ' ORDER BY o) FROM jsonb_array_elements_text(d -> 'key') WITH ORDINALITY e(k, o)),
		CASE WHEN reads_interval THEN 'the view gives the rows of the interval' ELSE 'the view gives everything' END,
		CASE d ->> 'mode' WHEN 'incremental' THEN
				CASE WHEN d ? 'parent' THEN format('children of %s by %s', d ->> 'parent', (SELECT string_agg(k, ', ' ORDER BY o) FROM jsonb_array_elements_text(d -> 'parent_key') WITH ORDINALITY e(k, o)))
					 WHEN snapshot THEN 'a snapshot, what is gone: ' || coalesce(d ->> 'deletes', 'delete') ELSE 'changes, what is absent stays' END
			WHEN 'scd2' THEN 'versions begin at ' || coalesce(d #>> '{options,effective_at}', 'the interval''s start') || coalesce(', what is gone: ' || (d #>> '{options,deletes}'), '')
			WHEN 'partition' THEN 'the interval by ' || (d ->> 'partition_by')
			WHEN 'full' THEN CASE WHEN reads_interval THEN 'the latest interval stays' END END,
		'version ' || (d ->> 'version'),
		'of several rows of a key the latest by ' || (SELECT string_agg(k, ', ' ORDER BY o) FROM jsonb_array_elements_text(d -> 'order_by') WITH ORDINALITY e(k, o)),
		(SELECT string_agg(format('looks up %s in %s%s', l ->> 'column', l ->> 'dimension', coalesce(' as of ' || (l ->> 'as_of'), '')), ', ' ORDER BY l ->> 'column') FROM jsonb_array_elements(d -> 'lookups') l),
		CASE WHEN form IS NOT NULL OR d ->> 'mode' = 'scd2' THEN 'remembers what intervals say in obs_' || (SELECT relname FROM pg_class WHERE oid = target) END,
		'when columns change: ' || (d ->> 'on_schema_change'));
END
$$;
COMMENT ON FUNCTION etl._explain_load(text, regclass, jsonb) IS 'a load in words: its mode, what its view gives, what becomes of keys that are gone';

CREATE FUNCTION etl._estimated_rows(query text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
	RETURN round((plan #>> '{0,Plan,Plan Rows}')::numeric);
END
$$;
COMMENT ON FUNCTION etl._estimated_rows(text) IS 'how many rows the planner expects of a query';

CREATE FUNCTION etl.explain(pipeline text, interval_start timestamptz DEFAULT NULL,
	OUT ordinal integer, OUT task text, OUT kind text, OUT because text, OUT does text, OUT constraints text, OUT estimated_rows bigint, OUT statement text)
RETURNS SETOF record
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
	SET etl.run_id = '' SET etl.data_interval_start = '' SET etl.data_interval_end = '' SET etl.run_date = ''
AS $$
DECLARE
	p etl.pipeline := etl._acting_owner(pipeline);
	d record;
	target regclass;
	dependencies jsonb := (SELECT jsonb_agg(to_jsonb(x)) FROM etl._task_dependencies(p.pipeline) x);
	shown integer := 0;
BEGIN
	-- by default the day before this one, which is what a daily schedule runs next
	interval_start := coalesce(interval_start, (date_trunc('day', etl._now() AT TIME ZONE p.timezone) - interval '1 day') AT TIME ZONE p.timezone);
	PERFORM etl._set_context(NULL, interval_start, etl._interval_from(p, interval_start), (interval_start AT TIME ZONE p.timezone)::date);
	FOR d IN SELECT x.* FROM etl._task_order(p.pipeline) o JOIN etl._tasks(p.pipeline) x USING (task)
		-- all extractions come first, unless each task publishes for itself
		ORDER BY (x.kind <> 'extract' AND p.publish <> 'per_task'), o.ordinal LOOP
		shown := shown + 1;
		ordinal := shown;
		task := d.task;
		kind := d.kind;
		target := etl._relation(d.target_schema, d.target_name);
		because := coalesce((SELECT string_agg(format('after %s: %s', x.needs, x.because), '; ' ORDER BY x.needs, x.because) FROM jsonb_to_recordset(dependencies) x(task text, needs text, because text)
				WHERE x.task = d.task), CASE d.kind WHEN 'extract' THEN 'extractions come first' ELSE 'waits for no other task' END);
		does := CASE d.kind WHEN 'extract' THEN etl._explain_extract(d.definition)
			WHEN 'load' THEN etl._explain_load(p.pipeline, target, d.definition)
			WHEN 'check' THEN concat_ws('; ', format('%s of %s %s', d.definition ->> 'check_type', etl._full_name(d.target_schema, d.target_name), nullif(d.definition ->> 'arguments', '{}')),
				'severity ' || (d.definition ->> 'severity'), 'rows where ' || (d.definition ->> 'filter'), 'for at least ' || (d.definition ->> 'mostly') || ' of them', 'scope ' || (d.definition ->> 'scope'))
			ELSE (d.definition - 'options')::text END;
		constraints := CASE WHEN d.kind = 'load' THEN (SELECT string_agg(pg_get_constraintdef(c.oid), '; ' ORDER BY c.contype, c.conname) FROM pg_constraint c WHERE c.conrelid = target AND c.contype <> 'n') END;
		statement := CASE d.kind WHEN 'load' THEN rtrim(pg_get_viewdef(to_regclass(d.definition ->> 'source')), '; ') WHEN 'extract' THEN rtrim(pg_get_viewdef(to_regclass(d.definition ->> 'for_each')), '; ') END;
		estimated_rows := CASE WHEN d.kind = 'load' AND to_regclass(d.definition ->> 'source') IS NOT NULL THEN etl._estimated_rows(format('SELECT * FROM %s', to_regclass(d.definition ->> 'source')))
			WHEN d.kind = 'extract' AND to_regclass(d.definition ->> 'for_each') IS NOT NULL THEN etl._estimated_rows(format('SELECT * FROM %s', to_regclass(d.definition ->> 'for_each'))) END;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl.explain(text, timestamptz) IS
	'what a run of a pipeline would do: a row a task in the order they run, why there, its requests or the mode and view of its target, constraints, the rows the planner expects; runs nothing';
