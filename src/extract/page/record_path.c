/*-------------------------------------------------------------------------
 *
 * record_path.c
 *	  JSON paths of the two simple kinds that declarations use: where the records of a
 *	  page are ($.data[*]), and where in a record a value is ($.user.id).
 *
 * Both are a subset of SQL/JSON path.  Filters and methods are left out on purpose: records
 * are found in the page's bytes, before anything is parsed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "extract/page/record_path.h"

PG_FUNCTION_INFO_V1(etl_json_path_keys);
PG_FUNCTION_INFO_V1(etl_check_record_path);

static void
raise_invalid(const char *path, bool allow_each)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid JSON path \"%s\"", path),
			 allow_each ? errhint("Records are found by members and [*], for example $[*], "
								  "$.data[*] or $[\"data set\"].items[*].")
						: errhint("A value is found by members and positions, for example "
								  "$.id, $.user.id, $[\"a b\"] or $.tags[0].")));
}

static bool
is_name_byte(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' ||
		   IS_HIGHBIT_SET(c) || (!first && ((c >= '0' && c <= '9') || c == '-'));
}

/*
 * Parses a path into a list of path_step.  allow_each: a path to records, where [*] is
 * allowed and [0] is not; else a path to one value.  Raises for what is neither.
 */
List *
record_path_parse(const char *path, bool allow_each)
{
	const char *c = path;
	List *steps = NIL;

	if (*c++ != '$')
		raise_invalid(path, allow_each);
	while (*c != '\0')
	{
		path_step *step = palloc0(sizeof(path_step));
		const char *start;

		if (c[0] == '.' && is_name_byte(c[1], true))
		{
			start = ++c;
			while (is_name_byte(*c, false))
				c++;
			step->name = pnstrdup(start, c - start);
		}
		else if (c[0] == '.' && c[1] == '"')
		{
			start = c + 2;
			c = strchr(start, '"');
			if (c == NULL)
				raise_invalid(path, allow_each);
			step->name = pnstrdup(start, c - start);
			c++;
		}
		else if (c[0] == '[' && c[1] == '"')
		{
			start = c + 2;
			c = strstr(start, "\"]");
			if (c == NULL || memchr(start, '"', c - start) != NULL)
				raise_invalid(path, allow_each);
			step->name = pnstrdup(start, c - start);
			c += 2;
		}
		else if (strncmp(c, "[*]", 3) == 0 && allow_each)
		{
			step->each = true;
			c += 3;
		}
		else if (c[0] == '[' && c[1] >= '0' && c[1] <= '9' && !allow_each)
		{
			start = ++c;
			while (*c >= '0' && *c <= '9')
				c++;
			if (*c != ']' || c - start > 8)
				raise_invalid(path, allow_each);
			step->name = pnstrdup(start, c - start);
			step->is_index = true;
			c++;
		}
		else
			raise_invalid(path, allow_each);
		if (step->name != NULL && strchr(step->name, '\\') != NULL)
			raise_invalid(path, allow_each);
		step->length = step->name ? strlen(step->name) : 0;
		steps = lappend(steps, step);
	}
	if (!allow_each && steps == NIL)
		raise_invalid(path, allow_each);
	return steps;
}

/* SQL: etl.json_path_keys(text) returns text[] */
Datum
etl_json_path_keys(PG_FUNCTION_ARGS)
{
	List *steps = record_path_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)), false);
	Datum *keys = palloc(sizeof(Datum) * list_length(steps));
	ListCell *cell;

	foreach (cell, steps)
		keys[foreach_current_index(cell)] = CStringGetTextDatum(((path_step *) lfirst(cell))->name);
	PG_RETURN_ARRAYTYPE_P(
		construct_array(keys, list_length(steps), TEXTOID, -1, false, TYPALIGN_INT));
}

/* SQL: etl._check_record_path(text) */
Datum
etl_check_record_path(PG_FUNCTION_ARGS)
{
	(void) record_path_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)), true);
	PG_RETURN_VOID();
}
