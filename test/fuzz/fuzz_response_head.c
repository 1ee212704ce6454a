/*-------------------------------------------------------------------------
 *
 * fuzz_response_head.c
 *	  http_head_parse(): the header lines of any answer.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "http/transfer.h"

/*
 * Input: a head.  A header that was parsed is found under its name, and can be sent as it is
 * unless it holds control characters.
 */
FUZZ_TARGET(response_head)
{
	http_buffer head = {.context = CurrentMemoryContext, .limit = size + 1};
	ListCell *cell;

	fuzz_require(http_buffer_append(&head, input, size));
	foreach (cell, http_head_parse(&head))
	{
		http_header *header = lfirst(cell);

		fuzz_require(header->name[0] != '\0' && http_head_value(&head, header->name) != NULL);
		fuzz_require(strpbrk(header->value, "\r\n") == NULL);
	}
}
