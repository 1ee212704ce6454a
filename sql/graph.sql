-- The graph comes from the catalog: a txf_ view reads tables, and the tasks that fill
-- those tables come first.  What pg_depend cannot see is declared by depends_on.
--
-- These functions are asked for every run that starts.  They are in plpgsql for their plans,
-- which cost ten times what running them does, and so are made once a session.

CREATE FUNCTION etl._views_and_tables_read(relation regclass) RETURNS SETOF oid
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	WITH RECURSIVE reads(oid) AS (
		SELECT relation::oid
		UNION
		SELECT d.refobjid
		FROM reads
		JOIN pg_rewrite w ON w.ev_class = reads.oid
		JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
						AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> w.ev_class)
	SELECT oid FROM reads;
END
$$;
COMMENT ON FUNCTION etl._views_and_tables_read(regclass) IS 'a view and every view and table it reads, through views of views';

CREATE FUNCTION etl._tables_read(relation regclass) RETURNS TABLE (schema_name name, relation_name name)
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT n.nspname, c.relname
	FROM etl._views_and_tables_read(relation) r(oid)
	JOIN pg_class c ON c.oid = r.oid
	JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind IN ('r', 'p', 'f', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'etl');
END
$$;
COMMENT ON FUNCTION etl._tables_read(regclass) IS 'the tables a view reads, through views of views';

CREATE FUNCTION etl._reads_interval(relation regclass) RETURNS boolean
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	SELECT EXISTS (
		SELECT FROM etl._views_and_tables_read(relation) r(oid)
		JOIN pg_rewrite w ON w.ev_class = r.oid
		JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_proc'::regclass
		WHERE d.refobjid IN ('etl.data_interval_start()'::regprocedure, 'etl.data_interval_end()'::regprocedure,
							 'etl.run_date()'::regprocedure, 'etl.run_id()'::regprocedure))
$$;
COMMENT ON FUNCTION etl._reads_interval(regclass) IS 'whether a view asks for the run''s data interval, and so gives that interval''s rows only';

CREATE VIEW etl._declared_tasks WITH (security_barrier) AS
	SELECT x.* FROM etl.task x JOIN etl.pipeline p USING (pipeline)
	WHERE x.generation = p.generation AND etl._owns(p.owner);
COMMENT ON VIEW etl._declared_tasks IS 'tasks as last declared, of pipelines whose owner''s rights one has';

CREATE FUNCTION etl._tasks(pipeline text) RETURNS SETOF etl.task
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT x.* FROM etl._declared_tasks x WHERE x.pipeline = _tasks.pipeline;
END
$$;
COMMENT ON FUNCTION etl._tasks(text) IS 'the tasks of a pipeline, as last declared';

-- Which tasks each task of a pipeline waits for.
CREATE FUNCTION etl._task_dependencies(pipeline text)
RETURNS TABLE (task text, needs text, because text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	WITH t AS (SELECT * FROM etl._tasks(pipeline)),
	-- a procedure may fill several tables, and finish what a load has filled
	f(task, kind, schema_name, relation_name) AS (
		SELECT t.task, t.kind, t.target_schema, t.target_name FROM t WHERE t.kind IN ('extract', 'load')
		UNION ALL
		SELECT t.task, t.kind, n.schema_name, n.relation_name FROM t, jsonb_array_elements_text(t.definition -> 'fills') x, etl._parse_name(x) n WHERE t.kind = 'call')
	-- an extraction asks for the children of what another has fetched
	SELECT e.task, f.task, format('%s reads %s', e.definition ->> 'for_each', etl._full_name(f.schema_name, f.relation_name))
	FROM t e
	CROSS JOIN LATERAL etl._tables_read(to_regclass(e.definition ->> 'for_each')) r
	JOIN f USING (schema_name, relation_name)
	WHERE e.kind = 'extract' AND f.task <> e.task
	UNION
	-- a load reads what other tasks fill
	SELECT l.task, f.task, format('%s reads %s', l.definition ->> 'source', etl._full_name(f.schema_name, f.relation_name))
	FROM t l
	CROSS JOIN LATERAL etl._tables_read(to_regclass(l.definition ->> 'source')) r
	JOIN f USING (schema_name, relation_name)
	WHERE l.kind = 'load' AND (f.schema_name, f.relation_name) <> (l.target_schema, l.target_name)
	UNION
	-- a row may refer only to rows that are there: referenced tables are filled first
	SELECT l.task, f.task, format('foreign key "%s"', c.conname)
	FROM t l
	JOIN pg_constraint c ON c.conrelid = etl._relation(l.target_schema, l.target_name) AND c.contype = 'f'
	JOIN f ON etl._relation(f.schema_name, f.relation_name) = c.confrelid AND f.kind <> 'extract'
	WHERE l.kind = 'load' AND (f.schema_name, f.relation_name) <> (l.target_schema, l.target_name)
	UNION
	SELECT l.task, f.task, format('looks up %s', x ->> 'column')
	FROM t l
	CROSS JOIN LATERAL jsonb_array_elements(l.definition -> 'lookups') x
	JOIN t f ON f.kind = 'load' AND f.task = x ->> 'dimension'
	WHERE l.kind = 'load' AND f.task <> l.task
	UNION
	SELECT l.task, l.definition ->> 'parent', 'parent' FROM t l WHERE l.kind = 'load' AND l.definition ? 'parent'
	UNION
	-- a check comes after what fills its target, the tables its target reads, and what it refers to
	SELECT k.task, f.task, format('checks %s', etl._full_name(f.schema_name, f.relation_name))
	FROM t k
	CROSS JOIN LATERAL (VALUES (etl._relation(k.target_schema, k.target_name)), (to_regclass(k.definition #>> '{arguments,to}'))) c(relation)
	CROSS JOIN LATERAL etl._tables_read(c.relation) r
	JOIN f USING (schema_name, relation_name)
	WHERE k.kind = 'check'
	UNION
	SELECT k.task, d.task, 'depends_on'
	FROM t k
	CROSS JOIN LATERAL unnest(k.depends_on) AS d(task);
END
$$;
COMMENT ON FUNCTION etl._task_dependencies(text) IS 'for each task of a pipeline, the tasks it waits for and why';

-- With the extension's rights: who sees a pipeline need not see the schemas of its views.
CREATE FUNCTION etl._depends_on_as_owner(pipeline text, task text) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(array_agg(DISTINCT d.needs), '{}')
	FROM etl.pipeline p, etl._task_dependencies(p.pipeline) d
	WHERE p.pipeline = _depends_on_as_owner.pipeline AND d.task = _depends_on_as_owner.task
	  AND (etl._is_member(p.owner, etl._acting_role()) OR etl._is_member('etl_reader', etl._acting_role()))
$$;
CREATE FUNCTION etl._depends_on(pipeline text, task text) RETURNS text[]
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._depends_on_as_owner(text, text) IS 'does what etl._depends_on does, with the rights of the extension';
COMMENT ON FUNCTION etl._depends_on(text, text) IS 'the tasks that a task of a pipeline one may see waits for';

CREATE FUNCTION etl._publish_mode(pipeline text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT p.publish FROM etl.pipeline p WHERE p.pipeline = _publish_mode.pipeline $$;
COMMENT ON FUNCTION etl._publish_mode(text) IS 'pipeline or per_task: what is published in one transaction';

CREATE FUNCTION etl._task_order(pipeline text)
RETURNS TABLE (task text, kind text, ordinal integer, depends_on text[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	tasks etl.task[] := ARRAY(SELECT t FROM etl._tasks(pipeline) t);
	-- three arrays side by side: task, what it needs, why; asked for once, the catalog is not cheap
	waiting text[];
	needed text[];
	reasons text[];
	done text[] := '{}';
	ready text[];
	stuck text;
	is_extract boolean;
BEGIN
	ordinal := 0;
	-- one task waits for none: most of a thousand small pipelines that are due at once are so
	IF cardinality(tasks) = 1 AND tasks[1].depends_on = '{}' THEN
		RETURN QUERY SELECT tasks[1].task, tasks[1].kind, 1, '{}'::text[];
		RETURN;
	END IF;
	SELECT array_agg(d.task), array_agg(d.needs), array_agg(d.because) INTO waiting, needed, reasons
	FROM etl._task_dependencies(pipeline) d;
	SELECT string_agg(format('"%s" (for "%s")', d.needs, d.task), ', ') INTO stuck
	FROM unnest(waiting, needed) d(task, needs)
	WHERE NOT EXISTS (SELECT FROM unnest(tasks) x WHERE x.task = d.needs);
	IF stuck IS NOT NULL THEN
		RAISE EXCEPTION 'depends_on of pipeline "%" names tasks it does not have: %', pipeline, stuck
			USING ERRCODE = 'undefined_object', HINT = 'Tasks are named by their target (schema.table), checks by their name.';
	END IF;
	SELECT format('"%s" needs "%s" (%s)', d.task, d.needs, d.because) INTO stuck
	FROM unnest(waiting, needed, reasons) d(task, needs, because)
	JOIN unnest(tasks) f ON f.task = d.needs AND f.definition ->> 'trigger_rule' = 'all_done'
	JOIN unnest(tasks) e ON e.task = d.task AND e.definition ->> 'trigger_rule' IS DISTINCT FROM 'all_done'
	ORDER BY d.task, d.needs LIMIT 1;
	IF stuck IS NOT NULL THEN
		RAISE EXCEPTION 'a task of pipeline "%" waits for one with trigger_rule all_done', pipeline
			USING ERRCODE = 'invalid_object_definition', DETAIL = stuck || '.',
				  HINT = 'Such tasks clean up after the others, also after those that failed; only others of that rule wait for them.';
	END IF;
	-- Published as one, everything is extracted before anything is loaded, and nothing that
	-- commits on its own runs in between.
	IF etl._publish_mode(pipeline) = 'pipeline' THEN
		WITH RECURSIVE task AS (
			SELECT x.task, x.kind = 'extract' AS is_extract, x.kind = 'extract' OR coalesce(x.definition ->> 'transaction' = 'own', false) AS is_alone FROM unnest(tasks) x),
		edge AS (
			SELECT d.task, d.needs, d.because, t.is_extract, t.is_alone, n.is_alone AS needs_alone
			FROM unnest(waiting, needed, reasons) d(task, needs, because) JOIN task t USING (task) JOIN task n ON n.task = d.needs),
		-- what comes before the publication: extractions, and what they and its parts wait for
		before(task) AS (
			SELECT t.task FROM task t WHERE t.is_extract
			UNION SELECT e.needs FROM edge e WHERE NOT e.is_alone AND e.needs_alone
			UNION SELECT e.needs FROM before b JOIN edge e ON e.task = b.task WHERE e.needs_alone)
		SELECT format('"%s" needs "%s" (%s)', e.task, e.needs, e.because), e.is_extract INTO stuck, is_extract
		FROM before b JOIN edge e ON e.task = b.task
		WHERE NOT e.needs_alone ORDER BY e.task, e.needs LIMIT 1;
		IF stuck IS NOT NULL AND is_extract THEN
			RAISE EXCEPTION 'an extraction of pipeline "%" waits for a task that comes after all extractions', pipeline
				USING ERRCODE = 'invalid_object_definition', DETAIL = stuck || '.',
					  HINT = 'A for_each reads raw tables of its pipeline (their vr_ or vl_ views), not what is loaded from them; or load that table in a pipeline of its own, or declare the pipeline with publish => ''per_task''.';
		ELSIF stuck IS NOT NULL THEN
			RAISE EXCEPTION 'a call of pipeline "%" that commits by itself lies between tasks that are published together', pipeline
				USING ERRCODE = 'invalid_object_definition', DETAIL = stuck || '.',
					  HINT = 'Let it be part of the publication: transaction => ''publication''; or declare the pipeline with publish => ''per_task''.';
		END IF;
	END IF;
	LOOP
		SELECT array_agg(x.task ORDER BY (x.kind <> 'extract'), (x.kind = 'check'), coalesce(x.definition ->> 'trigger_rule' = 'all_done', false), x.position) INTO ready
		FROM unnest(tasks) x
		WHERE NOT x.task = ANY (done)
		  AND NOT EXISTS (SELECT FROM unnest(waiting, needed) d(task, needs) WHERE d.task = x.task AND NOT d.needs = ANY (done));
		EXIT WHEN ready IS NULL;
		FOR task, kind, depends_on IN
			SELECT x.task, x.kind, coalesce((SELECT array_agg(DISTINCT d.needs) FROM unnest(waiting, needed) d(task, needs) WHERE d.task = x.task), '{}')
			FROM unnest(ready) WITH ORDINALITY r(name, n) JOIN unnest(tasks) x ON x.task = r.name
			ORDER BY r.n
		LOOP
			ordinal := ordinal + 1;
			RETURN NEXT;
		END LOOP;
		done := done || ready;
	END LOOP;
	SELECT string_agg(format('"%s" needs "%s" (%s)', d.task, d.needs, d.because), ', ' ORDER BY d.task, d.needs) INTO stuck
	FROM unnest(waiting, needed, reasons) d(task, needs, because)
	WHERE NOT d.task = ANY (done) AND NOT d.needs = ANY (done);
	IF stuck IS NOT NULL THEN
		RAISE EXCEPTION 'the tasks of pipeline "%" depend on each other in a circle', pipeline
			USING ERRCODE = 'invalid_object_definition', DETAIL = stuck || '.',
				  HINT = 'A view may read its own target, but not a table that is filled from it.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._task_order(text) IS 'the tasks of a pipeline in the order they run; raises for circles and unknown names';
