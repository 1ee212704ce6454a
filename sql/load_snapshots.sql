-- Mode incremental over snapshots: keys that are gone are ignored, deleted or marked.
--
-- A view of everything is the snapshot of now.  A view of one interval gives a snapshot for
-- each; what they said is kept as mode scd2 keeps it (obs_<table> as runs, snp_<table>), and a
-- key is gone when no pipeline's latest snapshot has it: so an older one that is run again
-- takes nothing away from what a newer one said.

-- Marks what pg_temp.etl_source lacks; what it has is unmarked by the difference, as the
-- columns become part of it.
CREATE FUNCTION etl._mark_absent(target regclass, key text[], touch text[], gone_at timestamptz, scope text DEFAULT 'true') RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	marked bigint;
BEGIN
	EXECUTE format('UPDATE %s t SET is_deleted = true, deleted_at = $1%s WHERE t.is_deleted IS NOT TRUE AND %s AND NOT EXISTS (SELECT FROM pg_temp.etl_source s WHERE %s)',
		target, coalesce(etl._column_list(touch, ', %I = statement_timestamp()', ''), ''), scope, etl._key_match('t', 's', target, key)) USING gone_at;
	GET DIAGNOSTICS marked = ROW_COUNT;
	ALTER TABLE pg_temp.etl_source ADD COLUMN is_deleted boolean DEFAULT false, ADD COLUMN deleted_at timestamptz;
	RETURN marked;
END
$$;
COMMENT ON FUNCTION etl._mark_absent(regclass, text[], text[], timestamptz, text) IS 'deletes => mark: marks the keys that pg_temp.etl_source lacks';

CREATE FUNCTION etl._load_snapshot_runs(target regclass, observations regclass, snapshots regclass, pipeline text, key text[], version text, touch text[], deletes text, lookups etl._lookup_parts DEFAULT NULL)
RETURNS etl._load_counts LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET random_page_cost = 0.3
AS $$
DECLARE
	shape etl._scd2_shape;
	counts etl._load_counts := (0, 0, 0, 0);
	folded_as jsonb;
	folded_before jsonb;
	source_rows bigint;
	affected bigint;
	marked bigint := 0;
BEGIN
	shape.key := key;
	shape.kind := 'snapshot';
	SELECT array_agg(attname::text ORDER BY attnum) INTO shape.observed FROM pg_attribute WHERE attrelid = 'pg_temp.etl_source'::regclass AND attnum > 0 AND NOT attisdropped;
	SELECT count(*) INTO source_rows FROM pg_temp.etl_source;
	affected := etl._scd2_observe(shape, observations, snapshots, pipeline, etl.data_interval_start(), etl.data_interval_end());
	-- declared anew in another way, or a target made anew: that is news of every key
	folded_as := jsonb_strip_nulls(jsonb_build_object('deletes', deletes, 'version', version, 'columns', to_jsonb(shape.observed)));
	EXECUTE format('SELECT folded_as FROM %s WHERE observed_pipeline = ''''', snapshots) INTO folded_before;
	IF folded_before IS DISTINCT FROM folded_as THEN
		EXECUTE format('INSERT INTO %s VALUES ('''', ''-infinity'', $1) ON CONFLICT (observed_pipeline, observed_interval) DO UPDATE SET folded_as = excluded.folded_as', snapshots)
		USING folded_as;
		DROP TABLE pg_temp.etl_affected;
		EXECUTE format('CREATE TEMPORARY TABLE etl_affected ON COMMIT DROP AS SELECT DISTINCT %s FROM %s', etl._column_list(key), observations);
		GET DIAGNOSTICS affected = ROW_COUNT;
	END IF;
	IF affected = 0 THEN
		counts.unchanged := source_rows;
		RETURN counts;
	END IF;
	ANALYZE pg_temp.etl_affected;
	EXECUTE 'CREATE TEMPORARY TABLE etl_winner ON COMMIT DROP AS ' || etl._with_lookups(format('
		SELECT DISTINCT ON (%1$s) %2$s%3$s FROM (SELECT o.*, max(o.observed_until) OVER (PARTITION BY %4$s) AS etl_until FROM %5$s o JOIN pg_temp.etl_affected a ON %6$s) s
		WHERE %7$s ORDER BY %1$s%8$s, s.observed_until DESC, s.observed_from DESC, s.observed_pipeline',
		etl._column_list(key, 's.%I'), etl._column_list(shape.observed, 's.%I'),
		CASE deletes WHEN 'mark' THEN ', s.etl_until < ''infinity'' AS is_deleted, CASE WHEN s.etl_until < ''infinity'' THEN s.etl_until END AS deleted_at' ELSE '' END,
		etl._column_list(key, 'o.%I'), observations, etl._key_match('o', 'a', target, key),
		CASE deletes WHEN 'delete' THEN 's.etl_until = ''infinity''' ELSE 'true' END,
		CASE WHEN version IS NULL THEN '' ELSE format(', s.%I DESC NULLS LAST', version) END), lookups);
	EXECUTE format('ANALYZE pg_temp.etl_winner (%s)', etl._column_list(key));
	IF deletes = 'mark' THEN
		EXECUTE format('SELECT count(*) FROM pg_temp.etl_winner s JOIN %s t ON %s WHERE s.is_deleted AND t.is_deleted IS NOT TRUE', target, etl._key_match('t', 's', target, key)) INTO marked;
	END IF;
	counts := etl._apply_difference(target, 'pg_temp.etl_winner', key, touch, 'true', true, among => 'pg_temp.etl_affected');
	counts.deleted := counts.deleted + marked;
	counts.updated := counts.updated - marked;
	counts.unchanged := greatest(source_rows - counts.inserted - counts.updated, 0);
	RETURN counts;
END
$$;
COMMENT ON FUNCTION etl._load_snapshot_runs(regclass, regclass, regclass, text, text[], text, text[], text, etl._lookup_parts) IS
	'mode incremental over a snapshot for each interval: the same result whatever the order of runs';
