-- The one schema of the extension.  Only etl_run lives elsewhere: in the schema of
-- CREATE EXTENSION, so that a scheduler can call it by its short name.
CREATE SCHEMA etl;
COMMENT ON SCHEMA etl IS 'etl: declare an API, get a star schema';
GRANT USAGE ON SCHEMA etl TO PUBLIC;
