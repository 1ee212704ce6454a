-- A source is an SQL/MED server (where) and a user mapping (as whom).

CREATE FUNCTION etl.http_options_validator(options text[], catalog oid) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'etl_http_options_validator';
COMMENT ON FUNCTION etl.http_options_validator(text[], oid) IS 'checks the options of servers and user mappings of etl_http';

CREATE FOREIGN DATA WRAPPER etl_http VALIDATOR etl.http_options_validator;
COMMENT ON FOREIGN DATA WRAPPER etl_http IS 'sources over http and https: CREATE SERVER … FOREIGN DATA WRAPPER etl_http OPTIONS (base_url …)';
