/*-------------------------------------------------------------------------
 *
 * header.c
 *	  Header fields: checked before they are sent, parsed when they arrive.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "http/transfer.h"

/*
 * Is this a line break or the blank that may surround a value?
 */
static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/*
 * May the byte stand in a field name (RFC 9110: a token)?
 */
static bool
is_token_byte(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		   (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/*
 * The next line of a head from *at, with continuation lines (obsolete, but sent)
 * left in.  Sets its bounds and moves *at behind it; false at the end.
 */
static bool
next_line(const http_buffer *head, size_t *at, const char **line, size_t *length)
{
	const char *start = head->data + *at;
	const char *end = head->data + head->length;
	const char *p = start;

	if (head->data == NULL || start >= end)
		return false;

	for (;;)
	{
		p = memchr(p, '\n', end - p);
		if (p == NULL)
		{
			p = end;
			break;
		}
		p++;
		if (p >= end || (*p != ' ' && *p != '\t'))
			break;
	}

	*line = start;
	*length = p - start;
	*at += p - start;
	return true;
}

/*
 * Split a line into a name and a trimmed value.  False for a status line, the empty
 * line at the end and junk.
 */
static bool
split_line(const char *line, size_t length, size_t *name_length, const char **value,
		   size_t *value_length)
{
	const char *colon = memchr(line, ':', length);
	const char *end = line + length;
	const char *p;

	if (colon == NULL || colon == line)
		return false;
	*name_length = colon - line;
	for (p = line; p < colon; p++)
	{
		if (!is_token_byte((unsigned char) *p))
			return false;
	}

	for (p = colon + 1; p < end && is_blank(*p); p++)
		;
	while (end > p && is_blank(end[-1]))
		end--;
	*value = p;
	*value_length = end - p;
	return true;
}

/*
 * The value of the first field named "name" in a head as received: its trimmed bytes,
 * not NUL-terminated, or NULL.  Allocates nothing.
 */
const char *
http_head_find(const http_buffer *head, const char *name, size_t *length)
{
	size_t at = 0;
	const char *line;
	size_t line_length;
	size_t wanted = strlen(name);

	while (next_line(head, &at, &line, &line_length))
	{
		size_t name_length;
		const char *value;

		if (split_line(line, line_length, &name_length, &value, length) && name_length == wanted &&
			pg_strncasecmp(line, name, wanted) == 0)
			return value;
	}
	return NULL;
}

/*
 * The same as a palloc'd string.
 */
char *
http_head_value(const http_buffer *head, const char *name)
{
	size_t length;
	const char *value = http_head_find(head, name, &length);

	return value != NULL ? pnstrdup(value, length) : NULL;
}

/*
 * The value of a field, with each continuation folded into one blank, palloc'd.
 */
static char *
unfold(const char *value, size_t length)
{
	char *result = palloc(length + 1);
	char *out = result;

	for (size_t i = 0; i < length; i++)
	{
		if (value[i] == '\r' || value[i] == '\n')
		{
			while (i + 1 < length && is_blank(value[i + 1]))
				i++;
			*out++ = ' ';
		}
		else if (value[i] != '\0')
			*out++ = value[i];
	}
	*out = '\0';
	return result;
}

/*
 * The fields of a head as a List of http_header *, in the order received, in the
 * current memory context.  Names are lower case; Link, the one list that
 * pagination reads, is joined by commas when it came in several fields.
 */
List *
http_head_parse(const http_buffer *head)
{
	List *headers = NIL;
	http_header *link = NULL;
	size_t at = 0;
	const char *line;
	size_t line_length;

	while (next_line(head, &at, &line, &line_length))
	{
		size_t name_length;
		const char *value;
		size_t value_length;
		http_header *header;

		if (!split_line(line, line_length, &name_length, &value, &value_length))
			continue;

		header = palloc0(sizeof(http_header));
		header->name = pnstrdup(line, name_length);
		for (char *p = header->name; *p != '\0'; p++)
			*p = pg_ascii_tolower((unsigned char) *p);
		header->value = unfold(value, value_length);
		header->secret = http_header_is_secret(header);

		if (strcmp(header->name, "link") == 0)
		{
			if (link != NULL)
			{
				link->value = psprintf("%s, %s", link->value, header->value);
				continue;
			}
			link = header;
		}
		headers = lappend(headers, header);
	}
	return headers;
}

/*
 * Is the header marked secret, or one that always is?
 */
bool
http_header_is_secret(const http_header *header)
{
	static const char *const names[] = {"authorization", "proxy-authorization", "cookie",
										"set-cookie"};

	if (header->secret)
		return true;
	for (int i = 0; i < lengthof(names); i++)
	{
		if (pg_strcasecmp(header->name, names[i]) == 0)
			return true;
	}
	return false;
}

/*
 * Raise 22023 for a header that cannot be sent: a name that is no token, or a value
 * with a line break, which would smuggle in another header.  The message never
 * shows the value.
 */
void
http_check_headers(List *headers)
{
	ListCell *cell;

	foreach (cell, headers)
	{
		const http_header *header = lfirst(cell);
		const char *name = header->name != NULL ? header->name : "";
		size_t good = 0;

		while (is_token_byte((unsigned char) name[good]))
			good++;
		/* whatever is behind the good part could belong to a value */
		if (good == 0 || name[good] != '\0' || header->value == NULL)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("invalid name of an HTTP header, or no value: \"%.*s\"",
								   (int) good, name)));
		for (const char *p = header->value; *p != '\0'; p++)
		{
			if (((unsigned char) *p < 0x20 && *p != '\t') || *p == 0x7f)
				ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
								errmsg("value of HTTP header \"%s\" contains a control character",
									   header->name)));
		}
	}
}

/*
 * The value of a header of an answer by its name (any case), or NULL: the first one
 * when there are several.
 */
const char *
http_response_header(const http_response *response, const char *name)
{
	ListCell *cell;

	foreach (cell, response->headers)
	{
		const http_header *header = lfirst(cell);

		if (pg_strcasecmp(header->name, name) == 0)
			return header->value;
	}
	return NULL;
}
