#!/usr/bin/env bash
# What a page costs in a long extraction, its first pages beside its last ones, and when the
# source says that none has changed. No latency: all that is measured is ours.
#
#   bench/rest/many_pages.sh [--pages N] [--sets LIST]
#
# Sets are small,records,issues by default: pages of 3, 30 and 335 KB. Wants what run.sh wants.
#
#   one after another   page numbers whose total nobody tells, while SELECT etl_run waits
#   at once             the first page tells the total, 8 connections
#
# Each is made for one interval, and for the next one, whose pages are all answered 304: their
# rows are taken from the load before. Milliseconds a page between the commits of slices: of
# the first tenth of the pages, of the last tenth, of all; and of the worker's CPU, publication
# included.
set -euo pipefail
pg_config=${PG_CONFIG:-pg_config} # lib.sh forgets all PG variables
# shellcheck source-path=SCRIPTDIR source=../../scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
here=$ROOT/bench/rest

pages=5000 sets=small,records,issues
while [ $# -gt 1 ]; do
    case $1 in
        --pages) pages=$2 ;;
        --sets) sets=$2 ;;
        *) die "unknown option $1" ;;
    esac
    shift 2
done
[ $# -eq 0 ] || die "see the head of $0"
IFS=, read -ra sets <<<"$sets"

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"
start_server port 0
start_database "$(cat "$work/port")"

# pages_of SET: of small pages as many as told, of others a tenth and a fiftieth.
pages_of() {
    case $1 in
        small) echo "$pages" ;;
        records) echo $((pages / 10)) ;;
        *) echo $((pages / 50)) ;;
    esac
}

echo "PostgreSQL $(run -c 'SHOW server_version'), $(nproc) processors, no latency"
printf '%-8s %6s %-18s | %39s | %39s |\n' '' '' '' 'ms a page, fetched' 'ms a page, not modified'
printf '%-8s %6s %-18s | %9s %9s %9s %9s | %9s %9s %9s %9s | %s\n' set pages '' first last all CPU first last all CPU 'CPU, fetched : not modified'
day=0 pid='' spent=0
# extraction DAY PAGES: runs it; prints what it took.
extraction() {
    run -c "SELECT FROM etl_run(date '2026-01-01' + $1, 'bench')"
    run <<SQL
SELECT a.worker_pid, p.first, p.last, p.every, p.pages, p.not_modified
FROM etl.task_attempts a CROSS JOIN (
    SELECT max(s.load_id) AS load_id, max(s.pages) AS pages, count(*) FILTER (WHERE s.status = 304) AS not_modified,
        round((extract(epoch FROM max(committed_at) FILTER (WHERE slice < pages / 10) - min(committed_at)) * 10000 / max(pages))::numeric, 3) AS first,
        round((extract(epoch FROM max(committed_at) - min(committed_at) FILTER (WHERE slice >= pages - pages / 10)) * 10000 / max(pages))::numeric, 3) AS last,
        round((extract(epoch FROM max(committed_at) - min(committed_at)) * 1000 / max(pages))::numeric, 3) AS every
    FROM (SELECT s.*, count(*) OVER () AS pages FROM etl.slices s
          WHERE s.load_id = (SELECT max(l.load_id) FROM etl.loads l)) s) p
WHERE a.task LIKE 'bench.%' ORDER BY a.run_id DESC LIMIT 1
SQL
}
for set in "${sets[@]}"; do
    count=$(pages_of "$set")
    for how in 'one after another' 'at once'; do
        if [ "$how" = 'at once' ]; then
            connections=8 pagination='{"type": "page_number", "total_pages_header": "x-pages", "max_pages": 100000}'
        else
            connections=1 pagination='{"type": "page_number", "max_pages": 100000}'
        fi
        run <<SQL >"$work/out"
SELECT etl.create_pipeline('bench', replace => true);
ALTER SERVER bench OPTIONS (SET concurrency '$connections');
SELECT etl.add_extract('bench', 'bench.$set', 'bench', path => '/$set', query => '{"pages": $count, "etag": 1}', pagination => '$pagination');
SQL
        line=() cpu=()
        for _ in fetched not_modified; do
            day=$((day + 1))
            read -ra part < <(extraction "$day")
            # a worker that has just started has its start in its account
            if [ "${part[0]}" != "$pid" ]; then spent=0; fi
            pid=${part[0]} before=$spent
            read -r spent _ <"/proc/$pid/schedstat"
            cpu+=("$(calculate "($spent - $before) / 1e6 / ${part[4]}" %.3f)")
            line+=("${part[@]:1:3}" "${cpu[-1]}")
        done
        [ "${part[5]}" -ge "$count" ] || die "only ${part[5]} of ${part[4]} pages were not modified"
        printf '%-8s %6s %-18s | %9s %9s %9s %9s | %9s %9s %9s %9s | %s\n' "$set" "$count" "$how" "${line[@]}" "$(calculate "${cpu[0]} / ${cpu[1]}" %.1f)"
    done
done
