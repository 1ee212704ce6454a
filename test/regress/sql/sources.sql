-- Sources: the options of servers and user mappings of etl_http, each with good and bad values.
-- Tries a value of one option of a server.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE FUNCTION pg_temp.server_option(name text, value text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	h text;
BEGIN
	EXECUTE format('CREATE SERVER so_try FOREIGN DATA WRAPPER etl_http OPTIONS (%s%I %L)',
		CASE WHEN name <> 'base_url' THEN 'base_url ''https://api.example.com'', ' ELSE '' END, name, value);
	DROP SERVER so_try;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS h = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(h, ''));
END
$$;
-- Tries the options of a user mapping.
CREATE FUNCTION pg_temp.mapping(options text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	h text;
BEGIN
	EXECUTE format('CREATE USER MAPPING FOR CURRENT_USER SERVER so_api OPTIONS (%s)', options);
	DROP USER MAPPING FOR CURRENT_USER SERVER so_api;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS h = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(h, ''));
END
$$;
\pset format unaligned
\t on

-- URLs
SELECT v, pg_temp.server_option('base_url', v) FROM unnest(ARRAY['https://api.example.com', 'http://localhost:8080', 'http://127.0.0.1:8080/v1', 'HTTPS://API.example.com/',
	'https://[::1]:8443/x', 'https://api.example.com/v1/']) v;
SELECT v, pg_temp.server_option('base_url', v) FROM unnest(ARRAY['', 'api.example.com', 'ftp://api.example.com', 'file:///etc/passwd', 'https://', 'http://:80',
	'https://user:secret@api.example.com', 'https://api.example.com:99999', E'https://api.example.com\nX: y', 'https://api example.com']) v;
-- a path is added to it, so it ends before query and fragment
SELECT v, left(pg_temp.server_option('base_url', v), 5) FROM unnest(ARRAY['https://api.example.com/v1?tenant=a', 'https://api.example.com/#top']) v;
SELECT v, pg_temp.server_option('proxy', v) FROM unnest(ARRAY['http://proxy:3128', 'https://proxy', 'socks5://proxy', 'proxy:3128', 'http://user:secret@proxy']) v;

-- durations
SELECT o, v, pg_temp.server_option(o, v)
FROM unnest(ARRAY['timeout', 'connect_timeout', 'retry_delay', 'max_retry_delay', 'max_wait']) WITH ORDINALITY o(o, n), unnest(ARRAY['30 seconds', '500 ms']) v ORDER BY n, v;
SELECT v, pg_temp.server_option('timeout', v) FROM unnest(ARRAY['1 ms', '7 days', 'PT1M', '00:01', '10', '1 hour 30 minutes']) v;
SELECT v, pg_temp.server_option('timeout', v) FROM unnest(ARRAY['0', '-1 second', '8 days', '1 month', '7 days 1 ms', 'soon', '', '0.5 ms', '1 year']) v;

-- numbers
SELECT o, v, pg_temp.server_option(o, v) FROM unnest(ARRAY['max_attempts', 'max_redirects']) WITH ORDINALITY o(o, n), unnest(ARRAY['1', '1000']) v ORDER BY n, v;
SELECT v, pg_temp.server_option('max_redirects', v) FROM unnest(ARRAY['0']) v;
SELECT v, pg_temp.server_option('max_attempts', v) FROM unnest(ARRAY['0', '-1', '1001', 'many', '', '1.5.2', '99999999999']) v;
SELECT v, pg_temp.server_option('max_body_size', v) FROM unnest(ARRAY['1kB', '256MB', '1GB', '512']) v;
SELECT v, pg_temp.server_option('max_body_size', v) FROM unnest(ARRAY['0', '-1', '2GB', '1 TB', 'big', '']) v;
SELECT v, pg_temp.server_option('verify_tls', v) FROM unnest(ARRAY['true', 'false', 'on', 'off', 'yes', '0']) v;
SELECT v, pg_temp.server_option('verify_tls', v) FROM unnest(ARRAY['', 'maybe', '2']) v;

-- text
SELECT v, pg_temp.server_option('user_agent', v) FROM unnest(ARRAY['shop/1.0 (+https://example.com)']) v;
SELECT pg_temp.server_option('user_agent', v) FROM unnest(ARRAY[E'two\nlines', E'carriage\rreturn']) v;
SELECT v, pg_temp.server_option('ca_file', v) FROM unnest(ARRAY['/etc/ssl/own.pem']) v;

-- what there is not
SELECT pg_temp.server_option('host', 'api.example.com');
SELECT pg_temp.server_option('token', 'secret-value');
SELECT pg_temp.server_option('BASE_URL', 'https://api.example.com');
\t off
\pset format aligned
CREATE SERVER so_try FOREIGN DATA WRAPPER etl_http;
CREATE SERVER so_try FOREIGN DATA WRAPPER etl_http OPTIONS (timeout '1 s');
ALTER FOREIGN DATA WRAPPER etl_http OPTIONS (a 'b');

--
-- User mappings
--
CREATE SERVER so_api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'https://api.example.com');
\pset format unaligned
\t on
SELECT v, pg_temp.mapping(v) FROM unnest(ARRAY[
	'auth ''none''', 'auth ''bearer'', token ''t0ken''', 'auth ''bearer'', token_file ''shop''', 'auth ''bearer'', token_file ''shop.token-1''', 'auth ''bearer'', token_env ''SHOP_TOKEN''',
	'auth ''basic'', username ''me'', password ''p''', 'auth ''basic'', username ''me'', password_file ''shop''', 'auth ''basic'', username ''me'', password_env ''P''',
	'auth ''api_key'', api_key ''k''', 'auth ''api_key'', api_key_file ''shop'', api_key_header ''X-Shop-Key''', 'auth ''api_key'', api_key_env ''SHOP_KEY''']) v;
SELECT v, pg_temp.mapping(v) FROM unnest(ARRAY[
	'auth ''''', 'auth ''Bearer'', token ''x''', 'auth ''digest''', 'auth ''bearer''', 'auth ''basic''', 'token ''x''', 'username ''me''', 'password ''x''',
	'auth ''none'', token ''x''', 'auth ''basic'', token ''x''', 'auth ''bearer'', token ''x'', username ''me''',
	'auth ''basic'', username ''me''', 'auth ''basic'', password ''x''', 'auth ''bearer'', token ''x'', token_file ''y''', 'auth ''bearer'', token_file ''x'', token_env ''y''',
	'auth ''basic'', username ''me'', password ''x'', password_file ''y''',
	'auth ''bearer'', token_file ''/etc/passwd''', 'auth ''bearer'', token_file ''../shop''', 'auth ''bearer'', token_file ''a/b''', 'auth ''bearer'', token_file ''.hidden''',
	'auth ''bearer'', token_file ''''', 'auth ''bearer'', token_env ''''', 'auth ''bearer'', token_env ''A=B''', 'auth ''bearer'', token E''a\nb''',
	'base_url ''https://x.example.com''', 'user ''me''']) v;
\t off
\pset format aligned

-- only the kind of error counts here
SELECT v, left(pg_temp.mapping(v), 5) FROM unnest(ARRAY['auth ''bearer'', token ''''', 'auth ''basic'', username ''a:b'', password ''x''', 'auth ''basic'', username '''', password ''x''']) v;
SELECT v, left(pg_temp.mapping(v), 5) FROM unnest(ARRAY['auth ''api_key''', 'api_key ''k''', 'auth ''bearer'', api_key ''k''', 'auth ''api_key'', token ''k''', 'auth ''api_key'', api_key ''k'', api_key_file ''f''',
	'auth ''api_key'', api_key_header ''X-Key''', 'auth ''api_key'', api_key ''''', 'auth ''api_key'', api_key ''k'', api_key_header ''X Key''', 'auth ''api_key'', api_key ''k'', api_key_header ''Host''',
	'auth ''api_key'', api_key ''k'', api_key_header ''''', 'auth ''api_key'', api_key_file ''../k''']) v;
-- a mistyped secret is not repeated in the error
CREATE USER MAPPING FOR CURRENT_USER SERVER so_api OPTIONS (auth 's3cr3t');
CREATE USER MAPPING FOR CURRENT_USER SERVER so_api OPTIONS (auth 'bearer', token_file '/s3cr3t');

-- altered, they are checked as a whole
CREATE USER MAPPING FOR CURRENT_USER SERVER so_api OPTIONS (auth 'bearer', token 'one');
ALTER USER MAPPING FOR CURRENT_USER SERVER so_api OPTIONS (SET token 'two');
ALTER USER MAPPING FOR CURRENT_USER SERVER so_api OPTIONS (DROP token);
ALTER USER MAPPING FOR CURRENT_USER SERVER so_api OPTIONS (DROP token, ADD token_file 'shop');
ALTER USER MAPPING FOR CURRENT_USER SERVER so_api OPTIONS (SET auth 'none');
ALTER USER MAPPING FOR CURRENT_USER SERVER so_api OPTIONS (SET auth 'none', DROP token_file);
SELECT umoptions FROM pg_user_mappings WHERE srvname = 'so_api';
ALTER SERVER so_api OPTIONS (ADD timeout '5 s');
ALTER SERVER so_api OPTIONS (SET timeout 'never');
ALTER SERVER so_api OPTIONS (DROP base_url);
SELECT srvoptions FROM pg_foreign_server WHERE srvname = 'so_api';

-- there are no foreign tables over http: the wrapper has no handler
CREATE SCHEMA so;
CREATE FOREIGN TABLE so.t (a integer) SERVER so_api;
SELECT * FROM so.t;
DROP SCHEMA so CASCADE;
DROP SERVER so_api CASCADE;
