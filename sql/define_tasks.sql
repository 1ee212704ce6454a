-- Declaring tasks.  Everything is checked here, so that a run fails for what the source
-- or the data do, not for what was written down.

CREATE FUNCTION etl._task_name(pipeline text, written text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- a check is named freely; raw.select and raw."select" are one table
	IF EXISTS (SELECT FROM etl._tasks(pipeline) t WHERE t.task = written) THEN
		RETURN written;
	END IF;
	RETURN (SELECT etl._full_name(n.schema_name, n.relation_name) FROM etl._parse_name(written) n);
EXCEPTION WHEN invalid_name OR name_too_long OR reserved_name THEN
	RETURN written;		-- whoever looks for it says that there is none
END
$$;
COMMENT ON FUNCTION etl._task_name(text, text) IS 'a task as depends_on names it, spelt as the catalog does';

CREATE FUNCTION etl._forget_target_state_as_owner(pipeline text, task text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
	DELETE FROM etl.target_state s USING etl._own_pipeline(_forget_target_state_as_owner.pipeline) p
	WHERE s.pipeline = p.pipeline AND s.task = _forget_target_state_as_owner.task
$$;
CREATE FUNCTION etl._forget_target_state(pipeline text, task text) RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._forget_target_state_as_owner(text, text) IS 'does what etl._forget_target_state does, with the rights of the extension';
COMMENT ON FUNCTION etl._forget_target_state(text, text) IS 'forgets how far a target has got: it was made anew';

CREATE FUNCTION etl._save_task_as_owner(pipeline text, task text, kind text, target_schema name, target_name name,
	definition jsonb, depends_on text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline := etl._lock_own_pipeline(pipeline);
	existing_kind text;
	other_pipeline text;
BEGIN
	SELECT t.kind INTO existing_kind FROM etl.task t
	WHERE t.pipeline = p.pipeline AND t.task = _save_task_as_owner.task AND t.generation = p.generation;
	IF existing_kind <> kind THEN
		RAISE EXCEPTION 'task "%" of pipeline "%" is already declared as %', task, p.pipeline, existing_kind
			USING ERRCODE = 'duplicate_object', HINT = 'A table is filled by one task, and a check is not named like one.';
	END IF;
	-- Workers are the owner: what another role made here, they could not write.
	IF etl._acting_role() <> p.owner THEN
		RAISE EXCEPTION 'only role "%" can declare tasks of pipeline "%"', p.owner, p.pipeline
			USING ERRCODE = 'insufficient_privilege',
				  DETAIL = 'Tables and views are made by who declares, and workers connect as the owner of the pipeline.',
				  HINT = format('SET ROLE %I;', p.owner);
	END IF;
	SELECT t.pipeline INTO other_pipeline FROM etl.task t
	WHERE _save_task_as_owner.kind = 'extract' AND t.kind = 'extract' AND t.pipeline <> p.pipeline
	  AND t.target_schema = _save_task_as_owner.target_schema AND t.target_name = _save_task_as_owner.target_name LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'raw table % is filled by another pipeline', task
			USING ERRCODE = 'duplicate_object',
				  DETAIL = CASE WHEN etl._is_member((SELECT x.owner FROM etl.pipeline x WHERE x.pipeline = other_pipeline), etl._acting_role())
							THEN format('It is the target of pipeline "%s".', other_pipeline) END,
				  HINT = 'A raw table is filled by one task; choose another target.';
	END IF;
	depends_on := coalesce((SELECT array_agg(etl._task_name(p.pipeline, d) ORDER BY o) FROM unnest(depends_on) WITH ORDINALITY u(d, o)), '{}');
	INSERT INTO etl.task (pipeline, task, kind, target_schema, target_name, definition, depends_on, generation)
	VALUES (p.pipeline, task, kind, target_schema, target_name, definition, depends_on, p.generation)
	ON CONFLICT ON CONSTRAINT task_pkey DO UPDATE
	SET kind = excluded.kind, target_schema = excluded.target_schema, target_name = excluded.target_name,
		definition = excluded.definition, depends_on = excluded.depends_on, generation = excluded.generation;
	PERFORM etl._task_order(p.pipeline);
END
$$;
CREATE FUNCTION etl._save_task(pipeline text, task text, kind text, target_schema name, target_name name,
	definition jsonb, depends_on text[]) RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._save_task_as_owner(text, text, text, name, name, jsonb, text[]) IS 'does what etl._save_task does, with the rights of the extension';
COMMENT ON FUNCTION etl._save_task(text, text, text, name, name, jsonb, text[]) IS 'writes a task''s declaration for the acting role and refuses circles';

CREATE FUNCTION etl._check_columns(relation regclass, columns text[], what text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	missing text;
BEGIN
	SELECT c INTO missing FROM unnest(columns) c
	WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = relation AND attname = c AND attnum > 0 AND NOT attisdropped)
	LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'column "%" named by % does not exist in %', missing, what, relation
			USING ERRCODE = 'undefined_column',
				  HINT = 'Its columns are: ' || (SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
												 WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped) || '.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_columns(regclass, text[], text) IS 'raises for a column the relation does not have, naming those it has';

CREATE FUNCTION etl._create_target(schema_name name, relation_name name, source regclass, key text[]) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	target regclass;
	missing text;
	made boolean;
BEGIN
	PERFORM etl._ensure_schema(schema_name);
	target := etl._relation(schema_name, relation_name);
	made := target IS NULL;
	IF made THEN
		EXECUTE format('CREATE TABLE %I.%I AS SELECT * FROM %s WITH NO DATA', schema_name, relation_name, source);
		target := etl._relation(schema_name, relation_name);
		IF key IS NOT NULL THEN
			EXECUTE format('ALTER TABLE %s ADD PRIMARY KEY (%s)', target, (SELECT string_agg(quote_ident(k), ', ' ORDER BY n) FROM unnest(key) WITH ORDINALITY u(k, n)));
		END IF;
	ELSIF NOT EXISTS (SELECT FROM pg_class WHERE oid = target AND relkind IN ('r', 'p')) THEN
		RAISE EXCEPTION '% is not a table', target
			USING ERRCODE = 'wrong_object_type', HINT = 'A load fills a table; its transformation is the view txf_<table>.';
	END IF;
	SELECT string_agg(quote_ident(v.attname), ', ' ORDER BY v.attnum) INTO missing
	FROM pg_attribute v
	WHERE v.attrelid = source AND v.attnum > 0 AND NOT v.attisdropped
	  AND NOT EXISTS (SELECT FROM pg_attribute t WHERE t.attrelid = target AND t.attname = v.attname AND t.attnum > 0
					  AND NOT t.attisdropped AND t.attgenerated = '' AND t.attidentity <> 'a');
	IF missing IS NOT NULL THEN
		RAISE EXCEPTION 'table % lacks columns of %: %', target, source, missing
			USING ERRCODE = 'undefined_column', HINT = 'Add them to the table, or take them out of the view; generated columns cannot be loaded.';
	END IF;
	EXECUTE format('CREATE OR REPLACE VIEW %1$I.%2$I AS SELECT * FROM %1$I.%3$I', schema_name, 'vr_' || relation_name, relation_name);
	EXECUTE format('COMMENT ON VIEW %I.%I IS %L', schema_name, 'vr_' || relation_name, 'all columns of ' || target);
	RETURN made;
END
$$;
COMMENT ON FUNCTION etl._create_target(name, name, regclass, text[]) IS 'makes a load''s target from its view when it is missing, and its vr_ view; returns whether it made the table';

-- What an interval said about each key: see docs/decisions/0003-order-free-loads.md.
CREATE FUNCTION etl._create_observations(schema_name name, relation_name name, source regclass, key text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	key_list text := (SELECT string_agg(quote_ident(k), ', ' ORDER BY n) FROM unnest(key) WITH ORDINALITY u(k, n));
	column_list text := (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
						 WHERE attrelid = source AND attnum > 0 AND NOT attisdropped);
	observations name := 'obs_' || relation_name;
	new_column record;
BEGIN
	IF etl._relation(schema_name, observations) IS NULL THEN
		EXECUTE format('CREATE TABLE %I.%I AS SELECT %s, NULL::text AS observed_pipeline, NULL::timestamptz AS observed_interval FROM %I.%I WITH NO DATA',
			schema_name, observations, column_list, schema_name, relation_name);
		EXECUTE format('ALTER TABLE %I.%I ADD PRIMARY KEY (%s, observed_interval, observed_pipeline)', schema_name, observations, key_list);
		EXECUTE format('CREATE INDEX ON %I.%I (observed_pipeline, observed_interval)', schema_name, observations);
		EXECUTE format('COMMENT ON TABLE %I.%I IS %L', schema_name, observations,
			'what each data interval said about each key; makes ' || relation_name || ' independent of the order of runs');
		RETURN;
	END IF;
	IF (SELECT array_agg(a.attname::text ORDER BY a.attname) FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
		WHERE i.indrelid = etl._relation(schema_name, observations) AND i.indisprimary)
	   IS DISTINCT FROM (SELECT array_agg(k ORDER BY k) FROM unnest(key || '{observed_interval,observed_pipeline}'::text[]) k)
	THEN
		EXECUTE format('ALTER TABLE %I.%I DROP CONSTRAINT IF EXISTS %I, ADD PRIMARY KEY (%s, observed_interval, observed_pipeline)', schema_name, observations,
			(SELECT c.conname FROM pg_constraint c WHERE c.conrelid = etl._relation(schema_name, observations) AND c.contype = 'p'), key_list);
	END IF;
	FOR new_column IN
		SELECT t.attname, format_type(t.atttypid, t.atttypmod) AS type
		FROM pg_attribute v JOIN pg_attribute t ON t.attrelid = etl._relation(schema_name, relation_name) AND t.attname = v.attname AND NOT t.attisdropped
		WHERE v.attrelid = source AND v.attnum > 0 AND NOT v.attisdropped
		  AND NOT EXISTS (SELECT FROM pg_attribute o WHERE o.attrelid = etl._relation(schema_name, observations) AND o.attname = v.attname AND NOT o.attisdropped)
	LOOP
		EXECUTE format('ALTER TABLE %I.%I ADD COLUMN %I %s', schema_name, observations, new_column.attname, new_column.type);
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._create_observations(name, name, regclass, text[]) IS 'makes the observations of an incremental target whose view gives one interval at a time';

CREATE FUNCTION etl._keeps_observations(source regclass, options jsonb) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce((options ->> 'order_free')::boolean, true) AND etl._reads_interval(source) $$;
COMMENT ON FUNCTION etl._keeps_observations(regclass, jsonb) IS 'whether an incremental load remembers what each interval said';

CREATE FUNCTION etl.add_load(pipeline text, target text, mode text, key text[] DEFAULT NULL, source text DEFAULT NULL,
	version text DEFAULT NULL, partition_by text DEFAULT NULL, source_kind text DEFAULT NULL,
	depends_on text[] DEFAULT '{}', options jsonb DEFAULT '{}')
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n record := etl._parse_name(target);
	source_name record;
	source_relation regclass;
	touched text[];
	problem text;
BEGIN
	PERFORM etl._own_pipeline(pipeline);
	IF mode IS NULL OR mode NOT IN ('full', 'incremental', 'partition', 'scd2') THEN
		RAISE EXCEPTION 'invalid load mode "%"', mode
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Modes are: full, incremental, partition, scd2.';
	END IF;
	IF source_kind NOT IN ('snapshot', 'changes') THEN
		RAISE EXCEPTION 'invalid source_kind "%"', source_kind
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'snapshot: a key that is absent is gone; changes: a key that is absent is unchanged.';
	END IF;
	IF mode <> 'scd2' THEN
		PERFORM etl._check_option_names('options of etl.add_load', options, '{touch,order_free}');
	END IF;
	source := coalesce(source, format('%I.%I', n.schema_name, 'txf_' || n.relation_name));
	source_name := etl._parse_name(regexp_replace(source, '(^|\.)("?)txf_', '\1\2'));	-- the prefix is within the 63 bytes
	source_relation := to_regclass(source);
	IF source_relation IS NULL THEN
		RAISE EXCEPTION 'view % does not exist', source
			USING ERRCODE = 'undefined_table',
				  HINT = format('A transformation is a plain view: CREATE VIEW %s AS SELECT … ; declare the load after it.', source);
	END IF;
	IF cardinality(key) = 0 THEN
		key := NULL;
	END IF;
	IF mode = 'incremental' AND key IS NULL THEN
		RAISE EXCEPTION 'mode incremental needs a key'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Name the columns that tell rows apart, for example key => ''{order_id}''.';
	END IF;
	IF mode = 'partition' AND partition_by IS NULL THEN
		RAISE EXCEPTION 'mode partition needs partition_by'
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'Name the date or timestamp column that says which data interval a row belongs to.';
	END IF;
	SELECT array_agg(e) INTO touched FROM jsonb_array_elements_text(coalesce(options -> 'touch', '[]')) e;
	PERFORM etl._check_columns(source_relation, key, 'key');
	PERFORM etl._check_columns(source_relation, ARRAY[version], 'version') WHERE version IS NOT NULL;
	PERFORM etl._check_columns(source_relation, ARRAY[partition_by], 'partition_by') WHERE partition_by IS NOT NULL;
	IF mode = 'scd2' THEN
		PERFORM etl._check_scd2_options(n.relation_name, source_relation, key, version, source_kind, options);
	END IF;
	-- the key of a partitioned load tells the rows of one interval apart
	IF (CASE WHEN mode = 'scd2' THEN etl._create_scd2_target(n.schema_name, n.relation_name, source_relation, key, version, options)
			ELSE etl._create_target(n.schema_name, n.relation_name, source_relation,
				CASE WHEN mode = 'partition' AND NOT partition_by = ANY (key) THEN key || partition_by ELSE key END) END) THEN
		PERFORM etl._forget_target_state(pipeline, etl._full_name(n.schema_name, n.relation_name));
	END IF;
	PERFORM etl._check_columns(etl._relation(n.schema_name, n.relation_name), touched, 'touch');
	SELECT attname INTO problem FROM pg_attribute
	WHERE attrelid = etl._relation(n.schema_name, n.relation_name) AND attname = ANY (key) AND etl._equality_operator(atttypid) IS NULL LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'column "%" cannot be part of a key', problem
			USING ERRCODE = 'datatype_mismatch', HINT = 'Its type has no equality; choose another column, or cast it in the view.';
	END IF;
	IF mode = 'partition' AND NOT EXISTS (
		SELECT FROM pg_attribute WHERE attrelid = etl._relation(n.schema_name, n.relation_name) AND attname = partition_by
		  AND atttypid IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype))
	THEN
		RAISE EXCEPTION 'column "%" cannot be partition_by', partition_by
			USING ERRCODE = 'datatype_mismatch', HINT = 'Its type must be date, timestamp or timestamptz.';
	END IF;
	IF options ? 'order_free' AND jsonb_typeof(options -> 'order_free') <> 'boolean' THEN
		RAISE EXCEPTION 'invalid option "order_free": %', options -> 'order_free'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is true (the default) or false: intervals never share a key.';
	END IF;
	IF mode = 'incremental' AND etl._keeps_observations(source_relation, options) THEN
		PERFORM etl._create_observations(n.schema_name, n.relation_name, source_relation, key);
	END IF;
	PERFORM etl._save_task(pipeline, etl._full_name(n.schema_name, n.relation_name), 'load', n.schema_name, n.relation_name,
		jsonb_strip_nulls(jsonb_build_object('source', source, 'mode', mode, 'key', to_jsonb(key), 'version', version,
			'partition_by', partition_by, 'source_kind', source_kind, 'options', options)), depends_on);
END
$$;
COMMENT ON FUNCTION etl.add_load(text, text, text, text[], text, text, text, text, text[], jsonb) IS
	'declares how a table is filled from its txf_ view; makes schema, table and vr_ view when they are missing';

CREATE FUNCTION etl.add_check(pipeline text, target text, check_type text, arguments jsonb DEFAULT '{}',
	name text DEFAULT NULL, severity text DEFAULT 'error', options jsonb DEFAULT '{}')
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n record := etl._parse_name(target);
	relation regclass := etl._relation(n.schema_name, n.relation_name);
BEGIN
	PERFORM etl._own_pipeline(pipeline);
	IF relation IS NULL THEN
		RAISE EXCEPTION 'relation "%" does not exist', target
			USING ERRCODE = 'undefined_table', HINT = 'Declare the load that makes it first.';
	END IF;
	IF severity IS NULL OR severity NOT IN ('error', 'warn') THEN
		RAISE EXCEPTION 'invalid severity "%"', severity
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'error: readers keep the last good data; warn: the result is recorded and published all the same.';
	END IF;
	PERFORM etl._check_option_names('options of etl.add_check', options, '{}');
	PERFORM etl._check_arguments(relation, check_type, arguments);
	-- the default name tells apart what one can sensibly check twice
	name := coalesce(name, concat_ws('_', n.schema_name, n.relation_name, check_type,
		(SELECT string_agg(c, '_' ORDER BY o) FROM jsonb_array_elements_text(arguments -> 'columns') WITH ORDINALITY e(c, o)),
		replace(arguments ->> 'to', '.', '_')));
	IF name = '' OR octet_length(name) > 255 OR name ~ '[[:cntrl:]]' THEN
		RAISE EXCEPTION 'invalid name of a check: "%"', name
			USING ERRCODE = 'invalid_name', HINT = 'A name has 1 to 255 bytes and no control characters.';
	ELSIF name = 'publish' THEN
		RAISE EXCEPTION 'a check cannot be named "publish"'
			USING ERRCODE = 'reserved_name', HINT = 'That is the name of the step in which a run becomes visible; choose another.';
	END IF;
	PERFORM etl._save_task(pipeline, name, 'check', n.schema_name, n.relation_name,
		jsonb_build_object('check_type', check_type, 'arguments', arguments, 'severity', severity, 'options', options), '{}');
END
$$;
COMMENT ON FUNCTION etl.add_check(text, text, text, jsonb, text, text, jsonb) IS
	'declares a data-quality rule on a table; types: not_null, unique, relationships, row_count';
