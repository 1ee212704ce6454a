/*-------------------------------------------------------------------------
 *
 * allowed_hosts.c
 *	  What etl.allowed_hosts says of a connection.
 *
 * Names open public addresses; every other address is opened by its own entry, or a
 * range's, and not by a name, which may resolve to anything tomorrow.  Link-local and
 * metadata addresses are opened by no range either: a range names too many at once.
 *
 * Checked for the resolved address of every connection, redirects included, so that
 * neither a redirect nor a name that resolves anew leads where nobody may go.  The checks
 * neither raise nor allocate: they are made inside curl's callbacks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "http/allowed_hosts.h"
#include "lib/stringinfo.h"

#define MAX_HOST_BYTES 255

/* An entry of a list, as written.  Points into the list. */
typedef struct list_entry
{
	const char *host; /* without brackets and port */
	size_t length;
	int port; /* 0: any */
} list_entry;

/* What is known of the other end of a connection. */
typedef struct target
{
	const char *name; /* NULL: the proxied host is written as an address */
	int port;
	bool has_address;
	http_address address;
} target;

/* Names that mean a special address wherever they are resolved. */
static const struct
{
	const char *name;
	http_address_class class;
} special_names[] = {
	{"localhost", HTTP_ADDRESS_LOOPBACK},
	{"localhost.localdomain", HTTP_ADDRESS_LOOPBACK},
	{"ip6-localhost", HTTP_ADDRESS_LOOPBACK},
	{"ip6-loopback", HTTP_ADDRESS_LOOPBACK},
	{"metadata", HTTP_ADDRESS_METADATA},
	{"metadata.google.internal", HTTP_ADDRESS_METADATA},
	{"metadata.goog", HTTP_ADDRESS_METADATA},
	{"instance-data", HTTP_ADDRESS_METADATA},
	{"instance-data.ec2.internal", HTTP_ADDRESS_METADATA},
};

/* Splits an entry into host and port; false when the port is none. */
static bool
split_entry(const char *text, size_t length, list_entry *entry)
{
	const char *end = text + length;
	const char *colon = NULL;

	entry->host = text;
	entry->length = length;
	entry->port = 0;
	if (length > 0 && text[0] == '[')
	{
		const char *bracket = memchr(text, ']', length);

		if (bracket == NULL || (bracket + 1 < end && bracket[1] != ':'))
			return false;
		entry->host = text + 1;
		entry->length = bracket - text - 1;
		if (bracket + 1 < end)
			colon = bracket + 1;
	}
	else
	{
		colon = memchr(text, ':', length);
		if (colon != NULL && memchr(colon + 1, ':', end - colon - 1) != NULL)
			return true; /* an IPv6 address */
		if (colon != NULL)
			entry->length = colon - text;
	}
	if (colon != NULL)
	{
		if (end - colon < 2 || end - colon > 6)
			return false;
		for (const char *c = colon + 1; c < end; c++)
		{
			if (*c < '0' || *c > '9')
				return false;
			entry->port = entry->port * 10 + (*c - '0');
		}
		if (entry->port < 1 || entry->port > 65535)
			return false;
	}
	return true;
}

/* The next entry of a list: its bounds as written; false at the end of the list. */
static bool
next_text(const char **list, const char **text, size_t *length)
{
	*text = *list + strspn(*list, " \t\r\n,");
	*length = strcspn(*text, ",");
	*list = *text + *length;
	while (*length > 0 && strchr(" \t\r\n", (*text)[*length - 1]) != NULL)
		(*length)--;
	return *length > 0;
}

static bool
is_any(const list_entry *entry)
{
	return entry->length == 1 && entry->host[0] == '*';
}

/* A host name against an entry: itself, or *.domain for names below a domain, or *. */
static bool
name_matches(const char *name, const list_entry *entry)
{
	size_t name_length = strlen(name);
	const char *host = entry->host;
	size_t length = entry->length;

	if (is_any(entry))
		return true;
	if (name_length > 0 && name[name_length - 1] == '.')
		name_length--; /* the same name, spelt out to the root */
	if (length > 2 && host[0] == '*' && host[1] == '.')
	{
		host++;
		length--;
		return name_length > length &&
			   pg_strncasecmp(name + name_length - length, host, length) == 0;
	}
	return name_length == length && pg_strncasecmp(name, host, length) == 0;
}

/* Is the address opened by an entry that is an address or a range? */
static bool
range_opens(const target *target, http_address_class class, const http_address_range *range)
{
	http_address embedded;

	if (!target->has_address)
		return false;
	if (range->bits < 128 && (class == HTTP_ADDRESS_METADATA || class == HTTP_ADDRESS_LINK_LOCAL))
		return false;
	return http_address_in_range(&target->address, range) ||
		   (http_address_embedded(&target->address, &embedded) &&
			http_address_in_range(&embedded, range));
}

/* What the list says of a target of that class. */
static http_refusal
check(const char *list, const target *target, http_address_class class)
{
	http_refusal refusal = {0};
	const char *text;
	size_t length;
	bool any_listed = false;
	bool name_listed = false;

	while (next_text(&list, &text, &length))
	{
		list_entry entry;
		http_address_range range;

		any_listed = true;
		if (!split_entry(text, length, &entry) || (entry.port != 0 && entry.port != target->port))
			continue;
		if (http_address_range_parse(entry.host, entry.length, &range) == 1)
		{
			if (range_opens(target, class, &range))
				return refusal;
		}
		else if (is_any(&entry) || (target->name != NULL && name_matches(target->name, &entry)))
			name_listed = true;
	}
	if (class == HTTP_ADDRESS_PUBLIC && (name_listed || !any_listed))
		return refusal;
	refusal.reason = class == HTTP_ADDRESS_PUBLIC ? HTTP_HOST_NOT_LISTED
					 : target->has_address		  ? HTTP_ADDRESS_NOT_LISTED
												  : HTTP_NAME_NOT_ALLOWED;
	refusal.has_address = target->has_address;
	refusal.address = target->address;
	refusal.class = class;
	return refusal;
}

/*
 * What is wrong with a list of allowed hosts, as a constant text; NULL when nothing is.
 * For the check hook of etl.allowed_hosts.
 */
const char *
http_allowed_hosts_problem(const char *list)
{
	const char *text;
	size_t length;

	while (next_text(&list, &text, &length))
	{
		list_entry entry;
		http_address_range range;
		int parsed;
		size_t valid;

		if (!split_entry(text, length, &entry))
			return "The number behind a colon is not one of a port; an IPv6 address with a port is "
				   "written as in [::1]:8080.";
		parsed = http_address_range_parse(entry.host, entry.length, &range);
		if (parsed < 0)
			return "The number behind a slash is not one of bits.";
		if (parsed == 1 || is_any(&entry))
			continue;
		valid = strspn(entry.host,
					   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_*");
		if (entry.length == 0 || entry.host != text || valid < entry.length ||
			entry.host[entry.length - 1] == '.' ||
			memchr(entry.host + 1, '*', entry.length - 1) != NULL ||
			(entry.host[0] == '*' && entry.length > 1 && entry.host[1] != '.'))
			return "An entry is a host name, *.domain, an address, a range such as 10.0.0.0/8, or "
				   "*, each with a port or without, as in 127.0.0.1:8080.";
	}
	return NULL;
}

/*
 * Whether a connection to an address may be made for the host and port of a URL.  list:
 * the value of etl.allowed_hosts, checked.
 */
http_refusal
http_check_connection(const char *list, const char *host, int port,
					  const struct sockaddr *socket_address)
{
	target target = {.name = host, .port = port, .has_address = true};
	http_refusal refusal = {.reason = HTTP_ADDRESS_NOT_LISTED, .class = HTTP_ADDRESS_RESERVED};

	if (http_address_of_socket(socket_address, &target.address))
		refusal = check(list, &target, http_address_classify(&target.address));
	refusal.of_connection = true;
	return refusal;
}

/* The class of a name that means the same everywhere; public for all others. */
static http_address_class
class_of_name(const char *name)
{
	size_t length = strlen(name);

	for (int i = 0; i < lengthof(special_names); i++)
	{
		if (pg_strcasecmp(name, special_names[i].name) == 0)
			return special_names[i].class;
	}
	if (length > 10 && pg_strcasecmp(name + length - 10, ".localhost") == 0)
		return HTTP_ADDRESS_LOOPBACK;
	return HTTP_ADDRESS_PUBLIC;
}

/* Would a resolver take the name for an IPv4 address in one of its old notations? */
static bool
ends_in_number(const char *name)
{
	const char *label = strrchr(name, '.');

	label = label == NULL ? name : label + 1;
	if (label[0] == '0' && (label[1] == 'x' || label[1] == 'X'))
		return true;
	return label[0] != '\0' && strspn(label, "0123456789") == strlen(label);
}

/*
 * Whether a URL's host may be asked for through a proxy, which resolves it: only its name
 * can be checked here, or its address when it is written as one, in whatever notation.
 */
http_refusal
http_check_proxied_host(const char *list, const char *host, int port)
{
	char plain[MAX_HOST_BYTES + 1];
	target target = {.port = port};
	size_t length = strcspn(host, "%"); /* a zone id is no part of the address */
	struct in_addr v4;

	if (length > MAX_HOST_BYTES)
		length = MAX_HOST_BYTES;
	memcpy(plain, host, length);
	if (length > 0 && plain[length - 1] == '.')
		length--;
	plain[length] = '\0';

	if (http_address_parse(plain, &target.address))
		target.has_address = true;
	else if (ends_in_number(plain))
	{
		if (inet_aton(plain, &v4) == 0)
		{
			http_refusal refusal = {.reason = HTTP_NAME_NOT_ALLOWED,
									.class = HTTP_ADDRESS_RESERVED};

			return refusal;
		}
		(void) http_address_parse(inet_ntoa(v4), &target.address);
		target.has_address = true;
	}
	if (target.has_address)
		return check(list, &target, http_address_classify(&target.address));
	target.name = plain;
	return check(list, &target, class_of_name(plain));
}

/*
 * What is wrong, for an error's detail: "what" the host is to the request ("host",
 * "proxy").  palloc'd.  The host may be any bytes; it is shown in ASCII.
 */
char *
http_refusal_message(const http_refusal *refusal, const char *what, const char *host)
{
	char address[HTTP_ADDRESS_TEXT_SIZE] = "";
	const char *class = http_address_class_name(refusal->class);
	char *shown = pstrdup(host);

	for (char *c = shown; *c != '\0'; c++)
	{
		if (*c <= ' ' || *c >= 127)
			*c = '?';
	}
	if (refusal->has_address)
		http_address_text(&refusal->address, address);
	switch (refusal->reason)
	{
		case HTTP_NOT_REFUSED:
			break;
		case HTTP_HOST_NOT_LISTED:
			return psprintf("%s \"%s\" is not in etl.allowed_hosts", what, shown);
		case HTTP_ADDRESS_NOT_LISTED:
			if (strcmp(shown, address) == 0)
				return psprintf("%s \"%s\" is %s that is not in etl.allowed_hosts", what, shown,
								class);
			return psprintf("%s \"%s\" is at %s, %s that is not in etl.allowed_hosts", what, shown,
							address, class);
		case HTTP_NAME_NOT_ALLOWED:
			return psprintf("%s \"%s\" means %s to a proxy", what, shown, class);
	}
	return psprintf("%s \"%s\" is not allowed", what, shown);
}

/*
 * What to do about it, palloc'd: the line that allows the connection, given why each of
 * the host's addresses was refused.  What is in the list already is not shown, only
 * superusers may see it.
 */
char *
http_refusal_hint(const http_refusal *refusals, int count, const char *list, const char *host)
{
	StringInfoData entries;
	const char *text;
	size_t length;

	/* names, or all public hosts, are to stay what they were */
	initStringInfo(&entries);
	appendStringInfoString(&entries, next_text(&list, &text, &length) ? "..." : "*");
	for (int i = 0; i < count; i++)
	{
		char address[HTTP_ADDRESS_TEXT_SIZE];
		const char *entry = NULL;

		if (refusals[i].class == HTTP_ADDRESS_METADATA ||
			refusals[i].class == HTTP_ADDRESS_LINK_LOCAL)
			return pstrdup("Such an address is refused even if a range in etl.allowed_hosts has "
						   "it; only an entry for itself, which a superuser can add, allows it.");
		if (refusals[i].reason == HTTP_ADDRESS_NOT_LISTED && refusals[i].has_address)
		{
			http_address_text(&refusals[i].address, address);
			entry = address;
		}
		else if (refusals[i].reason == HTTP_HOST_NOT_LISTED && strpbrk(host, ",' ") == NULL &&
				 http_allowed_hosts_problem(host) == NULL)
			entry = host;
		if (entry != NULL && strstr(entries.data, psprintf(", %s", entry)) == NULL)
			appendStringInfo(&entries, ", %s", entry);
	}
	if (entries.len <= 3)
		return pstrdup("Ask for a host that is in etl.allowed_hosts, or without the proxy.");
	return psprintf("A superuser can allow it, in postgresql.conf or by ALTER SYSTEM: "
					"etl.allowed_hosts = '%s', and then SELECT pg_reload_conf().",
					entries.data);
}
