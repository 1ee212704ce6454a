# A worker's memory stays flat, however many requests it makes: pages by link, number and
# cursor, answers that are repeated, not modified, rejected, and that are no JSON; run after
# run in one process, which is what a worker is while there is work.
#
# ETL_MEMORY_REQUESTS says how many (default 10,000).  A day of one request a second is
# 100,000:
#
#   ETL_MEMORY_REQUESTS=100000 scripts/test.sh --only tap --tap 041_worker_memory
#
# which takes about a minute.  With PostgreSQL 15 on two cores, 1,700 requests a second: 15,304 kB
# after 9,109 of them, 15,368 kB after 102,052.
use strict;
use warnings;

use EtlTest;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => "a sanitizer keeps freed memory" if $ENV{ETL_SANITIZED};

my $REQUESTS = $ENV{ETL_MEMORY_REQUESTS} || 10_000;

# What a worker may gain after its first tenth of the requests, in which its caches fill.
my $MAX_GROWTH_KB = 2048;
# Small runs at first, in which caches and plans come to be.  Runs of a twentieth tell what a run
# leaves behind; the last one, of a fifth, what a page does.
my $WARM_UP = 6;
my @RUNS = ((map { int($REQUESTS / 100) } 1 .. $WARM_UP), (map { int($REQUESTS / 20) } 1 .. 15), int($REQUESTS / 5));
my $ITEMS = 5;

# The scripted API would cost more per request than what is tested.
sub start_server
{
	my $script = $ENV{ETL_TEST_API_SERVER} =~ s{api/server\.py$}{memory/server.py}r;
	my $port_file = "$PostgreSQL::Test::Utils::tmp_check/tiny.port";
	my $pid = fork // die "fork: $!";

	if ($pid == 0)
	{
		open(STDOUT, '>', "$PostgreSQL::Test::Utils::tmp_check/tiny.out");
		open(STDERR, '>&', \*STDOUT);
		{
			exec('python3', $script, $port_file);
		}
		POSIX::_exit(127);
	}
	wait_until('the server is up', 30, sub { return -s $port_file });
	return ($pid, slurp_file($port_file) + 0);
}

my ($server, $port) = start_server();
my $node = make_node('main', preload => 1, conf => <<CONF);
etl.max_workers = 1
etl.worker_linger = '60s'
CONF

run_sql($node, <<SQL);
CREATE SERVER tiny FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://127.0.0.1:$port', retry_delay '1 ms', max_retry_delay '2 ms');
CREATE SCHEMA m;
CREATE TABLE m.plan (pages integer);
INSERT INTO m.plan VALUES (1);
CREATE VIEW m.names AS SELECT 'n' || i AS name, pages / 4 / $ITEMS AS pages FROM m.plan, generate_series(1, $ITEMS) i;
CREATE VIEW m.fresh AS SELECT pages / 2 AS pages FROM m.plan;
SELECT etl.create_pipeline('m');
SELECT etl.add_extract('m', 'm.linked', 'tiny', path => '/linked/{name}', for_each => 'm.names', query => '{"pages": "{pages}"}',
	pagination => '{"type": "link_header", "max_pages": 1000000}', key => '{\$.id}', record_schema => '{"type": "object", "properties": {"value": {"type": "string"}}}');
SELECT etl.add_extract('m', 'm.cursor', 'tiny', path => '/cursor/{name}', for_each => 'm.names', query => '{"pages": "{pages}"}',
	records => '\$.data[*]', pagination => '{"type": "cursor", "cursor": "\$.next", "parameter": "after", "max_pages": 1000000}', key => '{\$.id}');
SELECT etl.add_extract('m', 'm.numbered', 'tiny', path => '/numbered/fresh', for_each => 'm.fresh', query => '{"pages": "{pages}"}',
	pagination => '{"type": "page_number", "total_pages_header": "X-Total-Pages", "max_pages": 1000000}', key => '{\$.id}');
SQL

# ------------------------------------------------------------------------ what it takes

# Memory that belongs to the process alone, kB.  Not what it has seen of shared buffers.
sub own_memory
{
	my ($pid) = @_;
	my ($kb) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m;

	return $kb;
}

# What is in use in the worker's memory contexts, kB, by its own account in the log.  Some
# of it comes late: a plan for any parameters is made when a statement is used the sixth time.
sub context_memory
{
	my ($pid) = @_;
	my $before = -s $node->logfile;
	my $used;

	value($node, "SELECT pg_log_backend_memory_contexts($pid)");
	wait_until('the worker tells what its memory contexts hold', 30, sub {
		my ($bytes) = slurp_file($node->logfile, $before) =~ /\[$pid\].*Grand total: .*; (\d+) used/;
		$used = $bytes / 1024 if defined $bytes;
		return defined $used;
	});
	return $used;
}

# --------------------------------------------------------------------------- the loop

my @samples;    # requests, kB
my @used;       # kB in memory contexts after each run
my $worker;

# Requests so far, and the worker's memory.  It may end before the caller knows.
sub sample
{
	my ($pid) = activity_pids($node, 'etl worker');

	return unless $pid;
	$worker //= $pid;
	BAIL_OUT("worker $pid took over from worker $worker") if $pid != $worker;
	push @samples, [ value($node, 'SELECT coalesce(sum(attempts), 0) FROM etl.slice'), own_memory($pid) ];
	return;
}

my $began = now;
foreach my $run (0 .. $#RUNS)
{
	# every date twice: the second time it replaces what is there
	my $day = int($run / 2);
	my $caller = session($node, name => 'caller');
	my $result;

	run_sql($node, "UPDATE m.plan SET pages = $RUNS[$run]");
	$caller->send("SELECT state FROM etl_run(date '2024-01-01' + $day, 'm')");
	until ($result = $caller->wait(0.5))
	{
		sample();
		BAIL_OUT('this takes too long') if now() - $began > 800;
	}
	$caller->close;
	BAIL_OUT($result->{err}) if $result->{state} ne '00000';
	sample();
	push @used, context_memory($worker);
}
my $made = $samples[-1][0];
my $seconds = now() - $began;
note sprintf '%d requests in %.0f s, %.0f a second', $made, $seconds, $made / $seconds;
cmp_ok($made, '>', $REQUESTS * 0.95, 'so many requests were made');

my @later = grep { $_->[0] > $made / 10 } @samples;
my $step = int(@samples / 20) || 1;
foreach my $i (0 .. $#samples)
{
	note sprintf '%7d requests: %6d kB', @{ $samples[$i] } if $i % $step == 0 || $i == $#samples;
}
note 'in use in memory contexts after each run, kB: ' . join ' ', map { int } @used;
my ($least, $most) = (sort { $a <=> $b } map { $_->[1] } @later)[ 0, -1 ];
cmp_ok(@later, '>=', 5, 'there are samples to compare');
cmp_ok($most - $least, '<', $MAX_GROWTH_KB, 'the memory of the worker is flat, within runs and from run to run');
cmp_ok($used[-1] - $used[$WARM_UP], '<', $MAX_GROWTH_KB / 4, 'and so is what is in use in its memory contexts');

# What has been done for it was not nothing.
is(value($node, "SELECT count(*) > 0 FROM etl.slices WHERE status = 304"), 't', 'some pages were not modified');
is(value($node, "SELECT count(*) > 0 FROM etl.slices WHERE attempts > 1"), 't', 'some were asked for again');
is(value($node, "SELECT count(*) > 0 FROM etl.quarantine"), 't', 'some records were rejected');
is(value($node, "SELECT bool_and(fetched = loaded + quarantined) FROM etl.loads WHERE state = 'published'"), 't', 'and everything is counted');

$node->stop;
kill 'TERM', $server;
waitpid $server, 0;
done_testing();
