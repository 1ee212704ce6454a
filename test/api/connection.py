"""One connection: reads requests, writes answers, and offers faults the bare wire."""

import asyncio
import gzip
import socket
import struct
import sys
import traceback
from email.utils import formatdate

from message import BadRequest, Request, error_response, reason

MAX_HEAD = 1 << 20
MAX_BODY = 256 << 20
NO_BODY = (204, 304)


class Connection:
    """HTTP/1.1 with keep-alive over a pair of streams."""

    def __init__(self, app, reader, writer, listener, number):
        self.app = app
        self.reader = reader
        self.writer = writer
        self.listener = listener
        self.number = number
        self.body_sent = 0
        self.status_sent = None
        self.counted = False
        # drain() is to wait until all is written: a fault must know what left.
        writer.transport.set_write_buffer_limits(high=0)

    async def serve(self):
        """Answer requests until one side has enough."""
        keep = True
        while keep:
            try:
                request = await self.read_request()
            except BadRequest as error:
                await self.send(None, error_response(error.status, str(error)), keep=False)
                return
            if request is None:
                return
            keep = await self.serve_request(request)

    async def serve_request(self, request):
        """Answer one request, note it, and return whether to go on."""
        control = request.path.split("/")[1] == "control"
        path = self.app.github.canonical(request.path)
        if not control and not self.counted:
            # Counted by its first request, so that those of control stay out.
            self.counted = True
            self.app.journal.connections += 1
        entry, started = self.app.journal.begin(
            request, path, self.listener, self.number, control)
        if request.scheme == "https":
            entry["client_certificate"] = self.client_name()
        self.body_sent = 0
        self.status_sent = None
        outcome = "aborted"
        try:
            if control:
                response = self.app.control.answer(request)
            else:
                response = await self.app.answer(request, path, self.listener)
            entry["fault"] = response.fault
            if response.delay:
                await asyncio.sleep(response.delay)
            keep = await self.send(request, response, wants_keep(request))
            outcome = "sent"
            return keep
        except ConnectionError:
            outcome = "client gone"
            return False
        except Exception as error:
            # A mistake of the test or of ours must not look like a fault that was asked for.
            outcome = f"internal error: {error!r}"
            traceback.print_exc(file=sys.stderr)
            if self.body_sent == 0:
                status = 400 if isinstance(error, BadRequest) else 500
                await self.send(request, error_response(status, f"sample API: {error!r}"), False)
            return False
        finally:
            self.app.journal.finish(
                entry, started, self.status_sent, self.body_sent, outcome, control)

    async def read_request(self):
        """Return the next request, or None at the end of the stream."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        except asyncio.LimitOverrunError as error:
            raise BadRequest("headers too large", 431) from error
        lines = head.decode("latin-1").lstrip("\r\n").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise BadRequest("malformed request line")
        headers = {}
        for line in lines[1:]:
            if line:
                name, _, value = line.partition(":")
                headers[name.strip().lower()] = value.strip()
        try:
            body = await self.read_body(headers)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        except (ValueError, asyncio.LimitOverrunError) as error:
            raise BadRequest("malformed body") from error
        if words[2] == "HTTP/1.0":
            headers.setdefault("connection", "close")
        request = Request(words[0], words[1], headers, body)
        if self.writer.get_extra_info("ssl_object"):
            request.scheme = "https"
        return request

    def client_name(self):
        """Return the common name of the client's certificate, None without one."""
        certificate = self.writer.get_extra_info("peercert") or {}
        return next((value for part in certificate.get("subject", ()) for name, value in part
                     if name == "commonName"), None)

    async def read_body(self, headers):
        """Return the body that the headers announce."""
        if headers.get("expect", "").lower() == "100-continue":
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            parts = []
            while True:
                size = int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)
                parts.append(await self.reader.readexactly(size))
                await self.reader.readuntil(b"\r\n")
                if size == 0:
                    return b"".join(parts)
        length = int(headers.get("content-length", "0"))
        if not 0 <= length <= MAX_BODY:
            raise ValueError("length")
        return await self.reader.readexactly(length) if length else b""

    async def send(self, request, response, keep=True):
        """Write an answer; return whether the connection can be used again."""
        if response.sender:
            return await response.sender(self, request, response) and keep
        body, encoding = self.encode(request, response)
        headers = [("Content-Encoding", encoding), ("Vary", "Accept-Encoding")] if encoding else []
        if not keep:
            headers.append(("Connection", "close"))
        length = None if response.status in NO_BODY else len(body)
        self.writer.write(self.head(response, length, headers))
        if body and response.status not in NO_BODY and not (request and request.method == "HEAD"):
            await self.write(body)
        else:
            await self.writer.drain()
        return keep

    def encode(self, request, response):
        """Return the body as it is to be transferred, and its content coding."""
        body = response.body
        if (not self.app.gzip or not request or len(body) < 1024
                or response.header("content-encoding")
                or "gzip" not in request.headers.get("accept-encoding", "")):
            return body, None
        if response.cache is None:
            return gzip.compress(body, 1, mtime=0), "gzip"
        if "gzip" not in response.cache:
            response.cache["gzip"] = gzip.compress(body, 1, mtime=0)
        return response.cache["gzip"], "gzip"

    def head(self, response, length=None, more=()):
        """Return the bytes of status line and headers; without a length none is announced."""
        self.status_sent = response.status
        lines = [f"HTTP/1.1 {response.status} {reason(response.status)}",
                 f"Date: {formatdate(usegmt=True)}", "Server: etl-sample-api"]
        lines += [f"{name}: {value}" for name, value in response.headers]
        lines += [f"{name}: {value}" for name, value in more]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    async def write(self, data):
        """Write a part of a body and wait until it left."""
        self.writer.write(data)
        await self.writer.drain()
        self.body_sent += len(data)

    def reset(self):
        """Break the connection with a RST instead of a FIN."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def wait_gone(self):
        """Wait, for ever if need be, until the client closes the connection; then raise."""
        while await self.reader.read(65536):
            pass
        raise ConnectionResetError("client closed")


def wants_keep(request):
    """Return whether the client wants to keep the connection."""
    return "close" not in request.headers.get("connection", "").lower()
