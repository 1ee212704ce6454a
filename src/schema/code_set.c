/*-------------------------------------------------------------------------
 *
 * code_set.c
 *	  Sets of code points, as classes of regular expressions denote them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "schema/pattern.h"
#include "schema/unicode.h"

static const struct
{
	const char *name;
	uint32 categories;
} categories[] = {
#define BIT(category) (1u << UNICODE_##category)
#define CASED_LETTER (BIT(LU) | BIT(LL) | BIT(LT))
#define LETTER (CASED_LETTER | BIT(LM) | BIT(LO))
#define MARK (BIT(MN) | BIT(MC) | BIT(ME))
#define NUMBER (BIT(ND) | BIT(NL) | BIT(NO))
#define PUNCTUATION (BIT(PC) | BIT(PD) | BIT(PS) | BIT(PE) | BIT(PI) | BIT(PF) | BIT(PO))
#define SYMBOL (BIT(SM) | BIT(SC) | BIT(SK) | BIT(SO))
#define SEPARATOR (BIT(ZS) | BIT(ZL) | BIT(ZP))
#define OTHER (BIT(CC) | BIT(CF) | BIT(CS) | BIT(CO) | BIT(CN))
	{"Cased_Letter", CASED_LETTER},
	{"LC", CASED_LETTER},
	{"Close_Punctuation", BIT(PE)},
	{"Pe", BIT(PE)},
	{"Connector_Punctuation", BIT(PC)},
	{"Pc", BIT(PC)},
	{"Control", BIT(CC)},
	{"Cc", BIT(CC)},
	{"cntrl", BIT(CC)},
	{"Currency_Symbol", BIT(SC)},
	{"Sc", BIT(SC)},
	{"Dash_Punctuation", BIT(PD)},
	{"Pd", BIT(PD)},
	{"Decimal_Number", BIT(ND)},
	{"Nd", BIT(ND)},
	{"digit", BIT(ND)},
	{"Enclosing_Mark", BIT(ME)},
	{"Me", BIT(ME)},
	{"Final_Punctuation", BIT(PF)},
	{"Pf", BIT(PF)},
	{"Format", BIT(CF)},
	{"Cf", BIT(CF)},
	{"Initial_Punctuation", BIT(PI)},
	{"Pi", BIT(PI)},
	{"Letter", LETTER},
	{"L", LETTER},
	{"Letter_Number", BIT(NL)},
	{"Nl", BIT(NL)},
	{"Line_Separator", BIT(ZL)},
	{"Zl", BIT(ZL)},
	{"Lowercase_Letter", BIT(LL)},
	{"Ll", BIT(LL)},
	{"Mark", MARK},
	{"M", MARK},
	{"Combining_Mark", MARK},
	{"Math_Symbol", BIT(SM)},
	{"Sm", BIT(SM)},
	{"Modifier_Letter", BIT(LM)},
	{"Lm", BIT(LM)},
	{"Modifier_Symbol", BIT(SK)},
	{"Sk", BIT(SK)},
	{"Nonspacing_Mark", BIT(MN)},
	{"Mn", BIT(MN)},
	{"Number", NUMBER},
	{"N", NUMBER},
	{"Open_Punctuation", BIT(PS)},
	{"Ps", BIT(PS)},
	{"Other", OTHER},
	{"C", OTHER},
	{"Other_Letter", BIT(LO)},
	{"Lo", BIT(LO)},
	{"Other_Number", BIT(NO)},
	{"No", BIT(NO)},
	{"Other_Punctuation", BIT(PO)},
	{"Po", BIT(PO)},
	{"Other_Symbol", BIT(SO)},
	{"So", BIT(SO)},
	{"Paragraph_Separator", BIT(ZP)},
	{"Zp", BIT(ZP)},
	{"Private_Use", BIT(CO)},
	{"Co", BIT(CO)},
	{"Punctuation", PUNCTUATION},
	{"P", PUNCTUATION},
	{"punct", PUNCTUATION},
	{"Separator", SEPARATOR},
	{"Z", SEPARATOR},
	{"Space_Separator", BIT(ZS)},
	{"Zs", BIT(ZS)},
	{"Spacing_Mark", BIT(MC)},
	{"Mc", BIT(MC)},
	{"Surrogate", BIT(CS)},
	{"Cs", BIT(CS)},
	{"Symbol", SYMBOL},
	{"S", SYMBOL},
	{"Titlecase_Letter", BIT(LT)},
	{"Lt", BIT(LT)},
	{"Unassigned", BIT(CN)},
	{"Cn", BIT(CN)},
	{"Uppercase_Letter", BIT(LU)},
	{"Lu", BIT(LU)},
	{"Any", 0xFFFFFFFF},
	{"Assigned", ~BIT(CN)},
};

static void append_range(code_set *set, pg_wchar first, pg_wchar last);

/*
 * An empty set, palloc'd.
 */
code_set *
code_set_new(void)
{
	return palloc0(sizeof(code_set));
}

/*
 * Appends a range that begins behind the first of the last one, and joins the two where they
 * touch.
 */
static void
append_range(code_set *set, pg_wchar first, pg_wchar last)
{
	code_range *end = set->count == 0 ? NULL : &set->ranges[set->count - 1];

	if (end != NULL && first <= end->last + 1)
	{
		end->last = Max(end->last, last);
		return;
	}
	if (set->count == set->allocated)
	{
		set->allocated = Max(8, set->allocated * 2);
		set->ranges = set->ranges == NULL
						  ? palloc(sizeof(code_range) * set->allocated)
						  : repalloc(set->ranges, sizeof(code_range) * set->allocated);
	}
	set->ranges[set->count].first = first;
	set->ranges[set->count].last = last;
	set->count++;
}

/*
 * Adds a range to a set.
 */
void
code_set_add(code_set *set, pg_wchar first, pg_wchar last)
{
	code_range range = {first, last};
	code_set single = {.count = 1, .ranges = &range};

	if (set->count == 0 || set->ranges[set->count - 1].first <= first)
		append_range(set, first, last);
	else
		code_set_union(set, &single);
}

/*
 * Adds another set to a set: both are sorted, so that one pass over both does it.  A class
 * such as [\p{L}\p{N}] has a thousand ranges.
 */
void
code_set_union(code_set *set, const code_set *other)
{
	const code_set before = *set;
	int a = 0;
	int b = 0;

	if (other->count == 0)
		return;
	set->count = 0;
	set->allocated = before.count + other->count;
	set->ranges = palloc(sizeof(code_range) * set->allocated);
	while (a < before.count || b < other->count)
	{
		const code_range *next;

		if (b == other->count ||
			(a < before.count && before.ranges[a].first <= other->ranges[b].first))
			next = &before.ranges[a++];
		else
			next = &other->ranges[b++];
		append_range(set, next->first, next->last);
	}
	if (before.ranges != NULL)
		pfree(before.ranges);
}

/*
 * All code points that are not in a set; palloc'd.
 */
code_set *
code_set_complement(const code_set *set)
{
	code_set *result = code_set_new();
	pg_wchar next = 0;

	for (int i = 0; i < set->count; i++)
	{
		if (set->ranges[i].first > next)
			code_set_add(result, next, set->ranges[i].first - 1);
		next = set->ranges[i].last + 1;
	}
	if (next <= CODE_POINT_MAX)
		code_set_add(result, next, CODE_POINT_MAX);
	return result;
}

/*
 * Adds the code points with a property, as \p{...} names it: a general category or its
 * short name, with or without "General_Category=".  False when the name is unknown.
 */
bool
code_set_add_property(code_set *set, const char *name, int length)
{
	static const char *const prefixes[] = {"General_Category=", "gc="};
	uint32 wanted = 0;

	for (int i = 0; i < lengthof(prefixes); i++)
	{
		int skip = strlen(prefixes[i]);

		if (length > skip && memcmp(name, prefixes[i], skip) == 0)
		{
			name += skip;
			length -= skip;
			break;
		}
	}
	if (length == 5 && memcmp(name, "ASCII", 5) == 0)
	{
		code_set_add(set, 0, 127);
		return true;
	}
	for (int i = 0; i < lengthof(categories); i++)
	{
		if (strlen(categories[i].name) == length && memcmp(categories[i].name, name, length) == 0)
			wanted = categories[i].categories;
	}
	if (wanted == 0)
		return false;
	for (int i = 0; i < unicode_range_count; i++)
	{
		pg_wchar last =
			i + 1 < unicode_range_count ? unicode_range_start(i + 1) - 1 : CODE_POINT_MAX;

		if ((wanted & (1u << unicode_range_category(i))) != 0)
			code_set_add(set, unicode_range_start(i), last);
	}
	return true;
}

/*
 * Is a code point in a set?
 */
bool
code_set_contains(const code_set *set, pg_wchar c)
{
	int low = 0;
	int high = set->count;

	while (low < high)
	{
		int middle = (low + high) / 2;

		if (c > set->ranges[middle].last)
			low = middle + 1;
		else if (c < set->ranges[middle].first)
			high = middle;
		else
			return true;
	}
	return false;
}
