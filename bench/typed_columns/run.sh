#!/usr/bin/env bash
# Ten typed columns from JSONB documents: a chain of ->> and casts, jsonb_to_record, and
# etl.json_row, which reads each document once.
#
# usage: bench/typed_columns/run.sh [DOCUMENTS] [REPEATS]     (defaults 20000 and 5)
# It uses the database that psql's environment leads to, which has the extension, in a schema
# bench_typed of its own that it drops at the end. Documents are of three sizes, compressed as
# raw payloads are (lz4, where the server has it). Times are medians, in milliseconds.
set -euo pipefail

documents=${1:-20000}
repeats=${2:-5}
export PGOPTIONS="-c client_min_messages=warning -c timezone=UTC -c max_parallel_workers_per_gather=0 -c jit=off"

run() { psql -X -q -v ON_ERROR_STOP=1 -At "$@"; }
clean() { run -c 'DROP SCHEMA IF EXISTS bench_typed CASCADE'; }
trap clean EXIT
clean

run <<SQL
CREATE SCHEMA bench_typed;
CREATE TYPE bench_typed.fields AS (id bigint, title text, state text, number integer, comments integer, score numeric, locked boolean, created_at timestamptz, login text, label text);
CREATE FUNCTION bench_typed.time(statement text, repeats integer) RETURNS numeric LANGUAGE plpgsql AS \$\$
DECLARE
    began timestamptz;
    took double precision[] := '{}';
BEGIN
    FOR i IN 0 .. repeats LOOP
        began := clock_timestamp();
        EXECUTE statement;
        IF i > 0 THEN        -- the first warms up
            took := took || extract(epoch FROM clock_timestamp() - began)::double precision * 1000;
        END IF;
    END LOOP;
    RETURN round((SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY t) FROM unnest(took) t)::numeric, 1);
END \$\$;
SQL

# the same ten columns, aggregated so that all are computed and none is sent
aggregate="count(id), count(title), count(state), count(number), count(comments), count(score), count(locked), count(created_at), count(login), count(label)"
chain="SELECT $aggregate FROM (SELECT (p ->> 'id')::bigint AS id, p ->> 'title' AS title, p ->> 'state' AS state, (p ->> 'number')::integer AS number,
    (p ->> 'comments')::integer AS comments, (p ->> 'score')::numeric AS score, (p ->> 'locked')::boolean AS locked, (p ->> 'created_at')::timestamptz AS created_at,
    p #>> '{user,login}' AS login, p #>> '{milestone,label}' AS label FROM bench_typed.documents OFFSET 0) x"
record="SELECT $aggregate FROM (SELECT c.id, c.title, c.state, c.number, c.comments, c.score, c.locked, c.created_at, c.\"user\" ->> 'login' AS login, c.milestone ->> 'label' AS label
    FROM bench_typed.documents d CROSS JOIN LATERAL jsonb_to_record(d.p) c(id bigint, title text, state text, number integer, comments integer, score numeric, locked boolean, created_at timestamptz, \"user\" jsonb, milestone jsonb) OFFSET 0) x"
row="SELECT $aggregate FROM (SELECT (c.r).* FROM (SELECT etl.json_row(d.p, NULL::bench_typed.fields, '{id,title,state,number,comments,score,locked,created_at,user.login,milestone.label}') AS r FROM bench_typed.documents d OFFSET 0) c) x"

printf '%12s %10s %16s %10s %14s %18s\n' 'bytes each' chain jsonb_to_record json_row 'chain/row' 'to_record/row'
for padding in 1 20 150; do
    run <<SQL
\\o /dev/null
SET default_toast_compression = lz4;
DROP TABLE IF EXISTS bench_typed.documents;
CREATE TABLE bench_typed.documents (p jsonb);
INSERT INTO bench_typed.documents SELECT jsonb_build_object('id', i, 'title', 'a title of ' || i, 'state', 'open', 'number', i % 1000, 'comments', i % 7, 'score', i / 7.0, 'locked', i % 2 = 0,
        'created_at', timestamptz '2024-01-01Z' + i * interval '1 second', 'user', jsonb_build_object('login', 'u' || i % 100, 'id', i % 100), 'milestone', jsonb_build_object('label', 'm' || i % 10))
    || (SELECT jsonb_object_agg('field_' || n, md5((i * n)::text)) FROM generate_series(1, $padding) n)
FROM generate_series(1, $documents) i;
VACUUM ANALYZE bench_typed.documents;
\\o
SELECT avg(length(p::text))::integer AS bytes FROM (SELECT p FROM bench_typed.documents LIMIT 100) x \\gset
SELECT bench_typed.time(\$s\$$chain\$s\$, $repeats) AS chain, bench_typed.time(\$s\$$record\$s\$, $repeats) AS record, bench_typed.time(\$s\$$row\$s\$, $repeats) AS row \\gset
SELECT format('%12s %10s %16s %10s %14s %18s', :bytes, :chain, :record, :row, round(:chain / :row, 2), round(:record / :row, 2));
SQL
done
