-- What the tests share: settings on which output depends, and runs whose output has no
-- ids and ports.  Tests leave nothing behind: no pipeline, schema or role.
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';
SET client_min_messages = warning;		-- progress notices depend on the time a run takes
\set VERBOSITY default
\set SHOW_CONTEXT never

-- The sample API is on loopback, which no source may be on unless it is listed.  For the
-- database, because workers have sessions of their own, and the server may be anybody's.
SELECT format('ALTER DATABASE %I SET etl.allowed_hosts = %L', current_database(), '127.0.0.0/8, ::1') \gexec

-- Takes out what differs from run to run and from machine to machine.
CREATE FUNCTION pg_temp.stable(text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT regexp_replace(regexp_replace(regexp_replace($1, 'http://127\.0\.0\.1:\d+', 'http://api', 'g'),
		'\m(run|load|Run|Process|session) \d+', '\1 N', 'g'), 'cancel\(\d+\)', 'cancel(N)', 'g')
$$;

-- Executes a statement; an error is raised again without ids and ports.
CREATE FUNCTION pg_temp.try(statement text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	m text; d text; h text;
BEGIN
	EXECUTE statement;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
	m := pg_temp.stable(m); d := pg_temp.stable(d); h := pg_temp.stable(h);
	IF d <> '' AND h <> '' THEN
		RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = m, DETAIL = d, HINT = h;
	ELSIF d <> '' THEN
		RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = m, DETAIL = d;
	ELSIF h <> '' THEN
		RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = m, HINT = h;
	ELSE
		RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = m;
	END IF;
END
$$;

-- Runs one pipeline for one date.
CREATE FUNCTION pg_temp.run(pipeline text, run_date date)
RETURNS TABLE (state text, inserted bigint, updated bigint, deleted bigint)
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_temp.try(format($f$
		SELECT set_config('test.result', coalesce(string_agg(concat_ws(',', r.state, r.inserted, r.updated, r.deleted), ';'
			ORDER BY r.data_interval_start), ''), false) FROM public.etl_run(%L, %L) r$f$, run_date, pipeline));
	RETURN QUERY SELECT f[1], f[2]::bigint, f[3]::bigint, f[4]::bigint
		FROM regexp_split_to_table(nullif(current_setting('test.result'), ''), ';') row, string_to_array(row, ',') f;
END
$$;
CREATE FUNCTION pg_temp.extract(pipeline text, run_date date)
RETURNS TABLE (state text, fetched bigint, loaded bigint, quarantined bigint, inserted bigint, updated bigint, deleted bigint)
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_temp.try(format($f$
		SELECT set_config('test.result', coalesce(string_agg(concat_ws(',', r.state, r.fetched, r.loaded, r.quarantined, r.inserted, r.updated, r.deleted), ';'
			ORDER BY r.data_interval_start), ''), false) FROM public.etl_run(%L, %L) r$f$, run_date, pipeline));
	RETURN QUERY SELECT f[1], f[2]::bigint, f[3]::bigint, f[4]::bigint, f[5]::bigint, f[6]::bigint, f[7]::bigint
		FROM regexp_split_to_table(nullif(current_setting('test.result'), ''), ';') row, string_to_array(row, ',') f;
END
$$;

-- Waits until no run is active: what a caller has given up ends a moment later.
CREATE FUNCTION pg_temp.settle() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 400 LOOP
		EXIT WHEN NOT EXISTS (SELECT FROM etl.progress);
		PERFORM pg_sleep(0.05);
	END LOOP;
END
$$;

-- What a statement is refused with: SQLSTATE, message, hint; NULL when it is not.
CREATE FUNCTION pg_temp.refusal(statement text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	m text; h text;
BEGIN
	EXECUTE statement;
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, h = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, pg_temp.stable(m), nullif(h, ''));
END
$$;
