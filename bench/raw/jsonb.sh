#!/bin/sh
# The direct JSONB writer beside jsonb_in, on the same records, in one run: records per second, and
# milliseconds for a page of them, parsed, inserted into a raw table and committed.
#
#   bench/raw/jsonb.sh [ROUNDS]     needs psql (PGHOST, PGDATABASE, ...), python3, a UTF8 database
#
# The database needs the extension; the role is a superuser.  The two take turns and the best of the
# rounds counts, so that what else the machine does matters little.  Commits do not wait for the disk.
set -eu

rounds=${1:-15}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/measure.sql" <<'SQL'
SET client_min_messages = error;
SET max_parallel_workers_per_gather = 0;
SET jit = off;
SET synchronous_commit = off;
CREATE TEMP TABLE line (number serial, hex text);
\copy line (hex) FROM pstdin
CREATE TEMP TABLE record (number integer, bytes bytea);
ALTER TABLE record ALTER bytes SET STORAGE EXTERNAL;
INSERT INTO record SELECT number, decode(hex, 'hex') FROM line;
ANALYZE record;
DROP SCHEMA IF EXISTS etl_bench CASCADE;
DO $$ BEGIN PERFORM etl._create_raw_table('etl_bench', 'raw'); END $$;

-- Seconds to do something with every record.
CREATE FUNCTION pg_temp.scan(expression text) RETURNS float LANGUAGE plpgsql AS $$
DECLARE
    started CONSTANT timestamptz := clock_timestamp();
BEGIN
    EXECUTE format('SELECT count(%s) FROM pg_temp.record', expression);
    RETURN extract(epoch FROM clock_timestamp() - started);
END
$$;

-- Milliseconds for a page of so many records, the median of all; inserted as an extraction does.
CREATE PROCEDURE pg_temp.load(expression text, size integer, INOUT times float[]) LANGUAGE plpgsql AS $$
DECLARE
    statement CONSTANT text := format('INSERT INTO etl_bench.raw (load_id, data_interval_start, data_interval_end, fetched_at, slice, record_number, payload)
        SELECT 1, now(), now(), now(), $1, unnest($2), %s', format(expression, 'unnest($3)'));
    records CONSTANT bytea[] := (SELECT array_agg(bytes ORDER BY number) FROM pg_temp.record);
    numbers CONSTANT integer[] := ARRAY(SELECT generate_series(1, size));
    page bytea[];
    started timestamptz;
BEGIN
    FOR n IN 0..cardinality(records) / size - 1 LOOP
        page := records[n * size + 1:(n + 1) * size];
        started := clock_timestamp();
        EXECUTE statement USING n, numbers, page;
        COMMIT;
        times := times || 1000 * extract(epoch FROM clock_timestamp() - started)::float;
    END LOOP;
    TRUNCATE etl_bench.raw;
    COMMIT;
END
$$;
CREATE PROCEDURE pg_temp.pages(size integer, rounds integer, INOUT jsonb_in float, INOUT direct float) LANGUAGE plpgsql AS $$
DECLARE
    a float[];
    b float[];
BEGIN
    FOR round IN 1..rounds LOOP
        CALL pg_temp.load($e$convert_from(%s, 'UTF8')::jsonb$e$, size, a);
        CALL pg_temp.load('etl._json_as_jsonb(%s)', size, b);
    END LOOP;
    jsonb_in := (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY t) FROM unnest(a) t);
    direct := (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY t) FROM unnest(b) t);
END
$$;

SELECT count(*) AS records, sum(length(bytes)) / 1e6 AS megabytes FROM record \gset
SELECT min(pg_temp.scan('get_byte(bytes, 0)')) AS nothing, min(pg_temp.scan($e$convert_from(bytes, 'UTF8')::jsonb$e$)) AS jsonb_in, min(pg_temp.scan('etl._json_as_jsonb(bytes)')) AS direct
FROM generate_series(1, :rounds) \gset
CALL pg_temp.pages(:size, greatest(1, :rounds / 5), NULL, NULL) \gset page_
SELECT format('%-9s %12s %12s %10s %10s %7s  %8s %9s %9s %7s', :'kind', round(:records / (:jsonb_in - :nothing)), round(:records / (:direct - :nothing)),
    round(:megabytes / (:jsonb_in - :nothing)), round(:megabytes / (:direct - :nothing)), round(((:jsonb_in - :nothing) / (:direct - :nothing))::numeric, 1),
    :size, round(:page_jsonb_in::numeric, 2), round(:page_direct::numeric, 2), round((:page_jsonb_in / :page_direct)::numeric, 1));
DROP SCHEMA etl_bench CASCADE;
SQL

printf '%-9s %12s %12s %10s %10s %7s  %8s %9s %9s %7s\n' records 'jsonb_in/s' 'direct/s' 'MB/s' 'MB/s' ratio 'page of' 'ms' 'ms' ratio
for case in 'issues 3000 100' 'events 10000 500' 'readings 20000 1000'; do
    # shellcheck disable=SC2086  # three words
    set -- $case
    python3 "$here/records.py" "$1" "$2" >"$work/records"
    psql -XAtq -v ON_ERROR_STOP=1 -v kind="$1" -v size="$3" -v rounds="$rounds" -f "$work/measure.sql" <"$work/records"
done
