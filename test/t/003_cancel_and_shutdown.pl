# While the source hangs: whatever ends a run, its caller, a process of it, the database
# or the server takes effect within two seconds, and leaves no run that nobody can stop.
use strict;
use warnings;

use EtlTest;
use PostgreSQL::Test::Utils;
use Test::More;

# How soon anything must take effect, and how soon a database is free again, seconds.
my $SOON = 2;
my $FREE = 5;

my $api = EtlTest::Api->start;
my $node = make_node('main', preload => 1);
my $day = '2026-11-19';

run_sql($node, declare_pages(api => $api, pages => 5, per_page => 10));
run_sql($node, "SELECT etl.alter_pipeline('pages', retries => 0)");

sub hang { $api->heal; $api->fault(match => '/pages/*', page => 3, fault => 'hang'); return; }

# Starts a run and waits until it hangs in its third page.  Returns the session of the
# caller and the run's id.
sub hanging_run
{
	my (%options) = @_;
	my $call = $options{call} // "SELECT * FROM etl_run(date '$day', 'pages')";
	my $caller = session($node, name => 'caller', %options);

	hang();
	$caller->backend_pid;
	$caller->send($call);
	wait_until('the source is asked and does not answer', 20, sub {
		my $early = $caller->wait(0);
		BAIL_OUT("$call ended: $early->{out}$early->{err}") if $early;
		return $api->in_flight('/pages/*') > 0;
	});
	return ($caller, value($node, "SELECT max(run_id) FROM etl.runs WHERE state = 'running'", %options{'db'}));
}

sub run_state { my ($run) = @_; return value($node, "SELECT state FROM etl.runs WHERE run_id = $run"); }

# The worker has let go of the request.
sub request_given_up
{
	my ($after) = @_;

	return within($SOON, "$after: the request is given up", sub { return $api->in_flight('/pages/*') == 0 });
}

# The run has ended, and with it all that it left: it can be run again at once.
sub run_ended
{
	my ($run, $state, $after) = @_;

	within($SOON, "$after: the run is $state", sub { return run_state($run) =~ /^(?:$state)$/ })
	  or diag(value($node, "SELECT * FROM etl.progress"));
	request_given_up($after);
	is(value($node, 'SELECT count(*) FROM etl.progress'), 0, "$after: nothing is under way");
	$api->heal;
	my $again = run_sql($node, "SELECT state FROM etl_run(date '$day', 'pages')", may_fail => 1);
	is($again->{out}, 'success', "$after: the interval can be run again at once") or diag($again->{err});
	return;
}

# --------------------------------------------------------------- while a worker waits

my ($caller, $run) = hanging_run();
my $worker = busy_worker($node, $run);
is(value($node, "SELECT backend_xmin IS NULL, backend_xid IS NULL, xact_start IS NULL
	FROM pg_stat_activity WHERE pid = $worker"), 't|t|t', 'the waiting worker has no snapshot and no transaction');
is(value($node, "SELECT count(*) FROM pg_locks WHERE pid = $worker AND locktype NOT IN ('advisory')"), 0,
	'and holds no lock but those that say it is alive');
is(value($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'etl coordinator' AND backend_xmin IS NOT NULL"),
	0, 'nor does the coordinator hold a snapshot');

# ------------------------------------------------------------------ ways to end a run

is(value($node, 'SELECT pg_cancel_backend(' . $caller->backend_pid . ')'), 't', 'the caller is cancelled');
my $result = $caller->wait($SOON);
is($result && $result->{state}, '57014', 'cancel of the caller: it gets 57014');
run_ended($run, 'cancelled', 'cancel of the caller');

($caller, $run) = hanging_run();
is(value($node, "SELECT etl.cancel($run, 'a test')"), 'cancelling', 'etl.cancel is passed on');
$result = $caller->wait($SOON);
is($result && $result->{state}, '57014', 'etl.cancel: the caller gets 57014');
like($result && $result->{err}, qr/run $run .*cancelled/s, 'etl.cancel: the error names the run');
like($result && $result->{err}, qr/a test/, 'etl.cancel: and the reason');
run_ended($run, 'cancelled', 'etl.cancel');

# A source that asks for patience is no reason to wait either.
($caller, $run) = do {
	my $session = session($node, name => 'caller');
	$api->heal;
	$api->fault(match => '/pages/*', page => 3, fault => 'status_503_retry_after', seconds => 600);
	$session->send("SELECT * FROM etl_run(date '$day', 'pages')");
	wait_until('the worker waits for the next attempt', 20, sub {
		return value($node, "SELECT count(*) FROM etl.progress WHERE activity LIKE '%attempt 2%'") > 0;
	});
	($session, value($node, "SELECT max(run_id) FROM etl.runs"));
};
is(value($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'etl worker' AND (backend_xmin IS NOT NULL OR xact_start IS NOT NULL)"),
	0, 'a worker that waits for Retry-After has no snapshot and no transaction');
value($node, "SELECT etl.cancel($run)");
$result = $caller->wait($SOON);
is($result && $result->{state}, '57014', 'etl.cancel during Retry-After: the caller gets 57014');
run_ended($run, 'cancelled', 'etl.cancel during Retry-After');

($caller, $run) = hanging_run();
$result = undef;
{
	my $impatient = session($node, name => 'impatient', options => '-c statement_timeout=1s');
	$impatient->send("SELECT * FROM etl_run(date '2026-11-18', 'pages')");
	$result = $impatient->wait(1 + $SOON);
	is($result && $result->{state}, '57014', 'statement_timeout of a caller whose run is queued');
	within($SOON, 'its queued run is cancelled', sub {
		return value($node, "SELECT state FROM etl.runs WHERE data_interval_start = '2026-11-18'") eq 'cancelled';
	});
	is(run_state($run), 'running', 'and no other run');
}
value($node, 'SELECT pg_terminate_backend(' . $caller->backend_pid . ')');
$result = $caller->wait($SOON);
ok($result && $result->{gone}, 'terminating the caller: it is gone');
run_ended($run, 'cancelled', 'terminating the caller');

($caller, $run) = hanging_run();
$caller->kill_client;
run_ended($run, 'cancelled', 'a client that vanishes');

($caller, $run) = hanging_run(call => "CALL etl.run('pages', '$day', '2026-11-20')");
$caller->kill_client;
run_ended($run, 'cancelled', 'a client that vanishes from CALL');

($caller, $run) = hanging_run();
$worker = busy_worker($node, $run);
value($node, "SELECT pg_terminate_backend($worker)");
within($SOON, 'terminating the worker: another takes its place', sub {
	return value($node, "SELECT count(*) FROM etl.progress WHERE run_id = $run AND attempt = 2 AND worker_pid <> $worker");
});
value($node, "SELECT etl.cancel($run)");
$caller->wait($SOON);
run_ended($run, 'cancelled', 'cancel after the worker was replaced');

# Where one lost worker is enough, the run fails, and the next one is tried once it is said so.
run_sql($node, "SELECT etl.alter_pipeline('pages', max_crashes => 1)");
($caller, $run) = hanging_run();
$worker = busy_worker($node, $run);
value($node, "SELECT pg_terminate_backend($worker)");
$result = $caller->wait($SOON);
is($result && $result->{state}, '57P02', 'terminating the worker: the caller gets 57P02');
like($result && $result->{err}, qr/run $run .*pages_raw\.items.*HINT:.*again/s,
	'terminating the worker: the error names run and task and says what to do');
$result = run_sql($node, "SELECT state FROM etl_run(date '$day', 'pages')", may_fail => 1);
is($result->{state}, '57P02', 'terminating the worker: the interval is not tried again');
run_sql($node, "SELECT etl.alter_pipeline('pages', max_crashes => 100)");
run_ended($run, 'failed', 'terminating the worker');

# Without its coordinator a run goes on: whoever waits for it starts another.
($caller, $run) = hanging_run();
my ($coordinator) = activity_pids($node, 'etl coordinator');
value($node, "SELECT pg_terminate_backend($coordinator)");
within($SOON, 'terminating the coordinator: another takes its place', sub {
	my @pids = activity_pids($node, 'etl coordinator');
	return @pids == 1 && $pids[0] != $coordinator;
});
ok(!$caller->wait(0), 'terminating the coordinator: the caller goes on waiting');
is(run_state($run), 'running', 'terminating the coordinator: the run goes on');
value($node, "SELECT etl.cancel($run)");
$result = $caller->wait($SOON);
is($result && $result->{state}, '57014', 'the new coordinator passes a cancel on');
run_ended($run, 'cancelled', 'cancel after the coordinator was replaced');

# Coordinator and caller gone at once: nobody is left who waits for the run.
($caller, $run) = hanging_run();
($coordinator) = activity_pids($node, 'etl coordinator');
value($node, "SELECT pg_terminate_backend($coordinator), pg_terminate_backend(" . $caller->backend_pid . ')');
ok($caller->wait($SOON), 'coordinator and caller terminated: the caller is gone');
within($SOON, 'coordinator and caller terminated: the coordinator is gone', sub {
	return !grep { $_ == $coordinator } activity_pids($node, 'etl coordinator');
});
if (run_state($run) eq 'running')
{
	$result = run_sql($node, "SELECT etl.cancel($run)", may_fail => 1);
	is($result->{state}, '00000', 'coordinator and caller terminated: the run can be cancelled') or diag($result->{err});
}
run_ended($run, 'cancelled|failed', 'coordinator and caller terminated');

# All three: only the tables know of the run.
($caller, $run) = hanging_run();
value($node, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
	WHERE backend_type LIKE 'etl %' OR pid = " . $caller->backend_pid);
ok($caller->wait($SOON), 'all processes terminated: the caller is gone');
request_given_up('all processes terminated');
$api->heal;
$result = run_sql($node, "SELECT state FROM etl_run(date '$day', 'pages')", may_fail => 1);
is($result->{out}, 'success', 'all processes terminated: the interval can be run again at once') or diag($result->{err});
within($SOON, 'all processes terminated: the lost run is ended', sub { return run_state($run) =~ /^(cancelled|failed)$/ });

# Cancelling what is not active says so.
is_failure(run_sql($node, "SELECT etl.cancel($run)", may_fail => 1), '55000', 'etl.cancel of a run that has ended');
is_failure(run_sql($node, 'SELECT etl.cancel(999999)', may_fail => 1), '42704', 'etl.cancel of a run that never was');
is_failure(run_sql($node, 'SELECT etl.cancel(NULL)', may_fail => 1), ['42704', '22004'], 'etl.cancel(NULL)');

# ---------------------------------------------------------------------- the database

sub prepare_database
{
	my ($name) = @_;

	run_sql($node, "CREATE DATABASE $name");
	run_sql($node, 'CREATE EXTENSION etl', db => $name);
	run_sql($node, declare_pages(api => $api, pages => 5, per_page => 10), db => $name);
	return;
}

prepare_database('doomed');
($caller, $run) = hanging_run(db => 'doomed');
my $began = now();
$result = run_sql($node, 'DROP DATABASE doomed WITH (FORCE)', may_fail => 1);
is($result->{state}, '00000', 'DROP DATABASE … WITH (FORCE) works while the source hangs') or diag($result->{err});
cmp_ok(now() - $began, '<', $SOON, 'DROP DATABASE … WITH (FORCE) takes effect soon');
ok($caller->wait($SOON), 'its caller is gone');
request_given_up('DROP DATABASE … WITH (FORCE)');
$api->heal;

prepare_database('model');
$result = run_sql($node, "SELECT state FROM etl_run(date '$day', 'pages')", db => 'model', may_fail => 1);
is($result->{out}, 'success', 'a run in a database of its own') or diag($result->{err});
my $ended = now();
$result = run_sql($node, 'CREATE DATABASE clone TEMPLATE model', may_fail => 1);
is($result->{state}, '00000', 'CREATE DATABASE … TEMPLATE works right after a run') or diag($result->{err});
cmp_ok(now() - $ended, '<', $FREE, 'and soon');

# A copy must not fire at the sources of the original.
$result = run_sql($node, "SELECT * FROM etl_run(date '$day', 'pages')", db => 'clone', may_fail => 1);
is_failure($result, '55000', 'etl_run in a cloned database');
like($result->{err}, qr/etl\.resume/, 'the hint names etl.resume');
run_sql($node, 'SELECT etl.resume()', db => 'clone');
$result = run_sql($node, "SELECT state FROM etl_run(date '$day', 'pages')", db => 'clone', may_fail => 1);
is($result->{out}, 'success', 'after etl.resume() it runs') or diag($result->{err});
$ended = now();
foreach my $name ('clone', 'model')
{
	$result = run_sql($node, "DROP DATABASE $name", may_fail => 1);
	is($result->{state}, '00000', "a plain DROP DATABASE $name works") or diag($result->{err});
}
cmp_ok(now() - $ended, '<', $FREE, 'and soon after the end of its last run');

within($FREE, 'nothing is connected when nothing is due', sub {
	return value($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'etl %' AND datname IS NOT NULL") == 0;
});

# ------------------------------------------------------------------------ the server

foreach my $mode ('fast', 'immediate')
{
	($caller, $run) = hanging_run();
	$began = now();
	$node->stop($mode);
	cmp_ok(now() - $began, '<', $SOON, "$mode shutdown while the source hangs takes effect soon");
	ok($caller->wait($SOON), "$mode shutdown: the caller is gone");
	request_given_up("$mode shutdown");
	$node->start;
	$api->heal;
	$result = run_sql($node, "SELECT state FROM etl_run(date '$day', 'pages')", may_fail => 1);
	is($result->{out}, 'success', "after a restart ($mode) the interval can be run at once") or diag($result->{err});
	within($SOON, "after a restart ($mode) the lost run is ended", sub { return run_state($run) =~ /^(cancelled|failed)$/ });
	is(value($node, 'SELECT count(*) FROM etl.progress'), 0, "after a restart ($mode) nothing is under way");

	# Somebody may want to be rid of the run without running it again.
	($caller, $run) = hanging_run();
	$node->stop($mode);
	$node->start;
	$api->heal;
	if (run_state($run) eq 'running')
	{
		$result = run_sql($node, "SELECT etl.cancel($run)", may_fail => 1);
		# the launcher's coordinator may have ended it between the two looks
		like($result->{state}, qr/^(00000|55000)$/, "after a restart ($mode) a lost run can be cancelled") or diag($result->{err});
	}
	within($SOON, "after a restart ($mode) it is ended", sub { return run_state($run) =~ /^(cancelled|failed)$/ });
}

unlike(slurp_file($node->logfile), qr/TRAP:|PANIC:|terminated by signal (?!9)/, 'nothing crashed');
$node->stop;
done_testing();
