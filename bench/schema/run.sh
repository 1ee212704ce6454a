#!/bin/sh
# Records per second of etl.is_valid_json beside Node's ajv, on the same schemas and documents.
#
#   bench/schema/run.sh [records]        needs psql (PGHOST, PGDATABASE, ...), node and npm
#
# The database needs the extension; the documents live in a temporary table.  ajv works on
# objects in memory: once without JSON.parse in the measured time, once with it.  etl works
# on JSONB in a table, the scan included.  One process each, best of a
# hundred short rounds, so that what else the machine does matters little.
set -eu

records=${1:-10000}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/cases.js" "$here/ajv.js" "$work"
(cd "$work" && npm init -y && npm install --no-audit --no-fund ajv@8) >"$work/npm.log" 2>&1 ||
    { cat "$work/npm.log" >&2; exit 1; }

# Prints the number of valid documents and the records per second of etl.
measure_etl() {
    cat >"$work/measure.sql" <<SQL
SET max_parallel_workers_per_gather = 0;
SET jit = off;
SET client_min_messages = error;
CREATE TEMP TABLE document (document jsonb);
\\copy document FROM '$work/documents' WITH (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')
ANALYZE document;
CREATE FUNCTION pg_temp.measure(schema text, OUT valid bigint, OUT rate bigint) LANGUAGE plpgsql AS \$\$
DECLARE
    started timestamptz;
    seconds float;
    best float;
BEGIN
    FOR round IN 1..100 LOOP
        started := clock_timestamp();
        EXECUTE format('SELECT count(*) FROM pg_temp.document WHERE etl.is_valid_json(%L, document)', schema) INTO valid;
        seconds := extract(epoch FROM clock_timestamp() - started);
        best := least(best, seconds);
    END LOOP;
    rate := (SELECT count(*) FROM pg_temp.document) / best;
END
\$\$;
\\set schema \`cat '$work/schema'\`
SELECT valid, rate FROM pg_temp.measure(:'schema');
SQL
    psql -XAtq -F ' ' -v ON_ERROR_STOP=1 -f "$work/measure.sql"
}

printf '%-8s %10s %12s %12s %12s %12s %10s\n' \
    case documents etl/s ajv/s 'ajv+parse/s' 'etl : ajv' 'etl : ajv+parse'
for case in event order shape; do
    node "$work/ajv.js" documents "$case" "$records" >"$work/documents"
    node "$work/ajv.js" schema "$case" >"$work/schema"
    # shellcheck disable=SC2046  # words, to be split
    set -- $(node "$work/ajv.js" run "$case" "$work/documents") $(measure_etl)
    if [ "$1" != "$4" ]; then
        echo "case $case: ajv accepts $1 documents, etl $4" >&2
        exit 1
    fi
    printf '%-8s %10s %12s %12s %12s %12s %10s\n' "$case" "$records" "$5" "$2" "$3" \
        "$(awk "BEGIN { printf \"%.2f\", $5 / $2 }")" "$(awk "BEGIN { printf \"%.2f\", $5 / $3 }")"
done
