"""Faults of pagination and redirects."""

import base64
import json
from urllib.parse import urlsplit

from faults import fault
from message import Request, Response, dump, link_header, with_query

PAGING = ("page", "after", "before", "cursor", "offset")


def set_next(response, url):
    """Make an address the next page, in the Link header and, if it has one, in the body."""
    response.set_header("Link", *([link_header([("next", url)])] if url else []))
    if response.body[:1] == b"{":
        page = json.loads(response.body)
        if "next" in page:
            response.body = dump(page | {"next": url})
    return response


def without_paging(request):
    """Return the request for the first page."""
    kept = [pair for pair in request.pairs if pair[0] not in PAGING]
    return Request(request.method, with_query(request.raw_path, kept), request.headers,
                   request.body)


@fault
def endless_pagination(context):
    """Next for ever, each time another address.

    By a rule every page has the records of the first; /fault/endless_pagination has new
    ones on each.
    """
    request = context.request
    page = request.number("page", 1, 1)
    kept = [pair for pair in request.pairs if pair[0] not in PAGING]
    after = base64.b64encode(f"endless {page}".encode()).decode()
    url = request.base + with_query(request.raw_path, kept, after=after, page=str(page + 1))
    return set_next(context.base(without_paging(request) if context.by_rule else None), url)


@fault
def loop_pagination(context):
    """Next is this page itself; with length=N a loop of N pages."""
    request = context.request
    length = context.number("length", 1)
    url = request.base + request.target
    if length > 1:
        page = request.number("page", 1, 1) % length + 1
        kept = [pair for pair in request.pairs if pair[0] not in PAGING]
        url = request.base + with_query(request.raw_path, kept, page=str(page))
    return set_next(context.base(), url)


@fault
def link_to(context):
    """Next is any address: url=..."""
    return set_next(context.base(), context.text("url", "http://127.0.0.1:1/"))


@fault
def link_other_host(context):
    """Next is on the second port, which notes whether credentials arrive."""
    return set_next(context.base(), other_address(context))


@fault
def link_to_file(context):
    """Next is file:///etc/passwd."""
    return set_next(context.base(), "file:///etc/passwd")


@fault
def link_relative(context):
    """Next is relative to this address, as RFC 8288 allows."""
    request = context.request
    return set_next(context.base(), with_query(
        "", [pair for pair in request.pairs if pair[0] not in PAGING],
        page=str(request.number("page", 1, 1) + 1)))


@fault
def link_malformed(context):
    """A Link header that is none: value=..."""
    response = context.base()
    response.set_header("Link", context.text("value", '<http://[oops; rel="next, ,;=<>'))
    return response


@fault
def link_missing(context):
    """The page without its Link header."""
    return set_next(context.base(), None)


def redirect_to(context, url):
    """Return a redirect, status=302 by default."""
    return Response(context.number("status", 302), b'{"message":"Moved"}',
                    [("Location", url)])


@fault
def redirect(context):
    """A number of hops=3, then the answer; status=302, relative=1."""
    request = context.request
    hops = context.number("hops", 3)
    target = context.text("to") or (request.target if context.by_rule else None)
    if hops <= 0:
        if not target:
            return context.base()
        # The rule that sent the client here must not hit again: past all rules.
        final = Request(request.method, target, request.headers, request.body)
        return context.app.normal(final, context.app.github.canonical(final.path))
    kept = {name: context.text(name) for name in ("status", "relative") if context.text(name)}
    path = with_query("/fault/redirect", [], hops=str(hops - 1), to=target, **kept)
    return redirect_to(context, path if context.text("relative") else request.base + path)


@fault
def redirect_loop(context):
    """To itself, for ever."""
    return redirect_to(context, context.request.base + context.request.target)


def other_address(context):
    """Return the address on the second port; host=... for another name of this machine."""
    host = context.text("host") or urlsplit(context.request.base).hostname
    target = context.request.target if context.by_rule else "/pages/other?style=array"
    return f"http://{host}:{context.app.other_port}{target}"


@fault
def redirect_other_host(context):
    """To the second port, which notes whether credentials arrive: host=..., status=302."""
    return redirect_to(context, other_address(context))


@fault
def redirect_to_file(context):
    """To file:///etc/passwd."""
    return redirect_to(context, context.text("url", "file:///etc/passwd"))


@fault
def redirect_without_location(context):
    """302 without Location."""
    return Response(302, b"{}")
