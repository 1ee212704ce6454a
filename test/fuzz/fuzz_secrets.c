/*-------------------------------------------------------------------------
 *
 * fuzz_secrets.c
 *	  What is shown and kept of what a source says, when it repeats a secret.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "extract/source/credentials.h"
#include "extract/source/source.h"

/*
 * A text spelled in the ways that alternate with its characters, beginning with one of them.
 */
static char *
spell(const char *text, int first)
{
	static const char *const ways[] = {"%c",	  "%%%02X",	   "%%%02x", "%%25%02x",
									   "\\u%04X", "\\u00%02x", "&#%d;",	 "&#x%x;"};
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; text[i] != '\0'; i++)
	{
		const char *way = ways[(first + i) % lengthof(ways)];

		/* these name characters, not bytes */
		if (IS_HIGHBIT_SET(text[i]) && (way[0] != '%' || way[1] == 'c'))
			way = ways[1];
		appendStringInfo(&out, way, (unsigned char) text[i]);
	}
	return out.data;
}

/*
 * Input: a secret, a line feed, a text or URL.  The secret is in neither of what is made of it;
 * nor is it when the text goes on with it, as it is, percent-encoded, or in a mixture of spellings.
 */
FUZZ_TARGET(secrets)
{
	char *secret = fuzz_take_line(&input, &size);
	char *text = fuzz_text(input, size);
	credentials held = {.kind = AUTH_API_KEY, .parameter = "key", .secrets = list_make1(secret)};
	source from = {.context = CurrentMemoryContext, .name = "fuzz", .credentials = &held};
	StringInfoData encoded;
	char *shown;

	/* too short to be told from text, or made of what takes its place */
	if (strlen(secret) < 8 || strchr(secret, '*') != NULL)
		return;
	initStringInfo(&encoded);
	http_append_encoded(&encoded, secret, false);

	shown = source_hide_secrets(&from, psprintf("%s%s %s", text, secret, encoded.data));
	fuzz_require(strstr(shown, secret) == NULL && strstr(shown, encoded.data) == NULL);
	for (int first = 0; first < 8; first++)
	{
		char *spelled = spell(secret, first);
		char *parameter = spell(secret, first);

		shown = source_hide_secrets(&from, psprintf("%s %s", text, spelled));
		fuzz_require(strstr(shown, spelled) == NULL);
		/* a delimiter would end the parameter */
		if (strpbrk(parameter, "&#") != NULL)
			continue;
		shown = source_without_credentials(&from, psprintf("http://h/?a=%s&b=c", parameter));
		fuzz_require(strcmp(shown, "http://h/?b=c") == 0);
	}
	shown = source_excerpt(&from, input, size, size / 2);
	fuzz_require(strstr(shown, secret) == NULL);

	shown = source_without_credentials(&from, psprintf("http://h/?%.*s&key=%s&other=%s#%s",
													   (int) strcspn(text, "#?"), text,
													   encoded.data, encoded.data, secret));
	/* not what it was around it */
	if (strstr(text, secret) == NULL && strstr(text, encoded.data) == NULL &&
		strstr(psprintf("http://h/?%s&key=&other=", text), secret) == NULL)
		fuzz_require(strstr(shown, secret) == NULL && strstr(shown, encoded.data) == NULL);
	(void) source_without_credentials(&from, text);
}
