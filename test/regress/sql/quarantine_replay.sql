-- Quarantined records tried again: after the declaration changed, after they were corrected,
-- by whom, and what the ledger says.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
\getenv api ETL_TEST_API
CREATE SERVER qr_api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url :'api', retry_delay '10 ms', max_retry_delay '20 ms');
CREATE SCHEMA qr;
-- what the source sends: three records {"id", "value", "updated_at"} a row, one field of the second set to anything
CREATE TABLE qr.source (n integer, field text, json text);
INSERT INTO qr.source VALUES (1, 'value', '7'), (2, 'value', '"ok"'), (3, 'id', 'null'), (4, 'value', 'bare'), (5, 'extra', '1');
CREATE FUNCTION pg_temp.declare(value_type text, arguments text DEFAULT '') RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format($sql$SELECT etl.add_extract('qr', 'qr.r', 'qr_api', path => '/fault/set_field', for_each => 'qr.source', key => '{$.id}',
		query => '{"field": "{field}", "json": "{json}", "record": 1, "pages": 1, "per_page": 3, "n": "{n}"}',
		record_schema => '{"properties": {"id": {}, "value": {"type": %s}, "updated_at": {}}}'%s)$sql$, value_type, arguments);
END
$$;
CREATE VIEW pg_temp.open AS
	SELECT q.data_interval_start::date AS day, s.item_values ->> 'n' AS n, q.record_number AS number, q.reason_code, q.reason, q.tried_at IS NOT NULL AS tried, q.tried_reason_code AS code, q.tried_reason
	FROM etl.quarantine q JOIN etl.slices s USING (load_id, slice) WHERE q.pipeline = 'qr' ORDER BY 1, 2;
-- results without ids
CREATE FUNCTION pg_temp.replay(arguments text DEFAULT '') RETURNS TABLE (task text, day date, last_day date, replayed bigint, still_quarantined bigint)
LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT task, data_interval_start::date, data_interval_end::date, replayed, still_quarantined FROM etl.replay_quarantine(''qr''%s)', arguments);
END
$$;

SELECT etl.create_pipeline('qr');
SELECT pg_temp.declare('"string"');
-- what is where, and whether it adds up
CREATE VIEW pg_temp.ledger AS
	SELECT l.data_interval_start::date AS day, l.state, l.fetched, l.loaded, l.quarantined, (SELECT count(*) FROM qr.r WHERE r.load_id = l.load_id) AS rows,
		(SELECT count(*) FROM etl.quarantine q WHERE q.load_id = l.load_id) AS open, (SELECT count(*) FROM etl.replayed q WHERE q.load_id = l.load_id) AS replayed,
		(SELECT bool_and(s.fetched = s.loaded + s.quarantined AND s.loaded = (SELECT count(*) FROM qr.r WHERE r.load_id = l.load_id AND r.slice = s.slice)
			AND s.quarantined = (SELECT count(*) FROM etl.quarantine q WHERE q.load_id = l.load_id AND q.slice = s.slice)) FROM etl.slices s WHERE s.load_id = l.load_id) AS slices_add_up
	FROM etl.loads l WHERE l.pipeline = 'qr' ORDER BY l.load_id;
SELECT state, fetched, loaded, quarantined FROM pg_temp.extract('qr', '2024-01-01');
SELECT state, fetched, loaded, quarantined FROM pg_temp.extract('qr', '2024-01-02');
SELECT * FROM pg_temp.ledger;
SELECT * FROM pg_temp.open;

--
-- Nothing changed, nothing passes, and it is noted that it was tried
--
SELECT * FROM pg_temp.replay();
SELECT * FROM pg_temp.open WHERE day = '2024-01-01';
SELECT * FROM pg_temp.ledger;

--
-- After the schema changed
--
SELECT pg_temp.declare('["string", "integer"]');
-- in one interval first; a transaction as any
BEGIN;
SELECT * FROM pg_temp.replay(', until => ''2024-01-02''');
SELECT day, rows, open, replayed FROM pg_temp.ledger;
ROLLBACK;
SELECT day, rows, open, replayed FROM pg_temp.ledger;
\set VERBOSITY terse
SET client_min_messages = notice;
SELECT * FROM pg_temp.replay(', task => ''qr.r'', until => ''2024-01-02''');
SET client_min_messages = warning;
\set VERBOSITY default
SELECT * FROM pg_temp.ledger;
-- the row is where it would have been
SELECT r.data_interval_start, r.item ->> 'n' AS n, r.record_number, r.payload -> 'value' AS value, r.fetched_at = q.quarantined_at AS fetched_when_received
FROM qr.vr_r r JOIN etl.replayed q USING (load_id, slice, record_number);
SELECT data_interval_start, load_state, convert_from(record, 'UTF8')::jsonb -> 'value' AS value, reason_code, reason, correction, replayed_at > quarantined_at AS replayed, replayed_by = current_user AS by_me FROM etl.replayed WHERE pipeline = 'qr';
-- once is enough
SELECT * FROM pg_temp.replay();
SELECT * FROM pg_temp.replay();
SELECT day, fetched, loaded, quarantined, rows, open, replayed, slices_add_up FROM pg_temp.ledger;
SELECT level, task, pg_temp.stable(message) AS message, detail - 'load_id' AS detail FROM etl.log WHERE pipeline = 'qr' AND message ~ 'replayed' ORDER BY log_id;
-- targets get it without a request
CREATE VIEW qr.txf_t AS SELECT (payload ->> 'id')::integer AS id, item ->> 'n' AS n, payload ->> 'value' AS value FROM qr.vr_r WHERE data_interval_start = etl.data_interval_start() AND item ->> 'n' = '1' AND record_number = 1;
SELECT etl.add_load('qr', 'qr.t', 'incremental', key => '{id}');
SELECT state, inserted FROM etl.reprocess('qr', '2024-01-01', '2024-01-02');
SELECT * FROM qr.t;

--
-- After the records changed
--
SELECT etl.correct_quarantined(q.quarantine_id, '{"id": 2, "value": "was a bare word"}', 'asked the shop') FROM etl.quarantine q JOIN pg_temp.open o ON q.data_interval_start::date = o.day AND q.reason = o.reason WHERE o.n = '4' AND o.day = '2024-01-01';
SELECT correction, corrected_at IS NOT NULL AS corrected, corrected_by = current_user AS by_me, correction_note FROM etl.quarantine WHERE correction IS NOT NULL;
-- a correction has to pass, too
SELECT etl.correct_quarantined(quarantine_id, '{"id": null, "value": "x"}') FROM etl.quarantine WHERE pipeline = 'qr' AND reason_code = '23502';
SELECT * FROM pg_temp.replay();
SELECT * FROM pg_temp.open;
SELECT s.item_values ->> 'n' AS n, r.payload, convert_from(q.record, 'UTF8') AS received, q.correction, q.correction_note
FROM etl.replayed q JOIN qr.vr_r r USING (load_id, slice, record_number) JOIN etl.slices s USING (load_id, slice) WHERE q.correction IS NOT NULL;
-- taken back
SELECT etl.correct_quarantined(quarantine_id, NULL) FROM etl.quarantine WHERE pipeline = 'qr' AND correction IS NOT NULL;
SELECT count(*) FROM etl.quarantine WHERE pipeline = 'qr' AND num_nonnulls(correction, corrected_at, corrected_by, correction_note) > 0;
-- set-based: whatever SQL can put right
SELECT count(etl.correct_quarantined(quarantine_id, convert_from(record, 'UTF8')::jsonb || '{"id": 99}', 'made up')) FROM etl.quarantine WHERE pipeline = 'qr' AND reason_code = '23502';
SELECT * FROM pg_temp.replay(', since => ''2024-01-02''');
SELECT * FROM pg_temp.ledger;

--
-- A later load takes the place of one, and of what was replayed into it
--
SELECT state, fetched, loaded, quarantined FROM pg_temp.extract('qr', '2024-01-01');
SELECT * FROM pg_temp.replay();
SELECT day, state, loaded, quarantined, replayed FROM pg_temp.ledger;

--
-- on_invalid and contract as they are now
--
SELECT pg_temp.declare('"string"');
UPDATE qr.source SET json = '1.5' WHERE n = 1;
SELECT state, fetched, loaded, quarantined FROM pg_temp.extract('qr', '2024-02-01');
SELECT pg_temp.declare('"string"', ', on_invalid => ''fail''');
SELECT replayed, still_quarantined FROM pg_temp.replay(', since => ''2024-02-01''');
SELECT pg_temp.declare('["string", "number"]', ', contract => ''discard_record''');
SELECT state, fetched, loaded, quarantined FROM pg_temp.extract('qr', '2024-02-02');
SELECT * FROM pg_temp.open WHERE day >= '2024-02-02';
SELECT pg_temp.declare('["string", "number"]', ', contract => ''freeze''');
SELECT day, replayed, still_quarantined FROM pg_temp.replay(', since => ''2024-02-02''');
SELECT pg_temp.declare('["string", "number"]', ', on_invalid => ''warn''');
SELECT day, replayed, still_quarantined FROM pg_temp.replay(', since => ''2024-02-01''');
SELECT * FROM pg_temp.open WHERE day >= '2024-02-01';
SELECT * FROM pg_temp.ledger WHERE day >= '2024-02-01';

--
-- A record_time decides again
--
DELETE FROM qr.source;
INSERT INTO qr.source VALUES (1, 'value', '"2024-03-01T12:00:00Z"'), (2, 'value', '"2024-03-02T12:00:00Z"'), (3, 'value', '"some day"');
CREATE FUNCTION pg_temp.declare_time(arguments text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format($sql$SELECT etl.add_extract('qr', 'qr.timed', 'qr_api', path => '/fault/set_field', for_each => 'qr.source', record_time => '$.value',
		query => '{"field": "value", "json": "{json}", "record": 0, "pages": 1, "per_page": 1, "n": "{n}"}'%s)$sql$, arguments);
END
$$;
SELECT pg_temp.declare_time(', record_schema => ''{"required": ["x"]}''');
SELECT state, fetched, loaded, quarantined FROM pg_temp.extract('qr', '2024-03-01');
SELECT pg_temp.declare_time('');
SELECT task, replayed, still_quarantined FROM pg_temp.replay(', task => ''qr.timed''');
SELECT tried_reason_code, tried_reason FROM etl.quarantine WHERE task = 'qr.timed' ORDER BY 1;

--
-- Many records, in several batches
--
SELECT etl.add_extract('qr', 'qr.m', 'qr_api', path => '/pages/m', records => '$.data[*]', query => '{"pages": 3, "per_page": 1000}', pagination => '{"type": "page_number", "size_parameter": "per_page", "size": 1000}',
	key => '{$.id}', record_schema => '{"properties": {"id": {"type": "string"}}}');
SELECT state FROM pg_temp.extract('qr', '2024-05-01');
SELECT fetched, loaded, quarantined FROM etl.loads WHERE task = 'qr.m';
SELECT etl.add_extract('qr', 'qr.m', 'qr_api', path => '/pages/m', records => '$.data[*]', query => '{"pages": 3, "per_page": 1000}', pagination => '{"type": "page_number", "size_parameter": "per_page", "size": 1000}',
	key => '{$.id}', record_schema => '{"properties": {"id": {"multipleOf": 2}}}');
SELECT task, replayed, still_quarantined FROM pg_temp.replay(', task => ''qr.m''');
SELECT fetched, loaded, quarantined FROM etl.loads WHERE task = 'qr.m';
SELECT count(*), count(DISTINCT payload -> 'id') AS ids, count(DISTINCT slice) AS slices FROM qr.vr_m;

--
-- Records whose bytes are something else than JSON: what was made of them is kept beside
--
CREATE FUNCTION pg_temp.declare_files(schema jsonb) RETURNS void
LANGUAGE sql AS $$
	SELECT etl.add_extract('qr', 'qr.csv', 'qr_api', path => '/files/qr', query => '{"format": "csv", "records": 3, "insert": "123"}', format => 'csv', record_schema => schema);
	SELECT etl.add_extract('qr', 'qr.latin', 'qr_api', path => '/files/qr', query => '{"format": "ndjson", "records": 3, "texts": "latin", "charset": "latin-1"}', format => 'ndjson', record_schema => schema);
$$;
SELECT pg_temp.declare_files('{"properties": {"id": {"enum": ["2", 2]}}}');
SELECT state FROM pg_temp.extract('qr', '2024-06-01');
SELECT task, fetched, loaded, quarantined FROM etl.loads WHERE task IN ('qr.csv', 'qr.latin') ORDER BY 1;
SELECT task, reason_code, reason, document -> 'id' AS id, record <> convert_to(document::text, 'UTF8') AS bytes_differ FROM etl.quarantine WHERE task IN ('qr.csv', 'qr.latin') ORDER BY task, record_number;
SELECT pg_temp.declare_files(NULL);
SELECT task, replayed, still_quarantined FROM pg_temp.replay(', since => ''2024-06-01''') ORDER BY 1;
-- a row that is none is no JSON, whatever it looks like; what it was meant to be can be said
SELECT convert_from(record, 'UTF8') AS record, reason_code, tried_at FROM etl.quarantine WHERE task IN ('qr.csv', 'qr.latin');
SELECT etl.correct_quarantined(quarantine_id, '{"id": "1", "text": "2", "amount": "3", "closed_at": null}') FROM etl.quarantine WHERE task = 'qr.csv';
SELECT task, replayed, still_quarantined FROM pg_temp.replay(', task => ''qr.csv''');
-- they are as if they had come in at once
CREATE TABLE qr.before AS SELECT 'csv' AS task, slice, record_number, payload FROM qr.vr_csv UNION ALL SELECT 'latin', slice, record_number, payload FROM qr.vr_latin;
SELECT count(*) FROM qr.before;
SELECT state FROM pg_temp.extract('qr', '2024-06-01');
SELECT count(*) FROM (SELECT 'csv' AS task, slice, record_number, payload FROM qr.vr_csv UNION ALL SELECT 'latin', slice, record_number, payload FROM qr.vr_latin EXCEPT SELECT * FROM qr.before) x;

--
-- What cannot be
--
--
SELECT * FROM etl.replay_quarantine('nothing');
SELECT * FROM etl.replay_quarantine(NULL);
SELECT * FROM etl.replay_quarantine('qr', 'qr.t');
SELECT etl.correct_quarantined(-1, '{}');
SELECT min(quarantine_id) AS replayed FROM etl.replayed \gset
\set VERBOSITY sqlstate
SELECT etl.correct_quarantined(:replayed, '{}');
\set VERBOSITY default
-- a trigger that drops rows
CREATE FUNCTION qr.drop_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER drop_row BEFORE INSERT ON qr.m FOR EACH ROW EXECUTE FUNCTION qr.drop_row();
SELECT etl.add_extract('qr', 'qr.m', 'qr_api', path => '/pages/m', key => '{$.id}');
SELECT * FROM etl.replay_quarantine('qr', 'qr.m');
DROP TRIGGER drop_row ON qr.m;

--
-- Who: the owner, members of its role, superusers; and the table's triggers are the owner's
--
CREATE ROLE regress_etl_qr LOGIN;
CREATE ROLE regress_etl_qr_member LOGIN IN ROLE regress_etl_qr;
CREATE ROLE regress_etl_qr_stranger LOGIN;
GRANT USAGE ON FOREIGN SERVER qr_api TO regress_etl_qr;
DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO regress_etl_qr', current_database()); END $$;
SET SESSION AUTHORIZATION regress_etl_qr;
CREATE SCHEMA qr2;
SELECT etl.create_pipeline('qr2');
SELECT etl.add_extract('qr2', 'qr2.r', 'qr_api', path => '/pages/o', records => '$.data[*]', query => '{"pages": 1, "per_page": 3}', key => '{$.id}', record_schema => '{"properties": {"id": {"maximum": 0}}}');
SELECT state, fetched, loaded, quarantined FROM pg_temp.extract('qr2', '2024-01-01');
CREATE TABLE qr2.seen (who name);
CREATE FUNCTION qr2.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO qr2.seen VALUES (current_user);
	RESET ROLE;
	INSERT INTO qr2.seen VALUES (current_user);
	RETURN new;
END $$;
CREATE TRIGGER note BEFORE INSERT ON qr2.r FOR EACH ROW EXECUTE FUNCTION qr2.note();
SET SESSION AUTHORIZATION regress_etl_qr_stranger;
SELECT count(*) FROM etl.quarantine;
SELECT * FROM etl.replay_quarantine('qr2');
SELECT etl._insert_replayed('regress_etl_qr', 'qr2', 'r', 1, 0, now(), now(), '{1}', '{1}', '{null}', '{2024-01-01}', '{null}');
SELECT pg_temp.try(format('SELECT etl._settle_replay(%1$s, %1$s, ''{}'', ''{}'', ''{}'', ''{}'')', 1));
RESET SESSION AUTHORIZATION;
SELECT quarantine_id, load_id FROM etl.quarantine WHERE pipeline = 'qr2' ORDER BY record_number LIMIT 1 \gset
SET SESSION AUTHORIZATION regress_etl_qr_stranger;
\set VERBOSITY sqlstate
SELECT etl.correct_quarantined(:quarantine_id, '{}');
SELECT etl._settle_replay(:load_id, :load_id, '{}', '{}', '{}', '{}');
SELECT (etl._lock_replayable_load(:load_id)).load_id;
SELECT (etl._next_quarantined(:load_id, 0)).records;
SELECT etl._settle_replay_as_owner(:load_id, :load_id, '{}', '{}', '{}', '{}');
\set VERBOSITY default
-- a superuser's rights are out of reach of the trigger
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_etl_qr;
SELECT etl.add_extract('qr2', 'qr2.r', 'qr_api', path => '/pages/o', records => '$.data[*]', query => '{"pages": 1, "per_page": 3}', key => '{$.id}', record_schema => '{"properties": {"id": {"maximum": 1}}}');
RESET SESSION AUTHORIZATION;
\set VERBOSITY sqlstate
SELECT * FROM etl.replay_quarantine('qr2');
\set VERBOSITY default
SET SESSION AUTHORIZATION regress_etl_qr;
CREATE OR REPLACE FUNCTION qr2.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO qr2.seen VALUES (current_user);
	RETURN new;
END $$;
RESET SESSION AUTHORIZATION;
SELECT replayed, still_quarantined FROM etl.replay_quarantine('qr2');
SELECT * FROM qr2.seen;
SET SESSION AUTHORIZATION regress_etl_qr;
SELECT etl.add_extract('qr2', 'qr2.r', 'qr_api', path => '/pages/o', records => '$.data[*]', query => '{"pages": 1, "per_page": 3}', key => '{$.id}', record_schema => '{"properties": {"id": {"maximum": 2}}}');
SET SESSION AUTHORIZATION regress_etl_qr_member;
SELECT replayed, still_quarantined FROM etl.replay_quarantine('qr2');
SELECT replayed_by FROM etl.replayed ORDER BY quarantine_id;
SET SESSION AUTHORIZATION regress_etl_qr;
SELECT etl.correct_quarantined(quarantine_id, '{"id": 0}') FROM etl.quarantine;
SELECT replayed, still_quarantined FROM etl.replay_quarantine('qr2');
SELECT who, count(*) FROM qr2.seen GROUP BY 1;
-- who sees it
SELECT count(*) AS replayed, count(record) AS records, count(reason) AS reasons, count(correction) AS corrections, (SELECT count(*) FROM etl.schema_drift) AS drift FROM etl.replayed;
SET SESSION AUTHORIZATION regress_etl_qr_stranger;
SELECT (SELECT count(*) FROM etl.replayed) AS replayed, (SELECT count(*) FROM etl.schema_drift) AS drift;
RESET SESSION AUTHORIZATION;
GRANT etl_reader TO regress_etl_qr_stranger;
SET SESSION AUTHORIZATION regress_etl_qr_stranger;
SELECT count(*) AS replayed, count(record) AS records, count(reason) AS reasons, count(correction) AS corrections, (SELECT count(*) FROM etl.schema_drift WHERE pipeline = 'qr2') AS drift FROM etl.replayed WHERE pipeline = 'qr2';
SET SESSION AUTHORIZATION regress_etl_qr;
-- the owner himself moves records nowhere but where their fetch would have put them
SELECT state, fetched, loaded, quarantined FROM pg_temp.extract('qr2', '2024-01-02');
\set VERBOSITY sqlstate
SELECT etl._settle_replay(:load_id, max(load_id), '{}', '{}', '{}', '{}') FROM etl.loads WHERE pipeline = 'qr2';
\set VERBOSITY default
SELECT etl.drop_pipeline('qr2', drop_data => true);
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_etl_qr CASCADE;
DROP ROLE regress_etl_qr, regress_etl_qr_member, regress_etl_qr_stranger;
DROP VIEW pg_temp.ledger;
SELECT etl.drop_pipeline('qr', drop_data => true);
DROP SCHEMA qr CASCADE;
DROP SERVER qr_api;
