/*-------------------------------------------------------------------------
 *
 * json_number.c
 *	  Numbers of JSON text: found, judged, and written as numeric is stored.
 *
 * What is written is what numeric_in would have made (src/backend/utils/adt/numeric.c; the
 * form on disk is the same since 9.1): a header with sign, display scale and weight, short
 * when it fits into 16 bits, and then digits of base 10000 without zeroes at either end.
 * numeric_in itself is not called: before 16 it can only raise.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "extract/json/json_number.h"
#include "extract/json/json_scan.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#define DIGIT_BASE 10000
#define DECIMALS 4 /* decimal digits of one digit of base 10000 */

#define SHORT_FORM 0x8000
#define SHORT_NEGATIVE 0x2000
#define SHORT_SCALE_SHIFT 7
#define SHORT_SCALE_MAX 0x3F
#define SHORT_WEIGHT_NEGATIVE 0x0040
#define SHORT_WEIGHT_MASK 0x003F
#define LONG_NEGATIVE 0x4000
#define LONG_SCALE_MAX 0x3FFF

/* How many digits of a small number a machine word holds; padding a fraction takes three. */
#define SMALL_INTEGER_DIGITS 19
#define SMALL_FRACTION_DIGITS (SMALL_INTEGER_DIGITS - (DECIMALS - 1))

/* Numbers shorter than this cannot leave numeric's range unless they have an exponent. */
#define HARMLESS_DIGITS 16000

/* A number in numeric's range has no more digits than this between its zeroes. */
#define SIGNIFICANT_DIGITS_MAX ((PG_INT16_MAX + 1) * DECIMALS + LONG_SCALE_MAX)

/* Past these numeric_in does not look at the number any more, not even at a zero. */
#if PG_VERSION_NUM >= 160000
#define EXPONENT_MAX (PG_INT32_MAX / 2)
#else
#define EXPONENT_MAX (PG_INT32_MAX / 2 - 1)
#endif

/* A number taken apart. */
typedef struct decimal
{
	bool negative;
	const char *integer; /* its digits before the point ... */
	uint32 integer_digits;
	const char *fraction; /* ... and after it */
	uint32 fraction_digits;
	int64 exponent; /* stops growing past EXPONENT_MAX */
	/* what becomes of it, when it fits */
	uint32 first; /* the first digit that is not 0, and the one after the last */
	uint32 last;
	int64 weight; /* of the first digit of base 10000 */
	int64 scale;
	uint32 lead; /* zeroes before the first digit within its digit of base 10000 */
} decimal;

static inline char
decimal_digit(const decimal *d, uint32 index)
{
	return index < d->integer_digits ? d->integer[index] : d->fraction[index - d->integer_digits];
}

/*
 * Takes a well-formed number apart.  False: numeric cannot hold it.
 */
static bool
decimal_read(const char *text, uint32 size, decimal *d)
{
	const char *end = text + size;
	const char *at = text;
	uint32 digits;
	int64 point; /* the power of ten of the first digit */

	memset(d, 0, sizeof(*d));
	if (*at == '-')
	{
		d->negative = true;
		at++;
	}
	for (d->integer = at; at < end && json_is_digit(*at);)
		at++;
	d->integer_digits = at - d->integer;
	if (at < end && *at == '.')
	{
		for (d->fraction = ++at; at < end && json_is_digit(*at);)
			at++;
		d->fraction_digits = at - d->fraction;
	}
	if (at < end) /* e or E */
	{
		bool negative = *++at == '-';

		if (*at == '-' || *at == '+')
			at++;
		for (; at < end; at++)
		{
			if (d->exponent <= EXPONENT_MAX)
				d->exponent = d->exponent * 10 + (*at - '0');
		}
		if (d->exponent > EXPONENT_MAX)
			return false;
		if (negative)
			d->exponent = -d->exponent;
	}

	d->scale = Max((int64) d->fraction_digits - d->exponent, 0);
	if (d->scale > LONG_SCALE_MAX)
		return false;
	digits = d->integer_digits + d->fraction_digits;
	while (d->first < digits && decimal_digit(d, d->first) == '0')
		d->first++;
	if (d->first == digits) /* zero has neither sign nor weight */
	{
		d->last = d->first;
		d->negative = false;
		return true;
	}
	for (d->last = digits; decimal_digit(d, d->last - 1) == '0';)
		d->last--;
	point = (int64) d->integer_digits - 1 - d->first + d->exponent;
	d->weight = point >= 0 ? point / DECIMALS : -((-point - 1) / DECIMALS + 1);
	d->lead = (d->weight + 1) * DECIMALS - (point + 1);
	return d->weight >= PG_INT16_MIN && d->weight <= PG_INT16_MAX;
}

/*
 * Reads a number that begins at start, with - or a digit.  Fills the node and sets "after"
 * to the byte after the number, or after what is wrong with it.
 */
json_number_verdict
json_number_scan(const char *start, const char *end, json_node *node, const char **after)
{
	const char *at = start;
	const char *first;
	uint64 digits = 0; /* wraps around when there are too many; not used then */
	uint32 count;
	uint32 scale = 0;
	bool has_exponent = false;
	bool malformed = false;

	node->negative = *at == '-';
	if (node->negative)
		at++;
	first = at;
	if (at < end && *at == '0')
		at++;
	else
	{
		for (; at < end && json_is_digit(*at); at++)
			digits = digits * 10 + (*at - '0');
		malformed = at == first;
	}
	count = at - first;
	if (at < end && *at == '.')
	{
		for (first = ++at; at < end && json_is_digit(*at); at++)
			digits = digits * 10 + (*at - '0');
		scale = at - first;
		count += scale;
		malformed |= scale == 0;
	}
	if (at < end && (*at == 'e' || *at == 'E'))
	{
		has_exponent = true;
		at++;
		if (at < end && (*at == '+' || *at == '-'))
			at++;
		for (first = at; at < end && json_is_digit(*at);)
			at++;
		malformed |= at == first;
	}
	for (; at < end && json_is_word(*at); at++)
		malformed = true;
	*after = at;
	if (malformed)
		return JSON_NUMBER_MALFORMED;
	if (!has_exponent && count <= (scale > 0 ? SMALL_FRACTION_DIGITS : SMALL_INTEGER_DIGITS))
	{
		node->kind = JSON_SMALL_NUMBER;
		node->scale = scale;
		node->u.digits = digits;
		return JSON_NUMBER_OK;
	}
	node->kind = JSON_NUMBER;
	node->size = at - start;
	node->u.text = start;
	if (has_exponent || count > HARMLESS_DIGITS)
	{
		decimal d;

		if (!decimal_read(start, node->size, &d))
			return JSON_NUMBER_OVERFLOW;
	}
	return JSON_NUMBER_OK;
}

/*
 * So many bytes json_number_write() needs at most for a node of kind JSON_NUMBER.
 */
size_t
json_number_bytes(const json_node *node)
{
	/* digits of base 10000: one for each four of the text, and one more at either end */
	return VARHDRSZ + sizeof(uint16) + sizeof(int16) +
		   sizeof(int16) * (Min(node->size, SIGNIFICANT_DIGITS_MAX) / DECIMALS + 2);
}

/* Writes a number whose digits are in a machine word. */
static size_t
write_small(const json_node *node, char *out)
{
	static const uint16 padding[DECIMALS] = {1, 1000, 100, 10};
	uint64 value = node->u.digits * padding[node->scale % DECIMALS];
	int fraction = (node->scale + DECIMALS - 1) / DECIMALS;
	uint16 digits[SMALL_INTEGER_DIGITS / DECIMALS + 1]; /* the lowest first */
	uint16 *target = (uint16 *) (out + VARHDRSZ + sizeof(uint16));
	int count = 0;
	int low = 0;
	int weight;
	uint16 header;

	while (value > 0)
	{
		digits[count++] = value % DIGIT_BASE;
		value /= DIGIT_BASE;
	}
	while (low < count && digits[low] == 0)
		low++;
	weight = count > 0 ? count - 1 - fraction : 0;
	header = SHORT_FORM | (node->negative && count > 0 ? SHORT_NEGATIVE : 0) |
			 node->scale << SHORT_SCALE_SHIFT | (weight < 0 ? SHORT_WEIGHT_NEGATIVE : 0) |
			 (weight & SHORT_WEIGHT_MASK);
	for (int i = count; i > low; i--)
		*target++ = digits[i - 1];
	*(uint16 *) (out + VARHDRSZ) = header;
	SET_VARSIZE(out, (char *) target - out);
	return (char *) target - out;
}

/*
 * Writes the number of a node of json_number_scan() as numeric, with a varlena header of
 * four bytes; out is aligned to four and has room for JSON_SMALL_NUMBER_BYTES or
 * json_number_bytes().  Returns the number of bytes.
 */
size_t
json_number_write(const json_node *node, char *out)
{
	decimal d;
	uint16 *target = (uint16 *) (out + VARHDRSZ);
	uint32 in_group;
	uint32 group = 0;

	if (node->kind == JSON_SMALL_NUMBER)
		return write_small(node, out);
	if (!decimal_read(node->u.text, node->size, &d))
		elog(ERROR, "a number does not fit that did before"); /* cannot be */
	if (d.scale <= SHORT_SCALE_MAX && d.weight <= SHORT_WEIGHT_MASK &&
		d.weight >= -(SHORT_WEIGHT_MASK + 1))
		*target++ = SHORT_FORM | (d.negative ? SHORT_NEGATIVE : 0) | d.scale << SHORT_SCALE_SHIFT |
					(d.weight < 0 ? SHORT_WEIGHT_NEGATIVE : 0) | (d.weight & SHORT_WEIGHT_MASK);
	else
	{
		*target++ = (d.negative ? LONG_NEGATIVE : 0) | d.scale;
		*target++ = (uint16) d.weight;
	}
	in_group = d.lead;
	for (uint32 i = d.first; i < d.last; i++)
	{
		group = group * 10 + (decimal_digit(&d, i) - '0');
		if (++in_group == DECIMALS)
		{
			*target++ = group;
			group = 0;
			in_group = 0;
		}
	}
	if (in_group > 0 && d.first < d.last)
	{
		for (; in_group < DECIMALS; in_group++)
			group *= 10;
		*target++ = group;
	}
	SET_VARSIZE(out, (char *) target - out);
	return (char *) target - out;
}
