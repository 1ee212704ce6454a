-- Replacing a view under other views: what was granted on them and said about them stays.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE ROLE regress_rv_owner;
CREATE ROLE regress_rv_other;
CREATE ROLE regress_rv_reader;
CREATE SCHEMA rv;
GRANT ALL ON SCHEMA rv TO regress_rv_owner, regress_rv_other;
CREATE TABLE rv.base (id integer, name text, amount numeric);
INSERT INTO rv.base VALUES (1, 'a', 10), (2, 'b', 20);
GRANT SELECT, UPDATE, INSERT ON rv.base TO regress_rv_owner, regress_rv_other;

-- What there is to see of the views of the schema.
CREATE VIEW pg_temp.views AS
	SELECT c.relname, c.relkind AS kind, CASE WHEN pg_get_userbyid(c.relowner) = current_user THEN 'me' ELSE pg_get_userbyid(c.relowner) END AS owner, c.reloptions AS options, obj_description(c.oid, 'pg_class') AS comment,
		(SELECT string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), col_description(c.oid, a.attnum), 'default ' || pg_get_expr(d.adbin, d.adrelid), a.attacl::text), ', ' ORDER BY a.attnum)
		 FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
		(SELECT string_agg(format('%s: %s%s', CASE x.grantee WHEN 0 THEN 'all' ELSE pg_get_userbyid(x.grantee) END, x.privilege_type, CASE WHEN x.is_grantable THEN '*' END), ', ' ORDER BY pg_get_userbyid(x.grantee), x.privilege_type)
		 FROM aclexplode(c.relacl) x WHERE x.grantee <> c.relowner) AS grants,
		(SELECT string_agg(g.tgname, ', ') FROM pg_trigger g WHERE g.tgrelid = c.oid) AS triggers,
		(SELECT string_agg(w.rulename, ', ' ORDER BY w.rulename) FROM pg_rewrite w WHERE w.ev_class = c.oid AND w.rulename <> '_RETURN') AS rules,
		(SELECT string_agg(i.indexrelid::regclass::text, ', ') FROM pg_index i WHERE i.indrelid = c.oid) AS indexes
	FROM pg_class c WHERE c.relnamespace = 'rv'::regnamespace AND c.relkind IN ('v', 'm') ORDER BY c.relname;

-- a new one
SELECT etl.replace_view('rv.a', 'SELECT id, name, amount FROM rv.base;');
-- dependents of all sorts, of several owners
ALTER VIEW rv.a OWNER TO regress_rv_owner;
ALTER VIEW rv.a SET (security_barrier);
COMMENT ON VIEW rv.a IS 'the first';
COMMENT ON COLUMN rv.a.amount IS 'in euros';
COMMENT ON COLUMN rv.a.name IS 'to go';
ALTER VIEW rv.a ALTER COLUMN id SET DEFAULT 7;
GRANT SELECT ON rv.a TO regress_rv_reader WITH GRANT OPTION;
GRANT SELECT ON rv.a TO regress_rv_other;
GRANT UPDATE (amount, name) ON rv.a TO regress_rv_reader;
CREATE VIEW rv.b AS SELECT id, sum(amount) AS total FROM rv.a GROUP BY id;
ALTER VIEW rv.b OWNER TO regress_rv_other;
GRANT SELECT ON rv.b TO PUBLIC;
COMMENT ON VIEW rv.b IS 'the second';
CREATE MATERIALIZED VIEW rv.m AS SELECT b.id, b.total, a.amount FROM rv.b JOIN rv.a USING (id);
CREATE UNIQUE INDEX m_id ON rv.m (id);
CREATE MATERIALIZED VIEW rv.empty AS SELECT id FROM rv.a WITH NO DATA;
CREATE VIEW "rv"."Odd name" AS SELECT id AS "Odd column" FROM rv.m WHERE total > 0;
REVOKE ALL ON "rv"."Odd name" FROM CURRENT_USER;
GRANT SELECT ON "rv"."Odd name" TO CURRENT_USER, regress_rv_reader;
CREATE FUNCTION rv.do_nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER on_insert INSTEAD OF INSERT ON rv.a FOR EACH ROW EXECUTE FUNCTION rv.do_nothing();
CREATE RULE ignored AS ON DELETE TO rv.b DO INSTEAD NOTHING;
\x
SELECT * FROM pg_temp.views;
-- columns at the end need nothing else
SELECT etl.replace_view('rv.a', 'SELECT id, name, amount, amount * 2 AS twice FROM rv.base');
-- a column goes, others change place and type; default privileges add nothing
ALTER DEFAULT PRIVILEGES IN SCHEMA rv GRANT ALL ON TABLES TO regress_rv_other;
SELECT etl.replace_view('rv.a', 'SELECT amount, id::bigint AS id, 1 AS one FROM rv.base');
SELECT * FROM pg_temp.views;
\x
SELECT * FROM "rv"."Odd name" ORDER BY 1;
SELECT relispopulated FROM pg_class WHERE oid = 'rv.empty'::regclass;
-- a materialized view in the middle
SELECT etl.replace_view('rv.m', 'SELECT id::text AS id, 1 AS total FROM rv.b');
SELECT * FROM rv.m ORDER BY 1;
SELECT pg_get_indexdef('rv.m_id'::regclass);
-- names as the caller would write them
SET search_path = rv;
SELECT etl.replace_view('rv.b', 'SELECT id, 0::bigint AS total FROM a');
SELECT etl.replace_view('rv.b', 'SELECT 0::integer AS total, id FROM a');
RESET search_path;
SELECT replace(pg_get_viewdef('rv.b'::regclass), 'a.id', 'id') AS pg_get_viewdef;		-- 16 and later do not name the relation

-- all or nothing
\set VERBOSITY terse
SELECT etl.replace_view('rv.a', 'SELECT amount FROM rv.base');		-- the detail is PostgreSQL's, and depends on its version
\set VERBOSITY default
SELECT etl.replace_view('rv.a', 'SELECT nosuch FROM rv.base');
SELECT etl.replace_view('rv.a', 'SELEKT');
CREATE TABLE rv.uses (a rv.a);
SELECT etl.replace_view('rv.a', 'SELECT id, amount FROM rv.base');
DROP TABLE rv.uses;
CREATE RULE from_view AS ON INSERT TO rv.base DO ALSO UPDATE rv.base SET name = 'x' WHERE id IN (SELECT id FROM rv.b);
SELECT etl.replace_view('rv.a', 'SELECT id, amount FROM rv.base');
DROP RULE from_view ON rv.base;
SELECT etl.replace_view('rv.base', 'SELECT 1');
SELECT etl.replace_view('a', 'SELECT 1');
SELECT etl.replace_view('rv.a', '');
SELECT etl.replace_view(NULL, NULL);
SELECT relname, columns FROM pg_temp.views;
-- with the caller's rights
SET ROLE regress_rv_reader;
SELECT etl.replace_view('rv.a', 'SELECT 1 AS id');
RESET ROLE;
GRANT ALL ON SCHEMA rv TO regress_rv_reader;
SET ROLE regress_rv_reader;
SELECT etl.replace_view('rv.a', 'SELECT 1 AS id');
RESET ROLE;
DROP SCHEMA rv CASCADE;
DROP ROLE regress_rv_owner, regress_rv_other, regress_rv_reader;
