/*-------------------------------------------------------------------------
 *
 * fuzz_json.c
 *	  What PostgreSQL's JSON parser says about a page: the judge of the page splitter.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/jsonapi.h"
#include "mb/pg_wchar.h"
#include "nodes/pg_list.h"

#include "extract/page/record_path.h"
#include "fuzz.h"

#define MAX_DEPTH 64

#if PG_VERSION_NUM >= 160000
#define ACTION JsonParseErrorType
#define ACTION_DONE return JSON_SUCCESS
#else
#define ACTION void
#define ACTION_DONE return
#endif

/* A parse: how far into the path the value at each depth is, -1 where it is not on it. */
typedef struct count_state
{
	const char *json;
	size_t length;
	List *path;
	int depth;
	int step[MAX_DEPTH + 2]; /* of the value at a depth; 0: the document */
	bool too_deep;
	int64 found;
	bool valid;
} count_state;

/* A value begins at the current depth. */
static void
value_begins(count_state *state)
{
	if (state->step[state->depth] == list_length(state->path))
		state->found++;
}

static ACTION
container_begins(void *argument)
{
	count_state *state = argument;

	value_begins(state);
	if (state->depth >= MAX_DEPTH)
		state->too_deep = true;
	else
		state->step[++state->depth] = -1;
	ACTION_DONE;
}

static ACTION
container_ends(void *argument)
{
	count_state *state = argument;

	if (state->depth > 0)
		state->depth--;
	ACTION_DONE;
}

static ACTION
scalar(void *argument, char *token, JsonTokenType type)
{
	value_begins(argument);
	ACTION_DONE;
}

/* The value that comes next is a member, or an element. */
static void
enter(count_state *state, const char *name)
{
	int step = state->depth > 0 ? state->step[state->depth - 1] : -1;
	path_step *wanted =
		step >= 0 && step < list_length(state->path) ? list_nth(state->path, step) : NULL;
	bool fits = wanted != NULL &&
				(name == NULL ? wanted->each : !wanted->each && strcmp(name, wanted->name) == 0);

	state->step[state->depth] = fits ? step + 1 : -1;
}

static ACTION
member_begins(void *argument, char *name, bool is_null)
{
	enter(argument, name);
	ACTION_DONE;
}

static ACTION
element_begins(void *argument, bool is_null)
{
	enter(argument, NULL);
	ACTION_DONE;
}

static void
parse(void *argument)
{
	count_state *state = argument;
	JsonLexContext *lex;
	JsonSemAction actions = {
		.semstate = state,
		.object_start = container_begins,
		.object_end = container_ends,
		.array_start = container_begins,
		.array_end = container_ends,
		.object_field_start = member_begins,
		.array_element_start = element_begins,
		.scalar = scalar,
	};

#if PG_VERSION_NUM >= 170000
	lex = makeJsonLexContextCstringLen(NULL, state->json, state->length, PG_UTF8, true);
#else
	lex = makeJsonLexContextCstringLen(unconstify(char *, state->json), (int) state->length,
									   PG_UTF8, true);
#endif
	state->valid = pg_parse_json(lex, &actions) == JSON_SUCCESS;
}

/*
 * How many values a JSON document has at a path; -1 for what is no JSON, and for what says
 * nothing about the splitter: text that is not UTF-8, escapes in it (names are compared as
 * they are written), depths that few have.
 */
int64
fuzz_count_values(const char *json, size_t length, List *path)
{
	count_state state = {.json = json, .length = length, .path = path};

	if (!pg_verify_mbstr(PG_UTF8, json, (int) length, true) || memchr(json, '\\', length) != NULL)
		return -1;
	if (fuzz_try(parse, &state) != 0 || !state.valid || state.too_deep)
		return -1;
	return state.found;
}
