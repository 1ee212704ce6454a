# for_each: items that fail alone and items that fail all; items that this very run has just
# fetched, as far as a kill in the middle; many of them.
use strict;
use warnings;

use EtlTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $api = EtlTest::Api->start;
my $node = make_node('main', preload => 1);
my $url = $api->url;
my $json = JSON::PP->new->canonical;

run_sql($node, <<SQL);
CREATE SERVER api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url', retry_delay '10 ms', max_attempts '2', timeout '2 s', max_wait '2 s', concurrency '4');
CREATE SCHEMA shops;
CREATE TABLE shops.names (name text);
SQL

sub serve { my ($name, $count, $from) = @_; $from //= 1; $api->control('POST', 'datasets', { name => $name, records => [ map { { id => "$name-$_", n => $_ } } $from .. $from + $count - 1 ] }); return; }
sub script { my ($path, @answers) = @_; $api->control('PUT', 'routes', { path => $path, responses => [ map { ref $_ eq 'HASH' && exists $_->{body} ? $_ : { body => ref $_ ? $json->encode($_) : $_ } } @answers ] }); return; }

# Declares a pipeline over these items; each is a dataset of its own.
sub declare
{
	my ($name, $items, $arguments, %options) = @_;
	my $values = join ', ', map { "('$_')" } @$items;
	my $retries = $options{retries} // 0;
	my $key = $options{key} // 'key => \'{$.id}\',';

	run_sql($node, <<SQL);
SELECT etl.create_pipeline('$name', replace => true, retries => $retries, retry_delay => '0');
CREATE SCHEMA IF NOT EXISTS $name;
CREATE TABLE IF NOT EXISTS $name.items (name text);
TRUNCATE $name.items;
INSERT INTO $name.items VALUES $values;
SELECT etl.add_extract('$name', '$name.raw', '@{[ $options{server} // 'api' ]}', '/datasets/{name}', records => '\$.data[*]', $key for_each => '$name.items',
	pagination => '@{[ $options{pagination} // '{"type": "next_url", "max_pages": 3}' ]}' $arguments);
SQL
	return;
}

sub run_day
{
	my ($name, $day) = @_;
	my $result = run_sql($node, "SELECT state FROM etl_run(date '2026-11-@{[ $day // '10' ]}', '$name')", may_fail => 1);

	return $result->{state} eq '00000' ? $result->{out} : $result->{err};
}

sub loaded { my ($name, $day) = @_; return value($node, "SELECT coalesce(string_agg(DISTINCT item ->> 'name', ',' ORDER BY item ->> 'name'), '') FROM $name.vr_raw WHERE data_interval_start = '2026-11-@{[ $day // '10' ]}'"); }
sub errors { my ($name) = @_; return value($node, "SELECT coalesce(string_agg(concat_ws(' ', item_values ->> 'name', error_code), ',' ORDER BY item_values ->> 'name'), '') FROM etl.item_errors JOIN etl.loads USING (load_id) WHERE item_errors.pipeline = '$name' AND state <> 'abandoned' AND load_id = (SELECT max(load_id) FROM etl.loads WHERE pipeline = '$name')"); }
sub asked { my ($path) = @_; return scalar(my @all = $api->requests($path)); }

# ------------------------------------------------------------------- items that fail alone

# What can be wrong with an item, and the SQLSTATE it is noted with.
my %alone = (
	missing => 'HV000', forbidden => '28000', broken => '22032', html => '22032', noarray => '22032', down => '08006', reset => '08006', slow => '08006',
	circle => 'HV000', endless => '54000', far => 'HV000', later => '08006', claims => 'HV000',
);
sub serve_failing
{
	serve('good_1', 12);
	serve('good_2', 1);
	serve($_, 12) foreach keys %alone;
	$api->fault(match => '/datasets/missing', fault => 'status_404');
	$api->fault(match => '/datasets/forbidden', fault => 'status_403_forbidden');
	$api->fault(match => '/datasets/broken', fault => 'truncated_json');
	$api->fault(match => '/datasets/html', fault => 'html_instead_of_json');
	$api->fault(match => '/datasets/noarray', fault => 'error_object_200');
	$api->fault(match => '/datasets/down', fault => 'status_500');
	$api->fault(match => '/datasets/reset', fault => 'reset');
	$api->fault(match => '/datasets/slow', fault => 'hang');
	$api->fault(match => '/datasets/circle', fault => 'loop_pagination');
	$api->fault(match => '/datasets/endless', fault => 'endless_pagination');
	$api->fault(match => '/datasets/far', fault => 'link_other_host');
	$api->fault(match => '/datasets/later', page => 2, fault => 'status_502_html');
	$api->fault(match => '/datasets/claims', fault => 'status_410');
	return;
}
# endless_pagination repeats the records of page 1: without a key that is no circle
my @failing = sort keys %alone;

serve_failing();
declare('alone', [ 'good_1', 'good_2', @failing ], q(, on_item_error => 'skip', error_rules => '[{"status": 410, "action": "fail", "message": "gone for good"}]'), key => '');
is(run_day('alone'), 'success', 'items that fail alone do not fail the run');
is(errors('alone'), join(',', map { "$_ $alone{$_}" } @failing), 'each is in etl.item_errors with its SQLSTATE');
like(value($node, "SELECT error_message FROM etl.item_errors WHERE pipeline = 'alone' AND item_values ->> 'name' = 'claims'"), qr/by a rule of the task: gone for good/, 'and its reason');
like(value($node, "SELECT error_message FROM etl.item_errors WHERE pipeline = 'alone' AND item_values ->> 'name' = 'endless'"), qr/more than 3 pages/, 'too many pages are one, too');
is(value($node, "SELECT failed_items FROM etl.loads WHERE pipeline = 'alone'"), scalar(@failing), 'they are counted');
is(value($node, "SELECT count(*) FROM alone.vr_raw WHERE item ->> 'name' LIKE 'good%'"), 13, 'the others are loaded');
is(value($node, "SELECT count(*) FROM alone.vr_raw WHERE item ->> 'name' = 'later'"), 10, 'what an item had got before it failed stays');
is(value($node, "SELECT count(*) FROM etl.log WHERE pipeline = 'alone' AND level = 'WARN' AND message LIKE 'item % failed and is left out: %'"), scalar(@failing), 'with a warning each');
my $before = asked('/datasets/good_1');
$api->heal;
is(run_day('alone'), 'success', 'the next run');
is(asked('/datasets/good_1') - $before, 2, 'asks for all again');
is(loaded('alone'), join(',', sort 'good_1', 'good_2', @failing), 'and has them all');
is(errors('alone'), '', 'without errors');
is(value($node, "SELECT count(*) FROM etl.loads WHERE pipeline = 'alone' AND state = 'published'"), 1, 'in the place of the load that was not whole');

# ---------------------------------------------------------------- what is no item's own

foreach my $case ([ status_401 => '28000' ], [ status_429 => '08006' ], [ status_429_retry_after => '53400', seconds => 60 ], [ status_403_rate_limited => '53400', seconds => 60 ])
{
	my ($fault, $state, %parameters) = @$case;

	$api->reset;
	serve($_, 1) foreach qw(first second third);
	$api->fault(match => '/datasets/second', fault => $fault, %parameters);
	declare("all_$fault", [qw(first second third)], q(, on_item_error => 'skip'));
	like(run_day("all_$fault"), qr/ $state:/, "$fault concerns all items: the run fails");
	is(value($node, "SELECT count(*) FROM etl.item_errors WHERE pipeline = 'all_$fault'"), 0, "$fault: it is no error of an item");
	run_sql($node, "SELECT etl.forget_quotas('api')");
}
$api->reset;
serve($_, 1) foreach qw(first second third);
declare('rule', [qw(first second third)], q(, on_item_error => 'skip', record_schema => '{"required": ["nosuch"]}', on_invalid => 'fail'));
like(run_day('rule'), qr/23514:.*breaks the record_schema/, 'neither is what the task itself says must fail');

# A source that is down is not an empty one.
$api->reset;
serve($_, 2) foreach qw(first second third);
declare('gone', [qw(first second third)], q(, on_item_error => 'skip'));
is(run_day('gone'), 'success', 'a source that is well');
$api->fault(match => '/datasets/*', fault => 'status_500');
like(run_day('gone'), qr/08006:.*every item failed, 3 of 3; the last one: GET .* failed with status 500.*HINT:.*as long as one of them/s, 'a source that is down, and so every item');
is(value($node, 'SELECT count(*) FROM gone.vr_raw'), 6, 'readers keep what they had');
$api->heal;
is(run_day('gone'), 'success', 'once it is up');
is(loaded('gone'), 'first,second,third', 'all are asked again');
# it is tried again like any failure that may go away
$api->fault(match => '/datasets/*', fault => 'status_500', times => 6);
declare('gone', [qw(first second third)], q(, on_item_error => 'skip'), retries => 1);
is(run_day('gone'), 'success', 'a source that is down for a while');
is(value($node, "SELECT max(attempt) FROM etl.task_runs WHERE pipeline = 'gone' AND task = 'gone.raw'"), 2, 'is tried again');
is(errors('gone'), '', 'with nothing left of the first attempt');
declare('nobody', ['x'], q(, on_item_error => 'skip'));
run_sql($node, 'TRUNCATE nobody.items');
is(run_day('nobody'), 'success', 'no item at all is no failure');

# Two items that make the same request: what has not changed is held for both, as each is now.
serve('shared', 3);
run_sql($node, <<'SQL');
SELECT etl.create_pipeline('twice');
CREATE SCHEMA twice;
CREATE TABLE twice.items (name text, label text);
INSERT INTO twice.items VALUES ('shared', 'a'), ('shared', 'b');
SELECT etl.add_extract('twice', 'twice.raw', 'api', '/datasets/{name}', records => '$.data[*]', for_each => 'twice.items');
SQL
is(run_day('twice', '10'), 'success', 'two items that make the same request');
is(run_day('twice', '11'), 'success', 'again');
run_sql($node, "UPDATE twice.items SET label = label || label");
is(run_day('twice', '12'), 'success', 'and as other items');
is(value($node, "SELECT string_agg(not_modified::text, ',' ORDER BY load_id) FROM etl.loads WHERE pipeline = 'twice'"), '0,2,2', 'both are answered 304');
is(value($node, "SELECT string_agg(n, ' ' ORDER BY n) FROM (SELECT concat_ws(':', data_interval_start::date, item ->> 'label', count(*)) AS n FROM twice.vr_raw GROUP BY data_interval_start, item) x"),
	'2026-11-10:a:3 2026-11-10:b:3 2026-11-11:a:3 2026-11-11:b:3 2026-11-12:aa:3 2026-11-12:bb:3', 'with the rows of each');

# ------------------------------------------------------------------------------ resuming

# skip: an item that failed is not tried again within its load
$api->reset;
serve("r_$_", 1) foreach 1 .. 9;
$api->fault(match => '/datasets/r_1', fault => 'status_404');
# late, so that the others have come: they are committed although the attempt ends
script('/datasets/r_9', { status => 429, headers => { 'Retry-After' => 60 }, body => '', delay_ms => 700 }, { data => [ { id => 'r_9-1', n => 1 } ] });
declare('resumed', [ map { "r_$_" } 1 .. 9 ], q(, on_item_error => 'skip'));
like(run_day('resumed'), qr/53400/, 'a rate limit ends an attempt');
is(run_day('resumed'), 'success', 'the next one goes on');
is(asked('/datasets/r_1'), 1, 'an item that failed alone is not asked for again');
is(asked('/datasets/r_3'), 1, 'nor one that was loaded');
is(errors('resumed'), 'r_1 HV000', 'its error stays');
is(loaded('resumed'), join(',', map { "r_$_" } 2 .. 9), 'the others are there');

# fail: the next run goes on at the item that failed
$api->reset;
serve("r_$_", 12) foreach 1 .. 9;
$api->fault(match => '/datasets/r_5', page => 2, fault => 'status_500');
run_sql($node, "CREATE SERVER one FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url', retry_delay '10 ms', max_attempts '2', concurrency '1')");
declare('goes_on', [ map { "r_$_" } 1 .. 9 ], '', server => 'one');
like(run_day('goes_on'), qr/status 500/, 'an item fails the task');
is(value($node, "SELECT count(*) FROM etl.item_errors WHERE pipeline = 'goes_on'"), 0, 'which is not noted as its own');
run_sql($node, "TRUNCATE goes_on.items; INSERT INTO goes_on.items SELECT 'x_' || n FROM generate_series(1, 9) n");
$api->heal;
is(run_day('goes_on'), 'success', 'the next run goes on with the items there were');
is(join(',', map { asked("/datasets/r_$_") } 1 .. 9), '2,2,2,2,4,2,2,2,2', 'at the page that failed');
is(value($node, "SELECT count(*), count(DISTINCT payload ->> 'id') FROM goes_on.vr_raw"), '108|108', 'nothing is lost or there twice');

# -------------------------------------------------------- items that this run has fetched

run_sql($node, 'CREATE SCHEMA kids; ALTER SERVER api OPTIONS (SET timeout \'20 s\')');
sub declare_children
{
	my (%options) = @_;

	run_sql($node, <<SQL);
SELECT etl.create_pipeline('kids', replace => true, schedule => '\@daily');
SELECT etl.add_extract('kids', 'kids.parents', 'api', '/datasets/parents', query => '{"since": "{data_interval_start}", "until": "{data_interval_end}"}', records => '\$.data[*]', key => '{\$.id}',
	pagination => '{"type": "page_number", "total": "\$.total"}');
CREATE OR REPLACE VIEW kids.of_this_interval AS SELECT payload ->> 'id' AS parent FROM kids.vr_parents WHERE data_interval_start = etl.data_interval_start();
CREATE OR REPLACE VIEW kids.wanted AS SELECT parent, parent || '?x=1' AS odd FROM kids.of_this_interval;
SELECT etl.add_extract('kids', 'kids.children', 'api', '/datasets/{parent}', records => '\$.data[*]', key => '{\$.id}', for_each => 'kids.wanted', pagination => '{"type": "next_url"}');
CREATE OR REPLACE VIEW kids.txf_children AS SELECT payload ->> 'id' AS id, item ->> 'parent' AS parent FROM kids.vl_children;
SELECT etl.add_load('kids', 'kids.stg_children', 'full', source => 'kids.txf_children', key => '{id}');
SQL
	return;
}
sub serve_family
{
	my ($day, @parents) = @_;

	$api->control('POST', 'datasets', { name => 'parents', records => [ map { { id => $_, updated_at => "2026-11-${day}T12:00:00Z" } } @parents ] });
	serve($_, 3) foreach @parents;
	return;
}
declare_children();
is(value($node, "SELECT string_agg(task || ' <- ' || array_to_string(depends_on, ','), '; ' ORDER BY task) FROM etl.tasks WHERE pipeline = 'kids' AND kind = 'extract'"),
	'kids.children <- kids.parents; kids.parents <- ', 'children come after their parents');
serve_family('10', map { "p_$_" } 1 .. 30);
is(run_day('kids', '10'), 'success', 'children of the parents this run has just fetched');
is(value($node, 'SELECT count(*), count(DISTINCT parent) FROM kids.stg_children'), '90|30', 'are there with the first run');
is(value($node, "SELECT count(*) FROM etl.loads WHERE pipeline = 'kids' AND state = 'published'"), 2, 'published once');
serve_family('11', map { "q_$_" } 1 .. 2);
is(run_day('kids', '11'), 'success', 'another interval');
is(value($node, "SELECT count(DISTINCT item ->> 'parent') FROM kids.vr_children WHERE data_interval_start = '2026-11-11'"), 2, 'has the children of its own parents');
# a rerun sees the parents as they will be, not those that they replace
serve_family('11', map { "q_$_" } 2 .. 4);
is(run_day('kids', '11'), 'success', 'the interval again, with other parents');
is(value($node, "SELECT string_agg(DISTINCT item ->> 'parent', ',') FROM kids.vr_children WHERE data_interval_start = '2026-11-11'"), 'q_2,q_3,q_4', 'has the children of these');

# Nobody else sees parents that are not published, also while their children are fetched.
serve_family('12', map { "h_$_" } 1 .. 40);
$api->latency(50);
my $caller = session($node, name => 'caller');
$caller->send("SELECT state FROM etl_run(date '2026-11-12', 'kids')");
my $slices = "SELECT count(*) FROM etl.slices s JOIN etl.loads l USING (load_id) WHERE l.task = 'kids.children' AND l.data_interval_start = '2026-11-12'";
wait_until('some children are committed', 30, sub { return value($node, $slices) >= 8 });
is(value($node, "SELECT count(*) FROM kids.vr_parents WHERE data_interval_start = '2026-11-12'"), 0, 'readers do not see the parents yet');
is(value($node, "SELECT string_agg(task || ' ' || state, ', ' ORDER BY task) FROM etl.loads WHERE pipeline = 'kids' AND data_interval_start = '2026-11-12'"), 'kids.children loading, kids.parents complete', 'for they are not published');
my $run = value($node, "SELECT max(run_id) FROM etl.runs WHERE pipeline = 'kids'");
kill 'KILL', busy_worker($node, $run) or BAIL_OUT('no worker');
is($caller->wait(30)->{state}, '08006', 'kill -9 among the children');
wait_until('the server is back', 30, sub { return run_sql($node, 'SELECT 1', may_fail => 1)->{state} eq '00000' });
$api->latency(0);
wait_until('nothing is in flight', 10, sub { return !$api->in_flight('/datasets/*') });
my %committed = map { $_ => 1 } split /\n/, value($node, "SELECT regexp_replace(s.request, '^GET http://[^/]*', '') FROM etl.slices s JOIN etl.loads l USING (load_id) WHERE l.pipeline = 'kids' AND l.data_interval_start = '2026-11-12'");
my @earlier = $api->requests('/datasets/*');
is(run_day('kids', '12'), 'success', 'the next run');
my @later = map { $_->{target} } ($api->requests('/datasets/*'))[ scalar(@earlier) .. asked('/datasets/*') - 1 ];
is(join(' ', grep { $committed{$_} } @later), '', 'asks neither for parents again nor for children it has');
is(value($node, "SELECT count(*), count(DISTINCT payload ->> 'id') FROM kids.vr_children WHERE data_interval_start = '2026-11-12'"), '120|120', 'nothing is lost or there twice');

# Parents that are fetched anew have other children than the load that was begun.
serve_family('13', 'c_1', 'c_2');
$api->fault(match => '/datasets/c_2', fault => 'status_500');
like(run_day('kids', '13'), qr/status 500/, 'a child fails');
$api->heal;
serve_family('13', 'd_1');
run_sql($node, q(SELECT etl.add_extract('kids', 'kids.parents', 'api', '/datasets/parents', query => '{"until": "{data_interval_end}", "since": "{data_interval_start}", "again": 1}', records => '$.data[*]', key => '{$.id}')));
is(run_day('kids', '13'), 'success', 'the parents are declared otherwise');
is(value($node, "SELECT string_agg(DISTINCT item ->> 'parent', ',') FROM kids.vr_children WHERE data_interval_start = '2026-11-13'"), 'd_1', 'so that their children are asked for anew');

# What is loaded comes after all that is extracted.
is_failure(run_sql($node, "SELECT etl.add_extract('kids', 'kids.grandchildren', 'api', '/datasets/{id}', for_each => 'kids.stg_children')", may_fail => 1), '42P17', 'a for_each over what the pipeline loads');
run_sql($node, 'CREATE VIEW kids.loaded AS SELECT id FROM kids.vr_stg_children');
is_failure(run_sql($node, "SELECT etl.add_extract('kids', 'kids.grandchildren', 'api', '/datasets/{id}', for_each => 'kids.loaded')", may_fail => 1), '42P17', 'also through a view');
run_sql($node, "SELECT etl.create_pipeline('other_kids'); SELECT etl.add_extract('other_kids', 'other_kids.raw', 'api', '/datasets/{parent}', records => '\$.data[*]', for_each => 'kids.stg_children')");
is(run_day('other_kids'), 'success', 'another pipeline may well');
is(value($node, 'SELECT count(*) > 0 FROM other_kids.vr_raw'), 't', 'it reads what is published');
# and the pipeline can be printed and declared again
my $printed = value($node, "SELECT etl.pipeline_sql('kids')");
like($printed, qr/kids\.parents.*VIEW kids\.of_this_interval.*VIEW kids\.wanted.*kids\.children/s, 'etl.pipeline_sql has the views between parents and children');
run_sql($node, $printed);
is(value($node, "SELECT etl.pipeline_sql('kids')"), $printed, 'and declares what it prints');

# ------------------------------------------------------------------------- many of them

# The cost of an item does not grow with their number.
serve('one', 1);
run_sql($node, "CREATE SERVER many FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url', concurrency '16'); CREATE SCHEMA lots; CREATE VIEW lots.numbers AS SELECT n, repeat('x', 200) AS filler FROM generate_series(1, 3000) n");
run_sql($node, "SELECT etl.create_pipeline('lots'); SELECT etl.add_extract('lots', 'lots.raw', 'many', '/datasets/one', query => '{\"n\": \"{n}\"}', records => '\$.data[*]', for_each => 'lots.numbers')");
is(value($node, "SELECT state FROM etl_run(date '2026-11-10', 'lots')", seconds => 180), 'success', '3,000 items');
is(value($node, 'SELECT count(*), count(DISTINCT item) FROM lots.vr_raw'), '3000|3000', 'each once');
my @seconds = split /\n/, value($node, "SELECT extract(epoch FROM max(s.committed_at) - min(s.committed_at)) FROM etl.slices s JOIN etl.loads l USING (load_id) WHERE l.pipeline = 'lots' GROUP BY s.slice / 1000 ORDER BY s.slice / 1000");
cmp_ok($seconds[2], '<', 4 * $seconds[0] + 2, "the last thousand takes no longer than the first: @seconds s");
is(value($node, "SELECT requests, fetched, loaded FROM etl.loads WHERE pipeline = 'lots'"), '3000|3000|3000', 'and they are counted');

$node->stop;
done_testing();
