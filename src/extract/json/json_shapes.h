/*-------------------------------------------------------------------------
 *
 * json_shapes.h
 *	  The order of an object's keys in JSONB, remembered per shape.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_JSON_SHAPES_H
#define ETL_JSON_SHAPES_H

#include "postgres.h"

#include "extract/json/json_tape.h"

/* Larger objects are sorted each time. */
#define JSON_SHAPE_MAX_KEYS 128
#define JSON_SHAPES 256

typedef struct json_shape
{
	uint8 count; /* of keys; 0: none is remembered here */
	uint8 order[JSON_SHAPE_MAX_KEYS];
} json_shape;

/* Zeroed, it is empty. */
typedef struct json_shapes
{
	json_shape shapes[JSON_SHAPES];
} json_shapes;

extern uint32 json_shapes_order(json_shapes *shapes, const json_node *nodes, uint32 hash,
								const uint32 *keys, uint32 count, uint32 *ordered, uint32 *scratch);

#endif /* ETL_JSON_SHAPES_H */
