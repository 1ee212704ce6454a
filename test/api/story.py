"""octocat/renames: a handful of issues whose every state is written by hand.

Tests can state what they expect of it at any time of the clock; README.md has the table.
"""

from data import Issue, User
from timeline import parse_time


def at(text):
    """Return the epoch seconds of a "day hour" of November 2026, such as "02 12"."""
    day, hour = text.split()
    return parse_time(f"2026-11-{day}T{hour}:00:00Z")


def make_story():
    """Return the users and the issues of octocat/renames."""
    ada = User(9001, "Ada Lovelace", "ada-l")
    ada.rename(at("02 12"), "ada-lovelace")
    grace = User(9002, "Grace Hopper", "grace")
    grace.rename(at("18 12"), "grace-hopper")
    grace.rename(at("19 12"), "amazing-grace")
    linus = User(9003, "Linus", "linus")
    # Takes the login that 9001 gave up: a login is no key.
    newcomer = User(9004, "Adam L.", "ada-l")

    def issue(number, author, created, title, is_pull=False, **first):
        return Issue(number, 2_000_000_000 + number, author, is_pull, f"Body of #{number}.",
                     "CONTRIBUTOR", at(created), title=title, **first)

    first = issue(1, ada, "01 09", "Rename me")
    first.close(at("02 15"), comments=2)
    first.reopen(at("10 09"), comments=3, title="Rename me, again")

    untouched = issue(2, ada, "01 10", "Nothing ever happens here")

    graceful = issue(3, grace, "17 09", "Two renames on two days")
    graceful.change(at("18 15"), comments=1)
    graceful.close(at("19 15"), comments=2)

    assigned = issue(4, linus, "02 08", "Assigned to somebody renamed", assignees=(ada,))
    assigned.change(at("18 16"), labels=(0, 3))

    ghost = issue(5, None, "05 09", "The author's account is gone", labels=(6,))
    ghost.close(at("06 09"))
    ghost.reopen(at("07 09"), comments=1)

    reused = issue(6, newcomer, "03 09", "An old login, another person")

    pull = issue(7, grace, "18 09", "Fix #3", is_pull=True)
    pull.close(at("19 10"), merged=True, comments=1)

    newest = issue(8, linus, "19 09", "New on the last days")

    issues = [first, untouched, graceful, assigned, ghost, reused, pull, newest]
    return [ada, grace, linus, newcomer], issues
