/*-------------------------------------------------------------------------
 *
 * page_value.c
 *	  One value of a page, such as the cursor to the next one.
 *
 * Read in the page's bytes, outside of any transaction, like its records.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "extract/page/page_value.h"
#include "extract/page/record_path.h"
#include "extract/page/split.h"

/* Four hex digits; -1 when they are not. */
static int
hex4(const char *c, const char *end)
{
	int value = 0;

	if (end - c < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		char digit = c[i];

		if (digit >= '0' && digit <= '9')
			value = value * 16 + digit - '0';
		else if ((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f')
			value = value * 16 + (digit | 0x20) - 'a' + 10;
		else
			return -1;
	}
	return value;
}

/*
 * The text of a JSON string between its quotes; NULL when an escape in it is broken or
 * stands for NUL.
 */
static char *
unescape(const char *c, const char *end)
{
	static const char escapes[] = "\"\\/bfnrt";
	static const char meanings[] = "\"\\/\b\f\n\r\t";
	StringInfoData text;

	initStringInfo(&text);
	while (c < end)
	{
		const char *escape;
		int code;
		unsigned char utf8[5] = {0};

		if (*c != '\\')
		{
			appendStringInfoCharMacro(&text, *c++);
			continue;
		}
		if (++c >= end)
			return NULL;
		if (*c != 'u')
		{
			escape = strchr(escapes, *c++);
			if (escape == NULL || *escape == '\0')
				return NULL;
			appendStringInfoChar(&text, meanings[escape - escapes]);
			continue;
		}
		code = hex4(c + 1, end);
		c += 5;
		if (code >= 0xD800 && code <= 0xDBFF && end - c >= 6 && c[0] == '\\' && c[1] == 'u')
		{
			int low = hex4(c + 2, end);

			if (low < 0xDC00 || low > 0xDFFF)
				return NULL;
			code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
			c += 6;
		}
		if (code <= 0 || (code >= 0xD800 && code <= 0xDFFF))
			return NULL;
		unicode_to_utf8(code, utf8);
		appendStringInfoString(&text, (char *) utf8);
	}
	return text.data;
}

/*
 * The scalar at a path as text, palloc'd: of a string what it says, of a number or boolean
 * its spelling.  NULL when there is none, when it is null, an array or an object, or when
 * the page is broken.  Raises nothing.
 */
char *
page_value(const char *body, size_t length, List *path)
{
	split_result found;
	const char *value;
	size_t value_length;

	split_records(body, length, path, &found);
	if (found.problem != NULL || found.count != 1)
		return NULL;
	value = body + found.records[0].offset;
	value_length = found.records[0].length;
	if (value[0] == '"')
		return unescape(value + 1, value + value_length - 1);
	if (value[0] == '{' || value[0] == '[' || (value_length == 4 && memcmp(value, "null", 4) == 0))
		return NULL;
	return pnstrdup(value, value_length);
}
