-- pg_cron as a mere trigger: a job that runs the interval that is just over.  What a run is,
-- its retries, what overlaps, is decided here, not there.  pg_cron 1.4.2 knows minutes and
-- GMT; later versions know seconds and cron.timezone.

CREATE FUNCTION etl._is_utc(timezone text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT timezone ~* '^(Etc/)?(UTC|GMT|UCT|Zulu|Universal|Greenwich|GMT[+-]?0)$' $$;
COMMENT ON FUNCTION etl._is_utc(text) IS 'whether a time zone is UTC by another name';

-- Intervals of time lie on a grid that begins in 1970, on a Thursday.
CREATE FUNCTION etl._cron_of_period(seconds bigint, has_seconds boolean) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE
		WHEN seconds < 60 THEN CASE WHEN has_seconds AND 60 % seconds = 0 THEN seconds || ' seconds' END
		WHEN seconds = 60 THEN '* * * * *'
		WHEN seconds % 60 = 0 AND 3600 % seconds = 0 THEN CASE seconds WHEN 3600 THEN '0 * * * *' ELSE format('*/%s * * * *', seconds / 60) END
		WHEN seconds % 3600 = 0 AND 86400 % seconds = 0 THEN CASE seconds WHEN 86400 THEN '0 0 * * *' ELSE format('0 */%s * * *', seconds / 3600) END
		WHEN seconds = 604800 THEN '0 0 * * 4' END
$$;
COMMENT ON FUNCTION etl._cron_of_period(bigint, boolean) IS 'a period as a cron schedule in UTC; NULL when it cannot be one';

CREATE FUNCTION etl._pg_cron_schedule(schedule text, timezone text, cron_timezone text, has_seconds boolean) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	words CONSTANT text[] := regexp_split_to_array(btrim(schedule), '\s+');
	cron text := CASE lower(btrim(schedule)) WHEN '@hourly' THEN '0 * * * *' WHEN '@daily' THEN '0 0 * * *' WHEN '@midnight' THEN '0 0 * * *' WHEN '@weekly' THEN '0 0 * * 0'
					WHEN '@monthly' THEN '0 0 1 * *' WHEN '@yearly' THEN '0 0 1 1 *' WHEN '@annually' THEN '0 0 1 1 *' END;
BEGIN
	-- an hour has no letters, as the unit of an interval has
	IF cron IS NULL AND cardinality(words) = 5 AND words[2] !~ '[a-zA-Z]' THEN
		cron := array_to_string(words, ' ');
	ELSIF cron IS NULL THEN
		cron := etl._cron_of_period(extract(epoch FROM schedule::interval)::bigint, has_seconds);
		IF cron IS NULL THEN
			RAISE EXCEPTION 'pg_cron cannot do the schedule "%"', schedule
				USING ERRCODE = 'feature_not_supported',
					  DETAIL = CASE WHEN schedule::interval < interval '1 minute' AND NOT has_seconds THEN 'This version of pg_cron knows whole minutes only.'
									ELSE 'It is no schedule of minutes, hours or days that cron knows.' END,
					  HINT = 'Leave it to the built-in scheduler (shared_preload_libraries = ''etl''), or give one that pg_cron knows: etl.schedule_with_pg_cron(…, schedule => ''* * * * *'').';
		END IF;
		timezone := 'UTC';
	END IF;
	IF lower(timezone) = lower(cron_timezone) OR etl._is_utc(timezone) AND etl._is_utc(cron_timezone) THEN
		RETURN cron;
	-- the minute of an hour is the same all over the world, nearly
	ELSIF cron ~ '^\S+ \* \* \* \*$' AND NOT EXISTS (
		SELECT FROM (VALUES (timezone), (cron_timezone)) z(zone), (VALUES (0), (3), (6), (9)) m(months)
		WHERE extract(minute FROM (date_trunc('year', now(), 'UTC') + make_interval(months => m.months)) AT TIME ZONE z.zone) <> 0)
	THEN
		RETURN cron;
	END IF;
	RAISE EXCEPTION 'the schedule "%" is of time zone %, and pg_cron goes by %', schedule, timezone, cron_timezone
		USING ERRCODE = 'feature_not_supported', DETAIL = 'It would fire at another time.',
			  HINT = format('Give it in %s: etl.schedule_with_pg_cron(…, schedule => ''…''), at the later of its times where clocks are changed: what runs is the interval that is over by then, which the pipeline''s own schedule and time zone decide. The built-in scheduler knows time zones.', cron_timezone);
END
$$;
COMMENT ON FUNCTION etl._pg_cron_schedule(text, text, text, boolean) IS 'a schedule as pg_cron takes it; raises for one it cannot do';

CREATE FUNCTION etl._latest_interval_as_owner(pipeline text, OUT data_interval_start timestamptz, OUT data_interval_end timestamptz)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline := etl._operated_pipeline(pipeline);
	clock CONSTANT timestamptz := etl._now();
BEGIN
	-- an interval is found by the day it starts on; some schedules have one a leap year
	FOR days_ago IN 0 .. 3000 LOOP
		SELECT i.data_interval_start, i.data_interval_end INTO data_interval_start, data_interval_end
		FROM etl.schedule_intervals(p.schedule, p.timezone, (clock AT TIME ZONE p.timezone)::date - days_ago) i
		WHERE i.data_interval_end <= clock ORDER BY 1 DESC LIMIT 1;
		EXIT WHEN FOUND;
	END LOOP;
END
$$;
CREATE FUNCTION etl.latest_interval(pipeline text, OUT data_interval_start timestamptz, OUT data_interval_end timestamptz)
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._latest_interval_as_owner(text) IS 'does what etl.latest_interval does, with the rights of the extension';
COMMENT ON FUNCTION etl.latest_interval(text) IS 'the last data interval of a pipeline that is over';

-- Everything but the call of pg_cron, which is made with the caller's own rights: the job is the caller's.
CREATE FUNCTION etl._pg_cron_job_as_owner(pipeline text, schedule text, OUT job_name text, OUT job_schedule text, OUT command text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline := etl._operated_pipeline(pipeline);
	version CONSTANT text := (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'pg_cron');
	cron_timezone CONSTANT text := coalesce(nullif(current_setting('cron.timezone', true), ''), 'GMT');
	elsewhere CONSTANT text := nullif(current_setting('cron.database_name', true), current_database());
BEGIN
	IF schedule IS NULL AND p.schedule IS NULL THEN
		RAISE EXCEPTION 'pipeline "%" has no schedule', p.pipeline
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  HINT = format('SELECT etl.schedule_with_pg_cron(%L, schedule => ''0 2 * * *''), or give the pipeline one: etl.alter_pipeline(%1$L, schedule => …).', p.pipeline);
	END IF;
	job_name := 'etl ' || p.pipeline;
	command := format('CALL etl.run(%1$L, (etl.latest_interval(%1$L)).data_interval_start, (etl.latest_interval(%1$L)).data_interval_end)', p.pipeline);
	PERFORM etl.check_schedule(schedule, 'UTC') WHERE schedule IS NOT NULL;
	job_schedule := etl._pg_cron_schedule(coalesce(schedule, p.schedule), CASE WHEN schedule IS NULL THEN p.timezone ELSE cron_timezone END, cron_timezone,
		coalesce(string_to_array(regexp_replace(version, '[^0-9.].*', ''), '.')::integer[] >= '{1,5}', false));
	IF version IS NULL THEN
		RAISE EXCEPTION 'extension "pg_cron" is not in this database'
			USING ERRCODE = 'undefined_object',
				  HINT = CASE WHEN elsewhere IS NULL THEN 'Have the server load it (shared_preload_libraries = ''pg_cron'', cron.database_name), and CREATE EXTENSION pg_cron.'
						 ELSE format('It is in database "%s"; there: SELECT cron.schedule_in_database(%L, %L, %L, %L);', elsewhere, job_name, job_schedule, command, current_database()) END;
	END IF;
	IF p.schedule IS NOT NULL AND NOT p.paused AND etl._launcher_exists() THEN
		RAISE NOTICE 'the built-in scheduler fires pipeline "%" as well', p.pipeline
			USING HINT = 'One of the two is enough: without shared_preload_libraries = ''etl'' only pg_cron does.';
	END IF;
END
$$;
CREATE FUNCTION etl._pg_cron_job(pipeline text, schedule text, OUT job_name text, OUT job_schedule text, OUT command text)
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._pg_cron_job_as_owner(text, text) IS 'does what etl._pg_cron_job does, with the rights of the extension';
COMMENT ON FUNCTION etl._pg_cron_job(text, text) IS 'the job of pg_cron that runs a pipeline which the acting role may operate';

CREATE FUNCTION etl.schedule_with_pg_cron(pipeline text, schedule text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	job record := etl._pg_cron_job(pipeline, schedule);
	job_id bigint;
BEGIN
	EXECUTE 'SELECT cron.schedule($1, $2, $3)' INTO job_id USING job.job_name, job.job_schedule, job.command;
	RETURN job_id;
END
$$;
COMMENT ON FUNCTION etl.schedule_with_pg_cron(text, text) IS
	'has pg_cron run a pipeline: at each tick the interval that is over; by the pipeline''s schedule, or by one in pg_cron''s time zone; again, it alters the job; returns its id';

CREATE FUNCTION etl.unschedule_with_pg_cron(pipeline text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	is_known boolean;
BEGIN
	IF NOT EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_cron') THEN
		RETURN false;
	END IF;
	EXECUTE 'SELECT count(*) > 0 FROM cron.job j WHERE j.jobname = $1 AND j.username = current_user' INTO is_known USING 'etl ' || pipeline;
	IF is_known THEN
		EXECUTE 'SELECT cron.unschedule($1::name)' USING 'etl ' || pipeline;
	END IF;
	RETURN is_known;
END
$$;
COMMENT ON FUNCTION etl.unschedule_with_pg_cron(text) IS 'removes the job of the current role that etl.schedule_with_pg_cron made; false: there was none';
