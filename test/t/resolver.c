/*-------------------------------------------------------------------------
 *
 * resolver.c
 *	  For 035_name_resolution.pl, preloaded into a server: *.rebind.test means what a file
 *	  says at the moment, an address a line; its name is in ETL_TEST_ADDRESSES.
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int (*resolve)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int
getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
			struct addrinfo **result)
{
	resolve real = (resolve) dlsym(RTLD_NEXT, "getaddrinfo");
	size_t length = name != NULL ? strlen(name) : 0;
	const char *list = getenv("ETL_TEST_ADDRESSES");
	struct addrinfo **next = result;
	char address[100];
	FILE *file;

	if (list == NULL || length < 11 || strcmp(name + length - 11, "rebind.test") != 0)
		return real(name, service, hints, result);
	file = fopen(list, "r");
	*result = NULL;
	while (file != NULL && fgets(address, sizeof(address), file) != NULL)
	{
		address[strcspn(address, "\n")] = '\0';
		if (real(address, service, hints, next) != 0)
			continue;
		while (*next != NULL)
			next = &(*next)->ai_next;
	}
	if (file != NULL)
		fclose(file);
	return *result == NULL ? EAI_NONAME : 0;
}
