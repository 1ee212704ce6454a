#!/bin/sh
# Compares the JSONB writer with jsonb_in on random documents for so many seconds (default 60),
# from a seed on.
#
#   test/fuzz/jsonb.sh [SECONDS] [SEED]     needs psql (PGHOST, PGDATABASE, ...) and python3
#
# The database needs the extension and the encoding UTF8.  Fails at the first disagreement and
# names the seed.
set -eu

seconds=${1:-60}
seed=${2:-1}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
end=$(($(date +%s) + seconds))
rounds=0

while [ "$(date +%s)" -lt "$end" ]; do
    python3 "$here/json_documents.py" "$seed" 20000 >"$work/documents"
    if ! psql -XAtq -v ON_ERROR_STOP=1 -f "$here/jsonb.sql" <"$work/documents" >"$work/out" 2>&1 ||
        [ "$(wc -l <"$work/out")" -ne 1 ]; then
        cat "$work/out" >&2
        echo "seed $seed" >&2
        exit 1
    fi
    seed=$((seed + 1))
    rounds=$((rounds + 1))
done
cat "$work/out"
echo "$rounds rounds, next seed $seed"
