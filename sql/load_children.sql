-- Child rows: the parents a run gives say whose children are replaced.  What an interval
-- says about a parent it says about all its children: of several intervals the one that
-- counts for the parent (its version, then the later) counts for them together.

-- The parents of this run, in pg_temp.etl_parent: the key as in the child, and the version.
-- A parent that only a child names is one, too.
CREATE FUNCTION etl._materialize_parents(target regclass, parent etl.task, parent_key text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	own_key text[] := (SELECT array_agg(k ORDER BY n) FROM jsonb_array_elements_text(parent.definition -> 'key') WITH ORDINALITY e(k, n));
	-- as an expression: without a version all are equal
	version text := CASE WHEN parent.definition ->> 'version' IS NULL THEN 'NULL::integer' ELSE format('p.%I', parent.definition ->> 'version') END;
BEGIN
	DROP TABLE IF EXISTS pg_temp.etl_parent;
	EXECUTE format('CREATE TEMPORARY TABLE etl_parent ON COMMIT DROP AS
			SELECT %1$s, %2$s AS observed_version FROM %3$s t, %4$s p WITH NO DATA',
		etl._column_list(parent_key, 't.%I'), version, target, to_regclass(parent.definition ->> 'source'));
	EXECUTE format('INSERT INTO pg_temp.etl_parent SELECT DISTINCT ON (%1$s) %1$s, %2$s FROM %3$s p WHERE %4$s ORDER BY %1$s, %2$s DESC NULLS LAST',
		etl._column_list(own_key, 'p.%I'), version, to_regclass(parent.definition ->> 'source'),
		etl._column_list(own_key, 'p.%I IS NOT NULL', ' AND '));
	EXECUTE format('INSERT INTO pg_temp.etl_parent SELECT DISTINCT %1$s FROM pg_temp.etl_source s WHERE NOT EXISTS (SELECT FROM pg_temp.etl_parent p WHERE %2$s)',
		etl._column_list(parent_key, 's.%I'), etl._key_match('p', 's', target, parent_key));
	ANALYZE pg_temp.etl_parent;
END
$$;
COMMENT ON FUNCTION etl._materialize_parents(regclass, etl.task, text[]) IS 'evaluates the view of a parent load into pg_temp.etl_parent';

CREATE FUNCTION etl._load_children(target regclass, observations regclass, parents regclass, pipeline text, key text[], parent_key text[], touch text[], lookups etl._lookup_parts DEFAULT NULL)
RETURNS etl._load_counts LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET random_page_cost = 0.3
AS $$
DECLARE
	counts etl._load_counts;
	columns text[] := (SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'pg_temp.etl_source'::regclass AND attnum > 0 AND NOT attisdropped);
	rest text[] := (SELECT array_agg(c) FROM unnest(columns) c WHERE c <> ALL (key));
	source_rows bigint;
	since timestamptz := etl.data_interval_start();
	until timestamptz := etl.data_interval_end();
BEGIN
	-- whose children this is about: the interval's parents, and those it gave before
	EXECUTE format('CREATE TEMPORARY TABLE etl_affected_parent ON COMMIT DROP AS SELECT %s FROM pg_temp.etl_parent', etl._column_list(parent_key));
	EXECUTE format('WITH gone AS (DELETE FROM %1$s o WHERE o.observed_pipeline = $1 AND o.observed_interval >= $2 AND o.observed_interval < $3
			AND NOT (o.observed_interval = $2 AND EXISTS (SELECT FROM pg_temp.etl_parent s WHERE %2$s AND s.observed_version IS NOT DISTINCT FROM o.observed_version)) RETURNING %3$s)
		INSERT INTO pg_temp.etl_affected_parent SELECT * FROM gone EXCEPT SELECT * FROM pg_temp.etl_affected_parent',
		parents, etl._key_match('o', 's', target, parent_key), etl._column_list(parent_key, 'o.%I')) USING pipeline, since, until;
	EXECUTE format('INSERT INTO %1$s (%2$s, observed_pipeline, observed_interval, observed_version) SELECT %2$s, $1, $2, observed_version FROM pg_temp.etl_parent
		ON CONFLICT DO NOTHING', parents, etl._column_list(parent_key)) USING pipeline, since;
	ANALYZE pg_temp.etl_affected_parent;

	-- what the interval says about children, as a difference; a child may have moved to another parent
	EXECUTE format('CREATE TEMPORARY TABLE etl_affected ON COMMIT DROP AS SELECT %s FROM pg_temp.etl_source s', etl._column_list(key, 's.%I'));
	EXECUTE format('WITH gone AS (DELETE FROM %1$s o WHERE o.observed_pipeline = $1 AND o.observed_interval >= $2 AND o.observed_interval < $3
			AND NOT (o.observed_interval = $2 AND EXISTS (SELECT FROM pg_temp.etl_source s WHERE %2$s)) RETURNING %3$s)
		INSERT INTO pg_temp.etl_affected SELECT * FROM gone',
		observations, etl._key_match('o', 's', target, key), etl._column_list(key, 'o.%I')) USING pipeline, since, until;
	EXECUTE format('INSERT INTO pg_temp.etl_affected SELECT %s FROM %s o JOIN pg_temp.etl_affected_parent p ON %s',
		etl._column_list(key, 'o.%I'), observations, etl._key_match('o', 'p', target, parent_key));
	IF rest IS NOT NULL THEN
		EXECUTE format('UPDATE %1$s o SET %2$s FROM pg_temp.etl_source s WHERE o.observed_pipeline = $1 AND o.observed_interval = $2 AND %3$s AND NOT (%4$s)',
			observations, etl._column_list(rest, '%1$I = s.%1$I'), etl._key_match('o', 's', target, key),
			(SELECT string_agg(etl._same('o', 's', a.attname, a.atttypid), ' AND ') FROM pg_attribute a WHERE a.attrelid = 'pg_temp.etl_source'::regclass AND a.attname = ANY (rest)))
		USING pipeline, since;
	END IF;
	EXECUTE format('INSERT INTO %1$s (%2$s, observed_pipeline, observed_interval) SELECT %2$s, $1, $2 FROM pg_temp.etl_source ON CONFLICT DO NOTHING',
		observations, etl._column_list(columns)) USING pipeline, since;
	EXECUTE format('CREATE TEMPORARY TABLE etl_affected_child ON COMMIT DROP AS SELECT DISTINCT %s FROM pg_temp.etl_affected', etl._column_list(key));
	ANALYZE pg_temp.etl_affected_child;

	-- a child counts as said by the interval that counts for its parent
	EXECUTE 'CREATE TEMPORARY TABLE etl_winner ON COMMIT DROP AS ' || etl._with_lookups(format('
		WITH said AS MATERIALIZED (SELECT o.* FROM %1$s o JOIN pg_temp.etl_affected_child a ON %2$s),
		counting AS MATERIALIZED (
			SELECT DISTINCT ON (%3$s) p.* FROM %4$s p JOIN (SELECT DISTINCT %5$s FROM said s) s ON %6$s
			ORDER BY %3$s, p.observed_version DESC NULLS LAST, p.observed_interval DESC, p.observed_pipeline)
		SELECT DISTINCT ON (%7$s) %8$s FROM said s JOIN counting p ON %6$s AND p.observed_interval = s.observed_interval AND p.observed_pipeline = s.observed_pipeline
		ORDER BY %7$s, p.observed_version DESC NULLS LAST, s.observed_interval DESC, s.observed_pipeline',
		observations, etl._key_match('o', 'a', target, key), etl._column_list(parent_key, 'p.%I'), parents, etl._column_list(parent_key, 's.%I'),
		etl._key_match('p', 's', target, parent_key), etl._column_list(key, 's.%I'), etl._column_list(columns, 's.%I')), lookups);
	EXECUTE format('ANALYZE pg_temp.etl_winner (%s)', etl._column_list(key));
	counts := etl._apply_difference(target, 'pg_temp.etl_winner', key, touch, 'true', true, among => 'pg_temp.etl_affected_child');
	SELECT count(*) INTO source_rows FROM pg_temp.etl_source;
	counts.unchanged := greatest(source_rows - counts.inserted - counts.updated, 0);
	DROP TABLE pg_temp.etl_affected_parent, pg_temp.etl_affected_child;
	RETURN counts;
END
$$;
COMMENT ON FUNCTION etl._load_children(regclass, regclass, regclass, text, text[], text[], text[], etl._lookup_parts) IS
	'child rows over views of one interval: the parents of the interval take their children with them, whatever the order of runs';
