/*-------------------------------------------------------------------------
 *
 * allowed_hosts.h
 *	  What etl.allowed_hosts says of a connection.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_HTTP_ALLOWED_HOSTS_H
#define ETL_HTTP_ALLOWED_HOSTS_H

#include "http/address.h"

/* Why a connection may not be made. */
typedef enum http_refusal_reason
{
	HTTP_NOT_REFUSED = 0,
	HTTP_HOST_NOT_LISTED,	 /* there is a list, and the host is not on it */
	HTTP_ADDRESS_NOT_LISTED, /* it is at an address that must be listed as such */
	HTTP_NAME_NOT_ALLOWED	 /* a proxy would take the name for such an address */
} http_refusal_reason;

typedef struct http_refusal
{
	http_refusal_reason reason;
	bool of_connection; /* not of a host that a proxy would be asked for */
	bool has_address;
	http_address address;
	http_address_class class;
} http_refusal;

extern const char *http_allowed_hosts_problem(const char *list);
extern http_refusal http_check_connection(const char *list, const char *host, int port,
										  const struct sockaddr *socket_address);
extern http_refusal http_check_proxied_host(const char *list, const char *host, int port);
extern char *http_refusal_message(const http_refusal *refusal, const char *what, const char *host);
extern char *http_refusal_hint(const http_refusal *refusals, int count, const char *list,
							   const char *host);

#endif /* ETL_HTTP_ALLOWED_HOSTS_H */
