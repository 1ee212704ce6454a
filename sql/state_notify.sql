-- What others are told when a run or a task changes its state: NOTIFY, as part of the
-- transaction that changes it.  What is rolled back is not told.

-- A notification has less than 8,000 bytes, and everybody who may connect can listen: values
-- that an error quotes are left out, as they may be data.
CREATE FUNCTION etl._shown_message(code text, message text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT left(CASE WHEN left(code, 2) IN ('22', '23', 'P0') THEN regexp_replace(message, '"[^"]*"|''[^'']*''', '"…"', 'g') ELSE message END, 500)
$$;
COMMENT ON FUNCTION etl._shown_message(text, text) IS 'an error''s message as anybody may hear it: cut, and without what it quotes where that may be data';

CREATE FUNCTION etl._notify_state(event text, r etl.run, task text, state text, previous_state text, code text, message text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
	SELECT pg_notify('etl', jsonb_strip_nulls(jsonb_build_object('event', event, 'pipeline', r.pipeline, 'run_id', r.run_id, 'task', left(task, 300),
		'state', state, 'previous_state', previous_state, 'data_interval_start', r.data_interval_start, 'data_interval_end', r.data_interval_end,
		'at', clock_timestamp(), 'error_code', code, 'error_message', etl._shown_message(code, message)))::text)
$$;
COMMENT ON FUNCTION etl._notify_state(text, etl.run, text, text, text, text, text) IS 'tells who listens on channel etl of a change of state, if the transaction commits';

-- etl.notify says what is told: all, runs, off.
CREATE FUNCTION etl._told(what text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE coalesce(nullif(current_setting('etl.notify', true), ''), 'all') WHEN 'all' THEN true WHEN 'runs' THEN what = 'run' ELSE false END $$;
COMMENT ON FUNCTION etl._told(text) IS 'whether changes of the state of runs, or tasks, are told by NOTIFY';

CREATE FUNCTION etl._tell_run_state() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF etl._told('run') THEN
		PERFORM etl._notify_state('run', new, NULL, new.state, CASE WHEN TG_OP = 'UPDATE' THEN old.state END, new.error_code, new.error_message);
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION etl._tell_run_state() IS 'trigger: tells who listens of a run''s new state';

CREATE FUNCTION etl._tell_task_state() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r etl.run;
BEGIN
	IF etl._told('task') THEN
		SELECT * INTO r FROM etl.run x WHERE x.run_id = new.run_id;
		PERFORM etl._notify_state('task', r, new.task, new.state, old.state, new.error_code, new.error_message);
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION etl._tell_task_state() IS 'trigger: tells who listens of a task''s new state';

-- A restored row was queued long before: its insert is no news.
CREATE TRIGGER tell_insert AFTER INSERT ON etl.run
	FOR EACH ROW WHEN (new.queued_at >= pg_catalog.transaction_timestamp()) EXECUTE FUNCTION etl._tell_run_state();
CREATE TRIGGER tell_update AFTER UPDATE OF state ON etl.run
	FOR EACH ROW WHEN (old.state <> new.state) EXECUTE FUNCTION etl._tell_run_state();
CREATE TRIGGER tell_update AFTER UPDATE OF state ON etl.task_run
	FOR EACH ROW WHEN (old.state <> new.state) EXECUTE FUNCTION etl._tell_task_state();
