-- What a JSON Schema says about the paths of a record: which there are, and of which types.
-- All its branches count: a field is declared when any of them mentions it, with every type
-- that any of them gives it.

-- Where "$ref" leads: in the schema at hand (uri '') or in a registered one.  No part: it
-- cannot be told without the validator, and whatever is there may be anything.
CREATE FUNCTION etl._schema_reference(schema jsonb, uri text, ref text, OUT part_uri text, OUT part jsonb)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	document jsonb := CASE WHEN uri = '' THEN schema ELSE (SELECT r.schema FROM etl.registered_schema r WHERE r.uri = _schema_reference.uri) END;
	target text := split_part(ref, '#', 1);
	fragment text := substr(ref, length(split_part(ref, '#', 1)) + 2);
	within jsonb;
BEGIN
	part_uri := uri;
	IF target <> '' THEN
		within := jsonb_path_query_first(document, '$.** ? (@."$id" == $target)', jsonb_build_object('target', target));
		IF within IS NULL THEN
			SELECT r.uri, r.schema INTO part_uri, within FROM etl.registered_schema r
			WHERE r.uri IN (target, regexp_replace(document ->> '$id', '[^/]*$', '') || target) ORDER BY r.uri = target DESC LIMIT 1;
		END IF;
		document := within;
	END IF;
	IF fragment = '' THEN
		part := document;
	ELSIF fragment ~ '^/' AND fragment !~ '%' THEN
		part := document #> (SELECT array_agg(replace(replace(s, '~1', '/'), '~0', '~') ORDER BY o) FROM string_to_table(substr(fragment, 2), '/') WITH ORDINALITY t(s, o));
	ELSIF fragment !~ '[/%]' THEN
		part := jsonb_path_query_first(document, '$.** ? (@."$anchor" == $name || @."$dynamicAnchor" == $name || @."$id" == $id)',
			jsonb_build_object('name', fragment, 'id', '#' || fragment));
	END IF;
END
$$;
COMMENT ON FUNCTION etl._schema_reference(jsonb, text, text) IS 'the part of a JSON Schema that a reference leads to, and the document it is in';

CREATE FUNCTION etl._schema_branches(schema jsonb, uri text, part jsonb) RETURNS TABLE (branch_uri text, branch jsonb)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE b(uri, part) AS (
		SELECT _schema_branches.uri, _schema_branches.part
		UNION
		SELECT n.* FROM b CROSS JOIN LATERAL (
			SELECT r.* FROM etl._schema_reference(schema, b.uri, b.part ->> '$ref') r WHERE jsonb_typeof(b.part -> '$ref') = 'string'
			UNION ALL
			-- what these lead to depends on where the validator came from
			SELECT b.uri, NULL FROM unnest('{$dynamicRef,$recursiveRef}'::text[]) k WHERE b.part ? k
			UNION ALL
			SELECT b.uri, e FROM unnest('{allOf,anyOf,oneOf}'::text[]) k, jsonb_array_elements(CASE jsonb_typeof(b.part -> k) WHEN 'array' THEN b.part -> k ELSE '[]' END) e
			UNION ALL
			SELECT b.uri, b.part -> k FROM unnest('{if,then,else}'::text[]) k WHERE b.part ? k
			UNION ALL
			SELECT b.uri, e.value FROM unnest('{dependentSchemas,dependencies}'::text[]) k, jsonb_each(CASE jsonb_typeof(b.part -> k) WHEN 'object' THEN b.part -> k ELSE '{}' END) e
			WHERE jsonb_typeof(e.value) = 'object'
		) n(uri, part)
	)
	SELECT * FROM b
$$;
COMMENT ON FUNCTION etl._schema_branches(jsonb, text, jsonb) IS 'a part of a JSON Schema and all that it applies to the same value; a null branch may be anything';

-- NULL: any.  "number" comes with "integer".
CREATE FUNCTION etl._schema_types(schema jsonb, uri text, part jsonb, depth integer) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	every CONSTANT text[] := ARRAY['null', 'boolean', 'integer', 'number', 'string', 'array', 'object'];
	result text[] := every;
	found_types text[];
	keyword text;
	branch record;
BEGIN
	IF part IS NULL OR depth = 0 OR jsonb_typeof(part) <> 'object' THEN
		RETURN CASE WHEN part = 'false' THEN '{}'::text[] END;
	END IF;
	IF part ? 'type' THEN
		SELECT array_agg(t) INTO found_types FROM jsonb_array_elements_text(CASE jsonb_typeof(part -> 'type') WHEN 'array' THEN part -> 'type' ELSE jsonb_build_array(part -> 'type') END) t;
		IF found_types @> '{number}' THEN
			found_types := found_types || '{integer}'::text[];
		END IF;
		result := ARRAY(SELECT unnest(result) INTERSECT SELECT unnest(found_types));
	END IF;
	IF part ? 'enum' OR part ? 'const' THEN
		SELECT array_agg(jsonb_typeof(v)) INTO found_types FROM jsonb_array_elements(CASE WHEN part ? 'const' THEN jsonb_build_array(part -> 'const') ELSE part -> 'enum' END) v;
		IF found_types @> '{number}' THEN
			found_types := found_types || '{integer}'::text[];
		END IF;
		result := ARRAY(SELECT unnest(result) INTERSECT SELECT unnest(coalesce(found_types, '{}')));
	END IF;
	IF part ? '$ref' THEN
		SELECT * INTO branch FROM etl._schema_reference(schema, uri, part ->> '$ref');
		result := ARRAY(SELECT unnest(result) INTERSECT SELECT unnest(coalesce(etl._schema_types(schema, branch.part_uri, branch.part, depth - 1), every)));
	END IF;
	FOREACH keyword IN ARRAY '{allOf,anyOf,oneOf}'::text[] LOOP
		CONTINUE WHEN jsonb_typeof(part -> keyword) IS DISTINCT FROM 'array';
		found_types := CASE keyword WHEN 'allOf' THEN every ELSE '{}' END;
		FOR branch IN SELECT coalesce(etl._schema_types(schema, uri, e, depth - 1), every) AS types FROM jsonb_array_elements(part -> keyword) e LOOP
			found_types := CASE keyword WHEN 'allOf' THEN ARRAY(SELECT unnest(found_types) INTERSECT SELECT unnest(branch.types))
							ELSE ARRAY(SELECT unnest(found_types) UNION SELECT unnest(branch.types)) END;
		END LOOP;
		result := ARRAY(SELECT unnest(result) INTERSECT SELECT unnest(found_types));
	END LOOP;
	RETURN CASE WHEN NOT result @> every THEN ARRAY(SELECT t FROM unnest(every) WITH ORDINALITY e(t, o) WHERE t = ANY (result) ORDER BY o) END;
END
$$;
COMMENT ON FUNCTION etl._schema_types(jsonb, text, jsonb, integer) IS 'the types that a part of a JSON Schema allows; NULL for any';

CREATE FUNCTION etl._path_of_member(parent text, name text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	-- as src/schema/shape.c writes it
	SELECT parent || CASE WHEN name ~ '^[A-Za-z_][A-Za-z0-9_]*$' THEN '.' || name
					 ELSE '["' || replace(replace(name, '\', '\\'), '"', '\"') || '"]' END
$$;
COMMENT ON FUNCTION etl._path_of_member(text, text) IS 'the path of a member of the value at a path';

-- The paths of up to max_steps steps.  members says what other members of an object are:
-- "listed": those that have no row are not declared; "open": nothing is said about members;
-- "any": they are welcome.  A path that ends in .* describes all members that have no row of
-- their own, with name_patterns those that match one of these.
CREATE FUNCTION etl._schema_fields(schema jsonb, max_steps integer)
RETURNS TABLE (path text, types text[], members text, name_patterns text[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- what is yet to be described: path, its subschemas as [uri, part], patterns of .*
	here jsonb := jsonb_build_array(jsonb_build_object('path', '$', 'parts', jsonb_build_array(jsonb_build_array('', schema))));
	deeper jsonb;
	field record;
	branches jsonb;
	others jsonb;
	elements jsonb;
	patterns text[];
	count_left integer := 5000;
BEGIN
	FOR step IN 0 .. max_steps LOOP
		deeper := '[]';
		FOR field IN SELECT e.value ->> 'path' AS path, e.value -> 'parts' AS parts, e.value -> 'patterns' AS patterns FROM jsonb_array_elements(here) WITH ORDINALITY e(value, o) ORDER BY o LOOP
			count_left := count_left - 1;
			IF count_left < 0 THEN
				RETURN;
			END IF;
			path := field.path;
			name_patterns := CASE WHEN jsonb_typeof(field.patterns) = 'array' THEN ARRAY(SELECT jsonb_array_elements_text(field.patterns)) END;
			SELECT CASE WHEN NOT bool_or(t.types IS NULL) THEN array_agg(DISTINCT u.type) END INTO types
			FROM jsonb_array_elements(field.parts) p
			CROSS JOIN LATERAL etl._schema_types(schema, p ->> 0, nullif(p -> 1, 'null'), 8) t(types) LEFT JOIN LATERAL unnest(t.types) u(type) ON true;
			types := array_remove(types, NULL);
			SELECT coalesce(jsonb_agg(jsonb_build_array(b.branch_uri, b.branch)), '[]') INTO branches
			FROM jsonb_array_elements(field.parts) p CROSS JOIN LATERAL etl._schema_branches(schema, p ->> 0, nullif(p -> 1, 'null')) b;

			SELECT coalesce(jsonb_agg(jsonb_build_array(b -> 0, v.value)) FILTER (WHERE v.keyword IN ('additionalProperties', 'unevaluatedProperties') AND v.value <> 'false'), '[]'),
				   CASE WHEN bool_or(b -> 1 = 'null' OR v.keyword IN ('additionalProperties', 'unevaluatedProperties') AND v.value IN ('true', '{}')) THEN 'any'
						WHEN bool_or(v.keyword IN ('additionalProperties', 'unevaluatedProperties') OR v.value <> '{}') THEN 'listed' ELSE 'open' END
			INTO others, members
			FROM jsonb_array_elements(branches) b
			LEFT JOIN LATERAL jsonb_each(CASE jsonb_typeof(b -> 1) WHEN 'object' THEN b -> 1 ELSE '{}' END) v(keyword, value)
				ON v.keyword IN ('properties', 'patternProperties', 'additionalProperties', 'unevaluatedProperties');
			RETURN NEXT;
			CONTINUE WHEN step = max_steps;

			deeper := deeper || coalesce((
				SELECT jsonb_agg(jsonb_build_object('path', etl._path_of_member(field.path, m.name), 'parts', m.parts) ORDER BY m.name COLLATE "C")
				FROM (SELECT v.key AS name, jsonb_agg(jsonb_build_array(b -> 0, v.value)) AS parts
					  FROM jsonb_array_elements(branches) b CROSS JOIN LATERAL jsonb_each(CASE jsonb_typeof(b #> '{1,properties}') WHEN 'object' THEN b #> '{1,properties}' ELSE '{}' END) v
					  GROUP BY v.key) m), '[]');

			SELECT array_agg(DISTINCT v.key), others || coalesce(jsonb_agg(jsonb_build_array(b -> 0, v.value)), '[]')
			INTO patterns, others
			FROM jsonb_array_elements(branches) b CROSS JOIN LATERAL jsonb_each(CASE jsonb_typeof(b #> '{1,patternProperties}') WHEN 'object' THEN b #> '{1,patternProperties}' ELSE '{}' END) v;
			IF members = 'listed' AND others <> '[]' THEN
				deeper := deeper || jsonb_build_object('path', field.path || '.*', 'parts', others,
					'patterns', CASE WHEN jsonb_array_length(others) = cardinality(patterns) THEN to_jsonb(patterns) END);
			END IF;

			SELECT jsonb_agg(jsonb_build_array(b -> 0, e.part)) INTO elements
			FROM jsonb_array_elements(branches) b
			CROSS JOIN LATERAL (
				SELECT v FROM unnest('{items,additionalItems,unevaluatedItems}'::text[]) k, LATERAL (SELECT b -> 1 -> k) x(v) WHERE jsonb_typeof(v) IN ('object', 'boolean')
				UNION ALL
				SELECT v FROM unnest('{items,prefixItems}'::text[]) k, jsonb_array_elements(CASE jsonb_typeof(b -> 1 -> k) WHEN 'array' THEN b -> 1 -> k ELSE '[]' END) v
				UNION ALL
				SELECT 'true' WHERE b -> 1 ? 'prefixItems' AND NOT b -> 1 ?| '{items,unevaluatedItems}' OR jsonb_typeof(b #> '{1,items}') = 'array' AND NOT b -> 1 ? 'additionalItems'
				UNION ALL
				SELECT 'null' WHERE b -> 1 = 'null'
			) e(part);
			IF elements IS NOT NULL THEN
				deeper := deeper || jsonb_build_object('path', field.path || '[*]', 'parts', elements);
			END IF;
		END LOOP;
		here := deeper;
	END LOOP;
END
$$;
COMMENT ON FUNCTION etl._schema_fields(jsonb, integer) IS 'the fields a JSON Schema declares, with their types';
