-- What answers say about the provider's quota, and how long a refused request waits: read
-- from headers as many APIs write them, and from rubbish, at an injected time.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
CREATE FUNCTION pg_temp.c_quota(headers text[], now timestamptz, seconds float8) RETURNS text LANGUAGE C STRICT AS '$libdir/etl', 'etl_regress_quota';
CREATE FUNCTION pg_temp.c_attempts(status integer, headers text[], body text, now timestamptz, max_wait_ms bigint) RETURNS text LANGUAGE C STRICT AS '$libdir/etl', 'etl_regress_attempts';
-- It is 2026-11-21 12:00:00 UTC, which is 1795262400.
CREATE FUNCTION pg_temp.quota(VARIADIC headers text[]) RETURNS text LANGUAGE sql AS $$ SELECT pg_temp.c_quota(headers, '2026-11-21 12:00:00+00', 0.2) $$;
SELECT extract(epoch FROM timestamptz '2026-11-21 12:00:00+00')::bigint AS now;
\t on
\pset format unaligned

--
-- Headers
--
-- GitHub's
SELECT pg_temp.quota('x-ratelimit-limit', '5000', 'x-ratelimit-remaining', '4999', 'x-ratelimit-reset', '1795266000', 'x-ratelimit-used', '1', 'x-ratelimit-resource', 'core');
SELECT pg_temp.quota('x-ratelimit-limit', '30', 'x-ratelimit-remaining', '0', 'x-ratelimit-reset', '1795262460', 'x-ratelimit-resource', 'search');
-- in any case, and with the hyphen of others
SELECT pg_temp.quota('X-RateLimit-Limit', '60', 'X-RateLimit-Remaining', '0', 'X-RateLimit-Reset', '1795262405');
SELECT pg_temp.quota('X-Rate-Limit-Limit', '900', 'X-Rate-Limit-Remaining', '0', 'X-Rate-Limit-Reset', '1795262415');
-- a reset in seconds from now, with a fraction, in milliseconds, in microseconds, as a date
SELECT pg_temp.quota('x-ratelimit-remaining', '0', 'x-ratelimit-reset', '7');
SELECT pg_temp.quota('x-ratelimit-remaining', '0.0', 'x-ratelimit-reset', '239.5');
SELECT pg_temp.quota('x-ratelimit-remaining', '587.0', 'x-ratelimit-reset', '239');
SELECT pg_temp.quota('x-ratelimit-remaining', '0', 'x-ratelimit-reset', '1795262410.500');
SELECT pg_temp.quota('x-ratelimit-remaining', '0', 'x-ratelimit-reset', '1795262410000');
SELECT pg_temp.quota('x-ratelimit-remaining', '0', 'x-ratelimit-reset', '1795262410000000');
SELECT pg_temp.quota('x-ratelimit-remaining', '0', 'x-ratelimit-reset', 'Sat, 21 Nov 2026 12:00:09 GMT');
-- one that has passed is no reason to wait
SELECT pg_temp.quota('x-ratelimit-remaining', '0', 'x-ratelimit-reset', '1795262300');
SELECT pg_temp.quota('x-ratelimit-remaining', '0', 'x-ratelimit-reset', '0');
-- and none said is none known
SELECT pg_temp.quota('x-ratelimit-remaining', '0');
SELECT pg_temp.quota('x-ratelimit-reset', '30');
-- the IETF's drafts, old
SELECT pg_temp.quota('ratelimit-limit', '100', 'ratelimit-remaining', '0', 'ratelimit-reset', '50');
SELECT pg_temp.quota('ratelimit-limit', '100, 100;w=60;comment="sliding", 1000;w=3600', 'ratelimit-remaining', '99', 'ratelimit-reset', '50');
SELECT pg_temp.quota('ratelimit-limit', '100;w=21600', 'ratelimit-remaining', '76;w=21600');
-- some send a time there as well
SELECT pg_temp.quota('ratelimit-remaining', '0', 'ratelimit-reset', '1795262430');
-- structured
SELECT pg_temp.quota('ratelimit', 'limit=100, remaining=50, reset=5', 'ratelimit-policy', '100;w=60');
SELECT pg_temp.quota('ratelimit', 'limit=100,remaining=0,reset=5');
-- newer: several policies, of which the tightest counts
SELECT pg_temp.quota('ratelimit', '"default";r=50;t=30', 'ratelimit-policy', '"default";q=100;w=60');
SELECT pg_temp.quota('ratelimit', 'default;r=0;t=30', 'ratelimit-policy', 'burst;q=10;w=1, default;q=100;w=60');
SELECT pg_temp.quota('ratelimit', '"burst";r=0;t=1, "daily";r=900;t=3600', 'ratelimit-policy', '"burst";q=10;w=1,"daily";q=1000;w=86400');
SELECT pg_temp.quota('ratelimit', '"burst";r=0;t=1, "daily";r=0;t=3600');
SELECT pg_temp.quota('ratelimit', '"a";r=7;t=1', 'ratelimit', '"b";r=3;t=9');
SELECT pg_temp.quota('ratelimit', '"a, \"b\";r=1";r=5 ; t=2;pk=:dGVzdA==:');
SELECT pg_temp.quota('ratelimit', '"default";r=0');
-- two kinds of headers in one answer
SELECT pg_temp.quota('x-ratelimit-remaining', '10', 'x-ratelimit-reset', '60', 'ratelimit-remaining', '0', 'ratelimit-reset', '3');

--
-- Rubbish is not known, and does no harm
--
SELECT pg_temp.quota('x-ratelimit-remaining', v, 'x-ratelimit-reset', '9') FROM unnest(ARRAY['', ' ', '-1', 'none', '0x0', '1e9', '12 34', '99999999999999999999', '0 requests', '∞']) v;
SELECT pg_temp.quota('x-ratelimit-remaining', '0', 'x-ratelimit-reset', v)
FROM unnest(ARRAY['', '-5', 'soon', '1e3', '99999999999999999999999999', '999999999999999999', '99999999999999999', '500000000', '4102444800', '2026-11-21T12:00:09Z', '5 minutes', 'Sat, 99 Zzz 2026']) v;
-- no limit is no limit that is used up
SELECT pg_temp.quota('x-ratelimit-limit', '0', 'x-ratelimit-remaining', '0', 'x-ratelimit-reset', '60');
SELECT pg_temp.quota('ratelimit', v) FROM unnest(ARRAY['', ',', ';', ';;', '=', '"', '"a', '"a\', '"a";', '"a";r', '"a";r=', '"a";r=;t=1', '"a";r="0";t=1', '"a";r=-1;t=1', '"a";r=0x;t=1', '"a";r=0;t=99999999999999999999',
	'limit=1 remaining=0', 'remaining="0', 'remaining=', '"a" r=0', '"a";r=0;t=5 junk', ',,,, "a";r=2;t=5']) v;
SELECT pg_temp.quota('ratelimit', repeat('"a";r=1,', 20000));
SELECT pg_temp.quota('x-ratelimit-remaining', '0', 'x-ratelimit-reset', '9', 'x-ratelimit-resource', repeat('long', 100));
SELECT pg_temp.c_quota('{}', '2026-11-21 12:00:00+00', 0);

--
-- Clocks that differ: the answer's Date tells by how much
--
-- rounding and the time of the transfer are no difference
SELECT pg_temp.quota('x-ratelimit-remaining', '0', 'x-ratelimit-reset', '1795262410', 'date', 'Sat, 21 Nov 2026 11:59:59 GMT');
SELECT pg_temp.c_quota(ARRAY['x-ratelimit-remaining', '0', 'x-ratelimit-reset', '1795262410', 'date', 'Sat, 21 Nov 2026 11:59:30 GMT'], '2026-11-21 12:00:00+00', 30);
-- theirs is ten minutes ahead, or behind: their ten seconds from now are ours
SELECT pg_temp.quota('x-ratelimit-remaining', '0', 'x-ratelimit-reset', '1795263010', 'date', 'Sat, 21 Nov 2026 12:10:00 GMT');
SELECT pg_temp.quota('x-ratelimit-remaining', '0', 'x-ratelimit-reset', '1795261810', 'date', 'Sat, 21 Nov 2026 11:50:00 GMT');
-- seconds from now know no clock
SELECT pg_temp.quota('x-ratelimit-remaining', '0', 'x-ratelimit-reset', '10', 'date', 'Sat, 21 Nov 2026 12:10:00 GMT');
-- a cache's answer is old, and a Date of another year is wrong
SELECT pg_temp.quota('x-ratelimit-remaining', '0', 'x-ratelimit-reset', '1795262410', 'date', 'Sat, 21 Nov 2026 11:50:00 GMT', 'age', '600');
SELECT pg_temp.quota('x-ratelimit-remaining', '0', 'x-ratelimit-reset', '1795262410', 'date', v) FROM unnest(ARRAY['Thu, 01 Jan 1970 00:00:00 GMT', 'Mon, 21 Nov 2033 12:00:00 GMT', 'now', '1795262400', '']) v;

--
-- What a refused request waits for
--
CREATE FUNCTION pg_temp.attempts(status integer, body text, VARIADIC headers text[]) RETURNS text LANGUAGE sql AS $$ SELECT pg_temp.c_attempts(status, headers, body, '2026-11-21 12:00:00+00', 3600000) $$;
-- an end that is named is waited for, however often, as long as all waits together are allowed
SELECT pg_temp.attempts(429, '', 'retry-after', '600');
SELECT pg_temp.attempts(429, '', 'retry-after', '7200');
SELECT pg_temp.attempts(403, '', 'retry-after', '1800');
SELECT pg_temp.attempts(403, 'API rate limit exceeded', 'x-ratelimit-remaining', '0', 'x-ratelimit-reset', '1795264200');
SELECT pg_temp.attempts(429, '', 'ratelimit', '"default";r=0;t=1200');
SELECT pg_temp.attempts(429, '', 'ratelimit-reset', '1200');
-- a wait of just the hour that is allowed
SELECT pg_temp.attempts(429, '', 'retry-after', '3600');
-- Retry-After goes before the quota; a date in it goes by their clock
SELECT pg_temp.attempts(429, '', 'retry-after', '900', 'x-ratelimit-remaining', '0', 'x-ratelimit-reset', '1795262700');
SELECT pg_temp.c_attempts(429, ARRAY['retry-after', 'Sat, 21 Nov 2026 13:20:00 GMT', 'date', 'Sat, 21 Nov 2026 13:00:00 GMT'], '', '2026-11-21 12:00:00+00', 60000);
-- with quota left the limit is another, and its reset says nothing; these count as attempts
SELECT pg_temp.attempts(429, '', 'x-ratelimit-remaining', '10', 'x-ratelimit-reset', '1795264200');
SELECT pg_temp.attempts(429, '', 'server', 'x');
SELECT pg_temp.attempts(429, '', 'retry-after', '0');
SELECT pg_temp.attempts(403, 'API rate limit exceeded for you', 'server', 'x');
-- a secondary limit: what it names, else a minute, then twice as long each time
SELECT pg_temp.attempts(403, 'You have exceeded a secondary rate limit.', 'retry-after', '60');
SELECT pg_temp.attempts(403, 'You have exceeded a secondary rate limit.', 'x-ratelimit-remaining', '4990', 'x-ratelimit-reset', '1795264200');
SELECT pg_temp.attempts(429, '{"message": "You have exceeded a Secondary Rate Limit"}', 'server', 'x');
SELECT pg_temp.attempts(403, 'You have triggered an abuse detection mechanism', 'server', 'x');
SELECT pg_temp.attempts(403, 'secondary rate limit', 'x-ratelimit-remaining', '0', 'x-ratelimit-reset', '1795264200');
SELECT pg_temp.attempts(403, 'secondary rate limit', 'x-ratelimit-remaining', '0', 'x-ratelimit-reset', '1795262000');
SELECT pg_temp.c_attempts(403, '{server,x}', 'secondary rate limit', '2026-11-21 12:00:00+00', 30000);
-- no limit
SELECT pg_temp.attempts(403, 'Resource not accessible', 'x-ratelimit-remaining', '4999', 'x-ratelimit-reset', '1795264200');
SELECT pg_temp.attempts(503, '', 'retry-after', '1800');
SELECT pg_temp.attempts(200, 'secondary rate limit', 'x-ratelimit-remaining', '0', 'x-ratelimit-reset', '1795264200');
