"""Generic paged route: /pages/{name}, with stable content and disjoint ids."""

import base64
import binascii

from dice import Dice
from message import BadRequest, Response, dump, error_response, json_response, link_header, with_query
from timeline import END, START, iso


def record(seed, name, id):
    """Return one record; it depends on nothing but seed, name and id."""
    dice = Dice(seed, "pages", name, id)
    return {
        "id": id,
        "value": f"{name}-{id}-{dice.hex(8)} “{dice.below(1000)}”",
        "updated_at": iso(START + dice.below(END - START)),
    }


def body_parameters(request):
    """Return what the body of a POST says in place of the query; null says nothing."""
    asked = request.json()
    if not isinstance(asked, dict):
        raise BadRequest("the body is no object")
    return {name: str(value) for name, value in asked.items() if value is not None}


class Pages:
    """The route; keeps the bodies of recent pages."""

    def __init__(self, seed):
        self.seed = seed
        self._held = {}

    def records(self, name, start, count):
        """Return count records from a position on."""
        return [record(self.seed, name, id) for id in range(start + 1, start + count + 1)]

    def route(self, request, name, endless=False, default_pages=5):
        """GET /pages/{name}: a page by number, by offset or by cursor."""
        if request.method == "POST" and request.body:
            request.query |= body_parameters(request)
        number = request.number
        per_page = number("per_page", number("limit", 20, 1, 10_000), 1, 10_000)
        total = per_page * number("pages", default_pages, 0)
        style = request.query.get("style", "object")
        if "offset" in request.query:
            start = number("offset", 0)
        elif "cursor" in request.query:
            try:
                start = int(base64.b64decode(request.query["cursor"], validate=True))
            except (binascii.Error, ValueError):
                return error_response(400, "Invalid cursor")
        else:
            start = (number("page", 1, 1) - 1) * per_page
        count = per_page if endless else max(0, min(per_page, total - start))
        page = start // per_page + 1
        more = endless or start + count < total

        def numbered(other):
            return request.base + with_query(
                request.raw_path,
                [pair for pair in request.pairs if pair[0] not in ("cursor", "offset")],
                page=str(other))

        following = numbered(page + 1) if more else None
        link = link_header([
            ("prev", numbered(page - 1) if page > 1 else None),
            ("next", following),
            ("last", numbered(-(-total // per_page)) if more and not endless else None),
            ("first", numbered(1) if page > 1 else None),
        ])
        if style == "array" or style == "bare":
            body = self._array(name, start, count)
        elif style == "cursor":
            cursor = base64.b64encode(str(start + count).encode()).decode() if more else None
            body = self._object(name, start, count, {"next_cursor": cursor, "has_more": more})
        else:
            body = self._object(name, start, count, {"next": following, "page": page})
        response = Response(body=body, etag=True)
        # A bare page has no link at all: only counting pages until one is empty finds the end.
        if link and style != "bare":
            response.headers.append(("Link", link))
        return response

    def _array(self, name, start, count):
        key = (name, start, count)
        if key not in self._held:
            if len(self._held) >= 2000:
                self._held.clear()
            self._held[key] = dump(self.records(name, start, count))
        return self._held[key]

    def _object(self, name, start, count, rest):
        return b'{"data":' + self._array(name, start, count) + b"," + dump(rest)[1:]


def echo(request):
    """Any method on /echo: tell what arrived, credentials hashed."""
    from journal import interesting_headers, redact_target
    return json_response({
        "method": request.method,
        "target": redact_target(request),
        "query": [list(pair) for pair in request.pairs],
        "headers": interesting_headers(request.headers, everything=True),
        "body": request.body.decode("utf-8", "replace"),
    })
