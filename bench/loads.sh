#!/usr/bin/env bash
# What a load costs as its table grows, and beside the best plain SQL for the same change.
#
# For each mode and table size: a day of changes (half of them new keys, half changed ones) is
# loaded, then the same day again, which changes nothing. "plain" is the statement one would
# write by hand for that change, without any protection from the order of runs; where a mode
# keeps observations, "order_free false" shows the mode without, so that the difference is the
# price of order-freedom. Mode scd2 stands beside the two statements of a dbt snapshot, on a table
# without constraints as dbt makes it, and on one that keeps those of the mode; what it spends on
# order-freedom (remembering what was said, folding histories from it) is a line of its own.
#
# usage: bench/loads.sh [BASE] [CHANGES] [REPEATS] [FACTORS] [MODES]     (defaults 20000, 1900, 5, "1 10 100" and .)
# Sizes are BASE times each factor; MODES is a regular expression of the lines wanted. It uses the database that psql's environment
# leads to, which has the extension, in a schema bench_loads and a pipeline bench_loads of its
# own that it drops at the end; for a superuser. Times are medians, in milliseconds, of the load alone.
set -euo pipefail

base=${1:-20000}
changes=${2:-1900}
repeats=${3:-5}
factors=${4:-1 10 100}
modes=${5:-.}
export PGOPTIONS="-c track_functions=pl -c client_min_messages=warning -c timezone=UTC -c search_path=pg_catalog"

run() { psql -X -q -v ON_ERROR_STOP=1 -At "$@"; }
clean() { run -c "SELECT etl.drop_pipeline(pipeline) FROM etl.pipelines WHERE pipeline = 'bench_loads'" -c 'DROP SCHEMA IF EXISTS bench_loads CASCADE' >/dev/null; }
trap clean EXIT
clean

run <<'SQL'
CREATE SCHEMA bench_loads;
SELECT etl.create_pipeline('bench_loads');
CREATE TABLE bench_loads.raw (day date, id bigint, at timestamptz, a text, b integer, c timestamptz, PRIMARY KEY (day, id));

CREATE FUNCTION bench_loads.context(day date) RETURNS void LANGUAGE sql AS
$$ SELECT etl._set_context(NULL, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC', day) $$;
CREATE FUNCTION bench_loads.load(target text) RETURNS void LANGUAGE sql AS
$$ SELECT etl._load_target('bench_loads', t.task, 'UTC', t.definition, t.task::regclass, NULL) FROM etl.tasks t WHERE t.task = target $$;

-- the milliseconds of a statement, undone: the median of several
CREATE FUNCTION bench_loads.time(statement text, repeats integer) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
    began timestamptz;
    took double precision[] := '{}';
BEGIN
    FOR i IN 0 .. repeats LOOP
        BEGIN
            began := clock_timestamp();
            EXECUTE statement;
            IF i > 0 THEN        -- the first warms up
                took := took || extract(epoch FROM clock_timestamp() - began)::double precision * 1000;
            END IF;
            RAISE EXCEPTION 'undo' USING ERRCODE = 'P0099';
        EXCEPTION WHEN SQLSTATE 'P0099' THEN NULL;
        END;
    END LOOP;
    RETURN round((SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY t) FROM unnest(took) t)::numeric, 1);
END $$;

CREATE VIEW bench_loads.txf_today AS SELECT id, at, a, b, c FROM bench_loads.raw WHERE day = etl.run_date();
SQL

# ways: table|declaration|plain SQL for the change ("today" are the day's rows)
# The plain statement for each mode.
upsert='INSERT INTO bench_loads.plain AS t SELECT id, at, a, b, c FROM bench_loads.raw WHERE day = etl.run_date() ON CONFLICT (id) DO UPDATE
    SET at = excluded.at, a = excluded.a, b = excluded.b, c = excluded.c WHERE (t.at, t.a, t.b, t.c) IS DISTINCT FROM (excluded.at, excluded.a, excluded.b, excluded.c)'
replace_day="DELETE FROM bench_loads.plain WHERE at >= etl.data_interval_start() AND at < etl.data_interval_end();
    INSERT INTO bench_loads.plain SELECT id, at, a, b, c FROM bench_loads.raw WHERE day = etl.run_date()"
append='INSERT INTO bench_loads.plain SELECT id, at, a, b, c FROM bench_loads.raw WHERE day = etl.run_date() ON CONFLICT DO NOTHING'
append_all='INSERT INTO bench_loads.plain SELECT id, at, a, b, c FROM bench_loads.raw WHERE day = etl.run_date()'
# what dbt does for a snapshot: the changes into a temporary table, then a merge that closes and a merge that adds
dbt="CREATE TEMPORARY TABLE staged ON COMMIT DROP AS
        SELECT s.*, 'update' AS change FROM (SELECT id, at, a, b, c FROM bench_loads.raw WHERE day = etl.run_date()) s JOIN bench_loads.plain t ON t.id = s.id AND t.valid_to IS NULL
        WHERE (t.at, t.a, t.b, t.c) IS DISTINCT FROM (s.at, s.a, s.b, s.c)
        UNION ALL SELECT s.*, 'insert' FROM (SELECT id, at, a, b, c FROM bench_loads.raw WHERE day = etl.run_date()) s LEFT JOIN bench_loads.plain t ON t.id = s.id AND t.valid_to IS NULL
        WHERE t.id IS NULL OR (t.at, t.a, t.b, t.c) IS DISTINCT FROM (s.at, s.a, s.b, s.c);
    UPDATE bench_loads.plain t SET valid_to = etl.data_interval_start() FROM staged s WHERE t.id = s.id AND t.valid_to IS NULL AND s.change = 'update';
    INSERT INTO bench_loads.plain (scd_id, id, at, a, b, c, valid_from) SELECT md5(id::text || etl.data_interval_start()::text), id, at, a, b, c, etl.data_interval_start() FROM staged WHERE change = 'insert';
    DROP TABLE staged"

# measure NAME SIZE DECLARATION PLAIN [PLAIN_TABLE]
measure() {
    local name=$1 size=$2 declaration=$3 plain=$4 kind=${5:-copy}
    [[ $name =~ $modes ]] || return 0
    run <<SQL
\\o /dev/null
TRUNCATE bench_loads.raw;
INSERT INTO bench_loads.raw SELECT '2026-01-01', i, timestamptz '2026-01-01 00:00+00' + i % 86400 * interval '1 second', md5(i::text), i % 100, '2026-01-01' FROM generate_series(1, $size) i;
DROP TABLE IF EXISTS bench_loads.target, bench_loads.obs_target, bench_loads.snp_target, bench_loads.plain CASCADE;
SELECT etl.add_load('bench_loads', 'bench_loads.target', source => 'bench_loads.txf_today', $declaration);
BEGIN;
SELECT bench_loads.context('2026-01-01');
SELECT bench_loads.load('bench_loads.target');
$(case $kind in
    copy) echo "CREATE TABLE bench_loads.plain (LIKE bench_loads.target INCLUDING ALL); INSERT INTO bench_loads.plain SELECT * FROM bench_loads.target;" ;;
    constraints) echo "CREATE TABLE bench_loads.plain AS SELECT md5(id::text) AS scd_id, id, at, a, b, c, valid_from, NULL::timestamptz AS valid_to FROM bench_loads.target;
        ALTER TABLE bench_loads.plain ADD scd_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ADD UNIQUE (id, valid_from); CREATE UNIQUE INDEX ON bench_loads.plain (id, coalesce(valid_to, 'infinity'));" ;;
    dbt) echo "CREATE TABLE bench_loads.plain AS SELECT md5(id::text) AS scd_id, id, at, a, b, c, valid_from, NULL::timestamptz AS valid_to FROM bench_loads.target;
        CREATE INDEX ON bench_loads.plain (id) WHERE valid_to IS NULL;" ;;
esac)
COMMIT;
-- the day measured: half of its keys are there and get other values
INSERT INTO bench_loads.raw SELECT '2026-01-02', CASE WHEN i % 2 = 0 THEN (i::bigint * 7919) % $size + 1 ELSE $size + i END, timestamptz '2026-01-02 00:00+00' + i % 86400 * interval '1 second', md5('x' || i), i % 100, '2026-01-02'
    FROM generate_series(1, $changes) i ON CONFLICT DO NOTHING;
$(case $name in partition) echo "CREATE INDEX ON bench_loads.target (at); CREATE INDEX ON bench_loads.plain (at);" ;; esac)
VACUUM ANALYZE;
CHECKPOINT;
\\o
BEGIN;
SELECT bench_loads.context('2026-01-02') \\g /dev/null
SELECT bench_loads.time(\$s\$SELECT bench_loads.load('bench_loads.target')\$s\$, $repeats) AS load, bench_loads.time(\$s\$$plain\$s\$, $repeats) AS plain \\gset
SELECT coalesce(round((sum(total_time) / max(calls))::numeric, 1), 0) AS order_free FROM pg_stat_xact_user_functions WHERE schemaname = 'etl' AND funcname IN ('_scd2_observe', '_scd2_fold') \\gset
SELECT bench_loads.load('bench_loads.target') \\g /dev/null
SELECT bench_loads.time(\$s\$SELECT bench_loads.load('bench_loads.target')\$s\$, $repeats) AS again \\gset
SELECT format('%-24s %10s %10s %10s %10s %8s', '$name', '$size', :'load', :'plain', :'again', round(:load / greatest(:plain, 0.1), 2));
SELECT format('%-24s %10s %10s %10s %10s %8s', '  without order-freedom', '$size', round(:load - :order_free, 1), :'plain', '', round((:load - :order_free) / greatest(:plain, 0.1), 2)) WHERE :order_free > 0;
COMMIT;
SQL
}

printf '%-24s %10s %10s %10s %10s %8s\n' mode rows load plain again ratio
for factor in $factors; do
    size=$((base * factor))
    measure incremental "$size" "mode => 'incremental', key => '{id}'" "$upsert"
    measure "incremental, not free" "$size" "mode => 'incremental', key => '{id}', options => '{\"order_free\": false}'" "$upsert"
    measure partition "$size" "mode => 'partition', partition_by => 'at', key => '{id}'" "$replace_day"
    measure delta "$size" "mode => 'delta', key => '{id}'" "$append"
    measure "delta, not free" "$size" "mode => 'delta', key => '{id}', options => '{\"order_free\": false}'" "$append"
    measure "delta without key" "$size" "mode => 'delta'" "$append_all"
    measure "scd2, beside dbt" "$size" "mode => 'scd2', key => '{id}'" "$dbt" dbt
    measure "scd2, constraints alike" "$size" "mode => 'scd2', key => '{id}'" "$dbt" constraints
done
