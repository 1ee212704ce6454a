/*-------------------------------------------------------------------------
 *
 * text.c
 *	  Texts counted by length, which may hold NUL: shown, converted, counted.
 *
 * PostgreSQL's own functions for text in another encoding than UTF-8 end at a NUL, so here
 * they are given what is between two of them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/json.h"

#include "schema/text.h"

/*
 * The length of a text up to its first NUL.
 */
static int
length_to_nul(const char *text, int length)
{
	const char *nul = memchr(text, '\0', length);

	return nul == NULL ? length : nul - text;
}

/*
 * Appends a text to a message, NUL as \u0000: what reads the message ends at a NUL.
 */
void
text_append_shown(StringInfo out, const char *text, int length)
{
	for (;;)
	{
		int piece = length_to_nul(text, length);

		appendBinaryStringInfo(out, text, piece);
		if (piece == length)
			return;
		appendStringInfoString(out, "\\u0000");
		text += piece + 1;
		length -= piece + 1;
	}
}

/*
 * A text for a message, terminated, NUL as \u0000; palloc'd.
 */
char *
text_shown(const char *text, int length)
{
	StringInfoData out;

	initStringInfo(&out);
	text_append_shown(&out, text, length);
	return out.data;
}

/*
 * Appends a text as a JSON string.
 */
void
text_append_json(StringInfo out, const char *text, int length)
{
	StringInfoData quoted;

	initStringInfo(&quoted);
	appendStringInfoChar(out, '"');
	for (;;)
	{
		int piece = length_to_nul(text, length);
		char *terminated = pnstrdup(text, piece);

		resetStringInfo(&quoted);
		escape_json(&quoted, terminated);
		appendBinaryStringInfo(out, quoted.data + 1, quoted.len - 2);
		pfree(terminated);
		if (piece == length)
			break;
		appendStringInfoString(out, "\\u0000");
		text += piece + 1;
		length -= piece + 1;
	}
	appendStringInfoChar(out, '"');
	pfree(quoted.data);
}

/*
 * How many of a text's bytes are whole characters within limit bytes.
 */
int
text_clip(const char *text, int length, int limit)
{
	int clipped = 0;

	limit = Min(limit, length);
	for (;;)
	{
		int piece = length_to_nul(text + clipped, limit - clipped);

		clipped += pg_mbcliplen(text + clipped, piece, piece);
		if (clipped >= limit || text[clipped] != '\0')
			return clipped;
		clipped++;
	}
}

/*
 * The length of a text in characters (code points).
 */
int64
text_count_characters(const char *text, int length)
{
	int64 count = 0;

	if (GetDatabaseEncoding() == PG_UTF8)
	{
		for (int i = 0; i < length; i++)
			count += (text[i] & 0xC0) != 0x80;
		return count;
	}
	for (;;)
	{
		int piece = length_to_nul(text, length);

		count += pg_mbstrlen_with_len(text, piece);
		if (piece == length)
			return count;
		count++;
		text += piece + 1;
		length -= piece + 1;
	}
}

/*
 * A text of the database's encoding in UTF-8: itself where that is the same, else palloc'd.
 */
char *
text_to_utf8(const char *text, int length, int *utf8_length)
{
	StringInfoData out;

	*utf8_length = length;
	if (GetDatabaseEncoding() == PG_UTF8)
		return unconstify(char *, text);
	initStringInfo(&out);
	for (;;)
	{
		int piece = length_to_nul(text, length);
		char *converted = pg_server_to_any(text, piece, PG_UTF8);

		if (converted == text)
			appendBinaryStringInfo(&out, text, piece);
		else
		{
			appendStringInfoString(&out, converted);
			pfree(converted);
		}
		if (piece == length)
			break;
		appendStringInfoChar(&out, '\0');
		text += piece + 1;
		length -= piece + 1;
	}
	*utf8_length = out.len;
	return out.data;
}
