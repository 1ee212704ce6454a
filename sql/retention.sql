-- How long raw records are kept, and what can be rebuilt from them.
--
-- A task with retain keeps its small loads in shared partitions by time instead of one for
-- all, so that what has expired goes as a whole.  An expired load is hidden by the ledger
-- at once; its partition is dropped when no load in it is needed any more.

CREATE FUNCTION etl._record_shared_partition(task_run_id bigint, attempt integer, load_id bigint, partition_key bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	UPDATE etl.load l SET partition_key = _record_shared_partition.partition_key, shared_partition_key = _record_shared_partition.partition_key
	FROM etl._fence_load(_record_shared_partition.task_run_id, _record_shared_partition.attempt, _record_shared_partition.load_id) f
	WHERE l.load_id = f.load_id AND l.state = 'loading'
$$;
COMMENT ON FUNCTION etl._record_shared_partition(bigint, integer, bigint, bigint) IS 'records which shared partition a load is in';

-- A partition spans at most a tenth of what is kept.
CREATE FUNCTION etl._shared_partition_start(interval_start timestamptz, retain interval) RETURNS date
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT date '1970-01-01' + d.day - ((d.day % b.days) + b.days) % b.days
	FROM (SELECT (interval_start AT TIME ZONE 'UTC')::date - date '1970-01-01' AS day) d,
		 (SELECT CASE WHEN retain < interval '300 days' THEN 1 ELSE 30 END AS days) b
$$;
COMMENT ON FUNCTION etl._shared_partition_start(timestamptz, interval) IS 'the first day of the shared partition that an interval''s records go to: of a day, or of 30 days when more than 300 are kept';

-- Called by the worker before the first row of a load.
CREATE FUNCTION etl._give_shared_partition(task_run_id bigint, attempt integer, load_id bigint, retain interval) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s'
AS $$
DECLARE
	l etl.load := etl._fence_load(task_run_id, attempt, load_id);
	first_day date := etl._shared_partition_start(l.data_interval_start, retain);
	-- apart from load ids, which are positive, and below zero for every date there is
	partition_key bigint := (first_day - date '1970-01-01') - 10000000000;
	partition_name name := etl._derived_name(l.target_name, to_char(first_day, '"_shared_"YYYYMMDD'));
BEGIN
	IF etl._relation(l.target_schema, partition_name) IS NULL THEN
		BEGIN
			EXECUTE format('CREATE TABLE %1$I.%2$I (LIKE %1$I.%3$I INCLUDING ALL)', l.target_schema, partition_name, l.target_name);
			EXECUTE format('ALTER TABLE %1$I.%3$I ATTACH PARTITION %1$I.%2$I FOR VALUES IN (%4$s)', l.target_schema, partition_name, l.target_name, partition_key);
		EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
			RETURN;			-- somebody is altering the table: the partition shared by all will do
		END;
	END IF;
	PERFORM etl._record_shared_partition(task_run_id, attempt, load_id, partition_key);
END
$$;
COMMENT ON FUNCTION etl._give_shared_partition(bigint, integer, bigint, interval) IS 'makes and attaches the partition of a time for a task that does not keep its records for ever';

-- Runs after a publication, like everything that reclaims.
CREATE FUNCTION etl._expire_loads(task_run_id bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	expired bigint;
BEGIN
	UPDATE etl.load l SET state = 'expired', superseded_at = clock_timestamp(), superseded_xid = pg_current_xact_id()
	FROM etl.task_run x JOIN etl.run r USING (run_id) JOIN etl.task t ON t.pipeline = r.pipeline AND t.kind = 'extract' AND t.definition ? 'retain'
	WHERE x.task_run_id = _expire_loads.task_run_id AND r.owner = session_user AND x.kind = 'publish'
	  AND l.pipeline = t.pipeline AND l.task = t.task AND l.owner = r.owner AND l.state = 'published'
	  AND l.data_interval_end < etl._now() - (t.definition ->> 'retain')::interval;
	GET DIAGNOSTICS expired = ROW_COUNT;
	RETURN expired;
END
$$;
COMMENT ON FUNCTION etl._expire_loads(bigint) IS 'hides the loads of a run''s pipeline that are older than their task keeps them';

CREATE FUNCTION etl._rebuildable_since(pipeline text) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT max(l.data_interval_end) FROM etl.load l JOIN etl.pipeline p USING (pipeline)
	WHERE l.pipeline = _rebuildable_since.pipeline AND l.owner = p.owner AND l.state = 'expired'
$$;
COMMENT ON FUNCTION etl._rebuildable_since(text) IS 'since when the raw records of a pipeline are all there; NULL: since its first run';

-- Rebuilding from raw: the loads and checks of intervals again, without asking the source.
CREATE FUNCTION etl._intervals_to_reprocess(p etl.pipeline, since timestamptz, until timestamptz)
RETURNS TABLE (data_interval_start timestamptz, data_interval_end timestamptz)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	rebuildable timestamptz := etl._rebuildable_since(p.pipeline);
BEGIN
	IF since < rebuildable THEN
		RAISE EXCEPTION 'pipeline "%" can be rebuilt since % only', p.pipeline, rebuildable
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  DETAIL = 'Older raw records have expired: see retain of its tasks.',
				  HINT = format('Reprocess from there on, or run the intervals again to ask the source: etl_run(date %L, %L).', since::date, p.pipeline);
	END IF;
	RETURN QUERY
	SELECT DISTINCT l.data_interval_start, l.data_interval_end FROM etl.load l
	WHERE l.pipeline = p.pipeline AND l.owner = p.owner AND l.state = 'published'
	  AND l.data_interval_start >= since AND l.data_interval_start < until
	ORDER BY 1;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'pipeline "%" has no published load between % and %', p.pipeline, since, until
			USING ERRCODE = 'no_data_found', HINT = 'etl.loads lists what there is; etl_run asks the source.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._intervals_to_reprocess(etl.pipeline, timestamptz, timestamptz) IS 'the intervals that can be rebuilt from raw; raises for what has expired';
