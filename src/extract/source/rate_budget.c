/*-------------------------------------------------------------------------
 *
 * rate_budget.c
 *	  A server's own budget of requests: the side of the process that sends them.
 *
 * What may be sent is in the database (sql/rate_budget.sql), for all processes together.
 * A process takes a few requests at a time, as many as it has lately used up soon, so that
 * fast servers do not cost a commit a request, and says with the next grant what became of
 * the last one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "extract/source/rate_budget.h"

/* Shortest and longest window. */
#define MIN_WINDOW_MS 100
#define MAX_WINDOW_MS (INT64CONST(31) * 86400 * 1000)
#define MAX_WINDOWS 8
#define MAX_REQUESTS 1000000000

/* How long a grant is valid: part of the shortest window, within bounds. */
#define VALIDITY_PART 10
#define MIN_VALIDITY_MS 20
#define MAX_FIRST_VALIDITY_MS 1000
/* Longer where connecting takes longer, up to what etl._grant_requests allows. */
#define MAX_VALIDITY_MS 60000

/* The most one asks for in one go. */
#define MAX_BATCH 1000

PG_FUNCTION_INFO_V1(etl_rate_limit_windows);

struct rate_budget
{
	char server[NAMEDATALEN];
	bool unlimited;
	rate_grant grant; /* what may be sent; all that follows is about it */
	TimestampTz granted_at;
	int validity_ms;
	int left; /* not handed out */
	int sent;
	int late; /* handed out, and known not to have been sent */
	TimestampTz last_sent_at;

	int batch;			  /* how many to ask for */
	int next_validity_ms; /* for how long */
	http_admission admission;
};

/* A unit of time of a rate_limit. */
typedef struct time_unit
{
	const char *names[4];
	int64 ms;
} time_unit;

static const time_unit time_units[] = {
	{{"ms", "millisecond", "milliseconds"}, 1}, {{"s", "sec", "second", "seconds"}, 1000},
	{{"min", "minute", "minutes"}, 60 * 1000},	{{"h", "hour", "hours"}, 3600 * 1000},
	{{"d", "day", "days"}, 86400 * 1000},
};

/* Skips blanks. */
static const char *
skip_blanks(const char *at)
{
	while (*at == ' ' || *at == '\t')
		at++;
	return at;
}

/* A whole number up to a billion at *at, which moves behind it; -1 when there is none. */
static int64
read_number(const char **at)
{
	int64 number = 0;
	const char *start = *at;

	for (; **at >= '0' && **at <= '9'; (*at)++)
		number = Min(number * 10 + (**at - '0'), (int64) MAX_REQUESTS + 1);
	return *at == start || number > MAX_REQUESTS ? -1 : number;
}

/* The milliseconds of a unit at *at, which moves behind it; -1 for another word. */
static int64
read_unit(const char **at)
{
	size_t length = strspn(*at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");

	for (int i = 0; i < lengthof(time_units); i++)
	{
		for (int j = 0; j < lengthof(time_units[i].names) && time_units[i].names[j]; j++)
		{
			if (strlen(time_units[i].names[j]) == length &&
				pg_strncasecmp(time_units[i].names[j], *at, length) == 0)
			{
				*at += length;
				return time_units[i].ms;
			}
		}
	}
	return -1;
}

/*
 * Parses a rate_limit: windows separated by commas, each a number of requests, a slash
 * and a time, which is a unit or a number of them.  Returns a list of rate_window *,
 * palloc'd; NIL, with *problem saying what is wrong, when it is none.
 */
List *
rate_budget_parse(const char *text, const char **problem)
{
	List *windows = NIL;

	*problem = NULL;
	for (;;)
	{
		rate_window *window = palloc(sizeof(rate_window));
		int64 requests;
		int64 count = 1;
		int64 unit;
		ListCell *cell;

		text = skip_blanks(text);
		requests = read_number(&text);
		text = skip_blanks(text);
		if (requests < 1 || *text != '/')
		{
			*problem = "a window begins with a number of requests from 1 to a billion and a slash";
			return NIL;
		}
		text = skip_blanks(text + 1);
		if (*text >= '0' && *text <= '9')
			count = read_number(&text);
		text = skip_blanks(text);
		unit = read_unit(&text);
		if (unit < 0)
		{
			*problem = "a time is in ms, seconds, minutes, hours or days";
			return NIL;
		}
		window->requests = (int) requests;
		window->length_ms = count * unit;
		if (window->length_ms < MIN_WINDOW_MS || window->length_ms > MAX_WINDOW_MS)
		{
			*problem = "a time is from 100 ms to 31 days";
			return NIL;
		}
		foreach (cell, windows)
		{
			if (((rate_window *) lfirst(cell))->length_ms == window->length_ms)
			{
				*problem = "two windows are of the same length";
				return NIL;
			}
		}
		windows = lappend(windows, window);
		text = skip_blanks(text);
		if (*text == '\0')
			return windows;
		if (*text++ != ',')
		{
			*problem = "windows are separated by commas";
			return NIL;
		}
		if (list_length(windows) == MAX_WINDOWS)
		{
			*problem = "there are more than 8 windows";
			return NIL;
		}
	}
}

/* SQL: etl._rate_limit_windows(text) */
Datum
etl_rate_limit_windows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const char *problem;
	List *windows = rate_budget_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)), &problem);
	ListCell *cell;

	if (windows == NIL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid rate_limit"),
						errdetail("In it, %s.", problem), errhint("%s", RATE_LIMIT_HINT)));
	InitMaterializedSRF(fcinfo, 0);
	foreach (cell, windows)
	{
		const rate_window *window = lfirst(cell);
		Interval *length = palloc0(sizeof(Interval));
		Datum values[2];
		bool nulls[2] = {false, false};

		length->time = window->length_ms * 1000; /* no days: some have 23 hours */
		values[0] = Int32GetDatum(window->requests);
		values[1] = IntervalPGetDatum(length);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* http_admission: asks the budget. */
static int
admit(void *arg, int wanted, TimestampTz *valid_until, TimestampTz *ask_again)
{
	int admitted = rate_budget_take(arg, wanted, ask_again);

	*valid_until = rate_budget_valid_until(arg);
	return admitted;
}

/* http_admission: one is sent.  Called inside libcurl. */
static void
note_sent(void *arg, TimestampTz valid_until)
{
	rate_budget *budget = arg;

	/* of an earlier grant: that has been settled as if it were sent at its end */
	if (valid_until != budget->grant.expires_at)
		return;
	budget->sent++;
	budget->last_sent_at = GetCurrentTimestamp();
}

/* http_admission: one came too late.  Called inside libcurl. */
static void
note_late(void *arg, TimestampTz valid_until)
{
	rate_budget *budget = arg;

	if (valid_until != budget->grant.expires_at)
		return;
	budget->late++;
	/* connecting takes that long here */
	budget->next_validity_ms =
		Max(budget->next_validity_ms, Min(budget->validity_ms * 2, MAX_VALIDITY_MS));
}

/*
 * Opens the budget of a server, which the current role may use; "windows" are those of
 * its rate_limit (rate_window *), NIL when it has none.  Palloc'd in the current context;
 * nothing is taken yet.
 */
rate_budget *
rate_budget_open(const char *server, List *windows)
{
	rate_budget *budget = palloc0(sizeof(rate_budget));
	int64 shortest_ms = MAX_WINDOW_MS;
	ListCell *cell;

	strlcpy(budget->server, server, sizeof(budget->server));
	budget->unlimited = windows == NIL;
	budget->batch = 1;
	foreach (cell, windows)
		shortest_ms = Min(shortest_ms, ((rate_window *) lfirst(cell))->length_ms);
	budget->next_validity_ms =
		(int) Max(Min(shortest_ms / VALIDITY_PART, MAX_FIRST_VALIDITY_MS), MIN_VALIDITY_MS);
	budget->admission =
		(http_admission){.arg = budget, .admit = admit, .sent = note_sent, .late = note_late};
	return budget;
}

/*
 * What to give to http_client_set_admission; NULL when there is no limit.  Lives as long
 * as the budget.
 */
const http_admission *
rate_budget_admission(rate_budget *budget)
{
	return budget->unlimited ? NULL : &budget->admission;
}

/* Asks the database for "wanted" requests, and tells it what became of the grant before. */
static void
ask(rate_budget *budget, int wanted, rate_request *request)
{
	int handed_out = budget->grant.requests - budget->left;

	memset(request, 0, sizeof(*request));
	strlcpy(request->server, budget->server, sizeof(request->server));
	request->wanted = wanted;
	request->validity_ms = budget->next_validity_ms;
	request->settled = budget->grant;
	request->settled_used = handed_out - budget->late;
	/* what is still on its way may be sent at any time up to the grant's expiry */
	if (budget->sent + budget->late == handed_out && budget->sent > 0)
		request->settled_at = budget->last_sent_at;
	rate_ledger_ask(request);

	memset(&budget->grant, 0, sizeof(budget->grant));
	budget->left = 0;
	budget->sent = 0;
	budget->late = 0;
}

/* How many to ask for next, by how the grant was used. */
static void
adapt_batch(rate_budget *budget, TimestampTz now)
{
	if (budget->grant.requests == 0)
		return;
	if (budget->left > 0)
		budget->batch = Max(1, budget->grant.requests - budget->left);
	else if (now - budget->granted_at < (int64) budget->validity_ms * 1000 / 2)
		budget->batch = Min(budget->grant.requests * 2, MAX_BATCH);
}

/*
 * Takes requests from the budget: how many may be sent now, at most "wanted", until
 * rate_budget_valid_until().  When none, *until says when to ask again; asking earlier
 * does no harm, and pays once a minute, as others may give back what they hold.
 *
 * What it takes is committed when it returns: in a transaction of its own, or, when one
 * is open already, by a background worker.  Raises what SQL raises.
 */
int
rate_budget_take(rate_budget *budget, int wanted, TimestampTz *until)
{
	*until = 0;
	if (budget->unlimited || wanted <= 0)
		return Max(wanted, 0);
	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();
		rate_request request;

		/* a little before its end it is no use any more */
		if (budget->left > 0 &&
			now < budget->grant.expires_at - (int64) budget->validity_ms * 1000 / 4)
		{
			int taken = Min(wanted, budget->left);

			budget->left -= taken;
			return taken;
		}
		adapt_batch(budget, now);
		/* in somebody's transaction what is left cannot be given back */
		ask(budget, IsTransactionState() ? wanted : Max(wanted, budget->batch), &request);
		if (request.granted.requests == 0)
		{
			/* not at once, whatever the clocks say */
			*until = Max(request.ask_again_at, GetCurrentTimestamp() + 1000);
			return 0;
		}
		budget->grant = request.granted;
		budget->left = request.granted.requests;
		budget->granted_at = now;
		budget->validity_ms = request.validity_ms;
		/* a commit may take longer than the grant is valid */
		if (GetCurrentTimestamp() >=
			budget->grant.expires_at - (int64) budget->validity_ms * 1000 / 4)
			budget->next_validity_ms = Min(budget->validity_ms * 2, MAX_VALIDITY_MS);
	}
}

/*
 * Until when what rate_budget_take() gave last may be sent; 0 for a budget without limit.
 */
TimestampTz
rate_budget_valid_until(const rate_budget *budget)
{
	return budget->grant.expires_at;
}

/*
 * Gives back requests that were taken last and not sent.
 */
void
rate_budget_return(rate_budget *budget, int unused)
{
	int handed_out = budget->grant.requests - budget->left;

	budget->left += Max(0, Min(unused, handed_out - budget->sent - budget->late));
}

/*
 * Gives what is left to others, if there is something.  With a transaction open it is
 * left to expire.  The budget can still be used.  Raises what SQL raises.
 */
void
rate_budget_close(rate_budget *budget)
{
	rate_request request;

	if (budget->left + budget->late > 0 && !IsTransactionState())
		ask(budget, 0, &request);
}
