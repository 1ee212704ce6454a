#!/usr/bin/env bash
# What a long history costs: each view's usual query, and a wake of the coordinator, with 1,000
# runs and with 1,000,000 (four tasks each), and the ratio of the two.
#
# usage: bench/history/run.sh [FEW] [MANY]     (defaults 1000 and 1000000)
# It makes a database of its own, bench_history, in the cluster that psql's environment leads
# to, where the extension is installed, as a superuser, and drops it at the end. Takes two to three
# minutes and 2 GB. Times are medians of nine, in milliseconds; below half a millisecond
# they are noise.
set -euo pipefail

few=${1:-1000}
many=${2:-1000000}
pipelines=20
database=bench_history
export PGOPTIONS="-c client_min_messages=warning -c timezone=UTC -c search_path=pg_catalog"

run() { psql -X -q -v ON_ERROR_STOP=1 -At -d "$database" "$@"; }
drop() { psql -X -q -d postgres -c "DROP DATABASE IF EXISTS $database WITH (FORCE)"; }
[ -n "${ETL_KEEP:-}" ] || trap drop EXIT
drop
psql -X -q -d postgres -c "CREATE DATABASE $database"

run -v pipelines="$pipelines" <<'SQL'
CREATE EXTENSION etl;
CREATE SCHEMA bench;
SELECT etl.create_pipeline('p' || i, schedule => '@hourly'), etl.pause('p' || i) FROM generate_series(1, :pipelines) i \g /dev/null
SELECT format('CREATE VIEW bench.txf_t%s AS SELECT 1 AS id', i) FROM generate_series(1, :pipelines) i \gexec
SELECT etl.add_load('p' || i, 'bench.t' || i, 'full'), etl.add_check('p' || i, 'bench.t' || i, 'row_count', '{"min": 0}', name => 'c') FROM generate_series(1, :pipelines) i \g /dev/null

-- the milliseconds of a statement: the median of nine
CREATE FUNCTION bench.time(statement text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
    began timestamptz;
    took double precision[] := '{}';
    r record;
BEGIN
    FOR i IN 0 .. 9 LOOP
        began := clock_timestamp();
        FOR r IN EXECUTE statement LOOP
            NULL;
        END LOOP;
        IF i > 0 THEN        -- the first warms up
            took := took || extract(epoch FROM clock_timestamp() - began)::double precision * 1000;
        END IF;
    END LOOP;
    RETURN round((SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY t) FROM unnest(took) t)::numeric, 2);
END $$;
CREATE TABLE bench.statement (n serial, name text, statement text);
INSERT INTO bench.statement (name, statement) VALUES
('runs of a pipeline, the latest', $$SELECT * FROM etl.runs WHERE pipeline = 'p7' ORDER BY run_id DESC LIMIT 20$$),
('… in the order of the view', $$SELECT * FROM etl.runs WHERE pipeline = 'p7' LIMIT 20$$),
('runs, the latest', $$SELECT * FROM etl.runs ORDER BY run_id DESC LIMIT 20$$),
('runs, one', $$SELECT * FROM etl.runs WHERE run_id = 777$$),
('runs of an interval', $$SELECT * FROM etl.runs WHERE pipeline = 'p7' AND data_interval_start = date_trunc('hour', now()) - interval '9 hours'$$),
('runs that failed within a day', $$SELECT * FROM etl.runs WHERE state = 'failed' AND ended_at > now() - interval '1 day' ORDER BY run_id DESC$$),
('task_runs of a run', $$SELECT * FROM etl.task_runs WHERE run_id = 777$$),
('pipelines', $$SELECT * FROM etl.pipelines$$),
('progress', $$SELECT * FROM etl.progress$$),
('freshness', $$SELECT * FROM etl.freshness$$),
('log of a run', $$SELECT * FROM etl.log WHERE run_id = 777$$),
('log, the latest', $$SELECT * FROM etl.log ORDER BY log_id DESC LIMIT 20$$),
('check_results of a run', $$SELECT * FROM etl.check_results WHERE run_id = 777$$),
('check_results of a check, the latest', $$SELECT * FROM etl.check_results WHERE pipeline = 'p7' AND check_name = 'c' ORDER BY check_result_id DESC LIMIT 10$$),
('… in the order of the view', $$SELECT * FROM etl.check_results WHERE pipeline = 'p7' AND check_name = 'c' LIMIT 10$$),
('loads of a pipeline, in the order of the view', $$SELECT * FROM etl.loads WHERE pipeline = 'p7' LIMIT 20$$),
('loads of a pipeline, the latest', $$SELECT * FROM etl.loads WHERE pipeline = 'p7' ORDER BY load_id DESC LIMIT 20$$),
('pipeline_statistics', $$SELECT * FROM etl.pipeline_statistics$$),
('a wake of the coordinator', $$SELECT * FROM etl._coordinate()$$),
('its outlook', $$SELECT * FROM etl._coordinator_outlook()$$),
('a look at what to prune', $$SELECT etl._prune_pipeline(('p7', interval '1000 years', NULL, interval '1000 years')::etl._history_rule, 100)$$),
('what etl_run is to run', $$SELECT i.* FROM etl.pipeline p, etl._intervals_to_run(p, current_date - 1, NULL, NULL) i WHERE p.pipeline = 'p7'$$);

-- runs by the hour until now, one in fifty failed; written as restored, without triggers
CREATE PROCEDURE bench.fill(runs bigint, pipelines integer) LANGUAGE plpgsql AS $$
BEGIN
    SET LOCAL session_replication_role = replica;
    TRUNCATE etl.run, etl.task_run, etl.task_attempt, etl.load, etl.check_result, etl.log_entry, etl.pipeline_day, etl.pipeline_duration;
    INSERT INTO etl.run (run_id, pipeline, owner, data_interval_start, data_interval_end, run_date, timezone, trigger, state, requested_by, queued_at, started_at, ended_at)
    SELECT n, 'p' || 1 + n % pipelines, current_user, h, h + interval '1 hour', h::date, 'UTC', 'schedule', CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'success' END,
           current_user, h + interval '1 hour', h + interval '1 hour', h + interval '1 hour 1 minute'
    FROM (SELECT n, date_trunc('hour', now()) - interval '1 hour' * (2 + (runs - n) / pipelines) AS h FROM generate_series(1, runs) n) x;
    INSERT INTO etl.task_run (run_id, task, kind, position, state, attempt, started_at, ended_at)
    SELECT r.run_id, t.task, t.kind, t.position, r.state, 1, r.started_at, r.ended_at
    FROM etl.run r, (VALUES ('raw.x', 'extract', 1), ('bench.t', 'load', 2), ('c', 'check', 3), ('publish', 'publish', 0)) t(task, kind, position);
    UPDATE etl.task_run t SET task = 'bench.t' || substr(r.pipeline, 2) FROM etl.run r WHERE r.run_id = t.run_id AND t.kind = 'load' AND r.run_id > runs - 100 * pipelines;
    INSERT INTO etl.load (pipeline, owner, task, target_schema, target_name, data_interval_start, data_interval_end, run_id, state, fingerprint, completed_at, published_at)
    SELECT pipeline, owner, 'raw.x', 'raw', 'x', data_interval_start, data_interval_end, run_id, 'published', '', ended_at, ended_at FROM etl.run;
    INSERT INTO etl.check_result (run_id, pipeline, check_name, target, check_type, severity, passed, failing_rows, attempt)
    SELECT run_id, pipeline, 'c', 'bench.t', 'row_count', 'error', true, 0, 1 FROM etl.run;
    INSERT INTO etl.log_entry (level, pipeline, owner, run_id, message) SELECT 'INFO', pipeline, owner, run_id, 'success' FROM etl.run;
    INSERT INTO etl.pipeline_day (pipeline, owner, day, successes, failures)
    SELECT pipeline, owner, (ended_at AT TIME ZONE 'UTC')::date, count(*) FILTER (WHERE state = 'success'), count(*) FILTER (WHERE state = 'failed') FROM etl.run GROUP BY 1, 2, 3;
    INSERT INTO etl.pipeline_duration SELECT pipeline, owner, day, 500 + s, 1 FROM etl.pipeline_day, generate_series(1, 20) s;
END $$;
SQL

# measure RUNS: a line a statement, in milliseconds
measure() {
    run -c "CALL bench.fill($1, $pipelines)" -c "VACUUM ANALYZE"
    run -c "SELECT bench.time(statement) FROM bench.statement ORDER BY n"
}

paste -d'|' <(run -c 'SELECT name FROM bench.statement ORDER BY n') <(measure "$few") >/dev/null # warm the caches of the catalog
names=$(run -c 'SELECT name FROM bench.statement ORDER BY n')
before=$(measure "$few")
after=$(measure "$many")
printf '%-46s %12s %12s %8s\n' '' "$few runs" "$many runs" ratio
paste -d'|' <(echo "$names") <(echo "$before") <(echo "$after") |
    awk -F'|' '{ printf "%-46s %9.2f ms %9.2f ms %8.1f\n", $1, $2, $3, ($3 + 0.5) / ($2 + 0.5) }'
run -c "SELECT 'the size of the history: ' || pg_size_pretty(sum(pg_total_relation_size(c.oid))) FROM pg_class c WHERE c.relnamespace = 'etl'::regnamespace AND c.relkind = 'r'"
