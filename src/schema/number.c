/*-------------------------------------------------------------------------
 *
 * number.c
 *	  Numbers of JSON: exact, with short cuts for the small ones.
 *
 * The short cuts read the stored form of numeric (src/backend/utils/adt/numeric.c, the same
 * on disk since 9.1): a header of 16 bits that holds sign, display scale and weight, then
 * digits of base 10000.  Only this short form is read; the rest goes through SQL functions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#include "schema/number.h"

#define SHORT_FORM_MASK 0xC000
#define SHORT_FORM 0x8000
#define SHORT_NEGATIVE 0x2000
#define SHORT_WEIGHT_NEGATIVE 0x0040
#define SHORT_WEIGHT_MASK 0x003F
#define DIGIT_BASE 10000

#define COUNT_MAX (INT64CONST(1) << 40)

/* So many digits of base 10000 fit into int64. */
#define SMALL_DIGITS 4

/* A number times 10000: small numbers of up to four decimals, exactly. */
typedef int64 scaled_number;

static inline bool read_small(Numeric number, scaled_number *out);

/*
 * Reads a number below 10^12 with at most four decimals; false for any other.
 */
static inline bool
read_small(Numeric number, scaled_number *out)
{
	const uint16 *data = (const uint16 *) VARDATA_ANY(number);
	int digits = (VARSIZE_ANY_EXHDR(number) - sizeof(uint16)) / sizeof(int16);
	uint16 header = data[0];
	int weight = header & SHORT_WEIGHT_MASK;
	int64 value = 0;

	if ((header & SHORT_FORM_MASK) != SHORT_FORM)
		return false;
	if ((header & SHORT_WEIGHT_NEGATIVE) != 0)
		weight -= SHORT_WEIGHT_MASK + 1;
	/* the last digit must not be worth less than 1/10000, the first not more than 10000^2 */
	if (digits > SMALL_DIGITS || weight >= SMALL_DIGITS - 1 || weight < -1 ||
		digits - 1 - weight > 1)
		return false;
	for (int i = 0; i < weight + 2; i++)
		value = value * DIGIT_BASE + (i < digits ? (int16) data[1 + i] : 0);
	*out = (header & SHORT_NEGATIVE) != 0 ? -value : value;
	return true;
}

/*
 * Less than, equal to or greater than 0, as a is to b.
 */
int
json_number_compare(Numeric a, Numeric b)
{
	scaled_number small_a;
	scaled_number small_b;

	if (read_small(a, &small_a) && read_small(b, &small_b))
		return small_a < small_b ? -1 : small_a > small_b;
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a), NumericGetDatum(b)));
}

/*
 * Has a number no fractional part?  1.0 and 1e3 are integers, 1.5 is not.
 */
bool
json_number_is_integer(Numeric number)
{
	scaled_number small;

	if (read_small(number, &small))
		return small % DIGIT_BASE == 0;
	return DatumGetInt32(DirectFunctionCall1(numeric_min_scale, NumericGetDatum(number))) == 0;
}

/*
 * Is a number an integer that was written without a fraction?  1.0 is not.
 */
bool
json_number_is_written_as_integer(Numeric number)
{
	return DatumGetInt32(DirectFunctionCall1(numeric_scale, NumericGetDatum(number))) == 0;
}

/*
 * Is a number an integer times a divisor, which is not 0?
 */
bool
json_number_is_multiple(Numeric number, Numeric divisor)
{
	scaled_number small;
	scaled_number small_divisor;
	Datum rest;
	Datum zero;
	bool is_zero;

	if (read_small(number, &small) && read_small(divisor, &small_divisor))
		return small % small_divisor == 0;
	rest = DirectFunctionCall2(numeric_mod, NumericGetDatum(number), NumericGetDatum(divisor));
	zero = DirectFunctionCall1(int8_numeric, Int64GetDatum(0));
	is_zero = DatumGetBool(DirectFunctionCall2(numeric_eq, rest, zero));
	pfree(DatumGetPointer(rest));
	pfree(DatumGetPointer(zero));
	return is_zero;
}

/*
 * A number as a count: an integer that is not negative.  What exceeds COUNT_MAX becomes
 * that, which no document reaches.
 */
bool
json_number_to_count(Numeric number, int64 *out)
{
	Datum datum = NumericGetDatum(number);
	Datum limit = DirectFunctionCall1(int8_numeric, Int64GetDatum(COUNT_MAX));
	Datum zero = DirectFunctionCall1(int8_numeric, Int64GetDatum(0));

	if (!json_number_is_integer(number) ||
		DatumGetBool(DirectFunctionCall2(numeric_lt, datum, zero)))
		return false;
	if (DatumGetBool(DirectFunctionCall2(numeric_ge, datum, limit)))
		*out = COUNT_MAX;
	else
		*out = DatumGetInt64(DirectFunctionCall1(numeric_int8, datum));
	return true;
}
