/*-------------------------------------------------------------------------
 *
 * source_quota.c
 *	  What a source has said about its quotas, kept for other extractions.
 *
 * A process that begins knows what the last one was told: it does not send a request to find
 * out that there is no quota left, and takes the token that has the most.  What is kept
 * names no secret: credentials are told apart by a digest.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "call_sql.h"
#include "extract/source/credentials.h"
#include "extract/source/token_pool.h"

/* A wait that is shorter is not worth a transaction. */
#define MIN_NEWS_US (5 * USECS_PER_SEC)

/* Bytes of a digest that are kept. */
#define DIGEST_BYTES 16

/* A digest of what a quota belongs to, in hex, palloc'd; "" for a source that asks for nothing. */
static char *
digest_of(const source *from, const pool_token *token)
{
	static const char digits[] = "0123456789abcdef";
	const credentials *c = from->credentials;
	const char *what = token->value;
	uint8 digest[PG_SHA256_DIGEST_LENGTH];
	char *text = palloc0(2 * DIGEST_BYTES + 1);
	pg_cryptohash_ctx *context;

	if (what == NULL && c->oauth != NULL)
		what = psprintf("%s %s", c->oauth->token_url, c->oauth->client_id);
	else if (what == NULL && c->tokens != NIL)
		what = ((pool_token *) linitial(c->tokens))->value;
	if (what == NULL)
		return text;
	context = pg_cryptohash_create(PG_SHA256);
	if (context == NULL || pg_cryptohash_init(context) < 0 ||
		pg_cryptohash_update(context, (const uint8 *) what, strlen(what)) < 0 ||
		pg_cryptohash_final(context, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute a digest");
	pg_cryptohash_free(context);
	for (int i = 0; i < DIGEST_BYTES; i++)
	{
		text[2 * i] = digits[digest[i] >> 4];
		text[2 * i + 1] = digits[digest[i] & 15];
	}
	return text;
}

/* What answers say something about: the tokens where there is a choice, else the source. */
static List *
counted_tokens(const source *from)
{
	return source_has_several_tokens(from) ? from->credentials->tokens : list_make1(from->quota);
}

/*
 * Learns what is known about the quotas of a source, for a task run's attempt.  Needs a
 * transaction.
 */
void
source_quota_read(source *from, int64 task_run_id, int attempt)
{
	Oid types[] = {INT8OID, INT4OID, OIDOID};
	Datum values[] = {Int64GetDatum(task_run_id), Int32GetDatum(attempt),
					  ObjectIdGetDatum(from->server)};
	ListCell *cell;

	sql_call("SELECT credential, resource, remaining, resets_at, not_before "
			 "FROM etl._known_quotas($1, $2, $3)",
			 3, types, values, NULL);
	foreach (cell, counted_tokens(from))
	{
		pool_token *token = lfirst(cell);
		char *digest = digest_of(from, token);

		for (int row = 0; row < (int) SPI_processed; row++)
		{
			if (strcmp(sql_text(row, 1), digest) != 0)
				continue;
			strlcpy(token->resource, sql_text(row, 2), sizeof(token->resource));
			token->remaining = sql_bigint(row, 3, QUOTA_UNKNOWN);
			token->reset = sql_is_null(row, 4) ? 0 : DatumGetTimestampTz(sql_datum(row, 4));
			token->not_before = sql_is_null(row, 5) ? 0 : DatumGetTimestampTz(sql_datum(row, 5));
		}
	}
}

/* An array of such a type, NULLs included. */
static Datum
array_of(Datum *elements, bool *nulls, int count, Oid type)
{
	int16 length;
	bool by_value;
	char align;

	get_typlenbyvalalign(type, &length, &by_value, &align);
	return PointerGetDatum(
		construct_md_array(elements, nulls, 1, &count, &(int){1}, type, length, by_value, align));
}

/* Whether a token has something to tell that will still be so in a while. */
static bool
has_news(const pool_token *token, TimestampTz now)
{
	return token->is_news && Max(token->reset, token->not_before) > now + MIN_NEWS_US;
}

/*
 * Keeps what was learnt about the quotas of a source.  Opens a short transaction if there
 * is anything to keep.
 */
void
source_quota_save(source *from, int64 task_run_id, int attempt)
{
	enum
	{
		COLUMNS = 5
	};
	static const Oid element_types[COLUMNS] = {TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID,
											   TIMESTAMPTZOID};
	TimestampTz now = GetCurrentTimestamp();
	Oid types[3 + COLUMNS] = {INT8OID, INT4OID, OIDOID};
	Datum values[3 + COLUMNS] = {Int64GetDatum(task_run_id), Int32GetDatum(attempt),
								 ObjectIdGetDatum(from->server)};
	List *news = NIL;
	Datum *columns[COLUMNS];
	bool *nulls[COLUMNS];
	int count = 0;
	ListCell *cell;

	foreach (cell, counted_tokens(from))
	{
		if (has_news(lfirst(cell), now))
			news = lappend(news, lfirst(cell));
	}
	if (news == NIL)
		return;
	sql_begin();
	for (int i = 0; i < COLUMNS; i++)
	{
		columns[i] = palloc(sizeof(Datum) * list_length(news));
		nulls[i] = palloc0(sizeof(bool) * list_length(news));
	}
	foreach (cell, news)
	{
		pool_token *token = lfirst(cell);

		columns[0][count] = CStringGetTextDatum(digest_of(from, token));
		columns[1][count] = CStringGetTextDatum(token->resource);
		columns[2][count] = Int64GetDatum(token->remaining);
		nulls[2][count] = token->remaining == QUOTA_UNKNOWN;
		columns[3][count] = TimestampTzGetDatum(token->reset);
		nulls[3][count] = token->reset == 0;
		columns[4][count] = TimestampTzGetDatum(token->not_before);
		nulls[4][count] = token->not_before <= now;
		token->is_news = false;
		count++;
	}
	for (int i = 0; i < COLUMNS; i++)
	{
		types[3 + i] = get_array_type(element_types[i]);
		values[3 + i] = array_of(columns[i], nulls[i], count, element_types[i]);
	}
	sql_call("SELECT etl._note_quotas($1, $2, $3, $4, $5, $6, $7, $8)", 3 + COLUMNS, types, values,
			 NULL);
	sql_commit();
}
