-- What went wrong, as a report to read and statements to type.  All of it is read from the
-- views, with the caller's rights: nobody learns here what they would not see there.

CREATE FUNCTION etl._diagnose_run(r etl.runs) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('run %s of pipeline "%s": %s', r.run_id, r.pipeline, r.state)
	UNION ALL
	SELECT format('interval %s to %s%s', r.data_interval_start, r.data_interval_end, CASE WHEN r.interval_is_open THEN ', run before it was over' END)
	UNION ALL
	SELECT format('%s, asked for by %s at %s', CASE WHEN r.retry_of IS NULL THEN r.trigger ELSE format('%s of run %s', r.trigger, r.retry_of) END,
				  r.requested_by, date_trunc('second', r.queued_at))
	UNION ALL
	SELECT CASE WHEN r.ended_at IS NULL THEN format('started at %s', date_trunc('second', r.started_at))
				ELSE format('ran from %s to %s', date_trunc('second', r.started_at), date_trunc('second', r.ended_at)) END
	WHERE r.started_at IS NOT NULL
	UNION ALL
	SELECT 'tasks: ' || string_agg(format('%s %s', n, state), ', ' ORDER BY state)
	FROM (SELECT t.state, count(*) AS n FROM etl.task_runs t WHERE t.run_id = r.run_id GROUP BY t.state) s HAVING count(*) > 0
	UNION ALL
	SELECT format('now: %s: %s', p.task, p.activity) FROM etl.progress p WHERE p.run_id = r.run_id AND p.activity <> ''
$$;
COMMENT ON FUNCTION etl._diagnose_run(etl.runs) IS 'section "run" of etl.diagnose: which run it is';

CREATE FUNCTION etl._diagnose_cause(r etl.runs) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 'task: ' || r.error_task WHERE r.error_task IS NOT NULL
	UNION ALL SELECT 'SQLSTATE: ' || r.error_code WHERE r.error_code IS NOT NULL
	UNION ALL SELECT 'message: ' || r.error_message WHERE r.error_message IS NOT NULL
	UNION ALL SELECT 'detail: ' || r.error_detail WHERE r.error_detail IS NOT NULL
	UNION ALL SELECT 'hint: ' || r.error_hint WHERE r.error_hint IS NOT NULL
	UNION ALL
	SELECT format('pipeline: %s', p.cannot_run_because) FROM etl.pipelines p WHERE p.pipeline = r.pipeline AND p.cannot_run_because IS NOT NULL
	UNION ALL
	SELECT format('pipeline "%s" is no longer declared', r.pipeline) WHERE NOT EXISTS (SELECT FROM etl.pipelines p WHERE p.pipeline = r.pipeline)
$$;
COMMENT ON FUNCTION etl._diagnose_cause(etl.runs) IS 'section "cause" of etl.diagnose: the error of a run';

CREATE FUNCTION etl._diagnose_attempts(r etl.runs) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('%s attempt %s: %s%s, %s', a.task, a.attempt, a.state, coalesce(format(' with %s: %s', a.error_code, a.error_message), ''), date_trunc('second', a.started_at))
	FROM (SELECT x.* FROM etl.task_attempts x JOIN etl.task_runs t ON t.run_id = x.run_id AND t.task = x.task
		  WHERE x.run_id = r.run_id AND t.state <> 'success' ORDER BY x.started_at DESC LIMIT 20) a
	ORDER BY a.started_at
$$;
COMMENT ON FUNCTION etl._diagnose_attempts(etl.runs) IS 'section "attempts" of etl.diagnose: of the tasks that did not succeed';

CREATE FUNCTION etl._diagnose_data(r etl.runs) RETURNS TABLE (section text, line text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 'checks', l.line
	FROM (SELECT DISTINCT ON (c.check_name) c.* FROM etl.check_results c WHERE c.run_id = r.run_id ORDER BY c.check_name, c.check_result_id DESC) c
	CROSS JOIN LATERAL (
		SELECT 0 AS n, format('check "%s" (%s, %s) on %s: %s found, allowed: %s', c.check_name, c.check_type, CASE WHEN c.waived THEN 'waived' ELSE c.severity END,
							  c.target, c.figure, c.threshold) AS line
		UNION ALL
		SELECT s.n, '  ' || left(s.sample::text, 300) FROM jsonb_array_elements(c.sample) WITH ORDINALITY s(sample, n) WHERE s.n <= 3
		UNION ALL
		SELECT 1, '  the failing rows are for the owner to see' WHERE c.sample IS NULL) l
	WHERE NOT c.passed
	UNION ALL
	SELECT 'quarantine', format('%s: %s %s (%s)%s', q.task, q.records, CASE q.records WHEN 1 THEN 'record' ELSE 'records' END, q.reason_code,
		CASE WHEN q.reason IS NULL THEN '; reason and record are for the owner to see' ELSE format(', for example %s: %s', q.quarantine_id, q.reason) END)
	FROM (SELECT x.task, x.reason_code, count(*) AS records, min(x.quarantine_id) AS quarantine_id, (array_agg(x.reason ORDER BY x.quarantine_id))[1] AS reason
		  FROM etl.quarantine x JOIN etl.loads l USING (load_id) WHERE l.run_id = r.run_id GROUP BY x.task, x.reason_code ORDER BY 3 DESC LIMIT 10) q
	UNION ALL
	SELECT 'items', format('%s: item %s failed with %s: %s', e.task, coalesce(e.item_values::text, e.item::text), e.error_code, e.error_message)
	FROM (SELECT x.* FROM etl.item_errors x JOIN etl.loads l USING (load_id) WHERE l.run_id = r.run_id ORDER BY x.failed_at DESC LIMIT 5) e
$$;
COMMENT ON FUNCTION etl._diagnose_data(etl.runs) IS 'sections "checks", "quarantine" and "items" of etl.diagnose: the data that were refused';

CREATE FUNCTION etl._diagnose_last_good(r etl.runs) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('this interval has succeeded since, as run %s', x.run_id)
	FROM (SELECT max(y.run_id) AS run_id FROM etl.runs y WHERE y.pipeline = r.pipeline AND y.data_interval_start = r.data_interval_start
		  AND y.data_interval_end = r.data_interval_end AND y.state = 'success' AND y.run_id > r.run_id) x WHERE x.run_id IS NOT NULL AND r.state <> 'success'
	UNION ALL
	SELECT coalesce((SELECT format('interval %s to %s, run %s of %s', x.data_interval_start, x.data_interval_end, x.run_id, date_trunc('second', x.ended_at))
					 FROM etl.runs x WHERE x.pipeline = r.pipeline AND x.state = 'success' ORDER BY x.data_interval_start DESC, x.run_id DESC LIMIT 1),
					'no run of the pipeline has succeeded yet')
	UNION ALL
	SELECT 'that is what readers see: of the failed run nothing was published' WHERE r.state IN ('failed', 'cancelled')
		AND EXISTS (SELECT FROM etl.runs x WHERE x.pipeline = r.pipeline AND x.state = 'success')
		AND NOT EXISTS (SELECT FROM etl.loads l WHERE l.run_id = r.run_id AND l.state = 'published')
$$;
COMMENT ON FUNCTION etl._diagnose_last_good(etl.runs) IS 'section "last good" of etl.diagnose: the latest interval that succeeded';

CREATE FUNCTION etl._diagnose_waiting(r etl.runs) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('run %s of pipeline "%s", interval %s, is queued', x.run_id, x.pipeline, x.data_interval_start)
	FROM (SELECT y.* FROM etl.runs y LEFT JOIN etl.pipelines p USING (pipeline)
		  WHERE y.state = 'queued' AND y.run_id <> r.run_id AND (y.pipeline = r.pipeline OR r.pipeline = ANY (p.after)) ORDER BY y.data_interval_start LIMIT 10) x
	UNION ALL
	SELECT format('later intervals of pipeline "%s", which depends on its past', p.pipeline) FROM etl.pipelines p WHERE p.pipeline = r.pipeline AND p.depends_on_past
	UNION ALL
	SELECT format('pipeline "%s", which runs after it', p.pipeline) FROM etl.pipelines p WHERE r.pipeline = ANY (p.after)
	UNION ALL
	SELECT format('pipeline "%s", which its publications trigger', p.pipeline) FROM etl.pipelines p WHERE r.pipeline = ANY (p.triggered_by)
	UNION ALL
	SELECT format('backfill %s: %s of %s intervals done, %s failed', b.backfill_id, b.success, b.intervals, b.failed) FROM etl.backfills b WHERE b.pipeline = r.pipeline AND b.state = 'running'
$$;
COMMENT ON FUNCTION etl._diagnose_waiting(etl.runs) IS 'section "waiting" of etl.diagnose: what goes on only once the run has succeeded';

-- Lines that begin with -- say when to type the one below.
CREATE FUNCTION etl._diagnose_next(r etl.runs) RETURNS SETOF text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipelines;
	failed_checks text[];
	fetched_tasks text[];
	q record;
	later bigint;
BEGIN
	SELECT * INTO p FROM etl.pipelines x WHERE x.pipeline = r.pipeline;
	IF p.pipeline IS NULL THEN
		RETURN NEXT '-- the pipeline is gone: declare it again, and run the interval';
		RETURN;
	END IF;
	IF p.paused THEN
		RETURN NEXT '-- nothing runs while it is paused';
		RETURN NEXT format('SELECT etl.resume(%L);', p.pipeline);
	END IF;
	IF r.state IN ('queued', 'running') THEN
		RETURN NEXT format('SELECT etl.wait(%s);', r.run_id);
		RETURN NEXT format('SELECT etl.cancel(%s);', r.run_id);
		RETURN;
	END IF;
	IF r.state = 'success' THEN
		RETURN NEXT '-- nothing is wrong; to do it again all the same';
		RETURN NEXT format('SELECT etl.clear(%s);', r.run_id);
		RETURN;
	END IF;
	SELECT max(x.run_id) INTO later FROM etl.runs x
	WHERE x.pipeline = r.pipeline AND x.data_interval_start = r.data_interval_start AND x.data_interval_end = r.data_interval_end AND x.run_id > r.run_id AND x.state <> 'cancelled';
	IF later IS NOT NULL THEN
		RETURN NEXT '-- the interval was run again since';
		RETURN NEXT format('SELECT * FROM etl.diagnose(%s);', later);
		RETURN;
	END IF;
	failed_checks := ARRAY(SELECT DISTINCT c.check_name FROM etl.check_results c JOIN etl.tasks t ON t.pipeline = c.pipeline AND t.task = c.check_name AND t.kind = 'check'
		WHERE c.run_id = r.run_id AND NOT c.passed AND NOT c.waived AND c.severity = 'error' ORDER BY 1);
	FOR q IN SELECT x.task, bool_or(x.load_state IN ('complete', 'published')) AS can_be_replayed
			 FROM etl.quarantine x JOIN etl.loads l USING (load_id) WHERE l.run_id = r.run_id GROUP BY x.task ORDER BY 1 LOOP
		RETURN NEXT '-- the refused records; with the task declared anew, or corrected by etl.correct_quarantined, they can be tried again';
		RETURN NEXT format('SELECT quarantine_id, reason, convert_from(record, ''UTF8'') FROM etl.quarantine WHERE pipeline = %L AND task = %L;', r.pipeline, q.task);
		IF q.can_be_replayed THEN
			RETURN NEXT format('SELECT * FROM etl.replay_quarantine(%L, %L);', r.pipeline, q.task);
		END IF;
	END LOOP;
	RETURN NEXT CASE
		WHEN r.state = 'cancelled' THEN '-- go on where it was cancelled'
		WHEN failed_checks <> '{}' THEN '-- the view is put right, or what it reads: load and check again what was fetched'
		WHEN r.error_code LIKE '28%' THEN '-- once the source accepts the credentials: go on where it failed'
		WHEN r.error_code LIKE 'HV%' OR r.error_code LIKE '08%' THEN '-- once the source answers as it should: go on where it failed'
		WHEN r.error_code LIKE '57%' OR r.error_code LIKE '53%' THEN '-- go on where it failed'
		ELSE '-- once the cause is put right: go on where it failed' END;
	RETURN NEXT format('SELECT etl.retry(%s);', r.run_id);
	IF failed_checks <> '{}' THEN
		RETURN NEXT '-- or publish in spite of the check, this once; the reason is kept';
		RETURN NEXT format('SELECT etl.retry(%s, waive => %L, reason => %L);', r.run_id, failed_checks::text, 'accepted by ' || current_user);
	END IF;
	fetched_tasks := ARRAY(SELECT DISTINCT l.task FROM etl.loads l JOIN etl.tasks t ON t.pipeline = l.pipeline AND t.task = l.task AND t.kind = 'extract'
		WHERE l.run_id = r.run_id AND l.state IN ('loading', 'complete') ORDER BY 1);
	IF fetched_tasks <> '{}' THEN
		RETURN NEXT '-- or ask the source again, as what it sent was wrong';
		RETURN QUERY SELECT format('SELECT etl.clear(%s, %L);', r.run_id, t) FROM unnest(fetched_tasks) t;
	END IF;
END
$$;
COMMENT ON FUNCTION etl._diagnose_next(etl.runs) IS 'section "next" of etl.diagnose: statements to type';

CREATE FUNCTION etl.diagnose(run bigint DEFAULT NULL) RETURNS TABLE (section text, line text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r etl.runs;
BEGIN
	IF run IS NULL THEN
		SELECT * INTO r FROM etl.runs x WHERE x.state = 'failed' ORDER BY x.ended_at DESC, x.run_id DESC LIMIT 1;
		IF NOT FOUND THEN
			RETURN QUERY VALUES ('run', 'no run has failed, of those you may see');
			RETURN;
		END IF;
	ELSE
		SELECT * INTO r FROM etl.runs x WHERE x.run_id = run;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'run % does not exist', run
				USING ERRCODE = 'undefined_object', HINT = 'etl.runs lists the runs you may see.';
		END IF;
	END IF;
	RETURN QUERY SELECT s.section, l FROM (
		SELECT 'run' AS section, t FROM etl._diagnose_run(r) t
		UNION ALL SELECT 'cause', t FROM etl._diagnose_cause(r) t
		UNION ALL SELECT 'attempts', t FROM etl._diagnose_attempts(r) t
		UNION ALL SELECT d.section, d.line FROM etl._diagnose_data(r) d
		UNION ALL SELECT 'last good', t FROM etl._diagnose_last_good(r) t
		UNION ALL SELECT 'waiting', t FROM etl._diagnose_waiting(r) t
		UNION ALL
		(SELECT 'log', format('%s %s %s%s', to_char(g.logged_at, 'YYYY-MM-DD HH24:MI:SS'), g.level, coalesce(g.task || ': ', ''), g.message)
		 FROM (SELECT x.* FROM etl.log x WHERE x.run_id = r.run_id ORDER BY x.log_id DESC LIMIT 10) g ORDER BY g.log_id)
		UNION ALL SELECT 'next', t FROM etl._diagnose_next(r) t) s
	CROSS JOIN LATERAL regexp_split_to_table(s.t, E'\n') l;
END
$$;
COMMENT ON FUNCTION etl.diagnose(bigint) IS
	'what became of a run, by default of the last one that failed: cause, attempts, failing rows, quarantine, the last good interval, what waits, the log, and under "next" the statements to type';
