# Without shared_preload_libraries everything works but schedules: the first call loads
# the library and registers the processes it needs.
use strict;
use warnings;

use EtlTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $api = EtlTest::Api->start;
my $node = make_node('main', extension => 0);

is(value($node, 'SHOW shared_preload_libraries'), '', 'nothing is preloaded');
is(run_sql($node, 'CREATE EXTENSION etl', may_fail => 1)->{state}, '00000', 'CREATE EXTENSION etl works');
run_sql($node, declare_pages(api => $api, pages => 3, per_page => 5));

my $result = run_sql($node, "SELECT state, fetched, loaded, quarantined, inserted FROM etl_run(date '2026-11-19', 'pages')", may_fail => 1);
is($result->{out}, 'success|15|15|0|15', 'etl_run works in a session that never loaded the library')
  or diag($result->{err});
is(value($node, 'SELECT count(*) FROM pages_stg.items'), 15, 'the target is filled');

$result = run_sql($node, "SELECT state, inserted, updated, deleted FROM etl_run(date '2026-11-19', 'pages')", may_fail => 1);
is($result->{out}, 'success|0|0|0', 'the second run of the interval changes nothing') or diag($result->{err});

is(run_sql($node, "CALL etl.run('pages', '2026-11-18', '2026-11-19')", may_fail => 1)->{state}, '00000', 'CALL etl.run works');
is(value($node, 'SELECT count(*) FROM pages_stg.items'), 30, 'so does a second interval');
is(run_sql($node, 'SELECT * FROM etl_run()', may_fail => 1)->{state}, '00000', 'etl_run() without arguments works');

# Somebody comes for what a transaction has queued when it commits, not when it does not.
my $queue = "INSERT INTO etl.run (pipeline, owner, data_interval_start, data_interval_end, run_date, timezone, trigger, requested_by) "
  . "SELECT 'pages', current_user, d, d + interval '1 day', d, 'UTC', 'backfill', current_user FROM (VALUES (timestamptz '2026-11-%s')) x(d); "
  . 'SELECT etl._wake_coordinator_on_commit()';
run_sql($node, sprintf "BEGIN; $queue; ROLLBACK", 16);
run_sql($node, sprintf "BEGIN; $queue; SELECT pg_sleep(0.2); COMMIT", 17);
within(5, 'a run that was queued is run after the commit',
	sub { return value($node, "SELECT state FROM etl.runs WHERE run_date = '2026-11-17'") eq 'success' });
is(value($node, "SELECT count(*) FROM etl.runs WHERE run_date = '2026-11-16'"), 0, 'one that was rolled back is not');

# What needs preloading says so, and does not stop the declaration.
$result = run_sql($node, "SELECT etl.alter_pipeline('pages', schedule => '0 2 * * *')", may_fail => 1);
is($result->{state}, '00000', 'a schedule can be declared');
like($result->{err}, qr/HINT:.*shared_preload_libraries/, 'with a hint that names shared_preload_libraries');

# The same after a restart with preloading, on the same data.  The day is away from those
# before: by the schedule its interval begins at two, and must not overlap theirs.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'etl'");
$node->restart;
$result = run_sql($node, "SELECT state FROM etl_run(date '2026-11-10', 'pages')", may_fail => 1);
is($result->{out}, 'success', 'preloaded, etl_run works on the same data') or diag($result->{err});

# The extension can go and come again, in this session and in others.
within(10, 'no process of etl is left when nothing is to do',
	sub { !activity_pids($node, 'etl worker') && !activity_pids($node, 'etl coordinator') });
is(run_sql($node, 'DROP EXTENSION etl CASCADE; CREATE EXTENSION etl', may_fail => 1)->{state}, '00000',
	'DROP and CREATE EXTENSION in one session');

$node->stop;
done_testing();
