/*-------------------------------------------------------------------------
 *
 * fuzz_schema_compiler.c
 *	  schema_compile() on any JSON, and schema_validate() with what comes out.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "fmgr.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "schema/compile.h"
#include "schema/json_parse.h"
#include "schema/schema.h"

typedef struct schema_case
{
	char *schema_text;
	char *document_text;
	Jsonb *schema;
	Jsonb *document;
	Jsonb *document_in; /* by jsonb_in */
	compiled_schema *compiled;
	bool assert_format;
	bool valid;
	int violations;
} schema_case;

static void
read_json(void *argument)
{
	schema_case *c = argument;

	c->schema = json_parse_text(c->schema_text, strlen(c->schema_text));
	c->document = json_parse_text(c->document_text, strlen(c->document_text));
}

static void
read_document_as_jsonb(void *argument)
{
	schema_case *c = argument;

	c->document_in =
		DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(c->document_text)));
}

/*
 * What is read here is what jsonb_in reads, which refuses \u0000 besides.
 */
static void
compare_documents(schema_case *c)
{
	int code = fuzz_try(read_document_as_jsonb, c);

	fuzz_require(code == 0 || code == ERRCODE_UNTRANSLATABLE_CHARACTER || c->document == NULL);
	if (code == 0)
		fuzz_require(c->document != NULL && VARSIZE(c->document) == VARSIZE(c->document_in) &&
					 memcmp(c->document, c->document_in, VARSIZE(c->document)) == 0);
}

static void
compile(void *argument)
{
	schema_case *c = argument;

	c->compiled = schema_compile(c->schema, "", false);
}

static void
compile_to_register(void *argument)
{
	schema_case *c = argument;

	(void) schema_compile(c->schema, "http://example.com/registered", true);
}

static void
count_violation(void *argument, const schema_violation *violation)
{
	schema_case *c = argument;

	fuzz_require(violation->instance_path != NULL && violation->keyword != NULL &&
				 violation->schema_path != NULL && violation->message != NULL);
	c->violations++;
}

static void
validate(void *argument)
{
	schema_case *c = argument;

	c->valid = schema_validate(c->compiled, c->document, c->assert_format, NULL, NULL);
}

static void
report(void *argument)
{
	schema_case *c = argument;

	(void) schema_validate(c->compiled, c->document, c->assert_format, count_violation, c);
}

static bool
is_answer_to_schema(int code)
{
	return code == 0 || code == ERRCODE_INVALID_PARAMETER_VALUE ||
		   code == ERRCODE_UNDEFINED_OBJECT || code == ERRCODE_FEATURE_NOT_SUPPORTED ||
		   code == ERRCODE_STATEMENT_TOO_COMPLEX || code == ERRCODE_PROGRAM_LIMIT_EXCEEDED;
}

static bool
is_answer_to_document(int code)
{
	return code == 0 || code == ERRCODE_STATEMENT_TOO_COMPLEX ||
		   code == ERRCODE_PROGRAM_LIMIT_EXCEEDED;
}

/*
 * Input: a schema, a line feed, a document, either of which may hold \u0000.  A schema is compiled
 * or refused; a document is judged the same with and without a report.
 */
FUZZ_TARGET(schema_compiler)
{
	schema_case c = {0};

	c.schema_text = fuzz_take_line(&input, &size);
	c.document_text = fuzz_text(input, size);
	if (fuzz_try(read_json, &c) != 0)
	{
		if (c.schema != NULL)
			compare_documents(&c);
		return;
	}
	compare_documents(&c);
	fuzz_require(is_answer_to_schema(fuzz_try(compile_to_register, &c)));
	fuzz_require(is_answer_to_schema(fuzz_try(compile, &c)));
	if (c.compiled == NULL)
		return;
	for (int formats = 0; formats < 2; formats++)
	{
		int code;

		c.assert_format = formats == 1;
		c.violations = 0;
		code = fuzz_try(validate, &c);
		fuzz_require(is_answer_to_document(code));
		if (code == 0 && fuzz_try(report, &c) == 0)
			fuzz_require(c.valid == (c.violations == 0));
	}
}
