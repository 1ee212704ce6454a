-- A server's own budget of requests (its option rate_limit), shared by all processes of
-- the database.  In any time as long as a window no more requests are sent than it allows,
-- also across crashes: what may be sent is committed here before it is.
--
-- A process takes a grant: so many requests, to be sent before it expires.  An open grant
-- counts as if all of it were sent at its expiry, the latest possible time.  With its next
-- one the process tells what it sent and when (the grant is settled), and that counts from
-- then on.  The grant of a process that died simply ages.  Uses that lie close together,
-- within a hundredth of their window, count as one, at the latest of their times.

CREATE FUNCTION etl._rate_limit_windows(rate_limit text) RETURNS TABLE (requests integer, window_length interval)
LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'etl_rate_limit_windows';
COMMENT ON FUNCTION etl._rate_limit_windows(text) IS 'the windows of a rate_limit such as 20/second, 5000/hour';

CREATE TABLE etl.rate_budget (
	server name PRIMARY KEY
);
COMMENT ON TABLE etl.rate_budget IS 'servers whose budget was ever asked for: who asks locks the row, so that one decides at a time';

CREATE TABLE etl.rate_grant (
	grant_id   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	server	   name NOT NULL,
	requests   integer NOT NULL CHECK (requests > 0),
	granted_at timestamptz NOT NULL,
	expires_at timestamptz NOT NULL
);
COMMENT ON TABLE etl.rate_grant IS 'requests a process was allowed to send and has not said that it did';
CREATE INDEX rate_grant_server ON etl.rate_grant (server);

CREATE TABLE etl.rate_use (
	server		  name NOT NULL,
	window_length interval NOT NULL,
	first_at	  timestamptz NOT NULL,
	last_at		  timestamptz NOT NULL,
	requests	  bigint NOT NULL,
	PRIMARY KEY (server, window_length, first_at)
) WITH (fillfactor = 70);
COMMENT ON TABLE etl.rate_use IS 'requests sent, for as long as they count in a window; those close together are one row';

CREATE VIEW etl._rate_counts AS
	SELECT u.server, u.window_length, u.last_at AS counts_at, u.requests FROM etl.rate_use u
	UNION ALL
	SELECT g.server, NULL, g.expires_at, g.requests FROM etl.rate_grant g;
COMMENT ON VIEW etl._rate_counts IS 'what counts against the budgets of servers: uses by window, and open grants, which count in every window';

CREATE FUNCTION etl._record_rate_use(server name, window_length interval, used_at timestamptz, requests bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	near CONSTANT interval := window_length / 100;
BEGIN
	UPDATE etl.rate_use u SET last_at = greatest(u.last_at, used_at), requests = u.requests + _record_rate_use.requests
	WHERE u.server = _record_rate_use.server AND u.window_length = _record_rate_use.window_length
	  AND u.first_at = (SELECT max(x.first_at) FROM etl.rate_use x
						WHERE x.server = _record_rate_use.server AND x.window_length = _record_rate_use.window_length
						  AND x.first_at BETWEEN used_at - near AND used_at + near);
	IF NOT FOUND THEN
		INSERT INTO etl.rate_use VALUES (server, window_length, used_at, used_at, requests);
	END IF;
END
$$;
COMMENT ON FUNCTION etl._record_rate_use(name, interval, timestamptz, bigint) IS 'counts requests that were sent in a window of a server''s budget';

-- Called by src/extract/source/rate_ledger.c, for a role that may use the server.  The clock is
-- the system's, read once the lock is held; tests give another.
CREATE FUNCTION etl._grant_requests(server name, wanted integer, validity interval,
	settled_grant uuid DEFAULT NULL, settled_used integer DEFAULT 0, settled_at timestamptz DEFAULT NULL, test_clock timestamptz DEFAULT NULL,
	OUT grant_id uuid, OUT granted integer, OUT expires_at timestamptz, OUT ask_again_at timestamptz)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	max_validity CONSTANT interval := '1 minute';
	share CONSTANT integer := 10;		-- the part of a budget that one process may hold
	clock timestamptz;
	rate_limit text;
	settled etl.rate_grant;
	counted record;
	others record;
	w record;
BEGIN
	-- a snapshot of the whole transaction would not show what was granted while it waited
	IF current_setting('transaction_isolation') <> 'read committed' THEN
		RAISE EXCEPTION 'requests cannot be granted in a transaction that is %', current_setting('transaction_isolation')
			USING ERRCODE = 'object_not_in_prerequisite_state';
	END IF;
	PERFORM FROM etl.rate_budget b WHERE b.server = _grant_requests.server FOR UPDATE;
	IF NOT FOUND THEN
		INSERT INTO etl.rate_budget VALUES (server) ON CONFLICT DO NOTHING;
		PERFORM FROM etl.rate_budget b WHERE b.server = _grant_requests.server FOR UPDATE;
	END IF;
	clock := coalesce(test_clock, clock_timestamp());

	SELECT (SELECT o.option_value FROM pg_options_to_table(s.srvoptions) o WHERE o.option_name = 'rate_limit') INTO rate_limit
	FROM pg_foreign_server s WHERE s.srvname = server;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'server "%" does not exist', server
			USING ERRCODE = 'undefined_object', HINT = 'It was there when the task began; create it again.';
	END IF;

	-- a clock that was set back: what has happened has, now at the latest
	UPDATE etl.rate_use u SET last_at = clock WHERE u.server = _grant_requests.server AND u.last_at > clock;
	UPDATE etl.rate_grant g SET expires_at = clock + max_validity
	WHERE g.server = _grant_requests.server AND g.expires_at > clock + max_validity;

	IF settled_grant IS NOT NULL THEN
		SELECT * INTO settled FROM etl.rate_grant g WHERE g.grant_id = settled_grant AND g.server = _grant_requests.server;
		IF settled.requests > settled_used AND settled_used > 0 AND settled_at IS NULL THEN
			UPDATE etl.rate_grant g SET requests = settled_used WHERE g.grant_id = settled_grant;
		ELSIF settled_used <= 0 OR settled_at IS NOT NULL THEN
			DELETE FROM etl.rate_grant g WHERE g.grant_id = settled_grant AND g.server = _grant_requests.server;
		END IF;
		IF settled_used > 0 AND settled_at IS NOT NULL THEN
			PERFORM etl._record_rate_use(server, x.window_length, least(greatest(settled_at, settled.granted_at), settled.expires_at, clock),
				least(settled_used, settled.requests))
			FROM etl._rate_limit_windows(rate_limit) x WHERE settled.requests IS NOT NULL;
		END IF;
	END IF;
	DELETE FROM etl.rate_use u WHERE u.server = _grant_requests.server AND u.last_at <= clock - u.window_length;
	DELETE FROM etl.rate_grant g WHERE g.server = _grant_requests.server
	  AND g.expires_at <= clock - coalesce((SELECT max(x.window_length) FROM etl._rate_limit_windows(rate_limit) x), '0');

	granted := greatest(wanted, 0);
	validity := least(validity, max_validity);
	IF rate_limit IS NULL THEN		-- it was dropped meanwhile
		expires_at := clock + validity;
		RETURN;
	END IF;
	FOR w IN SELECT * FROM etl._rate_limit_windows(rate_limit) LOOP
		-- full until the newest of those that fill it leaves the window
		SELECT coalesce(sum(c.requests), 0) AS requests, max(c.counts_at) FILTER (WHERE c.running >= w.requests) + w.window_length AS full_until
		INTO counted
		FROM (SELECT x.counts_at, x.requests, sum(x.requests) OVER (ORDER BY x.counts_at DESC ROWS UNBOUNDED PRECEDING) AS running
			  FROM etl._rate_counts x
			  WHERE x.server = _grant_requests.server AND (x.window_length = w.window_length OR x.window_length IS NULL)
				AND x.counts_at > clock - w.window_length) c;
		granted := least(granted, greatest(w.requests - counted.requests, 0), (w.requests + share - 1) / share);
		IF counted.requests >= w.requests THEN
			-- others may not use all that they hold
			SELECT sum(g.requests) AS requests, min(g.expires_at) AS until INTO others
			FROM etl.rate_grant g WHERE g.server = _grant_requests.server AND g.expires_at > clock;
			ask_again_at := greatest(ask_again_at,
				CASE WHEN counted.requests - others.requests < w.requests THEN least(others.until, counted.full_until) ELSE counted.full_until END);
		END IF;
	END LOOP;
	IF granted > 0 THEN
		expires_at := clock + validity;
		INSERT INTO etl.rate_grant AS g (server, requests, granted_at, expires_at) VALUES (server, granted, clock, _grant_requests.expires_at)
		RETURNING g.grant_id INTO grant_id;
	END IF;
END
$$;
COMMENT ON FUNCTION etl._grant_requests(name, integer, interval, uuid, integer, timestamptz, timestamptz) IS
	'settles a grant and takes the next one from a server''s budget: so many requests may be sent until it expires; when none, when to ask again';

CREATE VIEW etl.rate_budgets WITH (security_barrier) AS
	SELECT s.srvname AS server, o.rate_limit, w.window_length, w.requests AS budget, c.requests AS used,
		   GREATEST(w.requests - c.requests, 0) AS free, c.full_until AS next_free_at
	FROM pg_catalog.pg_foreign_server s
	JOIN pg_catalog.pg_foreign_data_wrapper f ON f.oid = s.srvfdw AND f.fdwname = 'etl_http'
	CROSS JOIN LATERAL (SELECT x.option_value AS rate_limit FROM pg_catalog.pg_options_to_table(s.srvoptions) x WHERE x.option_name = 'rate_limit') o
	CROSS JOIN LATERAL etl._rate_limit_windows(o.rate_limit) w
	CROSS JOIN LATERAL (
		SELECT COALESCE(pg_catalog.sum(x.requests), 0)::bigint AS requests,
			   pg_catalog.max(x.counts_at) FILTER (WHERE x.running >= w.requests) + w.window_length AS full_until
		FROM (SELECT y.counts_at, y.requests, pg_catalog.sum(y.requests) OVER (ORDER BY y.counts_at DESC ROWS UNBOUNDED PRECEDING) AS running
			  FROM etl._rate_counts y
			  WHERE y.server = s.srvname AND (y.window_length = w.window_length OR y.window_length IS NULL)
				AND y.counts_at > pg_catalog.clock_timestamp() - w.window_length) x) c
	WHERE pg_catalog.has_server_privilege(s.oid, 'USAGE') OR etl._may_see(pg_catalog.pg_get_userbyid(s.srvowner));
COMMENT ON VIEW etl.rate_budgets IS 'the budgets of servers with a rate_limit: a row a window, with what is used and free of it now';
