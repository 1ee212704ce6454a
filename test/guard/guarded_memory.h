/*-------------------------------------------------------------------------
 *
 * guarded_memory.h
 *	  Makes AddressSanitizer see into PostgreSQL's memory contexts.
 *
 * Included in front of every source file (-include) of a sanitized build, never in a
 * product.  A memory context cuts its chunks out of larger blocks, so that running over
 * the end of one, or using it after pfree or a reset, stays inside memory that malloc knows
 * as valid.  Here
 *
 *	- contexts that this library creates give each chunk of more than 8 bytes a block of
 *	  its own: malloc, realloc and free see every allocation, also those that the server's
 *	  functions make there;
 *	- the bytes between the end of what was asked for and the next multiple of 8 are
 *	  poisoned, for what this library's own code allocates.
 *
 * The first needs the limit of AllocSetContext from which on a chunk has its own block, a
 * private field: guard_context() looks at what it finds before it writes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_GUARDED_MEMORY_H
#define ETL_GUARDED_MEMORY_H

#include "postgres.h"

#include <sanitizer/asan_interface.h>

#include "lib/stringinfo.h"
#include "nodes/memnodes.h"
#include "utils/memutils.h"

#if PG_VERSION_NUM >= 170000
typedef uint32 guarded_size;
#else
typedef Size guarded_size;
#endif

/* The beginning of aset.c's AllocSetContext. */
typedef struct guarded_set
{
	MemoryContextData header;
	void *blocks;
	void *freelist[11];
	guarded_size initial_block_size;
	guarded_size maximal_block_size;
	guarded_size next_block_size;
	guarded_size chunk_limit;
} guarded_set;

/* Chunks up to this size share blocks: palloc(0) has to get one of them in 15. */
#define GUARD_SHARED_SIZE 8

/*
 * Gives the chunks of a context that is empty blocks of their own; returns the context.
 */
static inline MemoryContext
guard_context(MemoryContext context, Size initial_block_size, Size maximal_block_size)
{
	guarded_set *set = (guarded_set *) context;

	if (context->type == T_AllocSetContext && set->initial_block_size == initial_block_size &&
		set->maximal_block_size == maximal_block_size &&
		set->next_block_size == initial_block_size &&
		(set->chunk_limit == GUARD_SHARED_SIZE ||
		 (set->chunk_limit >= 64 && set->chunk_limit <= 8192)))
		set->chunk_limit = GUARD_SHARED_SIZE;
	else
		elog(FATAL, "AllocSetContext is not as guarded_memory.h expects");
	return context;
}

/*
 * Poisons what follows a chunk's bytes up to the next multiple of 8; not in contexts of the
 * server, which would hand the chunk out again without asking.
 */
static inline void *
guard_tail(void *chunk, Size size)
{
	MemoryContext context = chunk ? GetMemoryChunkContext(chunk) : NULL;

	if (size > GUARD_SHARED_SIZE && size % 8 != 0 && context != NULL &&
		context->type == T_AllocSetContext &&
		((guarded_set *) context)->chunk_limit == GUARD_SHARED_SIZE)
		__asan_poison_memory_region((char *) chunk + size, 8 - size % 8);
	return chunk;
}

static inline char *
guard_string(char *string)
{
	return guard_tail(string, strlen(string) + 1);
}

static inline MemoryContext
guarded_context_create(MemoryContext parent, const char *name, Size minimal, Size initial,
					   Size maximal)
{
	return guard_context(AllocSetContextCreateInternal(parent, name, minimal, initial, maximal),
						 initial, maximal);
}

static inline void *
guarded_palloc(Size size)
{
	return guard_tail(palloc(size), size);
}

static inline void *
guarded_palloc0(Size size)
{
	return guard_tail(palloc0(size), size);
}

static inline void *
guarded_palloc_extended(Size size, int flags)
{
	return guard_tail(palloc_extended(size, flags), size);
}

static inline void *
guarded_context_alloc(MemoryContext context, Size size)
{
	return guard_tail(MemoryContextAlloc(context, size), size);
}

static inline void *
guarded_context_alloc_zero(MemoryContext context, Size size)
{
	return guard_tail(MemoryContextAllocZero(context, size), size);
}

static inline void *
guarded_context_alloc_extended(MemoryContext context, Size size, int flags)
{
	return guard_tail(MemoryContextAllocExtended(context, size, flags), size);
}

static inline void *
guarded_repalloc(void *chunk, Size size)
{
	return guard_tail(repalloc(chunk, size), size);
}

static inline char *
guarded_pnstrdup(const char *text, Size length)
{
	return guard_string(pnstrdup(text, length));
}

static inline char *
guarded_pstrdup(const char *text)
{
	return guard_string(pstrdup(text));
}

#undef AllocSetContextCreate
#define AllocSetContextCreate(parent, name, ...) guarded_context_create(parent, name, __VA_ARGS__)
#define palloc(size) guarded_palloc(size)
#define palloc0(size) guarded_palloc0(size)
#define palloc_extended(size, flags) guarded_palloc_extended(size, flags)
#define MemoryContextAlloc(context, size) guarded_context_alloc(context, size)
#define MemoryContextAllocZero(context, size) guarded_context_alloc_zero(context, size)
#define MemoryContextAllocExtended(context, size, flags)                                           \
	guarded_context_alloc_extended(context, size, flags)
#define repalloc(chunk, size) guarded_repalloc(chunk, size)
#define pnstrdup(text, length) guarded_pnstrdup(text, length)
#define pstrdup(text) guarded_pstrdup(text)

#endif /* ETL_GUARDED_MEMORY_H */
