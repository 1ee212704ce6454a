-- Judges what cases.py has written into the current directory; all is rolled back at the end.
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
BEGIN;
CREATE TEMP TABLE remote (uri text, schema jsonb);
CREATE TEMP TABLE suite_case (
	dialect text, kind text, file text, topic text, test text, schema text, document text, valid boolean);
\copy remote FROM 'remotes'
\copy suite_case FROM 'cases'
-- a remote metaschema first: those that use it are checked against it
SELECT count(etl.register_schema(uri, schema)) AS remotes
FROM (SELECT * FROM remote ORDER BY schema->>'$schema' LIKE 'http://localhost%', uri) r \gset

-- What the four functions say; NULL where jsonb cannot hold the case.
CREATE FUNCTION pg_temp.judge(schema text, document text, assert_format boolean,
	OUT by_text boolean, OUT by_jsonb boolean, OUT differs boolean, OUT failure text)
LANGUAGE plpgsql AS $$
DECLARE
	of_text jsonb;
	of_jsonb jsonb;
BEGIN
	BEGIN
		by_text := etl.is_valid_json_text(schema, document, assert_format);
		SELECT coalesce(jsonb_agg(to_jsonb(v)), '[]') INTO of_text FROM etl.validate_json_text(schema, document, assert_format) v;
	EXCEPTION WHEN OTHERS THEN
		failure := SQLERRM;
	END;
	BEGIN
		by_jsonb := etl.is_valid_json(schema::jsonb, document::jsonb, assert_format);
		SELECT coalesce(jsonb_agg(to_jsonb(v)), '[]') INTO of_jsonb FROM etl.validate_json(schema::jsonb, document::jsonb, assert_format) v;
	EXCEPTION
		WHEN untranslatable_character THEN
			differs := by_text <> (of_text = '[]');
			RETURN;
		WHEN OTHERS THEN
			NULL;
	END;
	differs := (by_text, of_text) IS DISTINCT FROM (by_jsonb, of_jsonb) OR by_text <> (of_text = '[]');
END
$$;
CREATE TEMP TABLE verdict AS
SELECT c.*, j.by_text IS NOT DISTINCT FROM c.valid AS passes, j.by_jsonb IS NULL AND j.failure IS NULL AS has_nul, j.differs, j.failure
FROM suite_case c, pg_temp.judge(c.schema, c.document, c.kind = 'format') j;

\echo :remotes remote schemas registered
\pset format aligned
\pset tuples_only off
\pset footer off
SELECT dialect,
	count(*) FILTER (WHERE passes AND kind = 'required') || ' of ' || count(*) FILTER (WHERE kind = 'required') AS required,
	count(*) FILTER (WHERE passes AND kind = 'optional') || ' of ' || count(*) FILTER (WHERE kind = 'optional') AS optional,
	count(*) FILTER (WHERE passes AND kind = 'format') || ' of ' || count(*) FILTER (WHERE kind = 'format') AS format,
	count(*) FILTER (WHERE has_nul) AS "not as jsonb", count(*) FILTER (WHERE differs) AS "text differs"
FROM verdict
GROUP BY dialect
ORDER BY array_position('{draft4,draft6,draft7,draft2019-09,draft2020-12}', dialect);
SELECT dialect, kind, file, topic, test, valid, differs, failure FROM verdict WHERE NOT passes OR differs ORDER BY 1, 2, 3;
DO $$
BEGIN
	IF EXISTS (SELECT FROM verdict WHERE (kind = 'required' AND NOT passes) OR differs) OR (SELECT count(*) FROM verdict) < 5000 THEN
		RAISE EXCEPTION 'not all required tests pass';
	END IF;
END
$$;
ROLLBACK;
