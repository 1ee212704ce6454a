/*-------------------------------------------------------------------------
 *
 * early_start.c
 *	  Lets AddressSanitizer begin before a lock is taken that it needs.
 *
 * Preloaded next to the sanitizer's library into a server that was not built with it.  The
 * sanitizer begins with the first malloc.  In PostgreSQL that comes from bindtextdomain(),
 * which a library the server is linked with calls in its constructor; the sanitizer then
 * looks up symbols that are not there, the text of that error is translated, and waits
 * for ever for the lock that bindtextdomain() holds.
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

char *
bindtextdomain(const char *domain, const char *directory)
{
	char *(*real)(const char *, const char *);
	void *volatile memory = malloc(1);

	free(memory);
	real = (char *(*) (const char *, const char *) ) dlsym(RTLD_NEXT, "bindtextdomain");
	return real ? real(domain, directory) : NULL;
}
