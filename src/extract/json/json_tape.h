/*-------------------------------------------------------------------------
 *
 * json_tape.h
 *	  A JSON document as a flat list of its nodes, in the order of the text.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_JSON_TAPE_H
#define ETL_JSON_TAPE_H

#include "postgres.h"

/*
 * How deep a document may nest.  jsonb_in ends where the stack does, at some 12,000 levels
 * with the default max_stack_depth; less than half of that, so that what was loaded can be
 * restored from a dump on any server.
 */
#define JSON_MAX_DEPTH 5000

/* Longer documents are refused; positions in them fit into 32 bits with room to spare. */
#define JSON_MAX_LENGTH (MaxAllocSize / 2)

/* Why a document is refused. */
typedef struct json_error
{
	int sql_state;
	size_t offset; /* of the byte where it shows, in the document */
	char message[256];
} json_error;

typedef enum json_kind
{
	JSON_NULL,
	JSON_FALSE,
	JSON_TRUE,
	JSON_STRING,
	JSON_SMALL_NUMBER, /* its digits fit into a machine word */
	JSON_NUMBER,	   /* as text; known to fit into numeric */
	JSON_ARRAY,
	JSON_OBJECT
} json_kind;

/*
 * A value, or the key of a member.  A container is followed by what is in it: elements, or
 * keys and values in turn.
 */
typedef struct json_node
{
	uint8 kind;
	bool negative; /* small numbers */
	uint8 scale;   /* small numbers: digits after the point */
	uint32 size;   /* strings, numbers: bytes; containers: elements or members */
	union
	{
		const char *text; /* strings without escapes, numbers; not terminated */
		uint64 digits;	  /* small numbers, without sign and point */
		struct
		{
			uint32 end;	  /* the node after all that is in the container */
			uint32 shape; /* objects: a hash of the keys, in their order */
		} container;
	} u;
} json_node;

/* An array or object whose end has not been read. */
typedef struct json_open
{
	uint32 node;
	uint32 size;  /* of what contains it, so far */
	uint32 shape; /* likewise */
} json_open;

/* All that parsing needs, to be used again for the next document. */
typedef struct json_tape
{
	MemoryContext context; /* of the two buffers */
	json_node *nodes;	   /* the document's is the first */
	size_t allocated;
	size_t count;
	char *text; /* strings that had escapes */
	size_t text_allocated;
	size_t text_used;
	json_open open[JSON_MAX_DEPTH];
} json_tape;

extern bool json_tape_parse(json_tape *tape, const char *document, size_t length,
							json_error *error);

#endif /* ETL_JSON_TAPE_H */
