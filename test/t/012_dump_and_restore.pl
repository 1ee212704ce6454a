# Definitions, data and history survive pg_dump and restore, and CREATE DATABASE … TEMPLATE;
# a copy does not fire at the sources of its original until it is told to.  The extension can
# be dropped at any time, and come again.
use strict;
use warnings;

use EtlTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $DAY = "date '2026-11-19'";

my $api = EtlTest::Api->start;
my $node = make_node('main', preload => 1, extension => 0);
my $url = $api->url;
my $tmp = $PostgreSQL::Test::Utils::tmp_check;

# Runs a client program; its errors, if it has any.
sub client
{
	my (@command) = @_;
	my ($out, $err) = ('', '');
	my $good = IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>', \$err);

	return $good && $err eq '' ? '' : "$command[0] failed or warned: $err";
}

# ------------------------------------------------------- a database with everything in it

run_sql($node, 'CREATE DATABASE plain');
run_sql($node, 'CREATE TABLE here (id integer); INSERT INTO here VALUES (1)', db => 'plain');
run_sql($node, 'CREATE DATABASE original');
my $options = encode_json({ repositories => ['octocat/renames'], base_url => $url });
run_sql($node, <<SQL . declare_pages(api => $api, pages => 3, per_page => 10, server_options => ", timeout '5 s', max_attempts '1'"), db => 'original');
CREATE EXTENSION etl;
SELECT etl.install('github_issues', '$options');
SELECT etl.create_pipeline('mixed', schedule => '0 2 * * *', timezone => 'Europe/Berlin', retries => 0, description => 'it''s mixed');
CREATE SERVER mixed FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url', retry_delay '10 ms', max_attempts '2', timeout '10 s');
CREATE USER MAPPING FOR CURRENT_USER SERVER mixed OPTIONS (auth 'bearer', token 'secret-of-mixed');
SELECT etl.add_extract('mixed', 'raw."Mixed case"', server => 'mixed', path => '/fault/nul_escape', query => '{"pages": 2, "per_page": 10, "day": "{ds}"}',
	pagination => '{"type": "link_header", "max_pages": 7}', key => '{\$.id}', version => '\$.updated_at');
CREATE SCHEMA sri;
CREATE VIEW sri."txf_Mixed case" AS SELECT (payload ->> 'id')::integer AS id, payload ->> 'value' AS value FROM raw."vl_Mixed case";
SELECT etl.add_load('mixed', 'sri."Mixed case"', mode => 'full', key => '{id}');
SELECT etl.add_check('mixed', 'sri."Mixed case"', 'row_count', '{"min": 1, "max": 5}', severity => 'warn', name => 'a warning');
SQL

my @RUNS = ([ "$DAY, 'pages'", 'success' ], [ "date '2026-11-18', 'pages'", 'success' ], [ "$DAY, 'github_issues'", 'success' ], [ "$DAY, 'mixed'", 'success' ]);
is(value($node, "SELECT state FROM etl_run($_->[0])", db => 'original'), $_->[1], "a run of $_->[0]") foreach @RUNS;
$api->fault(match => '/repos/octocat/renames/issues', fault => 'status_404');
is_failure(run_sql($node, "SELECT * FROM etl_run(date '2026-11-18', 'github_issues')", db => 'original', may_fail => 1), 'HV000', 'a run that fails');
$api->heal;
run_sql($node, "SELECT etl.pause('github_issues')", db => 'original');

# What must be the same in a copy.
my %SAME = (
	'definitions' => "SELECT string_agg(etl.pipeline_sql(pipeline), E'\\n' ORDER BY pipeline) FROM etl.pipelines",
	'tasks' => 'SELECT string_agg(t::text, E\'\n\' ORDER BY pipeline, task) FROM etl.tasks t',
	'owner, schedule and template' => "SELECT string_agg(concat_ws('|', pipeline, owner, schedule, timezone, retries, retry_delay, template, description, last_run_id, last_state), E'\\n' ORDER BY pipeline) FROM etl.pipelines",
	'runs' => "SELECT count(*) || md5(string_agg((to_jsonb(r) - 'duration')::text, E'\\n' ORDER BY run_id)) FROM etl.runs r",
	'task runs' => "SELECT count(*) || md5(string_agg(r::text, E'\\n' ORDER BY task_run_id)) FROM etl.task_runs r",
	'attempts' => "SELECT count(*) || md5(string_agg(r::text, E'\\n' ORDER BY run_id, task, attempt)) FROM etl.task_attempts r",
	'loads' => "SELECT count(*) || md5(string_agg(r::text, E'\\n' ORDER BY load_id)) FROM etl.loads r",
	'slices' => "SELECT count(*) || md5(string_agg(r::text, E'\\n' ORDER BY load_id, slice)) FROM etl.slices r",
	'quarantine' => "SELECT count(*) || md5(string_agg(r::text, E'\\n' ORDER BY quarantine_id)) FROM etl.quarantine r",
	'check results' => "SELECT count(*) || md5(string_agg(r::text, E'\\n' ORDER BY check_result_id)) FROM etl.check_results r",
	'log' => "SELECT count(*) || md5(string_agg(r::text, E'\\n' ORDER BY log_id)) FROM etl.log r",
	'raw data' => "SELECT count(*) || md5(string_agg(r::text, E'\\n' ORDER BY load_id, slice, record_number)) FROM (SELECT * FROM pages_raw.vr_items UNION ALL SELECT * FROM raw.vr_github_issues UNION ALL SELECT * FROM raw.\"vl_Mixed case\") r",
	'targets' => "SELECT (SELECT count(*) || md5(string_agg(r::text, E'\\n' ORDER BY day, item_id)) FROM pages_stg.vr_items r) || (SELECT count(*) || md5(string_agg(r::text, E'\\n' ORDER BY issue_id)) FROM analytics.vr_fact_issues r)",
	'templates' => 'SELECT count(*) FROM etl.templates',
);
my %original = map { $_ => value($node, $SAME{$_}, db => 'original') } keys %SAME;
like($original{quarantine}, qr/^[1-9]/, 'there is something in quarantine');
unlike($original{definitions}, qr/secret-of-mixed/, 'definitions are printed without secrets');

# --------------------------------------------------------------------- copies of it

# Of long texts, the first line that differs.
sub first_difference
{
	my @expected = split /\n/, shift;
	my @got = split /\n/, shift;

	shift @expected, shift @got while @expected && @got && $expected[0] eq $got[0];
	return sprintf "expected: %s\n     got: %s", $expected[0] // 'the end', $got[0] // 'the end';
}

sub is_same
{
	my ($database) = @_;

	foreach my $what (sort keys %SAME)
	{
		my $copy = value($node, $SAME{$what}, db => $database);
		ok($copy eq $original{$what}, "$database: the same $what") or diag(first_difference($original{$what}, $copy));
	}
	return;
}

# Nothing runs in a copy until somebody says so; then it goes on where the original was.
sub check_copy
{
	my ($database, $superseded) = @_;
	my $requests = $api->requests;

	is(value($node, "SELECT count(*), bool_and(paused), bool_and(cannot_run_because LIKE '%etl.resume()%') FROM etl.pipelines", db => $database), '3|t|t', "$database: all pipelines are paused, and say why");
	foreach my $call ("SELECT * FROM etl_run($DAY, 'pages')", "SELECT * FROM etl_run($DAY)", "CALL etl.run('pages', '2026-11-19', '2026-11-20')")
	{
		my $result = run_sql($node, $call, db => $database, may_fail => 1, seconds => 20);
		is_failure($result, '55000', "$database: $call");
		like($result->{err}, qr/HINT:.*etl\.resume\(\)/, "$database: the hint is etl.resume()");
	}
	is(scalar(my @now = $api->requests), $requests, "$database: no request was made");
	my ($last_run, $last_load) = split /\|/, value($node, 'SELECT max(run_id), (SELECT max(load_id) FROM etl.loads) FROM etl.runs', db => $database);
	my $runs = value($node, 'SELECT count(*) FROM etl.runs', db => $database);

	is(run_sql($node, 'SELECT etl.resume()', db => $database, may_fail => 1)->{state}, '00000', "$database: etl.resume()");
	is(value($node, 'SELECT bool_or(paused) FROM etl.pipelines', db => $database), 'f', "$database: resumes all pipelines");
	my $result = run_sql($node, "SELECT state, run_id > $last_run, inserted, updated, deleted FROM etl_run($DAY, 'pages')", db => $database, may_fail => 1);
	is($result->{out}, 'success|t|0|0|0', "$database: an interval it has changes nothing, and ids go on") or diag($result->{err});
	$result = run_sql($node, "SELECT state, inserted, updated, deleted FROM etl_run(date '2026-11-17', 'pages')", db => $database, may_fail => 1);
	is($result->{out}, 'success|30|0|0', "$database: a new interval is added") or diag($result->{err});
	$result = run_sql($node, "SELECT state FROM etl_run(date '2026-11-18', 'github_issues')", db => $database, may_fail => 1);
	is($result->{out}, 'success', "$database: what failed in the original can be run here") or diag($result->{err});
	is(value($node, "SELECT min(load_id) > $last_load FROM etl.loads WHERE load_id > $last_load AND run_id > $last_run", db => $database), 't', "$database: ids of loads go on");
	is(value($node, 'SELECT count(*), count(DISTINCT (data_interval_start, payload ->> \'id\')) FROM pages_raw.vr_items', db => $database), '90|90', "$database: no record is there twice");
	is(value($node, 'SELECT count(*), count(DISTINCT run_id) FROM etl.runs', db => $database), ($runs + 3) . '|' . ($runs + 3), "$database: the history goes on");
	is(value($node, "SELECT count(*) FROM etl.loads WHERE pipeline = 'pages' AND state = 'superseded'", db => $database), $superseded + 1, "$database: the load that was copied is superseded");
	within(10, "$database: and its rows are reclaimed", sub {
		run_sql($node, "CALL etl.run('pages', '2026-11-16', '2026-11-17')", db => $database);
		value($node, "SELECT count(*) FROM etl.loads WHERE pipeline = 'pages' AND state = 'superseded' AND reclaimed_at IS NULL", db => $database) == 0;
	});
	return;
}

is(client('pg_dump', '-f', "$tmp/plain.sql", '-d', $node->connstr('original')), '', 'pg_dump, plain');
is(client('pg_dump', '-Fc', '-f', "$tmp/custom.dump", '-d', $node->connstr('original')), '', 'pg_dump, custom');

# The pipelines of a database on which nobody is connected, right after a run.
is(value($node, "SELECT state FROM etl_run($DAY, 'pages')", db => 'original'), 'success', 'a run in the original, after the dump');
is(run_sql($node, 'CREATE DATABASE clone TEMPLATE original', may_fail => 1)->{state}, '00000', 'CREATE DATABASE … TEMPLATE right after it');

run_sql($node, 'CREATE DATABASE from_plain; CREATE DATABASE from_custom');
is(client('psql', '-Xq', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-f', "$tmp/plain.sql", '-d', $node->connstr('from_plain')), '', 'the plain dump is restored');
is(client('pg_restore', '--exit-on-error', '-d', $node->connstr('from_custom'), "$tmp/custom.dump"), '', 'the custom dump is restored');
is_same($_) foreach 'from_plain', 'from_custom';
%original = map { $_ => value($node, $SAME{$_}, db => 'original') } keys %SAME;
is_same('clone');
check_copy('from_plain', 0);
check_copy('from_custom', 0);
check_copy('clone', 1);		# of the run after the dump

# A dump of the copy is as good, and the original is as it was.
is(value($node, 'SELECT string_agg(pipeline, \' \') FROM etl.pipelines WHERE paused', db => 'original'), 'github_issues', 'in the original only what was paused is');
is_same('original');

# A dump of a dump, and a restore with several processes.
is(client('pg_dump', '-Fc', '-f', "$tmp/second.dump", '-d', $node->connstr('from_plain')), '', 'pg_dump of a restored database');
run_sql($node, 'CREATE DATABASE second; CREATE DATABASE parallel');
is(client('pg_restore', '--exit-on-error', '-d', $node->connstr('second'), "$tmp/second.dump"), '', 'and its restore');
ok(value($node, $SAME{definitions}, db => 'second') eq $original{definitions}, 'definitions are still the same');
is(value($node, "SELECT bool_and(paused) FROM etl.pipelines", db => 'second'), 't', 'and paused');
is(client('pg_restore', '--exit-on-error', '-j', '2', '-d', $node->connstr('parallel'), "$tmp/custom.dump"), '', 'a dump is restored in parallel');

# ------------------------------------------------------------- dropping while it runs

$api->fault(match => '/pages/pages-*', page => 2, fault => 'hang');
my $before = value($node, 'SELECT count(*) FROM pages_stg.items', db => 'clone');
my $caller = session($node, db => 'clone', name => 'caller');
$caller->send("SELECT state FROM etl_run(date '2026-11-10', 'pages')");
wait_until('the run hangs', 20, sub { $api->in_flight('/pages/pages-*') });
my $drop = run_sql($node, "SET statement_timeout = '20s'; SET client_min_messages = warning; DROP EXTENSION etl CASCADE", db => 'clone', may_fail => 1, seconds => 30);
note("DROP EXTENSION under a run: $drop->{state} $drop->{err}");
ok($drop->{state} eq '00000' || $drop->{err} =~ /HINT/, 'DROP EXTENSION while a run is active works, or says what to do') or diag($drop->{err});
$api->heal;
my $result = $caller->wait(20);
ok($result, 'the caller of the run ends') or $caller->kill_client;
isnt($result->{state}, '00000', 'with an error') if $result;
note("the caller got: $result->{err}") if $result;
within(20, 'so do the processes of etl', sub { !activity_pids($node, 'etl worker', db => 'clone') && !activity_pids($node, 'etl coordinator', db => 'clone') });
$drop = run_sql($node, 'SET client_min_messages = warning; DROP EXTENSION IF EXISTS etl CASCADE', db => 'clone', may_fail => 1);
is($drop->{state}, '00000', 'DROP EXTENSION when nothing runs') or diag($drop->{err});
is(value($node, "SELECT count(*) FROM pg_namespace WHERE nspname = 'etl'", db => 'clone'), 0, 'its schema is gone');
is(value($node, 'SELECT count(*) FROM pages_stg.items', db => 'clone'), $before, "users' tables are not");

# It comes again, over the tables that are there.
is(run_sql($node, 'CREATE EXTENSION etl', db => 'clone', may_fail => 1)->{state}, '00000', 'CREATE EXTENSION again');
run_sql($node, 'SET client_min_messages = warning; DROP VIEW IF EXISTS pages_stg.txf_items', db => 'clone');
$result = run_sql($node, declare_pages(api => $api, pages => 3, per_page => 10), db => 'clone', may_fail => 1);
is($result->{state}, '00000', 'the pipeline is declared again') or diag($result->{err});
$result = run_sql($node, "SELECT state, inserted FROM etl_run(date '2026-11-09', 'pages')", db => 'clone', may_fail => 1);
is($result->{out}, 'success|30', 'and runs') or diag($result->{err});
is(value($node, 'SELECT count(*), count(DISTINCT data_interval_start) FROM pages_raw.vr_items', db => 'clone'), '30|1', 'readers see what it loaded, and nothing that no load says is published');
$result = run_sql($node, "SELECT state, inserted FROM etl_run($DAY, 'pages')", db => 'clone', may_fail => 1);
is($result->{out}, 'success|0', 'an interval of before is the same as it was') or diag($result->{err});

# ------------------------------------------------------ databases that have nothing of it

is(value($node, "SELECT count(*) FROM pg_namespace WHERE nspname = 'etl'", db => 'plain'), 0, 'a database without the extension has nothing of it');
is(value($node, "SELECT count(*) FROM pg_stat_activity WHERE datname = 'plain' AND pid <> pg_backend_pid()", db => 'plain'), 0, 'nothing is connected to it');
is(value($node, 'SELECT * FROM here', db => 'plain'), 1, 'its tables are as they were');
my $began = now;
is(run_sql($node, 'DROP DATABASE plain', may_fail => 1)->{state}, '00000', 'it can be dropped');
cmp_ok(now() - $began, '<', 3, 'at once');
is(run_sql($node, 'DROP DATABASE second', may_fail => 1)->{state}, '00000', 'so can one with the extension');

my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|TRAP|terminated by signal/, 'nothing crashed');
unlike($log, qr/secret-of-mixed/, 'no secret is in the log');
$node->stop;
done_testing();
