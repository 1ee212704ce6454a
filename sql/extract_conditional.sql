-- Conditional requests: which answers are held, and their rows and quarantined records taken
-- into a load whose source says that they have not changed.

-- Slices of published loads are held, as long as the task is declared as it was.  Who asks for
-- a page soon asks for those that came after it: they are told along with it.
CREATE FUNCTION etl._held_slices(task_run_id bigint, attempt integer, load_id bigint, request_key text, how_many integer)
RETURNS TABLE (key text, held_load bigint, held_slice integer, etag text, last_modified text, next_cursor jsonb,
	page_count integer, records bigint, quarantined bigint, partition_keys bigint[], pagination jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	l etl.load := etl._fence_load(task_run_id, attempt, load_id);
	-- a record_time leaves out what is of other intervals
	of_interval CONSTANT boolean := EXISTS (SELECT FROM etl.task t WHERE t.pipeline = l.pipeline AND t.task = l.task AND t.definition ? 'record_time');
	asked text[] := ARRAY[request_key];
BEGIN
	FOR n IN 1 .. least(how_many, 2) LOOP
		FOR key, held_load, held_slice, etag, last_modified, next_cursor, page_count, records, quarantined, partition_keys, pagination IN
			SELECT a.key, h.*
			FROM unnest(asked) a(key) CROSS JOIN LATERAL (
				SELECT s.load_id, s.slice, s.etag, s.last_modified, s.next_cursor, s.page_count, s.fetched + s.skipped, s.quarantined,
					   ARRAY[x.shared_partition_key, x.partition_key], x.pagination
				FROM etl.slice s JOIN etl.load x USING (load_id)
				WHERE s.request_key = a.key AND x.pipeline = l.pipeline AND x.task = l.task AND x.owner = l.owner
				  AND x.state = 'published' AND x.definition_digest = l.definition_digest
				  AND (NOT of_interval OR x.data_interval_start = l.data_interval_start AND x.data_interval_end = l.data_interval_end)
				ORDER BY s.load_id DESC LIMIT 1) h
		LOOP
			RETURN NEXT;
		END LOOP;
		EXIT WHEN n = 2 OR held_load IS NULL;
		SELECT array_agg(DISTINCT f.request_key) INTO asked
		FROM (SELECT s.request_key FROM etl.slice s
			  WHERE s.load_id = held_load AND s.slice > held_slice AND s.request_key IS NOT NULL ORDER BY s.slice LIMIT how_many - 1) f
		WHERE f.request_key <> _held_slices.request_key;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._held_slices(bigint, integer, bigint, text, integer) IS
	'the slice whose records stand for an answer of 304 to a request, and those for requests that came after it; no rows when there is none';

CREATE FUNCTION etl._reuse_quarantined(task_run_id bigint, attempt integer, load_id bigint, slices integer[], held_loads bigint[], held_slices integer[])
RETURNS TABLE (slice integer, quarantined bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	l etl.load := etl._fence_load(task_run_id, attempt, load_id);
BEGIN
	RETURN QUERY
	WITH copied AS (
		INSERT INTO etl.quarantined_record AS c (load_id, pipeline, task, slice, record_number, byte_offset, record, reason_code, reason, request,
			document, correction, corrected_at, corrected_by, correction_note)
		SELECT l.load_id, q.pipeline, q.task, u.slice, q.record_number, q.byte_offset, q.record, q.reason_code, q.reason, q.request,
			q.document, q.correction, q.corrected_at, q.corrected_by, q.correction_note
		FROM unnest(slices, held_loads, held_slices) u(slice, held_load, held_slice)
		JOIN etl.load h ON h.load_id = u.held_load AND h.pipeline = l.pipeline AND h.task = l.task AND h.owner = l.owner
		JOIN etl.quarantined_record q ON q.load_id = h.load_id AND q.slice = u.held_slice AND q.replayed_at IS NULL
		RETURNING c.slice)
	SELECT c.slice, count(*) FROM copied c GROUP BY c.slice;
END
$$;
COMMENT ON FUNCTION etl._reuse_quarantined(bigint, integer, bigint, integer[], bigint[], integer[]) IS
	'copies the quarantined records of slices that have not changed, and counts them';

-- After rows were taken from loads, in the same transaction: a load that is published now was
-- so when they were read, and until this is committed nobody supersedes and reclaims it.
CREATE FUNCTION etl._check_held_loads(l etl.load, held_loads bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	held bigint;
BEGIN
	FOR held IN SELECT DISTINCT h FROM unnest(held_loads) h ORDER BY h LOOP
		PERFORM FROM etl.load x WHERE x.load_id = held AND x.pipeline = l.pipeline AND x.task = l.task AND x.owner = l.owner AND x.state = 'published' FOR SHARE;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'load % is no longer held', held
				USING ERRCODE = 'lock_not_available', HINT = 'It was superseded meanwhile; the next attempt asks again.';
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._check_held_loads(etl.load, bigint[]) IS 'locks loads whose rows were taken for pages that have not changed; an error when one is no longer published';
