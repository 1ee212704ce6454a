# pg_cron as a trigger, the real extension: the jobs that etl makes and those written by hand
# run pipelines, a failed run is a failed job, and what overlaps is refused.  pg_cron has no
# clock of ours: its next minute is waited for, once.
use strict;
use warnings;

use EtlTest;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'pg_cron is not installed' unless -e `pg_config --pkglibdir` =~ s/\n//r . '/pg_cron.so';

my $api = EtlTest::Api->start;
my $url = $api->url;
my $node = make_node('main', conf => <<CONF);
shared_preload_libraries = 'pg_cron'
cron.database_name = 'postgres'
cron.use_background_workers = on
cron.max_running_jobs = 10
CONF

# ---------------------------------------------------------------- without it

run_sql($node, "SELECT etl.create_pipeline('p', schedule => '* * * * *')");
my $refused = run_sql($node, "SELECT etl.schedule_with_pg_cron('p')", may_fail => 1);
is_failure($refused, '42704', 'without the extension');
like($refused->{err}, qr/CREATE EXTENSION pg_cron/, 'it says what is missing');
is(value($node, "SELECT etl.unschedule_with_pg_cron('p')"), 'f', 'and there is nothing to remove');
run_sql($node, 'CREATE DATABASE other');
run_sql($node, "CREATE EXTENSION etl; SELECT etl.create_pipeline('q', schedule => '5 * * * *')", db => 'other');
like(run_sql($node, "SELECT etl.schedule_with_pg_cron('q')", may_fail => 1, db => 'other')->{err},
	qr/in database "postgres"; there: SELECT cron\.schedule_in_database\('etl q', '5 \* \* \* \*', .*, 'other'\)/, 'in another database: what to type there');
run_sql($node, 'CREATE EXTENSION pg_cron');

# ---------------------------------------------------------------- schedules

sub translated
{
	my ($schedule, $zone, $seconds) = @_;
	my $result = run_sql($node, "SELECT etl._pg_cron_schedule('$schedule', '" . ($zone // 'UTC') . "', 'GMT', " . ($seconds // 'false') . ")", may_fail => 1);
	return $result->{state} eq '00000' ? $result->{out} : $result->{state};
}
my @cases = (
	['*/15 * * * *', '*/15 * * * *'], ['0 2 * * MON-FRI', '0 2 * * MON-FRI'], ['@hourly', '0 * * * *'], ['@daily', '0 0 * * *'], ['@weekly', '0 0 * * 0'],
	['@monthly', '0 0 1 * *'], ['@yearly', '0 0 1 1 *'], ['1 minute', '* * * * *'], ['15 minutes', '*/15 * * * *'], ['1 hour', '0 * * * *'], ['6 hours', '0 */6 * * *'],
	['1 day', '0 0 * * *'], ['7 days', '0 0 * * 4'], ['30 seconds', '0A000'], ['7 minutes', '0A000'], ['90 minutes', '0A000'],
	['0 2 * * *', '0A000', 'Europe/Berlin'], ['0 2 * * *', '0 2 * * *', 'Etc/UTC'], ['5 * * * *', '5 * * * *', 'Europe/Berlin'], ['5 * * * *', '0A000', 'Asia/Kolkata'],
	['15 minutes', '*/15 * * * *', 'Europe/Berlin'], ['30 seconds', '30 seconds', 'UTC', 'true'], ['45 seconds', '0A000', 'UTC', 'true']);
is(translated($_->[0], $_->[2], $_->[3]), $_->[1], "$_->[0] " . ($_->[2] // '') . ($_->[3] ? ' with seconds' : '')) foreach @cases;
run_sql($node, "SELECT etl.create_pipeline('berlin', schedule => '0 2 * * *', timezone => 'Europe/Berlin')");
my $zone = run_sql($node, "SELECT etl.schedule_with_pg_cron('berlin')", may_fail => 1);
is_failure($zone, '0A000', 'another time zone');
like($zone->{err}, qr/Give it in GMT/, 'and what to do');
like(run_sql($node, "SELECT etl.schedule_with_pg_cron('berlin', '0 1 * * *')")->{out}, qr/^\d+$/, 'a schedule in GMT is taken');
is(value($node, "SELECT schedule FROM cron.job WHERE jobname = 'etl berlin'"), '0 1 * * *', 'as it is');
run_sql($node, "SELECT etl.create_pipeline('none')");
is_failure(run_sql($node, "SELECT etl.schedule_with_pg_cron('none')", may_fail => 1), '55000', 'a pipeline without a schedule');
is(value($node, "SELECT etl.unschedule_with_pg_cron('berlin')"), 't', 'a job is removed');
is(value($node, "SELECT count(*) FROM cron.job"), 0, 'and gone');
is(value($node, "SET etl.clock = '2026-03-01 00:10Z'; SELECT data_interval_start, data_interval_end FROM etl.latest_interval('berlin')"),
	'2026-02-27 01:00:00+00|2026-02-28 01:00:00+00', 'the interval that is over is by the zone of the pipeline');

# ---------------------------------------------------------------- a minute of jobs

run_sql($node, qq{
CREATE ROLE owner LOGIN;
GRANT USAGE ON SCHEMA cron TO owner;
GRANT CREATE ON DATABASE postgres TO owner;
CREATE SERVER slow FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url');
GRANT USAGE ON FOREIGN SERVER slow TO owner;
SET SESSION AUTHORIZATION owner;
CREATE SCHEMA c;
CREATE VIEW c.txf_good AS SELECT etl.data_interval_start() AS id;
CREATE VIEW c.txf_bad AS SELECT 1 / 0 AS id;
CREATE VIEW c.txf_daily AS SELECT etl.run_date() AS id;
SELECT etl.create_pipeline('good', schedule => '* * * * *');
SELECT etl.add_load('good', 'c.good', 'incremental', key => '{id}');
SELECT etl.create_pipeline('bad', schedule => '* * * * *');
SELECT etl.add_load('bad', 'c.bad', 'full');
SELECT etl.create_pipeline('daily');
SELECT etl.add_load('daily', 'c.daily', 'full');
SELECT etl.create_pipeline('busy', schedule => '* * * * *');
SELECT etl.add_extract('busy', 'c.busy', server => 'slow', path => '/pages/busy', records => '\$.data[*]', query => '{"pages": 1}');
});
my $job = value($node, "SELECT etl.schedule_with_pg_cron('good')", user => 'owner');
is(value($node, "SELECT etl.schedule_with_pg_cron('good')", user => 'owner'), $job, 'scheduled again, it is the same job');
is(value($node, "SELECT username || ' ' || schedule FROM cron.job WHERE jobid = $job"), 'owner * * * * *', 'of who asked for it');
run_sql($node, "SELECT etl.schedule_with_pg_cron('bad')", user => 'owner');
run_sql($node, q{SELECT cron.schedule('by hand', '* * * * *', $$SELECT etl_run(current_date, 'daily')$$)}, user => 'owner');
# two triggers of one day that takes longer than a moment
$api->latency(5000);
run_sql($node, qq{SELECT cron.schedule('busy $_', '* * * * *', \$\$CALL etl.run('busy', date_trunc('day', now()) - interval '1 day', date_trunc('day', now()))\$\$)}, user => 'owner') foreach 'a', 'b';

sub outcome
{
	my ($name) = @_;
	return value($node, "SELECT string_agg(d.status, ' ' ORDER BY d.status) FROM cron.job_run_details d JOIN cron.job j USING (jobid) WHERE j.jobname LIKE '$name' AND d.status IN ('succeeded', 'failed')");
}
within(90, 'pg_cron runs a pipeline', sub { outcome('etl good') =~ /succeeded/ });
like(value($node, "SELECT string_agg(to_char(id AT TIME ZONE 'UTC', 'SS') || (id + interval '1 minute' > now() - interval '2 minutes'), ' ') FROM c.good", user => 'owner'), qr/^00true/, 'the interval that was just over');
within(20, 'a failed run is a failed job', sub { outcome('etl bad') =~ /^failed/ });
like(value($node, "SELECT d.return_message FROM cron.job_run_details d JOIN cron.job j USING (jobid) WHERE j.jobname = 'etl bad' AND d.status = 'failed' LIMIT 1"),
	qr/run \d+ of pipeline "bad" \(\d{4}-\d\d-\d\d\) failed in task c\.bad: division by zero/, 'with our message');
within(20, "'SELECT etl_run(current_date)' works", sub { outcome('by hand') =~ /succeeded/ });
is(value($node, "SELECT count(*) FROM c.daily", user => 'owner'), 1, 'and has filled its table');
within(30, 'of two triggers of an interval one is refused', sub { outcome('busy _') =~ /failed.*succeeded/ });
like(value($node, "SELECT d.return_message FROM cron.job_run_details d JOIN cron.job j USING (jobid) WHERE j.jobname LIKE 'busy _' AND d.status = 'failed' LIMIT 1"),
	qr/interval .* of pipeline "busy" is already running/, 'and says so');
is(value($node, "SELECT string_agg(DISTINCT state, ',') FROM etl.runs WHERE pipeline = 'busy' AND state <> 'running'"), 'success', 'the other one has run');
run_sql($node, "SELECT cron.unschedule(jobid) FROM cron.job");
done_testing();
