"""Requests and responses of HTTP, without the wire."""

import json
from http import HTTPStatus
from urllib.parse import parse_qsl, quote, unquote, urlencode

JSON_TYPE = "application/json; charset=utf-8"


class BadRequest(Exception):
    """The request cannot be served; becomes an answer with the status."""

    def __init__(self, message, status=400):
        super().__init__(message)
        self.status = status


class Request:
    """A request as it arrived."""

    def __init__(self, method, target, headers, body=b""):
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        if not target.startswith("/"):
            # The absolute form is what a client sends to a proxy.
            rest = target.partition("://")[2]
            target = "/" + rest.partition("/")[2]
        self.raw_path, _, self.query_string = target.partition("?")
        self.path = unquote(self.raw_path)
        self.pairs = parse_qsl(self.query_string, keep_blank_values=True)
        self.query = dict(self.pairs)
        self.scheme = "http"

    @property
    def base(self):
        """Return the address of this server as the client wrote it."""
        return f"{self.scheme}://{self.headers.get('host', 'localhost')}"

    def number(self, name, default, low=0, high=1 << 62):
        """Return a query parameter as an integer within bounds; nonsense is the default."""
        try:
            return max(low, min(high, int(self.query[name])))
        except (KeyError, ValueError):
            return default

    def json(self):
        """Return the body as parsed JSON; an empty body is an empty object."""
        try:
            return json.loads(self.body or b"{}")
        except ValueError as error:
            raise BadRequest(f"body is not JSON: {error}") from error


class Response:
    """An answer.

    "etag" asks for an entity tag and 304s.  "sender", if given, is a coroutine function
    (connection, request, response) that writes the answer to the wire itself, to break it
    there, and returns whether the connection can be kept.  "delay" is in seconds.  "cache"
    holds encodings of a body that is served again and again.
    """

    __slots__ = ("status", "headers", "body", "etag", "sender", "fault", "cache", "delay")

    def __init__(self, status=200, body=b"", headers=(), content_type=JSON_TYPE, etag=False,
                 cache=None):
        self.status = status
        self.body = body
        self.headers = list(headers)
        if content_type:
            self.headers.insert(0, ("Content-Type", content_type))
        self.etag = etag
        self.sender = None
        self.fault = None
        self.delay = 0
        self.cache = cache

    def header(self, name):
        """Return the first value of a header, or None."""
        name = name.lower()
        return next((value for key, value in self.headers if key.lower() == name), None)

    def set_header(self, name, *values):
        """Replace a header; no value removes it."""
        kept = [pair for pair in self.headers if pair[0].lower() != name.lower()]
        self.headers = kept + [(name, value) for value in values]


def dump(value):
    """Return a value as compact JSON bytes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def json_response(value, status=200, headers=(), etag=False):
    """Return an answer with a JSON body."""
    return Response(status, dump(value), headers, etag=etag)


def error_response(status, message, headers=()):
    """Return an error as GitHub spells it."""
    value = {"message": message, "documentation_url": "https://docs.github.com/rest",
             "status": str(status)}
    return json_response(value, status, headers)


def link_header(links):
    """Return the value of a Link header from (relation, address) pairs, without the Nones."""
    return ", ".join(f'<{url}>; rel="{relation}"' for relation, url in links if url)


def with_query(path, pairs, **changes):
    """Return path and query with some parameters replaced; None removes one."""
    kept = [(key, value) for key, value in pairs if key not in changes]
    kept += [(key, value) for key, value in changes.items() if value is not None]
    # GitHub leaves colons of times alone and encodes the "=" of cursors.
    return f"{path}?{urlencode(kept, quote_via=quote, safe=':')}" if kept else path


def reason(status):
    """Return the reason phrase of a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
