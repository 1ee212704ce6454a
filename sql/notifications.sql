-- Webhooks: who is told of what, over HTTP.  A notification is declared for a pipeline, or
-- for all of a role; it goes to a server as the owner, with that role's user mapping.

CREATE SEQUENCE etl.notification_id_seq;
CREATE TABLE etl.notification (
	notification_id bigint PRIMARY KEY DEFAULT nextval('etl.notification_id_seq'),
	pipeline		text,
	owner			name NOT NULL,
	server			text NOT NULL,
	path			text NOT NULL,
	events			text[] NOT NULL,
	body			jsonb,
	options			jsonb NOT NULL,
	created_at		timestamptz NOT NULL DEFAULT etl._now()
);
COMMENT ON TABLE etl.notification IS 'declared webhooks; read etl.notifications, change by etl.add_notification and etl.drop_notification';
COMMENT ON COLUMN etl.notification.pipeline IS 'NULL: all pipelines of the owner';
COMMENT ON COLUMN etl.notification.body IS 'NULL: that of the preset';
CREATE UNIQUE INDEX notification_address ON etl.notification (owner, coalesce(pipeline, ''), server, path);

-- The outbox: written by the transaction that changes the state, sent after it.
CREATE SEQUENCE etl.notification_delivery_id_seq;
CREATE TABLE etl.notification_delivery (
	delivery_id		bigint PRIMARY KEY DEFAULT nextval('etl.notification_delivery_id_seq'),
	notification_id bigint NOT NULL,
	owner			name NOT NULL,
	event			text NOT NULL,
	event_key		text NOT NULL,
	idempotency_key uuid NOT NULL DEFAULT gen_random_uuid(),
	pipeline		text NOT NULL,
	run_id			bigint,
	body			jsonb NOT NULL,
	state			text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
	attempts		integer NOT NULL DEFAULT 0,
	next_attempt_at timestamptz DEFAULT clock_timestamp(),
	last_status		integer,
	last_error		text,
	created_at		timestamptz NOT NULL DEFAULT clock_timestamp(),
	ended_at		timestamptz,
	CHECK ((state = 'pending') = (ended_at IS NULL)),
	CHECK ((state = 'pending') = (next_attempt_at IS NOT NULL)),
	UNIQUE (notification_id, event_key)
);
COMMENT ON TABLE etl.notification_delivery IS 'what is to be sent, and was: a row an event and notification; read etl.notification_log';
COMMENT ON COLUMN etl.notification_delivery.event_key IS 'what makes the event one: it is told once';
CREATE INDEX notification_delivery_pending ON etl.notification_delivery (next_attempt_at) WHERE state = 'pending';
CREATE INDEX notification_delivery_history ON etl.notification_delivery (pipeline, ended_at);
CREATE INDEX notification_delivery_notification ON etl.notification_delivery (notification_id, delivery_id);

SELECT pg_catalog.pg_extension_config_dump('etl.notification', '');
SELECT pg_catalog.pg_extension_config_dump('etl.notification_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('etl.notification_delivery', '');
SELECT pg_catalog.pg_extension_config_dump('etl.notification_delivery_id_seq', '');

CREATE FUNCTION etl._notification_events() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT '{failure,recovery,lateness,check_error,check_warn,success}'::text[] $$;
COMMENT ON FUNCTION etl._notification_events() IS 'the events there are';

CREATE FUNCTION etl._notification_placeholders() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT '{event,summary,pipeline,at,run_id,run_date,data_interval_start,data_interval_end,trigger,state,duration,task,error_code,error_message,error_detail,error_hint,failures,check,target,severity,figure,threshold,failing_rows,deadline,late_intervals}'::text[]
$$;
COMMENT ON FUNCTION etl._notification_placeholders() IS 'the placeholders that bodies of notifications may have';

CREATE FUNCTION etl._preset_body(preset text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN CASE preset
		WHEN 'json' THEN (SELECT jsonb_object_agg(p, '{' || p || '}') FROM unnest(etl._notification_placeholders()) p)
		WHEN 'slack' THEN '{"text": "{summary}"}'
		WHEN 'discord' THEN '{"content": "{summary}"}' END;
END
$$;
COMMENT ON FUNCTION etl._preset_body(text) IS 'ready-made bodies; NULL: there is none of that name';

CREATE FUNCTION etl._check_notification(path text, events text[], body jsonb, options jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	unknown text;
BEGIN
	PERFORM etl._check_path(path);
	PERFORM etl._check_placeholders('path', path, '{api_key}');
	SELECT coalesce(e, 'NULL') INTO unknown FROM unnest(events) e WHERE NOT coalesce(e = ANY (etl._notification_events()), false) LIMIT 1;
	IF FOUND OR coalesce(events, '{}') = '{}' THEN
		RAISE EXCEPTION 'invalid event "%"', coalesce(unknown, '')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Allowed are: ' || array_to_string(etl._notification_events(), ', ') || '.';
	END IF;
	PERFORM etl._check_body(body, etl._notification_placeholders()) WHERE body IS NOT NULL;
	PERFORM etl._check_option_names('options of etl.add_notification', options, '{preset,repeat,max_attempts,retry_delay}');
	IF options ? 'preset' AND etl._preset_body(options ->> 'preset') IS NULL THEN
		RAISE EXCEPTION 'invalid option "preset": %', options -> 'preset'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Allowed are: discord, json, slack; or give the body itself.';
	ELSIF options ? 'preset' AND body IS NOT NULL THEN
		RAISE EXCEPTION 'body and option "preset" cannot be combined'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'A preset is a ready-made body.';
	ELSIF jsonb_typeof(coalesce(options -> 'repeat', 'true')) <> 'boolean' THEN
		RAISE EXCEPTION 'invalid option "repeat": %', options -> 'repeat'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is true (the default), or false: of failures in a row only the first is told.';
	ELSIF coalesce(options ->> 'max_attempts', '1') !~ '^[0-9]{1,3}$' OR coalesce(options ->> 'max_attempts', '1')::integer NOT BETWEEN 1 AND 100 THEN
		RAISE EXCEPTION 'invalid option "max_attempts": %', options -> 'max_attempts'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is a number of attempts, 1 to 100; the default is 10.';
	ELSIF NOT etl.is_castable(options ->> 'retry_delay', 'interval') OR (options ->> 'retry_delay')::interval NOT BETWEEN interval '0' AND interval '1 day' THEN
		RAISE EXCEPTION 'invalid option "retry_delay": %', options -> 'retry_delay'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is an interval up to a day; the default is ''10 seconds'', which is doubled after each attempt, up to an hour.';
	END IF;
END
$$;
COMMENT ON FUNCTION etl._check_notification(text, text[], jsonb, jsonb) IS 'raises for a notification that cannot be sent';

CREATE FUNCTION etl._save_notification_as_owner(pipeline text, server text, path text, events text[], body jsonb, options jsonb) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	sender name := etl._acting_role();
	saved bigint;
BEGIN
	IF pipeline IS NOT NULL THEN
		sender := (etl._lock_own_pipeline(pipeline)).owner;
	END IF;
	PERFORM etl._check_may_own(sender);
	IF NOT has_server_privilege(sender, server, 'USAGE') THEN
		RAISE EXCEPTION 'permission denied for server "%"', server
			USING ERRCODE = 'insufficient_privilege', DETAIL = format('Notifications are sent as role "%s".', sender),
				  HINT = format('Its owner can GRANT USAGE ON FOREIGN SERVER %I TO %I.', server, sender);
	END IF;
	UPDATE etl.notification n SET events = _save_notification_as_owner.events, body = _save_notification_as_owner.body, options = _save_notification_as_owner.options
	WHERE n.owner = sender AND n.pipeline IS NOT DISTINCT FROM _save_notification_as_owner.pipeline
	  AND n.server = _save_notification_as_owner.server AND n.path = _save_notification_as_owner.path
	RETURNING n.notification_id INTO saved;
	IF NOT FOUND THEN
		INSERT INTO etl.notification AS n (pipeline, owner, server, path, events, body, options) VALUES (pipeline, sender, server, path, events, body, options)
		RETURNING n.notification_id INTO saved;
	END IF;
	RETURN saved;
END
$$;
CREATE FUNCTION etl._save_notification(pipeline text, server text, path text, events text[], body jsonb, options jsonb) RETURNS bigint
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._save_notification_as_owner(text, text, text, text[], jsonb, jsonb) IS 'does what etl._save_notification does, with the rights of the extension';
COMMENT ON FUNCTION etl._save_notification(text, text, text, text[], jsonb, jsonb) IS 'writes the declaration of a notification for the acting role';

CREATE FUNCTION etl.add_notification(pipeline text, server text, path text DEFAULT '', events text[] DEFAULT '{failure,recovery,lateness,check_error}',
	body jsonb DEFAULT NULL, options jsonb DEFAULT '{}') RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM etl._check_source(server);
	path := coalesce(path, '');
	PERFORM etl._check_notification(path, events, body, options);
	RETURN etl._save_notification(pipeline, server, path, ARRAY(SELECT e FROM unnest(etl._notification_events()) e WHERE e = ANY (events)), body, options);
END
$$;
COMMENT ON FUNCTION etl.add_notification(text, text, text, text[], jsonb, jsonb) IS
	'has a server told, by POST, of events of a pipeline, or (NULL) of all that one owns; the same server and path again alters it; returns its id';

CREATE FUNCTION etl._drop_notification_as_owner(notification bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	DELETE FROM etl.notification n WHERE n.notification_id = notification AND etl._is_member(n.owner, etl._acting_role());
	IF NOT FOUND THEN
		RAISE EXCEPTION 'notification % does not exist', notification
			USING ERRCODE = 'undefined_object', HINT = 'etl.notifications lists those there are.';
	END IF;
	UPDATE etl.notification_delivery d SET state = 'failed', ended_at = clock_timestamp(), next_attempt_at = NULL, last_error = coalesce(d.last_error, 'the notification was dropped')
	WHERE d.notification_id = notification AND d.state = 'pending';
END
$$;
CREATE FUNCTION etl.drop_notification(notification bigint) RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'etl_call_as_owner';
COMMENT ON FUNCTION etl._drop_notification_as_owner(bigint) IS 'does what etl.drop_notification does, with the rights of the extension';
COMMENT ON FUNCTION etl.drop_notification(bigint) IS 'ends a notification; what is not delivered yet is not sent any more';

-- With a pipeline go the notifications of it; those of all of a role's pipelines stay the role's.
CREATE FUNCTION etl._hand_over_notifications(pipeline text, new_owner name) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
	UPDATE etl.notification_delivery d SET owner = new_owner
	FROM etl.notification n WHERE n.notification_id = d.notification_id AND n.pipeline = _hand_over_notifications.pipeline;
	UPDATE etl.notification n SET owner = new_owner WHERE n.pipeline = _hand_over_notifications.pipeline;
$$;
COMMENT ON FUNCTION etl._hand_over_notifications(text, name) IS 'has the notifications of a pipeline sent as its new owner';

CREATE VIEW etl.notifications WITH (security_barrier) AS
	SELECT n.notification_id, n.pipeline, n.owner, n.server, n.path, n.events, n.body, n.options, n.created_at,
		   (SELECT pg_catalog.count(*) FROM etl.notification_delivery d WHERE d.notification_id = n.notification_id AND d.state = 'pending') AS pending,
		   last.event AS last_event, last.state AS last_state, last.last_status, last.last_error, last.ended_at AS last_ended_at
	FROM etl.notification n
	LEFT JOIN LATERAL (SELECT * FROM etl.notification_delivery d WHERE d.notification_id = n.notification_id AND d.ended_at IS NOT NULL
					   ORDER BY d.delivery_id DESC LIMIT 1) last ON true
	WHERE etl._owns(n.owner);
COMMENT ON VIEW etl.notifications IS 'declared webhooks, and how the last delivery of each ended';

CREATE VIEW etl.notification_log WITH (security_barrier) AS
	SELECT d.delivery_id, d.notification_id, d.event, d.pipeline, d.run_id, n.server, d.state, d.attempts, d.next_attempt_at, d.last_status, d.last_error,
		   d.idempotency_key, d.body, d.created_at, d.ended_at
	FROM etl.notification_delivery d LEFT JOIN etl.notification n USING (notification_id) WHERE etl._owns(d.owner)
	ORDER BY d.delivery_id DESC;
COMMENT ON VIEW etl.notification_log IS 'what webhooks were sent, and what is still to be: a row an event and notification, with its attempts';
