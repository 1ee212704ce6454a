-- Notifications: declaring them, and what becomes an event.  That they arrive is test/t/063_notifications.pl's.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE ROLE regress_no_owner LOGIN;
CREATE ROLE regress_no_other LOGIN;
CREATE ROLE regress_no_reader LOGIN IN ROLE etl_reader;
\set ECHO none
SELECT format('GRANT CREATE ON DATABASE %I TO regress_no_owner', current_database()) \gexec
\set ECHO all
-- nobody is there: what is sent fails, and is tried again in an hour
CREATE SERVER no_hook FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://127.0.0.1:9');
GRANT USAGE ON FOREIGN SERVER no_hook TO regress_no_owner;
SET SESSION AUTHORIZATION regress_no_owner;
CREATE SCHEMA no;
CREATE VIEW no.txf_t AS SELECT 1 / CASE WHEN etl.run_date() = '2024-01-02' THEN 0 ELSE 1 END AS id;
SELECT etl.create_pipeline('no');
SELECT etl.add_load('no', 'no.t', 'full', key => '{id}');
SELECT etl.add_check('no', 'no.t', 'row_count', '{"max": 0}', severity => 'warn', name => 'none');

--
-- What is refused
--
SELECT etl.add_notification('no_missing', 'no_hook');
SELECT etl.add_notification('no', 'no_server');
SELECT etl.add_notification('no', NULL);
SELECT etl.add_notification('no', 'no_hook', 'hook');
SELECT etl.add_notification('no', 'no_hook', '/{password}');
SELECT etl.add_notification('no', 'no_hook', events => '{failure,disaster}');
SELECT etl.add_notification('no', 'no_hook', events => '{}');
SELECT etl.add_notification('no', 'no_hook', events => '{NULL}');
SELECT etl.add_notification('no', 'no_hook', body => '"text"');
SELECT etl.add_notification('no', 'no_hook', body => '{"text": "{nothing}"}');
SELECT etl.add_notification('no', 'no_hook', options => '{"preset": "pigeon"}');
SELECT etl.add_notification('no', 'no_hook', body => '{}', options => '{"preset": "slack"}');
SELECT etl.add_notification('no', 'no_hook', options => '{"repeat": 1}');
SELECT etl.add_notification('no', 'no_hook', options => '{"max_attempts": 0}');
SELECT etl.add_notification('no', 'no_hook', options => '{"retry_delay": "soon"}');
SELECT etl.add_notification('no', 'no_hook', options => '{"retries": 1}');
SELECT etl.drop_notification(-1);
-- the pipeline is its owner's, and so is what is told of it
SET SESSION AUTHORIZATION regress_no_other;
SELECT etl.add_notification('no', 'no_hook');
SELECT etl.add_notification(NULL, 'no_hook');
RESET SESSION AUTHORIZATION;
REVOKE USAGE ON FOREIGN SERVER no_hook FROM regress_no_owner;
SELECT etl.add_notification('no', 'no_hook');
GRANT USAGE ON FOREIGN SERVER no_hook TO regress_no_owner;

--
-- Declared: the same server and path again alters it
--
SET SESSION AUTHORIZATION regress_no_owner;
SELECT etl.add_notification('no', 'no_hook', '/a', options => '{"retry_delay": "1 hour"}') AS a \gset
SELECT etl.add_notification('no', 'no_hook', '/a', '{success,failure,recovery,check_warn}', options => '{"retry_delay": "1 hour"}') = :a AS altered;
SELECT etl.add_notification(NULL, 'no_hook', '/{api_key}', '{failure}', options => '{"preset": "slack", "repeat": false, "retry_delay": "1 hour"}') AS b \gset
SELECT etl.add_notification('no', 'no_hook', '/c', '{failure}', '{"who": "{pipeline}", "n": "{run_id}", "of": "{data_interval_start:YYYY}", "brace": "{{}}", "why": ["{error_code}: {error_message}"]}', '{"retry_delay": "1 hour"}') AS c \gset
SELECT pipeline, owner, server, path, events, body, options, pending FROM etl.notifications ORDER BY notification_id;
SELECT regexp_replace(etl.pipeline_sql('no'), '^.*(SELECT etl.add_check)', '\1', 'w');
SET SESSION AUTHORIZATION regress_no_reader;
SELECT count(*) FROM etl.notifications;
RESET SESSION AUTHORIZATION;

--
-- Events, each once
--
CREATE VIEW pg_temp.told AS
	SELECT d.delivery_id, n.path, d.event, pg_temp.stable((d.body - '{at,run_id,n,duration}'::text[])::text) AS body FROM etl.notification_delivery d JOIN etl.notification n USING (notification_id);
SET SESSION AUTHORIZATION regress_no_owner;
SELECT * FROM pg_temp.run('no', '2024-01-01');
SELECT * FROM pg_temp.run('no', '2024-01-02');
SELECT * FROM pg_temp.run('no', '2024-01-02');
SELECT * FROM pg_temp.run('no', '2024-01-03');
RESET SESSION AUTHORIZATION;
SELECT path, event, body FROM pg_temp.told ORDER BY delivery_id;
-- values have their types, at least when they stand alone
SELECT jsonb_typeof(d.body -> 'n') FROM etl.notification_delivery d JOIN etl.notification n USING (notification_id) WHERE n.path = '/c' LIMIT 1;
-- an event that is noted again is told once
INSERT INTO etl.notification_delivery (notification_id, owner, event, event_key, pipeline, body) SELECT notification_id, owner, event, event_key, pipeline, body FROM etl.notification_delivery LIMIT 1 ON CONFLICT DO NOTHING;
SELECT etl._queue_notifications('failure', d.event_key, 'no', 'regress_no_owner', 'UTC', d.run_id, '{}') FROM etl.notification_delivery d WHERE d.event = 'failure' LIMIT 1;
SELECT count(*) FROM etl.notification_delivery;
-- who sees what was told
SET SESSION AUTHORIZATION regress_no_owner;
SELECT count(*) FROM etl.notification_log;
SET SESSION AUTHORIZATION regress_no_reader;
SELECT count(*) FROM etl.notification_log;
RESET SESSION AUTHORIZATION;
-- a body that cannot be made keeps no run from ending
UPDATE etl.notification SET body = '{"when": "{data_interval_start:YYYY}"}' WHERE path = '/c';
CREATE FUNCTION pg_temp.broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken'; END $$;
CREATE TRIGGER broken BEFORE INSERT ON etl.notification_delivery FOR EACH ROW WHEN (new.event = 'failure') EXECUTE FUNCTION pg_temp.broken();
SELECT etl._queue_notifications('failure', 'x', 'no', 'regress_no_owner', 'UTC', NULL, '{}');
SELECT level, regexp_replace(message, 'notification \d+', 'notification N') AS message, detail FROM etl.log WHERE pipeline = 'no' AND message ~ 'broken' ORDER BY log_id;
DROP TRIGGER broken ON etl.notification_delivery;

--
-- Lateness, by a clock of ours: a yearly pipeline that has a day
--
SET etl.clock = '2024-12-31 00:00Z';
BEGIN;
SELECT etl.alter_pipeline('no', schedule => '@yearly', deadline => '1 day', end_date => '2026-06-01');
-- nobody else is to run it, by another clock
UPDATE etl.schedule_state SET due_at = NULL WHERE pipeline = 'no';
COMMIT;
SELECT etl._next_lateness_at();
SELECT etl.drop_notification(:a);
SELECT count(*) AS given_up FROM etl.notification_log WHERE notification_id = :a AND state = 'failed';
DELETE FROM etl.notification_delivery;
SELECT etl.add_notification('no', 'no_hook', '/late', '{lateness,recovery}', options => '{"retry_delay": "1 hour"}') AS late \gset
SELECT etl._next_lateness_at();
SET etl.clock = '2025-01-01 23:59Z';
SELECT etl._judge_lateness();
SELECT count(*) FROM pg_temp.told;
SET etl.clock = '2025-01-02 00:00Z';
SELECT etl._judge_lateness();
SELECT etl._judge_lateness();
SELECT path, event, body FROM pg_temp.told ORDER BY delivery_id;
SELECT is_late FROM etl.pipeline_statistics WHERE pipeline = 'no';
SELECT etl._next_lateness_at();
-- a success ends it
SET SESSION AUTHORIZATION regress_no_owner;
CALL etl.run('no', '2024-01-01 00:00Z', '2025-01-01 00:00Z');
SELECT is_late FROM etl.pipeline_statistics WHERE pipeline = 'no';
RESET SESSION AUTHORIZATION;
SELECT path, event, body::jsonb ->> 'summary' AS summary FROM pg_temp.told ORDER BY delivery_id DESC LIMIT 1;
-- in time: nothing to tell; a paused pipeline is not late; nor is one of which nobody wants to know
SET etl.clock = '2026-01-03 00:00Z';
INSERT INTO etl.run (run_id, pipeline, owner, data_interval_start, data_interval_end, run_date, timezone, trigger, state, requested_by, queued_at, ended_at)
VALUES (-1, 'no', 'regress_no_owner', '2025-01-01 00:00Z', '2026-01-01 00:00Z', '2025-01-01', 'UTC', 'manual', 'success', current_user, '2020-01-01', '2020-01-01');
SELECT etl._judge_lateness();
SELECT count(*) FROM pg_temp.told WHERE event = 'lateness';
SET etl.clock = '2027-01-03 00:00Z';
SELECT etl.pause('no');
SELECT etl._judge_lateness();
SELECT etl._next_lateness_at();
SELECT count(*) FROM pg_temp.told WHERE event = 'lateness';
RESET etl.clock;

--
-- With the pipeline they go to another owner, and with it they go
--
SELECT etl.drop_notification(:b);
REASSIGN OWNED BY regress_no_owner TO regress_no_other;
SELECT etl.alter_pipeline('no', owner => 'regress_no_other');
SELECT DISTINCT owner FROM etl.notifications WHERE pipeline = 'no';
SELECT etl.drop_pipeline('no', drop_data => true);
SELECT count(*) FROM etl.notifications;

-- NOTIFY: what may be told, and to whom
SELECT etl._shown_message('22P02', 'invalid input syntax for type integer: "4711 0815"');
SELECT etl._shown_message('08006', 'GET https://api failed: "reset"');
SELECT length(etl._shown_message('08006', repeat('x', 9000)));
SET etl.notify = 'some';
SET SESSION AUTHORIZATION regress_no_owner;
SET etl.notify = 'off';
RESET SESSION AUTHORIZATION;

DELETE FROM etl.notification_delivery;
DELETE FROM etl.run WHERE pipeline = 'no';
DROP SCHEMA no CASCADE;
DROP SERVER no_hook CASCADE;
\set ECHO none
SELECT format('REVOKE CREATE ON DATABASE %I FROM regress_no_owner', current_database()) \gexec
\set ECHO all
DROP OWNED BY regress_no_owner, regress_no_other;
DROP ROLE regress_no_owner, regress_no_other, regress_no_reader;
