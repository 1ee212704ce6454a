#!/bin/sh
# Tries random schemas, documents and patterns for so many seconds (default 60), from a seed on.
#
#   test/fuzz/schema.sh [SECONDS] [SEED]     needs psql (PGHOST, PGDATABASE, ...) and python3
#
# The database needs the extension.  With node there, patterns are compared with JavaScript's.
# Fails at the first crash, hang, unexpected error or disagreement and names the seed.
set -eu

seconds=${1:-60}
seed=${2:-1}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
end=$(($(date +%s) + seconds))
rounds=0

while [ "$(date +%s)" -lt "$end" ]; do
    python3 "$here/schema.py" "$seed" 500 >"$work/schemas.sql"
    if ! psql -XAt -f "$work/schemas.sql" >"$work/out" 2>&1; then
        cat "$work/out" >&2
        echo "seed $seed" >&2
        exit 1
    fi
    if command -v node >/dev/null; then
        node "$here/schema_patterns.js" "$seed" 1000 >"$work/patterns"
        psql -XAtq -v ON_ERROR_STOP=1 -c "SET statement_timeout = '60s'" \
            -c "CREATE TEMP TABLE try (c jsonb)" \
            -c "\\copy try FROM '$work/patterns' WITH (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')" \
            -c "SELECT c FROM try WHERE etl.is_valid_json(jsonb_build_object('pattern', c->'pattern'), c->'text') IS DISTINCT FROM (c->>'matches')::boolean" \
            >"$work/differ"
        if [ -s "$work/differ" ]; then
            cat "$work/differ" >&2
            echo "seed $seed" >&2
            exit 1
        fi
    fi
    seed=$((seed + 1))
    rounds=$((rounds + 1))
done
cat "$work/out"
echo "$rounds rounds, next seed $seed"
