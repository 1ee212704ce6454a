"""The endpoints under /control, by which a test changes and inspects the server."""

import faults
from accounts import OAuth, TokenLimits
from guards import Authentication, RateLimit
from message import BadRequest, error_response, json_response
from rules import Rule, Script
from timeline import END, iso, parse_time


class Control:
    """Answers what is under /control; never limited, faulty, delayed or counted."""

    def __init__(self, app):
        self.app = app

    def answer(self, request):
        """Return the answer to a control request."""
        name = request.path.removeprefix("/control").strip("/")
        method = {"HEAD": "get", "PUT": "post"}.get(request.method, request.method.lower())
        handler = getattr(self, f"{method}_{name}", None)
        if handler is None:
            return error_response(404, f"No such control: {request.method} {request.path}")
        try:
            return json_response(handler(request))
        except BadRequest as error:
            return error_response(error.status, str(error))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return error_response(400, f"{type(error).__name__}: {error}")

    def get_info(self, request):
        """Ports, seed, clock and the names of all faults."""
        app = self.app
        return {"port": app.port, "other_port": app.other_port, "tls_port": app.tls_port,
                "seed": app.options.seed, "now": iso(app.now),
                "latency_ms": app.latency * 1000, "gzip": app.gzip,
                "faults": {name: (function.__doc__ or "").strip().split("\n")[0]
                           for name, function in sorted(faults.FAULTS.items())}}

    def get_log(self, request):
        """All requests; ?path= (canonical, or a prefix with *), ?listener=, ?kind=control."""
        journal = self.app.journal
        entries = journal.entries
        if request.query.get("kind") == "control":
            entries = journal.control_entries
        path = request.query.get("path")
        if path and path.endswith("*"):
            entries = [entry for entry in entries if entry["path"].startswith(path[:-1])]
        elif path:
            path = self.app.github.canonical(path)
            entries = [entry for entry in entries
                       if path in (entry["path"], entry["target"])]
        listener = request.query.get("listener")
        return [entry for entry in entries if listener in (None, entry["listener"])]

    def get_stats(self, request):
        """Counts per path and page, and of connections."""
        return self.app.journal.stats()

    def get_other_host(self, request):
        """What arrived at the second port."""
        entries = [entry for entry in self.app.journal.entries if entry["listener"] == "other"]
        secret = [entry for entry in entries if "authorization" in entry["headers"]]
        return {"port": self.app.other_port, "requests": len(entries),
                "with_authorization": len(secret), "entries": entries}

    def post_reset(self, request):
        """Everything as at the start, and an empty log."""
        self.app.reset()
        return {"reset": True}

    def get_clock(self, request):
        """The simulated time."""
        return {"now": iso(self.app.now)}

    def post_clock(self, request):
        """Set the simulated time: {"now": "..."}, null for the end of the timeline."""
        now = request.json()["now"]
        self.app.now = END if now is None else parse_time(now)
        return self.get_clock(request)

    def post_rate_limit(self, request):
        """Enforce a limit: {"limit":5,"window_seconds":2,"status":403}; {} lifts it.

        "per_token": each token has its own; {"query": "key"} if it is in a parameter.
        """
        spec = request.json()
        if spec.get("per_token"):
            self.app.rate_limit = TokenLimits(
                spec.get("query"), limit=int(spec["limit"]), status=int(spec.get("status", 403)),
                window_seconds=float(spec.get("window_seconds", 3600)))
            return spec
        self.app.rate_limit = RateLimit(
            int(spec.get("limit", 10_000_000)), float(spec.get("window_seconds", 3600)),
            int(spec.get("status", 403)), explicit="limit" in spec)
        return {"limit": self.app.rate_limit.limit, "window_seconds": self.app.rate_limit.window}

    def post_auth(self, request):
        """Require a token: {"token":"T"}, in another place: "header" or "query"; null: none."""
        spec = request.json()
        self.app.authentication = Authentication(
            spec["token"], spec.get("header"), spec.get("query"))
        return {"required": spec["token"] is not None}

    def get_oauth(self, request):
        """What was asked for at /oauth/token."""
        return self.app.authentication.describe()

    def post_oauth(self, request):
        """Require access tokens: {"clients":{"id":"secret"},"expires_in":3600}.

        "expires_in" is what is said (null: nothing), "valid_seconds" what is true;
        "client_auth" allows only basic or body; "answer" replaces members of the answer.
        """
        spec = request.json()
        self.app.authentication = OAuth(
            spec["clients"], spec.get("expires_in", 3600), spec.get("valid_seconds"),
            spec.get("client_auth"), spec.get("answer"))
        return {"clients": len(spec["clients"])}

    def delete_oauth(self, request):
        """Revoke all access tokens."""
        return {"revoked": self.app.authentication.revoke()}

    def post_settings(self, request):
        """Change {"latency_ms":N,"gzip":true}."""
        spec = request.json()
        if "latency_ms" in spec:
            self.app.latency = float(spec["latency_ms"]) / 1000
        if "gzip" in spec:
            self.app.gzip = bool(spec["gzip"])
        return {"latency_ms": self.app.latency * 1000, "gzip": self.app.gzip}

    def post_posts(self, request):
        """Serve the body, whatever it is, as /posts."""
        self.app.posts.replaced = request.body
        return {"bytes": len(request.body)}

    def delete_posts(self, request):
        """Serve the original posts again."""
        self.app.posts.replaced = None
        return {"bytes": None}

    def post_datasets(self, request):
        """Serve records as /datasets/{name}: {"name": "n", "records": [{}, {}]}.

        "total" and "pages" are said instead of the truth; pages have at most "max_per_page"
        records, the one from record S on N by "short": {"S": N}; parameters in "ignore" do
        nothing; "later": [{"request": N, "records": []}] are served from the Nth request on.
        """
        spec = request.json()
        self.app.datasets.put(spec)
        return {"name": spec["name"], "records": len(spec["records"])}

    def get_faults(self, request):
        """The rules and how often each hit."""
        return [rule.describe() for rule in self.app.rules]

    def post_faults(self, request):
        """Add a rule, or an array of rules; the first that matches a request hits it."""
        specs = request.json()
        rules = [Rule(spec, self.app.github.canonical, faults.FAULTS)
                 for spec in (specs if isinstance(specs, list) else [specs])]
        self.app.rules += rules
        return [rule.describe() for rule in rules]

    def delete_faults(self, request):
        """Remove all rules, or the one with ?id=."""
        id = request.query.get("id")
        self.app.rules = [rule for rule in self.app.rules if id and str(rule.id) != id]
        return self.get_faults(request)

    def get_routes(self, request):
        """The scripts and how often each was used."""
        return [script.describe() for script in self.app.scripts]

    def post_routes(self, request):
        """Script the answers of a path; replaces an earlier script of the same path."""
        script = Script(request.json(), faults.FAULTS)
        self.app.scripts = [other for other in self.app.scripts
                            if (other.path, other.method) != (script.path, script.method)]
        self.app.scripts.append(script)
        return script.describe()

    def delete_routes(self, request):
        """Remove all scripts, or those of ?path=."""
        path = request.query.get("path")
        self.app.scripts = [script for script in self.app.scripts
                            if path and script.path != path]
        return self.get_routes(request)
