-- JSON to JSONB as extractions do it: what is refused, and what the reason says.  That what
-- is accepted has jsonb_in's bytes is for test/t/030_jsonb_writer.pl.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE FUNCTION pg_temp.reason(document bytea) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN etl._json_as_jsonb(document);
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END
$$;

--
-- Grammar
--
SELECT d AS document, pg_temp.reason(convert_to(d, 'UTF8')) FROM unnest(ARRAY[
	'', ' ', 'nul', 'true false', '{"a" 1}', '{"a":1,}', '{a:1}', '{"a":1 "b":2}', '{"a":', '[1,,2]', '[1 2]', '[1}', '[', ']', '[01]', '[-]', '[1.]', '[.5]', '[1e+]', '[NaN]', '[é]',
	E'["a\tb"]', '["abc', '["\x"]', '["\u12g4"]', '["\', E'[\x01]', '[undefined_and_much_too_long_to_be_shown_in_whole]']) d;

--
-- What JSON allows and jsonb does not
--
SELECT d AS document, pg_temp.reason(convert_to(d, 'UTF8')) FROM unnest(ARRAY[
	'["\u0000"]', '{"a\u0000":1}', '["\ud800"]', '["\udc00"]', '["\ud83d\u0041"]', '["\ud83d\ud83d\ude00"]', '[1e131072]', '[1, 1e-16384]', '{"a":1e999999999999999999999,"a":1}']) d;
SELECT pg_temp.reason(d) FROM unnest(ARRAY['\x5b22c328225d', '\x5b22ff', '\x5b22eda080225d', '\x5b22f0', '\x5b3100315d', '\x22c080225d']::bytea[]) d;

--
-- Depth
--
SELECT length(etl._json_as_jsonb(convert_to(repeat('[', 5000) || repeat(']', 5000), 'UTF8'))::text);
SELECT pg_temp.reason(convert_to(repeat('[', 5001) || repeat(']', 5001), 'UTF8'));
SELECT pg_temp.reason(convert_to(repeat('{"a":', 100000), 'UTF8'));

--
-- The last of equal keys stays; numbers keep their digits
--
SELECT pg_temp.reason(convert_to('{"b":1,"a":2,"b":{"c":[]},"\u0061":3}', 'UTF8'));
SELECT pg_temp.reason('[0,-0,-0.0,1.50,100,1e2,1E-2,12345678901234567890123,0.1234567890123456789,-1e20]');
SELECT pg_temp.reason(convert_to('["\"\\\/\b\f\n\r\t\u00e9\u20ac\ud83d\ude00", "é"]', 'UTF8'));

--
-- It is for the extension's own use
--
CREATE ROLE regress_etl_json;
SET ROLE regress_etl_json;
SELECT etl._json_as_jsonb('1');
RESET ROLE;
DROP ROLE regress_etl_json;

--
-- Raw tables are compressed by lz4 where the server can
--
SELECT etl._create_raw_table('jw', 'raw');
SELECT c.relname, a.attcompression = 'l' OR NOT s.enumvals @> '{lz4}' AS compressed
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'payload', pg_settings s
WHERE c.relnamespace = 'jw'::regnamespace AND c.relkind IN ('r', 'p') AND s.name = 'default_toast_compression' ORDER BY 1;
DROP SCHEMA jw CASCADE;
