-- Drift: how the records of a load differ from what is declared, or from what there was
-- before.  The worker finds out (src/extract/raw/record_shape.c); here it is kept.

CREATE FUNCTION etl._check_contract(contract text, record_schema jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF contract IS NULL OR contract NOT IN ('evolve', 'freeze', 'discard_record') THEN
		RAISE EXCEPTION 'invalid contract "%"', contract
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'evolve: fields that record_schema does not have are loaded and noted; freeze: they fail the task; discard_record: such records are set aside.';
	ELSIF contract <> 'evolve' AND record_schema IS NULL THEN
		RAISE EXCEPTION 'contract "%" needs a record_schema', contract
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'It says which fields there are; etl.infer_schema proposes one from records that have been loaded.';
	ELSIF contract <> 'evolve' AND (SELECT members FROM etl._schema_fields(record_schema, 0)) <> 'listed' THEN
		RAISE EXCEPTION 'contract "%" needs a record_schema that lists the fields', contract
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'Its "properties" are the fields a record may have. With "additionalProperties": true, or without properties, every field is welcome.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_contract(text, jsonb) IS 'raises for a contract that there is not, or that the record_schema cannot bear';

--
-- What the worker reads and writes
--
CREATE FUNCTION etl._load_shape(task_run_id bigint, attempt integer, load_id bigint, OUT contract text, OUT records bigint, OUT is_whole boolean, OUT shape jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	l etl.load := etl._fence_load(task_run_id, attempt, load_id);
BEGIN
	SELECT t.definition ->> 'contract' INTO contract FROM etl.task t WHERE t.pipeline = l.pipeline AND t.task = l.task;
	SELECT s.records, s.shape INTO records, shape FROM etl.load_shape s WHERE s.load_id = l.load_id;
	-- what is not JSON was not looked at, nor what the source did not send again
	is_whole := coalesce(records, 0) = (SELECT coalesce(sum(s.fetched + s.skipped), 0) FROM etl.slice s WHERE s.load_id = l.load_id AND s.status IS DISTINCT FROM 304)
		- (SELECT count(*) FROM etl.quarantined_record q WHERE q.load_id = l.load_id AND q.reason_code NOT IN ('23502', '23514'));
END
$$;
COMMENT ON FUNCTION etl._load_shape(bigint, integer, bigint) IS 'the contract of a load''s task, the shape of its records so far, and whether that is of all of them';

CREATE FUNCTION etl._expected_fields(task_run_id bigint, attempt integer, load_id bigint, max_steps integer)
RETURNS TABLE (path text, types text[], members text, name_patterns text[], always boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	l etl.load := etl._fence_load(task_run_id, attempt, load_id);
	d jsonb := (SELECT t.definition FROM etl.task t WHERE t.pipeline = l.pipeline AND t.task = l.task);
BEGIN
	IF d ? 'record_schema' THEN
		RETURN QUERY SELECT f.path, f.types, f.members, f.name_patterns, NULL::boolean FROM etl._schema_fields(d -> 'record_schema', max_steps) f ORDER BY length(f.path);
	END IF;
	IF NOT d ? 'contract' THEN
		RETURN QUERY SELECT k.path, k.types, NULL::text, NULL::text[], k.always FROM etl.known_field k
			WHERE k.pipeline = l.pipeline AND k.owner = l.owner AND k.task = l.task ORDER BY length(k.path);
	END IF;
END
$$;
COMMENT ON FUNCTION etl._expected_fields(bigint, integer, bigint, integer) IS 'the fields that the records of a load should have: those declared, then those known';

CREATE FUNCTION etl._save_shape(task_run_id bigint, attempt integer, load_id bigint, records bigint, shape jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM etl._fence_load(task_run_id, attempt, load_id);
	INSERT INTO etl.load_shape AS s (load_id, records, shape) VALUES (load_id, records, shape)
	ON CONFLICT ON CONSTRAINT load_shape_pkey DO UPDATE SET records = excluded.records, shape = excluded.shape;
END
$$;
COMMENT ON FUNCTION etl._save_shape(bigint, integer, bigint, bigint, jsonb) IS 'keeps the shape of a load''s records, in the transaction that commits a slice';

CREATE FUNCTION etl._record_drift(task_run_id bigint, attempt integer, load_id bigint, drift jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	l etl.load := etl._fence_load(task_run_id, attempt, load_id);
	first_seen jsonb;
BEGIN
	-- it may be in records that the source did not send again
	IF l.not_modified > 0 THEN
		drift := jsonb_path_query_array(drift, '$[*] ? (@.change <> "missing")');
	END IF;
	INSERT INTO etl.load_shape AS s (load_id, drift) SELECT load_id, drift WHERE drift <> '[]'
	ON CONFLICT ON CONSTRAINT load_shape_pkey DO UPDATE SET drift = excluded.drift;
	IF drift = '[]' THEN
		UPDATE etl.load_shape s SET drift = '[]' WHERE s.load_id = l.load_id AND s.drift <> '[]';
		RETURN;
	END IF;
	WITH new_change AS (
		INSERT INTO etl.schema_change (pipeline, owner, task, path, change, observed, first_load_id)
		SELECT l.pipeline, l.owner, l.task, d.path, d.change, coalesce(d.observed, ''), l.load_id
		FROM jsonb_to_recordset(drift) d(path text, change text, observed text)
		-- fields that never end are data
		WHERE (SELECT count(*) FROM etl.schema_change c WHERE c.pipeline = l.pipeline AND c.owner = l.owner AND c.task = l.task) < 10000
		ON CONFLICT (pipeline, owner, task, md5(path), change, observed) DO NOTHING
		RETURNING path, change, observed
	)
	SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('path', left(c.path, 200), 'change', c.change, 'observed', nullif(c.observed, '')))
			ORDER BY c.path COLLATE "C") INTO first_seen
	FROM new_change c;
	IF first_seen IS NOT NULL THEN
		PERFORM etl._write_log('WARN', l.pipeline, l.run_id, l.task,
			format('the records have changed: %s', (SELECT string_agg(format('%s %s', n, CASE change WHEN 'new' THEN CASE n WHEN 1 THEN 'new field' ELSE 'new fields' END ELSE change END), ', ' ORDER BY change)
				FROM (SELECT c ->> 'change' AS change, count(*) AS n FROM jsonb_array_elements(first_seen) c GROUP BY 1) x)),
			jsonb_build_object('load_id', l.load_id, 'changes', jsonb_path_query_array(first_seen, '$[0 to 49]')));
	END IF;
END
$$;
COMMENT ON FUNCTION etl._record_drift(bigint, integer, bigint, jsonb) IS 'keeps how a load''s records differ; the log tells of what was never seen before';

-- What a publication teaches.  Nothing is written when there is nothing new.
CREATE FUNCTION etl._learn_fields(l etl.load) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	INSERT INTO etl.known_field AS known (pipeline, owner, task, path, types, always)
	SELECT l.pipeline, l.owner, l.task, f.path, f.types, f.always
	FROM (SELECT e.key AS path, ARRAY(SELECT t FROM jsonb_object_keys(e.value -> 'types') t ORDER BY t) AS types, CASE WHEN l.not_modified = 0 THEN (e.value -> 'always')::boolean END AS always
		  FROM etl.load_shape s, jsonb_each(s.shape) e WHERE s.load_id = l.load_id) f
	LEFT JOIN etl.known_field k ON k.pipeline = l.pipeline AND k.owner = l.owner AND k.task = l.task AND md5(k.path) = md5(f.path)
	WHERE k.path IS NULL AND (SELECT count(*) FROM etl.known_field n WHERE n.pipeline = l.pipeline AND n.owner = l.owner AND n.task = l.task) < 10000
	   OR NOT k.types @> f.types OR k.always IS NOT FALSE AND f.always IS DISTINCT FROM k.always AND f.always IS NOT NULL
	ON CONFLICT (pipeline, owner, task, md5(path)) DO UPDATE
	SET types = ARRAY(SELECT unnest(known.types) UNION SELECT unnest(excluded.types) ORDER BY 1), always = CASE WHEN known.always IS FALSE OR excluded.always IS NULL THEN known.always ELSE excluded.always END;

	UPDATE etl.known_field k SET always = false
	FROM etl.load_shape s, jsonb_to_recordset(s.drift) d(path text, change text)
	WHERE s.load_id = l.load_id AND d.change = 'missing' AND k.pipeline = l.pipeline AND k.owner = l.owner AND k.task = l.task
	  AND md5(k.path) = md5(d.path) AND k.always;
END
$$;
COMMENT ON FUNCTION etl._learn_fields(etl.load) IS 'adds the fields of a load that is being published to those known of its task';

CREATE VIEW etl.schema_drift WITH (security_barrier) AS
	SELECT l.pipeline, l.task, l.load_id, l.state AS load_state, l.data_interval_start, d.path, d.change, d.declared, d.observed, d.records,
		   c.first_load_id AS first_seen_load, c.first_seen_at
	FROM etl.load_shape s
	JOIN etl.load l USING (load_id)
	CROSS JOIN LATERAL pg_catalog.jsonb_to_recordset(s.drift) d(path text, change text, declared text, observed text, records bigint)
	LEFT JOIN etl.schema_change c ON c.pipeline = l.pipeline AND c.owner = l.owner AND c.task = l.task AND pg_catalog.md5(c.path) = pg_catalog.md5(d.path)
		AND c.change = d.change AND c.observed = COALESCE(d.observed, '')
	WHERE s.drift <> '[]' AND etl._may_see(l.owner);
COMMENT ON VIEW etl.schema_drift IS 'how the records of each load differ from the record_schema or, where it leaves that open, from earlier loads: new, missing, retyped fields';
