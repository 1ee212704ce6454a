/*-------------------------------------------------------------------------
 *
 * evaluated.c
 *	  Sets of the members or items of one value that a schema has evaluated, for
 *	  unevaluatedProperties and unevaluatedItems.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "schema/validation.h"

/*
 * An empty set for count members or items.
 */
void
evaluated_start(evaluated_set *set, int count)
{
	int words = (count + 63) / 64;

	set->all = false;
	set->count = count;
	if (words <= lengthof(set->inline_words))
	{
		set->words = set->inline_words;
		memset(set->inline_words, 0, sizeof(set->inline_words));
	}
	else
		set->words = palloc0(sizeof(uint64) * words);
}

void
evaluated_end(evaluated_set *set)
{
	if (set->words != set->inline_words)
		pfree(set->words);
}

/*
 * Adds what another set of the same value holds.
 */
void
evaluated_merge(evaluated_set *into, const evaluated_set *from)
{
	int words = (into->count + 63) / 64;

	into->all |= from->all;
	for (int i = 0; i < words; i++)
		into->words[i] |= from->words[i];
}
