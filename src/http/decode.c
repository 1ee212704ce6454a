/*-------------------------------------------------------------------------
 *
 * decode.c
 *	  The body of an answer: a bounded buffer, and gzip decoded into it.
 *
 * libcurl would decode too, but it takes a compressed stream that ends too early
 * for a whole one, which loses records without a word.  Nothing here raises: it
 * runs inside curl's callbacks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "http/transfer.h"
#include "utils/memutils.h"

#define INFLATE_CHUNK (16 * 1024)

/* gzip or zlib header, found by zlib itself, with the largest window */
#define INFLATE_WINDOW (MAX_WBITS + 32)

/*
 * Make room for "more" bytes and a NUL behind the buffer's length, whatever its
 * limit.  False when there is no memory; the buffer is then as before.
 */
bool
http_buffer_reserve(http_buffer *buffer, size_t more)
{
	size_t wanted = buffer->length + more + 1;
	size_t capacity = Max(buffer->capacity, 1024);
	char *data;

	if (wanted <= buffer->capacity)
		return true;
	while (capacity < wanted)
		capacity *= 2;

	data =
		MemoryContextAllocExtended(buffer->context, capacity, MCXT_ALLOC_NO_OOM | MCXT_ALLOC_HUGE);
	if (data == NULL)
		return false;
	if (buffer->data != NULL)
	{
		memcpy(data, buffer->data, buffer->length);
		pfree(buffer->data);
	}
	data[buffer->length] = '\0';
	buffer->data = data;
	buffer->capacity = capacity;
	return true;
}

/*
 * Append bytes.  False when there is no memory; the caller watches the limit.
 */
bool
http_buffer_append(http_buffer *buffer, const char *data, size_t length)
{
	if (!http_buffer_reserve(buffer, length))
		return false;
	memcpy(buffer->data + buffer->length, data, length);
	buffer->length += length;
	buffer->data[buffer->length] = '\0';
	return true;
}

/*
 * Empty the buffer and give its memory back.
 */
void
http_buffer_free(http_buffer *buffer)
{
	if (buffer->data != NULL)
		pfree(buffer->data);
	buffer->data = NULL;
	buffer->length = 0;
	buffer->capacity = 0;
}

/*
 * The coding that a Content-Encoding value (not NUL-terminated, may be empty) asks
 * for.  A list of codings is not supported: we never ask for one.
 */
http_coding
http_coding_of(const char *value, size_t length)
{
	static const struct
	{
		const char *name;
		http_coding coding;
	} codings[] = {
		{"gzip", HTTP_CODING_ZLIB},	   {"x-gzip", HTTP_CODING_ZLIB},
		{"deflate", HTTP_CODING_ZLIB}, {"identity", HTTP_CODING_IDENTITY},
		{"", HTTP_CODING_IDENTITY},
	};

	for (int i = 0; i < lengthof(codings); i++)
	{
		if (strlen(codings[i].name) == length &&
			pg_strncasecmp(codings[i].name, value, length) == 0)
			return codings[i].coding;
	}
	return HTTP_CODING_UNSUPPORTED;
}

/*
 * Inflate into the body.  See http_decode for the result.
 */
static http_error
inflate_into(http_decoder *decoder, http_buffer *body, const char *data, size_t length)
{
	z_stream *stream = &decoder->inflater.stream;

	if (!decoder->started)
	{
		inflater_start(&decoder->inflater, INFLATE_WINDOW);
		decoder->started = true;
		decoder->complete = false;
	}

	/* zlib never writes through next_in; curl hands over small pieces (uInt is enough) */
	stream->next_in = (Bytef *) unconstify(char *, data);
	stream->avail_in = (uInt) length;

	for (;;)
	{
		size_t room = Min((size_t) INFLATE_CHUNK, body->limit + 1 - body->length);
		int result;

		if (decoder->complete)
		{
			/* Members may follow each other; servers also pad with zeros. */
			while (stream->avail_in > 0 && *stream->next_in == 0)
			{
				stream->next_in++;
				stream->avail_in--;
			}
			if (stream->avail_in == 0)
				return HTTP_OK;
			inflater_restart(&decoder->inflater);
			decoder->complete = false;
		}

		if (!http_buffer_reserve(body, room))
			return HTTP_ERROR_OTHER;
		stream->next_out = (Bytef *) body->data + body->length;
		stream->avail_out = (uInt) room;
		result = inflater_run(&decoder->inflater);
		body->length += room - stream->avail_out;
		body->data[body->length] = '\0';

		if (body->length > body->limit)
			return HTTP_ERROR_TOO_LARGE;
		if (result == Z_STREAM_END)
			decoder->complete = true;
		else if (result == Z_BUF_ERROR)
			return HTTP_OK; /* wants more input */
		else if (result == Z_MEM_ERROR)
			return HTTP_ERROR_OTHER;
		else if (result != Z_OK)
			return HTTP_ERROR_DECODE;
	}
}

/*
 * Decode a piece of a body and append it to "body".  Returns HTTP_OK,
 * HTTP_ERROR_TOO_LARGE when the decoded body passes the buffer's limit,
 * HTTP_ERROR_DECODE when it is broken, HTTP_ERROR_OTHER when there is no memory.
 */
http_error
http_decode(http_decoder *decoder, http_buffer *body, const char *data, size_t length)
{
	if (length == 0)
		return HTTP_OK;

	switch (decoder->coding)
	{
		case HTTP_CODING_ZLIB:
			return inflate_into(decoder, body, data, length);
		case HTTP_CODING_UNSUPPORTED:
			return HTTP_ERROR_DECODE;
		case HTTP_CODING_IDENTITY:
			break;
	}

	if (length > body->limit - body->length)
		return HTTP_ERROR_TOO_LARGE;
	if (!http_buffer_append(body, data, length))
		return HTTP_ERROR_OTHER;
	return HTTP_OK;
}

/*
 * Did the body end where its coding says it ends?  A body without a single byte is
 * left to the caller, who knows whether the answer may have none.
 */
bool
http_decode_is_whole(const http_decoder *decoder)
{
	return !decoder->started || decoder->complete;
}

/*
 * Free what decoding took, and make ready for another body.
 */
void
http_decode_end(http_decoder *decoder)
{
	if (decoder->started)
		inflater_end(&decoder->inflater);
	memset(decoder, 0, sizeof(*decoder));
}
