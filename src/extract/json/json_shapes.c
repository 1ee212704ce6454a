/*-------------------------------------------------------------------------
 *
 * json_shapes.c
 *	  The order of an object's keys in JSONB, remembered per shape.
 *
 * Records of one source have the same keys in the same order, so the permutation that
 * sorts them is remembered under a hash of them.  Whether it sorts the keys at hand is
 * checked each time, in one comparison a key: a clash of hashes, made on purpose or not,
 * costs time and never a wrong order.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "extract/json/json_shapes.h"

/* Runs of so many keys are sorted by insertion, then merged. */
#define RUN 8

/* JSONB's order of keys: by length, then by bytes. */
static inline int
compare_keys(const json_node *a, const json_node *b)
{
	if (a->size != b->size)
		return a->size < b->size ? -1 : 1;
	return memcmp(a->u.text, b->u.text, a->size);
}

/*
 * Sorts positions of keys.  Stable, and by merging: no order of keys, however malicious,
 * makes it slow.  Returns where the result is, positions or scratch.
 */
static uint32 *
sort_positions(const json_node *nodes, const uint32 *keys, uint32 count, uint32 *positions,
			   uint32 *scratch)
{
	for (uint32 start = 0; start < count; start += RUN)
	{
		uint32 end = Min(start + RUN, count);

		for (uint32 i = start; i < end; i++)
		{
			uint32 j = i;

			for (; j > start && compare_keys(&nodes[keys[positions[j - 1]]], &nodes[keys[i]]) > 0;
				 j--)
				positions[j] = positions[j - 1];
			positions[j] = i;
		}
	}
	for (uint32 run = RUN; run < count; run *= 2)
	{
		uint32 *other = scratch;

		for (uint32 start = 0; start < count; start += 2 * run)
		{
			uint32 left = start;
			uint32 middle = Min(start + run, count);
			uint32 right = middle;
			uint32 end = Min(start + 2 * run, count);

			for (uint32 i = start; i < end; i++)
			{
				if (left < middle &&
					(right == end || compare_keys(&nodes[keys[positions[left]]],
												  &nodes[keys[positions[right]]]) <= 0))
					other[i] = positions[left++];
				else
					other[i] = positions[right++];
			}
		}
		scratch = positions;
		positions = other;
	}
	return positions;
}

/*
 * Brings the keys of an object into JSONB's order.  keys: their nodes, in the order of the
 * text; ordered: receives the nodes; scratch: room for as many.  Of equal keys the last one
 * stays.  Returns how many there are then.
 */
uint32
json_shapes_order(json_shapes *shapes, const json_node *nodes, uint32 hash, const uint32 *keys,
				  uint32 count, uint32 *ordered, uint32 *scratch)
{
	json_shape *shape = &shapes->shapes[hash % JSON_SHAPES];
	uint32 *positions;
	uint32 unique = 0;

	if (count == 0)
		return 0;
	if (shape->count == count)
	{
		uint32 i = 1;

		ordered[0] = keys[shape->order[0]];
		for (; i < count; i++)
		{
			ordered[i] = keys[shape->order[i]];
			if (compare_keys(&nodes[ordered[i - 1]], &nodes[ordered[i]]) >= 0)
				break;
		}
		if (i == count)
			return count;
	}

	positions = sort_positions(nodes, keys, count, ordered, scratch);
	for (uint32 i = 0; i < count; i++)
	{
		if (i + 1 == count ||
			compare_keys(&nodes[keys[positions[i]]], &nodes[keys[positions[i + 1]]]) != 0)
			positions[unique++] = positions[i];
	}
	if (unique == count && count <= JSON_SHAPE_MAX_KEYS)
	{
		shape->count = count;
		for (uint32 i = 0; i < count; i++)
			shape->order[i] = positions[i];
	}
	for (uint32 i = 0; i < unique; i++)
		ordered[i] = keys[positions[i]];
	return unique;
}
