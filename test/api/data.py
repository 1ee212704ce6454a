"""Deterministic generator: people, repositories, issues and commits on the timeline.

Everything follows from the seed alone; what is visible of it follows from the clock.
"""

from bisect import bisect_right

import words
from dice import Dice
from timeline import DAY, END, START

#: full name -> (numeric id, number of issues, number of commits, language)
REPOSITORIES = {
    "apache/airflow": (33884891, 4800, 900, "Python"),
    "apache/spark": (17165658, 2600, 700, "Scala"),
    "dbt-labs/dbt-core": (53134012, 1700, 300, "Python"),
    "octocat/empty": (1296001, 0, 0, None),
    "octocat/renames": (1296002, None, 12, "Python"),
}


class User:
    """A GitHub user: the id stays, the login may change."""

    __slots__ = ("id", "name", "kind", "logins", "since")

    def __init__(self, id, name, login, kind="User"):
        self.id = id
        self.name = name
        self.kind = kind
        self.logins = [login]
        self.since = [0]

    def rename(self, when, login):
        """Give the user another login from a time on (later than the last one)."""
        self.since.append(when)
        self.logins.append(login)

    def login(self, now):
        """Return the login as of a time."""
        return self.logins[bisect_right(self.since, now) - 1]


class Issue:
    """An issue or pull request and its versions; version i is current from times[i] on."""

    __slots__ = ("number", "id", "author", "is_pull", "body", "association", "draft",
                 "times", "versions")

    def __init__(self, number, id, author, is_pull, body, association, created, **first):
        self.number = number
        self.id = id
        self.author = author
        self.is_pull = is_pull
        self.body = body
        self.association = association
        self.draft = False
        self.times = [created]
        self.versions = [dict(state="open", state_reason=None, comments=0, labels=(),
                              assignees=(), milestone=None, locked=False, closed_at=None,
                              merged_at=None, reactions=0) | first]

    def change(self, when, **changes):
        """Add a version: the last one with some changes, from a time on."""
        self.times.append(when)
        self.versions.append(self.versions[-1] | changes)

    def close(self, when, merged=False, **changes):
        """Add a version in which the issue is closed."""
        self.change(when, state="closed", closed_at=when, merged_at=when if merged else None,
                    state_reason=None if self.is_pull else "completed", **changes)

    def reopen(self, when, **changes):
        """Add a version in which the issue is open again."""
        self.change(when, state="open", closed_at=None,
                    state_reason=None if self.is_pull else "reopened", **changes)

    def at(self, now):
        """Return the index of the version current at a time, -1 before creation."""
        return bisect_right(self.times, now) - 1


class Commit:
    """A commit; author and committer are users or None where GitHub does not know them."""

    __slots__ = ("sha", "tree", "parents", "when", "name", "email", "message",
                 "author", "committer")


class Repository:
    """A repository with all that ever happens in it."""

    def __init__(self, full_name, id, language, issues, commits):
        self.full_name = full_name
        self.id = id
        self.language = language
        self.issues = issues
        self.commits = commits


class World:
    """All repositories for a seed; each is generated when first asked for."""

    def __init__(self, seed, scale=1.0):
        self.seed = seed
        self.scale = scale
        self.users = make_users(seed)
        self._by_id = {info[0]: name for name, info in REPOSITORIES.items()}
        self._repositories = {}

    def name_of(self, id):
        """Return the full name of the repository with a numeric id, or None."""
        return self._by_id.get(id)

    def repository(self, full_name):
        """Return the repository, or None if there is none; case does not matter."""
        full_name = full_name.lower()
        if full_name not in REPOSITORIES:
            return None
        if full_name not in self._repositories:
            self._repositories[full_name] = self._make(full_name)
        return self._repositories[full_name]

    def _make(self, full_name):
        id, issue_count, commit_count, language = REPOSITORIES[full_name]
        if issue_count is None:
            from story import make_story
            people, issues = make_story()
        else:
            people = self.users
            issues = make_issues(self.seed, full_name, id, people, int(issue_count * self.scale))
        commits = make_commits(self.seed, full_name, people, int(commit_count * self.scale))
        return Repository(full_name, id, language, issues, commits)


def make_users(seed, count=420):
    """Return the people of the big repositories; every 40th is renamed during the timeline."""
    dice = Dice(seed, "users")
    users = [User(49699333, "dependabot", "dependabot[bot]", "Bot")]
    for position in range(1, count):
        first, last = dice.pick(words.FIRST_NAMES), dice.pick(words.LAST_NAMES)
        login = f"{first}{last}".replace("'", "").translate(words.ASCII_FOLD).lower()
        login += str(position)
        user = User(10_000 + position * 977 + dice.below(900), f"{first} {last}", login)
        if position % 40 == 7:
            user.rename(START + dice.between(DAY, 18 * DAY), f"{login}-{dice.pick(words.LATIN)}")
        users.append(user)
    return users


def make_issues(seed, full_name, repository_id, users, count):
    """Return the issues of a repository in the order of their numbers."""
    dice = Dice(seed, full_name, "issues")
    nouns = words.NOUNS.get(full_name.split("/")[1], ())
    first_number = 1 + dice.below(50)
    issues = []
    for position in range(count):
        # Numbers rise with the time of creation, as they do at GitHub, and seconds may tie.
        created = START + int((position + dice.random()) / count * (END - START))
        number = first_number + position
        is_pull = dice.chance(0.34)
        issue = Issue(
            number=number,
            id=3_000_000_000 + (repository_id % 997) * 1_000_000 + number,
            author=None if dice.chance(0.012) else dice.pick_skewed(users),
            is_pull=is_pull,
            body=make_body(dice),
            association=dice.pick(words.ASSOCIATIONS),
            created=created,
            title=make_title(dice, nouns),
            labels=draw_labels(dice),
            milestone=dice.pick(words.MILESTONES) if dice.chance(0.15) else None,
        )
        issue.draft = is_pull and dice.chance(0.1)
        make_history(dice, issue, users, nouns)
        issues.append(issue)
    return issues


def make_history(dice, issue, users, nouns):
    """Let things happen to an issue until nothing more does or the timeline ends."""
    when = issue.times[0]
    for _ in range(dice.below(6)):
        when += 60 + int(dice.square() * 7 * DAY)
        if when > END:
            return
        last = issue.versions[-1]
        event = dice.random()
        if event < 0.40:
            issue.change(when, comments=last["comments"] + dice.between(1, 3),
                         reactions=last["reactions"] + dice.below(3))
        elif event < 0.70 and last["state"] == "open":
            issue.close(when, merged=issue.is_pull and dice.chance(0.8),
                        comments=last["comments"] + dice.below(2))
        elif event < 0.76 and last["state"] == "closed" and last["merged_at"] is None:
            issue.reopen(when, comments=last["comments"] + 1)
        elif event < 0.84:
            issue.change(when, title=make_title(dice, nouns))
        elif event < 0.92:
            issue.change(when, assignees=tuple(dice.some(users[1:40], dice.between(1, 2))))
        elif event < 0.99:
            issue.change(when, labels=draw_labels(dice))
        else:
            issue.change(when, locked=True)


def draw_labels(dice):
    """Return none to three labels, by position in words.LABELS."""
    return tuple(sorted(dice.some(range(len(words.LABELS)), dice.below(4))))


def make_title(dice, nouns):
    """Return a title."""
    title = f"{dice.pick(words.VERBS)} {dice.pick(words.ADJECTIVES)} {dice.pick(nouns)}"
    return f"{title} {dice.pick(words.PLACES)}".strip()


def make_body(dice):
    """Return a body in Markdown, rarely empty, rarely None, as GitHub has them."""
    draw = dice.random()
    if draw < 0.03:
        return None
    if draw < 0.05:
        return ""
    paragraphs = []
    for _ in range(dice.between(1, 4)):
        if dice.chance(0.25):
            paragraphs.append(dice.pick(words.SNIPPETS))
        else:
            paragraphs.append(" ".join(
                dice.pick(words.SENTENCES) for _ in range(dice.between(1, 3))))
    return "\r\n\r\n".join(paragraphs)


def make_commits(seed, full_name, users, count):
    """Return the commits of a repository, newest first, as GitHub lists them."""
    dice = Dice(seed, full_name, "commits")
    nouns = words.NOUNS.get(full_name.split("/")[1], words.NOUNS["airflow"])
    commits = []
    parent = dice.hex(40)
    for position in range(count):
        commit = Commit()
        person = dice.pick_skewed(users)
        commit.sha = dice.hex(40)
        commit.tree = dice.hex(40)
        commit.parents = [parent] + ([dice.hex(40)] if dice.chance(0.05) else [])
        commit.when = START + int((position + dice.random()) / count * (END - START))
        commit.name = person.name
        commit.email = f"{person.id}@users.noreply.example.org"
        commit.message = f"{make_title(dice, nouns)} (#{dice.between(1, 5000)})"
        if dice.chance(0.4):
            commit.message += f"\n\n{dice.pick(words.SENTENCES)}"
        # GitHub knows no account for an e-mail address it never saw.
        commit.author = None if dice.chance(0.08) else person
        commit.committer = None if dice.chance(0.08) else dice.pick_skewed(users)
        commits.append(commit)
        parent = commit.sha
    return commits[::-1]
