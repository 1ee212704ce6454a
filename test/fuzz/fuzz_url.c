/*-------------------------------------------------------------------------
 *
 * fuzz_url.c
 *	  http_url_resolve() and what else reads URLs that a source sends.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "http/http.h"

#define SECRET "s3cr3t-0f-n0b0dy"

/*
 * Input: the URL of a page, a line feed, a reference in it.  What a reference means can be
 * sent, and means the same as a reference of its own; a secret is not printed.
 */
FUZZ_TARGET(url)
{
	char *base = fuzz_take_line(&input, &size);
	char *reference = fuzz_text(input, size);
	char *resolved = http_url_resolve(base, reference);

	if (resolved != NULL)
	{
		int port = 0;
		char *host = http_url_host(CurrentMemoryContext, resolved, &port);

		for (const unsigned char *c = (unsigned char *) resolved; *c != '\0'; c++)
			fuzz_require(*c > ' ' && *c < 127);
		fuzz_require(http_url_resolve(NULL, resolved) != NULL);
		fuzz_require(strcmp(http_url_resolve(NULL, resolved), resolved) == 0);
		fuzz_require(host != NULL && host[0] != '\0' && port >= 0 && port <= 65535);
		fuzz_require(http_url_same_origin(resolved, resolved));
		(void) http_url_redact(http_url_add_parameter(resolved, reference, base));
	}
	(void) http_url_redact(reference);
	if (strstr(reference, SECRET) != NULL)
		return;
	fuzz_require(
		strstr(http_url_redact(psprintf("http://h/?%s&token=" SECRET, reference)), SECRET) == NULL);
	fuzz_require(
		strstr(http_url_redact(psprintf("https://me:" SECRET "@h/%s", reference)), SECRET) == NULL);
}
