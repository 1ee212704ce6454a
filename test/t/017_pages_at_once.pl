# Pages and items fetched at once: as many as the server option says, over connections that
# are kept; committed in any order and resumed at exactly what is missing; and what a source
# says about its totals, true or not.
use strict;
use warnings;

use EtlTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::Local qw(timegm);

my $api = EtlTest::Api->start;
my $node = make_node('main', preload => 1);
my $url = $api->url;

run_sql($node, <<SQL);
CREATE SERVER api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url', retry_delay '10 ms', max_attempts '2', concurrency '4');
CREATE SERVER one FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url', retry_delay '10 ms', max_attempts '2', concurrency '1');
CREATE SERVER many FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url', retry_delay '10 ms', max_attempts '2', concurrency '16');
SQL

sub records { my ($first, $last) = @_; return [ map { { id => $_, name => "record $_" } } $first .. $last ]; }

# Serves records 1 to N.  More: what the source does otherwise, see test/api/README.md.
sub serve { my ($name, $count, %more) = @_; $api->control('POST', 'datasets', { name => $name, records => records(1, $count), %more }); return; }

# Declares a pipeline of one extraction of a dataset into NAME.raw.
sub declare
{
	my ($name, $pagination, %options) = @_;
	my $server = $options{server} // 'api';
	my $path = $options{path} // "/datasets/$name";
	my $arguments = $options{arguments} // q(key => '{$.id}');

	run_sql($node, <<SQL);
SELECT etl.create_pipeline('$name', replace => true);
SELECT etl.add_extract('$name', '$name.raw', '$server', '$path', records => '\$.data[*]', pagination => '$pagination', $arguments);
SQL
	return;
}

my %numbers = (
	page_total => '{"type": "page_number", "total": "$.total"}',
	page_total_header => '{"type": "page_number", "total_header": "X-Total-Count"}',
	page_pages => '{"type": "page_number", "total_pages": "$.pages"}',
	page_pages_header => '{"type": "page_number", "total_pages_header": "x-total-pages"}',
	offset_total => '{"type": "offset", "size": 10, "total": "$.total"}',
	offset_total_header => '{"type": "offset", "size": 10, "total_header": "X-Total-Count"}',
);

# Runs a day; 'success', or the error.
sub run_day
{
	my ($name, $day) = @_;
	my $result = run_sql($node, "SELECT state FROM etl_run(date '2026-11-@{[ $day // '10' ]}', '$name')", may_fail => 1);

	return $result->{state} eq '00000' ? $result->{out} : $result->{err};
}

# How many records readers see, how many different ones, and up to which.
sub rows { my ($name) = @_; return value($node, "SELECT count(*), count(DISTINCT payload ->> 'id'), coalesce(max((payload ->> 'id')::bigint), 0) FROM $name.vr_raw"); }
sub asked { my ($path) = @_; return scalar(my @all = $api->requests($path)); }

# The targets that were answered and committed more than once.
sub repeated
{
	my ($path) = @_;
	my %times;

	$times{ $_->{target} }++ foreach grep { $_->{outcome} eq 'sent' } $api->requests($path);
	return join ' ', sort grep { $times{$_} > 1 } keys %times;
}

# --------------------------------------------------------------------- as many as allowed

foreach my $kind (sort keys %numbers)
{
	$api->reset;
	serve($kind, 95);
	declare($kind, $numbers{$kind});
	$api->latency(60);
	is(run_day($kind), 'success', "$kind: pages at once");
	$api->latency(0);
	my $stats = $api->control('GET', 'stats');
	is(rows($kind), '95|95|95', "$kind: every record once");
	is(asked("/datasets/$kind"), 10, "$kind: every page once");
	is($stats->{max_in_flight}, 4, "$kind: as many requests at once as the server option allows");
	is($stats->{connections}, 4, "$kind: over as many connections, which are kept");
	is(value($node, "SELECT count(*), max(page), bool_and(page_count = 10) FROM etl.slices WHERE pipeline = '$kind' AND page > 0"), '9|9|t', "$kind: a slice a page");
}

$api->reset;
serve('page_total', 95);
declare('page_total', $numbers{page_total}, server => 'one');
$api->latency(10);
is(run_day('page_total', '11'), 'success', 'concurrency 1');
is($api->control('GET', 'stats')->{max_in_flight}, 1, 'is one request after another');
is($api->control('GET', 'stats')->{connections}, 1, 'over one connection');
$api->reset;
serve('page_total', 95);
declare('page_total', '{"type": "page_number", "total": "$.total", "parallel": false}');
$api->latency(10);
is(run_day('page_total', '12'), 'success', '"parallel": false');
is($api->control('GET', 'stats')->{max_in_flight}, 1, 'is so, too');
is(asked('/datasets/page_total'), 10, 'and stops at the total');

# items
$api->reset;
serve("item_$_", $_ % 3 * 10 + 1) foreach 1 .. 30;
run_sql($node, 'CREATE SCHEMA items; CREATE TABLE items.names AS SELECT n, \'item_\' || n AS name FROM generate_series(1, 30) n');
declare('items', '{"type": "next_url"}', path => '/datasets/{name}', arguments => q(for_each => 'items.names'), server => 'many');
$api->latency(40);
is(run_day('items'), 'success', 'items at once');
$api->latency(0);
my $stats = $api->control('GET', 'stats');
is(value($node, 'SELECT count(*) FROM items.vr_raw'), 10 * (1 + 11 + 21), 'all records of all items');
is(value($node, "SELECT count(*) FROM items.vr_raw WHERE item ->> 'name' <> 'item_' || (item ->> 'n')"), 0, 'each with its item');
is($stats->{max_in_flight}, 16, 'as many as allowed');
is($stats->{connections}, 16, 'over connections that are kept');
is(asked('/datasets/item_*'), 10 * (1 + 2 + 3), 'each page once');

# --------------------------------------------------------------------- single pages, none

foreach my $kind (sort keys %numbers)
{
	$api->reset;
	serve($kind, 0);
	declare($kind, $numbers{$kind});
	is(run_day($kind, '13'), 'success', "$kind: an empty source");
	is(asked("/datasets/$kind"), 1, "$kind: one request finds out");
	serve($kind, 10);
	is(run_day($kind, '13'), 'success', "$kind: one full page");
	is(asked("/datasets/$kind"), 2, "$kind: one request, too");
	serve($kind, 20);
	is(run_day($kind, '13'), 'success', "$kind: two full pages");
	is(asked("/datasets/$kind"), 4, "$kind: two requests");
	is(value($node, "SELECT count(*) FROM $kind.vr_raw WHERE data_interval_start = '2026-11-13'"), 20, "$kind: all there");
}

# ----------------------------------------------------------------------- totals that move

foreach my $kind (sort keys %numbers)
{
	$api->reset;
	serve($kind, 95, later => [ { request => 6, records => records(1, 137) } ]);
	declare($kind, $numbers{$kind});
	is(run_day($kind, '14'), 'success', "$kind: the source grows meanwhile");
	is(value($node, "SELECT count(*), count(DISTINCT payload ->> 'id') FROM $kind.vr_raw WHERE data_interval_start = '2026-11-14'"), '137|137', "$kind: the new pages come too");
	$api->reset;
	serve($kind, 95, later => [ { request => 4, records => records(1, 62) } ]);
	is(run_day($kind, '15'), 'success', "$kind: the source shrinks meanwhile");
	my $left = value($node, "SELECT count(*) FROM $kind.vr_raw WHERE data_interval_start = '2026-11-15'");
	cmp_ok($left, '>=', 62, "$kind: what is left is there");
	is(value($node, "SELECT count(*) FROM $kind.vr_raw WHERE data_interval_start = '2026-11-15' AND (payload ->> 'id')::integer <= 62"), 62, "$kind: all of it, once");
}

# ------------------------------------------------------------------------- totals that lie

my @lies = (
	# kind, what is said, outcome, records
	[ page_total => { total => 1000 }, qr/^success$/, 95 ],
	[ page_pages => { pages => 40 }, qr/^success$/, 95 ],
	[ page_total => { total => 15 }, qr/^success$/, 95 ],       # more records came than that
	[ offset_total => { total => 15 }, qr/^success$/, 95 ],
	[ page_pages => { pages => 0 }, qr/^success$/, 95 ],
	[ page_total => { total => 0 }, qr/^success$/, 95 ],
	[ page_total => { total => '95' }, qr/^success$/, 95 ],
	[ page_pages => { pages => '10' }, qr/^success$/, 95 ],
	[ page_total => { total => -1 }, qr/22032:.*does not say how many records there are.*HINT:/s ],
	[ page_total => { total => 'many' }, qr/22032:.*does not say how many records there are/s ],
	[ page_total => { total => undef }, qr/22032:.*does not say how many records there are/s ],
	[ page_total => { total => 9.5 }, qr/22032:.*does not say how many records there are/s ],
	[ page_total => { total => { value => 95 } }, qr/22032:.*does not say how many records there are/s ],
	[ page_total => { total => '' }, qr/22032:.*does not say how many records there are/s ],
	[ page_total_header => { total => '12 of 95' }, qr/22032:.*does not say how many records there are/s ],
	[ page_pages => { pages => -3 }, qr/22032:.*does not say how many pages there are/s ],
	[ page_pages => { pages => 1e12 }, qr/54000:.*more than 10000 pages.*HINT:.*max_pages/s ],
	[ page_total => { total => 1e12 }, qr/54000:.*more than 10000 pages/s ],
	[ offset_total => { total => '99999999999999999999999999' }, qr/54000:.*more than 10000 pages/s ],
);
foreach my $lie (@lies)
{
	my ($kind, $said, $outcome, $count) = @$lie;
	my ($what) = map { "$kind, $_ " . ($said->{$_} // 'null') } keys %$said;

	$api->reset;
	serve($kind, 95, %$said);
	declare($kind, $numbers{$kind});
	like(run_day($kind, '16'), $outcome, $what);
	is(value($node, "SELECT count(*), count(DISTINCT payload ->> 'id') FROM $kind.vr_raw WHERE data_interval_start = '2026-11-16'"), "$count|$count", "$what: all records, once") if $count;
}

# A page shorter than the others may hide records from who asks by offset, or be the end of
# a total that is too large: who goes on where it ends finds out.
$api->reset;
declare('offset_total', $numbers{offset_total});
serve('offset_total', 95, total => 1000);
like(run_day('offset_total', '17'), qr/HV000:.*gave [05] records where the first page had 10.*HINT:.*"parallel": false/s, 'offsets beyond the end');
serve('offset_total', 95, short => { 30 => 6 });
like(run_day('offset_total', '17'), qr/HV000:.*gave 6 records where the first page had 10.*HINT:.*"parallel": false/s, 'a short page in the middle, by offset');
declare('offset_total', '{"type": "offset", "size": 10, "total": "$.total", "parallel": false}');
is(run_day('offset_total', '17'), 'success', 'one after another');
is(value($node, "SELECT count(*), count(DISTINCT payload ->> 'id') FROM offset_total.vr_raw WHERE data_interval_start = '2026-11-17'"), '95|95', 'nothing is lost and nothing there twice');
serve('offset_total', 95, total => 1000);
is(run_day('offset_total', '17'), 'success', 'and a total that is too large');
is(value($node, "SELECT count(*), count(DISTINCT payload ->> 'id') FROM offset_total.vr_raw WHERE data_interval_start = '2026-11-17'"), '95|95', 'nothing is lost and nothing there twice');

# The source caps the size that is asked for.
$api->reset;
foreach my $kind ([ offset_total => '{"type": "offset", "size": 50, "total": "$.total"}' ], [ page_total => '{"type": "page_number", "size_parameter": "per_page", "size": 50, "total": "$.total"}' ],
	[ page_pages => '{"type": "page_number", "size_parameter": "per_page", "size": 50, "total_pages": "$.pages"}' ], [ offset_total_header => '{"type": "offset", "size": 50}' ])
{
	my ($name, $pagination) = @$kind;

	serve($name, 95, max_per_page => 20);
	declare($name, $pagination);
	is(run_day($name, '18'), 'success', "$pagination: pages smaller than asked for");
	is(value($node, "SELECT count(*), count(DISTINCT payload ->> 'id') FROM $name.vr_raw WHERE data_interval_start = '2026-11-18'"), '95|95', 'all records, once');
}

# ------------------------------------------------------------------------ going in circles

foreach my $kind (sort keys %numbers)
{
	my $parameter = $kind =~ /^page/ ? 'page' : 'offset';

	$api->reset;
	serve($kind, 95, ignore => [$parameter]);
	declare($kind, $numbers{$kind});
	like(run_day($kind, '19'), qr/HV000:.*pagination goes in a circle.*HINT:/s, "$kind: the source ignores $parameter");
}

declare('page_total', '{"type": "page_number", "total": "$.total", "max_pages": 9}');
serve('page_total', 95);
like(run_day('page_total', '25'), qr/54000:.*more than 9 pages: .*says that there are 10/s, 'max_pages is known to be passed beforehand');
is(value($node, "SELECT max(requests) FROM etl.loads WHERE pipeline = 'page_total' AND data_interval_start = '2026-11-25'"), 0, 'and nothing is fetched in vain');
declare('page_total', '{"type": "page_number", "total": "$.total", "max_pages": 10}');
is(run_day('page_total', '19'), 'success', 'as many as allowed');
declare('page_total', '{"type": "page_number", "max_pages": 9}');
like(run_day('page_total', '20'), qr/54000:.*more than 9 pages/s, 'max_pages where it is not known');

# --------------------------------------------------------------- resuming what is missing

# A page in the middle fails; the next run asks for what is not committed.
foreach my $kind (qw(page_total offset_total))
{
	$api->reset;
	serve($kind, 395);
	declare($kind, $numbers{$kind});
	$api->fault(match => "/datasets/$kind?" . ($kind =~ /^page/ ? 'page=20' : 'offset=190'), fault => 'status_500');
	$api->latency(5);
	like(run_day($kind, '21'), qr/failed with status 500 after 2 attempts/, "$kind: a page in the middle fails");
	my $committed = value($node, "SELECT count(*) FROM etl.slices JOIN etl.loads USING (load_id) WHERE etl.slices.pipeline = '$kind' AND data_interval_start = '2026-11-21'");
	cmp_ok($committed, '>=', 19, "$kind: what came before it is committed");
	my %committed = map { $_ => 1 } split /\n/, value($node, "SELECT regexp_replace(request, '^GET http://[^/]*', '') FROM etl.slices JOIN etl.loads USING (load_id) WHERE etl.slices.pipeline = '$kind' AND data_interval_start = '2026-11-21'");
	my $before = asked("/datasets/$kind");
	$api->heal;
	is(run_day($kind, '21'), 'success', "$kind: once it is well");
	my @again = map { $_->{target} } ($api->requests("/datasets/$kind"))[ $before .. asked("/datasets/$kind") - 1 ];
	is(scalar(@again), 40 - $committed, "$kind: as many requests as pages were missing");
	is(join(' ', grep { $committed{$_} } @again), '', "$kind: none for a page that was committed");
	is(value($node, "SELECT count(*), count(DISTINCT payload ->> 'id') FROM $kind.vr_raw WHERE data_interval_start = '2026-11-21'"), '395|395', "$kind: nothing lost, nothing twice");
}

# kill -9 and cancel in the middle
run_sql($node, "INSERT INTO items.names SELECT n, 'item_' || n FROM generate_series(31, 60) n");
foreach my $what ([ page_total => 'kill' ], [ page_total => 'cancel' ], [ offset_total => 'kill' ], [ items => 'kill' ], [ items => 'cancel' ])
{
	my ($kind, $how) = @$what;
	my $day = $how eq 'kill' ? '22' : '23';
	my $path = $kind eq 'items' ? '/datasets/item_*' : "/datasets/$kind";
	my $expected = $kind eq 'items' ? 20 * (1 + 11 + 21) : 395;

	$api->reset;
	serve("item_$_", $_ % 3 * 10 + 1) foreach 1 .. 60;
	serve($kind, 395);
	declare($kind, $numbers{$kind}) if $kind ne 'items';
	run_sql($node, "SELECT etl.alter_pipeline('$kind', retries => 0)");
	$api->latency(30);
	my $caller = session($node, name => 'caller');
	$caller->send("SELECT state FROM etl_run(date '2026-11-$day', '$kind')");
	my $slices = "SELECT count(*) FROM etl.slices s JOIN etl.loads l USING (load_id) WHERE l.pipeline = '$kind' AND l.data_interval_start = '2026-11-$day'";
	wait_until('some pages are committed', 20, sub { return value($node, $slices) >= 8 });
	my $run = value($node, "SELECT max(run_id) FROM etl.runs WHERE pipeline = '$kind'");
	if ($how eq 'kill')
	{
		my $worker = busy_worker($node, $run);
		kill 'KILL', $worker or BAIL_OUT("no worker $worker");
		is($caller->wait(30)->{state}, '08006', "$kind: kill -9 in the middle");
		wait_until('the server is back', 30, sub { return run_sql($node, 'SELECT 1', may_fail => 1)->{state} eq '00000' });
	}
	else
	{
		value($node, "SELECT etl.cancel($run)");
		is($caller->wait(5)->{state}, '57014', "$kind: cancel in the middle");
	}
	wait_until('nothing is in flight', 10, sub { return !$api->in_flight($path) });
	my %committed = map { $_ => 1 } split /\n/, value($node, "SELECT regexp_replace(s.request, '^GET http://[^/]*', '') FROM etl.slices s JOIN etl.loads l USING (load_id) WHERE l.pipeline = '$kind' AND l.data_interval_start = '2026-11-$day'");
	my $before = asked($path);
	cmp_ok(scalar(keys %committed), '<', $kind eq 'items' ? 120 : 40, "$kind, $how: it was the middle");
	$api->latency(0);
	is(run_day($kind, $day), 'success', "$kind, $how: the next run");
	my @again = map { $_->{target} } ($api->requests($path))[ $before .. asked($path) - 1 ];
	is(join(' ', grep { $committed{$_} } @again), '', "$kind, $how: asks for no page that was committed");
	is(scalar(@again), ($kind eq 'items' ? 120 : 40) - keys %committed, "$kind, $how: and once for each that was not");
	is(value($node, "SELECT count(*), count(DISTINCT (item, payload ->> 'id')) FROM $kind.vr_raw WHERE data_interval_start = '2026-11-$day'"), "$expected|$expected", "$kind, $how: nothing lost, nothing twice");
}

# A resumed load goes on behind its planned pages as well.
$api->reset;
serve('page_total', 95, later => [ { request => 10, records => records(1, 137) } ]);
$api->fault(match => '/datasets/page_total', page => 10, fault => 'status_500', times => 2);
declare('page_total', $numbers{page_total});
like(run_day('page_total', '24'), qr/status 500/, 'the last page fails');
is(run_day('page_total', '24'), 'success', 'meanwhile there are more');
is(value($node, "SELECT count(*), count(DISTINCT payload ->> 'id') FROM page_total.vr_raw WHERE data_interval_start = '2026-11-24'"), '137|137', 'which come, too');

# ------------------------------------------------------------- one limit for all of them

# What one answer says about a limit holds the others back as well: those under way are
# answered, no other is sent before the time.
sub at { my ($entry) = @_; my @t = $entry->{time} =~ /^(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+\.\d+)/; return timegm(int $t[5], @t[4, 3, 2], $t[1] - 1, $t[0]) + $t[5] - int $t[5]; }
run_sql($node, "CREATE SERVER patient FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url', retry_delay '10 ms', concurrency '4', max_wait '5 s')");
foreach my $fault ([ status_429_retry_after => seconds => 2 ], [ status_503_retry_after => seconds => 2 ], [ status_403_rate_limited => seconds => 2 ])
{
	my ($what, %parameters) = @$fault;

	$api->reset;
	serve('page_total', 395);
	$api->fault(match => '/datasets/page_total', page => 15, fault => $what, times => 1, %parameters);
	declare('page_total', $numbers{page_total}, server => 'patient');
	$api->latency(20);
	my $caller = session($node, name => 'caller');
	$caller->send("SELECT state FROM etl_run(date '2026-11-26', 'page_total')");
	if ($what =~ /429|403/)
	{
		wait_until("$what: the wait is seen", 10, sub { return value($node, "SELECT count(*) FROM etl.progress WHERE activity LIKE '%waiting for rate limit until%'") });
	}
	is($caller->wait(30)->{out}, 'success', "$what: the run succeeds");
	my @requests = $api->requests('/datasets/page_total');
	my ($limited) = grep { $_->{status} =~ /^(?:429|503|403)$/ } @requests;
	my $answered = at($limited) + $limited->{ms} / 1000;
	my @early = grep { at($_) > $answered + 0.1 && at($_) < $answered + 1 } @requests;
	is(scalar(@early), 0, "$what: nothing is sent meanwhile") or diag(join ' ', map { sprintf('%.3f', at($_) - $answered) } @requests);
	is(scalar(@requests), 41, "$what: nothing but the limited page is asked for twice");
	is(value($node, "SELECT count(*), count(DISTINCT payload ->> 'id') FROM page_total.vr_raw WHERE data_interval_start = '2026-11-26'"), '395|395', "$what: all is there, once");
}
# a wait that is too long for one is too long for all
$api->reset;
serve('page_total', 395);
$api->fault(match => '/datasets/page_total', page => 15, fault => 'status_429_retry_after', seconds => 60);
$api->latency(20);
like(run_day('page_total', '27'), qr/53400:.*is rate limited until.*HINT:.*max_wait/s, 'a limit beyond max_wait fails the run');
cmp_ok(asked('/datasets/page_total'), '<', 24, 'at once');
$api->heal;
is(run_day('page_total', '27'), 'success', 'afterwards it goes on');
is(value($node, "SELECT count(*), count(DISTINCT payload ->> 'id') FROM page_total.vr_raw WHERE data_interval_start = '2026-11-27'"), '395|395', 'to the end');

# ----------------------------------------------------------------------- very many pages

# 100,000 pages are planned; nothing but their numbers is held.
$api->reset;
serve('plan', 95, pages => 100_000);
declare('plan', '{"type": "page_number", "total_pages": "$.pages", "max_pages": 200000}', server => 'many');
my $caller = session($node, name => 'caller');
$caller->send("SELECT state FROM etl_run(date '2026-11-10', 'plan')");
wait_until('pages are planned', 20, sub { return value($node, "SELECT count(*) FROM etl.slices WHERE pipeline = 'plan' AND page_count = 100000") > 100 });
my $run = value($node, "SELECT max(run_id) FROM etl.runs WHERE pipeline = 'plan'");
my $worker = busy_worker($node, $run);
my ($resident) = slurp_file("/proc/$worker/status") =~ /^RssAnon:\s+(\d+) kB/m;
cmp_ok($resident, '<', $ENV{ETL_SANITIZED} ? 1_000_000 : 40_000, '100,000 planned pages need little memory');
value($node, "SELECT etl.cancel($run)");
is($caller->wait(5)->{state}, '57014', 'and a cancel is heard among them');
my $done = value($node, "SELECT count(*) FROM etl.slices WHERE pipeline = 'plan'");
my $asked_before = asked('/datasets/plan');
$caller->send("SELECT state FROM etl_run(date '2026-11-10', 'plan')");
within(20, 'the next run goes on among them', sub { return value($node, "SELECT count(*) FROM etl.slices WHERE pipeline = 'plan'") > $done + 50 });
is(join(' ', grep { $_ && $_ <= 100 } map { $_->{page} } ($api->requests('/datasets/plan'))[ $asked_before .. asked('/datasets/plan') - 1 ]), '', 'without asking again for what it has');
value($node, "SELECT etl.cancel(max(run_id)) FROM etl.runs WHERE pipeline = 'plan'");
$caller->wait(10);

$node->stop;
done_testing();
