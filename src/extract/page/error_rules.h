/*-------------------------------------------------------------------------
 *
 * error_rules.h
 *	  What a task says about answers that are not simply a page.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_ERROR_RULES_H
#define ETL_ERROR_RULES_H

#include "postgres.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

#include "http/http.h"

/* What to do about an answer. */
typedef enum rule_action
{
	RULE_NONE, /* no rule fits */
	RULE_RETRY,
	RULE_IGNORE, /* as an empty page */
	RULE_FAIL,
	RULE_RATE_LIMITED,
	RULE_REFRESH_AUTH,
	RULE_STOP_PAGINATION,
	RULE_ABSENT /* what was asked for is not there (yet) */
} rule_action;

/* One rule; what is not given fits every answer.  Texts are UTF-8. */
typedef struct error_rule
{
	List *statuses; /* of char *: "404", "5xx" */
	List *path;		/* of path_step *: a value of the body */
	char *equals;	/* what that value is; NULL: anything that says something */
	char *contains; /* a text within the body, or within that value */
	rule_action action;
	char *message; /* for RULE_FAIL; NULL: none */
} error_rule;

extern List *error_rules_read(Jsonb *rules);
extern const char *error_rule_action_name(const error_rule *rule);
extern bool error_rules_look_at_body(const List *rules, const http_response *response);
extern const error_rule *error_rules_match(const List *rules, const http_response *response,
										   const char *body, size_t length);

#endif /* ETL_ERROR_RULES_H */
