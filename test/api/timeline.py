"""The simulated timeline: whole seconds since the epoch, and their spelling in ISO 8601."""

from datetime import datetime, timezone
from functools import lru_cache


def parse_time(text):
    """Return the epoch seconds of an ISO 8601 date or time; without a zone it is UTC.

    Raises ValueError for anything else.
    """
    text = text.strip()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        # A "+" that was not encoded in a query arrives as a space.
        moment = datetime.fromisoformat("+".join(text.rsplit(" ", 1)))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return int(moment.timestamp())


@lru_cache(maxsize=100_000)
def iso(seconds):
    """Return epoch seconds as GitHub spells them, or None for None."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


DAY = 86400
START = parse_time("2026-11-01T00:00:00Z")
END = parse_time("2026-11-20T23:59:59Z")
