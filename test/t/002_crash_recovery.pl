# kill -9 at random moments of a run of 50 pages: of a worker, of the coordinator, of the
# whole server.  The next run of the interval goes on at the first page that is not
# committed, and at no time does a reader see part of an interval.
#
# The moments are random; SEED=… repeats them, as far as scheduling allows.
use strict;
use warnings;

use EtlTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use Time::Local qw(timegm);

my $KILLS = 100;
my $PAGES = 50;
my $PER_PAGE = 20;
my $ROWS = $PAGES * $PER_PAGE;
# What one page takes at the server; a run lasts about a second.
my $LATENCY_MS = 10;
# The longest time a run is left alone: short of a whole run, so that most are hit.
my $LONGEST_DELAY = 0.8;

my $seed = srand($ENV{SEED} || time);
diag("SEED=$seed");

my $api = EtlTest::Api->start('--latency-ms', $LATENCY_MS);
my $node = make_node('main', preload => 1);
run_sql($node, declare_pages(api => $api, pages => $PAGES, per_page => $PER_PAGE));
# kills are no crashes of a task that nobody should try again
run_sql($node, q{SELECT etl.alter_pipeline('pages', max_crashes => 100)});

# An interval a day; one is run until it succeeds, then it is the next one's turn.
sub day_of
{
	my ($number) = @_;
	my @time = gmtime(timegm(0, 0, 0, 1, 0, 126) + 86400 * $number);

	return sprintf('%d-%02d-%02d', $time[5] + 1900, $time[4] + 1, $time[3]);
}

# Waits until the server takes connections again.
sub wait_for_server
{
	wait_until('the server is back', 30,
		sub { return run_sql($node, 'SELECT 1', may_fail => 1)->{state} eq '00000' });
}

# The whole server; what supervises it starts it again.
sub lose_server
{
	my ($how) = @_;

	if ($how eq 'postmaster')
	{
		kill_postmaster($node);
	}
	else
	{
		$node->stop('immediate');
	}
	$node->start;
}

my $CHECKPOINTER = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'";

# Kills a process of the run under way; returns what it was, or undef when there was none.
sub strike
{
	my $victim = (qw(worker worker worker coordinator coordinator postmaster immediate))[ int rand 7 ];

	if ($victim eq 'postmaster' || $victim eq 'immediate')
	{
		lose_server($victim);
		return $victim;
	}
	my ($pid) = activity_pids($node, "etl $victim");
	return undef unless defined $pid;
	my $checkpointer = value($node, $CHECKPOINTER);
	return undef unless kill 'KILL', $pid;
	# the whole server restarts; not when the process had just ended by itself
	return poll(5, sub {
		my $result = run_sql($node, $CHECKPOINTER, may_fail => 1);
		return $result->{state} eq '00000' && $result->{out} ne '' && $result->{out} != $checkpointer;
	}) ? $victim : undef;
}

# Days that readers see some rows of, but not all, or some twice.
my $HALF_VISIBLE = <<SQL;
SELECT 'raw', day, count(*), count(DISTINCT payload ->> 'id')
FROM (SELECT payload, (data_interval_start AT TIME ZONE 'UTC')::date AS day FROM pages_raw.vr_items) r
GROUP BY day HAVING (count(*), count(DISTINCT payload ->> 'id')) <> ($ROWS, $ROWS)
UNION ALL
SELECT 'target', day, count(*), count(DISTINCT value) FROM pages_stg.items
GROUP BY day HAVING (count(*), count(DISTINCT value)) <> ($ROWS, $ROWS)
SQL

my %struck;
my @half_visible;
my @refused;
my @failed;
my $days = 0;
my $kills = 0;
my $began = now();

# One call of etl_run; with "to_be_hit", something is killed on the way.  Returns whether
# the interval is done: a kill between the publication and the end of the call leaves the
# caller without an answer, but nothing to be done again.
sub run_once
{
	my ($to_be_hit) = @_;
	my $day = day_of($days);
	my $caller = session($node, name => 'caller');
	my $result;

	$caller->send("SELECT state FROM etl_run(date '$day', 'pages')");
	if ($to_be_hit)
	{
		# a worker is at it, or the call has ended already
		wait_until('the run begins', 20, sub {
			return 1 if $result = $caller->wait(0);
			return activity_pids($node, 'etl worker') > 0;
		});
		if (!$result)
		{
			sleep rand $LONGEST_DELAY;
			if (my $victim = strike())
			{
				$struck{$victim}++;
				$kills++;
			}
		}
	}
	$result //= $caller->wait(30) // BAIL_OUT("the run of $day hangs");
	$caller->close;
	wait_for_server();
	push @half_visible, map { "after kill $kills: $_" } split /\n/, value($node, $HALF_VISIBLE);
	return 1 if $result->{out} eq 'success'
	  || value($node, "SELECT count(*) FROM etl.loads WHERE state = 'published' AND data_interval_start = '$day'");
	push @refused, $result->{err} if $result->{state} eq '55006';
	push @failed, $result->{err} if $result->{state} !~ /^(55006|57P0[123]|08|00000)/;
	return 0;
}

while ($kills < $KILLS)
{
	$days++ if run_once(1);
	if (now() - $began > 200)
	{
		diag("only $kills kills in 200 s");
		last;
	}
}
# The interval that was under way at the last kill comes to its end as well.
my $attempts_left = 5;
while ($attempts_left-- > 0)
{
	next unless run_once(0);
	$days++;
	last;
}
diag(sprintf('%d kills (%s), %d intervals, %d s', $kills,
	join(', ', map { "$_ $struck{$_}" } sort keys %struck), $days, now() - $began));

cmp_ok($kills, '>=', $KILLS, "$KILLS kills");
cmp_ok($attempts_left, '>=', 0, 'in the end every interval succeeds');
is_deeply([ @half_visible[ 0 .. ($#half_visible > 4 ? 4 : $#half_visible) ] ], [],
	'at no time is an interval visible in part');
is(scalar @refused, 0, 'an interval whose run was lost in a crash can be run again at once')
  or diag("first of " . @refused . ": $refused[0]");
is(scalar @failed, 0, 'runs fail for nothing but the kills') or diag("first of " . @failed . ": $failed[0]");

is(value($node, 'SELECT count(DISTINCT day), count(*), count(DISTINCT (day, item_id)) FROM pages_stg.items'),
	join('|', $days, $days * $ROWS, $days * $ROWS), 'no row is lost or double in the target');
is(value($node, "SELECT count(*), count(DISTINCT payload ->> 'value') FROM pages_raw.vr_items"),
	join('|', $days * $ROWS, $days * $ROWS), 'nor in the raw layer');
is(value($node, "SELECT count(*) FROM pages_stg.items i
	WHERE NOT EXISTS (SELECT FROM pages_raw.vr_items r WHERE r.payload ->> 'value' = i.value
		AND r.payload ->> 'id' = i.item_id::text AND i.value LIKE 'pages-' || i.day || '-%')"),
	0, 'every row is what the source gave for its interval');
is(value($node, "SELECT count(*) FROM etl.loads WHERE state IN ('loading', 'complete', 'abandoned', 'superseded')"),
	0, 'no load was begun twice or left unfinished');
is(value($node, "SELECT count(*) FROM (SELECT load_id FROM etl.slices GROUP BY load_id
	HAVING (count(*), count(DISTINCT request), min(slice), max(slice), sum(fetched)) <> ($PAGES, $PAGES, 0, $PAGES - 1, $ROWS)) s"),
	0, "every load has its $PAGES pages, each once");
is(value($node, "SELECT count(*) FROM etl.loads WHERE (fetched, loaded, quarantined, requests) <> ($ROWS, $ROWS, 0, $PAGES)"),
	0, 'and its counts add up');
is(active_runs($node), 0, 'no run is left active');
is(value($node, "SELECT count(*) FROM etl.task_runs t JOIN etl.runs r USING (run_id)
	WHERE r.state NOT IN ('queued', 'running') AND t.state IN ('queued', 'running', 'up_for_retry')"),
	0, 'no task of a run that has ended is left active');

# What the source saw.  A page is committed with its slice: from then on nobody asks again.
my %committed;
foreach my $row (split /\n/, value($node, 'SELECT request, extract(epoch FROM committed_at) FROM etl.slices'))
{
	my ($request, $time) = split /\|/, $row;
	my ($day, $page) = page_of($request);
	$committed{$day}{$page} = $time;
}
my (%requests, @again);
foreach my $entry ($api->requests('/pages/*'))
{
	my ($day, $page) = page_of($entry->{target});
	my $time = epoch($entry->{time});
	$requests{$day}{$page}++;
	push @again, "$entry->{target} at $entry->{time}, committed at $committed{$day}{$page}"
	  if defined $committed{$day}{$page} && $time > $committed{$day}{$page};
}
is(scalar @again, 0, 'no page that was committed is fetched again') or diag("first of " . @again . ": $again[0]");

my ($total, $missing) = (0, 0);
foreach my $number (0 .. $days - 1)
{
	foreach my $page (1 .. $PAGES)
	{
		my $count = $requests{ day_of($number) }{$page} // 0;
		$total += $count;
		$missing++ if $count == 0;
	}
}
is($missing, 0, 'every page was fetched');
cmp_ok($total, '<=', $days * $PAGES + $kills, 'each kill cost at most one request')
  or diag("$total requests for " . $days * $PAGES . " pages and $kills kills");

sub page_of
{
	my ($request) = @_;
	my ($day) = $request =~ m{/pages/pages-([0-9-]+)};
	my ($page) = $request =~ /[?&]page=(\d+)/;

	return ($day, $page // 1);
}

sub epoch
{
	my ($text) = @_;
	my ($year, $month, $day, $hour, $minute, $second) = $text =~ /^(\d+)-(\d+)-(\d+)T(\d+):(\d+):([\d.]+)/;

	return timegm(0, $minute, $hour, $day, $month - 1, $year) + $second;
}

$node->stop('fast');
cmp_ok(now() - $began, '<', 240, 'all of it took less than four minutes');
done_testing();
