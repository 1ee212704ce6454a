/*-------------------------------------------------------------------------
 *
 * idna.c
 *	  Labels of internationalised host names: punycode (RFC 3492), the code points that
 *	  RFC 5892 allows, and the rules of context among them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/unicode_norm.h"

#include "schema/ascii.h"
#include "schema/idna.h"
#include "schema/unicode.h"

/* Canonical combining class 9. */
static const pg_wchar viramas[] = {
	0x094D,	 0x09CD,  0x0A4D,  0x0ACD,	0x0B4D,	 0x0BCD,  0x0C4D,  0x0CCD,	0x0D3B,
	0x0D3C,	 0x0D4D,  0x0DCA,  0x0E3A,	0x0EBA,	 0x0F84,  0x1039,  0x103A,	0x1714,
	0x1715,	 0x1734,  0x17D2,  0x1A60,	0x1B44,	 0x1BAA,  0x1BAB,  0x1BF2,	0x1BF3,
	0x2D7F,	 0xA806,  0xA82C,  0xA8C4,	0xA953,	 0xA9C0,  0xAAF6,  0xABED,	0x10A3F,
	0x11046, 0x11070, 0x1107F, 0x110B9, 0x11133, 0x11134, 0x111C0, 0x11235, 0x112EA,
	0x1134D, 0x11442, 0x114C2, 0x115BF, 0x1163F, 0x116B6, 0x1172B, 0x11839, 0x1193D,
	0x1193E, 0x119E0, 0x11A34, 0x11A47, 0x11A99, 0x11C3F, 0x11D44, 0x11D45, 0x11D97,
};

static bool is_virama(pg_wchar c);
static bool is_joining(pg_wchar c);
static bool is_stable(pg_wchar c);
static bool is_allowed(const pg_wchar *label, int length, int at);
static int64 adapt(int64 delta, int64 points, bool first);
static int punycode_length(const pg_wchar *label, int length);
static int punycode_decode(const char *text, int length, pg_wchar *out);
static int bidi_class(pg_wchar c);

static bool
is_virama(pg_wchar c)
{
	for (int i = 0; i < lengthof(viramas); i++)
	{
		if (viramas[i] == c)
			return true;
	}
	return false;
}

/*
 * Letters of scripts whose letters join: Arabic, Syriac, N'Ko, Mandaic, Mongolian.
 */
static bool
is_joining(pg_wchar c)
{
	return unicode_category_of(c) == UNICODE_LO &&
		   ((c >= 0x0620 && c <= 0x08FF) || (c >= 0x1820 && c <= 0x18AA));
}

/*
 * Does normalisation leave a character alone?  What it would change is not allowed.
 */
static bool
is_stable(pg_wchar c)
{
	pg_wchar text[2] = {c, 0};
	pg_wchar *normal;
	bool same;

	if (c < 0x80)
		return true;
	normal = unicode_normalize(UNICODE_NFKC, text);
	same = normal[0] == c && normal[1] == 0;
	pfree(normal);
	return same;
}

/*
 * Is the code point at a position allowed there?
 */
static bool
is_allowed(const pg_wchar *label, int length, int at)
{
	pg_wchar c = label[at];
	pg_wchar before = at > 0 ? label[at - 1] : 0;
	pg_wchar after = at + 1 < length ? label[at + 1] : 0;

	switch (c)
	{
		case '-':
		case 0x00DF:
		case 0x03C2:
		case 0x06FD:
		case 0x06FE:
		case 0x0F0B:
		case 0x3007:
			return true;
		case 0x0640:
		case 0x07FA:
		case 0x302E:
		case 0x302F:
		case 0x3031:
		case 0x3032:
		case 0x3033:
		case 0x3034:
		case 0x3035:
		case 0x303B:
			return false;
		case 0x00B7: /* middle dot, between two l */
			return before == 'l' && after == 'l';
		case 0x0375: /* Greek keraia, before Greek */
			return (after >= 0x0370 && after <= 0x03FF) || (after >= 0x1F00 && after <= 0x1FFF);
		case 0x05F3: /* Hebrew geresh and gershayim, after Hebrew */
		case 0x05F4:
			return before >= 0x0591 && before <= 0x05F4;
		case 0x30FB: /* Katakana middle dot, in Japanese */
			for (int i = 0; i < length; i++)
			{
				pg_wchar o = label[i];

				if (o != 0x30FB && ((o >= 0x3041 && o <= 0x30FF) || (o >= 0x31F0 && o <= 0x31FF) ||
									o == 0x3005 || o == 0x3007 || (o >= 0x3400 && o <= 0x9FFF) ||
									(o >= 0xF900 && o <= 0xFAFF) || (o >= 0x20000 && o <= 0x3FFFF)))
					return true;
			}
			return false;
		case 0x200C: /* zero width non-joiner */
			return is_virama(before) || (is_joining(before) && is_joining(after));
		case 0x200D: /* zero width joiner */
			return is_virama(before);
	}
	/* the two sets of Arabic digits do not mix */
	if ((c >= 0x0660 && c <= 0x0669) || (c >= 0x06F0 && c <= 0x06F9))
	{
		for (int i = 0; i < length; i++)
		{
			if (c < 0x06F0 ? label[i] >= 0x06F0 && label[i] <= 0x06F9
						   : label[i] >= 0x0660 && label[i] <= 0x0669)
				return false;
		}
		return true;
	}
	/* jamo of Old Hangul */
	if ((c >= 0x1100 && c <= 0x11FF) || (c >= 0xA960 && c <= 0xA97F) ||
		(c >= 0xD7B0 && c <= 0xD7FF))
		return false;
	switch (unicode_category_of(c))
	{
		case UNICODE_LL:
		case UNICODE_LO:
		case UNICODE_LM:
		case UNICODE_MN:
		case UNICODE_MC:
		case UNICODE_ND:
			return is_stable(c);
		default:
			return false;
	}
}

static int64
adapt(int64 delta, int64 points, bool first)
{
	int64 k = 0;

	delta = first ? delta / 700 : delta / 2;
	delta += delta / points;
	for (; delta > 455; k += 36)
		delta /= 35;
	return k + 36 * delta / (delta + 38);
}

/*
 * How long a label is in punycode, without its prefix.
 */
static int
punycode_length(const pg_wchar *label, int length)
{
	int64 n = 128;
	int64 delta = 0;
	int64 bias = 72;
	int basic = 0;
	int handled;
	int size;

	for (int i = 0; i < length; i++)
		basic += label[i] < 128;
	handled = basic;
	size = basic > 0 ? basic + 1 : 0;
	while (handled < length)
	{
		int64 next = PG_INT32_MAX;

		for (int i = 0; i < length; i++)
		{
			if (label[i] >= n && label[i] < next)
				next = label[i];
		}
		delta += (next - n) * (handled + 1);
		n = next;
		for (int i = 0; i < length; i++)
		{
			int64 q = delta;

			delta += label[i] < n;
			if (label[i] != n)
				continue;
			q = delta;
			for (int64 k = 36;; k += 36)
			{
				int64 t = k <= bias ? 1 : k >= bias + 26 ? 26 : k - bias;

				size++;
				if (q < t)
					break;
				q = (q - t) / (36 - t);
			}
			bias = adapt(delta, handled + 1, handled == basic);
			delta = 0;
			handled++;
		}
		delta++;
		n++;
	}
	return size;
}

/*
 * Decodes punycode without its prefix; out has room for IDNA_LABEL_MAX code points.  Returns
 * how many there are, -1 when it is malformed.
 */
static int
punycode_decode(const char *text, int length, pg_wchar *out)
{
	int64 n = 128;
	int64 i = 0;
	int64 bias = 72;
	int count = 0;
	int at = 0;

	if (length > IDNA_LABEL_MAX)
		return -1;
	for (int b = length - 1; b > 0; b--)
	{
		if (text[b] == '-')
		{
			for (count = 0; count < b; count++)
				out[count] = (unsigned char) text[count];
			at = b + 1;
			break;
		}
	}
	while (at < length)
	{
		int64 start = i;
		int64 weight = 1;

		for (int64 k = 36;; k += 36)
		{
			int64 t = k <= bias ? 1 : k >= bias + 26 ? 26 : k - bias;
			int64 digit;
			unsigned char c;

			if (at >= length)
				return -1;
			c = text[at++];
			if (c >= '0' && c <= '9')
				digit = c - '0' + 26;
			else if ((c | 32) >= 'a' && (c | 32) <= 'z')
				digit = (c | 32) - 'a';
			else
				return -1;
			i += digit * weight;
			if (i > PG_INT32_MAX)
				return -1;
			if (digit < t)
				break;
			weight *= 36 - t;
			if (weight > PG_INT32_MAX)
				return -1;
		}
		if (count >= IDNA_LABEL_MAX)
			return -1;
		bias = adapt(i - start, count + 1, start == 0);
		n += i / (count + 1);
		i %= count + 1;
		if (n > 0x10FFFF || (n >= 0xD800 && n <= 0xDFFF))
			return -1;
		memmove(&out[i + 1], &out[i], sizeof(pg_wchar) * (count - i));
		out[i++] = n;
		count++;
	}
	return count;
}

/*
 * Coarse bidirectional classes: 'R' right to left, 'N' digits, 'A' Arabic digits,
 * 'M' marks, 'L' the rest.
 */
static int
bidi_class(pg_wchar c)
{
	int category = unicode_category_of(c);

	if (category == UNICODE_MN || category == UNICODE_CF)
		return 'M';
	if ((c >= '0' && c <= '9') || (c >= 0x06F0 && c <= 0x06F9))
		return 'N';
	if (c >= 0x0660 && c <= 0x0669)
		return 'A';
	if (c == '-')
		return '-';
	if ((c >= 0x0590 && c <= 0x08FF) || (c >= 0xFB1D && c <= 0xFDFF) ||
		(c >= 0xFE70 && c <= 0xFEFF) || (c >= 0x10800 && c <= 0x10FFF) ||
		(c >= 0x1E800 && c <= 0x1EFFF))
		return 'R';
	return 'L';
}

/*
 * Does a label hold a character that is written right to left?
 */
bool
idna_is_right_to_left(const pg_wchar *label, int length)
{
	for (int i = 0; i < length; i++)
	{
		int class = bidi_class(label[i]);

		if (class == 'R' || class == 'A')
			return true;
	}
	return false;
}

/*
 * RFC 5893: the rule for a label of a name of which a label is written right to left.
 */
bool
idna_bidi_valid(const pg_wchar *label, int length)
{
	bool any_left = false;
	bool any_number = false;
	bool any_arabic = false;
	int last = 0;

	for (int i = 0; i < length; i++)
	{
		int class = bidi_class(label[i]);

		any_left |= class == 'L';
		any_number |= class == 'N';
		any_arabic |= class == 'A';
		if (class != 'M')
			last = class;
	}
	if (!idna_is_right_to_left(label, length))
		return bidi_class(label[0]) == 'L' && last != '-';
	return bidi_class(label[0]) == 'R' && !any_left && last != '-' && !(any_number && any_arabic);
}

/*
 * The length of a label in Unicode once it is encoded; 0 when the label is not valid.
 */
int
idna_label_size(const pg_wchar *label, int length)
{
	bool is_ascii = true;
	int size = length;
	int first;

	if (length == 0 || length > IDNA_LABEL_MAX || label[0] == '-' || label[length - 1] == '-')
		return 0;
	if (length >= 4 && label[2] == '-' && label[3] == '-')
		return 0;
	first = unicode_category_of(label[0]);
	if (first == UNICODE_MN || first == UNICODE_MC || first == UNICODE_ME)
		return 0;
	for (int i = 0; i < length; i++)
	{
		if (label[i] >= 0x80)
		{
			is_ascii = false;
			if (!is_allowed(label, length, i))
				return 0;
		}
		else if (label[i] != '-' && !ascii_is_alnum(label[i]))
			return 0;
	}
	if (!is_ascii)
		size = punycode_length(label, length) + strlen("xn--");
	return size <= IDNA_LABEL_MAX ? size : 0;
}

/*
 * Decodes a label "xn--..." whose decoded form is valid; out has room for IDNA_LABEL_MAX
 * code points.  Returns how many there are, 0 when the label is not valid.
 */
int
idna_decode(const char *label, int length, pg_wchar *out)
{
	bool beyond_ascii = false;
	int count;

	if (length < 5 || length > IDNA_LABEL_MAX)
		return 0;
	count = punycode_decode(label + 4, length - 4, out);
	for (int i = 0; i < count; i++)
		beyond_ascii |= out[i] >= 0x80;
	return beyond_ascii && idna_label_size(out, count) > 0 ? count : 0;
}
