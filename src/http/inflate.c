/*-------------------------------------------------------------------------
 *
 * inflate.c
 *	  zlib's inflate, and ISA-L's for gzip where there is one: a third of the time.
 *
 * A build finds ISA-L by pkg-config (libisal) and does without it.  What is not gzip by its
 * first byte is always zlib's.  Nothing here raises: it runs inside curl's callbacks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#ifdef ETL_ISAL
#include <isa-l/igzip_lib.h>
#endif

#include "http/inflate.h"
#include "utils/memutils.h"

/* The header of a gzip member (RFC 1952): its fixed part, and the flags in byte 3. */
#define GZIP_HEADER_BYTES 10
#define GZIP_HAS_CHECKSUM 0x02
#define GZIP_HAS_EXTRA 0x04
#define GZIP_HAS_NAME 0x08
#define GZIP_HAS_COMMENT 0x10
#define GZIP_RESERVED 0xe0

/*
 * Makes ready for a stream.  What it takes outlives any error, until inflater_end.
 * window: as inflateInit2 has it, with 16 or 32 added.
 */
void
inflater_start(inflater *inflater, int window)
{
	memset(inflater, 0, sizeof(*inflater));
	inflater->window = window;
}

#ifdef ETL_ISAL

/* One step of a gzip member, with zlib's results. */
static int
run_gzip(inflater *inflater)
{
	struct inflate_state *state = inflater->gzip;
	z_stream *stream = &inflater->stream;
	uInt in_before = stream->avail_in;
	uInt out_before = stream->avail_out;
	int result;

	state->next_in = unconstify(uint8_t *, (const uint8_t *) stream->next_in);
	state->avail_in = stream->avail_in;
	state->next_out = stream->next_out;
	state->avail_out = stream->avail_out;
	result = isal_inflate(state);
	stream->next_in = state->next_in;
	stream->avail_in = state->avail_in;
	stream->next_out = state->next_out;
	stream->avail_out = state->avail_out;
	if (result < 0)
		return Z_DATA_ERROR;
	if (state->block_state == ISAL_BLOCK_FINISH)
		return Z_STREAM_END;
	return stream->avail_in == in_before && stream->avail_out == out_before ? Z_BUF_ERROR : Z_OK;
}

/*
 * The length of the gzip header that bytes begin with; 0 when it is none, or is not there
 * whole, or has a checksum of its own: such are rare and zlib's.
 */
static size_t
gzip_header_length(const unsigned char *bytes, size_t length)
{
	size_t header = GZIP_HEADER_BYTES;

	if (length < header || bytes[0] != 0x1f || bytes[1] != 0x8b || bytes[2] != Z_DEFLATED ||
		(bytes[3] & (GZIP_RESERVED | GZIP_HAS_CHECKSUM)) != 0)
		return 0;
	if (bytes[3] & GZIP_HAS_EXTRA)
	{
		if (length < header + 2)
			return 0;
		header += 2 + bytes[header] + 256 * (size_t) bytes[header + 1];
	}
	for (int flag = GZIP_HAS_NAME; flag <= GZIP_HAS_COMMENT; flag <<= 1)
	{
		const unsigned char *end;

		if ((bytes[3] & flag) == 0)
			continue;
		end = header < length ? memchr(bytes + header, '\0', length - header) : NULL;
		if (end == NULL)
			return 0;
		header = end + 1 - bytes;
	}
	return header <= length ? header : 0;
}

/*
 * Lets ISA-L do the member that next_in begins with, if it is gzip and there is memory for
 * it.  The header is read here, because ISA-L's own reader fails when it comes in pieces.
 */
static void
choose(inflater *inflater)
{
	z_stream *stream = &inflater->stream;
	size_t header = gzip_header_length(stream->next_in, stream->avail_in);
	struct inflate_state *state;

	if (header == 0)
		return;
	state = MemoryContextAllocExtended(TopMemoryContext, sizeof(*state), MCXT_ALLOC_NO_OOM);
	if (state == NULL)
		return;
	isal_inflate_init(state);
	state->crc_flag = ISAL_GZIP_NO_HDR_VER;
	inflater->gzip = state;
	stream->next_in += header;
	stream->avail_in -= header;
}

#endif /* ETL_ISAL */

/*
 * Inflates from next_in to next_out as inflate() does, and returns what it returns.
 */
int
inflater_run(inflater *inflater)
{
	if (!inflater->initiated && inflater->gzip == NULL)
	{
		if (inflater->stream.avail_in == 0)
			return Z_BUF_ERROR;
#ifdef ETL_ISAL
		choose(inflater);
#endif
		if (inflater->gzip == NULL)
		{
			int result = inflateInit2(&inflater->stream, inflater->window);

			if (result != Z_OK)
				return result;
			inflater->initiated = true;
		}
	}
#ifdef ETL_ISAL
	if (inflater->gzip != NULL)
		return run_gzip(inflater);
#endif
	return inflate(&inflater->stream, Z_NO_FLUSH);
}

/*
 * After Z_STREAM_END: another stream follows in what is left of next_in.
 */
void
inflater_restart(inflater *inflater)
{
	z_const Bytef *next_in = inflater->stream.next_in;
	uInt avail_in = inflater->stream.avail_in;

	inflater_end(inflater);
	memset(&inflater->stream, 0, sizeof(inflater->stream));
	inflater->stream.next_in = next_in;
	inflater->stream.avail_in = avail_in;
}

/*
 * Gives back what the stream took.  Harmless when it has been done, or nothing started.
 */
void
inflater_end(inflater *inflater)
{
	if (inflater->initiated)
		inflateEnd(&inflater->stream);
	inflater->initiated = false;
	if (inflater->gzip != NULL)
		pfree(inflater->gzip);
	inflater->gzip = NULL;
}
