/*-------------------------------------------------------------------------
 *
 * fuzz.h
 *	  What a fuzz target is, and what it may use.
 *
 * A target is a file fuzz_NAME.c with one FUZZ_TARGET(NAME), and seeds in corpus/NAME/; there
 * is no list of them.  It runs in a backend, in a memory context that is deleted after each
 * input, and must neither raise nor leave memory behind.  What it calls and may raise is
 * called by fuzz_try().
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_FUZZ_H
#define ETL_FUZZ_H

#include "postgres.h"
#include "nodes/pg_list.h"

#include "compat.h"

/* The input is exactly so long; nothing may be read behind it. */
#define FUZZ_TARGET(name)                                                                          \
	extern PGDLLEXPORT void fuzz_##name(const char *input, size_t size);                           \
	void fuzz_##name(const char *input, size_t size)

/* Something that must hold for every input, also in a build without assertions. */
#define fuzz_require(condition)                                                                    \
	((condition) ? (void) 0 : fuzz_violated(#condition, __FILE__, __LINE__))

typedef void (*fuzz_step)(void *argument);

/* fuzz_module.c */
extern int fuzz_try(fuzz_step step, void *argument);
extern char *fuzz_text(const char *input, size_t size);
extern char *fuzz_take_line(const char **input, size_t *size);
extern void fuzz_violated(const char *condition, const char *file, int line)
	pg_attribute_noreturn();

/* fuzz_json.c */
extern int64 fuzz_count_values(const char *json, size_t length, List *path);

#endif /* ETL_FUZZ_H */
