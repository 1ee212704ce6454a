/*-------------------------------------------------------------------------
 *
 * extraction.h
 *	  What the files that carry out an extraction share and nobody else needs.
 *
 * An extraction has items (one, or a row of for_each each), an item has pages, a page is
 * fetched, then committed as a slice.  items.c reads the items, plan.c says what to fetch
 * next, page_fetch.c fetches it, slice.c commits it, extract.c drives them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_EXTRACTION_H
#define ETL_EXTRACTION_H

#include "postgres.h"
#include "lib/ilist.h"

#include "compat.h"
#include "extract/page/error_rules.h"
#include "extract/page/page.h"
#include "extract/page/pagination.h"
#include "extract/source/rate_budget.h"
#include "extract/raw/raw_writer.h"
#include "extract/source/source.h"
#include "extract/page/split.h"
#include "http/pool.h"

/* All about one extraction.  Strings live in "context". */
typedef struct extraction
{
	MemoryContext context;
	source *from;
	http_client *client;
	rate_budget *budget;
	http_pool *pool;
	bool ending;   /* an error ends the attempt: nothing is asked for any more */
	bool rule_met; /* by an answer that has not been looked at: it may end the pages */
	raw_target target;
	page_options *decode;
	bool is_graphql; /* an answer may call an error a success */
	List *rules;	 /* of error_rule * */
	pagination pages;
	bool pages_detected; /* pages.type was "auto", and this load knows better now: to be kept */
	bool skip_failed_items;
	bool has_validators;	   /* some published load of the task has an ETag or a date */
	struct held_answers *held; /* see conditional.c; NULL: nothing was asked for yet */

	/* what is to be fetched */
	dlist_head items; /* of extract_item: begun and not finished */
	int item_count;
	int items_read; /* numbers below are begun or finished */
	int begun;		/* length of "items" */

	/* what has been committed */
	int next_slice;
	int64 bytes;   /* of the load so far */
	int64 records; /* of this attempt, for progress */
	bool partition_tried;
	double commit_ms; /* what the last commit of slices took */
} extraction;

/* One item of for_each, or the one there is without it.  Lives in its own context. */
typedef struct extract_item
{
	dlist_node node; /* in extraction->items */
	MemoryContext context;
	int number;

	/* its request, without page */
	const char *method;
	char *url;
	List *headers; /* of http_header * */
	char *body;	   /* NULL: none */
	Datum values;  /* the row of for_each as jsonb */
	bool has_values;

	/* where it goes on: page "next_page" at "at", unless that is at the end */
	int next_page;
	cursor at;
	bool at_asked;		/* that page is under way */
	int *missing;		/* pages known to exist and not committed, to be asked for */
	int missing_count;	/* of those left in it */
	int page_count;		/* pages known to exist; 0: not known */
	int page_size;		/* records of its first page */
	dlist_head fetches; /* of page_fetch: under way or not yet committed */
	uint64 *digests;	/* of the pages of page_count; 0: not seen */
	uint64 last_digest; /* of the page before next_page; 0: none */
} extract_item;

/* What came of fetching a page. */
typedef enum page_outcome
{
	PAGE_FAILED,	  /* "exchange" tells why, or "rule", or the two below */
	PAGE_NOT_WHOLE,	  /* its structure is broken: records.problem */
	PAGE_NO_RECORDS,  /* it has none where they should be: records.missing */
	PAGE_UNREADABLE,  /* it cannot be read, now or later: failure */
	PAGE_IS_ERROR,	  /* it is an error that calls itself a success: error_message */
	PAGE_RECORDS,	  /* "records", possibly none */
	PAGE_END,		  /* an answer that a rule or its status makes an empty last page */
	PAGE_ABSENT,	  /* what was asked for is not there */
	PAGE_NOT_MODIFIED /* the records held are still right */
} page_outcome;

/* A page that is under way, or has come.  Lives in the exchange's context. */
typedef struct page_fetch
{
	http_exchange exchange;
	dlist_node node; /* in item->fetches */
	extraction *e;
	extract_item *item;
	int page;
	cursor at;
	bool in_pool;
	page_outcome outcome;
	split_result records;
	page_failure failure;
	char *error_message;
	size_t bytes;			/* of the body, decompressed */
	page_text *text;		/* the body, when it had to be looked at before it is read */
	const error_rule *rule; /* the one that decided; NULL: none did */
	int broken;				/* answers so far that were not whole */
	uint64 digest;			/* of the body; 0: not computed */
	cursor next;			/* where the item goes on after it */
	int64 held_load;		/* the slice whose records a 304 re-uses; 0: none */
	int held_slice;
	cursor held_next;		  /* where that one went on */
	int held_page_count;	  /* pages its item was known to have; 0: not known */
	int held_records;		  /* of that slice */
	int held_quarantined;	  /* of these, when it was loaded */
	int64 held_partitions[2]; /* that its rows are in */
	pagination held_pages;	  /* of its load: what "auto" turned out to be */
	bool held_pages_differ;	  /* ... and did */
	raw_counts counts;		  /* once its records are written */
} page_fetch;

/* plan.c */
extern page_fetch *plan_next_page(extraction *e);
extern void plan_page_came(page_fetch *fetch);
extern void plan_page_committed(page_fetch *fetch);
extern extract_item *plan_item_with_too_many_pages(const extraction *e);
extern void plan_raise_too_many_pages(const extraction *e, const extract_item *item)
	pg_attribute_noreturn();

/* items.c */
extern void items_read(extraction *e);
extern void items_drop(extraction *e, extract_item *item);

/* item_errors.c */
extern bool item_error_is_own(const extraction *e, const ErrorData *error, const page_fetch *fetch);
extern void item_skip(extraction *e, extract_item *item, const ErrorData *error);
extern void items_check_some_came(extraction *e);

/* page_fetch.c */
extern http_pool *page_fetch_pool(extraction *e);
extern page_fetch *page_fetch_create(extract_item *item, extraction *e, int page, const cursor *at);
extern void page_fetch_submit(extraction *e);
extern void page_fetch_free(page_fetch *fetch);
extern bool page_fetch_concerns_all(const page_fetch *fetch);
extern void page_fetch_raise(const page_fetch *fetch) pg_attribute_noreturn();

/* page_digest.c */
extern uint64 page_digest(const page_fetch *fetch);

/* conditional.c */
extern void conditional_prepare(page_fetch *fetch);
extern char *conditional_request_key(const page_fetch *fetch);
extern void conditional_reuse(extraction *e, page_fetch **fetches, const int *slices, int count);

/* slice.c */
extern int slices_commit(extraction *e, List *fetches, ErrorData **error, page_fetch **failed);

#endif /* ETL_EXTRACTION_H */
