/*-------------------------------------------------------------------------
 *
 * text.h
 *	  Texts counted by length, which may hold NUL: shown, converted, counted.
 *
 * jsonb cannot hold NUL, but JSON can, and what is validated as text may.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SCHEMA_TEXT_H
#define ETL_SCHEMA_TEXT_H

#include "postgres.h"

#include "lib/stringinfo.h"

extern void text_append_shown(StringInfo out, const char *text, int length);
extern char *text_shown(const char *text, int length);
extern void text_append_json(StringInfo out, const char *text, int length);
extern int text_clip(const char *text, int length, int limit);
extern int64 text_count_characters(const char *text, int length);
extern char *text_to_utf8(const char *text, int length, int *utf8_length);

#endif /* ETL_SCHEMA_TEXT_H */
