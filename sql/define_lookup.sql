-- Declaring what facts need of dimensions: surrogate keys that a load looks up for its rows,
-- and the unknown member of a dimension, which rows point at that have no other.
-- load_lookups.sql does the looking up, and puts right what was looked up too early.
--
-- lkp_<table> is the ledger of a table with lookups: which business keys of a dimension have
-- got, changed or lost versions since facts were last compared with it, and for what time.
-- Triggers of the dimension write it, whoever changes the dimension; the next run of the facts takes it.

-- A lookup as it is declared, completed from the dimension and checked.
CREATE FUNCTION etl._resolve_lookup(column_name text, entry jsonb, source regclass) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n record;
	dimension regclass;
	declared etl.task;
	roles jsonb := '{}';
	surrogate_key text;
	valid_from text;
	valid_to text;
	dimension_key text[];
	fact_key text[];
	as_of text := entry ->> 'as_of';
	unknown text := CASE WHEN entry ? 'unknown' THEN entry ->> 'unknown' ELSE '-1' END;
	problem text;
	key_type regtype;
BEGIN
	PERFORM etl._check_option_names(format('lookup "%s"', column_name), entry, '{dimension,key,as_of,unknown,surrogate_key,valid_from,valid_to,open_end,index}');
	IF jsonb_typeof(entry -> 'dimension') IS DISTINCT FROM 'string' OR coalesce(jsonb_typeof(entry -> 'key'), '') NOT IN ('array', 'object')
	   OR entry -> 'key' IN ('[]', '{}') THEN
		RAISE EXCEPTION 'lookup "%" needs dimension and key', column_name
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'For example {"customer_key": {"dimension": "analytics.dim_customers", "key": ["customer_id"], "as_of": "ordered_at"}}.';
	ELSIF octet_length(column_name) NOT BETWEEN 1 AND 63 OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = source AND attname = column_name AND NOT attisdropped) THEN
		RAISE EXCEPTION 'column "%" of % is one that the load looks up itself', column_name, source
			USING ERRCODE = 'duplicate_column', HINT = 'Take it out of the view; the view gives the business key, and the time the row is about.';
	END IF;
	n := etl._parse_name(entry ->> 'dimension');
	dimension := etl._relation(n.schema_name, n.relation_name);
	IF dimension IS NULL OR (SELECT relkind FROM pg_class WHERE oid = dimension) NOT IN ('r', 'p') THEN
		RAISE EXCEPTION 'dimension "%" of lookup "%" is not a table', entry ->> 'dimension', column_name
			USING ERRCODE = 'undefined_table', HINT = 'Declare the load of the dimension before that of the facts.';
	END IF;
	SELECT t.* INTO declared FROM etl._declared_tasks t
	WHERE t.kind = 'load' AND t.target_schema = n.schema_name AND t.target_name = n.relation_name ORDER BY (t.definition ->> 'mode' = 'scd2') DESC, t.pipeline LIMIT 1;
	IF declared.definition ->> 'mode' = 'scd2' THEN
		SELECT jsonb_object_agg(r.role, r.column_name) INTO roles FROM etl._scd2_roles(n.relation_name, dimension, declared.definition -> 'options') r;
	END IF;
	surrogate_key := coalesce(entry ->> 'surrogate_key', roles ->> 'surrogate_key', declared.definition #>> '{options,surrogate_key}',
		(SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
		 WHERE i.indrelid = dimension AND i.indisprimary AND i.indnkeyatts = 1));
	valid_from := coalesce(entry ->> 'valid_from', roles ->> 'valid_from');
	valid_to := coalesce(entry ->> 'valid_to', roles ->> 'valid_to');
	IF surrogate_key IS NULL THEN
		RAISE EXCEPTION 'dimension % has no surrogate key', dimension
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'Its load makes one (mode scd2, or option "surrogate_key"); of a table of your own it is the primary key, or the column that entry "surrogate_key" of the lookup names.';
	ELSIF (valid_from IS NULL) <> (valid_to IS NULL) OR (valid_from IS NULL AND as_of IS NOT NULL) OR valid_from IS NOT NULL AND NOT entry ? 'as_of' THEN
		RAISE EXCEPTION 'lookup "%" %', column_name, CASE WHEN valid_from IS NULL AND as_of IS NOT NULL THEN 'has as_of, and ' || dimension || ' no versions' ELSE 'needs as_of' END
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'as_of names the column of the view that says which version counts (null: the current one); a dimension has versions if mode scd2 fills it, or if valid_from and valid_to are given.';
	END IF;
	IF jsonb_typeof(entry -> 'key') = 'array' THEN
		SELECT array_agg(k ORDER BY o), array_agg(k ORDER BY o) INTO dimension_key, fact_key FROM jsonb_array_elements_text(entry -> 'key') WITH ORDINALITY e(k, o);
	ELSE
		SELECT array_agg(e.key ORDER BY e.key), array_agg(e.value ORDER BY e.key) INTO dimension_key, fact_key FROM jsonb_each_text(entry -> 'key') e;
	END IF;
	PERFORM etl._check_columns(dimension, ARRAY[surrogate_key, valid_from, valid_to], format('lookup "%s"', column_name)) WHERE valid_from IS NOT NULL;
	PERFORM etl._check_columns(dimension, surrogate_key || dimension_key, format('lookup "%s"', column_name));
	PERFORM etl._check_columns(source, array_remove(fact_key || as_of, NULL), format('lookup "%s"', column_name));
	SELECT format('"%s" is %s, "%s" of %s %s', k.f, etl._column_type(source, k.f), k.d, dimension, etl._column_type(dimension, k.d)) INTO problem
	FROM unnest(fact_key, dimension_key) k(f, d)
	JOIN pg_attribute s ON s.attrelid = source AND s.attname = k.f JOIN pg_attribute t ON t.attrelid = dimension AND t.attname = k.d
	WHERE s.atttypid <> t.atttypid OR etl._equality_operator(t.atttypid) IS NULL LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'lookup "%" cannot compare its keys', column_name
			USING ERRCODE = 'datatype_mismatch', DETAIL = problem || '.', HINT = 'Cast the column in the view to the type it has in the dimension.';
	END IF;
	SELECT a.attname INTO problem FROM pg_attribute a WHERE a.attrelid = source AND a.attname = as_of
	  AND a.atttypid NOT IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype);
	IF FOUND THEN
		RAISE EXCEPTION 'column "%" cannot be as_of', problem
			USING ERRCODE = 'datatype_mismatch', HINT = 'Its type must be date, timestamp or timestamptz.';
	ELSIF NOT etl._has_unique_index(dimension, dimension_key || CASE WHEN as_of IS NULL THEN valid_to ELSE valid_from END, false) THEN
		RAISE EXCEPTION '% may have several rows for one key of lookup "%"', dimension, column_name
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = format('Name its whole business key; of a table of your own it must be unique: ALTER TABLE %s ADD UNIQUE (%s);', dimension,
					etl._column_list(dimension_key || CASE WHEN as_of IS NULL THEN valid_to ELSE valid_from END));
	END IF;
	key_type := (SELECT atttypid FROM pg_attribute WHERE attrelid = dimension AND attname = surrogate_key AND NOT attisdropped);
	BEGIN
		EXECUTE format('SELECT %L::%s', unknown, key_type);
	EXCEPTION WHEN data_exception THEN
		RAISE EXCEPTION 'unknown member "%" of lookup "%" is no %', unknown, column_name, key_type
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is the surrogate key of rows the dimension has no row for; null leaves them without.';
	END;
	RETURN jsonb_build_object('column', column_name, 'dimension', etl._full_name(n.schema_name, n.relation_name), 'surrogate_key', surrogate_key, 'type', key_type,
		'dimension_key', to_jsonb(dimension_key), 'fact_key', to_jsonb(fact_key), 'as_of', as_of, 'valid_from', valid_from, 'valid_to', valid_to,
		'open_end', coalesce(entry ->> 'open_end', declared.definition #>> '{options,open_end}', 'infinity'), 'unknown', unknown, 'index', coalesce(entry -> 'index', 'true'));
END
$$;
COMMENT ON FUNCTION etl._resolve_lookup(text, jsonb, regclass) IS 'a lookup of a load, completed from its dimension; raises when it cannot be looked up';

CREATE FUNCTION etl._resolve_lookups(lookups jsonb, source regclass) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF jsonb_typeof(lookups) <> 'object' THEN
		RAISE EXCEPTION 'invalid option "lookups": %', lookups
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is an object with an entry for each column to look up: {"customer_key": {"dimension": …, "key": …, "as_of": …}}.';
	END IF;
	RETURN (SELECT coalesce(jsonb_agg(etl._resolve_lookup(l.key, l.value, source) ORDER BY l.key), '[]') FROM jsonb_each(lookups) l);
END
$$;
COMMENT ON FUNCTION etl._resolve_lookups(jsonb, regclass) IS 'the lookups of a load, completed and checked';

-- Trigger of a dimension: notes which keys have other rows than before, and for what time.
-- As whoever changes the dimension; values as text, and so that they are the same when read back.
CREATE FUNCTION etl._note_dimension_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex'
AS $$
DECLARE
	ledger regclass := to_regclass(TG_ARGV[0]);
	l jsonb := TG_ARGV[1];
	key text[] := (SELECT array_agg(k ORDER BY o) FROM jsonb_array_elements_text(l -> 'dimension_key') WITH ORDINALITY e(k, o));
	ranged boolean := l ->> 'as_of' IS NOT NULL;
	-- what a row is for a lookup: its key, and the time it holds
	span text := CASE WHEN ranged THEN '%1$s.%2$I::text, %1$s.%3$I::text' ELSE 'NULL, NULL' END;
	changed bigint;
	pair text;
	moved text;
BEGIN
	IF ledger IS NULL THEN
		RETURN NULL;		-- nobody looks this up any more
	ELSIF TG_OP = 'TRUNCATE' THEN
		EXECUTE format('INSERT INTO %s VALUES ($1, NULL, NULL, NULL)', ledger) USING l ->> 'column';
		RETURN NULL;
	ELSIF TG_OP IN ('INSERT', 'DELETE') THEN
		SELECT count(*) INTO changed FROM (SELECT FROM etl_rows LIMIT 1000) r;
		IF changed = 1000 THEN
			SELECT count(*) INTO changed FROM etl_rows;
			IF changed >= 0.2 * (SELECT c.reltuples FROM pg_class c WHERE c.oid = TG_RELID) THEN
				-- so much is new that comparing all facts costs less than going by keys
				EXECUTE format('INSERT INTO %s VALUES ($1, NULL, NULL, NULL)', ledger) USING l ->> 'column';
				RETURN NULL;
			END IF;
		END IF;
		EXECUTE format('INSERT INTO %s SELECT $1, ARRAY[%s], %s FROM etl_rows r WHERE %s', ledger, etl._column_list(key, 'r.%I::text'),
			format(span, 'r', l ->> 'valid_from', l ->> 'valid_to'), etl._column_list(key, 'r.%I IS NOT NULL', ' AND ')) USING l ->> 'column';
		RETURN NULL;
	END IF;
	pair := format('o.%1$I = n.%1$I AND %2$s', l ->> 'surrogate_key', etl._key_match('o', 'n', TG_RELID, key));
	moved := CASE WHEN l ->> 'valid_from' IS NULL THEN 'false' ELSE format('(o.%1$I, o.%2$I) IS DISTINCT FROM (n.%1$I, n.%2$I)', l ->> 'valid_from', l ->> 'valid_to') END;
	EXECUTE format('INSERT INTO %1$s
		SELECT $1, ARRAY[%2$s], %3$s FROM etl_old_rows o JOIN etl_rows n ON %4$s WHERE %5$s AND %6$s
		UNION ALL SELECT $1, ARRAY[%2$s], %7$s FROM etl_rows n WHERE NOT EXISTS (SELECT FROM etl_old_rows o WHERE %4$s) AND %6$s
		UNION ALL SELECT $1, ARRAY[%8$s], %9$s FROM etl_old_rows o WHERE NOT EXISTS (SELECT FROM etl_rows n WHERE %4$s) AND %10$s',
		ledger, etl._column_list(key, 'n.%I::text'),
		-- of two spans with a common border only what lies between the other two has changed hands
		CASE WHEN ranged THEN format('(CASE WHEN o.%1$I = n.%1$I THEN least(o.%2$I, n.%2$I) ELSE least(o.%1$I, n.%1$I) END)::text,
			(CASE WHEN o.%2$I = n.%2$I THEN greatest(o.%1$I, n.%1$I) ELSE greatest(o.%2$I, n.%2$I) END)::text', l ->> 'valid_from', l ->> 'valid_to') ELSE 'NULL, NULL' END,
		pair, moved, etl._column_list(key, 'n.%I IS NOT NULL', ' AND '), format(span, 'n', l ->> 'valid_from', l ->> 'valid_to'),
		etl._column_list(key, 'o.%I::text'), format(span, 'o', l ->> 'valid_from', l ->> 'valid_to'), etl._column_list(key, 'o.%I IS NOT NULL', ' AND ')) USING l ->> 'column';
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION etl._note_dimension_change() IS 'trigger of dimensions: notes in lkp_<table> which keys facts are to look up again';

-- Makes what the lookups of a target need: columns, indexes, ledger, triggers; removes what they no longer do.
CREATE FUNCTION etl._sync_lookups(schema_name name, relation_name name, lookups jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	target regclass := etl._relation(schema_name, relation_name);
	ledger_name text := format('%I.%I', schema_name, 'lkp_' || relation_name);
	fact_key text[];
	l jsonb;
	event text;
	trigger_name text;
	kept text[] := '{}';
	existing record;
	column_type regtype;
	dimension_owner name;
	anew boolean;			-- the ledger
	fresh boolean;			-- a lookup
BEGIN
	anew := to_regclass(ledger_name) IS NULL;
	IF anew AND lookups = '[]' THEN
		RETURN;
	ELSIF anew THEN
		EXECUTE format('CREATE TABLE %s (column_name text NOT NULL, business_key text[], since text, until text)', ledger_name);
		EXECUTE format('COMMENT ON TABLE %s IS %L', ledger_name, 'keys of dimensions that the rows of ' || relation_name || ' are to look up again; no key: all');
	END IF;
	-- an index for lookups as of a time serves those without, too
	FOR l IN SELECT x FROM jsonb_array_elements(lookups) x ORDER BY x ->> 'as_of' NULLS LAST, x ->> 'column' LOOP
		fresh := anew;
		column_type := etl._column_type(target, l ->> 'column')::regtype;
		IF column_type IS NULL THEN
			EXECUTE format('ALTER TABLE %s ADD COLUMN %I %s%s DEFAULT %L', target, l ->> 'column', l ->> 'type',
				CASE WHEN l ->> 'unknown' IS NULL THEN '' ELSE ' NOT NULL' END, l ->> 'unknown');
		ELSIF column_type <> (l ->> 'type')::regtype THEN
			RAISE EXCEPTION 'column "%" of % has the wrong type', l ->> 'column', target
				USING ERRCODE = 'datatype_mismatch', DETAIL = format('It is %s, "%s" of %s %s.', column_type, l ->> 'surrogate_key', l ->> 'dimension', l ->> 'type'),
					  HINT = format('ALTER TABLE %s ALTER COLUMN %I TYPE %s;', target, l ->> 'column', l ->> 'type');
		END IF;
		IF l ->> 'unknown' IS NULL AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = target AND attname = l ->> 'column' AND attnotnull AND NOT attisdropped) THEN
			RAISE EXCEPTION 'column "%" of % must not be null, and its lookup has no unknown member', l ->> 'column', target
				USING ERRCODE = 'not_null_violation', HINT = format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL; or leave "unknown" out, for -1.', target, l ->> 'column');
		END IF;
		-- the way from a key to the facts that have it
		fact_key := (SELECT array_agg(k ORDER BY o) FROM jsonb_array_elements_text(l -> 'fact_key') WITH ORDINALITY e(k, o));
		IF (l ->> 'index')::boolean AND NOT EXISTS (
			SELECT FROM pg_index i WHERE i.indrelid = target AND i.indisvalid AND i.indpred IS NULL AND i.indnkeyatts >= cardinality(fact_key)
			  AND (SELECT array_agg(a.attname::text ORDER BY a.attname::text) FROM unnest(i.indkey[0:cardinality(fact_key) - 1]) k(attnum) JOIN pg_attribute a ON a.attrelid = target AND a.attnum = k.attnum)
				= (SELECT array_agg(k ORDER BY k) FROM unnest(fact_key) k))
		THEN
			EXECUTE format('CREATE INDEX ON %s (%s)', target, etl._column_list(array_remove(fact_key || (l ->> 'as_of'), NULL)));
		END IF;
		FOREACH event IN ARRAY '{insert,update,delete,truncate}'::text[] LOOP
			trigger_name := format('etl_lookup_%s_%s', left(md5(ledger_name || ' ' || (l ->> 'column')), 16), event);
			kept := kept || format('%s %s', (l ->> 'dimension')::regclass::oid, trigger_name);
			-- its arguments are the lookup: another one makes another trigger
			CONTINUE WHEN EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = (l ->> 'dimension')::regclass AND g.tgname = trigger_name
				AND g.tgargs = convert_to(ledger_name, getdatabaseencoding()) || '\x00'::bytea || convert_to((l - 'index')::text, getdatabaseencoding()) || '\x00'::bytea);
			EXECUTE format('CREATE OR REPLACE TRIGGER %I AFTER %s ON %s%s FOR EACH STATEMENT EXECUTE FUNCTION etl._note_dimension_change(%L, %L)',
				trigger_name, event, l ->> 'dimension',
				CASE event WHEN 'insert' THEN ' REFERENCING NEW TABLE AS etl_rows' WHEN 'delete' THEN ' REFERENCING OLD TABLE AS etl_rows'
						   WHEN 'update' THEN ' REFERENCING OLD TABLE AS etl_old_rows NEW TABLE AS etl_rows' ELSE '' END, ledger_name, l - 'index');
			fresh := true;
		END LOOP;
		IF fresh THEN
			-- what has changed so far nobody has noted
			EXECUTE format('INSERT INTO %s VALUES (%L, NULL, NULL, NULL)', ledger_name, l ->> 'column');
		END IF;
		dimension_owner := (SELECT relowner::regrole::name FROM pg_class WHERE oid = (l ->> 'dimension')::regclass);
		IF NOT has_table_privilege(dimension_owner, ledger_name, 'INSERT') OR NOT has_schema_privilege(dimension_owner, schema_name, 'USAGE') THEN
			EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', schema_name, dimension_owner);
			EXECUTE format('GRANT INSERT ON %s TO %I', ledger_name, dimension_owner);
		END IF;
	END LOOP;
	FOR existing IN
		SELECT g.tgname, g.tgrelid::regclass AS dimension FROM pg_trigger g
		WHERE g.tgfoid = 'etl._note_dimension_change()'::regprocedure
		  AND substr(g.tgargs, 1, octet_length(ledger_name) + 1) = convert_to(ledger_name, getdatabaseencoding()) || '\x00'::bytea
		  AND format('%s %s', g.tgrelid, g.tgname) <> ALL (kept)
	LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', existing.tgname, existing.dimension);
	END LOOP;
	IF lookups = '[]' THEN
		EXECUTE format('DROP TABLE %s', ledger_name);
	END IF;
END
$$;
COMMENT ON FUNCTION etl._sync_lookups(name, name, jsonb) IS 'makes the columns, indexes, ledger and triggers that the lookups of a target need, and removes those they do not';

-- ------------------------------------------------------------------ the unknown member

CREATE FUNCTION etl._check_unknown_member(options jsonb, mode text, key text[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF options ? 'surrogate_key' AND (jsonb_typeof(options -> 'surrogate_key') <> 'string' OR octet_length(options ->> 'surrogate_key') NOT BETWEEN 1 AND 63) THEN
		RAISE EXCEPTION 'invalid option "surrogate_key": %', options -> 'surrogate_key'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is the name of a column.';
	ELSIF options ? 'surrogate_key' AND key IS NULL THEN
		RAISE EXCEPTION 'surrogate_key needs a key'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Without a key a row is replaced when it differs, and gets another number.';
	ELSIF options ? 'unknown_member' AND (options -> 'unknown_member' NOT IN ('true', 'false') AND jsonb_typeof(options -> 'unknown_member') <> 'object') THEN
		RAISE EXCEPTION 'invalid option "unknown_member": %', options -> 'unknown_member'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is true, or what the row -1 says: {"customer_name": "unknown"}.';
	ELSIF options -> 'unknown_member' <> 'false' AND mode <> 'scd2' AND NOT options ? 'surrogate_key' THEN
		RAISE EXCEPTION 'unknown_member needs surrogate_key'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Name the column that is -1 in its row, for example "surrogate_key": "customer_key".';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_unknown_member(jsonb, text, text[]) IS 'raises for options surrogate_key and unknown_member that make no sense';

-- The column that tells the unknown member; NULL when a load has none.
CREATE FUNCTION etl._unknown_member_key(target regclass, definition jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN coalesce(definition #> '{options,unknown_member}', 'false') = 'false' THEN NULL
				WHEN definition ->> 'mode' = 'scd2' THEN (SELECT r.column_name FROM etl._scd2_roles((SELECT relname FROM pg_class WHERE oid = target), target, definition -> 'options') r WHERE r.role = 'surrogate_key')
				ELSE definition #>> '{options,surrogate_key}' END
$$;
COMMENT ON FUNCTION etl._unknown_member_key(regclass, jsonb) IS 'the surrogate key of a dimension with an unknown member';

CREATE FUNCTION etl._ensure_unknown_member(target regclass, definition jsonb, changed boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	surrogate_key text := etl._unknown_member_key(target, definition);
	given jsonb := CASE WHEN jsonb_typeof(definition #> '{options,unknown_member}') = 'object' THEN definition #> '{options,unknown_member}' ELSE '{}' END;
	filled jsonb := '{}';
	there boolean;
	names text[];
	problem text;
	message text;
BEGIN
	IF surrogate_key IS NULL THEN
		RETURN;
	END IF;
	EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE %I = -1)', target, surrogate_key) INTO there;
	IF there AND NOT changed THEN
		RETURN;
	END IF;
	PERFORM etl._check_columns(target, (SELECT array_agg(k) FROM jsonb_object_keys(given) k), 'unknown_member');
	IF definition ->> 'mode' = 'scd2' THEN
		SELECT jsonb_object_agg(r.column_name, CASE r.role WHEN 'valid_from' THEN '-infinity' WHEN 'valid_to' THEN coalesce(definition #>> '{options,open_end}', 'infinity')
				WHEN 'is_current' THEN 'true' WHEN 'version' THEN '1' ELSE 'false' END) INTO filled
		FROM etl._scd2_roles((SELECT relname FROM pg_class WHERE oid = target), target, definition -> 'options') r WHERE r.column_name IS NOT NULL AND r.role <> 'surrogate_key';
	END IF;
	SELECT k INTO problem FROM jsonb_object_keys(given) k WHERE k = surrogate_key OR filled ? k LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'column "%" of the unknown member is not for you to say', problem
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Its surrogate key is -1, and it holds for all time.';
	END IF;
	filled := filled || given || jsonb_build_object(surrogate_key, -1);
	names := (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = target AND filled ? a.attname AND NOT a.attisdropped);
	BEGIN
		IF NOT there THEN
			EXECUTE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE VALUES (%s)', target, etl._column_list(names),
				(SELECT string_agg(format('%L::%s', filled ->> n, etl._column_type(target, n)), ', ' ORDER BY o) FROM unnest(names) WITH ORDINALITY u(n, o)));
		ELSIF cardinality(names) > 1 THEN
			EXECUTE format('UPDATE %s SET %s WHERE %I = -1', target,
				(SELECT string_agg(format('%I = %L::%s', n, filled ->> n, etl._column_type(target, n)), ', ') FROM unnest(names) n WHERE n <> surrogate_key), surrogate_key);
		END IF;
	EXCEPTION WHEN not_null_violation OR data_exception THEN
		GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
		RAISE EXCEPTION 'the unknown member of % cannot be made', target
			USING ERRCODE = 'invalid_parameter_value', DETAIL = message || '.',
				  HINT = 'Say in unknown_member what its columns hold: {"customer_name": "unknown"}; those not named are null, or have their default.';
	END;
END
$$;
COMMENT ON FUNCTION etl._ensure_unknown_member(regclass, jsonb, boolean) IS 'makes the row -1 of a dimension when it is missing, or brings it to what is declared';
