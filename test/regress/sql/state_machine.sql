-- The state machines: every transition that is listed works, every other is refused.
-- All pairs are tried on rows of their own.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
-- out of a coordinator's sight
\set ON_ERROR_ROLLBACK on
BEGIN;
\set ECHO all
INSERT INTO etl.run (run_id, pipeline, owner, data_interval_start, data_interval_end, run_date, timezone, trigger, requested_by)
VALUES (-1, 'sm', current_user, '2024-01-01', '2024-01-02', '2024-01-01', 'UTC', 'manual', current_user);
CREATE FUNCTION pg_temp.tried(machine text, from_state text, to_state text) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
	IF machine = 'run' THEN
		INSERT INTO etl.run (run_id, pipeline, owner, data_interval_start, data_interval_end, run_date, timezone, trigger, requested_by, state, ended_at)
		VALUES (-2, 'sm', current_user, '2024-01-02', '2024-01-03', '2024-01-02', 'UTC', 'manual', current_user, from_state,
				CASE WHEN from_state NOT IN ('queued', 'running') THEN now() END);
		UPDATE etl.run SET state = to_state, ended_at = CASE WHEN to_state NOT IN ('queued', 'running') THEN now() END WHERE run_id = -2;
	ELSIF machine = 'task_run' THEN
		INSERT INTO etl.task_run (task_run_id, run_id, task, kind, position, state) VALUES (-2, -1, 'sm', 'load', 1, from_state);
		UPDATE etl.task_run SET state = to_state WHERE task_run_id = -2;
	ELSE
		INSERT INTO etl.load (load_id, owner, pipeline, task, target_schema, target_name, data_interval_start, data_interval_end, run_id, fingerprint, state)
		VALUES (-2, current_user, 'sm', 'sm', 'sm', 'sm', '2024-01-01', '2024-01-02', -1, '', from_state);
		UPDATE etl.load SET state = to_state WHERE load_id = -2;
	END IF;
	RAISE EXCEPTION USING ERRCODE = 'ZZZZZ';		-- undo
EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
	RETURN 'allowed';
WHEN check_violation THEN
	RETURN 'refused';
END
$$;
CREATE TEMPORARY TABLE states AS
	SELECT machine, state FROM (VALUES
		('run', '{queued,running,success,failed,cancelled,skipped}'::text[]),
		('task_run', '{queued,running,success,failed,skipped,upstream_failed,up_for_retry,cancelled}'),
		('load', '{loading,complete,published,superseded,abandoned,expired}')) v(machine, states), unnest(states) state;
CREATE TEMPORARY TABLE outcome AS
	SELECT a.machine, a.state AS from_state, b.state AS to_state, pg_temp.tried(a.machine, a.state, b.state) AS outcome
	FROM states a JOIN states b USING (machine) WHERE a.state <> b.state;
-- what is allowed is what is listed
SELECT coalesce(o.machine, t.machine) AS machine, coalesce(o.from_state, t.from_state), coalesce(o.to_state, t.to_state), o.outcome
FROM (SELECT * FROM outcome WHERE outcome = 'allowed') o FULL JOIN etl.state_transition t USING (machine, from_state, to_state)
WHERE o.machine IS NULL OR t.machine IS NULL;
SELECT machine, count(*) FILTER (WHERE outcome = 'allowed') AS allowed, count(*) FILTER (WHERE outcome = 'refused') AS refused FROM outcome GROUP BY 1 ORDER BY 1;
SELECT machine, from_state, to_state, meaning FROM etl.state_transition ORDER BY machine, from_state, to_state;
-- final states are final
SELECT machine, state FROM states s WHERE NOT EXISTS (SELECT FROM etl.state_transition t WHERE t.machine = s.machine AND t.from_state = s.state) ORDER BY 1, 2;
-- every state but those a row can begin in can be reached
SELECT machine, state FROM states s WHERE NOT EXISTS (SELECT FROM etl.state_transition t WHERE t.machine = s.machine AND t.to_state = s.state) ORDER BY 1, 2;

-- how a refusal reads
UPDATE etl.run SET state = 'success', ended_at = now() WHERE run_id = -1;
\echo :LAST_ERROR_SQLSTATE
-- staying is no transition
UPDATE etl.run SET state = 'queued' WHERE run_id = -1;
-- no state that is not one, also at the beginning; ended or not, but not both
UPDATE etl.run SET state = 'paused' WHERE run_id = -1;
\set VERBOSITY sqlstate
INSERT INTO etl.run (run_id, pipeline, owner, data_interval_start, data_interval_end, run_date, timezone, trigger, requested_by, state)
VALUES (-3, 'sm', current_user, '2024-01-05', '2024-01-06', '2024-01-05', 'UTC', 'manual', current_user, 'paused');
UPDATE etl.run SET ended_at = now() WHERE run_id = -1;
UPDATE etl.run SET state = 'cancelled' WHERE run_id = -1;
\set VERBOSITY default
-- one active run of an interval at a time
INSERT INTO etl.run (run_id, pipeline, owner, data_interval_start, data_interval_end, run_date, timezone, trigger, requested_by)
VALUES (-3, 'sm', current_user, '2024-01-01', '2024-01-02', '2024-01-01', 'UTC', 'manual', current_user);
-- fetched = loaded + quarantined, always
\set VERBOSITY terse
INSERT INTO etl.load (load_id, owner, pipeline, task, target_schema, target_name, data_interval_start, data_interval_end, run_id, fingerprint, fetched, loaded, quarantined)
VALUES (-3, current_user, 'sm', 'sm', 'sm', 'sm', '2024-01-01', '2024-01-02', -1, '', 3, 1, 1);
\set VERBOSITY default
DELETE FROM etl.task_run WHERE task_run_id < 0;
DELETE FROM etl.run WHERE run_id < 0;
\set ON_ERROR_ROLLBACK off
ROLLBACK;
