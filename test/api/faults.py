"""Every fault by its name.

A fault is a function of a context and returns the broken answer.  The context has the
request, the parameters (of the query of /fault/{name}, or of the rule) and the answer that
would have been given, which most faults break.
"""

from message import BadRequest, Response

FAULTS = {}


def fault(function):
    """Register a fault under the name of its function."""
    FAULTS[function.__name__] = function
    return function


class Context:
    """What a fault works with."""

    def __init__(self, app, request, params, make_base, by_rule):
        self.app = app
        self.request = request
        self.params = params
        self.by_rule = by_rule
        self._make_base = make_base

    def number(self, name, default):
        """Return a parameter as an integer."""
        try:
            return int(self.params.get(name, default))
        except (TypeError, ValueError) as error:
            raise BadRequest(f"{name} is no integer") from error

    def real(self, name, default):
        """Return a parameter as a number."""
        try:
            return float(self.params.get(name, default))
        except (TypeError, ValueError) as error:
            raise BadRequest(f"{name} is no number") from error

    def text(self, name, default=None):
        """Return a parameter as a string."""
        value = self.params.get(name, default)
        return value if value is None else str(value)

    def base(self, request=None):
        """Return a copy of the answer that would have been given, free to be broken."""
        good = self._make_base(request or self.request)
        copy = Response(good.status, good.body, good.headers, content_type=None)
        copy.sender = good.sender
        return copy


def apply(name, context):
    """Return the answer of a fault."""
    response = FAULTS[name](context)
    response.fault = name
    return response


# Importing registers.
import fault_bodies  # noqa: E402,F401
import fault_links  # noqa: E402,F401
import fault_quota  # noqa: E402,F401
import fault_statuses  # noqa: E402,F401
import fault_wire  # noqa: E402,F401
