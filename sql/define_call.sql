-- Declaring a call: a procedure or function that is run as the owner, with what it is told
-- of the run as arguments.  Names and values are checked here; values are bound, never
-- pasted into SQL.

-- What of a procedure's parameters is given.  Parameters that are only returned have to be
-- written in CALL all the same.
CREATE FUNCTION etl._call_parameters(procedure oid, given jsonb)
RETURNS TABLE (number integer, name text, type text, mode text, has_default boolean, is_given boolean, value jsonb)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT i.number, i.name, format_type(i.type, NULL), i.mode, i.mode <> 'o' AND i.input > i.inputs - i.pronargdefaults,
		   i.mode <> 'o' AND CASE jsonb_typeof(given) WHEN 'array' THEN i.input <= jsonb_array_length(given) ELSE coalesce(given ? i.name, false) END,
		   CASE jsonb_typeof(given) WHEN 'array' THEN given -> (i.input - 1) ELSE given -> i.name END
	FROM (
		SELECT u.number::integer, u.name, u.type, u.mode, u.pronargdefaults,
			   (count(*) FILTER (WHERE u.mode <> 'o') OVER (ORDER BY u.number))::integer AS input, count(*) FILTER (WHERE u.mode <> 'o') OVER () AS inputs
		FROM (
			SELECT t.number, t.type, nullif(p.proargnames[t.number], '') AS name, coalesce(p.proargmodes[t.number]::text, 'i') AS mode, p.prokind, p.pronargdefaults
			FROM pg_proc p CROSS JOIN LATERAL unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) WITH ORDINALITY t(type, number)
			WHERE p.oid = procedure) u
		WHERE u.mode IN ('i', 'b', 'v') OR u.mode = 'o' AND u.prokind = 'p') i;
END
$$;
COMMENT ON FUNCTION etl._call_parameters(oid, jsonb) IS 'the parameters of a procedure, and which of them arguments (an object or an array) give';

-- The statement takes the values as one text[], in the order of "arguments".  It is kept in
-- the task: runs call what was meant when it was declared, by name.
CREATE FUNCTION etl._call_candidates(procedure text, given jsonb)
RETURNS TABLE (oid oid, signature text, is_procedure boolean, fits boolean, statement text, arguments jsonb)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT p.oid, format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_arguments(p.oid)), p.prokind = 'p',
		   coalesce(c.complete, true) AND c.places = CASE jsonb_typeof(given) WHEN 'array' THEN jsonb_array_length(given) ELSE (SELECT count(*) FROM jsonb_object_keys(given)) END,
		   format(CASE p.prokind WHEN 'p' THEN 'CALL %I.%I(%s)' ELSE 'SELECT FROM %I.%I(%s)' END, n.nspname, p.proname, coalesce(c.list, '')),
		   coalesce(c.arguments, '[]')
	FROM pg_proc p
	JOIN pg_namespace n ON n.oid = p.pronamespace
	JOIN parse_ident(procedure) x(parts) ON n.nspname = x.parts[1] AND p.proname = x.parts[2]
	CROSS JOIN LATERAL (
		SELECT bool_and((a.is_given AND a.type !~ '^any') OR a.has_default OR a.mode = 'o') AS complete, count(*) FILTER (WHERE a.is_given) AS places,
			   string_agg(concat(CASE a.mode WHEN 'v' THEN 'VARIADIC ' END, CASE WHEN a.named THEN quote_ident(a.name) || ' => ' END,
					CASE WHEN a.is_given THEN format('($1)[%s]::%s', a.place, a.type) ELSE 'NULL::' || a.type END), ', ' ORDER BY a.number)
				FILTER (WHERE a.is_given OR a.mode = 'o') AS list,
			   jsonb_agg(jsonb_build_object('name', coalesce(a.name, a.number::text), 'type', a.type, 'value', a.value) ORDER BY a.number) FILTER (WHERE a.is_given) AS arguments
		FROM (SELECT b.*, count(*) FILTER (WHERE b.is_given) OVER (ORDER BY b.number) AS place, bool_and(b.name IS NOT NULL) OVER () AS named
			  FROM etl._call_parameters(p.oid, given) b) a) c
	WHERE p.prokind IN ('p', 'f') AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype);
END
$$;
COMMENT ON FUNCTION etl._call_candidates(text, jsonb) IS 'the procedures and functions of a name, whether arguments fit each, and the statement that calls it with them';

CREATE FUNCTION etl._resolve_call(procedure text, given jsonb, OUT oid oid, OUT statement text, OUT is_procedure boolean, OUT arguments jsonb)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	parts text[];
	signatures text;
	fitting text;
	fits bigint;
BEGIN
	IF jsonb_typeof(given) NOT IN ('object', 'array') THEN
		RAISE EXCEPTION 'arguments of a call must be a JSON object or array'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'By name, {"since": "{data_interval_start}"}, or in their order, ["{ds}", 5].';
	END IF;
	BEGIN
		parts := parse_ident(procedure);
	EXCEPTION WHEN invalid_parameter_value THEN
		parts := NULL;
	END;
	IF coalesce(cardinality(parts), 0) <> 2 THEN
		RAISE EXCEPTION 'invalid name of a procedure "%"', coalesce(procedure, 'NULL')
			USING ERRCODE = 'invalid_name', HINT = 'Write schema.procedure, without parameters, for example ops.refresh_totals.';
	END IF;
	SELECT string_agg(c.signature, ', ' ORDER BY c.signature), string_agg(c.signature, ', ' ORDER BY c.signature) FILTER (WHERE c.fits),
		   count(*) FILTER (WHERE c.fits) INTO signatures, fitting, fits
	FROM etl._call_candidates(procedure, given) c;
	IF signatures IS NULL THEN
		RAISE EXCEPTION 'there is no procedure or function %', procedure
			USING ERRCODE = 'undefined_function', HINT = 'Create it first; aggregates and trigger functions cannot be called.';
	ELSIF fits = 0 THEN
		RAISE EXCEPTION 'the arguments do not fit %', procedure
			USING ERRCODE = 'undefined_function', DETAIL = format('Given are: %s', given), HINT = format('There is: %s.', signatures);
	ELSIF fits > 1 THEN
		RAISE EXCEPTION 'the arguments fit several procedures or functions %', procedure
			USING ERRCODE = 'ambiguous_function', HINT = format('Name the arguments so that one of these is left: %s.', fitting);
	END IF;
	SELECT c.oid, c.statement, c.is_procedure, c.arguments INTO _resolve_call.oid, _resolve_call.statement, _resolve_call.is_procedure, _resolve_call.arguments
	FROM etl._call_candidates(procedure, given) c WHERE c.fits;
END
$$;
COMMENT ON FUNCTION etl._resolve_call(text, jsonb) IS 'the one procedure or function that a name and arguments mean, and the statement that calls it; an error otherwise';

CREATE FUNCTION etl._call_placeholders(run_id bigint, run_date date, data_interval_start timestamptz, data_interval_end timestamptz) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT jsonb_build_object('ds', run_date, 'run_id', run_id,
		'data_interval_start', to_char(data_interval_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
		'data_interval_end', to_char(data_interval_end AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
$$;
COMMENT ON FUNCTION etl._call_placeholders(bigint, date, timestamptz, timestamptz) IS 'what the placeholders of a call''s arguments stand for';

-- In the text form of each parameter's type; for an array, of an array.
CREATE FUNCTION etl._call_values(arguments jsonb, placeholder_values jsonb, timezone text) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(array_agg(
		CASE WHEN a.type IN ('json', 'jsonb') THEN CASE jsonb_typeof(a.value) WHEN 'string' THEN to_jsonb(etl._expand(a.value #>> '{}', placeholder_values, timezone, false))::text ELSE a.value::text END
			 WHEN jsonb_typeof(a.value) = 'string' THEN CASE WHEN a.value = '""' THEN '' ELSE etl._expand(a.value #>> '{}', placeholder_values, timezone, false) END
			 WHEN jsonb_typeof(a.value) = 'array' THEN (SELECT coalesce(array_agg(CASE jsonb_typeof(e) WHEN 'string' THEN etl._expand(e #>> '{}', placeholder_values, timezone, false) ELSE e #>> '{}' END ORDER BY o), '{}')::text
														FROM jsonb_array_elements(a.value) WITH ORDINALITY x(e, o))
			 ELSE a.value #>> '{}' END ORDER BY a.n), '{}')
	FROM (SELECT x ->> 'type' AS type, x -> 'value' AS value, n FROM jsonb_array_elements(arguments) WITH ORDINALITY y(x, n)) a
$$;
COMMENT ON FUNCTION etl._call_values(jsonb, jsonb, text) IS 'the values of a call''s arguments, their placeholders filled';

-- Each value is tried in its type, placeholders with an interval as an example.
CREATE FUNCTION etl._check_call_arguments(arguments jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	a jsonb;
	value text;
	known CONSTANT text[] := '{ds,data_interval_start,data_interval_end,run_id}';
	example CONSTANT jsonb := etl._call_placeholders(1, '2024-01-01', '2024-01-01T00:00:00Z', '2024-01-02T00:00:00Z');
BEGIN
	FOR a IN SELECT jsonb_array_elements(arguments) LOOP
		PERFORM etl._check_placeholders(format('argument "%s"', a ->> 'name'), v #>> '{}', known)
		FROM jsonb_path_query(a -> 'value', 'lax $[*] ? (@.type() == "string")') v
		WHERE a ->> 'type' NOT IN ('json', 'jsonb') OR jsonb_typeof(a -> 'value') = 'string';
		value := (etl._call_values(jsonb_build_array(a), example, 'UTC'))[1];
		BEGIN
			EXECUTE format('SELECT $1::%s', a ->> 'type') USING value;
		EXCEPTION WHEN data_exception OR cannot_coerce OR integrity_constraint_violation THEN
			RAISE EXCEPTION 'invalid argument "%": %', a ->> 'name', a -> 'value'
				USING ERRCODE = 'invalid_parameter_value', DETAIL = SQLERRM, HINT = format('Its type is %s.', a ->> 'type');
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._check_call_arguments(jsonb) IS 'raises for an argument of a call that its parameter cannot take';

CREATE FUNCTION etl.add_call(pipeline text, procedure text, arguments jsonb DEFAULT '{}', depends_on text[] DEFAULT '{}', fills text[] DEFAULT '{}',
	transaction text DEFAULT NULL, trigger_rule text DEFAULT 'all_success', name text DEFAULT NULL, options jsonb DEFAULT '{}')
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	parts text[];
	call record;
	target text;
	n record;
	filled text[] := '{}';
BEGIN
	PERFORM etl._own_pipeline(pipeline);
	PERFORM etl._check_option_names('options of etl.add_call', options, '{pool}' || etl._task_setting_names());
	PERFORM etl._check_pool(options ->> 'pool');
	IF trigger_rule IS NULL OR trigger_rule NOT IN ('all_success', 'all_done') THEN
		RAISE EXCEPTION 'invalid trigger_rule "%"', trigger_rule
			USING ERRCODE = 'invalid_parameter_value', HINT = 'all_success: once all that it waits for has succeeded; all_done: once it has ended, also in failure, to clean up.';
	END IF;
	transaction := coalesce(transaction, CASE trigger_rule WHEN 'all_done' THEN 'own' ELSE 'publication' END);
	IF transaction NOT IN ('publication', 'own') THEN
		RAISE EXCEPTION 'invalid transaction "%"', transaction
			USING ERRCODE = 'invalid_parameter_value', HINT = 'publication: in the transaction of the loads and checks; own: by itself, for procedures that commit.';
	ELSIF transaction = 'publication' AND trigger_rule = 'all_done' THEN
		RAISE EXCEPTION 'a call with trigger_rule all_done is not part of the publication'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = 'It also runs when that has failed.', HINT = 'Leave transaction out.';
	END IF;
	PERFORM etl._check_task_settings(pipeline, options, transaction = 'publication');
	call := etl._resolve_call(procedure, coalesce(arguments, '{}'));
	IF NOT has_function_privilege(call.oid, 'EXECUTE') THEN
		RAISE EXCEPTION 'permission denied for %', call.oid::regprocedure
			USING ERRCODE = 'insufficient_privilege', HINT = format('GRANT EXECUTE ON ROUTINE %s TO %I;', call.oid::regprocedure, current_user);
	END IF;
	PERFORM etl._check_call_arguments(call.arguments);
	FOREACH target IN ARRAY coalesce(fills, '{}') LOOP
		n := etl._parse_name(target);
		IF etl._relation(n.schema_name, n.relation_name) IS NULL THEN
			RAISE EXCEPTION 'relation "%", which the call fills, does not exist', target
				USING ERRCODE = 'undefined_table', HINT = 'Create it first: a run finds it by its name, and what reads it waits for the call.';
		END IF;
		filled := filled || etl._full_name(n.schema_name, n.relation_name);
	END LOOP;
	parts := parse_ident(procedure);
	name := coalesce(name, format('%I.%I', parts[1], parts[2]));
	IF name = '' OR octet_length(name) > 255 OR name ~ '[[:cntrl:]]' THEN
		RAISE EXCEPTION 'invalid name of a call: "%"', name
			USING ERRCODE = 'invalid_name', HINT = 'A name has 1 to 255 bytes and no control characters.';
	ELSIF name = 'publish' OR name LIKE 'publish %' THEN
		RAISE EXCEPTION 'a call cannot be named "%"', name
			USING ERRCODE = 'reserved_name', HINT = 'That is the name of the step in which a run becomes visible; choose another.';
	END IF;
	PERFORM etl._save_task(pipeline, name, 'call', parts[1], parts[2],
		jsonb_build_object('arguments', coalesce(arguments, '{}'), 'fills', filled, 'transaction', transaction, 'trigger_rule', trigger_rule, 'options', options,
			'statement', call.statement, 'values', call.arguments), depends_on);
END
$$;
COMMENT ON FUNCTION etl.add_call(text, text, jsonb, text[], text[], text, text, text, jsonb) IS
	'declares a call of a procedure or function, as the pipeline''s owner and with the run''s context as arguments';

-- Within a publication: as any statement of it.
CREATE FUNCTION etl._call(procedure text, definition jsonb, timezone text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	EXECUTE definition ->> 'statement' USING etl._call_values(definition -> 'values',
		etl._call_placeholders(etl.run_id(), etl.run_date(), etl.data_interval_start(), etl.data_interval_end()), timezone);
EXCEPTION WHEN invalid_transaction_termination THEN
	RAISE EXCEPTION '% commits or rolls back within the publication', procedure
		USING ERRCODE = 'invalid_transaction_termination', HINT = 'Declare it with transaction => ''own'': it then runs by itself, and what it has committed stays.';
END
$$;
COMMENT ON FUNCTION etl._call(text, jsonb, text) IS 'calls what a call task declares, with the context that is set';

-- By itself: the worker runs the statement at top level, where a procedure may commit.
CREATE FUNCTION etl._begin_call(task_run_id bigint, attempt integer,
	OUT statement text, OUT arguments text[], OUT run_id text, OUT data_interval_start text, OUT data_interval_end text, OUT run_date text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t etl.task_run := etl._fence(task_run_id, attempt);
	r etl.run;
	declared etl.task;
BEGIN
	SELECT * INTO STRICT r FROM etl.run x WHERE x.run_id = t.run_id;
	SELECT * INTO declared FROM etl.task x WHERE x.pipeline = r.pipeline AND x.task = t.task AND x.kind = 'call';
	IF NOT FOUND THEN
		RAISE EXCEPTION 'task "%" of pipeline "%" is no longer declared', t.task, r.pipeline
			USING ERRCODE = 'undefined_object', HINT = 'It was dropped while the run waited; run the interval again.';
	END IF;
	statement := declared.definition ->> 'statement';
	arguments := etl._call_values(declared.definition -> 'values', etl._call_placeholders(r.run_id, r.run_date, r.data_interval_start, r.data_interval_end), r.timezone);
	run_id := r.run_id;
	data_interval_start := r.data_interval_start;
	data_interval_end := r.data_interval_end;
	run_date := r.run_date;
END
$$;
COMMENT ON FUNCTION etl._begin_call(bigint, integer) IS 'the statement of a call that runs by itself, its values, and the context it runs in';
