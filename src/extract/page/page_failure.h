/*-------------------------------------------------------------------------
 *
 * page_failure.h
 *	  Why the body of an answer is no page.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_PAGE_FAILURE_H
#define ETL_PAGE_FAILURE_H

#include "postgres.h"

typedef struct page_failure
{
	bool again;			 /* damaged or cut short: may be whole when it is asked for again */
	int sqlstate;		 /* of a failure that stays; 0: there is none, or it may go away */
	size_t offset;		 /* where it was noticed, in the bytes that were looked at */
	const char *message; /* NULL: no failure */
	const char *hint;	 /* NULL: none */
} page_failure;

/* What was received is damaged or cut short.  Returns false, for "return page_is_broken(…)". */
static inline bool
page_is_broken(page_failure *failure, size_t offset, const char *message)
{
	*failure = (page_failure){.again = true, .offset = offset, .message = message};
	return false;
}

/* What was received cannot be read, however often it is asked for.  Returns false. */
static inline bool
page_is_unreadable(page_failure *failure, int sqlstate, size_t offset, const char *message,
				   const char *hint)
{
	*failure =
		(page_failure){.sqlstate = sqlstate, .offset = offset, .message = message, .hint = hint};
	return false;
}

#endif /* ETL_PAGE_FAILURE_H */
