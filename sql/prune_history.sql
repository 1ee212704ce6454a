-- How long history is kept.  docs/operations.md has the rule of every table.
--
-- Runs go with all that is about them.  What goes on depending on them does not: the
-- intervals that have succeeded are kept as ranges, statistics as days, the ledger of loads
-- as it is.  Deleted is in small batches and what nobody has locked, so that nothing waits.

-- An interval that has succeeded stays one, though its run is pruned.
CREATE TABLE etl.pruned_interval (
	pipeline  text NOT NULL,
	owner	  name NOT NULL,
	intervals tstzmultirange NOT NULL,
	PRIMARY KEY (pipeline, owner)
);
COMMENT ON TABLE etl.pruned_interval IS 'the data intervals whose successful runs have been pruned, as ranges: asked by etl._succeeded_long_ago';

CREATE TABLE etl.maintenance (
	task	text PRIMARY KEY,
	done_at timestamptz NOT NULL
);
COMMENT ON TABLE etl.maintenance IS 'when the coordinator has last done what it does rarely';

SELECT pg_catalog.pg_extension_config_dump('etl.pruned_interval', '');

-- By an expression: the primary key cannot take its place, and walk through all runs for
-- those of a pipeline that runs once a year.
CREATE INDEX run_pipeline ON etl.run (pipeline, (-run_id));
CREATE INDEX run_success ON etl.run (pipeline, data_interval_end) WHERE state = 'success';
CREATE INDEX run_failed ON etl.run (ended_at) WHERE state = 'failed';
CREATE INDEX load_run ON etl.load (run_id);
CREATE INDEX load_expired ON etl.load (pipeline, data_interval_end) WHERE state = 'expired';
CREATE INDEX load_reclaimed ON etl.load (pipeline, reclaimed_at) WHERE reclaimed_at IS NOT NULL;
CREATE INDEX load_with_details ON etl.load (pipeline, published_at) WHERE state = 'published' AND details_pruned_at IS NULL;
CREATE INDEX check_result_of_check ON etl.check_result (pipeline, check_name, check_result_id);
CREATE INDEX check_result_by_hand ON etl.check_result (pipeline, checked_at) WHERE run_id IS NULL;
CREATE INDEX log_entry_of_no_run ON etl.log_entry (pipeline, logged_at) WHERE run_id IS NULL;
CREATE INDEX quarantined_record_age ON etl.quarantined_record (pipeline, quarantined_at) WHERE replayed_at IS NULL;
CREATE INDEX quarantined_record_replayed ON etl.quarantined_record (pipeline, replayed_at) WHERE replayed_at IS NOT NULL;

-- A few rows of many change all the time: by a fraction of the table autovacuum and
-- ANALYZE would come later and later as history grows.
ALTER TABLE etl.run SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02, fillfactor = 80);
ALTER TABLE etl.task_run SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02, fillfactor = 80);
ALTER TABLE etl.task_attempt SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02, fillfactor = 80);
ALTER TABLE etl.load SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02, fillfactor = 80);
ALTER TABLE etl.slice SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE etl.log_entry SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE FUNCTION etl._succeeded_long_ago(pipeline text, interval_start timestamptz, interval_end timestamptz) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT EXISTS (SELECT FROM etl.pruned_interval i JOIN etl.pipeline p USING (pipeline, owner)
				   WHERE i.pipeline = _succeeded_long_ago.pipeline AND i.intervals @> tstzrange(interval_start, interval_end))
$$;
COMMENT ON FUNCTION etl._succeeded_long_ago(text, timestamptz, timestamptz) IS 'whether an interval has had a successful run that has been pruned since';

-- A time that is -1 is for ever: NULL.
CREATE FUNCTION etl._kept_for(setting text) RETURNS interval
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE WHEN current_setting('etl.' || setting) NOT LIKE '-%' THEN current_setting('etl.' || setting)::interval END $$;
COMMENT ON FUNCTION etl._kept_for(text) IS 'a setting that says how long something is kept; NULL: for ever';

CREATE TYPE etl._history_rule AS (pipeline text, keep_history interval, keep_runs integer, keep_quarantine interval);
COMMENT ON TYPE etl._history_rule IS 'how long the history of a pipeline is kept, NULL: for ever';

CREATE FUNCTION etl._history_rule(pipeline text, keep_history interval, keep_runs integer) RETURNS etl._history_rule
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT (_history_rule.pipeline, coalesce(_history_rule.keep_history, p.keep_history, etl._kept_for('keep_history')),
			coalesce(_history_rule.keep_runs, p.keep_runs, nullif(current_setting('etl.keep_runs')::integer, -1)), etl._kept_for('keep_quarantine'))::etl._history_rule
	FROM (VALUES (1)) one LEFT JOIN etl.pipeline p ON p.pipeline = _history_rule.pipeline
$$;
COMMENT ON FUNCTION etl._history_rule(text, interval, integer) IS 'what is kept of a pipeline: as given, as declared, or by the settings';

-- Dropped pipelines have a history, too: what there is is found by skipping from name to
-- name in an index.
CREATE FUNCTION etl._next_pipeline_with_history(after text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT least((SELECT r.pipeline FROM etl.run r WHERE r.pipeline > coalesce(_next_pipeline_with_history.after, '') ORDER BY r.pipeline LIMIT 1),
				 (SELECT p.pipeline FROM etl.pipeline p WHERE p.pipeline > coalesce(_next_pipeline_with_history.after, '') ORDER BY p.pipeline LIMIT 1))
$$;
COMMENT ON FUNCTION etl._next_pipeline_with_history(text) IS 'the next pipeline that is declared or has runs, by name; NULL: there is none';

-- Runs that stay whatever their age: the ones that what is there now is made of.
CREATE FUNCTION etl._needed_runs(pipeline text) RETURNS SETOF bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT f.run_id FROM etl.freshness f WHERE f.pipeline = _needed_runs.pipeline
	UNION
	(SELECT r.run_id FROM etl.run r WHERE r.pipeline = _needed_runs.pipeline AND r.state = 'success' ORDER BY r.data_interval_start DESC, r.run_id DESC LIMIT 1)
	UNION
	-- open intervals are completed by the next run
	SELECT r.run_id FROM etl.run r WHERE r.pipeline = _needed_runs.pipeline AND r.interval_is_open AND r.state = 'success'
	  AND NOT EXISTS (SELECT FROM etl.run y WHERE y.pipeline = r.pipeline AND y.data_interval_start = r.data_interval_start AND y.state = 'success' AND y.run_id > r.run_id)
	UNION
	SELECT i.run_id FROM etl.backfill_request b JOIN etl.backfill_interval i USING (backfill_id) WHERE b.pipeline = _needed_runs.pipeline AND b.state = 'running' AND i.run_id IS NOT NULL
	UNION
	-- their loads are gone on with
	SELECT l.run_id FROM etl.load l WHERE l.pipeline = _needed_runs.pipeline AND l.state IN ('loading', 'complete')
$$;
COMMENT ON FUNCTION etl._needed_runs(text) IS 'runs of a pipeline that are never pruned: the latest success, also of each target, open intervals, backfills under way, loads not yet published';

-- The latest few stay whatever their age: a yearly pipeline has a past, too.
CREATE FUNCTION etl._runs_to_prune(rule etl._history_rule, how_many integer) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- OFFSET NULL is none
	by_count CONSTANT bigint := CASE WHEN rule.keep_runs IS NOT NULL THEN (SELECT r.run_id FROM etl.run r WHERE r.pipeline = rule.pipeline ORDER BY -r.run_id OFFSET rule.keep_runs LIMIT 1) END;
	too_old CONSTANT timestamptz := now() - rule.keep_history;
	needed bigint[];
	by_age CONSTANT bigint := (SELECT r.run_id FROM etl.run r WHERE r.pipeline = rule.pipeline ORDER BY -r.run_id OFFSET 20 LIMIT 1);
BEGIN
	-- the first ones by two indexes: EXISTS would be planned as a walk through all runs
	IF by_count IS NULL AND (SELECT r.ended_at FROM etl.run r WHERE r.pipeline = rule.pipeline ORDER BY r.ended_at LIMIT 1) < too_old IS NOT TRUE THEN
		RETURN;
	END IF;
	needed := ARRAY(SELECT etl._needed_runs(rule.pipeline));
	RETURN QUERY
	SELECT x.run_id FROM (
		(SELECT r.run_id FROM etl.run r WHERE r.pipeline = rule.pipeline AND -r.run_id >= -by_count AND r.ended_at IS NOT NULL AND NOT r.run_id = ANY (needed)
		 ORDER BY -r.run_id DESC LIMIT how_many)
		UNION
		(SELECT r.run_id FROM etl.run r WHERE r.pipeline = rule.pipeline AND r.ended_at < too_old AND r.run_id <= by_age AND NOT r.run_id = ANY (needed)
		 ORDER BY r.ended_at LIMIT how_many)) x
	LIMIT how_many;
END
$$;
COMMENT ON FUNCTION etl._runs_to_prune(etl._history_rule, integer) IS 'the oldest runs of a pipeline that are not kept';

CREATE FUNCTION etl._prune_runs(rule etl._history_rule, how_many integer) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	runs bigint[];
	task_runs bigint[];
BEGIN
	SELECT array_agg(r.run_id) INTO runs
	FROM (SELECT x.run_id FROM etl.run x WHERE x.run_id = ANY (ARRAY(SELECT etl._runs_to_prune(rule, how_many))) AND x.ended_at IS NOT NULL FOR UPDATE SKIP LOCKED) r;
	IF runs IS NULL THEN
		RETURN 0;
	END IF;
	INSERT INTO etl.pruned_interval AS i (pipeline, owner, intervals)
	SELECT r.pipeline, r.owner, range_agg(tstzrange(r.data_interval_start, r.data_interval_end)) FROM etl.run r
	WHERE r.run_id = ANY (runs) AND r.state = 'success' GROUP BY 1, 2
	ON CONFLICT ON CONSTRAINT pruned_interval_pkey DO UPDATE SET intervals = i.intervals + excluded.intervals;
	WITH gone AS (DELETE FROM etl.task_run t WHERE t.run_id = ANY (runs) RETURNING t.task_run_id)
	SELECT array_agg(g.task_run_id) INTO task_runs FROM gone g;
	DELETE FROM etl.task_attempt a WHERE a.task_run_id = ANY (task_runs);
	DELETE FROM etl.check_result c WHERE c.run_id = ANY (runs);
	DELETE FROM etl.log_entry e WHERE e.run_id = ANY (runs);
	DELETE FROM etl.cancel_request q WHERE q.run_id = ANY (runs);
	DELETE FROM etl.check_waiver w WHERE w.run_id = ANY (runs);
	DELETE FROM etl.run r WHERE r.run_id = ANY (runs);
	RETURN cardinality(runs);
END
$$;
COMMENT ON FUNCTION etl._prune_runs(etl._history_rule, integer) IS 'deletes runs of a pipeline that are not kept, with all that is about them; returns how many';

-- Loads that nobody can see any more, and whose rows are gone.  The latest expired one
-- stays: it says since when the pipeline can be rebuilt.
CREATE FUNCTION etl._prune_loads(rule etl._history_rule, how_many integer) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	loads bigint[];
BEGIN
	SELECT array_agg(x.load_id) INTO loads
	FROM (SELECT l.load_id FROM etl.load l
		  WHERE l.reclaimed_at < now() - rule.keep_history AND l.pipeline = rule.pipeline AND l.state IN ('superseded', 'abandoned', 'expired')
			AND NOT (l.state = 'expired' AND l.data_interval_end = (SELECT max(y.data_interval_end) FROM etl.load y WHERE y.pipeline = l.pipeline AND y.owner = l.owner AND y.state = 'expired'))
		  ORDER BY l.reclaimed_at LIMIT how_many FOR UPDATE SKIP LOCKED) x;
	IF loads IS NULL THEN
		RETURN 0;
	END IF;
	DELETE FROM etl.slice s WHERE s.load_id = ANY (loads);
	DELETE FROM etl.routed_slice s WHERE s.load_id = ANY (loads);
	DELETE FROM etl.load_item i WHERE i.load_id = ANY (loads);
	DELETE FROM etl.item_error e WHERE e.load_id = ANY (loads);
	DELETE FROM etl.load_watermark w WHERE w.load_id = ANY (loads);
	DELETE FROM etl.slice_watermark w WHERE w.load_id = ANY (loads);
	DELETE FROM etl.load_shape h WHERE h.load_id = ANY (loads);
	DELETE FROM etl.quarantined_record q WHERE q.load_id = ANY (loads);
	DELETE FROM etl.load l WHERE l.load_id = ANY (loads);
	RETURN cardinality(loads);
END
$$;
COMMENT ON FUNCTION etl._prune_loads(etl._history_rule, integer) IS 'deletes loads of a pipeline that were reclaimed long ago, with their pages and quarantine; returns how many';

-- Published loads stay: the ledger says what readers see.  Of their pages those do that are
-- still of use: an answer of 304 refers to one, a quarantined record may be replayed.
CREATE FUNCTION etl._prune_load_details(rule etl._history_rule, how_many integer) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	loads bigint[];
BEGIN
	WITH old AS (
		SELECT l.load_id FROM etl.load l
		WHERE l.state = 'published' AND l.details_pruned_at IS NULL AND l.published_at < now() - rule.keep_history AND l.pipeline = rule.pipeline
		ORDER BY l.published_at LIMIT how_many FOR UPDATE SKIP LOCKED),
	marked AS (
		UPDATE etl.load l SET details_pruned_at = clock_timestamp() FROM old WHERE l.load_id = old.load_id RETURNING l.load_id)
	SELECT array_agg(m.load_id) INTO loads FROM marked m;
	IF loads IS NULL THEN
		RETURN 0;
	END IF;
	DELETE FROM etl.slice s WHERE s.load_id = ANY (loads) AND s.request_key IS NULL AND s.quarantined = 0;
	DELETE FROM etl.load_item i WHERE i.load_id = ANY (loads)
	  AND NOT EXISTS (SELECT FROM etl.slice s WHERE s.load_id = i.load_id AND s.item = i.item);
	DELETE FROM etl.item_error e WHERE e.load_id = ANY (loads);
	DELETE FROM etl.load_shape h WHERE h.load_id = ANY (loads);
	RETURN cardinality(loads);
END
$$;
COMMENT ON FUNCTION etl._prune_load_details(etl._history_rule, integer) IS 'deletes what is no longer of use about the pages of old published loads; returns of how many';

-- What was never replayed is kept longer, and what a page still stands for that the source
-- does not send again as long as it does.
CREATE FUNCTION etl._prune_quarantine(rule etl._history_rule, how_many integer) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	replayed bigint;
	given_up bigint;
BEGIN
	DELETE FROM etl.quarantined_record q WHERE q.quarantine_id = ANY (ARRAY(
		SELECT x.quarantine_id FROM etl.quarantined_record x
		WHERE x.replayed_at < now() - rule.keep_history AND x.pipeline = rule.pipeline
		ORDER BY x.replayed_at LIMIT how_many FOR UPDATE SKIP LOCKED));
	GET DIAGNOSTICS replayed = ROW_COUNT;
	DELETE FROM etl.quarantined_record q WHERE q.quarantine_id = ANY (ARRAY(
		SELECT x.quarantine_id FROM etl.quarantined_record x
		WHERE x.replayed_at IS NULL AND x.quarantined_at < now() - rule.keep_quarantine AND x.pipeline = rule.pipeline
		  AND NOT EXISTS (SELECT FROM etl.load l WHERE l.load_id = x.load_id AND l.state IN ('loading', 'complete'))
		  AND NOT EXISTS (SELECT FROM etl.slice s JOIN etl.load l USING (load_id)
						  WHERE s.load_id = x.load_id AND s.slice = x.slice AND s.request_key IS NOT NULL AND l.state = 'published')
		ORDER BY x.quarantined_at LIMIT how_many FOR UPDATE SKIP LOCKED));
	GET DIAGNOSTICS given_up = ROW_COUNT;
	INSERT INTO etl.log_entry (level, pipeline, owner, message)
	SELECT 'WARN', p.pipeline, p.owner, format('%s quarantined records were deleted, which nobody had replayed within %s', given_up, rule.keep_quarantine)
	FROM etl.pipeline p WHERE p.pipeline = rule.pipeline AND given_up > 0;
	RETURN replayed + given_up;
END
$$;
COMMENT ON FUNCTION etl._prune_quarantine(etl._history_rule, integer) IS 'deletes quarantined records of a pipeline that were replayed long ago, or never within etl.keep_quarantine; returns how many';

-- What is of a pipeline and of no run.
CREATE FUNCTION etl._prune_others(rule etl._history_rule, how_many integer) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	results bigint;
	entries bigint;
	deliveries bigint;
	backfills bigint[];
BEGIN
	DELETE FROM etl.check_result c WHERE c.check_result_id = ANY (ARRAY(
		SELECT x.check_result_id FROM etl.check_result x
		WHERE x.run_id IS NULL AND x.checked_at < now() - rule.keep_history AND x.pipeline = rule.pipeline ORDER BY x.checked_at LIMIT how_many));
	GET DIAGNOSTICS results = ROW_COUNT;
	DELETE FROM etl.log_entry e WHERE e.log_id = ANY (ARRAY(
		SELECT x.log_id FROM etl.log_entry x
		WHERE x.run_id IS NULL AND x.logged_at < now() - rule.keep_history AND x.pipeline = rule.pipeline ORDER BY x.logged_at LIMIT how_many));
	GET DIAGNOSTICS entries = ROW_COUNT;
	DELETE FROM etl.notification_delivery d WHERE d.delivery_id = ANY (ARRAY(
		SELECT x.delivery_id FROM etl.notification_delivery x
		WHERE x.ended_at < now() - rule.keep_history AND x.pipeline = rule.pipeline ORDER BY x.ended_at LIMIT how_many));
	GET DIAGNOSTICS deliveries = ROW_COUNT;
	WITH gone AS (DELETE FROM etl.backfill_request b WHERE b.pipeline = rule.pipeline AND b.ended_at < now() - rule.keep_history RETURNING b.backfill_id)
	SELECT coalesce(array_agg(g.backfill_id), '{}') INTO backfills FROM gone g;
	DELETE FROM etl.backfill_interval i WHERE i.backfill_id = ANY (backfills);
	DELETE FROM etl.pipeline_day d WHERE d.pipeline = rule.pipeline AND d.day < current_date - 1826;
	DELETE FROM etl.pipeline_duration d WHERE d.pipeline = rule.pipeline AND d.day < current_date - 1826;
	RETURN results + entries + deliveries + cardinality(backfills);
END
$$;
COMMENT ON FUNCTION etl._prune_others(etl._history_rule, integer) IS 'deletes results of checks by hand, log entries of no run, what notifications sent, backfills, and statistics of days more than five years ago; returns how many of the former';

CREATE FUNCTION etl._prune_pipeline(rule etl._history_rule, how_many integer,
	OUT runs bigint, OUT loads bigint, OUT load_details bigint, OUT quarantined_records bigint, OUT other_entries bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	runs := etl._prune_runs(rule, how_many);
	loads := etl._prune_loads(rule, how_many);
	load_details := etl._prune_load_details(rule, how_many);
	quarantined_records := etl._prune_quarantine(rule, how_many);
	other_entries := etl._prune_others(rule, how_many);
END
$$;
COMMENT ON FUNCTION etl._prune_pipeline(etl._history_rule, integer) IS 'prunes the history of one pipeline: at most so many of each kind';

-- By the coordinator, when it has nothing else to do: one small transaction a call, from
-- pipeline to pipeline, at most every six hours through all of them.
CREATE FUNCTION etl._prune_step(after text, how_many integer DEFAULT 200) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
AS $$
DECLARE
	pipeline text := after;
	gone record;
	began CONSTANT timestamptz := clock_timestamp();
BEGIN
	IF after IS NULL AND EXISTS (SELECT FROM etl.maintenance m WHERE m.task = 'prune_history' AND m.done_at > clock_timestamp() - interval '6 hours') THEN
		RETURN NULL;
	END IF;
	LOOP
		after := coalesce(pipeline, '');
		pipeline := etl._next_pipeline_with_history(after);
		EXIT WHEN pipeline IS NULL;
		gone := etl._prune_pipeline(etl._history_rule(pipeline, NULL, NULL), how_many);
		IF greatest(gone.runs, gone.loads, gone.load_details, gone.quarantined_records, gone.other_entries) >= how_many THEN
			RETURN after;		-- there is more of this one
		ELSIF clock_timestamp() > began + interval '50 ms' THEN
			RETURN pipeline;
		END IF;
	END LOOP;
	INSERT INTO etl.maintenance AS m VALUES ('prune_history', clock_timestamp()) ON CONFLICT (task) DO UPDATE SET done_at = excluded.done_at;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION etl._prune_step(text, integer) IS 'a bit of pruning; returns the pipeline to go on after, NULL when all has been done lately';

CREATE TYPE etl.prune_result AS (pipeline text, runs bigint, loads bigint, load_details bigint, quarantined_records bigint, other_entries bigint);
COMMENT ON TYPE etl.prune_result IS 'a row a pipeline, as etl.prune_history returns them';

CREATE FUNCTION etl._prune_history_as_owner(pipeline text, keep_history interval, keep_runs integer, dry_run boolean) RETURNS etl.prune_result[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	by_superuser CONSTANT boolean := (SELECT o.rolsuper FROM pg_roles o WHERE o.rolname = etl._acting_role());
	name text := '';
	gone record;
	total etl.prune_result;
	results etl.prune_result[] := '{}';
BEGIN
	IF keep_history < interval '0' OR keep_runs < 0 THEN
		RAISE EXCEPTION 'invalid %', CASE WHEN keep_runs < 0 THEN format('keep_runs: %s', keep_runs) ELSE format('keep_history: %s', keep_history) END
			USING ERRCODE = 'invalid_parameter_value', HINT = 'keep_history is an interval and keep_runs a number of runs, of zero or more; what is not given is as declared.';
	END IF;
	-- the history of a dropped pipeline is a superuser's
	IF pipeline IS NOT NULL AND NOT (by_superuser AND EXISTS (SELECT FROM etl.run r WHERE r.pipeline = _prune_history_as_owner.pipeline)) THEN
		PERFORM etl._own_pipeline(pipeline);
	END IF;
	LOOP
		name := CASE WHEN pipeline IS NULL THEN etl._next_pipeline_with_history(name) WHEN name = '' THEN pipeline END;
		EXIT WHEN name IS NULL;
		CONTINUE WHEN NOT by_superuser AND NOT EXISTS (SELECT FROM etl.pipeline p WHERE p.pipeline = name AND etl._is_member(p.owner, etl._acting_role()));
		total := (name, 0, 0, 0, 0, 0);
		BEGIN
			LOOP
				gone := etl._prune_pipeline(etl._history_rule(name, keep_history, keep_runs), 1000);
				total.runs := total.runs + gone.runs;
				total.loads := total.loads + gone.loads;
				total.load_details := total.load_details + gone.load_details;
				total.quarantined_records := total.quarantined_records + gone.quarantined_records;
				total.other_entries := total.other_entries + gone.other_entries;
				EXIT WHEN gone.runs + gone.loads + gone.load_details + gone.quarantined_records + gone.other_entries = 0;
			END LOOP;
			IF dry_run THEN
				RAISE EXCEPTION 'taken back' USING ERRCODE = 'ETL01';
			END IF;
		EXCEPTION WHEN SQLSTATE 'ETL01' THEN
			NULL;
		END;
		IF total.runs + total.loads + total.load_details + total.quarantined_records + total.other_entries > 0 THEN
			results := results || total;
		END IF;
	END LOOP;
	RETURN results;
END
$$;
CREATE FUNCTION etl._prune_history(pipeline text, keep_history interval, keep_runs integer, dry_run boolean) RETURNS etl.prune_result[]
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._prune_history_as_owner(text, interval, integer, boolean) IS 'does what etl._prune_history does, with the rights of the extension';
COMMENT ON FUNCTION etl._prune_history(text, interval, integer, boolean) IS 'prunes the history of pipelines of the acting role';

CREATE FUNCTION etl.prune_history(pipeline text DEFAULT NULL, keep_history interval DEFAULT NULL, keep_runs integer DEFAULT NULL, dry_run boolean DEFAULT false)
RETURNS SETOF etl.prune_result
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM unnest(etl._prune_history(pipeline, keep_history, keep_runs, dry_run)) $$;
COMMENT ON FUNCTION etl.prune_history(text, interval, integer, boolean) IS
	'deletes history that is not kept any longer, of one pipeline or all one owns, by the given limits or those declared; returns how much; with dry_run => true only says so';
