/*-------------------------------------------------------------------------
 *
 * address.c
 *	  Addresses, and what kind of place each one is.
 *
 * What a source may be on by default is the public Internet; everything that leads into
 * the server itself, its network or its cloud has a class of its own here.  Whether it
 * may be reached all the same is for allowed_hosts.c to say.
 *
 * Nothing here raises or allocates: it is called inside curl's callbacks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "http/address.h"

static const unsigned char ipv4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* IANA's special-purpose registries, less what is public after all; the first match counts. */
static const struct
{
	const char *range;
	http_address_class class;
} special_ranges[] = {
	{"169.254.169.254", HTTP_ADDRESS_METADATA}, /* most clouds */
	{"169.254.170.2", HTTP_ADDRESS_METADATA},	/* credentials of AWS tasks */
	{"169.254.170.23", HTTP_ADDRESS_METADATA},	/* and pods */
	{"fd00:ec2::254", HTTP_ADDRESS_METADATA},	/* AWS over IPv6 */
	{"fd00:ec2::23", HTTP_ADDRESS_METADATA},
	{"fd20:ce::254", HTTP_ADDRESS_METADATA},	/* Google Cloud over IPv6 */
	{"100.100.100.200", HTTP_ADDRESS_METADATA}, /* Alibaba Cloud */
	{"168.63.129.16", HTTP_ADDRESS_METADATA},	/* Azure's wire server */
	{"192.0.0.192", HTTP_ADDRESS_METADATA},		/* Oracle Cloud's first generation */
	{"169.254.0.0/16", HTTP_ADDRESS_LINK_LOCAL},
	{"fe80::/10", HTTP_ADDRESS_LINK_LOCAL},
	{"127.0.0.0/8", HTTP_ADDRESS_LOOPBACK},
	{"::1", HTTP_ADDRESS_LOOPBACK},
	{"10.0.0.0/8", HTTP_ADDRESS_PRIVATE}, /* RFC 1918 */
	{"172.16.0.0/12", HTTP_ADDRESS_PRIVATE},
	{"192.168.0.0/16", HTTP_ADDRESS_PRIVATE},
	{"100.64.0.0/10", HTTP_ADDRESS_PRIVATE},  /* RFC 6598, behind a carrier's NAT */
	{"198.18.0.0/15", HTTP_ADDRESS_PRIVATE},  /* RFC 2544, laboratories */
	{"fc00::/7", HTTP_ADDRESS_PRIVATE},		  /* RFC 4193 */
	{"fec0::/10", HTTP_ADDRESS_PRIVATE},	  /* site-local, once */
	{"64:ff9b:1::/48", HTTP_ADDRESS_PRIVATE}, /* RFC 8215, a network's own NAT64 */
	{"0.0.0.0/8", HTTP_ADDRESS_RESERVED},	  /* this host, by a name that hides it */
	{"::", HTTP_ADDRESS_RESERVED},			  /* likewise */
	{"192.0.0.0/24", HTTP_ADDRESS_RESERVED},
	{"192.88.99.0/24", HTTP_ADDRESS_RESERVED}, /* 6to4 relays */
	{"224.0.0.0/4", HTTP_ADDRESS_RESERVED},	   /* multicast */
	{"240.0.0.0/4", HTTP_ADDRESS_RESERVED},	   /* unassigned, and broadcast */
	{"2001::/23", HTTP_ADDRESS_RESERVED},	   /* protocol assignments, Teredo among them */
};

/* All of IPv6 that is in public use. */
static const char global_unicast[] = "2000::/3";

/* Where an IPv4 address is within an IPv6 one: its first byte. */
static const struct
{
	const char *range;
	int offset;
} embeddings[] = {
	{"::ffff:0:0:0/96", 12}, /* RFC 2765, translated */
	{"64:ff9b::/96", 12},	 /* RFC 6052, NAT64 */
	{"2002::/16", 2},		 /* 6to4 */
	{"::/96", 12},			 /* IPv4-compatible, once */
};

static void
map_ipv4(const void *four_bytes, http_address *address)
{
	memcpy(address->bytes, ipv4_prefix, sizeof(ipv4_prefix));
	memcpy(address->bytes + sizeof(ipv4_prefix), four_bytes, 4);
}

static bool
is_ipv4(const http_address *address)
{
	return memcmp(address->bytes, ipv4_prefix, sizeof(ipv4_prefix)) == 0;
}

/*
 * The address a socket is to be connected to.  False for what is no Internet address: a
 * Unix socket and whatever else there is.
 */
bool
http_address_of_socket(const struct sockaddr *socket_address, http_address *address)
{
	if (socket_address->sa_family == AF_INET6)
		memcpy(address->bytes, &((const struct sockaddr_in6 *) socket_address)->sin6_addr, 16);
	else if (socket_address->sa_family == AF_INET)
		map_ipv4(&((const struct sockaddr_in *) socket_address)->sin_addr, address);
	else
		return false;
	return true;
}

/* Reads an address; false when the text is none. */
bool
http_address_parse(const char *text, http_address *address)
{
	struct in_addr v4;

	if (inet_pton(AF_INET6, text, address->bytes) == 1)
		return true;
	if (inet_pton(AF_INET, text, &v4) != 1)
		return false;
	map_ipv4(&v4, address);
	return true;
}

/*
 * Reads "address" or "address/bits", "length" bytes of text.  Returns 0 when it is no
 * address at all, -1 when its bits are wrong, else 1.
 */
int
http_address_range_parse(const char *text, size_t length, http_address_range *range)
{
	char copy[HTTP_ADDRESS_TEXT_SIZE + 5];
	char *slash;
	char *end;
	bool written_as_ipv4;

	if (length >= sizeof(copy))
		return 0;
	memcpy(copy, text, length);
	copy[length] = '\0';
	slash = strchr(copy, '/');
	if (slash != NULL)
		*slash = '\0';
	if (!http_address_parse(copy, &range->start))
		return 0;
	written_as_ipv4 = strchr(copy, ':') == NULL;
	range->bits = 128;
	if (slash != NULL)
	{
		if (slash[1] < '0' || slash[1] > '9')
			return -1;
		range->bits = (int) strtol(slash + 1, &end, 10);
		if (*end != '\0' || range->bits < 0 || range->bits > (written_as_ipv4 ? 32 : 128))
			return -1;
		if (written_as_ipv4)
			range->bits += 96;
	}
	return 1;
}

/*
 * Is the address in the range?  A range of IPv6 that happens to hold the place where IPv4
 * is mapped, such as ::/0, holds no IPv4 address for that.
 */
bool
http_address_in_range(const http_address *address, const http_address_range *range)
{
	int whole = range->bits / 8;
	int mask = 0xff << (8 - range->bits % 8) & 0xff;

	if (range->bits < 96 && is_ipv4(address))
		return false;
	return memcmp(address->bytes, range->start.bytes, whole) == 0 &&
		   (range->bits % 8 == 0 ||
			((address->bytes[whole] ^ range->start.bytes[whole]) & mask) == 0);
}

/* The same with the range as text, one of the constants above. */
static bool
in_named_range(const http_address *address, const char *text)
{
	http_address_range range;

	return http_address_range_parse(text, strlen(text), &range) == 1 &&
		   http_address_in_range(address, &range);
}

/* The IPv4 address that an IPv6 one leads to, or is made from; false when there is none. */
bool
http_address_embedded(const http_address *address, http_address *embedded)
{
	if (is_ipv4(address) || in_named_range(address, "::/127"))
		return false; /* :: and ::1 are what they are */
	for (int i = 0; i < lengthof(embeddings); i++)
	{
		if (in_named_range(address, embeddings[i].range))
		{
			map_ipv4(address->bytes + embeddings[i].offset, embedded);
			return true;
		}
	}
	return false;
}

/* What kind of place an address is; one that leads to an IPv4 address, what that is. */
http_address_class
http_address_classify(const http_address *address)
{
	http_address embedded;

	for (int i = 0; i < lengthof(special_ranges); i++)
	{
		if (in_named_range(address, special_ranges[i].range))
			return special_ranges[i].class;
	}
	if (is_ipv4(address))
		return HTTP_ADDRESS_PUBLIC;
	if (http_address_embedded(address, &embedded))
		return http_address_classify(&embedded);
	return in_named_range(address, global_unicast) ? HTTP_ADDRESS_PUBLIC : HTTP_ADDRESS_RESERVED;
}

/* A class in words, with an article. */
const char *
http_address_class_name(http_address_class class)
{
	switch (class)
	{
		case HTTP_ADDRESS_PUBLIC:
			return "a public address";
		case HTTP_ADDRESS_PRIVATE:
			return "an address of a private network";
		case HTTP_ADDRESS_LOOPBACK:
			return "a loopback address";
		case HTTP_ADDRESS_RESERVED:
			return "a reserved address";
		case HTTP_ADDRESS_LINK_LOCAL:
			return "a link-local address";
		case HTTP_ADDRESS_METADATA:
			return "an address of a cloud's metadata service";
	}
	return "an address";
}

/* An address as people write it, into HTTP_ADDRESS_TEXT_SIZE bytes. */
void
http_address_text(const http_address *address, char *text)
{
	if (is_ipv4(address))
		inet_ntop(AF_INET, address->bytes + sizeof(ipv4_prefix), text, HTTP_ADDRESS_TEXT_SIZE);
	else
		inet_ntop(AF_INET6, address->bytes, text, HTTP_ADDRESS_TEXT_SIZE);
}
