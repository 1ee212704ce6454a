#!/usr/bin/env bash
# What etl.infer_schema costs, beside the same paths and types found by jsonb_each and GROUP BY.
#
# usage: bench/infer_schema.sh [RECORDS]   (default 100000)
# It uses the database that psql's environment (PGHOST, PGPORT, PGDATABASE …) leads to, which has
# the extension, in a schema bench_infer of its own that it drops at the end.
set -euo pipefail

records=${1:-100000}
export PGOPTIONS="-c client_min_messages=warning -c timezone=UTC"

run() { psql -X -q -v ON_ERROR_STOP=1 -At "$@"; }
trap 'run -c "DROP SCHEMA IF EXISTS bench_infer CASCADE"' EXIT

# seconds SQL: how long it takes, the best of three.
seconds() {
    for _ in 1 2 3; do
        run -c '\timing on' -c "$1" | sed -nE 's/^Time: ([0-9.]+) ms.*/\1/p'
    done | sort -n | head -n 1 | awk '{printf "%.2f", $1 / 1000}'
}

run <<SQL
DROP SCHEMA IF EXISTS bench_infer CASCADE;
CREATE SCHEMA bench_infer;
-- shaped like GitHub's issues: about 2 kB, 50 paths
CREATE TABLE bench_infer.docs AS
SELECT jsonb_build_object('id', i, 'number', i % 1000, 'node_id', md5(i::text), 'title', repeat(md5(i::text), 2),
    'state', CASE WHEN i % 3 = 0 THEN 'open' ELSE 'closed' END,
    'user', jsonb_build_object('id', i % 1000, 'login', md5((i % 1000)::text), 'url', 'https://api.example/users/' || i, 'type', 'User',
        'site_admin', false, 'avatar_url', 'https://avatars.example/' || i, 'gravatar_id', ''),
    'labels', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', k, 'name', 'l' || k, 'color', 'ff0000', 'default', false,
        'description', null)), '[]') FROM generate_series(1, i % 4) k),
    'created_at', '2024-01-01T00:00:00Z', 'updated_at', '2024-01-02T00:00:00Z',
    'closed_at', CASE WHEN i % 3 = 0 THEN NULL ELSE '2024-02-01T00:00:00Z' END,
    'body', repeat(md5(i::text), 20), 'comments', i % 7, 'score', i / 3.0, 'locked', false, 'assignee', NULL,
    'milestone', CASE WHEN i % 5 = 0 THEN jsonb_build_object('id', 1, 'creator', jsonb_build_object('login', 'x', 'id', 3)) END,
    'reactions', jsonb_build_object('url', 'https://api.example/' || i, 'total_count', 0, '+1', 0, '-1', 0, 'laugh', 0, 'hooray', 0,
        'confused', 0, 'heart', 0, 'rocket', 0, 'eyes', 0),
    'url', 'https://api.example/issues/' || i, 'html_url', 'https://example.org/issues/' || i) AS payload
FROM generate_series(1, $records) i;
VACUUM ANALYZE bench_infer.docs;
SQL

inferred=$(seconds "SELECT count(etl.infer_schema('bench_infer.docs', sample_size => NULL))")
in_sql=$(seconds "
WITH RECURSIVE w(path, value, depth) AS (
    SELECT '\$', payload, 0 FROM bench_infer.docs
    UNION ALL
    SELECT w.path || x.step, x.value, w.depth + 1 FROM w CROSS JOIN LATERAL (
        SELECT '.' || key, value FROM jsonb_each(CASE jsonb_typeof(w.value) WHEN 'object' THEN w.value ELSE '{}' END)
        UNION ALL
        SELECT '[*]', value FROM jsonb_array_elements(CASE jsonb_typeof(w.value) WHEN 'array' THEN w.value ELSE '[]' END)) x(step, value)
    WHERE w.depth < 4)
SELECT count(*) FROM (SELECT path, jsonb_typeof(value), count(*) FROM w GROUP BY 1, 2) y")
broken=$(run <<'SQL'
SELECT etl.infer_schema('bench_infer.docs', sample_size => NULL) AS schema \gset
SELECT count(*) FROM bench_infer.docs WHERE NOT etl.is_valid_json(:'schema', payload, true);
SQL
)

echo "records                         $records"
echo "etl.infer_schema                $inferred s"
echo "paths and types alone, in SQL   $in_sql s"
awk -v a="$in_sql" -v b="$inferred" 'BEGIN { printf "ratio                           %.1f\n", a / b }'
echo "records that are not valid      $broken"
