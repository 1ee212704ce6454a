#!/usr/bin/env python3
"""Sample and test API server of etl; README.md documents what it serves."""

import argparse
import asyncio
import os
import signal
import ssl
import sys

from app import App
from connection import MAX_HEAD, Connection
from timeline import parse_time


def parse_arguments(arguments=None):
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--other-port", type=int, default=0,
                        help="second port, the target of redirects to another host")
    parser.add_argument("--port-file", help="written once the server is ready")
    parser.add_argument("--pid-file")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--scale", type=float, default=1.0,
                        help="factor for the number of issues and commits")
    parser.add_argument("--now", type=parse_time, help="simulated time, ISO 8601")
    parser.add_argument("--log", help="one JSON line per request; FILE.control for control")
    parser.add_argument("--latency-ms", type=float, default=0)
    parser.add_argument("--require-token", metavar="TOKEN")
    parser.add_argument("--tls-certificate", metavar="FILE",
                        help="opens a third port that speaks TLS, PEM with the key")
    parser.add_argument("--tls-client-ca", metavar="FILE",
                        help="asks clients for a certificate of this authority")
    parser.add_argument("--tls-client", choices=("optional", "required"), default="required")
    parser.add_argument("--tls-max", choices=("1.2", "1.3"), default="1.3")
    parser.add_argument("--no-gzip", action="store_true", help="never compress")
    return parser.parse_args(arguments)


def write_atomically(path, text):
    """Write a file so that nobody sees half of it."""
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)


def remove_own(path, text):
    """Remove a file of ours unless another server wrote it anew."""
    try:
        with open(path, encoding="utf-8") as file:
            if file.read() != text:
                return
        os.unlink(path)
    except FileNotFoundError:
        pass


def tls_context(options):
    """Return how the third port speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.tls_certificate)
    if options.tls_max == "1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if options.tls_client_ca:
        context.load_verify_locations(options.tls_client_ca)
        context.verify_mode = (ssl.CERT_REQUIRED if options.tls_client == "required"
                               else ssl.CERT_OPTIONAL)
    return context


class Listeners:
    """The ports and the connections to them."""

    def __init__(self, app):
        self.app = app
        self.connections = {}
        self.count = 0

    async def open(self, name, port, tls=None):
        """Listen on a port; return the server and the port it got."""
        async def accept(reader, writer):
            await self.serve(name, reader, writer)

        server = await asyncio.start_server(accept, self.app.options.host, port, limit=MAX_HEAD,
                                            backlog=1024, ssl=tls)
        return server, server.sockets[0].getsockname()[1]

    async def serve(self, name, reader, writer):
        """Serve one connection to its end."""
        journal = self.app.journal
        task = asyncio.current_task()
        self.connections[task] = writer
        self.count += 1
        journal.connections_open += 1
        connection = Connection(self.app, reader, writer, name, self.count)
        try:
            await connection.serve()
        except (ConnectionError, ssl.SSLError):
            pass
        except asyncio.CancelledError:
            # Only stopping cancels, and it has no use for a traceback.
            writer.transport.abort()
        finally:
            del self.connections[task]
            journal.connections_open -= 1
            if not writer.transport.is_closing():
                writer.close()

    async def stop(self):
        """Break all connections, also those that hang."""
        tasks = list(self.connections)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=0.5)


async def run(options):
    """Serve until a signal ends it."""
    app = App(options)
    listeners = Listeners(app)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    server, app.port = await listeners.open("main", options.port)
    other, app.other_port = await listeners.open("other", options.other_port)
    if options.tls_certificate:
        secure, app.tls_port = await listeners.open("main", 0, tls_context(options))
    files = {options.pid_file: f"{os.getpid()}\n", options.port_file: f"{app.port}\n"}
    files.pop(None, None)
    for path, text in files.items():
        write_atomically(path, text)
    if not options.port_file:
        print(f"http://{options.host}:{app.port}", flush=True)
    await stopping.wait()
    server.close()
    other.close()
    if options.tls_certificate:
        secure.close()
    await listeners.stop()
    app.journal.close()
    for path, text in files.items():
        remove_own(path, text)


def main():
    """Run the server."""
    try:
        asyncio.run(run(parse_arguments()))
    except OSError as error:
        sys.exit(f"server.py: {error}")


if __name__ == "__main__":
    main()
