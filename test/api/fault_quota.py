"""Good answers that say what is left of a quota, in the words of several APIs."""

import math
import time
from email.utils import formatdate

from faults import fault
from message import BadRequest, error_response


def quota_headers(form, remaining, seconds):
    """Return the headers that say it; a time has whole seconds and is not too early."""
    epoch = str(math.ceil(time.time() + seconds))
    delta = str(math.ceil(seconds))
    forms = {
        "x": [("X-RateLimit-Limit", "60"), ("X-RateLimit-Remaining", remaining),
              ("X-RateLimit-Reset", epoch), ("X-RateLimit-Resource", "core")],
        "x_hyphen": [("X-Rate-Limit-Limit", "60"), ("X-Rate-Limit-Remaining", remaining),
                     ("X-Rate-Limit-Reset", epoch)],
        "x_delta": [("X-RateLimit-Remaining", remaining), ("X-RateLimit-Reset", delta)],
        "x_ms": [("X-RateLimit-Remaining", remaining), ("X-RateLimit-Reset", epoch + "000")],
        "x_date": [("X-RateLimit-Remaining", remaining),
                   ("X-RateLimit-Reset", formatdate(int(epoch), usegmt=True))],
        "ietf": [("RateLimit-Limit", "60, 60;w=60"), ("RateLimit-Remaining", remaining),
                 ("RateLimit-Reset", delta)],
        "members": [("RateLimit", f"limit=60, remaining={remaining}, reset={delta}"),
                    ("RateLimit-Policy", "60;w=60")],
        "structured": [("RateLimit", f'"burst";r={remaining};t={delta}, "daily";r=900;t=3600'),
                       ("RateLimit-Policy", '"burst";q=60;w=60, "daily";q=1000;w=86400')],
    }
    if form not in forms:
        raise BadRequest(f"form is one of {', '.join(forms)}")
    return forms[form]


@fault
def quota(context):
    """What is left of a quota: remaining=0, seconds=2 until the reset, form=x; status=429."""
    headers = quota_headers(context.text("form", "x"), context.text("remaining", "0"),
                            context.real("seconds", 2))
    status = context.number("status", 200)
    if status != 200:
        return error_response(status, "Too Many Requests", headers)
    response = context.base()
    response.headers += headers
    return response
