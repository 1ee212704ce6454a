/*-------------------------------------------------------------------------
 *
 * formats.h
 *	  The values of "format" and how each is checked.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SCHEMA_FORMATS_H
#define ETL_SCHEMA_FORMATS_H

#include "postgres.h"

#include "schema/nodes.h"

struct schema_format
{
	const char *name;
	int drafts;
	bool (*check)(const char *text, int length); /* UTF-8, not terminated */
	bool may_hold_nul; /* else what holds NUL is refused before the check */
};

/* formats.c */
extern const schema_format *schema_format_find(const char *name, int length, schema_draft draft);
extern bool schema_format_check(const schema_format *format, const char *text, int length);

/* format_time.c */
extern bool format_is_date(const char *text, int length);
extern bool format_is_time(const char *text, int length);
extern bool format_is_date_time(const char *text, int length);
extern bool format_is_duration(const char *text, int length);

/* format_host.c */
extern bool format_is_hostname(const char *text, int length);
extern bool format_is_hostname_plain(const char *text, int length);
extern bool format_is_idn_hostname(const char *text, int length);
extern bool format_is_ipv4(const char *text, int length);
extern bool format_is_ipv6(const char *text, int length);
extern bool format_is_email(const char *text, int length);
extern bool format_is_idn_email(const char *text, int length);

/* format_uri.c */
extern bool format_is_uri(const char *text, int length);
extern bool format_is_uri_reference(const char *text, int length);
extern bool format_is_iri(const char *text, int length);
extern bool format_is_iri_reference(const char *text, int length);
extern bool format_is_uri_template(const char *text, int length);

/* format_text.c */
extern bool format_is_uuid(const char *text, int length);
extern bool format_is_json_pointer(const char *text, int length);
extern bool format_is_relative_json_pointer(const char *text, int length);
extern bool format_is_regex(const char *text, int length);

#endif /* ETL_SCHEMA_FORMATS_H */
