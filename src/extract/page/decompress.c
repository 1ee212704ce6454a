/*-------------------------------------------------------------------------
 *
 * decompress.c
 *	  Bodies that are compressed files.
 *
 * Not to be mixed up with Content-Encoding, which the http room undoes: that is how an
 * answer travels, this is what it is.  A server that sends a .gz file may do either, so
 * the first bytes decide unless the task says what they have to be.  The size is capped
 * while decompressing, and an end that comes too early is never taken for the end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#ifdef ETL_ZSTD
#include <zstd.h>
#include <zstd_errors.h>
#endif

#include "extract/page/decompress.h"
#include "http/inflate.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* Output grows by doubling, and is filled by no more than this between two interrupts. */
#define OUTPUT_STEP (256 * 1024)

/* gzip headers only, with the largest window */
#define GZIP_WINDOW (MAX_WBITS + 16)

/* Decompressed bytes, with room for a NUL behind them. */
typedef struct output
{
	char *data;
	size_t length;
	size_t capacity;
	size_t limit; /* of length */
} output;

static bool has_prefix(const char *body, size_t length, const char *prefix, size_t prefix_length);
static page_compression detect(const char *body, size_t length);
static const char *foreign_format(const char *body, size_t length);
static size_t make_room(output *out);
static bool too_large(const output *out, size_t offset, page_failure *failure);
static bool gunzip(const char *body, size_t length, output *out, page_failure *failure);
static bool unzstd(const char *body, size_t length, output *out, page_failure *failure);

/*
 * The compression an option names; false when there is none of that name.
 */
bool
compression_by_name(const char *name, page_compression *compression)
{
	static const char *const names[] = {
		[COMPRESSION_AUTO] = "auto",
		[COMPRESSION_NONE] = "none",
		[COMPRESSION_GZIP] = "gzip",
		[COMPRESSION_ZSTD] = "zstd",
	};

	for (int i = 0; i < lengthof(names); i++)
	{
		if (strcmp(names[i], name) == 0)
		{
			*compression = (page_compression) i;
			return true;
		}
	}
	return false;
}

static bool
has_prefix(const char *body, size_t length, const char *prefix, size_t prefix_length)
{
	return length >= prefix_length && memcmp(body, prefix, prefix_length) == 0;
}

/* What the first bytes say.  None of these begins a text. */
static page_compression
detect(const char *body, size_t length)
{
	if (has_prefix(body, length, "\x1f\x8b", 2))
		return COMPRESSION_GZIP;
	if (has_prefix(body, length, "\x28\xb5\x2f\xfd", 4))
		return COMPRESSION_ZSTD;
	/* a skippable frame may come first */
	if (length >= 4 && ((unsigned char) body[0] & 0xf0) == 0x50 &&
		memcmp(body + 1, "\x2a\x4d\x18", 3) == 0)
		return COMPRESSION_ZSTD;
	return COMPRESSION_NONE;
}

/* Formats that are often met and not read: their bytes must not be taken for records. */
static const char *
foreign_format(const char *body, size_t length)
{
	static const struct
	{
		const char *prefix;
		size_t length;
		const char *name;
	} formats[] = {
		{"PK\x03\x04", 4, "a zip archive"},		{"BZh91AY&SY", 10, "a bzip2 file"},
		{"\xfd\x37zXZ\x00", 6, "an xz file"},	{"7z\xbc\xaf\x27\x1c", 6, "a 7z archive"},
		{"\x04\x22\x4d\x18", 4, "an lz4 file"}, {"PAR1\x15", 5, "a Parquet file"},
	};

	for (int i = 0; i < lengthof(formats); i++)
	{
		if (has_prefix(body, length, formats[i].prefix, formats[i].length))
			return formats[i].name;
	}
	return NULL;
}

/* Room for more output: at least one byte beyond the limit, where too much shows. */
static size_t
make_room(output *out)
{
	if (out->capacity - out->length < 2)
	{
		size_t capacity = Min(out->capacity * 2, out->limit + 2);

		out->data = repalloc_huge(out->data, capacity);
		out->capacity = capacity;
	}
	CHECK_FOR_INTERRUPTS();
	return Min(out->capacity - out->length - 1, OUTPUT_STEP);
}

static bool
too_large(const output *out, size_t offset, page_failure *failure)
{
	return page_is_unreadable(
		failure, ERRCODE_FDW_ERROR, offset,
		psprintf("it has more than %zu bytes when it is decompressed", out->limit),
		"Raise the server's max_body_size, or ask for smaller files.");
}

/* Inflate to the end; gunzip frees what it holds. */
static bool
inflate_members(inflater *inflater, size_t length, output *out, page_failure *failure)
{
	z_stream *stream = &inflater->stream;
	bool complete = false;

	for (;;)
	{
		size_t room;
		size_t offset;
		int result;

		if (complete)
		{
			while (stream->avail_in > 0 && *stream->next_in == 0)
			{
				stream->next_in++;
				stream->avail_in--;
			}
			if (stream->avail_in == 0)
				return true;
			if (memcmp(stream->next_in, "\x1f\x8b", Min(stream->avail_in, 2)) != 0)
				return page_is_unreadable(failure, ERRCODE_INVALID_BINARY_REPRESENTATION,
										  length - stream->avail_in,
										  "something follows the end of the gzip file", NULL);
			inflater_restart(inflater);
			complete = false;
		}
		room = make_room(out);
		stream->next_out = (Bytef *) out->data + out->length;
		stream->avail_out = (uInt) room;
		result = inflater_run(inflater);
		out->length += room - stream->avail_out;
		offset = length - stream->avail_in;
		if (out->length > out->limit)
			return too_large(out, offset, failure);
		if (result == Z_STREAM_END)
			complete = true;
		else if (result == Z_MEM_ERROR)
			ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
		else if (result == Z_BUF_ERROR && stream->avail_in == 0)
			return page_is_broken(failure, offset, "the gzip file is cut short");
		else if (result != Z_OK && result != Z_BUF_ERROR)
			return page_is_broken(failure, offset, "the gzip file is damaged");
	}
}

/*
 * All members of a gzip file, one after another.  Zeros behind the last one are padding,
 * anything else there is not of the file.
 */
static bool
gunzip(const char *body, size_t length, output *out, page_failure *failure)
{
	inflater inflater;
	volatile bool whole = false;

	inflater_start(&inflater, GZIP_WINDOW);
	/* zlib never writes through next_in; a body has less than 4 GB */
	inflater.stream.next_in = (Bytef *) unconstify(char *, body);
	inflater.stream.avail_in = (uInt) length;
	PG_TRY();
	{
		whole = inflate_members(&inflater, length, out, failure);
	}
	PG_FINALLY();
	{
		inflater_end(&inflater);
	}
	PG_END_TRY();
	return whole;
}

#ifdef ETL_ZSTD

/* What an error of libzstd means; between_frames: it was noticed at the start of one. */
static bool
zstd_failed(size_t result, bool between_frames, size_t offset, page_failure *failure)
{
	switch (ZSTD_getErrorCode(result))
	{
		case ZSTD_error_memory_allocation:
			ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
			break;
		case ZSTD_error_frameParameter_windowTooLarge:
		case ZSTD_error_dictionary_wrong:
			return page_is_unreadable(
				failure, ERRCODE_FEATURE_NOT_SUPPORTED, offset,
				psprintf("the zstd file cannot be decompressed: %s", ZSTD_getErrorName(result)),
				"Windows up to 128 MB are read, and no dictionaries.");
		case ZSTD_error_prefix_unknown:
			if (between_frames)
				return page_is_unreadable(failure, ERRCODE_INVALID_BINARY_REPRESENTATION, offset,
										  "something follows the end of the zstd file", NULL);
			break;
		default:
			break;
	}
	return page_is_broken(failure, offset,
						  psprintf("the zstd file is damaged: %s", ZSTD_getErrorName(result)));
}

/* Decompress to the end; unzstd frees what the context holds. */
static bool
decompress_frames(ZSTD_DCtx *context, ZSTD_inBuffer *in, output *out, page_failure *failure)
{
	size_t wanted = 1; /* 0: at the end of a frame */

	while (wanted != 0 || in->pos < in->size)
	{
		ZSTD_outBuffer to = {.size = make_room(out)};
		size_t start = in->pos;
		bool between_frames = wanted == 0;

		to.dst = out->data + out->length;
		wanted = ZSTD_decompressStream(context, &to, in);
		out->length += to.pos;
		if (ZSTD_isError(wanted))
			return zstd_failed(wanted, between_frames, between_frames ? start : in->pos, failure);
		if (out->length > out->limit)
			return too_large(out, in->pos, failure);
		if (wanted != 0 && in->pos == in->size && to.pos < to.size)
			return page_is_broken(failure, in->pos, "the zstd file is cut short");
	}
	return true;
}

/* All frames of a zstd file, one after another. */
static bool
unzstd(const char *body, size_t length, output *out, page_failure *failure)
{
	ZSTD_DCtx *context = ZSTD_createDCtx();
	ZSTD_inBuffer in = {.src = body, .size = length};
	volatile bool whole = false;

	if (context == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	PG_TRY();
	{
		whole = decompress_frames(context, &in, out, failure);
	}
	PG_FINALLY();
	{
		ZSTD_freeDCtx(context);
	}
	PG_END_TRY();
	return whole;
}

#else

static bool
unzstd(const char *body, size_t length, output *out, page_failure *failure)
{
	return page_is_unreadable(failure, ERRCODE_FEATURE_NOT_SUPPORTED, 0,
							  "it is a zstd file, and etl was built without libzstd",
							  "Build etl again where pkg-config finds libzstd.");
}

#endif /* ETL_ZSTD */

/*
 * The bytes of a body, decompressed when it is compressed.  *plain is the body itself or
 * palloc'd in the current context, with a NUL behind it; no more than "limit" bytes.
 * Returns false, with the failure, when that cannot be done.  Raises what
 * CHECK_FOR_INTERRUPTS() raises, and when there is no memory.
 */
bool
decompress_body(page_compression wanted, const char *body, size_t length, size_t limit,
				const char **plain, size_t *plain_length, page_failure *failure)
{
	page_compression found = detect(body, length);
	output out = {.limit = limit};

	*plain = body;
	*plain_length = length;
	if (wanted == COMPRESSION_NONE)
		return true;
	if (wanted == COMPRESSION_AUTO)
	{
		const char *foreign = foreign_format(body, length);

		if (foreign != NULL)
			return page_is_unreadable(failure, ERRCODE_FEATURE_NOT_SUPPORTED, 0,
									  psprintf("it is %s", foreign),
									  "Compressed files are read when they are gzip or zstd.");
		if (found == COMPRESSION_NONE)
			return true;
	}
	else if (length == 0)
		return page_is_broken(failure, 0, "the compressed file is empty");
	else if (found != wanted)
		return page_is_broken(failure, 0,
							  wanted == COMPRESSION_GZIP ? "it is not a gzip file"
														 : "it is not a zstd file");

	out.capacity = Min(Max(length * 4, OUTPUT_STEP), limit + 2);
	out.data = MemoryContextAllocHuge(CurrentMemoryContext, out.capacity);
	if (!(found == COMPRESSION_GZIP ? gunzip : unzstd)(body, length, &out, failure))
	{
		pfree(out.data);
		return false;
	}
	out.data[out.length] = '\0';
	*plain = out.data;
	*plain_length = out.length;
	return true;
}
