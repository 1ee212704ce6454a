# What readers see while runs publish: the old state or the new one, whole, at once and
# without waiting; and what is left of a run that does not publish.
#
# Each run's data say which run they are of: the path has {run_id} in it, and the API puts
# the path's name into every value.
use strict;
use warnings;

use EtlTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $DAY = "date '2026-11-19'";
my $PUBLISHES = 100;

my $api = EtlTest::Api->start;
my $node = make_node('main', preload => 1);
my $url = $api->url;

run_sql($node, <<SQL);
CREATE SERVER api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url', retry_delay '10 ms', max_attempts '2', timeout '20 s');
CREATE SCHEMA raw;
CREATE SCHEMA stg;
CREATE SCHEMA test;
CREATE TABLE test.stop (stop boolean);
CREATE TABLE test.reads (reader text, generation text, reads bigint, longest interval, PRIMARY KEY (reader, generation));
CREATE TABLE test.wrong (reader text, what text, seen_at timestamptz DEFAULT clock_timestamp());

-- of which run a value is: "small-12-7-f00 …" is of run 12
CREATE FUNCTION test.generation(value text) RETURNS text LANGUAGE sql IMMUTABLE AS \$\$ SELECT split_part(value, '-', 2) \$\$;

SELECT etl.create_pipeline('small');
SELECT etl.add_extract('small', 'raw.small', server => 'api', path => '/pages/small-{run_id}',
	query => '{"pages": 2, "per_page": 10}', records => '\$.data[*]', pagination => '{"type": "link_header"}', key => '{\$.id}');
CREATE VIEW stg.txf_small AS SELECT (payload ->> 'id')::integer AS id, payload ->> 'value' AS value FROM raw.vr_small;
CREATE VIEW stg.txf_small_days AS
	SELECT etl.run_date() AS day, (payload ->> 'id')::integer AS id, payload ->> 'value' AS value
	FROM raw.vr_small WHERE data_interval_start = etl.data_interval_start();
SELECT etl.add_load('small', 'stg.small', mode => 'full', key => '{id}');
SELECT etl.add_load('small', 'stg.small_days', mode => 'partition', partition_by => 'day', key => '{day,id}');
SELECT etl.add_check('small', 'stg.small', 'row_count', '{"min": 20, "max": 20}');

-- two pages of five and four megabytes, so that the third has a partition of its own
SELECT etl.create_pipeline('large');
SELECT etl.add_extract('large', 'raw.large', server => 'api', path => '/pages/large-{run_id}',
	query => '{"pages": 3, "per_page": 10, "style": "array"}', pagination => '{"type": "link_header"}');
CREATE VIEW stg.txf_large AS
	SELECT slice, record_number, payload ->> 'value' AS value FROM raw.vr_large WHERE data_interval_start = etl.data_interval_start();
SELECT etl.add_load('large', 'stg.large', mode => 'incremental', key => '{slice,record_number}', options => '{"order_free": false}', source_kind => 'changes');
SQL
$api->control('POST', 'faults', [
	{ match => '/pages/large-*', page => 1, fault => 'huge_body', megabytes => 5 },
	{ match => '/pages/large-*', page => 2, fault => 'huge_body', megabytes => 4 } ]);

sub run_pipeline
{
	my ($pipeline, %options) = @_;

	return run_sql($node, "SELECT state FROM etl_run($DAY, '$pipeline')", %options);
}

is(run_pipeline($_)->{out}, 'success', "the first run of $_") foreach 'small', 'large';

# --------------------------------------------------- readers in a loop over many publishes

# A reader: reads all layers in one statement, again and again, each time in a transaction
# of its own, and notes what is not as it should be.  A wait for a lock is an error.
my $READ = <<SQL;
SELECT concat_ws(' ', r.n, r.g, l.n, l.g, s.n, s.g, d.n, d.g) AS seen, r.g AS generation
FROM (SELECT count(*) AS n, string_agg(DISTINCT test.generation(payload ->> 'value'), ',') AS g FROM raw.vr_small) r,
	 (SELECT count(*) AS n, string_agg(DISTINCT test.generation(payload ->> 'value'), ',') AS g FROM raw.vl_small) l,
	 (SELECT count(*) AS n, string_agg(DISTINCT test.generation(value), ',') AS g FROM stg.vr_small) s,
	 (SELECT count(*) AS n, string_agg(DISTINCT test.generation(value), ',') AS g FROM stg.vr_small_days) d
SQL

sub start_reader
{
	my ($name, $read, $expected, %options) = @_;
	my $lock_timeout = $options{lock_timeout} // '1s';
	my $reader = session($node, name => $name);

	$reader->send(<<SQL);
SET lock_timeout = '$lock_timeout';
DO \$do\$
DECLARE
	seen_now record;
	began timestamptz;
BEGIN
	WHILE NOT EXISTS (SELECT FROM test.stop) LOOP
		began := clock_timestamp();
		$read INTO seen_now;
		IF seen_now.seen IS DISTINCT FROM replace('$expected', 'G', seen_now.generation) OR seen_now.generation IS NULL THEN
			INSERT INTO test.wrong VALUES ('$name', coalesce(seen_now.seen, 'nothing'));
		END IF;
		INSERT INTO test.reads AS r VALUES ('$name', seen_now.generation, 1, clock_timestamp() - began)
		ON CONFLICT (reader, generation) DO UPDATE SET reads = r.reads + 1, longest = greatest(r.longest, excluded.longest);
		COMMIT;
	END LOOP;
END
\$do\$;
SQL
	return $reader;
}

sub stop_readers
{
	my ($what, @readers) = @_;

	run_sql($node, 'INSERT INTO test.stop VALUES (true)');
	foreach my $reader (@readers)
	{
		my $result = $reader->wait(20);
		is($result && $result->{state}, '00000', "$what: no reader failed or waited for a lock") or diag($result ? $result->{err} : 'it hangs');
		$reader->close;
	}
	is(value($node, 'SELECT count(*) FROM test.wrong'), 0, "$what: no reader saw a mixed or empty state")
	  or diag(value($node, 'SELECT * FROM test.wrong ORDER BY seen_at LIMIT 5'));
	note("$what: " . value($node, "SELECT sum(reads) || ' reads of ' || count(DISTINCT generation) || ' states, the longest ' || max(longest) FROM test.reads"));
	run_sql($node, 'TRUNCATE test.stop, test.wrong, test.reads');
	return;
}

# One that reads for long stands in nobody's way, nor does anybody in its.
my $long = session($node, name => 'long reader');
$long->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
my $FINGERPRINT = <<SQL;
SELECT concat_ws(' ',
	(SELECT md5(string_agg(payload::text, ',' ORDER BY slice, record_number)) FROM raw.vr_small),
	(SELECT md5(string_agg(s::text, ',' ORDER BY id)) FROM stg.vr_small s),
	(SELECT md5(string_agg(s::text, ',' ORDER BY id)) FROM stg.vr_small_days s),
	(SELECT count(*) || md5(string_agg(payload::text, ',' ORDER BY slice, record_number)) FROM raw.vr_large),
	(SELECT count(*) || md5(string_agg(s::text, ',' ORDER BY slice, record_number)) FROM stg.vr_large s))
SQL
my $old_state = $long->query($FINGERPRINT)->{out};
my $old_partition = value($node, "SELECT partition_name FROM etl.loads WHERE pipeline = 'large' AND state = 'published'");
isnt($old_partition, '', 'the large load has a partition of its own');

my @readers = map { start_reader("reader $_", $READ, '20 G 20 G 20 G 20 G') } 1 .. 3;
my $began = now;
my $caller = session($node, name => 'caller');
my $failed = 0;
for (1 .. $PUBLISHES)
{
	my $result = $caller->query("SELECT state FROM etl_run($DAY, 'small')");
	$failed++ if $result->{out} ne 'success';
}
is($failed, 0, "$PUBLISHES runs under readers succeed");
note sprintf '%d runs took %.1f s', $PUBLISHES, now() - $began;
my $states_seen = value($node, 'SELECT count(DISTINCT generation) FROM test.reads');
cmp_ok($states_seen, '>', $PUBLISHES / 4, 'the readers saw many of the states');
stop_readers("$PUBLISHES publishes", @readers);
is($long->query($FINGERPRINT)->{out}, $old_state, 'a REPEATABLE READ reader sees the state it saw before them');

# ------------------------------------- large loads, superseded under a snapshot and pg_dump

sub partition_exists { my ($name) = @_; return value($node, "SELECT to_regclass('raw.$name') IS NOT NULL") eq 't'; }

# pg_dump takes its snapshot, then waits for the lock of a table we hold.
run_sql($node, 'CREATE TABLE test.held ()');
my $holder = session($node, name => 'holder');
$holder->query('BEGIN; LOCK TABLE test.held IN ACCESS EXCLUSIVE MODE');
my $dump_file = "$PostgreSQL::Test::Utils::tmp_check/readers.dump";
my $dump = fork // die "fork: $!";
if ($dump == 0)
{
	open(STDERR, '>', "$dump_file.err");
	{ exec('pg_dump', '-Fc', '-f', $dump_file, '-d', $node->connstr('postgres')); }
	POSIX::_exit(127);
}
my $dumped_state = value($node, $FINGERPRINT);
wait_until('pg_dump waits', 20, sub {
	value($node, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LOCK TABLE%' AND wait_event_type = 'Lock'") });

my $READ_LARGE = <<SQL;
SELECT concat_ws(' ', count(*), count(*) FILTER (WHERE test.generation(value) = g), count(*) FILTER (WHERE slice = 0) > 4000) AS seen, max(g) AS generation
FROM (SELECT slice, payload ->> 'value' AS value, max(test.generation(payload ->> 'value')) FILTER (WHERE slice = 2) OVER () AS g FROM raw.vr_large) x
SQL
my $large_rows = value($node, 'SELECT count(*) FROM raw.vr_large');
@readers = (start_reader('large reader', $READ_LARGE, "$large_rows 10 t"), start_reader('reader', $READ, '20 G 20 G 20 G 20 G'));
for (1 .. 2)
{
	is(run_pipeline('large')->{out}, 'success', "large load $_ is published under readers");
}
is(run_pipeline('small')->{out}, 'success', 'and a small one');
ok(partition_exists($old_partition), 'a superseded partition that a snapshot sees is not dropped');
is($long->query($FINGERPRINT)->{out}, $old_state, 'the REPEATABLE READ reader sees the old state, large load included');
isnt(value($node, $FINGERPRINT), $dumped_state, 'others see the new one');

$holder->query('COMMIT');
waitpid $dump, 0;
is($?, 0, 'pg_dump succeeds') or diag(slurp_file("$dump_file.err"));
run_sql($node, 'CREATE DATABASE restored');
my ($out, $err) = ('', '');
IPC::Run::run([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $dump_file ], '>', \$out, '2>', \$err);
is($err, '', 'its dump is restored');
is(value($node, $FINGERPRINT, db => 'restored'), $dumped_state, 'it has the state of when it began, whole');
is(value($node, 'SELECT count(*) FROM etl.loads WHERE fetched <> loaded + quarantined', db => 'restored'), 0, 'and its ledger adds up');

$long->query('COMMIT');
is(run_pipeline('large')->{out}, 'success', 'a run without old snapshots, under readers');
stop_readers('large loads', @readers);
# (a caller that waits by SELECT has a snapshot itself)
is(run_sql($node, "CALL etl.run('large', '2026-11-19', '2026-11-20')", may_fail => 1)->{state}, '00000', 'one more run, by CALL');
within(5, 'the partition that nobody can see any more is dropped', sub { !partition_exists($old_partition) });
# reclaiming goes on after the run has ended
within(5, 'and all others but that of the last load', sub { value($node, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'raw.large'::regclass") == 2 });
within(5, 'superseded rows are gone', sub { value($node, 'SELECT count(DISTINCT load_id) FROM raw.large') == 1 });
within(5, 'the ledger says so', sub { value($node, "SELECT count(*) FROM etl.loads WHERE pipeline = 'large' AND state = 'superseded' AND reclaimed_at IS NULL") == 0 });

# A reader that holds its locks, though no snapshot: reclaiming must not make others wait.
$long->query('BEGIN; SELECT count(*) FROM raw.vr_large');
@readers = (start_reader('large reader', $READ_LARGE, "$large_rows 10 t", lock_timeout => '60ms'));
is(run_pipeline('large')->{out}, 'success', 'a run beside a session that is idle in transaction') for 1 .. 3;
stop_readers('a session idle in transaction', @readers);
is($long->query('SELECT count(*) FROM raw.vr_large')->{out}, $large_rows, 'that session reads on');
$long->query('COMMIT');
$long->close;

# ------------------------------------------------------------------ rows not published

$api->fault(match => '/pages/small-*', page => 2, fault => 'hang');
my $before = value($node, "$READ");
$caller->send("SELECT state FROM etl_run($DAY, 'small')");
wait_until('the second page hangs', 20, sub { $api->in_flight('/pages/small-*') });
my $load = value($node, "SELECT max(load_id) FROM etl.loads WHERE pipeline = 'small' AND state = 'loading'");
is(value($node, "SELECT count(*) FROM raw.small WHERE load_id = $load"), 10, 'a page of an unfinished load is in the raw table');
is(value($node, "SELECT count(*) FROM raw.vr_small WHERE load_id = $load"), 0, 'and not in its vr_ view');
is(value($node, "SELECT count(*) FROM raw.vl_small WHERE load_id = $load"), 0, 'nor in its vl_ view');
is(value($node, $READ), $before, 'readers see the last published state');
is(value($node, "SELECT fetched FROM etl.progress WHERE pipeline = 'small' AND kind = 'extract'"), 10, 'etl.progress counts it');
value($node, "SELECT etl.cancel(run_id) FROM etl.runs WHERE state = 'running'");
my $result = $caller->wait(10);
is($result && $result->{state}, '57014', 'the run is cancelled');
is(value($node, $READ), $before, 'readers still see the last published state');
$api->heal;
$caller->close;

# ------------------------------------------------------------------------- checks

# What the API says: scripted, one record a row.
sub script
{
	my (@records) = @_;
	my $body = encode_json([ map { { id => $_->[0], name => $_->[1] } } @records ]);

	$api->control('DELETE', 'routes?path=/checked');
	$api->control('PUT', 'routes', { path => '/checked', responses => [ { body => $body } ] });
	return;
}

script([ 1, 'one' ], [ 2, 'two' ]);
run_sql($node, <<SQL);
SELECT etl.create_pipeline('checked');
SELECT etl.add_extract('checked', 'raw.checked', server => 'api', path => '/checked', key => '{\$.id}');
CREATE VIEW stg.txf_checked AS SELECT (payload ->> 'id')::integer AS id, payload ->> 'name' AS name FROM raw.vr_checked;
SELECT etl.add_load('checked', 'stg.checked', mode => 'full', key => '{id}');
SELECT etl.add_check('checked', 'stg.checked', 'not_null', '{"columns": ["name"]}', name => 'has_name');
SELECT etl.add_check('checked', 'stg.checked', 'row_count', '{"max": 2}', name => 'few', severity => 'warn');
SQL
my $CHECKED = "SELECT (SELECT string_agg(id || coalesce(name, '?'), ' ' ORDER BY id) FROM stg.vr_checked), (SELECT string_agg(payload ->> 'id', ' ' ORDER BY payload ->> 'id') FROM raw.vr_checked)";
is(run_pipeline('checked')->{out}, 'success', 'good data pass their checks');
is(value($node, $CHECKED), '1one 2two|1 2', 'and are published');

script([ 1, 'uno' ], [ 2, undef ], [ 3, 'tre' ]);
$result = run_pipeline('checked', may_fail => 1);
is_failure($result, '23514', 'a failed check of severity error');
like($result->{err}, qr/has_name.*stg\.checked.*1 failing row/s, 'the error names check, table and figure');
is(value($node, $CHECKED), '1one 2two|1 2', 'readers have the last good data, raw layer included');

my $run = value($node, "SELECT max(run_id) FROM etl.runs WHERE pipeline = 'checked'");
is(value($node, "SELECT check_name, severity, passed, failing_rows, figure, sample FROM etl.check_results WHERE run_id = $run ORDER BY check_name"),
	qq(few|warn|f|0|3|[]\nhas_name|error|f|1|1|[{"id": 2, "name": null}]), 'the results are kept, with a sample, those of other checks too');
is(value($node, "SELECT task, state FROM etl.task_runs WHERE run_id = $run ORDER BY CASE kind WHEN 'publish' THEN 1 ELSE 0 END, task_run_id"),
	join("\n", 'raw.checked|success', 'stg.checked|upstream_failed', 'has_name|failed', 'few|success', 'publish|failed'), 'the states of the tasks are kept')
  or diag(value($node, "SELECT task, state FROM etl.task_runs WHERE run_id = $run ORDER BY CASE kind WHEN 'publish' THEN 1 ELSE 0 END, task_run_id"));
is(value($node, "SELECT state, error_task, error_code, error_hint IS NOT NULL FROM etl.runs WHERE run_id = $run"), 'failed|has_name|23514|t', 'the run names the check');
cmp_ok(value($node, "SELECT count(*) FROM etl.log WHERE run_id = $run AND level = 'ERROR' AND task = 'has_name' AND message LIKE '%has_name%'"), '>=', 1, 'so does the log');
is(value($node, "SELECT fetched = loaded + quarantined AND fetched = 3 FROM etl.task_runs WHERE run_id = $run AND kind = 'extract'"), 't', 'the counts are kept');
is(value($node, "SELECT count(*) FROM raw.checked WHERE load_id = (SELECT max(load_id) FROM etl.loads WHERE pipeline = 'checked')"), 3, 'the rows that failed can be looked at');

# The source is mended: it is asked again, though the load was complete.
my $asked = () = $api->requests('/checked');
script([ 1, 'uno' ], [ 2, 'due' ], [ 3, 'tre' ]);
is(run_pipeline('checked')->{out}, 'success', 'with good data again the run succeeds, though a check of severity warn fails');
cmp_ok(scalar(my @all = $api->requests('/checked')), '>', $asked, 'the source was asked again');
is(value($node, $CHECKED), '1uno 2due 3tre|1 2 3', 'severity warn publishes');
$run = value($node, "SELECT max(run_id) FROM etl.runs WHERE pipeline = 'checked'");
is(value($node, "SELECT check_name, passed FROM etl.check_results WHERE run_id = $run ORDER BY check_name"), "few|f\nhas_name|t", 'its result is kept');
cmp_ok(value($node, "SELECT count(*) FROM etl.log WHERE run_id = $run AND level = 'WARN' AND message LIKE '%few%'"), '>=', 1, 'and is in the log as WARN');

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'nothing crashed');
$node->stop;
done_testing();
