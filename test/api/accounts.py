"""What APIs keep per account: access tokens of OAuth, and a rate limit for each token."""

import base64
import hashlib
import time
from urllib.parse import parse_qsl, unquote

from guards import RateLimit
from message import error_response, json_response


class OAuth:
    """Access tokens for client credentials (RFC 6749, 4.4), and the routes that want them."""

    def __init__(self, clients, expires_in=3600, valid_seconds=None, client_auth=None,
                 answer=None):
        self.clients = clients
        self.expires_in = expires_in
        self.valid_seconds = valid_seconds
        self.client_auth = client_auth
        self.extra = answer or {}
        self.grants = []
        self.tokens = {}
        self.issued = 0

    def refusal(self, request):
        """Return the 401 for a request without a token that is good, None for one with it."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and time.time() < self.tokens.get(token, 0):
            return None
        return error_response(401, "The access token is missing, expired or revoked", [
            ("WWW-Authenticate", 'Bearer error="invalid_token"')])

    def revoke(self):
        """Forget all tokens; return how many were good."""
        count = len(self.tokens)
        self.tokens = {}
        return count

    def grant(self, request):
        """POST /oauth/token: return a token, or an error as RFC 6749 spells it."""
        if request.method != "POST":
            return error_response(405, "Method Not Allowed", [("Allow", "POST")])
        form = dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
        how, client, secret = credentials(request, form)
        self.grants.append({
            "client_auth": how, "client_id": client, "grant_type": form.get("grant_type"),
            "scope": form.get("scope"), "audience": form.get("audience"),
            "content_type": request.headers.get("content-type")})
        if form.get("grant_type") != "client_credentials":
            return json_response({"error": "unsupported_grant_type"}, 400)
        if self.client_auth not in (None, how) or self.clients.get(client) != secret:
            description = f"Client authentication failed for {client} with secret {secret}"
            return json_response({"error": "invalid_client", "error_description": description},
                                 401, [("WWW-Authenticate", "Basic")])
        self.issued += 1
        digest = hashlib.sha256(f"{client} {self.issued}".encode()).hexdigest()[:24]
        token = f"oauth-t0ken-{self.issued}-{digest}"
        valid = self.valid_seconds
        if valid is None:
            valid = float(self.expires_in) if self.expires_in is not None else 1e9
        self.tokens[token] = time.time() + valid
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": self.expires_in}
        answer |= self.extra
        return json_response({key: value for key, value in answer.items() if value is not None},
                             headers=[("Cache-Control", "no-store")])

    def describe(self):
        """Return what was asked for so far."""
        return {"issued": self.issued, "grants": self.grants}


def credentials(request, form):
    """Return how a client told who it is, its id and its secret."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        plain = base64.b64decode(encoded, validate=True).decode()
        client, _, secret = plain.partition(":")
        return "basic", unquote(client), unquote(secret)
    return "body", form.get("client_id"), form.get("client_secret")


class TokenLimits:
    """A rate limit for each token, whatever header or parameter it is in."""

    explicit = True

    def __init__(self, query, **limit):
        self.query = query
        self.spec = limit
        self.limits = {}

    def of(self, request):
        """Return the limit that counts a request."""
        token = request.query.get(self.query) or request.headers.get("authorization", "")
        return self.limits.setdefault(token, RateLimit(explicit=True, **self.spec))
