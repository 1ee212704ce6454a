/*-------------------------------------------------------------------------
 *
 * transfer.h
 *	  What the files of this room share and nobody else may see.
 *
 * A client owns one multi handle and the transfers that run on it; a transfer is
 * one request with all its redirects.  http_perform (client.c) is the wrapper for
 * one transfer; several may be started on one client and stepped together.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_HTTP_TRANSFER_H
#define ETL_HTTP_TRANSFER_H

#include "http/allowed_hosts.h"
#include "http/http.h"
#include "http/inflate.h"

#include <curl/curl.h>
#include <signal.h>

#include "lib/ilist.h"
#include "libpq/pqsignal.h"
#include "portability/instr_time.h"
#include "storage/latch.h"

/* How many addresses of one host are remembered as refused. */
#define MAX_REFUSALS 4

/* Bytes that grow up to a limit.  Never raises: it is filled inside curl's callbacks. */
typedef struct http_buffer
{
	MemoryContext context;
	char *data; /* NULL until the first byte; NUL-terminated after */
	size_t length;
	size_t capacity;
	size_t limit; /* of length */
} http_buffer;

/* The content coding of a body. */
typedef enum http_coding
{
	HTTP_CODING_IDENTITY = 0,
	HTTP_CODING_ZLIB,		/* gzip and deflate: zlib tells them apart */
	HTTP_CODING_UNSUPPORTED /* one that was not asked for */
} http_coding;

typedef struct http_decoder
{
	http_coding coding;
	bool started;  /* inflater has to be ended */
	bool complete; /* at the end of a gzip member */
	inflater inflater;
} http_decoder;

/* A socket curl waits for, or may wait for again. */
typedef struct http_socket
{
	curl_socket_t fd;
	bool is_connection; /* we are told when it is closed */
	uint32 events;		/* WL_SOCKET_*, 0: none now */
	uint32 watched;		/* the same in client->events; 0: it is not in there */
	int position;		/* in client->events */
} http_socket;

struct http_client
{
	MemoryContext context;
	MemoryContextCallback reset; /* frees curl's objects with the context */
	http_client_options options; /* a copy; the strings too */
	char *proxy_host;			 /* of options.proxy; NULL without one */
	int proxy_port;
	CURLM *multi;
	CURL **idle; /* easy handles kept for their TLS sessions, as many as connections */
	int idle_count;
	dlist_head transfers; /* of http_transfer */
	http_socket *sockets; /* see sockets.c */
	int socket_count;
	int socket_capacity;
	bool sockets_changed; /* since "events" was built */
	WaitEventSet *events; /* NULL when there is none */
	bool events_spoiled;  /* it has a member that is to be lost */
	int events_room;	  /* for so many more */
	WaitEvent *occurred;  /* room for what "events" can report */
	int occurred_capacity;
	double timer; /* when curl wants to be called, monotonic ms; < 0 never */
	bool closing; /* callbacks have nothing to keep any more */
};

typedef struct http_transfer
{
	dlist_node node; /* in client->transfers */
	http_client *client;
	const http_request *request; /* the caller's; outlives the transfer */
	http_response *response;
	CURL *easy;
	bool added; /* easy is in the multi handle */
	bool finished;
	bool sent;		/* its admission is used */
	double started; /* monotonic ms */

	/* The hop under way: a redirect starts the next one. */
	char *url;
	char *host; /* of url; NULL if it has none */
	int port;
	bool post;
	bool with_body;
	bool with_secrets;
	int redirects;
	struct curl_slist *header_list;
	char curl_message[CURL_ERROR_SIZE];

	/* What the callbacks keep of the hop's answer. */
	http_buffer head;  /* header lines as received, of the last status line */
	size_t head_total; /* bytes of all of them, so that 1xx answers count too */
	int head_lines;
	bool head_complete;
	http_buffer body;
	http_decoder decoder;
	int64 wire_bytes;
	http_refusal refusals[MAX_REFUSALS]; /* of addresses that were not allowed */
	int refusal_count;
	bool address_allowed; /* another one was */
	http_error failure;	  /* why a callback stopped the transfer */
	const char *failure_message;
} http_transfer;

/*
 * Milliseconds of a clock that is never set.  For differences only.
 */
static inline double
http_monotonic_ms(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return INSTR_TIME_GET_MILLISEC(now);
}

/*
 * Block every signal while curl runs, because a call of it may start a thread (its
 * resolver) and a thread inherits the mask: PostgreSQL's handlers must run in the
 * main thread only.  SIGQUIT is not in a backend's BlockSig, hence the addition.
 * Pair with http_restore_signals.
 */
static inline void
http_block_signals(sigset_t *saved)
{
	sigset_t all = BlockSig;

	sigaddset(&all, SIGQUIT);
	sigprocmask(SIG_SETMASK, &all, saved);
}

static inline void
http_restore_signals(const sigset_t *saved)
{
	sigprocmask(SIG_SETMASK, saved, NULL);
}

/* transfer.c */
extern http_transfer *http_transfer_start(http_client *client, const http_request *request);
extern void http_transfer_hop_ended(http_transfer *transfer, CURLcode code);
extern http_response *http_transfer_finish(http_transfer *transfer);
extern void http_transfer_abandon(http_transfer *transfer);

/* easy.c */
extern CURLcode http_easy_configure(http_transfer *transfer, int timeout_ms);
extern http_error http_error_of_curl(CURLcode code, const char *message, bool head_started);
extern char *http_curl_message(CURLcode code, const char *message);

/* client.c */
extern bool http_client_step(http_client *client, int max_ms);

/* sockets.c */
extern bool http_socket_opened(http_client *client, curl_socket_t fd);
extern void http_socket_closed(http_client *client, curl_socket_t fd);
extern bool http_socket_wanted(http_client *client, curl_socket_t fd, uint32 events);
extern void http_client_build_events(http_client *client);
extern void http_client_drop_events(http_client *client);

/* retry.c */
extern double http_backoff_ms(const http_retry_policy *policy, int attempts);

/* decode.c */
extern bool http_buffer_reserve(http_buffer *buffer, size_t more);
extern bool http_buffer_append(http_buffer *buffer, const char *data, size_t length);
extern void http_buffer_free(http_buffer *buffer);
extern http_coding http_coding_of(const char *value, size_t length);
extern http_error http_decode(http_decoder *decoder, http_buffer *body, const char *data,
							  size_t length);
extern bool http_decode_is_whole(const http_decoder *decoder);
extern void http_decode_end(http_decoder *decoder);

/* header.c */
extern const char *http_head_find(const http_buffer *head, const char *name, size_t *length);
extern char *http_head_value(const http_buffer *head, const char *name);
extern List *http_head_parse(const http_buffer *head);
extern void http_check_headers(List *headers);
extern bool http_header_is_secret(const http_header *header);

#endif /* ETL_HTTP_TRANSFER_H */
