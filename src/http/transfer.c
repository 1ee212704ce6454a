/*-------------------------------------------------------------------------
 *
 * transfer.c
 *	  One request from its start to its answer, over all redirects.
 *
 * Redirects are followed here and not by libcurl, one hop at a time, because what
 * is secret must not reach another origin.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "http/transfer.h"
#include "utils/memutils.h"

/* CURLE_TOO_LARGE, since libcurl 8.6: a header line over its own limit. */
#define CURL_TOO_LARGE 100

static void fail(http_transfer *transfer, http_error error, const char *message);
static char *refusal_message(http_transfer *transfer);
static void refuse(http_transfer *transfer);
static void start_hop(http_transfer *transfer);
static void stop_hop(http_transfer *transfer);
static bool follow_redirect(http_transfer *transfer);
static void release(http_transfer *transfer, bool keep_easy);

/*
 * End the transfer with an error.  "message" must be free of credentials; it is copied.
 */
static void
fail(http_transfer *transfer, http_error error, const char *message)
{
	http_response *response = transfer->response;

	response->error = error;
	response->error_message = MemoryContextStrdup(response->context, message);
	transfer->finished = true;
}

/*
 * What etl.allowed_hosts has against the hop, palloc'd.
 */
static char *
refusal_message(http_transfer *transfer)
{
	const char *proxy = transfer->client->proxy_host;
	const http_refusal *refusal = &transfer->refusals[0];
	char *message = proxy != NULL && refusal->of_connection
						? http_refusal_message(refusal, "proxy", proxy)
						: http_refusal_message(refusal, "host", transfer->host);

	return transfer->redirects > 0 ? psprintf("after a redirect, %s", message) : message;
}

/*
 * End the transfer because etl.allowed_hosts does not allow where it leads.  May raise for
 * lack of memory.
 */
static void
refuse(http_transfer *transfer)
{
	http_client *client = transfer->client;
	char *hint = http_refusal_hint(
		transfer->refusals, transfer->refusal_count, client->options.allowed_hosts,
		client->proxy_host != NULL && transfer->refusals[0].of_connection ? client->proxy_host
																		  : transfer->host);

	transfer->response->error_hint = MemoryContextStrdup(transfer->response->context, hint);
	fail(transfer, HTTP_ERROR_ADDRESS, refusal_message(transfer));
	pfree(hint);
}

/*
 * Start a transfer on the client: http_client_step moves it, transfer->finished tells
 * its end, http_transfer_finish or http_transfer_abandon must follow.  The request has
 * to live as long; the answer lives in a child of the current memory context.
 * Raises 22023 for a request that cannot be sent (method, headers).
 */
http_transfer *
http_transfer_start(http_client *client, const http_request *request)
{
	http_transfer *transfer;
	http_response *response;
	MemoryContext context;
	char *url;

	if (request->method == NULL || request->url == NULL ||
		(strcmp(request->method, "GET") != 0 && strcmp(request->method, "POST") != 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid HTTP method \"%s\"", request->method ? request->method : ""),
				 errhint("Valid methods are GET and POST.")));
	http_check_headers(request->headers);

	context =
		AllocSetContextCreate(CurrentMemoryContext, "etl http response", ALLOCSET_SMALL_SIZES);
	response = MemoryContextAllocZero(context, sizeof(http_response));
	response->context = context;
	response->body = MemoryContextStrdup(context, "");
	response->effective_url = MemoryContextStrdup(context, request->url);

	transfer = MemoryContextAllocZero(client->context, sizeof(http_transfer));
	transfer->client = client;
	transfer->request = request;
	transfer->response = response;
	transfer->started = http_monotonic_ms();
	transfer->post = strcmp(request->method, "POST") == 0;
	transfer->with_body = request->body != NULL;
	transfer->with_secrets = !request->anonymous;
	if (request->hop != NULL)
	{
		transfer->post = request->hop->post;
		transfer->with_body = request->hop->with_body;
		transfer->with_secrets = request->hop->with_secrets;
		transfer->redirects = request->hop->redirects;
	}
	transfer->head.context = context;
	transfer->head.limit = MaxAllocSize;
	transfer->body.context = context;
	transfer->body.limit = (size_t) client->options.max_body_bytes;
	dlist_push_tail(&client->transfers, &transfer->node);

	url = http_url_resolve(NULL, request->hop != NULL ? request->hop->url : request->url);
	if (url == NULL)
	{
		fail(transfer, HTTP_ERROR_URL, "malformed URL, or a scheme other than http and https");
		return transfer;
	}
	transfer->url = MemoryContextStrdup(context, url);
	pfree(url);
	if (http_url_has_userinfo(transfer->url))
	{
		fail(transfer, HTTP_ERROR_URL, "credentials in a URL are not used");
		return transfer;
	}

	transfer->easy = client->idle_count > 0 ? client->idle[--client->idle_count] : curl_easy_init();
	if (transfer->easy == NULL)
	{
		fail(transfer, HTTP_ERROR_OTHER, "out of memory");
		return transfer;
	}
	start_hop(transfer);
	return transfer;
}

/*
 * Send the request to transfer->url.  Ends the transfer when that cannot even begin.
 */
static void
start_hop(http_transfer *transfer)
{
	http_client *client = transfer->client;
	double left = client->options.timeout_ms - (http_monotonic_ms() - transfer->started);
	CURLcode code;
	CURLMcode multi_code;
	sigset_t saved;

	transfer->head.length = 0;
	transfer->head_total = 0;
	transfer->head_lines = 0;
	transfer->head_complete = false;
	transfer->failure = HTTP_OK;
	transfer->refusal_count = 0;
	transfer->address_allowed = false;
	transfer->host = http_url_host(transfer->response->context, transfer->url, &transfer->port);
	http_buffer_free(&transfer->body);
	http_decode_end(&transfer->decoder);

	if (left < 1)
	{
		fail(transfer, HTTP_ERROR_TIMEOUT, "the time allowed was used up by redirects");
		return;
	}
	if (transfer->host == NULL)
	{
		fail(transfer, HTTP_ERROR_URL, "malformed URL");
		return;
	}
	if (client->proxy_host != NULL)
	{
		transfer->refusals[0] =
			http_check_proxied_host(client->options.allowed_hosts, transfer->host, transfer->port);
		if (transfer->refusals[0].reason != HTTP_NOT_REFUSED)
		{
			transfer->refusal_count = 1;
			refuse(transfer);
			return;
		}
	}

	code = http_easy_configure(transfer, (int) left);
	if (code != CURLE_OK)
	{
		fail(transfer, http_error_of_curl(code, "", false), curl_easy_strerror(code));
		return;
	}

	http_block_signals(&saved);
	multi_code = curl_multi_add_handle(client->multi, transfer->easy);
	http_restore_signals(&saved);
	if (multi_code != CURLM_OK)
	{
		fail(transfer, HTTP_ERROR_OTHER, curl_multi_strerror(multi_code));
		return;
	}
	transfer->added = true;
}

/*
 * Take the easy handle out of the multi handle, if it is in.
 */
static void
stop_hop(http_transfer *transfer)
{
	sigset_t saved;

	if (!transfer->added)
		return;
	http_block_signals(&saved);
	curl_multi_remove_handle(transfer->client->multi, transfer->easy);
	http_restore_signals(&saved);
	transfer->added = false;
}

/*
 * curl is done with the hop: follow a redirect, or end the transfer.  May raise for
 * lack of memory; the transfer can then only be abandoned.
 */
void
http_transfer_hop_ended(http_transfer *transfer, CURLcode code)
{
	http_response *response = transfer->response;
	long status = 0;
	http_error error;

	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	stop_hop(transfer);

	response->status = status >= 200 ? (int) status : 0;
	response->wire_bytes = transfer->wire_bytes;

	error = transfer->failure;
	if (code != CURLE_OK && error != HTTP_OK)
		fail(transfer, error, transfer->failure_message);
	else if (code != CURLE_OK)
	{
		char *message = http_curl_message(code, transfer->curl_message);

		error = http_error_of_curl(code, transfer->curl_message, transfer->head.length > 0);
		if (error == HTTP_ERROR_TOO_LARGE &&
			(code == CURLE_OUT_OF_MEMORY || code == CURL_TOO_LARGE))
			fail(transfer, error, "a header of the answer is too large");
		else if (transfer->refusal_count == 0)
			fail(transfer, error, message);
		else if (!transfer->address_allowed)
			refuse(transfer);
		else /* an allowed address did not answer, which may go away */
			fail(transfer, error, psprintf("%s; %s", message, refusal_message(transfer)));
		pfree(message);
	}
	else if (!http_decode_is_whole(&transfer->decoder))
		fail(transfer, HTTP_ERROR_DECODE, "the compressed body of the answer ends too early");
	else if (transfer->decoder.coding == HTTP_CODING_ZLIB && !transfer->decoder.started &&
			 status == 200)
	{
		/* not a byte, where even nothing takes twenty: fine only if announced */
		size_t length;
		const char *value = http_head_find(&transfer->head, "content-length", &length);

		if (value == NULL || length != 1 || *value != '0')
			fail(transfer, HTTP_ERROR_DECODE, "the compressed body of the answer is missing");
	}

	if (!transfer->finished && !follow_redirect(transfer))
		transfer->finished = true;
}

/*
 * If the answer redirects, start the next hop or end the transfer with an error, and
 * return true.  False when the answer stands as it is.
 */
static bool
follow_redirect(http_transfer *transfer)
{
	int status = transfer->response->status;
	char *location;
	char *next;

	if (status != 301 && status != 302 && status != 303 && status != 307 && status != 308)
		return false;
	location = http_head_value(&transfer->head, "location");
	if (location == NULL || location[0] == '\0')
		return false;

	if (transfer->redirects >= transfer->client->options.max_redirects)
	{
		fail(transfer, HTTP_ERROR_REDIRECT, "too many redirects");
		return true;
	}
	/* a line break in it, folded as old HTTP allowed, is no part of any URL */
	next = strpbrk(location, "\r\n") == NULL ? http_url_resolve(transfer->url, location) : NULL;
	pfree(location);
	if (next == NULL)
	{
		fail(transfer, HTTP_ERROR_REDIRECT,
			 "redirect to a malformed URL, or to a scheme other than http and https");
		return true;
	}

	if (http_url_has_userinfo(next))
	{
		fail(transfer, HTTP_ERROR_REDIRECT, "redirect to a URL with credentials in it");
		pfree(next);
		return true;
	}

	/* Once an origin is left, secrets are not sent again, not even back to it. */
	if (!http_url_same_origin(transfer->url, next))
		transfer->with_secrets = false;
	if (status == 303 || (transfer->post && (status == 301 || status == 302)))
	{
		transfer->post = false;
		transfer->with_body = false;
	}
	if (transfer->with_body && transfer->request->secret_body && !transfer->with_secrets)
	{
		fail(transfer, HTTP_ERROR_REDIRECT,
			 "redirect of a request with a secret body to another origin");
		pfree(next);
		return true;
	}

	pfree(transfer->url);
	transfer->url = MemoryContextStrdup(transfer->response->context, next);
	pfree(next);
	transfer->redirects++;
	if (transfer->sent)
		fail(transfer, HTTP_ERROR_ADMISSION, "a redirect is another request");
	else
		start_hop(transfer);
	return true;
}

/*
 * Free all of the transfer but the response.  The easy handle is kept for the next one
 * unless something went wrong with it.
 */
static void
release(http_transfer *transfer, bool keep_easy)
{
	http_client *client = transfer->client;
	sigset_t saved;

	stop_hop(transfer);
	http_decode_end(&transfer->decoder);
	if (transfer->easy != NULL)
	{
		http_block_signals(&saved);
		if (keep_easy && client->idle_count < client->options.max_connections)
		{
			curl_easy_reset(transfer->easy);
			client->idle[client->idle_count++] = transfer->easy;
		}
		else
			curl_easy_cleanup(transfer->easy);
		http_restore_signals(&saved);
	}
	curl_slist_free_all(transfer->header_list);
	dlist_delete(&transfer->node);
	pfree(transfer);

	if (dlist_is_empty(&client->transfers))
		http_client_drop_events(client);
}

/*
 * The answer of a transfer that has finished; frees the transfer.
 */
http_response *
http_transfer_finish(http_transfer *transfer)
{
	http_response *response = transfer->response;
	MemoryContext old = MemoryContextSwitchTo(response->context);

	Assert(transfer->finished);
	if (transfer->url != NULL)
		response->effective_url = transfer->url;
	if (response->error == HTTP_ERROR_ADMISSION)
		response->hop = (http_hop){.url = transfer->url,
								   .post = transfer->post,
								   .with_body = transfer->with_body,
								   .with_secrets = transfer->with_secrets,
								   .redirects = transfer->redirects};
	response->headers = http_head_parse(&transfer->head);
	http_buffer_free(&transfer->head);

	/* Half a body is nobody's data. */
	if (response->error == HTTP_OK || response->error == HTTP_ERROR_REDIRECT)
	{
		if (transfer->body.data != NULL)
		{
			response->body = transfer->body.data;
			response->body_length = transfer->body.length;
		}
	}
	else
		http_buffer_free(&transfer->body);

	response->seconds = (http_monotonic_ms() - transfer->started) / 1000.0;
	MemoryContextSwitchTo(old);

	release(transfer, response->error != HTTP_ERROR_OTHER);
	return response;
}

/*
 * Stop a transfer and free it.  Touches neither the request nor the response, which
 * may be gone with the memory context of somebody's ERROR.  Never raises.
 */
void
http_transfer_abandon(http_transfer *transfer)
{
	release(transfer, false);
}
