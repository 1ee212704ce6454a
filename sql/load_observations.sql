-- What intervals said, kept beside a target whose result must not depend on the order of
-- runs: see docs/decisions/0003-order-free-loads.md.  Which form a load keeps:
--
--   points    a row for each key and interval that mentions it (incremental, delta with a key)
--   runs      a row for each key and span of snapshots that say the same (incremental over
--             snapshots; the form of mode scd2, see load_scd2.sql)
--   rows      each row an interval added, whatever its values (delta without a key)
--   children  points, and in snp_<table> the parents each interval gave

CREATE FUNCTION etl._observation_form(source regclass, definition jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE
		WHEN NOT coalesce((definition #>> '{options,order_free}')::boolean, true) OR NOT etl._reads_interval(source) THEN NULL
		WHEN definition ->> 'mode' = 'delta' THEN CASE WHEN definition ->> 'key' IS NULL THEN 'rows' ELSE 'points' END
		WHEN definition ->> 'mode' <> 'incremental' THEN NULL
		WHEN definition ->> 'parent' IS NOT NULL THEN 'children'
		WHEN definition ->> 'source_kind' = 'snapshot' THEN 'runs'
		ELSE 'points' END
$$;
COMMENT ON FUNCTION etl._observation_form(regclass, jsonb) IS 'in which form a load remembers what each interval said; NULL when it does not';

CREATE FUNCTION etl._observation_columns(form text) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE form WHEN 'runs' THEN '{observed_pipeline,observed_from,observed_until}'::text[]
					   WHEN 'rows' THEN '{observed_pipeline,observed_interval,observed_row}'
					   ELSE '{observed_pipeline,observed_interval}' END $$;
COMMENT ON FUNCTION etl._observation_columns(text) IS 'the columns of obs_<table> besides the view''s';

-- obs_ and snp_ of another form cannot be read; with rows in them that is for the user to say.
CREATE FUNCTION etl._drop_other_observations(schema_name name, relation_name name, form text, key text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	observations regclass := etl._relation(schema_name, ('obs_' || relation_name)::name);
	snapshots regclass := etl._relation(schema_name, ('snp_' || relation_name)::name);
	any_row boolean;
BEGIN
	IF form = 'points' AND observations IS NOT NULL AND snapshots IS NULL
	   AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = observations AND attname = 'observed_interval' AND NOT attisdropped)
	   AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = observations AND attname = 'observed_row' AND NOT attisdropped)
	   AND NOT etl._has_unique_index(observations, key || '{observed_interval,observed_pipeline}'::text[], false)
	THEN
		EXECUTE (SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', observations, c.conname) FROM pg_constraint c WHERE c.conrelid = observations AND c.contype = 'p');
		EXECUTE format('ALTER TABLE %s ADD PRIMARY KEY (%s, observed_interval, observed_pipeline)', observations, etl._column_list(key));
	END IF;
	IF observations IS NULL OR (
		(SELECT array_agg(a.attname::text ORDER BY a.attname::text) FROM pg_attribute a WHERE a.attrelid = observations AND a.attname ~ '^observed_' AND NOT a.attisdropped)
		= (SELECT array_agg(c ORDER BY c) FROM unnest(etl._observation_columns(form)) c)
		AND (snapshots IS NOT NULL) = (form IN ('runs', 'children'))
		AND (form = 'rows' OR etl._has_unique_index(observations,
			key || CASE form WHEN 'runs' THEN '{observed_from,observed_pipeline}'::text[] ELSE '{observed_interval,observed_pipeline}' END, false)))
	THEN
		RETURN;
	END IF;
	EXECUTE format('SELECT EXISTS (SELECT FROM %s)', observations) INTO any_row;
	IF any_row THEN
		RAISE EXCEPTION 'the observations of % are of another form', etl._full_name(schema_name, relation_name)
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  DETAIL = format('%s holds what the intervals said so far, under another key, source_kind or mode.', observations),
				  HINT = format('TRUNCATE %s; then declare the load and run the intervals again.', concat_ws(', ', observations, snapshots));
	END IF;
	EXECUTE format('DROP TABLE %s', concat_ws(', ', observations, snapshots));
END
$$;
COMMENT ON FUNCTION etl._drop_other_observations(name, name, text, text[]) IS 'removes observations of another form if they are empty, else raises';

CREATE FUNCTION etl._create_observations(schema_name name, relation_name name, source regclass, key text[], form text, parent_key text[], parent_version text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	target regclass := etl._relation(schema_name, relation_name);
	observations name := 'obs_' || relation_name;
	snapshots name := 'snp_' || relation_name;
	problem text;
BEGIN
	SELECT attname INTO problem FROM pg_attribute
	WHERE attrelid = source AND attnum > 0 AND NOT attisdropped AND (attname ~ '^etl_' OR attname = ANY (etl._observation_columns('runs') || etl._observation_columns('rows'))) LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'column "%" of % has a name that order-free loads need', problem, source
			USING ERRCODE = 'reserved_name', HINT = 'Give it another name in the view; observed_… and etl_… are taken.';
	END IF;
	PERFORM etl._drop_other_observations(schema_name, relation_name, form, key);
	IF etl._relation(schema_name, observations) IS NULL THEN
		EXECUTE format('CREATE TABLE %I.%I AS SELECT %s, %s FROM %s WITH NO DATA', schema_name, observations,
			(SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = source AND attnum > 0 AND NOT attisdropped),
			(SELECT string_agg(format('NULL::%s AS %I', CASE WHEN c = 'observed_pipeline' THEN 'text' WHEN c = 'observed_row' THEN 'tid' ELSE 'timestamptz' END, c), ', ' ORDER BY n)
			 FROM unnest(etl._observation_columns(form)) WITH ORDINALITY u(c, n)), target);
		IF form = 'rows' THEN
			EXECUTE format('CREATE INDEX ON %I.%I (observed_pipeline, observed_interval)', schema_name, observations);
		ELSIF form = 'runs' THEN
			EXECUTE format('ALTER TABLE %I.%I ADD PRIMARY KEY (%s, observed_from, observed_pipeline)', schema_name, observations, etl._column_list(key));
			EXECUTE format('CREATE INDEX ON %I.%I (observed_pipeline, observed_until, observed_from)', schema_name, observations);
		ELSE
			EXECUTE format('ALTER TABLE %I.%I ADD PRIMARY KEY (%s, observed_interval, observed_pipeline)', schema_name, observations, etl._column_list(key));
			EXECUTE format('CREATE INDEX ON %I.%I (observed_pipeline, observed_interval)', schema_name, observations);
		END IF;
		IF form = 'children' AND key[1:cardinality(parent_key)] IS DISTINCT FROM parent_key THEN
			EXECUTE format('CREATE INDEX ON %I.%I (%s)', schema_name, observations, etl._column_list(parent_key));
		END IF;
		EXECUTE format('COMMENT ON TABLE %I.%I IS %L', schema_name, observations,
			CASE form WHEN 'rows' THEN 'the rows each data interval added; lets ' || relation_name || ' take one interval''s back'
					  ELSE 'what each data interval said about each key; makes ' || relation_name || ' independent of the order of runs' END);
	END IF;
	PERFORM etl._add_missing_columns(etl._relation(schema_name, observations), target, source);
	IF form = 'runs' AND etl._relation(schema_name, snapshots) IS NULL THEN
		EXECUTE format('CREATE TABLE %I.%I (observed_pipeline text, observed_interval timestamptz, folded_as jsonb, PRIMARY KEY (observed_pipeline, observed_interval))',
			schema_name, snapshots);
		EXECUTE format('COMMENT ON TABLE %I.%I IS %L', schema_name, snapshots, 'the snapshots that ' || relation_name || ' was made from');
	ELSIF form = 'children' AND etl._relation(schema_name, snapshots) IS NULL THEN
		EXECUTE format('CREATE TABLE %I.%I AS SELECT %s, NULL::text AS observed_pipeline, NULL::timestamptz AS observed_interval, NULL::%s AS observed_version FROM %s WITH NO DATA',
			schema_name, snapshots, etl._column_list(parent_key), coalesce(parent_version, 'integer'), target);
		EXECUTE format('ALTER TABLE %I.%I ADD PRIMARY KEY (%s, observed_interval, observed_pipeline)', schema_name, snapshots, etl._column_list(parent_key));
		EXECUTE format('CREATE INDEX ON %I.%I (observed_pipeline, observed_interval)', schema_name, snapshots);
		EXECUTE format('COMMENT ON TABLE %I.%I IS %L', schema_name, snapshots, 'the parents each data interval gave: whose rows in ' || relation_name || ' it decides');
	END IF;
END
$$;
COMMENT ON FUNCTION etl._create_observations(name, name, regclass, text[], text, text[], text) IS 'makes the tables that remember what the intervals said, or extends them';

CREATE FUNCTION etl._add_missing_columns(relation regclass, target regclass, source regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	new_column record;
BEGIN
	FOR new_column IN
		SELECT t.attname, format_type(t.atttypid, t.atttypmod) AS type
		FROM pg_attribute v JOIN pg_attribute t ON t.attrelid = target AND t.attname = v.attname AND NOT t.attisdropped
		WHERE v.attrelid = source AND v.attnum > 0 AND NOT v.attisdropped
		  AND NOT EXISTS (SELECT FROM pg_attribute o WHERE o.attrelid = relation AND o.attname = v.attname AND NOT o.attisdropped)
		ORDER BY v.attnum
	LOOP
		EXECUTE format('ALTER TABLE %s ADD COLUMN %I %s', relation, new_column.attname, new_column.type);
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._add_missing_columns(regclass, regclass, regclass) IS 'gives a table the columns of a view that it lacks, in the types of the target';

-- A target that was made anew: what was folded into the old one is to be folded again.
CREATE FUNCTION etl._reset_observations(schema_name name, relation_name name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	observations regclass := etl._relation(schema_name, ('obs_' || relation_name)::name);
	snapshots regclass := etl._relation(schema_name, ('snp_' || relation_name)::name);
BEGIN
	IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = observations AND attname = 'observed_row' AND NOT attisdropped) THEN
		EXECUTE format('DELETE FROM %s', observations);
	END IF;
	IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = snapshots AND attname = 'folded_as' AND NOT attisdropped) THEN
		EXECUTE format('UPDATE %s SET folded_as = ''{}'' WHERE observed_pipeline = ''''', snapshots);
	END IF;
END
$$;
COMMENT ON FUNCTION etl._reset_observations(name, name) IS 'lets the next run fill a target that was made anew from all that is remembered';
