#!/usr/bin/env python3
"""When Vixie's cron would run an entry: a model for tests, independent of etl.

    vixie_cron.py ZONE SINCE UNTIL 'CRON' ...

Prints, for each entry, a line of seconds since 1970, from the year SINCE on and before
the year UNTIL. Around each change of the zone's offset it goes from minute to minute as
the daemon does: entries with * in minute or hour run at each minute that matches; others
for each minute of the wall clock it has not seen before, those it jumped over included.
Elsewhere both are the same, and days are looked at as a whole.
"""
import sys
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

NAMES = {name: number for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
NAMES.update({name: number for number, name in enumerate("sun mon tue wed thu fri sat".split())})
RANGES = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]
DAY = 1440
EPOCH = datetime(1970, 1, 1)


def number(text):
    return NAMES[text.lower()] if text.lower() in NAMES else int(text)


def field(text, low, high):
    values = set()
    for part in text.split(","):
        part, _, step = part.partition("/")
        if part == "*":
            first, last = low, high
        else:
            first, _, last = part.partition("-")
            first = number(first)
            last = number(last) if last else (high if step else first)
        values.update(range(first, last + 1, int(step or 1)))
    return values


class Entry:
    def __init__(self, text):
        fields = text.split()
        self.minutes, self.hours, self.days, self.months, weekdays = (
            field(f, *r) for f, r in zip(fields, RANGES))
        self.weekdays = {day % 7 for day in weekdays}
        self.wildcard = fields[0].startswith("*") or fields[1].startswith("*")
        self.both_days = fields[2].startswith("*") or fields[4].startswith("*")
        self.of_day = sorted(hour * 60 + minute for hour in self.hours for minute in self.minutes)
        self.set_of_day = set(self.of_day)

    def on_day(self, day):
        date = EPOCH + timedelta(days=day)
        by_month, by_week = date.day in self.days, date.isoweekday() % 7 in self.weekdays
        return date.month in self.months and (by_month and by_week if self.both_days else by_month or by_week)

    def matches(self, local):
        return local % DAY in self.set_of_day and self.on_day(local // DAY)


def offset(zone, minute):
    instant = datetime.fromtimestamp(minute * 60, timezone.utc).astimezone(zone)
    return int(instant.utcoffset().total_seconds()) // 60


def ticks(entry, zone, start, end):
    """Minutes since 1970 from start on and before end."""
    found = set()
    # in steps of a day, those near a change in steps of a minute
    minute, high = start - 7 * DAY, None
    while minute < end:
        here = offset(zone, minute)
        if offset(zone, minute - 2 * DAY) == here == offset(zone, minute + 3 * DAY):
            local = minute + here
            for day in (local // DAY, local // DAY + 1):
                if entry.on_day(day):
                    found.update(day * DAY + m - here for m in entry.of_day if local <= day * DAY + m < local + DAY)
            minute += DAY
            high = minute + here - 1
            continue
        for minute in range(minute, minute + DAY):
            local = minute + offset(zone, minute)
            if entry.wildcard:
                if entry.matches(local):
                    found.add(minute)
            elif any(entry.matches(unseen) for unseen in range(high + 1, local + 1)):
                found.add(minute)
            high = max(high, local)
        minute += 1
    return sorted(minute * 60 for minute in found if start <= minute < end)


def main():
    zone = ZoneInfo(sys.argv[1])
    start, end = (int(datetime(int(year), 1, 1, tzinfo=timezone.utc).timestamp()) // 60 for year in sys.argv[2:4])
    for text in sys.argv[4:]:
        print(" ".join(map(str, ticks(Entry(text), zone, start, end))))


main()
