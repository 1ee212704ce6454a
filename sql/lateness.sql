-- Lateness: no success of an interval within the pipeline's deadline of its end.  Who starts
-- the coordinator in time asks etl._next_notification_at().

-- Ends of intervals are ticks.  Those of long ago, before the deadline or the notification
-- was there, or while the database was down, are let be.
CREATE FUNCTION etl._unjudged_since(p etl.pipeline, clock timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT greatest(coalesce((SELECT s.judged_until FROM etl.pipeline_status s WHERE s.pipeline = p.pipeline AND s.owner = p.owner), since.created_at),
					since.created_at, p.start_date, clock - p.deadline - interval '7 days')
	FROM (SELECT min(n.created_at) AS created_at FROM etl.notification n
		  WHERE 'lateness' = ANY (n.events) AND (n.pipeline = p.pipeline OR n.pipeline IS NULL AND n.owner = p.owner)) since
	WHERE since.created_at IS NOT NULL
$$;
COMMENT ON FUNCTION etl._unjudged_since(etl.pipeline, timestamptz) IS 'the instant after which ends of intervals have not been looked at; NULL: nobody wants to know whether the pipeline is late';

CREATE FUNCTION etl._next_lateness_at() RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT min(t.tick + p.deadline)
	FROM etl.pipeline p
	CROSS JOIN LATERAL etl._unjudged_since(p, etl._now()) u(since)
	CROSS JOIN LATERAL etl.next_ticks(p.schedule, p.timezone, u.since, 1) t(tick)
	WHERE p.deadline IS NOT NULL AND p.schedule IS NOT NULL AND NOT p.paused AND (p.end_date IS NULL OR t.tick <= p.end_date)
	  AND EXISTS (SELECT FROM etl.notification n WHERE 'lateness' = ANY (n.events))
$$;
COMMENT ON FUNCTION etl._next_lateness_at() IS 'when the next interval will be late, if it does not succeed until then; NULL: none';

CREATE FUNCTION etl._judge_pipeline(p etl.pipeline, clock timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	ticks timestamptz[];
	late timestamptz[];
BEGIN
	ticks := ARRAY(SELECT t FROM etl.next_ticks(p.schedule, p.timezone, etl._unjudged_since(p, clock), 1000) t
				   WHERE t + p.deadline <= clock AND (p.end_date IS NULL OR t <= p.end_date));
	IF ticks = '{}' THEN
		RETURN;
	END IF;
	late := ARRAY(SELECT t FROM unnest(ticks) t
		WHERE NOT EXISTS (SELECT FROM etl.run r WHERE r.pipeline = p.pipeline AND r.data_interval_end = t AND r.state = 'success')
		  AND NOT EXISTS (SELECT FROM etl.pruned_interval i WHERE i.pipeline = p.pipeline AND i.owner = p.owner AND i.intervals @> tstzrange(t - interval '1 microsecond', t)));
	INSERT INTO etl.pipeline_status AS s (pipeline, owner, is_late, judged_until) VALUES (p.pipeline, p.owner, late <> '{}', ticks[cardinality(ticks)])
	ON CONFLICT ON CONSTRAINT pipeline_status_pkey DO UPDATE SET is_late = s.is_late OR excluded.is_late, judged_until = excluded.judged_until;
	IF late <> '{}' THEN
		INSERT INTO etl.log_entry (level, pipeline, owner, message)
		VALUES ('WARN', p.pipeline, p.owner, format('late: no success by %s for %s', late[cardinality(late)] + p.deadline,
			CASE WHEN cardinality(late) > 1 THEN cardinality(late) || ' intervals, the last of which ended at ' ELSE 'the interval that ended at ' END || late[cardinality(late)]));
		PERFORM etl._queue_notifications('lateness', format('lateness:%s', extract(epoch FROM late[cardinality(late)])), p.pipeline, p.owner, p.timezone,
			(SELECT r.run_id FROM etl.run r WHERE r.pipeline = p.pipeline AND r.state IN ('queued', 'running') AND r.data_interval_end = late[cardinality(late)] LIMIT 1),
			jsonb_build_object('data_interval_end', late[cardinality(late)], 'deadline', late[cardinality(late)] + p.deadline, 'late_intervals', cardinality(late)));
	END IF;
END
$$;
COMMENT ON FUNCTION etl._judge_pipeline(etl.pipeline, timestamptz) IS 'looks whether intervals of a pipeline are late, and tells of it: once for all that are at the time';

CREATE FUNCTION etl._judge_lateness() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p etl.pipeline;
	clock CONSTANT timestamptz := etl._now();
BEGIN
	IF etl._is_copy() OR NOT EXISTS (SELECT FROM etl.notification n WHERE 'lateness' = ANY (n.events)) THEN
		RETURN;
	END IF;
	FOR p IN SELECT * FROM etl.pipeline x WHERE x.deadline IS NOT NULL AND x.schedule IS NOT NULL AND NOT x.paused LOOP
		PERFORM etl._judge_pipeline(p, clock) WHERE etl._unjudged_since(p, clock) IS NOT NULL;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._judge_lateness() IS 'tells of pipelines that have become late';
