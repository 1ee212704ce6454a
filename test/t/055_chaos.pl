# Random kills, 200 rounds, while schedules fire, backfills go on and failed runs are
# retried: of the launcher, coordinators, workers, the postmaster.  At the end exactly the
# intervals that were asked for have run, each once.
#
# SEED=… repeats the moments as far as scheduling allows; ETL_CHAOS_ROUNDS=… makes it
# shorter or longer.
use strict;
use warnings;

use EtlTest;
use Test::More;
use Time::HiRes qw(sleep);

my $ROUNDS = $ENV{ETL_CHAOS_ROUNDS} || 200;
# The longest time between two kills, seconds: long enough for a run to get to its end.
my $LONGEST_PAUSE = 0.6;
my $ROWS = 3;
# Days that each round with a backfill asks for.
my $BACKFILL_DAYS = 3;

my $seed = srand($ENV{SEED} || time);
diag("SEED=$seed");

my $api = EtlTest::Api->start('--latency-ms', 5);
my $node = make_node('main', preload => 1, schedules => 1, conf => "max_worker_processes = 24\netl.max_workers = 4");

# A pipeline of one page an interval, whose content names the interval.
sub declare
{
	my ($name, $settings) = @_;

	return <<SQL;
SELECT etl.create_pipeline('$name', $settings);
SELECT etl.add_extract('$name', 'raw.$name', server => 'api', path => '/pages/$name-{data_interval_start:YYYYMMDDHH24MISS}',
	query => '{"pages": 1, "per_page": $ROWS}', records => '\$.data[*]', key => '{\$.value}');
CREATE VIEW stg.txf_$name AS
	SELECT data_interval_start AS at, (payload ->> 'id')::integer AS id, payload ->> 'value' AS value
	FROM raw.vr_$name WHERE data_interval_start >= etl.data_interval_start() AND data_interval_end <= etl.data_interval_end();
SELECT etl.add_load('$name', 'stg.$name', mode => 'incremental', key => '{at,id}');
SQL
}

# Kills are no fault of the tasks: they are tried again for as long as it takes.
my $PATIENT = "retries => 100, retry_delay => '0', max_crashes => 100, max_active_runs => 3";
my $url = $api->url;
run_sql($node, "CREATE SCHEMA stg; CREATE SERVER api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url');"
	  . declare('scheduled', $PATIENT)
	  . declare('filled', "schedule => '\@daily', end_date => '2000-01-01', $PATIENT")
	  . declare('triggered', 'retries => 0, max_crashes => 100, max_active_runs => 3'));
# From now on, a run each second until the end.
my $since = value($node, q{SELECT date_trunc('second', clock_timestamp()) + '1 second'});
run_sql($node, "SELECT etl.alter_pipeline('scheduled', schedule => '1 second', catchup => true, start_date => '$since')");

# A statement until it is known to have committed.  It is to be safe when done twice.
sub insist
{
	my ($sql) = @_;
	my $result;

	wait_until('the statement is done', 60, sub {
		$result = run_sql($node, $sql, may_fail => 1);
		return $result->{state} eq '00000' || $result->{state} !~ /^(08|57|53)/;
	});
	BAIL_OUT("failed: $sql\n$result->{err}") if $result->{state} ne '00000';
	return $result->{out};
}

sub lose_server
{
	my ($how) = @_;

	$how eq 'postmaster' ? kill_postmaster($node) : $node->stop($how);
	$node->start;
	return;
}

my @VICTIMS = (
	(map { my $signal = $_; map { { signal => $signal, process => $_ } } qw(worker worker coordinator coordinator launcher) } qw(KILL TERM)),
	{ server => 'postmaster' }, { server => 'immediate' }, { server => 'fast' });
my %struck;

sub strike
{
	my $victim = $VICTIMS[ int rand @VICTIMS ];

	if ($victim->{server})
	{
		lose_server($victim->{server});
		$struck{"server, $victim->{server}"}++;
		return;
	}
	my $result = run_sql($node, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'etl $victim->{process}' ORDER BY random() LIMIT 1", may_fail => 1);
	my ($pid) = $result->{out} =~ /^(\d+)$/;
	$struck{"$victim->{process}, $victim->{signal}"}++ if defined $pid && kill $victim->{signal}, $pid;
	return;
}

my $hours = 0;
my $days = 0;
my $triggered_since = '2026-03-01 00:00:00+00';
my $filled_since = '2024-01-01';
foreach my $round (1 .. $ROUNDS)
{
	if ($round % 3 == 0)
	{
		# what the statement did before the connection was lost, it is not to do again
		my $start = "timestamptz '$triggered_since' + interval '$hours hours'";

		$api->fault(match => '/pages/triggered', fault => 'status_500', times => 1) if rand() < 0.3;
		insist("SELECT etl.trigger('triggered', $start, $start + interval '1 hour')"
			  . " WHERE NOT EXISTS (SELECT FROM etl.runs WHERE pipeline = 'triggered' AND data_interval_start = $start)");
		$hours++;
	}
	if ($round % 10 == 5)
	{
		my $first = "date '$filled_since' + $days";

		insist("SELECT count(*) FROM etl.backfill('filled', $first, $first + $BACKFILL_DAYS)");
		$days += $BACKFILL_DAYS;
	}
	sleep rand $LONGEST_PAUSE;
	strike();
	# who runs the platform retries what has failed
	run_sql($node, <<SQL, may_fail => 1);
SELECT etl.retry(run_id)
FROM (SELECT DISTINCT ON (data_interval_start) run_id, state FROM etl.runs WHERE pipeline = 'triggered' ORDER BY data_interval_start, run_id DESC) r
WHERE state IN ('failed', 'cancelled')
SQL
}
diag(join('; ', map { "$_: $struck{$_}" } sort keys %struck));

# The end of the schedule, a little ahead; then everything is to come to rest.
$api->heal;
my $until = insist(q{SELECT date_trunc('second', clock_timestamp()) + '2 seconds'});
insist("SELECT etl.alter_pipeline('scheduled', end_date => '$until')");

my %EXPECTED = (
	scheduled => "SELECT lag(t) OVER (ORDER BY t) AS at FROM etl.schedule_ticks('1 second', 'UTC', '$since', timestamptz '$until' + interval '1 microsecond') t OFFSET 1",
	filled => "SELECT timestamptz '$filled_since UTC' + n * interval '1 day' AS at FROM generate_series(0, $days - 1) n",
	triggered => "SELECT timestamptz '$triggered_since' + n * interval '1 hour' AS at FROM generate_series(0, $hours - 1) n");

sub missing
{
	my ($name) = @_;

	return "SELECT e.at FROM ($EXPECTED{$name}) e WHERE NOT EXISTS (SELECT FROM etl.runs r WHERE r.pipeline = '$name' AND r.data_interval_start = e.at AND r.state = 'success')";
}

within(300, 'every run comes to its end', sub {
	run_sql($node, <<SQL, may_fail => 1);
SELECT etl.retry(run_id)
FROM (SELECT DISTINCT ON (data_interval_start) run_id, state FROM etl.runs WHERE pipeline = 'triggered' ORDER BY data_interval_start, run_id DESC) r
WHERE state IN ('failed', 'cancelled')
SQL
	sleep 0.5;
	return 0 if active_runs($node);
	return !grep { value($node, 'SELECT count(*) FROM (' . missing($_) . ') m') } keys %EXPECTED;
});

foreach my $name (sort keys %EXPECTED)
{
	my $expected = value($node, "SELECT count(*) FROM ($EXPECTED{$name}) e");

	cmp_ok($expected, '>=', $ROUNDS / 5, "$name: $expected intervals were asked for");
	is(value($node, missing($name)), '', "$name: each of them has run");
	is(value($node, "SELECT data_interval_start, count(*) FROM etl.runs WHERE pipeline = '$name' AND state = 'success' GROUP BY 1 HAVING count(*) > 1"),
		'', "$name: once");
	is(value($node, "SELECT data_interval_start, state FROM etl.runs r WHERE pipeline = '$name' AND data_interval_start NOT IN ($EXPECTED{$name})"),
		'', "$name: and no other");
	is(value($node, "SELECT data_interval_start, count(*) FROM etl.loads WHERE pipeline = '$name' AND state = 'published' GROUP BY 1 HAVING count(*) > 1"),
		'', "$name: one load of each is published");
	is(value($node, "SELECT at, count(*), count(DISTINCT value) FROM stg.$name GROUP BY 1 HAVING (count(*), count(DISTINCT value)) <> ($ROWS, $ROWS)"),
		'', "$name: with its rows, each once");
	is(value($node, "SELECT count(DISTINCT at) FROM stg.$name"), $expected, "$name: of every interval");
	is(value($node, "SELECT count(*) FROM etl.loads WHERE pipeline = '$name' AND fetched <> loaded + quarantined"), 0, "$name: and everything is counted");
}
is(value($node, 'SELECT count(*) FROM etl.backfills WHERE state <> \'success\''), 0, 'the backfills have succeeded');
is(value($node, q{SELECT count(*) FROM etl.task_runs WHERE state IN ('queued', 'running', 'up_for_retry')}), 0, 'nothing is left behind');
cmp_ok(scalar(keys %struck), '>=', 8, 'all kinds of processes were hit') if $ROUNDS >= 200;

$node->stop;
$api->stop;
done_testing();
