"""The server without its sockets: state that control changes, and the way of a request."""

import asyncio
import hashlib

import faults
import files
import people
from accounts import OAuth
from control import Control
from data import World
from datasets import Datasets
from github import GitHub
from graphql import GraphQL
from guards import Authentication, RateLimit
from journal import Journal
from message import BadRequest, Response, error_response, json_response
from pages import Pages, echo
from posts import Posts
from timeline import END

GITHUB_PATHS = ("/repos/", "/repositories/", "/rate_limit")


class App:
    """All state of the server."""

    def __init__(self, options):
        self.options = options
        self.port = None
        self.other_port = None
        self.tls_port = None
        self.world = World(options.seed, options.scale)
        self.github = GitHub(self)
        self.graphql = GraphQL(self)
        self.pages = Pages(options.seed)
        self.posts = Posts(options.seed)
        self.journal = Journal(options.log)
        self.control = Control(self)
        self.reset()

    def reset(self):
        """Go back to the state of the start: rules, scripts, clock, limits, log."""
        options = self.options
        self.now = options.now if options.now is not None else END
        self.latency = options.latency_ms / 1000
        self.gzip = not options.no_gzip
        self.authentication = Authentication(options.require_token)
        self.rate_limit = RateLimit()
        self.posts.replaced = None
        self.datasets = Datasets()
        self.rules = []
        self.scripts = []
        self.fault_counts = {}
        self.journal.clear()

    async def answer(self, request, path, listener):
        """Return the answer to any request but those for control."""
        if self.latency and path != "/health":
            await asyncio.sleep(self.latency)
        try:
            if listener == "other":
                response = self.normal(request, path)
            else:
                response = self.guarded(request, path)
            if response.etag:
                response = conditional(request, response, path, self.rate_limit.of(request))
        except BadRequest as error:
            response = error_response(error.status, str(error))
        return response

    def guarded(self, request, path):
        """Return the answer past faults, authentication and rate limit, in this order."""
        if path == "/health":
            return json_response({"status": "ok"})
        # Not on the way of a redirect that a rule for all paths began.
        for rule in self.rules if not path.startswith("/fault/") else ():
            if rule.takes(request, path):
                return faults.apply(rule.fault, faults.Context(
                    self, request, rule.params,
                    lambda wanted: self.normal(wanted, self.github.canonical(wanted.path)),
                    by_rule=True))
        if path == "/oauth/token":
            return self.normal(request, path)
        limited = self.rate_limit.explicit or path.startswith(GITHUB_PATHS)
        limit = self.rate_limit.of(request)
        response = self.authentication.refusal(request)
        if response is None and limited and path != "/rate_limit":
            response = limit.refusal()
        if response is None:
            response = self.normal(request, path)
        if limited and response.fault is None:
            response.headers += limit.headers()
        return response

    def normal(self, request, path):
        """Return the answer of a route, whatever rules say."""
        for script in self.scripts:
            if script.path in (path, request.target) and script.method in (None, request.method):
                return self.scripted(script, request)
        if path == "/echo":
            return echo(request)
        if path.startswith("/fault/"):
            return self.fault_route(request, path[len("/fault/"):])
        if path == "/health":
            return json_response({"status": "ok"})
        if path.startswith("/datasets/"):
            return self.datasets.route(request, path[len("/datasets/"):])
        if path == "/oauth/token" and isinstance(self.authentication, OAuth):
            return self.authentication.grant(request)
        if path == "/graphql" and request.method == "POST":
            return self.graphql.route(request)
        if request.method not in ("GET", "HEAD") and not path.startswith("/pages/"):
            return error_response(405, "Method Not Allowed", [("Allow", "GET, HEAD")])
        if path.startswith("/pages/") and path.count("/") == 2:
            return self.pages.route(request, path[len("/pages/"):])
        if path.startswith("/files/") and path.count("/") == 2:
            return files.route(request, path[len("/files/"):], self.options.seed)
        if path in ("/api", "/api/"):
            return people.route(request, self.options.seed)
        return (self.github.route(request, path) or self.posts.route(request, path)
                or error_response(404, "Not Found"))

    def scripted(self, script, request):
        """Return the next answer of a script."""
        response, spec = script.next()
        if spec.get("fault"):
            params = {key: value for key, value in spec.items()
                      if key not in ("status", "headers", "body", "body_base64")}
            response = faults.apply(spec["fault"], faults.Context(
                self, request, params, lambda wanted: response, by_rule=True))
        response.delay = spec.get("delay_ms", 0) / 1000 or response.delay
        return response

    def fault_route(self, request, name):
        """GET /fault/{name}: break a page of ten records; times=N only that often."""
        if name not in faults.FAULTS:
            return error_response(404, f"No such fault: {name}")

        def base(wanted):
            wanted.query.setdefault("per_page", "10")
            wanted.query.setdefault("style", "array")
            endless = name == "endless_pagination"
            return self.pages.route(wanted, "fault", endless=endless, default_pages=3)

        if "times" in request.query:
            count = self.fault_counts[request.target] = \
                self.fault_counts.get(request.target, 0) + 1
            if count > request.number("times", 0):
                return base(request)
        return faults.apply(name, faults.Context(self, request, request.query, base,
                                                 by_rule=False))


def conditional(request, response, path, rate_limit):
    """Return the answer with its entity tag, or the 304 if the client has it already."""
    if response.status != 200 or request.method not in ("GET", "HEAD"):
        return response
    if response.etag is True:
        link = (response.header("Link") or "").replace(request.base, "")
        response.etag = f'"{hashlib.sha256(response.body + link.encode()).hexdigest()}"'
    response.headers.append(("ETag", response.etag))
    given = [tag.strip().removeprefix("W/")
             for tag in request.headers.get("if-none-match", "").split(",")]
    if response.etag not in given and "*" not in given:
        return response
    if path.startswith(GITHUB_PATHS):
        rate_limit.refund()
        for name, value in rate_limit.headers():
            if response.header(name):
                response.set_header(name, value)
    response.set_header("Content-Type")
    return Response(304, headers=response.headers, content_type=None)
