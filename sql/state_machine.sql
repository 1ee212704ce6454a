-- The states of runs, task runs and loads, and every transition there is.  The picture
-- is in src/run/README.md; a transition that is not listed here cannot be committed.

CREATE TABLE etl.state_transition (
	machine	   text NOT NULL,
	from_state text NOT NULL,
	to_state   text NOT NULL,
	meaning	   text NOT NULL,
	PRIMARY KEY (machine, from_state, to_state)
);
COMMENT ON TABLE etl.state_transition IS 'the state machines of runs, task runs and loads: every transition that can happen';

INSERT INTO etl.state_transition VALUES
	('run', 'queued', 'running', 'the coordinator started it'),
	('run', 'queued', 'failed', 'it cannot start: its owner or definition is gone, or what its caller would wait for is not under way'),
	('run', 'queued', 'cancelled', 'cancelled before it started'),
	('run', 'running', 'success', 'every task succeeded and the result is published'),
	('run', 'running', 'failed', 'a task failed for good, or it took longer than run_timeout'),
	('run', 'running', 'cancelled', 'cancelled while it ran'),
	('task_run', 'queued', 'running', 'a worker took it; the attempt is counted before it starts'),
	('task_run', 'queued', 'failed', 'no worker can run it'),
	('task_run', 'queued', 'skipped', 'nothing to do'),
	('task_run', 'queued', 'upstream_failed', 'a task it needs failed'),
	('task_run', 'queued', 'cancelled', 'the run was cancelled'),
	('task_run', 'running', 'success', 'done; committed together with its work'),
	('task_run', 'running', 'failed', 'failed, no attempts left'),
	('task_run', 'running', 'up_for_retry', 'failed, to be tried again'),
	('task_run', 'running', 'queued', 'the publication it was part of is tried again'),
	('task_run', 'running', 'skipped', 'nothing to do'),
	('task_run', 'running', 'upstream_failed', 'a part of the publication it was in failed'),
	('task_run', 'running', 'cancelled', 'the run was cancelled'),
	('task_run', 'up_for_retry', 'running', 'a worker took the next attempt'),
	('task_run', 'up_for_retry', 'failed', 'no worker can run it'),
	('task_run', 'up_for_retry', 'cancelled', 'the run was cancelled'),
	('load', 'loading', 'complete', 'the last slice is committed'),
	('load', 'loading', 'abandoned', 'its definition changed before it was complete'),
	('load', 'complete', 'published', 'readers see it'),
	('load', 'complete', 'abandoned', 'it was not published and the source is asked again'),
	('load', 'published', 'superseded', 'a newer load of its interval is published'),
	('load', 'published', 'expired', 'it is older than its task keeps raw records');

CREATE FUNCTION etl._check_transition() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_OP = 'UPDATE' AND old.state = new.state THEN
		RETURN new;
	END IF;
	IF TG_OP = 'UPDATE' AND NOT EXISTS (
		SELECT FROM etl.state_transition t
		WHERE t.machine = TG_TABLE_NAME AND t.from_state = old.state AND t.to_state = new.state)
	THEN
		RAISE EXCEPTION '% cannot go from state "%" to "%"', replace(TG_TABLE_NAME, '_', ' '), old.state, new.state
			USING ERRCODE = 'check_violation',
				  HINT = 'etl.state_transition lists every transition there is.';
	END IF;
	RETURN new;
END
$$;
COMMENT ON FUNCTION etl._check_transition() IS 'trigger: refuses transitions that etl.state_transition does not list';

CREATE TRIGGER check_transition BEFORE UPDATE OF state ON etl.run
	FOR EACH ROW EXECUTE FUNCTION etl._check_transition();
CREATE TRIGGER check_transition BEFORE UPDATE OF state ON etl.task_run
	FOR EACH ROW EXECUTE FUNCTION etl._check_transition();
CREATE TRIGGER check_transition BEFORE UPDATE OF state ON etl.load
	FOR EACH ROW EXECUTE FUNCTION etl._check_transition();

ALTER TABLE etl.run ADD CONSTRAINT run_state_check
	CHECK (state IN ('queued', 'running', 'success', 'failed', 'cancelled', 'skipped'));
ALTER TABLE etl.task_run ADD CONSTRAINT task_run_state_check
	CHECK (state IN ('queued', 'running', 'success', 'failed', 'skipped', 'upstream_failed', 'up_for_retry', 'cancelled'));
ALTER TABLE etl.load ADD CONSTRAINT load_state_check
	CHECK (state IN ('loading', 'complete', 'published', 'superseded', 'abandoned', 'expired'));
