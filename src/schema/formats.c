/*-------------------------------------------------------------------------
 *
 * formats.c
 *	  The values of "format" by name; those not listed are ignored, as the specifications
 *	  want.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "schema/formats.h"
#include "schema/text.h"

static const schema_format formats[] = {
	{"date", DRAFTS_SINCE_7, format_is_date},
	{"date-time", DRAFTS_ALL, format_is_date_time},
	{"duration", DRAFTS_SINCE_2019, format_is_duration},
	{"email", DRAFTS_ALL, format_is_email},
	{"hostname", DRAFTS_SINCE_7, format_is_hostname},
	{"hostname", DRAFT_4 | DRAFT_6, format_is_hostname_plain},
	{"idn-email", DRAFTS_SINCE_7, format_is_idn_email},
	{"idn-hostname", DRAFTS_SINCE_7, format_is_idn_hostname},
	{"ipv4", DRAFTS_ALL, format_is_ipv4},
	{"ipv6", DRAFTS_ALL, format_is_ipv6},
	{"iri", DRAFTS_SINCE_7, format_is_iri},
	{"iri-reference", DRAFTS_SINCE_7, format_is_iri_reference},
	{"json-pointer", DRAFTS_SINCE_6, format_is_json_pointer, .may_hold_nul = true},
	{"regex", DRAFTS_ALL, format_is_regex, .may_hold_nul = true},
	{"relative-json-pointer", DRAFTS_SINCE_7, format_is_relative_json_pointer,
	 .may_hold_nul = true},
	{"time", DRAFTS_SINCE_7, format_is_time},
	{"uri", DRAFTS_ALL, format_is_uri},
	{"uri-reference", DRAFTS_SINCE_6, format_is_uri_reference},
	{"uri-template", DRAFTS_SINCE_6, format_is_uri_template},
	{"uuid", DRAFTS_SINCE_2019, format_is_uuid},
};

/*
 * The format of a name in a dialect, or NULL.
 */
const schema_format *
schema_format_find(const char *name, int length, schema_draft draft)
{
	for (int i = 0; i < lengthof(formats); i++)
	{
		if ((formats[i].drafts & draft) != 0 && strlen(formats[i].name) == length &&
			memcmp(formats[i].name, name, length) == 0)
			return &formats[i];
	}
	return NULL;
}

/*
 * Is a text in the database's encoding of a format?
 */
bool
schema_format_check(const schema_format *format, const char *text, int length)
{
	char *utf8;
	bool valid;

	if (!format->may_hold_nul && memchr(text, '\0', length) != NULL)
		return false;
	utf8 = text_to_utf8(text, length, &length);
	valid = format->check(utf8, length);
	if (utf8 != text)
		pfree(utf8);
	return valid;
}
