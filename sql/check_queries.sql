-- Checks as SQL over the alias t of what is checked: which rows count, and which of them
-- fail.  Users' conditions are between line breaks, so that a comment in one ends with it.

CREATE FUNCTION etl._written_here(xmin xid) RETURNS boolean
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'etl_written_here';
COMMENT ON FUNCTION etl._written_here(xid) IS 'whether a row version was written by the current transaction';

CREATE FUNCTION etl.is_castable(value text, type text) RETURNS boolean
LANGUAGE plpgsql STABLE STRICT COST 1000 SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF to_regtype(type) IS NULL THEN
		RAISE EXCEPTION 'type "%" does not exist', type
			USING ERRCODE = 'undefined_object', HINT = 'Types outside pg_catalog are named with their schema.';
	END IF;
	BEGIN
		EXECUTE format('SELECT %L::%s', value, type);
		RETURN true;
	EXCEPTION WHEN data_exception OR integrity_constraint_violation OR feature_not_supported OR undefined_object OR undefined_table OR invalid_name THEN
		RETURN false;
	END;
END
$$;
COMMENT ON FUNCTION etl.is_castable(text, text) IS 'whether a text is a value of a type, as in value::type';

CREATE FUNCTION etl._type_of_column(relation regclass, column_name text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT format_type(a.atttypid, -1) FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = column_name AND a.attnum > 0 AND NOT a.attisdropped $$;
COMMENT ON FUNCTION etl._type_of_column(regclass, text) IS 'the type of a column as SQL, without its length';

-- The rows of the run, as a condition; NULL when it cannot be told.
CREATE FUNCTION etl._scope_condition(pipeline text, timezone text, relation regclass, interval_column text, by_hand boolean) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c record;
	definition jsonb;
	key text[];
	since timestamptz := etl.data_interval_start();
	until timestamptz := etl.data_interval_end();
BEGIN
	SELECT n.nspname, x.relname, regexp_replace(x.relname, '^v[rl]_', '')::name AS base, x.relkind INTO STRICT c
	FROM pg_class x JOIN pg_namespace n ON n.oid = x.relnamespace WHERE x.oid = relation;
	SELECT t.definition INTO definition FROM etl._tasks(pipeline) t
	WHERE t.kind IN ('load', 'extract') AND t.target_schema = c.nspname AND t.target_name IN (c.relname, c.base) ORDER BY t.target_name = c.relname DESC LIMIT 1;
	interval_column := coalesce(interval_column, definition ->> 'partition_by');
	IF interval_column IS NOT NULL THEN
		RETURN CASE WHEN etl._type_of_column(relation, interval_column) = 'timestamp with time zone'
			THEN format('t.%1$I >= %2$L::timestamptz AND t.%1$I < %3$L::timestamptz', interval_column, since, until)
			ELSE format('t.%1$I >= %2$L::timestamp AND t.%1$I < %3$L::timestamp', interval_column, since AT TIME ZONE timezone, until AT TIME ZONE timezone) END;
	ELSIF etl._type_of_column(relation, 'data_interval_start') = 'timestamp with time zone' THEN
		RETURN format('t.data_interval_start >= %L::timestamptz AND t.data_interval_start < %L::timestamptz', since, until);
	ELSIF definition ? 'mode' AND etl._relation(c.nspname, ('obs_' || c.base)::name) IS NOT NULL
		  AND etl._observation_form(to_regclass(definition ->> 'source'), definition) = 'points' THEN
		SELECT array_agg(k ORDER BY n) INTO key FROM jsonb_array_elements_text(definition -> 'key') WITH ORDINALITY e(k, n);
		RETURN format('EXISTS (SELECT FROM %I.%I o WHERE o.observed_pipeline = %L AND o.observed_interval = %L AND %s)', c.nspname, 'obs_' || c.base,
			pipeline, since, etl._key_match('o', 't', etl._relation(c.nspname, c.base), key));
	ELSIF etl._reads_interval(relation) THEN
		RETURN 'true';
	ELSIF c.relkind IN ('r', 'p') THEN
		-- what was written can be told only by who wrote it
		RETURN CASE WHEN by_hand THEN 'true' ELSE 'etl._written_here(t.xmin)' END;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION etl._scope_condition(text, text, regclass, text, boolean) IS 'a condition that a row belongs to the current run; NULL when nothing tells';

-- What a row check calls a failing row.
CREATE FUNCTION etl._failing_condition(relation regclass, check_type text, arguments jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	columns text[] := (SELECT array_agg(quote_ident(c) ORDER BY n) FROM jsonb_array_elements_text(arguments -> 'columns') WITH ORDINALITY e(c, n));
	to_columns text[] := (SELECT array_agg(quote_ident(c) ORDER BY n)
		FROM jsonb_array_elements_text(coalesce(arguments -> 'to_columns', arguments -> 'columns')) WITH ORDINALITY e(c, n));
	one text := 't.' || quote_ident(arguments ->> 'column');
	type text := etl._type_of_column(relation, arguments ->> 'column');
	n record;
BEGIN
	CASE check_type
	WHEN 'not_null' THEN
		RETURN (SELECT string_agg(format('t.%s IS NULL', c), ' OR ') FROM unnest(columns) c);
	WHEN 'accepted_values' THEN
		RETURN format('%s IS NOT NULL AND NOT %1$s %s ANY (%L::%s[])', one,
			coalesce(etl._equality_operator((SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = arguments ->> 'column')), '='),
			(SELECT array_agg(v) FROM jsonb_array_elements_text(arguments -> 'values') v), type);
	WHEN 'between' THEN
		RETURN concat_ws(' OR ', format('%s < %L::%s', one, arguments ->> 'min', type), format('%s > %L::%s', one, arguments ->> 'max', type));
	WHEN 'matches' THEN
		RETURN format('%s::text !~ %L', one, arguments ->> 'pattern');
	WHEN 'castable' THEN
		RETURN format('NOT etl.is_castable(%s, %L)', CASE type WHEN 'jsonb' THEN one || ' #>> ''{}''' ELSE one || '::text' END, arguments ->> 'type');
	WHEN 'pair_comparison' THEN
		RETURN format('NOT (t.%s %s t.%s)', columns[1], arguments ->> 'operator', columns[2]);
	WHEN 'expression' THEN
		RETURN format(E'(\n%s\n) IS FALSE', arguments ->> 'expression');
	WHEN 'json_schema' THEN
		RETURN format('NOT etl.is_valid_json(%L::jsonb, %s::jsonb)', arguments -> 'schema', one);
	WHEN 'relationships' THEN
		n := etl._parse_name(arguments ->> 'to');
		RETURN format('%s AND NOT EXISTS (SELECT FROM %I.%I r WHERE %s)',
			(SELECT string_agg(format('t.%s IS NOT NULL', c), ' AND ') FROM unnest(columns) c), n.schema_name, n.relation_name,
			(SELECT string_agg(format('r.%s %s t.%s', r, coalesce(etl._equality_operator((SELECT a.atttypid FROM pg_attribute a
				WHERE a.attrelid = etl._relation(n.schema_name, n.relation_name) AND quote_ident(a.attname) = r)), '='), c), ' AND ') FROM unnest(to_columns, columns) u(r, c)));
	ELSE
		RETURN NULL;
	END CASE;
END
$$;
COMMENT ON FUNCTION etl._failing_condition(regclass, text, jsonb) IS 'a condition that a row breaks the rule; a null breaks only not_null';

-- counted: the rows that count, as a condition.  One row a failing row, or for unique one
-- row a value that occurs more than once, with the number of its rows.
CREATE FUNCTION etl._failing_rows_query(relation regclass, check_type text, arguments jsonb, counted text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN check_type = 'unique' THEN
		-- as SQL has it: rows with a null among the columns are never duplicates
		format('SELECT %1$s, count(*) AS occurrences FROM %2$s t WHERE (%4$s) AND %3$s GROUP BY %1$s HAVING count(*) > 1',
			string_agg('t.' || quote_ident(c), ', ' ORDER BY n), relation, string_agg('t.' || quote_ident(c) || ' IS NOT NULL', ' AND ' ORDER BY n), counted)
		ELSE format('SELECT t.* FROM %s t WHERE (%s) AND (%s)', relation, counted, etl._failing_condition(relation, check_type, arguments)) END
	FROM jsonb_array_elements_text(CASE WHEN jsonb_typeof(arguments -> 'columns') = 'array' THEN arguments -> 'columns' ELSE '[null]' END) WITH ORDINALITY e(c, n)
$$;
COMMENT ON FUNCTION etl._failing_rows_query(regclass, text, jsonb, text) IS 'the query for rows that break a rule';

-- A check about a figure: one row with figure, passed, threshold and what the figure counts.
CREATE FUNCTION etl._figure_query(relation regclass, check_type text, arguments jsonb, counted text, timezone text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	one text := 't.' || quote_ident(arguments ->> 'column');
	type text := etl._type_of_column(relation, arguments ->> 'column');
	n record;
	bounds text := concat_ws(' and ', 'at least ' || (arguments ->> 'min'), 'at most ' || (arguments ->> 'max'));
BEGIN
	CASE
	WHEN check_type IN ('row_count', 'row_count_between') THEN
		RETURN format('SELECT count(*)::text AS figure, count(*) >= %s AND count(*) <= %s AS passed, %L AS threshold, ''rows'' AS unit FROM %s t WHERE %s',
			coalesce(arguments ->> 'min', '0'), coalesce(arguments ->> 'max', 'count(*)'), bounds || ' rows', relation, counted);
	WHEN check_type = 'row_count_equals' THEN
		n := etl._parse_name(arguments ->> 'to');
		RETURN format('SELECT a.rows::text AS figure, abs(a.rows - b.rows) <= %s AS passed, b.rows || %L AS threshold, ''rows'' AS unit
			FROM (SELECT count(*) AS rows FROM %s t WHERE %s) a, (SELECT count(*) AS rows FROM %I.%I t WHERE %s) b',
			coalesce(arguments ->> 'tolerance', '0'),
			format(' rows of %I.%I', n.schema_name, n.relation_name) || coalesce(', give or take ' || (arguments ->> 'tolerance'), ''), relation, counted,
			n.schema_name, n.relation_name, coalesce(E'(\n' || (arguments ->> 'to_filter') || E'\n)', 'true'));
	WHEN check_type IN ('mean_between', 'sum_between') THEN
		RETURN format('SELECT coalesce(x.figure::text, ''null'') AS figure, coalesce(%s, false) AS passed, %L AS threshold, %L AS unit FROM (SELECT %s(%s) AS figure FROM %s t WHERE %s) x',
			concat_ws(' AND ', 'x.figure >= ' || quote_literal(arguments ->> 'min') || '::numeric', 'x.figure <= ' || quote_literal(arguments ->> 'max') || '::numeric'),
			bounds, 'as ' || split_part(check_type, '_', 1), CASE check_type WHEN 'mean_between' THEN 'avg' ELSE 'sum' END, one, relation, counted);
	WHEN check_type IN ('min_between', 'max_between') THEN
		RETURN format('SELECT coalesce(x.figure::text, ''null'') AS figure, coalesce(%s, false) AS passed, %L AS threshold, %L AS unit FROM (SELECT %s(%s) AS figure FROM %s t WHERE %s) x',
			concat_ws(' AND ', 'x.figure >= ' || quote_literal(arguments ->> 'min') || '::' || type, 'x.figure <= ' || quote_literal(arguments ->> 'max') || '::' || type),
			bounds, 'as ' || split_part(check_type, '_', 1), split_part(check_type, '_', 1), one, relation, counted);
	WHEN check_type = 'freshness' THEN
		-- the data of an interval of the past were fresh when it ended
		RETURN format('SELECT coalesce((x.until - x.latest)::text, ''no rows'') AS figure, coalesce(x.until - x.latest <= %L::interval, false) AS passed, %L AS threshold, ''of age'' AS unit, %s AS severity
			FROM (SELECT max(%s)%s AS latest, least(etl._now(), etl.data_interval_end()) AS until FROM %s t WHERE %s) x',
			coalesce(arguments ->> 'warn_after', arguments ->> 'error_after'),
			'at most ' || concat_ws(', ', (arguments ->> 'warn_after') || ' (warn)', (arguments ->> 'error_after') || ' (error)'),
			CASE WHEN NOT arguments ? 'error_after' THEN '''warn'''
				 ELSE format('CASE WHEN x.until - x.latest <= %L::interval THEN ''warn'' END', arguments ->> 'error_after') END, one,
			CASE type WHEN 'timestamp with time zone' THEN '' ELSE format('::timestamp AT TIME ZONE %L', timezone) END, relation, counted);
	WHEN check_type = 'of_type' THEN
		RETURN format('SELECT %L AS figure, %L AS passed, %L AS threshold, '''' AS unit',
			(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = arguments ->> 'column' AND NOT a.attisdropped),
			coalesce((SELECT a.atttypid = to_regtype(arguments ->> 'type')
					-- a length counts when one is asked for
					AND (arguments ->> 'type' !~ '\(' OR format_type(a.atttypid, a.atttypmod) IN (arguments ->> 'type',
						to_regtype(regexp_replace(arguments ->> 'type', '\(.*$', ''))::text || replace(substring(arguments ->> 'type' FROM '\(.*$'), ' ', '')))
				FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = arguments ->> 'column' AND NOT a.attisdropped), false)::text,
			arguments ->> 'type');
	WHEN check_type = 'volume_anomaly' THEN
		RETURN format('SELECT count(*) AS rows FROM %s t WHERE %s', relation, counted);
	END CASE;
END
$$;
COMMENT ON FUNCTION etl._figure_query(regclass, text, jsonb, text, text) IS 'the query for the figure of a check that is not about single rows';

CREATE FUNCTION etl._counted_condition(scope_condition text, filter text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(nullif(concat_ws(' AND ', nullif(scope_condition, 'true'), E'(\n' || filter || E'\n)'), ''), 'true') $$;
COMMENT ON FUNCTION etl._counted_condition(text, text) IS 'the condition that a row counts: of the scope, and as the filter says';
