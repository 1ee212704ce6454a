-- The contract: columns of the public views and of what etl_run returns, signatures of the
-- public functions.  A change here is a change of the interface.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
SELECT c.relname AS view, string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), E'\n' ORDER BY a.attnum) AS columns
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'etl'::regnamespace AND c.relkind = 'v' AND c.relname !~ '^_' AND a.attnum > 0 AND NOT a.attisdropped
GROUP BY 1 ORDER BY 1;
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'etl.run_result'::regclass AND attnum > 0 ORDER BY attnum;
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'etl.replay_result'::regclass AND attnum > 0 ORDER BY attnum;

SELECT format('%s %s.%s(%s)%s', CASE p.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END, n.nspname, p.proname,
		replace(coalesce(E'\n    ' || nullif(pg_get_function_arguments(p.oid), ''), ''), ', ', E',\n    '), coalesce(E'\n  returns ' || pg_get_function_result(p.oid), '')) AS signature
FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'etl')
  AND p.proname !~ '^_' ORDER BY n.nspname, p.proname;

-- outside schema etl there is etl_run, and nothing else
SELECT n.nspname, p.proname FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'etl') AND n.nspname <> 'etl';
SELECT n.nspname, c.relname FROM pg_depend d JOIN pg_class c ON c.oid = d.objid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'etl') AND n.nspname <> 'etl';
-- no parameter is named like a reserved word; every add_ ends with options
SELECT p.proname, a.name FROM pg_proc p, unnest(p.proargnames) a(name) JOIN pg_get_keywords() k ON k.word = a.name AND k.catcode IN ('R', 'T')
WHERE p.pronamespace = 'etl'::regnamespace AND p.proname !~ '^_';
SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'etl'::regnamespace AND p.proname ~ '^add_'
  AND (p.proargnames[p.pronargs] <> 'options' OR pg_get_function_arguments(p.oid) !~ 'options jsonb DEFAULT ''\{\}''::jsonb$');
-- no overloads
SELECT proname, count(*) FROM pg_proc WHERE pronamespace = 'etl'::regnamespace AND proname !~ '^_' OR proname = 'etl_run' GROUP BY 1 HAVING count(*) > 1;
