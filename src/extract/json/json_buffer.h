/*-------------------------------------------------------------------------
 *
 * json_buffer.h
 *	  JSON text that is made, up to a limit.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_JSON_BUFFER_H
#define ETL_JSON_BUFFER_H

#include "postgres.h"

/* JSON that is made; what would pass the limit is not written. */
typedef struct json_buffer
{
	char *data;
	size_t length;
	size_t capacity;
	size_t limit;
	bool full;
} json_buffer;

extern bool json_make_room(json_buffer *out, size_t more);
extern void json_append_escaped(json_buffer *out, char c);
extern char *json_string(const char *text, size_t length);

static inline void
json_append(json_buffer *out, const char *bytes, size_t length)
{
	if (out->length + length + 1 > out->capacity && !json_make_room(out, length))
		return;
	memcpy(out->data + out->length, bytes, length);
	out->length += length;
}

#endif /* ETL_JSON_BUFFER_H */
