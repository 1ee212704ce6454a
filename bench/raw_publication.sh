#!/usr/bin/env bash
# What it costs to publish an interval of raw records again, and what readers see meanwhile:
#   ledger    etl's way: rows into a partition of their own, attached before; publication is an
#             update of the ledger; the old partition is dropped afterwards
#   delete    one plain table: DELETE the interval, INSERT it again
#   truncate  a partition an interval: TRUNCATE, INSERT
#   detach    a partition an interval: DETACH the old one, ATTACH the new one
#
# usage: bench/raw_publication.sh [RECORDS] [PARTITIONS]   (defaults 200000 and 1000)
# It uses the database that psql's environment (PGHOST, PGPORT, PGDATABASE …) leads to, in a
# schema bench_raw of its own that it drops at the end. Needs no extension, only the rights to
# create a schema and to CHECKPOINT. Nothing else should write there meanwhile: WAL is counted
# for the whole server.
set -euo pipefail

records=${1:-200000}
partitions=${2:-1000}
work=$(mktemp -d)
export PGOPTIONS="-c client_min_messages=warning -c timezone=UTC"

run() { psql -X -q -v ON_ERROR_STOP=1 -At "$@"; }
cleanup() {
    exec 8>&- 2>/dev/null || true
    run -c 'DROP SCHEMA IF EXISTS bench_raw CASCADE' || true
    rm -rf "$work"
}
trap cleanup EXIT

# ---------------------------------------------------------------- a reader in the background

# start_reader NAME: a psql that reads from a pipe, descriptor 8, and writes to $work/NAME.
start_reader() {
    rm -f "$work/pipe"
    mkfifo "$work/pipe"
    psql -X -q -At -f "$work/pipe" >"$work/$1" 2>&1 &
    reader_pid=$!
    exec 8>"$work/pipe"
}
# ask SQL N: sends it and waits until the reader has answered for the Nth time.
ask() {
    printf '%s;\n\\echo done\n' "$1" >&8
    until [ "$(grep -c '^done$' "$work/reader")" -ge "$2" ]; do sleep 0.02; done
}
stop_reader() {
    exec 8>&-
    wait "$reader_pid" || true
}

# ------------------------------------------------------------------------------ the contents

payload="jsonb_build_object('id', i, 'updated_at', now(), 'title', repeat(md5(i::text), 3),
    'body', repeat(md5((i * 7)::text), 12), 'user', jsonb_build_object('id', i % 1000, 'login', md5((i % 1000)::text)))"

prepare() {
    run <<SQL
DROP SCHEMA IF EXISTS bench_raw CASCADE;
CREATE SCHEMA bench_raw;
CREATE TABLE bench_raw.page AS SELECT i AS record_number, $payload AS payload FROM generate_series(1, $records) i;
CREATE TABLE bench_raw.ledger (load_id bigint PRIMARY KEY, state text NOT NULL);
CREATE TABLE bench_raw.anchor AS SELECT 1 AS one;

CREATE TABLE bench_raw.l (load_id bigint NOT NULL, record_number int NOT NULL, payload jsonb COMPRESSION lz4 NOT NULL,
    partition_key bigint NOT NULL, PRIMARY KEY (load_id, record_number, partition_key)) PARTITION BY LIST (partition_key);
CREATE TABLE bench_raw.l_shared PARTITION OF bench_raw.l FOR VALUES IN (0);
CREATE TABLE bench_raw.l_1 (LIKE bench_raw.l INCLUDING ALL);
ALTER TABLE bench_raw.l ATTACH PARTITION bench_raw.l_1 FOR VALUES IN (1);
CREATE VIEW bench_raw.vr_ledger AS SELECT l.* FROM bench_raw.l JOIN bench_raw.ledger g USING (load_id) WHERE g.state = 'published';
INSERT INTO bench_raw.l SELECT 1, record_number, payload, 1 FROM bench_raw.page;
INSERT INTO bench_raw.ledger VALUES (1, 'published');

CREATE TABLE bench_raw.vr_delete (load_id bigint NOT NULL, record_number int NOT NULL, payload jsonb COMPRESSION lz4 NOT NULL,
    PRIMARY KEY (load_id, record_number));
INSERT INTO bench_raw.vr_delete SELECT 1, record_number, payload FROM bench_raw.page;

CREATE TABLE bench_raw.vr_truncate (load_id bigint NOT NULL, record_number int NOT NULL, payload jsonb COMPRESSION lz4 NOT NULL,
    day int NOT NULL, PRIMARY KEY (load_id, record_number, day)) PARTITION BY LIST (day);
CREATE TABLE bench_raw.t_1 PARTITION OF bench_raw.vr_truncate FOR VALUES IN (1);
INSERT INTO bench_raw.vr_truncate SELECT 1, record_number, payload, 1 FROM bench_raw.page;

CREATE TABLE bench_raw.vr_detach (load_id bigint NOT NULL, record_number int NOT NULL, payload jsonb COMPRESSION lz4 NOT NULL,
    day int NOT NULL, PRIMARY KEY (load_id, record_number, day)) PARTITION BY LIST (day);
CREATE TABLE bench_raw.d_1 PARTITION OF bench_raw.vr_detach FOR VALUES IN (1);
INSERT INTO bench_raw.vr_detach SELECT 1, record_number, payload, 1 FROM bench_raw.page;
VACUUM ANALYZE;
SQL
}

# SQL of the three steps: before (rows arrive), publication (one transaction), after.
before_of() {
    case $1 in
        ledger) echo "CREATE TABLE bench_raw.l_2 (LIKE bench_raw.l INCLUDING ALL);
            ALTER TABLE bench_raw.l ATTACH PARTITION bench_raw.l_2 FOR VALUES IN (2);
            INSERT INTO bench_raw.ledger VALUES (2, 'complete');
            INSERT INTO bench_raw.l SELECT 2, record_number, payload, 2 FROM bench_raw.page;" ;;
        detach) echo "CREATE TABLE bench_raw.d_2 (LIKE bench_raw.vr_detach INCLUDING ALL);
            ALTER TABLE bench_raw.d_2 ADD CHECK (day IS NOT NULL AND day = 1);
            INSERT INTO bench_raw.d_2 SELECT 2, record_number, payload, 1 FROM bench_raw.page;" ;;
        *) echo "SELECT;" ;;
    esac
}
publication_of() {
    case $1 in
        ledger) echo "UPDATE bench_raw.ledger SET state = 'superseded' WHERE load_id = 1;
            UPDATE bench_raw.ledger SET state = 'published' WHERE load_id = 2;" ;;
        delete) echo "DELETE FROM bench_raw.vr_delete WHERE load_id = 1;
            INSERT INTO bench_raw.vr_delete SELECT 2, record_number, payload FROM bench_raw.page;" ;;
        truncate) echo "TRUNCATE bench_raw.t_1;
            INSERT INTO bench_raw.vr_truncate SELECT 2, record_number, payload, 1 FROM bench_raw.page;" ;;
        detach) echo "ALTER TABLE bench_raw.vr_detach DETACH PARTITION bench_raw.d_1;
            ALTER TABLE bench_raw.vr_detach ATTACH PARTITION bench_raw.d_2 FOR VALUES IN (1);" ;;
    esac
}
after_of() {
    case $1 in
        ledger) echo "DROP TABLE bench_raw.l_1;" ;;
        delete) echo "VACUUM bench_raw.vr_delete;" ;;
        detach) echo "DROP TABLE bench_raw.d_1;" ;;
        *) echo "SELECT;" ;;
    esac
}
table_of() { case $1 in ledger) echo l ;; *) echo "vr_$1" ;; esac; }

# measure SQL: runs it, prints "seconds walbytes"
measure() {
    local from to start end
    run -c CHECKPOINT
    from=$(run -c 'SELECT pg_current_wal_insert_lsn()')
    start=$(date +%s.%N)
    run -c "$1"
    end=$(date +%s.%N)
    to=$(run -c 'SELECT pg_current_wal_insert_lsn()')
    run -c "SELECT round(($end - $start)::numeric, 3) || ' ' || pg_wal_lsn_diff('$to', '$from')"
}
size_of() {
    run -c "SELECT sum(pg_total_relation_size(t)) FROM (SELECT 'bench_raw.$(table_of "$1")'::regclass UNION ALL
        SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'bench_raw.$(table_of "$1")'::regclass) x(t)"
}
mb() { run -c "SELECT round($1 / 1048576.0, 1)"; }

cost_of_publication() {
    local way=$1 before publication after peak seen sum_wal
    prepare
    # a reader whose snapshot is older than the publication and that has not read the table yet
    start_reader reader
    ask "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 'anchor ' || count(*) FROM bench_raw.anchor" 1
    before=$(measure "$(before_of "$way")")
    publication=$(measure "BEGIN; $(publication_of "$way") COMMIT;")
    peak=$(size_of "$way")
    ask "SELECT 'sees ' || count(*) || ' rows of load ' || coalesce(string_agg(DISTINCT load_id::text, '+'), 'none') FROM bench_raw.vr_$way" 2
    seen=$(sed -n 's/^sees //p' "$work/reader")
    ask "COMMIT" 3
    stop_reader
    after=$(measure "$(after_of "$way")")
    sum_wal=$((${before#* } + ${publication#* } + ${after#* }))
    printf '%-9s %9s %9s %9s %10s %10s %9s %9s   %s\n' "$way" "${before% *}" "${publication% *}" "${after% *}" \
        "$(mb "${publication#* }")" "$(mb $sum_wal)" "$(mb "$peak")" "$(mb "$(size_of "$way")")" "$seen"
}

# How long a new reader waits while a publication waits for a reader that is still reading.
wait_of_new_reader() {
    local way=$1 start end publisher
    prepare
    run -c "$(before_of "$way")"
    start_reader reader
    ask "BEGIN; SELECT count(*) FROM bench_raw.vr_$way WHERE record_number = 1" 1
    run -c "BEGIN; $(publication_of "$way") COMMIT;" &
    publisher=$!
    sleep 0.5
    (sleep 3; echo "COMMIT;" >&8) &
    start=$(date +%s.%N)
    run -c "SELECT count(*) FROM bench_raw.vr_$way WHERE record_number = 2" >/dev/null
    end=$(date +%s.%N)
    printf '%-9s %6s s\n' "$way" "$(run -c "SELECT round(($end - $start)::numeric, 2)")"
    wait "$publisher" || true
    stop_reader
}

# What many partitions cost who reads: why small loads share one.
cost_of_partitions() {
    local count=$1
    run <<SQL
DROP SCHEMA IF EXISTS bench_raw CASCADE;
CREATE SCHEMA bench_raw;
CREATE TABLE bench_raw.ledger (load_id bigint PRIMARY KEY, state text NOT NULL);
CREATE TABLE bench_raw.l (load_id bigint NOT NULL, record_number int NOT NULL, payload jsonb NOT NULL,
    partition_key bigint NOT NULL, PRIMARY KEY (load_id, record_number, partition_key)) PARTITION BY LIST (partition_key);
CREATE TABLE bench_raw.l_shared PARTITION OF bench_raw.l FOR VALUES IN (0);
CREATE VIEW bench_raw.vr AS SELECT l.* FROM bench_raw.l JOIN bench_raw.ledger g USING (load_id) WHERE g.state = 'published';
INSERT INTO bench_raw.ledger SELECT n, 'published' FROM generate_series(1, $partitions) n;
SQL
    local seconds
    local -a times
    seconds=$({
        echo 'CREATE TEMPORARY TABLE began AS SELECT clock_timestamp() AS at;'
        run -c "SELECT format('CREATE TABLE bench_raw.l_%s (LIKE bench_raw.l INCLUDING ALL); ALTER TABLE bench_raw.l ATTACH PARTITION bench_raw.l_%s FOR VALUES IN (%s);', n, n, n)
            FROM generate_series(1, $count) n"
        echo "SELECT CASE WHEN $count > 0 THEN round((extract(epoch FROM clock_timestamp() - at) * 1000 / $count)::numeric, 2)::text ELSE '-' END FROM began;"
    } | run)
    run -c "INSERT INTO bench_raw.l SELECT n, r, '{\"a\": 1}', CASE WHEN n <= $count THEN n ELSE 0 END
        FROM generate_series(1, $partitions) n, generate_series(1, 20) r"
    run -c "VACUUM ANALYZE"
    read -ra times <<<"$(run -c "EXPLAIN (ANALYZE, SUMMARY) SELECT count(*) FROM bench_raw.vr WHERE load_id = 7" \
                -c "EXPLAIN (ANALYZE, SUMMARY) SELECT count(*) FROM bench_raw.vr WHERE load_id = 7" |
        sed -n 's/.*\(Planning\|Execution\) Time: \([0-9.]*\) ms/\2/p' | tail -2 | tr '\n' ' ')"
    printf '%10s %16s %12s %12s\n' "$count" "$seconds" "${times[@]}"
}

echo "server $(run -c 'SHOW server_version'), $records records of an interval published again"
echo
printf '%-9s %9s %9s %9s %10s %10s %9s %9s   %s\n' way 'before s' 'publish s' 'after s' 'pub. WAL' 'all WAL MB' 'peak MB' 'end MB' 'an older REPEATABLE READ snapshot sees'
for way in ledger delete truncate detach; do cost_of_publication $way; done
echo
echo "a new reader waits, while another reads for 3.5 s and a publication has begun:"
for way in ledger delete truncate detach; do wait_of_new_reader $way; done
echo
echo "$partitions loads of 20 records, so many of them in partitions of their own:"
printf '%10s %16s %12s %12s\n' partitions 'ms to make one' 'planning ms' 'execution ms'
for count in 0 10 100 "$partitions"; do cost_of_partitions "$count"; done
