# publish => 'per_task': each raw table, each load and each call is published by itself, its
# checks before anybody sees it.  What fails takes along what waits for it and nothing else.
use strict;
use warnings;

use EtlTest;
use Test::More;

my $api = EtlTest::Api->start;
my $node = make_node('main', preload => 1);
my $url = $api->url;

# Two sources; dimensions a and b, a fact of both, a report of the fact, another of a only.
run_sql($node, <<"SQL");
CREATE SCHEMA w;
CREATE SERVER api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url', max_attempts '1');
CREATE TABLE w.gate (task text PRIMARY KEY, key integer);
CREATE TABLE w.broken (task text PRIMARY KEY, how text);
CREATE SEQUENCE w.tries;
-- what a test does to a load: lets it wait, or breaks it
CREATE FUNCTION w.meddle(name text) RETURNS boolean LANGUAGE plpgsql AS \$\$
DECLARE how text := (SELECT b.how FROM w.broken b WHERE b.task = name);
BEGIN
	PERFORM pg_advisory_xact_lock_shared(g.key) FROM w.gate g WHERE g.task = name;
	IF how = 'error' THEN RAISE 'broken'; END IF;
	IF how = 'once' THEN
		IF nextval('w.tries') = 1 THEN RAISE 'for a moment' USING ERRCODE = 'lock_not_available'; END IF;
	END IF;
	RETURN true;
END \$\$;
SELECT etl.create_pipeline('w', publish => 'per_task');
SELECT etl.add_extract('w', 'w.raw_a', 'api', path => '/pages/a-{ds}', query => '{"pages": 2, "per_page": 5}', records => '\$.data[*]', pagination => '{"type": "next_url"}', key => '{\$.id}');
SELECT etl.add_extract('w', 'w.raw_b', 'api', path => '/pages/b-{ds}', query => '{"pages": 2, "per_page": 5}', records => '\$.data[*]', pagination => '{"type": "next_url"}', key => '{\$.id}');
CREATE VIEW w.txf_a AS SELECT (payload ->> 'id')::integer AS id, payload ->> 'value' AS value, etl.run_date() AS day FROM w.vl_raw_a, (SELECT w.meddle('a')) m;
CREATE VIEW w.txf_b AS SELECT (payload ->> 'id')::integer AS id, payload ->> 'value' AS value, etl.run_date() AS day FROM w.vl_raw_b, (SELECT w.meddle('b')) m;
SELECT etl.add_load('w', 'w.a', 'incremental', key => '{id}', deletes => 'ignore');
SELECT etl.add_load('w', 'w.b', 'incremental', key => '{id}', deletes => 'ignore');
CREATE VIEW w.txf_fact AS SELECT a.id, a.value || b.value AS value, a.day FROM w.a JOIN w.b USING (id), (SELECT w.meddle('fact')) m;
SELECT etl.add_load('w', 'w.fact', 'incremental', key => '{id}', deletes => 'ignore');
CREATE VIEW w.txf_report AS SELECT count(*) AS n, max(day) AS day FROM w.fact;
SELECT etl.add_load('w', 'w.report', 'full');
CREATE VIEW w.txf_other AS SELECT count(*) AS n, max(day) AS day FROM w.a, (SELECT w.meddle('other')) m;
SELECT etl.add_load('w', 'w.other', 'full');
SELECT etl.add_check('w', 'w.fact', 'relationships', '{"column": "id", "to": "w.b", "to_columns": ["id"]}', name => 'fact has b');
SELECT etl.add_check('w', 'w.a', 'row_count', '{"min": 1}', name => 'a has rows');
SQL

sub break_it { my ($task, $how) = @_; run_sql($node, "DELETE FROM w.broken; DELETE FROM w.gate; ALTER SEQUENCE w.tries RESTART" . ($task ? "; INSERT INTO w.broken VALUES ('$task', '$how')" : '')); return; }
sub run_day { my ($day) = @_; return run_sql($node, "SELECT state FROM etl_run(date '2026-11-$day', 'w')", may_fail => 1); }
sub states
{
	my ($columns) = @_;
	return { map { split /=/, $_, 2 } split /\n/, value($node, "SELECT task || '=' || concat_ws(' ', " . ($columns // 'state') . ") FROM etl.task_runs WHERE run_id = (SELECT max(run_id) FROM etl.runs)") };
}
sub days { return value($node, "SELECT concat_ws(' ', (SELECT max(extract(day FROM day)) FROM w.a), (SELECT max(extract(day FROM day)) FROM w.b), (SELECT max(extract(day FROM day)) FROM w.fact), (SELECT extract(day FROM day) FROM w.report), (SELECT extract(day FROM day) FROM w.other))"); }

# ------------------------------------------------------------------------ the plan

is(run_day('01')->{out}, 'success', 'a run published task by task');
is_deeply(states('state, part_of'), { 'w.raw_a' => 'success', 'publish w.raw_a' => 'success', 'w.raw_b' => 'success', 'publish w.raw_b' => 'success',
		'w.a' => 'success', 'a has rows' => 'success w.a', 'w.b' => 'success', 'w.fact' => 'success', 'fact has b' => 'success w.fact', 'w.report' => 'success', 'w.other' => 'success' },
	'every task has attempts of its own, a check those of what it checks');
is(states('depends_on::text')->{'w.fact'}, '{w.a,w.b}', 'the graph is that of the tasks');
is(states('depends_on::text')->{'w.a'}, '{"publish w.raw_a"}', 'a load waits for the publication of what it reads');
is(value($node, "SELECT count(*) FROM etl.task_attempts"), 9, 'an attempt each');
is(days(), '1 1 1 1 1', 'all is there');
is(value($node, "SELECT string_agg(target_name || ' ' || (data_until - interval '1 day')::date, ', ' ORDER BY target_name) FROM etl.freshness WHERE pipeline = 'w' AND target_name LIKE 'raw%'"), 'raw_a 2026-11-01, raw_b 2026-11-01', 'etl.freshness knows');

# ------------------------------------------------------------------------ what fails

break_it('fact', 'error');
my $result = run_day('02');
is($result->{state}, 'P0001', 'a load that fails fails the run');
like($result->{err}, qr/failed in task w\.fact: broken/, 'which names it');
is_deeply(states(), { 'w.raw_a' => 'success', 'publish w.raw_a' => 'success', 'w.raw_b' => 'success', 'publish w.raw_b' => 'success',
		'w.a' => 'success', 'a has rows' => 'success', 'w.b' => 'success', 'w.fact' => 'failed', 'fact has b' => 'upstream_failed', 'w.report' => 'upstream_failed', 'w.other' => 'success' },
	'and what waits for it, and nothing else');
is(days(), '2 2 1 1 2', 'the rest is published');
is(value($node, "SELECT string_agg(target_name || ' ' || extract(day FROM data_until - interval '1 day'), ', ' ORDER BY target_name) FROM etl.freshness WHERE pipeline = 'w'"),
	'a 2, b 2, fact 1, other 2, raw_a 2, raw_b 2, report 1', 'etl.freshness tells which');
my $asked = $api->requests;
break_it();
is(run_day('02')->{out}, 'success', 'run again');
is(days(), '2 2 2 2 2', 'it is all there');
cmp_ok($api->requests - $asked, '==', 4, 'raw was published: the source was asked anew');

# a failing check: what it checks is not published
run_sql($node, "SELECT etl.add_check('w', 'w.a', 'expression', '{\"expression\": \"extract(day FROM day) <> 3\"}', name => 'not the third')");
$result = run_day('03');
is($result->{state}, '23514', 'a check that fails');
like($result->{err}, qr/failed in task not the third.*HINT:.*What it checks was not published/s, 'is named');
is_deeply(states(), { 'w.raw_a' => 'success', 'publish w.raw_a' => 'success', 'w.raw_b' => 'success', 'publish w.raw_b' => 'success',
		'w.a' => 'failed', 'a has rows' => 'success', 'not the third' => 'failed', 'w.b' => 'success', 'w.fact' => 'upstream_failed', 'fact has b' => 'upstream_failed', 'w.report' => 'upstream_failed', 'w.other' => 'upstream_failed' },
	'and keeps what it checks from being published');
is(days(), '2 3 2 2 2', 'readers have the last good data');
is(value($node, "SELECT passed || ' ' || jsonb_array_length(sample) FROM etl.check_results WHERE check_name = 'not the third' ORDER BY check_result_id DESC LIMIT 1"), 'false 5', 'and the evidence is kept');
run_sql($node, "SELECT etl.drop_task('w', 'not the third')");

# of a raw table: before it is published, and the source is asked again next time
run_sql($node, "SELECT etl.add_check('w', 'w.vr_raw_b', 'row_count', '{\"min\": 1}', name => 'a view'); SELECT etl.add_check('w', 'w.raw_b', 'row_count', '{\"min\": 1000}', name => 'many rows')");
$result = run_day('04');
is($result->{state}, '23514', 'a check of a raw table');
is(states()->{'publish w.raw_b'}, 'failed', 'is part of its publication');
is(states()->{'w.b'} . ' ' . states()->{'w.a'}, 'upstream_failed success', 'which only what reads it waits for');
is(value($node, "SELECT count(*) FROM w.vr_raw_b WHERE data_interval_start = '2026-11-04'"), 0, 'nobody sees the rows');
run_sql($node, "SELECT etl.drop_task('w', 'many rows')");
$asked = $api->requests;
is(run_day('04')->{out}, 'success', 'without the check');
is($api->requests - $asked, 4, 'the sources are asked again: the data may have been what was wrong');
is(states('state, part_of')->{'a view'}, 'success', 'a check of a view is made after what the view reads');
run_sql($node, "SELECT etl.drop_task('w', 'a view')");

# ------------------------------------------------------------------------ tried again, alone

run_sql($node, "SELECT etl.alter_pipeline('w', retries => 2, retry_delay => '10 ms')");
break_it('fact', 'once');
is(run_day('05')->{out}, 'success', 'a load that fails for a moment');
is_deeply(states("attempt"), { 'w.raw_a' => 1, 'publish w.raw_a' => 1, 'w.raw_b' => 1, 'publish w.raw_b' => 1,
		'w.a' => 1, 'a has rows' => 1, 'w.b' => 1, 'w.fact' => 2, 'fact has b' => 2, 'w.report' => 1, 'w.other' => 1 }, 'is tried again, and nothing else is');

# Two loads of one pipeline at a time, held by locks; returns the caller.
my $holder = session($node);
sub hold
{
	my (%keys) = @_;

	break_it();
	foreach my $task (sort keys %keys)
	{
		run_sql($node, "INSERT INTO w.gate VALUES ('$task', $keys{$task})");
		$holder->query("SELECT pg_advisory_lock($keys{$task})");
	}
	return;
}
sub let_go { $holder->query('SELECT pg_advisory_unlock_all()'); return; }
sub start_run
{
	my ($day, @tasks) = @_;
	my $caller = session($node);

	$caller->send("SELECT state FROM etl_run(date '2026-11-$day', 'w')");
	wait_until("@tasks are under way", 20, sub {
		return value($node, "SELECT count(*) FROM etl.progress p JOIN pg_stat_activity s ON s.pid = p.worker_pid WHERE p.task IN ("
			. join(', ', map { "'w.$_'" } @tasks) . ") AND s.wait_event_type = 'Lock'") == @tasks;
	});
	return $caller;
}

hold(a => 11, b => 12);
my $caller = start_run('06', 'a', 'b');
pass('loads that do not need each other run at a time');
is(value($node, "SELECT count(*) FROM w.vr_raw_a WHERE data_interval_start = '2026-11-06'"), 10, 'raw is published before them');
let_go();
is($caller->wait(20)->{out}, 'success', 'and so the run gets to its end');

# ------------------------------------------------------------------------ stopped in the middle

hold(fact => 13);
$caller = start_run('07', 'fact');
run_sql($node, "SELECT pg_terminate_backend(worker_pid) FROM etl.progress WHERE task = 'w.fact'");
within(10, 'a load whose worker is lost is tried again', sub { return value($node, "SELECT count(*) FROM etl.progress WHERE task = 'w.fact' AND attempt = 2") });
let_go();
is($caller->wait(20)->{out}, 'success', 'and the run goes on');
is(states('attempt')->{'w.a'} . states('attempt')->{'w.fact'}, '12', 'with the one load again');
is(days(), '7 7 7 7 7', 'to the end');

hold(fact => 13);
$caller = start_run('08', 'fact');
wait_until('the other load is done', 10, sub { return days() =~ / 8$/ });
run_sql($node, "SELECT etl.cancel(run_id) FROM etl.runs WHERE state = 'running'");
is($caller->wait(10)->{state}, '57014', 'a run that is cancelled');
let_go();
is_deeply(states(), { 'w.raw_a' => 'success', 'publish w.raw_a' => 'success', 'w.raw_b' => 'success', 'publish w.raw_b' => 'success',
		'w.a' => 'success', 'a has rows' => 'success', 'w.b' => 'success', 'w.fact' => 'cancelled', 'fact has b' => 'cancelled', 'w.report' => 'cancelled', 'w.other' => 'success' },
	'leaves what was published');
is(days(), '8 8 7 7 8', 'and of the rest the last good data');

hold(fact => 13);
$caller = start_run('09', 'fact');
my $worker = value($node, "SELECT worker_pid FROM etl.progress WHERE task = 'w.fact'");
kill 'KILL', $worker;
ok($caller->wait(10), 'kill -9 of the worker');
wait_until('the server is back', 30, sub { return run_sql($node, 'SELECT 1', may_fail => 1)->{state} eq '00000' });
$holder = session($node);
is(value($node, "SELECT concat_ws(' ', (SELECT max(extract(day FROM day)) FROM w.a), (SELECT max(extract(day FROM day)) FROM w.fact))"), '9 7', 'leaves what was published');
break_it();
is(run_day('09')->{out}, 'success', 'the next run');
is(days(), '9 9 9 9 9', 'completes it');
is(value($node, "SELECT count(*) FROM etl.task_runs t JOIN etl.runs r USING (run_id) WHERE r.state NOT IN ('queued', 'running') AND t.state IN ('queued', 'running', 'up_for_retry')"), 0, 'nothing is left of the lost run');

# ------------------------------------------------------------------------ items of loads

run_sql($node, "CREATE VIEW w.items AS SELECT id FROM w.a WHERE id <= 3");
my $declare = "SELECT etl.add_extract('w', 'w.raw_child', 'api', path => '/pages/child-{id}', query => '{\"pages\": 1, \"per_page\": 2}', records => '\$.data[*]', for_each => 'w.items', key => '{\$.id}')";
run_sql($node, $declare);
is(run_day('10')->{out}, 'success', 'for_each over what a load of this run has published');
is(value($node, "SELECT count(*) FROM w.vr_raw_child WHERE data_interval_start = '2026-11-10'"), 6, 'asks for its children');
$result = run_sql($node, "SELECT etl.alter_pipeline('w', publish => 'pipeline')", may_fail => 1);
is_failure($result, '42P17', 'which a pipeline that is published as a whole cannot');
run_sql($node, "SELECT etl.drop_task('w', 'w.raw_child')");

# for_each over a raw table of this run, children again when parents differ
run_sql($node, "CREATE VIEW w.raw_items AS SELECT (payload ->> 'id')::integer AS id FROM w.vl_raw_a WHERE (payload ->> 'id')::integer <= 2");
run_sql($node, $declare =~ s/w\.items/w.raw_items/r);
is(run_day('11')->{out}, 'success', 'for_each over what an extraction of this run has published');
is(states('depends_on::text')->{'w.raw_child'}, '{"publish w.raw_a",w.raw_a}', 'waits for its publication');
is(value($node, "SELECT count(*) FROM w.vr_raw_child WHERE data_interval_start = '2026-11-11'"), 4, 'and asks for its children');

# ------------------------------------------------------------------------ the same as a whole

sub content { return value($node, "SELECT md5(string_agg(x::text, ',' ORDER BY x::text)) FROM (SELECT 'a', id, value FROM w.a UNION ALL SELECT 'b', id, value FROM w.b UNION ALL SELECT 'f', id, value FROM w.fact UNION ALL SELECT 'r', n::int, '' FROM w.report) x"); }
my $before = content();
run_sql($node, "SELECT etl.alter_pipeline('w', publish => 'pipeline')");
is(run_day('11')->{out}, 'success', 'published as a whole');
is(content(), $before, 'the tables are the same');
is(states('state, part_of')->{'w.a'}, 'success publish', 'in one publication');
run_sql($node, "SELECT etl.alter_pipeline('w', publish => 'per_task')");
is(run_sql($node, "SELECT state FROM etl.reprocess('w', '2026-11-10', '2026-11-12')", may_fail => 1)->{out}, "success\nsuccess", 'rebuilt from raw, task by task');
is(states()->{'publish w.raw_a'} . ' ' . states()->{'w.a'}, 'skipped success', 'without what raw needs');
is(content(), $before, 'to the same tables');

done_testing();
