/*-------------------------------------------------------------------------
 *
 * easy.c
 *	  libcurl's easy handle: what we set on it, and what its errors mean to us.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "http/allowed_hosts.h"
#include "http/transfer.h"
#include "storage/fd.h"
#include "utils/timestamp.h"

#include <sys/socket.h>
#include <unistd.h>

#ifndef ETL_VERSION
#define ETL_VERSION "1.0"
#endif

#define MAX_HEADER_LINES 200
#define MAX_HEADER_BYTES (256 * 1024)
#define RECEIVE_BUFFER_BYTES (128 * 1024)

static size_t receive_header(char *data, size_t size, size_t count, void *arg);
static size_t receive_body(char *data, size_t size, size_t count, void *arg);

/*
 * Stop a transfer from inside a callback: note why, return a short count.
 */
static size_t
stop(http_transfer *transfer, http_error error, const char *message)
{
	transfer->failure = error;
	transfer->failure_message = message;
	return 0;
}

/*
 * curl's header callback: one line, of any answer on the way (100, 103, a proxy's).
 * Keeps the lines of the last one.  Never raises.
 */
static size_t
receive_header(char *data, size_t size, size_t count, void *arg)
{
	http_transfer *transfer = arg;
	size_t length = size * count;

	transfer->head_total += length;
	if (transfer->head_total > MAX_HEADER_BYTES)
		return stop(transfer, HTTP_ERROR_TOO_LARGE, "the headers of the answer are too large");

	if (length >= 5 && memcmp(data, "HTTP/", 5) == 0)
	{
		transfer->head.length = 0;
		transfer->head_lines = 0;
		transfer->head_complete = false;
	}
	else if (transfer->head_complete)
		return length; /* a trailer behind the body */

	if (++transfer->head_lines > MAX_HEADER_LINES)
		return stop(transfer, HTTP_ERROR_TOO_LARGE, "the answer has too many headers");
	if (!http_buffer_append(&transfer->head, data, length))
		return stop(transfer, HTTP_ERROR_OTHER, "out of memory");

	if (length <= 2 && (data[0] == '\r' || data[0] == '\n'))
	{
		size_t value_length;
		const char *value = http_head_find(&transfer->head, "content-encoding", &value_length);

		transfer->head_complete = true;
		transfer->decoder.coding =
			value == NULL ? HTTP_CODING_IDENTITY : http_coding_of(value, value_length);
	}
	return length;
}

/*
 * curl's write callback: a piece of the body, as coded by the server.  Never raises.
 */
static size_t
receive_body(char *data, size_t size, size_t count, void *arg)
{
	http_transfer *transfer = arg;
	size_t length = size * count;

	transfer->wire_bytes += length;
	switch (http_decode(&transfer->decoder, &transfer->body, data, length))
	{
		case HTTP_OK:
			return length;
		case HTTP_ERROR_TOO_LARGE:
			return stop(transfer, HTTP_ERROR_TOO_LARGE,
						"the body of the answer is larger than allowed");
		case HTTP_ERROR_DECODE:
			return stop(transfer, HTTP_ERROR_DECODE,
						transfer->decoder.coding == HTTP_CODING_UNSUPPORTED
							? "the content encoding of the answer is not supported"
							: "the compressed body of the answer is broken");
		default:
			return stop(transfer, HTTP_ERROR_OTHER, "out of memory");
	}
}

/*
 * curl opens a socket: see whether it may, and count it among the descriptors PostgreSQL
 * knows of, so that its file cache leaves room.  Never raises.
 */
static curl_socket_t
open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	http_transfer *transfer = arg;
	http_client *client = transfer->client;
	http_refusal refusal;
	curl_socket_t fd;

	if (client->proxy_host != NULL)
		refusal = http_check_connection(client->options.allowed_hosts, client->proxy_host,
										client->proxy_port, &address->addr);
	else
		refusal = http_check_connection(client->options.allowed_hosts, transfer->host,
										transfer->port, &address->addr);
	if (refusal.reason != HTTP_NOT_REFUSED)
	{
		/* another address of the host may be allowed: curl goes on to the next */
		if (transfer->refusal_count < MAX_REFUSALS)
			transfer->refusals[transfer->refusal_count++] = refusal;
		return CURL_SOCKET_BAD;
	}
	transfer->address_allowed = true;
	if (!AcquireExternalFD())
	{
		(void) stop(arg, HTTP_ERROR_CONNECT, "no file descriptor is left for a connection");
		return CURL_SOCKET_BAD;
	}
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	if (fd != CURL_SOCKET_BAD && !http_socket_opened(client, fd))
	{
		close(fd);
		fd = CURL_SOCKET_BAD;
	}
	if (fd == CURL_SOCKET_BAD)
		ReleaseExternalFD();
	return fd;
}

/*
 * curl closes a socket that open_socket made.
 */
static int
close_socket(void *arg, curl_socket_t fd)
{
	http_socket_closed(arg, fd);
	ReleaseExternalFD();
	return close(fd);
}

#if LIBCURL_VERSION_NUM >= 0x075000
/*
 * curl is about to put the request on the wire, which it does again when a connection it
 * kept turns out to be closed.  Stop what is not admitted, or no longer.  Never raises.
 */
static int
before_sending(void *arg, char *remote_address, char *local_address, int remote_port,
			   int local_port)
{
	http_transfer *transfer = arg;
	const http_admission *admission = transfer->request->admission;
	TimestampTz until = transfer->request->admitted_until;

	if (transfer->sent)
	{
		(void) stop(transfer, HTTP_ERROR_ADMISSION, "the connection was lost before an answer");
		return CURL_PREREQFUNC_ABORT;
	}
	if (GetCurrentTimestamp() > until)
	{
		admission->late(admission->arg, until);
		(void) stop(transfer, HTTP_ERROR_ADMISSION, "the connection took too long");
		return CURL_PREREQFUNC_ABORT;
	}
	transfer->sent = true;
	admission->sent(admission->arg, until);
	return CURL_PREREQFUNC_OK;
}
#endif

/*
 * Append one header to curl's list.  False when there is no memory.
 */
static bool
add_header(struct curl_slist **list, const char *name, const char *value)
{
	/* curl's way to say "empty", where "Name:" would mean "leave it out" */
	char *line = value[0] != '\0' ? psprintf("%s: %s", name, value) : psprintf("%s;", name);
	struct curl_slist *longer = curl_slist_append(*list, line);

	pfree(line);
	if (longer == NULL)
		return false;
	*list = longer;
	return true;
}

/*
 * Build the headers of the hop.  Secret ones only while the hop may carry them; those
 * that describe a body only with one.  False when there is no memory.
 */
static bool
build_headers(http_transfer *transfer)
{
	struct curl_slist **list = &transfer->header_list;
	bool encoding = false;
	ListCell *cell;

	curl_slist_free_all(*list);
	*list = NULL;

	foreach (cell, transfer->request->headers)
	{
		const http_header *header = lfirst(cell);

		if (http_header_is_secret(header) && !transfer->with_secrets)
			continue;
		if (!transfer->with_body && pg_strncasecmp(header->name, "content-", 8) == 0)
			continue;
		if (pg_strcasecmp(header->name, "content-length") == 0 ||
			pg_strcasecmp(header->name, "transfer-encoding") == 0)
			continue; /* curl's to say */
		if (pg_strcasecmp(header->name, "accept-encoding") == 0)
			encoding = true;
		if (!add_header(list, header->name, header->value))
			return false;
	}
	if (!encoding && !add_header(list, "Accept-Encoding", "gzip"))
		return false;

	/* Do not wait a second for a "100 Continue" that few servers send. */
	if (transfer->with_body)
	{
		struct curl_slist *longer = curl_slist_append(*list, "Expect:");

		if (longer == NULL)
			return false;
		*list = longer;
	}
	return true;
}

/*
 * Set up the transfer's easy handle for its hop, with "timeout_ms" left for it.
 * Returns the first refusal of curl.  May raise for lack of memory.  Called with
 * signals as they are: nothing here starts a thread.
 */
CURLcode
http_easy_configure(http_transfer *transfer, int timeout_ms)
{
	const http_client_options *options = &transfer->client->options;
	const http_request *request = transfer->request;
	CURL *easy = transfer->easy;
	CURLcode code = CURLE_OK;

#define SET(option, value)                                                                         \
	do                                                                                             \
	{                                                                                              \
		if (code == CURLE_OK)                                                                      \
			code = curl_easy_setopt(easy, option, value);                                          \
	} while (0)

	curl_easy_reset(easy);
	if (!build_headers(transfer))
		return CURLE_OUT_OF_MEMORY;

	transfer->curl_message[0] = '\0';
	SET(CURLOPT_PRIVATE, (void *) transfer);
	SET(CURLOPT_ERRORBUFFER, transfer->curl_message);
	SET(CURLOPT_URL, transfer->url);
	SET(CURLOPT_HTTPHEADER, transfer->header_list);
	SET(CURLOPT_HEADERFUNCTION, receive_header);
	SET(CURLOPT_HEADERDATA, (void *) transfer);
	SET(CURLOPT_WRITEFUNCTION, receive_body);
	SET(CURLOPT_WRITEDATA, (void *) transfer);
	SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
	SET(CURLOPT_OPENSOCKETDATA, (void *) transfer);
	SET(CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	SET(CURLOPT_CLOSESOCKETDATA, (void *) transfer->client); /* the connection outlives us */
	SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	if (request->admission != NULL)
	{
#if LIBCURL_VERSION_NUM >= 0x075000
		SET(CURLOPT_PREREQFUNCTION, before_sending);
		SET(CURLOPT_PREREQDATA, (void *) transfer);
#else
		transfer->sent = true; /* near enough: an older libcurl does not tell when */
#endif
	}
	SET(CURLOPT_BUFFERSIZE, (long) RECEIVE_BUFFER_BYTES);

	/* Refuse early what is too long by its own account; room for gzip's framing. */
	SET(CURLOPT_MAXFILESIZE_LARGE,
		(curl_off_t) (options->max_body_bytes + options->max_body_bytes / 1024 + 1024));

	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long) options->connect_timeout_ms);
	SET(CURLOPT_TIMEOUT_MS, (long) timeout_ms);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
	/* Let go of a resolver thread that hangs, rather than wait for it on cancel. */
	SET(CURLOPT_QUICK_EXIT, 1L);
#endif

#if LIBCURL_VERSION_NUM >= 0x075500
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
#else
	SET(CURLOPT_PROTOCOLS, (long) (CURLPROTO_HTTP | CURLPROTO_HTTPS));
	SET(CURLOPT_REDIR_PROTOCOLS, (long) (CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	SET(CURLOPT_PROXY, options->proxy != NULL ? options->proxy : "");
	SET(CURLOPT_NOPROXY, "");
	SET(CURLOPT_USERAGENT, options->user_agent != NULL ? options->user_agent : "etl/" ETL_VERSION);

	SET(CURLOPT_SSL_VERIFYPEER, options->verify_tls ? 1L : 0L);
	SET(CURLOPT_SSL_VERIFYHOST, options->verify_tls ? 2L : 0L);
	SET(CURLOPT_PROXY_SSL_VERIFYPEER, options->verify_tls ? 1L : 0L);
	SET(CURLOPT_PROXY_SSL_VERIFYHOST, options->verify_tls ? 2L : 0L);
	if (options->ca_file != NULL)
	{
		SET(CURLOPT_CAINFO, options->ca_file);
		SET(CURLOPT_PROXY_CAINFO, options->ca_file);
	}
	SET(CURLOPT_SSLVERSION,
		(long) (options->tls_1_3 ? CURL_SSLVERSION_TLSv1_3 : CURL_SSLVERSION_TLSv1_2));
	if (options->certificate != NULL && options->key != NULL && transfer->with_secrets)
	{
		struct curl_blob certificate = {(void *) options->certificate, strlen(options->certificate),
										CURL_BLOB_COPY};
		struct curl_blob key = {(void *) options->key, strlen(options->key), CURL_BLOB_COPY};

		SET(CURLOPT_SSLCERT_BLOB, &certificate);
		SET(CURLOPT_SSLKEY_BLOB, &key);
		/* else OpenSSL would ask the terminal for the passphrase of an encrypted key */
		SET(CURLOPT_KEYPASSWD, "");
	}

	if (transfer->with_body || transfer->post)
	{
		SET(CURLOPT_POST, 1L);
		SET(CURLOPT_POSTFIELDSIZE_LARGE,
			(curl_off_t) (transfer->with_body ? request->body_length : 0));
		SET(CURLOPT_POSTFIELDS, transfer->with_body ? request->body : "");
		if (!transfer->post)
			SET(CURLOPT_CUSTOMREQUEST, "GET");
	}
	else
		SET(CURLOPT_HTTPGET, 1L);

	/* A libcurl without HTTP/2 refuses this, and speaks 1.1. */
	if (code == CURLE_OK)
		(void) curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_2TLS);

#undef SET
	return code;
}

/*
 * Our kind of curl's error.  "message" is what it wrote about it (may be empty),
 * "head_started" whether a status line had arrived.
 */
http_error
http_error_of_curl(CURLcode code, const char *message, bool head_started)
{
	switch (code)
	{
		case CURLE_OK:
			return HTTP_OK;
		case CURLE_COULDNT_RESOLVE_HOST:
		case CURLE_COULDNT_RESOLVE_PROXY:
			return HTTP_ERROR_RESOLVE;
		case CURLE_COULDNT_CONNECT:
		case CURLE_INTERFACE_FAILED:
		case CURLE_PROXY:
			return HTTP_ERROR_CONNECT;
		case CURLE_OPERATION_TIMEDOUT:
			return HTTP_ERROR_TIMEOUT;
		case CURLE_SSL_CONNECT_ERROR:
			/* a connection lost in the handshake says nothing about certificates */
			if (strstr(message, "SSL_ERROR_SYSCALL") != NULL ||
				strstr(message, "unexpected eof") != NULL ||
				strstr(message, "Connection reset") != NULL)
				return HTTP_ERROR_RESET;
			return HTTP_ERROR_TLS;
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_CIPHER:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_CRL_BADFILE:
		case CURLE_SSL_ISSUER_ERROR:
		case CURLE_SSL_ENGINE_NOTFOUND:
		case CURLE_SSL_ENGINE_SETFAILED:
		case CURLE_SSL_ENGINE_INITFAILED:
		case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
		case CURLE_SSL_INVALIDCERTSTATUS:
		case CURLE_SSL_CLIENTCERT:
		case CURLE_USE_SSL_FAILED:
			return HTTP_ERROR_TLS;
		case CURLE_RECV_ERROR:
		case CURLE_SEND_ERROR:
			/* TLS 1.3 tells that a certificate is missing or bad after the handshake */
			if (strstr(message, "alert") != NULL && strstr(message, "SSL routines") != NULL)
				return HTTP_ERROR_TLS;
			return HTTP_ERROR_RESET;
		case CURLE_PARTIAL_FILE:
		case CURLE_GOT_NOTHING:
		case CURLE_HTTP2:
		case CURLE_HTTP2_STREAM:
		case CURLE_SSL_SHUTDOWN_FAILED:
		case CURLE_WEIRD_SERVER_REPLY:
			return HTTP_ERROR_RESET;
		case CURLE_UNSUPPORTED_PROTOCOL:
			/* also curl's word for an answer without a status line; schemes are checked before */
			return HTTP_ERROR_RESET;
		case CURLE_BAD_CONTENT_ENCODING:
			return HTTP_ERROR_DECODE;
		case CURLE_FILESIZE_EXCEEDED:
#if LIBCURL_VERSION_NUM >= 0x080600
		case CURLE_TOO_LARGE:
#endif
			return HTTP_ERROR_TOO_LARGE;
		case CURLE_OUT_OF_MEMORY:
			/* older libcurl's word for a header line of more than 100 KB as well */
			return head_started ? HTTP_ERROR_TOO_LARGE : HTTP_ERROR_OTHER;
		case CURLE_URL_MALFORMAT:
			return HTTP_ERROR_URL;
		default:
			return HTTP_ERROR_OTHER;
	}
}

/*
 * curl's words about an error, palloc'd.  Words that might quote a URL, and with it
 * credentials, give way to the general ones.
 */
char *
http_curl_message(CURLcode code, const char *message)
{
	if (message[0] == '\0' || strstr(message, "://") != NULL || strchr(message, '@') != NULL)
		message = curl_easy_strerror(code);
	return pstrdup(message);
}

/*
 * A short name of an error for messages and tables.
 */
const char *
http_error_name(http_error error)
{
	switch (error)
	{
		case HTTP_OK:
			return "ok";
		case HTTP_ERROR_RESOLVE:
			return "resolve";
		case HTTP_ERROR_CONNECT:
			return "connect";
		case HTTP_ERROR_TIMEOUT:
			return "timeout";
		case HTTP_ERROR_TLS:
			return "tls";
		case HTTP_ERROR_RESET:
			return "reset";
		case HTTP_ERROR_DECODE:
			return "decode";
		case HTTP_ERROR_TOO_LARGE:
			return "too_large";
		case HTTP_ERROR_REDIRECT:
			return "redirect";
		case HTTP_ERROR_URL:
			return "url";
		case HTTP_ERROR_ADDRESS:
			return "address";
		case HTTP_ERROR_ADMISSION:
			return "admission";
		case HTTP_ERROR_OTHER:
			break;
	}
	return "other";
}
