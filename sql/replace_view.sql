-- Changing a view under other views.  CREATE OR REPLACE VIEW only adds columns at the end;
-- for everything else the views that read it have to go first and come back after, with all
-- that was granted on them and said about them.

CREATE FUNCTION etl._views_on(relation regclass) RETURNS TABLE (dependent regclass, kind "char", depth integer)
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE d(oid, depth) AS (
		SELECT relation::oid, 0
		UNION
		SELECT w.ev_class, d.depth + 1
		FROM d
		JOIN pg_class v ON v.oid = d.oid AND v.relkind IN ('v', 'm')		-- a rule of a table may lead back to it
		JOIN pg_depend p ON p.refclassid = 'pg_class'::regclass AND p.refobjid = d.oid AND p.classid = 'pg_rewrite'::regclass
		JOIN pg_rewrite w ON w.oid = p.objid AND w.ev_class <> d.oid)
	SELECT c.oid::regclass, c.relkind, max(d.depth) FROM d JOIN pg_class c ON c.oid = d.oid
	WHERE c.oid <> relation GROUP BY c.oid ORDER BY max(d.depth), c.oid
$$;
COMMENT ON FUNCTION etl._views_on(regclass) IS 'what reads a view, directly or through other views, in an order in which it can be made';

-- Statements that bring back what a view has besides its definition.  Those about columns
-- that are no more are left out by who executes them.
CREATE FUNCTION etl._view_attire(relation regclass) RETURNS TABLE (statement text, needs_column name)
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	WITH v AS (
		SELECT c.oid, c.relowner, c.relacl, c.relkind, format('%I.%I', n.nspname, c.relname) AS name, CASE c.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END AS kind
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation)
	SELECT s.statement, s.needs_column FROM v CROSS JOIN LATERAL (
		SELECT 1 AS n, format('ALTER %s %s OWNER TO %I', v.kind, v.name, pg_get_userbyid(v.relowner)) AS statement, NULL::name AS needs_column
		UNION ALL
		SELECT 2, format('GRANT %s ON %s TO %s%s', a.privilege_type, v.name, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' END), NULL
		FROM aclexplode(coalesce(v.relacl, acldefault('r', v.relowner))) a
		UNION ALL
		SELECT 3, format('GRANT %s (%I) ON %s TO %s%s', a.privilege_type, t.attname, v.name, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' END), t.attname
		FROM pg_attribute t CROSS JOIN LATERAL aclexplode(t.attacl) a WHERE t.attrelid = v.oid AND t.attnum > 0 AND NOT t.attisdropped
		UNION ALL
		SELECT 4, format('COMMENT ON %s %s IS %L', v.kind, v.name, obj_description(v.oid, 'pg_class')), NULL WHERE obj_description(v.oid, 'pg_class') IS NOT NULL
		UNION ALL
		SELECT 5, format('COMMENT ON COLUMN %s.%I IS %L', v.name, t.attname, col_description(v.oid, t.attnum)), t.attname
		FROM pg_attribute t WHERE t.attrelid = v.oid AND t.attnum > 0 AND NOT t.attisdropped AND col_description(v.oid, t.attnum) IS NOT NULL
		UNION ALL
		SELECT 6, format('ALTER VIEW %s ALTER COLUMN %I SET DEFAULT %s', v.name, t.attname, pg_get_expr(d.adbin, d.adrelid)), t.attname
		FROM pg_attrdef d JOIN pg_attribute t ON t.attrelid = d.adrelid AND t.attnum = d.adnum WHERE d.adrelid = v.oid
		UNION ALL
		SELECT 7, pg_get_indexdef(i.indexrelid), NULL FROM pg_index i WHERE i.indrelid = v.oid
		UNION ALL
		SELECT 8, pg_get_ruledef(w.oid), NULL FROM pg_rewrite w WHERE w.ev_class = v.oid AND w.rulename <> '_RETURN'
		UNION ALL
		SELECT 9, pg_get_triggerdef(g.oid), NULL FROM pg_trigger g WHERE g.tgrelid = v.oid AND NOT g.tgisinternal) s
	ORDER BY s.n, s.statement
$$;
COMMENT ON FUNCTION etl._view_attire(regclass) IS 'owner, grants, comments, defaults, indexes, rules and triggers of a view, as statements';

CREATE FUNCTION etl._view_head(relation regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('%s %I.%I%s%s%s AS ', CASE c.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END, n.nspname, c.relname,
		' USING ' || quote_ident(a.amname), ' WITH (' || array_to_string(c.reloptions, ', ') || ')', ' TABLESPACE ' || quote_ident(t.spcname))
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	LEFT JOIN pg_am a ON a.oid = c.relam AND c.relkind = 'm' LEFT JOIN pg_tablespace t ON t.oid = c.reltablespace
	WHERE c.oid = relation
$$;
COMMENT ON FUNCTION etl._view_head(regclass) IS 'what follows CREATE for a view, up to its query';

-- What default privileges have given to a view that was just made is not what it had.
CREATE FUNCTION etl._dress_view(schema_name name, view_name name, statements text[], columns_needed name[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	relation regclass := etl._relation(schema_name, view_name);
	s record;
	is_first boolean := true;
BEGIN
	FOR s IN SELECT u.statement, u.needs_column FROM unnest(statements, columns_needed) WITH ORDINALITY u(statement, needs_column, n)
			 WHERE u.needs_column IS NULL OR EXISTS (SELECT FROM pg_attribute t WHERE t.attrelid = relation AND t.attname = u.needs_column AND NOT t.attisdropped) ORDER BY u.n LOOP
		EXECUTE s.statement;
		IF is_first THEN		-- the owner; all that is granted comes after
			EXECUTE coalesce((SELECT string_agg(DISTINCT format('REVOKE ALL ON %I.%I FROM %s;', schema_name, view_name, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END), '')
				FROM pg_class c CROSS JOIN LATERAL aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a WHERE c.oid = relation), '');
			is_first := false;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._dress_view(name, name, text[], name[]) IS 'gives a view that was made anew what it had besides its definition';

CREATE FUNCTION etl._replace_view(name text, definition text, path text) RETURNS text[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	parts text[];
	relation regclass;
	head text;
	kept jsonb := '[]';
	k jsonb;
	d record;
	made text[] := '{}';
	m text; t text; h text;
BEGIN
	BEGIN
		parts := parse_ident(name);
	EXCEPTION WHEN invalid_parameter_value THEN NULL;
	END;
	IF coalesce(cardinality(parts), 0) <> 2 OR coalesce(btrim(definition), '') = '' THEN
		RAISE EXCEPTION 'replace_view takes the name of a view and its query'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'For example etl.replace_view(''stg.txf_orders'', ''SELECT … FROM raw.vl_orders'').';
	END IF;
	definition := regexp_replace(definition, ';\s*$', '');
	relation := etl._relation(parts[1], parts[2]);
	IF relation IS NOT NULL AND (SELECT c.relkind FROM pg_class c WHERE c.oid = relation) NOT IN ('v', 'm') THEN
		RAISE EXCEPTION '"%" is not a view', relation
			USING ERRCODE = 'wrong_object_type', HINT = 'Only views can be replaced; a table is changed by ALTER TABLE.';
	END IF;
	head := coalesce(etl._view_head(relation), format('VIEW %I.%I AS ', parts[1], parts[2]));
	IF head LIKE 'VIEW %' THEN
		BEGIN
			PERFORM set_config('search_path', path, true);		-- the caller's names are read as the caller means them
			EXECUTE 'CREATE OR REPLACE ' || head || definition;
			PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
			RETURN made;
		EXCEPTION WHEN invalid_table_definition THEN
			IF relation IS NULL THEN
				RAISE;
			END IF;		-- its columns change
		END;
	END IF;
	-- last what is read by others, first what reads
	FOR d IN SELECT 0 AS depth, relation AS dependent UNION ALL SELECT v.depth, v.dependent FROM etl._views_on(relation) v ORDER BY 1 LOOP
		kept := kept || (SELECT jsonb_build_object('schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'head', etl._view_head(c.oid), 'populated', c.relispopulated,
			'definition', CASE WHEN c.relkind IN ('v', 'm') THEN rtrim(pg_get_viewdef(c.oid), '; ') END,
			'statements', a.statements, 'columns', a.columns)
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			CROSS JOIN (SELECT jsonb_agg(x.statement) AS statements, jsonb_agg(x.needs_column) AS columns FROM etl._view_attire(d.dependent) x) a
			WHERE c.oid = d.dependent);
	END LOOP;
	SELECT string_agg(format('%I.%I', x ->> 'schema', x ->> 'name'), ', ') INTO t FROM jsonb_array_elements(kept) x WHERE x ->> 'kind' NOT IN ('v', 'm');
	IF t IS NOT NULL THEN
		RAISE EXCEPTION 'rules of tables depend on view %', relation
			USING ERRCODE = 'dependent_objects_still_exist', DETAIL = format('They are those of %s.', t), HINT = 'Drop the rules, replace the view, and make them again.';
	END IF;
	BEGIN
		FOR k IN SELECT x FROM jsonb_array_elements(kept) WITH ORDINALITY e(x, n) ORDER BY n DESC LOOP
			EXECUTE format('DROP %s %I.%I', CASE k ->> 'kind' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END, k ->> 'schema', k ->> 'name');
		END LOOP;
	EXCEPTION WHEN dependent_objects_still_exist THEN
		GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, t = PG_EXCEPTION_DETAIL;
		RAISE EXCEPTION '%', m USING ERRCODE = SQLSTATE, DETAIL = t,
			HINT = 'Views and materialized views are made anew; what else depends on one has to be dropped before and made again after.';
	END;
	FOR k IN SELECT x FROM jsonb_array_elements(kept) WITH ORDINALITY e(x, n) ORDER BY n LOOP
		IF made = '{}' AND k = kept -> 0 THEN
			PERFORM set_config('search_path', path, true);
			EXECUTE 'CREATE ' || (k ->> 'head') || definition || CASE WHEN k ->> 'populated' = 'false' THEN ' WITH NO DATA' ELSE '' END;
			PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
		ELSE
			BEGIN
				EXECUTE 'CREATE ' || (k ->> 'head') || (k ->> 'definition') || CASE WHEN k ->> 'populated' = 'false' THEN ' WITH NO DATA' ELSE '' END;
			EXCEPTION WHEN OTHERS THEN
				GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, t = PG_EXCEPTION_DETAIL;
				RAISE EXCEPTION 'view %.% cannot read the new %', quote_ident(k ->> 'schema'), quote_ident(k ->> 'name'), name
					USING ERRCODE = SQLSTATE, DETAIL = concat_ws(' ', m, nullif(t, '')), HINT = 'Nothing was changed. Change that view first, so that it does without, or replace it in the same transaction.';
			END;
			made := made || format('%I.%I', k ->> 'schema', k ->> 'name');
		END IF;
		PERFORM etl._dress_view((k ->> 'schema')::name, (k ->> 'name')::name, ARRAY(SELECT jsonb_array_elements_text(k -> 'statements')), ARRAY(SELECT jsonb_array_elements_text(k -> 'columns'))::name[]);
	END LOOP;
	RETURN made;
END
$$;
COMMENT ON FUNCTION etl._replace_view(text, text, text) IS 'what etl.replace_view does, with the search_path of its caller';

-- No search_path of its own: the query is read as its caller would write it.
CREATE FUNCTION etl.replace_view(name text, definition text) RETURNS text[]
LANGUAGE sql
AS $$ SELECT etl._replace_view(name, definition, pg_catalog.current_setting('search_path')) $$;
COMMENT ON FUNCTION etl.replace_view(text, text) IS
	'gives a view another query, whatever reads it: views on it are made anew with their owners, grants and comments, all or nothing. Returns the views that were';
