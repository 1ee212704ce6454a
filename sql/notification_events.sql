-- What is worth telling.  It is decided where a run ends, and written in that transaction:
-- what is rolled back was never an event, and what is committed is told.

CREATE FUNCTION etl._summary(event text, facts jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE event
		WHEN 'failure' THEN format('Pipeline %s failed: run %s of %s%s: %s', f.pipeline, f.run_id, f.run_date, coalesce(', task ' || f.task, ''), f.error_message)
		WHEN 'recovery' THEN format('Pipeline %s has recovered: run %s of %s succeeded after %s', f.pipeline, f.run_id, f.run_date,
				CASE WHEN f.failures > 1 THEN f.failures || ' failures' WHEN f.failures = 1 THEN 'a failure' ELSE 'being late' END)
		WHEN 'success' THEN format('Pipeline %s succeeded: run %s of %s', f.pipeline, f.run_id, f.run_date)
		WHEN 'lateness' THEN format('Pipeline %s is late: no success by %s for %s', f.pipeline, to_char(f.deadline AT TIME ZONE f.timezone, 'YYYY-MM-DD HH24:MI'),
				CASE WHEN f.late_intervals > 1 THEN f.late_intervals || ' intervals, the last of which ended at ' ELSE 'the interval that ended at ' END
				|| to_char(f.data_interval_end AT TIME ZONE f.timezone, 'YYYY-MM-DD HH24:MI'))
		ELSE format('Check %s on %s of pipeline %s: %s found, %s', f."check", f.target, f.pipeline, f.figure, f.threshold) END
	FROM jsonb_to_record(facts) f(pipeline text, run_id bigint, run_date date, task text, error_message text, failures integer, "check" text, target text,
		figure text, threshold text, deadline timestamptz, data_interval_end timestamptz, late_intervals integer, timezone text)
$$;
COMMENT ON FUNCTION etl._summary(text, jsonb) IS 'an event in a sentence';

-- Once an event and notification.  A body that cannot be made must not keep a run from ending.
CREATE FUNCTION etl._queue_notifications(event text, event_key text, pipeline text, owner name, timezone text, run_id bigint, facts jsonb, in_a_row integer DEFAULT 1) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n etl.notification;
	preset text;
	told jsonb;
BEGIN
	FOR n IN
		SELECT * FROM etl.notification x
		WHERE (x.pipeline = _queue_notifications.pipeline OR x.pipeline IS NULL AND x.owner = _queue_notifications.owner) AND event = ANY (x.events)
		  AND (in_a_row <= 1 OR coalesce((x.options ->> 'repeat')::boolean, true))
	LOOP
		BEGIN
			facts := facts || jsonb_build_object('event', event, 'pipeline', pipeline, 'timezone', timezone, 'at', clock_timestamp());
			facts := facts || jsonb_build_object('summary', left(etl._summary(event, facts), 2000));
			preset := CASE WHEN n.body IS NULL THEN coalesce(n.options ->> 'preset', 'json') END;
			told := etl._expand_body(coalesce(n.body, etl._preset_body(preset)), facts, timezone);
			INSERT INTO etl.notification_delivery (notification_id, owner, event, event_key, pipeline, run_id, body)
			VALUES (n.notification_id, n.owner, event, event_key, pipeline, run_id, CASE preset WHEN 'json' THEN jsonb_strip_nulls(told) ELSE told END)
			ON CONFLICT ON CONSTRAINT notification_delivery_notification_id_event_key_key DO NOTHING;
		EXCEPTION WHEN OTHERS THEN
			INSERT INTO etl.log_entry (level, pipeline, owner, run_id, message, detail)
			VALUES ('ERROR', pipeline, owner, run_id, format('event %s could not be told to notification %s: %s', event, n.notification_id, SQLERRM), jsonb_build_object('sqlstate', SQLSTATE));
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._queue_notifications(text, text, text, name, text, bigint, jsonb, integer) IS 'writes the outbox for an event, a row for each notification that wants it';

-- The checks of a run as they ended: a publication that was tried again has results of each attempt.
CREATE FUNCTION etl._queue_check_notifications(r etl.run, facts jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c etl.check_result;
BEGIN
	FOR c IN
		SELECT * FROM (SELECT DISTINCT ON (x.check_name) x.* FROM etl.check_result x WHERE x.run_id = r.run_id ORDER BY x.check_name, x.check_result_id DESC) latest
		WHERE NOT latest.passed
	LOOP
		PERFORM etl._queue_notifications(CASE c.severity WHEN 'warn' THEN 'check_warn' ELSE 'check_error' END, format('check:%s:%s', r.run_id, c.check_name),
			r.pipeline, r.owner, r.timezone, r.run_id,
			facts - '{task,error_code,error_message,error_detail,error_hint}'::text[] || jsonb_build_object('check', c.check_name, 'target', c.target, 'severity', c.severity,
				'figure', c.figure, 'threshold', c.threshold, 'failing_rows', c.failing_rows));
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._queue_check_notifications(etl.run, jsonb) IS 'tells of the checks of a run that failed';

CREATE FUNCTION etl._queue_run_notifications(r etl.run, before etl.pipeline_status) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	facts jsonb;
	failures CONSTANT integer := coalesce(before.failures_in_a_row, 0);
BEGIN
	IF NOT EXISTS (SELECT FROM etl.notification n WHERE n.pipeline = r.pipeline OR n.pipeline IS NULL AND n.owner = r.owner) THEN
		RETURN;
	END IF;
	facts := jsonb_build_object('run_id', r.run_id, 'run_date', r.run_date, 'data_interval_start', r.data_interval_start, 'data_interval_end', r.data_interval_end,
		'trigger', r.trigger, 'state', r.state, 'duration', r.ended_at - r.started_at, 'task', r.error_task, 'error_code', r.error_code,
		'error_message', left(r.error_message, 2000), 'error_detail', left(r.error_detail, 2000), 'error_hint', left(r.error_hint, 2000));
	IF r.state = 'failed' THEN
		PERFORM etl._queue_notifications('failure', format('failure:%s', r.run_id), r.pipeline, r.owner, r.timezone, r.run_id,
			facts || jsonb_build_object('failures', failures + 1), failures + 1);
	ELSIF r.state = 'success' THEN
		IF failures > 0 OR before.is_late THEN
			PERFORM etl._queue_notifications('recovery', format('recovery:%s', r.run_id), r.pipeline, r.owner, r.timezone, r.run_id, facts || jsonb_build_object('failures', failures));
		END IF;
		PERFORM etl._queue_notifications('success', format('success:%s', r.run_id), r.pipeline, r.owner, r.timezone, r.run_id, facts);
	END IF;
	PERFORM etl._queue_check_notifications(r, facts);
END
$$;
COMMENT ON FUNCTION etl._queue_run_notifications(etl.run, etl.pipeline_status) IS 'tells of the end of a run, and of its checks; before: how the pipeline was doing until then';

CREATE FUNCTION etl._note_run_end() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	before etl.pipeline_status;
BEGIN
	SELECT * INTO before FROM etl.pipeline_status s WHERE s.pipeline = new.pipeline AND s.owner = new.owner;
	PERFORM etl._count_run(new);
	PERFORM etl._queue_run_notifications(new, before);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION etl._note_run_end() IS 'trigger: counts a run that has ended and tells of it';

-- What fixtures feed is no run, and a restored row no news.
CREATE TRIGGER note_end_insert AFTER INSERT ON etl.run
	FOR EACH ROW WHEN (new.ended_at IS NOT NULL AND new.state <> 'skipped' AND new.trigger <> 'feed' AND new.queued_at >= pg_catalog.transaction_timestamp()) EXECUTE FUNCTION etl._note_run_end();
CREATE TRIGGER note_end_update AFTER UPDATE OF state ON etl.run
	FOR EACH ROW WHEN (old.ended_at IS NULL AND new.ended_at IS NOT NULL AND new.state <> 'skipped' AND new.trigger <> 'feed') EXECUTE FUNCTION etl._note_run_end();
