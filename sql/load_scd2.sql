-- Mode scd2: a row for each version of a key, with its validity (slowly changing dimension, type 2).
--
-- What each interval said is kept in obs_<table>, and the history of a key is folded from
-- all of it whenever anything about the key has changed.  So the order in which intervals
-- are run cannot matter: the history is a function of what they say.
--
-- Two kinds of observation, told apart by their span:
--   a point (observed_from = observed_until): an interval of a source of changes said this;
--   a run (observed_from < observed_until): every snapshot taken from the one until before
--   the other said this, 'infinity' for no end so far.  A snapshot that says nothing new
--   writes nothing, and a corrected one splits the runs through it.  snp_<table> lists
--   which snapshots were taken, because the next one after a correction says where it ends.

CREATE TYPE etl._scd2_shape AS (
	key text[],				-- the business key
	columns text[],			-- what else the view gives and the target has
	tracked text[],			-- those of them whose change makes a version
	observed text[],		-- all columns of the view
	effective_at text,		-- the column that says from when on a row holds
	version text,			-- which of several rows for one moment counts
	valid_from text, valid_to text, is_current text, version_number text, is_deleted text,
	validity text,			-- the type of valid_from and valid_to
	open_end text,
	timezone text,			-- of the intervals, when the validity has none
	kind text,				-- snapshot, changes or history
	deletes text,
	compare text);			-- versions by their columns, or by a hash of them
COMMENT ON TYPE etl._scd2_shape IS 'how mode scd2 fills a target: columns by their use, policies';

-- What to do, from the declaration and the catalog as it is now.
CREATE FUNCTION etl._scd2_shape(target regclass, source regclass, pipeline text, timezone text, key text[], definition jsonb) RETURNS etl._scd2_shape
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	options jsonb := coalesce(definition -> 'options', '{}');
	roles jsonb := (SELECT jsonb_object_agg(r.role, r.column_name) FROM etl._scd2_roles((SELECT relname FROM pg_class WHERE oid = target), target, options) r);
	shape etl._scd2_shape;
BEGIN
	shape.key := key;
	shape.effective_at := options ->> 'effective_at';
	shape.version := definition ->> 'version';
	shape.valid_from := roles ->> 'valid_from';
	shape.valid_to := roles ->> 'valid_to';
	shape.is_current := roles ->> 'is_current';
	shape.version_number := roles ->> 'version';
	-- a policy that was given up must not leave its mark on a row that has become another version
	shape.is_deleted := coalesce(roles ->> 'is_deleted', (SELECT a.attname FROM pg_attribute a
		WHERE a.attrelid = target AND a.attname = 'is_deleted' AND a.atttypid = 'boolean'::regtype AND NOT a.attisdropped
		  AND NOT EXISTS (SELECT FROM pg_attribute v WHERE v.attrelid = source AND v.attname = a.attname AND NOT v.attisdropped)));
	shape.validity := (SELECT atttypid::regtype FROM pg_attribute WHERE attrelid = target AND attname = shape.valid_from AND NOT attisdropped);
	shape.open_end := coalesce(options ->> 'open_end', 'infinity');
	shape.timezone := timezone;
	SELECT array_agg(v.attname::text ORDER BY v.attnum),
		   coalesce(array_agg(v.attname::text ORDER BY v.attnum) FILTER (WHERE t.attname IS NOT NULL AND v.attname <> ALL (key) AND v.attname <> shape.valid_from), '{}')
	INTO shape.observed, shape.columns
	FROM pg_attribute v LEFT JOIN pg_attribute t ON t.attrelid = target AND t.attname = v.attname AND NOT t.attisdropped AND t.attgenerated = ''
	WHERE v.attrelid = source AND v.attnum > 0 AND NOT v.attisdropped;
	IF options ? 'tracked' THEN
		shape.tracked := (SELECT coalesce(array_agg(c), '{}') FROM unnest(shape.columns) c WHERE options -> 'tracked' ? c);
	ELSE
		shape.tracked := (SELECT coalesce(array_agg(c), '{}') FROM unnest(shape.columns) c WHERE c IS DISTINCT FROM shape.effective_at AND c IS DISTINCT FROM shape.version);
	END IF;
	shape.kind := CASE WHEN (options ->> 'whole_history')::boolean THEN 'history'
					   WHEN definition ->> 'source_kind' IS NOT NULL THEN definition ->> 'source_kind'
					   WHEN etl._reads_interval(source) THEN 'changes'
					   WHEN options ->> 'deletes' IN ('close', 'new_row') OR etl._is_snapshot(pipeline, source) THEN 'snapshot'
					   ELSE 'changes' END;
	shape.deletes := CASE WHEN shape.kind <> 'snapshot' THEN 'ignore' ELSE coalesce(options ->> 'deletes', 'close') END;
	shape.compare := coalesce(options ->> 'compare', 'columns');
	RETURN shape;
END
$$;
COMMENT ON FUNCTION etl._scd2_shape(regclass, regclass, text, text, text[], jsonb) IS 'how mode scd2 fills a target: columns by their use, policies';

-- Records what this interval says, instead of what it said before; leaves the keys whose
-- observations have changed in pg_temp.etl_affected and returns their number.
CREATE FUNCTION etl._scd2_observe(shape etl._scd2_shape, observations regclass, snapshots regclass, pipeline text, since timestamptz, until timestamptz)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	matched text[] := shape.key || shape.effective_at;
	said text[] := (SELECT coalesce(array_agg(c), '{}') FROM unnest(shape.observed) c WHERE c <> ALL (shape.key) AND c IS DISTINCT FROM shape.effective_at);
	match_list text := etl._column_list(matched);
	observed_list text := etl._column_list(shape.observed);
	-- compared to the bit: what the target shows must not depend on which of two equal values came first
	same text := CASE WHEN said = '{}' THEN 'true' ELSE format('record_image_eq(row(%s), row(%s))', etl._column_list(said, 's.%I'), etl._column_list(said, 'o.%I')) END;
	next_snapshot timestamptz := 'infinity';
	mine text;
	affected bigint;
BEGIN
	IF shape.kind = 'snapshot' THEN
		EXECUTE format('DELETE FROM %s WHERE observed_pipeline = $1 AND observed_interval > $2 AND observed_interval < $3', snapshots) USING pipeline, since, until;
		EXECUTE format('INSERT INTO %s (observed_pipeline, observed_interval) VALUES ($1, $2) ON CONFLICT DO NOTHING', snapshots) USING pipeline, since;
		EXECUTE format('SELECT coalesce(min(observed_interval), ''infinity'') FROM %s WHERE observed_pipeline = $1 AND observed_interval > $2', snapshots)
		INTO next_snapshot USING pipeline, since;
		mine := 'o.observed_pipeline = $1 AND o.observed_until > $2 AND o.observed_from < $4 AND o.observed_until > o.observed_from';
		same := same || ' AND o.observed_from <= $2 AND o.observed_until >= $4';
	ELSE
		mine := 'o.observed_pipeline = $1 AND o.observed_until >= $2 AND (o.observed_until < $3 OR o.observed_until = $2) AND o.observed_from = o.observed_until';
		same := same || ' AND o.observed_from = $2';
	END IF;
	DROP TABLE IF EXISTS pg_temp.etl_touched;
	EXECUTE format('CREATE TEMPORARY TABLE etl_touched ON COMMIT DROP AS
		SELECT DISTINCT %1$s FROM pg_temp.etl_source s FULL JOIN (SELECT * FROM %2$s o WHERE %3$s) o USING (%1$s)
		WHERE s.%4$I IS NULL OR o.%4$I IS NULL OR NOT (%5$s)', match_list, observations, mine, shape.key[1], same)
	USING pipeline, since, until, next_snapshot;
	GET DIAGNOSTICS affected = ROW_COUNT;
	IF affected > 0 THEN
		ANALYZE pg_temp.etl_touched;
		IF shape.kind = 'snapshot' THEN
			-- the runs through or beside this snapshot: what lies before it, it, and what lies after it, put together again
			EXECUTE format('WITH old AS (
					DELETE FROM %1$s o USING pg_temp.etl_touched t WHERE %2$s
					  AND o.observed_pipeline = $1 AND o.observed_until >= $2 AND o.observed_from <= $4 AND o.observed_until > o.observed_from
					RETURNING %3$s, o.observed_from, o.observed_until),
				pieces AS (
					SELECT %4$s, observed_from, least(observed_until, $2) AS observed_until FROM old WHERE observed_from < $2
					UNION ALL SELECT %4$s, $2, $4 FROM pg_temp.etl_source JOIN pg_temp.etl_touched USING (%5$s)
					UNION ALL SELECT %4$s, greatest(observed_from, $4), observed_until FROM old WHERE observed_until > $4),
				marked AS (
					SELECT p.*, coalesce(observed_from > lag(observed_until) OVER w OR NOT (%6$s), true) AS etl_begins
					FROM pieces p WINDOW w AS (PARTITION BY %5$s ORDER BY observed_from)),
				numbered AS (
					SELECT m.*, count(*) FILTER (WHERE etl_begins) OVER (PARTITION BY %5$s ORDER BY observed_from) AS etl_run FROM marked m)
				INSERT INTO %1$s (%4$s, observed_pipeline, observed_from, observed_until)
				SELECT DISTINCT ON (%5$s, etl_run) %4$s, $1, min(observed_from) OVER r, max(observed_until) OVER r
				FROM numbered WINDOW r AS (PARTITION BY %5$s, etl_run) ORDER BY %5$s, etl_run, observed_from',
				observations, etl._column_list(matched, 'o.%1$I = t.%1$I', ' AND '), etl._column_list(shape.observed, 'o.%I'), observed_list, match_list,
				CASE WHEN said = '{}' THEN 'true' ELSE format('record_image_eq(row(%1$s), lag(row(%1$s)) OVER w)', etl._column_list(said)) END)
			USING pipeline, since, until, next_snapshot;
		ELSE
			EXECUTE format('DELETE FROM %s o USING pg_temp.etl_touched t WHERE %s AND %s',
				observations, etl._column_list(matched, 'o.%1$I = t.%1$I', ' AND '), mine) USING pipeline, since, until;
			EXECUTE format('INSERT INTO %1$s (%2$s, observed_pipeline, observed_from, observed_until)
				SELECT %2$s, $1, $2, $2 FROM pg_temp.etl_source JOIN pg_temp.etl_touched USING (%3$s) ORDER BY %3$s', observations, observed_list, match_list)
			USING pipeline, since;
		END IF;
	END IF;
	DROP TABLE IF EXISTS pg_temp.etl_affected;
	EXECUTE format('CREATE TEMPORARY TABLE etl_affected ON COMMIT DROP AS SELECT DISTINCT %s FROM pg_temp.etl_touched', etl._column_list(shape.key));
	GET DIAGNOSTICS affected = ROW_COUNT;
	RETURN affected;
END
$$;
COMMENT ON FUNCTION etl._scd2_observe(etl._scd2_shape, regclass, regclass, text, timestamptz, timestamptz) IS
	'mode scd2: records what an interval says about each key; pg_temp.etl_affected gets the keys of which that is news';

-- The history of the affected keys, folded from all that was said of them, into pg_temp.etl_wanted.
CREATE FUNCTION etl._scd2_fold(shape etl._scd2_shape, target regclass, observations regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	key_list text := etl._column_list(shape.key);
	column_list text := coalesce(', ' || etl._column_list(shape.columns), '');
	-- a moment of an interval as a value of valid_from
	moment text := CASE shape.validity WHEN 'timestamp with time zone' THEN '%s' WHEN 'date' THEN '(%s AT TIME ZONE $1)::date' ELSE '(%s AT TIME ZONE $1)' END;
	steps text[];
	best text := 'etl_version DESC NULLS LAST, observed_until DESC, observed_from DESC, observed_pipeline';
	same text;
BEGIN
	steps := ARRAY[format('seen AS MATERIALIZED (
		SELECT %s%s, %s AS etl_version, o.observed_pipeline, o.observed_from, o.observed_until, %s AS etl_effective
		FROM pg_temp.etl_affected a JOIN %s o USING (%s))',
		key_list,
		coalesce(', ' || (SELECT string_agg(format('o.%1$I::%2$s AS %1$I', t.attname, format_type(t.atttypid, t.atttypmod)), ', ' ORDER BY c.n)
			FROM unnest(shape.columns) WITH ORDINALITY c(name, n) JOIN pg_attribute t ON t.attrelid = target AND t.attname = c.name AND NOT t.attisdropped), ''),
		CASE WHEN shape.version IS NULL THEN 'NULL::integer' ELSE format('o.%I', shape.version) END,
		CASE WHEN shape.effective_at IS NULL THEN format(moment, 'o.observed_from') ELSE format('o.%I', shape.effective_at) END, observations, key_list)];
	IF shape.deletes <> 'ignore' THEN
		-- the spans in which a key was there; each of them but an open one ends in its absence
		steps := steps || format('present AS (
			SELECT %1$s, observed_pipeline, lower(r) AS etl_since, upper(r) AS etl_until, row_number() OVER (PARTITION BY %1$s, observed_pipeline ORDER BY lower(r)) AS etl_number
			FROM (SELECT %1$s, observed_pipeline, range_agg(tstzrange(observed_from, observed_until)) AS spans FROM seen
				  WHERE observed_until > observed_from GROUP BY %1$s, observed_pipeline) g, unnest(g.spans) r)', key_list);
	END IF;
	-- for each moment, what counts of what was said; a key that is gone takes with it what was announced for later
	steps := steps || format('said AS (
		SELECT DISTINCT ON (%1$s, etl_effective) s.* FROM seen s%2$s ORDER BY %1$s, etl_effective, %3$s)', key_list,
		CASE WHEN shape.deletes <> 'ignore' AND shape.effective_at IS NOT NULL THEN format('
			WHERE NOT EXISTS (SELECT FROM present p WHERE %s AND p.observed_pipeline = s.observed_pipeline AND s.observed_until > s.observed_from
							  AND p.etl_since <= s.observed_from AND p.etl_until >= s.observed_until AND %s <= s.etl_effective)',
			etl._column_list(shape.key, 'p.%1$I = s.%1$I', ' AND '), format(moment, 'p.etl_until')) ELSE '' END, best);
	IF shape.version IS NOT NULL AND shape.effective_at IS NULL THEN
		-- the record's own version tells that a late arrival is older than what is known
		steps := steps || format('counted AS (
			SELECT s.*, max(etl_age) OVER (PARTITION BY %1$s ORDER BY etl_effective ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS etl_best
			FROM (SELECT s.*, dense_rank() OVER (PARTITION BY %1$s ORDER BY etl_version NULLS FIRST) AS etl_age FROM said s) s),
		fresh AS (SELECT * FROM counted WHERE observed_until > observed_from OR etl_best IS NULL OR etl_age >= etl_best)', key_list);
	ELSE
		steps := steps || 'fresh AS (SELECT * FROM said)'::text;
	END IF;
	steps := steps || format('events AS (
		SELECT DISTINCT ON (%1$s, etl_effective) * FROM (
			SELECT %1$s%2$s, etl_effective, true AS etl_present, 0 AS etl_rank FROM fresh%3$s) e
		ORDER BY %1$s, etl_effective, etl_rank)', key_list, column_list,
		CASE WHEN shape.deletes = 'ignore' THEN '' ELSE
			-- back again, with rows that have held since before: from the snapshot on that has the key
			CASE WHEN shape.effective_at IS NULL THEN '' ELSE format('
			UNION ALL SELECT %1$s%2$s, etl_since, true, 1 FROM (
				SELECT DISTINCT ON (%3$s, p.observed_pipeline, p.etl_since) %3$s%4$s, %5$s AS etl_since
				FROM present p JOIN seen s ON %6$s AND s.observed_pipeline = p.observed_pipeline AND s.observed_from < p.etl_until AND s.observed_until > p.etl_since
				WHERE p.etl_number > 1 AND s.etl_effective <= %5$s
				ORDER BY %3$s, p.observed_pipeline, p.etl_since, s.etl_effective DESC, s.etl_version DESC NULLS LAST, s.observed_until DESC, s.observed_from DESC) b',
				key_list, column_list, etl._column_list(shape.key, 's.%I'), coalesce(', ' || etl._column_list(shape.columns, 's.%I'), ''),
				format(moment, 'p.etl_since'), etl._column_list(shape.key, 's.%1$I = p.%1$I', ' AND ')) END
			|| format('
			UNION ALL SELECT %s%s, %s, false, 2 FROM present WHERE etl_until < ''infinity''',
				key_list, coalesce(', ' || etl._column_list(shape.columns, 'NULL'), ''), format(moment, 'etl_until')) END);
	-- a version begins where the tracked columns differ from what was said before
	SELECT string_agg(etl._same('f', 'p', a.attname, a.atttypid), ' AND ') INTO same
	FROM pg_attribute a WHERE a.attrelid = target AND a.attname = ANY (shape.tracked) AND NOT a.attisdropped;
	IF shape.compare = 'hash' THEN
		same := format('md5(row(%s)::text) = f.etl_before', etl._column_list(shape.tracked, 'f.%I'));
	END IF;
	steps := steps || format('compared AS (
		SELECT e.*, lag(etl_present) OVER w AS etl_was, bool_or(etl_present) OVER w AS etl_begun%2$s
		FROM events e WINDOW w AS (PARTITION BY %1$s ORDER BY etl_effective)),
	numbered AS (
		SELECT f.*, count(*) FILTER (WHERE etl_was IS NULL OR etl_was <> etl_present OR etl_present AND NOT (%3$s)) OVER (PARTITION BY %4$s ORDER BY etl_effective) AS etl_segment
		FROM compared f%5$s WHERE etl_begun),
	versions AS (
		SELECT DISTINCT ON (%1$s, etl_segment) n.*, min(etl_effective) OVER (PARTITION BY %1$s, etl_segment) AS etl_from
		FROM numbered n ORDER BY %1$s, etl_segment, etl_effective DESC),
	spans AS (
		SELECT %1$s%6$s, etl_present, etl_from, coalesce(lead(etl_from) OVER w, %7$L::%8$s) AS etl_to FROM versions WINDOW w AS (PARTITION BY %1$s ORDER BY etl_from))',
		key_list,
		CASE WHEN shape.compare = 'hash' THEN format(', lag(md5(row(%s)::text)) OVER w AS etl_before', etl._column_list(shape.tracked))
			 ELSE coalesce(', ' || (SELECT string_agg(format('lag(%I) OVER w AS etl_p%s', c, n), ', ') FROM unnest(shape.tracked) WITH ORDINALITY t(c, n)), '') END,
		coalesce(same, 'true'), etl._column_list(shape.key, 'f.%I'),
		CASE WHEN shape.compare = 'hash' THEN '' ELSE
			coalesce(' CROSS JOIN LATERAL (SELECT ' || (SELECT string_agg(format('etl_p%2$s AS %1$I', c, n), ', ') FROM unnest(shape.tracked) WITH ORDINALITY t(c, n)) || ') p', '') END,
		coalesce(', ' || etl._column_list(shape.columns, 'CASE WHEN etl_present THEN %1$I ELSE lag(%1$I) OVER w END AS %1$I'), ''), shape.open_end, shape.validity);
	DROP TABLE IF EXISTS pg_temp.etl_wanted;
	EXECUTE format('CREATE TEMPORARY TABLE etl_wanted ON COMMIT DROP AS WITH %1$s
		SELECT %2$s%3$s, etl_from, etl_to, etl_to = %4$L::%5$s AS etl_current, row_number() OVER (PARTITION BY %2$s ORDER BY etl_from) AS etl_number,
			   NOT etl_present AS etl_deleted, NULL::tid AS etl_replaces
		FROM spans WHERE etl_present%6$s', array_to_string(steps, E',\n'), key_list, column_list, shape.open_end, shape.validity,
		CASE shape.deletes WHEN 'new_row' THEN ' OR true' ELSE '' END)
	USING shape.timezone;
	EXECUTE format('ANALYZE pg_temp.etl_wanted (%s, etl_from)', key_list);
END
$$;
COMMENT ON FUNCTION etl._scd2_fold(etl._scd2_shape, regclass, regclass) IS 'mode scd2: folds what was said of the keys in pg_temp.etl_affected into their versions, pg_temp.etl_wanted';

-- Makes the affected keys' rows those of pg_temp.etl_wanted.  A version keeps its row, and
-- with it the surrogate key, when it begins as before, or else when a row with the same
-- tracked values and some of the same time has no other version to become.
CREATE FUNCTION etl._scd2_apply(shape etl._scd2_shape, target regclass, touch text[]) RETURNS etl._load_counts
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	counts etl._load_counts := (0, 0, 0, 0);
	key_list text := etl._column_list(shape.key);
	t_is_w text := etl._column_list(shape.key, 't.%1$I = w.%1$I', ' AND ');
	filled text[];			-- the columns of the target
	wanted text[];			-- and what they get, in their types
	present_rows bigint;
BEGIN
	SELECT array_agg(a.attname::text ORDER BY f.n), array_agg(format('w.%I::%s', f.value, format_type(a.atttypid, a.atttypmod)) ORDER BY f.n) INTO filled, wanted
	FROM (SELECT n, c AS name, c AS value FROM unnest(shape.columns) WITH ORDINALITY u(c, n)
		  UNION ALL VALUES (10001, shape.valid_from, 'etl_from'), (10002, shape.valid_to, 'etl_to'), (10003, shape.is_current, 'etl_current'),
			(10004, shape.version_number, 'etl_number'), (10005, shape.is_deleted, 'etl_deleted')) f
	JOIN pg_attribute a ON a.attrelid = target AND a.attname = f.name AND NOT a.attisdropped;
	-- the target is visited once to read, and then by place: its rows cannot move, it is locked
	DROP TABLE IF EXISTS pg_temp.etl_changed, pg_temp.etl_present;
	EXECUTE format('CREATE TEMPORARY TABLE etl_changed ON COMMIT DROP AS SELECT %s FROM pg_temp.etl_affected WITH NO DATA', key_list);
	EXECUTE format('CREATE TEMPORARY TABLE etl_present ON COMMIT DROP AS SELECT t.ctid AS etl_row, %s, %s FROM %s t JOIN pg_temp.etl_affected a ON %s',
		etl._column_list(shape.key, 't.%I'), etl._column_list(filled, 't.%I'), target, etl._column_list(shape.key, 'a.%1$I = t.%1$I', ' AND '));
	GET DIAGNOSTICS present_rows = ROW_COUNT;
	IF present_rows > 0 THEN
		EXECUTE format('ANALYZE pg_temp.etl_present (etl_row, %s)', key_list);
		EXECUTE format('UPDATE pg_temp.etl_wanted w SET etl_replaces = t.etl_row FROM pg_temp.etl_present t WHERE %s AND t.%I = w.etl_from', t_is_w, shape.valid_from);
		EXECUTE format('UPDATE pg_temp.etl_wanted w SET etl_replaces = m.etl_row FROM (
				SELECT DISTINCT ON (etl_row) %1$s, etl_from, etl_row FROM (
					SELECT DISTINCT ON (%2$s, w.etl_from) %2$s, w.etl_from, t.etl_row
					FROM pg_temp.etl_wanted w JOIN pg_temp.etl_present t ON %3$s AND t.%4$I < w.etl_to AND t.%5$I > w.etl_from
					WHERE w.etl_replaces IS NULL%6$s AND NOT EXISTS (SELECT FROM pg_temp.etl_wanted x WHERE x.etl_replaces = t.etl_row)
					ORDER BY %2$s, w.etl_from, t.%4$I) f
				ORDER BY etl_row, etl_from) m
			WHERE %7$s AND w.etl_from = m.etl_from',
			key_list, etl._column_list(shape.key, 'w.%I'), t_is_w, shape.valid_from, shape.valid_to,
			coalesce(' AND ' || (SELECT string_agg(etl._same('t', 'w', a.attname, a.atttypid), ' AND ') FROM pg_attribute a
				WHERE a.attrelid = target AND a.attname = ANY (shape.tracked) AND NOT a.attisdropped), ''),
			etl._column_list(shape.key, 'm.%1$I = w.%1$I', ' AND '));
		-- in this order no two versions of a key are ever current at once
		EXECUTE format('WITH gone AS (DELETE FROM %s t USING pg_temp.etl_present p WHERE t.ctid = p.etl_row
				AND NOT EXISTS (SELECT FROM pg_temp.etl_wanted w WHERE w.etl_replaces = p.etl_row) RETURNING %s)
			INSERT INTO pg_temp.etl_changed SELECT * FROM gone', target, etl._column_list(shape.key, 't.%I'));
		GET DIAGNOSTICS counts.deleted = ROW_COUNT;
		EXECUTE format('WITH changed AS (UPDATE %s t SET %s FROM pg_temp.etl_wanted w JOIN pg_temp.etl_present p ON p.etl_row = w.etl_replaces
				WHERE t.ctid = w.etl_replaces AND NOT record_image_eq(row(%s), row(%s)) RETURNING %s)
			INSERT INTO pg_temp.etl_changed SELECT * FROM changed', target,
			(SELECT string_agg(format('%I = %s', c, v), ', ') FROM unnest(filled, wanted) u(c, v)) || coalesce(etl._column_list(touch, ', %I = statement_timestamp()', ''), ''),
			etl._column_list(filled, 'p.%I'), array_to_string(wanted, ', '), etl._column_list(shape.key, 't.%I'));
		GET DIAGNOSTICS counts.updated = ROW_COUNT;
	END IF;
	EXECUTE format('WITH added AS (INSERT INTO %1$s (%2$s, %3$s%4$s) SELECT %5$s, %6$s%7$s FROM pg_temp.etl_wanted w
			WHERE w.etl_replaces IS NULL ORDER BY %5$s, w.etl_from RETURNING %2$s)
		INSERT INTO pg_temp.etl_changed SELECT * FROM added', target, key_list, etl._column_list(filled), coalesce(etl._column_list(touch, ', %I', ''), ''),
		etl._column_list(shape.key, 'w.%I'), array_to_string(wanted, ', '), coalesce(etl._column_list(touch, ', statement_timestamp()', ''), ''));
	GET DIAGNOSTICS counts.inserted = ROW_COUNT;
	EXECUTE format('SELECT count(*) FROM pg_temp.etl_source s WHERE NOT EXISTS (SELECT FROM pg_temp.etl_changed c WHERE %s)',
		etl._column_list(shape.key, 'c.%1$I = s.%1$I', ' AND ')) INTO counts.unchanged;
	RETURN counts;
END
$$;
COMMENT ON FUNCTION etl._scd2_apply(etl._scd2_shape, regclass, text[]) IS 'mode scd2: brings the versions of the affected keys to those wanted; versions that still exist keep their rows';

-- Raises for what cannot have a place in a history.
CREATE FUNCTION etl._check_scd2_source(shape etl._scd2_shape, target regclass, source regclass, observations regclass, snapshots regclass, pipeline text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	bad_rows bigint;
	sample text;
	other_kind boolean;
BEGIN
	PERFORM etl._check_source_keys(source, array_remove(shape.key || shape.effective_at, NULL));
	IF shape.effective_at IS NOT NULL THEN
		EXECUTE format('SELECT count(*), min(%1$I)::text FROM pg_temp.etl_source WHERE %1$I >= %2$L', shape.effective_at, shape.open_end) INTO bad_rows, sample;
		IF bad_rows > 0 THEN
			RAISE EXCEPTION '% rows of % begin at or after the open end', bad_rows, source
				USING ERRCODE = 'data_exception', DETAIL = format('%s of one is %s; the open end is %s.', shape.effective_at, sample, shape.open_end),
					  HINT = 'Filter such rows in the view, or give the load a later open_end.';
		END IF;
	END IF;
	IF shape.validity = 'date' AND (shape.effective_at IS NULL OR shape.deletes <> 'ignore')
	   AND date_trunc('day', etl.data_interval_start() AT TIME ZONE shape.timezone) <> etl.data_interval_start() AT TIME ZONE shape.timezone THEN
		RAISE EXCEPTION 'column "%" of % is a date and cannot tell data intervals apart', shape.valid_from, target
			USING ERRCODE = 'datatype_mismatch', DETAIL = format('The interval begins at %s.', etl.data_interval_start() AT TIME ZONE shape.timezone),
				  HINT = 'Give it the type timestamptz, or the pipeline a daily schedule.';
	END IF;
	IF shape.kind = 'snapshot' THEN
		EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s WHERE observed_pipeline = $1) AND EXISTS (SELECT FROM %s WHERE observed_pipeline = $1)', snapshots, observations)
		INTO other_kind USING pipeline;
	ELSE
		EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE observed_pipeline = $1)', snapshots) INTO other_kind USING pipeline;
	END IF;
	IF other_kind THEN
		RAISE EXCEPTION '% was not filled from % until now', target, CASE shape.kind WHEN 'snapshot' THEN 'snapshots' ELSE 'changes' END
			USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = 'What earlier intervals said cannot be read the other way.',
				  HINT = format('Say source_kind as before, or truncate %s and %s and run the intervals again.', observations, snapshots);
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_scd2_source(etl._scd2_shape, regclass, regclass, regclass, regclass, text) IS 'raises for rows and intervals that mode scd2 cannot place in a history';

-- mode scd2
CREATE FUNCTION etl._load_scd2(target regclass, source regclass, pipeline text, timezone text, key text[], definition jsonb, touch text[])
RETURNS etl._load_counts LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET random_page_cost = 0.3 SET jit = off		-- statements of many window functions over few rows: compiling them takes longer than running them
AS $$
DECLARE
	shape etl._scd2_shape := etl._scd2_shape(target, source, pipeline, timezone, key, definition);
	observations regclass;
	snapshots regclass;
	since timestamptz := etl.data_interval_start();
	until timestamptz := etl.data_interval_end();
	latest timestamptz;
	folded_as jsonb;
	folded_before jsonb;
	source_rows bigint;
	affected bigint;
	counts etl._load_counts := (0, 0, 0, 0);
BEGIN
	SELECT etl._relation(n.nspname, ('obs_' || c.relname)::name), etl._relation(n.nspname, ('snp_' || c.relname)::name) INTO observations, snapshots
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = target;
	IF observations IS NULL OR snapshots IS NULL THEN
		RAISE EXCEPTION 'the observations of % are gone', target
			USING ERRCODE = 'undefined_table', HINT = format('Declare the load of %s again; it makes them anew.', target);
	ELSIF since IS NULL THEN
		RAISE EXCEPTION 'there is no data interval'
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Mode scd2 is for runs; by hand, set etl.data_interval_start and etl.data_interval_end.';
	END IF;
	-- a worker has it already; whoever else loads must not have rows moved under way
	EXECUTE format('LOCK TABLE %s, %s, %s IN SHARE ROW EXCLUSIVE MODE', target, observations, snapshots);
	source_rows := etl._materialize_source(source, observations, key);
	IF definition ? 'order_by' THEN
		source_rows := source_rows - etl._keep_latest(array_remove(key || shape.effective_at, NULL), (SELECT array_agg(c ORDER BY n) FROM jsonb_array_elements_text(definition -> 'order_by') WITH ORDINALITY e(c, n)));
	END IF;
	PERFORM etl._check_scd2_source(shape, target, source, observations, snapshots, pipeline);
	IF shape.kind = 'history' THEN
		since := '-infinity';
		until := '-infinity';
	ELSIF NOT etl._reads_interval(source) THEN
		-- such a view tells how things are now, whichever interval is run again
		IF shape.kind = 'snapshot' THEN
			EXECUTE format('SELECT max(observed_interval) FROM %s WHERE observed_pipeline = $1', snapshots) INTO latest USING pipeline;
		ELSE
			EXECUTE format('SELECT max(observed_until) FROM %s WHERE observed_pipeline = $1', observations) INTO latest USING pipeline;
		END IF;
		IF latest > since THEN
			PERFORM etl._log('INFO', pipeline, etl.run_id(), target::text, format('%s does not ask for the data interval: what it gives is said of the latest, %s', source, latest));
			since := latest;
			until := latest;
		END IF;
	END IF;
	affected := etl._scd2_observe(shape, observations, snapshots, pipeline, since, until);
	-- another way to fold, since it was declared anew: that is news of every key
	folded_as := to_jsonb(shape) - '{observed,kind}'::text[];
	EXECUTE format('SELECT folded_as FROM %s WHERE observed_pipeline = ''''', snapshots) INTO folded_before;
	IF folded_before IS DISTINCT FROM folded_as THEN
		EXECUTE format('INSERT INTO %s VALUES ('''', ''-infinity'', $1) ON CONFLICT (observed_pipeline, observed_interval) DO UPDATE SET folded_as = excluded.folded_as', snapshots)
		USING folded_as;
		IF folded_before IS NOT NULL THEN
			DROP TABLE pg_temp.etl_affected;
			EXECUTE format('CREATE TEMPORARY TABLE etl_affected ON COMMIT DROP AS SELECT DISTINCT %s FROM %s', etl._column_list(key), observations);
			GET DIAGNOSTICS affected = ROW_COUNT;
		END IF;
	END IF;
	IF affected = 0 THEN
		counts.unchanged := source_rows;
		RETURN counts;
	END IF;
	ANALYZE pg_temp.etl_affected;
	PERFORM etl._scd2_fold(shape, target, observations);
	RETURN etl._scd2_apply(shape, target, touch);
END
$$;
COMMENT ON FUNCTION etl._load_scd2(regclass, regclass, text, text, text[], jsonb, text[]) IS
	'mode scd2: a row for each version of a key; the same history whatever the order of runs';
