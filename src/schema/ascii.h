/*-------------------------------------------------------------------------
 *
 * ascii.h
 *	  Classes of ASCII characters, whatever the locale.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SCHEMA_ASCII_H
#define ETL_SCHEMA_ASCII_H

#include "postgres.h"

static inline bool
ascii_is_digit(uint32 c)
{
	return c >= '0' && c <= '9';
}

static inline bool
ascii_is_alpha(uint32 c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline bool
ascii_is_alnum(uint32 c)
{
	return ascii_is_digit(c) || ascii_is_alpha(c);
}

static inline bool
ascii_is_hex(uint32 c)
{
	return ascii_is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

#endif /* ETL_SCHEMA_ASCII_H */
