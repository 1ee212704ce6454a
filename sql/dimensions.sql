-- Dimensions that no source gives.

CREATE FUNCTION etl.create_dim_date(schema text, since date, until date, name text DEFAULT 'dim_date', unknown_member boolean DEFAULT true) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n record := etl._parse_name(format('%I.%I', schema, name));
	added bigint;
	missing text;
BEGIN
	IF since IS NULL OR until IS NULL OR since > until OR NOT isfinite(since) OR NOT isfinite(until) OR since < '0001-01-01' OR until > '9999-12-31' THEN
		RAISE EXCEPTION 'invalid dates of a dimension: % to %', coalesce(since::text, 'null'), coalesce(until::text, 'null')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Both are included, for example date ''2020-01-01'' to date ''2029-12-31''; the years are 1 to 9999.';
	END IF;
	PERFORM etl._ensure_schema(n.schema_name);
	EXECUTE format('CREATE TABLE IF NOT EXISTS %I.%I (
		date_pk integer PRIMARY KEY, date date UNIQUE, year integer, quarter integer, month integer, month_name text, day integer, day_of_year integer,
		iso_year integer, iso_week integer, day_of_week integer, day_name text, is_weekend boolean, month_start date, month_end date)', n.schema_name, n.relation_name);
	SELECT string_agg(c, ', ' ORDER BY u.ordinal) INTO missing
	FROM unnest('{date_pk,date,year,quarter,month,month_name,day,day_of_year,iso_year,iso_week,day_of_week,day_name,is_weekend,month_start,month_end}'::text[]) WITH ORDINALITY u(c, ordinal)
	WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = etl._relation(n.schema_name, n.relation_name) AND a.attname = c AND NOT a.attisdropped);
	IF missing IS NOT NULL THEN
		RAISE EXCEPTION 'table %.% exists and is no dimension of dates', n.schema_name, n.relation_name
			USING ERRCODE = 'wrong_object_type', DETAIL = format('It lacks: %s.', missing), HINT = 'Choose another name.';
	END IF;
	EXECUTE format('COMMENT ON TABLE %I.%I IS %L', n.schema_name, n.relation_name, 'a row a day; date_pk is YYYYMMDD, -1 is unknown');
	EXECUTE format('INSERT INTO %I.%I (date_pk, date, year, quarter, month, month_name, day, day_of_year, iso_year, iso_week, day_of_week, day_name, is_weekend, month_start, month_end)
		SELECT to_char(d, ''YYYYMMDD'')::integer, d::date, extract(year FROM d), extract(quarter FROM d), extract(month FROM d), to_char(d, ''FMMonth''),
			   extract(day FROM d), extract(doy FROM d), extract(isoyear FROM d), extract(week FROM d), extract(isodow FROM d), to_char(d, ''FMDay''),
			   extract(isodow FROM d) >= 6, date_trunc(''month'', d)::date, (date_trunc(''month'', d) + interval ''1 month - 1 day'')::date
		FROM generate_series($1::timestamp, $2::timestamp, interval ''1 day'') d
		UNION ALL SELECT -1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL WHERE $3
		ON CONFLICT DO NOTHING', n.schema_name, n.relation_name) USING since, until, unknown_member;
	GET DIAGNOSTICS added = ROW_COUNT;
	RETURN added;
END
$$;
COMMENT ON FUNCTION etl.create_dim_date(text, date, date, text, boolean) IS
	'makes a dimension of dates, or adds the days that it lacks; returns the number of rows added';
