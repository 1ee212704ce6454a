-- Data-quality checks: each type is a query for the rows that fail, or a figure to compare.

CREATE FUNCTION etl._argument_columns(relation regclass, arguments jsonb, entry text) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	columns text[];
BEGIN
	IF jsonb_typeof(arguments -> entry) IS DISTINCT FROM 'array' OR jsonb_array_length(arguments -> entry) = 0 THEN
		RAISE EXCEPTION 'this check needs "%", a list of columns', entry
			USING ERRCODE = 'invalid_parameter_value', HINT = format('For example {"%s": ["order_id"]}.', entry);
	END IF;
	SELECT array_agg(c ORDER BY n) INTO columns FROM jsonb_array_elements_text(arguments -> entry) WITH ORDINALITY e(c, n);
	PERFORM etl._check_columns(relation, columns, format('"%s"', entry));
	RETURN columns;
END
$$;
COMMENT ON FUNCTION etl._argument_columns(regclass, jsonb, text) IS 'a list of existing columns among a check''s arguments';

CREATE FUNCTION etl._check_arguments(relation regclass, check_type text, arguments jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n record;
	referenced regclass;
	entry text;
BEGIN
	CASE check_type
	WHEN 'not_null', 'unique' THEN
		PERFORM etl._check_option_names(format('arguments of check %s', check_type), arguments, '{columns}');
		PERFORM etl._argument_columns(relation, arguments, 'columns');
	WHEN 'relationships' THEN
		PERFORM etl._check_option_names('arguments of check relationships', arguments, '{columns,to,to_columns}');
		PERFORM etl._argument_columns(relation, arguments, 'columns');
		IF arguments ->> 'to' IS NULL THEN
			RAISE EXCEPTION 'check relationships needs "to"'
				USING ERRCODE = 'invalid_parameter_value', HINT = 'It names the referenced table, for example {"columns": ["user_id"], "to": "analytics.dim_users"}.';
		END IF;
		n := etl._parse_name(arguments ->> 'to');
		referenced := etl._relation(n.schema_name, n.relation_name);
		IF referenced IS NULL THEN
			RAISE EXCEPTION 'relation "%" does not exist', arguments ->> 'to'
				USING ERRCODE = 'undefined_table', HINT = 'The entry "to" names the referenced table as schema.table.';
		END IF;
		PERFORM etl._argument_columns(referenced, coalesce(arguments, '{}') || jsonb_build_object('to_columns', coalesce(arguments -> 'to_columns', arguments -> 'columns')), 'to_columns');
		IF jsonb_array_length(coalesce(arguments -> 'to_columns', arguments -> 'columns')) <> jsonb_array_length(arguments -> 'columns') THEN
			RAISE EXCEPTION '"columns" and "to_columns" of check relationships differ in number'
				USING ERRCODE = 'invalid_parameter_value', HINT = 'Each column refers to one column of the other table.';
		END IF;
		BEGIN
			EXECUTE 'EXPLAIN ' || etl._failing_rows_query(relation, check_type, arguments);
		EXCEPTION WHEN undefined_function THEN
			RAISE EXCEPTION 'columns of check relationships cannot be compared: %', SQLERRM
				USING ERRCODE = 'datatype_mismatch', HINT = 'A column and the one it refers to have the same type.';
		END;
	WHEN 'row_count' THEN
		PERFORM etl._check_option_names('arguments of check row_count', arguments, '{min,max}');
		IF NOT arguments ?| '{min,max}' THEN
			RAISE EXCEPTION 'check row_count needs "min" or "max"'
				USING ERRCODE = 'invalid_parameter_value', HINT = 'For example {"min": 1}.';
		END IF;
		FOREACH entry IN ARRAY '{min,max}'::text[] LOOP
			IF arguments ? entry AND (jsonb_typeof(arguments -> entry) <> 'number' OR (arguments ->> entry) !~ '^[0-9]{1,18}$') THEN
				RAISE EXCEPTION 'invalid "%" of check row_count: %', entry, arguments -> entry
					USING ERRCODE = 'invalid_parameter_value', HINT = 'It is a whole number of rows.';
			END IF;
		END LOOP;
		IF (arguments ->> 'min')::bigint > (arguments ->> 'max')::bigint THEN
			RAISE EXCEPTION '"min" of check row_count is greater than "max"' USING ERRCODE = 'invalid_parameter_value';
		END IF;
	ELSE
		RAISE EXCEPTION 'unknown check type "%"', check_type
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Check types are: not_null, unique, relationships, row_count.';
	END CASE;
END
$$;
COMMENT ON FUNCTION etl._check_arguments(regclass, text, jsonb) IS 'raises for arguments a check type does not take';

-- The rows that break a rule, as a query; NULL for rules about a figure of the whole table.
CREATE FUNCTION etl._failing_rows_query(relation regclass, check_type text, arguments jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	columns text[] := (SELECT array_agg(quote_ident(c) ORDER BY n) FROM jsonb_array_elements_text(arguments -> 'columns') WITH ORDINALITY e(c, n));
	to_columns text[] := (SELECT array_agg(quote_ident(c) ORDER BY n)
		FROM jsonb_array_elements_text(coalesce(arguments -> 'to_columns', arguments -> 'columns')) WITH ORDINALITY e(c, n));
	n record;
BEGIN
	CASE check_type
	WHEN 'not_null' THEN
		RETURN format('SELECT t.* FROM %s t WHERE %s', relation, (SELECT string_agg(format('t.%s IS NULL', c), ' OR ') FROM unnest(columns) c));
	WHEN 'unique' THEN
		-- as SQL has it: rows with a null among the columns are never duplicates
		RETURN format('SELECT %1$s, count(*) AS occurrences FROM %2$s t WHERE %3$s GROUP BY %1$s HAVING count(*) > 1',
			array_to_string(columns, ', '), relation, (SELECT string_agg(format('t.%s IS NOT NULL', c), ' AND ') FROM unnest(columns) c));
	WHEN 'relationships' THEN
		n := etl._parse_name(arguments ->> 'to');
		RETURN format('SELECT t.* FROM %s t WHERE %s AND NOT EXISTS (SELECT FROM %I.%I r WHERE %s)', relation,
			(SELECT string_agg(format('t.%s IS NOT NULL', c), ' AND ') FROM unnest(columns) c), n.schema_name, n.relation_name,
			(SELECT string_agg(format('r.%s %s t.%s', r, coalesce(etl._equality_operator((SELECT a.atttypid FROM pg_attribute a
				WHERE a.attrelid = etl._relation(n.schema_name, n.relation_name) AND quote_ident(a.attname) = r)), '='), c), ' AND ') FROM unnest(to_columns, columns) u(r, c)));
	ELSE
		RETURN NULL;
	END CASE;
END
$$;
COMMENT ON FUNCTION etl._failing_rows_query(regclass, text, jsonb) IS 'the query for rows that break a rule';

-- Runs one check; the result is a value, whether it passed or not.
CREATE FUNCTION etl._run_check(relation regclass, check_type text, arguments jsonb,
	OUT passed boolean, OUT failing_rows bigint, OUT figure text, OUT threshold text, OUT sample jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	query text := etl._failing_rows_query(relation, check_type, arguments);
	row_total bigint;
BEGIN
	sample := '[]';
	IF query IS NOT NULL THEN
		EXECUTE format('SELECT count(*), coalesce(jsonb_agg(f.failing) FILTER (WHERE f.ordinal <= 5), ''[]'')
			FROM (SELECT to_jsonb(q) AS failing, row_number() OVER () AS ordinal FROM (%s) q) f', query)
		INTO failing_rows, sample;
		passed := failing_rows = 0;
		figure := failing_rows::text;
		threshold := '0 failing rows';
		RETURN;
	END IF;
	EXECUTE format('SELECT count(*) FROM %s', relation) INTO row_total;
	passed := row_total >= coalesce((arguments ->> 'min')::bigint, row_total) AND row_total <= coalesce((arguments ->> 'max')::bigint, row_total);
	failing_rows := 0;
	figure := row_total::text;
	threshold := concat_ws(' and ', 'at least ' || (arguments ->> 'min'), 'at most ' || (arguments ->> 'max')) || ' rows';
END
$$;
COMMENT ON FUNCTION etl._run_check(regclass, text, jsonb) IS 'runs one check and returns its figure, threshold and a sample of failing rows';
