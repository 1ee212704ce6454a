# Retries of a task: what may go away is tried again, where it failed; what does not is not.
use strict;
use warnings;

use EtlTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $api = EtlTest::Api->start;
my $node = make_node('main');
my $url = $api->url;

# one attempt a request, so that every failure is the task's
run_sql($node, qq{
CREATE SERVER flaky FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url', max_attempts '1', retry_delay '10 ms');
SELECT etl.create_pipeline('flaky', retries => 2, retry_delay => '300 ms');
SELECT etl.add_extract('flaky', 'raw.flaky', server => 'flaky', path => '/pages/flaky', query => '{"pages": 3, "per_page": 5}',
	records => '\$.data[*]', pagination => '{"type": "next_url"}', key => '{\$.id}');
});

sub attempts
{
	return value($node, "SELECT string_agg(a.attempt || ' ' || a.state || coalesce(' ' || a.error_code, ''), ', ' ORDER BY a.attempt)
		FROM etl.task_attempts a WHERE a.task = 'raw.flaky' AND a.run_id = (SELECT max(run_id) FROM etl.runs)");
}

$api->fault(match => '/pages/flaky', page => 2, fault => 'status_500', times => 1);
my $result = run_sql($node, "SELECT state, fetched FROM etl_run(date '2026-11-18', 'flaky')", may_fail => 1);
is($result->{out}, 'success|15', 'a fault that goes away is retried by the task') or diag($result->{err});
is(attempts(), '1 failed 08006, 2 success', 'the attempts are told apart');
is(value($node, 'SELECT count(*) FROM raw.vr_flaky'), 15, 'nothing is lost or double');
is(scalar(grep { $_->{target} =~ m{^/pages/flaky} } $api->requests), 4, 'the second attempt went on at the second page');

$api->heal;
$api->fault(match => '/pages/flaky', page => 1, fault => 'status_500');
$result = run_sql($node, "SELECT state FROM etl_run(date '2026-11-19', 'flaky')", may_fail => 1);
is($result->{state}, '08006', 'one that stays fails the run');
is(attempts(), '1 failed 08006, 2 failed 08006, 3 failed 08006', 'after all attempts');

$api->heal;
$api->fault(match => '/pages/flaky', page => 1, fault => 'status_404');
$result = run_sql($node, "SELECT state FROM etl_run(date '2026-11-19', 'flaky')", may_fail => 1);
is($result->{state}, 'HV000', 'a wrong request fails the run');
is(attempts(), '1 failed HV000', 'at once');

done_testing();
