-- Running a check: each type is a query for the rows that fail, or a figure to compare.

CREATE TYPE etl._check_outcome AS (passed boolean, failing_rows bigint, figure text, threshold text, unit text, severity text, sample jsonb);
COMMENT ON TYPE etl._check_outcome IS 'what a check found; severity as declared, or what freshness makes of it';

-- What a row of a sample may take, in bytes: samples are evidence, not a copy of the data.
CREATE FUNCTION etl._sampled(row_value jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN octet_length(row_value::text) <= 4000 THEN row_value
				ELSE (SELECT coalesce(jsonb_object_agg(key, CASE WHEN octet_length(value::text) <= 200 THEN value ELSE to_jsonb(left(value::text, 100) || '…') END), '{}')
					  FROM (SELECT e.key, e.value FROM jsonb_each(row_value) e LIMIT 50) bounded) END
$$;
COMMENT ON FUNCTION etl._sampled(jsonb) IS 'a failing row as evidence keeps it: long values of long rows are cut';

CREATE FUNCTION etl._run_row_check(relation regclass, definition jsonb, counted text) RETURNS etl._check_outcome
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	outcome etl._check_outcome;
	query text := etl._failing_rows_query(relation, definition ->> 'check_type', definition -> 'arguments', counted);
	mostly numeric := coalesce((definition ->> 'mostly')::numeric, 1);
	is_unique boolean := definition ->> 'check_type' = 'unique';
	failing bigint;
	row_total bigint;
	allowed bigint := 0;
BEGIN
	-- of unique, a failing row of the result is a value, but mostly is about rows of the table
	EXECUTE format('SELECT count(*), coalesce(%s, 0) FROM (%s) q', CASE WHEN is_unique THEN 'sum(q.occurrences)' ELSE 'count(*)' END, query) INTO outcome.failing_rows, failing;
	IF mostly < 1 AND failing > 0 THEN
		EXECUTE format('SELECT count(*) FROM %s t WHERE %s', relation, counted) INTO row_total;
		allowed := floor((1 - mostly) * row_total);
	END IF;
	outcome.passed := failing <= allowed;
	outcome.figure := CASE WHEN mostly < 1 THEN failing ELSE outcome.failing_rows END::text;
	outcome.unit := 'failing rows';
	outcome.threshold := CASE WHEN row_total IS NULL THEN '0 failing rows' ELSE format('%s of %s rows', allowed, row_total) END;
	outcome.sample := '[]';
	IF failing > 0 THEN
		EXECUTE format('SELECT coalesce(jsonb_agg(etl._sampled(to_jsonb(q))), ''[]'') FROM (%s LIMIT %s) q', query, coalesce(definition #>> '{options,sample}', '5')) INTO outcome.sample;
	END IF;
	RETURN outcome;
END
$$;
COMMENT ON FUNCTION etl._run_row_check(regclass, jsonb, text) IS 'runs a check about single rows';

-- How many rows came, against what came in the runs before: outside of the mean by more
-- than some standard deviations, and by more than a part of it, as a steady source has none.
-- With the extension's rights, past the views: in the order of an index, of a history however long.
CREATE FUNCTION etl._earlier_volumes_as_owner(pipeline text, check_name text, but_interval timestamptz, how_many integer) RETURNS numeric[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT array_agg(v.rows)
	FROM (SELECT l.rows FROM (
			SELECT DISTINCT ON (r.data_interval_start) r.run_id, c.figure::numeric AS rows
			FROM (SELECT * FROM etl.check_result x WHERE x.pipeline = _earlier_volumes_as_owner.pipeline AND x.check_name = _earlier_volumes_as_owner.check_name
				  ORDER BY x.check_result_id DESC LIMIT 1000 + 10 * how_many) c
			CROSS JOIN LATERAL (SELECT * FROM etl.run x WHERE x.run_id = c.run_id LIMIT 1) r
			WHERE c.check_type = 'volume_anomaly' AND r.state = 'success' AND r.data_interval_start IS DISTINCT FROM but_interval
			  AND etl._is_member(r.owner, etl._acting_role())
			ORDER BY r.data_interval_start, r.run_id DESC, c.check_result_id DESC) l
		  ORDER BY l.run_id DESC LIMIT how_many) v
$$;
CREATE FUNCTION etl._earlier_volumes(pipeline text, check_name text, but_interval timestamptz, how_many integer) RETURNS numeric[]
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._earlier_volumes_as_owner(text, text, timestamptz, integer) IS 'does what etl._earlier_volumes does, with the rights of the extension';
COMMENT ON FUNCTION etl._earlier_volumes(text, text, timestamptz, integer) IS 'the rows that a volume check found in the last runs of other intervals, of a pipeline of the acting role';

CREATE FUNCTION etl._run_volume_check(pipeline text, check_name text, arguments jsonb, row_total bigint) RETURNS etl._check_outcome
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	outcome etl._check_outcome;
	history record;
	allowed numeric;
BEGIN
	SELECT count(*) AS runs, avg(h.rows) AS mean, coalesce(stddev_samp(h.rows), 0) AS deviation INTO history
	FROM unnest(etl._earlier_volumes(pipeline, check_name, etl.data_interval_start(), coalesce((arguments ->> 'runs')::integer, 10))) h(rows);
	outcome.failing_rows := 0;
	outcome.figure := row_total::text;
	outcome.unit := 'rows';
	outcome.sample := '[]';
	IF history.runs < coalesce((arguments ->> 'min_runs')::integer, 3) THEN
		outcome.passed := true;
		outcome.threshold := format('nothing to compare with (%s runs)', history.runs);
		RETURN outcome;
	END IF;
	allowed := greatest(coalesce((arguments ->> 'deviations')::numeric, 3) * history.deviation, coalesce((arguments ->> 'tolerance')::numeric, 0.1) * history.mean);
	outcome.passed := abs(row_total - history.mean) <= allowed;
	outcome.threshold := format('%s to %s rows (last %s runs)', greatest(ceil(history.mean - allowed), 0), floor(history.mean + allowed), history.runs);
	RETURN outcome;
END
$$;
COMMENT ON FUNCTION etl._run_volume_check(text, text, jsonb, bigint) IS 'compares a number of rows with the same check''s of earlier runs';

-- Runs one check; the result is a value, whether it passed or not.
CREATE FUNCTION etl._run_check(pipeline text, check_name text, timezone text, relation regclass, definition jsonb, by_hand boolean) RETURNS etl._check_outcome
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	outcome etl._check_outcome;
	check_type text := definition ->> 'check_type';
	found_figure jsonb;		-- the queries' columns differ in type
	row_total bigint;
	scope_condition text;
	counted text;
BEGIN
	IF definition ->> 'scope' = 'run' AND etl.data_interval_start() IS NOT NULL THEN
		scope_condition := etl._scope_condition(pipeline, timezone, relation, definition #>> '{options,interval_column}', by_hand);
		IF scope_condition IS NULL THEN
			RAISE EXCEPTION 'nothing tells which rows of % belong to a run', relation
				USING ERRCODE = 'object_not_in_prerequisite_state', HINT = format('Declare check "%s" again, with options => ''{"interval_column": "…"}'' or scope => ''table''.', check_name);
		END IF;
	END IF;
	counted := etl._counted_condition(scope_condition, definition ->> 'filter');
	IF etl._counts_rows(check_type) THEN
		outcome := etl._run_row_check(relation, definition, counted);
	ELSIF check_type = 'volume_anomaly' THEN
		EXECUTE etl._figure_query(relation, check_type, definition -> 'arguments', counted, timezone) INTO row_total;
		outcome := etl._run_volume_check(pipeline, check_name, definition -> 'arguments', row_total);
	ELSE
		EXECUTE format('SELECT to_jsonb(q) FROM (%s) q', etl._figure_query(relation, check_type, definition -> 'arguments', counted, timezone)) INTO found_figure;
		outcome.passed := found_figure ->> 'passed';
		outcome.failing_rows := 0;
		outcome.figure := found_figure ->> 'figure';
		outcome.threshold := found_figure ->> 'threshold';
		outcome.unit := nullif(found_figure ->> 'unit', '');
		outcome.sample := '[]';
		IF check_type = 'freshness' AND NOT outcome.passed THEN
			outcome.severity := found_figure ->> 'severity';
		END IF;
	END IF;
	outcome.severity := CASE WHEN outcome.severity = 'warn' THEN 'warn' ELSE definition ->> 'severity' END;
	RETURN outcome;
END
$$;
COMMENT ON FUNCTION etl._run_check(text, text, text, regclass, jsonb, boolean) IS 'runs one check as the current role and returns what it found';
