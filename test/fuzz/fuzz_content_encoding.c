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
 * A whole body by zlib alone, which has to be what was decoded, and is whole if it is whole
 * to zlib: ISA-L knows nothing better, but for tables of codes that zlib is strict about.
 */
static void
compare_with_zlib(const char *input, size_t size, const http_buffer *body, bool whole)
{
	z_stream stream = {.next_in = (Bytef *) unconstify(char *, input), .avail_in = (uInt) size};
	char *plain = palloc(LIMIT + 1);
	int result;

	fuzz_require(inflateInit2(&stream, MAX_WBITS + 32) == Z_OK);
	stream.next_out = (Bytef *) plain;
	stream.avail_out = LIMIT + 1;
	do
	{
		result = inflate(&stream, Z_NO_FLUSH);
		if (result == Z_STREAM_END)
		{
			while (stream.avail_in > 0 && *stream.next_in == 0)
			{
				stream.next_in++;
				stream.avail_in--;
			}
			if (stream.avail_in > 0)
				result = inflateReset2(&stream, MAX_WBITS + 32);
		}
	} while (result == Z_OK && stream.avail_out > 0);
	if (result == Z_STREAM_END && stream.avail_out > 0)
	{
		fuzz_require(whole && body->length == LIMIT + 1 - stream.avail_out);
		fuzz_require(body->length == 0 || memcmp(body->data, plain, body->length) == 0);
	}
	inflateEnd(&stream);
	pfree(plain);
}

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
	if (decoder.coding == HTTP_CODING_ZLIB && size > 1)
		compare_with_zlib(input + 1, size - 1, &body,
						  error == HTTP_OK && http_decode_is_whole(&decoder));
	http_decode_end(&decoder);
	http_buffer_free(&body);
}
