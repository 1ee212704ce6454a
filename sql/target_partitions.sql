-- Partitions of targets: mode partition over a table that is partitioned by range of
-- partition_by.  Those a run needs, and some ahead, are made in the step before the
-- publication, attached with a light lock; those older than retain are dropped after it.

CREATE FUNCTION etl._check_partition_option(partitions jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	entry record;
	problem text;
	every interval;
BEGIN
	PERFORM etl._check_option_names('option "partitions"', partitions, '{every,ahead,retain}');
	FOR entry IN SELECT e.key AS name, e.value, jsonb_typeof(e.value) AS type, e.value #>> '{}' AS text FROM jsonb_each(partitions) e ORDER BY 1 LOOP
		IF entry.name = 'ahead' THEN
			problem := CASE WHEN entry.type <> 'number' OR entry.text !~ '^[0-9]{1,3}$' THEN 'It is how many partitions are made ahead, 0 to 999.' END;
		ELSE
			BEGIN
				every := entry.text::interval;
				problem := CASE WHEN entry.type <> 'string' OR every < interval '1 hour' THEN 'It is a time of at least an hour, for example "1 month".'
								WHEN entry.name = 'every' AND (extract(epoch FROM date_trunc('month', every)) > 0)
									AND every <> date_trunc('month', every) THEN 'A partition lasts whole months, or days and hours, not both.' END;
			EXCEPTION WHEN invalid_datetime_format OR datetime_field_overflow THEN
				problem := 'It is a time, for example "1 month".';
			END;
		END IF;
		IF problem IS NOT NULL THEN
			RAISE EXCEPTION 'invalid entry "%" in option "partitions": %', entry.name, entry.value USING ERRCODE = 'invalid_parameter_value', HINT = problem;
		END IF;
	END LOOP;
	IF NOT partitions ? 'every' THEN
		RAISE EXCEPTION 'option "partitions" lacks "every"'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'For example {"every": "1 month", "ahead": 2, "retain": "2 years"}.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_partition_option(jsonb) IS 'raises for an option "partitions" that makes no sense';

-- Bounds as times of the pipeline's clock, whatever the type of the column.
CREATE FUNCTION etl._partition_bounds(target regclass, timezone text) RETURNS TABLE (partition regclass, since timestamp, until timestamp, is_default boolean)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	of_instants boolean := (SELECT a.atttypid = 'timestamptz'::regtype FROM pg_partitioned_table p JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0] WHERE p.partrelid = target);
	p record;
BEGIN
	FOR p IN SELECT c.oid::regclass AS relation, pg_get_expr(c.relpartbound, c.oid) AS bound,
			regexp_match(pg_get_expr(c.relpartbound, c.oid), '^FOR VALUES FROM \((.*)\) TO \((.*)\)$') AS ends
		FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = target
	LOOP
		partition := p.relation;
		is_default := p.bound = 'DEFAULT';
		since := CASE WHEN is_default THEN NULL WHEN p.ends[1] = 'MINVALUE' THEN '-infinity' WHEN of_instants THEN trim(p.ends[1], '''')::timestamptz AT TIME ZONE timezone ELSE trim(p.ends[1], '''')::timestamp END;
		until := CASE WHEN is_default THEN NULL WHEN p.ends[2] = 'MAXVALUE' THEN 'infinity' WHEN of_instants THEN trim(p.ends[2], '''')::timestamptz AT TIME ZONE timezone ELSE trim(p.ends[2], '''')::timestamp END;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._partition_bounds(regclass, text) IS 'the partitions of a target with their bounds on the pipeline''s clock';

CREATE FUNCTION etl._period_start(at timestamp, every interval, origin timestamp) RETURNS timestamp
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN m.months > 0 THEN timestamp '2000-01-01' + make_interval(months => (floor(
				((extract(year FROM at) - 2000) * 12 + extract(month FROM at) - 1) / m.months) * m.months)::integer)
		   ELSE date_bin(every, at, origin) END
	FROM (SELECT (extract(year FROM every) * 12 + extract(month FROM every))::integer AS months) m
$$;
COMMENT ON FUNCTION etl._period_start(timestamp, interval, timestamp) IS 'the beginning of the period of that length a time lies in: of days, counted from an origin';

CREATE FUNCTION etl._usual_period(target regclass, timezone text) RETURNS interval
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce((SELECT coalesce((SELECT e FROM unnest('{1 day,7 days,1 month,3 months,1 year}'::interval[]) e WHERE b.since + e = b.until LIMIT 1),
									 CASE WHEN b.until - b.since >= interval '1 hour' THEN justify_hours(b.until - b.since) - interval '0' END)
					 FROM etl._partition_bounds(target, timezone) b WHERE b.since > '-infinity' AND b.until < 'infinity' ORDER BY b.since DESC LIMIT 1), interval '1 month')
$$;
COMMENT ON FUNCTION etl._usual_period(regclass, text) IS 'how long the latest partition of a table lasts, a month when it has none';

CREATE FUNCTION etl._ensure_partitions(target regclass, partition_by text, timezone text, partitions jsonb, since timestamptz, until timestamptz) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s'
AS $$
DECLARE
	n record;
	column_type regtype;
	every interval;
	at timestamp;
	wanted_until timestamp;
	first_free timestamp;
	next_taken timestamp;
	ends timestamp;
	partition_name name;
	origin timestamp := '2001-01-01';		-- a Monday
	made integer := 0;
BEGIN
	SELECT s.nspname AS schema_name, c.relname AS relation_name, a.atttypid AS type, pg_has_role(c.relowner, 'USAGE') AS is_mine INTO n
	FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid JOIN pg_namespace s ON s.oid = c.relnamespace
	JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
	WHERE p.partrelid = target AND p.partstrat = 'r' AND p.partnatts = 1 AND a.attname = partition_by;
	-- a default partition takes what has no other: then it is only for option "partitions" to say
	IF NOT FOUND OR partitions IS NULL AND (NOT n.is_mine OR EXISTS (SELECT FROM etl._partition_bounds(target, timezone) b WHERE b.is_default)) THEN
		RETURN 0;
	END IF;
	column_type := n.type;
	every := coalesce((partitions ->> 'every')::interval, etl._usual_period(target, timezone));
	IF partitions IS NULL THEN
		origin := coalesce((SELECT max(b.since) FROM etl._partition_bounds(target, timezone) b WHERE isfinite(b.since)), origin);
	END IF;
	at := since AT TIME ZONE timezone;
	wanted_until := (until AT TIME ZONE timezone) + coalesce((partitions ->> 'ahead')::integer, 1) * every;
	WHILE at < wanted_until AND made < 10000 LOOP
		SELECT b.until INTO ends FROM etl._partition_bounds(target, timezone) b WHERE b.since <= at AND b.until > at;
		IF FOUND THEN
			at := ends;
			CONTINUE;
		END IF;
		SELECT max(b.until) FILTER (WHERE b.until <= at), min(b.since) FILTER (WHERE b.since > at) INTO first_free, next_taken FROM etl._partition_bounds(target, timezone) b;
		first_free := greatest(etl._period_start(at, every, origin), first_free);
		ends := least(etl._period_start(at, every, origin) + every, next_taken);
		partition_name := etl._derived_name(n.relation_name, to_char(first_free, CASE WHEN first_free = first_free::date AND ends = ends::date THEN '"_p"YYYYMMDD' ELSE '"_p"YYYYMMDDHH24MI' END));
		EXECUTE format('CREATE TABLE %1$I.%2$I (LIKE %3$s INCLUDING ALL EXCLUDING IDENTITY)', n.schema_name, partition_name, target);
		EXECUTE format('ALTER TABLE %s ATTACH PARTITION %I.%I FOR VALUES FROM (%L) TO (%L)', target, n.schema_name, partition_name,
			CASE WHEN column_type = 'timestamptz'::regtype THEN (first_free AT TIME ZONE timezone)::text ELSE first_free::text END,
			CASE WHEN column_type = 'timestamptz'::regtype THEN (ends AT TIME ZONE timezone)::text ELSE ends::text END);
		made := made + 1;
		at := ends;
	END LOOP;
	RETURN made;
END
$$;
COMMENT ON FUNCTION etl._ensure_partitions(regclass, text, text, jsonb, timestamptz, timestamptz) IS 'makes the partitions an interval needs, and some ahead; returns how many';

CREATE FUNCTION etl._retained_targets_of(task_run_id bigint) RETURNS TABLE (target regclass, timezone text, expired_before timestamp)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT etl._relation(d.target_schema, d.target_name), r.timezone, (etl._now() AT TIME ZONE r.timezone) - (d.definition #>> '{options,partitions,retain}')::interval
	FROM etl.task_run t JOIN etl.run r USING (run_id)
	JOIN etl.task_run x ON x.run_id = r.run_id AND x.kind = 'load' AND (x.task_run_id = t.task_run_id OR x.part_of = t.task_run_id)
	JOIN etl.task d ON d.pipeline = r.pipeline AND d.task = x.task
	WHERE t.task_run_id = _retained_targets_of.task_run_id AND r.owner = session_user AND d.definition #>> '{options,partitions,retain}' IS NOT NULL;
END
$$;
COMMENT ON FUNCTION etl._retained_targets_of(bigint) IS 'the partitioned targets of a publication that do not keep their rows for ever';

CREATE FUNCTION etl._drop_expired_partition(task_run_id bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '10ms'	-- readers that come meanwhile queue behind: no longer than a blink
AS $$
DECLARE
	p record;
BEGIN
	FOR p IN SELECT b.partition, t.target FROM etl._retained_targets_of(task_run_id) t CROSS JOIN LATERAL etl._partition_bounds(t.target, t.timezone) b
		WHERE t.target IS NOT NULL AND b.until <= t.expired_before ORDER BY b.until
	LOOP
		BEGIN
			EXECUTE format('DROP TABLE %s', p.partition);
			RETURN true;
		EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
			CONTINUE;		-- a reader holds it: the next run tries again
		END;
	END LOOP;
	RETURN false;
END
$$;
COMMENT ON FUNCTION etl._drop_expired_partition(bigint) IS 'drops one partition that is older than its load keeps rows; false when there is none that can go';
