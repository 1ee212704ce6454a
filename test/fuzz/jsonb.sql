-- Compares etl._json_as_jsonb with jsonb_in on the documents of standard input, one a line
-- in hexadecimal (json_documents.py).  Prints a row for every document on which they
-- disagree, and at the end how many there were.
--
-- They agree when both refuse, or when the bytes they make are the same: *= compares images.
\set QUIET on
\set VERBOSITY terse
\pset tuples_only on
\pset format unaligned
SET client_min_messages = error;
SET max_parallel_workers_per_gather = 0;

CREATE TEMP TABLE document (number bigserial, hex text);
\copy document (hex) FROM pstdin

CREATE TYPE pg_temp.image AS (value jsonb);

CREATE FUNCTION pg_temp.try(document bytea, OUT expected jsonb, OUT expected_error text, OUT actual jsonb, OUT actual_error text, OUT message text)
LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		expected := convert_from(document, 'UTF8')::jsonb;
	EXCEPTION WHEN OTHERS THEN
		expected_error := SQLSTATE;
	END;
	BEGIN
		actual := etl._json_as_jsonb(document);
	EXCEPTION WHEN OTHERS THEN
		actual_error := SQLSTATE;
		message := SQLERRM;
	END;
END
$$;

CREATE TEMP TABLE result AS
SELECT d.number, d.hex, t.*, t.expected IS NOT NULL AND t.actual IS NOT NULL AND ROW(t.expected)::pg_temp.image OPERATOR(pg_catalog.*=) ROW(t.actual)::pg_temp.image AS is_same
FROM document d, LATERAL pg_temp.try(decode(d.hex, 'hex')) t OFFSET 0;

-- deeper than we go, not as deep as PostgreSQL's stack: the one exception
SELECT 'differ', number, left(hex, 2000), expected_error, actual_error, message, left(expected::text, 200), left(actual::text, 200)
FROM result
WHERE NOT is_same AND (expected_error IS NULL) IS DISTINCT FROM (actual_error IS NULL) AND actual_error IS DISTINCT FROM '54001'
   OR NOT is_same AND expected_error IS NULL AND actual_error IS NULL
ORDER BY length(hex) LIMIT 20;
-- which of several errors is named may differ, which kind it is may not
SELECT 'unknown error', number, left(hex, 2000), actual_error, message FROM result
WHERE actual_error NOT IN ('22P02', '22P05', '22021', '22003', '54000', '54001') LIMIT 20;
SELECT format('%s documents, %s accepted, %s refused, %s of them for another reason', count(*), count(*) FILTER (WHERE is_same),
	count(*) FILTER (WHERE actual_error IS NOT NULL), count(*) FILTER (WHERE actual_error <> expected_error)) FROM result;
