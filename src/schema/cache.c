/*-------------------------------------------------------------------------
 *
 * cache.c
 *	  Compiled schemas of this backend, the least recently used dropped first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "lib/ilist.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "schema/compile.h"

#define CACHE_MAX_ENTRIES 128
#define CACHE_MAX_BYTES (64 * 1024 * 1024)

typedef struct cache_entry
{
	uint64 digest;
	compiled_schema *schema;
} cache_entry;

typedef struct schema_pin
{
	MemoryContextCallback callback;
	compiled_schema *schema;
} schema_pin;

static HTAB *cache = NULL;
static dlist_head by_use = DLIST_STATIC_INIT(by_use); /* most recent first */
static Size cached_bytes = 0;

static void free_unused(compiled_schema *schema);
static void forget(compiled_schema *schema);
static void remember(compiled_schema *schema);
static compiled_schema *find_cached(const Jsonb *source, uint64 digest);
static void unpin(void *argument);
static void pin(compiled_schema *schema, MemoryContext owner);

/*
 * Frees a schema that neither the cache nor a user holds.
 */
static void
free_unused(compiled_schema *schema)
{
	if (!schema->is_cached && schema->pins == 0)
		MemoryContextDelete(schema->context);
}

/*
 * Takes a schema out of the cache; its users keep it.
 */
static void
forget(compiled_schema *schema)
{
	hash_search(cache, &schema->digest, HASH_REMOVE, NULL);
	dlist_delete(&schema->link);
	schema->is_cached = false;
	cached_bytes -= MemoryContextMemAllocated(schema->context, true);
	free_unused(schema);
}

static void
remember(compiled_schema *schema)
{
	cache_entry *entry;
	bool found;

	if (cache == NULL)
	{
		HASHCTL control = {0};

		control.keysize = sizeof(uint64);
		control.entrysize = sizeof(cache_entry);
		control.hcxt = CacheMemoryContext;
		cache = hash_create("compiled JSON Schemas", CACHE_MAX_ENTRIES, &control,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(cache, &schema->digest, HASH_ENTER, &found);
	Assert(!found);
	entry->schema = schema;
	MemoryContextSetParent(schema->context, CacheMemoryContext);
	schema->is_cached = true;
	dlist_push_head(&by_use, &schema->link);
	cached_bytes += MemoryContextMemAllocated(schema->context, true);

	while (dlist_has_next(&by_use, dlist_head_node(&by_use)) &&
		   (hash_get_num_entries(cache) > CACHE_MAX_ENTRIES || cached_bytes > CACHE_MAX_BYTES))
		forget(dlist_tail_element(compiled_schema, link, &by_use));
}

/*
 * The schema in the cache, if it is there and current.
 */
static compiled_schema *
find_cached(const Jsonb *source, uint64 digest)
{
	cache_entry *entry = cache == NULL ? NULL : hash_search(cache, &digest, HASH_FIND, NULL);

	if (entry == NULL)
		return NULL;
	if (schema_is_stale(entry->schema) || VARSIZE(entry->schema->source) != VARSIZE(source) ||
		memcmp(VARDATA(entry->schema->source), VARDATA(source), VARSIZE(source) - VARHDRSZ) != 0)
	{
		forget(entry->schema);
		return NULL;
	}
	dlist_move_head(&by_use, &entry->schema->link);
	return entry->schema;
}

static void
unpin(void *argument)
{
	schema_pin *held = argument;

	held->schema->pins--;
	free_unused(held->schema);
}

/*
 * Keeps a schema for as long as a memory context.
 */
static void
pin(compiled_schema *schema, MemoryContext owner)
{
	schema_pin *held = MemoryContextAlloc(owner, sizeof(schema_pin));

	held->schema = schema;
	held->callback.func = unpin;
	held->callback.arg = held;
	schema->pins++;
	MemoryContextRegisterResetCallback(owner, &held->callback);
}

/*
 * See schema.h.
 */
bool
schema_is_stale(const compiled_schema *schema)
{
	return schema->uses_registry && schema->generation != schema_registry_generation();
}

/*
 * See schema.h.
 */
const compiled_schema *
schema_acquire(const Jsonb *source, MemoryContext owner)
{
	uint64 digest =
		hash_bytes_extended((const unsigned char *) VARDATA(source), VARSIZE(source) - VARHDRSZ, 0);
	compiled_schema *schema = find_cached(source, digest);

	if (schema == NULL)
	{
		schema = schema_compile(source, "", false);
		schema->digest = digest;
		/* what a parallel query's snapshot shows of the registry may be out of date */
		if (schema->uses_registry && IsInParallelMode())
		{
			MemoryContextSetParent(schema->context, owner);
			return schema;
		}
		remember(schema);
	}
	pin(schema, owner);
	return schema;
}
