# What an extraction takes of what a source sends: by watermark, by the time of a record,
# of the present for many intervals, what is absent, what has not changed, what has expired.
use strict;
use warnings;

use EtlTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $api = EtlTest::Api->start;
my $node = make_node('main', preload => 1);
my $url = $api->url;

run_sql($node, "CREATE SERVER api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url', retry_delay '10 ms', max_attempts '2')");

# Records of a dataset: [id, updated_at, more members].
sub serve
{
	my ($name, @records) = @_;

	$api->control('POST', 'datasets', { name => $name,
			records => [ map { { id => $_->[0], (defined $_->[1] ? (updated_at => $_->[1]) : ()), %{ $_->[2] // {} } } } @records ] });
	return;
}

# Declares a pipeline with one extraction of a dataset into NAME.raw.
sub declare
{
	my ($name, $arguments, %options) = @_;
	my $schedule = $options{schedule} // '@daily';

	run_sql($node, <<SQL);
SELECT etl.create_pipeline('$name', schedule => '$schedule');
SELECT etl.add_extract('$name', '$name.raw', 'api', '/datasets/$name', records => '\$.data[*]', key => '{\$.id}',
	pagination => '{"type": "next_url"}', $arguments);
SQL
	return;
}

# Runs a date; the states, or the error.
sub run_day
{
	my ($name, $day) = @_;
	my $result = run_sql($node, "SELECT state FROM etl_run(date '2026-11-$day', '$name')", may_fail => 1);

	return $result->{state} eq '00000' ? $result->{out} : $result->{err};
}

sub ids { my ($name) = @_; return value($node, "SELECT string_agg(payload ->> 'id', ',' ORDER BY (payload ->> 'id')::integer, load_id) FROM $name.vr_raw"); }

# fetched, loaded, quarantined, skipped of the latest load
sub counts { my ($name) = @_; return value($node, "SELECT fetched, loaded, quarantined, skipped FROM etl.loads WHERE pipeline = '$name' ORDER BY load_id DESC LIMIT 1"); }
sub watermark { my ($name) = @_; return value($node, "SELECT string_agg(concat_ws(' ', item, value), '; ' ORDER BY item) FROM etl.watermarks WHERE pipeline = '$name'"); }
sub queries { my ($name) = @_; return map { my $q = $_->{target}; $q =~ s/.*\?//; $q } $api->requests("/datasets/$name"); }

# ------------------------------------------------------------------------ a watermark

serve('wm', [ 1, '2026-11-01T10:00:00Z' ], [ 2, '2026-11-02T10:00:00Z' ], [ 3, '2026-11-02T10:00:00Z' ]);
declare('wm', q(query => '{"since": "{watermark}"}', watermark => '{"cursor": "$.updated_at", "start": "2026-11-01T00:00:00Z"}'));
is(run_day('wm', '10'), 'success', 'a first load by watermark');
is(ids('wm'), '1,2,3', 'takes what there is');
is(watermark('wm'), '2026-11-02T10:00:00.000000Z', 'and is as far as the latest record');
is((queries('wm'))[0], 'since=2026-11-01T00%3A00%3A00Z', 'having begun at the start value');
serve('wm', [ 1, '2026-11-01T10:00:00Z' ], [ 2, '2026-11-02T10:00:00Z' ], [ 3, '2026-11-02T10:00:00Z' ], [ 4, '2026-11-02T10:00:00Z' ], [ 5, '2026-11-03T10:00:00Z' ]);
is(run_day('wm', '11'), 'success', 'a second load');
is((queries('wm'))[-1], 'since=2026-11-02T10%3A00%3A00Z', 'begins at the watermark');
is(counts('wm'), '2|2|0|2', 'what stood there before is told from what is new there');
is(ids('wm'), '1,2,3,4,5', 'nothing twice, nothing lost');
is(watermark('wm'), '2026-11-03T10:00:00.000000Z', 'the watermark moves on');
is(run_day('wm', '12'), 'success', 'a third load');
is(counts('wm'), '0|0|0|1', 'has nothing new');
is(watermark('wm'), '2026-11-03T10:00:00.000000Z', 'and leaves the watermark');

# a rerun begins where the load it replaces began, and leaves later loads what they have
serve('wm', [ 1, '2026-11-01T10:00:00Z' ], [ 2, '2026-11-02T10:00:00Z' ], [ 3, '2026-11-02T10:00:00Z' ], [ 4, '2026-11-02T10:00:00Z' ], [ 5, '2026-11-03T10:00:00Z' ],
	[ 6, '2026-11-01T11:00:00Z' ], [ 7, '2026-11-04T10:00:00Z' ]);
is(run_day('wm', '10'), 'success', 'the first interval again');
is(watermark('wm'), '2026-11-03T10:00:00.000000Z', 'moves the watermark not back');
is(value($node, "SELECT string_agg(payload ->> 'id', ',' ORDER BY payload ->> 'id') FROM wm.vr_raw WHERE data_interval_start = '2026-11-10'"), '1,2,3,4,6',
	'it has what is between where it began and where it ended');
is(ids('wm'), '1,2,3,4,4,5,6', 'what is newer is left to a later interval');
is(run_day('wm', '13'), 'success', 'which comes');
is(counts('wm'), '1|1|0|1', 'and takes it');

# A load that is not published moves nothing.
run_sql($node, "SELECT etl.set_watermark('wm', 'wm.raw', '2026-11-02T00:00:00Z')");
is(watermark('wm'), '2026-11-02T00:00:00.000000Z', 'set_watermark');
run_sql($node, "CREATE VIEW wm.txf_t AS SELECT (payload ->> 'id')::integer AS id, 1 / ((payload ->> 'id')::integer - 7) AS boom FROM wm.vr_raw");
run_sql($node, "SELECT etl.add_load('wm', 'wm.t', 'full')");
like(run_day('wm', '14'), qr/division by zero/, 'a run that fails when it is published');
is(watermark('wm'), '2026-11-02T00:00:00.000000Z', 'leaves the watermark');
run_sql($node, 'CREATE OR REPLACE VIEW wm.txf_t AS SELECT (payload ->> \'id\')::integer AS id, 1 AS boom FROM wm.vr_raw');
is(run_day('wm', '14'), 'success', 'once it is well');
is(watermark('wm'), '2026-11-04T10:00:00.000000Z', 'it moves on');
is(run_sql($node, "SELECT etl.set_watermark('wm', 'wm.raw', NULL)")->{state} . watermark('wm'), '00000', 'NULL forgets it');
is_failure(run_sql($node, "SELECT etl.set_watermark('wm', 'wm.raw', 'yesterday-ish')", may_fail => 1), '22023', 'a value that is none');
is_failure(run_sql($node, "SELECT etl.set_watermark('wm', 'wm.t', '2026-11-02')", may_fail => 1), '42704', 'a task without one');

# lag: what comes late is found, what was there is not loaded again
serve('lag', [ 1, '2026-11-01T10:00:00Z' ], [ 2, '2026-11-01T12:00:00Z' ]);
declare('lag', q(query => '{"since": "{watermark}"}', watermark => '{"cursor": "$.updated_at", "start": "2026-11-01T00:00:00Z", "lag": "3 hours"}'));
is(run_day('lag', '10'), 'success', 'with lag');
serve('lag', [ 1, '2026-11-01T10:00:00Z' ], [ 2, '2026-11-01T12:00:00Z' ], [ 3, '2026-11-01T09:30:00Z' ], [ 4, '2026-11-01T13:00:00Z' ]);
is(run_day('lag', '11'), 'success', 'again');
is((queries('lag'))[-1], 'since=2026-11-01T09%3A00%3A00Z', 'it asks from before the watermark');
is(ids('lag'), '1,2,3,4', 'a late record is found, others are not loaded twice');
is(counts('lag'), '2|2|0|2', 'those are counted as skipped');
serve('lag', [ 1, '2026-11-01T10:00:00Z' ], [ 2, '2026-11-01T12:00:00Z' ], [ 3, '2026-11-01T09:30:00Z' ], [ 4, '2026-11-01T13:00:00Z' ], [ 5, '2026-11-01T11:00:00Z' ]);
is(run_day('lag', '12'), 'success', 'with nothing but a late record');
is(watermark('lag'), '2026-11-01T13:00:00.000000Z', 'the watermark stays');
is(run_day('lag', '13'), 'success', 'and once more');
is(ids('lag'), '1,2,3,4,5', 'it is remembered all the same');

# more records at one value than are remembered: it says so, and nothing is lost
serve('many', map { [ $_, '2026-11-01T10:00:00Z' ] } 1 .. 10_200);
declare('many', q(query => '{"since": "{watermark}", "per_page": 1000}', watermark => '{"cursor": "$.updated_at", "start": "2026-11-01T00:00:00Z"}'));
is(run_day('many', '10'), 'success', 'very many records at one value');
is(value($node, "SELECT level || ' ' || message FROM etl.log WHERE pipeline = 'many' AND message LIKE '%remembered%'"), 'WARN 200 records at the watermark or within its lag are too many to be remembered: sent again, they are loaded again', 'the log says how many');
is(run_day('many', '11'), 'success', 'sent again');
is(counts('many'), '200|200|0|10000', 'those are loaded again');
is(value($node, "SELECT count(*), count(DISTINCT payload ->> 'id') FROM many.vr_raw"), '10400|10200', 'and none is lost');
is(value($node, 'SELECT count(*) FROM etl.slice_watermark'), '0', 'what pages have noted is gone when the load is complete');

# numbers, and records without a cursor
foreach my $policy ([ fail => qr/record 2 has no value of type number/ ], [ load => qr/^success$/, '1,2,3' ], [ skip => qr/^success$/, '1,3' ])
{
	my ($what, $outcome, $expected) = @$policy;

	serve("num_$what", [ 1, undef, { seq => 5 } ], [ 2, undef, { seq => undef } ], [ 3, undef, { seq => 12345678901234567890 . '' } ]);
	declare("num_$what", qq(watermark => '{"cursor": "\$.seq", "type": "number", "start": 0, "on_missing": "$what"}'));
	like(run_day("num_$what", '10'), $outcome, "a record without a cursor: $what");
	is(ids("num_$what"), $expected // '', "$what: what is loaded");
}
is(watermark('num_skip'), '12345678901234567890', 'a number keeps its digits');

# per item
run_sql($node, <<SQL);
CREATE SCHEMA per;
CREATE TABLE per.shop AS SELECT * FROM (VALUES ('per_a', 1), ('per_b', 2)) v(shop, rank);
SELECT etl.create_pipeline('per', schedule => '\@daily');
SELECT etl.add_extract('per', 'per.raw', 'api', '/datasets/{shop}', query => '{"since": "{watermark}"}', records => '\$.data[*]', key => '{\$.id}', for_each => 'per.shop',
	pagination => '{"type": "next_url"}', watermark => '{"cursor": "\$.updated_at", "start": "2026-11-01", "item": ["shop"]}');
SQL
serve('per_a', [ 1, '2026-11-05T00:00:00Z' ]);
serve('per_b', [ 2, '2026-11-06T00:00:00Z' ], [ 3, '2026-11-07T00:00:00Z' ]);
is(run_day('per', '10'), 'success', 'a watermark an item');
is(watermark('per'), '{"shop": "per_a"} 2026-11-05T00:00:00.000000Z; {"shop": "per_b"} 2026-11-07T00:00:00.000000Z', 'each has got as far as its own records');
run_sql($node, "UPDATE per.shop SET rank = 9");
serve('per_a', [ 1, '2026-11-05T00:00:00Z' ], [ 4, '2026-11-05T00:00:01Z' ]);
is(run_day('per', '11'), 'success', 'another column of the item changes');
is(ids('per'), '1,2,3,4', 'the watermark stays the item\'s');

# ------------------------------------------------------------------ the time of a record

serve('tm', [ 1, '2026-11-09T23:59:59Z' ], [ 2, '2026-11-10T00:00:00Z' ], [ 3, '2026-11-10T23:59:59.999999Z' ], [ 4, '2026-11-11T00:00:00Z' ], [ 5, undef ], [ 6, 'soon' ],
	[ 7, 1794268800 ], [ 8, 1794268800123 ], [ 9, 'now' ], [ 10, 'tomorrow' ]);
declare('tm', q(record_time => '$.updated_at'));
is(run_day('tm', '10'), 'success', 'a filter by the time of a record');
is(ids('tm'), '2,3,7,8', 'takes those of the interval, half-open; numbers are seconds or milliseconds since 1970');
is(counts('tm'), '8|4|4|2', 'others are skipped, and those without a time are in quarantine');
is(value($node, "SELECT string_agg(DISTINCT reason, ',') FROM etl.quarantine WHERE pipeline = 'tm'"), 'the record has no time at $.updated_at', 'with the reason');

# ----------------------------------------------------- sources that know the present only

serve('cur', map { [ $_, sprintf('2026-11-10T%02d:30:00Z', $_ - 1), { v => 1 } ] } 1 .. 24);
declare('cur', q(query => '{"since": "{data_interval_start}"}', reads => 'current', record_time => '$.updated_at', version => '$.v'), schedule => '@hourly');
my @before = $api->requests('/datasets/cur');
is(run_day('cur', '10'), join("\n", ('success') x 24), 'twenty-four intervals of a source that knows the present only');
is(scalar(my @first = queries('cur')), 3, 'are one fetch of three pages');
is($first[0], 'since=2026-11-10T00%3A00%3A00Z', 'which asks for all of them');
is(value($node, "SELECT count(*), count(*) FILTER (WHERE data_interval_start = date_trunc('hour', (payload ->> 'updated_at')::timestamptz)) FROM cur.vr_raw"), '24|24', 'each record is in its interval');
is(value($node, "SELECT count(*), sum(fetched), min(loaded) FROM etl.loads WHERE pipeline = 'cur' AND state = 'published'"), '24|24|1', 'and its load');
# one record has moved to a later interval, and a rerun of all finds it there
serve('cur', (map { [ $_, sprintf('2026-11-10T%02d:30:00Z', $_ - 1), { v => 1 } ] } 2 .. 24), [ 1, '2026-11-10T20:00:00Z', { v => 2 } ]);
is(run_day('cur', '10'), join("\n", ('success') x 24), 'again, after a record has changed');
is(value($node, "SELECT payload ->> 'v', data_interval_start FROM cur.vl_raw WHERE payload ->> 'id' = '1'"), '2|2026-11-10 20:00:00+00', 'it is where it is now');
is(value($node, 'SELECT count(*) FROM cur.vl_raw'), '24', 'and nowhere else');
# only a later interval: what is older is not its
is(run_sql($node, "CALL etl.run('cur', '2026-11-10 05:00+00', '2026-11-10 06:00+00')")->{state}, '00000', 'one interval alone');
is(value($node, "SELECT fetched, skipped FROM etl.loads WHERE pipeline = 'cur' ORDER BY load_id DESC LIMIT 1"), '1|19', 'takes its own');
# the fetch fails half-way: what it had routed is not taken for whole
$api->fault(match => '/datasets/cur', page => 2, fault => 'status_500');
like(run_day('cur', '10'), qr/24 of 24 runs failed|status 500/, 'a fetch that fails');
is(value($node, 'SELECT count(*) FROM cur.vl_raw'), '24', 'readers keep what they had');
$api->heal;
is(run_day('cur', '10'), join("\n", ('success') x 24), 'and once it is well');
is(value($node, 'SELECT count(*) FROM cur.vr_raw'), '24', 'nothing is there twice');

# Replayed records, too, go where they belong: into the loads that their fetch took along.
serve('replay', (map { [ $_, sprintf('2026-11-10T%02d:30:00Z', $_ - 1), { size => 1 } ] } 1 .. 4), [ 5, '2026-11-10T02:45:00Z', { size => 'big' } ], [ 6, '2026-11-10T03:45:00Z', { size => 'huge' } ],
	[ 7, '2026-11-10T00:45:00Z', { size => 'large' } ], [ 8, '2026-11-12T00:45:00Z', { size => 'far' } ], [ 9, 'soon', { size => 'x' } ]);
my $routed = q(query => '{"since": "{data_interval_start}"}', reads => 'current', record_time => '$.updated_at', record_schema => '{"properties": {"size": {"type": "%s"}}}');
declare('replay', sprintf($routed, 'integer'), schedule => '@hourly');
is(run_day('replay', '10'), join("\n", ('success') x 24), 'the present with records in quarantine');
my $replay_hours = q{SELECT string_agg(concat_ws(':', extract(hour FROM data_interval_start), fetched, loaded, quarantined, skipped), ' ' ORDER BY data_interval_start) FROM etl.loads
	WHERE pipeline = 'replay' AND state = 'published' AND data_interval_start < '2026-11-10 05:00+00'};
is(value($node, $replay_hours), '0:6:1:5:3 1:1:1:0:0 2:1:1:0:0 3:1:1:0:0 4:0:0:0:0', 'all of them with the load that fetched');
my $relaxed = $routed =~ s/"%s"/["integer", "string"]/r;
run_sql($node, "SELECT etl.add_extract('replay', 'replay.raw', 'api', '/datasets/replay', records => '\$.data[*]', key => '{\$.id}', pagination => '{\"type\": \"next_url\"}', $relaxed)");
# the load of one of the intervals is superseded before
run_sql($node, "CALL etl.run('replay', '2026-11-10 03:00+00', '2026-11-10 04:00+00')");
my $replayed = run_sql($node, q{SELECT extract(hour FROM data_interval_start), replayed, still_quarantined FROM etl.replay_quarantine('replay')});
is($replayed->{out}, "0|1|3\n2|1|0\n3|0|1", 'replayed: each into its load, or it stays');
like($replayed->{err}, qr/2 quarantined records were loaded.*etl\.reprocess\('replay', '2026-11-10 00:00:00\+00', '2026-11-10 03:00:00\+00'\)/s, 'and both intervals are to be loaded from raw again');
is(value($node, $replay_hours), '0:5:2:3:4 1:1:1:0:0 2:2:2:0:0 3:3:2:1:1 4:0:0:0:0', 'the ledger has it as if it had been so at once');
is(value($node, q{SELECT string_agg(concat_ws('@', payload ->> 'id', extract(hour FROM data_interval_start)), ' ' ORDER BY payload ->> 'id') FROM replay.vr_raw}), '1@0 2@1 3@2 4@3 5@2 6@3 7@0', 'each record is in its interval');
is(value($node, q{SELECT count(*) FROM etl.loads l JOIN LATERAL (SELECT count(*) FROM replay.vr_raw r WHERE r.load_id = l.load_id) r(n) ON n <> l.loaded WHERE l.pipeline = 'replay' AND l.state = 'published'}), '0', 'and every load has as many as it says');
is(value($node, q{SELECT count(*) FROM etl.slices s WHERE pipeline = 'replay' AND fetched <> loaded + quarantined}), '0', 'as has every page');
is(value($node, q{SELECT string_agg(concat_ws(' ', record_id, tried_reason_code, regexp_replace(tried_reason, '\d+ is', 'N is')), '; ' ORDER BY record_id) FROM (SELECT convert_from(record, 'UTF8')::jsonb ->> 'id' AS record_id, * FROM etl.quarantine WHERE pipeline = 'replay') q}),
	'6 22008 the record is of another interval, whose load N is superseded; 8 22008 the record is of another interval: its time is 2026-11-12T00:45:00Z; 9 23502 the record has no time at $.updated_at; 9 23502 the record has no time at $.updated_at',
	'why the others stay, one of them in either fetch');
is(value($node, q{SELECT count(*) FROM etl.replayed q JOIN replay.vr_raw r ON r.load_id = q.replayed_into AND r.slice = q.slice AND r.record_number = q.record_number WHERE convert_from(q.record, 'UTF8')::jsonb = r.payload}), '2', 'the ledger says where they are');
is(run_sql($node, q{SELECT * FROM etl.replay_quarantine('replay') WHERE replayed > 0})->{out}, '', 'once is enough');

# --------------------------------------------------------------------- absent and late

run_sql($node, <<SQL);
SELECT etl.create_pipeline('abs', schedule => '\@daily');
SELECT etl.add_extract('abs', 'abs.raw', 'api', '/datasets/abs_{ds}', records => '\$.data[*]', key => '{\$.id}', pagination => '{"type": "next_url"}',
	on_status => '{"404": "absent"}', recheck => '7 days');
ALTER SYSTEM SET etl.clock = '2026-11-15 12:00+00';
SELECT pg_reload_conf();
SQL
serve('abs_2026-11-14', [ 2, '2026-11-14T00:00:00Z' ]);
is(run_day('abs', '10'), 'success', 'a file that is not there yet is no failure');
is(value($node, "SELECT absent, fetched FROM etl.loads WHERE pipeline = 'abs'"), 't|0', 'but noted');
is(run_day('abs', '14'), "success\nsuccess", 'a later run asks again');
is(value($node, "SELECT count(*) FROM etl.loads WHERE pipeline = 'abs' AND state = 'published' AND absent"), '1', 'it is still not there');
serve('abs_2026-11-10', [ 1, '2026-11-10T00:00:00Z' ]);
is(run_day('abs', '13'), "success\nsuccess", 'another asks again');
is(ids('abs'), '1,2', 'and finds it');
is(value($node, "SELECT string_agg(data_interval_start::date::text, ',' ORDER BY 1) FROM etl.loads WHERE pipeline = 'abs' AND state = 'published' AND absent"), '2026-11-13', 'what is absent now is another one');
run_sql($node, "ALTER SYSTEM SET etl.clock = '2026-11-25 12:00+00'; SELECT pg_reload_conf()");
is(run_day('abs', '24'), 'success', 'after a week it is given up');
run_sql($node, 'ALTER SYSTEM RESET etl.clock; SELECT pg_reload_conf()');

# ---------------------------------------------------------------- what has not changed

serve('same', map { [ $_, '2026-11-10T00:00:00Z', { big => 12345678901234567890 . '' } ] } 1 .. 25);
declare('same', q(record_schema => '{"properties": {"id": {"maximum": 24}}}'));
is(run_day('same', '10'), 'success', 'pages with an ETag');
is(counts('same'), '25|24|1|0', 'one record is in quarantine');
is(run_day('same', '11'), 'success', 'the next interval');
is(value($node, "SELECT requests, not_modified, bytes FROM etl.loads WHERE pipeline = 'same' ORDER BY load_id DESC LIMIT 1"), '3|3|0', 'is answered 304, three times');
is(counts('same'), '25|24|1|0', 'and has the same records, in raw and in quarantine');
is(value($node, 'SELECT count(*), count(DISTINCT payload) FROM same.vr_raw'), '48|24', 'the rows are those held before');
serve('same', map { [ $_, '2026-11-10T00:00:00Z', { big => $_ == 15 ? 'new' : '12345678901234567890' } ] } 1 .. 25);
is(run_day('same', '12'), 'success', 'one page changes');
is(value($node, "SELECT requests, not_modified FROM etl.loads WHERE pipeline = 'same' ORDER BY load_id DESC LIMIT 1"), '3|2', 'it is sent, the others are not');
is(value($node, "SELECT count(*) FROM same.vr_raw WHERE payload ->> 'big' = 'new'"), '1', 'and is there');
run_sql($node, q(SELECT etl.add_extract('same', 'same.raw', 'api', '/datasets/same', records => '$.data[*]', key => '{$.id}', pagination => '{"type": "next_url"}')));
is(run_day('same', '13'), 'success', 'the task is declared otherwise');
is(value($node, "SELECT requests, not_modified, quarantined FROM etl.loads WHERE pipeline = 'same' ORDER BY load_id DESC LIMIT 1"), '3|0|0', 'what is held is not used for it');
run_sql($node, q(SELECT etl.add_extract('same', 'same.raw', 'api', '/datasets/same', records => '$.data[*]', key => '{$.id}', pagination => '{"type": "next_url"}', options => '{"conditional": false}')));
is(run_day('same', '13'), 'success', 'conditional: false');
is(value($node, "SELECT not_modified FROM etl.loads WHERE pipeline = 'same' ORDER BY load_id DESC LIMIT 1"), '0', 'asks in any case');

# ----------------------------------------------------------------------------- retention

serve('ret', [ 1, '2026-11-10T00:00:00Z' ]);
declare('ret', q(retain => '400 days'));
run_sql($node, <<SQL);
CREATE VIEW ret.txf_t AS SELECT DISTINCT (payload ->> 'id')::integer AS id, payload ->> 'v' AS v FROM ret.vl_raw;
SELECT etl.add_load('ret', 'ret.t', 'incremental', key => '{id}');
ALTER SYSTEM SET etl.clock = '2026-11-20 12:00+00';
SELECT pg_reload_conf();
SQL
is(run_day('ret', '10'), 'success', 'raw is kept for 400 days');
is(run_day('ret', '11'), 'success', 'of two intervals');
is(value($node, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'ret.raw'::regclass"), '2', 'they share a partition of their time');
is(value($node, "SELECT rebuildable_since FROM etl.pipelines WHERE pipeline = 'ret'"), '', 'everything can be rebuilt');
is(value($node, "SELECT string_agg(state, ',') FROM etl.reprocess('ret', '2026-11-10', '2026-11-12')"), 'success,success', 'and is, without a request');
is(scalar(my @asked = $api->requests('/datasets/ret')), 2, 'indeed');
is(value($node, "SELECT string_agg(DISTINCT state, ',') FROM etl.task_runs WHERE pipeline = 'ret' AND kind = 'extract' AND run_id = (SELECT max(run_id) FROM etl.runs)"), 'skipped', 'the extraction is skipped');
run_sql($node, "ALTER SYSTEM SET etl.clock = '2027-12-26 12:00+00'; SELECT pg_reload_conf()");
is(value($node, "SELECT string_agg(state, ',') FROM etl_run(date '2027-12-25', 'ret')"), 'success', '405 days later');
# the launcher runs that day as well, as the clock says
is(value($node, "SELECT string_agg(state, ',' ORDER BY load_id) FROM etl.loads WHERE pipeline = 'ret' AND state NOT IN ('loading', 'complete', 'superseded')"), 'expired,expired,published', 'the old loads have expired');
run_sql($node, "CALL etl.run('ret', '2027-12-25', '2027-12-26')");
is(value($node, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'ret.raw'::regclass"), '2', 'their partition is gone once no snapshot can see it');
is(value($node, "SELECT rebuildable_since FROM etl.pipelines WHERE pipeline = 'ret'"), '2026-11-12 00:00:00+00', 'etl.pipelines says since when it can be rebuilt');
is_failure(run_sql($node, "SELECT * FROM etl.reprocess('ret', '2026-11-11', '2028-01-01')", may_fail => 1), '55000', 'earlier reprocessing is refused');
is(value($node, "SELECT state FROM etl.reprocess('ret', '2027-01-01', '2028-01-01')"), 'success', 'later is not');
is_failure(run_sql($node, "SELECT * FROM etl.reprocess('ret', '2027-01-01', '2027-01-02')", may_fail => 1), 'P0002', 'where there is nothing it says so');
is(value($node, 'SELECT count(*) FROM ret.t'), '1', 'targets keep what they have');

$node->stop;
done_testing();
