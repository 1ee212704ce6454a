-- What an answer means when it is not simply a page: rules by status and by body, declared
-- with a task, held against every answer by src/extract/page/error_rules.c, the first one that
-- fits decides.

CREATE FUNCTION etl._check_error_rule(rule jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	actions CONSTANT text[] := '{retry,ignore,fail,rate_limited,refresh_auth,stop_pagination,absent}';
	statuses jsonb;
	status jsonb;
	problem text;
BEGIN
	IF jsonb_typeof(rule) IS DISTINCT FROM 'object' THEN
		RAISE EXCEPTION 'invalid error rule: %', rule
			USING ERRCODE = 'invalid_parameter_value', HINT = 'A rule is an object such as {"status": 409, "action": "retry"}.';
	END IF;
	PERFORM etl._check_option_names('an error rule', rule, '{status,path,equals,contains,action,message}');
	statuses := CASE WHEN NOT rule ? 'status' THEN NULL WHEN rule -> 'status' = '[]' THEN '[null]'
					 WHEN jsonb_typeof(rule -> 'status') = 'array' THEN rule -> 'status' ELSE jsonb_build_array(rule -> 'status') END;
	FOR status IN SELECT e FROM jsonb_array_elements(statuses) e LOOP
		IF coalesce(status #>> '{}', '') !~ '^[1-5]([0-9][0-9]|xx)$' THEN
			problem := 'The entry "status" is a number such as 409, a class such as "5xx", or a list of them.';
		END IF;
	END LOOP;
	problem := coalesce(problem, CASE
		WHEN NOT coalesce(rule ->> 'action' = ANY (actions), false) THEN 'The entry "action" is one of ' || array_to_string(actions, ', ') || '.'
		WHEN NOT rule ?| '{status,path,contains}' THEN 'A rule says which answers it is for: by "status", "path" or "contains".'
		WHEN rule ? 'equals' AND NOT rule ? 'path' THEN 'The entry "equals" is held against the value at "path".'
		WHEN rule ? 'contains' AND (jsonb_typeof(rule -> 'contains') <> 'string' OR rule ->> 'contains' = '') THEN 'The entry "contains" is a text to look for.'
		WHEN rule ? 'path' AND jsonb_typeof(rule -> 'path') <> 'string' THEN 'The entry "path" is a JSON path such as $.error.code.'
		WHEN rule ? 'message' AND jsonb_typeof(rule -> 'message') <> 'string' THEN 'The entry "message" is a text that the error shows.'
		WHEN jsonb_typeof(rule -> 'equals') IN ('object', 'array', 'null') THEN 'The entry "equals" is a string, a number or a boolean.'
		END);
	IF problem IS NOT NULL THEN
		RAISE EXCEPTION 'invalid error rule: %', rule
			USING ERRCODE = 'invalid_parameter_value', HINT = problem;
	END IF;
	IF rule ? 'path' THEN
		PERFORM etl._check_record_path(rule ->> 'path');
		IF rule ->> 'path' = '$' OR rule ->> 'path' LIKE '%[*]%' THEN
			RAISE EXCEPTION 'invalid error rule: %', rule
				USING ERRCODE = 'invalid_parameter_value', HINT = 'The entry "path" is a path to one value of an object, such as $.error.code, without [*].';
		END IF;
	END IF;
	RETURN CASE WHEN rule ? 'status' THEN rule || jsonb_build_object('status', (SELECT jsonb_agg(s #>> '{}') FROM jsonb_array_elements(statuses) s)) ELSE rule END;
END
$$;
COMMENT ON FUNCTION etl._check_error_rule(jsonb) IS 'checks one rule about answers; returns it with its statuses as a list';

-- on_status is the short form: {"404": "absent"}.
CREATE FUNCTION etl._check_error_rules(on_status jsonb, error_rules jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF jsonb_typeof(coalesce(on_status, '{}')) <> 'object' THEN
		RAISE EXCEPTION 'on_status must be a JSON object'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'For example {"404": "absent", "5xx": "retry"}.';
	ELSIF jsonb_typeof(coalesce(error_rules, '[]')) <> 'array' THEN
		RAISE EXCEPTION 'error_rules must be a JSON array'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'For example [{"status": 200, "path": "$.error", "action": "fail"}].';
	END IF;
	RETURN (SELECT jsonb_agg(etl._check_error_rule(x.rule) ORDER BY x.part, x.ordinal)
			FROM (SELECT 1 AS part, e.ordinal, e.rule FROM jsonb_array_elements(error_rules) WITH ORDINALITY e(rule, ordinal)
				  UNION ALL
				  -- an exact status goes before its class
				  SELECT 2, row_number() OVER (ORDER BY (s.key LIKE '%xx'), s.key), jsonb_build_object('status', s.key, 'action', s.value)
				  FROM jsonb_each(on_status) s) x);
END
$$;
COMMENT ON FUNCTION etl._check_error_rules(jsonb, jsonb) IS 'the rules of a task in the order they are tried: error_rules, then on_status; NULL without any';
