-- Workers keep the plans of their statements: what happens to a raw table between two runs,
-- or the extension's own functions, counts in the next one, and many tables fit into a
-- bounded number of plans.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
\getenv api ETL_TEST_API
CREATE SERVER ep_api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url :'api', retry_delay '10 ms', max_retry_delay '20 ms', max_attempts '3');
SELECT etl.create_pipeline('ep');
SELECT etl.add_extract('ep', 'ep.pages', 'ep_api', path => '/pages/ep', query => '{"pages": 3}', records => '$.data[*]',
	pagination => '{"type": "page_number", "size_parameter": "per_page", "size": 4}', key => '{$.id}', options => '{"conditional": false}');
SELECT * FROM pg_temp.extract('ep', '2024-01-01');

-- a column more
ALTER TABLE ep.pages ADD COLUMN note text DEFAULT 'new';
SELECT * FROM pg_temp.extract('ep', '2024-01-02');
SELECT note, count(*) FROM ep.pages GROUP BY 1;

-- a trigger that keeps rows out is noticed, and taken away again it is forgotten
CREATE FUNCTION ep.keep_out() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN CASE WHEN new.record_number > 0 THEN new END; END';
CREATE TRIGGER keep_out BEFORE INSERT ON ep.pages FOR EACH ROW EXECUTE FUNCTION ep.keep_out();
SELECT * FROM pg_temp.extract('ep', '2024-01-03');
DROP TRIGGER keep_out ON ep.pages;
SELECT * FROM pg_temp.extract('ep', '2024-01-03');

-- a constraint
ALTER TABLE ep.pages ADD CONSTRAINT small CHECK (record_number < 3) NOT VALID;
\set VERBOSITY terse
SELECT * FROM pg_temp.extract('ep', '2024-01-04');
\set VERBOSITY default
ALTER TABLE ep.pages DROP CONSTRAINT small;
SELECT * FROM pg_temp.extract('ep', '2024-01-04');

-- another table under the same name
ALTER TABLE ep.pages RENAME TO old_pages;
ALTER TABLE ep.pages_shared RENAME TO old_pages_shared;
SELECT etl._create_raw_table('ep', 'pages');
SELECT * FROM pg_temp.extract('ep', '2024-01-05');
SELECT count(*) FROM ep.pages;

--
-- More tables than plans
--
SELECT etl.create_pipeline('ep_many');
SELECT count(etl.add_extract('ep_many', 'ep.many_' || n, 'ep_api', path => '/pages/ep', query => '{"pages": 1}', records => '$.data[*]', options => '{"conditional": false}'))
FROM generate_series(1, 80) n;
SELECT * FROM pg_temp.extract('ep_many', '2024-01-01');
SELECT * FROM pg_temp.extract('ep_many', '2024-01-02');
SELECT sum(loaded), count(*) FROM etl.loads WHERE pipeline = 'ep_many' AND state = 'published';

SELECT etl.drop_pipeline('ep', drop_data => true);
SELECT etl.drop_pipeline('ep_many', drop_data => true);
DROP SCHEMA ep CASCADE;
DROP SERVER ep_api;
