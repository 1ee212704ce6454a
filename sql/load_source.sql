-- The rows a load works from: its view, evaluated once, in the types of the target.

CREATE FUNCTION etl._equality_operator(type oid) RETURNS text
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'etl_equality_operator';
COMMENT ON FUNCTION etl._equality_operator(oid) IS 'the equality of a type as OPERATOR(schema.=), NULL when it has none';

CREATE FUNCTION etl._same(a text, b text, column_name text, column_type oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	-- types without equality (json, xml, point …) are compared as text
	SELECT CASE WHEN o.equals IS NULL THEN format('%1$s.%3$I::text IS NOT DISTINCT FROM %2$s.%3$I::text', a, b, column_name)
				ELSE format('coalesce(%1$s.%3$I %4$s %2$s.%3$I, %1$s.%3$I IS NULL AND %2$s.%3$I IS NULL)', a, b, column_name, o.equals) END
	FROM (SELECT etl._equality_operator(column_type) AS equals) o
$$;
COMMENT ON FUNCTION etl._same(text, text, text, oid) IS 'a null-safe SQL condition that a column of two aliases holds the same value';

CREATE FUNCTION etl._key_match(a text, b text, relation regclass, key text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT string_agg(format('%1$s.%3$I %4$s %2$s.%3$I', a, b, k.name, etl._equality_operator(t.atttypid)), ' AND ' ORDER BY k.n)
	FROM unnest(key) WITH ORDINALITY k(name, n)
	JOIN pg_attribute t ON t.attrelid = relation AND t.attname = k.name
$$;
COMMENT ON FUNCTION etl._key_match(text, text, regclass, text[]) IS 'an SQL condition that two aliases have the same key, whatever the search_path';

-- Statistics are for the columns it is joined by, if there are any: those of all cost as much as
-- writing the rows.
CREATE FUNCTION etl._materialize_source(source regclass, target regclass, key text[], lookups etl._lookup_parts DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	columns text := (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
					 WHERE attrelid = source AND attnum > 0 AND NOT attisdropped);
	source_rows bigint;
BEGIN
	DROP TABLE IF EXISTS pg_temp.etl_source, pg_temp.etl_affected, pg_temp.etl_winner;
	EXECUTE format('CREATE TEMPORARY TABLE etl_source ON COMMIT DROP AS SELECT %s%s FROM %s WITH NO DATA', columns, coalesce(etl._column_list(lookups.columns, ', %I', ''), ''), target);
	EXECUTE 'INSERT INTO pg_temp.etl_source ' || etl._with_lookups(format('SELECT %s FROM %s', columns, source), lookups);
	GET DIAGNOSTICS source_rows = ROW_COUNT;
	EXECUTE 'ANALYZE pg_temp.etl_source' || coalesce(' (' || (SELECT string_agg(quote_ident(k), ', ') FROM unnest(key) k) || ')', '');
	RETURN source_rows;
END
$$;
COMMENT ON FUNCTION etl._materialize_source(regclass, regclass, text[], etl._lookup_parts) IS 'evaluates a load''s view once into pg_temp.etl_source, with the types of the target; returns the number of rows';

CREATE FUNCTION etl._check_source_keys(source regclass, key text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	key_list text := (SELECT string_agg(quote_ident(k), ', ' ORDER BY n) FROM unnest(key) WITH ORDINALITY u(k, n));
	any_null text := (SELECT string_agg(format('%I IS NULL', k), ' OR ') FROM unnest(key) k);
	bad_rows bigint;
	any_bad boolean;
	sample text;
BEGIN
	EXECUTE format('SELECT coalesce(bool_or(etl_rows > 1 OR etl_null), false) FROM (SELECT count(*) AS etl_rows, %s AS etl_null FROM pg_temp.etl_source GROUP BY %s) k', any_null, key_list) INTO any_bad;
	IF NOT any_bad THEN
		RETURN;
	END IF;
	EXECUTE format('SELECT count(*) FROM pg_temp.etl_source WHERE %s', any_null) INTO bad_rows;
	IF bad_rows > 0 THEN
		EXECUTE format('SELECT left(to_jsonb(s)::text, 500) FROM pg_temp.etl_source s WHERE %s LIMIT 1', any_null) INTO sample;
		RAISE EXCEPTION '% of the rows of % have no key', bad_rows, source
			USING ERRCODE = 'not_null_violation', DETAIL = format('One of them is: %s', sample),
				  HINT = format('The key is (%s); filter such rows in the view, or give them a key there.', key_list);
	END IF;
	EXECUTE format('SELECT count(*), string_agg(k, '', '') FILTER (WHERE n <= 5) FROM (
			SELECT row(%1$s)::text AS k, row_number() OVER (ORDER BY %1$s) AS n FROM pg_temp.etl_source GROUP BY %1$s HAVING count(*) > 1) d',
		key_list) INTO bad_rows, sample;
	IF bad_rows > 0 THEN
		RAISE EXCEPTION '% keys occur more than once in %', bad_rows, source
			USING ERRCODE = 'unique_violation', DETAIL = format('Among them, as (%s): %s', key_list, sample),
				  HINT = 'Let the view give one row a key, or declare the load with on_duplicate => ''latest'' and order_by.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_source_keys(regclass, text[]) IS 'raises when pg_temp.etl_source has rows without a key or several rows of one key, with a sample';
