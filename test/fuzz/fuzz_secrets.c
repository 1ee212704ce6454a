/*-------------------------------------------------------------------------
 *
 * fuzz_secrets.c
 *	  What is shown and kept of what a source says, when it repeats a secret.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "extract/credentials.h"
#include "extract/source.h"

/*
 * Input: a secret, a line feed, a text or URL.  The secret is in neither of what is made of it;
 * nor is it when the text goes on with it, as it is and percent-encoded.
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
	shown = source_excerpt(&from, input, size, size / 2);
	fuzz_require(strstr(shown, secret) == NULL);

	shown = source_without_credentials(&from, psprintf("http://h/?%.*s&key=%s&other=%s#%s",
													   (int) strcspn(text, "#?"), text,
													   encoded.data, encoded.data, secret));
	if (strstr(text, secret) == NULL && strstr(text, encoded.data) == NULL)
		fuzz_require(strstr(shown, secret) == NULL && strstr(shown, encoded.data) == NULL);
	(void) source_without_credentials(&from, text);
}
