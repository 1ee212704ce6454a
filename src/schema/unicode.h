/*-------------------------------------------------------------------------
 *
 * unicode.h
 *	  General categories of code points.
 *
 * Each range lasts to the start of the next; a row is start << 5 | category.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SCHEMA_UNICODE_H
#define ETL_SCHEMA_UNICODE_H

#include "postgres.h"

#include "mb/pg_wchar.h"

enum
{
	UNICODE_CN,
	UNICODE_LU,
	UNICODE_LL,
	UNICODE_LT,
	UNICODE_LM,
	UNICODE_LO,
	UNICODE_MN,
	UNICODE_MC,
	UNICODE_ME,
	UNICODE_ND,
	UNICODE_NL,
	UNICODE_NO,
	UNICODE_PC,
	UNICODE_PD,
	UNICODE_PS,
	UNICODE_PE,
	UNICODE_PI,
	UNICODE_PF,
	UNICODE_PO,
	UNICODE_SM,
	UNICODE_SC,
	UNICODE_SK,
	UNICODE_SO,
	UNICODE_ZS,
	UNICODE_ZL,
	UNICODE_ZP,
	UNICODE_CC,
	UNICODE_CF,
	UNICODE_CS,
	UNICODE_CO,
};

extern const uint32 unicode_ranges[];
extern const int unicode_range_count;

#define unicode_range_start(index) (unicode_ranges[index] >> 5)
#define unicode_range_category(index) (unicode_ranges[index] & 31)

extern int unicode_category_of(pg_wchar c);

#endif /* ETL_SCHEMA_UNICODE_H */
