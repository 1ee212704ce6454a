"""What stands before the routes: authentication and the rate limit."""

import hmac
import math
import time

from message import error_response, json_response


class Authentication:
    """Requires a token, or one of several, if one is set."""

    def __init__(self, token=None, header=None, query=None):
        self.tokens = token if isinstance(token, list) else [] if token is None else [token]
        self.header = header
        self.query = query

    def refusal(self, request):
        """Return the 401 for a request without the right token, None for one with it."""
        if not self.tokens:
            return None
        accepted = self.tokens
        if self.query:
            given = request.query.get(self.query)
        elif self.header:
            given = request.headers.get(self.header.lower())
        else:
            given = request.headers.get("authorization")
            scheme, _, secret = (given or "").partition(" ")
            given = given and f"{scheme.lower()} {secret}"
            accepted = [f"{word} {token}" for token in self.tokens for word in ("bearer", "token")]
        if not given:
            return error_response(401, "Requires authentication",
                                  [("WWW-Authenticate", "Bearer")])
        if not any(hmac.compare_digest(given.encode("utf-8", "replace"), right.encode())
                   for right in accepted):
            return error_response(401, "Bad credentials", [("WWW-Authenticate", "Bearer")])
        return None


class RateLimit:
    """A fixed window, as GitHub's: so many requests, then 403 until the window ends."""

    def __init__(self, limit=10_000_000, window_seconds=3600, status=403, explicit=False):
        self.limit = limit
        self.window = window_seconds
        self.status = status
        self.explicit = explicit
        self.used = 0
        self.reset_at = 0

    def of(self, request):
        """Return the limit that counts a request: one for all."""
        return self

    def refusal(self):
        """Count a request; return the refusal if it is over the limit, None if it is not."""
        now = time.time()
        if now >= self.reset_at:
            self.used = 0
            # Whole seconds: the header can say no more, and must not say less.
            self.reset_at = math.ceil(now + self.window)
        if self.used >= self.limit:
            return error_response(
                self.status,
                "API rate limit exceeded for 127.0.0.1. (But here's the good news: "
                "Authenticated requests get a higher rate limit.)")
        self.used += 1
        return None

    def refund(self):
        """Give a request back: GitHub does not count a 304."""
        self.used = max(0, self.used - 1)

    def headers(self):
        """Return the headers that tell the state of the limit."""
        return [
            ("X-RateLimit-Limit", str(self.limit)),
            ("X-RateLimit-Remaining", str(max(0, self.limit - self.used))),
            ("X-RateLimit-Reset", str(self.reset_at)),
            ("X-RateLimit-Used", str(self.used)),
            ("X-RateLimit-Resource", "core"),
        ]

    def describe(self):
        """GET /rate_limit"""
        rate = {"limit": self.limit, "used": self.used, "reset": self.reset_at,
                "remaining": max(0, self.limit - self.used)}
        return json_response({"resources": {"core": rate}, "rate": rate})
