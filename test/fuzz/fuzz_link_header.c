/*-------------------------------------------------------------------------
 *
 * fuzz_link_header.c
 *	  http_link_target() on any header.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "http/http.h"

/*
 * Input: a header.  A target that is found stands in it; and a link in front of the header is
 * found, whatever follows.
 */
FUZZ_TARGET(link_header)
{
	char *header = fuzz_text(input, size);
	bool malformed;
	char *target = http_link_target(header, "next", &malformed);
	char *reference = fuzz_text(input, strcspn(header, " \t<>\"\n"));

	if (target != NULL)
		fuzz_require(strstr(header, target) != NULL);
	target = http_link_target(
		psprintf("<%s>; x=\"a,\\\"<b>\"; REL=\"last Next\", %s", reference, header), "next",
		&malformed);
	fuzz_require(target != NULL && strcmp(target, reference) == 0 && !malformed);
	fuzz_require(http_link_target(NULL, "next", &malformed) == NULL && !malformed);
}
