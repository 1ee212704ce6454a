-- Quarantined records tried again, after the declaration or the records themselves were put
-- right.  What passes becomes a row of the load it was fetched for, or of the one that its
-- record_time leads to; the bytes as received stay in the ledger.

CREATE VIEW etl.replayed WITH (security_barrier) AS
	SELECT q.quarantine_id, q.pipeline, q.task, l.data_interval_start, q.load_id, l.state AS load_state, q.slice, q.record_number,
		   CASE WHEN etl._owns(l.owner) THEN q.record END AS record, q.reason_code, CASE WHEN etl._owns(l.owner) THEN q.reason END AS reason, q.request, q.quarantined_at,
		   CASE WHEN etl._owns(l.owner) THEN q.correction END AS correction, q.corrected_at, q.corrected_by, CASE WHEN etl._owns(l.owner) THEN q.correction_note END AS correction_note,
		   q.replayed_at, q.replayed_by, q.replayed_into
	FROM etl.quarantined_record q JOIN etl.load l USING (load_id) WHERE q.replayed_at IS NOT NULL AND etl._may_see(l.owner);
COMMENT ON VIEW etl.replayed IS 'records that were in quarantine and were loaded after all: as received, why they were refused, and what was corrected';

CREATE FUNCTION etl._judge_records(definition jsonb, records bytea[])
RETURNS TABLE (record_index integer, payload jsonb, reason_code text, reason text)
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'etl_judge_records';
COMMENT ON FUNCTION etl._judge_records(jsonb, bytea[]) IS 'what an extraction as declared would make of records: payloads, or the reasons to refuse them';

CREATE FUNCTION etl._insert_replayed(owner name, raw_schema name, raw_table name, load_id bigint, partition_key bigint,
	interval_start timestamptz, interval_end timestamptz, slices integer[], record_numbers integer[], items jsonb[], fetched_at timestamptz[], payloads jsonb[]) RETURNS void
LANGUAGE C STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'etl_insert_replayed';
COMMENT ON FUNCTION etl._insert_replayed(name, name, name, bigint, bigint, timestamptz, timestamptz, integer[], integer[], jsonb[], timestamptz[], jsonb[]) IS
	'inserts replayed records into a raw table with the rights of its pipeline''s owner';

-- The row of the load is locked as long as its records are replayed: a publication that
-- supersedes it, another replay and a correction wait.
CREATE FUNCTION etl._lock_replayable_load_as_owner(load_id bigint) RETURNS etl.load
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	l etl.load;
BEGIN
	PERFORM FROM etl.load x WHERE x.load_id = _lock_replayable_load_as_owner.load_id AND etl._is_member(x.owner, etl._acting_role()) FOR UPDATE;
	SELECT x.* INTO l FROM etl.load x JOIN etl.pipeline p USING (pipeline)
	WHERE x.load_id = _lock_replayable_load_as_owner.load_id AND x.owner = p.owner AND x.state IN ('complete', 'published')
	  AND etl._is_member(x.owner, etl._acting_role());
	RETURN l;
END
$$;
CREATE FUNCTION etl._lock_replayable_load(load_id bigint) RETURNS etl.load
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._lock_replayable_load_as_owner(bigint) IS 'does what etl._lock_replayable_load does, with the rights of the extension';
COMMENT ON FUNCTION etl._lock_replayable_load(bigint) IS 'locks a load of the acting role''s that can take records; NULL when it cannot, or no longer';

CREATE FUNCTION etl._next_quarantined_as_owner(load_id bigint, after bigint, OUT quarantine_ids bigint[], OUT slices integer[], OUT record_numbers integer[],
	OUT items jsonb[], OUT fetched_at timestamptz[], OUT records bytea[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT array_agg(q.quarantine_id ORDER BY q.quarantine_id), array_agg(q.slice ORDER BY q.quarantine_id), array_agg(q.record_number ORDER BY q.quarantine_id),
		   array_agg(etl._item_values(l.load_id, s.item) ORDER BY q.quarantine_id), array_agg(q.quarantined_at ORDER BY q.quarantine_id), array_agg(q.content ORDER BY q.quarantine_id)
	FROM (SELECT x.load_id, x.quarantine_id, x.slice, x.record_number, x.quarantined_at, x.content,
				 sum(length(x.content)) OVER (ORDER BY x.quarantine_id) AS bytes, row_number() OVER (ORDER BY x.quarantine_id) AS n
		  FROM (SELECT r.*, coalesce(convert_to(coalesce(r.correction, r.document)::text, 'UTF8'), r.record) AS content FROM etl.quarantined_record r
				WHERE r.load_id = _next_quarantined_as_owner.load_id AND r.quarantine_id > after AND r.replayed_at IS NULL
				  -- a row of CSV that was none is no JSON either, though its bytes may look like some
				  AND (r.reason_code <> '22P04' OR r.correction IS NOT NULL)
				ORDER BY r.quarantine_id LIMIT 1000) x) q
	JOIN etl.load l USING (load_id) LEFT JOIN etl.slice s USING (load_id, slice)
	WHERE (q.bytes < 16000000 OR q.n = 1) AND etl._is_member(l.owner, etl._acting_role())
$$;
CREATE FUNCTION etl._next_quarantined(load_id bigint, after bigint, OUT quarantine_ids bigint[], OUT slices integer[], OUT record_numbers integer[],
	OUT items jsonb[], OUT fetched_at timestamptz[], OUT records bytea[])
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._next_quarantined_as_owner(bigint, bigint) IS 'does what etl._next_quarantined does, with the rights of the extension';
COMMENT ON FUNCTION etl._next_quarantined(bigint, bigint) IS 'the next quarantined records of a load, corrected where they were: a thousand, or 16 MB';

-- What goes to another load counts there, and here as if it had been left out at once.
CREATE FUNCTION etl._settle_replay_as_owner(load_id bigint, replayed_into bigint, replayed bigint[], tried bigint[], reason_codes text[], reasons text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	l etl.load := etl._lock_replayable_load(load_id);
	destination etl.load := etl._lock_replayable_load(replayed_into);
	is_own CONSTANT boolean := replayed_into = load_id;
	moved bigint;
BEGIN
	IF l.load_id IS NULL OR destination.load_id IS NULL OR NOT is_own AND NOT coalesce(l.routes, '[]') @> jsonb_build_array(jsonb_build_object('load_id', replayed_into)) THEN
		RAISE EXCEPTION 'load % cannot take records of load %', replayed_into, load_id USING ERRCODE = 'object_not_in_prerequisite_state';
	END IF;
	UPDATE etl.quarantined_record q SET replayed_at = clock_timestamp(), replayed_by = etl._acting_role(), replayed_into = destination.load_id
	WHERE q.load_id = l.load_id AND q.quarantine_id = ANY (replayed) AND q.replayed_at IS NULL;
	GET DIAGNOSTICS moved = ROW_COUNT;
	IF moved <> cardinality(replayed) THEN
		RAISE EXCEPTION 'load % does not have these records in quarantine', load_id USING ERRCODE = 'object_not_in_prerequisite_state';
	END IF;
	UPDATE etl.slice s SET quarantined = s.quarantined - n.moved,
		loaded = s.loaded + CASE WHEN is_own THEN n.moved ELSE 0 END, fetched = s.fetched - CASE WHEN is_own THEN 0 ELSE n.moved END, skipped = s.skipped + CASE WHEN is_own THEN 0 ELSE n.moved END
	FROM (SELECT q.slice, count(*) AS moved FROM etl.quarantined_record q WHERE q.load_id = l.load_id AND q.quarantine_id = ANY (replayed) GROUP BY 1) n
	WHERE s.load_id = l.load_id AND s.slice = n.slice;
	IF is_own THEN
		UPDATE etl.load x SET quarantined = x.quarantined - moved, loaded = x.loaded + moved WHERE x.load_id = l.load_id;
	ELSE
		UPDATE etl.load x SET quarantined = x.quarantined - moved, fetched = x.fetched - moved, skipped = x.skipped + moved WHERE x.load_id = l.load_id;
		UPDATE etl.load x SET loaded = x.loaded + moved, fetched = x.fetched + moved WHERE x.load_id = destination.load_id;
	END IF;
	UPDATE etl.quarantined_record q SET tried_at = clock_timestamp(), tried_reason_code = t.code, tried_reason = t.reason
	FROM unnest(tried, reason_codes, reasons) t(id, code, reason)
	WHERE q.load_id = l.load_id AND q.quarantine_id = t.id AND q.replayed_at IS NULL;
END
$$;
CREATE FUNCTION etl._settle_replay(load_id bigint, replayed_into bigint, replayed bigint[], tried bigint[], reason_codes text[], reasons text[]) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._settle_replay_as_owner(bigint, bigint, bigint[], bigint[], text[], text[]) IS 'does what etl._settle_replay does, with the rights of the extension';
COMMENT ON FUNCTION etl._settle_replay(bigint, bigint, bigint[], bigint[], text[], text[]) IS 'moves replayed records from quarantined to loaded in the ledger, and notes why others were refused again';

-- Payloads with the reasons, those included that only the load knows, and the load that
-- each belongs to: its own, or one that its fetch took along (reads "current").
CREATE FUNCTION etl._judge_for_load(l etl.load, definition jsonb, records bytea[])
RETURNS TABLE (record_index integer, payload jsonb, reason_code text, reason text, destination bigint)
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
	SELECT j.record_index, j.payload,
		   CASE WHEN j.reason IS NOT NULL THEN j.reason_code WHEN NOT definition ? 'record_time' THEN NULL WHEN t.at IS NULL THEN '23502' WHEN d.load_id IS NULL THEN '22008' END,
		   CASE WHEN j.reason IS NOT NULL THEN j.reason WHEN NOT definition ? 'record_time' THEN NULL WHEN t.at IS NULL THEN format('the record has no time at %s', definition ->> 'record_time')
				WHEN d.load_id IS NULL THEN format('the record is of another interval: its time is %s', to_char(t.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) END,
		   CASE WHEN definition ? 'record_time' THEN d.load_id ELSE l.load_id END
	FROM etl._judge_records(definition, records) j
	LEFT JOIN LATERAL (SELECT etl._record_time(j.payload #> etl.json_path_keys(definition ->> 'record_time')) AS at) t ON definition ? 'record_time' AND j.reason IS NULL
	LEFT JOIN LATERAL etl._load_of_time(l, t.at) d(load_id) ON true
$$;
COMMENT ON FUNCTION etl._judge_for_load(etl.load, jsonb, bytea[]) IS 'what would become of records in a load if they were fetched for it today';

CREATE TYPE etl.replay_result AS (
	task text, load_id bigint, data_interval_start timestamptz, data_interval_end timestamptz, replayed bigint, still_quarantined bigint);
COMMENT ON TYPE etl.replay_result IS 'a row a load, as etl.replay_quarantine returns them';

-- One load, which is locked; batch by batch. A row for it, and for each other load that has got records.
CREATE FUNCTION etl._replay_load(p etl.pipeline, t etl.task, l etl.load) RETURNS SETOF etl.replay_result
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	batch record;
	judged record;
	taken etl.load;
	replayed_into jsonb := jsonb_build_object(l.load_id, 0);
	replayed bigint;
BEGIN
	batch := etl._next_quarantined(l.load_id, 0);
	WHILE batch.quarantine_ids IS NOT NULL LOOP
		FOR judged IN
			SELECT j.destination, array_agg(j.record_index ORDER BY j.record_index) AS indexes, array_agg(j.payload ORDER BY j.record_index) AS payloads,
				   array_agg(j.reason_code ORDER BY j.record_index) AS codes, array_agg(j.reason ORDER BY j.record_index) AS reasons
			FROM etl._judge_for_load(l, t.definition, batch.records) j GROUP BY j.destination, j.reason IS NULL
			ORDER BY j.destination	-- two replays lock in the same order
		LOOP
			-- taken.load_id is null for what is refused, and where the other load is superseded
			taken := CASE WHEN judged.reasons[1] IS NULL THEN etl._lock_replayable_load(judged.destination) END;
			IF taken.load_id IS NOT NULL THEN
				PERFORM etl._insert_replayed(p.owner, taken.target_schema, taken.target_name, taken.load_id, taken.partition_key, taken.data_interval_start, taken.data_interval_end,
					ARRAY(SELECT (batch.slices)[i] FROM unnest(judged.indexes) WITH ORDINALITY u(i, o) ORDER BY o),
					ARRAY(SELECT (batch.record_numbers)[i] FROM unnest(judged.indexes) WITH ORDINALITY u(i, o) ORDER BY o),
					ARRAY(SELECT (batch.items)[i] FROM unnest(judged.indexes) WITH ORDINALITY u(i, o) ORDER BY o),
					ARRAY(SELECT (batch.fetched_at)[i] FROM unnest(judged.indexes) WITH ORDINALITY u(i, o) ORDER BY o), judged.payloads);
				PERFORM etl._settle_replay(l.load_id, taken.load_id, ARRAY(SELECT (batch.quarantine_ids)[i] FROM unnest(judged.indexes) i), '{}', '{}', '{}');
				replayed_into := replayed_into || jsonb_build_object(taken.load_id, coalesce((replayed_into -> taken.load_id::text)::bigint, 0) + cardinality(judged.indexes));
			ELSE
				PERFORM etl._settle_replay(l.load_id, l.load_id, '{}', ARRAY(SELECT (batch.quarantine_ids)[i] FROM unnest(judged.indexes) WITH ORDINALITY u(i, o) ORDER BY o),
					CASE WHEN judged.reasons[1] IS NULL THEN array_fill('22008'::text, ARRAY[cardinality(judged.indexes)]) ELSE judged.codes END,
					CASE WHEN judged.reasons[1] IS NULL THEN array_fill(format('the record is of another interval, whose load %s is superseded', judged.destination), ARRAY[cardinality(judged.indexes)]) ELSE judged.reasons END);
			END IF;
		END LOOP;
		batch := etl._next_quarantined(l.load_id, (batch.quarantine_ids)[cardinality(batch.quarantine_ids)]);
	END LOOP;
	replayed := (SELECT sum(n.value::bigint) FROM jsonb_each_text(replayed_into) n);
	IF replayed > 0 THEN
		PERFORM etl._log('INFO', p.pipeline, l.run_id, t.task, format('%s of %s quarantined records of load %s were replayed', replayed, l.quarantined, l.load_id),
			jsonb_build_object('load_id', l.load_id, 'replayed', replayed, 'still_quarantined', l.quarantined - replayed));
	END IF;
	RETURN QUERY SELECT t.task, x.load_id, x.data_interval_start, x.data_interval_end, n.value::bigint, CASE WHEN x.load_id = l.load_id THEN l.quarantined - replayed ELSE x.quarantined END
	FROM jsonb_each_text(replayed_into) n, etl._lock_replayable_load(n.key::bigint) x ORDER BY x.load_id;
END
$$;
COMMENT ON FUNCTION etl._replay_load(etl.pipeline, etl.task, etl.load) IS 'replays the quarantined records of a locked load';

CREATE FUNCTION etl.replay_quarantine(pipeline text, task text DEFAULT NULL, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL)
RETURNS SETOF etl.replay_result
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline := etl._own_pipeline(pipeline);
	wanted text := etl._task_name(pipeline, task);
	t etl.task;
	candidate bigint;
	l etl.load;
	result etl.replay_result;
	taken etl.load;
	loaded bigint := 0;
	first_start timestamptz;
	last_end timestamptz;
BEGIN
	IF wanted IS NOT NULL AND NOT EXISTS (SELECT FROM etl._tasks(p.pipeline) x WHERE x.task = wanted AND x.kind = 'extract') THEN
		RAISE EXCEPTION 'pipeline "%" has no extract task "%"', p.pipeline, task
			USING ERRCODE = 'undefined_object',
				  HINT = 'Its extract tasks are: ' || coalesce((SELECT string_agg(x.task, ', ' ORDER BY x.task) FROM etl._tasks(p.pipeline) x WHERE x.kind = 'extract'), '(none)') || '.';
	END IF;
	FOR candidate IN
		SELECT DISTINCT q.load_id FROM etl.quarantine q
		WHERE q.pipeline = p.pipeline AND q.task = coalesce(wanted, q.task) AND q.load_state IN ('complete', 'published')
		  AND (since IS NULL OR q.data_interval_start >= since) AND (until IS NULL OR q.data_interval_start < until)
		ORDER BY 1		-- two replays lock in the same order
	LOOP
		l := etl._lock_replayable_load(candidate);
		SELECT x.* INTO t FROM etl._tasks(p.pipeline) x WHERE x.task = l.task AND x.kind = 'extract';
		CONTINUE WHEN NOT FOUND;		-- superseded meanwhile, or its task is no longer declared
		FOR result IN SELECT * FROM etl._replay_load(p, t, l) LOOP
			taken := etl._lock_replayable_load(result.load_id);
			IF taken.state = 'published' AND result.replayed > 0 THEN
				loaded := loaded + result.replayed;
				first_start := least(first_start, taken.data_interval_start);
				last_end := greatest(last_end, taken.data_interval_end);
			END IF;
			RETURN NEXT result;
		END LOOP;
	END LOOP;
	IF loaded > 0 THEN
		RAISE NOTICE '% quarantined % loaded; the targets do not have them yet', loaded, CASE loaded WHEN 1 THEN 'record was' ELSE 'records were' END
			USING HINT = format('SELECT * FROM etl.reprocess(%L, %L, %L);', p.pipeline, first_start, last_end);
	END IF;
END
$$;
COMMENT ON FUNCTION etl.replay_quarantine(text, text, timestamptz, timestamptz) IS
	'tries quarantined records again, as the pipeline is declared now and as they were corrected; a row a load';

CREATE FUNCTION etl._correct_quarantined_as_owner(quarantine_id bigint, corrected jsonb, note text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	q etl.quarantined_record;
BEGIN
	SELECT x.* INTO q FROM etl.quarantined_record x JOIN etl.load l USING (load_id)
	WHERE x.quarantine_id = _correct_quarantined_as_owner.quarantine_id AND etl._is_member(l.owner, etl._acting_role())
	FOR SHARE OF l;		-- waits for a replay
	IF NOT FOUND THEN
		RAISE EXCEPTION 'quarantined record % does not exist', quarantine_id
			USING ERRCODE = 'undefined_object', HINT = 'etl.quarantine lists the records you may see.';
	END IF;
	UPDATE etl.quarantined_record x SET correction = corrected, corrected_at = CASE WHEN corrected IS NOT NULL THEN clock_timestamp() END,
		corrected_by = CASE WHEN corrected IS NOT NULL THEN etl._acting_role() END, correction_note = CASE WHEN corrected IS NOT NULL THEN note END
	WHERE x.quarantine_id = q.quarantine_id AND x.replayed_at IS NULL;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'record % is no longer in quarantine', quarantine_id
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'It was replayed: etl.replayed has it, as received and as loaded.';
	END IF;
END
$$;
CREATE FUNCTION etl.correct_quarantined(quarantine_id bigint, corrected jsonb, note text DEFAULT NULL) RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._correct_quarantined_as_owner(bigint, jsonb, text) IS 'does what etl.correct_quarantined does, with the rights of the extension';
COMMENT ON FUNCTION etl.correct_quarantined(bigint, jsonb, text) IS
	'says what shall be loaded in place of a quarantined record when it is replayed; null takes a correction back';
