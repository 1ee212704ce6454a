-- Declaring a load: how a table is filled from its txf_ view.  Everything is checked here,
-- and what is missing is made: schema, table, vr_ view, observations.

CREATE FUNCTION etl._view_columns(relation regclass) RETURNS jsonb
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(jsonb_object_agg(attname, format_type(atttypid, atttypmod)), '{}') FROM pg_attribute WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped $$;
COMMENT ON FUNCTION etl._view_columns(regclass) IS 'columns and types of a view, as a declaration remembers them';

CREATE FUNCTION etl._create_target(schema_name name, relation_name name, source regclass, key text[], partitioned_by text DEFAULT NULL, surrogate_key text DEFAULT NULL) RETURNS boolean
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
		IF surrogate_key IS NOT NULL THEN
			EXECUTE format('CREATE TABLE %I.%I (%I bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, LIKE %s)', schema_name, relation_name, surrogate_key, source);
		ELSIF partitioned_by IS NULL THEN
			EXECUTE format('CREATE TABLE %I.%I AS SELECT * FROM %s WITH NO DATA', schema_name, relation_name, source);
		ELSE
			EXECUTE format('CREATE TABLE %I.%I (LIKE %s) PARTITION BY RANGE (%I)', schema_name, relation_name, source, partitioned_by);
		END IF;
		target := etl._relation(schema_name, relation_name);
		IF key IS NOT NULL THEN
			EXECUTE format('ALTER TABLE %s ADD %s (%s)', target, CASE WHEN surrogate_key IS NULL THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, (SELECT string_agg(quote_ident(k), ', ' ORDER BY n) FROM unnest(key) WITH ORDINALITY u(k, n)));
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
COMMENT ON FUNCTION etl._create_target(name, name, regclass, text[], text, text) IS 'makes a load''s target from its view when it is missing, and its vr_ view; returns whether it made the table';

-- Raises for policies that the mode or the source does not go with.
CREATE FUNCTION etl._check_load_policies(definition jsonb, source regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	mode text := definition ->> 'mode';
	deletes text := definition ->> 'deletes';
	on_duplicate text := definition ->> 'on_duplicate';
	problem text;
BEGIN
	IF deletes IS NOT NULL AND mode <> 'incremental' THEN
		RAISE EXCEPTION 'mode % has no choice of deletes', mode
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = CASE mode WHEN 'full' THEN 'The target is what the view gives: what is gone goes.' WHEN 'delta' THEN 'It only appends.' ELSE 'The rows of the interval are what the view gives.' END,
				  HINT = 'deletes is for incremental (ignore, delete, mark) and scd2 (ignore, close, new_row).';
	ELSIF deletes NOT IN ('ignore', 'delete', 'mark') THEN
		RAISE EXCEPTION 'invalid deletes "%"', deletes
			USING ERRCODE = 'invalid_parameter_value', HINT = 'What becomes of a key that a snapshot lacks: ignore, delete, or mark (is_deleted, deleted_at).';
	ELSIF deletes <> 'ignore' AND (definition ->> 'source_kind' = 'changes' OR definition ->> 'source_kind' IS NULL AND etl._reads_interval(source)) THEN
		RAISE EXCEPTION 'deletes => % needs a snapshot', deletes
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = CASE WHEN definition ->> 'source_kind' IS NULL THEN format('%s asks for the data interval, and is taken for what has changed in it.', source)
								ELSE 'The source_kind is changes.' END,
				  HINT = 'Say source_kind => ''snapshot'' when the view gives all keys there are at the interval; of changes, an absent key is unchanged.';
	ELSIF deletes = 'mark' THEN
		SELECT attname INTO problem FROM pg_attribute WHERE attrelid = source AND attname IN ('is_deleted', 'deleted_at') AND NOT attisdropped LIMIT 1;
		IF FOUND THEN
			RAISE EXCEPTION 'column "%" of % is one that deletes => mark fills itself', problem, source
				USING ERRCODE = 'duplicate_column', HINT = 'Take it out of the view, or give it another name there.';
		END IF;
	END IF;

	IF on_duplicate NOT IN ('error', 'latest') THEN
		RAISE EXCEPTION 'invalid on_duplicate "%"', on_duplicate
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Several rows of one key: error (names the keys), or latest (the greatest by order_by counts).';
	ELSIF on_duplicate = 'latest' AND definition ->> 'order_by' IS NULL THEN
		RAISE EXCEPTION 'on_duplicate => latest needs order_by'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Name the columns that tell which row is the latest, the most important first, for example order_by => ''{updated_at}''.';
	ELSIF on_duplicate IS DISTINCT FROM 'latest' AND definition ->> 'order_by' IS NOT NULL THEN
		RAISE EXCEPTION 'order_by is for on_duplicate => latest'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Say on_duplicate => ''latest'', or leave order_by out.';
	ELSIF on_duplicate IS NOT NULL AND definition ->> 'key' IS NULL THEN
		RAISE EXCEPTION 'on_duplicate needs a key'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Without a key every row stands for itself.';
	END IF;
	PERFORM etl._check_columns(source, (SELECT array_agg(c) FROM jsonb_array_elements_text(definition -> 'order_by') c), 'order_by') WHERE definition ? 'order_by';

	IF definition ->> 'on_schema_change' NOT IN ('fail', 'append_columns', 'sync') THEN
		RAISE EXCEPTION 'invalid on_schema_change "%"', definition ->> 'on_schema_change'
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'When the view''s columns change: fail; append_columns (new ones are added); sync (and types widened, and columns that are gone dropped).';
	END IF;
	IF definition ->> 'version' IS NOT NULL AND mode = 'delta' THEN
		RAISE EXCEPTION 'mode delta has no version'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = 'It keeps what was said first.', HINT = 'The mode that takes newer versions is incremental.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_load_policies(jsonb, regclass) IS 'raises for policies of a load that do not go with its mode or view';

-- Child rows: the parent's load, as declared; parent_key as the child's columns in the order of the parent's key.
CREATE FUNCTION etl._check_parent(pipeline text, definition jsonb, source regclass) RETURNS etl.task
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	parent_name text := etl._task_name(pipeline, definition ->> 'parent');
	parent etl.task;
	parent_key text[] := (SELECT array_agg(k ORDER BY n) FROM jsonb_array_elements_text(definition -> 'parent_key') WITH ORDINALITY e(k, n));
BEGIN
	IF definition ->> 'mode' <> 'incremental' OR parent_key IS NULL THEN
		RAISE EXCEPTION 'parent needs %', CASE WHEN parent_key IS NULL THEN 'parent_key' ELSE 'mode incremental' END
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'For example etl.add_load(…, ''stg.order_lines'', ''incremental'', key => ''{order_id,line_number}'', parent => ''stg.orders'', parent_key => ''{order_id}'').';
	END IF;
	SELECT t.* INTO parent FROM etl._tasks(pipeline) t WHERE t.task = parent_name AND t.kind = 'load';
	IF NOT FOUND OR parent.definition ->> 'key' IS NULL THEN
		RAISE EXCEPTION 'parent "%" is not a load with a key of pipeline "%"', definition ->> 'parent', pipeline
			USING ERRCODE = 'undefined_object', HINT = 'Declare the load of the parent rows first, with its key.';
	ELSIF jsonb_array_length(parent.definition -> 'key') <> cardinality(parent_key) THEN
		RAISE EXCEPTION 'parent_key (%) does not fit the key of % (%)', array_to_string(parent_key, ', '), parent.task,
				(SELECT string_agg(k, ', ' ORDER BY n) FROM jsonb_array_elements_text(parent.definition -> 'key') WITH ORDINALITY e(k, n))
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Name a column of the child''s view for each column of the parent''s key, in that order.';
	END IF;
	PERFORM etl._check_columns(source, parent_key, 'parent_key');
	IF definition ->> 'deletes' IS NOT NULL THEN
		RAISE EXCEPTION 'deletes does not go with parent'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'The parents of a run decide: children they no longer have are deleted.';
	ELSIF etl._reads_interval(source) AND NOT coalesce(etl._reads_interval(to_regclass(parent.definition ->> 'source')), false) THEN
		RAISE EXCEPTION '% gives the rows of one data interval, % does not', source, parent.definition ->> 'source'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = 'Parents whose children belong to other intervals would lose them.',
				  HINT = 'Let both views ask for the data interval, or neither.';
	END IF;
	RETURN parent;
END
$$;
COMMENT ON FUNCTION etl._check_parent(text, jsonb, regclass) IS 'the load of the parent rows of a load; raises when it cannot be one';

-- The columns that tell of keys that are gone.
CREATE FUNCTION etl._add_mark_columns(target regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	problem text;
BEGIN
	SELECT attname INTO problem FROM pg_attribute
	WHERE attrelid = target AND NOT attisdropped AND (attname = 'is_deleted' AND atttypid <> 'boolean'::regtype OR attname = 'deleted_at' AND atttypid <> 'timestamptz'::regtype) LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'column "%" of % has the wrong type', problem, target
			USING ERRCODE = 'datatype_mismatch', HINT = 'deletes => mark fills is_deleted boolean and deleted_at timestamptz.';
	END IF;
	IF (SELECT count(*) FROM pg_attribute WHERE attrelid = target AND attname IN ('is_deleted', 'deleted_at') AND NOT attisdropped) < 2 THEN
		EXECUTE format('ALTER TABLE %s ADD COLUMN IF NOT EXISTS is_deleted boolean NOT NULL DEFAULT false, ADD COLUMN IF NOT EXISTS deleted_at timestamptz', target);
	END IF;
END
$$;
COMMENT ON FUNCTION etl._add_mark_columns(regclass) IS 'gives a target is_deleted and deleted_at, for deletes => mark';

CREATE FUNCTION etl.add_load(pipeline text, target text, mode text, key text[] DEFAULT NULL, source text DEFAULT NULL,
	version text DEFAULT NULL, partition_by text DEFAULT NULL, source_kind text DEFAULT NULL,
	deletes text DEFAULT NULL, on_duplicate text DEFAULT NULL, order_by text[] DEFAULT NULL, on_schema_change text DEFAULT NULL,
	parent text DEFAULT NULL, parent_key text[] DEFAULT NULL,
	depends_on text[] DEFAULT '{}', options jsonb DEFAULT '{}')
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n record := etl._parse_name(target);
	source_name record;
	source_relation regclass;
	touched text[];
	problem text;
	definition jsonb;
	form text;
	parent_task etl.task;
BEGIN
	PERFORM etl._own_pipeline(pipeline);
	IF mode IS NULL OR mode NOT IN ('full', 'delta', 'incremental', 'partition', 'scd2') THEN
		RAISE EXCEPTION 'invalid load mode "%"', mode
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Modes are: full, delta, incremental, partition, scd2.';
	END IF;
	IF source_kind NOT IN ('snapshot', 'changes') THEN
		RAISE EXCEPTION 'invalid source_kind "%"', source_kind
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'snapshot: a key that is absent is gone; changes: a key that is absent is unchanged.';
	END IF;
	IF mode <> 'scd2' THEN
		PERFORM etl._check_option_names('options of etl.add_load', options,
			CASE mode WHEN 'partition' THEN '{touch,order_free,partitions,lookups,pool}' ELSE '{touch,order_free,lookups,surrogate_key,unknown_member,pool}' END::text[] || etl._task_setting_names());
	ELSIF deletes IS NOT NULL THEN
		IF deletes <> options ->> 'deletes' THEN
			RAISE EXCEPTION 'deletes is given twice: % and %', deletes, options ->> 'deletes'
				USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out of options.';
		END IF;
		options := options || jsonb_build_object('deletes', deletes);
		deletes := NULL;
	END IF;
	PERFORM etl._check_pool(options ->> 'pool');
	PERFORM etl._check_task_settings(pipeline, options, true);
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
	IF cardinality(order_by) = 0 THEN
		order_by := NULL;
	END IF;
	definition := jsonb_strip_nulls(jsonb_build_object('source', source, 'mode', mode, 'key', to_jsonb(key), 'version', version, 'partition_by', partition_by,
		'source_kind', source_kind, 'deletes', deletes, 'on_duplicate', on_duplicate, 'order_by', to_jsonb(order_by), 'on_schema_change', on_schema_change,
		'parent', parent, 'parent_key', to_jsonb(parent_key))) || jsonb_build_object('options', options);
	SELECT array_agg(e) INTO touched FROM jsonb_array_elements_text(coalesce(options -> 'touch', '[]')) e;
	PERFORM etl._check_columns(source_relation, key, 'key');
	PERFORM etl._check_columns(source_relation, ARRAY[version], 'version') WHERE version IS NOT NULL;
	PERFORM etl._check_columns(source_relation, ARRAY[partition_by], 'partition_by') WHERE partition_by IS NOT NULL;
	PERFORM etl._check_load_policies(definition, source_relation);
	IF options ? 'order_free' AND jsonb_typeof(options -> 'order_free') <> 'boolean' THEN
		RAISE EXCEPTION 'invalid option "order_free": %', options -> 'order_free'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is true (the default) or false: intervals never share a key.';
	END IF;
	IF parent IS NOT NULL OR parent_key IS NOT NULL THEN
		parent_task := etl._check_parent(pipeline, definition, source_relation);
		definition := definition || jsonb_build_object('parent', parent_task.task);
	END IF;
	IF options ? 'partitions' THEN
		PERFORM etl._check_partition_option(options -> 'partitions');
	END IF;
	PERFORM etl._check_unknown_member(options, mode, key);
	IF options ? 'lookups' THEN
		definition := definition || jsonb_build_object('lookups', etl._resolve_lookups(options -> 'lookups', source_relation));
	END IF;
	IF mode = 'scd2' THEN
		PERFORM etl._check_scd2_options(n.relation_name, source_relation, key, version, source_kind, options);
	END IF;
	IF on_schema_change IN ('append_columns', 'sync') AND etl._relation(n.schema_name, n.relation_name) IS NOT NULL THEN
		PERFORM etl._change_schema(pipeline, etl._full_name(n.schema_name, n.relation_name), etl._relation(n.schema_name, n.relation_name), source_relation, definition,
			(SELECT t.definition -> 'columns' FROM etl._tasks(pipeline) t WHERE t.task = etl._full_name(n.schema_name, n.relation_name)));
	END IF;
	-- the key of a partitioned load tells the rows of one interval apart
	IF (CASE WHEN mode = 'scd2' THEN etl._create_scd2_target(n.schema_name, n.relation_name, source_relation, key, version, options)
			ELSE etl._create_target(n.schema_name, n.relation_name, source_relation,
				CASE WHEN mode = 'partition' AND NOT partition_by = ANY (key) THEN key || partition_by ELSE key END,
				CASE WHEN options ? 'partitions' THEN partition_by END, options ->> 'surrogate_key') END) THEN
		PERFORM etl._forget_target_state(pipeline, etl._full_name(n.schema_name, n.relation_name));
		PERFORM etl._reset_observations(n.schema_name, n.relation_name);
	END IF;
	IF deletes = 'mark' THEN
		PERFORM etl._add_mark_columns(etl._relation(n.schema_name, n.relation_name));
		EXECUTE format('CREATE OR REPLACE VIEW %1$I.%2$I AS SELECT * FROM %1$I.%3$I', n.schema_name, 'vr_' || n.relation_name, n.relation_name);
	END IF;
	PERFORM etl._check_columns(etl._relation(n.schema_name, n.relation_name), ARRAY[options ->> 'surrogate_key'], 'surrogate_key') WHERE options ? 'surrogate_key';
	PERFORM etl._ensure_unknown_member(etl._relation(n.schema_name, n.relation_name), definition, true);
	PERFORM etl._sync_lookups(n.schema_name, n.relation_name, coalesce(definition -> 'lookups', '[]'));
	IF definition ? 'lookups' THEN
		EXECUTE format('CREATE OR REPLACE VIEW %1$I.%2$I AS SELECT * FROM %1$I.%3$I', n.schema_name, 'vr_' || n.relation_name, n.relation_name);
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
	form := etl._observation_form(source_relation, definition);
	IF form IS NOT NULL THEN
		PERFORM etl._create_observations(n.schema_name, n.relation_name, source_relation, key, form, parent_key,
			(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
			 WHERE a.attrelid = to_regclass(parent_task.definition ->> 'source') AND a.attname = parent_task.definition ->> 'version'));
	END IF;
	PERFORM etl._save_task(pipeline, etl._full_name(n.schema_name, n.relation_name), 'load', n.schema_name, n.relation_name,
		definition || jsonb_build_object('columns', etl._view_columns(source_relation)), depends_on);
END
$$;
COMMENT ON FUNCTION etl.add_load(text, text, text, text[], text, text, text, text, text, text, text[], text, text, text[], text[], jsonb) IS
	'declares how a table is filled from its txf_ view; makes schema, table and vr_ view when they are missing';
