#!/bin/sh
# Records per second of the direct JSONB writer beside jsonb_in, on the same records, in one run.
#
#   bench/raw/jsonb.sh [ROUNDS]      needs psql (PGHOST, PGDATABASE, ...), python3, a UTF8 database
#
# The database needs the extension; the records live in temporary tables.  The two take turns and
# the best of the rounds counts, so that what else the machine does matters little.
set -eu

rounds=${1:-15}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/measure.sql" <<'SQL'
SET client_min_messages = error;
SET max_parallel_workers_per_gather = 0;
SET jit = off;
CREATE TEMP TABLE line (hex text);
\copy line FROM PSTDIN
CREATE TEMP TABLE record (bytes bytea);
ALTER TABLE record ALTER bytes SET STORAGE EXTERNAL;
INSERT INTO record SELECT decode(hex, 'hex') FROM line;
ANALYZE record;
CREATE FUNCTION pg_temp.seconds(expression text) RETURNS float LANGUAGE plpgsql AS $$
DECLARE
    started CONSTANT timestamptz := clock_timestamp();
BEGIN
    EXECUTE format('SELECT count(%s) FROM pg_temp.record', expression);
    RETURN extract(epoch FROM clock_timestamp() - started);
END
$$;
SELECT format('%-10s %9s %14s %14s %14s %14s %7s', :'kind', count(*), round(count(*) / (b - s)), round(count(*) / (a - s)),
    round((sum(length(bytes)) / 1e6 / (b - s))::numeric), round((sum(length(bytes)) / 1e6 / (a - s))::numeric), round(((b - s) / (a - s))::numeric, 1))
FROM record, (SELECT min(pg_temp.seconds('etl._json_as_jsonb(bytes)')) AS a, min(pg_temp.seconds($e$convert_from(bytes, 'UTF8')::jsonb$e$)) AS b, min(pg_temp.seconds('get_byte(bytes, 0)')) AS s
    FROM generate_series(1, :rounds)) t GROUP BY a, b, s;
SQL

printf '%-10s %9s %14s %14s %14s %14s %7s\n' records number 'jsonb_in/s' 'direct/s' 'jsonb_in MB/s' 'direct MB/s' ratio
for case in 'issues 3000' 'events 10000' 'readings 20000'; do
    # shellcheck disable=SC2086  # two words
    python3 "$here/records.py" $case >"$work/records"
    psql -XAtq -v ON_ERROR_STOP=1 -v kind="${case% *}" -v rounds="$rounds" -f "$work/measure.sql" <"$work/records"
done
