-- Verbs of operation.

CREATE FUNCTION etl._wake_coordinator_on_commit() RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_wake_coordinator_on_commit';
COMMENT ON FUNCTION etl._wake_coordinator_on_commit() IS 'what this transaction asks for is begun when it commits: wakes the coordinator of this database, or has one come';

CREATE FUNCTION etl._cancel_as_owner(run bigint, reason text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r etl.run := etl._operated_run(run);
BEGIN
	IF r.state NOT IN ('queued', 'running') THEN
		RAISE EXCEPTION 'run % is not active', run
			USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = format('Its state is %s.', r.state),
				  HINT = 'Only queued and running runs can be cancelled; etl.progress lists them.';
	END IF;
	INSERT INTO etl.cancel_request (run_id, requested_by, reason) VALUES (run, etl._acting_role(), coalesce(reason, 'cancelled by ' || etl._acting_role()))
	ON CONFLICT DO NOTHING;
	IF etl._lock_holder('coordinator', 0) IS NULL THEN
		-- left over from a crash: nobody else will end it
		PERFORM etl._repair();
		RETURN 'cancelled';
	END IF;
	PERFORM etl._wake_coordinator_on_commit();
	RETURN 'cancelling';
END
$$;
CREATE FUNCTION etl.cancel(run bigint, reason text DEFAULT NULL) RETURNS text
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._cancel_as_owner(bigint, text) IS 'does what etl.cancel does, with the rights of the extension';
COMMENT ON FUNCTION etl.cancel(bigint, text) IS 'cancels a queued or running run; takes effect when this transaction commits';

CREATE FUNCTION etl._pause_as_owner(pipeline text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	changed bigint;
BEGIN
	PERFORM etl._operated_pipeline(pipeline) WHERE pipeline IS NOT NULL;
	WITH paused AS (
		UPDATE etl.pipeline p SET paused = true
		WHERE (_pause_as_owner.pipeline IS NULL OR p.pipeline = _pause_as_owner.pipeline) AND etl._may_operate(p.owner, etl._acting_role()) AND NOT p.paused
		RETURNING p.pipeline),
	unplanned AS (
		UPDATE etl.schedule_state s SET due_at = NULL FROM paused p WHERE s.pipeline = p.pipeline)
	SELECT count(*) INTO changed FROM paused;
	PERFORM etl._wake_scheduler_on_commit();
	RETURN changed;
END
$$;
CREATE FUNCTION etl.pause(pipeline text DEFAULT NULL) RETURNS bigint
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._pause_as_owner(text) IS 'does what etl.pause does, with the rights of the extension';
COMMENT ON FUNCTION etl.pause(text) IS 'pauses a pipeline, or all you may operate: nothing runs it until etl.resume; a run under way ends normally';

CREATE FUNCTION etl._resume_as_owner(pipeline text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	changed bigint := 0;
	resumed text;
	r etl.run;
BEGIN
	PERFORM etl._operated_pipeline(pipeline) WHERE pipeline IS NOT NULL;
	IF etl._is_copy() THEN
		IF NOT pg_has_role(etl._acting_role(), (SELECT datdba FROM pg_database WHERE datname = current_database()), 'USAGE') THEN
			RAISE EXCEPTION 'permission denied to resume the pipelines of a copied database'
				USING ERRCODE = 'insufficient_privilege', HINT = 'The owner of the database or a superuser can.';
		END IF;
		DELETE FROM etl.instance;
		PERFORM etl._claim_instance();
		UPDATE etl.load l SET superseded_xid = NULL WHERE l.superseded_xid IS NOT NULL;	-- of another server
		-- runs that were active when the database was copied go on nowhere
		PERFORM etl._repair();
		FOR r IN SELECT * FROM etl.run x WHERE x.state IN ('queued', 'running') LOOP
			PERFORM etl._end_run(r, CASE r.state WHEN 'queued' THEN 'cancelled' ELSE 'failed' END, NULL, '57P02', 'the server it ran on is gone', NULL, 'Run the interval again.');
		END LOOP;
		PERFORM etl._end_backfill(b, 'cancelled', 'the database was copied') FROM etl.backfill_request b WHERE b.state = 'running';
	END IF;
	FOR resumed IN
		UPDATE etl.pipeline p SET paused = false
		WHERE (_resume_as_owner.pipeline IS NULL OR p.pipeline = _resume_as_owner.pipeline) AND etl._may_operate(p.owner, etl._acting_role()) AND p.paused
		RETURNING p.pipeline
	LOOP
		PERFORM etl._plan_schedule(resumed);
		changed := changed + 1;
	END LOOP;
	PERFORM etl._wake_scheduler_on_commit();
	-- what waited while it was paused, and what a crash has left
	PERFORM etl._wake_coordinator_on_commit();
	RETURN changed;
END
$$;
CREATE FUNCTION etl.resume(pipeline text DEFAULT NULL) RETURNS bigint
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._resume_as_owner(text) IS 'does what etl.resume does, with the rights of the extension';
COMMENT ON FUNCTION etl.resume(text) IS 'resumes a paused pipeline, or all you may operate; in a restored or cloned database, lets pipelines run here';
