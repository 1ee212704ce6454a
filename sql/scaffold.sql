-- From raw records to typed tables, as SQL to keep: a view of the records and one for each
-- array in them, with the key of the record and the element's place.  Proposed from what the
-- records have in common (infer_schema.sql); it is printed, never run.

CREATE FUNCTION etl._clipped(name text, bytes integer) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	WHILE octet_length(name) > bytes LOOP
		name := left(name, -1);
	END LOOP;
	RETURN name;
END
$$;
COMMENT ON FUNCTION etl._clipped(text, integer) IS 'a name cut to a number of bytes, between characters';

-- A name that is free: as it is, or with a number.
CREATE FUNCTION etl._free_name(name text, taken text[], bytes integer) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	result text := etl._clipped(name, bytes);
	n integer := 1;
BEGIN
	WHILE result = ANY (taken) LOOP
		n := n + 1;
		result := etl._clipped(name, bytes - length('_' || n)) || '_' || n;
	END LOOP;
	RETURN result;
END
$$;
COMMENT ON FUNCTION etl._free_name(text, text[], integer) IS 'a name of so many bytes that is not taken';

-- orderLines, "order lines", ORDER-LINES: order_lines
CREATE FUNCTION etl._snake_case(path text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(nullif(string_agg(s, '_' ORDER BY o), ''), 'value')
	FROM unnest(path) WITH ORDINALITY u(step, o)
	CROSS JOIN LATERAL (SELECT trim(BOTH '_' FROM lower(regexp_replace(regexp_replace(regexp_replace(step, '([[:lower:][:digit:]])([[:upper:]])', '\1_\2', 'g'),
		'([[:upper:]])([[:upper:]][[:lower:]])', '\1_\2', 'g'), '[^[:alnum:]]+', '_', 'g')))) x(s)
	WHERE s <> ''
$$;
COMMENT ON FUNCTION etl._snake_case(text[]) IS 'a column name from the path of a field';

-- The columns and arrays of an object: objects in it are opened, what is anything else here
-- and there stays jsonb.
CREATE FUNCTION etl._scaffold_fields(schema jsonb, path text[] DEFAULT '{}') RETURNS TABLE (field text[], type text, items jsonb)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	types text[] := (SELECT coalesce(array_agg(t), '{}') FROM jsonb_array_elements_text(CASE jsonb_typeof(schema -> 'type') WHEN 'array' THEN schema -> 'type' ELSE jsonb_build_array(schema -> 'type') END) t WHERE t <> 'null');
	member record;
BEGIN
	IF types = '{object}' AND schema -> 'properties' <> '{}' AND cardinality(path) < 8 THEN
		FOR member IN SELECT p.key, p.value FROM jsonb_each(schema -> 'properties') p ORDER BY p.key COLLATE "C" LOOP
			RETURN QUERY SELECT * FROM etl._scaffold_fields(member.value, path || member.key);
		END LOOP;
		RETURN;
	END IF;
	field := path;
	IF types = '{array}' AND schema ? 'items' THEN
		items := schema -> 'items';
	END IF;
	type := CASE
		WHEN types = '{integer}' THEN 'bigint'
		WHEN types <@ '{integer,number}' AND types <> '{}' THEN 'numeric'
		WHEN types = '{boolean}' THEN 'boolean'
		WHEN types = '{string}' AND schema ->> 'format' IN ('date', 'uuid') THEN schema ->> 'format'
		WHEN types = '{string}' AND schema ->> 'format' = 'date-time' THEN 'timestamptz'
		WHEN types = '{string}' THEN 'text'
		ELSE 'jsonb' END;
	RETURN NEXT;
END
$$;
COMMENT ON FUNCTION etl._scaffold_fields(jsonb, text[]) IS 'the fields of a record by its JSON Schema: scalars with a type, arrays with what is in them';

CREATE FUNCTION etl._scaffold_value(document text, field text[], type text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format(CASE WHEN type = 'text' THEN '%s' WHEN type = 'jsonb' THEN '%s' ELSE '(%s)::' || type END,
		CASE cardinality(field)
			WHEN 0 THEN CASE type WHEN 'jsonb' THEN document ELSE format('%s #>> ''{}''', document) END
			WHEN 1 THEN format('%s %s %L', document, CASE type WHEN 'jsonb' THEN '->' ELSE '->>' END, field[1])
			ELSE format('%s %s %L', document, CASE type WHEN 'jsonb' THEN '#>' ELSE '#>>' END, field) END)
$$;
COMMENT ON FUNCTION etl._scaffold_value(text, text[], text) IS 'the expression of a field in a type';

-- One view, and those of the arrays in it.  given: the columns that tell a row, [name, expression];
-- rows: the FROM clause; document: what the fields are of.
CREATE FUNCTION etl._scaffold_views(relation regclass, pipeline text, schema_name text, relation_name text, parent text, key_paths text[], given jsonb, rows text, document text, depth integer,
	schema jsonb, sample_size integer, INOUT taken text[], OUT views text, OUT loads text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	names text[] := (SELECT coalesce(array_agg(g ->> 0 ORDER BY o), '{}') FROM jsonb_array_elements(given) WITH ORDINALITY e(g, o));
	lines text[] := (SELECT coalesce(array_agg(format('%s AS %I', g ->> 1, g ->> 0) ORDER BY o), '{}') FROM jsonb_array_elements(given) WITH ORDINALITY e(g, o));
	child_key jsonb := given;
	key_fields text[] := (SELECT array_agg(etl.json_path_keys(k)::text ORDER BY o) FROM unnest(key_paths) WITH ORDINALITY u(k, o));
	fields jsonb;
	f record;
	column_name text;
	column_type text;
	whole boolean;
	child record;
	arrays jsonb := '[]';
	alias text := 'e' || depth;
BEGIN
	SELECT jsonb_agg(to_jsonb(x) || jsonb_build_object('rank', array_position(key_fields, x.field::text)) ORDER BY array_position(key_fields, x.field::text), o) INTO fields
	FROM etl._scaffold_fields(schema) WITH ORDINALITY x(field, type, items, o);
	-- a part of the key that no record looked at has
	fields := (SELECT coalesce(jsonb_agg(jsonb_build_object('field', to_jsonb(k::text[]), 'type', 'text', 'rank', o)), '[]') FROM unnest(key_fields) WITH ORDINALITY u(k, o)
			   WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(fields) e WHERE (e ->> 'rank')::bigint = o)) || coalesce(fields, '[]');
	FOR f IN SELECT x.field, x.type, x.items, x.rank FROM jsonb_to_recordset(fields) x(field text[], type text, items jsonb, rank integer) LOOP
		IF f.items IS NOT NULL AND depth < 8 THEN
			arrays := arrays || jsonb_build_array(jsonb_build_object('field', f.field, 'items', f.items));
			CONTINUE;
		END IF;
		column_type := f.type;
		IF column_type = 'bigint' THEN
			EXECUTE format('SELECT coalesce(bool_and(%s ~ ''^-?[0-9]{1,18}$''), true) FROM (SELECT * FROM %s%s) r %s', etl._scaffold_value(document, f.field, 'text'), relation,
				coalesce(' LIMIT ' || sample_size, ''), rows) INTO whole;
			column_type := CASE WHEN whole THEN 'bigint' ELSE 'numeric' END;
		END IF;
		column_name := etl._free_name(etl._snake_case(f.field), names, 63);
		names := names || column_name;
		lines := lines || format('%s AS %I', etl._scaffold_value(document, f.field, column_type), column_name);
		IF f.rank IS NOT NULL THEN
			child_key := child_key || jsonb_build_array(jsonb_build_array(column_name, etl._scaffold_value(document, f.field, column_type)));
		END IF;
	END LOOP;
	views := format(E'CREATE OR REPLACE VIEW %s AS\nSELECT\t%s\nFROM %s r%s;\n\n', etl._full_name(schema_name, 'txf_' || relation_name), array_to_string(lines, E',\n\t'), relation, rows);
	loads := format(E'-- SELECT etl.add_load(%L, %L, ''incremental'', key => %L%s);\n', pipeline, etl._full_name(schema_name, relation_name),
		(SELECT array_agg(g ->> 0 ORDER BY o) FROM jsonb_array_elements(child_key) WITH ORDINALITY e(g, o)),
		CASE WHEN parent IS NULL THEN '' ELSE format(', parent => %L, parent_key => %L', parent,
			(SELECT array_agg(g ->> 0 ORDER BY o) FROM jsonb_array_elements(child_key) WITH ORDINALITY e(g, o) WHERE o < jsonb_array_length(child_key))) END);
	FOR f IN SELECT x.field, x.items FROM jsonb_to_recordset(arrays) x(field text[], items jsonb) LOOP
		names := (SELECT coalesce(array_agg(g ->> 0), '{}') FROM jsonb_array_elements(child_key) e(g));
		column_name := etl._free_name(relation_name || '_' || etl._snake_case(f.field), taken, 59);
		taken := taken || column_name;
		SELECT * INTO child FROM etl._scaffold_views(relation, pipeline, schema_name, column_name, etl._full_name(schema_name, relation_name), '{}',
			child_key || jsonb_build_array(jsonb_build_array(etl._free_name(etl._clipped(etl._snake_case(f.field), 56) || '_number', names, 63), alias || '.number')),
			rows || format(E'\nCROSS JOIN LATERAL jsonb_path_query(%s, %L, ''{}'', true) WITH ORDINALITY %s(item, number)', document,
				'strict $' || (SELECT coalesce(string_agg('.' || to_json(s)::text, '' ORDER BY o), '') FROM unnest(f.field) WITH ORDINALITY u(s, o)) || '[*]', alias),
			alias || '.item', depth + 1, f.items, sample_size, taken);
		taken := child.taken;
		views := views || child.views;
		loads := loads || child.loads;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._scaffold_views(regclass, text, text, text, text, text[], jsonb, text, text, integer, jsonb, integer, text[]) IS
	'the typed view of a document and the views of the arrays in it, and their loads';

CREATE FUNCTION etl.scaffold(relation regclass, target_schema text DEFAULT 'stg', sample_size integer DEFAULT 10000) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n record;
	t etl.task;
	key_paths text[];
	source regclass;
	made record;
	named record;
BEGIN
	IF relation IS NULL THEN
		RAISE EXCEPTION 'relation must not be null' USING ERRCODE = 'null_value_not_allowed', HINT = 'For example etl.scaffold(''raw.orders'').';
	END IF;
	SELECT c.relname, s.nspname INTO STRICT n FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace WHERE c.oid = relation;
	IF (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = relation AND a.attname IN ('load_id', 'slice', 'record_number', 'payload') AND NOT a.attisdropped) < 4
	   OR etl._relation(n.nspname, ('vr_' || n.relname)::name) IS NULL THEN
		RAISE EXCEPTION '% is not a raw table', relation
			USING ERRCODE = 'wrong_object_type',
				  HINT = coalesce('Raw tables are: ' || (SELECT string_agg(x.task, ', ' ORDER BY x.task) FROM etl._declared_tasks x WHERE x.kind = 'extract') || '.',
							'Declare one with etl.add_extract, and run its pipeline.');
	END IF;
	named := etl._parse_name(format('%I.%I', target_schema, n.relname));
	SELECT x.* INTO t FROM etl._declared_tasks x WHERE x.kind = 'extract' AND x.target_schema = n.nspname AND x.target_name = n.relname;
	key_paths := (SELECT array_agg(k ORDER BY o) FROM jsonb_array_elements_text(t.definition -> 'key') WITH ORDINALITY e(k, o));
	source := etl._relation(n.nspname, (CASE WHEN key_paths IS NULL THEN 'vr_' ELSE 'vl_' END || n.relname)::name);
	SELECT * INTO made FROM etl._scaffold_views(source, coalesce(t.pipeline, 'pipeline'), target_schema, n.relname, NULL, key_paths,
		CASE WHEN key_paths IS NULL THEN '[["load_id", "r.load_id"], ["slice", "r.slice"], ["record_number", "r.record_number"]]'::jsonb ELSE '[]' END,
		'', 'r.payload', 1, etl.infer_schema(relation, 'payload', sample_size, min_evidence => 1), sample_size, ARRAY[n.relname::text]);
	RETURN format('-- Typed views of the records of %s: a proposal from those there are (types are what all of them have), to be read and kept.
-- They give all records; for a load of the run''s interval only, read %I.%I and add
--   WHERE r.data_interval_start = etl.data_interval_start()
CREATE SCHEMA IF NOT EXISTS %I;

', relation, n.nspname, 'vr_' || n.relname, target_schema) || made.views || E'-- The loads that fill tables from them:\n' || made.loads;
END
$$;
COMMENT ON FUNCTION etl.scaffold(regclass, text, integer) IS
	'prints typed views of the records of a raw table, and of the arrays in them, as SQL to keep; runs nothing';
