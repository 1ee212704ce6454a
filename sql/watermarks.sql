-- Watermarks: how far a source has been read, for sources that are asked "what is new
-- since".  A load notes how far it got together with its rows; that counts from when it is
-- published, as its rows do.  See docs/decisions/0007-watermarks.md.

CREATE FUNCTION etl._watermark_less_lag(value text, type text, lag text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE type
		WHEN 'timestamp' THEN to_char((value::timestamptz - coalesce(lag::interval, interval '0')) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS')
							  || CASE WHEN date_part('microseconds', value::timestamptz - coalesce(lag::interval, interval '0'))::bigint % 1000000 <> 0
									  THEN to_char((value::timestamptz - coalesce(lag::interval, interval '0')) AT TIME ZONE 'UTC', '.US') ELSE '' END || 'Z'
		WHEN 'number' THEN (value::numeric - coalesce(lag::numeric, 0))::text
		ELSE value END
$$;
COMMENT ON FUNCTION etl._watermark_less_lag(text, text, text) IS 'the value that {watermark} stands for: the watermark minus its lag';
