"""Faults on the wire: connections that break, hang, crawl or flood."""

import asyncio
import gzip
import struct
import zlib

from faults import fault

BLOCK = 65536


def sent_by(context, sender, base=None):
    """Return the normal answer, written by a coroutine function (connection, response)."""
    response = base or context.base()

    async def send(connection, request, response):
        return bool(await sender(connection, response))

    response.sender = send
    return response


def half(context, response):
    """Return the part of the body to send: after_bytes=N, by default half of it."""
    return response.body[:context.number("after_bytes", len(response.body) // 2)]


async def begin(connection, response, length=None, more=()):
    """Write the head."""
    connection.writer.write(connection.head(response, length, more))
    await connection.writer.drain()


def chunk(data):
    """Return a chunk of the chunked coding; of nothing, the last one."""
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = ("Transfer-Encoding", "chunked")
CLOSE = ("Connection", "close")


@fault
def delay(context):
    """The normal answer, ms=1000 later."""
    response = context.base()
    response.delay = context.number("ms", 1000) / 1000
    return response


@fault
def reset(context):
    """RST in the middle of the body: after_bytes=N."""
    async def send(connection, response):
        await begin(connection, response, len(response.body))
        await connection.write(half(context, response))
        # Let the client read what arrived before the RST throws it away.
        await asyncio.sleep(0.05)
        connection.reset()

    return sent_by(context, send)


@fault
def reset_before_answer(context):
    """RST instead of an answer."""
    async def send(connection, response):
        connection.reset()

    return sent_by(context, send)


@fault
def close_before_answer(context):
    """The connection ends without a byte."""
    async def send(connection, response):
        pass

    return sent_by(context, send)


@fault
def close_mid_body(context):
    """An orderly end in the middle of the body: after_bytes=N, chunked=1."""
    async def send(connection, response):
        part = half(context, response)
        if context.number("chunked", 0):
            await begin(connection, response, None, [CHUNKED])
            await connection.write(chunk(part))
        else:
            await begin(connection, response, len(response.body))
            await connection.write(part)

    return sent_by(context, send)


@fault
def close_mid_head(context):
    """An orderly end in the middle of the headers."""
    async def send(connection, response):
        connection.writer.write(connection.head(response, len(response.body))[:40])
        await connection.writer.drain()

    return sent_by(context, send)


@fault
def truncated_gzip(context):
    """A compressed body that ends too early, though HTTP finds it complete."""
    response = context.base()
    packed = gzip.compress(response.body, mtime=0)
    response.body = packed[:context.number("after_bytes", len(packed) // 2)]
    response.set_header("Content-Encoding", "gzip")
    return response


@fault
def corrupt_gzip(context):
    """A compressed body with a wrong check sum."""
    response = context.base()
    packed = gzip.compress(response.body, mtime=0)
    response.body = packed[:-8] + b"\xde\xad\xbe\xef" + packed[-4:]
    response.set_header("Content-Encoding", "gzip")
    return response


@fault
def fake_gzip(context):
    """Content-Encoding: gzip on a body that is not compressed."""
    response = context.base()
    response.set_header("Content-Encoding", "gzip")
    return response


@fault
def unknown_encoding(context):
    """Content-Encoding: encoding=zork."""
    response = context.base()
    response.set_header("Content-Encoding", context.text("encoding", "zork"))
    return response


@fault
def slow_bytes(context):
    """bytes_per_second=10 of the body; head=1 crawls from the status line on."""
    async def send(connection, response):
        speed = max(0.01, context.real("bytes_per_second", 10))
        step = max(1, int(speed / 20))
        data = response.body
        head = connection.head(response, len(data))
        if context.number("head", 0):
            data = head + data
        else:
            connection.writer.write(head)
        for position in range(0, len(data), step):
            await connection.write(data[position:position + step])
            await asyncio.sleep(step / speed)
        return True

    return sent_by(context, send)


@fault
def wrong_content_length(context):
    """mode=long announces by=10 bytes more than come, mode=short that many less."""
    async def send(connection, response):
        by = context.number("by", 10)
        too_long = context.text("mode", "long") == "long"
        length = len(response.body) + by if too_long else max(0, len(response.body) - by)
        await begin(connection, response, length)
        await connection.write(response.body)

    return sent_by(context, send)


@fault
def no_content_length(context):
    """Neither length nor chunks: the end of the connection ends the body, as HTTP allows."""
    async def send(connection, response):
        await begin(connection, response, None, [CLOSE])
        await connection.write(response.body)

    return sent_by(context, send)


@fault
def chunked(context):
    """The normal answer in chunks of size=1000, as HTTP allows."""
    async def send(connection, response):
        size = max(1, context.number("size", 1000))
        await begin(connection, response, None, [CHUNKED])
        for position in range(0, len(response.body), size):
            await connection.write(chunk(response.body[position:position + size]))
        await connection.write(chunk(b""))
        return True

    return sent_by(context, send)


@fault
def bad_chunk(context):
    """The chunked coding, broken."""
    async def send(connection, response):
        await begin(connection, response, None, [CHUNKED])
        await connection.write(chunk(half(context, response)) + b"zork\r\n")

    return sent_by(context, send)


@fault
def garbage(context):
    """Bytes that are no HTTP."""
    async def send(connection, response):
        await connection.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n" * 20)

    return sent_by(context, send)


@fault
def huge_header(context):
    """A header of kilobytes=1024."""
    response = context.base()
    response.set_header("X-Huge", "x" * (context.number("kilobytes", 1024) << 10))
    return response


@fault
def hang(context):
    """Accept, read, never answer."""
    async def send(connection, response):
        await connection.wait_gone()

    return sent_by(context, send)


@fault
def hang_mid_body(context):
    """Half of the body (after_bytes=N), then nothing, with the connection open."""
    async def send(connection, response):
        await begin(connection, response, len(response.body))
        await connection.write(half(context, response))
        await connection.wait_gone()

    return sent_by(context, send)


@fault
def huge_body(context):
    """A valid array of megabytes=100 of records, in chunks; content_length=1 announces it."""
    async def send(connection, response):
        total = max(1, context.number("megabytes", 100)) << 20
        record = b'{"id":%012d,"value":"' + b"x" * 960 + b'"}'
        size = len(record % 0) + 1
        count = total // size
        announced = context.number("content_length", 0)
        # "[" in front and "," between make as many bytes as there are records; then "]".
        if announced:
            await begin(connection, response, count * size + 1)
        else:
            await begin(connection, response, None, [CHUNKED])
        per_block = BLOCK // size
        for start in range(0, count, per_block):
            block = b"".join(
                (b"," if id else b"[") + (record % (10 ** 11 + id))
                for id in range(start, min(count, start + per_block)))
            await connection.write(block if announced else chunk(block))
        await connection.write(b"]" if announced else chunk(b"]") + chunk(b""))
        return True

    return sent_by(context, send)


@fault
def gzip_bomb(context):
    """A valid array of megabytes=1000 that travels as about a thousandth of it."""
    async def send(connection, response):
        pieces = max(1, context.number("megabytes", 1000))
        plain = b",0" * (1 << 19)
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        first = packer.compress(b"[0") + packer.flush(zlib.Z_FULL_FLUSH)
        # After a full flush a block depends on nothing before it, so it can be repeated.
        block = packer.compress(plain) + packer.flush(zlib.Z_FULL_FLUSH)
        last = packer.compress(b"]") + packer.flush(zlib.Z_FINISH)
        check = zlib.crc32(b"[0")
        await begin(connection, response, None, [("Content-Encoding", "gzip"), CHUNKED])
        await connection.write(chunk(b"\x1f\x8b\x08\0\0\0\0\0\x02\xff" + first))
        for _ in range(pieces):
            check = zlib.crc32(plain, check)
            await connection.write(chunk(block))
            await asyncio.sleep(0)
        size = 2 + len(plain) * pieces + 1
        trailer = struct.pack("<II", zlib.crc32(b"]", check), size & 0xFFFFFFFF)
        await connection.write(chunk(last + trailer) + chunk(b""))
        return True

    return sent_by(context, send)
