/*-------------------------------------------------------------------------
 *
 * json_view.h
 *	  Reading JSONB in place: values, members and elements without a copy.
 *
 * A json_view points into the datum it was made from and lives as long as that.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SCHEMA_JSON_VIEW_H
#define ETL_SCHEMA_JSON_VIEW_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/numeric.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

typedef enum json_kind
{
	JV_NULL,
	JV_BOOLEAN,
	JV_NUMBER,
	JV_STRING,
	JV_ARRAY,
	JV_OBJECT,
} json_kind;

typedef struct json_view
{
	json_kind kind;
	int length; /* bytes of a string, elements of an array, members of an object */
	union
	{
		const char *string; /* not terminated */
		Numeric number;
		bool boolean;
		const JsonbContainer *container;
	} u;
} json_view;

/* Walks the elements of an array or the members of an object, in stored order. */
typedef struct json_walk
{
	const JsonbContainer *container;
	const char *data;
	uint32 count;
	uint32 next;
	uint32 key_offset;
	uint32 value_offset;
} json_walk;

extern void json_view_root(const Jsonb *jsonb, json_view *out);
extern void json_walk_start(json_walk *walk, const json_view *container);
extern bool json_find(const json_view *object, const char *key, int length, json_view *out);
extern bool json_find_name(const json_view *object, const char *key, json_view *out);
extern bool json_element(const json_view *array, uint32 index, json_view *out);
extern bool json_equal(const json_view *a, const json_view *b);
extern uint64 json_hash(const json_view *value, uint64 seed);
extern char *json_text(const json_view *value);

/*
 * The order of keys inside a JSONB object: by length, then by bytes.
 */
static inline int
json_key_compare(const char *a, int a_length, const char *b, int b_length)
{
	if (a_length != b_length)
		return a_length < b_length ? -1 : 1;
	return memcmp(a, b, a_length);
}

/*
 * The value that a JEntry describes; data starts at offset and ends before end.
 */
static inline void
json_view_entry(JEntry entry, const char *data, uint32 offset, uint32 end, json_view *out)
{
	switch (entry & JENTRY_TYPEMASK)
	{
		case JENTRY_ISSTRING:
			out->kind = JV_STRING;
			out->length = end - offset;
			out->u.string = data + offset;
			break;
		case JENTRY_ISNUMERIC:
			out->kind = JV_NUMBER;
			out->length = 0;
			out->u.number = (Numeric) (data + INTALIGN(offset));
			break;
		case JENTRY_ISBOOL_FALSE:
		case JENTRY_ISBOOL_TRUE:
			out->kind = JV_BOOLEAN;
			out->length = 0;
			out->u.boolean = (entry & JENTRY_TYPEMASK) == JENTRY_ISBOOL_TRUE;
			break;
		case JENTRY_ISCONTAINER:
			out->u.container = (const JsonbContainer *) (data + INTALIGN(offset));
			out->kind = JsonContainerIsObject(out->u.container) ? JV_OBJECT : JV_ARRAY;
			out->length = JsonContainerSize(out->u.container);
			break;
		default:
			out->kind = JV_NULL;
			out->length = 0;
			break;
	}
}

/*
 * The next element of an array; false after the last.
 */
static inline bool
json_walk_element(json_walk *walk, json_view *value)
{
	JEntry entry;
	uint32 start = walk->value_offset;

	if (walk->next >= walk->count)
		return false;
	entry = walk->container->children[walk->next++];
	JBE_ADVANCE_OFFSET(walk->value_offset, entry);
	json_view_entry(entry, walk->data, start, walk->value_offset, value);
	return true;
}

/*
 * The next member of an object; false after the last.
 */
static inline bool
json_walk_member(json_walk *walk, const char **key, int *key_length, json_view *value)
{
	JEntry entry;
	uint32 start = walk->key_offset;

	if (walk->next >= walk->count)
		return false;
	JBE_ADVANCE_OFFSET(walk->key_offset, walk->container->children[walk->next]);
	*key = walk->data + start;
	*key_length = walk->key_offset - start;

	start = walk->value_offset;
	entry = walk->container->children[walk->count + walk->next++];
	JBE_ADVANCE_OFFSET(walk->value_offset, entry);
	json_view_entry(entry, walk->data, start, walk->value_offset, value);
	return true;
}

#endif /* ETL_SCHEMA_JSON_VIEW_H */
