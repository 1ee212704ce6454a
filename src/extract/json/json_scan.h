/*-------------------------------------------------------------------------
 *
 * json_scan.h
 *	  The inner loops of reading JSON text.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_JSON_SCAN_H
#define ETL_JSON_SCAN_H

#include "postgres.h"

#if defined(__SSE2__) && !defined(ETL_WITHOUT_SSE2)
#include <emmintrin.h>
#include "port/pg_bitutils.h"
#define ETL_USE_SSE2 1
#endif

static inline bool
json_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* What the lexer of PostgreSQL takes for a part of a word or number, though it be wrong. */
static inline bool
json_is_word(char c)
{
	return json_is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
		   IS_HIGHBIT_SET(c);
}

/* Past white space. */
static inline const char *
json_skip_space(const char *at, const char *end)
{
	while (at < end && (unsigned char) *at <= ' ' &&
		   (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
		at++;
	return at;
}

/*
 * The first byte of a string that does not stand for itself: a quote, a backslash or a
 * control character; end when there is none.  Reads nothing from end on.
 */
static inline const char *
json_scan_string(const char *at, const char *end)
{
#ifdef ETL_USE_SSE2
	const __m128i quote = _mm_set1_epi8('"');
	const __m128i backslash = _mm_set1_epi8('\\');
	const __m128i control = _mm_set1_epi8(0x1F);

	for (; end - at >= (ptrdiff_t) sizeof(__m128i); at += sizeof(__m128i))
	{
		__m128i bytes = _mm_loadu_si128((const __m128i *) at);
		__m128i special =
			_mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash));
		int found;

		/* bytes <= 0x1F, unsigned */
		special = _mm_or_si128(special, _mm_cmpeq_epi8(_mm_min_epu8(bytes, control), bytes));
		found = _mm_movemask_epi8(special);
		if (found != 0)
			return at + pg_rightmost_one_pos32(found);
	}
#endif
	while (at < end && *at != '"' && *at != '\\' && (unsigned char) *at > 0x1F)
		at++;
	return at;
}

#endif /* ETL_JSON_SCAN_H */
