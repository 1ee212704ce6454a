/*-------------------------------------------------------------------------
 *
 * json_buffer.c
 *	  JSON text that is made, up to a limit.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "extract/json/json_buffer.h"
#include "utils/memutils.h"

/*
 * Room for more bytes and a NUL; false, once and for all, when that would pass the limit.
 */
bool
json_make_room(json_buffer *out, size_t more)
{
	size_t wanted = out->length + more + 1;

	if (out->full)
		return false;
	if (wanted <= out->capacity)
		return true;
	if (wanted > out->limit)
	{
		out->full = true;
		return false;
	}
	out->capacity = Min(Max(wanted, out->capacity * 2), out->limit);
	out->data = repalloc_huge(out->data, out->capacity);
	return true;
}

/*
 * Appends a byte of a JSON string.
 */
void
json_append_escaped(json_buffer *out, char c)
{
	static const char hex[] = "0123456789abcdef";
	char escape[6] = {'\\', 'u', '0', '0', hex[(unsigned char) c >> 4 & 15], hex[c & 15]};

	switch (c)
	{
		case '"':
		case '\\':
			escape[1] = c;
			json_append(out, escape, 2);
			break;
		case '\n':
			json_append(out, "\\n", 2);
			break;
		case '\r':
			json_append(out, "\\r", 2);
			break;
		case '\t':
			json_append(out, "\\t", 2);
			break;
		default:
			if ((unsigned char) c < ' ')
				json_append(out, escape, 6);
			else
				json_append(out, &c, 1);
	}
}

/*
 * A text as a JSON string, palloc'd.
 */
char *
json_string(const char *text, size_t length)
{
	json_buffer out = {.data = palloc(64), .capacity = 64, .limit = MaxAllocHugeSize};

	json_append(&out, "\"", 1);
	for (size_t i = 0; i < length; i++)
		json_append_escaped(&out, text[i]);
	json_append(&out, "\"", 2);
	return out.data;
}
