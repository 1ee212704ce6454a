-- Every object of the extension says what it is for: these queries return no rows.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE VIEW pg_temp.members AS
	SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
	WHERE d.refclassid = 'pg_extension'::regclass AND e.extname = 'etl' AND d.deptype = 'e';
SELECT p.oid::regprocedure AS function_without_comment FROM pg_temp.members m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
WHERE obj_description(p.oid, 'pg_proc') IS NULL ORDER BY 1;
SELECT c.oid::regclass AS relation_without_comment, c.relkind FROM pg_temp.members m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND obj_description(c.oid, 'pg_class') IS NULL ORDER BY 1;
SELECT t.oid::regtype AS type_without_comment FROM pg_temp.members m JOIN pg_type t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid
WHERE t.typrelid = 0 AND t.typelem = 0 AND obj_description(t.oid, 'pg_type') IS NULL
   OR t.typtype = 'c' AND (SELECT relkind FROM pg_class WHERE oid = t.typrelid) = 'c' AND obj_description(t.oid, 'pg_type') IS NULL ORDER BY 1;
SELECT fdwname AS wrapper_without_comment FROM pg_temp.members m JOIN pg_foreign_data_wrapper f ON m.classid = 'pg_foreign_data_wrapper'::regclass AND f.oid = m.objid
WHERE obj_description(f.oid, 'pg_foreign_data_wrapper') IS NULL;
SELECT nspname AS schema_without_comment FROM pg_namespace WHERE nspname = 'etl' AND obj_description(oid, 'pg_namespace') IS NULL;
SELECT extname FROM pg_extension WHERE extname = 'etl' AND obj_description(oid, 'pg_extension') IS NULL;
-- functions have a fixed search_path, or are inlined into queries and name everything in full
SELECT p.oid::regprocedure AS function_without_search_path FROM pg_temp.members m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid JOIN pg_language l ON l.oid = p.prolang
WHERE l.lanname IN ('sql', 'plpgsql') AND NOT coalesce(array_to_string(p.proconfig, ',') ~ 'search_path=pg_catalog', false)
  AND p.proname NOT IN ('data_interval_start', 'data_interval_end', 'run_date', 'run_id', '_may_see', 'replace_view') ORDER BY 1;
-- all SECURITY DEFINER functions are among those
SELECT p.oid::regprocedure FROM pg_temp.members m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
WHERE p.prosecdef AND NOT coalesce(array_to_string(p.proconfig, ',') ~ 'search_path=pg_catalog, pg_temp', false) ORDER BY 1;
-- what users declare and what happened is dumped, what the extension brings is not
SELECT c.relname, c.relkind FROM pg_extension e CROSS JOIN LATERAL unnest(e.extconfig) x(oid) JOIN pg_class c ON c.oid = x.oid WHERE e.extname = 'etl' ORDER BY 1;
SELECT c.oid::regclass AS not_dumped FROM pg_temp.members m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid, pg_extension e
WHERE e.extname = 'etl' AND c.relkind IN ('r', 'S') AND NOT c.oid = ANY (e.extconfig) ORDER BY 1;
