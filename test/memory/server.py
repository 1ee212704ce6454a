"""A server of tiny pages that costs little, for many requests: server.py PORT_FILE.

/linked/NAME?page=K        records and a Link to the next page, PAGES pages in all
/numbered/NAME?page=K      records and the number of pages in X-Total-Pages
/cursor/NAME?after=TOKEN   {"data": records, "next": TOKEN}

with pages=N (default 100), and per page two records, of which every tenth page has one that no
schema allows and one that is no JSON.  Every 97th request is answered by 503; one that has the page's
ETag by 304, unless NAME is fresh.
"""
import asyncio
import os
import sys
from urllib.parse import parse_qs, urlsplit


class Connection(asyncio.Protocol):
    answered = 0

    def __init__(self):
        self.received = b''

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data
        while True:
            head, end, rest = self.received.partition(b'\r\n\r\n')
            if not end:
                return
            self.received = rest
            self.transport.write(answer(head))


def answer(head):
    lines = head.split(b'\r\n')
    Connection.answered += 1
    if Connection.answered % 97 == 0:
        return b'HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n'
    target = lines[0].split(b' ')[1].decode()
    parts = urlsplit(target)
    query = parse_qs(parts.query)
    kind, name = parts.path.split('/')[1:3]
    last = int(query.get('pages', ['100'])[0])
    page = int(query.get('page', query.get('after', ['1']))[0])
    etag = b'"%d-%s"' % (page, name.encode())
    for line in lines if name != 'fresh' else ():
        if line.lower().startswith(b'if-none-match:') and etag in line:
            return b'HTTP/1.1 304 Not Modified\r\nETag: %s\r\n%s\r\n' % (etag, links(kind, name, page, last))
    body = records(name, page)
    if kind == 'cursor':
        body = b'{"data":%s,"next":%s}' % (body, b'"%d"' % (page + 1) if page < last else b'null')
    return b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag: %s\r\nContent-Length: %d\r\n%s\r\n%s' % (
        etag, len(body), links(kind, name, page, last), body)


def links(kind, name, page, last):
    if kind == 'numbered':
        return b'X-Total-Pages: %d\r\n' % last
    if kind == 'linked' and page < last:
        return b'Link: </linked/%s?pages=%d&page=%d>; rel="next"\r\n' % (name.encode(), last, page + 1)
    return b''


def records(name, page):
    value = b'"%s value of page %d"' % (name.encode(), page)
    if page % 10 == 5:
        return b'[{"id":%d,"value":%d},{"id":%d "value":%s}]' % (2 * page, page, 2 * page + 1, value)
    return b'[{"id":%d,"value":%s},{"id":%d,"value":%s}]' % (2 * page, value, 2 * page + 1, value)


async def main():
    server = await asyncio.get_running_loop().create_server(Connection, '127.0.0.1', 0, backlog=1000)
    with open(sys.argv[1] + '.new', 'w') as file:
        file.write(str(server.sockets[0].getsockname()[1]))
    os.rename(sys.argv[1] + '.new', sys.argv[1])
    await server.serve_forever()


asyncio.run(main())
