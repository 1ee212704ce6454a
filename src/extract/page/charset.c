/*-------------------------------------------------------------------------
 *
 * charset.c
 *	  Texts in other encodings than UTF-8.
 *
 * PostgreSQL converts what it has conversions for; UTF-16 and UTF-32, which it has none
 * for, are decoded here.  A byte that means nothing is an error that says where it is:
 * question marks and replacement characters would be data nobody sent.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "call_sql.h"
#include "extract/page/charset.h"

/* Converted between two interrupts. */
#define CONVERSION_STEP (64 * 1024)

/* Longest name that is looked up. */
#define MAX_NAME 40

/* What pg_char_to_encoding() does not know; names without their punctuation. */
static const struct
{
	const char *name;
	charset_kind kind;
	int encoding;
} aliases[] = {
	{"utf8", CHARSET_UTF8, PG_UTF8},
	{"unicode11utf8", CHARSET_UTF8, PG_UTF8},
	{"usascii", CHARSET_UTF8, PG_UTF8},
	{"ascii", CHARSET_UTF8, PG_UTF8},
	{"utf16", CHARSET_UTF16, -1},
	{"utf16le", CHARSET_UTF16LE, -1},
	{"utf16be", CHARSET_UTF16BE, -1},
	{"utf32", CHARSET_UTF32, -1},
	{"utf32le", CHARSET_UTF32LE, -1},
	{"utf32be", CHARSET_UTF32BE, -1},
	{"cp1250", CHARSET_CONVERTED, PG_WIN1250},
	{"cp1251", CHARSET_CONVERTED, PG_WIN1251},
	{"cp1252", CHARSET_CONVERTED, PG_WIN1252},
	{"cp1253", CHARSET_CONVERTED, PG_WIN1253},
	{"cp1254", CHARSET_CONVERTED, PG_WIN1254},
	{"cp1255", CHARSET_CONVERTED, PG_WIN1255},
	{"cp1256", CHARSET_CONVERTED, PG_WIN1256},
	{"cp1257", CHARSET_CONVERTED, PG_WIN1257},
	{"cp1258", CHARSET_CONVERTED, PG_WIN1258},
	{"cp866", CHARSET_CONVERTED, PG_WIN866},
	{"ibm866", CHARSET_CONVERTED, PG_WIN866},
	{"tis620", CHARSET_CONVERTED, PG_WIN874},
	{"iso885911", CHARSET_CONVERTED, PG_WIN874},
	{"iso885914", CHARSET_CONVERTED, PG_LATIN8},
	{"iso885915", CHARSET_CONVERTED, PG_LATIN9},
	{"xsjis", CHARSET_CONVERTED, PG_SJIS},
	{"cp932", CHARSET_CONVERTED, PG_SJIS},
	{"ms932", CHARSET_CONVERTED, PG_SJIS},
	{"windows31j", CHARSET_CONVERTED, PG_SJIS},
	{"cp936", CHARSET_CONVERTED, PG_GBK},
	{"ms936", CHARSET_CONVERTED, PG_GBK},
	/* what calls itself GB 2312 is mostly its superset */
	{"gb2312", CHARSET_CONVERTED, PG_GBK},
	{"cp949", CHARSET_CONVERTED, PG_UHC},
	{"ksc56011987", CHARSET_CONVERTED, PG_UHC},
	{"cp950", CHARSET_CONVERTED, PG_BIG5},
	{"big5hkscs", CHARSET_CONVERTED, -1}, /* another one than big5 */
};

static uint32 unit_at(charset_kind kind, const char *bytes);
static bool decode_units(const charset *from, const char *bytes, size_t length, char **text,
						 size_t *text_length, page_failure *failure);
static bool convert(const charset *from, const char *bytes, size_t length, char **text,
					size_t *text_length, page_failure *failure);
static bool no_character(const charset *from, const char *bytes, size_t length, size_t offset,
						 page_failure *failure);
static size_t next_character(const charset *from, const char *bytes, size_t left, bool *is_ascii);

/*
 * The encoding of that name, an IANA name or one of PostgreSQL's; false when there is none
 * of it that can be converted.  Fills kind and encoding, and keeps the name.
 */
bool
charset_by_name(const char *name, charset *result)
{
	char plain[MAX_NAME];
	int length = 0;
	int encoding;

	for (const char *c = name; *c != '\0'; c++)
	{
		if (strchr("-_.: ", *c) != NULL)
			continue;
		if (length == MAX_NAME - 1)
			return false;
		plain[length++] = (char) pg_ascii_tolower((unsigned char) *c);
	}
	plain[length] = '\0';

	*result = (charset){.name = name};
	for (int i = 0; i < lengthof(aliases); i++)
	{
		if (strcmp(aliases[i].name, plain) == 0)
		{
			result->kind = aliases[i].kind;
			result->encoding = aliases[i].encoding;
			return result->kind != CHARSET_CONVERTED || result->encoding >= 0;
		}
	}
	encoding = pg_char_to_encoding(name);
	if (encoding < 0 || encoding == PG_SQL_ASCII || encoding == PG_MULE_INTERNAL)
		return false;
	result->kind = encoding == PG_UTF8 ? CHARSET_UTF8 : CHARSET_CONVERTED;
	result->encoding = encoding;
	return true;
}

/*
 * The charset parameter of a Content-Type value, palloc'd; NULL when there is none.
 */
char *
charset_of_content_type(const char *content_type)
{
	const char *c = content_type;
	bool quoted = false;

	/* to each parameter; a quoted value may have semicolons in it */
	while (c != NULL && *c != '\0')
	{
		if (*c == '"')
			quoted = !quoted;
		else if (*c == '\\' && quoted && c[1] != '\0')
			c++;
		else if (*c == ';' && !quoted)
		{
			const char *start;
			size_t length;

			c++;
			c += strspn(c, " \t");
			if (pg_strncasecmp(c, "charset", 7) != 0)
				continue;
			start = c + 7 + strspn(c + 7, " \t");
			if (*start != '=')
				continue;
			start++;
			start += strspn(start, " \t\"'");
			length = strcspn(start, " \t\"';,");
			return length == 0 ? NULL : pnstrdup(start, length);
		}
		c++;
	}
	return NULL;
}

/*
 * The encoding of bytes: what the option says (NULL: nothing), else their byte order mark,
 * else the Content-Type (NULL: none), else UTF-8.  *mark_length is that of a byte order
 * mark of that encoding before the text.  Returns false for a name that is not known.
 */
bool
charset_find(const char *option, const char *content_type, const char *bytes, size_t length,
			 charset *result, size_t *mark_length, page_failure *failure)
{
	static const struct
	{
		const char *bytes;
		size_t length;
		charset_kind kind;
		charset_kind family;
		const char *name;
	} marks[] = {
		{"\xff\xfe\x00\x00", 4, CHARSET_UTF32LE, CHARSET_UTF32, "utf-32le"},
		{"\x00\x00\xfe\xff", 4, CHARSET_UTF32BE, CHARSET_UTF32, "utf-32be"},
		{"\xff\xfe", 2, CHARSET_UTF16LE, CHARSET_UTF16, "utf-16le"},
		{"\xfe\xff", 2, CHARSET_UTF16BE, CHARSET_UTF16, "utf-16be"},
		{"\xef\xbb\xbf", 3, CHARSET_UTF8, CHARSET_UTF8, "utf-8"},
	};
	const char *declared = option != NULL ? option : charset_of_content_type(content_type);
	bool known = true;

	*mark_length = 0;
	*result = (charset){.kind = CHARSET_UTF8, .name = "utf-8", .said_by = "default"};
	if (declared != NULL)
	{
		known = charset_by_name(declared, result);
		result->said_by = option != NULL ? "option charset" : "Content-Type";
	}

	for (int i = 0; i < lengthof(marks); i++)
	{
		if (length < marks[i].length || memcmp(bytes, marks[i].bytes, marks[i].length) != 0)
			continue;
		/* an option is not overruled, but by the byte order it leaves open */
		if (option != NULL && result->kind != marks[i].kind && result->kind != marks[i].family)
			continue;
		*mark_length = marks[i].length;
		*result =
			(charset){.kind = marks[i].kind, .name = marks[i].name, .said_by = "byte order mark"};
		return true;
	}
	if (!known)
		return page_is_unreadable(
			failure, ERRCODE_CHARACTER_NOT_IN_REPERTOIRE, 0,
			psprintf("its charset \"%s\" (%s) is not known", declared, result->said_by),
			"Name the right one by the option charset. " CHARSET_HINT);

	/* No mark: texts begin with ASCII, and the zeros beside it tell the byte order. */
	if (result->kind == CHARSET_UTF16)
		result->kind = length > 0 && bytes[0] == '\0' ? CHARSET_UTF16BE : CHARSET_UTF16LE;
	else if (result->kind == CHARSET_UTF32)
		result->kind = length > 0 && bytes[0] == '\0' ? CHARSET_UTF32BE : CHARSET_UTF32LE;
	return true;
}

/* A code unit of UTF-16 or UTF-32. */
static uint32
unit_at(charset_kind kind, const char *bytes)
{
	const unsigned char *b = (const unsigned char *) bytes;

	switch (kind)
	{
		case CHARSET_UTF16LE:
			return b[0] | b[1] << 8;
		case CHARSET_UTF16BE:
			return b[0] << 8 | b[1];
		case CHARSET_UTF32LE:
			return b[0] | b[1] << 8 | b[2] << 16 | (uint32) b[3] << 24;
		default:
			return (uint32) b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
	}
}

static inline int
unit_size(charset_kind kind)
{
	return kind == CHARSET_UTF16LE || kind == CHARSET_UTF16BE ? 2 : 4;
}

/* UTF-16 or UTF-32 as UTF-8. */
static bool
decode_units(const charset *from, const char *bytes, size_t length, char **text,
			 size_t *text_length, page_failure *failure)
{
	int size = unit_size(from->kind);
	/* two bytes become three at most, four become four */
	size_t capacity = (size == 2 ? length / 2 * 3 : length) + 5;
	char *to = MemoryContextAllocHuge(CurrentMemoryContext, capacity);
	size_t out = 0;
	size_t at = 0;

	while (at + size <= length)
	{
		uint32 code = unit_at(from->kind, bytes + at);
		size_t used = size;

		if (size == 2 && code >= 0xD800 && code <= 0xDBFF && at + 4 <= length)
		{
			uint32 low = unit_at(from->kind, bytes + at + 2);

			if (low >= 0xDC00 && low <= 0xDFFF)
			{
				code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
				used = 4;
			}
		}
		if (code < 0x80)
			to[out++] = (char) code;
		else if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
		{
			pfree(to);
			/* half of a pair at the very end has lost its other half */
			if (size == 2 && code <= 0xDBFF && at + 4 > length)
				break;
			return no_character(from, bytes, length, at, failure);
		}
		else
		{
			unicode_to_utf8(code, (unsigned char *) to + out);
			out += pg_utf_mblen((unsigned char *) to + out);
		}
		at += used;
		if ((at & (CONVERSION_STEP - 1)) == 0)
			CHECK_FOR_INTERRUPTS();
	}
	if (at < length)
		return page_is_broken(failure, at, "it ends within a character");
	to[out] = '\0';
	*text = to;
	*text_length = out;
	return true;
}

/* Conversion by PostgreSQL.  Needs a transaction, for it looks the function up. */
static bool
convert(const charset *from, const char *bytes, size_t length, char **text, size_t *text_length,
		page_failure *failure)
{
	Oid function = FindDefaultConversionProc(from->encoding, PG_UTF8);
	size_t capacity = length + length / 4 + CONVERSION_STEP;
	char *to;
	size_t out = 0;
	size_t at = 0;

	if (!OidIsValid(function))
		return page_is_unreadable(failure, ERRCODE_CHARACTER_NOT_IN_REPERTOIRE, 0,
								  psprintf("its charset \"%s\" (%s) cannot be converted to UTF-8",
										   from->name, from->said_by),
								  CHARSET_HINT);
	to = MemoryContextAllocHuge(CurrentMemoryContext, capacity);
	while (at < length)
	{
		/* how much is taken is bounded by the room there is */
		int step = (int) Min(length - at, CONVERSION_STEP / MAX_CONVERSION_GROWTH);
		int used;

		CHECK_FOR_INTERRUPTS();
		if (capacity - out < CONVERSION_STEP + 1)
		{
			capacity += capacity / 2;
			to = repalloc_huge(to, capacity);
		}
		used = pg_do_encoding_conversion_buf(function, from->encoding, PG_UTF8,
											 (unsigned char *) unconstify(char *, bytes + at), step,
											 (unsigned char *) to + out, CONVERSION_STEP + 1, true);
		if (used == 0)
		{
			pfree(to);
			return no_character(from, bytes, length, at, failure);
		}
		at += used;
		out += strlen(to + out);
	}
	to[out] = '\0';
	*text = to;
	*text_length = out;
	return true;
}

/* Says which bytes are no character, and where. */
static bool
no_character(const charset *from, const char *bytes, size_t length, size_t offset,
			 page_failure *failure)
{
	StringInfoData shown;
	int size = from->kind == CHARSET_CONVERTED ? pg_encoding_mblen(from->encoding, bytes + offset)
											   : unit_size(from->kind);

	/* a character cut short at the end; a damaged one is most often followed by more */
	if (length - offset < (size_t) size)
		return page_is_broken(failure, offset, "it ends within a character");
	initStringInfo(&shown);
	for (int i = 0; i < size; i++)
		appendStringInfo(&shown, " 0x%02x", (unsigned char) bytes[offset + i]);
	return page_is_unreadable(
		failure, ERRCODE_UNTRANSLATABLE_CHARACTER, offset,
		psprintf("the byte%s%s at offset %zu %s no character of %s (%s)", size > 1 ? "s" : "",
				 shown.data, offset, size > 1 ? "are" : "is", from->name, from->said_by),
		"If the source sends another charset than it says, name the right one by the option "
		"charset.");
}

/*
 * A text as UTF-8: the bytes themselves when they are that (which is not checked: it is
 * checked record by record), else palloc'd in the current context with a NUL behind it.
 * Returns false, with the failure, when a byte is no character.  Opens a transaction of its
 * own when it needs one and none is open; raises what CHECK_FOR_INTERRUPTS() raises, and
 * when there is no memory.
 */
bool
charset_to_utf8(const charset *from, const char *bytes, size_t length, const char **text,
				size_t *text_length, page_failure *failure)
{
	MemoryContext context = CurrentMemoryContext;
	bool own_transaction = !IsTransactionState();
	char *converted = NULL;
	bool done;

	*text = bytes;
	*text_length = length;
	if (from->kind == CHARSET_UTF8 || length == 0)
		return true;
	if (from->kind != CHARSET_CONVERTED)
		done = decode_units(from, bytes, length, &converted, text_length, failure);
	else
	{
		const char *nul = memchr(bytes, '\0', length);

		/* the conversions take it for the end */
		if (nul != NULL)
			return page_is_unreadable(
				failure, ERRCODE_UNTRANSLATABLE_CHARACTER, nul - bytes,
				psprintf("the byte 0x00 at offset %zu is no text in %s (%s)",
						 (size_t) (nul - bytes), from->name, from->said_by),
				"If the source sends another charset than it says, name the right one by the "
				"option charset.");
		if (own_transaction)
		{
			sql_begin();
			MemoryContextSwitchTo(context);
		}
		done = convert(from, bytes, length, &converted, text_length, failure);
		if (own_transaction)
		{
			sql_commit();
			MemoryContextSwitchTo(context);
		}
	}
	if (done)
		*text = converted;
	return done;
}

/*
 * Length of the character at the beginning of bytes that were converted without an error,
 * and whether it is ASCII; never more than "left".
 */
static size_t
next_character(const charset *from, const char *bytes, size_t left, bool *is_ascii)
{
	size_t size;

	if (from->kind == CHARSET_CONVERTED)
	{
		*is_ascii = !IS_HIGHBIT_SET(*bytes);
		size = *is_ascii ? 1 : pg_encoding_mblen(from->encoding, bytes);
	}
	else
	{
		uint32 code = unit_at(from->kind, bytes);

		*is_ascii = code < 0x80;
		size = unit_size(from->kind);
		if (size == 2 && code >= 0xD800 && code <= 0xDBFF)
			size = 4;
	}
	return Min(size, left);
}

/*
 * Where in the bytes received the ranges of the converted text come from; palloc'd.  The
 * ranges do not overlap, are in order, and are bounded by ASCII or the ends of the text, as
 * records are.  That is what the two texts have in common in any encoding: the same ASCII
 * characters in the same order, whatever is between them.
 */
record_range *
charset_origins(const charset *from, const char *bytes, size_t length, const char *text,
				size_t text_length, const record_range *ranges, int count)
{
	record_range *origins =
		MemoryContextAllocHuge(CurrentMemoryContext, sizeof(record_range) * Max(count, 1));
	size_t at = 0;	/* in text */
	size_t pos = 0; /* in bytes: behind as many ASCII characters */

	for (int i = 0; i < count; i++)
	{
		size_t ends[2] = {ranges[i].offset, ranges[i].offset + ranges[i].length};

		for (int end = 0; end < 2; end++)
		{
			bool is_ascii;
			size_t size;

			for (; at < ends[end]; at++)
			{
				if (IS_HIGHBIT_SET(text[at]))
					continue;
				for (is_ascii = false; pos < length && !is_ascii;)
					pos += next_character(from, bytes + pos, length - pos, &is_ascii);
			}
			/* the text before an end may be other than ASCII: up to the next that is */
			while (end == 1 && pos < length)
			{
				size = next_character(from, bytes + pos, length - pos, &is_ascii);
				if (is_ascii)
					break;
				pos += size;
			}
			if (end == 0)
				origins[i].offset = pos;
			else
				origins[i].length = pos - origins[i].offset;
		}
		if ((i & 1023) == 0)
			CHECK_FOR_INTERRUPTS();
	}
	return origins;
}
