"""Prints SQL that tries random schemas on random documents: schema.py SEED COUNT.

Half of the schemas are well formed, half have something replaced by anything.  Every case must end in
an answer that is_valid_json and validate_json agree on, or in one of the errors that schemas may raise.
"""
import json
import random
import sys

rng = random.Random(int(sys.argv[1]))
count = int(sys.argv[2])

NAMES = ['a', 'b', 'c', 'é', 'a/b', 'a~b', '$ref', '']
PATTERNS = ['a', '^a+$', '(?=a)', 'b{2,3}', '[^a-c]', '\\p{L}', '\\d\\b', '(a|b)*c', '(', '(?<=a)b', '(a*)*$', '^.{0,300}$', 'é', '\\1', '[]']
FORMATS = ['date', 'time', 'date-time', 'duration', 'email', 'idn-email', 'hostname', 'idn-hostname', 'ipv4', 'ipv6', 'uri', 'uri-reference', 'iri',
           'iri-reference', 'uri-template', 'uuid', 'json-pointer', 'relative-json-pointer', 'regex', 'nothing']
STRINGS = ['', 'a', 'ab', 'aaaa', 'é', '😀', '2026-11-19', '12:00:00Z', 'P1D', 'a@b.c', 'xn--nxasmq6b.x', '1.2.3.4', '::1', 'http://a/b?c#d', '/a~0', '1#', '{x}', 'l·l', 'בי.a'] + PATTERNS
TYPES = ['null', 'boolean', 'integer', 'number', 'string', 'array', 'object']
DRAFTS = ['http://json-schema.org/draft-04/schema#', 'http://json-schema.org/draft-06/schema#', 'http://json-schema.org/draft-07/schema#',
          'https://json-schema.org/draft/2019-09/schema', 'https://json-schema.org/draft/2020-12/schema']
REFERENCES = ['#', '#/$defs/a', '#/definitions/b', '#x', 'other', 'other#x', '#/properties/a', '#/nothing', 'http://json-schema.org/draft-07/schema#',
              'https://json-schema.org/draft/2020-12/schema', 'https://json-schema.org/draft/2019-09/schema#/$defs', '//[', '%', '#%', '#/%2', 'urn:x:y', '?', '../..']


def number():
    return rng.choice([0, 1, -1, 2, 3, 1.5, 0.1, 1e30, -1e-30, 12345678901234567890, 9999, 10000, rng.randint(-5, 5)])


def document(depth=3):
    kind = rng.randrange(7 if depth else 5)
    if kind == 0:
        return rng.choice([None, True, False])
    if kind in (1, 2):
        return number()
    if kind in (3, 4):
        return rng.choice(STRINGS)
    if kind == 5:
        return [document(depth - 1) for _ in range(rng.randrange(5))]
    return {rng.choice(NAMES): document(depth - 1) for _ in range(rng.randrange(5))}


def schemas(depth):
    return [schema(depth) for _ in range(rng.randint(1, 3))]


def members(depth):
    return {rng.choice(NAMES): schema(depth) for _ in range(rng.randint(0, 3))}


KEYWORDS = {
    'type': lambda d: rng.choice([rng.choice(TYPES), rng.sample(TYPES, 2)]),
    'enum': lambda d: [document(1) for _ in range(rng.choice([1, 2, 12]))],
    'const': lambda d: document(1),
    'multipleOf': lambda d: rng.choice([1, 2, 0.1, 0.01, 3, 1e20]),
    'minimum': lambda d: number(), 'maximum': lambda d: number(),
    'exclusiveMinimum': lambda d: rng.choice([True, number()]), 'exclusiveMaximum': lambda d: rng.choice([False, number()]),
    'minLength': lambda d: rng.randrange(4), 'maxLength': lambda d: rng.randrange(4),
    'pattern': lambda d: rng.choice(PATTERNS), 'format': lambda d: rng.choice(FORMATS),
    'minItems': lambda d: rng.randrange(3), 'maxItems': lambda d: rng.randrange(4), 'uniqueItems': lambda d: True,
    'minContains': lambda d: rng.randrange(3), 'maxContains': lambda d: rng.randrange(3),
    'minProperties': lambda d: rng.randrange(3), 'maxProperties': lambda d: rng.randrange(4),
    'required': lambda d: rng.sample(NAMES, 2),
    'items': lambda d: rng.choice([schema(d), schemas(d)]), 'prefixItems': schemas, 'additionalItems': lambda d: schema(d), 'contains': lambda d: schema(d),
    'unevaluatedItems': lambda d: schema(d), 'unevaluatedProperties': lambda d: schema(d),
    'properties': members, '$defs': members, 'definitions': members, 'dependentSchemas': members,
    'patternProperties': lambda d: {rng.choice(PATTERNS): schema(d)},
    'additionalProperties': lambda d: schema(d), 'propertyNames': lambda d: schema(d),
    'dependentRequired': lambda d: {rng.choice(NAMES): rng.sample(NAMES, 2)},
    'dependencies': lambda d: {rng.choice(NAMES): rng.choice([schema(d), rng.sample(NAMES, 2)])},
    'allOf': schemas, 'anyOf': schemas, 'oneOf': schemas, 'not': lambda d: schema(d),
    'if': lambda d: schema(d), 'then': lambda d: schema(d), 'else': lambda d: schema(d),
    '$ref': lambda d: rng.choice(REFERENCES), '$dynamicRef': lambda d: rng.choice(REFERENCES[:6]), '$recursiveRef': lambda d: '#',
    '$anchor': lambda d: 'x', '$dynamicAnchor': lambda d: rng.choice(['x', 'y']), '$recursiveAnchor': lambda d: True,
    '$id': lambda d: rng.choice(['other', 'http://example.com/a', 'urn:x:y', '#x']), 'id': lambda d: rng.choice(['other', '#x']),
    '$schema': lambda d: rng.choice(DRAFTS), '$comment': lambda d: 'none', 'contentEncoding': lambda d: 'base64',
}
RARE = {'$id', 'id', '$schema', '$anchor', '$dynamicAnchor', '$recursiveAnchor'}


def schema(depth=3):
    if depth <= 0 or rng.random() < 0.1:
        return rng.choice([True, True, False, {}, {'type': rng.choice(TYPES)}])
    made = {}
    for _ in range(rng.randint(1, 4)):
        keyword = rng.choice(list(KEYWORDS))
        if keyword in RARE and rng.random() < 0.7:
            continue
        made[keyword] = KEYWORDS[keyword](depth - 1)
    return made


def damage(value):
    """One place of a schema replaced by anything."""
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.2:
        return rng.choice([document(2), schema(1)])
    if isinstance(value, dict):
        key = rng.choice(list(value))
        return {**value, key: damage(value[key])}
    place = rng.randrange(len(value))
    return value[:place] + [damage(value[place])] + value[place + 1:]


def quote(value):
    return "'" + json.dumps(value, ensure_ascii=False).replace("'", "''") + "'"


print('''\\set QUIET on
\\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET statement_timeout = '30s';
CREATE FUNCTION pg_temp.try(schema jsonb, document jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    valid boolean;
    violations bigint;
BEGIN
    FOR formats IN 0..1 LOOP
        BEGIN
            valid := etl.is_valid_json(schema, document, formats = 1);
            violations := (SELECT count(*) FROM etl.validate_json(schema, document, formats = 1));
        EXCEPTION
            WHEN invalid_parameter_value OR undefined_object OR feature_not_supported THEN RETURN 'wrong schema';
            WHEN statement_too_complex OR program_limit_exceeded THEN RETURN 'without end';
        END;
        IF valid <> (violations = 0) THEN
            RAISE EXCEPTION 'is_valid_json says %, validate_json has % rows: % on %', valid, violations, schema, document;
        END IF;
    END LOOP;
    RETURN valid;
END
$$;
CREATE TEMP TABLE outcome (outcome text);''')
for _ in range(count):
    made = schema()
    if rng.random() < 0.5:
        made = damage(made)
    print('INSERT INTO outcome SELECT pg_temp.try(%s, document) FROM (VALUES %s) d (document);' % (
        quote(made), ', '.join('(jsonb %s)' % quote(document()) for _ in range(4))))
print('SELECT outcome, count(*) FROM outcome GROUP BY outcome ORDER BY outcome;')
