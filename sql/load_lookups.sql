-- Surrogate keys in facts: looked up as of the fact's time while its row is made, as one join for
-- all rows; and looked up again, key by key, when the dimension has got other rows since.

CREATE TYPE etl._lookup_parts AS (
	columns text[],			-- what is looked up
	selected text,			-- the expressions, each behind a comma
	joins text);			-- for a relation with alias s
COMMENT ON TYPE etl._lookup_parts IS 'the lookups of a load as pieces of SQL';

-- A fact's moment in the type of the dimension's validity; days are those of the pipeline.
CREATE FUNCTION etl._lookup_moment(alias text, column_name text, column_type regtype, validity regtype, timezone text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format(CASE WHEN column_type = validity THEN '%1$s.%2$I'
		WHEN validity = 'timestamptz'::regtype THEN '(%1$s.%2$I::timestamp AT TIME ZONE %3$L)'
		WHEN column_type = 'timestamptz'::regtype THEN '(%1$s.%2$I AT TIME ZONE %3$L)::' || validity
		ELSE '%1$s.%2$I::' || validity END, alias, column_name, timezone)
$$;
COMMENT ON FUNCTION etl._lookup_moment(text, text, regtype, regtype, text) IS 'the time a fact is about, as an expression of the type of a validity';

-- That a row of the dimension is the one a fact means; both by their aliases.
CREATE FUNCTION etl._lookup_condition(l jsonb, target regclass, fact text, row_alias text, timezone text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	dimension regclass := to_regclass(l ->> 'dimension');
	validity regtype;
	condition text;
	moment text;
BEGIN
	SELECT string_agg(format('%s.%I %s %s.%I', row_alias, k.d, etl._equality_operator(a.atttypid), fact, k.f), ' AND ' ORDER BY k.o) INTO condition
	FROM ROWS FROM (jsonb_array_elements_text(l -> 'dimension_key'), jsonb_array_elements_text(l -> 'fact_key')) WITH ORDINALITY k(d, f, o)
	JOIN pg_attribute a ON a.attrelid = dimension AND a.attname = k.d AND NOT a.attisdropped;
	IF l ->> 'valid_from' IS NULL THEN
		RETURN condition;
	END IF;
	validity := etl._column_type(dimension, l ->> 'valid_from')::regtype;
	IF l ->> 'as_of' IS NULL THEN
		RETURN condition || format(' AND %s.%I = %L::%s', row_alias, l ->> 'valid_to', l ->> 'open_end', validity);
	END IF;
	moment := etl._lookup_moment(fact, l ->> 'as_of', etl._column_type(target, l ->> 'as_of')::regtype, validity, timezone);
	-- the open end is no moment: what still holds, holds then too
	RETURN condition || format(' AND %1$s.%2$I <= %3$s AND (%1$s.%4$I > %3$s OR %1$s.%4$I = %5$L::%6$s)', row_alias, l ->> 'valid_from', moment, l ->> 'valid_to', l ->> 'open_end', validity);
END
$$;
COMMENT ON FUNCTION etl._lookup_condition(jsonb, regclass, text, text, text) IS 'the SQL condition that joins a fact with the row of a dimension it is about';

CREATE FUNCTION etl._lookup_value(l jsonb, d text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT format(CASE WHEN l ->> 'unknown' IS NULL THEN '%s.%I' ELSE 'COALESCE(%s.%I, %L::%s)' END, d, l ->> 'surrogate_key', l ->> 'unknown', l ->> 'type') $$;
COMMENT ON FUNCTION etl._lookup_value(jsonb, text) IS 'what a lookup gives: the surrogate key, else the unknown member''s';

CREATE FUNCTION etl._lookup_parts(target regclass, lookups jsonb, timezone text) RETURNS etl._lookup_parts
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	parts etl._lookup_parts := (NULL, '', '');
	l jsonb;
	alias text;
BEGIN
	FOR l IN SELECT * FROM jsonb_array_elements(lookups) LOOP
		IF to_regclass(l ->> 'dimension') IS NULL OR etl._column_type(to_regclass(l ->> 'dimension'), l ->> 'surrogate_key') IS NULL
		   OR l ->> 'valid_from' IS NOT NULL AND etl._column_type(to_regclass(l ->> 'dimension'), l ->> 'valid_from') IS NULL THEN
			RAISE EXCEPTION 'dimension % of % is not as it was when its lookup was declared', l ->> 'dimension', target
				USING ERRCODE = 'object_not_in_prerequisite_state', HINT = format('Declare the load of %s again.', target);
		END IF;
		alias := 'etl_l' || coalesce(cardinality(parts.columns), 0);
		parts.columns := parts.columns || (l ->> 'column');
		parts.selected := parts.selected || format(', %s AS %I', etl._lookup_value(l, alias), l ->> 'column');
		parts.joins := parts.joins || format(' LEFT JOIN %s %s ON %s', l ->> 'dimension', alias, etl._lookup_condition(l, target, 's', alias, timezone));
	END LOOP;
	RETURN parts;
END
$$;
COMMENT ON FUNCTION etl._lookup_parts(regclass, jsonb, text) IS 'the lookups of a load as pieces of SQL';

CREATE FUNCTION etl._with_lookups(query text, parts etl._lookup_parts) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE WHEN (parts).columns IS NULL THEN query ELSE format('SELECT s.*%s FROM (%s) s%s', (parts).selected, query, (parts).joins) END $$;
COMMENT ON FUNCTION etl._with_lookups(text, etl._lookup_parts) IS 'a query whose rows get the surrogate keys they look up';

-- The rows of a target whose dimension has changed since: what the ledger names is looked up
-- again.  First the ledger, then the dimension: what changes in between is noted still.
CREATE FUNCTION etl._repair_lookups(pipeline text, task text, target regclass, lookups jsonb, timezone text, touch text[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET random_page_cost = 0.3 SET enable_mergejoin = off
AS $$
DECLARE
	ledger regclass;
	l jsonb;
	any_news boolean;
	all_keys boolean;
	fact_key text[];
	needed text;			-- what is needed of a fact
	ranged boolean;
	validity text;
	rows text;
	value text;
	moment text;
	repaired bigint;
	total bigint := 0;
BEGIN
	SELECT etl._relation(n.nspname, ('lkp_' || c.relname)::name) INTO ledger FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = target;
	IF ledger IS NULL THEN
		RAISE EXCEPTION 'the ledger of the lookups of % is gone', target
			USING ERRCODE = 'undefined_table', HINT = format('Declare the load of %s again; it makes it anew.', target);
	END IF;
	FOR l IN SELECT * FROM jsonb_array_elements(lookups) LOOP
		EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE column_name = $1), EXISTS (SELECT FROM %1$s WHERE column_name = $1 AND business_key IS NULL)', ledger)
		INTO any_news, all_keys USING l ->> 'column';
		CONTINUE WHEN NOT any_news;
		fact_key := (SELECT array_agg(k ORDER BY o) FROM jsonb_array_elements_text(l -> 'fact_key') WITH ORDINALITY e(k, o));
		ranged := l ->> 'as_of' IS NOT NULL;
		needed := 'f.tableoid AS etl_table, f.ctid AS etl_row, ' || (SELECT string_agg(DISTINCT format('f.%I', c), ', ') FROM unnest(fact_key || ARRAY[l ->> 'as_of', l ->> 'column']) c WHERE c IS NOT NULL);
		validity := coalesce(etl._column_type(to_regclass(l ->> 'dimension'), l ->> 'valid_from'), 'timestamptz');
		value := etl._lookup_value(l, 'd');
		IF all_keys THEN
			EXECUTE format('DELETE FROM %s WHERE column_name = $1', ledger) USING l ->> 'column';
			rows := format('NOT MATERIALIZED (SELECT %s FROM %s f)', needed, target);
		ELSE
			DROP TABLE IF EXISTS pg_temp.etl_news;
			EXECUTE format('CREATE TEMPORARY TABLE etl_news ON COMMIT DROP AS SELECT %s, NULL::%s AS etl_since, NULL::%2$s AS etl_until FROM %3$s WITH NO DATA',
				etl._column_list(fact_key), validity, target);
			EXECUTE format('WITH gone AS (DELETE FROM %s WHERE column_name = $1 RETURNING business_key, since, until)
				INSERT INTO pg_temp.etl_news SELECT %s, min(since::%s), max(until::%3$s) FROM gone GROUP BY business_key', ledger,
				(SELECT string_agg(format('business_key[%s]::%s', n, etl._column_type(target, k)), ', ' ORDER BY n) FROM unnest(fact_key) WITH ORDINALITY u(k, n)), validity)
			USING l ->> 'column';
			ANALYZE pg_temp.etl_news;
			-- the facts of these keys first: the planner would join all of them with the dimension
			rows := format('MATERIALIZED (SELECT %s FROM pg_temp.etl_news n JOIN %s f ON %s', needed, target, etl._key_match('f', 'n', target, fact_key));
			IF ranged THEN
				moment := etl._lookup_moment('f', l ->> 'as_of', etl._column_type(target, l ->> 'as_of')::regtype, validity::regtype, timezone);
				rows := rows || format(' AND %1$s >= n.etl_since AND (%1$s < n.etl_until OR n.etl_until = %2$L::%3$s)', moment, l ->> 'open_end', validity);
			END IF;
			rows := rows || ')';
		END IF;
		EXECUTE format('WITH f AS %5$s
			UPDATE %1$s t SET %2$I = x.etl_value%3$s FROM (
				SELECT f.etl_table, f.etl_row, %4$s AS etl_value FROM f LEFT JOIN %6$s d ON %7$s WHERE f.%2$I IS DISTINCT FROM %4$s) x
			WHERE t.ctid = x.etl_row AND t.tableoid = x.etl_table',
			target, l ->> 'column', coalesce(etl._column_list(touch, ', %I = statement_timestamp()', ''), ''), value, rows, l ->> 'dimension',
			etl._lookup_condition(l, target, 'f', 'd', timezone));
		GET DIAGNOSTICS repaired = ROW_COUNT;
		total := total + repaired;
		IF repaired > 0 THEN
			PERFORM etl._log('INFO', pipeline, etl.run_id(), task, format('%s rows looked up "%s" again, as %s had changed', repaired, l ->> 'column', l ->> 'dimension'));
		END IF;
	END LOOP;
	RETURN total;
END
$$;
COMMENT ON FUNCTION etl._repair_lookups(text, text, regclass, jsonb, text, text[]) IS 'looks up again what dimensions have changed since the last run; returns the number of rows that changed';
