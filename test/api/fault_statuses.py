"""Faults that are complete, well-formed answers with a bad status."""

import math
import time
from email.utils import formatdate

from faults import fault
from message import Response, error_response, json_response


def retry_after(context, default=1):
    """Return a Retry-After header: form=seconds (default) or date, or any value=..."""
    value = context.text("value")
    if value is None:
        seconds = context.number("seconds", default)
        dated = context.text("form", "seconds") == "date"
        # An HTTP date has whole seconds; rounded down it would allow less than was said.
        value = (formatdate(math.ceil(time.time() + seconds), usegmt=True) if dated
                 else str(seconds))
    return ("Retry-After", value)


@fault
def status(context):
    """Any status: code=..., body=..., content_type=..."""
    body = context.text("body", '{"message":"scripted status"}').encode()
    return Response(context.number("code", 500), body,
                    content_type=context.text("content_type", "application/json"))


@fault
def status_500(context):
    """500 without a hint when to come back."""
    return error_response(500, "Server Error")


@fault
def status_502_html(context):
    """502 with the HTML of a proxy."""
    return Response(502, b"<html><body><h1>502 Bad Gateway</h1></body></html>\n",
                    content_type="text/html")


@fault
def status_503_retry_after(context):
    """503 with Retry-After: seconds=1, form=seconds|date, value=..."""
    return error_response(503, "Service Unavailable", [retry_after(context)])


@fault
def status_408(context):
    """408."""
    return error_response(408, "Request Timeout")


@fault
def status_429(context):
    """429 without Retry-After."""
    return error_response(429, "Too Many Requests")


@fault
def status_429_retry_after(context):
    """429 with Retry-After: seconds=1, form=seconds|date, value=..."""
    return error_response(429, "Too Many Requests", [retry_after(context)])


@fault
def status_403_rate_limited(context):
    """403 with no requests remaining and the time of the reset: seconds=1."""
    reset = context.text("reset", math.ceil(time.time() + context.real("seconds", 1)))
    return error_response(403, "API rate limit exceeded for 127.0.0.1.", [
        ("X-RateLimit-Limit", "60"), ("X-RateLimit-Remaining", "0"),
        ("X-RateLimit-Used", "60"), ("X-RateLimit-Reset", reset),
        ("X-RateLimit-Resource", "core")])


@fault
def status_403_secondary(context):
    """GitHub's secondary rate limit; retry_after=N adds the header."""
    headers = [("X-RateLimit-Limit", "5000"), ("X-RateLimit-Remaining", "4990"),
               ("X-RateLimit-Used", "10"),
               ("X-RateLimit-Reset", str(math.ceil(time.time() + 3600)))]
    if context.text("retry_after") is not None:
        headers.append(("Retry-After", context.text("retry_after")))
    return json_response({
        "message": "You have exceeded a secondary rate limit. Please wait a few minutes before "
                   "you try again.",
        "documentation_url": "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api"
                             "#about-secondary-rate-limits",
    }, 403, headers)


@fault
def status_403_forbidden(context):
    """403 that has nothing to do with rates."""
    return error_response(403, "Resource not accessible by personal access token", [
        ("X-RateLimit-Limit", "5000"), ("X-RateLimit-Remaining", "4999"),
        ("X-RateLimit-Reset", str(math.ceil(time.time() + 3600)))])


@fault
def status_404(context):
    """404."""
    return error_response(404, "Not Found")


@fault
def status_410(context):
    """410, as for a repository without issues."""
    return error_response(410, "Issues are disabled for this repo")


@fault
def status_422(context):
    """422."""
    return error_response(422, "Validation Failed")


@fault
def status_401(context):
    """401."""
    return error_response(401, "Bad credentials", [("WWW-Authenticate", "Bearer")])


@fault
def status_304_unasked(context):
    """304, whether or not the request was conditional."""
    return Response(304, content_type=None)


@fault
def status_204(context):
    """204 without a body."""
    return Response(204, content_type=None)
