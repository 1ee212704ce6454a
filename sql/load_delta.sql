-- Mode delta: what is new is appended.  With a key over a view of one interval it is the
-- incremental mode in which the first interval counts: etl._load_observed().

CREATE FUNCTION etl._append_new_keys(target regclass, key text[], touch text[]) RETURNS etl._load_counts
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET random_page_cost = 0.3
AS $$
DECLARE
	counts etl._load_counts := (0, 0, 0, 0);
	columns text[] := (SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'pg_temp.etl_source'::regclass AND attnum > 0 AND NOT attisdropped);
BEGIN
	EXECUTE format('INSERT INTO %1$s (%2$s%3$s) SELECT %4$s%5$s FROM pg_temp.etl_source s WHERE NOT EXISTS (SELECT FROM %1$s t WHERE %6$s) ORDER BY %7$s',
		target, etl._column_list(columns), coalesce(etl._column_list(touch, ', %I', ''), ''), etl._column_list(columns, 's.%I'), coalesce(etl._column_list(touch, ', statement_timestamp()', ''), ''),
		etl._key_match('t', 's', target, key), etl._column_list(key, 's.%I'));
	GET DIAGNOSTICS counts.inserted = ROW_COUNT;
	SELECT count(*) - counts.inserted INTO counts.unchanged FROM pg_temp.etl_source;
	RETURN counts;
END
$$;
COMMENT ON FUNCTION etl._append_new_keys(regclass, text[], text[]) IS 'mode delta: inserts the rows of pg_temp.etl_source whose key the target does not have';

-- A view of everything, without a key: a row is its values, and as often as it is given it is wanted.
CREATE FUNCTION etl._append_new_rows(target regclass, touch text[]) RETURNS etl._load_counts
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	counts etl._load_counts := (0, 0, 0, 0);
	columns text[] := (SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'pg_temp.etl_source'::regclass AND attnum > 0 AND NOT attisdropped);
BEGIN
	EXECUTE format('INSERT INTO %1$s (%2$s%3$s) SELECT %2$s%4$s
			FROM (SELECT *, row(%2$s)::text AS etl_value, row_number() OVER (PARTITION BY row(%2$s)::text) AS etl_number FROM pg_temp.etl_source) s
			LEFT JOIN (SELECT row(%2$s)::text AS etl_value, count(*) AS etl_count FROM %1$s GROUP BY 1) t USING (etl_value)
			WHERE etl_number > coalesce(etl_count, 0)',
		target, etl._column_list(columns), coalesce(etl._column_list(touch, ', %I', ''), ''), coalesce(etl._column_list(touch, ', statement_timestamp()', ''), ''));
	GET DIAGNOSTICS counts.inserted = ROW_COUNT;
	SELECT count(*) - counts.inserted INTO counts.unchanged FROM pg_temp.etl_source;
	RETURN counts;
END
$$;
COMMENT ON FUNCTION etl._append_new_rows(regclass, text[]) IS 'mode delta without a key over a view of everything: inserts what the target does not have';

-- A view of one interval, without a key.  obs_<table> knows each row an interval added and
-- the place it was put, so that taking it back need not search the table; where rows have been
-- moved since (VACUUM FULL, a restored dump) an equal row is looked for, and is as good.
CREATE FUNCTION etl._append_interval(target regclass, observations regclass, pipeline text, touch text[], lookups text[] DEFAULT NULL) RETURNS etl._load_counts
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	counts etl._load_counts := (0, 0, 0, 0);
	since timestamptz := etl.data_interval_start();
	until timestamptz := etl.data_interval_end();
	columns text[] := (SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'pg_temp.etl_source'::regclass AND attnum > 0 AND NOT attisdropped
						  AND attname <> ALL (coalesce(lookups, '{}')));
	column_list text := etl._column_list(columns);
	emptied boolean;
	known boolean;
	left_over bigint;
	found bigint;
BEGIN
	EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s) AND EXISTS (SELECT FROM %s)', target, observations) INTO emptied;
	IF emptied THEN
		-- the rows of all intervals are gone, and each is to come back when it is run
		EXECUTE format('DELETE FROM %s', observations);
	END IF;
	EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE observed_pipeline = $1 AND observed_interval >= $2 AND observed_interval < $3)', observations)
	INTO known USING pipeline, since, until;
	DROP TABLE IF EXISTS pg_temp.etl_added, pg_temp.etl_gone;
	IF known THEN
		EXECUTE format('CREATE TEMPORARY TABLE etl_gone ON COMMIT DROP AS
				SELECT o.ctid AS etl_place, o.observed_row, o.observed_interval, row(%1$s)::text AS etl_value,
					   row_number() OVER (PARTITION BY o.observed_interval, row(%1$s)::text) AS etl_number
				FROM %2$s o WHERE o.observed_pipeline = $1 AND o.observed_interval >= $2 AND o.observed_interval < $3', column_list, observations)
		USING pipeline, since, until;
		EXECUTE format('CREATE TEMPORARY TABLE etl_added ON COMMIT DROP AS
				SELECT *, row(%1$s)::text AS etl_value, row_number() OVER (PARTITION BY row(%1$s)::text) AS etl_number FROM pg_temp.etl_source', column_list);
		WITH kept AS (
			DELETE FROM pg_temp.etl_added a USING pg_temp.etl_gone g
			WHERE g.etl_value = a.etl_value AND g.etl_number = a.etl_number AND g.observed_interval = since RETURNING g.etl_place)
		DELETE FROM pg_temp.etl_gone g USING kept k WHERE k.etl_place = g.etl_place;
		ANALYZE pg_temp.etl_gone;
		EXECUTE format('DELETE FROM %s o USING pg_temp.etl_gone g WHERE o.ctid = g.etl_place', observations);
		EXECUTE format('WITH gone AS (
				DELETE FROM %s t USING pg_temp.etl_gone g WHERE t.ctid = g.observed_row AND row(%s)::text = g.etl_value RETURNING g.etl_place)
			DELETE FROM pg_temp.etl_gone g USING gone d WHERE d.etl_place = g.etl_place', target, etl._column_list(columns, 't.%I'));
		GET DIAGNOSTICS counts.deleted = ROW_COUNT;
		SELECT count(*) INTO left_over FROM pg_temp.etl_gone;
		IF left_over > 0 THEN
			EXECUTE format('DELETE FROM %1$s t USING (
					SELECT x.tableoid AS etl_table, x.ctid AS etl_row, x.etl_value, row_number() OVER (PARTITION BY x.etl_value) AS etl_number
					FROM (SELECT t.tableoid, t.ctid, row(%2$s)::text AS etl_value FROM %1$s t) x
					WHERE x.etl_value IN (SELECT g.etl_value FROM pg_temp.etl_gone g)) x
				JOIN (SELECT g.etl_value, count(*) AS etl_count FROM pg_temp.etl_gone g GROUP BY 1) g USING (etl_value)
				WHERE t.ctid = x.etl_row AND t.tableoid = x.etl_table AND x.etl_number <= g.etl_count', target, etl._column_list(columns, 't.%I'));
			GET DIAGNOSTICS found = ROW_COUNT;
			counts.deleted := counts.deleted + found;
		END IF;
	END IF;
	EXECUTE format('WITH added AS (INSERT INTO %1$s (%2$s%3$s%7$s) SELECT %2$s%4$s%7$s FROM %5$s RETURNING %2$s, ctid)
		INSERT INTO %6$s (%2$s, observed_pipeline, observed_interval, observed_row) SELECT %2$s, $1, $2, ctid FROM added',
		target, column_list, coalesce(etl._column_list(touch, ', %I', ''), ''), coalesce(etl._column_list(touch, ', statement_timestamp()', ''), ''),
		CASE WHEN known THEN 'pg_temp.etl_added' ELSE 'pg_temp.etl_source' END, observations, coalesce(etl._column_list(lookups, ', %I', ''), ''))
	USING pipeline, since;
	GET DIAGNOSTICS counts.inserted = ROW_COUNT;
	SELECT count(*) - counts.inserted INTO counts.unchanged FROM pg_temp.etl_source;
	RETURN counts;
END
$$;
COMMENT ON FUNCTION etl._append_interval(regclass, regclass, text, text[], text[]) IS 'mode delta without a key over a view of one interval: replaces what the interval added, nothing else';
