/*-------------------------------------------------------------------------
 *
 * format_text.c
 *	  UUIDs, JSON pointers, regular expressions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "schema/ascii.h"
#include "schema/formats.h"
#include "schema/pattern.h"

bool
format_is_uuid(const char *text, int length)
{
	if (length != 36)
		return false;
	for (int i = 0; i < length; i++)
	{
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : !ascii_is_hex((unsigned char) text[i]))
			return false;
	}
	return true;
}

bool
format_is_json_pointer(const char *text, int length)
{
	if (length > 0 && text[0] != '/')
		return false;
	for (int i = 0; i < length; i++)
	{
		if (text[i] == '~' && (i + 1 >= length || (text[i + 1] != '0' && text[i + 1] != '1')))
			return false;
	}
	return true;
}

/*
 * A number of levels up, then "#" or a JSON pointer.
 */
bool
format_is_relative_json_pointer(const char *text, int length)
{
	int i = 0;

	while (i < length && text[i] >= '0' && text[i] <= '9')
		i++;
	if (i == 0 || (i > 1 && text[0] == '0'))
		return false;
	if (i + 1 == length && text[i] == '#')
		return true;
	return format_is_json_pointer(text + i, length - i);
}

/*
 * A regular expression of ECMA-262, whether or not "pattern" can use it.
 */
bool
format_is_regex(const char *text, int length)
{
	MemoryContext work =
		AllocSetContextCreate(CurrentMemoryContext, "regular expression", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(work);
	const char *problem;
	bool valid = regex_parse(text, length, &problem) != NULL;

	MemoryContextSwitchTo(caller);
	MemoryContextDelete(work);
	return valid;
}
