/*-------------------------------------------------------------------------
 *
 * quota.c
 *	  What an answer's headers say about the provider's quota.
 *
 * There is no one standard, so all of these are read:
 *
 *	X-RateLimit-Limit, -Remaining, -Reset	 GitHub and most others; also X-Rate-Limit-…
 *	RateLimit-Limit, -Remaining, -Reset		 IETF drafts up to 06
 *	RateLimit: limit=100, remaining=50, reset=5				draft 07
 *	RateLimit: "default";r=50;t=30, RateLimit-Policy		drafts since 08
 *
 * A reset is seconds from now in some and a time in others: its magnitude tells.  Headers
 * are a stranger's text.  What is no number, too large or too far away is taken as not
 * said: a quota that is not known costs a refused request, a wrong one could stop a
 * pipeline for ever.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "http/quota.h"
#include "utils/timestamp.h"

/* Smaller resets are seconds from now, larger ones times. */
#define FIRST_EPOCH_SECONDS INT64CONST(1000000000)
#define FIRST_EPOCH_MS (FIRST_EPOCH_SECONDS * 100)
#define FIRST_EPOCH_US (FIRST_EPOCH_MS * 1000)
#define LAST_EPOCH_US (FIRST_EPOCH_US * 1000)

/* No window of a quota is longer. */
#define MAX_RESET_SECONDS (INT64CONST(366) * 86400)

/* Clocks that differ by less are the same: Date has whole seconds. */
#define SAME_CLOCK_SECONDS 2
/* Clocks do not differ by more: then it is the Date that is wrong. */
#define MAX_SKEW_SECONDS 86400

/* More items of a list are not looked at: policies are few. */
#define MAX_ITEMS 20

/* An item of a structured list: a bare name, or name=value, with parameters. */
typedef struct list_item
{
	const char *name;
	size_t name_length;
	int64 value;	 /* of name=value; -1 */
	int64 remaining; /* r */
	int64 seconds;	 /* t */
	int64 quota;	 /* q */
} list_item;

/*
 * A number at the start of a text, rounded down.  False when there is none, or one of
 * more than 17 digits.  *end (may be NULL) is what follows it.
 */
static bool
parse_number(const char *text, int64 *number, const char **end)
{
	int digits = 0;

	*number = 0;
	for (; *text >= '0' && *text <= '9'; text++)
	{
		if (++digits > 17)
			return false;
		*number = *number * 10 + (*text - '0');
	}
	if (digits == 0)
		return false;
	if (*text == '.')
	{
		for (text++; *text >= '0' && *text <= '9'; text++)
			;
	}
	if (end != NULL)
		*end = text;
	return true;
}

/*
 * A header that is one number, perhaps followed by a list of policies ("100, 100;w=60").
 * -1 when it is absent or something else.
 */
static int64
number_header(const http_response *response, const char *name)
{
	const char *value = http_response_header(response, name);
	int64 number;

	if (value == NULL || !parse_number(value, &number, &value))
		return -1;
	while (*value == ' ' || *value == '\t')
		value++;
	return *value == '\0' || *value == ',' || *value == ';' ? number : -1;
}

/*
 * A reset, or 0 when it is too far away to be one.
 */
static TimestampTz
plausible_reset(TimestampTz now, TimestampTz reset)
{
	return reset > now + MAX_RESET_SECONDS * USECS_PER_SEC ? 0 : reset;
}

/*
 * The time of a reset that is said in a number; 0 when it makes no sense.
 */
static TimestampTz
reset_time(const http_response *response, TimestampTz now, int64 number)
{
	TimestampTz reset;

	if (number < 0)
		return 0;
	if (number < FIRST_EPOCH_SECONDS)
		return plausible_reset(now, now + number * USECS_PER_SEC);
	if (number < FIRST_EPOCH_MS)
		number *= USECS_PER_SEC;
	else if (number < FIRST_EPOCH_US)
		number *= 1000;
	else if (number >= LAST_EPOCH_US)
		return 0;
	reset = number - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * INT64CONST(86400) * USECS_PER_SEC;
	return plausible_reset(now, http_on_our_clock(response, now, reset));
}

/*
 * A time that the server took from its clock, on ours.  The answer's Date tells what
 * their clock showed; where it is off by more than a transfer and rounding explain, the
 * difference is taken out.  A Date off by more than a day, or of an answer out of a
 * cache, tells nothing.
 */
TimestampTz
http_on_our_clock(const http_response *response, TimestampTz now, TimestampTz theirs)
{
	const char *date = http_response_header(response, "date");
	TimestampTz sent;
	int64 ahead;

	if (date == NULL || (*date >= '0' && *date <= '9') ||
		http_response_header(response, "age") != NULL || !http_parse_retry_after(date, now, &sent))
		return theirs;
	ahead = sent - now;
	if (ahead <= SAME_CLOCK_SECONDS * USECS_PER_SEC &&
		ahead >= -(int64) ((response->seconds + SAME_CLOCK_SECONDS) * USECS_PER_SEC))
		return theirs;
	if (ahead > MAX_SKEW_SECONDS * USECS_PER_SEC || ahead < -MAX_SKEW_SECONDS * USECS_PER_SEC)
		return theirs;
	return theirs - ahead;
}

/*
 * Has this to be minded more than what was read before?  A quota that is used up before
 * one that is not, then the one that stays so longer, then the one with less left.
 */
static void
keep_tighter(http_quota *quota, const http_quota *other)
{
	bool tighter;

	if (!quota->known)
		tighter = true;
	else if ((other->remaining == 0) != (quota->remaining == 0))
		tighter = other->remaining == 0;
	else if (other->remaining == 0)
		tighter = other->reset > quota->reset;
	else
		tighter = other->remaining < quota->remaining;
	if (!tighter)
		return;
	quota->known = true;
	quota->limit = other->limit;
	quota->remaining = other->remaining;
	quota->reset = other->reset;
}

/* Skips blanks. */
static const char *
skip_blanks(const char *at)
{
	while (*at == ' ' || *at == '\t')
		at++;
	return at;
}

/*
 * Skips a string, from its quote on; NULL when it has no end.
 */
static const char *
skip_string(const char *at)
{
	for (at++; *at != '"'; at++)
	{
		if (*at == '\\')
			at++;
		if (*at == '\0')
			return NULL;
	}
	return at + 1;
}

/*
 * Reads a bare value: *number is it if it is a number and nothing else, else -1.
 * Returns what follows it; NULL when it cannot be read.
 */
static const char *
read_value(const char *at, int64 *number)
{
	const char *end;

	*number = -1;
	if (*at == '"')
		return skip_string(at);
	end = at + strcspn(at, ",; \t");
	if (!parse_number(at, number, &at) || at != end)
		*number = -1;
	return end;
}

/*
 * Reads the next item of a list from *at on.  False at its end, and where it cannot be
 * read.
 */
static bool
next_item(const char **at, list_item *item)
{
	const char *p = *at + strspn(*at, ", \t");

	memset(item, -1, sizeof(*item));
	item->name = p;
	if (*p == '\0')
		return false;
	if (*p == '"')
		p = skip_string(p);
	else
		p += strcspn(p, "=,; \t");
	if (p == NULL || p == item->name)
		return false;
	item->name_length = p - item->name;
	if (*p == '=' && (p = read_value(p + 1, &item->value)) == NULL)
		return false;

	for (p = skip_blanks(p); *p == ';'; p = skip_blanks(p))
	{
		const char *name = p = skip_blanks(p + 1);
		size_t length = strcspn(p, "=,; \t");
		int64 value = -1;

		p += length;
		if (*p == '=' && (p = read_value(p + 1, &value)) == NULL)
			return false;
		if (length == 1 && *name == 'r')
			item->remaining = value;
		else if (length == 1 && *name == 't')
			item->seconds = value;
		else if (length == 1 && *name == 'q')
			item->quota = value;
	}
	if (*p != '\0' && *p != ',')
		return false;
	*at = p;
	return true;
}

/*
 * The limit of the policy of that name; -1 when none of them says.
 */
static int64
policy_limit(const http_response *response, const list_item *wanted)
{
	ListCell *cell;

	foreach (cell, response->headers)
	{
		const http_header *header = lfirst(cell);
		const char *at = header->value;
		list_item policy;

		if (pg_strcasecmp(header->name, "ratelimit-policy") != 0)
			continue;
		for (int i = 0; i < MAX_ITEMS && next_item(&at, &policy); i++)
		{
			if (policy.name_length == wanted->name_length &&
				strncmp(policy.name, wanted->name, wanted->name_length) == 0)
				return policy.quota;
		}
	}
	return -1;
}

/*
 * Reads a RateLimit header of either structured form.
 */
static void
read_structured(const http_response *response, const char *value, TimestampTz now,
				http_quota *quota)
{
	http_quota members = {.limit = -1, .remaining = -1};
	list_item item;

#define IS(text) (item.name_length == strlen(text) && strncmp(item.name, text, strlen(text)) == 0)
	for (int i = 0; i < MAX_ITEMS && next_item(&value, &item); i++)
	{
		if (IS("limit"))
			members.limit = item.value;
		else if (IS("remaining"))
			members.remaining = item.value;
		else if (IS("reset"))
			members.reset = reset_time(response, now, item.value);
		else if (item.remaining >= 0)
		{
			http_quota of_policy = {.limit = policy_limit(response, &item),
									.remaining = item.remaining,
									.reset = reset_time(response, now, item.seconds)};

			keep_tighter(quota, &of_policy);
		}
	}
#undef IS
	if (members.remaining >= 0)
		keep_tighter(quota, &members);
}

/*
 * Reads what an answer says about the provider's quota, the one to be minded most when
 * it says several things.  "now" is when the answer arrived.  Returns whether it says
 * how much is left, which is quota->known; limit and reset may be there without.  Never
 * raises and allocates nothing.
 */
bool
http_quota_read(const http_response *response, TimestampTz now, http_quota *quota)
{
	static const char *const families[][3] = {
		{"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"},
		{"x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-reset"},
		{"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"},
	};
	const char *resource = http_response_header(response, "x-ratelimit-resource");
	ListCell *cell;

	memset(quota, 0, sizeof(*quota));
	quota->limit = -1;
	quota->remaining = -1;
	if (resource != NULL)
		strlcpy(quota->resource, resource, sizeof(quota->resource));

	foreach (cell, response->headers)
	{
		const http_header *header = lfirst(cell);

		if (pg_strcasecmp(header->name, "ratelimit") == 0)
			read_structured(response, header->value, now, quota);
	}
	for (int i = 0; i < lengthof(families); i++)
	{
		const char *text = http_response_header(response, families[i][2]);
		http_quota family = {.limit = number_header(response, families[i][0]),
							 .remaining = number_header(response, families[i][1])};

		family.reset = reset_time(response, now, number_header(response, families[i][2]));
		/* a date is rare, but unmistakable */
		if (text != NULL && (*text < '0' || *text > '9') &&
			http_parse_retry_after(text, now, &family.reset))
			family.reset = plausible_reset(now, http_on_our_clock(response, now, family.reset));
		/* no limit at all is how some say that there is none */
		if (family.remaining >= 0 && family.limit != 0)
			keep_tighter(quota, &family);
		else if (!quota->known && quota->reset == 0)
			quota->reset = family.reset;
	}
	return quota->known;
}

/*
 * Until when to send no request, now that an answer, of whatever status, said this: the
 * reset of a quota that is used up.  0: there is nothing to wait for.
 */
TimestampTz
http_quota_hold(const http_quota *quota, TimestampTz now)
{
	return quota->known && quota->remaining == 0 && quota->reset > now ? quota->reset : 0;
}
