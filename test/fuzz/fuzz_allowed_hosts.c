/*-------------------------------------------------------------------------
 *
 * fuzz_allowed_hosts.c
 *	  The list of allowed hosts, held against any host and address.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include <netinet/in.h>

#include "http/allowed_hosts.h"

/* What is said of a refusal can be said. */
static void
explain(const http_refusal *refusal, const char *list, const char *host)
{
	if (refusal->reason == HTTP_NOT_REFUSED)
		return;
	fuzz_require(http_refusal_message(refusal, "host", host) != NULL);
	fuzz_require(http_refusal_hint(refusal, 1, list, host) != NULL);
}

static void
connect_to(const char *list, const char *host, int port, const struct sockaddr *socket_address)
{
	http_address address;
	char text[HTTP_ADDRESS_TEXT_SIZE];
	http_refusal refusal = http_check_connection(list, host, port, socket_address);

	explain(&refusal, list, host);
	fuzz_require(http_address_of_socket(socket_address, &address));
	http_address_text(&address, text);
	fuzz_require(http_check_connection(text, host, port, socket_address).reason ==
				 HTTP_NOT_REFUSED);
	refusal = http_check_connection("", host, port, socket_address);
	fuzz_require(http_address_classify(&address) != HTTP_ADDRESS_LOOPBACK ||
				 refusal.reason != HTTP_NOT_REFUSED);
}

/*
 * Input: a list, a line feed, a host, a line feed, the 4 or 16 bytes of its address.  An
 * address that is listed may be connected to; one of this machine that is not, may not.
 */
FUZZ_TARGET(allowed_hosts)
{
	char *list = fuzz_take_line(&input, &size);
	char *host = fuzz_take_line(&input, &size);
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	http_refusal refusal;

	if (http_allowed_hosts_problem(list) != NULL)
		return; /* refused by the setting */
	refusal = http_check_proxied_host(list, host, 443);
	explain(&refusal, list, host);
	if (size >= 4)
	{
		memcpy(&v4.sin_addr, input, 4);
		connect_to(list, host, 443, (struct sockaddr *) &v4);
	}
	if (size >= 16)
	{
		memcpy(&v6.sin6_addr, input, 16);
		connect_to(list, host, 8080, (struct sockaddr *) &v6);
	}
}
