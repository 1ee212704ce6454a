/*-------------------------------------------------------------------------
 *
 * error_rules.c
 *	  What a task says about answers that are not simply a page.
 *
 * Rules are tried in their order and the first that fits decides.  They are held against
 * the text of a body: an error may well not be JSON, or not what the task reads.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "extract/page/error_rules.h"
#include "extract/page/page_value.h"
#include "extract/page/record_path.h"
#include "extract/page/split.h"

/* A text that a rule looks for is looked for this far into a body. */
#define BODY_SEARCH_BYTES 65536

static const struct
{
	const char *name;
	rule_action action;
} actions[] = {
	{"retry", RULE_RETRY},
	{"ignore", RULE_IGNORE},
	{"fail", RULE_FAIL},
	{"rate_limited", RULE_RATE_LIMITED},
	{"refresh_auth", RULE_REFRESH_AUTH},
	{"stop_pagination", RULE_STOP_PAGINATION},
	{"absent", RULE_ABSENT},
};

/* A scalar as text, palloc'd; NULL for null. */
static char *
scalar_text(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(
				DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		default:
			return NULL;
	}
}

/* The member of an object as text; NULL when it has none. */
static char *
member_text(JsonbContainer *object, const char *name)
{
	JsonbValue *value = getKeyJsonValueFromContainer(object, name, strlen(name), NULL);

	return value == NULL ? NULL : scalar_text(value);
}

/* Likewise in UTF-8, as bodies are. */
static char *
member_utf8(JsonbContainer *object, const char *name)
{
	char *text = member_text(object, name);

	return text == NULL ? NULL : pg_server_to_any(text, strlen(text), PG_UTF8);
}

/* One rule as etl._check_error_rule has checked it. */
static error_rule *
read_rule(JsonbContainer *object)
{
	error_rule *rule = palloc0(sizeof(error_rule));
	JsonbValue *statuses = getKeyJsonValueFromContainer(object, "status", strlen("status"), NULL);
	char *action = member_text(object, "action");
	char *path = member_text(object, "path");

	if (statuses != NULL && statuses->type == jbvBinary)
	{
		int count = JsonContainerSize(statuses->val.binary.data);

		for (int i = 0; i < count; i++)
			rule->statuses =
				lappend(rule->statuses,
						scalar_text(getIthJsonbValueFromContainer(statuses->val.binary.data, i)));
	}
	if (path != NULL)
		rule->path = record_path_parse(path, true);
	rule->equals = member_utf8(object, "equals");
	rule->contains = member_utf8(object, "contains");
	rule->message = member_text(object, "message");
	for (int i = 0; i < lengthof(actions); i++)
	{
		if (action != NULL && strcmp(actions[i].name, action) == 0)
			rule->action = actions[i].action;
	}
	if (rule->action == RULE_NONE)
		elog(ERROR, "unknown action \"%s\" of an error rule", action ? action : "");
	return rule;
}

/*
 * The rules of a task, of error_rule *, in the current context.  rules: NULL for none.
 * Needs a transaction where the database's encoding is not UTF-8.
 */
List *
error_rules_read(Jsonb *rules)
{
	List *result = NIL;

	if (rules == NULL)
		return NIL;
	for (int i = 0; i < JB_ROOT_COUNT(rules); i++)
	{
		JsonbValue *rule = getIthJsonbValueFromContainer(&rules->root, i);

		result = lappend(result, read_rule(rule->val.binary.data));
	}
	return result;
}

/* Whether a status is one of a rule's. */
static bool
fits_status(const List *statuses, int status)
{
	ListCell *cell;

	if (statuses == NIL)
		return true;
	foreach (cell, statuses)
	{
		const char *wanted = lfirst(cell);

		if (strcmp(wanted + 1, "xx") == 0 ? wanted[0] - '0' == status / 100
										  : atoi(wanted) == status)
			return true;
	}
	return false;
}

/* Whether bytes contain a text. */
static bool
contains(const char *bytes, size_t length, const char *text)
{
	size_t text_length = strlen(text);

	for (size_t i = 0; i + text_length <= length; i++)
	{
		if (bytes[i] == text[0] && memcmp(bytes + i, text, text_length) == 0)
			return true;
	}
	return false;
}

/* Whether a JSON number is zero. */
static bool
is_zero(const char *value, size_t length)
{
	size_t significand = 0;

	while (significand < length && strchr("-0.", value[significand]) != NULL)
		significand++;
	return significand > 0 && (significand == length || (value[significand] | 0x20) == 'e');
}

/*
 * Whether a value says something: an error that is null, false, zero or empty is none.
 */
static bool
says_something(const char *value, size_t length)
{
	static const char *const nothing[] = {"null", "false", "\"\""};

	for (int i = 0; i < lengthof(nothing); i++)
	{
		if (strlen(nothing[i]) == length && memcmp(nothing[i], value, length) == 0)
			return false;
	}
	if (value[0] == '[' || value[0] == '{')
	{
		for (size_t i = 1; i + 1 < length; i++)
		{
			if (strchr(" \t\r\n", value[i]) == NULL)
				return true;
		}
		return false;
	}
	return !is_zero(value, length);
}

/* Digits of a double that tell two numbers apart. */
#define EXACT_DIGITS 15

/* Whether a value is what a rule names: the same text, or the same number. */
static bool
is_equal(const char *text, const char *wanted)
{
	char *text_end;
	char *wanted_end;

	if (strcmp(text, wanted) == 0)
		return true;
	return strlen(text) <= EXACT_DIGITS && strlen(wanted) <= EXACT_DIGITS &&
		   strtod(text, &text_end) == strtod(wanted, &wanted_end) && text_end != text &&
		   wanted_end != wanted && *text_end == '\0' && *wanted_end == '\0';
}

/* Whether the body of an answer is one that a rule is for. */
static bool
fits_body(const error_rule *rule, const char *body, size_t body_length)
{
	split_result found;
	const char *value;
	size_t length;
	char *text;

	if (rule->path == NIL)
		return rule->contains == NULL ||
			   contains(body, Min(body_length, BODY_SEARCH_BYTES), rule->contains);
	split_records(body, body_length, rule->path, &found);
	if (found.problem != NULL || found.count != 1)
		return false;
	value = body + found.records[0].offset;
	length = found.records[0].length;
	text = page_value(body, body_length, rule->path);
	if (rule->equals != NULL ? text == NULL || !is_equal(text, rule->equals)
							 : rule->contains == NULL && !says_something(value, length))
		return false;
	if (rule->contains == NULL)
		return true;
	return text != NULL ? contains(text, strlen(text), rule->contains)
						: contains(value, length, rule->contains);
}

/* The name of a rule's action. */
const char *
error_rule_action_name(const error_rule *rule)
{
	for (int i = 0; i < lengthof(actions); i++)
	{
		if (actions[i].action == rule->action)
			return actions[i].name;
	}
	return "";
}

/*
 * Whether what becomes of an answer that arrived whole depends on its body.
 */
bool
error_rules_look_at_body(const List *rules, const http_response *response)
{
	ListCell *cell;

	if (response->error != HTTP_OK)
		return false;
	foreach (cell, rules)
	{
		const error_rule *rule = lfirst(cell);

		if (fits_status(rule->statuses, response->status))
			return rule->path != NIL || rule->contains != NULL;
	}
	return false;
}

/*
 * The first rule that fits an answer that arrived whole; NULL when none does.  body: its
 * text in UTF-8, or as it was received where it has none.  Raises nothing.
 */
const error_rule *
error_rules_match(const List *rules, const http_response *response, const char *body, size_t length)
{
	ListCell *cell;

	if (response->error != HTTP_OK)
		return NULL;
	foreach (cell, rules)
	{
		const error_rule *rule = lfirst(cell);

		if (fits_status(rule->statuses, response->status) && fits_body(rule, body, length))
			return rule;
	}
	return NULL;
}
