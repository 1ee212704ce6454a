/*-------------------------------------------------------------------------
 *
 * fuzz_content_encoding.c
 *	  http_decode() on any bytes, in pieces of any size.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "http/transfer.h"

#define LIMIT 65536

/*
 * Input: the name of a coding, a line feed, a byte that says how long pieces are, a body.  A
 * decoded body is never longer than the limit, and what was decoded is let go.
 */
FUZZ_TARGET(content_encoding)
{
	char *name = fuzz_take_line(&input, &size);
	http_decoder decoder = {.coding = http_coding_of(name, strlen(name))};
	http_buffer body = {.context = CurrentMemoryContext, .limit = LIMIT};
	http_error error = HTTP_OK;
	size_t piece;

	if (size < 1)
		return;
	piece = (unsigned char) input[0] + 1;
	for (size_t at = 1; at < size && error == HTTP_OK; at += piece)
	{
		error = http_decode(&decoder, &body, input + at, Min(piece, size - at));
		if (error == HTTP_OK)
			fuzz_require(body.length <= LIMIT);
		fuzz_require(body.data == NULL || body.data[body.length] == '\0');
	}
	(void) http_decode_is_whole(&decoder);
	http_decode_end(&decoder);
	http_buffer_free(&body);
}
