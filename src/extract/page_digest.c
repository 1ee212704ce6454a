/*-------------------------------------------------------------------------
 *
 * page_digest.c
 *	  Digests by which a page is known again.
 *
 * Every byte of every page goes through here, so it has to be fast: products of 64 bits
 * folded to 64, as wyhash has them, in three chains that do not wait for each other.  It
 * is no protection against somebody who makes pages to collide, nor has to be.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "extract/extraction.h"

#ifdef HAVE_INT128

static const uint64 keys[3] = {UINT64CONST(0xa0761d6478bd642f), UINT64CONST(0xe7037ed1a0b428db),
							   UINT64CONST(0x8ebc6af09c88c6e3)};

static inline uint64
word(const char *at)
{
	uint64 result;

	memcpy(&result, at, sizeof(result));
	return result;
}

static inline uint64
fold(uint64 a, uint64 b)
{
	uint128 product = (uint128) a * b;

	return (uint64) product ^ (uint64) (product >> 64);
}

static uint64
digest(const char *bytes, size_t length, uint64 seed)
{
	const char *at = bytes;
	size_t left = length;
	uint64 a = keys[0] ^ seed;
	uint64 b = keys[1];
	uint64 c = keys[2];
	char tail[16] = {0};

	for (; left >= 48; left -= 48, at += 48)
	{
		a = fold(word(at) ^ keys[0], word(at + 8) ^ a);
		b = fold(word(at + 16) ^ keys[1], word(at + 24) ^ b);
		c = fold(word(at + 32) ^ keys[2], word(at + 40) ^ c);
	}
	a ^= b ^ c;
	for (; left >= 16; left -= 16, at += 16)
		a = fold(word(at) ^ keys[0], word(at + 8) ^ a);
	memcpy(tail, at, left);
	a = fold(word(tail) ^ keys[1], word(tail + 8) ^ a);
	return fold(a ^ keys[2], length ^ keys[0]);
}

#else

static uint64
digest(const char *bytes, size_t length, uint64 seed)
{
	return hash_bytes_extended((const unsigned char *) bytes, (int) length, seed ^ length);
}

#endif /* HAVE_INT128 */

/*
 * A digest of a page that is good enough to notice that it came before; never 0.  Where
 * records have a key it is theirs: what else is in the body may differ each time, and two
 * pages of the same records are one page.  It depends on the platform.
 */
uint64
page_digest(const page_fetch *fetch)
{
	const http_response *response = fetch->exchange.response;
	uint64 result = 0;

	if (fetch->e->target.keys == NIL)
		result = digest(response->body, response->body_length, 0);
	else
	{
		for (int i = 0; i < fetch->records.count; i++)
		{
			const record_range *record = &fetch->records.records[i];

			result = digest(response->body + record->offset, record->length, result);
		}
	}
	return result == 0 ? 1 : result;
}
