/*-------------------------------------------------------------------------
 *
 * fuzz_allowed_hosts.c
 *	  The list of allowed hosts, held against any host and address.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include <netinet/in.h>

#include "http/address.h"

/*
 * Input: a list, a line feed, a host, a line feed, the 4 or 16 bytes of its address.  An
 * address that is listed may be connected to.
 */
FUZZ_TARGET(allowed_hosts)
{
	char *list = fuzz_take_line(&input, &size);
	char *host = fuzz_take_line(&input, &size);
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

	(void) http_allowed_hosts_problem(list);
	(void) http_host_allowed(list, host);
	if (size >= 4)
	{
		memcpy(&v4.sin_addr, input, 4);
		(void) http_address_allowed(list, host, (struct sockaddr *) &v4);
		fuzz_require(http_address_allowed("0.0.0.0/0", host, (struct sockaddr *) &v4));
	}
	if (size >= 16)
	{
		memcpy(&v6.sin6_addr, input, 16);
		(void) http_address_allowed(list, host, (struct sockaddr *) &v6);
		fuzz_require(http_address_allowed("::/0", host, (struct sockaddr *) &v6));
	}
}
