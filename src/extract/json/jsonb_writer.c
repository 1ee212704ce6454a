/*-------------------------------------------------------------------------
 *
 * jsonb_writer.c
 *	  JSON text to JSONB, without going through jsonb_in.
 *
 * The text becomes a tape of nodes (json_tape.c), and the nodes are written as JSONB is
 * stored (src/include/utils/jsonb.h; the form on disk is the same since 9.4): byte for byte
 * what jsonb_in makes of the text.  Nothing here raises except for want of memory, and
 * depth costs no stack.
 *
 * Positions in what is written are 32 bits wide: JSONB has less than 2^28 bytes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/memutils.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#include "extract/json/json_number.h"
#include "extract/json/json_shapes.h"
#include "extract/json/json_tape.h"
#include "extract/json/jsonb_writer.h"

/* What the root may hold, and hence every part: lengths are stored in so many bits. */
#define MAX_BYTES (VARHDRSZ + (size_t) JENTRY_OFFLENMASK)

/* Room is made for a bit more, since what a number needs is estimated: less than this. */
#define ESTIMATE_BYTES (128 * 1024)

/* Between pages not more than this is kept of each buffer. */
#define KEPT_BYTES (1024 * 1024)

/* An array or object that is being written. */
typedef struct open_container
{
	uint32 start;	/* in the output; padding before it is a part of it */
	uint32 entries; /* where its JEntries are */
	uint32 count;	/* elements or members */
	uint32 written; /* how many of them are */
	uint32 total;	/* bytes that the JEntries written so far stand for */
	uint32 next;	/* arrays: the node of the next element */
	uint32 members; /* objects: where the nodes of their keys are, in order */
	bool is_object;
} open_container;

struct jsonb_writer
{
	json_tape tape;
	json_shapes shapes;
	char *out;
	size_t allocated;
	size_t length;
	uint32 *members; /* of the open objects: nodes of keys, a stack */
	size_t members_allocated;
	size_t members_used;
	open_container open[JSON_MAX_DEPTH + 1]; /* a scalar at the root has an array around it */
	uint32 depth;
};

/*
 * Makes a writer.  It and its buffers live in a context of their own below "parent".
 */
jsonb_writer *
jsonb_writer_create(MemoryContext parent)
{
	MemoryContext context =
		AllocSetContextCreate(parent, "etl jsonb writer", ALLOCSET_DEFAULT_SIZES);
	jsonb_writer *writer = MemoryContextAllocZero(context, sizeof(jsonb_writer));

	writer->tape.context = context;
	return writer;
}

/* Makes the output larger.  False: it would be too large for JSONB. */
static pg_noinline bool
grow_output(jsonb_writer *w, size_t bytes)
{
	size_t allocated;

	if (bytes > MAX_BYTES + ESTIMATE_BYTES - w->length)
		return false;
	allocated = Max(w->allocated * 2, Max(w->length + bytes, 8192));
	allocated = Min(allocated, MAX_BYTES + ESTIMATE_BYTES);
	w->out = w->out == NULL ? MemoryContextAllocHuge(w->tape.context, allocated)
							: repalloc_huge(w->out, allocated);
	w->allocated = allocated;
	return true;
}

/* Sees to it that so many bytes more fit.  False: they would not fit into JSONB. */
static inline bool
reserve(jsonb_writer *w, size_t bytes)
{
	return likely(bytes <= w->allocated - w->length) || grow_output(w, bytes);
}

/* Fills up to a multiple of four; there is room. */
static inline void
pad(jsonb_writer *w)
{
	while (w->length % sizeof(uint32) != 0)
		w->out[w->length++] = '\0';
}

/* Sets a JEntry of a container: every so many hold where the value ends, the others its length. */
static inline void
set_entry(jsonb_writer *w, open_container *c, uint32 index, uint32 type, uint32 length)
{
	JEntry *entries = (JEntry *) (w->out + c->entries);

	c->total += length;
	entries[index] =
		index % JB_OFFSET_STRIDE == 0 ? type | JENTRY_HAS_OFF | c->total : type | length;
}

/*
 * The node after a value.
 */
static inline uint32
skip_node(const json_node *nodes, uint32 node)
{
	return nodes[node].kind >= JSON_ARRAY ? nodes[node].u.container.end : node + 1;
}

/*
 * Puts the members of an object on the stack, in the order of JSONB.  Returns how many
 * there are, without those that a later one replaces.
 */
static uint32
order_members(jsonb_writer *w, uint32 object)
{
	const json_node *nodes = w->tape.nodes;
	uint32 count = nodes[object].size;
	size_t needed = w->members_used + 3 * (size_t) count;
	uint32 *ordered;
	uint32 *keys;
	uint32 key = object + 1;

	if (needed > w->members_allocated)
	{
		size_t allocated = Max(Max(needed, w->members_allocated * 2), 1024);

		w->members = w->members == NULL
						 ? MemoryContextAllocHuge(w->tape.context, sizeof(uint32) * allocated)
						 : repalloc_huge(w->members, sizeof(uint32) * allocated);
		w->members_allocated = allocated;
	}
	ordered = w->members + w->members_used;
	keys = ordered + count;
	for (uint32 i = 0; i < count; i++)
	{
		keys[i] = key;
		key = skip_node(nodes, key + 1);
	}
	count = json_shapes_order(&w->shapes, nodes, nodes[object].u.container.shape, keys, count,
							  ordered, keys + count);
	w->members_used += count;
	return count;
}

/* Writes the header of a container and leaves room for its JEntries.  False: too large. */
static bool
write_header(jsonb_writer *w, open_container *c, uint32 header, uint32 entries)
{
	c->start = w->length;
	c->written = 0;
	c->total = 0;
	if (!reserve(w, 2 * sizeof(uint32) + sizeof(JEntry) * (size_t) entries))
		return false;
	pad(w);
	*(uint32 *) (w->out + w->length) = header;
	w->length += sizeof(uint32);
	c->entries = w->length;
	w->length += sizeof(JEntry) * entries;
	return true;
}

/* Begins an array or object; the keys of an object are written, too.  False: too large. */
static bool
open_node(jsonb_writer *w, uint32 index)
{
	open_container *c = &w->open[w->depth++];
	const json_node *nodes = w->tape.nodes;

	c->is_object = nodes[index].kind == JSON_OBJECT;
	if (!c->is_object)
	{
		c->count = nodes[index].size;
		c->next = index + 1;
		return write_header(w, c, c->count | JB_FARRAY, c->count);
	}
	c->members = w->members_used;
	c->count = order_members(w, index);
	if (!write_header(w, c, c->count | JB_FOBJECT, 2 * c->count))
		return false;
	for (uint32 i = 0; i < c->count; i++)
	{
		const json_node *key = &nodes[w->members[c->members + i]];

		if (!reserve(w, key->size))
			return false;
		memcpy(w->out + w->length, key->u.text, key->size);
		w->length += key->size;
		set_entry(w, c, i, JENTRY_ISSTRING, key->size);
	}
	return true;
}

/* Begins the array that JSONB has around a scalar at the root.  False: too large. */
static bool
open_scalar(jsonb_writer *w)
{
	open_container *c = &w->open[w->depth++];

	c->is_object = false;
	c->count = 1;
	c->next = 0;
	return write_header(w, c, 1 | JB_FARRAY | JB_FSCALAR, 1);
}

/* Writes a scalar; sets the type for its JEntry.  False: too large. */
static inline bool
write_scalar(jsonb_writer *w, const json_node *node, uint32 *type)
{
	switch ((json_kind) node->kind)
	{
		case JSON_STRING:
			*type = JENTRY_ISSTRING;
			if (!reserve(w, node->size))
				return false;
			memcpy(w->out + w->length, node->u.text, node->size);
			w->length += node->size;
			return true;
		case JSON_SMALL_NUMBER:
		case JSON_NUMBER:
			*type = JENTRY_ISNUMERIC;
			if (!reserve(w, sizeof(uint32) + (node->kind == JSON_NUMBER ? json_number_bytes(node)
																		: JSON_SMALL_NUMBER_BYTES)))
				return false;
			pad(w);
			w->length += json_number_write(node, w->out + w->length);
			return true;
		case JSON_FALSE:
			*type = JENTRY_ISBOOL_FALSE;
			return true;
		case JSON_TRUE:
			*type = JENTRY_ISBOOL_TRUE;
			return true;
		case JSON_NULL:
		case JSON_ARRAY:
		case JSON_OBJECT:
			break;
	}
	*type = JENTRY_ISNULL;
	return true;
}

/* Writes what the tape holds.  False: too large. */
static bool
write_document(jsonb_writer *w)
{
	const json_node *nodes = w->tape.nodes;
	open_container *c = w->open;

	w->length = 0;
	w->depth = 0;
	w->members_used = 0;
	if (!reserve(w, VARHDRSZ))
		return false;
	w->length = VARHDRSZ;
	if (!(nodes[0].kind >= JSON_ARRAY ? open_node(w, 0) : open_scalar(w)))
		return false;
	for (;;)
	{
		uint32 index; /* of the value */
		uint32 entry; /* of its JEntry */
		uint32 start;
		uint32 type;

		if (c->written == c->count)
		{
			start = c->start;
			if (c->is_object)
				w->members_used = c->members;
			if (--w->depth == 0)
				break;
			c--;
			entry = (c->is_object ? c->count : 0) + c->written++;
			set_entry(w, c, entry, JENTRY_ISCONTAINER, w->length - start);
			continue;
		}
		if (c->is_object)
			index = w->members[c->members + c->written] + 1;
		else
		{
			index = c->next;
			c->next = skip_node(nodes, index);
		}
		if (nodes[index].kind >= JSON_ARRAY)
		{
			if (!open_node(w, index))
				return false;
			c++;
			continue;
		}
		start = w->length;
		if (!write_scalar(w, &nodes[index], &type))
			return false;
		entry = (c->is_object ? c->count : 0) + c->written++;
		set_entry(w, c, entry, type, w->length - start);
	}
	if (w->length > MAX_BYTES)
		return false;
	SET_VARSIZE(w->out, w->length);
	return true;
}

/* Notes an error that is not one of syntax.  Returns NULL. */
static Jsonb *
refuse(json_error *error, int sql_state, size_t offset, const char *message)
{
	error->sql_state = sql_state;
	error->offset = offset;
	strlcpy(error->message, message, sizeof(error->message));
	return NULL;
}

/* Names the byte that is not UTF-8, or is a NUL. */
static Jsonb *
refuse_encoding(json_error *error, const char *document, size_t length, size_t offset)
{
	char bytes[8 * 5 + 1] = "";
	int shown = Min(pg_utf_mblen((const unsigned char *) document + offset), length - offset);

	error->sql_state = ERRCODE_CHARACTER_NOT_IN_REPERTOIRE;
	error->offset = offset;
	if (document[offset] == '\0')
	{
		snprintf(error->message, sizeof(error->message),
				 "the record contains a NUL byte (byte %lu)", (unsigned long) offset);
		return NULL;
	}
	for (int i = 0; i < shown; i++)
		snprintf(bytes + 5 * i, 6, " 0x%02x", (unsigned char) document[offset + i]);
	snprintf(error->message, sizeof(error->message),
			 "invalid byte sequence for encoding \"UTF8\":%s (byte %lu)", bytes,
			 (unsigned long) offset);
	return NULL;
}

/*
 * JSON text to JSONB.  document: length bytes, not terminated, as they were received.
 * Only for databases whose encoding is UTF8.  Returns what jsonb_in returns for the text,
 * palloc'd in the current context; or NULL when the text is refused, with the reason in
 * *error.  Raises only for want of memory.
 */
Jsonb *
jsonb_write(jsonb_writer *writer, const char *document, size_t length, json_error *error)
{
	size_t valid;
	Jsonb *result;

	if (length >= JSON_MAX_LENGTH)
		return refuse(error, ERRCODE_PROGRAM_LIMIT_EXCEEDED, 0, "the record is too large");
	valid = pg_encoding_verifymbstr(PG_UTF8, document, length);
	if (valid != length)
		return refuse_encoding(error, document, length, valid);
	if (!json_tape_parse(&writer->tape, document, length, error))
		return NULL;
	if (!write_document(writer))
		return refuse(error, ERRCODE_PROGRAM_LIMIT_EXCEEDED, 0,
					  "the record is larger than jsonb can hold");
	result = palloc(writer->length);
	memcpy(result, writer->out, writer->length);
	return result;
}

/* Frees a buffer that has grown large. */
static void
trim(void **buffer, size_t *allocated, size_t element)
{
	if (*allocated * element > KEPT_BYTES)
	{
		pfree(*buffer);
		*buffer = NULL;
		*allocated = 0;
	}
}

/*
 * Gives back what a large document needed; to be called when a page is done.
 */
void
jsonb_writer_trim(jsonb_writer *writer)
{
	trim((void **) &writer->out, &writer->allocated, 1);
	trim((void **) &writer->members, &writer->members_allocated, sizeof(uint32));
	trim((void **) &writer->tape.nodes, &writer->tape.allocated, sizeof(json_node));
	trim((void **) &writer->tape.text, &writer->tape.text_allocated, 1);
}
