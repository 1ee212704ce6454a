/*-------------------------------------------------------------------------
 *
 * regress.c
 *	  Entry points of the regression tests.
 *
 * No SQL of the extension declares them; a superuser's test does.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "extract/source/rate_budget.h"
#include "extract/source/source.h"

PG_FUNCTION_INFO_V1(etl_regress_take);
PG_FUNCTION_INFO_V1(etl_regress_hide_secrets);
PG_FUNCTION_INFO_V1(etl_regress_link);

/*
 * SQL: (server text, wanted integer, times integer, unused integer) RETURNS integer.  Takes
 * requests from the server's budget so often, within the transaction that is open, and
 * gives some back after each time; returns how many it got.
 */
Datum
etl_regress_take(PG_FUNCTION_ARGS)
{
	source *from = source_open(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	rate_budget *budget = rate_budget_open(from->name, from->rate_windows);
	TimestampTz until;
	int taken = 0;

	for (int i = 0; i < PG_GETARG_INT32(2); i++)
	{
		taken += rate_budget_take(budget, PG_GETARG_INT32(1), &until);
		rate_budget_return(budget, PG_GETARG_INT32(3));
	}
	rate_budget_close(budget);
	PG_RETURN_INT32(taken);
}

/*
 * SQL: (server text, said text) RETURNS text: what is shown of what a source says.
 */
Datum
etl_regress_hide_secrets(PG_FUNCTION_ARGS)
{
	source *from = source_open(text_to_cstring(PG_GETARG_TEXT_PP(0)));

	PG_RETURN_TEXT_P(
		cstring_to_text(source_hide_secrets(from, text_to_cstring(PG_GETARG_TEXT_PP(1)))));
}

/*
 * SQL: (server text, url text) RETURNS text: what is kept of a link that a source gives.
 */
Datum
etl_regress_link(PG_FUNCTION_ARGS)
{
	source *from = source_open(text_to_cstring(PG_GETARG_TEXT_PP(0)));

	PG_RETURN_TEXT_P(
		cstring_to_text(source_without_credentials(from, text_to_cstring(PG_GETARG_TEXT_PP(1)))));
}
