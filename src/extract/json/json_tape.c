/*-------------------------------------------------------------------------
 *
 * json_tape.c
 *	  Parses JSON text to a flat list of nodes.
 *
 * What jsonb_in refuses is refused, and nothing else but documents that are deeper than
 * JSON_MAX_DEPTH.  Nothing here raises except for want of memory, whatever the bytes;
 * errors are values.  Depth costs no stack.
 *
 * The text is known to be UTF-8 without NUL bytes.  Strings stay where they are in it, but
 * for those with escapes: their plain form is kept in the tape.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "extract/json/json_number.h"
#include "extract/json/json_scan.h"
#include "extract/json/json_tape.h"

/* What jsonb_in can hold: its arrays double, and may not grow past 1 GB. */
#define MAX_ELEMENTS (1 << 24)
#define MAX_MEMBERS (1 << 23)

/* How many bytes of the text an error shows. */
#define EXCERPT_BYTES 40

typedef struct parser
{
	json_tape *tape;
	const char *document;
	const char *end;
	json_error *error;
} parser;

static bool fail(const parser *s, const char *at, int sql_state, const char *format, ...)
	pg_attribute_printf(4, 5);

/* Notes what is wrong, and where.  Returns false. */
static bool
fail(const parser *s, const char *at, int sql_state, const char *format, ...)
{
	json_error *error = s->error;
	size_t used;
	va_list arguments;

	error->sql_state = sql_state;
	error->offset = at - s->document;
	va_start(arguments, format);
	vsnprintf(error->message, sizeof(error->message), format, arguments);
	va_end(arguments);
	used = strlen(error->message);
	snprintf(error->message + used, sizeof(error->message) - used, " (byte %lu)",
			 (unsigned long) error->offset);
	return false;
}

/* A syntax error: what is there is not what the grammar wants. */
static bool
unexpected(const parser *s, const char *at, const char *expected)
{
	const char *stop = at;
	size_t length;
	bool whole = true;

	if (at >= s->end)
		return fail(s, s->end, ERRCODE_INVALID_TEXT_REPRESENTATION,
					"invalid input syntax for type json: expected %s, but the input ends",
					expected);
	/* a word, or one character */
	while (stop < s->end && (json_is_word(*stop) || *stop == '-' || *stop == '+' || *stop == '.'))
		stop++;
	length = Max(stop - at, 1);
	if (length > EXCERPT_BYTES)
	{
		length = pg_encoding_mbcliplen(PG_UTF8, at, length, EXCERPT_BYTES);
		whole = false;
	}
	if ((unsigned char) *at < 0x20 || *at == 0x7F)
		return fail(s, at, ERRCODE_INVALID_TEXT_REPRESENTATION,
					"invalid input syntax for type json: expected %s, but found a character with "
					"value 0x%02x",
					expected, (unsigned char) *at);
	return fail(s, at, ERRCODE_INVALID_TEXT_REPRESENTATION,
				"invalid input syntax for type json: expected %s, but found \"%.*s%s\"", expected,
				(int) length, at, whole ? "" : "...");
}

/* Makes room for more nodes. */
static pg_noinline void
grow_nodes(json_tape *tape)
{
	size_t allocated = Max(tape->allocated * 2, 1024);

	tape->nodes = tape->nodes == NULL
					  ? MemoryContextAllocHuge(tape->context, sizeof(json_node) * allocated)
					  : repalloc_huge(tape->nodes, sizeof(json_node) * allocated);
	tape->allocated = allocated;
}

static inline json_node *
push_node(json_tape *tape)
{
	if (unlikely(tape->count == tape->allocated))
		grow_nodes(tape);
	return &tape->nodes[tape->count++];
}

/* The four digits of a \u escape; -1 when they are not there. */
static int
hex_digits(const char *at, const char *end)
{
	int code = 0;

	if (end - at < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		char c = at[i];

		if (c >= '0' && c <= '9')
			code = code * 16 + (c - '0');
		else if (c >= 'a' && c <= 'f')
			code = code * 16 + (c - 'a') + 10;
		else if (c >= 'A' && c <= 'F')
			code = code * 16 + (c - 'A') + 10;
		else
			return -1;
	}
	return code;
}

/*
 * Reads a \u escape, two when they are a surrogate pair.  at: after the first \u.  Appends
 * the character to *out.  Returns the byte after it; NULL on error.
 */
static const char *
read_unicode(const parser *s, const char *at, char **out)
{
	int code = hex_digits(at, s->end);

	if (code < 0)
	{
		fail(s, at, ERRCODE_INVALID_TEXT_REPRESENTATION,
			 "invalid input syntax for type json: \"\\u\" must be followed by four hexadecimal "
			 "digits");
		return NULL;
	}
	if (code == 0)
	{
		fail(s, at - 2, ERRCODE_UNTRANSLATABLE_CHARACTER,
			 "unsupported Unicode escape sequence: \\u0000 cannot be converted to text");
		return NULL;
	}
	at += 4;
	if (is_utf16_surrogate_second(code))
	{
		fail(s, at - 6, ERRCODE_INVALID_TEXT_REPRESENTATION,
			 "invalid input syntax for type json: Unicode low surrogate must follow a high "
			 "surrogate");
		return NULL;
	}
	if (is_utf16_surrogate_first(code))
	{
		int low =
			s->end - at >= 2 && at[0] == '\\' && at[1] == 'u' ? hex_digits(at + 2, s->end) : -1;

		if (low < 0 || !is_utf16_surrogate_second(low))
		{
			fail(s, at - 6, ERRCODE_INVALID_TEXT_REPRESENTATION,
				 "invalid input syntax for type json: Unicode high surrogate must be followed by "
				 "a low surrogate");
			return NULL;
		}
		code = surrogate_pair_to_codepoint(code, low);
		at += 6;
	}
	unicode_to_utf8(code, (unsigned char *) *out);
	*out += pg_utf_mblen((unsigned char *) *out);
	return at;
}

/* What a backslash and a letter stand for; 0 when they stand for nothing. */
static inline char
simple_escape(char letter)
{
	switch (letter)
	{
		case '"':
		case '\\':
		case '/':
			return letter;
		case 'b':
			return '\b';
		case 'f':
			return '\f';
		case 'n':
			return '\n';
		case 'r':
			return '\r';
		case 't':
			return '\t';
		default:
			return '\0';
	}
}

/*
 * Room for the strings of a document.  No escape is shorter than what it stands for, so as
 * many bytes as the document has are always enough.
 */
static pg_noinline void
allocate_text(json_tape *tape, size_t length)
{
	char *old = tape->text;

	tape->text = NULL;
	tape->text_allocated = 0;
	if (old != NULL)
		pfree(old);
	tape->text = MemoryContextAllocHuge(tape->context, length);
	tape->text_allocated = length;
}

/*
 * Reads a string that has something special.  start: after the quote; stop: what is
 * special.  Returns the byte after the string; NULL on error.
 */
static pg_noinline const char *
read_special_string(const parser *s, const char *start, const char *stop, json_node *node)
{
	json_tape *tape = s->tape;
	char *text;
	char *out;

	if (tape->text_used == 0 && tape->text_allocated < s->end - s->document)
		allocate_text(tape, s->end - s->document);
	text = out = tape->text + tape->text_used;
	for (;;)
	{
		memcpy(out, start, stop - start);
		out += stop - start;
		if (stop == s->end)
		{
			fail(s, stop, ERRCODE_INVALID_TEXT_REPRESENTATION,
				 "invalid input syntax for type json: the input ends within a string");
			return NULL;
		}
		if (*stop == '"')
			break;
		if (*stop != '\\')
		{
			fail(s, stop, ERRCODE_INVALID_TEXT_REPRESENTATION,
				 "invalid input syntax for type json: character with value 0x%02x must be escaped",
				 (unsigned char) *stop);
			return NULL;
		}
		start = stop + 1;
		if (start == s->end)
		{
			stop = start;
			continue;
		}
		if (*start == 'u')
		{
			start = read_unicode(s, start + 1, &out);
			if (start == NULL)
				return NULL;
		}
		else
		{
			char plain = simple_escape(*start);

			if (plain == '\0')
			{
				unexpected(s, start, "one of \"\\/bfnrtu after a backslash");
				return NULL;
			}
			*out++ = plain;
			start++;
		}
		stop = json_scan_string(start, s->end);
	}
	tape->text_used += out - text;
	node->u.text = text;
	node->size = out - text;
	return stop + 1;
}

/*
 * Reads a string.  at: its opening quote.  Returns the byte after it; NULL on error.
 */
static inline const char *
read_string(const parser *s, const char *at, json_node *node)
{
	const char *start = at + 1;
	const char *stop = json_scan_string(start, s->end);

	node->kind = JSON_STRING;
	if (likely(stop < s->end && *stop == '"'))
	{
		node->u.text = start;
		node->size = stop - start;
		stop++;
	}
	else
		stop = read_special_string(s, start, stop, node);
	if (unlikely(stop != NULL && node->size > JENTRY_OFFLENMASK))
	{
		fail(s, at, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
			 "a string is longer than the %u bytes that jsonb can hold", JENTRY_OFFLENMASK);
		return NULL;
	}
	return stop;
}

/*
 * Reads a number.  Returns the byte after it; NULL on error.
 */
static inline const char *
read_number(const parser *s, const char *at, json_node *node)
{
	const char *after;

	switch (json_number_scan(at, s->end, node, &after))
	{
		case JSON_NUMBER_OK:
			return after;
		case JSON_NUMBER_MALFORMED:
			unexpected(s, at, "a number");
			return NULL;
		case JSON_NUMBER_OVERFLOW:
			fail(s, at, ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
				 "value overflows numeric format: \"%.*s%s\"", (int) Min(after - at, EXCERPT_BYTES),
				 at, after - at > EXCERPT_BYTES ? "..." : "");
			return NULL;
	}
	return NULL;
}

/*
 * Reads one of the three words.  Returns the byte after it; NULL on error.
 */
static const char *
read_word(const parser *s, const char *at, const char *expected, json_node *node)
{
	static const struct
	{
		const char *word;
		int length;
		json_kind kind;
	} words[] = {{"null", 4, JSON_NULL}, {"true", 4, JSON_TRUE}, {"false", 5, JSON_FALSE}};

	for (int i = 0; i < lengthof(words); i++)
	{
		if (s->end - at >= words[i].length && memcmp(at, words[i].word, words[i].length) == 0)
		{
			node->kind = words[i].kind;
			return at + words[i].length;
		}
	}
	unexpected(s, at, expected);
	return NULL;
}

/* Adds a key to the hash of an object's keys. */
static inline uint32
add_to_shape(uint32 shape, const json_node *key)
{
	uint32 first = key->size > 0 ? (unsigned char) key->u.text[0] : 0;

	return (shape ^ (key->size << 8 | first)) * 0x9E3779B1;
}

/*
 * Parses a document that is UTF-8 without NUL bytes, of at most JSON_MAX_LENGTH bytes.
 * The nodes are valid as long as the document and until the tape is used again.  Returns
 * false and fills *error when the document is refused; raises only for want of memory.
 */
bool
json_tape_parse(json_tape *tape, const char *document, size_t length, json_error *error)
{
	const parser s = {tape, document, document + length, error};
	const char *const end = s.end;
	const char *at = document;
	const char *expected = "a JSON value";
	uint32 depth = 0;
	/* of the innermost array or object that is open */
	uint32 container = 0;
	uint32 size = 0;
	uint32 shape = 0;
	bool in_object = false;

	tape->count = 0;
	tape->text_used = 0;
	for (;;)
	{
		json_node *node;

		at = json_skip_space(at, end);
		if (in_object)
		{
			if (at == end || *at != '"')
				return unexpected(&s, at, expected);
			if (++size > MAX_MEMBERS)
				return fail(&s, at, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
							"an object has more than %d members", MAX_MEMBERS);
			node = push_node(tape);
			at = read_string(&s, at, node);
			if (at == NULL)
				return false;
			shape = add_to_shape(shape, node);
			at = json_skip_space(at, end);
			if (at == end || *at != ':')
				return unexpected(&s, at, "\":\"");
			at = json_skip_space(at + 1, end);
			expected = "a JSON value";
		}
		else if (++size > MAX_ELEMENTS)
			return fail(&s, at, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
						"an array has more than %d elements", MAX_ELEMENTS);

		if (at == end)
			return unexpected(&s, at, expected);
		node = push_node(tape);
		switch (*at)
		{
			case '"':
				at = read_string(&s, at, node);
				break;
			case '-':
			case '0':
			case '1':
			case '2':
			case '3':
			case '4':
			case '5':
			case '6':
			case '7':
			case '8':
			case '9':
				at = read_number(&s, at, node);
				break;
			case '{':
			case '[':
				if (depth == JSON_MAX_DEPTH)
					return fail(&s, at, ERRCODE_STATEMENT_TOO_COMPLEX,
								"the document nests deeper than %d levels", JSON_MAX_DEPTH);
				tape->open[depth++] = (json_open){container, size, shape};
				container = node - tape->nodes;
				size = 0;
				shape = 0;
				in_object = *at == '{';
				node->kind = in_object ? JSON_OBJECT : JSON_ARRAY;
				at = json_skip_space(at + 1, end);
				if (at < end && *at == (in_object ? '}' : ']'))
					break;
				expected = in_object ? "a string or \"}\"" : "an array element or \"]\"";
				continue;
			default:
				at = read_word(&s, at, expected, node);
		}
		if (at == NULL)
			return false;

		/* after a value what contains it goes on or ends */
		for (;;)
		{
			at = json_skip_space(at, end);
			if (depth == 0)
				return at == end || unexpected(&s, at, "the input to end");
			if (at == end)
				return unexpected(&s, at, in_object ? "\",\" or \"}\"" : "\",\" or \"]\"");
			if (*at == ',')
				break;
			if (*at != (in_object ? '}' : ']'))
				return unexpected(&s, at, in_object ? "\",\" or \"}\"" : "\",\" or \"]\"");
			at++;
			node = &tape->nodes[container];
			node->size = size;
			node->u.container.end = tape->count;
			node->u.container.shape = shape;
			depth--;
			container = tape->open[depth].node;
			size = tape->open[depth].size;
			shape = tape->open[depth].shape;
			in_object = depth > 0 && tape->nodes[container].kind == JSON_OBJECT;
		}
		at++;
		expected = in_object ? "a string" : "a JSON value";
	}
}
