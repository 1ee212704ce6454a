/*-------------------------------------------------------------------------
 *
 * http.h
 *	  One HTTP request or many, waited for as PostgreSQL waits.
 *
 * This room knows no table and no pipeline.  Everything that goes wrong on the
 * network is a value in http_response; the only thing these functions raise is
 * what CHECK_FOR_INTERRUPTS() raises (57014, 57P01) and bad arguments.  They may be
 * called with no transaction open, and should be.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_HTTP_H
#define ETL_HTTP_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"

typedef struct http_client http_client;

/* One header.  Names of responses are lower case; values are trimmed. */
typedef struct http_header
{
	char *name;
	char *value;
	bool secret; /* never printed, never sent to another origin; some names always are */
} http_header;

/* Settings of a client: one source, many requests.  Times in milliseconds. */
typedef struct http_client_options
{
	int connect_timeout_ms;	   /* default 10,000 */
	int timeout_ms;			   /* a whole transfer, default 60,000 */
	int64 max_body_bytes;	   /* decompressed, counted while streaming; default 256 MB */
	int max_redirects;		   /* default 5; one more is an error */
	bool verify_tls;		   /* default true */
	const char *ca_file;	   /* NULL: the system's */
	bool tls_1_3;			   /* not less; default false: 1.2 */
	const char *certificate;   /* our own, PEM text; NULL: none. Is a credential */
	const char *key;		   /* of certificate, PEM text, not encrypted */
	const char *proxy;		   /* NULL: none; the environment is not consulted */
	const char *user_agent;	   /* NULL: etl/<version> */
	int max_connections;	   /* of a client, kept alive; default 16 */
	const char *allowed_hosts; /* see allowed_hosts.c; NULL or empty: all public addresses */
} http_client_options;

/* Where a request goes on that was stopped before it was sent: see http_admission. */
typedef struct http_hop
{
	const char *url;
	bool post;
	bool with_body;
	bool with_secrets;
	int redirects; /* so far */
} http_hop;

/*
 * Who decides when requests may be sent: a budget of ours.  "admit" is called with no
 * transaction open and may raise; "sent" and "late" are called inside libcurl and must do
 * no more than count.
 */
typedef struct http_admission
{
	void *arg;

	/*
	 * How many of "wanted" requests may be sent, at most all of them, and how long
	 * (*valid_until).  When none, *ask_again says when to ask again; asking earlier does no
	 * harm.
	 */
	int (*admit)(void *arg, int wanted, TimestampTz *valid_until, TimestampTz *ask_again);

	/* One that was admitted until then goes on the wire now, or came too late for that. */
	void (*sent)(void *arg, TimestampTz valid_until);
	void (*late)(void *arg, TimestampTz valid_until);
} http_admission;

typedef struct http_request
{
	const char *method; /* GET or POST */
	const char *url;	/* absolute, http or https */
	List *headers;		/* of http_header * */
	const char *body;	/* NULL for none */
	size_t body_length;
	bool secret_body; /* holds credentials: a redirect never repeats it at another origin */
	bool anonymous;	  /* no secret header and no client certificate goes with it */

	/*
	 * Who admits it, NULL if it needs no admission, and until when that is good.  It is
	 * sent once, and not after this time: a redirect, or a second try of libcurl's, ends it
	 * with HTTP_ERROR_ADMISSION, and it goes on at response->hop once it is admitted again.
	 */
	const http_admission *admission;
	TimestampTz admitted_until;
	const http_hop *hop; /* go on here instead of at url; NULL: at url */
} http_request;

typedef enum http_error
{
	HTTP_OK = 0,		  /* an answer arrived whole; look at status */
	HTTP_ERROR_RESOLVE,	  /* name not found */
	HTTP_ERROR_CONNECT,	  /* refused, unreachable */
	HTTP_ERROR_TIMEOUT,	  /* connect or total */
	HTTP_ERROR_TLS,		  /* certificate or handshake: not retried */
	HTTP_ERROR_RESET,	  /* connection lost, body shorter than promised, no HTTP */
	HTTP_ERROR_DECODE,	  /* broken compressed body */
	HTTP_ERROR_TOO_LARGE, /* body or headers over the cap: not retried */
	HTTP_ERROR_REDIRECT,  /* too many, or to a scheme that is not allowed */
	HTTP_ERROR_URL,		  /* malformed, or a scheme that is not allowed */
	HTTP_ERROR_ADDRESS,	  /* every address of the host is refused: not retried */
	HTTP_ERROR_ADMISSION, /* stopped before it was sent: goes on when admitted again */
	HTTP_ERROR_OTHER	  /* no memory, a refusal of libcurl: not retried */
} http_error;

typedef struct http_response
{
	MemoryContext context; /* holds all below; MemoryContextDelete frees it */
	http_error error;
	const char *error_message; /* libcurl's words, without credentials; NULL if HTTP_OK */
	const char *error_hint;	   /* what to do about it; NULL if that depends on error alone */
	int status;				   /* 0 when no status line arrived */
	List *headers;			   /* of http_header *, those of the last answer, bytes as received */
	char *body; /* never NULL, NUL-terminated; may contain NULs; empty after errors but REDIRECT */
	size_t body_length;
	int64 wire_bytes;		   /* body bytes as transferred */
	double seconds;			   /* whole transfer */
	const char *effective_url; /* after redirects, as sent: print http_url_redact() of it */
	http_hop hop;			   /* of HTTP_ERROR_ADMISSION: where to go on */
} http_response;

/* What to do about an answer. */
typedef enum http_verdict
{
	HTTP_VERDICT_NONE = 0,	   /* there is no answer yet */
	HTTP_VERDICT_SUCCESS,	   /* 2xx (and 304) */
	HTTP_VERDICT_RETRY,		   /* timeout, reset, 408, 5xx, broken compression */
	HTTP_VERDICT_RATE_LIMITED, /* 429, or 403 that says so */
	HTTP_VERDICT_REFRESH_AUTH, /* 401, where there may be other credentials to try */
	HTTP_VERDICT_FAIL		   /* anything else */
} http_verdict;

typedef struct http_retry_policy
{
	int max_attempts;			  /* including the first; default 5 */
	int base_delay_ms;			  /* default 500 */
	int max_delay_ms;			  /* default 60,000 */
	int64 max_rate_limit_wait_ms; /* all rate-limit waits of one request together; default 1 hour */
} http_retry_policy;

/* How far the attempts of one request are.  Starts as zeros. */
typedef struct http_retry_state
{
	int counted;		/* attempts that count */
	int open_ended;		/* limits whose end nobody knows, in a row */
	int64 limit_waited; /* for rate limits, ms */
} http_retry_state;

typedef enum http_wait_reason
{
	HTTP_WAIT_RETRY,
	HTTP_WAIT_RATE_LIMIT
} http_wait_reason;

/*
 * Told before each wait, so that progress can show it.  "until" is when the next
 * attempt starts; "response" is the answer that made us wait, NULL for a limit that was
 * known before this request.  May raise.
 */
typedef void (*http_wait_callback)(void *arg, http_wait_reason reason, TimestampTz until,
								   int next_attempt, const http_response *response);

/* What http_fetch did. */
typedef struct http_outcome
{
	http_verdict verdict; /* of the last answer */
	int attempts;		  /* requests made, rate-limited ones too */
	int64 waited_ms;
	TimestampTz rate_limited_until; /* 0 unless the wait asked for was longer than allowed */
} http_outcome;

extern void http_client_options_init(http_client_options *options);
extern void http_retry_policy_init(http_retry_policy *policy);
extern http_client *http_client_create(MemoryContext parent, const http_client_options *options);
extern void http_client_destroy(http_client *client);
extern http_response *http_perform(http_client *client, const http_request *request);
extern http_response *http_fetch(http_client *client, const http_request *request,
								 const http_retry_policy *policy, http_wait_callback waiting,
								 void *arg, http_outcome *outcome);
extern http_verdict http_classify(const http_response *response, TimestampTz now,
								  TimestampTz *not_before);
extern bool http_retry_at(const http_retry_policy *policy, http_retry_state *state,
						  const http_response *response, http_verdict verdict, TimestampTz now,
						  TimestampTz not_before, TimestampTz *until, bool *too_long);
extern const char *http_response_header(const http_response *response, const char *name);
extern const char *http_error_name(http_error error);

/* url.c */
extern char *http_url_resolve(const char *base, const char *reference);
extern char *http_url_host(MemoryContext context, const char *url, int *port);
extern bool http_url_has_userinfo(const char *url);
extern bool http_url_same_origin(const char *a, const char *b);
extern char *http_url_redact(const char *url);
extern void http_append_encoded(StringInfo out, const char *text, bool keep_slashes);
extern char *http_url_add_parameter(const char *url, const char *name, const char *value);

/* link_header.c */
extern char *http_link_target(const char *header_value, const char *rel, bool *malformed);

/* retry_after.c */
extern bool http_parse_retry_after(const char *value, TimestampTz now, TimestampTz *until);

#endif /* ETL_HTTP_H */
