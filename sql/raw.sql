-- Raw tables: payloads as received, partitioned so that a large load can be reclaimed
-- whole, and the ledger views through which readers see published loads only.
-- docs/decisions/0002-raw-partitions.md has the reasons.

CREATE VIEW etl.published_loads WITH (security_barrier) AS
	SELECT load_id, data_interval_start, data_interval_end, published_at, shared_partition_key, partition_key
	FROM etl.load WHERE state = 'published';
COMMENT ON VIEW etl.published_loads IS 'the ledger that vr_ views of raw tables join: the loads readers may see';

CREATE FUNCTION etl.json_path_keys(path text) RETURNS text[]
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'etl_json_path_keys';
COMMENT ON FUNCTION etl.json_path_keys(text) IS 'a path to one value ($.user.id, $["a b"], $.tags[0]) as the text[] that #> takes';

CREATE FUNCTION etl._check_record_path(path text) RETURNS void
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'etl_check_record_path';
COMMENT ON FUNCTION etl._check_record_path(text) IS 'raises unless the path is one of those that records can be split by: members and [*]';

-- Names derived from a table's: cut by bytes, and told apart by a digest when cut.
CREATE FUNCTION etl._derived_name(relation_name name, suffix text) RETURNS name
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN octet_length(relation_name) + octet_length(suffix) <= 63 THEN relation_name || suffix
				ELSE (SELECT max(left(relation_name, n)) FROM generate_series(0, 63) n WHERE octet_length(left(relation_name, n)) <= 63 - 9 - octet_length(suffix))
					 || '_' || left(md5(relation_name), 8) || suffix END::name
$$;
COMMENT ON FUNCTION etl._derived_name(name, text) IS 'a relation name with a suffix, within 63 bytes and unique for the relation';

CREATE FUNCTION etl._skip_load_ids(load_id bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT setval('etl.load_id_seq', load_id) FROM etl.load_id_seq s WHERE load_id > s.last_value AND load_id < 1000000000000000
$$;
COMMENT ON FUNCTION etl._skip_load_ids(bigint) IS 'makes sure that new loads get ids above one that is in use';

CREATE FUNCTION etl._create_raw_table(schema_name name, relation_name name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- a fifth of pglz's time; servers can be built without it
	compression CONSTANT text := CASE WHEN EXISTS (
		SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)) THEN 'COMPRESSION lz4' ELSE '' END;
BEGIN
	PERFORM etl._ensure_schema(schema_name);
	IF etl._relation(schema_name, relation_name) IS NULL THEN
		EXECUTE format($sql$
			CREATE TABLE %1$I.%2$I (
				load_id bigint NOT NULL,
				data_interval_start timestamptz NOT NULL,
				data_interval_end timestamptz NOT NULL,
				slice integer NOT NULL,
				record_number integer NOT NULL,
				item jsonb,
				payload jsonb %3$s NOT NULL,
				fetched_at timestamptz NOT NULL,
				partition_key bigint NOT NULL DEFAULT 0,
				PRIMARY KEY (load_id, slice, record_number, partition_key)
			) PARTITION BY LIST (partition_key)$sql$, schema_name, relation_name, compression);
		EXECUTE format('CREATE TABLE %I.%I PARTITION OF %I.%I FOR VALUES IN (0)',
			schema_name, etl._derived_name(relation_name, '_shared'), schema_name, relation_name);
		EXECUTE format('COMMENT ON TABLE %I.%I IS %L', schema_name, relation_name,
			'raw records of every load, unpublished and superseded ones too; read the vr_ or vl_ view');
		EXECUTE format('COMMENT ON COLUMN %I.%I.partition_key IS %L', schema_name, relation_name,
			'0: shared by small loads, below: by those of a time; else the large load that has a partition of its own');
		EXECUTE format('COMMENT ON COLUMN %I.%I.item IS %L', schema_name, relation_name,
			'the row of for_each this record was asked for');
	ELSIF NOT EXISTS (SELECT FROM pg_class WHERE oid = etl._relation(schema_name, relation_name) AND relkind = 'p' AND NOT relispartition) OR NOT EXISTS (
		SELECT FROM pg_attribute WHERE attrelid = etl._relation(schema_name, relation_name)
		  AND attname = 'partition_key' AND NOT attisdropped)
	THEN
		RAISE EXCEPTION 'table %.% exists and is not a raw table', schema_name, relation_name
			USING ERRCODE = 'wrong_object_type',
				  HINT = 'Choose another target, or rename that table: raw tables are made by etl.add_extract.';
	ELSE
		-- the ledger may be younger than the table: its ids must not come again
		EXECUTE format('SELECT etl._skip_load_ids(max(load_id)) FROM %I.%I', schema_name, relation_name);
	END IF;
END
$$;
COMMENT ON FUNCTION etl._create_raw_table(name, name) IS 'makes a raw table with its shared partition, unless it is there';

CREATE FUNCTION etl._create_raw_views(schema_name name, relation_name name, key text[], version text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	columns CONSTANT text := 'r.load_id, l.data_interval_start, l.data_interval_end, r.slice, r.record_number, r.item, r.payload, r.fetched_at';
	key_list text;
BEGIN
	EXECUTE format('CREATE OR REPLACE VIEW %1$I.%2$I AS SELECT %3$s FROM %1$I.%4$I r JOIN etl.published_loads l ON l.load_id = r.load_id AND r.partition_key = ANY (ARRAY[l.shared_partition_key, l.partition_key])',
		schema_name, 'vr_' || relation_name, columns, relation_name);
	EXECUTE format('COMMENT ON VIEW %I.%I IS %L', schema_name, 'vr_' || relation_name, 'the records of published loads');
	IF key IS NULL THEN
		IF etl._relation(schema_name, ('vl_' || relation_name)::name) IS NOT NULL THEN
			EXECUTE format('DROP VIEW %I.%I', schema_name, 'vl_' || relation_name);
		END IF;
		RETURN;
	END IF;
	SELECT string_agg(format('v.payload #> %L::text[]', etl.json_path_keys(k)), ', ' ORDER BY n) INTO key_list
	FROM unnest(key) WITH ORDINALITY u(k, n);
	-- the version decides; without one, or when it is the same, the later interval does
	EXECUTE format('CREATE OR REPLACE VIEW %1$I.%2$I AS SELECT DISTINCT ON (%3$s) v.* FROM %1$I.%4$I v ORDER BY %3$s%5$s, v.data_interval_start DESC, v.load_id DESC, v.slice DESC, v.record_number DESC',
		schema_name, 'vl_' || relation_name, key_list, 'vr_' || relation_name,
		CASE WHEN version IS NULL THEN ''
			 ELSE format(', nullif(v.payload #> %L::text[], %L::jsonb) DESC NULLS LAST', etl.json_path_keys(version), 'null') END);
	EXECUTE format('COMMENT ON VIEW %I.%I IS %L', schema_name, 'vl_' || relation_name, 'the latest version of each record of published loads');
END
$$;
COMMENT ON FUNCTION etl._create_raw_views(name, name, text[], text) IS 'makes or replaces vr_<table> and, with a key, vl_<table>';

-- A load that has grown large goes on in a partition of its own.  Attached before
-- publication: ATTACH takes a light lock, CREATE … PARTITION OF would stop readers.
CREATE FUNCTION etl._give_own_partition(task_run_id bigint, attempt integer, load_id bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s'
AS $$
DECLARE
	l etl.load := etl._fence_load(task_run_id, attempt, load_id);
	partition_name name;
BEGIN
	partition_name := etl._derived_name(l.target_name, '_load_' || load_id);
	BEGIN
		EXECUTE format('CREATE TABLE %1$I.%2$I (LIKE %1$I.%3$I INCLUDING ALL)', l.target_schema, partition_name, l.target_name);
		EXECUTE format('ALTER TABLE %1$I.%3$I ATTACH PARTITION %1$I.%2$I FOR VALUES IN (%4$s)', l.target_schema, partition_name, l.target_name, load_id);
	EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
		RETURN false;			-- somebody is altering the table: the shared partition will do
	END;
	PERFORM etl._record_partition(task_run_id, attempt, load_id, partition_name);
	RETURN true;
END
$$;
COMMENT ON FUNCTION etl._give_own_partition(bigint, integer, bigint) IS 'makes and attaches a partition for one large load; false when the table is locked';

CREATE FUNCTION etl._oldest_xmin() RETURNS xid8
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'etl_oldest_xmin';
COMMENT ON FUNCTION etl._oldest_xmin() IS 'the horizon of this database: no snapshot still in use is older';

CREATE FUNCTION etl._reclaimable_loads(schema_name name, relation_name name)
RETURNS TABLE (load_id bigint, state text, partition_name name, shared_partition_key bigint, unseen boolean)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT l.load_id, l.state, l.partition_name, l.shared_partition_key,
		   l.superseded_xid IS NULL OR l.superseded_xid < etl._oldest_xmin()
	FROM etl.load l
	WHERE l.target_schema = schema_name AND l.target_name = relation_name
	  AND l.state IN ('superseded', 'abandoned', 'expired') AND l.reclaimed_at IS NULL
	ORDER BY l.load_id LIMIT 100
$$;
COMMENT ON FUNCTION etl._reclaimable_loads(name, name) IS 'loads whose rows nobody needs, and whether no snapshot can still see them';

CREATE FUNCTION etl._mark_reclaimed_as_owner(load_id bigint) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
	UPDATE etl.load l SET reclaimed_at = clock_timestamp()
	WHERE l.load_id = _mark_reclaimed_as_owner.load_id AND l.state IN ('superseded', 'abandoned', 'expired')
	  AND etl._is_member(l.owner, etl._acting_role())
$$;
CREATE FUNCTION etl._mark_reclaimed(load_id bigint) RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._mark_reclaimed_as_owner(bigint) IS 'does what etl._mark_reclaimed does, with the rights of the extension';
COMMENT ON FUNCTION etl._mark_reclaimed(bigint) IS 'records that the rows of a superseded load are gone';

CREATE FUNCTION etl._partition_is_unneeded(schema_name name, relation_name name, shared_key bigint) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT NOT EXISTS (
		SELECT FROM etl.load l
		WHERE l.target_schema = schema_name AND l.target_name = relation_name AND l.shared_partition_key = shared_key AND l.reclaimed_at IS NULL
		  AND (l.state IN ('loading', 'complete', 'published') OR l.superseded_xid >= etl._oldest_xmin()))
$$;
COMMENT ON FUNCTION etl._partition_is_unneeded(name, name, bigint) IS 'whether no snapshot can see any load of a shared partition';

CREATE FUNCTION etl._partition_of_key(relation regclass, partition_key bigint) RETURNS name
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
	WHERE i.inhparent = relation AND pg_get_expr(c.relpartbound, c.oid) IN (format('FOR VALUES IN (%s)', partition_key), format('FOR VALUES IN (%L)', partition_key))
$$;
COMMENT ON FUNCTION etl._partition_of_key(regclass, bigint) IS 'the partition of a raw table that holds a partition_key; NULL when there is none';

-- One load a call and a transaction: DROP keeps readers out until it commits.  A DELETE is
-- safe under any reader; a DROP is not, a snapshot taken before the load was superseded
-- would find the table empty: it waits for the horizon, and for locks a blink.
CREATE FUNCTION etl._reclaim(schema_name name, relation_name name) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '10ms'	-- readers that come meanwhile queue behind: no longer than a blink
AS $$
DECLARE
	l record;
	shared_partition name;
BEGIN
	FOR l IN SELECT * FROM etl._reclaimable_loads(schema_name, relation_name) LOOP
		CONTINUE WHEN l.partition_name IS NOT NULL AND NOT l.unseen;
		IF l.shared_partition_key < 0 AND l.state = 'expired' THEN
			IF NOT etl._partition_is_unneeded(schema_name, relation_name, l.shared_partition_key) THEN
				CONTINUE WHEN l.partition_name IS NULL;		-- goes with its partition, later
			ELSE
				shared_partition := etl._partition_of_key(etl._relation(schema_name, relation_name), l.shared_partition_key);
				BEGIN
					IF shared_partition IS NOT NULL THEN		-- another run may have dropped it
						EXECUTE format('DROP TABLE IF EXISTS %I.%I', schema_name, shared_partition);
					END IF;
				EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
					CONTINUE;
				END;
			END IF;
		ELSE
			EXECUTE format('DELETE FROM %I.%I WHERE load_id = $1 AND partition_key = $2', schema_name, relation_name) USING l.load_id, l.shared_partition_key;
		END IF;
		IF l.partition_name IS NOT NULL AND etl._relation(schema_name, l.partition_name) IS NOT NULL THEN
			BEGIN
				EXECUTE format('DROP TABLE %I.%I', schema_name, l.partition_name);
			EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
				CONTINUE;		-- a reader holds it: the next run tries again
			END;
		END IF;
		PERFORM etl._mark_reclaimed(l.load_id);
		RETURN true;
	END LOOP;
	RETURN false;
END
$$;
COMMENT ON FUNCTION etl._reclaim(name, name) IS 'removes the rows of one superseded or abandoned load of a raw table; false when there is none that can go';
