/*-------------------------------------------------------------------------
 *
 * address.h
 *	  Which addresses may be connected to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_HTTP_ADDRESS_H
#define ETL_HTTP_ADDRESS_H

#include "postgres.h"
#include <sys/socket.h>

extern const char *http_allowed_hosts_problem(const char *list);
extern bool http_host_allowed(const char *list, const char *host);
extern bool http_address_allowed(const char *list, const char *host,
								 const struct sockaddr *address);

#endif /* ETL_HTTP_ADDRESS_H */
