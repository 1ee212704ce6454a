-- What of a run gets attempts of its own, and what waits for what.  A pipeline is published
-- in one transaction, that of the task "publish" which all loads and checks are part of; or
-- per task: each raw table, each load and each call by itself, with its checks.

CREATE TYPE etl._planned_task AS (task text, kind text, ordinal integer, depends_on text[], part_of text, trigger_rule text);
COMMENT ON TYPE etl._planned_task IS 'a task of a run: what it waits for, and whose attempts and transaction it shares';

CREATE FUNCTION etl._plan_as_one(pipeline text) RETURNS SETOF etl._planned_task
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	WITH planned AS (
		SELECT o.task, o.kind, o.ordinal, o.depends_on, coalesce(t.definition ->> 'trigger_rule', 'all_success') AS trigger_rule,
			   o.kind = 'extract' OR coalesce(t.definition ->> 'transaction' = 'own', false) AS is_alone
		FROM etl._task_order(pipeline) o JOIN etl.task t ON t.pipeline = _plan_as_one.pipeline AND t.task = o.task)
	SELECT p.task, p.kind, p.ordinal,
		   CASE WHEN NOT p.is_alone OR p.depends_on = '{}' THEN p.depends_on
				ELSE ARRAY(SELECT DISTINCT CASE WHEN d.is_alone THEN d.task ELSE 'publish' END FROM planned d WHERE d.task = ANY (p.depends_on)) END,
		   CASE WHEN NOT p.is_alone THEN 'publish' END, p.trigger_rule
	FROM planned p
	UNION ALL
	SELECT 'publish', 'publish', 0,
		   ARRAY(SELECT p.task FROM planned p WHERE p.kind = 'extract'
				 UNION SELECT d.task FROM planned p JOIN planned d ON d.task = ANY (p.depends_on) WHERE NOT p.is_alone AND d.is_alone), NULL, 'all_success'
	WHERE EXISTS (SELECT FROM planned p WHERE p.kind = 'extract' OR NOT p.is_alone);
END
$$;
COMMENT ON FUNCTION etl._plan_as_one(text) IS 'the tasks of a run that is published in one transaction';

-- A check is part of what fills its target, so that it is asked before anybody sees that;
-- unless it also needs what is filled from there: then it comes after.
CREATE FUNCTION etl._plan_per_task(pipeline text) RETURNS SETOF etl._planned_task
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	planned etl._planned_task[];
	-- edges between what has attempts of its own: who waits, and for whom
	waiting text[];
	needed text[];
	parts text[] := '{}';
	wholes text[] := '{}';
	k record;
BEGIN
	SELECT array_agg((o.task, o.kind, o.ordinal, o.depends_on, NULL, coalesce(t.definition ->> 'trigger_rule', 'all_success'))::etl._planned_task ORDER BY o.ordinal)
	INTO planned FROM etl._task_order(pipeline) o JOIN etl.task t ON t.pipeline = _plan_per_task.pipeline AND t.task = o.task;
	SELECT array_agg(e.task), array_agg(e.needs) INTO waiting, needed FROM (
		SELECT p.task, CASE d.kind WHEN 'extract' THEN 'publish ' || d.task ELSE d.task END AS needs
		FROM unnest(planned) p JOIN unnest(planned) d ON d.task = ANY (p.depends_on)
		UNION ALL
		SELECT 'publish ' || p.task, p.task FROM unnest(planned) p WHERE p.kind = 'extract') e;
	FOR k IN
		SELECT p.task, CASE f.kind WHEN 'extract' THEN 'publish ' || f.task ELSE f.task END AS whole
		FROM unnest(planned) p
		JOIN etl.task c ON c.pipeline = _plan_per_task.pipeline AND c.task = p.task
		JOIN etl.task t ON t.pipeline = c.pipeline AND t.kind IN ('extract', 'load') AND t.target_schema = c.target_schema AND t.target_name = c.target_name
		JOIN unnest(planned) f ON f.task = t.task
		WHERE p.kind = 'check' ORDER BY p.ordinal
	LOOP
		CONTINUE WHEN EXISTS (
			WITH RECURSIVE before(task) AS (
				SELECT e.needs FROM unnest(waiting, needed) e(task, needs) WHERE e.task = k.task AND e.needs <> k.whole
				UNION
				SELECT e.needs FROM before b JOIN unnest(waiting, needed) e(task, needs) ON e.task = b.task)
			SELECT FROM before b WHERE b.task = k.whole);
		parts := parts || k.task;
		wholes := wholes || k.whole;
		waiting := array_replace(waiting, k.task, k.whole);
		needed := array_replace(needed, k.task, k.whole);
	END LOOP;
	RETURN QUERY
	SELECT p.task, p.kind, p.ordinal,
		   CASE WHEN w.whole IS NOT NULL THEN p.depends_on
				-- for_each goes by what those it reads from have fetched: see etl._open_load
				ELSE ARRAY(SELECT e.needs FROM unnest(waiting, needed) e(task, needs) WHERE e.task = p.task AND e.needs <> e.task
						   UNION SELECT d.task FROM unnest(planned) d WHERE p.kind = 'extract' AND d.kind = 'extract' AND d.task = ANY (p.depends_on)) END,
		   w.whole, p.trigger_rule
	FROM unnest(planned) p LEFT JOIN unnest(parts, wholes) w(task, whole) ON w.task = p.task
	UNION ALL
	SELECT 'publish ' || p.task, 'publish', p.ordinal,
		   ARRAY(SELECT DISTINCT e.needs FROM unnest(waiting, needed) e(task, needs) WHERE e.task = 'publish ' || p.task AND e.needs <> e.task), NULL, 'all_success'
	FROM unnest(planned) p WHERE p.kind = 'extract';
END
$$;
COMMENT ON FUNCTION etl._plan_per_task(text) IS 'the tasks of a run that is published task by task';

-- The rows of a run.  Cleanups that name nothing they wait for wait for all the rest.
CREATE FUNCTION etl._plan_run(r etl.run) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	planned etl._planned_task[];
	per_task boolean := etl._publish_mode(r.pipeline) = 'per_task';
BEGIN
	IF NOT EXISTS (SELECT FROM etl.task t WHERE t.pipeline = r.pipeline) THEN
		RETURN;
	END IF;
	IF per_task THEN
		planned := ARRAY(SELECT x FROM etl._plan_per_task(r.pipeline) x);
	ELSE
		planned := ARRAY(SELECT x FROM etl._plan_as_one(r.pipeline) x);
	END IF;
	WITH whole AS (
		INSERT INTO etl.task_run (run_id, task, kind, position, depends_on, trigger_rule, pool)
		SELECT r.run_id, x.task, x.kind, x.ordinal,
			   CASE WHEN x.trigger_rule = 'all_done' AND x.depends_on = '{}' THEN ARRAY(SELECT y.task FROM unnest(planned) y WHERE y.part_of IS NULL AND y.trigger_rule <> 'all_done')
					ELSE x.depends_on END,
			   x.trigger_rule, coalesce(t.definition #>> '{options,pool}', p.pool)
		FROM unnest(planned) x JOIN etl.pipeline p ON p.pipeline = r.pipeline
		LEFT JOIN etl.task t ON t.pipeline = r.pipeline AND t.task = x.task
		WHERE x.part_of IS NULL ORDER BY x.ordinal
		RETURNING task_run_id, task)
	INSERT INTO etl.task_run (run_id, task, kind, position, depends_on, part_of)
	SELECT r.run_id, x.task, x.kind, x.ordinal, x.depends_on, w.task_run_id
	FROM unnest(planned) x JOIN whole w ON w.task = x.part_of ORDER BY x.ordinal;
	-- rebuilt from raw: nothing is fetched
	UPDATE etl.task_run t SET state = 'skipped', ended_at = clock_timestamp()
	WHERE t.run_id = r.run_id AND r.trigger = 'reprocess' AND (t.kind = 'extract' OR t.kind = 'publish' AND per_task);
	-- what is not to be done anew; a part is done with its whole
	UPDATE etl.task_run t SET state = 'skipped', ended_at = clock_timestamp()
	WHERE t.run_id = r.run_id AND r.only_tasks IS NOT NULL AND t.state = 'queued' AND t.task <> 'publish'
	  AND NOT regexp_replace(t.task, CASE t.kind WHEN 'publish' THEN '^publish ' ELSE '^$' END, '') = ANY (r.only_tasks)
	  AND NOT EXISTS (SELECT FROM etl.task_run x WHERE x.part_of = t.task_run_id AND x.task = ANY (r.only_tasks));
	PERFORM etl._give_up_poisoned_tasks(r);
END
$$;
COMMENT ON FUNCTION etl._plan_run(etl.run) IS 'writes the tasks of a run that starts';

-- What has taken its workers along in earlier runs of the interval does not get another one.
CREATE FUNCTION etl._give_up_poisoned_tasks(r etl.run) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE etl.task_run t SET state = 'failed', ended_at = clock_timestamp(), error_code = '57P02',
		error_message = etl._crash_message(c.crashes), error_hint = etl._crash_hint(r.pipeline)
	FROM (SELECT x.task_run_id, etl._crashes_in_a_row(r, x.task) AS crashes, (etl._task_settings(p, x.task)).max_crashes
		  FROM etl.task_run x JOIN etl.pipeline p ON p.pipeline = r.pipeline
		  WHERE x.run_id = r.run_id AND x.part_of IS NULL
			AND EXISTS (SELECT FROM etl.run y JOIN etl.task_run z USING (run_id) JOIN etl.task_attempt a USING (task_run_id)
						WHERE y.pipeline = r.pipeline AND y.data_interval_start = r.data_interval_start AND z.task = x.task AND a.error_code = '57P02')) c
	WHERE t.task_run_id = c.task_run_id AND t.state = 'queued' AND c.crashes >= c.max_crashes;
END
$$;
COMMENT ON FUNCTION etl._give_up_poisoned_tasks(etl.run) IS 'fails tasks of a run that starts whose last attempts for the interval all lost their worker';
