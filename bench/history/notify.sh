#!/usr/bin/env bash
# What it costs to tell of changes of state: tasks a second that are queued, started and ended, a
# commit each change, by many sessions at once, with etl.notify off and all.
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
# of a run that has ended: no coordinator comes for it
psql -X -q -d "$database" >/dev/null <<'SQL'
CREATE EXTENSION etl;
INSERT INTO etl.run (run_id, pipeline, owner, data_interval_start, data_interval_end, run_date, timezone, trigger, requested_by, state, queued_at, ended_at)
VALUES (1, 'p', current_user, '2026-01-01', '2026-01-02', '2026-01-01', 'UTC', 'manual', current_user, 'success', '2026-01-02', '2026-01-02');
SQL
cat >"$script" <<'SQL'
INSERT INTO etl.task_run (run_id, task, kind, position) VALUES (1, gen_random_uuid()::text, 'load', 0) RETURNING task_run_id \gset
UPDATE etl.task_run SET state = 'running' WHERE task_run_id = :task_run_id;
UPDATE etl.task_run SET state = 'success' WHERE task_run_id = :task_run_id;
SQL
for told in off all; do
    PGOPTIONS="$PGOPTIONS -c etl.notify=$told" pgbench -n -f "$script" -c "$sessions" -j 2 -T "$seconds" "$database" |
        awk -v told="$told" '/^tps/ { printf "etl.notify = %-4s %8.0f tasks a second, %8.0f commits\n", told, $3, $3 * 3 }'
done
