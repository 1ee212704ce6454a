-- What each type of check takes, and that it was given that.

CREATE FUNCTION etl._check_entries(check_type text) RETURNS TABLE (entry text, kind text, required boolean)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT e.entry, e.kind, e.required
	FROM (VALUES
		('not_null', 'columns', 'columns', true), ('not_null', 'column', 'columns', false),
		('unique', 'columns', 'columns', true), ('unique', 'column', 'columns', false),
		('accepted_values', 'column', 'column', true), ('accepted_values', 'values', 'values', true),
		('relationships', 'columns', 'columns', true), ('relationships', 'column', 'columns', false),
		('relationships', 'to', 'relation', true), ('relationships', 'to_columns', 'to_columns', false),
		('between', 'column', 'column', true), ('between', 'min', 'literal', false), ('between', 'max', 'literal', false),
		('matches', 'column', 'column', true), ('matches', 'pattern', 'pattern', true),
		('of_type', 'column', 'column', true), ('of_type', 'type', 'type', true),
		('castable', 'column', 'column', true), ('castable', 'type', 'type', true),
		('row_count', 'min', 'rows', false), ('row_count', 'max', 'rows', false),
		('row_count_between', 'min', 'rows', false), ('row_count_between', 'max', 'rows', false),
		('row_count_equals', 'to', 'relation', true), ('row_count_equals', 'to_filter', 'condition', false), ('row_count_equals', 'tolerance', 'rows', false),
		('freshness', 'column', 'column', true), ('freshness', 'warn_after', 'interval', false), ('freshness', 'error_after', 'interval', false),
		('mean_between', 'column', 'column', true), ('mean_between', 'min', 'number', false), ('mean_between', 'max', 'number', false),
		('sum_between', 'column', 'column', true), ('sum_between', 'min', 'number', false), ('sum_between', 'max', 'number', false),
		('min_between', 'column', 'column', true), ('min_between', 'min', 'literal', false), ('min_between', 'max', 'literal', false),
		('max_between', 'column', 'column', true), ('max_between', 'min', 'literal', false), ('max_between', 'max', 'literal', false),
		('pair_comparison', 'columns', 'columns', true), ('pair_comparison', 'operator', 'operator', true),
		('expression', 'expression', 'condition', true),
		('json_schema', 'column', 'column', true), ('json_schema', 'schema', 'schema', true),
		('volume_anomaly', 'runs', 'runs', false), ('volume_anomaly', 'min_runs', 'runs', false),
		('volume_anomaly', 'deviations', 'number', false), ('volume_anomaly', 'tolerance', 'number', false)
	) e(check_type, entry, kind, required)
	WHERE e.check_type = _check_entries.check_type
$$;
COMMENT ON FUNCTION etl._check_entries(text) IS 'the entries that the arguments of a check type may have, and of which kind they are';

CREATE FUNCTION etl._check_types() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT '{not_null,unique,accepted_values,relationships,between,matches,of_type,castable,row_count,row_count_between,row_count_equals,freshness,
		mean_between,sum_between,min_between,max_between,pair_comparison,expression,json_schema,volume_anomaly}'::text[]
$$;
COMMENT ON FUNCTION etl._check_types() IS 'the types of checks; row_count is row_count_between by its older name';

CREATE FUNCTION etl._counts_rows(check_type text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT check_type IN ('not_null', 'unique', 'accepted_values', 'relationships', 'between', 'matches', 'castable', 'pair_comparison', 'expression', 'json_schema') $$;
COMMENT ON FUNCTION etl._counts_rows(text) IS 'whether a check is about each row, and so has failing ones; others are about a figure';

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

-- Whether one entry has a form that its kind can have; what it says about the table is
-- found out when the check is prepared.
CREATE FUNCTION etl._entry_problem(entry text, kind text, value jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	type text := jsonb_typeof(value);
	as_text text := value #>> '{}';
BEGIN
	RETURN CASE kind
		WHEN 'column' THEN CASE WHEN type <> 'string' THEN 'It names a column of the table.' END
		WHEN 'rows' THEN CASE WHEN type <> 'number' OR as_text !~ '^[0-9]{1,18}$' THEN 'It is a whole number of rows.' END
		WHEN 'runs' THEN CASE WHEN type <> 'number' OR as_text !~ '^[0-9]{1,4}$' OR as_text::integer NOT BETWEEN 1 AND 1000 THEN 'It is a number of runs, from 1 to 1000.' END
		WHEN 'number' THEN CASE WHEN type <> 'number' OR entry IN ('deviations', 'tolerance') AND as_text::numeric < 0 THEN
			CASE WHEN entry IN ('deviations', 'tolerance') THEN 'It is a number of zero or more.' ELSE 'It is a number.' END END
		WHEN 'literal' THEN CASE WHEN type NOT IN ('string', 'number', 'boolean') THEN 'It is a value of the column''s type, as a number or a string.' END
		WHEN 'values' THEN CASE WHEN type <> 'array' OR value = '[]' OR jsonb_path_exists(value, '$[*] ? (@.type() == "object" || @.type() == "array" || @.type() == "null")')
			THEN 'It is the list of values the column may have, for example ["open", "closed"]; a null is never among them and never fails.' END
		WHEN 'operator' THEN CASE WHEN type <> 'string' OR as_text NOT IN ('=', '<>', '<', '<=', '>', '>=') THEN 'Operators are: =, <>, <, <=, >, >=.' END
		WHEN 'condition' THEN CASE WHEN type <> 'string' OR as_text !~ '\S' THEN 'It is an SQL condition over the columns of a row, such as "quantity > 0".' END
		WHEN 'pattern' THEN CASE WHEN type <> 'string' THEN 'It is a regular expression, such as "^[A-Z]{2}[0-9]+$".' END
		WHEN 'type' THEN CASE WHEN type <> 'string' THEN 'It names a type, such as "integer" or "numeric(10,2)".' END
		WHEN 'interval' THEN CASE WHEN type <> 'string' THEN 'It is a time span, such as "1 day" or "36 hours".' END
		WHEN 'relation' THEN CASE WHEN type <> 'string' THEN 'It names a table or view as schema.table.' END
		WHEN 'schema' THEN CASE WHEN type NOT IN ('object', 'boolean') THEN 'It is a JSON Schema.' END
	END;
END
$$;
COMMENT ON FUNCTION etl._entry_problem(text, text, jsonb) IS 'what an argument of a check should have been; NULL when it can be that';

CREATE FUNCTION etl._check_argument(relation regclass, check_type text, arguments jsonb, entry text, kind text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	problem text := etl._entry_problem(entry, kind, arguments -> entry);
	as_text text := arguments ->> entry;
	n record;
	message text;
BEGIN
	IF problem IS NULL THEN
		BEGIN
			CASE kind
			WHEN 'pattern' THEN
				PERFORM '' ~ as_text;
			WHEN 'interval' THEN
				IF as_text::interval < interval '0' THEN
					problem := 'It is a time span, such as "1 day" or "36 hours".';
				END IF;
			WHEN 'type' THEN
				IF to_regtype(as_text) IS NULL THEN
					problem := 'There is no such type; types outside pg_catalog are named with their schema.';
				END IF;
			WHEN 'schema' THEN
				PERFORM etl.is_valid_json(arguments -> entry, 'null');
			ELSE
			END CASE;
		EXCEPTION WHEN data_exception OR syntax_error_or_access_rule_violation THEN
			GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
			problem := message || '.';
		END;
	END IF;
	IF problem IS NOT NULL THEN
		RAISE EXCEPTION 'invalid "%" of check %: %', entry, check_type, arguments -> entry
			USING ERRCODE = 'invalid_parameter_value', HINT = problem;
	END IF;
	IF kind = 'column' THEN
		PERFORM etl._check_columns(relation, ARRAY[as_text], format('"%s"', entry));
	ELSIF kind = 'relation' THEN
		n := etl._parse_name(as_text);
		IF etl._relation(n.schema_name, n.relation_name) IS NULL THEN
			RAISE EXCEPTION 'relation "%" does not exist', as_text
				USING ERRCODE = 'undefined_table', HINT = 'The entry "to" names the referenced table as schema.table.';
		END IF;
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_argument(regclass, text, jsonb, text, text) IS 'raises for an argument that is not of its kind';

-- {"column": "a"} is {"columns": ["a"]} where a check takes several.
CREATE FUNCTION etl._normal_arguments(check_type text, arguments jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN check_type IN ('not_null', 'unique', 'relationships') AND jsonb_typeof(arguments) = 'object'
					 AND jsonb_typeof(arguments -> 'column') = 'string' AND NOT arguments ? 'columns'
				THEN arguments - 'column' || jsonb_build_object('columns', jsonb_build_array(arguments -> 'column'))
				ELSE arguments END
$$;
COMMENT ON FUNCTION etl._normal_arguments(text, jsonb) IS 'a check''s arguments with "columns" where "column" may stand for it';

CREATE FUNCTION etl._check_arguments(relation regclass, check_type text, arguments jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	e record;
	n record;
	bounds text[];
BEGIN
	IF check_type IS NULL OR NOT check_type = ANY (etl._check_types()) THEN
		RAISE EXCEPTION 'unknown check type "%"', check_type
			USING ERRCODE = 'invalid_parameter_value', HINT = format('Check types are: %s.', array_to_string(etl._check_types(), ', '));
	END IF;
	PERFORM etl._check_option_names(format('arguments of check %s', check_type), arguments,
		(SELECT array_agg(x.entry) FROM etl._check_entries(check_type) x));
	IF arguments ? 'column' AND EXISTS (SELECT FROM etl._check_entries(check_type) x WHERE x.entry = 'columns') THEN
		RAISE EXCEPTION 'invalid "column" of check %: %', check_type, arguments -> 'column'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is one column; "columns" is a list of them, and they exclude each other.';
	END IF;
	FOR e IN SELECT * FROM etl._check_entries(check_type) LOOP
		IF e.kind = 'columns' AND e.required THEN
			PERFORM etl._argument_columns(relation, arguments, 'columns');
		ELSIF arguments -> e.entry IS NOT NULL AND e.kind NOT IN ('columns', 'to_columns') THEN
			PERFORM etl._check_argument(relation, check_type, arguments, e.entry, e.kind);
		ELSIF e.required THEN
			RAISE EXCEPTION 'check % needs "%"', check_type, e.entry
				USING ERRCODE = 'invalid_parameter_value', HINT = CASE e.entry
					WHEN 'to' THEN 'It names the other table, for example {"columns": ["user_id"], "to": "analytics.dim_users"}.'
					WHEN 'column' THEN 'It names a column of the table, for example {"column": "order_id", …}.'
					WHEN 'values' THEN 'For example {"column": "state", "values": ["open", "closed"]}.'
					WHEN 'pattern' THEN 'For example {"column": "code", "pattern": "^[A-Z]{2}[0-9]+$"}.'
					WHEN 'type' THEN 'For example {"column": "amount", "type": "numeric(10,2)"}.'
					WHEN 'operator' THEN 'For example {"columns": ["created_at", "closed_at"], "operator": "<="}.'
					WHEN 'expression' THEN 'For example {"expression": "quantity * price = amount"}.'
					WHEN 'schema' THEN 'For example {"column": "payload", "schema": {"type": "object", "required": ["id"]}}.' END;
		END IF;
	END LOOP;
	SELECT array_agg(x.entry ORDER BY x.entry DESC) INTO bounds FROM etl._check_entries(check_type) x WHERE x.entry IN ('min', 'max');
	IF check_type = 'freshness' THEN
		bounds := '{warn_after,error_after}';
	END IF;
	IF bounds IS NOT NULL AND NOT arguments ?| bounds THEN
		RAISE EXCEPTION 'check % needs "%" or "%"', check_type, bounds[1], bounds[2]
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = CASE check_type WHEN 'freshness' THEN 'For example {"column": "updated_at", "warn_after": "1 day", "error_after": "3 days"}.' ELSE 'For example {"min": 1}.' END;
	END IF;
	IF jsonb_typeof(arguments -> 'min') = 'number' AND jsonb_typeof(arguments -> 'max') = 'number' AND (arguments ->> 'min')::numeric > (arguments ->> 'max')::numeric THEN
		RAISE EXCEPTION '"min" of check % is greater than "max"', check_type USING ERRCODE = 'invalid_parameter_value';
	ELSIF (arguments ->> 'warn_after')::interval > (arguments ->> 'error_after')::interval THEN
		RAISE EXCEPTION '"warn_after" of check % is longer than "error_after"', check_type USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF check_type = 'pair_comparison' AND jsonb_array_length(arguments -> 'columns') <> 2 THEN
		RAISE EXCEPTION 'check pair_comparison compares two columns, not %', jsonb_array_length(arguments -> 'columns')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'For example {"columns": ["created_at", "closed_at"], "operator": "<="}.';
	ELSIF check_type = 'relationships' THEN
		n := etl._parse_name(arguments ->> 'to');
		PERFORM etl._argument_columns(etl._relation(n.schema_name, n.relation_name),
			arguments || jsonb_build_object('to_columns', coalesce(arguments -> 'to_columns', arguments -> 'columns')), 'to_columns');
		IF jsonb_array_length(coalesce(arguments -> 'to_columns', arguments -> 'columns')) <> jsonb_array_length(arguments -> 'columns') THEN
			RAISE EXCEPTION '"columns" and "to_columns" of check relationships differ in number'
				USING ERRCODE = 'invalid_parameter_value', HINT = 'Each column refers to one column of the other table.';
		END IF;
	ELSIF check_type = 'freshness' AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = arguments ->> 'column'
			AND a.atttypid IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype)) THEN
		RAISE EXCEPTION 'column "%" of check freshness is no time', arguments ->> 'column'
			USING ERRCODE = 'datatype_mismatch', HINT = 'Its type must be date, timestamp or timestamptz.';
	ELSIF check_type = 'json_schema' AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = arguments ->> 'column'
			AND a.atttypid IN ('json'::regtype, 'jsonb'::regtype)) THEN
		RAISE EXCEPTION 'column "%" of check json_schema is not JSON', arguments ->> 'column'
			USING ERRCODE = 'datatype_mismatch', HINT = 'Its type must be jsonb or json.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_arguments(regclass, text, jsonb) IS 'raises for arguments a check type does not take';
