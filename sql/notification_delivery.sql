-- Sending the outbox: by workers, as the owners of notifications, with no transaction open
-- while they wait.  An attempt is counted before it is made, and when the next one would be
-- is decided then: whatever becomes of the worker, it is tried again, and not for ever.

CREATE FUNCTION etl._holds_delivery(delivery_id bigint) RETURNS boolean
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'etl_holds_delivery';
COMMENT ON FUNCTION etl._holds_delivery(bigint) IS 'whether this process is a worker that holds the lock of a delivery';

CREATE FUNCTION etl._due_deliveries() RETURNS TABLE (delivery_id bigint, owner name)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT d.delivery_id, d.owner FROM etl.notification_delivery d
	WHERE d.state = 'pending' AND d.next_attempt_at <= clock_timestamp() AND NOT etl._is_copy()
	ORDER BY d.next_attempt_at, d.delivery_id LIMIT 1000
$$;
COMMENT ON FUNCTION etl._due_deliveries() IS 'what is to be sent now';

CREATE FUNCTION etl._my_due_deliveries() RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT d.delivery_id FROM etl._due_deliveries() d WHERE d.owner = session_user $$;
COMMENT ON FUNCTION etl._my_due_deliveries() IS 'what is to be sent now as the session''s role';

CREATE FUNCTION etl._claim_delivery(delivery_id bigint,
	OUT attempt integer, OUT server text, OUT path text, OUT body text, OUT event text, OUT idempotency_key text, OUT subject text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n etl.notification;
	d etl.notification_delivery;
BEGIN
	IF NOT etl._holds_delivery(delivery_id) THEN
		RETURN;
	END IF;
	SELECT * INTO d FROM etl.notification_delivery x
	WHERE x.delivery_id = _claim_delivery.delivery_id AND x.owner = session_user AND x.state = 'pending' AND x.next_attempt_at <= clock_timestamp() FOR UPDATE;
	SELECT * INTO n FROM etl.notification x WHERE x.notification_id = d.notification_id;
	IF d.delivery_id IS NULL THEN
		RETURN;
	ELSIF n.notification_id IS NULL OR d.attempts >= coalesce((n.options ->> 'max_attempts')::integer, 10) THEN
		PERFORM etl._give_delivery_up(d, coalesce(d.last_error, CASE WHEN n.notification_id IS NULL THEN 'the notification was dropped' ELSE 'the workers that tried were lost' END));
		RETURN;
	END IF;
	UPDATE etl.notification_delivery x SET attempts = x.attempts + 1,
		next_attempt_at = clock_timestamp() + least(coalesce((n.options ->> 'retry_delay')::interval, interval '10 seconds') * 2 ^ least(x.attempts, 20), interval '1 hour')
	WHERE x.delivery_id = d.delivery_id RETURNING x.attempts INTO attempt;
	server := n.server;
	path := n.path;
	body := d.body::text;
	event := d.event;
	idempotency_key := d.idempotency_key;
	subject := format('%s %s', d.pipeline, d.event);
END
$$;
COMMENT ON FUNCTION etl._claim_delivery(bigint) IS 'takes a delivery: counts the attempt before it is made; NULLs when there is none to be made';

CREATE FUNCTION etl._give_delivery_up(d etl.notification_delivery, error text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE etl.notification_delivery x SET state = 'failed', ended_at = clock_timestamp(), next_attempt_at = NULL, last_error = error WHERE x.delivery_id = d.delivery_id;
	INSERT INTO etl.log_entry (level, pipeline, owner, run_id, message, detail)
	VALUES ('ERROR', d.pipeline, d.owner, d.run_id, format('notification %s of event %s is given up after %s: %s', d.notification_id, d.event,
		CASE d.attempts WHEN 1 THEN '1 attempt' ELSE d.attempts || ' attempts' END, error), jsonb_build_object('delivery_id', d.delivery_id));
END
$$;
COMMENT ON FUNCTION etl._give_delivery_up(etl.notification_delivery, text) IS 'ends a delivery that nobody will take';

-- retry_after: the receiver asked to be left alone until then.
CREATE FUNCTION etl._settle_delivery(delivery_id bigint, attempt integer, delivered boolean, for_good boolean, status integer, error text, retry_after timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	d etl.notification_delivery;
BEGIN
	IF NOT etl._holds_delivery(delivery_id) THEN
		RAISE EXCEPTION 'attempt % of delivery % is no longer current', attempt, delivery_id
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'These functions are called by workers, for the delivery they hold.';
	END IF;
	UPDATE etl.notification_delivery x SET last_status = status, last_error = left(error, 1000),
		state = CASE WHEN delivered THEN 'delivered' ELSE x.state END, ended_at = CASE WHEN delivered THEN clock_timestamp() END,
		next_attempt_at = CASE WHEN NOT delivered THEN least(greatest(x.next_attempt_at, retry_after), clock_timestamp() + interval '1 day') END
	WHERE x.delivery_id = _settle_delivery.delivery_id AND x.attempts = attempt AND x.state = 'pending' AND x.owner = session_user
	RETURNING * INTO d;
	IF d.state = 'pending' AND (for_good OR attempt >= coalesce((SELECT (n.options ->> 'max_attempts')::integer FROM etl.notification n WHERE n.notification_id = d.notification_id), 10)) THEN
		PERFORM etl._give_delivery_up(d, error);
	END IF;
END
$$;
COMMENT ON FUNCTION etl._settle_delivery(bigint, integer, boolean, boolean, integer, text, timestamptz) IS 'writes what became of an attempt: delivered, to be tried again, or given up';

-- Beside the tasks: which roles' workers have something to send.
CREATE FUNCTION etl._delivery_demand(judge boolean) RETURNS TABLE (role_oid oid, ready integer, idle_pids integer[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	hopeless etl.notification_delivery;
BEGIN
	PERFORM etl._tell_task_news();
	PERFORM etl._judge_lateness() WHERE judge;
	IF NOT EXISTS (SELECT FROM etl.notification_delivery x WHERE x.state = 'pending' AND x.next_attempt_at <= clock_timestamp()) THEN
		RETURN;
	END IF;
	FOR hopeless IN SELECT x.* FROM etl._due_deliveries() y JOIN etl.notification_delivery x USING (delivery_id) LEFT JOIN pg_roles o ON o.rolname = x.owner
		WHERE o.rolcanlogin IS NOT TRUE OR NOT has_database_privilege(o.oid, current_database(), 'CONNECT')
	LOOP
		PERFORM etl._give_delivery_up(hopeless, format('role "%s" does not exist or cannot connect', hopeless.owner));
	END LOOP;
	RETURN QUERY
	SELECT o.oid, least(count(*), 2)::integer,
		   (SELECT array_agg(w.pid) FROM etl._locks_held() w WHERE w.kind = 2 AND w.id = o.oid::bigint
			AND NOT EXISTS (SELECT FROM etl._locks_held() a WHERE a.kind IN (3, 5) AND a.pid = w.pid))
	FROM etl._due_deliveries() d JOIN pg_roles o ON o.rolname = d.owner
	WHERE NOT EXISTS (SELECT FROM etl._locks_held() h WHERE h.kind = 5 AND h.id = d.delivery_id)
	GROUP BY o.oid;
END
$$;
COMMENT ON FUNCTION etl._delivery_demand(boolean) IS 'tells what tasks have left word of, judges lateness; returns how many deliveries are ready for workers of each role, and which of them are idle';

CREATE FUNCTION etl._has_deliveries(waits boolean) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT EXISTS (SELECT FROM etl.notification_delivery d WHERE d.state = 'pending' AND d.next_attempt_at <= clock_timestamp() + CASE WHEN waits THEN interval '30 seconds' ELSE interval '0' END) AND NOT etl._is_copy()
		OR EXISTS (SELECT FROM etl._locks_held() h WHERE h.kind = etl._lock_kind('delivery'))
$$;
COMMENT ON FUNCTION etl._has_deliveries(boolean) IS 'whether a coordinator stays for deliveries: under way, due, or, if it waits for them, within half a minute';

-- No worker could be started for a role.
CREATE FUNCTION etl._postpone_deliveries(role_oid oid, message text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	d etl.notification_delivery;
BEGIN
	FOR d IN UPDATE etl.notification_delivery x SET attempts = x.attempts + 1, last_error = message, next_attempt_at = clock_timestamp() + interval '1 minute' * least(2 ^ x.attempts, 60)
		FROM etl._due_deliveries() y JOIN pg_roles o ON o.rolname = y.owner WHERE x.delivery_id = y.delivery_id AND o.oid = role_oid RETURNING x.*
	LOOP
		PERFORM etl._give_delivery_up(d, message) WHERE d.attempts >= 10;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._postpone_deliveries(oid, text) IS 'has what is due as a role tried later, when no worker starts for it';

CREATE FUNCTION etl._next_notification_at() RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN NOT etl._is_copy() THEN least((SELECT min(d.next_attempt_at) FROM etl.notification_delivery d WHERE d.state = 'pending'), etl._next_lateness_at() + (clock_timestamp() - etl._now())) END
$$;
COMMENT ON FUNCTION etl._next_notification_at() IS 'when a coordinator is needed next for what is to be told: a delivery to be tried, an interval that may be late; NULL: not at all';
