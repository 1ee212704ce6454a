-- Named pools: how many attempts of their tasks may run at a time, across pipelines, where
-- etl.max_workers is too coarse - a source that bears four requests at a time, say.

CREATE FUNCTION etl._own_pool(pool text, missing_ok boolean) RETURNS etl.pool
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found_pool etl.pool;
BEGIN
	SELECT * INTO found_pool FROM etl.pool x WHERE x.pool = _own_pool.pool FOR UPDATE;
	IF NOT FOUND AND NOT missing_ok THEN
		RAISE EXCEPTION 'pool "%" does not exist', pool
			USING ERRCODE = 'undefined_object', HINT = 'The view etl.pools lists those there are.';
	ELSIF FOUND AND NOT etl._may_operate(found_pool.owner, etl._acting_role()) THEN
		RAISE EXCEPTION 'permission denied for pool "%"', pool
			USING ERRCODE = 'insufficient_privilege', DETAIL = format('It belongs to role "%s".', found_pool.owner),
				  HINT = 'Only its owner, members of the owner''s role or of etl_operator, and superusers may change it; all may use it.';
	END IF;
	RETURN found_pool;
END
$$;
COMMENT ON FUNCTION etl._own_pool(text, boolean) IS 'a pool, locked, if the acting role may change it; an error otherwise';

CREATE FUNCTION etl._set_pool_as_owner(pool text, slots integer, description text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM etl._check_name('pool', pool);
	PERFORM etl._check_setting('slots', slots::text, slots BETWEEN 0 AND 10000, 'slots is how many attempts may run at a time, 0 to 10000; 0 lets none start.');
	PERFORM etl._own_pool(pool, true);
	INSERT INTO etl.pool AS x (pool, owner, slots, description) VALUES (pool, etl._acting_role(), slots, description)
	ON CONFLICT ON CONSTRAINT pool_pkey DO UPDATE SET slots = excluded.slots, description = coalesce(excluded.description, x.description);
	PERFORM etl._wake_coordinator_on_commit();
END
$$;
CREATE FUNCTION etl.set_pool(pool text, slots integer, description text DEFAULT NULL) RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._set_pool_as_owner(text, integer, text) IS 'does what etl.set_pool does, with the rights of the extension';
COMMENT ON FUNCTION etl.set_pool(text, integer, text) IS 'makes a pool, or changes how many slots it has; attempts that run are not stopped';

CREATE FUNCTION etl._drop_pool_as_owner(pool text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	used_by text;
BEGIN
	PERFORM etl._own_pool(pool, false);
	SELECT p.pipeline INTO used_by FROM etl.pipeline p
	WHERE p.pool = _drop_pool_as_owner.pool
	   OR EXISTS (SELECT FROM etl.task t WHERE t.pipeline = p.pipeline AND t.definition #>> '{options,pool}' = _drop_pool_as_owner.pool)
	ORDER BY p.pipeline LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'pool "%" is used by pipeline "%"', pool, used_by
			USING ERRCODE = 'dependent_objects_still_exist', HINT = format('SELECT etl.alter_pipeline(%L, reset => ''{pool}''), or declare its tasks without it.', used_by);
	END IF;
	DELETE FROM etl.pool x WHERE x.pool = _drop_pool_as_owner.pool;
	PERFORM etl._wake_coordinator_on_commit();
END
$$;
CREATE FUNCTION etl.drop_pool(pool text) RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._drop_pool_as_owner(text) IS 'does what etl.drop_pool does, with the rights of the extension';
COMMENT ON FUNCTION etl.drop_pool(text) IS 'drops a pool no pipeline uses';

CREATE VIEW etl.pools AS
	SELECT p.pool, p.owner, p.slots, p.description,
		   (SELECT pg_catalog.count(*) FROM etl.run r JOIN etl.task_run t USING (run_id) WHERE r.state = 'running' AND t.state = 'running' AND t.pool = p.pool AND t.part_of IS NULL) AS used,
		   (SELECT pg_catalog.count(*) FROM etl.run r JOIN etl.task_run t USING (run_id) WHERE r.state = 'running' AND t.state IN ('queued', 'up_for_retry') AND t.pool = p.pool AND t.part_of IS NULL) AS queued
	FROM etl.pool p;
COMMENT ON VIEW etl.pools IS 'named pools: their slots, how many attempts use them, and how many tasks of running runs wait';

CREATE FUNCTION etl._check_pool(pool text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF pool IS NOT NULL AND NOT EXISTS (SELECT FROM etl.pools x WHERE x.pool = _check_pool.pool) THEN
		RAISE EXCEPTION 'pool "%" does not exist', pool
			USING ERRCODE = 'undefined_object', HINT = format('SELECT etl.set_pool(%L, 4); the view etl.pools lists those there are.', pool);
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_pool(text) IS 'raises unless there is such a pool, or none is named';

-- Whoever takes the last slot: the pool's row is locked until the claim commits.
CREATE FUNCTION etl._has_free_slot(task_run_id bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	pool_name text;
BEGIN
	SELECT t.pool INTO pool_name FROM etl.task_run t WHERE t.task_run_id = _has_free_slot.task_run_id AND t.pool IS NOT NULL;
	IF NOT FOUND THEN
		RETURN true;
	END IF;
	PERFORM FROM etl.pool x WHERE x.pool = pool_name FOR UPDATE;
	RETURN NOT FOUND OR (SELECT x.used < x.slots FROM etl.pools x WHERE x.pool = pool_name);
END
$$;
COMMENT ON FUNCTION etl._has_free_slot(bigint) IS 'whether the pool of a task, if it has one, has a slot for it; no other claim gets it meanwhile';
