-- Bodies as records: what is a record, which bytes it came in, and what is wrong with it.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
-- What cannot be shown is shown otherwise: bytes that are not ASCII in octal, controls as signs.
CREATE FUNCTION pg_temp.shown(bytea) RETURNS text
LANGUAGE sql AS $$ SELECT translate(encode($1, 'escape'), E'\r\n\t\x01\x1f', '␍␊␉␁␟') $$;
CREATE FUNCTION pg_temp.page(body bytea, format text, options jsonb DEFAULT '{}', content_type text DEFAULT '', max_size bigint DEFAULT 1000000,
	OUT n integer, OUT record text, OUT received text, OUT at bigint, OUT reason text) RETURNS SETOF record
LANGUAGE sql AS $$
	SELECT p.record_number, pg_temp.shown(p.record), pg_temp.shown(p.received), p.byte_offset, p.reason
	FROM etl._read_page(body, coalesce(etl._check_format(format, '$[*]', options), '{}'), '$[*]', content_type, max_size) p
$$;
CREATE FUNCTION pg_temp.page(body text, format text, options jsonb DEFAULT '{}',
	OUT n integer, OUT record text, OUT received text, OUT at bigint, OUT reason text) RETURNS SETOF record
LANGUAGE sql AS $$ SELECT * FROM pg_temp.page(convert_to(body, 'UTF8'), format, options) $$;
\a\t

--
-- NDJSON
--
SELECT * FROM pg_temp.page(E'{"a":1}\n{"a":2}\n', 'ndjson');
-- no line break at the end, CR LF, blank lines, blanks, a byte order mark
SELECT * FROM pg_temp.page(E'\ufeff\n{"a":1}\r\n\r\n \t\n  {"a":2} \r\n3', 'ndjson');
-- a broken line is a record, which the parser will refuse
SELECT * FROM pg_temp.page(E'{"a":1}\n{"a":\nzork\n{"a":2}', 'ndjson');
SELECT * FROM pg_temp.page('\x7b7d0aff0a7b7d'::bytea, 'ndjson');
-- nothing is a success
SELECT count(*) FROM pg_temp.page('', 'ndjson');
SELECT count(*) FROM pg_temp.page(E'\n \r\n', 'ndjson');
-- something else is not
SELECT * FROM pg_temp.page(E'<!DOCTYPE html>\n<p>', 'ndjson');
SELECT * FROM pg_temp.page(E'Service unavailable\nTry later', 'ndjson');
SELECT * FROM pg_temp.page(E'[\n{"a":1},\n{"a":2}\n]', 'ndjson');
SELECT * FROM pg_temp.page(E'[{"a":1},\n{"a":2}]', 'ndjson');
SELECT * FROM pg_temp.page(E'{\n"a":1\n}', 'ndjson');
SELECT * FROM pg_temp.page(E'[1]\n[2]\nnull\ntrue', 'ndjson');

--
-- CSV
--
SELECT * FROM pg_temp.page(E'id,name,note\n1,one,\n2,"two, 2",""\n3,"thr""ee","first\nsecond"\n', 'csv');
-- a byte order mark, CR LF, CR, no line break at the end
SELECT * FROM pg_temp.page(E'\ufeffid,name\r\n1,"a\nb"\r\n2,"\r"', 'csv');
SELECT * FROM pg_temp.page(E'id,name\r1,"a\r\nb"\r2,x', 'csv');
-- quotes within a field; white space is data; what JSON has to escape
SELECT * FROM pg_temp.page(E'id,name\n1,a"b,c"d\n 2 ,\tx\\y\x01\x1f\n', 'csv');
-- options
SELECT * FROM pg_temp.page(E'id;name\n1;''a''''b;\n''\n2;\\N\n3;''\\N''\n', 'csv', '{"csv": {"delimiter": ";", "quote": "''", "null": "\\N"}}');
SELECT * FROM pg_temp.page(E'id\tname\n1\t"a\\"b\\\\c\\d"\n', 'csv', '{"csv": {"delimiter": "\t", "escape": "\\"}}');
SELECT * FROM pg_temp.page(E'1,2\n', 'csv', '{"csv": {"header": false, "columns": ["a b", "ä\"\\"]}}');
SELECT * FROM pg_temp.page(E'x,y\n1,2\n', 'csv', '{"csv": {"header": true, "columns": ["a", "b"]}}');
SELECT * FROM pg_temp.page(E'a,"b"\n1,2\n', 'csv', '{"csv": {"columns": ["a", "b"]}}');
-- one column: an empty line is a row; an end of data as COPY FROM STDIN has it is one, too
SELECT * FROM pg_temp.page(E'a\n1\n\n\\.\n2\n', 'csv');
-- rows that COPY refuses the file for
SELECT * FROM pg_temp.page(E'a,b\n1\n1,2\n1,2,3\n\n,,,\n3,4\n', 'csv');
SELECT * FROM pg_temp.page(E'a,b\n1,2\nx\ry,z\n3,4\n', 'csv');
SELECT * FROM pg_temp.page(E'a,b\r\n1,2\nx,y\r\n3,4\r\n5\r,6\r\n7,8', 'csv');
SELECT * FROM pg_temp.page(E'a,b\r1,2\nx,y\r3,4', 'csv');
-- invalid bytes stay in their row, for the parser to refuse
SELECT * FROM pg_temp.page('\x612c620aff2c310a322c00'::bytea, 'csv');
-- a header and no rows, nothing at all
SELECT count(*) FROM pg_temp.page(E'a,b\n', 'csv');
SELECT count(*) FROM pg_temp.page(E'a,b', 'csv');
SELECT count(*) FROM pg_temp.page('', 'csv');
SELECT count(*) FROM pg_temp.page(E'\ufeff', 'csv');
-- headers that name no columns
SELECT * FROM pg_temp.page(E'a,,c\n', 'csv');
SELECT * FROM pg_temp.page(E'id,name,x,name\n', 'csv');
SELECT * FROM pg_temp.page('\x612cff0a'::bytea, 'csv');
SELECT * FROM pg_temp.page('\x612c00620a'::bytea, 'csv');
SELECT * FROM pg_temp.page(E'a\rb\n1\n', 'csv');
SELECT * FROM pg_temp.page(E'a\nb\r\n1\r', 'csv');
-- and one that is spelled as NULL is
SELECT * FROM pg_temp.page(E'NULL,b\nNULL,x\n', 'csv', '{"csv": {"null": "NULL"}}');
-- a header that is not the one declared
SELECT * FROM pg_temp.page(E'a,c\n1,2\n', 'csv', '{"csv": {"columns": ["a", "b"]}}');
SELECT * FROM pg_temp.page(E'a\n1\n', 'csv', '{"csv": {"columns": ["a", "b"]}}');
SELECT * FROM pg_temp.page(E'a,b,c\n1,2,3\n', 'csv', '{"csv": {"columns": ["a", "b"]}}');
-- an end within quotes is no end
SELECT * FROM pg_temp.page(E'a,b\n1,2\n3,"4\n5,6\n', 'csv');
SELECT * FROM pg_temp.page(E'a,"b\n1,2\n', 'csv');
-- something else
SELECT * FROM pg_temp.page(E' <html>\n', 'csv');
SELECT * FROM pg_temp.page('{"message": "error"}', 'csv');
SELECT * FROM pg_temp.page(E'[\n  {"a": 1}]', 'csv');
SELECT * FROM pg_temp.page(E'[a],{b}\n1,2', 'csv');
-- no more JSON than a body may have
SELECT * FROM pg_temp.page(convert_to(E'a_column_with_a_name\n' || repeat(E'x\n', 100), 'UTF8'), 'csv', max_size => 500);
SELECT count(*) FROM pg_temp.page(convert_to(E'a_column_with_a_name\n' || repeat(E'x\n', 100), 'UTF8'), 'csv', max_size => 3000);

--
-- Charsets
--
-- by Content-Type, by option, by byte order mark; offsets are those of the bytes received
SELECT * FROM pg_temp.page(convert_to(E'näme,b\nö,2\nü\n', 'LATIN1'), 'csv', '{}', 'text/csv; header=present; charset="ISO-8859-1"');
SELECT * FROM pg_temp.page(convert_to('["€", "x"]', 'WIN1252'), 'json', '{"charset": "windows-1252"}');
SELECT * FROM pg_temp.page(convert_to('["€", "x"]', 'WIN1252'), 'json', '{"charset": "windows-1252"}', 'application/json; charset=utf-8');
SELECT * FROM pg_temp.page('\xfffe5b0022003dd800de22002c0031005d00'::bytea, 'json');
SELECT * FROM pg_temp.page('\xfeff005b00e4005d'::bytea, 'json', '{}', 'application/json; charset=us-ascii');
SELECT * FROM pg_temp.page('\xfffe00005b00000000f601005d000000'::bytea, 'json');
SELECT * FROM pg_temp.page('\x0000005b0001f6000000005d'::bytea, 'json', '{"charset": "utf-32"}');
SELECT * FROM pg_temp.page('\x5b0031005d00'::bytea, 'json', '{"charset": "utf-16"}');
SELECT * FROM pg_temp.page('\x005b0031005d'::bytea, 'json', '{"charset": "utf-16"}');
SELECT * FROM pg_temp.page('\xfeff005b0031005d'::bytea, 'json', '{"charset": "utf-16"}');
SELECT * FROM pg_temp.page('\xefbbbf5b315d'::bytea, 'json', '{}', 'application/json; charset=iso-8859-1');
-- trail bytes that look like ASCII: 表 ends with a backslash, ソ too
SELECT * FROM pg_temp.page(convert_to(E'表,b\n"ソ,\n表",x\n表\nア,y\n', 'SJIS'), 'csv', '{"charset": "shift_jis"}');
SELECT * FROM pg_temp.page(convert_to(E'{"a":"表"}\n{"ソ"}\n{"b":2}', 'SJIS'), 'ndjson', '{}', 'application/x-ndjson;charset=Shift_JIS');
SELECT * FROM pg_temp.page(convert_to('[{"a":"功"}, 功, {"b":"許功"}]', 'BIG5'), 'json', '{"charset": "big5"}');
SELECT * FROM pg_temp.page(convert_to(E'a\n中文\n丂㐀\n', 'GB18030'), 'csv', '{"charset": "gb18030"}');
-- two characters for one
SELECT * FROM pg_temp.page(convert_to('["か゚", "x", か゚y, 1]', 'EUC_JIS_2004'), 'json', '{"charset": "euc_jis_2004"}');
-- a long text is converted in pieces
SELECT count(*), min(length(record)), max(length(record)), bool_and(md5(record) = md5('"' || repeat('あ', 100) || '"')) FROM
	(SELECT convert_from(p.record, 'UTF8') AS record FROM etl._read_page(convert_to('[' || repeat('"' || repeat('あ', 100) || '",', 2000) || '"' || repeat('あ', 100) || '"]', 'EUC_JP'),
		'{"charset": "euc-jp"}') p) x;
-- bytes that are no character
SELECT * FROM pg_temp.page('\x5b22810a225d'::bytea, 'json', '{"charset": "windows-1252"}');
SELECT * FROM pg_temp.page('\x5b2282ff225d'::bytea, 'json', '{}', 'application/json; charset=Shift_JIS');
SELECT * FROM pg_temp.page('\x5b2200225d'::bytea, 'json', '{"charset": "koi8-r"}');
SELECT * FROM pg_temp.page('\xfffe5b0000dc5d00'::bytea, 'json');
SELECT * FROM pg_temp.page('\xfffe5b003dd85d00'::bytea, 'json');
SELECT * FROM pg_temp.page('\x0000fffe5b0000000000110000'::bytea, 'json', '{"charset": "utf-32le"}');
-- cut short
SELECT * FROM pg_temp.page('\xfffe5b003dd8'::bytea, 'json');
SELECT * FROM pg_temp.page('\xfffe5b00310031'::bytea, 'json');
SELECT * FROM pg_temp.page('\x5b2282'::bytea, 'json', '{"charset": "shift_jis"}');
-- not known
SELECT * FROM pg_temp.page('[1]', 'json', '{}');
SELECT * FROM pg_temp.page('[1]'::bytea, 'json', '{}', 'application/json; charset=klingon');
SELECT * FROM pg_temp.page('[1]'::bytea, 'json', '{"charset": "utf-8"}', 'application/json; charset=klingon');
SELECT * FROM pg_temp.page('[1]'::bytea, 'json', '{}', 'application/json; charset=');

--
-- Compression: gzip here, zstd where a server sends it
--
\set one '\'\\x1f8b0800000000000203ab564a54b232ace5aa06d146b55c0066c05a1910000000\'::bytea'
\set two '\'\\x1f8b0800000000000203ab564a54b232aee5020028776c7708000000\'::bytea'
SELECT * FROM pg_temp.page(:one, 'ndjson');
SELECT * FROM pg_temp.page(:one, 'ndjson', '{"compression": "gzip"}');
-- files put together, padding
SELECT * FROM pg_temp.page(:one || :two, 'ndjson');
SELECT * FROM pg_temp.page(:one || '\x0000000000' || :two || '\x000000', 'ndjson');
-- it is a text, and a long one
SELECT * FROM pg_temp.page('{"a":1}', 'ndjson', '{"compression": "none"}');
SELECT * FROM pg_temp.page('{"a":1}', 'ndjson', '{"compression": "gzip"}');
SELECT * FROM pg_temp.page('', 'ndjson', '{"compression": "gzip"}');
-- cut short, anywhere
SELECT length AS cut_to, pg_temp.refusal(format('SELECT * FROM pg_temp.page(%L::bytea, %L)', substr(:one, 1, length), 'ndjson')) AS refusal
FROM unnest('{2,9,15,24,25,33}'::integer[]) length;
SELECT * FROM pg_temp.page(:one || '\x1f', 'ndjson');
SELECT * FROM pg_temp.page(:one || '\x1f8b08', 'ndjson');
-- damaged: a block, the sum; where it is noticed depends on the library
SELECT pg_temp.refusal(format('SELECT * FROM pg_temp.page(%L::bytea, %L)', damaged, 'ndjson')) AS refusal
FROM (VALUES (set_byte(:one, 12, 255)), (set_byte(:one, 26, 0))) v(damaged);
-- something follows
SELECT * FROM pg_temp.page(:one || 'x', 'ndjson');
SELECT * FROM pg_temp.page(:one || '\x0000' || 'x', 'ndjson');
-- larger than it may be, by one
SELECT * FROM pg_temp.page(:one, 'ndjson', max_size => 15);
SELECT count(*) FROM pg_temp.page(:one, 'ndjson', max_size => 16);
SELECT * FROM pg_temp.page(:one || :two, 'ndjson', max_size => 23);
SELECT count(*) FROM pg_temp.page(:one || :two, 'ndjson', max_size => 24);
-- what is compressed otherwise is no text
SELECT * FROM pg_temp.page('\x504b030414000000'::bytea, 'csv');
SELECT * FROM pg_temp.page('\xfd377a585a0000'::bytea, 'ndjson');
SELECT * FROM pg_temp.page('BZh91AY&SY1234'::bytea, 'csv');
SELECT * FROM pg_temp.page(E'PK,BZh9\n1,2'::bytea, 'csv');
