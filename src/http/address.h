/*-------------------------------------------------------------------------
 *
 * address.h
 *	  Addresses, and what kind of place each one is.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_HTTP_ADDRESS_H
#define ETL_HTTP_ADDRESS_H

#include "postgres.h"
#include <sys/socket.h>

/* An address as 16 bytes, IPv4 mapped into IPv6. */
typedef struct http_address
{
	unsigned char bytes[16];
} http_address;

/* Addresses from an address up to one with so many of its bits in common. */
typedef struct http_address_range
{
	http_address start;
	int bits;
} http_address_range;

typedef enum http_address_class
{
	HTTP_ADDRESS_PUBLIC = 0,
	HTTP_ADDRESS_PRIVATE,
	HTTP_ADDRESS_LOOPBACK,
	HTTP_ADDRESS_RESERVED, /* unspecified, multicast, broadcast, unassigned */
	HTTP_ADDRESS_LINK_LOCAL,
	HTTP_ADDRESS_METADATA
} http_address_class;

/* Room for an address as text. */
#define HTTP_ADDRESS_TEXT_SIZE 46

extern bool http_address_of_socket(const struct sockaddr *socket_address, http_address *address);
extern bool http_address_parse(const char *text, http_address *address);
extern int http_address_range_parse(const char *text, size_t length, http_address_range *range);
extern bool http_address_in_range(const http_address *address, const http_address_range *range);
extern bool http_address_embedded(const http_address *address, http_address *embedded);
extern http_address_class http_address_classify(const http_address *address);
extern const char *http_address_class_name(http_address_class class);
extern void http_address_text(const http_address *address, char *text);

#endif /* ETL_HTTP_ADDRESS_H */
