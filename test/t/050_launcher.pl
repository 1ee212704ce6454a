# The launcher: finds databases, has nothing connected between due times and wakes for
# nothing, is woken by what changes, survives what kills it, and leaves alone what is not its
# business.  TimescaleDB's and pg_cron's known failures are among this.
use strict;
use warnings;

use EtlTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = make_node('main', preload => 1, schedules => 1, conf => "etl.worker_linger = '100ms'\nshared_preload_libraries = 'etl, pg_stat_statements'\n", extension => 0);
run_sql($node, 'CREATE EXTENSION pg_stat_statements');

sub launcher { return value($node, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'etl launcher'"); }
sub connected { return value($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'etl%' AND backend_type <> 'etl launcher'"); }
sub settled { my ($what) = @_; return within(10, $what // 'nothing of etl is connected to a database', sub { connected() == 0 }); }

# What the process has been woken for so far.
sub switches
{
	my ($pid) = @_;
	my $status = slurp_file("/proc/$pid/status");

	return ($status =~ /^voluntary_ctxt_switches:\s+(\d+)/m)[0] + ($status =~ /^nonvoluntary_ctxt_switches:\s+(\d+)/m)[0];
}

# Runs of schedules that have succeeded, in a database.
sub scheduled
{
	my ($db, $condition) = @_;

	return value($node, "SELECT count(*) FROM etl.runs WHERE trigger = 'schedule' AND state = 'success' AND " . ($condition // 'true'), db => $db);
}

# A database with the extension and one pipeline that is due every second.
sub make_database
{
	my ($db, $schedule) = @_;

	run_sql($node, "CREATE DATABASE $db");
	run_sql($node, 'CREATE EXTENSION etl', db => $db);
	run_sql($node, "SELECT etl.create_pipeline('p', schedule => '$schedule')", db => $db) if defined $schedule;
	return;
}

sub log_size { return -s $node->logfile; }
sub logged { my ($from, $pattern) = @_; my $text = substr(slurp_file($node->logfile), $from); my @hits = $text =~ /$pattern/g; return scalar @hits; }

# ------------------------------------------------------------------------- idle means idle

wait_until('there is a launcher', 10, sub { launcher() });
is(value($node, "SELECT datid IS NULL AND backend_xmin IS NULL FROM pg_stat_activity WHERE backend_type = 'etl launcher'"), 't',
	'the launcher is connected to no database and holds no snapshot');
make_database('idle', '0 0 1 1 *');
settled('a schedule that is far away keeps nothing connected');
is(value($node, 'SELECT next_run_at > now() FROM etl.pipelines', db => 'idle'), 't', 'the next run is known');
{
	my $pid = launcher();
	sleep 1;
	run_sql($node, 'SELECT pg_stat_statements_reset()');
	my $before = switches($pid);
	sleep 60;
	is(switches($pid) - $before, 0, 'the launcher is not woken once in a minute');
	is(value($node, "SELECT coalesce(string_agg(query, '; '), 'none') FROM pg_stat_statements WHERE query ~ 'etl'"), 'none', 'nor is a query run anywhere');
}

# At once: with a process in it, each of these takes five seconds and fails.
foreach my $statement ('ALTER DATABASE idle RENAME TO idler', 'CREATE DATABASE clone TEMPLATE idler', 'CREATE DATABASE again TEMPLATE idler', 'DROP DATABASE again')
{
	my $began = time;
	is(run_sql($node, $statement, may_fail => 1)->{state}, '00000', $statement);
	cmp_ok(time - $began, '<', 2, '… at once');
}
settled();

# --------------------------------------------------------------------- a copy never fires

is(value($node, 'SELECT paused FROM etl.pipelines', db => 'clone'), 't', 'the pipelines of a clone are paused');
run_sql($node, "SELECT etl.alter_pipeline('p', schedule => '1 second')", db => 'clone');
sleep 1.5;
is(value($node, 'SELECT count(*) FROM etl.runs', db => 'clone'), 0, 'and stay so, whatever is due');
run_sql($node, 'SELECT etl.resume()', db => 'clone');
within(5, 'until etl.resume()', sub { scheduled('clone') > 0 });
run_sql($node, 'DROP DATABASE clone WITH (FORCE)');

# ------------------------------------------------------ what changes wakes it, at commit

make_database('work');
{
	my $session = session($node, db => 'work');
	$session->query('BEGIN');
	$session->query("SELECT etl.create_pipeline('p', schedule => '1 second')");
	sleep 1.2;
	is(connected(), 0, 'a declaration that is not committed wakes nobody');
	$session->query('COMMIT');
	# what was due before the commit is late, what comes after is not
	within(6, 'it fires from the commit on', sub { scheduled('work') >= 3 });
	is($session->query("SELECT min(queued_at - data_interval_end) < '0.5 seconds' FROM etl.runs")->{out}, 't', 'on time');
	$session->query('SELECT etl.pause()');
	$session->close;
}
settled('paused, nothing is connected');
{
	my $runs = scheduled('work');
	sleep 1.5;
	is(scheduled('work'), $runs, 'and nothing runs');
	run_sql($node, 'SELECT etl.resume()', db => 'work');
	within(3, 'resumed, it goes on', sub { scheduled('work') > $runs });
	is(value($node, "SELECT count(*) FROM (SELECT lead(queued_at) OVER (ORDER BY run_id) - queued_at AS gap FROM etl.runs) r WHERE gap > '1.4 seconds'", db => 'work'), 1,
		'without catchup, what was missed is left out');
}

# DROP EXTENSION while it is at it, and CREATE EXTENSION again.
run_sql($node, 'DROP EXTENSION etl CASCADE', db => 'work');
settled('without the extension nothing is left');
# A coordinator comes to look at each commit, and takes locks in another order than these do.
my $again = run_sql($node, 'CREATE EXTENSION etl; SELECT pg_sleep(random() * 0.05); DROP EXTENSION etl CASCADE; ' x 20, db => 'work', may_fail => 1);
is($again->{err} =~ s/^NOTICE.*\n|^LOCATION.*\n|^DETAIL.*\n//mgr, '', 'a coordinator never makes DROP EXTENSION fail');
settled('and none stays behind');
run_sql($node, 'CREATE EXTENSION etl', db => 'work');
run_sql($node, "SELECT etl.create_pipeline('p', schedule => '1 second')", db => 'work');
within(3, 'with the extension again, schedules fire', sub { scheduled('work') > 0 });

# The clock of the configuration is that of the launcher, too.
run_sql($node, 'SELECT etl.pause()', db => 'work');
run_sql($node, "SELECT etl.create_pipeline('yearly', schedule => '\@yearly', catchup => true)", db => 'work');
settled();
run_sql($node, "ALTER SYSTEM SET etl.clock = '" . value($node, "SELECT date_trunc('year', now()) + interval '3 years 1 hour'") . "'");
run_sql($node, 'SELECT pg_reload_conf()');
within(5, 'a clock that is set forward makes due what lies between', sub { scheduled('work', "pipeline = 'yearly'") == 3 });
settled('a clock that stands still makes nothing due');
run_sql($node, 'ALTER SYSTEM RESET etl.clock');
run_sql($node, 'SELECT pg_reload_conf()');
# a coordinator that is connected already goes by the settings it came with
within(10, 'so does the clock of one database', sub {
	run_sql($node, "ALTER DATABASE work SET etl.clock = '" . value($node, "SELECT date_trunc('year', now()) + interval '4 years 1 hour'") . "'");
	sleep 0.5;
	return scheduled('work', "pipeline = 'yearly'") == 4;
});
run_sql($node, 'ALTER DATABASE work RESET etl.clock');

# --------------------------------------------------------------- databases it leaves alone

run_sql($node, "SELECT etl.drop_pipeline('yearly'), etl.resume()", db => 'work');
make_database($_, '1 second') foreach qw(tpl closed);
within(5, 'they fire', sub { scheduled('tpl') > 0 && scheduled('closed') > 0 });
run_sql($node, 'ALTER DATABASE tpl IS_TEMPLATE true');
run_sql($node, 'ALTER DATABASE closed ALLOW_CONNECTIONS false');
run_sql($node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ('tpl', 'closed')");
{
	my $from = log_size();
	within(5, 'a template and a database that allows no connections are left alone',
		sub { value($node, "SELECT count(*) FROM pg_stat_activity WHERE datname IN ('tpl', 'closed')") == 0 });
	sleep 2;
	is(value($node, "SELECT count(*) FROM pg_stat_activity WHERE datname IN ('tpl', 'closed')"), 0, '… for good');
	is(logged($from, qr/not currently accepting connections|exited with exit code/), 0, '… and not tried');
}
is(run_sql($node, 'CREATE DATABASE from_tpl TEMPLATE tpl', may_fail => 1)->{state}, '00000', 'a template with pipelines can be copied');
run_sql($node, 'ALTER DATABASE closed ALLOW_CONNECTIONS true');
{
	my $runs = scheduled('closed');
	within(5, 'one that allows them again fires again', sub { scheduled('closed') > $runs });
}
run_sql($node, 'ALTER DATABASE tpl IS_TEMPLATE false');
run_sql($node, "DROP DATABASE $_ WITH (FORCE)") foreach qw(tpl closed from_tpl);

# ---------------------------------------------------------------------- deaths and restarts

# How many intervals of a pipeline are not there, or twice, since it began; what is queued
# when it is paused waits.
sub lost_or_doubled
{
	my ($pipeline) = @_;

	return value($node, "SELECT extract(epoch FROM max(data_interval_end) - min(data_interval_start))::integer - count(*) FILTER (WHERE state IN ('success', 'queued')) "
		  . "|| ' ' || count(*) - count(DISTINCT data_interval_start) FROM etl.runs WHERE pipeline = '$pipeline'", db => 'work');
}

run_sql($node, "SELECT etl.create_pipeline('every', schedule => '1 second', catchup => true)", db => 'work');
wait_until('it fires', 5, sub { scheduled('work', "pipeline = 'every'") > 0 });

my $pid = launcher();
run_sql($node, "SELECT pg_terminate_backend($pid)");
within(10, 'a launcher that is terminated comes again', sub { my $new = launcher(); $new && $new ne $pid });
{
	my $runs = scheduled('work');
	within(5, '… and schedules fire', sub { scheduled('work') > $runs });
}
$pid = launcher();
kill 'KILL', $pid;
within(15, 'one that is killed, too', sub { my $new = eval { run_sql($node, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'etl launcher'", may_fail => 1)->{out} }; $new && $new ne $pid });
{
	my $runs = scheduled('work');
	within(10, '… and schedules fire again', sub { scheduled('work') > $runs });
}
run_sql($node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type IN ('etl coordinator', 'etl worker')");
{
	my $runs = scheduled('work', "pipeline = 'every'");
	within(10, 'a coordinator that is terminated is followed by another', sub { scheduled('work', "pipeline = 'every'") > $runs });
}

# The server is down for a while.
$node->stop('immediate');
sleep 3;
$node->start;
within(10, 'after downtime what was missed is run, with catchup all of it',
	sub { value($node, "SELECT max(data_interval_end) > now() - interval '2 seconds' FROM etl.runs WHERE pipeline = 'every' AND state = 'success'", db => 'work') eq 't' });
run_sql($node, 'SELECT etl.pause()', db => 'work');
settled();
is(lost_or_doubled('every'), '0 0', 'no interval is lost or doubled over all of this');
cmp_ok(value($node, "SELECT count(*) FROM (SELECT data_interval_start - lag(data_interval_end) OVER (ORDER BY data_interval_start) AS gap FROM etl.runs WHERE pipeline = 'p') r WHERE gap >= '2 seconds'", db => 'work'),
	'>=', 1, 'without catchup the latest only');

# --------------------------------------------------- a coordinator that cannot work

run_sql($node, 'CREATE DATABASE broken');
run_sql($node, 'CREATE EXTENSION etl', db => 'broken');
settled();
{
	my $from = log_size();
	run_sql($node, "BEGIN; SELECT etl.create_pipeline('p', schedule => '1 second'); DROP FUNCTION etl._queue_due_runs; COMMIT", db => 'broken', may_fail => 1);
	run_sql($node, "BEGIN; SELECT etl.create_pipeline('q', schedule => '1 second'); ALTER EXTENSION etl DROP FUNCTION etl._queue_due_runs(); DROP FUNCTION etl._queue_due_runs(); COMMIT", db => 'broken');
	sleep 6;
	cmp_ok(logged($from, qr/gives up after/), '<=', 4, 'one that fails is tried again with longer and longer pauses');
	run_sql($node, 'SELECT etl.resume()', db => 'work');
	my $runs = scheduled('work');
	within(5, '… and other databases are served', sub { scheduled('work') > $runs });
	run_sql($node, 'SELECT etl.pause()', db => 'work');
	run_sql($node, 'DROP DATABASE broken WITH (FORCE)');
}
settled();

# ------------------------------------------------------------------- worker slots exhausted

run_sql($node, "SELECT etl.create_pipeline('filled', schedule => '1 second')", db => 'work');
run_sql($node, "CREATE SCHEMA f; CREATE VIEW f.txf_t AS SELECT 1 AS id; SELECT etl.add_load('filled', 'f.t', 'full')", db => 'work');
within(5, 'a pipeline with a task fires', sub { scheduled('work', "pipeline = 'filled'") > 0 });
run_sql($node, 'SELECT etl.pause()', db => 'work');
settled();
# the launcher takes the first of them, the logical replication launcher the second
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
{
	my $from = log_size();
	$node->restart;
	run_sql($node, "SELECT etl.resume('filled')", db => 'work');
	sleep 6;
	is(logged($from, qr/no free background worker slot, runs wait/), 1, 'without a worker slot there is one line in the log');
	$node->append_conf('postgresql.conf', 'max_worker_processes = 3');
	$from = log_size();
	$node->restart;
	wait_until('a run waits', 10, sub { active_runs($node, db => 'work') > 0 });
	sleep 6;
	my $lines = logged($from, qr/no free background worker slot, runs wait/);
	ok($lines >= 1 && $lines <= 2, 'with a slot for the coordinator, but none for a worker, one of it, and one of the launcher for other databases')
	  or diag("$lines lines");
	cmp_ok(active_runs($node, db => 'work'), '>', 0, '… runs wait');
	is(value($node, "SELECT count(*) FROM etl.runs WHERE state = 'failed'", db => 'work'), 0, '… and no run has failed');
	$node->append_conf('postgresql.conf', 'max_worker_processes = 16');
	$node->restart;
	my $runs = scheduled('work', "pipeline = 'filled'");
	within(10, 'runs that have waited are run', sub { scheduled('work', "pipeline = 'filled'") > $runs });
	run_sql($node, 'SELECT etl.pause()', db => 'work');
}

# More databases than there is room for.
$node->append_conf('postgresql.conf', 'etl.max_databases = 1');
{
	my $from = log_size();
	$node->restart;
	within(10, 'databases without a slot are mentioned', sub { logged($from, qr/no slot for \d+ of \d+ databases/) == 1 });
}
$node->append_conf('postgresql.conf', 'etl.max_databases = 100');
$node->restart;

# ----------------------------------------------------------------- standby and binary upgrade

run_sql($node, 'SELECT etl.resume()', db => 'work');
$node->append_conf('postgresql.conf', "wal_level = replica\nmax_wal_senders = 4");
$node->restart;
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
sleep 2;
is(value($standby, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'etl%'"), 0, 'nothing of etl runs on a standby');
$node->wait_for_catchup($standby);
$node->stop('fast');
$standby->promote;
{
	my $runs = value($standby, "SELECT count(*) FROM etl.runs WHERE state = 'success'", db => 'work');
	within(10, 'promoted, it goes on', sub { value($standby, "SELECT count(*) FROM etl.runs WHERE state = 'success'", db => 'work') > $runs });
}
$standby->stop;

# As pg_upgrade starts a server.
command_ok(['pg_ctl', '-w', '-D', $node->data_dir, '-l', $node->logfile, '-o', '-b', 'start'], 'a server in binary upgrade mode starts');
sleep 1.5;
is(value($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'etl%'"), 0, 'nothing of etl runs there');
command_ok(['pg_ctl', '-w', '-D', $node->data_dir, '-m', 'fast', 'stop'], '… and stops');

done_testing();
