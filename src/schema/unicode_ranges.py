"""Prints unicode_ranges.c: the general categories as Python's unicodedata knows them."""
import unicodedata

ORDER = ('Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So '
         'Zs Zl Zp Cc Cf Cs Co').split()


def tabbed(source):
    """C as PostgreSQL indents it."""
    return source.replace('    ', '\t')


rows = []
last = None
for point in range(0x110000):
    category = ORDER.index(unicodedata.category(chr(point)))
    if category != last:
        rows.append(point << 5 | category)
        last = category

print(tabbed(f'''/*-------------------------------------------------------------------------
 *
 * unicode_ranges.c
 *      General categories of Unicode {unicodedata.unidata_version}, written by unicode_ranges.py.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "schema/unicode.h"

/* clang-format off */
const uint32 unicode_ranges[] = {{'''))
for start in range(0, len(rows), 9):
    print('\t' + ' '.join(f'0x{row:07X},' for row in rows[start:start + 9]))
print(tabbed('''};
/* clang-format on */

const int unicode_range_count = lengthof(unicode_ranges);

/*
 * The category of a code point.
 */
int
unicode_category_of(pg_wchar c)
{
    int low = 0;
    int high = unicode_range_count;

    while (high - low > 1)
    {
        int middle = (low + high) / 2;

        if (unicode_range_start(middle) <= c)
            low = middle;
        else
            high = middle;
    }
    return unicode_range_category(low);
}'''))
