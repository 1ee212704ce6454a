"""What was asked: the log in memory, the log file, and counts."""

import hashlib
import json
import time
from collections import deque
from datetime import datetime, timezone

from message import with_query

KEPT_ENTRIES = 200_000
PLAIN_HEADERS = ("host", "user-agent", "accept", "accept-encoding", "content-type",
                 "if-none-match", "if-modified-since", "range", "x-github-api-version")
SECRET_WORDS = ("key", "token", "secret", "cookie", "password", "authorization")
SECRET_PARAMETERS = ("access_token", "api_key", "apikey", "token", "client_secret", "password")


def fingerprint(value):
    """Return enough of a hash to recognise a secret by, and not the secret."""
    return "sha256:" + hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()[:16]


def interesting_headers(headers, everything=False):
    """Return the headers worth a log; of secrets the scheme and a fingerprint."""
    found = {}
    for name, value in headers.items():
        if any(word in name for word in SECRET_WORDS):
            scheme, _, secret = value.partition(" ")
            found[name] = (f"{scheme} {fingerprint(secret)}" if name == "authorization" and secret
                           else fingerprint(value))
        elif everything or name in PLAIN_HEADERS:
            found[name] = value
    return found


def redact_target(request):
    """Return the target with the values of parameters that are secrets hashed."""
    hidden = {name: fingerprint(value) for name, value in request.pairs
              if name.lower() in SECRET_PARAMETERS}
    if not hidden:
        return request.target
    return with_query(request.raw_path, request.pairs, **hidden)


class Journal:
    """Remembers requests from their arrival on, so that one that hangs is seen, too."""

    def __init__(self, log_path=None):
        self._files = {}
        if log_path:
            # Control requests are no traffic: they have a file of their own.
            self._files = {False: open(log_path, "a", encoding="utf-8", buffering=1),
                           True: open(f"{log_path}.control", "a", encoding="utf-8", buffering=1)}
        self._number = 0
        self.in_flight = 0
        self.connections_open = 0
        self.clear()

    def clear(self):
        """Forget all that was counted; what is in flight stays in flight."""
        self.entries = deque(maxlen=KEPT_ENTRIES)
        self.control_entries = deque(maxlen=10_000)
        self.by_path = {}
        self.requests = 0
        self.connections = 0
        self.max_in_flight = self.in_flight

    def begin(self, request, path, listener, connection, control=False):
        """Note the arrival of a request and return its entry."""
        entry = {
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "n": None,
            "listener": listener,
            "connection": connection,
            "method": request.method,
            "target": redact_target(request),
            "path": path,
            "page": request.query.get("page"),
            "status": None,
            "bytes": 0,
            "ms": None,
            "fault": None,
            "outcome": "in flight",
            "headers": interesting_headers(request.headers),
        }
        if control:
            self.control_entries.append(entry)
        else:
            self._number += 1
            entry["n"] = self._number
            self.entries.append(entry)
            self.requests += 1
            self.in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self.in_flight)
            counts = self._counts(path)
            counts["requests"] += 1
            page = entry["page"] or "1"
            counts["pages"][page] = counts["pages"].get(page, 0) + 1
        return entry, time.monotonic()

    def finish(self, entry, started, status, sent, outcome, control=False):
        """Note the end of a request."""
        entry["status"] = status
        entry["bytes"] = sent
        entry["ms"] = round((time.monotonic() - started) * 1000, 3)
        entry["outcome"] = outcome
        if not control:
            self.in_flight -= 1
            statuses = self._counts(entry["path"])["statuses"]
            name = "none" if status is None else str(status)
            statuses[name] = statuses.get(name, 0) + 1
        if self._files:
            self._files[control].write(json.dumps(entry, ensure_ascii=False) + "\n")

    def _counts(self, path):
        return self.by_path.setdefault(path, {"requests": 0, "pages": {}, "statuses": {}})

    def stats(self):
        """Return the counts."""
        return {
            "requests": self.requests,
            "connections": self.connections,
            "connections_open": self.connections_open,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "by_path": self.by_path,
        }

    def close(self):
        """Close the log files."""
        for file in self._files.values():
            file.close()
