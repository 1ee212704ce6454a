#!/usr/bin/env bash
# How late scheduled runs start and end, and what that takes.
#
#   bench/scheduler/run.sh [--defined N] [--due N] [--task none|call|load] [--workers N] [--rounds N]
#
# So many pipelines are defined, and so many of them due at the same second (by default 1000
# and 1000), each with no task, a call of an empty procedure, or a load from an empty view
# (default call). Lateness is counted from the due time: to a run's start and to its end. A
# round is one due time. CPU and memory are those of etl's processes: user and system time,
# and the memory that each has of its own at its highest.
#
# Wants a PostgreSQL with the extension installed, named by PG_CONFIG (default: the pg_config
# in PATH). It makes a cluster of its own and removes it.
set -euo pipefail
pg_config=${PG_CONFIG:-pg_config} # lib.sh forgets all PG variables
# shellcheck source-path=SCRIPTDIR source=../../scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

defined=1000 due=1000 task=call workers=4 rounds=3
while [ $# -gt 1 ]; do
    case $1 in
        --defined) defined=$2 ;;
        --due) due=$2 ;;
        --task) task=$2 ;;
        --workers) workers=$2 ;;
        --rounds) rounds=$2 ;;
        *) die "unknown option $1" ;;
    esac
    shift 2
done
[ $# -eq 0 ] || die "see the head of $0"

PG_BIN=$("$pg_config" --bindir)
work=$(mktemp -d /tmp/etl-bench.XXXXXX)
cleanup() {
    [ ! -d "$work/data" ] || stop_cluster "$work/data" immediate
    rm -rf "$work"
}
trap cleanup EXIT
make_private_directory "$work"

run() { as_user "$PG_BIN/psql" -X -q -At -F ' ' -v ON_ERROR_STOP=1 -h "$work" -U postgres postgres "$@"; }

# Workers that have done their work stay, so that what they took can be read.
create_cluster "$work/data"
configure_cluster "$work/data" <<CONF
listen_addresses = ''
unix_socket_directories = '$work'
shared_preload_libraries = 'etl'
etl.max_workers = $workers
etl.worker_linger = '5s'
max_worker_processes = $((workers + 8))
client_min_messages = 'warning'
timezone = 'UTC'
CONF
start_cluster "$work/data" "$work/log"

case $task in
    none) declaration=NULL ;;
    call) declaration="PERFORM etl.add_call('p' || n, 'bench.nothing')" ;;
    load) declaration="EXECUTE format('CREATE VIEW bench.txf_t%s AS SELECT 1 AS id WHERE false', n); PERFORM etl.add_load('p' || n, 'bench.t' || n, 'full')" ;;
    *) die "unknown task $task" ;;
esac
run <<SQL
CREATE EXTENSION etl;
CREATE SCHEMA bench;
CREATE PROCEDURE bench.nothing() LANGUAGE sql AS '';
DO \$\$
BEGIN
    FOR n IN 1 .. $defined LOOP
        PERFORM etl.create_pipeline('p' || n, schedule => CASE WHEN n > $due THEN '@yearly' END);
        IF n <= $due THEN
            $declaration;
        END IF;
    END LOOP;
END
\$\$;
VACUUM ANALYZE;
SQL

# What etl's processes have taken by now, as far as they are still there: cpu and memory by
# pid, in ms and KiB.
declare -A cpu memory
sample() {
    local pid fields
    for pid in "$@"; do
        # the name of the process, which has spaces, is left out
        read -ra fields < <(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null) || continue
        cpu[$pid]=$(((fields[11] + fields[12]) * 1000 / $(getconf CLK_TCK)))
        memory[$pid]=$(awk '/^RssAnon/ { print $2 }' "/proc/$pid/status" 2>/dev/null || echo 0)
    done
}
sum() {
    local total=0 value
    for value in "$@"; do total=$((total + ${value:-0})); done
    echo "$total"
}

printf '%s pipelines, %s due at once, task %s, %s workers; lateness in ms\n' "$defined" "$due" "$task" "$workers"
printf '%-6s %-23s %-23s %8s %8s %8s %10s %10s\n' round 'start p50   p95   p99' 'end   p50   p95   p99' all done lost 'CPU ms' 'anon KiB'
for round in $(seq "$rounds"); do
    # those of the round before have gone; an interval's tick, late enough for all to be altered, and no other
    until [ "$(run -c "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'etl%'")" = 1 ]; do sleep 0.2; done
    tick=$(run -c "SELECT to_timestamp(ceil((extract(epoch FROM clock_timestamp()) + 4 + $due / 100) / 10) * 10)")
    run -c "DO \$\$ BEGIN PERFORM etl.alter_pipeline('p' || n, schedule => '10 seconds', start_date => '$tick'::timestamptz - interval '10 seconds', end_date => '$tick') FROM generate_series(1, $due) n; END \$\$"
    run -c "SELECT pg_sleep(greatest(extract(epoch FROM '$tick'::timestamptz - clock_timestamp()) - 0.2, 0))" >"$work/out"
    cpu=() memory=()
    sample $(run -c "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'etl%'")
    before=$(sum "${cpu[@]}")
    for _ in $(seq 600); do
        sleep 0.2
        read -r left pids < <(run -c "SELECT (SELECT $due - count(*) FROM etl.run WHERE data_interval_end = '$tick' AND ended_at IS NOT NULL),
            (SELECT string_agg(pid::text, ' ') FROM pg_stat_activity WHERE backend_type LIKE 'etl%')")
        # shellcheck disable=SC2086  # a list, to be split
        sample $pids
        [ "$left" != 0 ] || break
    done
    run -c "SELECT percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY l.start), percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY l.done),
                   max(l.done), count(*) FILTER (WHERE l.state = 'success'), $due - count(DISTINCT l.pipeline)
            FROM (SELECT r.pipeline, r.state, (extract(epoch FROM COALESCE(t.started_at, r.started_at) - r.data_interval_end) * 1000)::integer AS start,
                         (extract(epoch FROM r.ended_at - r.data_interval_end) * 1000)::integer AS done
                  FROM etl.run r LEFT JOIN LATERAL (SELECT min(x.started_at) AS started_at FROM etl.task_run x WHERE x.run_id = r.run_id) t ON true
                  WHERE r.data_interval_end = '$tick') l" |
        tr -d '{}' | tr ',' ' ' | {
            read -r s50 s95 s99 e50 e95 e99 all ok lost
            printf '%-6s      %6s %5s %5s       %6s %5s %5s %8s %8s %8s %10s %10s\n' "$round" "$s50" "$s95" "$s99" "$e50" "$e95" "$e99" "$all" "$ok" "$lost" "$(($(sum "${cpu[@]}") - before))" "$(sum "${memory[@]}")"
        }
done
