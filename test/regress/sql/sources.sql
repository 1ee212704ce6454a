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

-- headers: a JSON object; none that frames the request or holds credentials
SELECT v, pg_temp.server_option('headers', v) FROM unnest(ARRAY['{}', '{"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}', '{"X-Number": 1.50, "X-Flag": true, "X-Empty": ""}', '{"X-Shop": "tab\tis fine"}']) v;
SELECT v, pg_temp.server_option('headers', v) FROM unnest(ARRAY['', 'Accept: application/json', '[]', '"Accept"', '{"Accept": null}', '{"Accept": ["a", "b"]}', '{"Accept": {}}', '{"Accept"}',
	'{"": "x"}', '{"two words": "x"}', '{"X-Shop:": "x"}', '{"X-Shop": "a\r\nY: b"}']) v;
SELECT v, pg_temp.server_option('headers', format('{"%s": "s3cr3t"}', v)) FROM unnest(ARRAY['Authorization', 'PROXY-AUTHORIZATION', 'Cookie', 'x-api-key', 'Private-Token', 'Host', 'content-length', 'Transfer-Encoding', 'Connection', 'Accept-Encoding', 'Expect']) v;

-- budgets: windows of requests
SELECT v, pg_temp.server_option('rate_limit', v) FROM unnest(ARRAY['5000/hour', '20/second, 5000/hour', '100 / 15 minutes', '1/100 ms', '10/31 days', '3/day,1/s', '1000000000/day', '5/10 Seconds']) v;
SELECT v, pg_temp.server_option('rate_limit', v) FROM unnest(ARRAY['', '5000', '/hour', '5000/', '0/hour', '-1/hour', '1.5/hour', '5000/fortnight', '5000/month', '5000/32 days', '5000/0 seconds', '5000/-1 hour', '1/99 ms', '5/00:10', '1/s, 2/1000 ms',
	'20/second,', '20/second;5000/hour', '5000 per hour', '1000000001/day', 'many/hour']) v;
SELECT n, left(pg_temp.server_option('rate_limit', (SELECT string_agg(format('1/%s s', s), ',') FROM generate_series(1, n) s)), 5) FROM unnest(ARRAY[8, 9]) n;
SELECT v, pg_temp.server_option('concurrency', v) FROM unnest(ARRAY['1', '8', '256']) v;
SELECT v, pg_temp.server_option('concurrency', v) FROM unnest(ARRAY['0', '257', '-1', '', 'all']) v;

-- hosts that links may lead to
SELECT v, pg_temp.server_option('next_hosts', v) FROM unnest(ARRAY['files.example.com', 'files.example.com, cdn.example.com:8443,127.0.0.1', '[::1]:8443']) v;
SELECT v, pg_temp.server_option('next_hosts', v) FROM unnest(ARRAY['', 'files.example.com,', 'https://files.example.com', 'files.example.com/x', '*.example.com', '*', 'user@example.com', 'a b', 'files.example.com:99999', 'x?y']) v;

-- TLS
SELECT v, pg_temp.server_option('min_tls_version', v) FROM unnest(ARRAY['1.2', '1.3', '1.1', '1.4', 'TLSv1.2', '']) v;
SELECT pg_temp.server_option('client_certificate_file', 'shop.pem');
SELECT pg_temp.server_option('client_key_file', 'shop.key');
SELECT v, pg_temp.server_option('client_key_file', v) FROM unnest(ARRAY['/etc/ssl/private/key.pem', '../key.pem', '']) v;
CREATE SERVER so_try FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'https://api.example.com', client_certificate_file 'shop.pem', client_key_file 'shop.key');
ALTER SERVER so_try OPTIONS (DROP client_key_file);
DROP SERVER so_try;

-- what there is not, and what may have been meant
SELECT pg_temp.server_option('host', 'api.example.com');
SELECT pg_temp.server_option('token', 'secret-value');
SELECT pg_temp.server_option('BASE_URL', 'https://api.example.com');
SELECT left(v, 20), substring(pg_temp.server_option(v, 'x') FROM '[|] ([^|]*) Valid') FROM unnest(ARRAY['base_ur', 'timeouts', 'timout', 'max_retries', 'max_attemps', 'user-agent', 'useragent', 'ratelimit', 'verify_ssl', 'header', 'ca_fil',
	'x', 'zzzzzzzzzzzz', 'password_file', 'auth', repeat('base_url', 100)]) v;
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

-- a key in a parameter, several tokens, OAuth
\pset format unaligned
\t on
SELECT v, pg_temp.mapping(v) FROM unnest(ARRAY[
	'auth ''api_key'', api_key ''k'', api_key_parameter ''key''', 'auth ''api_key'', api_key_file ''shop'', api_key_parameter ''filter[key]''',
	'auth ''bearer'', tokens ''a, b, c''', 'auth ''bearer'', tokens_file ''shop''', 'auth ''bearer'', tokens_env ''SHOP_TOKENS''',
	'auth ''oauth2_client_credentials'', token_url ''https://login.example.com/token'', client_id ''me'', client_secret ''s''',
	'auth ''oauth2_client_credentials'', token_url ''http://127.0.0.1:80/t?api-version=1.0'', client_id ''me'', client_secret_file ''shop'', client_auth ''body''',
	'auth ''oauth2_client_credentials'', token_url ''https://login.example.com/token'', client_id ''me'', client_secret_env ''SHOP'', client_auth ''basic'', scope ''read write'', audience ''https://api.example.com''']) v;
SELECT v, pg_temp.mapping(v) FROM unnest(ARRAY[
	'auth ''api_key'', api_key ''k'', api_key_parameter ''key'', api_key_header ''X-Key''', 'auth ''api_key'', api_key_parameter ''key''', 'auth ''api_key'', api_key ''k'', api_key_parameter ''a&b''',
	'auth ''api_key'', api_key ''k'', api_key_parameter ''''', 'auth ''bearer'', token ''t'', api_key_parameter ''key''', 'auth ''none'', api_key_header ''X-Key''',
	'auth ''bearer'', token ''a'', tokens ''b''', 'auth ''bearer'', tokens ''a'', tokens_file ''b''', 'tokens ''a''', 'auth ''bearer'', tokens_file ''../a''',
	'auth ''oauth2_client_credentials''', 'auth ''oauth2_client_credentials'', client_id ''me'', client_secret ''s''',
	'auth ''oauth2_client_credentials'', token_url ''https://login.example.com/token'', client_secret ''s''',
	'auth ''oauth2_client_credentials'', token_url ''https://login.example.com/token'', client_id ''me''',
	'auth ''oauth2_client_credentials'', token_url ''https://login.example.com/token'', client_id ''me'', client_secret ''s'', client_secret_file ''f''',
	'auth ''oauth2_client_credentials'', token_url ''https://login.example.com/token'', client_id ''me'', client_secret ''s'', client_auth ''post''',
	'auth ''oauth2_client_credentials'', token_url ''login.example.com/token'', client_id ''me'', client_secret ''s''',
	'auth ''oauth2_client_credentials'', token_url ''https://me:s@login.example.com/token'', client_id ''me'', client_secret ''s''',
	'auth ''oauth2_client_credentials'', token_url ''https://login.example.com/token#x'', client_id ''me'', client_secret ''s''',
	'auth ''oauth2_client_credentials'', token_url ''https://login.example.com/token'', client_id ''me'', client_secret ''s'', token ''t''',
	'auth ''bearer'', token ''t'', scope ''read''', 'token_url ''https://login.example.com/token''']) v;
SELECT v, substring(pg_temp.mapping(format('%I ''x''', v)) FROM '[|] ([^|]*) Valid') FROM unnest(ARRAY['tokenfile', 'tokens_fil', 'pasword', 'client_secre', 'clientid', 'timeout', 'x']) v;
\t off
\pset format aligned

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

-- who may turn verification off, and see a user mapping
BEGIN;
CREATE ROLE so_owner;
CREATE ROLE so_other;
GRANT USAGE ON FOREIGN DATA WRAPPER etl_http TO so_owner;
SET ROLE so_owner;
SAVEPOINT refused;
CREATE SERVER so_unsafe FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'https://api.example.com', verify_tls 'off');
ROLLBACK TO refused;
CREATE SERVER so_mine FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'https://api.example.com', verify_tls 'on');
SAVEPOINT refused;
ALTER SERVER so_mine OPTIONS (SET verify_tls 'no');
ROLLBACK TO refused;
RESET ROLE;
GRANT etl_admin TO so_owner;
SET ROLE so_owner;
ALTER SERVER so_mine OPTIONS (SET verify_tls 'no');
RESET ROLE;
REVOKE etl_admin FROM so_owner;
SET ROLE so_owner;
SAVEPOINT refused;
ALTER SERVER so_mine OPTIONS (SET base_url 'https://elsewhere.example.com');
ROLLBACK TO refused;
ALTER SERVER so_mine OPTIONS (SET base_url 'https://elsewhere.example.com', DROP verify_tls);
CREATE USER MAPPING FOR so_owner SERVER so_mine OPTIONS (auth 'bearer', token 's3cr3t');
GRANT USAGE ON FOREIGN SERVER so_mine TO so_other;
SELECT umoptions FROM pg_user_mappings WHERE srvname = 'so_mine';
SET ROLE so_other;
SELECT usename, umoptions FROM pg_user_mappings WHERE srvname = 'so_mine';
SELECT umoptions FROM pg_user_mapping;
ROLLBACK;

-- there are no foreign tables over http: the wrapper has no handler
CREATE SCHEMA so;
CREATE FOREIGN TABLE so.t (a integer) SERVER so_api;
SELECT * FROM so.t;
DROP SCHEMA so CASCADE;
DROP SERVER so_api CASCADE;
