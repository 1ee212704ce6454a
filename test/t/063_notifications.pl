# Notifications arrive: NOTIFY with what is committed and nothing else; webhooks at a real
# receiver, with retries, and after crashes, as often as they should and with no secret shown.
use strict;
use warnings;

use EtlTest;
use IO::Socket::INET;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

# A receiver: notes each request, and answers what its path says.
#   /ok 200, /slow 200 after two seconds, /fail 500, /gone 410, /limited 429 once then 200
my $received = "$PostgreSQL::Test::Utils::tmp_check/received.json";
my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 20, ReuseAddr => 1) or die "listen: $!";
my $port = $listener->sockport;
my $receiver = fork // die "fork: $!";
if ($receiver == 0)
{
	my %seen;
	local $SIG{CHLD} = 'IGNORE';
	while (my $client = $listener->accept)
	{
		my ($head, $body) = ('', '');
		while (my $line = <$client>) { last if $line =~ /^\r?\n$/; $head .= $line; }
		read $client, $body, $1 if $head =~ /^content-length: (\d+)/mi;
		my ($path) = $head =~ m{^POST (\S+)};
		my ($key) = $head =~ /^idempotency-key: (\S+)/mi;
		open(my $out, '>>', $received) or die;
		print $out JSON::PP->new->canonical->encode({ path => $path, key => $key, head => $head, body => $body }) . "\n";
		close $out;
		my $status = $path =~ /fail/ ? '500 Broken' : $path =~ /gone/ ? '410 Gone' : $path =~ /limited/ && !$seen{$path}++ ? "429 Slowly\r\nRetry-After: 1" : '200 Fine';
		if ($path =~ /slow/ && fork == 0)
		{
			sleep 2;
			print $client "HTTP/1.1 $status\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
			POSIX::_exit(0);
		}
		print $client "HTTP/1.1 $status\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok" unless $path =~ /slow/;
		close $client;
	}
	POSIX::_exit(0);
}
close $listener;

sub received
{
	my ($pattern) = @_;
	return grep { $_->{path} =~ $pattern } map { JSON::PP->new->decode($_) } split /\n/, -s $received ? slurp_file($received) : '';
}

my $node = make_node('main', preload => 1, schedules => 1);
run_sql($node, qq{
CREATE SERVER hook FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://127.0.0.1:$port');
CREATE USER MAPPING FOR CURRENT_USER SERVER hook OPTIONS (auth 'api_key', api_key 'T000/s3cret/XYZ');
CREATE SERVER nobody FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://127.0.0.1:9');
CREATE SCHEMA n;
CREATE TABLE n.broken (day date);
CREATE VIEW n.txf_t AS SELECT 1 / (1 - (SELECT count(*) FROM n.broken WHERE day = etl.run_date())) AS id;
CREATE VIEW n.txf_u AS SELECT 1 AS id;
SELECT etl.create_pipeline('n');
SELECT etl.add_load('n', 'n.u', 'full', key => '{id}');
SELECT etl.add_load('n', 'n.t', 'full', key => '{id}', depends_on => '{n.u}');
});

# ---------------------------------------------------------------- NOTIFY

my $listening = session($node);
$listening->query('LISTEN etl');

# the payloads so far, decoded
sub told
{
	my $result = $listening->query('SELECT 1');
	my ($out) = $listening->so_far;
	return map { JSON::PP->new->decode($_) } $out =~ /with payload "(\{.*?\})" received/g;
}
sub steps { my ($task, @told) = @_; return join ' ', map { $_->{state} } grep { ($_->{task} // '') eq $task } @told; }

run_sql($node, "SELECT etl_run(date '2026-11-01', 'n')");
my @told = told();
is(steps('', @told), 'queued running success', 'the states of a run are told');
is(steps('publish', @told), 'running success', 'those of its tasks as well');
my ($end) = grep { $_->{event} eq 'run' && $_->{state} eq 'success' } @told;
is("$end->{pipeline} $end->{previous_state} $end->{data_interval_start}", 'n running 2026-11-01T00:00:00+00:00', 'with what they are about');
ok($end->{run_id} == value($node, 'SELECT max(run_id) FROM etl.runs') && $end->{at} =~ /^2/, 'and when');

run_sql($node, "INSERT INTO n.broken VALUES ('2026-11-02')");
run_sql($node, "SELECT etl_run(date '2026-11-02', 'n')", may_fail => 1);
@told = told();
is(steps('', @told), 'queued running failed', 'a run that fails is told of');
unlike(steps('n.u', @told), qr/success/, 'no success of what was rolled back') or diag steps('n.u', @told);
my ($failure) = grep { $_->{event} eq 'run' && $_->{state} eq 'failed' } @told;
is("$failure->{error_code}: $failure->{error_message}", '22012: division by zero', 'with the cause');

run_sql($node, q{ALTER DATABASE postgres SET etl.notify = 'runs'});
wait_until('the processes that know nothing of it end', 20, sub { !activity_pids($node, 'etl worker') && !activity_pids($node, 'etl coordinator') });
run_sql($node, "SELECT etl_run(date '2026-11-01', 'n')");
@told = told();
is(join(' ', map { $_->{event} } @told), 'run run run', 'etl.notify = runs: tasks are not told of');
run_sql($node, q{ALTER DATABASE postgres SET etl.notify = 'off'});
wait_until('they end again', 20, sub { !activity_pids($node, 'etl worker') && !activity_pids($node, 'etl coordinator') });
run_sql($node, "SELECT etl_run(date '2026-11-01', 'n')");
is(scalar(told()), 0, 'etl.notify = off: nothing is');
$listening->close;
run_sql($node, q{ALTER DATABASE postgres RESET etl.notify});

# ---------------------------------------------------------------- webhooks

run_sql($node, q{
SELECT etl.add_notification('n', 'hook', '/ok', '{failure,recovery}');
SELECT etl.add_notification(NULL, 'hook', '/services/{api_key}', '{failure}', options => '{"preset": "slack"}');
SELECT etl.add_notification('n', 'hook', '/fail', '{failure}', options => '{"retry_delay": "200 milliseconds", "max_attempts": 3}');
SELECT etl.add_notification('n', 'hook', '/gone', '{failure}', options => '{"retry_delay": "200 milliseconds"}');
SELECT etl.add_notification('n', 'hook', '/limited', '{failure}', options => '{"retry_delay": "200 milliseconds"}');
SELECT etl.add_notification('n', 'nobody', '/', '{failure}', options => '{"retry_delay": "200 milliseconds", "max_attempts": 2}');
});
run_sql($node, "SELECT etl_run(date '2026-11-02', 'n')", may_fail => 1);
within(30, 'every delivery ends', sub { value($node, "SELECT count(*) > 0 AND bool_and(state <> 'pending') FROM etl.notification_log") eq 't' });
is(value($node, "SELECT string_agg(concat_ws(' ', n.server, left(n.path, 5), d.state, d.attempts, d.last_status), ', ' ORDER BY d.delivery_id)
	FROM etl.notification_log d JOIN etl.notifications n USING (notification_id)"),
	'hook /ok delivered 1 200, hook /serv delivered 1 200, hook /fail failed 3 500, hook /gone failed 1 410, hook /limi delivered 1 200, nobody / failed 2',
	'delivered, retried, given up: each as it should');
is(scalar(received(qr{^/limited$})), 2, 'a receiver that asks to be left alone for a second is');
my ($alert) = received(qr{^/ok$});
my $body = JSON::PP->new->decode($alert->{body});
is("$body->{event} $body->{pipeline} $body->{task} $body->{error_code} $body->{run_date}", 'failure n n.t 22012 2026-11-02', 'what arrives says what happened');
like($alert->{head}, qr{^content-type: application/json}mi, 'as JSON');
is(scalar(received(qr{^/ok$})), 1, 'once');
my ($slack) = received(qr{^/services/});
is($slack->{path}, '/services/T000/s3cret/XYZ', 'a key that belongs into the path gets there');
unlike($slack->{head}, qr/x-api-key/i, 'and nowhere else');
like(JSON::PP->new->decode($slack->{body})->{text}, qr/^Pipeline n failed: run \d+ of 2026-11-02, task n.t: division by zero$/, 'a preset');
my @failed = received(qr{^/fail$});
is(scalar(@failed), 3, 'an error is tried again');
is(scalar(do { my %k = map { $_->{key} => 1 } @failed; keys %k }), 1, 'with the same Idempotency-Key');
like(value($node, "SELECT string_agg(message, E'\\n') FROM etl.log WHERE level = 'ERROR'"), qr/event failure is given up after 3 attempts: HTTP 500/, 'what is given up is in the log');
is(value($node, "SELECT count(*) FROM (SELECT to_jsonb(l)::text FROM etl.notification_log l UNION ALL SELECT to_jsonb(n)::text FROM etl.notifications n
	UNION ALL SELECT to_jsonb(g)::text FROM etl.log g UNION ALL SELECT query FROM pg_stat_activity WHERE pid <> pg_backend_pid()) x(t) WHERE t LIKE '%s3cret%'"), 0, 'the secret is not shown');
unlike(slurp_file($node->logfile), qr/s3cret/, 'nor logged');

run_sql($node, "DELETE FROM n.broken; SELECT etl_run(date '2026-11-02', 'n')");
within(20, 'recovery is told', sub { 2 == received(qr{^/ok$}) });
is(JSON::PP->new->decode((received(qr{^/ok$}))[1]->{body})->{event}, 'recovery', 'once, after failures');
run_sql($node, "SELECT etl_run(date '2026-11-02', 'n')");
within(20, 'the processes end', sub { !activity_pids($node, 'etl worker') && !activity_pids($node, 'etl coordinator') });
is(scalar(received(qr{^/ok$})), 2, 'further successes are not');

# a slow receiver holds no transaction open, and no run up
run_sql($node, q{SELECT etl.drop_notification(notification_id) FROM etl.notifications; SELECT etl.add_notification('n', 'hook', '/slow', '{success}')});
my $began = now;
run_sql($node, "SELECT etl_run(date '2026-11-03', 'n')");
ok(now() - $began < 1.9, 'the caller does not wait for the receiver');
wait_until('the request is there', 10, sub { 1 == received(qr{^/slow$}) });
is(value($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'etl%' AND (backend_xmin IS NOT NULL OR xact_start IS NOT NULL AND state <> 'idle' AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL)"), 0,
	'no transaction is open while it waits');
within(20, 'and it is delivered', sub { value($node, "SELECT state FROM etl.notification_log ORDER BY delivery_id DESC LIMIT 1") eq 'delivered' });

# the worker is killed with the request on its way: told again, with the same key
run_sql($node, "SELECT etl_run(date '2026-11-04', 'n')");
wait_until('the request is there', 10, sub { 2 == received(qr{^/slow$}) });
kill 'KILL', (activity_pids($node, 'etl worker'))[0];
wait_until('the server is back', 60, sub { run_sql($node, 'SELECT 1', may_fail => 1)->{state} eq '00000' });
within(40, 'after a crash it is told again', sub { my $r = run_sql($node, "SELECT state || attempts FROM etl.notification_log ORDER BY delivery_id DESC LIMIT 1", may_fail => 1); $r->{out} eq 'delivered2' });
my @slow = received(qr{^/slow$});
is($slow[1]{key}, $slow[2]{key}, 'with the same Idempotency-Key');

# lateness: noticed by the launcher's clock, though nothing runs
run_sql($node, q{SELECT etl.drop_notification(notification_id) FROM etl.notifications; SELECT etl.add_notification('n', 'hook', '/late', '{lateness,recovery}')});
run_sql($node, "INSERT INTO n.broken SELECT (now() AT TIME ZONE 'UTC')::date + d FROM generate_series(-1, 1) d");
run_sql($node, "SELECT etl.alter_pipeline('n', schedule => '3 seconds', deadline => '1 second')");
within(30, 'a pipeline that is late is told of', sub { 0 < received(qr{^/late$}) });
my $late = JSON::PP->new->decode((received(qr{^/late$}))[0]->{body});
is($late->{event}, 'lateness', 'as late');
like($late->{summary}, qr/^Pipeline n is late: no success by/, 'in words');
run_sql($node, "SELECT etl.alter_pipeline('n', schedule => 'none')");

kill 'TERM', $receiver;
waitpid $receiver, 0;
done_testing();
