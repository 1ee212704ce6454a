-- A server's own budget: the option rate_limit, grants at an injected clock, and that no
-- window ever holds more than it may, whatever processes do with what they were granted.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all

--
-- The option
--
SELECT * FROM etl._rate_limit_windows('5000/hour');
SELECT v, string_agg(format('%s in %s', w.requests, w.window_length), ', ' ORDER BY w.window_length) FROM unnest(ARRAY['20/second, 5000/hour', ' 10 / 5 Seconds ', '1/100ms', '1000000000/31 days', '60/min,1/s,9/h,3/d',
	'100/15 minutes', '1/90 sec']) v, etl._rate_limit_windows(v) w GROUP BY v ORDER BY v;
CREATE FUNCTION pg_temp.problem(v text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	d text;
BEGIN
	RETURN (SELECT string_agg(w::text, ' ') FROM etl._rate_limit_windows(v) w);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, d);
END
$$;
SELECT v, pg_temp.problem(v) FROM unnest(ARRAY['', '5000', '5000/', '/hour', '0/hour', '-1/hour', '1.5/second', '5000 per hour', '5000/month', '5000/hour,', '5000/hour; 1/second', '5000/hour 1/second',
	'1000000001/hour', '99999999999999999999/hour', '1/99 ms', '1/32 days', '1/0 seconds', '1/99999999999999999999 seconds', '1/60 minutes, 2/hour', '1/m',
	'1/s,1/2s,1/3s,1/4s,1/5s,1/6s,1/7s,1/8s,1/9s']) v;
CREATE SERVER rb_api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://127.0.0.1:9', rate_limit '10/hour, 10/minute, 10/hour');
CREATE SERVER rb_api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://127.0.0.1:9', rate_limit '5/hour');

--
-- Grants
--
-- what is not settled counts when it expires
SELECT grant_id IS NOT NULL AS granted, granted, expires_at, ask_again_at FROM etl._grant_requests('rb_api', 3, '1 second', test_clock => '2026-01-01 12:00:00+00');
SELECT granted, expires_at FROM etl._grant_requests('rb_api', 1, '1 second', test_clock => '2026-01-01 12:10:00+00');
SELECT sum(granted) FROM generate_series(1, 3) n, etl._grant_requests('rb_api', 1, '1 second', test_clock => timestamptz '2026-01-01 12:20:00+00' + n * interval '1 minute');
SELECT * FROM etl._grant_requests('rb_api', 1, '1 second', test_clock => '2026-01-01 12:59:59+00');
SELECT granted FROM etl._grant_requests('rb_api', 1, '1 second', test_clock => '2026-01-01 13:00:00.999+00');
SELECT granted, expires_at FROM etl._grant_requests('rb_api', 1, '1 second', test_clock => '2026-01-01 13:00:01+00');
-- while others hold grants that they may not use, it is worth while to ask when these expire
SELECT granted, ask_again_at FROM etl._grant_requests('rb_api', 1, '1 second', test_clock => '2026-01-01 13:00:01.5+00');
SELECT granted, ask_again_at FROM etl._grant_requests('rb_api', 1, '1 second', test_clock => '2026-01-01 13:00:02+00');
-- no grant is valid for more than a minute
SELECT granted, expires_at FROM etl._grant_requests('rb_api', 1, '1 hour', test_clock => '2026-01-02 00:00+00');
SELECT server, requests, expires_at FROM etl.rate_grant ORDER BY expires_at;

-- what is settled counts from the last request on
CREATE FUNCTION pg_temp.reset(rate_limit text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM etl.rate_grant WHERE server = 'rb_api';
	DELETE FROM etl.rate_use WHERE server = 'rb_api';
	EXECUTE format('ALTER SERVER rb_api OPTIONS (SET rate_limit %L)', rate_limit);
END
$$;
SELECT pg_temp.reset('100/minute');
SELECT grant_id, granted FROM etl._grant_requests('rb_api', 50, '10 seconds', test_clock => '2026-01-01 12:00:00+00') \gset
\echo :granted
-- a part is given back, part is on its way: both are known
SELECT granted FROM etl._grant_requests('rb_api', 0, '10 seconds', :'grant_id', 7, test_clock => '2026-01-01 12:00:01+00');
SELECT requests, expires_at FROM etl.rate_grant;
SELECT grant_id AS next_grant_id, granted FROM etl._grant_requests('rb_api', 1, '10 seconds', :'grant_id', 7, '2026-01-01 12:00:02+00', '2026-01-01 12:00:03+00') \gset
SELECT requests, expires_at FROM etl.rate_grant;
SELECT window_length, first_at, last_at, requests FROM etl.rate_use;
-- twice is once; and not before it was granted, nor after it expired, nor later than now
SELECT granted FROM etl._grant_requests('rb_api', 0, '10 seconds', :'grant_id', 7, '2026-01-01 12:00:02+00', '2026-01-01 12:00:04+00');
SELECT granted FROM etl._grant_requests('rb_api', 0, '10 seconds', :'next_grant_id', 99, '2025-01-01 12:00:02+00', '2026-01-01 12:00:05+00');
SELECT window_length, first_at, last_at, requests FROM etl.rate_use ORDER BY first_at;
SELECT grant_id FROM etl._grant_requests('rb_api', 1, '10 seconds', test_clock => '2026-01-01 12:00:06+00') \gset
SELECT granted FROM etl._grant_requests('rb_api', 0, '10 seconds', :'grant_id', 1, '2027-01-01 12:00:02+00', '2026-01-01 12:00:07+00');
SELECT window_length, first_at, last_at, requests FROM etl.rate_use ORDER BY first_at;
-- those within a hundredth of the window count together, at the latest time
SELECT grant_id AS next_grant_id FROM etl._grant_requests('rb_api', 3, '10 seconds', test_clock => '2026-01-01 12:00:07.2+00') \gset
SELECT grant_id FROM etl._grant_requests('rb_api', 5, '10 seconds', test_clock => '2026-01-01 12:00:07.2+00') \gset
SELECT granted FROM etl._grant_requests('rb_api', 0, '10 seconds', :'grant_id', 5, '2026-01-01 12:00:07.5+00', '2026-01-01 12:00:07.8+00');
SELECT granted FROM etl._grant_requests('rb_api', 0, '10 seconds', :'next_grant_id', 3, '2026-01-01 12:00:07.3+00', '2026-01-01 12:00:07.8+00');
SELECT window_length, first_at, last_at, requests FROM etl.rate_use ORDER BY first_at;
-- a grant of another server is not settled here
CREATE SERVER rb_other FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://127.0.0.1:9', rate_limit '10/second');
SELECT grant_id FROM etl._grant_requests('rb_api', 1, '10 seconds', test_clock => '2026-01-01 12:00:08+00') \gset
SELECT granted FROM etl._grant_requests('rb_other', 0, '10 seconds', :'grant_id', 0, test_clock => '2026-01-01 12:00:08+00');
SELECT server, requests FROM etl.rate_grant;
-- a clock that is set back does not stop anything for long
SELECT pg_temp.reset('1/minute');
SELECT grant_id, granted FROM etl._grant_requests('rb_api', 1, '10 seconds', test_clock => '2026-01-01 12:00:00+00') \gset
SELECT granted, ask_again_at FROM etl._grant_requests('rb_api', 1, '10 seconds', :'grant_id', 1, '2026-01-01 12:00:00+00', '2026-01-01 12:00:01+00');
SELECT granted, ask_again_at FROM etl._grant_requests('rb_api', 1, '10 seconds', test_clock => '2026-01-01 03:00:00+00');
SELECT granted FROM etl._grant_requests('rb_api', 1, '10 seconds', test_clock => '2026-01-01 03:01:00+00');
SELECT granted, ask_again_at FROM etl._grant_requests('rb_api', 1, '10 seconds', test_clock => '2026-01-01 02:00:00+00');
-- another limit counts what was sent before it, where it was counted
SELECT pg_temp.reset('100/minute');
SELECT sum(granted) FROM generate_series(1, 5) n, etl._grant_requests('rb_api', 10, '1 second', test_clock => timestamptz '2026-01-01 12:00:00+00' + n * interval '1 ms');
ALTER SERVER rb_api OPTIONS (SET rate_limit '55/minute, 52/hour');
SELECT granted FROM etl._grant_requests('rb_api', 10, '1 second', test_clock => timestamptz '2026-01-01 12:00:01+00');
SELECT granted, ask_again_at FROM etl._grant_requests('rb_api', 10, '1 second', test_clock => timestamptz '2026-01-01 12:00:59.5+00');
-- no limit any more, and no server
ALTER SERVER rb_api OPTIONS (DROP rate_limit);
SELECT grant_id, granted, expires_at FROM etl._grant_requests('rb_api', 1000, '1 second', test_clock => '2026-01-01 12:00:00+00');
SELECT * FROM etl._grant_requests('rb_missing', 1, '1 second');
-- its decision needs the latest rows
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM etl._grant_requests('rb_api', 1, '1 second');
ROLLBACK;

--
-- Hours of processes that send what they were granted when they like, give back,
-- forget to, and die: no window ever holds more, and little of the budget is lost
--
ALTER SERVER rb_api OPTIONS (ADD rate_limit '40/minute, 600/20 minutes');
CREATE TEMP TABLE sent (at timestamptz NOT NULL);
CREATE TEMP TABLE wrong (what text, at timestamptz);
CREATE PROCEDURE pg_temp.simulate(hours numeric, eager boolean) LANGUAGE plpgsql AS $$
DECLARE
	clock timestamptz := '2026-01-01 00:00+00';
	until CONSTANT timestamptz := clock + hours * interval '1 hour';
	p integer;
	g record;
	again integer;
	sent_at timestamptz;
	held uuid[] := array_fill(NULL::uuid, '{4}');
	used integer[] := '{0,0,0,0}';
	last timestamptz[] := array_fill(NULL::timestamptz, '{4}');
BEGIN
	PERFORM setseed(0.42);
	WHILE clock < until LOOP
		COMMIT;
		p := 1 + floor(random() * 4);
		-- one that died says nothing; one that has requests on their way does not say when
		g := etl._grant_requests('rb_api', 1 + floor(random() * 5)::integer, interval '1 second' * CASE WHEN eager THEN 1 ELSE 1 + random() * 20 END,
			CASE WHEN eager OR random() < 0.7 THEN held[p] END, used[p], CASE WHEN eager OR random() < 0.8 THEN last[p] END, clock);
		held[p] := g.grant_id;
		last[p] := NULL;
		IF g.granted = 0 THEN
			IF g.ask_again_at <= clock THEN
				INSERT INTO wrong VALUES ('asks again too early', clock);
			END IF;
			IF eager THEN
				-- it is the earliest time: before there is nothing, then there is something
				IF NOT EXISTS (SELECT FROM etl.rate_grant x WHERE x.expires_at > clock) THEN
					again := (etl._grant_requests('rb_api', 1, interval '1 second', test_clock => g.ask_again_at - interval '1 microsecond')).granted;
					IF again > 0 THEN
						INSERT INTO wrong VALUES ('granted before', clock);
					END IF;
				END IF;
				clock := g.ask_again_at;
			ELSE
				clock := clock + random() * interval '3 seconds';
			END IF;
			CONTINUE;
		END IF;
		used[p] := CASE WHEN eager OR random() < 0.8 THEN g.granted ELSE floor(random() * (g.granted + 1)) END;
		FOR i IN 1 .. used[p] LOOP
			sent_at := clock + CASE WHEN eager THEN 0.01 ELSE random() END * (g.expires_at - clock);
			INSERT INTO sent VALUES (sent_at);
			last[p] := greatest(last[p], sent_at);
		END LOOP;
		clock := CASE WHEN eager THEN clock + interval '20 ms' WHEN last[p] IS NULL OR random() < 0.5 THEN clock + random() * interval '1 second' ELSE last[p] END;
	END LOOP;
END
$$;
CREATE FUNCTION pg_temp.most(length interval) RETURNS bigint LANGUAGE sql AS $$
	SELECT max(n) FROM (SELECT count(*) OVER (ORDER BY at RANGE BETWEEN length - interval '1 microsecond' PRECEDING AND CURRENT ROW) AS n FROM sent) c
$$;
CALL pg_temp.simulate(0.7, false);
SELECT pg_temp.most('1 minute') BETWEEN 35 AND 40 AS minute, pg_temp.most('20 minutes') BETWEEN 400 AND 600 AS twenty;
SELECT what, count(*) FROM wrong GROUP BY 1;
-- processes that say what they did get nearly all there is
TRUNCATE sent;
SELECT pg_temp.reset('40/minute, 300/20 minutes');
CALL pg_temp.simulate(3, true);
SELECT pg_temp.most('1 minute') AS minute, pg_temp.most('20 minutes') AS twenty, count(*) BETWEEN 2650 AND 2700 AS nearly_all FROM sent;
SELECT what, count(*) FROM wrong GROUP BY 1;
-- and what is kept of that is little
SELECT count(*) < 150 AS few_uses FROM etl.rate_use WHERE server = 'rb_api';
SELECT count(*) < 10 AS few_grants FROM etl.rate_grant WHERE server = 'rb_api';

--
-- Within a transaction somebody else is asked to take: it is taken whatever becomes of the
-- transaction, and nobody waits for its end
--
SELECT pg_temp.reset('50/hour');
CREATE FUNCTION pg_temp.take(server text, wanted integer, times integer, unused integer) RETURNS integer LANGUAGE C STRICT AS '$libdir/etl', 'etl_regress_take';
BEGIN;
SELECT pg_temp.take('rb_api', 3, 2, 0);
SELECT used FROM etl.rate_budgets WHERE server = 'rb_api';
ROLLBACK;
SELECT used FROM etl.rate_budgets WHERE server = 'rb_api';
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;
SELECT pg_temp.take('rb_api', 99, 1, 0);
ROLLBACK;
SELECT used FROM etl.rate_budgets WHERE server = 'rb_api';
-- what is given back is what the next one takes
SELECT pg_temp.take('rb_api', 3, 2, 1);
SELECT used FROM etl.rate_budgets WHERE server = 'rb_api';
SELECT pg_temp.take('rb_missing', 1, 1, 0);
ALTER SERVER rb_api OPTIONS (DROP rate_limit);
SELECT pg_temp.take('rb_api', 99, 2, 0);
ALTER SERVER rb_api OPTIONS (ADD rate_limit '50/hour');

--
-- The view, and who may
--
SELECT pg_temp.reset('20/hour');
SELECT sum(granted) FROM generate_series(1, 3) n, etl._grant_requests('rb_api', 9, n * interval '1 second');
SELECT server, rate_limit, window_length, budget, used, free, next_free_at FROM etl.rate_budgets ORDER BY server;
ALTER SERVER rb_api OPTIONS (SET rate_limit '6/hour, 50/second');
SELECT server, window_length, budget, used, free, next_free_at BETWEEN now() + interval '59 minutes' AND now() + interval '61 minutes' AS next_free_in_an_hour FROM etl.rate_budgets WHERE server = 'rb_api' ORDER BY window_length;
CREATE ROLE regress_etl_user LOGIN;
CREATE ROLE regress_etl_other LOGIN;
GRANT USAGE ON FOREIGN SERVER rb_api TO regress_etl_user;
SET SESSION AUTHORIZATION regress_etl_user;
SELECT server, window_length, budget, used FROM etl.rate_budgets ORDER BY window_length;
SELECT * FROM etl._grant_requests('rb_api', 1, '1 second');
SELECT etl._record_rate_use('rb_api', '1 hour', now(), 1);
SELECT * FROM etl.rate_grant;
SELECT * FROM etl.rate_use;
SELECT * FROM etl.rate_budget FOR UPDATE;
SELECT * FROM etl._rate_counts;
SET SESSION AUTHORIZATION regress_etl_other;
SELECT count(*) FROM etl.rate_budgets;
RESET SESSION AUTHORIZATION;
-- what sources say of their own quotas: seen, and forgotten, by who may use them
INSERT INTO etl.source_quota SELECT s.oid, c, '', 0, now() + interval '1 hour', now() + interval '1 hour', '{}', now()
FROM pg_foreign_server s, unnest('{a,b}'::text[]) c WHERE s.srvname = 'rb_api';
INSERT INTO etl.source_quota SELECT s.oid, 'c', '', 9, now(), NULL, '{}', now() FROM pg_foreign_server s WHERE s.srvname = 'rb_api';
SET SESSION AUTHORIZATION regress_etl_other;
SELECT count(*) FROM etl.source_quotas;
SELECT etl.forget_quotas('rb_api');
SELECT etl._known_quotas(1, 1, 1::oid);
SELECT etl._note_quotas(1, 1, 1::oid, '{}', '{}', '{}', '{}', '{}');
SET SESSION AUTHORIZATION regress_etl_user;
SELECT server, credential, resource, remaining, resets_at > now() AS later FROM etl.source_quotas ORDER BY credential;
SELECT etl.forget_quotas('rb_api');
SELECT etl.forget_quotas('rb_api');
SELECT etl.forget_quotas('rb_nosuch');
RESET SESSION AUTHORIZATION;
GRANT etl_reader TO regress_etl_other;
SET SESSION AUTHORIZATION regress_etl_other;
SELECT count(*) FROM etl.rate_budgets;
RESET SESSION AUTHORIZATION;
REVOKE ALL ON FOREIGN SERVER rb_api FROM regress_etl_user;
DROP ROLE regress_etl_user;
DROP ROLE regress_etl_other;
DELETE FROM etl.rate_grant;
DELETE FROM etl.rate_use;
DROP SERVER rb_api;
DROP SERVER rb_other;
