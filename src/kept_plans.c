/*-------------------------------------------------------------------------
 *
 * kept_plans.c
 *	  Statements that are planned once and run many times.
 *
 * A worker runs the same dozen statements for every page.  Their plans are kept for the
 * life of the process, a bounded number of them; PostgreSQL plans one again by itself when
 * what it depends on has changed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "executor/spi.h"
#include "utils/memutils.h"

#include "kept_plans.h"

/* How many statements are kept planned: all that a worker has, and those of some raw tables. */
#define KEPT_STATEMENTS 64

/* A statement and its plan, which PostgreSQL revalidates when what it depends on changes. */
typedef struct kept_statement
{
	uint32 hash;
	char *query; /* NULL: the place is free */
	int nargs;
	Oid *types;
	SPIPlanPtr plan;
	int running;	  /* calls that are under way */
	uint64 last_used; /* by the count of calls */
} kept_statement;

static kept_statement kept[KEPT_STATEMENTS];
static uint64 calls = 0;

/* Forgets a statement. */
static void
drop_statement(kept_statement *statement)
{
	char *query = statement->query;
	Oid *types = statement->types;
	SPIPlanPtr plan = statement->plan;

	memset(statement, 0, sizeof(*statement));
	SPI_freeplan(plan);
	pfree(types);
	pfree(query);
}

/* The place of a statement that is kept; NULL when it is not. */
static kept_statement *
find_statement(uint32 hash, const char *query, int nargs, const Oid *types)
{
	for (int i = 0; i < KEPT_STATEMENTS; i++)
	{
		kept_statement *statement = &kept[i];

		if (statement->query != NULL && statement->hash == hash && statement->nargs == nargs &&
			(nargs == 0 || memcmp(statement->types, types, sizeof(Oid) * nargs) == 0) &&
			strcmp(statement->query, query) == 0)
			return statement;
	}
	return NULL;
}

/*
 * A place for one more statement: a free one, or that of the statement whose last call is
 * longest ago.  One that is running, in a trigger's caller, keeps its plan.  NULL: all are.
 */
static kept_statement *
free_place(void)
{
	kept_statement *oldest = NULL;

	for (int i = 0; i < KEPT_STATEMENTS; i++)
	{
		if (kept[i].query == NULL)
			return &kept[i];
		if (kept[i].running == 0 && (oldest == NULL || kept[i].last_used < oldest->last_used))
			oldest = &kept[i];
	}
	if (oldest != NULL)
		drop_statement(oldest);
	return oldest;
}

/* Prepares a statement and keeps it.  NULL: there is no place for it. */
static kept_statement *
keep_statement(uint32 hash, const char *query, int nargs, Oid *types)
{
	SPIPlanPtr plan = SPI_prepare(query, nargs, types);
	kept_statement *place;
	char *query_copy;
	Oid *types_copy;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s: %s", SPI_result_code_string(SPI_result), query);
	place = free_place();
	if (place == NULL)
		return NULL;
	query_copy = MemoryContextStrdup(TopMemoryContext, query);
	types_copy = MemoryContextAlloc(TopMemoryContext, sizeof(Oid) * Max(nargs, 1));
	if (nargs > 0)
		memcpy(types_copy, types, sizeof(Oid) * nargs);
	SPI_keepplan(plan);
	place->hash = hash;
	place->query = query_copy;
	place->nargs = nargs;
	place->types = types_copy;
	place->plan = plan;
	return place;
}

/*
 * Runs a statement as SPI_execute_with_args() does, and keeps its plan for the next call
 * with the same text and the same types.  SPI is connected.  Returns SPI's code; raises
 * what the statement raises.
 */
int
kept_plan_execute(const char *query, int nargs, Oid *types, Datum *values, const char *nulls)
{
	uint32 hash = DatumGetUInt32(hash_any((const unsigned char *) query, strlen(query)));
	kept_statement *volatile statement = find_statement(hash, query, nargs, types);
	volatile int code = 0;

	if (statement == NULL)
		statement = keep_statement(hash, query, nargs, types);
	if (statement == NULL)
		return SPI_execute_with_args(query, nargs, types, values, nulls, false, 0);
	statement->running++;
	statement->last_used = ++calls;
	PG_TRY();
	{
		code = SPI_execute_plan(statement->plan, values, nulls, false, 0);
	}
	PG_FINALLY();
	{
		statement->running--;
	}
	PG_END_TRY();
	return code;
}
