/*-------------------------------------------------------------------------
 *
 * client.c
 *	  libcurl's multi handle, driven by a WaitEventSet.
 *
 * curl tells us by callbacks which sockets it waits for and when it wants to be
 * called; we wait for those, the latch and the postmaster's death, and answer
 * interrupts at every wake.  No callback of curl raises, and no interrupt is
 * answered inside a call of curl, so that no longjmp ever crosses libcurl.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "http/transfer.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/memutils.h"

static void start_library(void);
static void check_options(const http_client_options *options);
static int socket_callback(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg);
static int timer_callback(CURLM *multi, long timeout_ms, void *arg);
static void free_client(void *arg);
static void socket_action(http_client *client, curl_socket_t fd, int events);
static bool collect(http_client *client);
static bool run_timer(http_client *client);

/*
 * Fill in the defaults.
 */
void
http_client_options_init(http_client_options *options)
{
	memset(options, 0, sizeof(*options));
	options->connect_timeout_ms = 10000;
	options->timeout_ms = 60000;
	options->max_body_bytes = INT64CONST(256) * 1024 * 1024;
	options->max_redirects = 5;
	options->verify_tls = true;
	options->max_connections = 16;
}

/*
 * Raise 22023 for options that make no sense.
 */
static void
check_options(const http_client_options *options)
{
	if (options->connect_timeout_ms <= 0 || options->timeout_ms <= 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("HTTP timeouts must be greater than zero")));
	if (options->max_body_bytes < 0 || options->max_body_bytes > PG_INT64_MAX / 4)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("maximum size of an HTTP answer is out of range")));
	if (options->max_redirects < 0 || options->max_connections <= 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("number of HTTP redirects or connections is out of range")));
}

/*
 * Initialise libcurl once in this process.  Raises when that fails, and in the
 * postmaster, whose children would share what it opened.
 */
static void
start_library(void)
{
	static bool started = false;
	CURLcode code;
	sigset_t saved;

	if (started)
		return;
	if (IsPostmasterEnvironment && !IsUnderPostmaster)
		elog(ERROR, "an HTTP client cannot be made in the postmaster");

	http_block_signals(&saved);
	code = curl_global_init(CURL_GLOBAL_DEFAULT);
	http_restore_signals(&saved);
	if (code != CURLE_OK)
		ereport(ERROR, (errcode(ERRCODE_SYSTEM_ERROR),
						errmsg("could not initialize libcurl: %s", curl_easy_strerror(code))));
	started = true;
}

/*
 * Make a client in a new child of "parent"; it goes with that context, or by
 * http_client_destroy.  "options" may be NULL for the defaults and is copied.
 * Raises 22023 for bad options, and when there is no memory.
 */
http_client *
http_client_create(MemoryContext parent, const http_client_options *options)
{
	MemoryContext context;
	http_client *client;
	http_client_options *own;

	if (options != NULL)
		check_options(options);
	start_library();

	context = AllocSetContextCreate(parent, "etl http client", ALLOCSET_SMALL_SIZES);
	client = MemoryContextAllocZero(context, sizeof(http_client));
	client->context = context;
	client->timer = -1;
	dlist_init(&client->transfers);

	own = &client->options;
	if (options != NULL)
		*own = *options;
	else
		http_client_options_init(own);
	if (own->ca_file != NULL)
		own->ca_file = MemoryContextStrdup(context, own->ca_file);
	if (own->certificate != NULL)
		own->certificate = MemoryContextStrdup(context, own->certificate);
	if (own->key != NULL)
		own->key = MemoryContextStrdup(context, own->key);
	if (own->proxy != NULL)
		own->proxy = MemoryContextStrdup(context, own->proxy);
	if (own->user_agent != NULL)
		own->user_agent = MemoryContextStrdup(context, own->user_agent);
	own->allowed_hosts =
		MemoryContextStrdup(context, own->allowed_hosts != NULL ? own->allowed_hosts : "");
	if (own->proxy != NULL && own->proxy[0] != '\0')
	{
		client->proxy_host = http_url_host(context, own->proxy, &client->proxy_port);
		if (client->proxy_host == NULL)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("the URL of the HTTP proxy is malformed")));
	}

	client->reset.func = free_client;
	client->reset.arg = client;
	MemoryContextRegisterResetCallback(context, &client->reset);

	client->idle = MemoryContextAlloc(context, sizeof(CURL *) * own->max_connections);

	client->multi = curl_multi_init();
	if (client->multi == NULL)
	{
		MemoryContextDelete(context);
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	}
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, socket_callback);
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, (void *) client);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, timer_callback);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, (void *) client);
	curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long) own->max_connections);
	/* transfers beyond it wait for a connection to come free */
	curl_multi_setopt(client->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long) own->max_connections);
	return client;
}

/*
 * Free a client, its connections, and what still runs on it.
 */
void
http_client_destroy(http_client *client)
{
	MemoryContextDelete(client->context);
}

/*
 * The client's context is reset or deleted: free what is not in it.
 */
static void
free_client(void *arg)
{
	http_client *client = arg;
	dlist_mutable_iter iter;
	sigset_t saved;

	client->closing = true;
	dlist_foreach_modify (iter, &client->transfers)
	{
		http_transfer_abandon(dlist_container(http_transfer, node, iter.cur));
	}
	http_client_drop_events(client);

	http_block_signals(&saved);
	while (client->idle_count > 0)
		curl_easy_cleanup(client->idle[--client->idle_count]);
	if (client->multi != NULL)
		curl_multi_cleanup(client->multi);
	client->multi = NULL;
	http_restore_signals(&saved);
}

/*
 * curl's socket callback: note what curl waits for.  Never raises; out of memory it
 * returns -1, which ends the transfers.
 */
static int
socket_callback(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	http_client *client = arg;
	uint32 events = ((what & CURL_POLL_IN) ? WL_SOCKET_READABLE : 0) |
					((what & CURL_POLL_OUT) ? WL_SOCKET_WRITEABLE : 0);

	if (client->closing)
		return 0;
	if (what == CURL_POLL_REMOVE)
		events = 0;
	return http_socket_wanted(client, fd, events) ? 0 : -1;
}

/*
 * curl's timer callback: note when it wants to be called.  Never raises.
 */
static int
timer_callback(CURLM *multi, long timeout_ms, void *arg)
{
	http_client *client = arg;

	client->timer = timeout_ms < 0 ? -1 : http_monotonic_ms() + timeout_ms;
	return 0;
}

/*
 * Let curl work: on a socket, or on its timers when "fd" is CURL_SOCKET_TIMEOUT.  An
 * error of the multi handle itself ends all transfers.
 */
static void
socket_action(http_client *client, curl_socket_t fd, int events)
{
	int running;
	CURLMcode code;
	sigset_t saved;

	http_block_signals(&saved);
	code = curl_multi_socket_action(client->multi, fd, events, &running);
	http_restore_signals(&saved);

	if (code != CURLM_OK)
	{
		dlist_iter iter;

		dlist_foreach (iter, &client->transfers)
		{
			http_transfer *transfer = dlist_container(http_transfer, node, iter.cur);

			if (!transfer->added)
				continue;
			transfer->failure = HTTP_ERROR_OTHER;
			transfer->failure_message = curl_multi_strerror(code);
			http_transfer_hop_ended(transfer, CURLE_ABORTED_BY_CALLBACK);
		}
	}
}

/*
 * Hand the hops that curl has ended to their transfers.  Whether there was one.
 */
static bool
collect(http_client *client)
{
	CURLMsg *message;
	int left;
	bool any = false;

	while ((message = curl_multi_info_read(client->multi, &left)) != NULL)
	{
		char *transfer;
		CURLcode code = message->data.result;

		/* "message" does not survive what follows */
		if (message->msg == CURLMSG_DONE &&
			curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer) == CURLE_OK)
			http_transfer_hop_ended((http_transfer *) transfer, code);
		any = true;
	}
	return any;
}

/* Lets curl work if it wanted to be called by now. */
static bool
run_timer(http_client *client)
{
	if (client->timer < 0 || client->timer > http_monotonic_ms())
		return false;
	client->timer = -1; /* curl sets it again as it needs */
	socket_action(client, CURL_SOCKET_TIMEOUT, 0);
	return true;
}

/*
 * Wait for something to happen to the client's transfers, at most so many milliseconds
 * (-1: for ever), and act on it, until a transfer may have finished: the caller can start
 * another one before what the other sockets have is read.  Whether anything happened.
 * Raises what CHECK_FOR_INTERRUPTS() raises, and when there is no memory or descriptor
 * left; the transfers then have to be abandoned.
 */
bool
http_client_step(http_client *client, int max_ms)
{
	long timeout = max_ms;
	int count;
	bool happened;

	/* first, because what was added begins by it, and then waits for its socket again */
	CHECK_FOR_INTERRUPTS();
	happened = run_timer(client);
	if (collect(client))
		return true;

	http_client_build_events(client);
	if (client->timer >= 0)
	{
		double left = client->timer - http_monotonic_ms();

		left = left <= 0 ? 0 : left > INT_MAX / 2 ? INT_MAX / 2 : left + 1;
		timeout = timeout < 0 ? (long) left : Min(timeout, (long) left);
	}

	count = WaitEventSetWait(client->events, timeout, client->occurred, client->occurred_capacity,
							 PG_WAIT_EXTENSION);
	for (int i = 0; i < count; i++)
	{
		if (client->occurred[i].events & WL_LATCH_SET)
			ResetLatch(MyLatch);
	}
	CHECK_FOR_INTERRUPTS();

	happened = run_timer(client) || happened;
	for (int i = 0; i < count; i++)
	{
		WaitEvent *event = &client->occurred[i];
		int events = ((event->events & WL_SOCKET_READABLE) ? CURL_CSELECT_IN : 0) |
					 ((event->events & WL_SOCKET_WRITEABLE) ? CURL_CSELECT_OUT : 0);

		if (events == 0)
			continue;
		socket_action(client, event->fd, events);
		happened = true;
		if (collect(client))
			return true; /* what was not looked at will be reported again */
	}
	(void) collect(client);
	return happened;
}

/*
 * One request with its redirects; waits for the answer.  What goes wrong on the way
 * is in the answer, which lives in a child of the current memory context.  Raises
 * 22023 for a request that cannot be sent, and what CHECK_FOR_INTERRUPTS() raises;
 * the client can be used or destroyed after that.
 */
http_response *
http_perform(http_client *client, const http_request *request)
{
	http_transfer *transfer = http_transfer_start(client, request);

	PG_TRY();
	{
		while (!transfer->finished)
			http_client_step(client, -1);
	}
	PG_CATCH();
	{
		http_transfer_abandon(transfer);
		PG_RE_THROW();
	}
	PG_END_TRY();

	return http_transfer_finish(transfer);
}
