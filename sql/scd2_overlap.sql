-- No two versions of a key at once, whoever writes the table: beside the unique indexes of
-- mode scd2 a statement's rows are compared with those of their keys when it ends, or, where
-- it is asked for, an exclusion constraint does it.  See docs/decisions/0011-no-overlap.md.

-- As SQL: the rows of a trigger are seen by its own statements only.
CREATE FUNCTION etl._overlap_query(target regclass, rows text, key text[], valid_from text, valid_to text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('SELECT format(''(%%s)=(%%s) has %%s to %%s and %%s to %%s'', %1$L, concat_ws('', '', %2$s), n.%3$I, n.%4$I, t.%3$I, t.%4$I)
		FROM %5$s n JOIN %6$s t ON %7$s AND t.%3$I < n.%4$I AND t.%4$I > n.%3$I AND t.%3$I <> n.%3$I LIMIT 1',
		array_to_string(key, ', '), etl._column_list(key, 'n.%I'), valid_from, valid_to, rows, target, etl._key_match('t', 'n', target, key))
$$;
COMMENT ON FUNCTION etl._overlap_query(regclass, text, text[], text, text) IS 'a query that gives two versions of a key that hold at the same time, in words; no row when there are none';

CREATE FUNCTION etl._refuse_overlap() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET random_page_cost = 0.3
AS $$
DECLARE
	problem text;
BEGIN
	-- two who write at once are compared with each other, too
	PERFORM pg_advisory_xact_lock(hashtextextended('etl scd2 ' || TG_RELID, 0));
	EXECUTE etl._overlap_query(TG_RELID, 'etl_rows', TG_ARGV[0]::text[], TG_ARGV[1], TG_ARGV[2]) INTO problem;
	IF problem IS NOT NULL THEN
		RAISE EXCEPTION 'versions of a key of % overlap', TG_RELID::regclass
			USING ERRCODE = 'exclusion_violation', DETAIL = format('Key %s.', problem),
				  HINT = 'A version ends where the next begins. The table is filled by a load of mode scd2, which makes it so.';
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION etl._refuse_overlap() IS 'trigger of tables of mode scd2: raises when a statement has left versions of a key that overlap';

CREATE FUNCTION etl._ensure_no_overlap(target regclass, key text[], valid_from text, valid_to text, exclusion boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	constrained boolean := EXISTS (SELECT FROM pg_constraint WHERE conrelid = target AND conname = 'scd2_no_overlap');
	validity regtype := etl._column_type(target, valid_from)::regtype;
	arguments bytea := convert_to(key::text, getdatabaseencoding()) || '\x00'::bytea || convert_to(valid_from, getdatabaseencoding()) || '\x00'::bytea
		|| convert_to(valid_to, getdatabaseencoding()) || '\x00'::bytea;
	event text;
	problem text;
BEGIN
	IF exclusion THEN
		IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'btree_gist') THEN
			RAISE EXCEPTION 'option "exclusion" needs the extension btree_gist'
				USING ERRCODE = 'undefined_object', HINT = 'CREATE EXTENSION btree_gist; or leave the option out: a trigger keeps versions from overlapping then.';
		ELSIF NOT constrained THEN
			EXECUTE format('ALTER TABLE %s ADD CONSTRAINT scd2_no_overlap EXCLUDE USING gist (%s, %s(%I, %I) WITH OPERATOR(pg_catalog.&&)) DEFERRABLE', target,
				(SELECT string_agg(format('%I WITH %s', k, etl._equality_operator(a.atttypid)), ', ' ORDER BY n) FROM unnest(key) WITH ORDINALITY u(k, n)
				 JOIN pg_attribute a ON a.attrelid = target AND a.attname = k),
				CASE validity WHEN 'date'::regtype THEN 'daterange' WHEN 'timestamp'::regtype THEN 'tsrange' ELSE 'tstzrange' END, valid_from, valid_to);
		END IF;
	ELSIF constrained THEN
		EXECUTE format('ALTER TABLE %s DROP CONSTRAINT scd2_no_overlap', target);
	END IF;
	FOREACH event IN ARRAY '{insert,update}'::text[] LOOP
		IF exclusion THEN
			IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = target AND tgname = 'scd2_no_overlap_' || event) THEN
				EXECUTE format('DROP TRIGGER %I ON %s', 'scd2_no_overlap_' || event, target);
			END IF;
		ELSIF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = target AND tgname = 'scd2_no_overlap_' || event AND tgargs = arguments) THEN
			EXECUTE etl._overlap_query(target, target::text, key, valid_from, valid_to) INTO problem;
			IF problem IS NOT NULL THEN
				RAISE EXCEPTION 'versions of a key of % overlap', target
					USING ERRCODE = 'exclusion_violation', DETAIL = format('Key %s.', problem), HINT = 'Correct them before the table is filled by mode scd2.';
			END IF;
			EXECUTE format('CREATE OR REPLACE TRIGGER %I AFTER %s ON %s REFERENCING NEW TABLE AS etl_rows FOR EACH STATEMENT EXECUTE FUNCTION etl._refuse_overlap(%L, %L, %L)',
				'scd2_no_overlap_' || event, event, target, key, valid_from, valid_to);
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._ensure_no_overlap(regclass, text[], text, text, boolean) IS 'gives a table of mode scd2 what keeps versions of a key from overlapping';
