# The queue with real workers: priorities, pools, runs of one pipeline at a time, the three
# overlap policies, what waits for other runs and pipelines, triggers, time limits.  Runs
# are held up by a view that waits for an advisory lock of the test.
use strict;
use warnings;

use EtlTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $SOON = 20;
my $node = make_node('main', preload => 1, conf => "etl.worker_linger = 0\netl.max_workers = 6");
my $gate = session($node, name => 'gate');

# A pipeline whose loads wait while its gate is closed.
sub pipeline
{
	my ($name, $settings) = @_;

	run_sql($node, qq{
CREATE SCHEMA IF NOT EXISTS q;
CREATE VIEW q.txf_$name AS SELECT etl.run_date() AS day FROM (SELECT pg_advisory_xact_lock_shared(hashtext('$name'))) held;
SELECT etl.create_pipeline('$name'} . (defined $settings ? ", $settings" : '') . qq{);
SELECT etl.add_load('$name', 'q.$name', mode => 'partition', partition_by => 'day');});
	return;
}

sub close_gate { $gate->query("SELECT pg_advisory_lock(hashtext('$_'))") foreach @_; return; }
sub open_gate { $gate->query("SELECT pg_advisory_unlock(hashtext('$_'))") foreach @_; return; }

# Asks without waiting, as a schedule does; and waits for the outcome.
sub ask
{
	my ($pipeline, $date, $trigger) = @_;

	run_sql($node, "SELECT etl._submit((random() * 1e15)::bigint, current_user, NULL, '$date', '$pipeline', NULL, NULL, '" . ($trigger // 'schedule') . "'), etl._wake_coordinator_on_commit()");
	return;
}

sub state_of
{
	my ($pipeline, $date) = @_;

	return value($node, "SELECT string_agg(state, ',' ORDER BY run_id) FROM etl.runs WHERE pipeline = '$pipeline'" . (defined $date ? " AND run_date = '$date'" : ''));
}

sub becomes
{
	my ($pipeline, $date, $state, $name) = @_;

	return within($SOON, $name, sub { return (state_of($pipeline, $date) // '') eq $state })
	  || diag(value($node, "SELECT string_agg(r::text, E'\\n') FROM etl.runs r"));
}

# at its load, and held up there
sub held { my ($pipeline) = @_; return value($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = hashtext('$pipeline')::bigint & 4294967295"); }

sub nobody_waits { return within($SOON, "$_[0]: without a coordinator", sub { return processes('coordinator') == 0 }); }
sub all_quiet { return within($SOON, "$_[0]: nothing is left", sub { return value($node, "SELECT count(*) FROM etl.progress") == 0 && processes('coordinator') == 0 }); }
# how many coordinators or workers there are
sub processes { my ($kind) = @_; return value($node, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'etl $kind'"); }

# ----------------------------------------------------------------- priorities, pools

run_sql($node, "SELECT etl.set_pool('one', 1)");
pipeline('holder', "pool => 'one'");
pipeline('low', "pool => 'one', priority => -1");
pipeline('middle', "pool => 'one'");
pipeline('high', "pool => 'one', priority => 10");
pipeline('free');
close_gate('holder');
ask('holder', '2026-01-01');
wait_until('the slot is taken', $SOON, sub { return held('holder') });
ask($_, '2026-01-01') foreach qw(low middle high free);
becomes('free', undef, 'success', 'who is in no pool goes on');
is(value($node, "SELECT slots || ' ' || used || ' ' || queued FROM etl.pools"), '1 1 3', 'three tasks wait for the slot');
is(value($node, "SELECT count(*) FROM etl.progress WHERE activity = 'waiting for a slot of pool \"one\"'"), 3, 'and say so');
is(processes('worker'), 1, 'without a worker');
open_gate('holder');
becomes('low', undef, 'success', 'the slot is handed on');
# as the attempts were: runs are ended by the coordinator, several in one wake
is(value($node, "SELECT string_agg(pipeline, ',' ORDER BY started_at) FROM etl.task_attempts WHERE pipeline <> 'free'"), 'holder,high,middle,low', 'by priority');
all_quiet('pools');

# a slot more lets one more begin, at once
close_gate(qw(low middle high));
ask($_, '2026-01-02') foreach qw(low middle high);
wait_until('one is at it', $SOON, sub { return held('high') + held('middle') + held('low') == 1 });
run_sql($node, "SELECT etl.set_pool('one', 2)");
within($SOON, 'a slot more', sub { return held('high') + held('middle') + held('low') == 2 });
open_gate(qw(low middle high));
all_quiet('another slot');

# never more than there are, however many claim at the same time
run_sql($node, "SELECT etl.set_pool('three', 3)");
run_sql($node, qq{CREATE TABLE q.seen (n bigint);
CREATE FUNCTION q.look() RETURNS date LANGUAGE sql VOLATILE AS \$\$ INSERT INTO q.seen SELECT count(*) FROM pg_locks l WHERE l.locktype = 'advisory' AND l.objsubid = 231 AND l.classid::bigint >> 24 = 3; SELECT pg_sleep(0.02); SELECT etl.run_date(); \$\$;
CREATE VIEW q.txf_many AS SELECT q.look() AS day;});
run_sql($node, join("\n", map { qq{SELECT etl.create_pipeline('many_$_', pool => 'three'); SELECT etl.add_load('many_$_', 'q.many_$_', mode => 'partition', partition_by => 'day', source => 'q.txf_many');} } 1 .. 24));
my $many = run_sql($node, "SELECT etl.pause(p) FROM unnest('{holder,low,middle,high,free}'::text[]) p; SELECT count(*) FROM etl_run(date '2026-02-01') WHERE state = 'success'; SELECT etl.resume();", seconds => 120);
is(value($node, "SELECT count(*) FROM etl.runs WHERE pipeline ~ '^many' AND state = 'success'"), 24, 'all get their turn');
cmp_ok(value($node, 'SELECT max(n) FROM q.seen'), '<=', 3, 'three at a time, no more');
run_sql($node, "SELECT etl.drop_pipeline('many_' || n) FROM generate_series(1, 24) n");

# ------------------------------------------------------- runs of one pipeline at a time

pipeline('two', 'max_active_runs => 2');
close_gate('two');
ask('two', "2026-01-0$_") foreach 1 .. 4;
within($SOON, 'max_active_runs start', sub { return state_of('two') eq 'running,running,queued,queued' });
is(value($node, "SELECT string_agg(waits_for, ',' ORDER BY run_id) FROM etl.progress WHERE run_state = 'queued'"),
	'max_active_runs of the pipeline: place 1 in its queue,max_active_runs of the pipeline: place 2 in its queue', 'the others see their place');
open_gate('two');
becomes('two', undef, 'success,success,success,success', 'and then get it');
is(value($node, 'SELECT string_agg(day::text, $$,$$ ORDER BY day) FROM q.two'), '2026-01-01,2026-01-02,2026-01-03,2026-01-04', 'every interval is there, once');
all_quiet('max_active_runs');

# several intervals at a time into the same tables: as if one after the other
my $intervals = 12;
foreach my $name (qw(serial parallel))
{
	run_sql($node, qq{
CREATE SCHEMA $name;
CREATE VIEW $name.txf_latest AS SELECT k AS id, etl.run_date() AS day, (k * extract(day FROM etl.run_date()))::integer AS value FROM generate_series(1, 50) k WHERE k % 5 <> extract(day FROM etl.run_date())::integer % 5;
CREATE VIEW $name.txf_versions AS SELECT id, value % 7 AS value FROM $name.txf_latest;
CREATE VIEW $name.txf_days AS SELECT day, id FROM $name.txf_latest;
SELECT etl.create_pipeline('$name'} . ($name eq 'parallel' ? ', max_active_runs => 5' : '') . qq{);
SELECT etl.add_load('$name', '$name.latest', mode => 'incremental', key => '{id}', source_kind => 'changes');
SELECT etl.add_load('$name', '$name.versions', mode => 'scd2', key => '{id}', source_kind => 'changes');
SELECT etl.add_load('$name', '$name.days', mode => 'partition', partition_by => 'day');});
	run_sql($node, "SELECT etl._submit(4711, current_user, NULL, d::date, '$name', NULL, NULL, 'backfill') FROM generate_series(timestamp '2026-01-01', timestamp '2026-01-01' + interval '1 day' * ($intervals - 1), '1 day') d; SELECT etl._wake_coordinator_on_commit();");
	within(60, "$name: all intervals are published", sub { return value($node, "SELECT count(*) FROM etl.runs WHERE pipeline = '$name' AND state = 'success'") == $intervals })
	  or diag(value($node, "SELECT string_agg(r::text, E'\\n') FROM etl.runs r WHERE pipeline = '$name' AND state <> 'success'"));
}
cmp_ok(value($node, "SELECT max(n) FROM (SELECT count(*) AS n FROM etl.runs a JOIN etl.runs b ON b.pipeline = 'parallel' AND b.started_at <= a.started_at AND b.ended_at > a.started_at WHERE a.pipeline = 'parallel' GROUP BY a.run_id) x"), '>', 1, 'of one, several ran at a time');
foreach my $table (qw(latest days))
{
	is(value($node, "SELECT count(*) FROM ((TABLE serial.$table EXCEPT ALL TABLE parallel.$table) UNION ALL (TABLE parallel.$table EXCEPT ALL TABLE serial.$table)) d"), 0, "$table is the same");
}
my $versions = 'SELECT id, value, valid_from, valid_to, is_current, version_number';
is(value($node, "SELECT count(*) FROM (($versions FROM serial.versions EXCEPT ALL $versions FROM parallel.versions) UNION ALL ($versions FROM parallel.versions EXCEPT ALL $versions FROM serial.versions)) d"), 0,
	'and so is every version of every row');
cmp_ok(value($node, 'SELECT count(*) FROM parallel.versions'), '>', 100, 'of which there are many');
all_quiet('several intervals at a time');

# --------------------------------------------------------------------------- overlap

pipeline('policy_queue');
pipeline('policy_skip', "overlap => 'skip'");
pipeline('policy_cancel', "overlap => 'cancel_previous'");
my @policies = qw(policy_queue policy_skip policy_cancel);
close_gate(@policies);
ask($_, '2026-01-01') foreach @policies;
wait_until('all are at it', $SOON, sub { return held('policy_queue') && held('policy_skip') && held('policy_cancel') });
# as pg_cron asks: in a session that waits
my %caller = map { my $s = session($node, name => $_); $s->send("SELECT state FROM etl_run(date '2026-01-02', '$_')"); $_ => $s } @policies;
my $skipped = $caller{policy_skip}->wait($SOON);
is($skipped && "$skipped->{state} $skipped->{out}", '00000 skipped', 'skip: the caller is told, at once, without an error');
becomes('policy_cancel', '2026-01-01', 'cancelled', 'cancel_previous: the one before is cancelled');
is(value($node, "SELECT error_detail FROM etl.runs WHERE pipeline = 'policy_cancel' AND state = 'cancelled'"), 'A newer run takes its place: overlap of the pipeline is cancel_previous.', 'with the reason');
within($SOON, 'cancel_previous: and then the newer one runs', sub { return state_of('policy_cancel', '2026-01-02') eq 'running' });
is(state_of('policy_queue', '2026-01-02'), 'queued', 'queue: it waits');
is(state_of('policy_skip', '2026-01-01'), 'running', 'skip: the one before goes on');
open_gate(@policies);
foreach (qw(policy_queue policy_cancel))
{
	my $result = $caller{$_}->wait($SOON);
	is($result && "$result->{state} $result->{out}", '00000 success', "$_: the newer run ends well");
}
is(join(' ', map { state_of($_, '2026-01-01') } @policies), 'success success cancelled', 'the older ones as they should');
all_quiet('overlap');

# ------------------------------------------------------------------- waiting for others

pipeline('past', 'depends_on_past => true');
run_sql($node, 'CREATE TABLE q.good (a integer); CREATE OR REPLACE VIEW q.txf_past AS SELECT etl.run_date() AS day WHERE 1 / (SELECT count(*) FROM q.good)::integer = 1');
ask('past', "2026-01-0$_") foreach 1 .. 3;
within($SOON, 'depends_on_past: the failure of the first keeps the others waiting', sub { return state_of('past') eq 'failed,queued,queued' });
within($SOON, 'and nobody waits with them', sub { return processes('coordinator') == 0 && processes('worker') == 0 });
like(value($node, "SELECT waits_for FROM etl.runs WHERE pipeline = 'past' AND run_date = '2026-01-02'"), qr/^run \d+ of pipeline "past", interval 2026-01-01 00:00:00, failed$/, 'they say for what');
run_sql($node, 'INSERT INTO q.good VALUES (1)');
ask('past', '2026-01-01', 'retry');
becomes('past', undef, 'failed,success,success,success', 'its success lets all go on');
is(value($node, "SELECT string_agg(run_date::text, ',' ORDER BY started_at) FROM etl.runs WHERE pipeline = 'past' AND state = 'success'"), '2026-01-01,2026-01-02,2026-01-03', 'one after the other');
all_quiet('depends_on_past');

pipeline('source_a');
pipeline('source_b');
pipeline('joined', "after => '{source_a,source_b}'");
pipeline('fresh', "triggered_by => '{source_a}'");
close_gate('source_a');
ask('joined', '2026-03-01');
within($SOON, 'after: it waits without a coordinator', sub { return state_of('joined') eq 'queued' && processes('coordinator') == 0 });
ask('source_a', '2026-03-01');
ask('source_b', '2026-03-01');
becomes('source_b', undef, 'success', 'one of the two is there');
is(state_of('joined'), 'queued', 'and the other is waited for');
open_gate('source_a');
becomes('joined', undef, 'success', 'both are there');
becomes('fresh', undef, 'success', 'and what is triggered ran, too');
is(value($node, "SELECT trigger || ' ' || run_date FROM etl.runs WHERE pipeline = 'fresh'"), 'upstream 2026-03-01', 'for the same interval');
cmp_ok(value($node, "SELECT min(r.started_at) FROM etl.runs r WHERE pipeline = 'joined'"), 'gt', value($node, "SELECT max(r.ended_at) FROM etl.runs r WHERE pipeline ~ 'source'"), 'after both had ended');
my $nobody = run_sql($node, "SELECT * FROM etl_run(date '2026-03-02', 'joined')", may_fail => 1);
is($nobody->{state}, '55000', 'after: a caller is told what to run first') or diag($nobody->{err});
like($nobody->{err}, qr/pipeline "source_a" has not run interval 2026-03-02/, 'by name');
# all at once: they are queued together, and go in their order
my $together = run_sql($node, "SELECT string_agg(pipeline, ',' ORDER BY pipeline) FROM etl_run(date '2026-03-03') WHERE state = 'success' AND pipeline IN ('joined', 'source_a', 'source_b')", seconds => 120);
is($together->{out}, 'joined,source_a,source_b', 'asked for together they wait for each other');
all_quiet('after');

# ------------------------------------------------------------------------ time limits

pipeline('slow', "run_timeout => '1 second'");
close_gate('slow');
my $began = now();
my $late = run_sql($node, "SELECT * FROM etl_run(date '2026-01-01', 'slow')", may_fail => 1);
is($late->{state}, '57014', 'run_timeout: the caller gets 57014');
like($late->{err}, qr/run timed out after 00:00:01/, 'and the reason');
cmp_ok(now() - $began, '<', 4, 'in time');
is(value($node, "SELECT state || ' ' || error_message FROM etl.runs WHERE pipeline = 'slow'"), 'failed run timed out after 00:00:01', 'it is a failure, not a cancellation');
open_gate('slow');
is(run_sql($node, "SELECT state FROM etl_run(date '2026-01-01', 'slow')")->{out}, 'success', 'and the interval can be run again');

# paused: what waits does so until it is resumed
run_sql($node, "SELECT etl.pause('free')");
my $paused = run_sql($node, "INSERT INTO etl.run (pipeline, owner, data_interval_start, data_interval_end, run_date, timezone, trigger, requested_by)
	VALUES ('free', current_user, '2026-05-01', '2026-05-02', '2026-05-01', 'UTC', 'schedule', current_user) RETURNING etl._wake_coordinator_on_commit() IS NULL");
nobody_waits('paused');
is(state_of('free', '2026-05-01'), 'queued', 'paused: it stays in the queue');
is(value($node, "SELECT waits_for FROM etl.runs WHERE pipeline = 'free' AND run_date = '2026-05-01'"), 'the pipeline is paused', 'and says why');
run_sql($node, "SELECT etl.resume('free')");
becomes('free', '2026-05-01', 'success', 'resumed, it starts');

$gate->close;
done_testing();
