/*-------------------------------------------------------------------------
 *
 * raw_writer.c
 *	  Records of a page to rows of a raw table, or to quarantine.
 *
 * A record that is no JSON, has no value for its key or breaks the task's schema is kept
 * as it came, with the reason; the rest of the page is inserted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "call_sql.h"
#include "extract/raw/raw_writer.h"
#include "extract/json/record_parser.h"
#include "extract/page/record_path.h"
#include "extract/raw/record_routing.h"
#include "schema/schema.h"

/* What becomes of one record. */
typedef struct record_outcome
{
	Datum payload;	   /* jsonb, when it is accepted */
	char *reason_code; /* NULL: accepted */
	char *reason;
	char *warning;	/* what is wrong with a record that is accepted all the same */
	bool elsewhere; /* accepted, but not a row of this load */
} record_outcome;

/*
 * Follows a path of members and positions into a jsonb; true when there is a value other
 * than null at its end.
 */
static bool
has_value(Jsonb *document, List *path)
{
	JsonbContainer *container = &document->root;
	JsonbValue *value = NULL;
	ListCell *cell;

	if (JB_ROOT_IS_SCALAR(document))
		return false;
	foreach (cell, path)
	{
		path_step *step = lfirst(cell);

		if (container == NULL)
			return false;
		if (step->is_index && JsonContainerIsArray(container))
			value = getIthJsonbValueFromContainer(container, atoi(step->name));
		else if (!step->is_index && JsonContainerIsObject(container))
			value = getKeyJsonValueFromContainer(container, step->name, step->length, NULL);
		else
			return false;
		if (value == NULL)
			return false;
		container = value->type == jbvBinary ? value->val.binary.data : NULL;
	}
	return value != NULL && value->type != jbvNull;
}

/* What was found to be no record before anything parsed it says so itself. */
static void
apply_flaws(const split_result *records, record_outcome *outcomes)
{
	for (int i = 0; i < records->flaw_count; i++)
	{
		record_outcome *outcome = &outcomes[records->flaws[i].record];

		outcome->reason_code = pstrdup(unpack_sql_state(records->flaws[i].sqlstate));
		outcome->reason = pstrdup(records->flaws[i].reason);
	}
}

/* Parses all records and looks for their keys. */
static record_outcome *
judge_records(const raw_target *target, const char *body, const split_result *records)
{
	record_outcome *outcomes = palloc0(sizeof(record_outcome) * Max(records->count, 1));
	parsed_record *parsed = palloc0(sizeof(parsed_record) * Max(records->count, 1));

	parse_records(body, records->records, records->count, parsed);
	for (int i = 0; i < records->count; i++)
	{
		outcomes[i].payload = PointerGetDatum(parsed[i].payload);
		outcomes[i].reason_code = parsed[i].reason_code;
		outcomes[i].reason = parsed[i].reason;
	}
	apply_flaws(records, outcomes);
	for (int i = 0; i < records->count; i++)
	{
		ListCell *cell;

		if (outcomes[i].reason != NULL)
			continue;
		foreach (cell, target->keys)
		{
			if (!has_value(parsed[i].payload, lfirst(cell)))
			{
				outcomes[i].reason_code = pstrdup(unpack_sql_state(ERRCODE_NOT_NULL_VIOLATION));
				outcomes[i].reason = pstrdup("the record has no value for its key");
				break;
			}
		}
	}
	return outcomes;
}

/* The violations of one record as a sentence: the first few of them. */
typedef struct violation_text
{
	StringInfoData text;
	int count;
} violation_text;

#define MAX_SHOWN_VIOLATIONS 3

/* schema_report: adds a violation to the sentence. */
static void
add_violation(void *argument, const schema_violation *violation)
{
	violation_text *sentence = argument;

	if (++sentence->count > MAX_SHOWN_VIOLATIONS)
		return;
	appendStringInfo(&sentence->text, "%s%s: %s", sentence->count > 1 ? "; " : "",
					 violation->instance_path[0] ? violation->instance_path : "the record",
					 violation->message);
}

/*
 * Holds accepted records against the schema of the task, if it has one.  Raises with the
 * policy "fail".
 */
static void
validate_records(const raw_target *target, record_outcome *outcomes, int count, const char *request)
{
	const compiled_schema *schema;

	if (target->record_schema == NULL)
		return;
	schema = schema_acquire(target->record_schema, CurrentMemoryContext);
	for (int i = 0; i < count; i++)
	{
		violation_text sentence;

		if (outcomes[i].reason != NULL ||
			schema_validate(schema, DatumGetJsonbP(outcomes[i].payload), false, NULL, NULL))
			continue;
		initStringInfo(&sentence.text);
		sentence.count = 0;
		schema_validate(schema, DatumGetJsonbP(outcomes[i].payload), false, add_violation,
						&sentence);
		if (sentence.count > MAX_SHOWN_VIOLATIONS)
			appendStringInfo(&sentence.text, "; and %d more",
							 sentence.count - MAX_SHOWN_VIOLATIONS);
		if (target->on_invalid == INVALID_FAIL)
			ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION),
							errmsg("record %d of the answer to %s breaks the record_schema", i + 1,
								   request),
							errdetail("%s", sentence.text.data),
							errhint("With on_invalid => 'quarantine' such records are set aside "
									"and the rest is loaded.")));
		if (target->on_invalid == INVALID_WARN)
			outcomes[i].warning = sentence.text.data;
		else
		{
			outcomes[i].reason_code = pstrdup(unpack_sql_state(ERRCODE_CHECK_VIOLATION));
			outcomes[i].reason = sentence.text.data;
		}
	}
}

/*
 * Shows the records to the load's shape, refused ones too, and refuses what the contract of
 * the task does not want.  Raises with the contract "freeze".
 */
static void
observe_records(const raw_target *target, record_outcome *outcomes, int count)
{
	if (target->shape == NULL)
		return;
	for (int i = 0; i < count; i++)
	{
		char *refusal;

		if (outcomes[i].payload == (Datum) 0)
			continue; /* not JSON */
		refusal = record_shape_add(target->shape, DatumGetJsonbP(outcomes[i].payload));
		if (refusal != NULL && outcomes[i].reason == NULL)
		{
			outcomes[i].reason_code = pstrdup(unpack_sql_state(ERRCODE_CHECK_VIOLATION));
			outcomes[i].reason = refusal;
		}
	}
	record_shape_check(target->shape);
}

/* Notes records that were loaded although they break the schema. */
static void
warn_invalid(const raw_target *target, int slice, const record_outcome *outcomes, int count)
{
	int warned = 0;
	const char *first = NULL;
	Oid types[] = {INT8OID, INT4OID, INT8OID, INT4OID, INT4OID, TEXTOID};
	Datum values[6];

	for (int i = 0; i < count; i++)
	{
		if (outcomes[i].warning != NULL && warned++ == 0)
			first = outcomes[i].warning;
	}
	if (warned == 0)
		return;
	values[0] = Int64GetDatum(target->task_run_id);
	values[1] = Int32GetDatum(target->attempt);
	values[2] = Int64GetDatum(target->load_id);
	values[3] = Int32GetDatum(slice);
	values[4] = Int32GetDatum(warned);
	values[5] = CStringGetTextDatum(first);
	sql_call("SELECT etl._warn_invalid($1, $2, $3, $4, $5, $6)", 6, types, values, NULL);
}

static Datum
array_of(Datum *elements, int count, Oid type)
{
	int16 length;
	bool by_value;
	char align;

	get_typlenbyvalalign(type, &length, &by_value, &align);
	return PointerGetDatum(construct_array(elements, count, type, length, by_value, align));
}

/* Inserts the accepted records: one statement for the page, through SQL, so that indexes,
 * triggers and row security of the table have their say. */
static void
insert_accepted(const raw_target *target, int slice, const record_outcome *outcomes, int count,
				Datum item, bool item_is_null, TimestampTz fetched_at)
{
	Datum *numbers = palloc(sizeof(Datum) * Max(count, 1));
	Datum *payloads = palloc(sizeof(Datum) * Max(count, 1));
	int accepted = 0;
	char *statement;
	Oid types[] = {INT8OID,	 INT8OID,		 TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID,
				   JSONBOID, TIMESTAMPTZOID, INT4ARRAYOID,	 JSONBARRAYOID};
	Datum values[9];
	char nulls[10] = "         ";

	for (int i = 0; i < count; i++)
	{
		if (outcomes[i].reason != NULL || outcomes[i].elsewhere)
			continue;
		numbers[accepted] = Int32GetDatum(i);
		payloads[accepted++] = outcomes[i].payload;
	}
	if (accepted == 0)
		return;
	values[0] = Int64GetDatum(target->load_id);
	values[1] = Int64GetDatum(target->partition_key);
	values[2] = TimestampTzGetDatum(target->interval_start);
	values[3] = TimestampTzGetDatum(target->interval_end);
	values[4] = Int32GetDatum(slice);
	values[5] = item;
	nulls[5] = item_is_null ? 'n' : ' ';
	values[6] = TimestampTzGetDatum(fetched_at);
	values[7] = array_of(numbers, accepted, INT4OID);
	values[8] = array_of(payloads, accepted, JSONBOID);
	statement = psprintf(
		"INSERT INTO %s (load_id, partition_key, data_interval_start, data_interval_end, slice, "
		"item, fetched_at, record_number, payload) "
		"SELECT $1, $2, $3, $4, $5, $6, $7, pg_catalog.unnest($8), pg_catalog.unnest($9)",
		quote_qualified_identifier(target->schema, target->table));
	sql_call(statement, 9, types, values, nulls);
	if (SPI_processed != accepted)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("%d records were inserted into raw table \"%s\", but only %lu arrived",
						accepted, target->table, (unsigned long) SPI_processed),
				 errhint("A trigger or row security policy of the table drops rows.")));
}

/* Keeps the refused records as they came. */
static int
quarantine_refused(const raw_target *target, int slice, const char *body,
				   const split_result *records, const record_outcome *outcomes, const char *request)
{
	int count = records->count;
	const char *received = records->origin ? records->origin : body;
	const record_range *ranges = records->origins ? records->origins : records->records;
	Datum *numbers = palloc(sizeof(Datum) * Max(count, 1));
	Datum *offsets = palloc(sizeof(Datum) * Max(count, 1));
	Datum *bytes = palloc(sizeof(Datum) * Max(count, 1));
	Datum *codes = palloc(sizeof(Datum) * Max(count, 1));
	Datum *reasons = palloc(sizeof(Datum) * Max(count, 1));
	Datum *documents = palloc(sizeof(Datum) * Max(count, 1));
	bool *no_document = palloc(sizeof(bool) * Max(count, 1));
	int refused = 0;
	Oid types[] = {INT8OID,		 INT4OID,		INT8OID,	   INT4OID,
				   INT4ARRAYOID, INT8ARRAYOID,	BYTEAARRAYOID, TEXTARRAYOID,
				   TEXTARRAYOID, JSONBARRAYOID, TEXTOID};
	Datum values[11];

	for (int i = 0; i < count; i++)
	{
		if (outcomes[i].reason == NULL)
			continue;
		numbers[refused] = Int32GetDatum(i);
		offsets[refused] = Int64GetDatum((int64) ranges[i].offset);
		bytes[refused] = PointerGetDatum(
			cstring_to_text_with_len(received + ranges[i].offset, ranges[i].length));
		/* what the bytes do not say by themselves: they are a row of CSV, or in another charset */
		documents[refused] = outcomes[i].payload;
		no_document[refused] = records->origins == NULL || outcomes[i].payload == (Datum) 0;
		codes[refused] = CStringGetTextDatum(outcomes[i].reason_code);
		reasons[refused++] = CStringGetTextDatum(outcomes[i].reason);
	}
	if (refused == 0)
		return 0;
	values[0] = Int64GetDatum(target->task_run_id);
	values[1] = Int32GetDatum(target->attempt);
	values[2] = Int64GetDatum(target->load_id);
	values[3] = Int32GetDatum(slice);
	values[4] = array_of(numbers, refused, INT4OID);
	values[5] = array_of(offsets, refused, INT8OID);
	values[6] = array_of(bytes, refused, BYTEAOID);
	values[7] = array_of(codes, refused, TEXTOID);
	values[8] = array_of(reasons, refused, TEXTOID);
	values[9] = PointerGetDatum(construct_md_array(documents, no_document, 1, &refused, &(int){1},
												   JSONBOID, -1, false, TYPALIGN_INT));
	values[10] = CStringGetTextDatum(request);
	sql_call("SELECT etl._quarantine($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)", 11, types,
			 values, NULL);
	return refused;
}

/* Inserts the records that a route leads to another load, and counts them there. */
static void
insert_routed(const raw_target *target, int slice, const record_outcome *outcomes,
			  const record_route *routes, int count, int64 load_id, Datum item, bool item_is_null,
			  TimestampTz fetched_at)
{
	raw_target other = *target;
	record_outcome *chosen = palloc(sizeof(record_outcome) * count);
	Oid types[] = {INT8OID, INT4OID, INT8OID, INT8OID, INT4OID, INT8OID};
	Datum values[] = {Int64GetDatum(target->task_run_id),
					  Int32GetDatum(target->attempt),
					  Int64GetDatum(target->load_id),
					  Int64GetDatum(load_id),
					  Int32GetDatum(slice),
					  0};
	int64 records = 0;

	for (int i = 0; i < count; i++)
	{
		chosen[i] = outcomes[i];
		chosen[i].elsewhere = !outcomes[i].elsewhere || routes[i].action != ROUTE_LOAD ||
							  routes[i].load_id != load_id;
		records += chosen[i].reason == NULL && !chosen[i].elsewhere;
	}
	values[5] = Int64GetDatum(records);
	sql_call("SELECT data_interval_start, data_interval_end FROM etl._count_routed($1, $2, $3, $4, "
			 "$5, $6)",
			 6, types, values, NULL);
	other.load_id = load_id;
	other.partition_key = 0;
	other.interval_start = DatumGetTimestampTz(sql_datum(0, 1));
	other.interval_end = DatumGetTimestampTz(sql_datum(0, 2));
	insert_accepted(&other, slice, chosen, count, item, item_is_null, fetched_at);
}

/*
 * Sees which load each accepted record belongs to, inserts those of other loads, and notes
 * what is left out.  Returns how many are not this load's.
 */
static int64
route_accepted(const raw_target *target, int slice, record_outcome *outcomes, int count, Datum item,
			   bool item_is_null, TimestampTz fetched_at)
{
	Datum *payloads = palloc(sizeof(Datum) * Max(count, 1));
	int *numbers = palloc(sizeof(int) * Max(count, 1));
	record_route *routes = palloc0(sizeof(record_route) * Max(count, 1));
	record_route *found;
	int accepted = 0;
	int64 skipped = 0;

	for (int i = 0; i < count; i++)
	{
		if (outcomes[i].reason != NULL)
			continue;
		payloads[accepted] = outcomes[i].payload;
		numbers[accepted++] = i;
	}
	found = record_routes(target->task_run_id, target->attempt, target->load_id, target->item,
						  payloads, accepted);
	for (int i = 0; i < accepted; i++)
	{
		record_outcome *outcome = &outcomes[numbers[i]];

		routes[numbers[i]] = found[i];
		if (found[i].action == ROUTE_QUARANTINE)
		{
			outcome->reason_code = pstrdup(unpack_sql_state(ERRCODE_NOT_NULL_VIOLATION));
			outcome->reason = found[i].reason;
		}
		outcome->elsewhere = found[i].action == ROUTE_SKIP ||
							 (found[i].action == ROUTE_LOAD && found[i].load_id != 0);
		skipped += outcome->elsewhere;
	}
	for (int i = 0; i < count; i++)
	{
		bool first = outcomes[i].elsewhere && routes[i].action == ROUTE_LOAD;

		for (int before = 0; first && before < i; before++)
			first = !outcomes[before].elsewhere || routes[before].load_id != routes[i].load_id;
		if (first)
			insert_routed(target, slice, outcomes, routes, count, routes[i].load_id, item,
						  item_is_null, fetched_at);
	}
	return skipped;
}

/*
 * Judges one record on its own, by keys, contract and schema of the target: the record is
 * UTF-8, the result palloc'd.  Raises with the policy "fail" what it would raise.
 */
raw_verdict
raw_judge(const raw_target *target, const char *bytes, size_t length)
{
	record_range range = {.offset = 0, .length = length};
	split_result one = {.records = &range, .count = 1};
	record_outcome *outcome = judge_records(target, bytes, &one);
	raw_verdict verdict = {0};

	observe_records(target, outcome, 1);
	validate_records(target, outcome, 1, "");
	verdict.payload = outcome->payload;
	verdict.reason_code = outcome->reason_code;
	verdict.reason = outcome->reason;
	return verdict;
}

/*
 * Writes the records of a page within the current transaction.  item: the row of for_each
 * as jsonb; request: for quarantine, without secrets.  Returns the counts; raises what
 * the raw table raises.
 */
raw_counts
raw_write(const raw_target *target, int slice, const char *body, const split_result *records,
		  Datum item, bool item_is_null, TimestampTz fetched_at, const char *request)
{
	record_outcome *outcomes = judge_records(target, body, records);
	raw_counts counts = {.fetched = records->count};

	observe_records(target, outcomes, records->count);
	validate_records(target, outcomes, records->count, request);
	warn_invalid(target, slice, outcomes, records->count);
	if (target->routes)
		counts.skipped =
			route_accepted(target, slice, outcomes, records->count, item, item_is_null, fetched_at);
	counts.fetched -= counts.skipped;
	insert_accepted(target, slice, outcomes, records->count, item, item_is_null, fetched_at);
	counts.quarantined = quarantine_refused(target, slice, body, records, outcomes, request);
	counts.loaded = counts.fetched - counts.quarantined;
	return counts;
}
