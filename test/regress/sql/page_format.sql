-- Formats, charsets and compressions as they are declared.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE SERVER pf_api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'https://api.example.com');
SELECT etl.create_pipeline('pf');

--
-- What is kept: nothing for JSON as it comes, else all that matters
--
SELECT etl._check_format('json', '$.data[*]', '{}');
SELECT etl._check_format('json', '$[*]', '{"compression": "auto"}');
SELECT etl._check_format('json', '$[*]', '{"charset": "ISO-8859-1", "compression": "gzip", "conditional": false}');
SELECT etl._check_format('ndjson', '$[*]', '{"compression": "none"}');
SELECT etl._check_format('csv', '$[*]', '{}');
SELECT etl._check_format('csv', '$[*]', '{"csv": {"delimiter": ";", "quote": "''", "null": "\\N"}, "charset": "utf-16"}');
SELECT etl._check_format('csv', '$[*]', '{"csv": {"columns": ["id", "a b"]}}');
SELECT etl._check_format('csv', '$[*]', '{"csv": {"columns": ["id"], "header": true, "escape": "\\", "delimiter": "\t"}}');
SELECT etl._check_format('csv', '$[*]', '{"csv": {"columns": ["id"], "header": false}}');

-- in a declaration, and back
SELECT etl.add_extract('pf', 'pf_raw.sales', 'pf_api', path => '/sales.csv.gz', format => 'csv',
	options => '{"csv": {"delimiter": ";"}, "charset": "windows-1252", "compression": "gzip"}');
SELECT etl.add_extract('pf', 'pf_raw.events', 'pf_api', path => '/events', format => 'ndjson', pagination => '{"type": "link_header"}');
SELECT task, jsonb_pretty(definition - '{path,query,headers,server,on_rerun,pagination}'::text[]) AS definition FROM etl.tasks WHERE pipeline = 'pf' ORDER BY task;
SELECT line FROM regexp_split_to_table(etl.pipeline_sql('pf'), '\n') line WHERE line ~ 'format|options' AND line !~ 'SERVER';

--
-- What is refused
--
SELECT etl.add_extract('pf', 'pf_raw.p', 'pf_api', format => 'xml');
SELECT etl.add_extract('pf', 'pf_raw.p', 'pf_api', format => NULL);
SELECT etl.add_extract('pf', 'pf_raw.p', 'pf_api', format => 'CSV');
SELECT etl.add_extract('pf', 'pf_raw.p', 'pf_api', format => 'csv', records => '$.rows[*]');
SELECT etl.add_extract('pf', 'pf_raw.p', 'pf_api', format => 'ndjson', records => '$');
SELECT etl.add_extract('pf', 'pf_raw.p', 'pf_api', options => '{"csv": {}}');
SELECT etl.add_extract('pf', 'pf_raw.p', 'pf_api', options => '{"charset": "klingon"}');
SELECT etl.add_extract('pf', 'pf_raw.p', 'pf_api', options => '{"charset": "sql_ascii"}');
SELECT etl.add_extract('pf', 'pf_raw.p', 'pf_api', options => '{"charset": ""}');
SELECT etl.add_extract('pf', 'pf_raw.p', 'pf_api', options => '{"charset": null}');
SELECT etl.add_extract('pf', 'pf_raw.p', 'pf_api', options => '{"charset": 8859}');
SELECT etl.add_extract('pf', 'pf_raw.p', 'pf_api', options => '{"compression": "zip"}');
SELECT etl.add_extract('pf', 'pf_raw.p', 'pf_api', options => '{"compression": true}');
SELECT etl.add_extract('pf', 'pf_raw.p', 'pf_api', options => '{"compression": null}');
-- a page of rows has nothing else in it
SELECT etl.add_extract('pf', 'pf_raw.p', 'pf_api', format => 'csv', pagination => '{"type": "next_url"}');
SELECT etl.add_extract('pf', 'pf_raw.p', 'pf_api', format => 'ndjson', pagination => '{"type": "cursor", "cursor": "$.next"}');
SELECT etl.add_extract('pf', 'pf_raw.p', 'pf_api', format => 'ndjson', pagination => '{"type": "page_number", "total": "$.total"}');

-- options of csv, as COPY has them
SELECT option, pg_temp.refusal(format('SELECT etl._check_format(%L, %L, %L)', 'csv', '$[*]', format('{"csv": %s}', option))) AS refusal
FROM unnest(ARRAY['[]', '"x"', 'null', '{"delimeter": ","}', '{"delimiter": ""}', '{"delimiter": "||"}', '{"delimiter": "\n"}', '{"delimiter": "ä"}', '{"delimiter": 1}',
	'{"quote": ""}', '{"quote": ","}', '{"escape": "\r"}', '{"null": "a\nb"}', '{"null": 0}', '{"null": "a,b"}', '{"null": "\"\""}',
	'{"header": "yes"}', '{"header": null}', '{"header": false}', '{"header": "match"}', '{"columns": []}', '{"columns": "a"}', '{"columns": ["a", ""]}',
	'{"columns": ["a", 1]}', '{"columns": ["a", "b", "a"]}']) option;

-- names of charsets
SELECT name, pg_temp.refusal(format('SELECT etl._check_charset(%L)', name)) IS NULL AS known
FROM unnest('{utf-8,UTF8,us-ascii,utf-16,UTF-16LE,utf_32be,iso-8859-1,latin1,ISO_8859-15,iso-8859-16,windows-1252,cp1252,Windows-1251,koi8-r,shift_jis,Shift-JIS,
	windows-31j,euc-jp,EUC-KR,cp949,gb2312,gbk,GB18030,big5,tis-620,iso-8859-11,ibm866,utf-7,ebcdic,macintosh,iso-2022-jp,big5-hkscs,mule_internal,x}'::text[]) name;

SELECT etl.drop_pipeline('pf', drop_data => true);
DROP SCHEMA pf_raw;
DROP SERVER pf_api;
