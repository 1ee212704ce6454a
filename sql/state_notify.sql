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

-- Commits that notify wait for each other, until each is on disk: workers would lose what
-- they gain from working in parallel.  They leave word here, in the transaction that makes
-- the change, and the coordinator tells it.
CREATE TABLE etl.task_news (
	news_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	payload text NOT NULL
);
COMMENT ON TABLE etl.task_news IS 'changes of state of tasks that are still to be told by NOTIFY';

CREATE FUNCTION etl._tell_task_news() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	told bigint;
BEGIN
	IF EXISTS (SELECT FROM etl.task_news) THEN
		WITH news AS (
			DELETE FROM etl.task_news n WHERE n.news_id = ANY (ARRAY(SELECT x.news_id FROM etl.task_news x ORDER BY x.news_id LIMIT 10000 FOR UPDATE SKIP LOCKED))
			RETURNING n.news_id, n.payload)
		SELECT count(pg_notify('etl', o.payload)) INTO told FROM (SELECT * FROM news ORDER BY news_id) o;
	END IF;
END
$$;
COMMENT ON FUNCTION etl._tell_task_news() IS 'tells who listens on channel etl what tasks have left word of';

-- etl.notify says what is told: all, runs, off.
CREATE FUNCTION etl._tell_run_state() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF coalesce(current_setting('etl.notify', true), '') <> 'off' THEN
		PERFORM etl._tell_task_news() WHERE new.ended_at IS NOT NULL;		-- its tasks first
		PERFORM pg_notify('etl', jsonb_strip_nulls(jsonb_build_object('event', 'run', 'pipeline', new.pipeline, 'run_id', new.run_id, 'state', new.state,
			'previous_state', CASE WHEN TG_OP = 'UPDATE' THEN old.state END, 'data_interval_start', new.data_interval_start, 'data_interval_end', new.data_interval_end,
			'at', clock_timestamp(), 'error_code', new.error_code,
			'error_message', CASE WHEN new.error_message IS NOT NULL THEN etl._shown_message(new.error_code, new.error_message) END))::text);
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION etl._tell_run_state() IS 'trigger: tells who listens on channel etl of a run''s new state, if the transaction commits';

CREATE FUNCTION etl._tell_task_state() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF coalesce(current_setting('etl.notify', true), '') IN ('', 'all') THEN
		INSERT INTO etl.task_news (payload)
		SELECT jsonb_strip_nulls(jsonb_build_object('event', 'task', 'pipeline', r.pipeline, 'run_id', r.run_id, 'task', left(new.task, 300),
			'state', new.state, 'previous_state', old.state, 'data_interval_start', r.data_interval_start, 'data_interval_end', r.data_interval_end,
			'at', clock_timestamp(), 'error_code', new.error_code,
			'error_message', CASE WHEN new.error_message IS NOT NULL THEN etl._shown_message(new.error_code, new.error_message) END))::text
		FROM etl.run r WHERE r.run_id = new.run_id;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION etl._tell_task_state() IS 'trigger: leaves word of a task''s new state';

-- A restored row was queued long before: its insert is no news.
CREATE TRIGGER tell_insert AFTER INSERT ON etl.run
	FOR EACH ROW WHEN (new.queued_at >= pg_catalog.transaction_timestamp()) EXECUTE FUNCTION etl._tell_run_state();
CREATE TRIGGER tell_update AFTER UPDATE OF state ON etl.run
	FOR EACH ROW WHEN (old.state <> new.state) EXECUTE FUNCTION etl._tell_run_state();
CREATE TRIGGER tell_update AFTER UPDATE OF state ON etl.task_run
	FOR EACH ROW WHEN (old.state <> new.state) EXECUTE FUNCTION etl._tell_task_state();
