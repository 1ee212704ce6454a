-- The modes of a load.  Every mode ends as a difference between what the target should
-- hold and what it holds: rows that are right already are not touched.

CREATE TYPE etl._load_counts AS (inserted bigint, updated bigint, deleted bigint, unchanged bigint);
COMMENT ON TYPE etl._load_counts IS 'what a load changed in its target';

-- Keyed lookups are many and of rows that are close together or cached: taken for scattered
-- reads of a disk, they would lose against reading all of a table of some size.  Measured, a
-- lookup costs a fifth of what random_page_cost 1.1 takes it for; so it is 0.3 where rows are
-- looked up by key.
--
-- Makes the rows of target in a scope equal to those of a relation with the same key.
-- wanted: a relation with the source's columns; scope: a condition on alias t, the rows
-- of the target it is about, no others are touched; remove: whether it may delete;
-- among: a relation of the keys that may be gone, if these are known.
CREATE FUNCTION etl._apply_difference(target regclass, wanted text, key text[], touch text[], scope text, remove boolean, among text DEFAULT NULL)
RETURNS etl._load_counts LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET random_page_cost = 0.3
AS $$
DECLARE
	counts etl._load_counts := (0, 0, 0, 0);
	key_match text := etl._key_match('t', 's', target, key) || format(' AND (%s)', scope);
	key_order text := (SELECT string_agg(format('s.%I', k), ', ' ORDER BY n) FROM unnest(key) WITH ORDINALITY u(k, n));
	columns text;
	selected text;
	assignments text;
	same text;
	wanted_rows bigint;
BEGIN
	SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum),
		   string_agg('s.' || quote_ident(a.attname), ', ' ORDER BY a.attnum),
		   string_agg(format('%1$I = s.%1$I', a.attname), ', ' ORDER BY a.attnum) FILTER (WHERE NOT a.attname = ANY (key)),
		   string_agg(etl._same('t', 's', a.attname, a.atttypid), ' AND ' ORDER BY a.attnum) FILTER (WHERE NOT a.attname = ANY (key))
	INTO columns, selected, assignments, same
	FROM pg_attribute a WHERE a.attrelid = wanted::regclass AND a.attnum > 0 AND NOT a.attisdropped
	  AND a.attname NOT IN ('observed_pipeline', 'observed_interval');
	IF remove AND among IS NOT NULL THEN
		EXECUTE format('DELETE FROM %1$s t USING (SELECT DISTINCT %2$s FROM %3$s o WHERE NOT EXISTS (SELECT FROM %4$s s WHERE %5$s)) o WHERE %6$s AND (%7$s)',
			target, etl._column_list(key, 'o.%I'), among, wanted, etl._key_match('o', 's', target, key), etl._key_match('t', 'o', target, key), scope);
		GET DIAGNOSTICS counts.deleted = ROW_COUNT;
	ELSIF remove THEN
		EXECUTE format('DELETE FROM %s t WHERE (%s) AND NOT EXISTS (SELECT FROM %s s WHERE %s)', target, scope, wanted, etl._key_match('t', 's', target, key));
		GET DIAGNOSTICS counts.deleted = ROW_COUNT;
	END IF;
	-- each row is looked for once: what is to change is then updated by its place, in a partitioned table by its key
	EXECUTE format('WITH etl_news AS MATERIALIZED (SELECT s.*, t.ctid AS etl_news_place FROM %1$s s LEFT JOIN %2$s t ON %3$s WHERE t.ctid IS NULL%4$s),
			changed AS (%5$s),
			added AS (INSERT INTO %2$s (%6$s%7$s) SELECT %8$s%9$s FROM etl_news s WHERE s.etl_news_place IS NULL ORDER BY %10$s RETURNING 1)
		SELECT (SELECT count(*) FROM changed), (SELECT count(*) FROM added), (SELECT count(*) FROM %1$s)',
		wanted, target, key_match, ' OR NOT (' || same || ')',
		CASE WHEN assignments IS NULL THEN 'SELECT WHERE false' ELSE format('UPDATE %s t SET %s%s FROM etl_news s WHERE %s RETURNING 1', target, assignments, coalesce((SELECT string_agg(format(', %I = statement_timestamp()', c), '') FROM unnest(touch) c), ''),
			CASE WHEN (SELECT relkind FROM pg_class WHERE oid = target) = 'r' THEN 't.ctid = s.etl_news_place' ELSE 's.etl_news_place IS NOT NULL AND ' || key_match END) END,
		columns, coalesce((SELECT string_agg(format(', %I', c), '') FROM unnest(touch) c), ''),
		selected, coalesce((SELECT string_agg(', statement_timestamp()', '') FROM unnest(touch) c), ''), key_order)
	INTO counts.updated, counts.inserted, wanted_rows;
	counts.unchanged := wanted_rows - counts.updated - counts.inserted;
	RETURN counts;
END
$$;
COMMENT ON FUNCTION etl._apply_difference(regclass, text, text[], text[], text, boolean, text) IS 'brings a target to a wanted state by key, touching only rows that differ';

-- Without a key a row is known by its values: when the multisets differ, the scope is replaced.
CREATE FUNCTION etl._replace_rows(target regclass, touch text[], scope text)
RETURNS etl._load_counts LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	counts etl._load_counts := (0, 0, 0, 0);
	columns text;
	values_as_text text;
	differs boolean;
BEGIN
	SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum),
		   string_agg(quote_ident(a.attname) || '::text', ', ' ORDER BY a.attnum)
	INTO columns, values_as_text
	FROM pg_attribute a WHERE a.attrelid = 'pg_temp.etl_source'::regclass AND a.attnum > 0 AND NOT a.attisdropped;
	EXECUTE format('SELECT EXISTS (SELECT %1$s FROM %2$s t WHERE (%3$s) EXCEPT ALL SELECT %1$s FROM pg_temp.etl_source)
						OR EXISTS (SELECT %1$s FROM pg_temp.etl_source EXCEPT ALL SELECT %1$s FROM %2$s t WHERE (%3$s))',
		values_as_text, target, scope) INTO differs;
	IF NOT differs THEN
		SELECT count(*) INTO counts.unchanged FROM pg_temp.etl_source;
		RETURN counts;
	END IF;
	EXECUTE format('DELETE FROM %s t WHERE (%s)', target, scope);
	GET DIAGNOSTICS counts.deleted = ROW_COUNT;
	EXECUTE format('INSERT INTO %1$s (%2$s%3$s) SELECT %2$s%4$s FROM pg_temp.etl_source', target, columns,
		coalesce((SELECT string_agg(format(', %I', c), '') FROM unnest(touch) c), ''),
		coalesce((SELECT string_agg(', statement_timestamp()', '') FROM unnest(touch) c), ''));
	GET DIAGNOSTICS counts.inserted = ROW_COUNT;
	RETURN counts;
END
$$;
COMMENT ON FUNCTION etl._replace_rows(regclass, text[], text) IS 'replaces the rows of a scope by pg_temp.etl_source, when they differ at all';

-- Into a scope that has no rows there is only to insert.
CREATE FUNCTION etl._insert_source(target regclass, key text[], touch text[]) RETURNS etl._load_counts
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	counts etl._load_counts := (0, 0, 0, 0);
	columns text[] := (SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'pg_temp.etl_source'::regclass AND attnum > 0 AND NOT attisdropped);
BEGIN
	EXECUTE format('INSERT INTO %s (%s%s) SELECT %2$s%4$s FROM pg_temp.etl_source%5$s', target, etl._column_list(columns), coalesce(etl._column_list(touch, ', %I', ''), ''),
		coalesce(etl._column_list(touch, ', statement_timestamp()', ''), ''), coalesce(' ORDER BY ' || etl._column_list(key), ''));
	GET DIAGNOSTICS counts.inserted = ROW_COUNT;
	RETURN counts;
END
$$;
COMMENT ON FUNCTION etl._insert_source(regclass, text[], text[]) IS 'inserts the rows of pg_temp.etl_source';

CREATE FUNCTION etl._has_rows(target regclass, scope text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	result boolean;
BEGIN
	EXECUTE format('SELECT EXISTS (SELECT FROM %s t WHERE (%s))', target, scope) INTO result;
	RETURN result;
END
$$;
COMMENT ON FUNCTION etl._has_rows(regclass, text) IS 'whether the target has rows in a scope';

-- mode full: the target is what the view gives.
CREATE FUNCTION etl._load_full(target regclass, key text[], touch text[], scope text DEFAULT 'true') RETURNS etl._load_counts
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT etl._has_rows(target, scope) THEN
		RETURN etl._insert_source(target, key, touch);
	ELSIF key IS NULL THEN
		RETURN etl._replace_rows(target, touch, scope);
	END IF;
	RETURN etl._apply_difference(target, 'pg_temp.etl_source', key, touch, scope, true);
END
$$;
COMMENT ON FUNCTION etl._load_full(regclass, text[], text[], text) IS 'mode full: replaces the contents, as a difference, without dropping or truncating';

-- mode partition: the rows of the run's data interval are what the view gives.
CREATE FUNCTION etl._load_partition(target regclass, source regclass, key text[], touch text[], partition_by name, timezone text)
RETURNS etl._load_counts LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	column_type regtype := (SELECT atttypid FROM pg_attribute WHERE attrelid = target AND attname = partition_by);
	since text;
	until text;
	outside bigint;
	scope text;
	sample text;
BEGIN
	IF column_type = 'timestamptz'::regtype THEN
		since := etl.data_interval_start()::text;
		until := etl.data_interval_end()::text;
	ELSE
		since := (etl.data_interval_start() AT TIME ZONE timezone)::text;
		until := (etl.data_interval_end() AT TIME ZONE timezone)::text;
		IF column_type = 'date'::regtype AND (since::timestamp <> since::date OR until::timestamp <> until::date) THEN
			RAISE EXCEPTION 'column "%" of % is a date and cannot tell data intervals apart', partition_by, target
				USING ERRCODE = 'datatype_mismatch',
					  DETAIL = format('The interval is %s to %s.', since, until),
					  HINT = 'Give partition_by a column of type timestamptz, or the pipeline a daily schedule.';
		END IF;
	END IF;
	EXECUTE format('SELECT count(*), min(%1$I)::text FROM pg_temp.etl_source WHERE (%1$I >= %2$L::%4$s AND %1$I < %3$L::%4$s) IS NOT TRUE',
		partition_by, since, until, column_type) INTO outside, sample;
	IF outside > 0 THEN
		RAISE EXCEPTION '% rows of % lie outside the data interval', outside, source
			USING ERRCODE = 'data_exception',
				  DETAIL = format('%s of one is %s; the interval is %s to %s.', partition_by, coalesce(sample, 'null'), since, until),
				  HINT = 'Filter the view by etl.data_interval_start() and etl.data_interval_end(), or use another mode.';
	END IF;
	scope := format('t.%1$I >= %2$L::%4$s AND t.%1$I < %3$L::%4$s', partition_by, since, until, column_type);
	IF NOT etl._has_rows(target, scope) THEN
		RETURN etl._insert_source(target, key, touch);
	ELSIF key IS NULL THEN
		RETURN etl._replace_rows(target, touch, scope);
	END IF;
	RETURN etl._apply_difference(target, 'pg_temp.etl_source', key, touch, scope, true);
END
$$;
COMMENT ON FUNCTION etl._load_partition(regclass, regclass, text[], text[], name, text) IS 'mode partition: replaces the rows of the run''s data interval';

-- mode incremental over a view of one interval: the interval's observations are replaced,
-- then each key it concerns takes its best observation of any interval; with mode delta its
-- first, as what is there already is not said anew by a later interval.
CREATE FUNCTION etl._load_observed(target regclass, observations regclass, pipeline text, key text[], version text, touch text[], first_counts boolean, lookups etl._lookup_parts DEFAULT NULL)
RETURNS etl._load_counts LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET random_page_cost = 0.3
AS $$
DECLARE
	counts etl._load_counts;
	s_key_list text := (SELECT string_agg('s.' || quote_ident(k), ', ' ORDER BY n) FROM unnest(key) WITH ORDINALITY u(k, n));
	o_key_list text := (SELECT string_agg('o.' || quote_ident(k), ', ' ORDER BY n) FROM unnest(key) WITH ORDINALITY u(k, n));
	o_matches_s text := etl._key_match('o', 's', target, key);
	columns text;
	selected text;
	assignments text;
	same text;
	source_rows bigint;
	known boolean;		-- whether the interval has been run before
BEGIN
	SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum),
		   string_agg('s.' || quote_ident(a.attname), ', ' ORDER BY a.attnum),
		   string_agg(format('%1$I = s.%1$I', a.attname), ', ' ORDER BY a.attnum) FILTER (WHERE NOT a.attname = ANY (key)),
		   coalesce(string_agg(etl._same('o', 's', a.attname, a.atttypid), ' AND ' ORDER BY a.attnum) FILTER (WHERE NOT a.attname = ANY (key)), 'true')
	INTO columns, selected, assignments, same
	FROM pg_attribute a WHERE a.attrelid = 'pg_temp.etl_source'::regclass AND a.attnum > 0 AND NOT a.attisdropped;
	-- affected are all keys of the interval, not only those it changed: a target that was
	-- made anew, or changed by hand, comes right again by running the interval
	EXECUTE format('CREATE TEMPORARY TABLE etl_affected ON COMMIT DROP AS SELECT %s FROM pg_temp.etl_source s', s_key_list);
	EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE observed_pipeline = $1 AND observed_interval >= $2 AND observed_interval < $3)', observations)
	INTO known USING pipeline, etl.data_interval_start(), etl.data_interval_end();
	IF known THEN
		-- observations of intervals within this one are replaced by it, as their raw loads are
		EXECUTE format('WITH gone AS (DELETE FROM %1$s o WHERE o.observed_pipeline = $1 AND o.observed_interval >= $2 AND o.observed_interval < $3
				AND NOT (o.observed_interval = $2 AND EXISTS (SELECT FROM pg_temp.etl_source s WHERE %2$s)) RETURNING %3$s)
			INSERT INTO pg_temp.etl_affected SELECT * FROM gone EXCEPT SELECT * FROM pg_temp.etl_affected', observations, o_matches_s, o_key_list)
		USING pipeline, etl.data_interval_start(), etl.data_interval_end();
		IF assignments IS NOT NULL THEN
			EXECUTE format('UPDATE %1$s o SET %2$s FROM pg_temp.etl_source s
				WHERE o.observed_pipeline = $1 AND o.observed_interval = $2 AND %3$s AND NOT (%4$s)', observations, assignments, o_matches_s, same)
			USING pipeline, etl.data_interval_start();
		END IF;
	END IF;
	EXECUTE format('INSERT INTO %1$s (%2$s, observed_pipeline, observed_interval)
		SELECT %3$s, $1, $2 FROM pg_temp.etl_source s
		WHERE NOT EXISTS (SELECT FROM %1$s o WHERE o.observed_pipeline = $1 AND o.observed_interval = $2 AND %4$s) ORDER BY %5$s',
		observations, columns, selected, CASE WHEN known THEN o_matches_s ELSE 'false' END, s_key_list)
	USING pipeline, etl.data_interval_start();
	ANALYZE pg_temp.etl_affected;
	-- the version decides; without one, or when it is the same, the later interval does
	EXECUTE 'CREATE TEMPORARY TABLE etl_winner ON COMMIT DROP AS ' || etl._with_lookups(format('
		SELECT DISTINCT ON (%1$s) %2$s FROM %3$s s JOIN pg_temp.etl_affected o ON %4$s
		ORDER BY %1$s%5$s, s.observed_interval %6$s, s.observed_pipeline',
		s_key_list, selected, observations, o_matches_s, CASE WHEN version IS NULL THEN '' ELSE format(', s.%I DESC NULLS LAST', version) END,
		CASE WHEN first_counts THEN 'ASC' ELSE 'DESC' END), lookups);
	EXECUTE format('ANALYZE pg_temp.etl_winner (%s)', etl._column_list(key));
	counts := etl._apply_difference(target, 'pg_temp.etl_winner', key, touch, 'true', true, among => 'pg_temp.etl_affected');
	SELECT count(*) INTO source_rows FROM pg_temp.etl_source;
	counts.unchanged := greatest(source_rows - counts.inserted - counts.updated, 0);
	RETURN counts;
END
$$;
COMMENT ON FUNCTION etl._load_observed(regclass, regclass, text, text[], text, text[], boolean, etl._lookup_parts) IS
	'modes incremental and delta with a key for a view of one interval: the same result whatever the order of runs';
