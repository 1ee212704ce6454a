/*-------------------------------------------------------------------------
 *
 * charset.h
 *	  Texts in other encodings than UTF-8.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_CHARSET_H
#define ETL_CHARSET_H

#include "postgres.h"

#include "extract/page/page_failure.h"
#include "extract/page/split.h"

/* What names are known, for hints. */
#define CHARSET_HINT                                                                               \
	"Known are utf-8, utf-16, utf-32 and what PostgreSQL converts, such as iso-8859-1 to -16, "    \
	"windows-1250 to -1258, shift_jis, euc-jp, gb18030, big5, euc-kr and koi8-r."

typedef enum charset_kind
{
	CHARSET_UTF8,  /* and ASCII */
	CHARSET_UTF16, /* which of the two its byte order mark says */
	CHARSET_UTF16LE,
	CHARSET_UTF16BE,
	CHARSET_UTF32,
	CHARSET_UTF32LE,
	CHARSET_UTF32BE,
	CHARSET_CONVERTED /* PostgreSQL has a conversion */
} charset_kind;

typedef struct charset
{
	charset_kind kind;
	int encoding;		 /* pg_enc, of CHARSET_CONVERTED */
	const char *name;	 /* as somebody named it */
	const char *said_by; /* who: for errors */
} charset;

/* Length of a byte order mark before UTF-8; it is no part of the text. */
static inline size_t
charset_utf8_mark(const char *text, size_t length)
{
	return length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
}

extern bool charset_by_name(const char *name, charset *result);
extern char *charset_of_content_type(const char *content_type);
extern bool charset_find(const char *option, const char *content_type, const char *bytes,
						 size_t length, charset *result, size_t *mark_length,
						 page_failure *failure);
extern bool charset_to_utf8(const charset *from, const char *bytes, size_t length,
							const char **text, size_t *text_length, page_failure *failure);
extern record_range *charset_origins(const charset *from, const char *bytes, size_t length,
									 const char *text, size_t text_length,
									 const record_range *ranges, int count);

#endif /* ETL_CHARSET_H */
