-- What a transformation may know about the run it is part of.  Inside a run the worker
-- sets these; by hand, set etl.data_interval_start and etl.data_interval_end in the
-- session to see what a txf_ view gives for an interval.

CREATE FUNCTION etl.data_interval_start() RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT nullif(pg_catalog.current_setting('etl.data_interval_start', true), '')::timestamptz $$;
COMMENT ON FUNCTION etl.data_interval_start() IS 'start of the data interval of the current run (inclusive); NULL outside a run';

CREATE FUNCTION etl.data_interval_end() RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT nullif(pg_catalog.current_setting('etl.data_interval_end', true), '')::timestamptz $$;
COMMENT ON FUNCTION etl.data_interval_end() IS 'end of the data interval of the current run (exclusive); NULL outside a run';

CREATE FUNCTION etl.run_date() RETURNS date
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT nullif(pg_catalog.current_setting('etl.run_date', true), '')::date $$;
COMMENT ON FUNCTION etl.run_date() IS 'the date the current run''s data interval starts on, in the pipeline''s timezone; NULL outside a run';

CREATE FUNCTION etl.run_id() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT nullif(pg_catalog.current_setting('etl.run_id', true), '')::bigint $$;
COMMENT ON FUNCTION etl.run_id() IS 'the id of the current run; NULL outside a run';

CREATE FUNCTION etl._set_context(run_id bigint, data_interval_start timestamptz, data_interval_end timestamptz, run_date date)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
	SELECT set_config('etl.run_id', coalesce(run_id::text, ''), true),
		   set_config('etl.data_interval_start', data_interval_start::text, true),
		   set_config('etl.data_interval_end', data_interval_end::text, true),
		   set_config('etl.run_date', run_date::text, true)
$$;
COMMENT ON FUNCTION etl._set_context(bigint, timestamptz, timestamptz, date) IS 'makes a run''s interval visible to transformations until the end of the transaction';

CREATE FUNCTION etl._now() RETURNS timestamptz
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(nullif(current_setting('etl.clock', true), '')::timestamptz, clock_timestamp()) $$;
COMMENT ON FUNCTION etl._now() IS 'the clock that schedules go by: etl.clock when set, for tests, else the system''s';

CREATE FUNCTION etl._report(activity text) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'etl_report';
COMMENT ON FUNCTION etl._report(text) IS 'shows what this worker does in pg_stat_activity and etl.progress, at once and outside its transaction';

CREATE FUNCTION etl._note(evidence jsonb) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'etl_note';
COMMENT ON FUNCTION etl._note(jsonb) IS 'keeps evidence of a publication in the worker''s memory, where a rollback does not reach it';
