/*-------------------------------------------------------------------------
 *
 * csv.c
 *	  The rows of a CSV file as JSON objects.
 *
 * By the rules of COPY … (FORMAT csv), to the letter: what COPY loads becomes the same
 * values, and a row that COPY refuses is a record with a flaw, for which COPY would refuse
 * the whole file.  The one difference: a line \. does not end the data, since that would
 * lose the rest without a word (COPY itself gave it up in PostgreSQL 18).
 *
 * Delimiter, quote and escape are ASCII, and no byte of a longer character of UTF-8 is, so
 * bytes are looked at one by one.  A row is read once, from its text right into JSON.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "extract/page/charset.h"
#include "extract/page/csv.h"
#include "extract/json/json_buffer.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* How the lines of a file end: as its first one does. */
typedef enum line_end
{
	LINE_END_UNKNOWN,
	LINE_END_NL,
	LINE_END_CR,
	LINE_END_CRNL
} line_end;

/* What ends a field. */
typedef enum field_end
{
	FIELD_ENDS,		 /* at a delimiter */
	FIELD_ENDS_LINE, /* or at the end of the text */
	FIELD_IS_OPEN	 /* the text ends within quotes */
} field_end;

typedef struct csv_reader
{
	const csv_options *options;
	size_t null_length;
	const char *text;
	const char *at;
	const char *end;
	line_end line_end;
	bool stops[2][256];	   /* bytes that are more than themselves, [1] within quotes */
	const char *line_stop; /* where the line read last ends, without its line end */
	const char *line_flaw; /* what is wrong with line ends within it; NULL: nothing */
	int columns;
	char **prefixes; /* of each column: what comes before its value in an object */
	char **missing;	 /* of each column: the flaw of a row that ends before it */
	json_buffer out;
} csv_reader;

/* A column of a header, with its position from 1. */
typedef struct csv_name
{
	const char *name;
	int position;
} csv_name;

static bool ends_line(csv_reader *r);
static field_end read_field(csv_reader *r);
static bool looks_like(const char *text, const char *end, const char *prefix);
static bool looks_like_json(const char *text, const char *end);
static bool read_names(csv_reader *r, List **names, page_failure *failure);
static int compare_names(const ListCell *a, const ListCell *b);
static bool check_names(List *names, size_t line, page_failure *failure);
static bool match_names(List *declared, List *found, size_t line, page_failure *failure);
static bool read_header(csv_reader *r, page_failure *failure);
static bool read_rows(csv_reader *r, split_result *result, page_failure *failure);

/*
 * Whether the line break at the cursor, outside of quotes, ends the line; then it is read,
 * else it is a flaw: lines of one file end in one way.
 */
static bool
ends_line(csv_reader *r)
{
	const char *start = r->at;

	if (*r->at == '\n')
	{
		if (r->line_end == LINE_END_CR || r->line_end == LINE_END_CRNL)
		{
			r->line_flaw = "unquoted newline found in data";
			return false;
		}
		r->line_end = LINE_END_NL;
		r->at++;
	}
	else if (r->line_end == LINE_END_UNKNOWN || r->line_end == LINE_END_CRNL)
	{
		if (r->at + 1 < r->end && r->at[1] == '\n')
		{
			r->line_end = LINE_END_CRNL;
			r->at += 2;
		}
		else if (r->line_end == LINE_END_CRNL)
		{
			r->line_flaw = "unquoted carriage return found in data";
			return false;
		}
		else
		{
			r->line_end = LINE_END_CR;
			r->at++;
		}
	}
	else if (r->line_end == LINE_END_NL)
	{
		r->line_flaw = "unquoted carriage return found in data";
		return false;
	}
	else
		r->at++;
	r->line_stop = start;
	return true;
}

/*
 * The field at the cursor, appended as a JSON value.  Past its delimiter or line end
 * afterwards.
 */
static field_end
read_field(csv_reader *r)
{
	const csv_options *o = r->options;
	const char *start = r->at;
	const char *stop;
	size_t value = r->out.length;
	bool saw_quote = false;
	bool quoted = false;
	field_end result;

	json_append(&r->out, "\"", 1);
	for (;;)
	{
		const bool *stops = r->stops[quoted];
		const char *run = r->at;
		char c;

		while (r->at < r->end && !stops[(unsigned char) *r->at])
			r->at++;
		if (r->at > run)
			json_append(&r->out, run, r->at - run);
		stop = r->at;
		if (r->at == r->end)
		{
			if (quoted)
				return FIELD_IS_OPEN;
			r->line_stop = r->end;
			result = FIELD_ENDS_LINE;
			break;
		}
		c = *r->at;
		if (quoted)
		{
			if (c == o->escape && r->at + 1 < r->end &&
				(r->at[1] == o->escape || r->at[1] == o->quote))
			{
				json_append_escaped(&r->out, r->at[1]);
				r->at += 2;
				continue;
			}
			if (c == o->quote)
			{
				quoted = false;
				r->at++;
				continue;
			}
		}
		else if (c == o->delimiter)
		{
			r->at++;
			result = FIELD_ENDS;
			break;
		}
		else if (c == o->quote)
		{
			saw_quote = quoted = true;
			r->at++;
			continue;
		}
		else if ((c == '\n' || c == '\r') && ends_line(r))
		{
			result = FIELD_ENDS_LINE;
			break;
		}
		json_append_escaped(&r->out, c);
		r->at++;
	}
	if (!saw_quote && stop - start == r->null_length && memcmp(start, o->null, r->null_length) == 0)
	{
		r->out.length = value;
		json_append(&r->out, "null", 4);
	}
	else
		json_append(&r->out, "\"", 1);
	return result;
}

static bool
looks_like(const char *text, const char *end, const char *prefix)
{
	return end - text >= strlen(prefix) && pg_strncasecmp(text, prefix, strlen(prefix)) == 0;
}

/* Whether a text begins as an array or object does, and as no header would. */
static bool
looks_like_json(const char *text, const char *end)
{
	char open = text < end ? *text : '\0';

	if (open != '{' && open != '[')
		return false;
	for (text++; text < end && strchr(" \t\r\n", *text) != NULL; text++)
		;
	return text < end && strchr(open == '{' ? "\"}" : "{[\"]", *text) != NULL;
}

/* Reads the line at the cursor into the names it has. */
static bool
read_names(csv_reader *r, List **names, page_failure *failure)
{
	size_t line = r->at - r->text;
	field_end end;

	*names = NIL;
	do
	{
		const char *field = r->at;
		char *name;

		r->out.length = 0;
		end = read_field(r);
		if (end == FIELD_IS_OPEN)
			return page_is_broken(failure, line, "it ends within a quoted field");
		if (r->out.full)
			return page_is_unreadable(failure, ERRCODE_BAD_COPY_FILE_FORMAT, line,
									  "its header is larger than a page may be", NULL);
		/* also when it is spelled as NULL is */
		if (r->out.data[0] == '"')
			name = pnstrdup(r->out.data, r->out.length);
		else
			name = json_string(field, r->null_length);
		*names = lappend(*names, name);
		CHECK_FOR_INTERRUPTS();
	} while (end == FIELD_ENDS);
	r->out.length = 0;
	if (r->line_flaw != NULL)
		return page_is_unreadable(failure, ERRCODE_BAD_COPY_FILE_FORMAT, line,
								  psprintf("its header has an %s", r->line_flaw), NULL);
	return true;
}

/* list_sort_comparator: by name, and of one name by position. */
static int
compare_names(const ListCell *a, const ListCell *b)
{
	const csv_name *first = lfirst(a);
	const csv_name *second = lfirst(b);
	int order = strcmp(first->name, second->name);

	return order != 0 ? order : first->position - second->position;
}

/* The names of a header become members of objects: each is there, is text, and comes once. */
static bool
check_names(List *names, size_t line, page_failure *failure)
{
	static const char *const hint =
		"Have the source mended, or name the columns by the option csv.columns with \"header\": "
		"true; then the header is skipped.";
	List *sorted = NIL;
	const csv_name *before = NULL;
	ListCell *cell;

	foreach (cell, names)
	{
		csv_name *name = palloc(sizeof(csv_name));

		name->name = lfirst(cell);
		name->position = foreach_current_index(cell) + 1;
		sorted = lappend(sorted, name);
		if (strcmp(name->name, "\"\"") == 0)
			return page_is_unreadable(
				failure, ERRCODE_BAD_COPY_FILE_FORMAT, line,
				psprintf("column %d of its header has no name", name->position), hint);
		if (!pg_verify_mbstr(PG_UTF8, name->name, strlen(name->name), true) ||
			strstr(name->name, "\\u0000") != NULL)
			return page_is_unreadable(
				failure, ERRCODE_BAD_COPY_FILE_FORMAT, line,
				psprintf("the name of column %d of its header is no text in UTF-8", name->position),
				"Name the charset of the source by the option charset.");
	}
	list_sort(sorted, compare_names);
	foreach (cell, sorted)
	{
		const csv_name *name = lfirst(cell);

		if (before != NULL && strcmp(before->name, name->name) == 0)
			return page_is_unreadable(failure, ERRCODE_BAD_COPY_FILE_FORMAT, line,
									  psprintf("columns %d and %d of its header are both %s",
											   before->position, name->position, name->name),
									  hint);
		before = name;
	}
	return true;
}

/* The header has to be the names declared. */
static bool
match_names(List *declared, List *found, size_t line, page_failure *failure)
{
	for (int i = 0; i < list_length(declared) || i < list_length(found); i++)
	{
		const char *wanted = i < list_length(declared) ? list_nth(declared, i) : NULL;
		const char *there = i < list_length(found) ? list_nth(found, i) : NULL;

		if (wanted != NULL && there != NULL && strcmp(wanted, there) == 0)
			continue;
		return page_is_unreadable(
			failure, ERRCODE_BAD_COPY_FILE_FORMAT, line,
			psprintf("its header has %s for column %d, where csv.columns has %s",
					 there ? there : "nothing", i + 1, wanted ? wanted : "nothing"),
			"With \"header\": true the header is skipped, whatever it says; without csv.columns "
			"it names the columns.");
	}
	return true;
}

/* Reads the header, if there is one, and makes ready for rows. */
static bool
read_header(csv_reader *r, page_failure *failure)
{
	size_t line = r->at - r->text;
	csv_header kind = r->options->header;
	List *names = NIL;
	List *found;
	ListCell *cell;

	foreach (cell, r->options->columns)
		names = lappend(names, json_string(lfirst(cell), strlen(lfirst(cell))));
	if (kind != CSV_HEADER_NONE)
	{
		if (!read_names(r, &found, failure))
			return false;
		if (kind == CSV_HEADER_MATCH && !match_names(names, found, line, failure))
			return false;
		if (kind == CSV_HEADER_NAMES)
		{
			names = found;
			if (!check_names(names, line, failure))
				return false;
		}
	}

	r->columns = list_length(names);
	r->prefixes = palloc(sizeof(char *) * r->columns);
	r->missing = palloc(sizeof(char *) * r->columns);
	foreach (cell, names)
	{
		int column = foreach_current_index(cell);

		r->prefixes[column] = psprintf("%c%s:", column == 0 ? '{' : ',', (char *) lfirst(cell));
		r->missing[column] = psprintf("missing data for column %s", (char *) lfirst(cell));
	}
	return true;
}

/* The rows: an object each, on a line of its own. */
static bool
read_rows(csv_reader *r, split_result *result, page_failure *failure)
{
	while (r->at < r->end)
	{
		const char *line = r->at;
		size_t record = r->out.length;
		const char *flaw = NULL;
		int fields = 0;
		field_end end;

		CHECK_FOR_INTERRUPTS();
		r->line_flaw = NULL;
		do
		{
			if (fields < r->columns)
				json_append(&r->out, r->prefixes[fields], strlen(r->prefixes[fields]));
			else
				r->out.length = record; /* it has a flaw and is not kept */
			end = read_field(r);
			fields++;
		} while (end == FIELD_ENDS);
		if (end == FIELD_IS_OPEN)
			return page_is_broken(failure, line - r->text, "it ends within a quoted field");

		if (r->line_flaw != NULL)
			flaw = r->line_flaw;
		else if (fields > r->columns)
			flaw = "extra data after last expected column";
		else if (fields < r->columns)
			flaw = r->missing[fields];
		if (flaw != NULL)
			r->out.length = record;
		else
			json_append(&r->out, "}", 1);
		if (r->out.full)
			return page_is_unreadable(
				failure, ERRCODE_FDW_ERROR, line - r->text,
				psprintf("it becomes more than %zu bytes of JSON", r->out.limit - 1),
				"Raise the server's max_body_size, or ask for smaller files.");
		split_add_record(result, record, r->out.length - record);
		split_add_origin(result, line - r->text, r->line_stop - line);
		if (flaw != NULL)
			split_add_flaw(result, ERRCODE_BAD_COPY_FILE_FORMAT, flaw);
		else
			json_append(&r->out, "\n", 1);
	}
	return true;
}

/*
 * The rows of a CSV text as JSON objects of strings and nulls.  *json, palloc'd in the
 * current context with a NUL behind it, has no more than "limit" bytes; the records are
 * ranges of it, their origins ranges of the text.  Returns false, with the failure, when
 * there is no telling where a row ends or what its columns are.  Raises what
 * CHECK_FOR_INTERRUPTS() raises, and when there is no memory.
 */
bool
csv_read(const csv_options *options, const char *text, size_t length, size_t limit,
		 const char **json, size_t *json_length, split_result *result, page_failure *failure)
{
	csv_reader r = {.options = options, .text = text, .end = text + length};
	const char *first;

	r.at = text + charset_utf8_mark(text, length);
	first = r.at + strspn(r.at, " \t\r\n");
	if (looks_like(first, r.end, "<!doctype") || looks_like(first, r.end, "<html") ||
		looks_like(first, r.end, "<?xml"))
		return page_is_broken(failure, first - text, "it begins like HTML or XML");
	/* its first line would be taken for a header, and an error for a file without rows */
	if (options->header != CSV_HEADER_NONE && looks_like_json(first, r.end))
		return page_is_broken(failure, first - text, "it begins like JSON");

	for (int c = 0; c < 256; c++)
		r.stops[0][c] = r.stops[1][c] = c < ' ' || c == '"' || c == '\\';
	r.stops[0][(unsigned char) options->delimiter] = true;
	r.stops[0][(unsigned char) options->quote] = true;
	r.stops[1][(unsigned char) options->quote] = true;
	r.stops[1][(unsigned char) options->escape] = true;
	r.null_length = strlen(options->null);
	r.out.limit = limit + 1;
	r.out.capacity = Min(length + length / 2 + 1024, r.out.limit);
	r.out.data = MemoryContextAllocHuge(CurrentMemoryContext, r.out.capacity);

	if (r.at < r.end && (!read_header(&r, failure) || !read_rows(&r, result, failure)))
	{
		pfree(r.out.data);
		return false;
	}
	r.out.data[r.out.length] = '\0';
	*json = r.out.data;
	*json_length = r.out.length;
	return true;
}
