# Many runs at once: a fast shutdown while twenty are active, and what was active goes on;
# hundreds that are due at the same second, none lost or doubled, also when the coordinator
# dies meanwhile.
use strict;
use warnings;

use EtlTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = make_node('main', preload => 1, schedules => 1, conf => "etl.max_workers = 20\nmax_worker_processes = 30\n");

run_sql($node, <<'SQL');
CREATE SCHEMA m;
CREATE TABLE m.patience (seconds float);
INSERT INTO m.patience VALUES (60);
CREATE PROCEDURE m.wait() LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep((SELECT seconds FROM m.patience)); END $$;
CREATE PROCEDURE m.nothing() LANGUAGE sql AS '';
DO $$ BEGIN FOR n IN 1 .. 20 LOOP
	PERFORM etl.create_pipeline('w' || n, schedule => '@daily', start_date => now() - interval '2 days', retries => 1, retry_delay => '0');
	PERFORM etl.add_call('w' || n, 'm.wait');
END LOOP; END $$;
SQL
wait_until('twenty runs are at it', 60, sub { value($node, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND backend_type = 'etl worker'") == 20 });
my $began = time;
$node->stop('fast');
cmp_ok(time - $began, '<', 2, 'a fast shutdown with twenty active runs takes less than two seconds');
$node->start;
run_sql($node, 'UPDATE m.patience SET seconds = 0');
run_sql($node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND backend_type = 'etl worker'");
within(60, 'after the restart each of them goes on and succeeds', sub {
	return value($node, "SELECT count(*) = 20 AND bool_and(state = 'success') FROM etl.runs") eq 't' || do {
		run_sql($node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND backend_type = 'etl worker'"); 0 };
}) or diag(value($node, 'SELECT pipeline, state, error_message FROM etl.runs'));

# Due at the same second.
run_sql($node, 'SELECT etl.pause()');
run_sql($node, <<'SQL');
DO $$ BEGIN FOR n IN 1 .. 200 LOOP
	PERFORM etl.create_pipeline('d' || n, schedule => '1 second', start_date => date_trunc('second', now()) + interval '6 seconds', end_date => date_trunc('second', now()) + interval '8 seconds', catchup => true);
	IF n % 2 = 0 THEN PERFORM etl.add_call('d' || n, 'm.nothing'); END IF;
END LOOP; END $$;
SQL
wait_until('they are due', 30, sub { value($node, "SELECT count(*) FROM etl.runs WHERE pipeline LIKE 'd%'") > 0 });
run_sql($node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'etl coordinator'");
within(90, 'two intervals of each of two hundred pipelines are run, though the coordinator was terminated',
	sub { return value($node, "SELECT count(*) FROM etl.runs WHERE pipeline LIKE 'd%' AND state = 'success'") == 400 });
is(value($node, "SELECT count(*) || ' ' || count(DISTINCT (pipeline, data_interval_start)) FROM etl.runs WHERE pipeline LIKE 'd%'"), '400 400', 'none is lost or doubled');

$node->stop;
done_testing();
