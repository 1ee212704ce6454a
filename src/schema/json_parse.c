/*-------------------------------------------------------------------------
 *
 * json_parse.c
 *	  JSON text to JSONB in memory, for documents that may hold \u0000.
 *
 * jsonb_in refuses \u0000, as does PostgreSQL's lexer when it undoes escapes, because no
 * text can hold it.  So the lexer is told to leave escapes alone, and they are undone here.
 * The strings of the JSONB are counted by length and may hold NUL bytes: it must never
 * be stored, sent or given to a function of PostgreSQL's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/jsonapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonfuncs.h"
#include "utils/memutils.h"

#include "compat.h"
#include "schema/json_parse.h"

typedef struct json_parser
{
	JsonLexContext *lexer;
	JsonbParseState *state;
} json_parser;

static void fail(json_parser *p, JsonParseErrorType error);
static void fail_at_token(json_parser *p, JsonParseErrorType error);
static void advance(json_parser *p);
static pg_wchar read_code_unit(const char *digits);
static const char *append_code_point(json_parser *p, const char *escape, StringInfo out);
static void read_string(json_parser *p, JsonbValue *out);
static void read_number(json_parser *p, JsonbValue *out);
static bool read_scalar(json_parser *p, JsonbValue *out);
static JsonbValue *parse_object(json_parser *p);
static JsonbValue *parse_array(json_parser *p);
static JsonbValue *parse_container(json_parser *p);
static void parse_value(json_parser *p, JsonbIteratorToken place);

/*
 * Raises what jsonb_in would raise.
 */
static void
fail(json_parser *p, JsonParseErrorType error)
{
	etl_json_report_error(error, p->lexer);
	pg_unreachable();
}

/*
 * The same about the current token, unless the text has ended too early.
 */
static void
fail_at_token(json_parser *p, JsonParseErrorType error)
{
	fail(p, p->lexer->token_type == JSON_TOKEN_END ? JSON_EXPECTED_MORE : error);
}

static void
advance(json_parser *p)
{
	JsonParseErrorType error = json_lex(p->lexer);

	if (error != JSON_SUCCESS)
		fail(p, error);
}

/*
 * The number that four hexadecimal digits are; the lexer has seen that they are digits.
 */
static pg_wchar
read_code_unit(const char *digits)
{
	pg_wchar unit = 0;

	for (int i = 0; i < 4; i++)
		unit = unit * 16 + (digits[i] <= '9' ? digits[i] - '0' : (digits[i] | 32) - 'a' + 10);
	return unit;
}

/*
 * Appends what the digits after \u mean, or two such escapes when they are a surrogate pair.
 * Returns where the text goes on.
 */
static const char *
append_code_point(json_parser *p, const char *digits, StringInfo out)
{
	unsigned char converted[MAX_UNICODE_EQUIVALENT_STRING + 1];
	pg_wchar point = read_code_unit(digits);
	const char *next = digits + 4;

	if (is_utf16_surrogate_second(point))
		fail(p, JSON_UNICODE_LOW_SURROGATE);
	if (is_utf16_surrogate_first(point))
	{
		/* the closing quote is there at least */
		pg_wchar second = next[0] == '\\' && next[1] == 'u' ? read_code_unit(next + 2) : 0;

		if (is_utf16_surrogate_first(second))
			fail(p, JSON_UNICODE_HIGH_SURROGATE);
		if (!is_utf16_surrogate_second(second))
			fail(p, JSON_UNICODE_LOW_SURROGATE);
		point = surrogate_pair_to_codepoint(point, second);
		next += 6;
	}
	if (point == 0)
	{
		appendStringInfoChar(out, '\0');
		return next;
	}
	pg_unicode_to_server(point, converted);
	appendStringInfoString(out, (char *) converted);
	return next;
}

/*
 * The string that the current token is.
 */
static void
read_string(json_parser *p, JsonbValue *out)
{
	const char *c = p->lexer->token_start + 1;
	const char *end = p->lexer->token_terminator - 1;
	StringInfoData text;

	initStringInfo(&text);
	while (c < end)
	{
		const char *escape = memchr(c, '\\', end - c);

		if (escape == NULL)
			escape = end;
		appendBinaryStringInfo(&text, c, escape - c);
		if ((c = escape) == end)
			break;
		c += 2;
		switch (escape[1])
		{
			case 'u':
				c = append_code_point(p, c, &text);
				break;
			case 'b':
				appendStringInfoChar(&text, '\b');
				break;
			case 'f':
				appendStringInfoChar(&text, '\f');
				break;
			case 'n':
				appendStringInfoChar(&text, '\n');
				break;
			case 'r':
				appendStringInfoChar(&text, '\r');
				break;
			case 't':
				appendStringInfoChar(&text, '\t');
				break;
			default:
				appendStringInfoChar(&text, escape[1]);
				break;
		}
	}
	out->type = jbvString;
	out->val.string.val = text.data;
	out->val.string.len = text.len;
}

static void
read_number(json_parser *p, JsonbValue *out)
{
	char *digits =
		pnstrdup(p->lexer->token_start, p->lexer->token_terminator - p->lexer->token_start);

	out->type = jbvNumeric;
	out->val.numeric = DatumGetNumeric(DirectFunctionCall3(
		numeric_in, CStringGetDatum(digits), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	pfree(digits);
}

/*
 * The scalar that the current token is, and moves on; false when it begins something else.
 */
static bool
read_scalar(json_parser *p, JsonbValue *out)
{
	switch (p->lexer->token_type)
	{
		case JSON_TOKEN_STRING:
			read_string(p, out);
			break;
		case JSON_TOKEN_NUMBER:
			read_number(p, out);
			break;
		case JSON_TOKEN_TRUE:
		case JSON_TOKEN_FALSE:
			out->type = jbvBool;
			out->val.boolean = p->lexer->token_type == JSON_TOKEN_TRUE;
			break;
		case JSON_TOKEN_NULL:
			out->type = jbvNull;
			break;
		default:
			return false;
	}
	advance(p);
	return true;
}

/*
 * An object, its brace consumed.
 */
static JsonbValue *
parse_object(json_parser *p)
{
	JsonLexContext *lexer = p->lexer;
	JsonbValue key;

	pushJsonbValue(&p->state, WJB_BEGIN_OBJECT, NULL);
	if (lexer->token_type != JSON_TOKEN_OBJECT_END)
	{
		for (bool first = true;; first = false)
		{
			if (lexer->token_type != JSON_TOKEN_STRING)
				fail_at_token(p, first ? JSON_EXPECTED_OBJECT_FIRST : JSON_EXPECTED_STRING);
			read_string(p, &key);
			pushJsonbValue(&p->state, WJB_KEY, &key);
			advance(p);
			if (lexer->token_type != JSON_TOKEN_COLON)
				fail_at_token(p, JSON_EXPECTED_COLON);
			advance(p);
			parse_value(p, WJB_VALUE);
			if (lexer->token_type != JSON_TOKEN_COMMA)
				break;
			advance(p);
		}
		if (lexer->token_type != JSON_TOKEN_OBJECT_END)
			fail_at_token(p, JSON_EXPECTED_OBJECT_NEXT);
	}
	advance(p);
	return pushJsonbValue(&p->state, WJB_END_OBJECT, NULL);
}

/*
 * An array, its bracket consumed.
 */
static JsonbValue *
parse_array(json_parser *p)
{
	JsonLexContext *lexer = p->lexer;

	pushJsonbValue(&p->state, WJB_BEGIN_ARRAY, NULL);
	if (lexer->token_type != JSON_TOKEN_ARRAY_END)
	{
		for (;;)
		{
			parse_value(p, WJB_ELEM);
			if (lexer->token_type != JSON_TOKEN_COMMA)
				break;
			advance(p);
		}
		if (lexer->token_type != JSON_TOKEN_ARRAY_END)
			fail_at_token(p, JSON_EXPECTED_ARRAY_NEXT);
	}
	advance(p);
	return pushJsonbValue(&p->state, WJB_END_ARRAY, NULL);
}

/*
 * The object or array that the current token begins.
 */
static JsonbValue *
parse_container(json_parser *p)
{
	JsonTokenType opening = p->lexer->token_type;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (opening != JSON_TOKEN_OBJECT_START && opening != JSON_TOKEN_ARRAY_START)
		fail_at_token(p, JSON_EXPECTED_JSON);
	advance(p);
	return opening == JSON_TOKEN_OBJECT_START ? parse_object(p) : parse_array(p);
}

/*
 * A value inside of an object or array.
 */
static void
parse_value(json_parser *p, JsonbIteratorToken place)
{
	JsonbValue scalar;

	if (read_scalar(p, &scalar))
		pushJsonbValue(&p->state, place, &scalar);
	else
		parse_container(p);
}

/*
 * JSON text in the database's encoding as JSONB, palloc'd; of members with one name the last
 * counts, as in jsonb_in.  Raises jsonb_in's errors, but not for \u0000.
 */
Jsonb *
json_parse_text(const char *text, int length)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(caller, "JSON text", ALLOCSET_DEFAULT_SIZES);
	json_parser p = {0};
	JsonbValue scalar;
	JsonbValue *root = &scalar;
	Jsonb *result;

	MemoryContextSwitchTo(work);
	p.lexer = etl_json_lexer(text, length);
	advance(&p);
	if (!read_scalar(&p, &scalar))
		root = parse_container(&p);
	if (p.lexer->token_type != JSON_TOKEN_END)
		fail_at_token(&p, JSON_EXPECTED_END);
	MemoryContextSwitchTo(caller);
	result = JsonbValueToJsonb(root);
	MemoryContextDelete(work);
	return result;
}
