"""Pages, sixteen of a kind: of 100 records DIRECTORY/issues, 335 KB, and DIRECTORY/records, 30 KB; of 10 DIRECTORY/small, 3 KB.

usage: pages.py DIRECTORY

Issues have the members, nesting and lengths of GitHub's; records are as flat and short as
those of most APIs. The same every time.
"""

import json
import os
import random
import sys

PAGES = 16
RECORDS = 100
WORDS = """the of and to in is that for it with as was on be at by this have from or had not but what all
were when we there can an your which their said if do will each about how up out them then she many some
so these would other into has more her two like him see time could no make than first been its who now
people my made over did down only way find use may water long little very after words called just where
most know scheduler task worker database connection timeout failure retry release upgrade provider operator
regression flaky configuration documentation deprecated exception traceback permission container image""".split()
CODE = "```\\nTraceback (most recent call last):\\n  File \"/opt/airflow/dags/{0}.py\", line {1}, in {2}\\n```\\r\\n"


def sentence(dice, words):
    """Return so many words with a full stop."""
    return " ".join(dice.choices(WORDS, k=words)).capitalize() + "."


def user(dice):
    """Return a user as they stand inside an issue."""
    id = dice.randrange(1, 4_000_000)
    login = f"{dice.choice(WORDS)}-{id}"
    url = f"https://api.github.com/users/{login}"
    kinds = "followers following{/other_user} gists{/gist_id} starred{/owner}{/repo} subscriptions orgs repos events{/privacy} received_events"
    result = {"login": login, "id": id, "node_id": f"MDQ6VXNlcg{id}", "avatar_url": f"https://avatars.githubusercontent.com/u/{id}?v=4",
              "gravatar_id": "", "url": url, "html_url": f"https://github.com/{login}"}
    for kind in kinds.split():
        result[kind.split("{")[0] + "_url"] = f"{url}/{kind}"
    return result | {"type": "User", "user_view_type": "public", "site_admin": False}


def issue(dice, number):
    """Return an issue as GitHub lists them."""
    url = f"https://api.github.com/repos/apache/airflow/issues/{number}"
    time = f"2026-{dice.randrange(1, 12):02}-{dice.randrange(1, 28):02}T{dice.randrange(24):02}:{dice.randrange(60):02}:00Z"
    labels = [{"id": 90_000 + i, "node_id": f"MDU6TGFiZWw{i}", "url": f"https://api.github.com/repos/apache/airflow/labels/area:{w}",
               "name": f"area:{w}", "color": f"{i:06x}", "default": False, "description": sentence(dice, 5)}
              for i, w in enumerate(dice.sample(WORDS, dice.randrange(0, 3)))]
    body = sentence(dice, dice.randrange(30, 290)) + "\r\n\r\n" + CODE.format(dice.choice(WORDS), number, dice.choice(WORDS))
    return {"url": url, "repository_url": "https://api.github.com/repos/apache/airflow", "labels_url": url + "/labels{/name}",
            "comments_url": url + "/comments", "events_url": url + "/events", "html_url": f"https://github.com/apache/airflow/issues/{number}",
            "id": 2_000_000_000 + number, "node_id": f"I_kwDOAfiJt86{number}", "number": number, "title": sentence(dice, 9), "user": user(dice),
            "labels": labels, "state": dice.choice(["open", "closed"]), "locked": False, "assignee": None, "assignees": [], "milestone": None,
            "comments": dice.randrange(30), "created_at": time, "updated_at": time, "closed_at": None, "author_association": "CONTRIBUTOR",
            "active_lock_reason": None, "body": body, "closed_by": None,
            "reactions": {"url": url + "/reactions", "total_count": 0, "+1": 0, "-1": 0, "laugh": 0, "hooray": 0, "confused": 0, "heart": 0, "rocket": 0, "eyes": 0},
            "timeline_url": url + "/timeline", "performed_via_github_app": None, "state_reason": None}


def record(dice, number):
    """Return an order of a shop."""
    return {"id": number, "customer_id": dice.randrange(100_000), "status": dice.choice(["new", "paid", "sent", "returned"]),
            "amount": round(dice.random() * 1000, 2), "currency": "EUR", "updated_at": f"2026-11-{dice.randrange(1, 28):02}T10:20:30Z",
            "note": sentence(dice, 29), "paid": dice.random() < 0.5}


def write(directory, make, bytes_of_page, records=RECORDS):
    """Write the pages of one kind."""
    os.makedirs(directory)
    total = 0
    for page in range(PAGES):
        dice = random.Random(f"{directory.rsplit('/', 1)[-1]} {page}")
        text = json.dumps([make(dice, page * records + i + 1) for i in range(records)], separators=(",", ":"))
        total += len(text)
        with open(f"{directory}/{page}.json", "w") as file:
            file.write(text)
    assert abs(total / PAGES / bytes_of_page - 1) < 0.05, total / PAGES


if __name__ == "__main__":
    write(sys.argv[1] + "/issues", issue, 335_000)
    write(sys.argv[1] + "/records", record, 30_000)
    write(sys.argv[1] + "/small", record, 3_000, 10)
