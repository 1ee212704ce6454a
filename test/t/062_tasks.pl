# Attempts of tasks: tried again after longer and longer delays, given up when they take
# their worker along again and again, ended when they take too long; and cleanups, which run
# whatever became of the rest.
use strict;
use warnings;

use EtlTest;
use Test::More;
use Time::HiRes qw(time);

my $api = EtlTest::Api->start;
my $node = make_node('main', preload => 1);
my $url = $api->url;

run_sql($node, <<'SQL');
CREATE SCHEMA t;
CREATE TABLE t.log (n integer GENERATED ALWAYS AS IDENTITY, what text);
CREATE SEQUENCE t.tries;
CREATE PROCEDURE t.note(what text) LANGUAGE sql AS $$ INSERT INTO t.log (what) VALUES (what) $$;
-- a lock that is not to be had: may go away
CREATE PROCEDURE t.flaky(failures integer) LANGUAGE plpgsql AS $$
BEGIN
	IF nextval('t.tries') <= failures THEN
		RAISE EXCEPTION 'not yet' USING ERRCODE = 'lock_not_available';
	END IF;
END $$;
CREATE PROCEDURE t.sleep(seconds double precision) LANGUAGE sql AS $$ SELECT pg_sleep(seconds) $$;
CREATE PROCEDURE t.stubborn() LANGUAGE plpgsql AS $$
BEGIN
	LOOP
		BEGIN
			PERFORM pg_sleep(60);
		EXCEPTION WHEN query_canceled THEN
		END;
	END LOOP;
END $$;
-- loses its worker: in an orderly way, or with all others
CREATE PROCEDURE t.leave(times integer) LANGUAGE plpgsql AS $$ BEGIN IF nextval('t.tries') <= times THEN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10); END IF; END $$;
CREATE PROCEDURE t.crash() LANGUAGE plpgsql AS $$ BEGIN COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'; PERFORM pg_sleep(10); END $$;
SQL

# Declares a pipeline anew with one call.
sub declare
{
	my ($name, $settings, $call) = @_;

	run_sql($node, "BEGIN; ALTER SEQUENCE t.tries RESTART; TRUNCATE t.log;
		SELECT etl.create_pipeline('$name', replace => true $settings); SELECT etl.add_call('$name', $call); COMMIT");
	return;
}

sub run_it { my ($name, $day) = @_; return run_sql($node, "SELECT state FROM etl_run(date '2026-11-@{[ $day // '19' ]}', '$name')", may_fail => 1); }
sub attempts
{
	return value($node, "SELECT string_agg(concat_ws(' ', a.attempt, a.state, a.error_code), ', ' ORDER BY a.task, a.attempt)
		FROM etl.task_attempts a WHERE a.run_id = (SELECT max(run_id) FROM etl.runs)");
}
sub states { return value($node, "SELECT string_agg(task || ' ' || state, ', ' ORDER BY task) FROM etl.task_runs WHERE run_id = (SELECT max(run_id) FROM etl.runs)"); }
# Times between the end of an attempt and the beginning of the next, in milliseconds.
sub delays
{
	return split /,/, value($node, "SELECT string_agg(round(1000 * extract(epoch FROM d))::text, ',' ORDER BY attempt) FROM (
		SELECT attempt, started_at - lag(ended_at) OVER (ORDER BY attempt) AS d FROM etl.task_attempts WHERE run_id = (SELECT max(run_id) FROM etl.runs)) x(attempt, d) WHERE d IS NOT NULL");
}

# ------------------------------------------------------------------------- delays

is(value($node, "SELECT string_agg(extract(epoch FROM etl._retry_delay(jsonb_populate_record(NULL::etl.pipeline,
		etl._default_settings() || '{\"retry_delay\": \"10 seconds\", \"retry_backoff\": 3, \"max_retry_delay\": \"4 minutes\", \"retry_jitter\": 0.5}'), n, chance))::float8::text, ' ' ORDER BY chance, n)
	FROM generate_series(1, 5) n, unnest('{0,1}'::float8[]) chance"),
	'10 30 90 240 240 5 15 45 120 120', 'the delay grows by the factor up to the maximum, and chance shortens it');
is(value($node, "SELECT string_agg(etl._retry_delay(jsonb_populate_record(NULL::etl.pipeline, etl._default_settings() || s), n, 0)::text, ' ' ORDER BY s::text, n)
	FROM unnest('{\"{\\\"retry_backoff\\\": 100}\",\"{\\\"retry_delay\\\": \\\"3 days\\\"}\"}'::jsonb[]) s, unnest('{1,100}'::int[]) n"),
	'00:00:30 24:00:00 72:00:00 72:00:00', 'without a maximum it is a day, or retry_delay itself');

declare('r', ", retries => 0", "'t.flaky', '[3]', transaction => 'own', options => '{\"retries\": 3, \"retry_delay\": \"200 ms\", \"retry_backoff\": 2, \"max_retry_delay\": \"500 ms\"}'");
is(run_it('r')->{out}, 'success', 'a task has retries of its own');
is(attempts(), '1 failed 55P03, 2 failed 55P03, 3 failed 55P03, 4 success', 'and all of them are made');
my @delays = delays();
ok($delays[0] >= 200 && $delays[0] < 400 && $delays[1] >= 400 && $delays[2] >= 500 && $delays[2] < 1500, 'after longer and longer delays') or diag("@delays");
declare('r', ", retries => 5", "'t.flaky', '[3]', transaction => 'own', options => '{\"retries\": 1, \"retry_delay\": \"10 ms\"}'");
my $result = run_it('r');
is($result->{state}, '55P03', 'less than its pipeline');
is(attempts(), '1 failed 55P03, 2 failed 55P03', 'and no more are made');
is(value($node, "SELECT etl.pipeline_sql('r') ~ 'options => ''{\"retries\": 1, \"retry_delay\": \"10 ms\"}'''"), 't', 'its own settings are in the file');

# ------------------------------------------------------------------------- lost workers

declare('c', ", retries => 0, retry_delay => '10 ms'", "'t.leave', '[2]'");
is(run_it('c')->{out}, 'success', 'losing its worker costs a task no retry');
is(attempts(), '1 failed 57P02, 2 failed 57P02, 3 success', 'it is tried again');
declare('c', ", retries => 10, retry_delay => '10 ms'", "'t.leave', '[100]', transaction => 'own'");
$result = run_it('c', 18);
is($result->{state}, '57P02', 'but not for ever');
is(attempts(), '1 failed 57P02, 2 failed 57P02, 3 failed 57P02', 'three times, whatever the retries');
like($result->{err}, qr/3 attempts in a row lost their worker: the task is given up.*HINT:.*server log.*etl\.alter_pipeline\('c'\)/s, 'the error says so, and what to do');
my $began = time;
$result = run_it('c', 18);
is($result->{state}, '57P02', 'the next run of the interval does not try it');
is(value($node, 'SELECT attempt FROM etl.task_runs ORDER BY task_run_id DESC LIMIT 1'), 0, 'not even once');
is(run_it('c', 17)->{state}, '57P02', 'another interval is counted by itself');
is(attempts(), '1 failed 57P02, 2 failed 57P02, 3 failed 57P02', 'from the beginning');
run_sql($node, "SELECT etl.alter_pipeline('c', max_crashes => 1); SELECT setval('t.tries', 100)");
is(run_it('c', 18)->{out}, 'success', 'an altered pipeline is tried again');
is(value($node, "SELECT count(*) FROM etl.log WHERE pipeline = 'c' AND level = 'ERROR' AND message ~ 'given up'"), 5, 'the log tells of what was given up');

# The server goes down with it; who waited is gone, and calls again.
declare('k', ", retries => 10, retry_delay => '0'", "'t.crash', transaction => 'own', options => '{\"max_crashes\": 2}'");
my $crashes = 0;
foreach my $call (1 .. 4)
{
	$result = run_it('k');
	last if $result->{state} eq '57P02' && $result->{err} =~ /given up/;
	$crashes++;
	wait_until('the server is back', 30, sub { my $r = run_sql($node, 'SELECT 1', may_fail => 1); return $r->{state} eq '00000' });
}
is($crashes, 2, 'a task that takes the server down gets as many attempts as max_crashes, over all runs');
like($result->{err}, qr/2 attempts in a row lost their worker/, 'and is given up');
kill_postmaster($node);
$node->start;
is(run_it('k')->{state}, '57P02', 'also by a server that was started anew');
is(value($node, "SELECT count(*) FROM etl.task_attempts WHERE pipeline = 'k'"), 2, 'without an attempt');

# ------------------------------------------------------------------------- too long

declare('s', ", retries => 1, retry_delay => '10 ms', task_timeout => '400 ms'", "'t.sleep', '[30]', transaction => 'own'");
$began = time;
$result = run_it('s');
cmp_ok(time - $began, '<', 4, 'what takes too long is ended');
is($result->{state}, '57014', 'with 57014');
like($result->{err}, qr/failed in task t\.sleep: task timed out after 00:00:00\.4.*HINT:.*task_timeout/s, 'the error says why');
is(attempts(), '1 failed 57014, 2 failed 57014', 'and is tried again as after a failure');
is(value($node, "SELECT state FROM etl.runs ORDER BY run_id DESC LIMIT 1"), 'failed', 'the run has failed, it was not cancelled');

run_sql($node, "CREATE VIEW t.txf_slow AS SELECT 1 AS id FROM (SELECT pg_sleep(30)) x;
	BEGIN; SELECT etl.create_pipeline('s', replace => true, task_timeout => '300 ms'); SELECT etl.add_load('s', 't.slow', 'full'); COMMIT");
is(run_it('s')->{state}, '57014', 'so is a publication');
is(states(), 'publish failed, t.slow failed', 'whose parts share its fate');
run_sql($node, "CREATE OR REPLACE VIEW t.txf_slow AS SELECT 1 AS id FROM (SELECT true) x(pg_sleep)", may_fail => 1);

$api->fault(match => '/pages/slow', page => 3, fault => 'hang');
run_sql($node, "CREATE SERVER slow FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url');
	BEGIN; SELECT etl.create_pipeline('s', replace => true);
	SELECT etl.add_extract('s', 't.pages', server => 'slow', path => '/pages/slow', query => '{\"pages\": 4, \"per_page\": 5}', records => '\$.data[*]',
		pagination => '{\"type\": \"next_url\"}', key => '{\$.id}', options => '{\"task_timeout\": \"1 s\"}'); COMMIT");
is(run_it('s')->{state}, '57014', 'so is an extraction');
$api->heal;
is(run_it('s')->{out}, 'success', 'the next run');
is(value($node, "SELECT count(*) FROM t.vr_pages"), 20, 'goes on');
is(scalar(grep { $_->{target} =~ m{^/pages/slow} } $api->requests), 5, 'at the page it had stopped at');

declare('s', ", task_timeout => '200 ms'", "'t.stubborn', transaction => 'own'");
$began = time;
is(run_it('s')->{state}, '57014', 'what does not let itself be cancelled');
my $took = time - $began;
ok($took > 9 && $took < 15, 'loses its session after ten seconds') or diag($took);
declare('s', ", task_timeout => '1 hour'", "'t.sleep', '[0]'");
is(run_it('s')->{out}, 'success', 'what is quick is left alone');

# ------------------------------------------------------------------------- cleanups

sub declare_cleanup
{
	my ($call, $cleanup) = @_;

	declare('d', '', "$call, name => 'work'");
	run_sql($node, "SELECT etl.add_call('d', 't.note', '[\"after\"]', transaction => 'own', depends_on => '{work}', name => 'after')");
	run_sql($node, "SELECT etl.add_call('d', $cleanup, trigger_rule => 'all_done', name => 'clean')");
	return;
}
declare_cleanup("'t.note', '[\"work\"]', transaction => 'own'", "'t.note', '[\"clean\"]'");
is(run_it('d')->{out}, 'success', 'a cleanup after success');
is(value($node, "SELECT string_agg(what, ' ' ORDER BY n) FROM t.log"), 'work after clean', 'comes last');
declare_cleanup("'t.flaky', '[9]'", "'t.note', '[\"clean\"]'");
$result = run_it('d');
is($result->{state}, '55P03', 'a cleanup after failure does not hide it');
is(states(), 'after upstream_failed, clean success, publish failed, work failed', 'and is all that still runs');
is(value($node, "SELECT string_agg(what, ' ') FROM t.log"), 'clean', 'once');
declare_cleanup("'t.flaky', '[9]'", "'t.leave', '[9]'");
$result = run_it('d', 12);
is($result->{state}, '55P03', 'when both fail, the error is that of the work');
declare_cleanup("'t.note', '[\"work\"]'", "'t.flaky', '[9]'");
$result = run_it('d');
is($result->{state}, '55P03', 'a cleanup that fails alone fails the run');
like($result->{err}, qr/failed in task clean/, 'by its name');
is(value($node, "SELECT string_agg(what, ' ' ORDER BY n) FROM t.log"), 'work after', 'what was published stays');
declare_cleanup("'t.sleep', '[30]', transaction => 'own'", "'t.note', '[\"clean\"]'");
my $caller = session($node);
$caller->send("SELECT state FROM etl_run(date '2026-11-19', 'd')");
wait_until('the work is under way', 10, sub { return value($node, "SELECT count(*) FROM etl.progress WHERE task = 'work' AND state = 'running'") });
run_sql($node, "SELECT etl.cancel(run_id) FROM etl.runs WHERE state = 'running'");
$result = $caller->wait(5);
is($result && $result->{state}, '57014', 'a run that is cancelled stops');
is(states(), 'after cancelled, clean cancelled, work cancelled', 'cleanups and all');
is(active_runs($node), 0, 'nothing is left');

# A worker that has run somebody's procedure does not hand its session on.
run_sql($node, "CREATE PROCEDURE t.litter() LANGUAGE plpgsql AS 'BEGIN CREATE TEMP TABLE litter (a int); SET etl.run_date = ''1999-01-01''; SET work_mem = ''64kB''; COMMIT; END';
	CREATE FUNCTION t.found() RETURNS text LANGUAGE sql AS 'SELECT concat_ws('' '', to_regclass(''pg_temp.litter''), current_setting(''work_mem''), etl.run_date())';
	CREATE VIEW t.txf_found AS SELECT t.found() AS found");
declare('l', '', "'t.litter', transaction => 'own'");
run_sql($node, "SELECT etl.add_load('l', 't.found', 'full', depends_on => '{t.litter}')");
is(run_it('l')->{out}, 'success', 'a procedure that leaves things in its session');
is(value($node, 'SELECT found FROM t.found'), value($node, "SELECT current_setting('work_mem') || ' 2026-11-19'"), 'leaves them to nobody');

done_testing();
