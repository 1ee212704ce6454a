#!/usr/bin/env bash
# Pages a second of an extraction beside those of a bare libcurl multi program, over as many
# connections to the same server, which answers after 50 ms.
#
#   bench/rest/run.sh [--rounds N] [--seconds N] [--latency MS] [--sets LIST] [--connections LIST]
#
# Lists are separated by commas: sets issues,records and connections 1,4,16 by default.
# Wants a PostgreSQL with the extension installed, named by PG_CONFIG (default: the
# pg_config in PATH), a C compiler with libcurl and zlib, and Python 3. Everything else it
# makes itself, in a directory of its own that it removes: server.c and multi.c, the pages,
# a cluster.
#
#   multi   libcurl's multi interface, N easy handles, gzip decoded, nothing kept (multi.c)
#   pages   one extraction over page numbers, whose total the first page tells
#   items   one extraction over for_each items of one page each
#
# The time of an extraction is the duration of its task run: from the worker's claim of the
# task to the end of its load, the first page and the last commit included. A round runs all
# three one after another; what is printed are medians over the rounds. CPU is that of the
# worker, publication included, and of multi.
set -euo pipefail
pg_config=${PG_CONFIG:-pg_config} # lib.sh forgets all PG variables
# shellcheck source-path=SCRIPTDIR source=../../scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
here=$ROOT/bench/rest

rounds=3 seconds=3 latency=50 sets=issues,records connection_counts=1,4,16
while [ $# -gt 1 ]; do
    case $1 in
        --rounds) rounds=$2 ;;
        --seconds) seconds=$2 ;;
        --latency) latency=$2 ;;
        --sets) sets=$2 ;;
        --connections) connection_counts=$2 ;;
        *) die "unknown option $1" ;;
    esac
    shift 2
done
[ $# -eq 0 ] || die "see the head of $0"
IFS=, read -ra sets <<<"$sets"
IFS=, read -ra connection_counts <<<"$connection_counts"

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"
cc -O2 -o "$work/multi" "$here/multi.c" -lcurl
start_server port "$latency"
start_server port_at_once 0
base=http://127.0.0.1:$(cat "$work/port")

start_database "$(cat "$work/port")"
run -c "CREATE TABLE public.bench_item (number integer)"

day=0
# extraction WAY SET PAGES CONNECTIONS: prints pages a second and CPU ms a page.
extraction() {
    local way=$1 set=$2 pages=$3 connections=$4 before=0 after pid ratio
    day=$((day + 1))
    {
        echo "SELECT etl.create_pipeline('bench', replace => true);"
        echo "ALTER SERVER bench OPTIONS (SET concurrency '$connections');"
        if [ "$way" = pages ]; then
            echo "SELECT etl.add_extract('bench', 'bench.$set', 'bench', path => '/$set', query => '{\"pages\": $pages}',
                pagination => '{\"type\": \"page_number\", \"total_header\": \"x-total\", \"size\": 100, \"size_parameter\": \"size\"}');"
        else
            echo "TRUNCATE public.bench_item;"
            echo "INSERT INTO public.bench_item SELECT generate_series(1, $pages);"
            echo "SELECT etl.add_extract('bench', 'bench.$set', 'bench', path => '/$set/item/{number}', for_each => 'public.bench_item');"
        fi
    } | run --single-transaction >"$work/out"
    pid=$(cat "$work/worker" 2>/dev/null) || pid=
    [ ! -r "/proc/$pid/schedstat" ] || read -r before _ <"/proc/$pid/schedstat"
    run -c "SELECT etl_run(date '2026-01-01' + $day, 'bench')" >"$work/out"
    read -r pid ratio < <(run -c "SELECT a.worker_pid, t.requests / extract(epoch FROM t.duration)
        FROM etl.task_runs t JOIN etl.task_attempts a USING (run_id, task)
        WHERE t.kind = 'extract' AND t.requests = $pages AND t.fetched = 100 * $pages ORDER BY t.run_id DESC LIMIT 1")
    # a worker that has just started has its start in its account
    if [ "$pid" != "$(cat "$work/worker" 2>/dev/null)" ]; then before=0; fi
    echo "$pid" >"$work/worker"
    read -r after _ <"/proc/$pid/schedstat"
    echo "$ratio $(calculate "($after - $before) / 1e6 / $pages" %.3f)"
}
multi() {
    local set=$1 pages=$2 connections=$3
    "$work/multi" "$connections" 1 "$pages" "$base/$set?pages=$pages&size=100&page=%d"
}

echo "PostgreSQL $(run -c 'SHOW server_version'), $(curl-config --version), $(nproc) processors, $latency ms a request, medians of $rounds rounds of $seconds s"
for set in "${sets[@]}"; do
    echo "$set: $(cat "$work/pages/$set"/*.json | wc -c | awk '{ printf "%.1f", $1 / 16 / 1000 }') KB a page," \
        "$(gzip -c "$work/pages/$set/0.json" | wc -c | awk '{ printf "%.1f", $1 / 1000 }') KB compressed;" \
        "without latency the server gives multi $("$work/multi" 16 1 2000 "http://127.0.0.1:$(cat "$work/port_at_once")/$set?page=%d" | cut -d ' ' -f 1) pages/s"
done
extraction items "${sets[0]}" 20 1 >/dev/null # starts the worker
alone=()
echo
printf '%-8s %11s | %26s | %14s | %26s\n' '' '' 'pages/s' 'etl : multi' 'CPU ms a page'
printf '%-8s %11s | %8s %8s %8s | %6s %7s | %8s %8s %8s\n' set connections multi pages items pages items multi pages items
kinds=(multi pages items)
for set in "${sets[@]}"; do
    for connections in "${connection_counts[@]}"; do
        pages=$(calculate "$seconds * 1000 / $latency * $connections" %d)
        rm -f "$work"/*.result
        for _ in $(seq "$rounds"); do
            multi "$set" "$pages" "$connections" >>"$work/multi.result"
            extraction pages "$set" "$pages" "$connections" >>"$work/pages.result"
            extraction items "$set" "$pages" "$connections" >>"$work/items.result"
        done
        rates=() costs=() ratios=()
        for kind in "${kinds[@]}"; do
            rates+=("$(cut -d ' ' -f 1 "$work/$kind.result" | median)")
            costs+=("$(cut -d ' ' -f 2 "$work/$kind.result" | median)")
            # of each round, because what else the machine does changes between them
            ratios+=("$(paste -d ' ' "$work/$kind.result" "$work/multi.result" | awk '{ print $1 / $3 }' | median)")
        done
        printf '%-8s %11s | %8.1f %8.1f %8.1f | %6.2f %7.2f | %8.2f %8.2f %8.2f\n' \
            "$set" "$connections" "${rates[@]}" "${ratios[@]:1}" "${costs[@]}"
        if [ "$connections" -eq 1 ]; then alone=("${rates[@]}"); fi
        if [ "$connections" -gt 1 ] && [ ${#alone[@]} -gt 0 ]; then
            printf '%-8s %11s | %8s %8s %8s | times one connection\n' '' '' \
                "$(calculate "${rates[0]} / ${alone[0]}" %.1fx)" "$(calculate "${rates[1]} / ${alone[1]}" %.1fx)" \
                "$(calculate "${rates[2]} / ${alone[2]}" %.1fx)"
        fi
    done
done
