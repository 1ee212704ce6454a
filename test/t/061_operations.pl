# Operations with real workers: runs that nobody waits for, backfills, retries that go on
# where it failed, waived checks, cleared tasks, waiting, and the report with its statements.
use strict;
use warnings;

use EtlTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $api = EtlTest::Api->start;
my $node = make_node('main', preload => 1);
my $url = $api->url;

run_sql($node, declare_pages(api => $api, pages => 3, per_page => 5, server_options => ", max_attempts '1', retry_delay '10 ms'"));
run_sql($node, q(SELECT etl.add_check('pages', 'pages_stg.items', 'row_count', '{"min": 1}', name => 'some rows')));

sub requests { my ($path) = @_; return scalar $api->requests($path); }

# A statement's error: its SQLSTATE, and that it says what to do.
sub refused { my ($sql, $state, $name) = @_; return is_failure(run_sql($node, $sql, may_fail => 1), $state, $name); }

sub wait_for { my ($run) = @_; return value($node, "SELECT etl.wait($run, '30 s')"); }

sub states
{
	my ($where) = @_;
	return value($node, "SELECT string_agg(state || ' ' || n, ', ' ORDER BY state) FROM (SELECT state, count(*) AS n FROM etl.runs WHERE $where GROUP BY state) s");
}

# ------------------------------------------------------------------------ trigger, wait

$api->fault(match => '/pages/*', page => 2, fault => 'hang');
my $began = now();
my $run = value($node, "SELECT etl.trigger('pages', '2024-01-01', '2024-01-02')");
cmp_ok(now() - $began, '<', 1, 'trigger returns at once');
wait_until('the run hangs', 20, sub { return $api->in_flight('/pages/*') > 0 });
is(states("run_id = $run AND trigger = 'manual' AND requested_by = current_user"), 'running 1', 'while the run goes on, led by somebody who came by himself');
refused("SELECT etl.trigger('pages', '2024-01-01', '2024-01-02')", '55006', 'an interval that is running');
$began = now();
refused("SELECT etl.wait($run, '1 s')", '57014', 'a wait that takes too long');
cmp_ok(abs(now() - $began - 1), '<', 0.9, 'it took the timeout');
is(states("run_id = $run"), 'running 1', 'the run goes on');
my $waiting = session($node);
$waiting->send("SELECT etl.wait($run)");
ok(!$waiting->wait(1), 'without a timeout it waits on');
like(value($node, "SELECT string_agg(line, E'\\n') FROM etl.diagnose($run)"), qr/now: pages_raw\.items: .*page 2/s, 'what it does can be asked for');
is(value($node, "SELECT etl.cancel($run)"), 'cancelling', 'the run is cancelled');
is($waiting->wait(10)->{out}, 'cancelled', 'and who waits is told');
$api->heal;
is(value($node, "SELECT etl.wait($run)"), 'cancelled', 'of a run that has ended the state is told at once');

my $transaction = session($node);
$transaction->query('BEGIN');
$run = $transaction->query("SELECT etl.trigger('pages', '2024-01-01', '2024-01-02')")->{out};
is(active_runs($node), 0, 'before the commit there is no run');
is_failure($transaction->query("SAVEPOINT s; SELECT etl.wait($run)"), '25001', 'it cannot be waited for by who has queued it');
$transaction->query('ROLLBACK TO s; COMMIT');
is(wait_for($run), 'success', 'it starts with the commit');
$transaction->query("BEGIN; SELECT etl.trigger('pages', '2024-01-05', '2024-01-06'); ROLLBACK");
is(states("data_interval_start = '2024-01-05'"), '', 'and does not, when it is rolled back');

# a session that waits for a run which waits for it
$transaction->query('BEGIN; LOCK pages_stg.items');
$run = value($node, "SELECT etl.trigger('pages', '2024-01-02', '2024-01-03')");
is_failure($transaction->query("SELECT etl.wait($run)"), '40P01', 'a run that waits for a lock of who waits for it');
$transaction->query('ROLLBACK');
is(wait_for($run), 'success', 'without that lock it goes on');
$transaction->close;

run_sql($node, "SELECT etl.alter_pipeline('pages', schedule => '\@hourly', timezone => 'Asia/Kolkata', start_date => '2100-01-01')");
$run = value($node, "SELECT etl.trigger('pages')");
is(wait_for($run), 'success', 'without an interval');
is(value($node, "SELECT data_interval_end - data_interval_start, now() - data_interval_end BETWEEN '0' AND '61 minutes', extract(minute FROM data_interval_end) FROM etl.runs WHERE run_id = $run"),
	'01:00:00|t|30', 'it is the last complete one of the schedule');
run_sql($node, "SELECT etl.alter_pipeline('pages', schedule => 'none', timezone => 'UTC', reset => '{start_date}')");

# the coordinator is lost while somebody waits
$api->fault(match => '/pages/*', page => 2, fault => 'hang');
$run = value($node, "SELECT etl.trigger('pages', '2024-01-03', '2024-01-04')");
wait_until('the run hangs', 20, sub { return $api->in_flight('/pages/*') > 0 });
$waiting->send("SELECT etl.wait($run)");
run_sql($node, "SELECT pg_terminate_backend($_)") foreach activity_pids($node, 'etl coordinator');
$api->heal;
run_sql($node, "SELECT pg_terminate_backend($_)") foreach activity_pids($node, 'etl worker');
my $waited = $waiting->wait(20);
like($waited ? $waited->{out} : 'it waits', qr/^(failed|success)$/, 'the coordinator is terminated, and the wait ends all the same');

# ---------------------------------------------------------------------------- backfills

sub backfill { my ($arguments, %options) = @_; return run_sql($node, "SELECT * FROM etl.backfill($arguments)", %options); }

sub backfill_ends
{
	my ($id) = @_;
	return poll(60, sub { my $state = value($node, "SELECT state FROM etl.backfills WHERE backfill_id = $id"); return $state ne 'running' && $state }) // 'running';
}

# days, runs, days that succeeded exactly once
sub fill { my ($month) = @_; return value($node, "SELECT count(DISTINCT data_interval_start), count(*), count(*) FILTER (WHERE state = 'success') FROM etl.runs WHERE to_char(data_interval_start, 'YYYY-MM') = '$month'"); }

is(backfill(q('pages', date '2024-02-01', date '2024-02-11', dry_run => true))->{out}, join("\n", map { sprintf '|2024-02-%02d 00:00:00+00|2024-02-%02d 00:00:00+00|never run', $_, $_ + 1 } 1 .. 10), 'a dry run tells what would run');
is(value($node, 'SELECT count(*) FROM etl.backfills'), 0, 'and does nothing');
my $before = requests('/pages/*');
$began = now();
my $result = backfill(q('pages', date '2024-02-01', date '2024-02-11', max_active => 2));
is($result->{out}, join("\n", map { sprintf '1|2024-02-%02d 00:00:00+00|2024-02-%02d 00:00:00+00|never run', $_, $_ + 1 } 1 .. 10), 'ten days');
cmp_ok(now() - $began, '<', 1, 'are asked for at once');
is(backfill_ends(1), 'success', 'and run by themselves');
is(fill('2024-02'), '10|10|10', 'each once');
is(requests('/pages/*') - $before, 30, 'with a request a page');
is(value($node, q(SELECT intervals, success, failed, running, remaining, eta IS NULL, ended_at > started_at, requested_by = current_user FROM etl.backfills)), '10|10|0|0|0|t|t|t', 'the object says so');
is(value($node, q(SELECT string_agg(r.trigger || i.state, ',') FROM (SELECT DISTINCT r.trigger, i.state FROM etl.backfill_intervals i JOIN etl.runs r USING (run_id)) r(trigger, state), LATERAL (SELECT r.state) i)), 'backfillsuccess', 'and its intervals');
is(value($node, 'SELECT count(*), count(DISTINCT day) FROM pages_stg.items WHERE day BETWEEN \'2024-02-01\' AND \'2024-02-28\''), '150|10', 'the data are there');

like(backfill(q('pages', date '2024-02-01', date '2024-02-11'))->{err}, qr/nothing to do.*rerun => 'failed'/s, 'what was run is not run again');
is(value($node, 'SELECT count(*) FROM etl.backfills'), 1, 'and makes no object');
# one day fails for good
$api->fault(match => '/pages/pages-2024-03-02', fault => 'status_404');
backfill(q('pages', '2024-03-01', '2024-03-04', reverse => true));
is(backfill_ends(2), 'failed', 'a backfill with an interval that fails');
is(value($node, q(SELECT string_agg(to_char(data_interval_start, 'DD') || ' ' || state, ', ' ORDER BY run_id) FROM etl.runs WHERE trigger = 'backfill' AND data_interval_start >= '2024-03-01')), '03 success, 02 failed, 01 success', 'goes on with the others; in reverse order');
$api->heal;
is(backfill(q('pages', '2024-03-01', '2024-03-04', 'failed', dry_run => true))->{out}, '|2024-03-02 00:00:00+00|2024-03-03 00:00:00+00|failed', 'what failed can be run again');
is(backfill(q('pages', '2024-03-01', '2024-03-04', 'none'))->{out}, '', 'if that is what is wanted');
backfill(q('pages', '2024-03-01', '2024-03-04', 'failed'));
is(backfill_ends(3), 'success', 'it succeeds now');
is(fill('2024-03'), '3|4|3', 'that day alone was run again');
backfill(q('pages', '2024-03-01', '2024-03-04', 'all'));
is(backfill_ends(4), 'success', 'all of them, again');
is(fill('2024-03'), '3|7|6', 'each of them was');

# cancelled in the middle
$api->fault(match => '/pages/pages-2024-04-03', fault => 'hang');
backfill(q('pages', date '2024-04-01', date '2024-04-11'));
wait_until('the third day hangs', 20, sub { return $api->in_flight('/pages/*') > 0 });
is(value($node, 'SELECT state, success, running, remaining, eta IS NOT NULL FROM etl.backfills WHERE backfill_id = 5'), 'running|2|1|7|t', 'progress');
refused(q(SELECT * FROM etl.backfill('pages', date '2024-04-05', date '2024-04-06')), '55006', 'two backfills of one interval');
is(value($node, 'SELECT etl.cancel_backfill(5, \'enough\')'), 'cancelling', 'a backfill is cancelled');
is(backfill_ends(5), 'cancelled', 'with the run that is under way');
is(value($node, 'SELECT success, failed, cancelled, remaining, cancel_reason FROM etl.backfills WHERE backfill_id = 5'), '2|0|8|0|enough', 'what is done stays');
is(fill('2024-04'), '3|3|2', 'nothing else is run');
refused('SELECT etl.cancel_backfill(5)', '55000', 'it has ended');
$api->heal;

# a run of one of its intervals that was there before is not doubled
$api->fault(match => '/pages/pages-2024-05-02', page => 2, fault => 'hang', times => 1);
$run = value($node, "SELECT etl.trigger('pages', '2024-05-02', '2024-05-03')");
wait_until('the run hangs', 20, sub { return $api->in_flight('/pages/*') > 0 });
backfill(q('pages', date '2024-05-01', date '2024-05-04', 'all', max_active => 3));
within(20, 'the backfill takes the run there is', sub { return value($node, "SELECT count(*) FROM etl.backfill_intervals WHERE backfill_id = 6 AND run_id = $run") });
run_sql($node, "SELECT etl.cancel($run)");
is(backfill_ends(6), 'failed', 'and goes by what becomes of it');
is(fill('2024-05'), '3|3|2', 'no run was doubled');

# killed in the middle; paused in the middle.  A crash skips numbers of a sequence.
sub newest { return value($node, 'SELECT max(backfill_id) FROM etl.backfills'); }


$api->fault(match => '/pages/pages-2024-06-03', page => 2, fault => 'hang', times => 1);
backfill(q('pages', date '2024-06-01', date '2024-06-08'));
wait_until('the third day hangs', 20, sub { return $api->in_flight('/pages/*') > 0 });
kill_postmaster($node);
$node->start;
is(backfill_ends(newest()), 'success', 'the server is killed, and the backfill goes on by itself when it is back');
is(fill('2024-06'), '7|7|7', 'no run is lost or doubled');
is(value($node, q(SELECT string_agg(a.state || coalesce(' ' || a.error_code, ''), ', ' ORDER BY a.attempt) FROM etl.task_attempts a JOIN etl.runs r USING (run_id)
	WHERE r.data_interval_start = '2024-06-03' AND a.task = 'pages_raw.items')), 'failed 57P02, success', 'the task that was hit was tried again');
is(requests('/pages/pages-2024-06-03'), 4, 'from the page on that was not committed');

$api->latency(500);
backfill(q('pages', date '2024-07-01', date '2024-07-06'));
wait_until('the second day is under way', 20, sub { return $api->in_flight('/pages/pages-2024-07-02') > 0 });
run_sql($node, "SELECT etl.pause('pages')");
wait_until('the run under way ends', 20, sub { return active_runs($node) == 0 });
$api->latency(0);
sleep 1;
is(value($node, 'SELECT state, success, remaining FROM etl.backfills ORDER BY backfill_id DESC LIMIT 1'), 'running|2|3', 'a pipeline that is paused queues nothing');
run_sql($node, "SELECT etl.resume('pages')");
is(backfill_ends(newest()), 'success', 'and goes on when it is resumed');

# another transaction has an interval in hand: the others of the coordinator go on
$transaction = session($node);
$transaction->query('BEGIN');
my $held = $transaction->query("SELECT etl.trigger('pages', '2024-08-02', '2024-08-03')")->{out};
backfill(q('pages', date '2024-08-01', date '2024-08-04'));
within(20, 'the interval before it is run', sub { return value($node, 'SELECT success FROM etl.backfills ORDER BY backfill_id DESC LIMIT 1') == 1 });
sleep 1;
is(value($node, 'SELECT state, success, running, remaining FROM etl.backfills ORDER BY backfill_id DESC LIMIT 1'), 'running|1|0|2', 'a backfill waits for the transaction');
is(value($node, "SELECT state FROM etl_run(date '2024-08-09', 'pages')"), 'success', 'nobody else does');
$transaction->query('ROLLBACK');
is(backfill_ends(newest()), 'success', 'when it has ended, the backfill goes on');
is(fill('2024-08'), '4|4|4', 'with a run of its own');
$transaction->close;

# each interval waits for the one before
run_sql($node, "SELECT etl.alter_pipeline('pages', depends_on_past => true)");
$api->fault(match => '/pages/pages-2024-09-02', fault => 'status_404');
backfill(q('pages', date '2024-09-01', date '2024-09-05', max_active => 2));
within(20, 'a run that has failed keeps the next one waiting', sub { return value($node, q(SELECT waits_for FROM etl.runs WHERE data_interval_start = '2024-09-03')) =~ /interval 2024-09-02.*failed/ });
like(value($node, "SELECT string_agg(line, E'\\n') FROM etl.diagnose() WHERE section = 'waiting'"), qr/interval 2024-09-03.* is queued.*depends on its past.*backfill \d+: 1 of 4 intervals done, 1 failed/s, 'the report tells what waits');
within(20, 'and no process with it', sub { return !activity_pids($node, 'etl coordinator') });
$api->heal;
run_sql($node, (grep { /retry/ } split /\n/, value($node, "SELECT line FROM etl.diagnose() WHERE section = 'next'"))[0]);
is(backfill_ends(newest()), 'success', 'the statement it ends with lets the backfill go on, and counts for it');
is(value($node, q(SELECT string_agg(DISTINCT to_char(data_interval_start, 'DD'), ',') FROM etl.runs WHERE state = 'success' AND to_char(data_interval_start, 'YYYY-MM') = '2024-09')), '01,02,03,04', 'to the end');
run_sql($node, "SELECT etl.alter_pipeline('pages', depends_on_past => false)");

# a pipeline whose runs do not overlap
run_sql($node, "SELECT etl.alter_pipeline('pages', overlap => 'skip')");
$api->fault(match => '/pages/pages-2024-10-01', page => 2, fault => 'hang', times => 1);
$run = value($node, "SELECT etl.trigger('pages', '2024-10-01', '2024-10-02')");
wait_until('the run hangs', 20, sub { return $api->in_flight('/pages/*') > 0 });
refused("SELECT etl.trigger('pages', '2024-10-05', '2024-10-06')", '55006', 'a second run, where overlap is skip');
run_sql($node, "SELECT etl.cancel($run)");
is(wait_for($run), 'cancelled', 'until the first has ended');
run_sql($node, "SELECT etl.alter_pipeline('pages', overlap => 'queue')");

# a copy of the database fills nothing
run_sql($node, "SELECT etl.alter_pipeline('pages', depends_on_past => true)");
$api->fault(match => '/pages/pages-2023-11-01', fault => 'status_404');
backfill(q('pages', date '2023-11-01', date '2023-11-05'));
within(20, 'a backfill waits', sub { return value($node, q(SELECT waits_for IS NOT NULL FROM etl.runs WHERE state = 'queued')) eq 't' });
wait_until('nothing is connected', 30, sub { return !activity_pids($node, 'etl coordinator') && !activity_pids($node, 'etl worker') });
run_sql($node, 'CREATE DATABASE copy TEMPLATE postgres', db => 'template1');
$api->heal;
$before = requests('/pages/*');
sleep 1;
is(value($node, 'SELECT state FROM etl.backfills ORDER BY backfill_id DESC LIMIT 1', db => 'copy'), 'running', 'as it was copied');
is(requests('/pages/*') - $before, 0, 'the copy asks for nothing');
is_failure(run_sql($node, q(SELECT etl.trigger('pages')), db => 'copy', may_fail => 1), '55000', 'before it is resumed, nothing can be asked for');
run_sql($node, 'SELECT etl.resume()', db => 'copy');
is(value($node, 'SELECT state, problem, remaining + running FROM etl.backfills ORDER BY backfill_id DESC LIMIT 1', db => 'copy'), 'cancelled|the database was copied|0', 'nor when it is resumed');
is(value($node, q(SELECT count(*) FROM etl.runs WHERE state IN ('queued', 'running')), db => 'copy'), 0, 'nothing is left of it');
run_sql($node, (grep { /retry/ } split /\n/, value($node, "SELECT line FROM etl.diagnose() WHERE section = 'next'"))[0]);
is(backfill_ends(newest()), 'success', 'the original goes on');
run_sql($node, "SELECT etl.alter_pipeline('pages', depends_on_past => false)");

# a source that knows the present only: thirty days are one fetch
$api->control('POST', 'datasets', { name => 'cur', records => [ map { { id => $_, updated_at => sprintf('2024-01-%02dT12:00:00Z', $_), v => 1 } } 1 .. 30 ] });
run_sql($node, <<SQL);
SELECT etl.create_pipeline('cur', schedule => '\@daily', start_date => '2100-01-01');
SELECT etl.add_extract('cur', 'cur.raw', 'pages', '/datasets/cur', records => '\$.data[*]', key => '{\$.id}', pagination => '{"type": "next_url"}',
	reads => 'current', record_time => '\$.updated_at', version => '\$.v');
SELECT * FROM etl.backfill('cur', date '2024-01-01', date '2024-01-31');
SQL
is(backfill_ends(newest()), 'success', 'a backfill of thirty days of the present');
is(requests('/datasets/cur'), 3, 'is one fetch of three pages');
is(value($node, q(SELECT count(*), count(*) FILTER (WHERE data_interval_start = date_trunc('day', (payload ->> 'updated_at')::timestamptz)) FROM cur.vr_raw)), '30|30', 'each record is in its interval');

# ------------------------------------------------------------------------ retry, waive

run_sql($node, <<SQL);
CREATE SERVER two FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url', max_attempts '1');
CREATE SCHEMA two;
SELECT etl.create_pipeline('two');
SELECT etl.add_extract('two', 'two.a', server => 'two', path => '/pages/a-{ds}', query => '{"pages": 2, "per_page": 5}', records => '\$.data[*]', pagination => '{"type": "link_header"}');
SELECT etl.add_extract('two', 'two.b', server => 'two', path => '/pages/b-{ds}', query => '{"pages": 3, "per_page": 5}', records => '\$.data[*]', pagination => '{"type": "link_header"}');
CREATE VIEW two.txf_t AS SELECT (payload ->> 'id')::integer AS id, count(*) AS n FROM (SELECT payload FROM two.vr_a WHERE data_interval_start = etl.data_interval_start()
	UNION ALL SELECT payload FROM two.vr_b WHERE data_interval_start = etl.data_interval_start()) x GROUP BY 1;
SELECT etl.add_load('two', 'two.t', 'full', key => '{id}');
CREATE VIEW two.txf_u AS SELECT id FROM two.t;
SELECT etl.add_load('two', 'two.u', 'full', key => '{id}');
CREATE VIEW two.txf_apart AS SELECT 1 AS id;
SELECT etl.add_load('two', 'two.apart', 'full', key => '{id}');
SELECT etl.add_check('two', 'two.t', 'row_count', '{"max": 10}', name => 'not "too" many');
SELECT etl.add_check('two', 'two.t', 'unique', '{"columns": ["id"]}', name => 'ids');
SQL

$api->fault(match => '/pages/b-2024-01-01', page => 2, fault => 'status_500');
$run = value($node, "SELECT etl.trigger('two', '2024-01-01', '2024-01-02')");
is(wait_for($run), 'failed', 'one of two extractions fails');
refused("SELECT etl.retry($run, waive => '{ids}')", '22023', 'a waiver without a reason');
refused("SELECT etl.retry($run, waive => '{nosuch}', reason => 'x')", '42704', 'a waiver of what is no check');
$api->heal;
my ($a, $b) = (requests('/pages/a-*'), requests('/pages/b-*'));
my $retry = value($node, "SELECT etl.retry($run)");
is(wait_for($retry), 'failed', 'the retry');
is(requests('/pages/a-*') - $a, 0, 'does not fetch what is complete');
is(requests('/pages/b-*') - $b, 2, 'and goes on at the page that failed');
is(value($node, "SELECT trigger, retry_of = $run, error_code FROM etl.runs WHERE run_id = $retry"), 'retry|t|23514', 'now a check fails');
($a, $b) = (requests('/pages/a-*'), requests('/pages/b-*'));
my $waived = value($node, qq(SELECT etl.retry($retry, waive => '{"not \\"too\\" many"}', reason => 'a fair')));
is(wait_for($waived), 'success', 'with the check waived it is published');
is(requests('/pages/a-*') + requests('/pages/b-*') - $a - $b, 0, 'without a request');
is(value($node, "SELECT check_name, severity, passed, waived FROM etl.check_results WHERE run_id = $waived ORDER BY 1"), "ids|error|t|f\nnot \"too\" many|error|f|t", 'the result is what it was, and says that it was waived');
is(value($node, 'SELECT run_id, check_name, waived_by = current_user, reason, retry_of FROM etl.check_waivers'), "$waived|not \"too\" many|t|a fair|$retry", 'who, when and why is kept');
is(value($node, "SELECT count(*) FROM etl.log WHERE run_id = $waived AND level = 'WARN' AND message ~ 'waived by .*: a fair'"), 1, 'and logged');
is(value($node, 'SELECT count(*) FROM two.t'), 15, 'readers have the data');
refused("SELECT etl.retry($waived)", '55000', 'a run that succeeded');
refused("SELECT etl.retry($run)", '55000', 'an interval that has succeeded since');
$run = value($node, "SELECT etl.trigger('two', '2024-01-01', '2024-01-02')");
is(wait_for($run), 'failed', 'the waiver was for that run only');

# -------------------------------------------------------------------------------- clear

run_sql($node, q(SELECT etl.add_check('two', 'two.t', 'row_count', '{"max": 100}', name => 'not "too" many')));
is(wait_for(value($node, "SELECT etl.retry($run)")), 'success', 'with the check declared anew');
$run = value($node, "SELECT max(run_id) FROM etl.runs WHERE pipeline = 'two'");
($a, $b) = (requests('/pages/a-*'), requests('/pages/b-*'));

sub done { my ($of) = @_; return value($node, "SELECT string_agg(task, ',' ORDER BY task) FROM etl.task_runs WHERE run_id = $of AND state = 'success' AND kind <> 'publish'"); }

my $cleared = value($node, "SELECT etl.clear($run, 'two.b')");
is(wait_for($cleared), 'success', 'an extraction is cleared');
is(value($node, "SELECT trigger, retry_of FROM etl.runs WHERE run_id = $cleared"), "clear|$run", 'the new run says of what');
is((requests('/pages/a-*') - $a) . ' ' . (requests('/pages/b-*') - $b), '0 3', 'its source is asked again, the other is not');
is(done($cleared), 'ids,not "too" many,two.b,two.t,two.u', 'with what comes after it');
is(value($node, 'SELECT count(*) FROM two.vr_b'), 15, 'its load is replaced');
is(wait_for($cleared = value($node, "SELECT etl.clear($run, 'two.t', downstream => false)")), 'success', 'a load is cleared, alone');
is(done($cleared), 'two.t', 'nothing else is done');
is((requests('/pages/a-*') - $a) . ' ' . (requests('/pages/b-*') - $b), '0 3', 'no request is made');
is(wait_for($cleared = value($node, "SELECT etl.clear($run)")), 'success', 'everything is cleared');
is((requests('/pages/a-*') - $a) . ' ' . (requests('/pages/b-*') - $b), '2 6', 'and fetched again');
refused("SELECT etl.clear($run, 'two.nosuch')", '42704', 'a task that is not there');
# the same where each task is published by itself
run_sql($node, "SELECT etl.alter_pipeline('two', publish => 'per_task')");
($a, $b) = (requests('/pages/a-*'), requests('/pages/b-*'));
is(wait_for($cleared = value($node, "SELECT etl.clear($run, 'two.t')")), 'success', 'where each task is published by itself, a load is cleared');
like(done($cleared), qr/two\.t.*two\.u/, 'with what comes after it');
unlike(done($cleared), qr/two\.(a|b|apart)/, 'and nothing else');
is((requests('/pages/a-*') - $a) . ' ' . (requests('/pages/b-*') - $b), '0 0', 'without a request');
run_sql($node, "SELECT etl.alter_pipeline('two', publish => 'pipeline')");
# of a run that failed, what was fetched and not published
$api->fault(match => '/pages/b-2024-01-05', page => 3, fault => 'status_500');
$run = value($node, "SELECT etl.trigger('two', '2024-01-05', '2024-01-06')");
is(wait_for($run), 'failed', 'a run that fails');
$api->heal;
($a, $b) = (requests('/pages/a-*'), requests('/pages/b-*'));
is(wait_for(value($node, "SELECT etl.clear($run, 'two.a')")), 'success', 'its other extraction is cleared');
is((requests('/pages/a-*') - $a) . ' ' . (requests('/pages/b-*') - $b), '2 1', 'that one begins again, the failed one goes on');

# ----------------------------------------------------------------------------- diagnose

sub report { my ($argument) = @_; return value($node, "SELECT section || ': ' || line FROM etl.diagnose($argument)"); }

sub statements { my ($argument) = @_; return grep { !/^--/ } split /\n/, value($node, "SELECT line FROM etl.diagnose($argument) WHERE section = 'next'"); }

run_sql($node, q(SELECT etl.add_check('two', 'two.t', 'row_count', '{"max": 1}', name => 'it''s one')));
run_sql($node, q(SELECT etl.create_pipeline('mart', after => '{two}')));
$run = value($node, "SELECT etl.trigger('two', '2024-01-06', '2024-01-07')");
is(wait_for($run), 'failed', 'a check fails');
my $report = report('');
like($report, $_->[0], $_->[1]) foreach ([ qr/^run: run $run of pipeline "two": failed$/m, 'the last failure is found' ],
	[ qr/^cause: SQLSTATE: 23514$/m, 'its cause is told' ], [ qr/^cause: task: it's one$/m, 'and where' ],
	[ qr/^checks: check "it's one" .* 15 found, allowed: at most 1/m, 'the check that failed' ],
	[ qr/^attempts: publish attempt 1: failed with 23514/m, 'the attempts' ],
	[ qr/^last good: interval 2024-01-05/m, 'the last good interval' ], [ qr/^waiting: pipeline "mart", which runs after it$/m, 'who waits' ],
	[ qr/^log: .*ERROR/m, 'the log' ]);
my @next = statements('');
is($next[0], "SELECT etl.retry($run);", 'what to type next');
is($next[1], "SELECT etl.retry($run, waive => '{\"it''s one\"}', reason => 'accepted by postgres');", 'or else');
is($next[2], "SELECT etl.clear($run, 'two.a');", 'or else');
my $typed = value($node, $next[0]);
is(wait_for($typed), 'failed', 'typed literally it runs');
is((statements($run))[0], "SELECT * FROM etl.diagnose($typed);", 'the old run leads to the new one');
$typed = value($node, (statements($typed))[1]);
is(wait_for($typed), 'success', 'the other one, too');
is((statements($typed))[0], "SELECT etl.clear($typed);", 'a success can be done again');
# quarantine
run_sql($node, <<'SQL');
SELECT etl.create_pipeline('bad');
SELECT etl.add_extract('bad', 'bad.raw', server => 'two', path => '/pages/bad-{ds}', query => '{"pages": 1, "per_page": 5}', records => '$.data[*]',
	record_schema => '{"properties": {"id": {"maximum": 3}}}');
CREATE VIEW bad.txf_t AS SELECT 1 / (count(*) - 3) AS id FROM bad.vr_raw;
SELECT etl.add_load('bad', 'bad.t', 'full', key => '{id}');
SQL
is(wait_for($run = value($node, "SELECT etl.trigger('bad', '2024-01-06', '2024-01-07')")), 'failed', 'records are refused, and a view fails');
like(report(''), qr/^quarantine: bad\.raw: 2 records \(23514\), for example \d+: .*maximum/m, 'both are told');
is(value($node, "SELECT count(*) FROM etl.quarantine WHERE pipeline = 'bad'"), 2, 'the records are there');
run_sql($node, q(SELECT etl.add_extract('bad', 'bad.raw', server => 'two', path => '/pages/bad-{ds}', query => '{"pages": 1, "per_page": 5}', records => '$.data[*]')));
foreach my $statement (statements(''))
{
	next if $statement =~ /clear/;
	my $outcome = run_sql($node, $statement, may_fail => 1);
	is($outcome->{state}, '00000', "runs literally: $statement") or diag($outcome->{err});
	is(wait_for($outcome->{out}), 'success', 'and puts it right') if $statement =~ /retry/;
}
is(value($node, 'SELECT count(*) FROM bad.vr_raw'), 5, 'all records are in');

# a run that is queued, when nobody leads
$node->stop;
$node->append_conf('postgresql.conf', "max_worker_processes = 0");
$node->start;
$run = value($node, "SELECT etl.trigger('two', '2024-01-08', '2024-01-09')");
is(states("run_id = $run"), 'queued 1', 'without a worker slot a run stays queued');
is(value($node, "SELECT etl.cancel($run)"), 'cancelled', 'and can be cancelled');
is(states("run_id = $run"), 'cancelled 1', 'there and then');

done_testing();
