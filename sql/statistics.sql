-- What runs have come to, by pipeline and day.  Written once, when a run ends: it outlives
-- the runs, and reading it costs what days there are, not what runs there were.

CREATE TABLE etl.pipeline_day (
	pipeline	  text NOT NULL,
	owner		  name NOT NULL,
	day			  date NOT NULL,
	successes	  integer NOT NULL DEFAULT 0,
	failures	  integer NOT NULL DEFAULT 0,
	cancellations integer NOT NULL DEFAULT 0,
	run_time	  interval NOT NULL DEFAULT '0',
	fetched		  bigint NOT NULL DEFAULT 0,
	loaded		  bigint NOT NULL DEFAULT 0,
	quarantined	  bigint NOT NULL DEFAULT 0,
	inserted	  bigint NOT NULL DEFAULT 0,
	updated		  bigint NOT NULL DEFAULT 0,
	deleted		  bigint NOT NULL DEFAULT 0,
	PRIMARY KEY (pipeline, owner, day)
) WITH (fillfactor = 70);
COMMENT ON TABLE etl.pipeline_day IS 'the runs that ended on a day of UTC, in numbers; read etl.pipeline_days';
COMMENT ON COLUMN etl.pipeline_day.run_time IS 'of successful runs, added up';

-- How many successful runs took how long, in steps of two percent.
CREATE TABLE etl.pipeline_duration (
	pipeline text NOT NULL,
	owner	 name NOT NULL,
	day		 date NOT NULL,
	step	 integer NOT NULL,
	runs	 integer NOT NULL,
	PRIMARY KEY (pipeline, owner, day, step)
) WITH (fillfactor = 70);
COMMENT ON TABLE etl.pipeline_duration IS 'how long the successful runs of a day took: a histogram, of which etl.pipeline_statistics makes percentiles';

CREATE TABLE etl.pipeline_status (
	pipeline			text NOT NULL,
	owner				name NOT NULL,
	last_success_at		timestamptz,
	last_success_run_id bigint,
	last_failure_at		timestamptz,
	last_failure_run_id bigint,
	failures_in_a_row	integer NOT NULL DEFAULT 0,
	is_late				boolean NOT NULL DEFAULT false,
	judged_until		timestamptz,
	PRIMARY KEY (pipeline, owner)
) WITH (fillfactor = 70);
COMMENT ON TABLE etl.pipeline_status IS 'how each pipeline is doing: its last success and failure, and whether it is late';
COMMENT ON COLUMN etl.pipeline_status.is_late IS 'lateness was noticed, and there was no success since';
COMMENT ON COLUMN etl.pipeline_status.judged_until IS 'ends of intervals up to here have been looked at for lateness';

SELECT pg_catalog.pg_extension_config_dump('etl.pipeline_day', '');
SELECT pg_catalog.pg_extension_config_dump('etl.pipeline_duration', '');
SELECT pg_catalog.pg_extension_config_dump('etl.pipeline_status', '');

CREATE FUNCTION etl._duration_step(duration interval) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT floor(ln(greatest(extract(epoch FROM duration)::float8, 0.001) / 0.001) / ln(1.02))::integer $$;
COMMENT ON FUNCTION etl._duration_step(interval) IS 'the step of the histogram that a duration is in; the first one begins at a millisecond';

CREATE FUNCTION etl._duration_of_step(step integer) RETURNS interval
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT make_interval(secs => round((0.001 * 1.02 ^ (step + 0.5))::numeric, 3)::float8) $$;
COMMENT ON FUNCTION etl._duration_of_step(integer) IS 'the duration in the middle of a step of the histogram, within a percent of all that are in it';

CREATE FUNCTION etl._count_run(r etl.run) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	today CONSTANT date := (r.ended_at AT TIME ZONE 'UTC')::date;
	took CONSTANT interval := r.ended_at - r.started_at;
BEGIN
	INSERT INTO etl.pipeline_day AS d (pipeline, owner, day, successes, failures, cancellations, run_time, fetched, loaded, quarantined, inserted, updated, deleted)
	SELECT r.pipeline, r.owner, today, (r.state = 'success')::integer, (r.state = 'failed')::integer, (r.state = 'cancelled')::integer,
		   CASE WHEN r.state = 'success' THEN coalesce(took, '0') ELSE '0' END,
		   coalesce(sum(t.fetched), 0), coalesce(sum(t.loaded), 0), coalesce(sum(t.quarantined), 0),
		   coalesce(sum(t.inserted) FILTER (WHERE r.state = 'success'), 0), coalesce(sum(t.updated) FILTER (WHERE r.state = 'success'), 0),
		   coalesce(sum(t.deleted) FILTER (WHERE r.state = 'success'), 0)
	FROM etl.task_run t WHERE t.run_id = r.run_id
	ON CONFLICT ON CONSTRAINT pipeline_day_pkey DO UPDATE SET
		successes = d.successes + excluded.successes, failures = d.failures + excluded.failures, cancellations = d.cancellations + excluded.cancellations,
		run_time = d.run_time + excluded.run_time, fetched = d.fetched + excluded.fetched, loaded = d.loaded + excluded.loaded,
		quarantined = d.quarantined + excluded.quarantined, inserted = d.inserted + excluded.inserted, updated = d.updated + excluded.updated,
		deleted = d.deleted + excluded.deleted;
	IF r.state = 'success' AND took IS NOT NULL THEN
		INSERT INTO etl.pipeline_duration AS d (pipeline, owner, day, step, runs) VALUES (r.pipeline, r.owner, today, etl._duration_step(took), 1)
		ON CONFLICT ON CONSTRAINT pipeline_duration_pkey DO UPDATE SET runs = d.runs + 1;
	END IF;
	IF r.state = 'success' THEN
		INSERT INTO etl.pipeline_status AS s (pipeline, owner, last_success_at, last_success_run_id) VALUES (r.pipeline, r.owner, r.ended_at, r.run_id)
		ON CONFLICT ON CONSTRAINT pipeline_status_pkey DO UPDATE
		SET last_success_at = excluded.last_success_at, last_success_run_id = excluded.last_success_run_id, failures_in_a_row = 0, is_late = false;
	ELSIF r.state = 'failed' THEN
		INSERT INTO etl.pipeline_status AS s (pipeline, owner, last_failure_at, last_failure_run_id, failures_in_a_row) VALUES (r.pipeline, r.owner, r.ended_at, r.run_id, 1)
		ON CONFLICT ON CONSTRAINT pipeline_status_pkey DO UPDATE
		SET last_failure_at = excluded.last_failure_at, last_failure_run_id = excluded.last_failure_run_id, failures_in_a_row = s.failures_in_a_row + 1;
	END IF;
END
$$;
COMMENT ON FUNCTION etl._count_run(etl.run) IS 'adds a run that has ended to the statistics of its pipeline';

-- A new owner's pipeline goes on where the old one's was; what was there of an earlier
-- pipeline of this name is not part of it.
CREATE FUNCTION etl._hand_over_statistics(pipeline text, old_owner name, new_owner name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	statistics_table text;
BEGIN
	FOREACH statistics_table IN ARRAY '{pipeline_day,pipeline_duration,pipeline_status,pruned_interval}'::text[] LOOP
		EXECUTE format('DELETE FROM etl.%I WHERE pipeline = $1 AND owner = $2', statistics_table) USING pipeline, new_owner;
		EXECUTE format('UPDATE etl.%I SET owner = $3 WHERE pipeline = $1 AND owner = $2', statistics_table) USING pipeline, old_owner, new_owner;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._hand_over_statistics(text, name, name) IS 'gives the statistics of a pipeline to its new owner';

CREATE FUNCTION etl._statistics_since() RETURNS date
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT (statement_timestamp() AT TIME ZONE 'UTC')::date + 1 - coalesce(nullif(current_setting('etl.statistics_days', true), '')::integer, 30) $$;
COMMENT ON FUNCTION etl._statistics_since() IS 'the first day of etl.pipeline_statistics, by etl.statistics_days';

CREATE VIEW etl.pipeline_days WITH (security_barrier) AS
	SELECT d.pipeline, d.day, d.successes + d.failures + d.cancellations AS runs, d.successes, d.failures, d.cancellations,
		   d.run_time / NULLIF(d.successes, 0) AS mean_duration, d.fetched, d.loaded, d.quarantined, d.inserted, d.updated, d.deleted
	FROM etl.pipeline_day d JOIN etl.pipeline p USING (pipeline, owner) WHERE etl._may_see(p.owner);
COMMENT ON VIEW etl.pipeline_days IS 'a row a pipeline a day of UTC on which runs ended: how they ended, and how many records and rows that was; kept when the runs are pruned';

CREATE VIEW etl.pipeline_statistics WITH (security_barrier) AS
	SELECT p.pipeline, etl._statistics_since() AS since, COALESCE(d.runs, 0) AS runs, COALESCE(d.successes, 0) AS successes,
		   COALESCE(d.failures, 0) AS failures, COALESCE(d.cancellations, 0) AS cancellations,
		   pg_catalog.round(d.successes::numeric / NULLIF(d.successes + d.failures, 0), 4) AS success_rate,
		   s.last_success_at, s.last_success_run_id, s.last_failure_at, s.last_failure_run_id, COALESCE(s.failures_in_a_row, 0) AS failures_in_a_row,
		   COALESCE(s.is_late, false) AS is_late,
		   h.p50_duration, h.p95_duration, h.p99_duration, d.run_time / NULLIF(d.successes, 0) AS mean_duration,
		   COALESCE(d.fetched, 0) AS fetched, COALESCE(d.loaded, 0) AS loaded, COALESCE(d.quarantined, 0) AS quarantined,
		   COALESCE(d.inserted, 0) AS inserted, COALESCE(d.updated, 0) AS updated, COALESCE(d.deleted, 0) AS deleted
	FROM etl.pipeline p
	LEFT JOIN etl.pipeline_status s USING (pipeline, owner)
	LEFT JOIN LATERAL (
		SELECT pg_catalog.sum(x.successes + x.failures + x.cancellations) AS runs, pg_catalog.sum(x.successes) AS successes, pg_catalog.sum(x.failures) AS failures,
			   pg_catalog.sum(x.cancellations) AS cancellations, pg_catalog.sum(x.run_time) AS run_time, pg_catalog.sum(x.fetched)::bigint AS fetched,
			   pg_catalog.sum(x.loaded)::bigint AS loaded, pg_catalog.sum(x.quarantined)::bigint AS quarantined, pg_catalog.sum(x.inserted)::bigint AS inserted,
			   pg_catalog.sum(x.updated)::bigint AS updated, pg_catalog.sum(x.deleted)::bigint AS deleted
		FROM etl.pipeline_day x WHERE x.pipeline = p.pipeline AND x.owner = p.owner AND x.day >= etl._statistics_since()) d ON true
	LEFT JOIN LATERAL (
		SELECT etl._duration_of_step(pg_catalog.min(y.step) FILTER (WHERE y.until_here >= y.total * 0.50)) AS p50_duration,
			   etl._duration_of_step(pg_catalog.min(y.step) FILTER (WHERE y.until_here >= y.total * 0.95)) AS p95_duration,
			   etl._duration_of_step(pg_catalog.min(y.step) FILTER (WHERE y.until_here >= y.total * 0.99)) AS p99_duration
		FROM (SELECT x.step, pg_catalog.sum(pg_catalog.sum(x.runs)) OVER (ORDER BY x.step) AS until_here, pg_catalog.sum(pg_catalog.sum(x.runs)) OVER () AS total
			  FROM etl.pipeline_duration x WHERE x.pipeline = p.pipeline AND x.owner = p.owner AND x.day >= etl._statistics_since() GROUP BY x.step) y) h ON true
	WHERE etl._may_see(p.owner);
COMMENT ON VIEW etl.pipeline_statistics IS 'how each pipeline did in the last days (etl.statistics_days, 30): runs, success rate, percentiles of the durations of successful runs within a percent, rows; its last success and failure ever';
