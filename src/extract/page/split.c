/*-------------------------------------------------------------------------
 *
 * split.c
 *	  Finds the records of a page in its bytes.
 *
 * Only the structure is read: brackets, strings and separators.  What is inside a record
 * is PostgreSQL's JSON parser's to judge, one record at a time, so that a record it
 * refuses goes to quarantine with the bytes it came in and the rest of the page loads.  A
 * page whose structure is broken or cut short has no records at all: a part of it must
 * never be taken for the whole.
 *
 * What is wrong with the bytes raises nothing; errors are values.  Depth costs no stack: a
 * value is skipped by counting brackets, and recursion is as deep as the path is long.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "extract/json/json_scan.h"
#include "extract/page/record_path.h"
#include "extract/page/split.h"

typedef struct splitter
{
	const char *body;
	const char *at;
	const char *end;
	split_result *result;
} splitter;

static bool split_value(splitter *s, List *path, int step);

/*
 * Adds a record.
 */
void
split_add_record(split_result *result, size_t offset, size_t length)
{
	if (result->count == result->allocated)
	{
		int allocated = Max(128, result->allocated * 2);

		if (result->count > INT_MAX / 2)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("a page has too many records"),
					 errhint("Ask for smaller pages.")));
		result->records = result->records == NULL
							  ? palloc(sizeof(record_range) * allocated)
							  : repalloc_huge(result->records, sizeof(record_range) * allocated);
		if (result->origins != NULL)
			result->origins = repalloc_huge(result->origins, sizeof(record_range) * allocated);
		result->allocated = allocated;
	}
	result->records[result->count].offset = offset;
	result->records[result->count].length = length;
	result->count++;
}

/*
 * Says where the record added last comes from.  Once for every record, or for none.
 */
void
split_add_origin(split_result *result, size_t offset, size_t length)
{
	if (result->origins == NULL)
		result->origins =
			MemoryContextAllocHuge(CurrentMemoryContext, sizeof(record_range) * result->allocated);
	result->origins[result->count - 1].offset = offset;
	result->origins[result->count - 1].length = length;
}

/*
 * Says that the record added last is none, and why (a string that stays).
 */
void
split_add_flaw(split_result *result, int sqlstate, const char *reason)
{
	int count = result->flaw_count;

	/* as many as a power of two: the array is full */
	if ((count & (count - 1)) == 0)
	{
		size_t size = sizeof(record_flaw) * Max(2 * (size_t) count, 1);

		result->flaws = result->flaws == NULL ? palloc(size) : repalloc_huge(result->flaws, size);
	}
	result->flaws[count].record = result->count - 1;
	result->flaws[count].sqlstate = sqlstate;
	result->flaws[count].reason = reason;
	result->flaw_count++;
}

static bool
fail(splitter *s, const char *problem)
{
	s->result->problem = problem;
	s->result->problem_offset = s->at - s->body;
	return false;
}

static void
skip_space(splitter *s)
{
	while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t'))
		s->at++;
}

/* Past a string; at its opening quote on entry. */
static bool
skip_string(splitter *s)
{
	s->at++;
	while ((s->at = json_scan_string(s->at, s->end)) < s->end)
	{
		if (*s->at == '"')
		{
			s->at++;
			return true;
		}
		/* a backslash and what it escapes, or a control character for the parser to judge */
		s->at += *s->at == '\\' && s->end - s->at > 1 ? 2 : 1;
	}
	s->at = s->end;
	return fail(s, "the page ends within a string");
}

/*
 * Past a value of any kind.  The kinds of open brackets are kept in one word; deeper than
 * 64 only their number is, and the parser of the record finds what does not match.
 */
static bool
skip_value(splitter *s)
{
	int depth = 0;
	bool too_deep = false;
	uint64 kinds = 0; /* bit 0: the innermost open bracket is { */
	const char *start;

	skip_space(s);
	if (s->at >= s->end)
		return fail(s, "the page ends where a value should be");
	start = s->at;
	do
	{
		char c = *s->at;

		if (c == '"')
		{
			if (!skip_string(s))
				return false;
			continue;
		}
		if (c == '{' || c == '[')
		{
			kinds = (kinds << 1) | (c == '{');
			too_deep |= ++depth > 64;
		}
		else if (c == '}' || c == ']')
		{
			if (depth == 0)
				break; /* the end of what contains this value */
			if (!too_deep && (kinds & 1) != (c == '}'))
				return fail(s, "a bracket does not match");
			kinds >>= 1;
			if (--depth == 0)
			{
				s->at++;
				return true;
			}
		}
		else if (depth == 0 && (c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t'))
			break;
		else if (depth == 0 && c == ':')
			return fail(s, "a colon where a value should be");
		s->at++;
	} while (s->at < s->end && (depth > 0 || *start != '"'));
	if (depth > 0)
		return fail(s, "the page ends within an array or object");
	if (s->at == start)
		return fail(s, "a value is missing");
	return true;
}

/* The value at the cursor is a record. */
static bool
take_record(splitter *s)
{
	const char *start;

	skip_space(s);
	start = s->at;
	if (!skip_value(s))
		return false;
	split_add_record(s->result, start - s->body, s->at - start);
	return true;
}

/* Each element of the array at the cursor, by the rest of the path. */
static bool
split_elements(splitter *s, List *path, int step)
{
	s->at++;
	skip_space(s);
	if (s->at < s->end && *s->at == ']')
	{
		s->at++;
		return true;
	}
	for (;;)
	{
		if (!split_value(s, path, step))
			return false;
		skip_space(s);
		if (s->at >= s->end)
			return fail(s, "the page ends within an array");
		if (*s->at == ']')
		{
			s->at++;
			return true;
		}
		if (*s->at != ',')
			return fail(s, "a comma is missing in an array");
		s->at++;
	}
}

/* The member the path names, of the object at the cursor; the others are skipped. */
static bool
split_member(splitter *s, List *path, int step)
{
	path_step *wanted = list_nth(path, step);
	bool found = false;

	s->at++;
	skip_space(s);
	if (s->at < s->end && *s->at == '}')
	{
		s->at++;
		s->result->missing = wanted->name;
		return true;
	}
	for (;;)
	{
		const char *key;
		bool matches;

		skip_space(s);
		if (s->at >= s->end || *s->at != '"')
			return fail(s, "a member name is missing in an object");
		key = s->at + 1;
		if (!skip_string(s))
			return false;
		matches =
			s->at - key - 1 == wanted->length && memcmp(key, wanted->name, wanted->length) == 0;
		skip_space(s);
		if (s->at >= s->end || *s->at != ':')
			return fail(s, "a colon is missing in an object");
		s->at++;
		if (!(matches ? split_value(s, path, step + 1) : skip_value(s)))
			return false;
		found |= matches;
		skip_space(s);
		if (s->at >= s->end)
			return fail(s, "the page ends within an object");
		if (*s->at == '}')
		{
			s->at++;
			if (!found)
				s->result->missing = wanted->name;
			return true;
		}
		if (*s->at != ',')
			return fail(s, "a comma is missing in an object");
		s->at++;
	}
}

/*
 * The value at the cursor, by the path from a step on.  Stricter than SQL/JSON's lax mode:
 * [*] wants an array, so that an object with an error message is not taken for a record.
 */
static bool
split_value(splitter *s, List *path, int step)
{
	path_step *wanted;

	check_stack_depth();
	skip_space(s);
	if (s->at >= s->end)
		return fail(s, "the page ends where a value should be");
	if (step >= list_length(path))
		return take_record(s);
	wanted = list_nth(path, step);
	if (wanted->each)
	{
		if (*s->at == '[')
			return split_elements(s, path, step + 1);
		if (s->end - s->at >= 4 && memcmp(s->at, "null", 4) == 0)
			return skip_value(s);		 /* no list is an empty list */
		s->result->missing_array = true; /* an error in the shape of an object, most likely */
		return skip_value(s);
	}
	if (*s->at == '{')
		return split_member(s, path, step);
	s->result->missing = wanted->name;
	return skip_value(s);
}

/*
 * Finds the records of a page by a path of record_path_parse(..., true).  The ranges are
 * palloc'd in the current context.  On a problem there are no records.
 */
void
split_records(const char *body, size_t length, List *path, split_result *result)
{
	splitter s = {.body = body, .at = body, .end = body + length, .result = result};

	memset(result, 0, sizeof(*result));
	if (length >= 3 && memcmp(body, "\xEF\xBB\xBF", 3) == 0)
		s.at += 3;
	skip_space(&s);
	if (s.at == s.end)
		fail(&s, "the page is empty");
	else if (*s.at == '<')
		fail(&s, "it begins like HTML or XML");
	else if (split_value(&s, path, 0))
	{
		skip_space(&s);
		if (s.at < s.end)
			fail(&s, "something follows the end of the document");
	}
	if (result->problem != NULL)
		result->count = 0;
}
