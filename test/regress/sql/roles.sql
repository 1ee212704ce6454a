-- Who may do what: every action as every kind of role.  The table that comes out is the one
-- of docs/reference/privileges.md.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\getenv api ETL_TEST_API
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE ROLE regress_ro_owner LOGIN;
CREATE ROLE regress_ro_member LOGIN IN ROLE regress_ro_owner;
CREATE ROLE regress_ro_nobody LOGIN;
CREATE ROLE regress_ro_reader LOGIN IN ROLE etl_reader;
CREATE ROLE regress_ro_operator LOGIN IN ROLE etl_operator;
CREATE ROLE regress_ro_admin LOGIN IN ROLE etl_admin;
SELECT r.rolname, r.rolcanlogin, r.rolsuper, r.rolcreaterole, shobj_description(r.oid, 'pg_authid') AS meaning,
	(SELECT string_agg(o.rolname, ', ') FROM pg_auth_members m JOIN pg_roles o ON o.oid = m.roleid WHERE m.member = r.oid) AS member_of
FROM pg_roles r WHERE r.rolname IN ('etl_reader', 'etl_operator', 'etl_admin') ORDER BY r.rolname DESC;

--
-- A pipeline with something of everything: a quarantined record, a failed check with its
-- sample, a cursor, an item, an item that fails, a watermark
--
SELECT format('GRANT CREATE ON DATABASE %I TO regress_ro_owner', current_database()) \gexec
\set ECHO none
SELECT format('CREATE SERVER ro FOREIGN DATA WRAPPER etl_http OPTIONS (base_url %L, max_attempts ''1'')', :'api') \gexec
\set ECHO all
GRANT USAGE ON FOREIGN SERVER ro TO regress_ro_owner;
SET SESSION AUTHORIZATION regress_ro_owner;
CREATE SCHEMA ro;
CREATE VIEW ro.items AS SELECT 'secret item' AS name;
CREATE VIEW ro.routes AS SELECT unnest('{pages,missing}'::text[]) AS route;
SELECT etl.create_pipeline('ro', description => 'for all kinds of roles');
SELECT etl.add_extract('ro', 'ro.raw', server => 'ro', path => '/fault/nul_escape', query => '{"pages": 2, "per_page": 10, "api_key": "secret", "item": "{name}"}',
	records => '$[*]', pagination => '{"type": "link_header"}', for_each => 'ro.items');
SELECT etl.add_extract('ro', 'ro.marked', server => 'ro', path => '/{route}/ro', query => '{"per_page": 3}', records => '$.data[*]',
	for_each => 'ro.routes', on_item_error => 'skip', watermark => '{"cursor": "$.updated_at", "start": "2020-01-01T00:00:00Z"}');
CREATE VIEW ro.txf_target AS SELECT record_number AS id, payload FROM ro.vr_raw WHERE slice = 0 AND data_interval_start = etl.data_interval_start();
SELECT etl.add_load('ro', 'ro.target', 'full', key => '{id}');
SELECT etl.add_check('ro', 'ro.target', 'unique', '{"columns": ["payload"]}', name => 'passes');
SELECT etl.add_check('ro', 'ro.target', 'row_count', '{"max": 1}', severity => 'warn', name => 'warns');
SELECT * FROM pg_temp.extract('ro', '2024-01-01');
SELECT count(*) FROM ro.target;
RESET SESSION AUTHORIZATION;

-- A backfill that has ended before it began, and a run, to ask for by number.
BEGIN;
SELECT count(*) FROM etl.backfill('ro', date '2024-02-01', date '2024-02-03');
CREATE TEMP TABLE subject AS SELECT (SELECT min(run_id) FROM etl.runs WHERE pipeline = 'ro') AS run, (SELECT max(backfill_id) FROM etl.backfills) AS backfill;
GRANT SELECT ON subject TO PUBLIC;
SELECT etl.cancel_backfill(backfill) FROM subject;
COMMIT;

--
-- The actions
--
CREATE TEMP TABLE action (n integer GENERATED ALWAYS AS IDENTITY, action text, statement text);
CREATE TEMP TABLE outcome (action text, role_name text, outcome text);
-- The first value of a statement's result; yes, if it has none; the SQLSTATE of its error.
-- Nothing it does stays, but for runs.
CREATE FUNCTION pg_temp.attempt(role_name text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role_name);
	IF statement ~ '^SELECT' THEN
		EXECUTE statement INTO result;
	ELSE
		EXECUTE statement;
	END IF;
	RAISE EXCEPTION USING ERRCODE = 'ZZZZZ', MESSAGE = CASE coalesce(nullif(result, ''), 'true') WHEN 'true' THEN 'yes' WHEN 'false' THEN '-' ELSE result END;
EXCEPTION WHEN OTHERS THEN
	RETURN CASE SQLSTATE WHEN 'ZZZZZ' THEN SQLERRM ELSE SQLSTATE END;
END
$$;
-- what they see
INSERT INTO action (action, statement)
SELECT format('rows in etl.%s', v), format('SELECT EXISTS (SELECT FROM etl.%s WHERE pipeline = ''ro'')', v)
FROM unnest('{pipelines,tasks,runs,task_runs,task_attempts,loads,slices,watermarks,item_errors,quarantine,check_results,log}'::text[]) v;
INSERT INTO action (action, statement) VALUES
('quarantine.record, reason', $$SELECT coalesce(bool_and(record IS NOT NULL AND reason IS NOT NULL), false) FROM etl.quarantine WHERE pipeline = 'ro'$$),
('check_results.sample', $$SELECT coalesce(bool_and(sample IS NOT NULL), false) FROM etl.check_results WHERE pipeline = 'ro'$$),
('slices.item_values, next_cursor', $$SELECT count(item_values) > 0 AND count(next_cursor) > 0 FROM etl.slices WHERE pipeline = 'ro'$$),
('watermarks.item, item_errors.item_values', $$SELECT (SELECT count(item) FROM etl.watermarks WHERE pipeline = 'ro') > 0 AND (SELECT count(item_values) FROM etl.item_errors WHERE pipeline = 'ro') > 0$$),
('tasks.definition: query, headers', $$SELECT coalesce(bool_or(definition::text ~ 'secret'), false) FROM etl.tasks WHERE pipeline = 'ro'$$),
('tasks.definition: the rest', $$SELECT coalesce(bool_or(definition ->> 'path' = '/fault/nul_escape' AND depends_on = '{}'), false) FROM etl.tasks WHERE pipeline = 'ro' AND kind = 'extract'$$),
('tasks.depends_on', $$SELECT coalesce(bool_or(depends_on = '{ro.raw}'), false) FROM etl.tasks WHERE pipeline = 'ro' AND kind = 'load'$$),
('rows of the tables it fills', 'SELECT count(*) > 0 FROM ro.target'),
('rows of the catalog', 'SELECT count(*) > 0 FROM etl.run'),
-- what they make happen
('etl_run, of a pipeline', $$SELECT state FROM etl_run('2024-01-02', 'ro')$$),
('etl_run, of all', $$SELECT state FROM etl_run('2024-01-02')$$),
('CALL etl.run', $$CALL etl.run('ro', '2024-01-02 00:00+00', '2024-01-03 00:00+00')$$),
('etl.reprocess', $$SELECT state FROM etl.reprocess('ro', '2024-01-01', '2024-01-02')$$),
('etl.cancel, of a run that has ended', $$SELECT etl.cancel((SELECT min(x.run_id) FROM etl.runs x WHERE x.pipeline = 'ro'))$$),
('etl.trigger', $$SELECT etl.trigger('ro', '2024-01-09', '2024-01-10') > 0$$),
('etl.retry, of a run that succeeded', $$SELECT etl.retry(s.run) FROM subject s$$),
('etl.clear', $$SELECT etl.clear(s.run) > 0 FROM subject s$$),
('etl.wait', $$SELECT etl.wait(s.run) FROM subject s$$),
('etl.diagnose', $$SELECT count(*) > 0 FROM subject s, etl.diagnose(s.run)$$),
('etl.backfill', $$SELECT count(*) = 2 FROM etl.backfill('ro', date '2024-02-01', date '2024-02-03')$$),
('etl.cancel_backfill, of one that was cancelled', $$SELECT etl.cancel_backfill(s.backfill) FROM subject s$$),
('rows in etl.backfills', $$SELECT EXISTS (SELECT FROM etl.backfills WHERE pipeline = 'ro')$$),
('etl.pause', $$SELECT etl.pause('ro')$$),
('etl.pause, all', $$SELECT etl.pause()$$),
('etl.resume', $$SELECT etl.resume('ro')$$),
-- what they change
('etl.alter_pipeline', $$SELECT etl.alter_pipeline('ro', retries => 1)$$),
('etl.create_pipeline, replacing', $$SELECT etl.create_pipeline('ro', replace => true)$$),
('etl.drop_pipeline', $$SELECT etl.drop_pipeline('ro')$$),
('etl.add_extract', $$SELECT etl.add_extract('ro', 'ro.raw2', server => 'ro')$$),
('etl.add_load', $$SELECT etl.add_load('ro', 'ro.target', 'full', key => '{id}')$$),
('etl.add_check', $$SELECT etl.add_check('ro', 'ro.target', 'row_count', '{"min": 0}')$$),
('etl.set_watermark', $$SELECT etl.set_watermark('ro', 'ro.marked', '2024-01-01')$$),
('etl.replay_quarantine', $$SELECT sum(still_quarantined) > 0 FROM etl.replay_quarantine('ro')$$),
('etl.correct_quarantined', $$SELECT etl.correct_quarantined((SELECT min(quarantine_id) FROM etl.quarantine WHERE pipeline = 'ro'), '{}') IS NOT NULL$$),
('etl.infer_schema', $$SELECT etl.infer_schema('ro.raw') IS NOT NULL$$),
('etl.pipeline_sql', $$SELECT etl.pipeline_sql('ro') ~ 'secret'$$),
('etl.create_pipeline, of one''s own', $$SELECT etl.create_pipeline('own')$$),
-- what the server talks to
('CREATE SERVER', $$CREATE SERVER own FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'https://api.example.com')$$),
('CREATE SERVER, verify_tls off', $$CREATE SERVER own FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'https://api.example.com', verify_tls 'off')$$),
('etl.register_schema', $$SELECT etl.register_schema('https://example.com/s', '{}')$$),
('etl.unregister_schema', $$SELECT etl.unregister_schema('https://example.com/s') IS NOT NULL$$),
('SET etl.allowed_hosts', $$SET LOCAL etl.allowed_hosts = '*'$$),
-- what only the extension does
('its internal functions', 'SELECT etl._repair()'),
('its functions with rights of its own', $$SELECT etl._pause_as_owner('ro')$$);
\set ECHO none
SELECT format('INSERT INTO outcome SELECT %L, %L, pg_temp.attempt(%L, %L)', a.action, r.name, r.name, a.statement)
FROM action a CROSS JOIN unnest(ARRAY['regress_ro_nobody', 'regress_ro_owner', 'regress_ro_member', 'regress_ro_reader', 'regress_ro_operator', 'regress_ro_admin', current_user]) WITH ORDINALITY r(name, n)
ORDER BY a.n, r.n \gexec
\set ECHO all
-- yes, -: neither an error nor anything to see; else the error
SELECT a.action, o.nobody, o.owner, o.member, o.reader, o.operator, o.admin, o.superuser
FROM action a CROSS JOIN LATERAL (
	SELECT max(outcome) FILTER (WHERE role_name = 'regress_ro_nobody') AS nobody, max(outcome) FILTER (WHERE role_name = 'regress_ro_owner') AS owner,
		max(outcome) FILTER (WHERE role_name = 'regress_ro_member') AS member, max(outcome) FILTER (WHERE role_name = 'regress_ro_reader') AS reader,
		max(outcome) FILTER (WHERE role_name = 'regress_ro_operator') AS operator, max(outcome) FILTER (WHERE role_name = 'regress_ro_admin') AS admin,
		max(outcome) FILTER (WHERE role_name = current_user) AS superuser
	FROM outcome x WHERE x.action = a.action) o
ORDER BY a.n;
-- a run is of the owner's, whoever asked for it
SELECT DISTINCT requested_by FROM etl.runs WHERE pipeline = 'ro' AND requested_by <> current_user ORDER BY 1;
SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'ro';

--
-- What one may not do says what would be needed
--
SET SESSION AUTHORIZATION regress_ro_nobody;
SELECT etl_run('2024-01-02');
SELECT etl.pause('ro');
SELECT etl.cancel((SELECT min(run_id) FROM etl.runs));
RESET SESSION AUTHORIZATION;
SELECT pg_temp.try(format('SET LOCAL ROLE regress_ro_nobody; SELECT etl.cancel(%s)', min(run_id))) FROM etl.runs WHERE pipeline = 'ro';
SELECT pg_temp.try(format('SET LOCAL ROLE regress_ro_reader; SELECT etl.cancel(%s)', min(run_id))) FROM etl.runs WHERE pipeline = 'ro';
-- with the privilege on the wrapper, sources can be made, but none that nobody checks
GRANT USAGE ON FOREIGN DATA WRAPPER etl_http TO regress_ro_owner;
SET SESSION AUTHORIZATION regress_ro_owner;
CREATE SERVER ro_own FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'https://api.example.com', verify_tls 'on');
ALTER SERVER ro_own OPTIONS (SET verify_tls 'false');
ALTER SERVER ro_own OPTIONS (SET verify_tls '0');
ALTER SERVER ro_own OPTIONS (SET verify_tls 'true', ADD timeout '1 minute');
DROP SERVER ro_own;
RESET SESSION AUTHORIZATION;
REVOKE USAGE ON FOREIGN DATA WRAPPER etl_http FROM regress_ro_owner;
-- membership without inheritance is none until it is used
ALTER ROLE regress_ro_reader NOINHERIT;
-- from PostgreSQL 16 on it is the grant that inherits or not, by what the role was when it was granted
REVOKE etl_reader FROM regress_ro_reader;
GRANT etl_reader TO regress_ro_reader;
SET SESSION AUTHORIZATION regress_ro_reader;
SELECT count(*) FROM etl.pipelines;
SET ROLE etl_reader;
SELECT count(*) FROM etl.pipelines;
RESET SESSION AUTHORIZATION;
-- the roles cannot be made by everybody
\set ECHO none
\set file :here /../../sql/predefined_roles.sql
\set predefined_roles `cat :file`
BEGIN;
ALTER ROLE etl_admin RENAME TO regress_ro_renamed;
SET ROLE regress_ro_nobody;
:predefined_roles
ROLLBACK;
-- and whoever made one before is named
BEGIN;
COMMENT ON ROLE etl_admin IS 'of another origin';
:predefined_roles
ROLLBACK;
:predefined_roles
\set ECHO all
-- nor taken away under the extension
\set VERBOSITY terse
DROP ROLE etl_reader;
DROP ROLE etl_operator;
DROP ROLE etl_admin;
\set VERBOSITY default

--
-- The list of what all may call is complete: what it is made of can be called too
--
WITH f AS (SELECT p.oid, p.proname, p.prosrc, has_function_privilege('regress_ro_nobody', p.oid, 'EXECUTE') AS allowed,
				  NOT p.prosecdef AND l.lanname IN ('sql', 'plpgsql') AS runs_as_caller
		   FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.pronamespace = 'etl'::regnamespace)
SELECT caller.proname AS can_be_called, callee.proname AS but_calls
FROM f caller CROSS JOIN LATERAL (SELECT DISTINCT m[1] AS name FROM regexp_matches(caller.prosrc, '\metl\.(\w+)\s*\(', 'g') m) c JOIN f callee ON callee.proname = c.name
WHERE caller.allowed AND caller.runs_as_caller AND NOT callee.allowed ORDER BY 1, 2;
-- views that all may read ask for nothing else
SELECT c.relname AS can_be_read, p.proname AS but_calls FROM pg_class c JOIN pg_rewrite w ON w.ev_class = c.oid
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_proc'::regclass JOIN pg_proc p ON p.oid = d.refobjid
WHERE c.relnamespace = 'etl'::regnamespace AND has_table_privilege('regress_ro_nobody', c.oid, 'SELECT') AND NOT has_function_privilege('regress_ro_nobody', p.oid, 'EXECUTE');
-- public by name, but not for all
SELECT p.proname, string_agg(a.grantee::regrole::text, ', ') AS besides_its_owner
FROM pg_proc p LEFT JOIN LATERAL aclexplode(p.proacl) a ON a.grantee <> p.proowner
WHERE p.pronamespace = 'etl'::regnamespace AND p.proname !~ '^_' AND NOT has_function_privilege('regress_ro_nobody', p.oid, 'EXECUTE') GROUP BY p.oid ORDER BY 1;

SELECT etl.drop_pipeline('ro', drop_data => true);
DROP SCHEMA ro CASCADE;
DROP SERVER ro;
SELECT format('REVOKE CREATE ON DATABASE %I FROM regress_ro_owner', current_database()) \gexec
DROP ROLE regress_ro_member, regress_ro_owner, regress_ro_nobody, regress_ro_reader, regress_ro_operator, regress_ro_admin;
