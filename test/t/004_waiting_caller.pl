# Who calls etl_run waits for other processes: what it holds, what it is told meanwhile,
# and what it gets when it cannot work.
use strict;
use warnings;

use EtlTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

# How soon a caller that blocks its own run must be told, seconds.
my $SOON = 2;

my $api = EtlTest::Api->start;
my $node = make_node('main', preload => 1);
my $day = '2026-11-19';
my $RUN = "SELECT state FROM etl_run(date '$day', 'pages')";

run_sql($node, declare_pages(api => $api, pages => 3, per_page => 10));
is(run_sql($node, $RUN, may_fail => 1)->{out}, 'success', 'a first run');

# A view can be made to wait in the middle of a publication: it takes a lock that the
# test holds.  Key 77 means "publish".
run_sql($node, <<'SQL');
CREATE FUNCTION pages_stg.gate() RETURNS boolean LANGUAGE plpgsql VOLATILE AS
	$$ BEGIN PERFORM pg_advisory_xact_lock_shared(77); RETURN true; END $$;
CREATE OR REPLACE VIEW pages_stg.txf_items AS
	SELECT etl.run_date() AS day, (payload ->> 'id')::integer AS item_id, payload ->> 'value' AS value,
		   (payload ->> 'updated_at')::timestamptz AS updated_at
	FROM pages_raw.vr_items
	WHERE data_interval_start >= etl.data_interval_start() AND data_interval_end <= etl.data_interval_end()
	  AND (SELECT pages_stg.gate());
SQL

# Nothing of a call is left: no active run within two seconds, and no lock of the session.
sub nothing_left
{
	my ($session, $what) = @_;

	within($SOON, "$what: no run is left active", sub { return active_runs($node) == 0 });
	is(value($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 231 AND pid = "
		. $session->backend_pid), 0, "$what: nor a lock of the caller");
	return;
}

# ------------------------------------------------------- callers that block themselves

my @blockers = (
	[ 'LOCK TABLE of the raw table', 'LOCK TABLE pages_raw.items IN SHARE MODE' ],
	[ 'LOCK TABLE of the raw table, exclusively', 'LOCK TABLE pages_raw.items IN ACCESS EXCLUSIVE MODE' ],
	[ 'LOCK TABLE of a partition of the raw table', 'LOCK TABLE pages_raw.items_shared IN SHARE MODE' ],
	[ 'LOCK TABLE of the target', 'LOCK TABLE pages_stg.items IN SHARE MODE' ],
	[ 'LOCK TABLE of the target, exclusively', 'LOCK TABLE pages_stg.items IN ACCESS EXCLUSIVE MODE' ],
	[ 'LOCK TABLE of the observations', 'LOCK TABLE pages_stg.obs_items IN SHARE MODE' ],
	[ 'an advisory lock that a view takes', 'SELECT pg_advisory_xact_lock(77)' ],
	[ 'LOCK TABLE of the catalog of runs', 'LOCK TABLE etl.run IN SHARE MODE' ],
	[ 'LOCK TABLE of the catalog of task runs', 'LOCK TABLE etl.task_run IN SHARE MODE' ],
	[ 'LOCK TABLE of the catalog of slices', 'LOCK TABLE etl.slice IN SHARE MODE' ],
	[ 'CREATE INDEX', 'CREATE INDEX ON pages_stg.items (value)', '25001' ],
	[ 'CREATE INDEX on the raw table', "CREATE INDEX ON pages_raw.items ((payload ->> 'value'))", '25001' ],
	[ 'a row that was written', 'CREATE TEMPORARY TABLE mine AS SELECT 1', '25001' ],
	[ 'a row that was updated', "UPDATE pages_stg.items SET value = 'mine'", '25001' ],
	[ 'SELECT … FOR UPDATE of the target', 'SELECT count(*) FROM (SELECT FROM pages_stg.items FOR UPDATE) i', '25001' ],
	[ 'uncommitted definitions', "SELECT etl.create_pipeline('mine')", '25001' ],
	[ 'an uncommitted alteration', "SELECT etl.alter_pipeline('pages', retries => 2)", '25001' ],
	[ 'a view that was replaced', 'CREATE OR REPLACE VIEW pages_stg.mine AS SELECT 1', '25001' ],
);
# Each runs an interval of its own, so that each has rows to write everywhere.
my $number = 0;
foreach my $blocker (@blockers)
{
	my ($what, $statement, $state) = @$blocker;
	my $caller = session($node, name => 'caller');
	my $its_day = sprintf('2026-10-%02d', ++$number);

	$caller->backend_pid;
	$caller->query("BEGIN;\n$statement");
	$caller->send("SELECT state FROM etl_run(date '$its_day', 'pages')");
	# a lock in ACCESS EXCLUSIVE mode counts as written where wal_level asks for it
	is_failure($caller->wait($SOON), $state // [ '40P01', '25001' ], $what);
	$caller->query('ROLLBACK', 10);
	nothing_left($caller, $what);
	unlike(value($node, "SELECT string_agg(state, ' ') FROM etl.runs WHERE run_date = '$its_day'"), qr/success/,
		"$what: and no run that succeeded although its caller got an error");
}
is(run_sql($node, $RUN, may_fail => 1)->{out}, 'success', 'after all of these the interval runs');

# A lock of the session, not of a transaction, blocks as well.
{
	my $caller = session($node, name => 'caller');

	$caller->query('SELECT pg_advisory_lock(77)');
	$caller->send($RUN);
	is_failure($caller->wait($SOON), '40P01', 'a session lock that a view takes');
	nothing_left($caller, 'a session lock that a view takes');
	$caller->query('SELECT pg_advisory_unlock(77)');
	$caller->send("CALL etl.run('pages', '$day', '2026-11-20')");
	my $result = $caller->wait(20);
	is($result && $result->{state}, '00000', 'the same session runs it once it has let go');
}

# The caller only reads; somebody else waits for it, and the worker waits for that one.
{
	my ($caller, $other) = (session($node, name => 'caller'), session($node, name => 'other'));

	$caller->backend_pid;
	$caller->query("BEGIN;\nSELECT count(*) FROM pages_stg.items");
	$other->send('BEGIN; LOCK TABLE pages_stg.items IN ACCESS EXCLUSIVE MODE; ROLLBACK');
	wait_until('the other session waits for the caller', 10,
		sub { return value($node, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'other' AND wait_event_type = 'Lock'") });
	$caller->send($RUN);
	is_failure($caller->wait($SOON), '40P01', 'a caller that blocks its run through somebody else');
	$caller->query('ROLLBACK', 10);
	nothing_left($caller, 'a caller that blocks its run through somebody else');
}

# Somebody else's lock is no fault of the caller: the run waits, and goes on.
{
	my ($caller, $other) = (session($node, name => 'caller'), session($node, name => 'other'));

	$other->query('BEGIN; LOCK TABLE pages_stg.items IN SHARE MODE');
	$caller->send($RUN);
	wait_until('the worker waits for the lock', 10,
		sub { return value($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'etl worker' AND wait_event_type = 'Lock'") });
	ok(!$caller->wait($SOON), 'a lock of another session: the run waits');
	$other->query('ROLLBACK');
	my $result = $caller->wait(20);
	is($result && $result->{out}, 'success', 'and goes on');
}

# ------------------------------------------------------------- transactions of callers

foreach my $begin ('BEGIN ISOLATION LEVEL REPEATABLE READ', 'BEGIN ISOLATION LEVEL SERIALIZABLE',
	"BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT FROM pages_stg.items LIMIT 0", 'BEGIN READ ONLY')
{
	my $caller = session($node, name => 'caller');

	$caller->query($begin);
	$caller->send("SELECT state, fetched, loaded FROM etl_run(date '$day', 'pages')");
	my $result = $caller->wait(20);
	is($result && $result->{out}, 'success|30|30', "$begin: its result is that of the run")
	  or diag($result ? $result->{err} : 'it hangs');
	is($caller->query('COMMIT')->{state}, '00000', "$begin: and it can go on");
}
{
	my $caller = session($node, options => '-c default_transaction_isolation=serializable');

	$caller->send($RUN);
	my $result = $caller->wait(20);
	is($result && $result->{out}, 'success', 'with default_transaction_isolation = serializable');
	$caller->send("CALL etl.run('pages', '$day', '2026-11-20')");
	$result = $caller->wait(20);
	is($result && $result->{state}, '00000', 'CALL likewise') or diag($result ? $result->{err} : 'it hangs');
}

my $result = run_sql($node, "DO \$\$ BEGIN PERFORM etl_run(date '2026-11-10' + n, 'pages') FROM generate_series(0, 2) n; END \$\$", may_fail => 1);
is($result->{state}, '00000', 'etl_run in a DO block, three times') or diag($result->{err});
is(value($node, "SELECT count(*) FROM etl.runs WHERE run_date BETWEEN '2026-11-10' AND '2026-11-12' AND state = 'success'"),
	3, 'runs three intervals');
$result = run_sql($node, "DO \$\$ BEGIN CALL etl.run('pages', '2026-11-10', '2026-11-11'); COMMIT; END \$\$", may_fail => 1);
is($result->{state}, '00000', 'CALL etl.run in a DO block') or diag($result->{err});

{
	my $caller = session($node, name => 'caller');

	$api->fault(match => '/pages/*', page => 2, fault => 'status_404');
	$caller->backend_pid;
	$result = $caller->query("DO \$\$ BEGIN PERFORM etl_run(date '$day', 'pages');
		EXCEPTION WHEN OTHERS THEN RAISE WARNING 'caught %', SQLERRM; END \$\$");
	like($result->{err}, qr/caught run \d+ of pipeline "pages" \(\Q$day\E\) failed in task pages_raw\.items: .*404/,
		'a failure can be caught; it names run, task and cause');
	nothing_left($caller, 'a failure that is caught');
	$api->heal;
	$caller->query('BEGIN');
	$caller->send("CALL etl.run('pages', '$day', '2026-11-20')");
	$result = $caller->wait(20);
	is($result && $result->{state}, '00000', 'CALL etl.run in a transaction block works as etl_run does')
	  or diag($result ? $result->{err} : 'it hangs');
	$caller->query("ROLLBACK;\nBEGIN;\nCREATE TEMPORARY TABLE mine AS SELECT 1");
	$caller->send("CALL etl.run('pages', '$day', '2026-11-20')");
	is_failure($caller->wait($SOON), '25001', 'CALL etl.run in a transaction that has written');
}

# ----------------------------------------------------------------- arguments that are wrong

foreach my $call (
	[ "SELECT * FROM etl_run(NULL)", '22004' ],
	[ "SELECT * FROM etl_run(NULL, 'pages')", '22004' ],
	[ "SELECT * FROM etl_run(date 'infinity')", [ '22008', '22023' ] ],
	[ "SELECT * FROM etl_run(date '$day', 'nothing')", '42704' ],
	[ "CALL etl.run(NULL, '$day', '2026-11-20')", '22004' ],
	[ "CALL etl.run('pages', NULL, '2026-11-20')", '22004' ],
	[ "CALL etl.run('pages', '2026-11-20', '$day')", '22023' ],
	[ "CALL etl.run('pages', '$day', '$day')", '22023' ],
	[ "CALL etl.run('pages', '$day', 'infinity')", '22023' ],
	[ "CALL etl.run('nothing', '$day', '2026-11-20')", '42704' ])
{
	my $caller = session($node);

	$caller->send($call->[0]);
	is_failure($caller->wait($SOON), $call->[1], $call->[0]);
}

# -------------------------------------------------------------------- what is shown

# Forty pages of 0.1 s: about four seconds.
run_sql($node, declare_pages(api => $api, name => 'slow', pages => 40, per_page => 2));
$api->latency(100);
{
	my $caller = session($node, name => 'caller');
	my (@noticed, %slices, $result);
	my $began = now();

	$caller->send("SELECT state FROM etl_run(date '$day', 'slow')");
	while (!$result && now() - $began < 60)
	{
		my $notices = () = ($caller->so_far)[1] =~ /^NOTICE:/mg;
		push @noticed, now() while @noticed < $notices;
		$slices{$_}++
		  for split /\n/, value($node, "SELECT slices FROM etl.progress WHERE pipeline = 'slow' AND activity ~ 'page \\d+, \\d+ records' AND slices > 0");
		$result = $caller->wait(0.02);
	}
	my $seconds = now() - $began;
	is($result && $result->{out}, 'success', 'a run of some seconds');
	my $notices = () = $result->{err} =~ /^NOTICE:/mg;
	cmp_ok($notices, '>=', int($seconds) - 2, 'shows its progress as it goes')
	  or diag($result->{err});
	cmp_ok($notices, '<=', $seconds + 1, 'at most once a second');
	my @too_soon = grep { $noticed[$_] - $noticed[ $_ - 1 ] < 0.8 } 1 .. $#noticed;
	is(scalar @too_soon, 0, 'nor two in one second');
	like($result->{err}, qr/NOTICE: .*slow.*slow_raw\.items.*page \d+/, 'it names pipeline, task and page');
	cmp_ok(scalar keys %slices, '>=', 5, 'etl.progress shows other sessions how far the extraction is');
}

# In the middle of a publication, whose transaction is open.
{
	my ($caller, $holder) = (session($node, name => 'caller'), session($node, name => 'holder'));

	$api->latency(0);
	$holder->query('SELECT pg_advisory_lock(77)');
	$caller->send("SELECT state FROM etl_run(date '2026-11-05', 'pages')");
	within(10, 'etl.progress shows a publication under way', sub {
		return value($node, "SELECT count(*) FROM etl.progress WHERE kind = 'publish' AND activity LIKE '%publishing: load pages_stg.items (step 1 of 1)%'");
	});
	is(value($node, "SELECT count(*) FROM pages_raw.vr_items WHERE data_interval_start = '2026-11-05'"), 0,
		'which readers do not see yet');
	within(3, 'and the caller is told', sub { return ($caller->so_far)[1] =~ /NOTICE: .*publishing/ });

	# What is published can be cancelled until it is.
	my $run = value($node, "SELECT run_id FROM etl.runs WHERE state = 'running'");
	value($node, "SELECT etl.cancel($run)");
	my $result = $caller->wait($SOON);
	is($result && $result->{state}, '57014', 'etl.cancel during a publication takes effect soon');
	within($SOON, 'and leaves no run active', sub { return active_runs($node) == 0 });
	$holder->query('SELECT pg_advisory_unlock(77)');
	my $requests = $api->requests('/pages/pages-2026-11-05');
	is(run_sql($node, "SELECT state FROM etl_run(date '2026-11-05', 'pages')", may_fail => 1)->{out}, 'success',
		'the interval can be published later');
	is($api->requests('/pages/pages-2026-11-05') + 0, $requests, 'without asking the source again');
}

# ------------------------------------------------------------------ several at once

{
	my ($first, $second, $third) = map { session($node, name => "caller $_") } 1 .. 3;

	$api->fault(match => '/pages/pages-*', page => 2, fault => 'delay', ms => 3000, times => 1);
	$first->send("SELECT state FROM etl_run(date '$day', 'pages')");
	wait_until('the first run is under way', 10, sub { return $api->in_flight('/pages/pages-*') > 0 });
	my $run = value($node, "SELECT run_id FROM etl.runs WHERE state = 'running'");

	$second->send("SELECT state FROM etl_run(date '$day', 'pages')");
	my $result = $second->wait($SOON);
	is_failure($result, '55006', 'an interval that is already running');
	like($result && $result->{err}, qr/\b[Rr]un $run\b/, 'the error names the run');
	like($result && $result->{err}, qr/etl\.cancel\($run\)/, 'and how to be rid of it');

	# Another pipeline goes on beside it; the next interval of the same one waits its turn.
	$third->send("SELECT state FROM etl_run(date '2026-11-18', 'pages')");
	$second->send("SELECT state FROM etl_run(date '2026-11-04', 'slow')");
	$result = $second->wait(20);
	is($result && $result->{out}, 'success', 'another pipeline runs at the same time') or diag($result ? $result->{err} : 'it hangs');
	is(value($node, "SELECT state FROM etl.runs WHERE run_id = $run"), 'running', 'while the first still runs');
	is(value($node, "SELECT state FROM etl.runs WHERE run_date = '2026-11-18' AND pipeline = 'pages'"), 'queued',
		'and the next interval of its pipeline is queued');
	$result = $first->wait(20);
	is($result && $result->{out}, 'success', 'the first succeeds');
	$result = $third->wait(20);
	is($result && $result->{out}, 'success', 'and the queued one after it');

	# All pipelines at once: the one whose interval is running fails, the others run.
	$api->fault(match => '/pages/pages-*', page => 3, fault => 'delay', ms => 3000, times => 1);
	$first->send("SELECT state FROM etl_run(date '$day', 'pages')");
	wait_until('the first run is under way again', 10, sub { return $api->in_flight('/pages/pages-*') > 0 });
	$second->send("SELECT state FROM etl_run(date '$day')");
	$result = $second->wait(20);
	is_failure($result, '55006', 'etl_run of all pipelines, one of them running');
	is(value($node, "SELECT state FROM etl.runs WHERE pipeline = 'slow' ORDER BY run_id DESC LIMIT 1"), 'success',
		'the other pipeline was run');
	$result = $first->wait(20);
	is($result && $result->{out}, 'success', 'and the one that ran was not disturbed');
	is(run_sql($node, "SELECT pipeline, state FROM etl_run(date '$day')", may_fail => 1)->{out},
		"pages|success\nslow|success", 'etl_run of all pipelines returns a row a run');
}

# --------------------------------------------------------------------- the snapshot

{
	my $caller = session($node, name => 'caller');
	my $pid = $caller->backend_pid;

	$api->fault(match => '/pages/pages-*', page => 2, fault => 'hang');
	$caller->send("CALL etl.run('pages', '2026-11-06', '2026-11-07')");
	wait_until('the source is asked', 10, sub { return $api->in_flight('/pages/pages-*') > 0 });
	# it looks twice a second how the run is doing, for which it needs a snapshot of its own
	my $held = 0;
	my $oldest = 0;
	foreach (1 .. 30)
	{
		my ($with, $age) = split /\|/,
		  value($node, "SELECT (backend_xmin IS NOT NULL)::integer, coalesce(age(backend_xmin), 0) FROM pg_stat_activity, (SELECT pg_current_xact_id()) x WHERE pid = $pid");
		$held += $with;
		$oldest = $age if $age > $oldest;
		sleep 0.03;
	}
	cmp_ok($held, '<=', 6, 'CALL etl.run holds no snapshot while it waits');
	cmp_ok($oldest, '<=', 3, 'and none that is old');
	my $run = value($node, "SELECT run_id FROM etl.runs WHERE state = 'running'");
	value($node, "SELECT etl.cancel($run)");
	my $result = $caller->wait($SOON);
	is($result && $result->{state}, '57014', 'it can be cancelled');
	$api->heal;
}
$node->stop;

# --------------------------------------------------------------- no room for processes

# One slot goes to the launcher of logical replication.
my $narrow = make_node('narrow', conf => "max_worker_processes = 1\n");
run_sql($narrow, declare_pages(api => $api, pages => 3, per_page => 10));
{
	my $caller = session($narrow);

	$caller->send($RUN);
	my $result = $caller->wait(5);
	is_failure($result, '53400', 'no slot for a coordinator');
	like($result && $result->{err}, qr/max_worker_processes/, 'the hint names the setting');
}
$narrow->append_conf('postgresql.conf', 'max_worker_processes = 2');
$narrow->restart;
{
	my $caller = session($narrow);

	$caller->send($RUN);
	my $told = within(10, 'no slot for a worker: the caller is told which setting to raise', sub {
		return 1 if ($caller->so_far)[1] =~ /max_worker_processes/;
		my $ended = $caller->wait(0);
		return $ended && $ended->{err} =~ /max_worker_processes/;
	});
	if (!$caller->wait(0))
	{
		value($narrow, 'SELECT pg_cancel_backend(' . value($narrow, "SELECT pid FROM pg_stat_activity WHERE query LIKE '%etl_run(date%' AND pid <> pg_backend_pid() LIMIT 1") . ')');
		my $result = $caller->wait($SOON);
		is($result && $result->{state}, '57014', 'no slot for a worker: the call can be cancelled');
	}
	within($SOON, 'no slot for a worker: no run is left active', sub { return active_runs($narrow) == 0 });
}
# Fewer workers than there is to do: one after another.
$narrow->append_conf('postgresql.conf', "max_worker_processes = 3\netl.max_workers = 1");
$narrow->restart;
run_sql($narrow, declare_pages(api => $api, name => 'more', pages => 3, per_page => 10));
is(run_sql($narrow, "SELECT pipeline, state FROM etl_run(date '$day')", may_fail => 1)->{out},
	"more|success\npages|success", 'with one worker two pipelines run one after another');
$narrow->stop;

done_testing();
