"""Which requests a fault hits, and scripted sequences of answers."""

import base64
import itertools
from urllib.parse import parse_qsl

from message import BadRequest, Response

RULE_KEYS = ("match", "page", "method", "fault", "times", "skip", "params")


class Rule:
    """A fault that hits the first matching requests, or all of them."""

    _ids = itertools.count(1)

    def __init__(self, spec, canonical, known_faults):
        if not isinstance(spec, dict) or "match" not in spec or "fault" not in spec:
            raise BadRequest("a rule needs match and fault")
        if spec["fault"] not in known_faults:
            raise BadRequest(f"unknown fault: {spec['fault']}")
        path, _, query = spec["match"].partition("?")
        self.id = next(self._ids)
        self.prefix = path.endswith("*")
        self.path = canonical(path.rstrip("*"))
        self.query = parse_qsl(query, keep_blank_values=True)
        pages = spec.get("page")
        self.pages = None if pages is None else [
            str(page) for page in (pages if isinstance(pages, list) else [pages])]
        self.method = spec.get("method")
        self.fault = spec["fault"]
        self.times = spec.get("times")
        self.skip = spec.get("skip", 0)
        # Anything else said in the rule is a parameter of the fault.
        self.params = {key: value for key, value in spec.items() if key not in RULE_KEYS}
        self.params |= spec.get("params", {})
        self.matched = 0
        self.hits = 0

    def takes(self, request, path):
        """Return whether the rule hits a request, and count it."""
        if not (path.startswith(self.path) if self.prefix else path == self.path):
            return False
        if self.pages is not None and request.query.get("page", "1") not in self.pages:
            return False
        if self.method and request.method != self.method:
            return False
        if any(pair not in request.pairs for pair in self.query):
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.matched += 1
        if self.matched <= self.skip:
            return False
        self.hits += 1
        return True

    def describe(self):
        """Return the rule as JSON."""
        return {"id": self.id, "match": self.path + ("*" if self.prefix else ""),
                "query": self.query, "page": self.pages, "method": self.method,
                "fault": self.fault, "times": self.times, "skip": self.skip,
                "params": self.params, "hits": self.hits}


class Script:
    """A sequence of answers for a path."""

    def __init__(self, spec, known_faults):
        if not isinstance(spec, dict) or not spec.get("path") or not spec.get("responses"):
            raise BadRequest("a script needs path and responses")
        self.path = spec["path"]
        self.method = spec.get("method")
        self.responses = spec["responses"]
        self.repeat = spec.get("repeat", "last")
        if self.repeat not in ("last", "cycle"):
            raise BadRequest("repeat is last or cycle")
        for answer in self.responses:
            if answer.get("fault") and answer["fault"] not in known_faults:
                raise BadRequest(f"unknown fault: {answer['fault']}")
        self.hits = 0

    def next(self):
        """Return the next answer and its specification."""
        count = len(self.responses)
        position = self.hits % count if self.repeat == "cycle" else min(self.hits, count - 1)
        self.hits += 1
        spec = self.responses[position]
        if "body_base64" in spec:
            body = base64.b64decode(spec["body_base64"])
        else:
            body = spec.get("body", "").encode("utf-8", "surrogatepass")
        response = Response(spec.get("status", 200), body)
        for name, value in spec.get("headers", {}).items():
            values = value if isinstance(value, list) else [value]
            response.set_header(name, *(str(item) for item in values if item is not None))
        return response, spec

    def describe(self):
        """Return the script as JSON."""
        return {"path": self.path, "method": self.method, "repeat": self.repeat,
                "responses": len(self.responses), "hits": self.hits}
