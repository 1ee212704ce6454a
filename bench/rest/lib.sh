# Shared by the scripts here: a directory of its own with server.c, the pages and a cluster,
# all of which go when the script ends. Wants $pg_config and scripts/lib.sh read.
PG_BIN=$("$pg_config" --bindir)
here=$ROOT/bench/rest
work=$(mktemp -d /tmp/etl-bench.XXXXXX)
servers=()
cleanup() {
    [ ${#servers[@]} -eq 0 ] || kill "${servers[@]}" 2>/dev/null || true
    [ ! -d "$work/data" ] || stop_cluster "$work/data" immediate
    rm -rf "$work"
}
trap cleanup EXIT
make_private_directory "$work"

run() { as_user "$PG_BIN/psql" -X -q -At -F ' ' -v ON_ERROR_STOP=1 -h "$work" -U postgres postgres "$@"; }
# calculate EXPRESSION [FORMAT]
calculate() { awk "BEGIN { printf \"${2:-%.2f}\", $1 }"; }
median() { sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# start_server NAME LATENCY: its port is in $work/NAME.
start_server() {
    [ -x "$work/server" ] || cc -O2 -o "$work/server" "$here/server.c" -lz
    [ -d "$work/pages" ] || python3 "$here/pages.py" "$work/pages"
    "$work/server" "$work/$1" "$2" "issues=$work/pages/issues" "records=$work/pages/records" "small=$work/pages/small" &
    servers+=($!)
    for _ in $(seq 100); do
        [ ! -s "$work/$1" ] || return 0
        sleep 0.1
    done
    die "the server did not start"
}

# start_database PORT: with the server "bench" of that port and a pipeline of that name.
# What stands between the rounds would be measured with them: no autovacuum, few checkpoints.
start_database() {
    create_cluster "$work/data"
    configure_cluster "$work/data" <<CONF
listen_addresses = ''
unix_socket_directories = '$work'
shared_preload_libraries = 'etl'
etl.allowed_hosts = '127.0.0.1, localhost'
etl.worker_linger = '60s'
max_wal_size = '8GB'
checkpoint_timeout = '1h'
autovacuum = off
client_min_messages = 'warning'
timezone = 'UTC'
CONF
    start_cluster "$work/data" "$work/log"
    run <<SQL
CREATE EXTENSION etl;
CREATE SERVER bench FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://127.0.0.1:$1', concurrency '1');
SELECT etl.create_pipeline('bench');
SQL
}
