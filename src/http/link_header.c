/*-------------------------------------------------------------------------
 *
 * link_header.c
 *	  The Link header (RFC 8288), by which many APIs name their next page.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "http/http.h"

static const char *skip_blanks(const char *p);
static const char *parse_value(const char *p, char **value);
static bool has_word(const char *words, const char *word);

/*
 * The first byte from p on that is no blank.
 */
static const char *
skip_blanks(const char *p)
{
	while (*p == ' ' || *p == '\t')
		p++;
	return p;
}

/*
 * Read a parameter's value, quoted or not, as a palloc'd string.  Returns what is
 * behind it; a quoted string without an end ends with the header.
 */
static const char *
parse_value(const char *p, char **value)
{
	StringInfoData text;

	initStringInfo(&text);
	if (*p == '"')
	{
		for (p++; *p != '\0' && *p != '"'; p++)
		{
			if (*p == '\\' && p[1] != '\0')
				p++;
			appendStringInfoChar(&text, *p);
		}
		if (*p == '"')
			p++;
	}
	else
	{
		while (*p != '\0' && strchr(" \t;,", *p) == NULL)
			appendStringInfoChar(&text, *p++);
	}
	*value = text.data;
	return p;
}

/*
 * Is "word" among the words of a list separated by blanks, in any case?
 */
static bool
has_word(const char *words, const char *word)
{
	size_t length = strlen(word);

	for (;;)
	{
		size_t n;

		words = skip_blanks(words);
		n = strcspn(words, " \t");
		if (n == 0)
			return false;
		if (n == length && pg_strncasecmp(words, word, n) == 0)
			return true;
		words += n;
	}
}

/*
 * The target, as written, of the first link that has the relation "rel", palloc'd;
 * NULL when there is none.  Skips what it cannot read and says so in *malformed: "no such
 * link" is then not to be believed.  Raises nothing.
 */
char *
http_link_target(const char *header_value, const char *rel, bool *malformed)
{
	const char *p = header_value;

	*malformed = false;

	if (p == NULL)
		return NULL;

	while (*p != '\0')
	{
		const char *target;
		size_t target_length;
		bool seen_rel = false;
		bool found = false;

		/* One link: its target in angle brackets, */
		p += strspn(p, " \t,");
		if (*p != '<')
		{
			/* junk: go on behind the next comma */
			*malformed |= *p != '\0';
			while (*p != '\0' && *p != ',')
			{
				if (*p == '"')
				{
					char *ignored;

					p = parse_value(p, &ignored);
					pfree(ignored);
				}
				else
					p++;
			}
			continue;
		}
		target = ++p;
		target_length = strcspn(p, ">");
		p += target_length;
		if (*p == '\0')
		{
			*malformed = true;
			return NULL;
		}
		p++;
		/* no URI has these: a bracket or quote is missing somewhere */
		for (size_t i = 0; i < target_length; i++)
			*malformed |= strchr("<\"", target[i]) != NULL;

		/* then parameters up to a comma. */
		for (;;)
		{
			const char *name;
			size_t name_length;

			p = skip_blanks(p);
			if (*p == '\0' || *p == ',')
				break;
			if (*p == ';')
			{
				p++;
				continue;
			}

			name = p;
			name_length = strcspn(p, " \t=;,");
			p = skip_blanks(p + name_length);
			if (*p == '=')
			{
				char *value;

				p = parse_value(skip_blanks(p + 1), &value);
				/* only the first rel counts */
				if (!seen_rel && name_length == 3 && pg_strncasecmp(name, "rel", 3) == 0)
				{
					seen_rel = true;
					found = has_word(value, rel);
				}
				pfree(value);
			}
			else if (name_length == 0)
				p++; /* cannot be, but must not stand still */
		}

		if (found)
		{
			while (target_length > 0 && (*target == ' ' || *target == '\t'))
			{
				target++;
				target_length--;
			}
			while (target_length > 0 &&
				   (target[target_length - 1] == ' ' || target[target_length - 1] == '\t'))
				target_length--;
			return pnstrdup(target, target_length);
		}
	}
	return NULL;
}
