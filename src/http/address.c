/*-------------------------------------------------------------------------
 *
 * address.c
 *	  Which addresses may be connected to.
 *
 * Checked for the resolved address of every connection, redirects included, so that
 * neither a redirect nor a name that resolves anew leads where nobody may go.  Addresses
 * of the cloud's metadata services and other link-local ones are refused unless they are
 * listed by address; a list of hosts, once there is one, is all that may be reached.
 *
 * Nothing here raises or allocates: it is called inside curl's callbacks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "http/address.h"

/* An address as 16 bytes, IPv4 mapped into IPv6. */
typedef struct mapped_address
{
	unsigned char bytes[16];
} mapped_address;

static const unsigned char ipv4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* Ranges that are never meant by accident: refused unless listed by address. */
static const char *const forbidden[] = {
	"169.254.0.0/16",	  /* link-local, metadata of most clouds */
	"fe80::/10",		  /* link-local */
	"fd00:ec2::254",	  /* metadata of one cloud over IPv6 */
	"100.100.100.200",	  /* metadata of another */
	"0.0.0.0/8",		  /* this host, by a name that hides it */
	"::",				  /* likewise */
	"224.0.0.0/4",		  /* multicast */
	"ff00::/8",			  /* multicast */
	"255.255.255.255/32", /* broadcast */
};

/* One entry of a list as written: its start and length; false at the end of the list. */
static bool
next_entry(const char **list, const char **entry, size_t *length)
{
	*entry = *list + strspn(*list, " \t\n,");
	*length = strcspn(*entry, ",");
	*list = *entry + *length;
	while (*length > 0 && strchr(" \t\n", (*entry)[*length - 1]) != NULL)
		(*length)--;
	return *length > 0;
}

/* Reads an address; false when the text is none. */
static bool
parse_address(const char *text, mapped_address *address)
{
	struct in_addr v4;

	if (inet_pton(AF_INET6, text, address->bytes) == 1)
		return true;
	if (inet_pton(AF_INET, text, &v4) != 1)
		return false;
	memcpy(address->bytes, ipv4_prefix, sizeof(ipv4_prefix));
	memcpy(address->bytes + sizeof(ipv4_prefix), &v4, 4);
	return true;
}

/*
 * Reads "address" or "address/bits".  Returns 0 when the text is no address at all, -1
 * when its bits are wrong, else 1.
 */
static int
parse_range(const char *entry, size_t length, mapped_address *address, int *bits)
{
	char text[INET6_ADDRSTRLEN + 5];
	char *slash;
	char *end;
	bool is_v4;

	if (length >= sizeof(text))
		return 0;
	memcpy(text, entry, length);
	text[length] = '\0';
	slash = strchr(text, '/');
	if (slash != NULL)
		*slash = '\0';
	if (!parse_address(text, address))
		return 0;
	is_v4 = strchr(text, ':') == NULL;
	*bits = 128;
	if (slash != NULL)
	{
		*bits = (int) strtol(slash + 1, &end, 10);
		if (end == slash + 1 || *end != '\0' || *bits < 0 || *bits > (is_v4 ? 32 : 128))
			return -1;
		if (is_v4)
			*bits += 96;
	}
	return 1;
}

static bool
in_range(const mapped_address *address, const mapped_address *range, int bits)
{
	int whole = bits / 8;
	int mask = 0xff << (8 - bits % 8) & 0xff;

	return memcmp(address->bytes, range->bytes, whole) == 0 &&
		   (bits % 8 == 0 || ((address->bytes[whole] ^ range->bytes[whole]) & mask) == 0);
}

static bool
is_forbidden(const mapped_address *address)
{
	for (int i = 0; i < lengthof(forbidden); i++)
	{
		mapped_address range;
		int bits;

		if (parse_range(forbidden[i], strlen(forbidden[i]), &range, &bits) == 1 &&
			in_range(address, &range, bits))
			return true;
	}
	return false;
}

/* A host name against an entry: itself, or *.domain for names below a domain. */
static bool
name_matches(const char *host, const char *entry, size_t length)
{
	size_t host_length = strlen(host);

	if (length > 2 && entry[0] == '*' && entry[1] == '.')
	{
		entry++;
		length--;
		return host_length > length &&
			   pg_strncasecmp(host + host_length - length, entry, length) == 0;
	}
	return host_length == length && pg_strncasecmp(host, entry, length) == 0;
}

/*
 * What is wrong with a list of allowed hosts, as a constant text; NULL when nothing is.
 * For the check hook of etl.allowed_hosts.
 */
const char *
http_allowed_hosts_problem(const char *list)
{
	const char *entry;
	size_t length;

	while (next_entry(&list, &entry, &length))
	{
		mapped_address address;
		int bits;
		size_t valid;

		if (parse_range(entry, length, &address, &bits) < 0)
			return "The number behind a slash is not one of bits.";
		if (parse_range(entry, length, &address, &bits) == 1 || (length == 1 && *entry == '*'))
			continue;
		valid = strspn(entry, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_*");
		if (valid < length || memchr(entry + 1, '*', length - 1) != NULL ||
			(entry[0] == '*' && length > 1 && entry[1] != '.'))
			return "An entry is a host name, *.domain, an address, a range such as 10.0.0.0/8, or "
				   "*.";
	}
	return NULL;
}

/*
 * Whether a connection to an address may be made for a URL's host.  list: the value of
 * etl.allowed_hosts, checked; empty: everything but what is forbidden.
 */
bool
http_address_allowed(const char *list, const char *host, const struct sockaddr *address)
{
	mapped_address target;
	const char *entry;
	size_t length;
	bool any_listed = false;
	bool name_listed = false;

	if (address->sa_family == AF_INET6)
		memcpy(target.bytes, &((const struct sockaddr_in6 *) address)->sin6_addr, 16);
	else if (address->sa_family == AF_INET)
	{
		memcpy(target.bytes, ipv4_prefix, sizeof(ipv4_prefix));
		memcpy(target.bytes + sizeof(ipv4_prefix),
			   &((const struct sockaddr_in *) address)->sin_addr, 4);
	}
	else
		return false; /* Unix sockets and whatever else there is */

	while (next_entry(&list, &entry, &length))
	{
		mapped_address range;
		int bits;

		any_listed = true;
		if (parse_range(entry, length, &range, &bits) == 1)
		{
			if (in_range(&target, &range, bits))
				return true;
		}
		else if ((length == 1 && *entry == '*') ||
				 (host != NULL && name_matches(host, entry, length)))
			name_listed = true;
	}
	return (name_listed || !any_listed) && !is_forbidden(&target);
}

/*
 * Whether a URL's host may be asked for through a proxy, which resolves it: only its name
 * can be checked here, or its address when it is written as one.
 */
bool
http_host_allowed(const char *list, const char *host)
{
	mapped_address target;
	bool is_address = parse_address(host, &target);
	const char *entry;
	size_t length;
	bool any_listed = false;

	while (next_entry(&list, &entry, &length))
	{
		mapped_address range;
		int bits;

		any_listed = true;
		if (parse_range(entry, length, &range, &bits) == 1)
		{
			if (is_address && in_range(&target, &range, bits))
				return true;
		}
		else if ((length == 1 && *entry == '*') || name_matches(host, entry, length))
			return !is_address || !is_forbidden(&target);
	}
	return !any_listed && (!is_address || !is_forbidden(&target));
}
