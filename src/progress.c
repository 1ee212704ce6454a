/*-------------------------------------------------------------------------
 *
 * progress.c
 *	  What a worker does right now, and what it found out.
 *
 * Both must be seen although, or after, the worker's transaction is not: activity goes to
 * pg_stat_activity, which knows no transactions, and evidence of a publication is kept in
 * memory that a rollback does not reach.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "pgstat.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "progress.h"

static char subject[256] = "";
static StringInfo evidence = NULL; /* the notes of this publication, comma-separated */

PG_FUNCTION_INFO_V1(etl_report);
PG_FUNCTION_INFO_V1(etl_note);

/*
 * Says what the following reports are about, e.g. "shop 2026-11-19 raw.orders".
 */
void
progress_set_subject(const char *new_subject)
{
	strlcpy(subject, new_subject, sizeof(subject));
	subject[pg_mbcliplen(subject, strlen(subject), sizeof(subject) - 1)] = '\0';
}

/*
 * Shows an activity to other sessions at once: the query of pg_stat_activity, which
 * etl.progress reads.  The text must hold no secret.  Needs no transaction.
 */
void
progress_report(const char *format, ...)
{
	char activity[1024];
	int length;
	va_list args;

	length = snprintf(activity, sizeof(activity), "%s%s", subject, subject[0] ? ": " : "");
	va_start(args, format);
	vsnprintf(activity + length, sizeof(activity) - length, format, args);
	va_end(args);
	pgstat_report_activity(STATE_RUNNING, activity);
}

/* SQL: etl._report(text) */
Datum
etl_report(PG_FUNCTION_ARGS)
{
	progress_report("%s", text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}

/*
 * SQL: etl._note(jsonb).  Kept in TopMemoryContext until evidence_reset().
 */
Datum
etl_note(PG_FUNCTION_ARGS)
{
	Jsonb *note = PG_GETARG_JSONB_P(0);
	char *as_text = JsonbToCString(NULL, &note->root, VARSIZE(note));

	if (evidence == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		evidence = makeStringInfo();
		MemoryContextSwitchTo(old);
	}
	if (evidence->len > 0)
		appendStringInfoChar(evidence, ',');
	appendStringInfoString(evidence, as_text);
	PG_RETURN_VOID();
}

/* Forgets the notes so far: before each publication. */
void
evidence_reset(void)
{
	if (evidence != NULL)
		resetStringInfo(evidence);
}

/* The notes so far as a jsonb array, palloc'd in the current context. */
Datum
evidence_as_jsonb(void)
{
	char *array = psprintf("[%s]", evidence == NULL ? "" : evidence->data);

	return DirectFunctionCall1(jsonb_in, CStringGetDatum(array));
}
