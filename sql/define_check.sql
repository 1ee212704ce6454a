-- Declaring checks.  They are SQL of the owner's, run with the owner's rights alone; that
-- it is one condition, and fits the table, is found out here and not in a run.

-- A condition must be one within a CASE as well as within brackets: what closes brackets or
-- a CASE that it did not open passes at most one of them.  A cursor takes one statement, and opening it
-- runs nothing.
CREATE FUNCTION etl._check_condition(relation regclass, what text, condition text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c refcursor;
BEGIN
	OPEN c FOR EXECUTE format(E'SELECT CASE WHEN\n%s\nTHEN 1 ELSE 0 END FROM %s t LIMIT 0', condition, relation);
	CLOSE c;
	OPEN c FOR EXECUTE format(E'SELECT FROM %s t WHERE (\n%s\n) IS TRUE LIMIT 0', relation, condition);
	CLOSE c;
EXCEPTION WHEN insufficient_privilege THEN
	RAISE;
WHEN syntax_error_or_access_rule_violation OR data_exception OR invalid_cursor_definition OR feature_not_supported THEN
	RAISE EXCEPTION 'invalid % of a check: %', what, SQLERRM
		USING ERRCODE = SQLSTATE, DETAIL = format('It is: %s', left(condition, 1000)),
			  HINT = 'It is one SQL condition over the columns of a row (of alias t); functions and types outside pg_catalog are named with their schema.';
END
$$;
COMMENT ON FUNCTION etl._check_condition(regclass, text, text) IS 'raises unless a text is a condition over the rows of a relation';

CREATE FUNCTION etl._check_check_options(pipeline text, relation regclass, check_type text, filter text, mostly numeric, scope text, options jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM etl._check_option_names('options of etl.add_check', options, '{depends_on,interval_column,sample}');
	IF jsonb_typeof(options -> 'sample') <> 'number' OR options ->> 'sample' !~ '^[0-9]{1,3}$' OR (options ->> 'sample')::integer > 100 THEN
		RAISE EXCEPTION 'invalid option "sample": %', options -> 'sample'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is how many failing rows are kept as evidence, from 0 to 100.';
	ELSIF jsonb_typeof(options -> 'depends_on') <> 'array' OR jsonb_path_exists(options, '$.depends_on[*] ? (@.type() != "string")') THEN
		RAISE EXCEPTION 'invalid option "depends_on": %', options -> 'depends_on'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It lists tasks that come before the check, for example ["analytics.dim_users"].';
	END IF;
	IF mostly IS NOT NULL AND NOT etl._counts_rows(check_type) THEN
		RAISE EXCEPTION 'check % takes no mostly', check_type
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is the part of the rows that must hold, and this check is about a figure.';
	ELSIF NOT mostly BETWEEN 0 AND 1 THEN
		RAISE EXCEPTION 'invalid mostly: %', mostly
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is the part of the rows that must hold, from 0 to 1, for example 0.95.';
	END IF;
	IF check_type = 'of_type' AND coalesce(filter, nullif(scope, 'table')) IS NOT NULL THEN
		RAISE EXCEPTION 'check of_type takes neither filter nor scope'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is about the column; castable is about its values.';
	END IF;
	IF scope NOT IN ('run', 'table') THEN
		RAISE EXCEPTION 'invalid scope "%"', scope
			USING ERRCODE = 'invalid_parameter_value', HINT = 'run: the rows of the run''s data interval; table: all rows.';
	END IF;
	IF options ? 'interval_column' THEN
		PERFORM etl._check_columns(relation, ARRAY[options ->> 'interval_column'], 'interval_column');
		IF etl._type_of_column(relation, options ->> 'interval_column') NOT IN ('date', 'timestamp without time zone', 'timestamp with time zone') THEN
			RAISE EXCEPTION 'column "%" cannot be interval_column', options ->> 'interval_column'
				USING ERRCODE = 'datatype_mismatch', HINT = 'Its type must be date, timestamp or timestamptz.';
		END IF;
	END IF;
	IF scope = 'run' AND etl._scope_condition(pipeline, 'UTC', relation, options ->> 'interval_column', false) IS NULL THEN
		RAISE EXCEPTION 'nothing tells which rows of % belong to a run', relation
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'Name the column with the time of a row: options => ''{"interval_column": "…"}'', or use scope => ''table''.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_check_options(text, regclass, text, text, numeric, text, jsonb) IS 'raises for settings that a check cannot have';

CREATE FUNCTION etl._prepare_check(pipeline text, relation regclass, check_type text, arguments jsonb, filter text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c refcursor;
	n record;
	counted text := etl._counted_condition(NULL, filter);
BEGIN
	PERFORM etl._check_condition(relation, 'filter', filter) WHERE filter IS NOT NULL;
	IF check_type = 'expression' THEN
		PERFORM etl._check_condition(relation, 'expression', arguments ->> 'expression');
	ELSIF arguments ? 'to_filter' THEN
		n := etl._parse_name(arguments ->> 'to');
		PERFORM etl._check_condition(etl._relation(n.schema_name, n.relation_name), 'to_filter', arguments ->> 'to_filter');
	END IF;
	OPEN c FOR EXECUTE CASE WHEN etl._counts_rows(check_type) THEN etl._failing_rows_query(relation, check_type, arguments, counted)
							ELSE etl._figure_query(relation, check_type, arguments, counted, 'UTC') END;
	CLOSE c;
EXCEPTION
	WHEN undefined_function THEN
		RAISE EXCEPTION 'columns of check % cannot be compared: %', check_type, SQLERRM
			USING ERRCODE = 'datatype_mismatch',
				  HINT = CASE check_type WHEN 'relationships' THEN 'A column and the one it refers to have the same type.' ELSE 'Choose columns of types that can be, or check a view with a cast.' END;
	WHEN data_exception THEN
		RAISE EXCEPTION 'invalid arguments of check %: %', check_type, SQLERRM
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Values are given in the type of the column.';
END
$$;
COMMENT ON FUNCTION etl._prepare_check(text, regclass, text, jsonb, text) IS 'raises unless the SQL of a check can be planned';

CREATE FUNCTION etl.add_check(pipeline text, target text, check_type text, arguments jsonb DEFAULT '{}',
	name text DEFAULT NULL, severity text DEFAULT 'error', filter text DEFAULT NULL, mostly numeric DEFAULT NULL, scope text DEFAULT NULL,
	options jsonb DEFAULT '{}')
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
	arguments := etl._normal_arguments(check_type, arguments);
	PERFORM etl._check_arguments(relation, check_type, arguments);
	scope := coalesce(scope, CASE check_type WHEN 'volume_anomaly' THEN 'run' ELSE 'table' END);
	PERFORM etl._check_check_options(pipeline, relation, check_type, filter, mostly, scope, options);
	PERFORM etl._prepare_check(pipeline, relation, check_type, arguments, filter);
	-- the default name tells apart what one can sensibly check twice
	name := coalesce(name, concat_ws('_', n.schema_name, n.relation_name, check_type, arguments ->> 'column',
		(SELECT string_agg(c, '_' ORDER BY o) FROM jsonb_array_elements_text(arguments -> 'columns') WITH ORDINALITY e(c, o)),
		replace(arguments ->> 'to', '.', '_'), left(md5(arguments ->> 'expression'), 8)));
	IF name = '' OR octet_length(name) > 255 OR name ~ '[[:cntrl:]]' THEN
		RAISE EXCEPTION 'invalid name of a check: "%"', name
			USING ERRCODE = 'invalid_name', HINT = 'A name has 1 to 255 bytes and no control characters.';
	ELSIF name = 'publish' OR name LIKE 'publish %' THEN
		RAISE EXCEPTION 'a check cannot be named "%"', name
			USING ERRCODE = 'reserved_name', HINT = 'That is the name of the step in which a run becomes visible; choose another.';
	END IF;
	PERFORM etl._save_task(pipeline, name, 'check', n.schema_name, n.relation_name,
		jsonb_strip_nulls(jsonb_build_object('check_type', check_type, 'severity', severity, 'filter', filter, 'mostly', mostly, 'scope', CASE WHEN scope = 'run' OR check_type = 'volume_anomaly' THEN scope END))
			|| jsonb_build_object('arguments', arguments, 'options', options),
		coalesce((SELECT array_agg(d) FROM jsonb_array_elements_text(options -> 'depends_on') d), '{}'));
END
$$;
COMMENT ON FUNCTION etl.add_check(text, text, text, jsonb, text, text, text, numeric, text, jsonb) IS
	'declares a data-quality rule on a table; docs/reference/checks.md lists the types and what each takes';
