#!/usr/bin/env bash
# What it costs to tell of changes of state: runs a second that are queued, started and ended, a
# commit each, by many sessions at once, with etl.notify all, runs and off.
#
# usage: bench/history/notify.sh [SESSIONS] [SECONDS]     (defaults 8 and 5)
# It makes a database of its own, bench_history, in the cluster that psql's environment leads to, where
# the extension is installed, as a superuser, and drops it at the end. Wants pgbench.
set -euo pipefail

sessions=${1:-8}
seconds=${2:-5}
database=bench_history
export PGOPTIONS="-c client_min_messages=warning"
drop() { psql -X -q -d postgres -c "DROP DATABASE IF EXISTS $database WITH (FORCE)"; }
script=$(mktemp)
trap 'rm -f "$script"; drop' EXIT
drop
psql -X -q -d postgres -c "CREATE DATABASE $database"
psql -X -q -d "$database" -c 'CREATE EXTENSION etl'
cat >"$script" <<'SQL'
INSERT INTO etl.run (pipeline, owner, data_interval_start, data_interval_end, run_date, timezone, trigger, requested_by)
SELECT 'p' || :client_id, current_user, at, at + interval '1 hour', '2026-01-01', 'UTC', 'manual', current_user FROM clock_timestamp() at RETURNING run_id \gset
INSERT INTO etl.task_run (run_id, task, kind, position) VALUES (:run_id, 'publish', 'publish', 0);
UPDATE etl.run SET state = 'running', started_at = clock_timestamp() WHERE run_id = :run_id;
UPDATE etl.task_run SET state = 'running' WHERE run_id = :run_id;
UPDATE etl.task_run SET state = 'success' WHERE run_id = :run_id;
UPDATE etl.run SET state = 'success', ended_at = clock_timestamp() WHERE run_id = :run_id;
SQL
for told in off runs all; do
    PGOPTIONS="$PGOPTIONS -c etl.notify=$told" pgbench -n -f "$script" -c "$sessions" -j 2 -T "$seconds" "$database" 2>/dev/null |
        awk -v told="$told" '/^tps/ { printf "etl.notify = %-4s %8.0f runs a second, %8.0f commits\n", told, $3, $3 * 6 }'
done
