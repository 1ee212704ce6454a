-- Declaring a load in mode scd2: its options, its target, and the tables of what was said.
-- load_scd2.sql has the mode itself, and what these tables mean.

CREATE FUNCTION etl._column_list(columns text[], pattern text DEFAULT '%1$I', separator text DEFAULT ', ') RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT string_agg(format(pattern, c), separator ORDER BY n) FROM unnest(columns) WITH ORDINALITY u(c, n) WHERE c IS NOT NULL $$;
COMMENT ON FUNCTION etl._column_list(text[], text, text) IS 'columns as a piece of SQL, each by a pattern of format(); NULL for none';

-- The names of the columns that the mode fills, by what they are for: as the options say,
-- else by default.  A default one that an existing table has not is done without.
CREATE FUNCTION etl._scd2_roles(relation_name name, target regclass, options jsonb) RETURNS TABLE (role text, column_name text, given boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT r.role, CASE WHEN options -> 'columns' ? r.role THEN options -> 'columns' ->> r.role
						WHEN target IS NULL OR r.role IN ('valid_from', 'valid_to')
							 OR r.role = 'is_deleted' AND coalesce(options ->> 'deletes' = 'new_row', false)
							 OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = target AND a.attname = r.name AND NOT a.attisdropped) THEN r.name END,
		   coalesce(options -> 'columns' ? r.role, false)
	FROM (VALUES (1, 'surrogate_key', relation_name || '_key'), (2, 'valid_from', 'valid_from'), (3, 'valid_to', 'valid_to'),
		(4, 'is_current', 'is_current'), (5, 'version', 'version_number'),
		(6, 'is_deleted', CASE WHEN options ->> 'deletes' = 'new_row' THEN 'is_deleted' END)) r(n, role, name)
	ORDER BY r.n
$$;
COMMENT ON FUNCTION etl._scd2_roles(name, regclass, jsonb) IS 'the columns mode scd2 fills itself, by what they are for';

CREATE FUNCTION etl._check_scd2_options(relation_name name, source regclass, key text[], version text, source_kind text, options jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	effective_at text := options ->> 'effective_at';
	deletes text := options ->> 'deletes';
	view_columns text[] := (SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = source AND attnum > 0 AND NOT attisdropped);
	entry record;
	problem text;
BEGIN
	IF key IS NULL THEN
		RAISE EXCEPTION 'mode scd2 needs a key'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Name the columns that tell things apart, whatever their version, for example key => ''{customer_id}''.';
	END IF;
	PERFORM etl._check_option_names('options of etl.add_load with mode scd2', options, '{columns,compare,deletes,effective_at,exclusion,open_end,touch,tracked,unknown_member,whole_history,pool}' || etl._task_setting_names());
	FOR entry IN SELECT e.key AS name, e.value, jsonb_typeof(e.value) AS type, e.value #>> '{}' AS text FROM jsonb_each(options) e ORDER BY 1 LOOP
		problem := CASE
			WHEN entry.name = 'effective_at' AND (entry.type <> 'string' OR entry.text = '') THEN 'It is the column of the view that says from when on a row holds.'
			WHEN entry.name = 'deletes' AND (entry.type <> 'string' OR entry.text NOT IN ('ignore', 'close', 'new_row'))
				THEN 'What becomes of a key that is gone: ignore, close (its last version ends) or new_row (a version with is_deleted).'
			WHEN entry.name = 'compare' AND (entry.type <> 'string' OR entry.text NOT IN ('columns', 'hash'))
				THEN 'How versions are told apart: columns (each tracked one by its equality) or hash (of their text, together).'
			WHEN entry.name = 'open_end' AND (entry.type <> 'string' OR entry.text !~ '^(infinity|[0-9]{4}-[0-9]{2}-[0-9]{2})$')
				THEN 'The end of versions that still hold: infinity or a date such as 9999-12-31.'
			WHEN entry.name = 'exclusion' AND entry.type <> 'boolean' THEN 'It is true for an exclusion constraint (which takes the extension btree_gist), or false for a trigger.'
			WHEN entry.name = 'whole_history' AND entry.type <> 'boolean' THEN 'It is true when the view gives all versions of all keys, whatever the interval.'
			WHEN entry.name = 'columns' AND entry.type <> 'object' THEN 'It names the columns the mode fills, for example {"valid_from": "start_date"}.'
			WHEN entry.name IN ('tracked', 'touch') AND (entry.type <> 'array'
				OR jsonb_path_exists(entry.value, '$[*] ? (@.type() != "string")')) THEN 'It is a list of columns, for example ["name", "city"].'
			END;
		IF problem IS NOT NULL THEN
			RAISE EXCEPTION 'invalid option "%": %', entry.name, entry.value USING ERRCODE = 'invalid_parameter_value', HINT = problem;
		END IF;
	END LOOP;
	IF options ? 'open_end' THEN
		BEGIN
			PERFORM (options ->> 'open_end')::date;
		EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format THEN
			RAISE EXCEPTION 'invalid option "open_end": %', options -> 'open_end'
				USING ERRCODE = 'invalid_parameter_value', DETAIL = SQLERRM, HINT = 'It is infinity or a date such as 9999-12-31.';
		END;
	END IF;
	SELECT c INTO problem FROM unnest(view_columns) c WHERE c ~ '^etl_' OR c IN ('observed_pipeline', 'observed_from', 'observed_until') LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'column "%" of % has a name that mode scd2 needs', problem, source
			USING ERRCODE = 'reserved_name', HINT = 'Give it another name in the view; observed_pipeline, observed_from, observed_until and etl_… are taken.';
	END IF;
	IF effective_at IS NOT NULL THEN
		PERFORM etl._check_columns(source, ARRAY[effective_at], 'effective_at');
		IF effective_at = ANY (key) THEN
			RAISE EXCEPTION 'effective_at "%" is part of the key', effective_at
				USING ERRCODE = 'invalid_parameter_value', HINT = 'The key tells things apart, not their versions; leave it out there.';
		END IF;
	END IF;
	IF options ? 'tracked' THEN
		PERFORM etl._check_columns(source, (SELECT array_agg(t) FROM jsonb_array_elements_text(options -> 'tracked') t), 'tracked');
		SELECT t INTO problem FROM jsonb_array_elements_text(options -> 'tracked') t WHERE t = ANY (key) OR t = effective_at LIMIT 1;
		IF FOUND THEN
			RAISE EXCEPTION 'column "%" cannot be tracked', problem
				USING ERRCODE = 'invalid_parameter_value', HINT = 'Tracked are columns that may change from version to version, not the key and not effective_at.';
		END IF;
	END IF;

	PERFORM etl._check_option_names('option "columns"', coalesce(options -> 'columns', '{}'), '{surrogate_key,valid_from,valid_to,is_current,version,is_deleted}');
	FOR entry IN SELECT e.key AS name, e.value, jsonb_typeof(e.value) AS type, e.value #>> '{}' AS text FROM jsonb_each(options -> 'columns') e ORDER BY 1 LOOP
		IF entry.type NOT IN ('string', 'null') OR octet_length(entry.text) NOT BETWEEN 1 AND 63 THEN
			RAISE EXCEPTION 'invalid entry "%" in option "columns": %', entry.name, entry.value
				USING ERRCODE = 'invalid_parameter_value', HINT = 'It is the name of a column, or null for none.';
		ELSIF entry.type = 'null' AND (entry.name IN ('valid_from', 'valid_to') OR entry.name = 'is_deleted' AND deletes = 'new_row') THEN
			RAISE EXCEPTION 'column "%" cannot be done without', entry.name
				USING ERRCODE = 'invalid_parameter_value',
					  HINT = CASE entry.name WHEN 'is_deleted' THEN 'With deletes => new_row it tells that row from others.' ELSE 'A version is known by its validity.' END;
		END IF;
	END LOOP;
	SELECT r.column_name INTO problem FROM etl._scd2_roles(relation_name, NULL, options) r
	WHERE r.column_name IS NOT NULL GROUP BY r.column_name HAVING count(*) > 1 LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'column "%" is named twice in option "columns"', problem
			USING ERRCODE = 'duplicate_column', HINT = 'Each entry names a column of its own; surrogate_key, valid_from, valid_to, is_current, version and is_deleted have defaults.';
	END IF;
	SELECT r.column_name INTO problem FROM etl._scd2_roles(relation_name, NULL, options) r
	WHERE r.column_name = ANY (view_columns) AND NOT (r.role = 'valid_from' AND r.column_name IS NOT DISTINCT FROM effective_at) LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'column "%" of % is one that mode scd2 fills itself', problem, source
			USING ERRCODE = 'duplicate_column', HINT = 'Take it out of the view, or give the column of the table another name with option "columns".';
	END IF;

	IF deletes IN ('close', 'new_row') AND (source_kind = 'changes' OR source_kind IS NULL AND etl._reads_interval(source)) THEN
		RAISE EXCEPTION 'deletes => % needs a snapshot', deletes
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = CASE WHEN source_kind IS NULL THEN format('%s asks for the data interval, and is taken for what has changed in it.', source)
								ELSE 'The source_kind is changes.' END,
				  HINT = 'Say source_kind => ''snapshot'' when the view gives all keys there are at the interval; of changes, an absent key is unchanged.';
	END IF;
	IF (options ->> 'whole_history')::boolean AND (effective_at IS NULL OR deletes IN ('close', 'new_row') OR source_kind = 'snapshot' OR etl._reads_interval(source)) THEN
		RAISE EXCEPTION 'whole_history does not go with %', CASE WHEN effective_at IS NULL THEN 'rows without effective_at' WHEN source_kind = 'snapshot' THEN 'source_kind => snapshot'
				WHEN etl._reads_interval(source) THEN 'a view that asks for the data interval' ELSE 'deletes => ' || deletes END
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'It is for views that give every version of every key at every run, each with its effective_at.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_scd2_options(name, regclass, text[], text, text, jsonb) IS 'raises for options that mode scd2 does not take';

-- What a unique index over just these columns would give is there already.
CREATE FUNCTION etl._has_unique_index(target regclass, columns text[], partial boolean) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT EXISTS (
		SELECT FROM pg_index i
		WHERE i.indrelid = target AND i.indisunique AND i.indisvalid AND i.indexprs IS NULL AND (i.indpred IS NOT NULL) = partial
		  AND (SELECT array_agg(a.attname::text ORDER BY a.attname::text) FROM unnest(i.indkey[0:i.indnkeyatts - 1]) k(attnum)
			   JOIN pg_attribute a ON a.attrelid = target AND a.attnum = k.attnum)
			= (SELECT array_agg(c ORDER BY c) FROM unnest(columns) c WHERE c IS NOT NULL))
$$;
COMMENT ON FUNCTION etl._has_unique_index(regclass, text[], boolean) IS 'whether a table has a unique index over exactly these columns';

CREATE FUNCTION etl._create_scd2_target(schema_name name, relation_name name, source regclass, key text[], version text, options jsonb) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	target regclass;
	observations name := 'obs_' || relation_name;
	effective_at text := options ->> 'effective_at';
	effective_type regtype := (SELECT atttypid FROM pg_attribute WHERE attrelid = source AND attname = effective_at);
	open_end text := coalesce(options ->> 'open_end', 'infinity');
	made boolean;
	validity regtype;
	roles jsonb;
	valid_from text;
	valid_to text;
	is_current text;
	rule text;
	problem text;
	new_column record;
BEGIN
	PERFORM etl._ensure_schema(schema_name);
	IF effective_type NOT IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) THEN
		RAISE EXCEPTION 'column "%" cannot be effective_at', effective_at
			USING ERRCODE = 'datatype_mismatch', HINT = 'Its type must be date, timestamp or timestamptz.';
	END IF;
	target := etl._relation(schema_name, relation_name);
	made := target IS NULL;
	SELECT jsonb_object_agg(r.role, r.column_name) INTO roles FROM etl._scd2_roles(relation_name, target, options) r;
	valid_from := roles ->> 'valid_from';
	valid_to := roles ->> 'valid_to';
	is_current := roles ->> 'is_current';
	IF made THEN
		validity := coalesce(effective_type, 'timestamptz'::regtype);
		EXECUTE format('CREATE TABLE %I.%I (%s)', schema_name, relation_name, concat_ws(', ',
			CASE WHEN roles ->> 'surrogate_key' IS NOT NULL THEN format('%I bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY', roles ->> 'surrogate_key') END,
			(SELECT string_agg(format('%I %s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
						CASE WHEN a.attcollation NOT IN (0, t.typcollation) THEN format(' COLLATE %s', a.attcollation::regcollation) ELSE '' END,
						CASE WHEN a.attname = ANY (key) AND coalesce(options -> 'unknown_member', 'false') = 'false' THEN ' NOT NULL' ELSE '' END), ', '
					ORDER BY array_position(key, a.attname::text), a.attnum)
			 FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
			 WHERE a.attrelid = source AND a.attnum > 0 AND NOT a.attisdropped
			   AND (a.attname = ANY (key) OR a.attname <> ALL (ARRAY[coalesce(effective_at, ''), coalesce(version, '')]))),
			format('%I %s NOT NULL', valid_from, validity), format('%I %s NOT NULL', valid_to, validity),
			CASE WHEN is_current IS NOT NULL THEN format('%I boolean NOT NULL', is_current) END,
			CASE WHEN roles ->> 'version' IS NOT NULL THEN format('%I integer NOT NULL', roles ->> 'version') END,
			CASE WHEN roles ->> 'is_deleted' IS NOT NULL THEN format('%I boolean NOT NULL', roles ->> 'is_deleted') END));
		target := etl._relation(schema_name, relation_name);
	ELSIF NOT EXISTS (SELECT FROM pg_class WHERE oid = target AND relkind = 'r') THEN
		RAISE EXCEPTION '% is not a plain table', target
			USING ERRCODE = 'wrong_object_type', HINT = 'Mode scd2 fills a table that is not partitioned; its transformation is the view txf_<table>.';
	END IF;

	-- a column the view has got since the last declaration is added; a table of the user's own is not changed
	FOR new_column IN
		SELECT v.attname, format_type(v.atttypid, v.atttypmod) AS type FROM pg_attribute v
		WHERE v.attrelid = source AND v.attnum > 0 AND NOT v.attisdropped
		  AND v.attname IS DISTINCT FROM effective_at AND v.attname IS DISTINCT FROM version
		  AND NOT EXISTS (SELECT FROM pg_attribute t WHERE t.attrelid = target AND t.attname = v.attname AND t.attnum > 0 AND NOT t.attisdropped AND t.attgenerated = '')
		ORDER BY v.attnum
	LOOP
		IF etl._relation(schema_name, observations) IS NULL THEN
			RAISE EXCEPTION 'table % lacks columns of %: %', target, source, quote_ident(new_column.attname)
				USING ERRCODE = 'undefined_column', HINT = 'Add them to the table, or take them out of the view.';
		END IF;
		EXECUTE format('ALTER TABLE %s ADD COLUMN %I %s', target, new_column.attname, new_column.type);
	END LOOP;
	IF roles ->> 'is_deleted' IS NOT NULL AND etl._relation(schema_name, observations) IS NOT NULL THEN
		EXECUTE format('ALTER TABLE %s ADD COLUMN IF NOT EXISTS %I boolean NOT NULL DEFAULT false', target, roles ->> 'is_deleted');
	END IF;
	PERFORM etl._check_columns(target, ARRAY[r.column_name], format('"%s" of option "columns"', r.role))
	FROM etl._scd2_roles(relation_name, target, options) r WHERE r.column_name IS NOT NULL;
	validity := (SELECT atttypid FROM pg_attribute WHERE attrelid = target AND attname = valid_from AND NOT attisdropped);
	SELECT a.attname INTO problem FROM jsonb_each_text(roles) r(role, name) JOIN pg_attribute a ON a.attrelid = target AND a.attname = r.name AND NOT a.attisdropped
	WHERE CASE WHEN r.role IN ('valid_from', 'valid_to') THEN a.atttypid NOT IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) OR a.atttypid <> validity
			   WHEN r.role IN ('is_current', 'is_deleted') THEN a.atttypid <> 'boolean'::regtype
			   WHEN r.role = 'version' THEN a.atttypid NOT IN ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype) END
	LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'column "%" of % has the wrong type', problem, target
			USING ERRCODE = 'datatype_mismatch',
				  HINT = 'valid_from and valid_to are both date, timestamp or timestamptz, is_current and is_deleted boolean, version an integer.';
	ELSIF effective_type <> validity AND NOT (effective_type = 'date'::regtype AND validity = 'timestamp'::regtype) THEN
		RAISE EXCEPTION 'effective_at "%" is of type %, "%" of %', effective_at, effective_type, valid_from, validity
			USING ERRCODE = 'datatype_mismatch', HINT = format('Cast it in the view to %s.', validity);
	END IF;
	SELECT a.attname INTO problem FROM pg_attribute a
	WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
	  AND NOT EXISTS (SELECT FROM jsonb_each_text(roles) r(role, name) WHERE r.name = a.attname AND r.role <> 'surrogate_key')
	  AND NOT coalesce(options -> 'touch' ? a.attname, false)
	  AND NOT EXISTS (SELECT FROM pg_attribute v WHERE v.attrelid = source AND v.attname = a.attname AND NOT v.attisdropped)
	LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'column "%" of % must not be null, and nothing fills it', problem, target
			USING ERRCODE = 'not_null_violation', HINT = 'Give it a default (a surrogate key: GENERATED ALWAYS AS IDENTITY), or let the view give it.';
	END IF;

	-- one version of a key begins at a time, one is current, and each has its time
	IF NOT etl._has_unique_index(target, key || valid_from, false) THEN
		EXECUTE format('ALTER TABLE %s ADD UNIQUE (%s, %I)', target, etl._column_list(key), valid_from);
	END IF;
	IF NOT etl._has_unique_index(target, key || valid_to, false) THEN
		EXECUTE format('ALTER TABLE %s ADD UNIQUE (%s, %I)', target, etl._column_list(key), valid_to);
	END IF;
	rule := concat_ws(' AND ', format('%I < %I', valid_from, valid_to), format('%I <= %L::%s', valid_to, open_end, validity),
		CASE WHEN is_current IS NOT NULL THEN format('%I = (%I = %L::%s)', is_current, valid_to, open_end, validity) END);
	IF (SELECT obj_description(c.oid, 'pg_constraint') FROM pg_constraint c WHERE c.conrelid = target AND c.conname = 'scd2_validity') IS DISTINCT FROM rule THEN
		EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS scd2_validity', target);
		EXECUTE format('ALTER TABLE %s ADD CONSTRAINT scd2_validity CHECK (%s)', target, rule);
		EXECUTE format('COMMENT ON CONSTRAINT scd2_validity ON %s IS %L', target, rule);
	END IF;
	PERFORM etl._ensure_no_overlap(target, key, valid_from, valid_to, coalesce((options ->> 'exclusion')::boolean, false));
	EXECUTE format('CREATE OR REPLACE VIEW %1$I.%2$I AS SELECT * FROM %1$I.%3$I', schema_name, 'vr_' || relation_name, relation_name);
	EXECUTE format('COMMENT ON VIEW %I.%I IS %L', schema_name, 'vr_' || relation_name, 'all columns of ' || target);

	PERFORM etl._create_scd2_observations(schema_name, relation_name, source, key, options, validity);
	RETURN made;
END
$$;
COMMENT ON FUNCTION etl._create_scd2_target(name, name, regclass, text[], text, jsonb) IS
	'makes the target of mode scd2 when it is missing, else checks it; its constraints, its vr_ view and its observations; returns whether it made the table';

CREATE FUNCTION etl._create_scd2_observations(schema_name name, relation_name name, source regclass, key text[], options jsonb, validity regtype) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	target regclass := etl._relation(schema_name, relation_name);
	observations name := 'obs_' || relation_name;
	snapshots name := 'snp_' || relation_name;
	effective_at text := options ->> 'effective_at';
	valid_from text := coalesce(options #>> '{columns,valid_from}', 'valid_from');
	valid_to text := coalesce(options #>> '{columns,valid_to}', 'valid_to');
	existing regclass := etl._relation(schema_name, observations);
	any_row boolean;
	new_column record;
BEGIN
	IF existing IS NOT NULL AND NOT etl._has_unique_index(existing, key || effective_at || '{observed_from,observed_pipeline}'::text[], false) THEN
		EXECUTE format('SELECT EXISTS (SELECT FROM %s)', existing) INTO any_row;
		IF any_row THEN
			RAISE EXCEPTION 'the observations of % have another key or effective_at', target
				USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = format('%s holds what the intervals said so far.', existing),
					  HINT = format('Truncate %s and %I.%I, and run the intervals again.', existing, schema_name, snapshots);
		END IF;
		EXECUTE format('DROP TABLE %s', existing);
		existing := NULL;
	END IF;
	-- snp_: which snapshots were taken; its row without a pipeline says how the target was folded
	IF etl._relation(schema_name, snapshots) IS NULL THEN
		EXECUTE format('CREATE TABLE %I.%I (observed_pipeline text, observed_interval timestamptz, folded_as jsonb, PRIMARY KEY (observed_pipeline, observed_interval))',
			schema_name, snapshots);
		EXECUTE format('COMMENT ON TABLE %I.%I IS %L', schema_name, snapshots, 'the snapshots that ' || relation_name || ' was made from');
	END IF;
	FOR new_column IN
		SELECT v.attname, coalesce(t.type, CASE WHEN v.attname = effective_at THEN validity::text END, format_type(v.atttypid, v.atttypmod)) AS type
		FROM pg_attribute v
		LEFT JOIN LATERAL (SELECT format_type(a.atttypid, a.atttypmod)
				|| CASE WHEN a.attcollation NOT IN (0, y.typcollation) THEN format(' COLLATE %s', a.attcollation::regcollation) ELSE '' END AS type
			FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
			WHERE a.attrelid = target AND a.attname = v.attname AND v.attname IS DISTINCT FROM effective_at AND NOT a.attisdropped) t ON true
		WHERE v.attrelid = source AND v.attnum > 0 AND NOT v.attisdropped
		  AND NOT EXISTS (SELECT FROM pg_attribute o WHERE o.attrelid = existing AND o.attname = v.attname AND NOT o.attisdropped)
		ORDER BY v.attnum
	LOOP
		IF existing IS NULL AND etl._relation(schema_name, observations) IS NULL THEN
			EXECUTE format('CREATE TABLE %I.%I (observed_pipeline text NOT NULL, observed_from timestamptz NOT NULL, observed_until timestamptz NOT NULL, CHECK (observed_from <= observed_until))',
				schema_name, observations);
		END IF;
		EXECUTE format('ALTER TABLE %I.%I ADD COLUMN %I %s', schema_name, observations, new_column.attname, new_column.type);
	END LOOP;
	IF existing IS NOT NULL THEN
		RETURN;
	END IF;
	EXECUTE format('ALTER TABLE %I.%I ADD PRIMARY KEY (%s, observed_from, observed_pipeline)', schema_name, observations, etl._column_list(key || effective_at));
	EXECUTE format('CREATE INDEX ON %I.%I (observed_pipeline, observed_until, observed_from)', schema_name, observations);
	EXECUTE format('COMMENT ON TABLE %I.%I IS %L', schema_name, observations,
		'what each data interval said about each key; makes ' || relation_name || ' independent of the order of runs');
	-- versions that were there before the first run: as if snapshots of nobody's had said them
	EXECUTE format('INSERT INTO %1$I.%2$I (observed_pipeline, observed_from, observed_until, %3$s%4$s)
			SELECT '''', %5$I::timestamp AT TIME ZONE ''UTC'', CASE WHEN %6$I = %7$L::%8$s THEN ''infinity'' ELSE %6$I::timestamp AT TIME ZONE ''UTC'' END, %3$s%9$s
			FROM %10$s WHERE %11$s',
		schema_name, observations,
		etl._column_list((SELECT array_agg(v.attname::text ORDER BY v.attnum) FROM pg_attribute v JOIN pg_attribute t ON t.attrelid = target AND t.attname = v.attname AND NOT t.attisdropped
			WHERE v.attrelid = source AND v.attnum > 0 AND NOT v.attisdropped AND v.attname IS DISTINCT FROM effective_at)),
		CASE WHEN effective_at IS NULL THEN '' ELSE format(', %I', effective_at) END, valid_from, valid_to, coalesce(options ->> 'open_end', 'infinity'), validity,
		CASE WHEN effective_at IS NULL THEN '' ELSE format(', %I', valid_from) END, target, etl._column_list(key, '%I IS NOT NULL', ' AND '));
END
$$;
COMMENT ON FUNCTION etl._create_scd2_observations(name, name, regclass, text[], jsonb, regtype) IS 'makes the tables that remember what the intervals said, or extends them';
