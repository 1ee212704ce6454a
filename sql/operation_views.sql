-- What people read of backfills and waivers; rows and columns as in views.sql.

CREATE VIEW etl.backfills WITH (security_barrier) AS
	SELECT b.backfill_id, b.pipeline, b.since, b.until, b.rerun, b.reverse, b.max_active, b.state,
		   i.intervals, i.success, i.failed, i.cancelled, i.running, i.remaining, b.problem, b.requested_by, b.requested_at, b.started_at, b.ended_at,
		   CASE WHEN b.state = 'running' AND b.cancelled_by IS NULL AND i.success + i.failed > 0
				THEN pg_catalog.clock_timestamp() + (pg_catalog.clock_timestamp() - b.started_at) / (i.success + i.failed)::double precision * (i.running + i.remaining)::double precision END AS eta,
		   b.cancelled_by, b.cancel_reason
	FROM etl.backfill_request b
	CROSS JOIN LATERAL (
		SELECT pg_catalog.count(*) AS intervals, pg_catalog.count(*) FILTER (WHERE x.state = 'success') AS success, pg_catalog.count(*) FILTER (WHERE x.state = 'failed') AS failed,
			   pg_catalog.count(*) FILTER (WHERE x.state = 'cancelled') AS cancelled, pg_catalog.count(*) FILTER (WHERE x.state = 'active') AS running, pg_catalog.count(*) FILTER (WHERE x.state = 'waiting') AS remaining
		FROM etl.backfill_interval x WHERE x.backfill_id = b.backfill_id) i
	WHERE etl._may_see(b.owner);
COMMENT ON VIEW etl.backfills IS 'backfills: what was asked for, how far they are, and when they will be done at this rate';

CREATE VIEW etl.backfill_intervals WITH (security_barrier) AS
	SELECT i.backfill_id, b.pipeline, i.position, i.data_interval_start, i.data_interval_end, i.state, i.run_id
	FROM etl.backfill_interval i JOIN etl.backfill_request b USING (backfill_id)
	WHERE etl._may_see(b.owner);
COMMENT ON VIEW etl.backfill_intervals IS 'the intervals of backfills in the order they run, and the run of each';

CREATE VIEW etl.check_waivers WITH (security_barrier) AS
	SELECT w.run_id, w.pipeline, w.data_interval_start, w.check_name, w.waived_by, w.waived_at, w.reason, w.retry_of
	FROM etl.check_waiver w
	WHERE etl._may_see(w.owner);
COMMENT ON VIEW etl.check_waivers IS 'checks of severity error that counted as warnings in one run: who decided so, when and why';
