/*-------------------------------------------------------------------------
 *
 * format_host.c
 *	  Host names, addresses, mailboxes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "schema/ascii.h"
#include "schema/formats.h"
#include "schema/idna.h"

#define HOSTNAME_MAX 253
#define LOCAL_PART_MAX 64

static bool label_valid(const char *text, int length);
static int check_label(pg_wchar *label, int *count);
static bool local_part_valid(const char *text, int length, bool international);
static bool email_valid(const char *text, int length, bool international);

/*
 * Letters, digits and inner hyphens.
 */
static bool
label_valid(const char *text, int length)
{
	if (length == 0 || length > IDNA_LABEL_MAX || text[0] == '-' || text[length - 1] == '-')
		return false;
	for (int i = 0; i < length; i++)
	{
		if (!ascii_is_alnum(text[i]) && text[i] != '-')
			return false;
	}
	return true;
}

/*
 * As RFC 1034 has it, without regard to encoded labels.
 */
bool
format_is_hostname_plain(const char *text, int length)
{
	int start = 0;

	if (length == 0 || length > HOSTNAME_MAX)
		return false;
	for (int i = 0; i <= length; i++)
	{
		if (i < length && text[i] != '.')
			continue;
		if (!label_valid(text + start, i - start))
			return false;
		start = i + 1;
	}
	return true;
}

/*
 * Labels in ASCII, the encoded ones among them of valid labels.
 */
bool
format_is_hostname(const char *text, int length)
{
	return format_is_hostname_plain(text, length) && format_is_idn_hostname(text, length);
}

/*
 * One label in Unicode or encoded.  Returns its encoded length, 0 when it is not valid; an
 * encoded one is decoded in place.
 */
static int
check_label(pg_wchar *label, int *count)
{
	char ascii[IDNA_LABEL_MAX + 1];
	int length = *count;

	if (length < 4 || (label[0] | 32) != 'x' || (label[1] | 32) != 'n' || label[2] != '-' ||
		label[3] != '-')
		return idna_label_size(label, length);
	for (int i = 0; i < length; i++)
	{
		if (label[i] >= 0x80)
			return 0;
		ascii[i] = label[i];
	}
	if (!label_valid(ascii, length))
		return 0;
	*count = idna_decode(ascii, length, label);
	return *count > 0 ? length : 0;
}

/*
 * Labels in Unicode or encoded, between any of the four full stops.
 */
bool
format_is_idn_hostname(const char *text, int length)
{
	const unsigned char *c = (const unsigned char *) text;
	const unsigned char *end = c + length;
	pg_wchar label[IDNA_LABEL_MAX + 1];
	int count = 0;
	int size = -1;
	bool right_to_left = false;
	bool bidi_valid = true;

	for (;;)
	{
		int bytes = c < end ? pg_utf_mblen(c) : 0;
		pg_wchar point = c < end && c + bytes <= end ? utf8_to_unicode(c) : '.';
		int label_size;

		if (point != '.' && point != 0x3002 && point != 0xFF0E && point != 0xFF61)
		{
			if (count >= IDNA_LABEL_MAX)
				return false;
			label[count++] = point;
			c += bytes;
			continue;
		}
		label_size = check_label(label, &count);
		size += 1 + label_size;
		if (label_size == 0 || size > HOSTNAME_MAX)
			return false;
		right_to_left |= idna_is_right_to_left(label, count);
		bidi_valid &= idna_bidi_valid(label, count);
		if (c >= end)
			return bidi_valid || !right_to_left;
		c += bytes;
		count = 0;
	}
}

bool
format_is_ipv4(const char *text, int length)
{
	int parts = 0;
	int i = 0;

	for (;;)
	{
		int start = i;
		int value = 0;

		while (i < length && text[i] >= '0' && text[i] <= '9' && i - start < 3)
			value = value * 10 + (text[i++] - '0');
		if (i == start || value > 255 || (i - start > 1 && text[start] == '0'))
			return false;
		if (++parts == 4)
			return i == length;
		if (i >= length || text[i++] != '.')
			return false;
	}
}

/*
 * Eight groups, one run of zeros shortened to ::, the last two perhaps as IPv4.
 */
bool
format_is_ipv6(const char *text, int length)
{
	int groups = 0;
	bool shortened = false;
	int i = 0;

	if (length >= 2 && text[0] == ':' && text[1] == ':')
	{
		shortened = true;
		i = 2;
		if (i == length)
			return true;
	}
	for (;;)
	{
		int start = i;

		while (i < length && ascii_is_hex((unsigned char) text[i]) && i - start < 5)
			i++;
		if (i < length && text[i] == '.')
		{
			if (!format_is_ipv4(text + start, length - start))
				return false;
			groups += 2;
			break;
		}
		if (i == start || i - start > 4)
			return false;
		groups++;
		if (i == length)
			break;
		if (text[i++] != ':')
			return false;
		if (i < length && text[i] == ':')
		{
			if (shortened)
				return false;
			shortened = true;
			if (++i == length)
				break;
		}
	}
	return shortened ? groups < 8 : groups == 8;
}

/*
 * The part before the @: atoms between dots, or a quoted string (RFC 5321).
 */
static bool
local_part_valid(const char *text, int length, bool international)
{
	if (length == 0 || (!international && length > LOCAL_PART_MAX))
		return false;
	if (text[0] == '"')
	{
		if (length < 2 || text[length - 1] != '"')
			return false;
		for (int i = 1; i < length - 1; i++)
		{
			if (text[i] == '\\' && i + 2 < length)
				i++;
			else if (text[i] == '"' || text[i] == '\\')
				return false;
			if ((unsigned char) text[i] < ' ' || text[i] == 0x7F ||
				(IS_HIGHBIT_SET(text[i]) && !international))
				return false;
		}
		return true;
	}
	for (int i = 0; i < length; i++)
	{
		if (text[i] == '.')
		{
			if (i == 0 || i + 1 == length || text[i + 1] == '.')
				return false;
		}
		else if (IS_HIGHBIT_SET(text[i]) ? !international
										 : !ascii_is_alnum((unsigned char) text[i]) &&
											   strchr("!#$%&'*+-/=?^_`{|}~", text[i]) == NULL)
			return false;
	}
	return true;
}

static bool
email_valid(const char *text, int length, bool international)
{
	const char *host;
	int host_length;
	int at = length;

	while (at > 0 && text[at - 1] != '@')
		at--;
	if (at == 0 || !local_part_valid(text, at - 1, international))
		return false;
	host = text + at;
	host_length = length - at;
	if (host_length > 2 && host[0] == '[' && host[host_length - 1] == ']')
	{
		host++;
		host_length -= 2;
		if (host_length > 5 && pg_strncasecmp(host, "IPv6:", 5) == 0)
			return format_is_ipv6(host + 5, host_length - 5);
		return format_is_ipv4(host, host_length);
	}
	return international ? format_is_idn_hostname(host, host_length)
						 : format_is_hostname(host, host_length);
}

bool
format_is_email(const char *text, int length)
{
	return email_valid(text, length, false);
}

bool
format_is_idn_email(const char *text, int length)
{
	return email_valid(text, length, true);
}
