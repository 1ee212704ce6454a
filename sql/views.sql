-- What people read.  Rows are those of pipelines whose owner's rights one has; members of
-- etl_reader have all, but columns that show data, or what a request may carry in secret,
-- are null to who has not the owner's rights.
--
-- A security_barrier view is planned by itself: the order in which the views of history are
-- asked for most, the latest first, is their own, or every such question would sort them whole.

CREATE VIEW etl.pipelines WITH (security_barrier) AS
	SELECT p.pipeline, p.owner, p.description, p.schedule, p.timezone, p.retries, p.retry_delay,
		   p.start_date, p.end_date, p.catchup, p.max_active_runs, p.priority, p.pool, p.overlap, p.depends_on_past, p.after, p.triggered_by,
		   p.paused OR (SELECT etl._is_copy()) AS paused,
		   CASE WHEN (SELECT etl._is_copy()) THEN 'this database is a copy: SELECT etl.resume()'
				WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_roles o WHERE o.rolname = p.owner) THEN pg_catalog.format('role "%s" does not exist', p.owner)
				WHEN p.paused THEN 'paused'
				ELSE COALESCE(
					(SELECT pg_catalog.format('pipeline "%s", which it waits for, does not exist', u) FROM pg_catalog.unnest(p.after || p.triggered_by) u
					 WHERE NOT EXISTS (SELECT FROM etl.pipeline x WHERE x.pipeline = u) ORDER BY u LIMIT 1),
					(SELECT pg_catalog.format('%s, which task %s needs, does not exist', m.what, t.task)
					 FROM etl.task t
					 CROSS JOIN LATERAL (
						SELECT pg_catalog.format('table %I.%I', t.target_schema, t.target_name) AS what
						WHERE t.kind IN ('extract', 'load') AND NOT EXISTS (
							SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = t.target_schema AND c.relname = t.target_name)
						UNION ALL
						SELECT 'view ' || (t.definition ->> 'source')
						WHERE t.kind = 'load' AND t.definition ? 'source' AND NOT EXISTS (
							SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
							WHERE n.nspname = (pg_catalog.parse_ident(t.definition ->> 'source'))[1] AND c.relname = (pg_catalog.parse_ident(t.definition ->> 'source'))[2])
						UNION ALL
						SELECT pg_catalog.format('server "%s"', t.definition ->> 'server')
						WHERE t.kind = 'extract' AND NOT EXISTS (SELECT FROM pg_catalog.pg_foreign_server f WHERE f.srvname = t.definition ->> 'server')) m
					 WHERE t.pipeline = p.pipeline ORDER BY t.position LIMIT 1)) END AS cannot_run_because,
		   (SELECT pg_catalog.max(l.data_interval_end) FROM etl.load l WHERE l.pipeline = p.pipeline AND l.owner = p.owner AND l.state = 'expired') AS rebuildable_since,
		   (SELECT count(*) FROM etl.task t WHERE t.pipeline = p.pipeline) AS tasks,
		   last.run_id AS last_run_id, last.state AS last_state, last.ended_at AS last_ended_at,
		   (SELECT s.due_at FROM etl.schedule_state s WHERE s.pipeline = p.pipeline AND NOT etl._is_copy()) AS next_run_at,
		   p.template, p.template_options, etl._other_settings(p) AS options, p.created_at, p.altered_at
	FROM etl.pipeline p
	LEFT JOIN LATERAL (SELECT * FROM etl.run r WHERE r.pipeline = p.pipeline ORDER BY -r.run_id LIMIT 1) last ON true
	WHERE etl._may_see(p.owner);
COMMENT ON VIEW etl.pipelines IS 'declared pipelines, whether they can run, and how their last run ended';

CREATE VIEW etl.tasks WITH (security_barrier) AS
	SELECT t.pipeline, t.task, t.kind, etl._full_name(t.target_schema, t.target_name) AS target,
		   CASE WHEN etl._owns(p.owner) THEN t.definition ELSE t.definition - '{query,headers,body}'::text[] END - '{columns,statement,values}'::text[] AS definition,
		   etl._depends_on(t.pipeline, t.task) AS depends_on
	FROM etl.task t JOIN etl.pipeline p USING (pipeline)
	WHERE etl._may_see(p.owner);
COMMENT ON VIEW etl.tasks IS 'declared tasks and what each one waits for';

CREATE VIEW etl.runs WITH (security_barrier) AS
	SELECT r.run_id, r.pipeline, r.state, r.run_date, r.data_interval_start, r.data_interval_end, r.interval_is_open, r.trigger,
		   r.requested_by, r.queued_at, r.started_at, r.ended_at, COALESCE(r.ended_at, pg_catalog.clock_timestamp()) - r.started_at AS duration,
		   r.error_task, r.error_code, r.error_message, r.error_detail, r.error_hint, r.priority,
		   -- the queue is looked at once, and only for who asks for queued runs
		   CASE WHEN r.state = 'queued' THEN (SELECT pg_catalog.jsonb_object_agg(q.run_id, q.waits_for) FROM etl._queue q) ->> r.run_id::text END AS waits_for, r.retry_of
	FROM etl.run r WHERE etl._may_see(r.owner) ORDER BY r.run_id DESC;
COMMENT ON VIEW etl.runs IS 'every run, its state and the cause of its failure';

CREATE VIEW etl.task_runs WITH (security_barrier) AS
	SELECT t.task_run_id, t.run_id, r.pipeline, r.run_date, t.task, t.kind, t.state, t.attempt, t.next_attempt_at, t.started_at, t.ended_at,
		   t.ended_at - t.started_at AS duration, t.requests, t.bytes, t.fetched, t.loaded, t.quarantined,
		   t.inserted, t.updated, t.deleted, t.unchanged, t.error_code, t.error_message, t.error_detail, t.error_hint,
		   t.depends_on, t.trigger_rule, (SELECT w.task FROM etl.task_run w WHERE w.task_run_id = t.part_of) AS part_of
	FROM etl.task_run t JOIN etl.run r USING (run_id) WHERE etl._may_see(r.owner);
COMMENT ON VIEW etl.task_runs IS 'the tasks of every run, with counts and errors';

CREATE VIEW etl.task_attempts WITH (security_barrier) AS
	SELECT r.run_id, r.pipeline, t.task, a.attempt, a.state, a.started_at, a.ended_at, a.worker_pid, a.error_code, a.error_message
	FROM etl.task_attempt a JOIN etl.task_run t USING (task_run_id) JOIN etl.run r USING (run_id) WHERE etl._may_see(r.owner);
COMMENT ON VIEW etl.task_attempts IS 'every attempt of every task run';

-- With the extension's rights: pg_stat_activity hides what sessions of other roles do;
-- these are the workers of pipelines one may see anyway.
CREATE FUNCTION etl._activity_as_owner(task_run_id bigint, OUT pid integer, OUT activity text, OUT since timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT a.pid, a.query, a.query_start FROM etl._locks_held() h JOIN pg_stat_activity a ON a.pid = h.pid
	WHERE h.kind = etl._lock_kind('attempt') AND h.id = task_run_id
	  AND EXISTS (SELECT FROM etl.task_run t JOIN etl.run r USING (run_id) WHERE t.task_run_id = _activity_as_owner.task_run_id
				  AND (etl._is_member(r.owner, etl._acting_role()) OR etl._is_member('etl_reader', etl._acting_role())))
$$;
CREATE FUNCTION etl._activity(task_run_id bigint, OUT pid integer, OUT activity text, OUT since timestamptz)
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._activity_as_owner(bigint) IS 'does what etl._activity does, with the rights of the extension';
COMMENT ON FUNCTION etl._activity(bigint) IS 'what the worker of an attempt does right now; nulls when nobody works on it';

CREATE VIEW etl.progress WITH (security_barrier) AS
	SELECT r.run_id, r.pipeline, r.run_date, r.data_interval_start, r.state AS run_state, t.task, t.kind, t.state, t.attempt,
		   l.load_id, COALESCE(c.requests, l.requests) AS slices, COALESCE(c.bytes, l.bytes) AS bytes, COALESCE(c.fetched, l.fetched) AS fetched,
		   COALESCE(c.loaded, l.loaded) AS loaded, COALESCE(c.quarantined, l.quarantined) AS quarantined,
		   CASE WHEN t.state = 'up_for_retry' THEN 'waiting for the next attempt at ' || t.next_attempt_at
				WHEN t.state = 'queued' AND (SELECT x.used >= x.slots FROM etl.pools x WHERE x.pool = t.pool) THEN pg_catalog.format('waiting for a slot of pool "%s"', t.pool)
				ELSE a.activity END AS activity,
		   a.since AS activity_since, a.pid AS worker_pid, t.started_at, pg_catalog.clock_timestamp() - t.started_at AS elapsed, t.error_message,
		   r.priority, CASE WHEN r.state = 'queued' THEN (SELECT pg_catalog.jsonb_object_agg(q.run_id, q.waits_for) FROM etl._queue q) ->> r.run_id::text END AS waits_for
	FROM etl.run r
	LEFT JOIN etl.task_run t ON t.run_id = r.run_id AND t.state IN ('queued', 'running', 'up_for_retry')
	LEFT JOIN LATERAL (SELECT * FROM etl.load x WHERE x.run_id = r.run_id AND x.task = t.task ORDER BY x.load_id DESC LIMIT 1) l ON t.kind = 'extract'
	LEFT JOIN LATERAL (
		SELECT pg_catalog.count(*) AS requests, COALESCE(pg_catalog.sum(s.bytes), 0)::bigint AS bytes, COALESCE(pg_catalog.sum(s.fetched), 0)::bigint AS fetched,
			   COALESCE(pg_catalog.sum(s.loaded), 0)::bigint AS loaded, COALESCE(pg_catalog.sum(s.quarantined), 0)::bigint AS quarantined
		FROM etl.slice s WHERE s.load_id = l.load_id HAVING l.load_id IS NOT NULL AND l.completed_at IS NULL) c ON true
	LEFT JOIN LATERAL etl._activity(t.task_run_id) a ON t.state = 'running'
	WHERE r.state IN ('queued', 'running') AND etl._may_see(r.owner);
COMMENT ON VIEW etl.progress IS 'what is under way now: a row a task of an active run, live, also while its transaction is open';

CREATE VIEW etl.loads WITH (security_barrier) AS
	SELECT l.load_id, l.pipeline, l.task, l.data_interval_start, l.data_interval_end, l.state, l.run_id, COALESCE(c.requests, l.requests) AS requests,
		   COALESCE(c.bytes, l.bytes) AS bytes, COALESCE(c.fetched, l.fetched) AS fetched, COALESCE(c.loaded, l.loaded) AS loaded,
		   COALESCE(c.quarantined, l.quarantined) AS quarantined, COALESCE(c.skipped, l.skipped) AS skipped, COALESCE(c.not_modified, l.not_modified) AS not_modified,
		   COALESCE(c.failed_items, l.failed_items) AS failed_items, l.absent, l.partition_name, l.started_at, l.completed_at, l.published_at, l.superseded_at, l.superseded_by, l.reclaimed_at
	FROM etl.load l
	-- of a load that is not complete the slices tell
	LEFT JOIN LATERAL (
		SELECT pg_catalog.count(*) AS requests, COALESCE(pg_catalog.sum(s.bytes), 0)::bigint AS bytes, COALESCE(pg_catalog.sum(s.fetched), 0)::bigint AS fetched,
			   COALESCE(pg_catalog.sum(s.loaded), 0)::bigint AS loaded, COALESCE(pg_catalog.sum(s.quarantined), 0)::bigint AS quarantined,
			   COALESCE(pg_catalog.sum(s.skipped), 0)::bigint AS skipped, pg_catalog.count(*) FILTER (WHERE s.status = 304) AS not_modified,
			   (SELECT pg_catalog.count(*) FROM etl.item_error e WHERE e.load_id = l.load_id) AS failed_items
		FROM etl.slice s WHERE s.load_id = l.load_id HAVING l.completed_at IS NULL AND l.routed_from IS NULL) c ON true
	WHERE etl._may_see(l.owner) ORDER BY l.load_id DESC;
COMMENT ON VIEW etl.loads IS 'the ledger of extractions: which load of which interval readers see';

CREATE VIEW etl.slices WITH (security_barrier) AS
	SELECT s.load_id, l.pipeline, l.task, s.slice, s.item, CASE WHEN etl._owns(l.owner) THEN (SELECT i.item_values FROM etl.load_item i WHERE i.load_id = s.load_id AND i.item = s.item) END AS item_values,
		   s.page, s.page_count, s.request, s.status, s.attempts, CASE WHEN etl._owns(l.owner) THEN s.next_cursor END AS next_cursor,
		   s.bytes, s.fetched, s.loaded, s.quarantined, s.committed_at
	FROM etl.slice s JOIN etl.load l USING (load_id) WHERE etl._may_see(l.owner);
COMMENT ON VIEW etl.slices IS 'the committed pages of every load, with request and cursor';

CREATE VIEW etl.watermarks WITH (security_barrier) AS
	SELECT w.pipeline, w.task, CASE WHEN etl._owns(p.owner) THEN nullif(w.item, 'null') END AS item, w.value, t.definition #>> '{watermark,type}' AS type, t.definition #>> '{watermark,lag}' AS lag,
		   w.load_id, l.data_interval_start, w.updated_at
	FROM etl.watermark w JOIN etl.pipeline p USING (pipeline)
	LEFT JOIN etl.task t ON t.pipeline = w.pipeline AND t.task = w.task
	LEFT JOIN etl.load l ON l.load_id = w.load_id
	WHERE etl._may_see(p.owner);
COMMENT ON VIEW etl.watermarks IS 'how far each source has been read, by published loads; the next load begins there';

CREATE VIEW etl.item_errors WITH (security_barrier) AS
	SELECT e.load_id, l.pipeline, l.task, l.data_interval_start, e.item, CASE WHEN etl._owns(l.owner) THEN (SELECT i.item_values FROM etl.load_item i WHERE i.load_id = e.load_id AND i.item = e.item) END AS item_values,
		   e.error_code, e.error_message, e.error_detail, e.failed_at
	FROM etl.item_error e JOIN etl.load l USING (load_id) WHERE etl._may_see(l.owner);
COMMENT ON VIEW etl.item_errors IS 'items of for_each that failed alone and were left out of their load';

CREATE VIEW etl.quarantine WITH (security_barrier) AS
	SELECT q.quarantine_id, q.pipeline, q.task, l.data_interval_start, q.load_id, l.state AS load_state, q.slice, q.record_number, q.byte_offset,
		   CASE WHEN etl._owns(l.owner) THEN q.record END AS record, q.reason_code, CASE WHEN etl._owns(l.owner) THEN q.reason END AS reason, q.request, q.quarantined_at,
		   CASE WHEN etl._owns(l.owner) THEN q.document END AS document, CASE WHEN etl._owns(l.owner) THEN q.correction END AS correction, q.corrected_at, q.corrected_by, CASE WHEN etl._owns(l.owner) THEN q.correction_note END AS correction_note,
		   q.tried_at, q.tried_reason_code, CASE WHEN etl._owns(l.owner) THEN q.tried_reason END AS tried_reason
	FROM etl.quarantined_record q JOIN etl.load l USING (load_id) WHERE q.replayed_at IS NULL AND etl._may_see(l.owner);
COMMENT ON VIEW etl.quarantine IS 'records that did not get in: their bytes as received, the reason, the request and where in the page they stood';

CREATE VIEW etl.check_results WITH (security_barrier) AS
	SELECT c.check_result_id, c.run_id, c.pipeline, r.run_date, c.check_name, c.target, c.check_type, c.severity, c.passed, c.failing_rows,
		   c.figure, c.threshold, CASE WHEN etl._owns(COALESCE(r.owner, p.owner)) THEN c.sample END AS sample, c.attempt, c.checked_at,
		   w.run_id IS NOT NULL AND NOT c.passed AS waived
	FROM etl.check_result c LEFT JOIN LATERAL (SELECT x.run_date, x.owner FROM etl.run x WHERE x.run_id = c.run_id LIMIT 1) r ON true
	LEFT JOIN etl.check_waiver w ON w.run_id = c.run_id AND w.check_name = c.check_name
	LEFT JOIN etl.pipeline p ON c.run_id IS NULL AND p.pipeline = c.pipeline
	WHERE etl._may_see(COALESCE(r.owner, p.owner)) ORDER BY c.check_result_id DESC;
COMMENT ON VIEW etl.check_results IS 'the outcome of every check, kept also when the publication was rolled back';

CREATE VIEW etl.log WITH (security_barrier) AS
	SELECT e.log_id, e.logged_at, e.level, e.pipeline, e.run_id, e.task, e.message,
		   CASE WHEN etl._owns(e.owner) THEN e.detail ELSE e.detail - 'first' END AS detail
	FROM etl.log_entry e WHERE etl._may_see(e.owner) ORDER BY e.log_id DESC;
COMMENT ON VIEW etl.log IS 'structured log of runs';

CREATE VIEW etl.templates AS
	SELECT t.template, t.description, o.option, o.definition ->> 'type' AS type, COALESCE((o.definition ->> 'required')::boolean, false) AS required,
		   o.definition -> 'default' AS default_value, o.definition ->> 'description' AS option_description
	FROM etl.template t CROSS JOIN LATERAL pg_catalog.jsonb_each(t.options) o(option, definition);
COMMENT ON VIEW etl.templates IS 'ready-made pipelines: a row an option';
