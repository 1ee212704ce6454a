# Rate limits: the provider's, of which answers tell, and a server's own budget, which all
# runs share.  What was sent is read from the API's log: no window holds more than it may,
# whatever was killed on the way.
use strict;
use warnings;

use EtlTest;
use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use Time::Local qw(timegm);

my $DAY = "date '2026-11-19'";
# Requests are logged when the API gets to them, which is later than they were sent, and
# not always by the same time: so much shorter are the windows looked at.
my $JITTER = 0.4;

my $api = EtlTest::Api->start;
my $node = make_node('main', preload => 1, conf => "etl.max_workers = 12\n");
my $url = $api->url;

# A pipeline of one extraction; options: server (default its name), options (more of the
# server's), path, query.
sub declare
{
	my ($name, %options) = @_;
	my $server = $options{server} // $name;
	my $path = $options{path} // "/pages/$name";
	my $query = $options{query} // '"pages": 3, "per_page": 2';
	my $base = $options{base_url} // $url;
	my $create = defined $options{server} ? '' : "CREATE SERVER $server FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$base'"
	  . ($options{options} ? ", $options{options}" : '') . ');';

	run_sql($node, <<SQL);
$create
SELECT etl.create_pipeline('$name');
SELECT etl.add_extract('$name', 'raw.$name', server => '$server', path => '$path', query => '{$query}',
	records => '\$.data[*]', pagination => '{"type": "next_url"}', key => '{\$.id}');
SQL
	return;
}

# When requests for these paths came, in seconds, sorted.
sub arrivals
{
	my @times;

	foreach my $request (map { $api->requests($_) } @_)
	{
		my ($year, $month, $day, $hour, $minute, $second) = $request->{time} =~ /^(\d+)-(\d+)-(\d+)T(\d+):(\d+):([\d.]+)/;
		push @times, timegm(0, $minute, $hour, $day, $month - 1, $year) + $second;
	}
	return sort { $a <=> $b } @times;
}

# The most requests in any time of that length.
sub most_in
{
	my ($length, @times) = @_;
	my $most = 0;

	foreach my $i (0 .. $#times)
	{
		my $count = grep { $_ >= $times[$i] && $_ < $times[$i] + $length } @times;
		$most = $count if $count > $most;
	}
	return $most;
}

# What the database says was taken of a budget; grants that are open count.
sub used
{
	my ($server) = @_;

	return value($node, "SELECT max(used) FROM etl.rate_budgets WHERE server = '$server'");
}

sub activity
{
	my ($pipeline) = @_;

	return value($node, "SELECT activity FROM etl.progress WHERE pipeline = '$pipeline' AND kind = 'extract'");
}

# ------------------------------------------------------- a budget that two runs share

declare('first', options => "rate_limit '20/2 seconds, 1000/hour', concurrency '8'", query => '"pages": 30, "per_page": 2');
# the other one asks for many pages at once
run_sql($node, <<'SQL');
CREATE VIEW items AS SELECT 'second-' || n AS item FROM generate_series(1, 30) n;
SELECT etl.create_pipeline('second');
SELECT etl.add_extract('second', 'raw.second', server => 'first', path => '/pages/{item}', query => '{"pages": 1, "per_page": 2}',
	for_each => 'public.items', records => '$.data[*]', pagination => '{"type": "next_url"}', key => '{$.value}');
SQL
$api->latency(30);
my @callers = map { session($node) } 1 .. 2;
$callers[0]->send("SELECT state, fetched FROM etl_run($DAY, 'first')");
$callers[1]->send("SELECT state, fetched FROM etl_run($DAY, 'second')");
within(5, 'a wait for the budget is seen by others', sub { activity('first') =~ /page \d+, waiting for rate limit until 20\d\d-/ });
my @results = map { $_->wait(60) } @callers;
is($_ && $_->{out}, 'success|60', 'the run succeeds') or diag($_ && $_->{err}) foreach @results;
like($results[0]{err} . $results[1]{err}, qr/NOTICE.*waiting for rate limit until/, 'callers see waits, too');
my @times = arrivals('/pages/first', '/pages/second-*');
cmp_ok($api->control('GET', 'stats')->{max_in_flight}, '>', 2, 'several at once');
is(scalar @times, 60, 'both runs sent all their requests');
cmp_ok(most_in(2 - $JITTER, @times), '<=', 20, 'no more than 20 in 2 seconds, by all runs together');
cmp_ok($times[-1] - $times[0], '>', 4 - $JITTER, 'which takes the time it must');
cmp_ok($times[-1] - $times[0], '<', 10, 'and not much more');
is(used('first'), 60, 'the database has counted all of them, and given back what was not used');
is(value($node, "SELECT string_agg(rate_limit || ' ' || window_length || ' ' || budget || ' ' || used + free, ', ' ORDER BY window_length) FROM etl.rate_budgets"),
	'20/2 seconds, 1000/hour 00:00:02 20 20, 20/2 seconds, 1000/hour 01:00:00 1000 1000', 'the view has a row a window');

# --------------------------------------------------------- kill -9 gives nothing back

declare('killed', options => "rate_limit '10/2 seconds, 1000/hour'", query => '"pages": 40, "per_page": 2');
my $kills = 0;
foreach my $round (1 .. 6)
{
	my $caller = session($node);
	my $before = () = $api->requests('/pages/killed');

	$caller->send("SELECT state FROM etl_run($DAY, 'killed')");
	poll(10, sub { $caller->wait(0) || $api->requests('/pages/killed') > $before + 3 });
	last if ($caller->wait(0) // { out => '' })->{out} =~ /success/;
	if ($round % 3 == 0)
	{
		kill_postmaster($node);
		$node->start;
	}
	elsif (my ($pid) = activity_pids($node, 'etl worker'))
	{
		kill 'KILL', $pid;
		$caller->wait(20);
	}
	$kills++;
	wait_until('the server is back', 30, sub { run_sql($node, 'SELECT 1', may_fail => 1)->{state} eq '00000' });
}
my $result = run_sql($node, "SELECT state FROM etl_run($DAY, 'killed')", may_fail => 1, seconds => 90);
$api->latency(0);
is(value($node, 'SELECT count(*) FROM raw.vr_killed'), 80, 'the run gets through in the end') or diag($result->{err});
@times = arrivals('/pages/killed');
cmp_ok(scalar @times, '>=', 40, "$kills times something was killed");
cmp_ok(most_in(2 - $JITTER, @times), '<=', 10, 'and no more than 10 were sent in 2 seconds, before and after together');
cmp_ok(used('killed'), '>=', scalar @times, 'what was sent was counted');

# ---------------------------------------------- what is sent is counted, and no more

# A redirect is another request; and so is what libcurl sends again by itself when a
# connection it kept has been closed.
foreach my $case (
	[ 'redirected', 'redirect', { hops => 3, page => 2 }, 'success', 3 + 3 ],
	[ 'gone_away', 'redirect_other_host', { page => 3 }, 'success', 3 + 1 ],
	[ 'failing', 'status_500', { page => 2, times => 2 }, 'success', 3 + 2 ],
	[ 'cut_off', 'reset_before_answer', { page => 2, times => 3 }, 'success', 3 + 3 ],
	[ 'closed', 'close_before_answer', { page => 2, times => 3 }, 'success', 3 + 3 ],
	[ 'refused', 'status_429_retry_after', { page => 2, times => 2 }, 'success', 3 + 2 ],
	[ 'circling', 'redirect_loop', { page => 2 }, 'failed', 1 + 6 ])
{
	my ($name, $fault, $params, $state, $requests) = @$case;

	declare($name, options => "rate_limit '500/hour', retry_delay '10 ms'");
	$api->heal;
	$api->fault(match => "/pages/$name", fault => $fault, %$params);
	run_sql($node, "SELECT state FROM etl_run($DAY, '$name')", may_fail => 1);
	is(value($node, "SELECT state FROM etl.runs WHERE pipeline = '$name'"), $state, "$fault: the run ends in $state");
	my $sent = () = $api->requests("/pages/$name");
	# the hops of "redirect" and what went to the second port
	$sent = grep { $_->{target} =~ m{/$name\b|=/pages/$name|%2Fpages%2F$name} } $api->requests;
	is($sent, $requests, "$fault: so many requests are sent");
	# a failed run leaves what it held to expire
	my $used = used($name);
	ok($state eq 'success' ? $used == $sent : $used >= $sent, "$fault: and so many are counted") or diag("counted $used, sent $sent");
}
$api->heal;

# A request whose connection takes longer than it is admitted for is not sent, and no
# attempt: this listener has no room for a connection until we make some, after which it
# takes a second until the kernel tries again.
{
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1, ReuseAddr => 1) or BAIL_OUT("listen: $!");
	listen($listener, 0) or BAIL_OUT("listen: $!");    # IO::Socket takes 0 for 5
	my $port = $listener->sockport;
	my @fill = map { IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port", Blocking => 0) } 1 .. 4;

	declare('slow', base_url => "http://127.0.0.1:$port", options => "rate_limit '10/second', max_attempts '1'", query => '"x": 1');
	my $caller = session($node);
	$caller->send("SELECT state, fetched FROM etl_run($DAY, 'slow')");
	sleep 0.8;
	my $got = '';
	my $connections = 0;
	my $end = now() + 20;
	$listener->timeout(5);
	while ($got !~ /^GET / && now() < $end)
	{
		my $connection = $listener->accept or next;
		next if grep { $_ && $connection->peerport == $_->sockport } @fill;
		$connections++;
		$connection->recv($got, 10_000);
		next if $got eq '';
		my $body = '{"data": [{"id": 1}], "next": null}';
		print {$connection} "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ", length $body, "\r\n\r\n$body";
		$connection->flush;
	}
	my $slow = $caller->wait(20);
	is($slow && $slow->{out}, 'success|1', 'a slow connection costs no attempt') or diag($slow && $slow->{err});
	cmp_ok($connections, '>', 1, 'the first was given up, as it was too late for what it was to send');
	is(value($node, "SELECT attempts FROM etl.slices WHERE pipeline = 'slow'"), 1, 'one attempt');
}

# ------------------------------------------------------- a wait longer than max_wait

declare('capped', options => "rate_limit '2/hour', max_wait '10 s'");
my $since = now;
$result = run_sql($node, "SELECT state FROM etl_run($DAY, 'capped')", may_fail => 1);
cmp_ok(now() - $since, '<', 5, 'a wait for the budget that is longer than max_wait fails at once');
is_failure($result, '53400', 'a wait longer than max_wait');
like($result->{err}, qr/GET .*page=3.* is rate limited until 20\d\d-.*The server's rate_limit is used up.*max_wait/s, 'the error says until when, whose limit it is, and the setting');
is(scalar(() = $api->requests('/pages/capped')), 2, 'two were sent, and no more');
is(value($node, "SELECT free || ' ' || (next_free_at > now() + interval '50 minutes') FROM etl.rate_budgets WHERE server = 'capped'"), '0 true', 'the view says when there will be more');
# another run of the server finds it used up before its first request
declare('capped_too', server => 'capped');
is_failure(run_sql($node, "SELECT state FROM etl_run($DAY, 'capped_too')", may_fail => 1), '53400', 'a run that may send nothing');
is(scalar(() = $api->requests('/pages/capped_too')), 0, 'sends nothing');
run_sql($node, "ALTER SERVER capped OPTIONS (SET rate_limit '3/hour')");
is(run_sql($node, "SELECT state, fetched FROM etl_run($DAY, 'capped')", may_fail => 1)->{out}, 'success|6', 'with a budget of one more the interval is completed');
is(scalar(() = $api->requests('/pages/capped')), 3, 'by one more request');

# A longer one is waited for.
declare('patient', options => "rate_limit '2/3 seconds', max_wait '10 s'");
is(run_sql($node, "SELECT state, fetched FROM etl_run($DAY, 'patient')", may_fail => 1)->{out}, 'success|6', 'a wait up to max_wait never fails');
@times = arrivals('/pages/patient');
cmp_ok($times[-1] - $times[0], '>', 3 - $JITTER, 'and is waited for');

# ------------------------------------------------ what successful answers say of quotas

# The second page says that nothing is left, in everybody's words: the third waits.
my %quotas = map { ("quota_$_" => { form => $_, remaining => 0, seconds => 2 }) } qw(x x_hyphen x_delta x_ms x_date ietf members structured);
$quotas{quota_left} = { form => 'x', remaining => 1, seconds => 30 };
$quotas{quota_past} = { form => 'x', remaining => 0, seconds => -30 };
foreach my $name (sort keys %quotas)
{
	declare($name, options => "retry_delay '10 ms'");
	$api->fault(match => "/pages/$name", page => 2, fault => 'quota', %{ $quotas{$name} });
}
@callers = map { session($node) } sort keys %quotas;
my @names = sort keys %quotas;
$callers[$_]->send("SELECT state, fetched FROM etl_run($DAY, '$names[$_]')") foreach 0 .. $#names;
within(8, 'a wait for the quota is seen by others', sub { activity('quota_ietf') =~ /page 3, waiting for rate limit until 20\d\d-/ });
foreach my $i (0 .. $#names)
{
	my $quota = $callers[$i]->wait(30);
	is($quota && $quota->{out}, 'success|6', "$names[$i]: the run succeeds") or diag($quota && $quota->{err});
	my @arrived = arrivals("/pages/$names[$i]");
	is(scalar @arrived, 3, "$names[$i]: nothing is asked in vain");
	my $gap = $arrived[-1] - $arrived[-2];
	if ($names[$i] =~ /left|past/) { cmp_ok($gap, '<', 1.5, "$names[$i]: there is nothing to wait for"); }
	else { cmp_ok($gap, '>', 2 - $JITTER, "$names[$i]: the next request waits"); }
}
$api->heal;

# Beyond max_wait there is no use in asking.
declare('exhausted', options => "max_wait '10 s'");
$api->fault(match => '/pages/exhausted', page => 1, fault => 'quota', seconds => 3000);
$result = run_sql($node, "SELECT state FROM etl_run($DAY, 'exhausted')", may_fail => 1);
is_failure($result, '53400', 'a quota that returns after max_wait');
like($result->{err}, qr/GET .*page=2.* is rate limited until 20\d\d-.*The source's quota is used up.*max_wait/s, 'it says until when');
is(scalar(() = $api->requests('/pages/exhausted')), 1, 'and is not asked in vain');
$api->heal;
run_sql($node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'etl worker'");
$result = run_sql($node, "SELECT state FROM etl_run($DAY, 'exhausted')", may_fail => 1);
is_failure($result, '53400', 'another process knows');
like($result->{err}, qr/The source's quota is used up.*etl\.forget_quotas/s, 'says so, and what to do');
is(scalar(() = $api->requests('/pages/exhausted')), 1, 'and asks nothing');
is(value($node, "SELECT remaining, not_before = resets_at, not_before > now() + interval '45 minutes' FROM etl.source_quotas WHERE server = 'exhausted'"), '0|t|t', 'it is seen by others');
# a quota that has a name holds for the paths that have told it
run_sql($node, "UPDATE etl.source_quota SET resource = 'search' WHERE paths = '{/pages/exhausted}'");
declare('elsewhere', server => 'exhausted');
is(run_sql($node, "SELECT state FROM etl_run($DAY, 'elsewhere')", may_fail => 1)->{out}, 'success', 'another quota is not used up');
is(value($node, "SELECT etl.forget_quotas('exhausted') > 0"), 't', 'it can be forgotten');
is(run_sql($node, "SELECT state FROM etl_run($DAY, 'exhausted')", may_fail => 1)->{out}, 'success', 'and is asked again');

# ------------------------------------------------------------------ secondary limits

declare('secondary');
$api->fault(match => '/pages/secondary', page => 2, fault => 'status_403_secondary', times => 1);
my $caller = session($node);
$caller->send("SELECT state FROM etl_run($DAY, 'secondary')");
within(10, 'a secondary limit without an end is waited for', sub { activity('secondary') =~ /page 2, waiting for rate limit until/ });
my ($until) = activity('secondary') =~ /until (\S+ \S+)/;
is(value($node, "SELECT timestamptz '$until' - now() BETWEEN interval '55 seconds' AND interval '62 seconds'"), 't', 'a minute at least');
# a wait of any length ends at once when it is cancelled
$since = now;
run_sql($node, "SELECT etl.cancel(run_id) FROM etl.runs WHERE pipeline = 'secondary'");
$result = $caller->wait(10);
is($result && $result->{state}, '57014', 'a wait can be cancelled');
cmp_ok(now() - $since, '<', 3, 'at once');
$api->heal;
is(run_sql($node, "SELECT state, fetched FROM etl_run($DAY, 'secondary')", may_fail => 1)->{out}, 'success|6', 'and goes on later');

# so can one for a budget
declare('cancelled', options => "rate_limit '1/hour', max_wait '2 hours'");
$caller = session($node);
$caller->send("SELECT state FROM etl_run($DAY, 'cancelled')");
within(10, 'a budget is waited for', sub { activity('cancelled') =~ /page 2, waiting for rate limit until/ });
is(value($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'etl worker' AND xact_start IS NOT NULL"), 0, 'with no transaction open');
run_sql($node, "SELECT etl.cancel(run_id) FROM etl.runs WHERE pipeline = 'cancelled'");
$result = $caller->wait(10);
is($result && $result->{state}, '57014', 'a wait for a budget can be cancelled');

# ------------------------------------------------------------------- access tokens

# A token endpoint of the same source counts in its budget.
$api->heal;
$api->control('POST', 'oauth', { clients => { me => 'client-secret' } });
declare('tokens', options => "rate_limit '100/hour'");
run_sql($node, "CREATE USER MAPPING FOR CURRENT_USER SERVER tokens OPTIONS (auth 'oauth2_client_credentials', token_url '$url/oauth/token', client_id 'me', client_secret 'client-secret')");
is(run_sql($node, "SELECT state, fetched FROM etl_run($DAY, 'tokens')", may_fail => 1)->{out}, 'success|6', 'an extraction with an access token');
is(used('tokens'), 4, 'three pages and a token are in the budget');
$api->reset;

# --------------------------------------------------- a role's settings change nothing

# A commit that is not waited for could be forgotten by a crash: grants are on disk.
run_sql($node, 'ALTER SYSTEM SET synchronous_commit = off; SELECT pg_reload_conf()');
declare('lazy', options => "rate_limit '1000/hour'");
$node->stop;
$node->append_conf('postgresql.conf', "wal_writer_delay = '10 s'\nsynchronous_commit = off\n");
$node->start;
$caller = session($node);
$api->latency(400);
$caller->send("SELECT state FROM etl_run($DAY, 'lazy')");
wait_until('two requests are sent', 10, sub { my $sent = () = $api->requests('/pages/lazy'); $sent >= 2 });
kill_postmaster($node);
$node->start;
my $sent = () = $api->requests('/pages/lazy');
cmp_ok(used('lazy'), '>=', $sent, 'what was granted is not forgotten by a crash, whatever synchronous_commit is');

my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|TRAP|terminated by signal (?!9)/, 'nothing crashed but what was killed');

$node->stop;
done_testing();
