/*-------------------------------------------------------------------------
 *
 * fuzz_module.c
 *	  libFuzzer in a backend, so that what is fuzzed has the real palloc, ereport and jsonb.
 *
 * Linked with all of etl's sources, which are built with -fsanitize=fuzzer-no-link,
 * address,undefined, and loaded into a single-user server by scripts/fuzz.sh.  Its one SQL
 * function hands the process to libFuzzer and never returns.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <dlfcn.h>
#include <sanitizer/allocator_interface.h>
#include <signal.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/elog.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "fuzz.h"

PG_FUNCTION_INFO_V1(etl_fuzz);

typedef void (*fuzz_target)(const char *input, size_t size);

extern int LLVMFuzzerRunDriver(int *argc, char ***argv,
							   int (*run_one)(const uint8_t *data, size_t size));

static fuzz_target target;

/*
 * Prints what does not hold and ends the process, which makes libFuzzer keep the input.
 */
void
fuzz_violated(const char *condition, const char *file, int line)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
	abort();
}

/*
 * Runs a step that may raise; returns the error's code, or 0.  An internal error, which no
 * input may cause, ends the process.  Catalogs may be read in it.
 */
int
fuzz_try(fuzz_step step, void *argument)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile int code = 0;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		step(argument);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		code = error->sqlerrcode;
		if (ERRCODE_TO_CATEGORY(code) == ERRCODE_INTERNAL_ERROR)
			fuzz_violated(error->message, error->filename, error->lineno);
		FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return code;
}

/*
 * The input as a string, up to its first NUL if it has one, palloc'd.
 */
char *
fuzz_text(const char *input, size_t size)
{
	return pnstrdup(input, strnlen(input, size));
}

/*
 * Takes the first line off the input: a palloc'd string without the line's end.
 */
char *
fuzz_take_line(const char **input, size_t *size)
{
	const char *end = memchr(*input, '\n', *size);
	size_t length = end ? end - *input : *size;
	char *line = fuzz_text(*input, length);

	*input += end ? length + 1 : length;
	*size -= end ? length + 1 : length;
	return line;
}

/*
 * Runs the target on one input; returns the bytes allocated that were not freed again.
 */
static long
run_target(const char *input, size_t size)
{
	size_t before = __sanitizer_get_current_allocated_bytes();
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "fuzz input", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	PG_TRY();
	{
		target(input, size);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		fuzz_violated(psprintf("nothing is raised: %s", error->message), error->filename,
					  error->lineno);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return (long) (__sanitizer_get_current_allocated_bytes() - before);
}

/*
 * One input, for libFuzzer.  What grows at first may be a cache; what grows by the same
 * input again and again leaks.
 */
static int
run_one(const uint8_t *data, size_t size)
{
	/* the address of an empty array is not for memchr and its like */
	const char *input = size == 0 ? "" : (const char *) data;

	if (run_target(input, size) > 0)
		fuzz_require(run_target(input, size) <= 0 || run_target(input, size) <= 0 ||
					 run_target(input, size) <= 0);
	return 0;
}

/*
 * SQL: etl_fuzz(target text, arguments text[]) RETURNS void.  The arguments are libFuzzer's.
 * Does not return.
 */
Datum
etl_fuzz(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Datum *arguments;
	int count;
	int argc = 0;
	char **argv;
	int signals[] = {SIGALRM, SIGINT, SIGTERM, SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE};

	target = (fuzz_target) dlsym(RTLD_DEFAULT, psprintf("fuzz_%s", name));
	if (target == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("no fuzz target \"%s\"", name)));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &arguments, NULL,
					  &count);
	argv = palloc0(sizeof(char *) * (count + 2));
	argv[argc++] = name;
	for (int i = 0; i < count; i++)
		argv[argc++] = TextDatumGetCString(arguments[i]);

	/* libFuzzer leaves handlers alone that are set */
	for (int i = 0; i < lengthof(signals); i++)
		signal(signals[i], SIG_DFL);
	LLVMFuzzerRunDriver(&argc, &argv, run_one);
	exit(0);
}
