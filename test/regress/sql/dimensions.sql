-- The generated dimension of dates.
\set ECHO none
\getenv here PG_ABS_SRCDIR
\set helpers :here /helpers.sql
\i :helpers
\set ECHO all
SELECT etl.create_dim_date('dm', '2023-12-30', '2024-03-01');
SELECT * FROM dm.dim_date WHERE date_pk IN (-1, 20231231, 20240229) ORDER BY date_pk;
-- extended, not made anew; the same again adds nothing
SELECT etl.create_dim_date('dm', '2023-12-01', '2024-12-31');
SELECT etl.create_dim_date('dm', '2023-12-01', '2024-12-31');
SELECT count(*), count(DISTINCT date), min(date), max(date), count(*) FILTER (WHERE is_weekend) FROM dm.dim_date WHERE date_pk > 0;
SELECT etl.create_dim_date('dm', '2024-01-01', '2024-01-31', name => 'days', unknown_member => false);
SELECT etl.create_dim_date('dm', '2024-01-02', '2024-01-01');
SELECT etl.create_dim_date('dm', '2024-01-02', 'infinity');
SELECT etl.create_dim_date('etl', '2024-01-01', '2024-01-02');
CREATE TABLE dm.other (id integer);
SELECT etl.create_dim_date('dm', '2024-01-01', '2024-01-02', name => 'other');
DROP SCHEMA dm CASCADE;
