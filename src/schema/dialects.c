/*-------------------------------------------------------------------------
 *
 * dialects.c
 *	  What "$schema" means: one of the five drafts, or a registered metaschema that says
 *	  by "$vocabulary" which parts of a draft it wants.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "schema/compile.h"
#include "schema/text.h"
#include "schema/uri.h"

#define MAX_METASCHEMA_DEPTH 16

#define VOCABULARIES_STANDARD                                                                      \
	(VOCABULARY_CORE | VOCABULARY_APPLICATOR | VOCABULARY_UNEVALUATED | VOCABULARY_VALIDATION |    \
	 VOCABULARY_FORMAT | VOCABULARY_OTHER)

static const struct
{
	const char *uri;
	schema_draft draft;
} dialects[] = {
	{"https://json-schema.org/draft/2020-12/schema", DRAFT_2020},
	{"https://json-schema.org/draft/2019-09/schema", DRAFT_2019},
	{"http://json-schema.org/draft-07/schema", DRAFT_7},
	{"http://json-schema.org/draft-06/schema", DRAFT_6},
	{"http://json-schema.org/draft-04/schema", DRAFT_4},
};

static const struct
{
	const char *name;
	uint32 bits;
} vocabularies[] = {
	{"core", VOCABULARY_CORE},
	{"applicator", VOCABULARY_APPLICATOR},
	{"unevaluated", VOCABULARY_UNEVALUATED},
	{"validation", VOCABULARY_VALIDATION},
	{"format", VOCABULARY_FORMAT},
	{"format-annotation", VOCABULARY_FORMAT},
	{"format-assertion", VOCABULARY_FORMAT | VOCABULARY_FORMAT_ASSERTION},
	{"content", VOCABULARY_OTHER},
	{"meta-data", VOCABULARY_OTHER},
};

static uint32 vocabulary_bits(const schema_node *node, schema_draft draft, const char *uri,
							  bool required);
static uint32 read_vocabularies(const schema_node *node, schema_draft draft,
								const json_view *metaschema);

/*
 * The dialect of a schema without "$schema".
 */
schema_dialect
schema_default_dialect(void)
{
	schema_dialect dialect = {DRAFT_2020, VOCABULARIES_STANDARD};

	return dialect;
}

/*
 * What a vocabulary brings; an unknown one must not be required.
 */
static uint32
vocabulary_bits(const schema_node *node, schema_draft draft, const char *uri, bool required)
{
	const char *prefix = draft == DRAFT_2020 ? "https://json-schema.org/draft/2020-12/vocab/"
											 : "https://json-schema.org/draft/2019-09/vocab/";

	if (strncmp(uri, prefix, strlen(prefix)) == 0)
	{
		for (int i = 0; i < lengthof(vocabularies); i++)
		{
			if (strcmp(uri + strlen(prefix), vocabularies[i].name) == 0)
			{
				/* until 2019-09 the applicators included the unevaluated ones */
				if (draft == DRAFT_2019 && vocabularies[i].bits == VOCABULARY_APPLICATOR)
					return VOCABULARY_APPLICATOR | VOCABULARY_UNEVALUATED;
				/* 2019-09's format vocabulary asserts when it is required */
				if (draft == DRAFT_2019 && vocabularies[i].bits == VOCABULARY_FORMAT && required)
					return VOCABULARY_FORMAT | VOCABULARY_FORMAT_ASSERTION;
				return vocabularies[i].bits;
			}
		}
	}
	if (required)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("JSON Schema requires the vocabulary \"%s\", which is not supported", uri),
				 errdetail("The metaschema is named at \"%s\".",
						   schema_step_text(node->resource, node->path, "$schema"))));
	return 0;
}

static uint32
read_vocabularies(const schema_node *node, schema_draft draft, const json_view *metaschema)
{
	json_view vocabulary;
	json_walk walk;
	json_view required;
	const char *key;
	int length;
	uint32 bits = VOCABULARY_CORE;

	if (!json_find_name(metaschema, "$vocabulary", &vocabulary) || vocabulary.kind != JV_OBJECT)
		return VOCABULARIES_STANDARD;
	json_walk_start(&walk, &vocabulary);
	while (json_walk_member(&walk, &key, &length, &required))
		bits |= vocabulary_bits(node, draft, text_shown(key, length),
								required.kind == JV_BOOLEAN && required.u.boolean);
	return bits;
}

/*
 * The dialect that a "$schema" of a node names.  Raises when it is unknown.
 */
schema_dialect
schema_find_dialect(schema_compiler *compiler, const schema_node *node, const char *uri)
{
	char *name = pstrdup(uri);
	schema_dialect dialect;
	const Jsonb *jsonb;
	json_view metaschema;
	json_view value;

	schema_uri_split(name);
	for (int i = 0; i < lengthof(dialects); i++)
	{
		if (strcmp(name, dialects[i].uri) == 0 ||
			/* both schemes are in use */
			strcmp(strchr(name, ':') ? strchr(name, ':') : name, strchr(dialects[i].uri, ':')) == 0)
		{
			dialect.draft = dialects[i].draft;
			dialect.vocabularies = VOCABULARIES_STANDARD;
			return dialect;
		}
	}

	compiler->schema->uses_registry = true;
	jsonb = schema_registry_find(name);
	if (jsonb != NULL)
		json_view_root(jsonb, &metaschema);
	if (jsonb == NULL || ++compiler->metaschema_depth > MAX_METASCHEMA_DEPTH)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("unknown JSON Schema dialect \"%s\"", uri),
						errdetail("It is named at \"%s\".",
								  schema_step_text(node->resource, node->path, "$schema")),
						errhint("Known dialects are: \"http://json-schema.org/draft-04/schema#\", "
								"\"http://json-schema.org/draft-06/schema#\", "
								"\"http://json-schema.org/draft-07/schema#\", "
								"\"https://json-schema.org/draft/2019-09/schema\", "
								"\"https://json-schema.org/draft/2020-12/schema\", and metaschemas "
								"registered with etl.register_schema.")));
	dialect = schema_default_dialect();
	if (json_find_name(&metaschema, "$schema", &value) && value.kind == JV_STRING)
		dialect = schema_find_dialect(compiler, node, schema_uri_text(node, "$schema", &value));
	dialect.vocabularies = read_vocabularies(node, dialect.draft, &metaschema);
	compiler->metaschema_depth--;
	return dialect;
}
