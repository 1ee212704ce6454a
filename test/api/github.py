"""Routes in the shape of the GitHub API."""

import base64
import binascii
import hashlib
import json
import re
from bisect import bisect_left, bisect_right
from collections import OrderedDict

from github_shapes import commit_shape, issue_shape, repository_shape, user_shape
from message import Response, dump, error_response, json_response, link_header, with_query
from timeline import parse_time

CACHED_BYTES = 192 << 20
CURSOR = "cursor:v2:"
NUMERIC = re.compile(r"/repositories/(\d+)(/.*)?$")


class View:
    """What is visible of a repository at one time of the clock."""

    def __init__(self, repository, now):
        self.repository = repository
        self.now = now
        self.rows = []
        for issue in repository.issues:
            version = issue.at(now)
            if version >= 0:
                self.rows.append((issue, version))
        self._serialised = {}
        self._orders = OrderedDict()

    def order(self, state, since, sort, descending):
        """Return keys and rows that pass the filter, both in the order asked for."""
        wanted = (state, since, sort, descending)
        if wanted not in self._orders:
            keyed = sorted(
                ((self._key(row, sort), row) for row in self.rows
                 if (state == "all" or row[0].versions[row[1]]["state"] == state)
                 and (since is None or row[0].times[row[1]] >= since)),
                key=lambda pair: pair[0])
            if descending:
                keyed.reverse()
            self._orders[wanted] = ([key for key, _ in keyed], [row for _, row in keyed])
            if len(self._orders) > 16:
                self._orders.popitem(last=False)
        return self._orders[wanted]

    @staticmethod
    def _key(row, sort):
        issue, version = row
        if sort == "updated":
            return (issue.times[version], issue.number)
        if sort == "comments":
            return (issue.versions[version]["comments"], issue.number)
        return (issue.times[0], issue.number)

    def serialise(self, row):
        """Return the JSON bytes of an issue."""
        issue, version = row
        if issue.number not in self._serialised:
            shape = issue_shape(self.repository.full_name, issue, version, self.now)
            self._serialised[issue.number] = dump(shape)
        return self._serialised[issue.number]


class Page:
    """The bytes of a page, with room for its encodings."""

    def __init__(self, body):
        self.body = body
        self.encodings = {}


class GitHub:
    """The routes; caches what it serialised per time of the clock."""

    def __init__(self, app):
        self.app = app
        self._views = OrderedDict()
        self._pages = OrderedDict()
        self._page_bytes = 0

    def canonical(self, path):
        """Return a path with the numeric form of a repository replaced by its name."""
        match = NUMERIC.match(path)
        name = match and self.app.world.name_of(int(match[1]))
        return f"/repos/{name}{match[2] or ''}" if name else path

    def route(self, request, path):
        """Return the answer to a canonical path, or None if it is none of ours."""
        parts = path.strip("/").split("/")
        if parts == ["rate_limit"]:
            return self.app.rate_limit.of(request).describe()
        if parts[0] == "repositories":
            return not_found()
        if parts[0] == "users" and len(parts) == 2 and not parts[1].isdigit():
            return self.user(parts[1])
        if parts[0] != "repos":
            return None
        repository = self.app.world.repository("/".join(parts[1:3])) if len(parts) > 2 else None
        if repository is None:
            return not_found()
        rest = parts[3:]
        if not rest:
            return self.repository(repository)
        if rest == ["issues"]:
            return self.issues(request, repository)
        if rest[0] == "issues" and len(rest) == 2:
            return self.issue(repository, rest[1])
        if rest == ["commits"]:
            return self.commits(request, repository)
        return not_found()

    def view(self, repository):
        """Return the view of a repository at the time of the clock."""
        wanted = (repository.full_name, self.app.now)
        if wanted not in self._views:
            self._views[wanted] = View(repository, self.app.now)
            if len(self._views) > 12:
                self._views.popitem(last=False)
        return self._views[wanted]

    def page(self, key, make):
        """Return a page from the cache, or make it; the cache is bounded by bytes."""
        page = self._pages.get(key)
        if page is None:
            page = self._pages[key] = Page(make())
            self._page_bytes += len(page.body)
            while self._page_bytes > CACHED_BYTES:
                self._page_bytes -= len(self._pages.popitem(last=False)[1].body)
        return page

    def repository(self, repository):
        """GET /repos/{owner}/{repo}"""
        view = self.view(repository)
        count = len(view.order("open", None, "created", False)[0])
        return json_response(repository_shape(repository, count), etag=True)

    def user(self, login):
        """GET /users/{login}, by the login of the time."""
        for user in self.app.world.users:
            if user.login(self.app.now) == login.lower():
                return json_response(user_shape(user, self.app.now), etag=True)
        return not_found()

    def issue(self, repository, number):
        """GET /repos/{owner}/{repo}/issues/{number}"""
        view = self.view(repository)
        for row in view.rows:
            if str(row[0].number) == number:
                return Response(body=view.serialise(row), etag=True)
        return not_found()

    def issues(self, request, repository):
        """GET /repos/{owner}/{repo}/issues"""
        query = request.query
        try:
            since = parse_time(query["since"]) if query.get("since") else None
        except ValueError:
            return error_response(422, "Invalid value for since")
        state = query.get("state", "open")
        sort = query.get("sort", "created")
        direction = query.get("direction", "desc")
        if state not in ("open", "closed", "all") or direction not in ("asc", "desc") \
                or sort not in ("created", "updated", "comments"):
            return error_response(422, "Validation Failed")
        per_page = request.number("per_page", 30, 1, 100)
        page = request.number("page", 1, 1)
        descending = direction == "desc"

        view = self.view(repository)
        keys, rows = view.order(state, since, sort, descending)
        try:
            start = self.start(query, keys, descending, page, per_page)
        except (ValueError, TypeError, KeyError):
            return error_response(422, "Invalid cursor")
        rows_here = rows[start:start + per_page]
        held = self.page(
            (repository.full_name, view.now, state, since, sort, descending, start, per_page),
            lambda: b"[" + b",".join(view.serialise(row) for row in rows_here) + b"]")

        kept = [pair for pair in request.pairs if pair[0] not in ("after", "before", "page")]
        path = f"/repositories/{repository.id}/issues"
        last_page = -(-len(rows) // per_page)
        end = start + len(rows_here)

        def cursor(name, position, number):
            value = base64.b64encode((CURSOR + json.dumps(keys[position])).encode()).decode()
            return request.base + with_query(path, kept, **{name: value, "page": str(number)})

        def numbered(number):
            return request.base + with_query(path, kept, page=str(number))

        links = [
            ("prev", cursor("before", start, page - 1) if 0 < start < len(rows) and page > 1
             else None),
            ("next", cursor("after", end - 1, page + 1) if rows_here and end < len(rows)
             else None),
            ("last", numbered(last_page) if end < len(rows) and rows_here else None),
            ("first", numbered(1) if start > 0 and rows else None),
        ]
        return listing(held, links, request)

    @staticmethod
    def start(query, keys, descending, page, per_page):
        """Return the position of the first row of the page asked for.

        A cursor names a row, not a position, so rows that appear in front of it in the
        meantime shift nothing.
        """
        for name in ("after", "before"):
            if query.get(name):
                try:
                    text = base64.b64decode(query[name], validate=True).decode()
                except binascii.Error as error:
                    raise ValueError("not base64") from error
                if not text.startswith(CURSOR):
                    raise ValueError("not ours")
                key = tuple(json.loads(text[len(CURSOR):]))
                if descending:
                    # bisect wants rising keys: search the mirror image.
                    key = tuple(-part for part in key)
                    keys = [tuple(-part for part in other) for other in keys]
                if name == "after":
                    return bisect_right(keys, key)
                return max(0, bisect_left(keys, key) - per_page)
        return (page - 1) * per_page

    def commits(self, request, repository):
        """GET /repos/{owner}/{repo}/commits, newest first, pages by number."""
        query = request.query
        try:
            since = parse_time(query["since"]) if query.get("since") else 0
            until = parse_time(query["until"]) if query.get("until") else self.app.now
        except ValueError:
            return error_response(422, "Invalid value for since or until")
        if not repository.commits:
            return error_response(409, "Git Repository is empty.")
        per_page = request.number("per_page", 30, 1, 100)
        page = request.number("page", 1, 1)
        now = self.app.now
        rows = [commit for commit in repository.commits
                if since <= commit.when <= min(until, now)]
        rows_here = rows[(page - 1) * per_page:page * per_page]
        held = self.page(
            (repository.full_name, "commits", now, since, until, per_page, page),
            lambda: dump([commit_shape(repository.full_name, row, now) for row in rows_here]))
        last_page = -(-len(rows) // per_page)
        path = f"/repositories/{repository.id}/commits"

        def numbered(number):
            return request.base + with_query(path, request.pairs, page=str(number))

        return listing(held, [
            ("prev", numbered(page - 1) if 1 < page <= last_page + 1 else None),
            ("next", numbered(page + 1) if page < last_page else None),
            ("last", numbered(last_page) if page < last_page else None),
            ("first", numbered(1) if page > 1 else None),
        ], request)


def listing(held, links, request):
    """Return the answer with a page and its links.

    The entity tag covers the links, too: a full last page whose "next" appears later must
    not be taken for unchanged.
    """
    link = link_header(links)
    response = Response(body=held.body, cache=held.encodings)
    if link:
        response.headers.append(("Link", link))
    if "digest" not in held.encodings:
        held.encodings["digest"] = hashlib.sha256(held.body)
    digest = held.encodings["digest"].copy()
    digest.update(link.replace(request.base, "").encode())
    response.etag = f'"{digest.hexdigest()}"'
    return response


def not_found():
    """Return GitHub's 404."""
    return error_response(404, "Not Found")
