-- Where data come from and until when they reach.  Analysts see what is about relations
-- that they may read.

CREATE FUNCTION etl._may_read(schema_name name, relation_name name) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
				   WHERE n.nspname = schema_name AND c.relname = relation_name AND has_table_privilege(c.oid, 'SELECT'))
$$;
COMMENT ON FUNCTION etl._may_read(name, name) IS 'whether the current role may read a relation';

CREATE VIEW etl.freshness WITH (security_barrier) AS
	SELECT t.target_schema, t.target_name, t.pipeline, t.kind, d.data_until, d.run_id, d.published_at, etl._now() - d.data_until AS age
	FROM etl.task t JOIN etl.pipeline p USING (pipeline)
	LEFT JOIN LATERAL (
		SELECT x.data_until, x.run_id, x.published_at FROM (
			SELECT r.data_interval_end AS data_until, r.run_id, COALESCE(r.ended_at, x.ended_at) AS published_at, r.data_interval_start
			FROM etl.run r JOIN etl.task_run x ON x.run_id = r.run_id AND x.task = t.task AND x.state = 'success'
			-- a load has succeeded when readers see it, an extraction when its publication has
			WHERE r.pipeline = t.pipeline AND (t.kind = 'load' OR EXISTS (
				SELECT FROM etl.task_run y WHERE y.run_id = r.run_id AND y.kind = 'publish' AND y.state = 'success' AND t.task = ANY (y.depends_on)))
			-- what was fed, and transformed by hand, has no task runs
			UNION ALL
			SELECT l.data_interval_end, l.run_id, l.published_at, l.data_interval_start
			FROM etl.load l WHERE t.kind = 'extract' AND l.pipeline = t.pipeline AND l.task = t.task AND l.state = 'published' AND l.fingerprint = 'feed'
			UNION ALL
			SELECT r.data_interval_end, r.run_id, r.ended_at, r.data_interval_start
			FROM etl.target_state s JOIN etl.run r ON r.pipeline = s.pipeline AND r.data_interval_start = s.latest_interval AND r.trigger = 'feed' AND r.state = 'success'
			WHERE t.kind = 'load' AND s.pipeline = t.pipeline AND s.task = t.task) x
		ORDER BY x.data_interval_start DESC, x.run_id DESC LIMIT 1) d ON true
	WHERE t.generation = p.generation AND t.kind IN ('extract', 'load')
	  AND (etl._may_see(p.owner) OR etl._may_read(t.target_schema, t.target_name));
COMMENT ON VIEW etl.freshness IS 'until when the data of each raw table and target reach: the end of the latest data interval that was published';

-- From pg_depend, as the graph is: what a view reads, and which columns of it.
CREATE VIEW etl.lineage WITH (security_barrier) AS
	WITH RECURSIVE task AS (
		SELECT t.pipeline, t.task, t.kind, t.target_schema, t.target_name, t.definition, etl._may_see(p.owner) AS seen
		FROM etl.task t JOIN etl.pipeline p USING (pipeline) WHERE t.generation = p.generation),
	filled AS (
		SELECT t.*, c.oid AS target, s.oid AS source
		FROM task t
		JOIN pg_catalog.pg_namespace n ON n.nspname = t.target_schema
		JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.target_name
		LEFT JOIN (pg_catalog.pg_class s JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace)
			ON pg_catalog.parse_ident(t.definition ->> 'source') = ARRAY[sn.nspname::text, s.relname::text]
		WHERE t.kind IN ('extract', 'load')),
	reads(pipeline, task, seen, reader, relation, columns) AS (
		SELECT f.pipeline, f.task, f.seen, f.source, v.relation, v.columns
		FROM filled f CROSS JOIN LATERAL (
			SELECT d.refobjid AS relation, pg_catalog.array_agg(DISTINCT d.refobjsubid) AS columns
			FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = w.oid
			WHERE w.ev_class = f.source AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> w.ev_class GROUP BY d.refobjid) v
		UNION
		SELECT r.pipeline, r.task, r.seen, r.relation, v.relation, v.columns
		FROM reads r CROSS JOIN LATERAL (
			SELECT d.refobjid AS relation, pg_catalog.array_agg(DISTINCT d.refobjsubid) AS columns
			FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = w.oid
			WHERE w.ev_class = r.relation AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> w.ev_class GROUP BY d.refobjid) v),
	edge(pipeline, task, seen, kind, source_oid, target_oid, source, columns) AS (
		SELECT f.pipeline, f.task, f.seen, 'extract', NULL::oid, f.target, (f.definition ->> 'server') || (f.definition ->> 'path'), NULL::smallint[]
		FROM filled f WHERE f.kind = 'extract'
		UNION ALL
		SELECT f.pipeline, f.task, f.seen, 'load', f.source, f.target, NULL, NULL FROM filled f WHERE f.kind = 'load' AND f.source IS NOT NULL
		UNION ALL
		SELECT f.pipeline, f.task, f.seen, 'lookup', d.oid, f.target, NULL,
			   (SELECT pg_catalog.array_agg(a.attnum) FROM pg_catalog.pg_attribute a
				WHERE a.attrelid = d.oid AND (l -> 'dimension_key' ? a.attname OR a.attname IN (l ->> 'surrogate_key', l ->> 'valid_from', l ->> 'valid_to')))
		FROM filled f CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(f.definition -> 'lookups') l
		JOIN (pg_catalog.pg_class d JOIN pg_catalog.pg_namespace dn ON dn.oid = d.relnamespace) ON pg_catalog.parse_ident(l ->> 'dimension') = ARRAY[dn.nspname::text, d.relname::text]
		UNION ALL
		SELECT r.pipeline, r.task, r.seen, 'view', r.relation, r.reader, NULL, r.columns::smallint[] FROM reads r)
	SELECT e.pipeline, e.task, e.kind,
		   COALESCE(e.source, pg_catalog.format('%I.%I', sn.nspname, s.relname)) AS source, pg_catalog.format('%I.%I', tn.nspname, t.relname) AS target,
		   (SELECT pg_catalog.array_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
			WHERE a.attrelid = e.source_oid AND a.attnum > 0 AND a.attnum = ANY (e.columns)) AS source_columns
	FROM edge e
	JOIN pg_catalog.pg_class t ON t.oid = e.target_oid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
	LEFT JOIN pg_catalog.pg_class s ON s.oid = e.source_oid LEFT JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
	WHERE (e.seen OR pg_catalog.has_table_privilege(t.oid, 'SELECT')) AND COALESCE(sn.nspname, '') <> 'etl';
COMMENT ON VIEW etl.lineage IS 'what each relation of a pipeline is made from: an edge a source that a task asks, a view that fills a target, a dimension it looks keys up in, a relation that a view reads and the columns it uses';
