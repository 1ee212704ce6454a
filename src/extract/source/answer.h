/*-------------------------------------------------------------------------
 *
 * answer.h
 *	  Answers that are not a page: errors that say what to do.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_ANSWER_H
#define ETL_ANSWER_H

#include "postgres.h"

#include "compat.h"
#include "extract/source/source.h"
#include "http/http.h"

extern char *answer_quote(const source *from, const char *text, size_t length);
extern char *answer_excerpt(const source *from, const http_response *response);
extern void answer_raise(const source *from, const http_request *request,
						 const http_response *response, const http_outcome *outcome)
	pg_attribute_noreturn();

#endif /* ETL_ANSWER_H */
