# Extractions of many kinds at once, from a source that breaks every kind of answer, stopped
# again and again at any moment in every way there is: in the end everything is there once.
# Run with sanitizers (scripts/test.sh --sanitize) it is what finds memory that is used after
# the requests it belongs to.
use strict;
use warnings;

use EtlTest;
use Test::More;
use Time::HiRes qw(sleep);

my $DAY = '2026-11-19';
my $PAGES = 12;
my $PER_PAGE = 5;
my $ITEMS = 3;
# How often the run is stopped, and how long it goes on at most before that, seconds.
my $STOPS = 18;
my $ROUNDS = 4 * $STOPS;
my $longest = 0.6;		# seconds until a stop; shorter where runs take less

# The same order of stops in every run of this test.
srand 20261121;

my $api = EtlTest::Api->start;
my $node = make_node('main', preload => 1);
my $url = $api->url;

# name => what is asked for, how often: pages of one item, or of three
my %TASKS = (
	linked => [ 1, q(query => '{"style": "array", %s}', pagination => '{"type": "link_header"}') ],
	numbered => [ 1, q(query => '{"style": "bare", %s}', pagination => '{"type": "page_number", "size_parameter": "per_page", "size": 5}') ],
	by_offset => [ 1, q(query => '{%s}', records => '$.data[*]', pagination => '{"type": "offset", "size_parameter": "limit", "size": 5}') ],
	by_cursor => [ 3, q(query => '{"style": "cursor", "item": "{item}", %s}', records => '$.data[*]', for_each => 'i.items',
		pagination => '{"type": "cursor", "cursor": "$.next_cursor", "parameter": "cursor"}') ],
	by_url => [ 3, q(query => '{"item": "{item}", %s}', records => '$.data[*]', for_each => 'i.items', pagination => '{"type": "next_url", "url": "$.next"}') ],
	guessed => [ 1, q(query => '{"style": "array", %s}', pagination => '{"type": "auto"}') ],
	posted => [ 3, q(method => 'POST', body => '{"any": "{item}"}', query => '{"style": "array", "item": "{item}", %s}', for_each => 'i.items', pagination => '{"type": "link_header"}') ],
	checked => [ 1, q(query => '{"style": "array", %s}', pagination => '{"type": "link_header"}',
		record_schema => '{"type": "object", "properties": {"id": {"type": "integer", "not": {"multipleOf": 7}}}, "required": ["id"]}') ],
);

run_sql($node, <<SQL);
CREATE SERVER api FOREIGN DATA WRAPPER etl_http
	OPTIONS (base_url '$url', retry_delay '2 ms', max_retry_delay '20 ms', max_attempts '40', timeout '2 s', connect_timeout '2 s', concurrency '6');
CREATE SCHEMA i;
CREATE VIEW i.items AS SELECT n AS item FROM generate_series(1, $ITEMS) n;
SELECT etl.create_pipeline('i', retries => 0);
SQL
foreach my $name (sort keys %TASKS)
{
	my $options = sprintf $TASKS{$name}[1], qq("pages": $PAGES, "per_page": $PER_PAGE);
	run_sql($node, "SELECT etl.add_extract('i', 'i.$name', 'api', path => '/pages/$name', key => '{\$.id}', $options)");
}

# Some answers break, all of which may be well when asked for again.
my @FAULTS = (
	{ fault => 'reset' }, { fault => 'reset_before_answer' }, { fault => 'close_mid_head' }, { fault => 'close_mid_body' },
	{ fault => 'close_mid_body', chunked => 1 }, { fault => 'status_500' }, { fault => 'status_502_html' }, { fault => 'truncated_json' },
	{ fault => 'truncated_gzip' }, { fault => 'corrupt_gzip' }, { fault => 'wrong_content_length' }, { fault => 'bad_chunk' },
	{ fault => 'garbage' }, { fault => 'redirect', hops => 2 }, { fault => 'chunked', size => 7 }, { fault => 'no_content_length' },
	{ fault => 'delay', ms => 150 }, { fault => 'slow_bytes', bytes_per_second => 2000 }, { fault => 'status_429' }, { fault => 'bom' },
);

sub break_answers
{
	$api->heal;
	foreach my $n (1 .. 8)
	{
		my %fault = %{ $FAULTS[ int(rand @FAULTS) ] };
		my $task = (sort keys %TASKS)[ int(rand keys %TASKS) ];

		$api->fault(match => "/pages/$task", page => 1 + int(rand $PAGES), times => 2, skip => int(rand 2), %fault);
	}
	return;
}

# Ways to stop a run: what is done to whom.  It may have ended a moment before.
sub try_sql { my ($sql) = @_; run_sql($node, $sql, may_fail => 1); return; }

my @STOPS = (
	sub { my ($caller) = @_; try_sql('SELECT pg_cancel_backend(' . $caller->backend_pid . ')') },
	sub { my ($caller) = @_; $caller->kill_client },
	sub { try_sql("SELECT etl.cancel(run_id) FROM etl.runs WHERE state IN ('queued', 'running')") },
	sub { try_sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'etl worker'") },
	sub { try_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'etl worker'") },
	sub { try_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'etl %'") },
);

my $call = "SELECT state FROM etl_run(date '$DAY', 'i')";
my $stopped = 0;
for (my $n = 0; $n < $STOPS || $stopped < $STOPS / 2 && $n < $ROUNDS; $n++)
{
	my $caller = session($node, name => 'caller');

	# one lost worker ends a run, and earlier ones do not count
	run_sql($node, "SELECT etl.alter_pipeline('i', max_crashes => 1)");
	break_answers();
	$caller->backend_pid;
	$caller->send($call);
	sleep rand $longest;
	$STOPS[ $n % @STOPS ]->($caller);
	my $result = $caller->wait(20);
	ok($result || $n % @STOPS == 1, "stop $n takes effect") or diag(value($node, 'SELECT * FROM etl.progress'));
	if ($result && $result->{state} eq '00000')
	{
		# it came too late: this machine is faster than that
		$longest = 0.8 * $longest if $longest > 0.1;
	}
	else
	{
		$stopped++;
	}
	$caller->close;
	wait_until('nothing of the run is left', 20, sub { return value($node, "SELECT count(*) FROM etl.runs WHERE state IN ('queued', 'running')") == 0 });
}
cmp_ok($stopped, '>=', $STOPS / 2, 'most runs were stopped before their end');

# Well again, the run goes on where it was.
$api->heal;
run_sql($node, "SELECT etl.alter_pipeline('i')");
my $result = run_sql($node, $call, may_fail => 1, seconds => 120);
is($result->{state}, '00000', 'the last run gets to its end') or diag($result->{err});
foreach my $name (sort keys %TASKS)
{
	my ($items) = @{ $TASKS{$name} };
	my $rejected = $name eq 'checked' ? int($PAGES * $PER_PAGE / 7) : 0;
	my $expected = $PAGES * $PER_PAGE * $items - $rejected;

	is(value($node, "SELECT count(*), count(DISTINCT (item, payload -> 'id')) FROM i.vr_$name"), "$expected|$expected", "$name: every record is there, once");
	is(value($node, "SELECT count(*) FROM etl.quarantine WHERE task = 'i.$name' AND load_state = 'published'"), $rejected, "$name: what is not valid is in quarantine");
}
is(value($node, "SELECT count(*) FROM etl.loads WHERE state = 'published' AND fetched <> loaded + quarantined"), 0, 'and everything is counted');

# What ended of itself or was terminated did not crash.
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/terminated by signal|PANIC|TRAP:|AddressSanitizer|runtime error:/, 'nothing crashed');
$node->stop;
done_testing();
