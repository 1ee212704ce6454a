-- Extraction against the sample API: raw rows and views, pagination, for_each, placeholders in
-- real requests, quarantine, slices and loads, replace and append.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
\getenv api ETL_TEST_API
CREATE SERVER eb_api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url :'api', retry_delay '10 ms', max_retry_delay '20 ms', max_attempts '3');
SELECT etl.create_pipeline('eb');

--
-- Page numbers
--
SELECT etl.add_extract('eb', 'eb.pages', 'eb_api', path => '/pages/eb', query => '{"pages": 3}', records => '$.data[*]',
	pagination => '{"type": "page_number", "size_parameter": "per_page", "size": 4}', key => '{$.id}', version => '$.updated_at');
SELECT * FROM pg_temp.extract('eb', '2024-01-01');
SELECT load_id = (SELECT max(load_id) FROM etl.loads) AS load, data_interval_start, data_interval_end, slice, record_number, item, payload -> 'id' AS id, jsonb_typeof(payload) AS type, fetched_at <= now() AS fetched
FROM eb.vr_pages ORDER BY slice, record_number;
SELECT item, page, item_values, pg_temp.stable(request) AS request, status, attempts, next_cursor IS NULL AS last, bytes > 0 AS bytes, fetched, loaded, quarantined FROM etl.slices WHERE pipeline = 'eb' ORDER BY item, page;
SELECT task, data_interval_start, state, requests, fetched, loaded, quarantined, partition_name, completed_at IS NOT NULL AS completed, published_at IS NOT NULL AS published FROM etl.loads WHERE pipeline = 'eb';
SELECT task, kind, state, attempt, requests, fetched, loaded, quarantined FROM etl.task_runs WHERE pipeline = 'eb' ORDER BY task;

--
-- Link headers, several items, placeholders
--
CREATE TABLE eb.shops (shop text, pages integer, "Odd Name" text);
INSERT INTO eb.shops VALUES ('a', 2, 'x y'), ('b', 1, 'ü?#&=+%'), ('c', 3, '');
BEGIN;
SELECT etl.create_pipeline('eb', timezone => 'Europe/Berlin', replace => true);
SELECT etl.add_extract('eb', 'eb.linked', 'eb_api', path => '/pages/{shop}', query => '{"pages": "{pages}", "per_page": 2, "style": "array"}',
	pagination => '{"type": "link_header"}', for_each => 'eb.shops', key => '{$.id}');
COMMIT;
SELECT * FROM pg_temp.extract('eb', '2024-01-01');
SELECT item ->> 'shop' AS shop, count(*), count(DISTINCT slice) AS slices, array_agg(DISTINCT (payload ->> 'id')::integer) AS ids FROM eb.vr_linked GROUP BY 1 ORDER BY 1;
SELECT item, page, item_values ->> 'shop' AS shop, next_cursor IS NULL AS last_of_item, fetched FROM etl.slices WHERE task = 'eb.linked' ORDER BY item, page;

-- what arrives
UPDATE eb.shops SET "Odd Name" = 'z' WHERE shop = 'c';
BEGIN;
SELECT etl.create_pipeline('eb', timezone => 'Europe/Berlin', replace => true);
SELECT etl.add_extract('eb', 'eb.path', 'eb_api', path => '/pages/{Odd Name}-{ds}-{data_interval_end:DD.MM.YYYY}', query => '{"pages": 1, "per_page": 1}', for_each => 'eb.shops', records => '$.data[*]');
SELECT etl.add_extract('eb', 'eb.echo', 'eb_api', path => '/echo',
	query => '{"since": "{data_interval_start}", "until": "{data_interval_end}", "local": "{data_interval_start:YYYY-MM-DD HH24:MI}", "odd": "{Odd Name}", "n": 1.50, "yes": true, "brace": "{{ds}}", "empty": ""}',
	headers => '{"X-Shop": "{shop}", "X-Day": "{ds}", "Accept": "application/json; v=2"}', for_each => 'eb.shops', records => '$');
COMMIT;
SELECT * FROM pg_temp.extract('eb', '2024-03-31');
SELECT item, pg_temp.stable(request) AS request, fetched FROM etl.slices WHERE pipeline = 'eb' AND task = 'eb.path' ORDER BY item, page;
SELECT item ->> 'shop' AS shop, e.key, e.value FROM eb.vr_echo, jsonb_each(payload - 'headers') e ORDER BY 1, 2;
SELECT item ->> 'shop' AS shop, lower(h.key) AS header, h.value FROM eb.vr_echo, jsonb_each(payload -> 'headers') h WHERE lower(h.key) <> 'host' ORDER BY 1, 2;
-- the id of the run
BEGIN;
SELECT etl.create_pipeline('eb', replace => true);
SELECT etl.add_extract('eb', 'eb.echo', 'eb_api', path => '/echo', query => '{"run": "{run_id}"}', records => '$');
COMMIT;
SELECT * FROM pg_temp.extract('eb', '2024-01-01');
SELECT payload::text ~ ('run=' || (SELECT max(run_id) FROM etl.runs WHERE pipeline = 'eb')) AS run_id_is_right FROM eb.vr_echo WHERE data_interval_start = '2024-01-01 00:00+00';
-- nothing to ask for is a load of nothing
CREATE VIEW eb.nobody AS SELECT 'x' AS shop WHERE false;
BEGIN;
SELECT etl.create_pipeline('eb', replace => true);
SELECT etl.add_extract('eb', 'eb.nothing', 'eb_api', path => '/pages/{shop}', for_each => 'eb.nobody');
COMMIT;
SELECT * FROM pg_temp.extract('eb', '2024-01-01');
SELECT state, requests, fetched FROM etl.loads WHERE task = 'eb.nothing';

--
-- Rejected records: in quarantine with their bytes, the rest of the page is loaded
--
CREATE VIEW eb.faults AS SELECT f AS fault FROM unnest('{invalid_json_record,nul_escape,lone_surrogate,invalid_utf8,big_integer,not_a_number,missing_field,duplicate_key}'::text[]) f;
BEGIN;
SELECT etl.create_pipeline('eb', replace => true);
SELECT etl.add_extract('eb', 'eb.bad', 'eb_api', path => '/fault/{fault}', query => '{"pages": 1, "per_page": 3}', for_each => 'eb.faults', key => '{$.id}');
COMMIT;
SELECT * FROM pg_temp.extract('eb', '2024-01-01');
SELECT item_values ->> 'fault' AS fault, fetched, loaded, quarantined FROM etl.slices WHERE task = 'eb.bad' ORDER BY 1;
SELECT s.item_values ->> 'fault' AS fault, q.record_number, q.byte_offset > 0 AS offset, left(encode(q.record, 'escape'), 60) AS record, q.reason_code, left(q.reason, 40) AS reason, pg_temp.stable(q.request) AS request, q.load_state
FROM etl.quarantine q JOIN etl.slices s USING (load_id, slice) WHERE q.task = 'eb.bad' ORDER BY 1;
SELECT item ->> 'fault' AS fault, record_number, payload -> 'id' AS id, left((payload - 'id' - 'updated_at')::text, 60) AS rest FROM eb.vr_bad WHERE item ->> 'fault' IN ('big_integer', 'missing_field', 'duplicate_key') ORDER BY 1, 2;
SELECT level, task, message FROM etl.log WHERE pipeline = 'eb' AND level = 'WARN';

--
-- A later load of an interval replaces the earlier one, or is added to it
--
BEGIN;
SELECT etl.create_pipeline('eb', replace => true);
SELECT etl.add_extract('eb', 'eb.replaced', 'eb_api', path => '/pages/r', query => '{"pages": 1, "per_page": 2}', records => '$.data[*]', key => '{$.id}');
SELECT etl.add_extract('eb', 'eb.appended', 'eb_api', path => '/pages/r', query => '{"pages": 1, "per_page": 2}', records => '$.data[*]', key => '{$.id}', on_rerun => 'append');
COMMIT;
SELECT d.day, r.* FROM (VALUES (date '2024-01-01'), ('2024-01-02'), ('2024-01-01')) d(day), LATERAL pg_temp.extract('eb', d.day) r;
SELECT task, data_interval_start, state, count(*) FROM etl.loads WHERE task IN ('eb.replaced', 'eb.appended') GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
SELECT data_interval_start, count(*) FROM eb.vr_replaced GROUP BY 1 ORDER BY 1;
SELECT data_interval_start, count(*) FROM eb.vr_appended GROUP BY 1 ORDER BY 1;
SELECT (SELECT count(*) FROM eb.vl_replaced) AS replaced, (SELECT count(*) FROM eb.vl_appended) AS appended;
-- superseded rows are removed, in due time
SELECT count(*) BETWEEN 4 AND 6 AS rows_are_few, bool_and(reclaimed_at IS NULL OR state = 'superseded') AS only_superseded FROM eb.replaced JOIN etl.loads USING (load_id);

-- the latest version of each record: by version, else by interval; null versions last
BEGIN;
SELECT etl.create_pipeline('eb', replace => true);
SELECT etl.add_extract('eb', 'eb.versions', 'eb_api', path => '/pages/v', key => '{$.id,$.part}', version => '$.v');
COMMIT;
INSERT INTO eb.versions (load_id, data_interval_start, data_interval_end, slice, record_number, payload, fetched_at)
SELECT l.load_id, l.data_interval_start, l.data_interval_end, 100, row_number() OVER (), p.payload, now()
FROM (SELECT load_id, data_interval_start, data_interval_end, row_number() OVER (ORDER BY data_interval_start) AS n FROM etl.loads WHERE task = 'eb.replaced' AND state = 'published') l
JOIN (VALUES (1, '{"id": 1, "v": 10, "s": "version 10"}'::jsonb), (2, '{"id": 1, "v": 9, "s": "version 9"}'), (1, '{"id": 2, "s": "first interval"}'), (2, '{"id": 2, "s": "second interval"}'),
	(1, '{"id": 3, "v": 1, "s": "has a version"}'), (2, '{"id": 3, "v": null, "s": "null"}'), (1, '{"id": 1, "part": "a", "v": 1, "s": "other key"}'), (1, '{"s": "no key"}'), (1, '{"id": null, "s": "null key"}')) p(n, payload) USING (n);
SELECT payload FROM eb.vl_versions ORDER BY payload -> 'id', payload -> 'part', payload ->> 's';

--
-- What fails says which request, how, after how many attempts
--
BEGIN;
SELECT etl.create_pipeline('eb', replace => true);
SELECT etl.add_extract('eb', 'eb.fail', 'eb_api', path => '/fault/status_500');
COMMIT;
SELECT * FROM pg_temp.extract('eb', '2024-01-01');
SELECT etl.add_extract('eb', 'eb.fail', 'eb_api', path => '/fault/status_404');
SELECT * FROM pg_temp.extract('eb', '2024-01-01');
SELECT etl.add_extract('eb', 'eb.fail', 'eb_api', path => '/fault/truncated_json');
SELECT * FROM pg_temp.extract('eb', '2024-01-01');
SELECT etl.add_extract('eb', 'eb.fail', 'eb_api', path => '/pages/x', records => '$.rows[*]');
SELECT * FROM pg_temp.extract('eb', '2024-01-01');
SELECT etl.add_extract('eb', 'eb.fail', 'eb_api', path => '/fault/loop_pagination', pagination => '{"type": "link_header"}');
SELECT * FROM pg_temp.extract('eb', '2024-01-01');
SELECT etl.add_extract('eb', 'eb.fail', 'eb_api', path => '/fault/endless_pagination', pagination => '{"type": "link_header", "max_pages": 3}');
SELECT * FROM pg_temp.extract('eb', '2024-01-01');
SELECT etl.add_extract('eb', 'eb.fail', 'eb_api', path => '/fault/html_instead_of_json');
SELECT * FROM pg_temp.extract('eb', '2024-01-01');
SELECT task, state, attempt, error_code FROM etl.task_runs WHERE run_id = (SELECT max(run_id) FROM etl.runs WHERE pipeline = 'eb') ORDER BY task;
-- readers see nothing of it; a fault that goes away is not seen at all
SELECT count(*) FROM eb.vr_fail;
-- (the API counts the faults of an address: it must be one that was never asked for)
SELECT md5(random()::text) AS never \gset
SELECT etl.add_extract('eb', 'eb.fail', 'eb_api', path => '/fault/status_503_retry_after',
	query => jsonb_build_object('times', 1, 'seconds', 1, 'pages', 1, 'per_page', 2, 'once', :'never'));
SELECT * FROM pg_temp.extract('eb', '2024-01-01');
SELECT attempts, status, fetched FROM etl.slices WHERE task = 'eb.fail' ORDER BY load_id DESC LIMIT 1;

SELECT etl.drop_pipeline('eb', drop_data => true);
DROP SCHEMA eb CASCADE;
DROP SERVER eb_api;
