-- Write-audit-publish: raw publication, loads and checks of a run in one transaction.
-- The worker locks the targets first, in OID order, then takes the snapshot this runs in.

CREATE FUNCTION etl._publish_lock_targets(task_run_id bigint, attempt integer) RETURNS SETOF oid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t etl.task_run := etl._fence(task_run_id, attempt);
BEGIN
	RETURN QUERY
	SELECT DISTINCT c.relation::oid
	FROM etl.run r
	JOIN etl.task_run l ON l.run_id = r.run_id AND l.kind IN ('load', 'call') AND (l.task_run_id = t.task_run_id OR l.part_of = t.task_run_id) AND l.state <> 'skipped'
	JOIN etl.task d ON d.pipeline = r.pipeline AND d.task = l.task
	CROSS JOIN LATERAL (
		SELECT etl._relation(d.target_schema, (x.prefix || d.target_name)::name) FROM unnest('{"",obs_,snp_}'::text[]) x(prefix) WHERE l.kind = 'load'
		UNION ALL
		SELECT f.relation FROM jsonb_array_elements_text(d.definition -> 'fills') y, etl._parse_name(y) n, etl._relation(n.schema_name, n.relation_name) f(relation)
		WHERE l.kind = 'call' AND EXISTS (SELECT FROM pg_class k WHERE k.oid = f.relation AND k.relkind IN ('r', 'p'))) c(relation)
	WHERE r.run_id = t.run_id AND c.relation IS NOT NULL
	ORDER BY 1;
END
$$;
COMMENT ON FUNCTION etl._publish_lock_targets(bigint, integer) IS 'the tables a publication writes, in the order they are locked';

CREATE FUNCTION etl._publish_load(task_run_id bigint, attempt integer, load_id bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t etl.task_run := etl._fence(task_run_id, attempt);
	l etl.load;
BEGIN
	SELECT * INTO STRICT l FROM etl.load x WHERE x.load_id = _publish_load.load_id AND x.run_id = t.run_id;
	IF (SELECT x.definition ->> 'on_rerun' FROM etl.task x WHERE x.pipeline = l.pipeline AND x.task = l.task) = 'replace' THEN
		UPDATE etl.load x SET state = 'superseded', superseded_at = clock_timestamp(), superseded_by = l.load_id,
			superseded_xid = pg_current_xact_id()
		WHERE x.pipeline = l.pipeline AND x.owner = l.owner AND x.task = l.task AND x.state = 'published'
		  AND x.data_interval_start >= l.data_interval_start AND x.data_interval_end <= l.data_interval_end;
	END IF;
	UPDATE etl.load x SET state = 'published', published_at = clock_timestamp() WHERE x.load_id = l.load_id;
	PERFORM etl._publish_watermarks(l);
	PERFORM etl._learn_fields(l);
END
$$;
COMMENT ON FUNCTION etl._publish_load(bigint, integer, bigint) IS 'makes a complete load visible; with on_rerun replace it supersedes the interval''s earlier one';

CREATE FUNCTION etl._publish_loads(task_run_id bigint, attempt integer)
RETURNS TABLE (task text, load_id bigint, shared_partition_key bigint, raw_schema name, raw_table name, fetched bigint, loaded bigint, quarantined bigint, quarantine_rows bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t etl.task_run := etl._fence(task_run_id, attempt);
BEGIN
	RETURN QUERY
	SELECT l.task, l.load_id, l.shared_partition_key, l.target_schema, l.target_name, l.fetched, l.loaded, l.quarantined,
		   (SELECT count(*) FROM etl.quarantined_record q WHERE q.load_id = l.load_id AND q.replayed_at IS NULL)
	FROM etl.load l WHERE l.run_id = t.run_id AND l.state = 'complete' AND t.kind = 'publish' AND l.task = ANY (t.depends_on) ORDER BY l.load_id;
END
$$;
COMMENT ON FUNCTION etl._publish_loads(bigint, integer) IS 'the complete loads that a publication makes visible, with their counts';

-- fetched = loaded + quarantined, counted anew from the rows themselves on every run.
CREATE FUNCTION etl._reconcile(l record) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	raw_rows bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM %I.%I WHERE load_id = $1 AND partition_key IN ($2, $1)', l.raw_schema, l.raw_table) INTO raw_rows USING l.load_id, l.shared_partition_key;
	IF raw_rows <> l.loaded OR l.quarantine_rows <> l.quarantined OR l.fetched <> l.loaded + l.quarantined THEN
		RAISE EXCEPTION 'load % of % does not add up', l.load_id, l.task
			USING ERRCODE = 'data_exception',
				  DETAIL = format('%s records were fetched; %s of %s loaded and %s of %s quarantined ones are there.',
								  l.fetched, raw_rows, l.loaded, l.quarantine_rows, l.quarantined),
				  HINT = 'Rows of the raw table were changed by hand, or a trigger drops them; run the interval again.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._reconcile(record) IS 'raises unless every fetched record is either in the raw table or in quarantine';

CREATE FUNCTION etl._publish_steps(task_run_id bigint, attempt integer)
RETURNS TABLE (pipeline text, timezone text, run_id bigint, data_interval_start timestamptz, data_interval_end timestamptz, run_date date,
	task text, kind text, target_schema name, target_name name, definition jsonb, latest_interval timestamptz, waived text, step integer, steps integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t etl.task_run := etl._fence(task_run_id, attempt);
BEGIN
	RETURN QUERY
	SELECT r.pipeline, r.timezone, r.run_id, r.data_interval_start, r.data_interval_end, r.run_date,
		   x.task, x.kind, d.target_schema, d.target_name, d.definition, s.latest_interval,
		   (SELECT format('waived by %s: %s', w.waived_by, w.reason) FROM etl.check_waiver w WHERE w.run_id = r.run_id AND w.check_name = x.task),
		   row_number() OVER (ORDER BY x.position)::integer, count(*) OVER ()::integer
	FROM etl.run r
	JOIN etl.task_run x ON x.run_id = r.run_id AND (x.part_of = t.task_run_id OR x.task_run_id = t.task_run_id AND x.kind <> 'publish') AND x.state <> 'skipped'
	LEFT JOIN etl.task d ON d.pipeline = r.pipeline AND d.task = x.task
	LEFT JOIN etl.target_state s ON s.pipeline = r.pipeline AND s.task = x.task
	WHERE r.run_id = t.run_id
	ORDER BY x.position;
END
$$;
COMMENT ON FUNCTION etl._publish_steps(bigint, integer) IS 'the loads, calls and checks of a publication, in order';

-- The publication itself, as the owner.  What it finds out it notes (etl._note) besides
-- returning it, so that the evidence outlives a rollback.
CREATE FUNCTION etl._publish(task_run_id bigint, attempt integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	l record;
	s record;
	c etl._check_outcome;
	counts etl._load_counts;
	began timestamptz;
	failures text[] := '{}';
	label text;
BEGIN
	FOR l IN SELECT * FROM etl._publish_loads(task_run_id, attempt) LOOP
		PERFORM etl._report(format('publishing load %s of %s', l.load_id, l.task));
		PERFORM etl._reconcile(l);
		PERFORM etl._publish_load(task_run_id, attempt, l.load_id);
	END LOOP;
	FOR s IN SELECT * FROM etl._publish_steps(task_run_id, attempt) LOOP
		PERFORM etl._set_context(s.run_id, s.data_interval_start, s.data_interval_end, s.run_date);
		label := format('%s %s (step %s of %s)', s.kind, s.task, s.step, s.steps);
		PERFORM etl._report('publishing: ' || label);
		began := clock_timestamp();
		PERFORM etl._note(jsonb_build_object('task', s.task, 'kind', s.kind, 'started_at', began));
		IF s.definition IS NULL THEN
			RAISE EXCEPTION 'task "%" of pipeline "%" is no longer declared', s.task, s.pipeline
				USING ERRCODE = 'undefined_object', HINT = 'It was dropped while the run waited; run the interval again.';
		END IF;
		IF s.kind = 'load' THEN
			counts := etl._load_target(s.pipeline, s.task, s.timezone, s.definition, etl._relation(s.target_schema, s.target_name), s.latest_interval);
			PERFORM etl._note(jsonb_build_object('task', s.task, 'kind', s.kind, 'started_at', began, 'ended_at', clock_timestamp(),
				'inserted', counts.inserted, 'updated', counts.updated, 'deleted', counts.deleted, 'unchanged', counts.unchanged));
		ELSIF s.kind = 'call' THEN
			PERFORM etl._call(etl._full_name(s.target_schema, s.target_name), s.definition, s.timezone);
			PERFORM etl._note(jsonb_build_object('task', s.task, 'kind', s.kind, 'started_at', began, 'ended_at', clock_timestamp()));
		ELSE
			IF etl._relation(s.target_schema, s.target_name) IS NULL THEN
				RAISE EXCEPTION 'relation "%" of check "%" does not exist', etl._full_name(s.target_schema, s.target_name), s.task
					USING ERRCODE = 'undefined_table', HINT = 'It was there when the check was declared; make it again, or declare the pipeline without the check.';
			END IF;
			c := etl._run_check(s.pipeline, s.task, s.timezone, etl._relation(s.target_schema, s.target_name), s.definition, false);
			PERFORM etl._note(jsonb_build_object('task', s.task, 'kind', s.kind, 'started_at', began, 'ended_at', clock_timestamp(),
				'target', etl._full_name(s.target_schema, s.target_name), 'check_type', s.definition ->> 'check_type',
				'severity', c.severity, 'waived', s.waived, 'passed', c.passed, 'failing_rows', c.failing_rows,
				'figure', c.figure, 'threshold', c.threshold, 'sample', c.sample));
			IF NOT c.passed AND c.severity = 'error' AND s.waived IS NULL THEN
				failures := failures || format('check "%s" on %s: %s found, %s allowed', s.task,
					etl._full_name(s.target_schema, s.target_name), concat_ws(' ', c.figure, c.unit), c.threshold);
			END IF;
		END IF;
	END LOOP;
	IF failures <> '{}' THEN
		RAISE EXCEPTION '% of severity error failed', CASE cardinality(failures) WHEN 1 THEN 'a check' ELSE cardinality(failures) || ' checks' END
			USING ERRCODE = 'check_violation', DETAIL = array_to_string(failures, '; ') || '.',
				  HINT = CASE etl._publish_mode(s.pipeline) WHEN 'per_task' THEN 'What it checks was not' ELSE 'Nothing was' END || ' published: readers have the last good data. etl.check_results has a sample of the failing rows.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._publish(bigint, integer) IS 'publishes a run: raw loads, targets and checks, all or nothing';

-- Writes what a publication noted.  Called in the publication's own transaction when it
-- succeeds, in one of its own when it was rolled back.
CREATE FUNCTION etl._record_evidence(t etl.task_run, evidence jsonb, outcome text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r etl.run;
	e jsonb;
	failed text;
BEGIN
	SELECT * INTO STRICT r FROM etl.run x WHERE x.run_id = t.run_id;
	-- the last note of a task is the one that counts; a task without an end is the one that failed
	FOR e IN SELECT DISTINCT ON (n.value ->> 'task') n.value FROM jsonb_array_elements(evidence) WITH ORDINALITY n(value, o) ORDER BY n.value ->> 'task', o DESC LOOP
		failed := CASE WHEN e ->> 'kind' = 'check' AND e ? 'passed' AND NOT (e ->> 'passed')::boolean AND e ->> 'severity' = 'error' AND e ->> 'waived' IS NULL
					   THEN format('%s found, %s', e ->> 'figure', e ->> 'threshold') END;
		UPDATE etl.task_run x SET
			state = CASE WHEN x.part_of IS NULL THEN x.state		-- the whole: whoever calls this decides
						 WHEN outcome = 'retried' THEN 'queued'
						 WHEN failed IS NOT NULL OR NOT e ? 'ended_at' THEN CASE outcome WHEN 'cancelled' THEN 'cancelled' ELSE 'failed' END
						 WHEN outcome = 'published' OR e ->> 'kind' = 'check' THEN 'success' ELSE 'upstream_failed' END,
			started_at = CASE WHEN x.part_of IS NULL THEN x.started_at ELSE (e ->> 'started_at')::timestamptz END,
			ended_at = CASE WHEN x.part_of IS NULL THEN x.ended_at ELSE (e ->> 'ended_at')::timestamptz END,
			inserted = (e ->> 'inserted')::bigint, updated = (e ->> 'updated')::bigint,
			deleted = (e ->> 'deleted')::bigint, unchanged = (e ->> 'unchanged')::bigint,
			error_code = CASE WHEN x.part_of IS NULL THEN x.error_code WHEN failed IS NOT NULL THEN '23514' END,
			error_message = CASE WHEN x.part_of IS NULL THEN x.error_message ELSE failed END
		WHERE x.run_id = t.run_id AND x.task = e ->> 'task' AND (x.task_run_id = t.task_run_id OR x.part_of = t.task_run_id);
		IF e ? 'passed' THEN
			INSERT INTO etl.check_result (run_id, pipeline, check_name, target, check_type, severity, passed, failing_rows, figure, threshold, sample, attempt)
			VALUES (t.run_id, r.pipeline, e ->> 'task', e ->> 'target', e ->> 'check_type', e ->> 'severity', (e ->> 'passed')::boolean,
					(e ->> 'failing_rows')::bigint, e ->> 'figure', e ->> 'threshold', e -> 'sample', t.attempt);
			IF NOT (e ->> 'passed')::boolean THEN
				PERFORM etl._write_log(CASE WHEN e ->> 'severity' = 'error' AND e ->> 'waived' IS NULL THEN 'ERROR' ELSE 'WARN' END, r.pipeline, t.run_id, e ->> 'task',
					format('check "%s" on %s failed: %s found, %s', e ->> 'task', e ->> 'target', e ->> 'figure', e ->> 'threshold') || coalesce(', ' || (e ->> 'waived'), ''));
			END IF;
		END IF;
		IF outcome = 'published' AND e ->> 'kind' = 'load' THEN
			INSERT INTO etl.target_state AS s VALUES (r.pipeline, e ->> 'task', r.data_interval_start)
			ON CONFLICT ON CONSTRAINT target_state_pkey DO UPDATE SET latest_interval = greatest(s.latest_interval, excluded.latest_interval);
		END IF;
	END LOOP;
	UPDATE etl.task_run x SET state = CASE outcome WHEN 'retried' THEN 'queued' WHEN 'cancelled' THEN 'cancelled' ELSE 'upstream_failed' END
	WHERE x.run_id = t.run_id AND x.part_of = t.task_run_id AND x.state = 'running';
END
$$;
COMMENT ON FUNCTION etl._record_evidence(etl.task_run, jsonb, text) IS 'writes counts, check results and states of a publication, kept also when it was rolled back';

CREATE FUNCTION etl._finish_publish(task_run_id bigint, attempt integer, evidence jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM etl._record_evidence(etl._fence(task_run_id, attempt), evidence, 'published');
	UPDATE etl.task_run x SET state = 'success', ended_at = clock_timestamp(), overdue_at = NULL,
		error_code = NULL, error_message = NULL, error_detail = NULL, error_hint = NULL
	WHERE x.task_run_id = _finish_publish.task_run_id;
	UPDATE etl.task_attempt a SET state = 'success', ended_at = clock_timestamp()
	WHERE a.task_run_id = _finish_publish.task_run_id AND a.attempt = _finish_publish.attempt;
END
$$;
COMMENT ON FUNCTION etl._finish_publish(bigint, integer, jsonb) IS 'marks a publication successful, in its own transaction';

-- After the commit: rows nobody can see any more, one load a call.
CREATE FUNCTION etl._reclaim_after(task_run_id bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n record;
BEGIN
	IF etl._expire_loads(task_run_id) > 0 THEN
		RETURN true;		-- committed first: what is hidden is reclaimed in the next step
	END IF;
	IF NOT EXISTS (SELECT FROM etl._raw_tables_of(task_run_id)) AND NOT EXISTS (SELECT FROM etl._retained_targets_of(task_run_id)) THEN
		RETURN NULL;
	END IF;
	IF etl._drop_expired_partition(task_run_id) THEN
		RETURN true;
	END IF;
	FOR n IN SELECT * FROM etl._raw_tables_of(task_run_id) LOOP
		PERFORM etl._report(format('reclaiming superseded loads of %I.%I', n.raw_schema, n.raw_table));
		IF etl._reclaim(n.raw_schema, n.raw_table) THEN
			RETURN true;
		END IF;
	END LOOP;
	RETURN false;
END
$$;
COMMENT ON FUNCTION etl._reclaim_after(bigint) IS 'removes one superseded load of the raw tables a publication touched; false when none can go now, NULL when there never is any';

CREATE FUNCTION etl._raw_tables_of(task_run_id bigint) RETURNS TABLE (raw_schema name, raw_table name)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT DISTINCT l.target_schema, l.target_name
	FROM etl.task_run t JOIN etl.run r USING (run_id) JOIN etl.load l ON l.run_id = r.run_id
	WHERE t.task_run_id = _raw_tables_of.task_run_id AND r.owner = session_user AND t.kind = 'publish' AND l.task = ANY (t.depends_on);
END
$$;
COMMENT ON FUNCTION etl._raw_tables_of(bigint) IS 'the raw tables that a publication made loads of visible';
