"""Files of records: /files/{name}, as NDJSON, CSV or JSON, compressed, in any charset."""

import gzip
import json

from dice import Dice
from message import BadRequest, Response, dump
from timeline import END, START, iso

CONTENT_TYPES = {"ndjson": "application/x-ndjson", "csv": "text/csv", "json": "application/json"}
LINE_ENDS = {"lf": "\n", "crlf": "\r\n", "cr": "\r"}

#: What tells a reader of CSV from a split at commas; and bytes that end like ASCII: the
#: second byte of 表 is a backslash in Shift_JIS, that of 功 one in Big5.
TEXTS = {
    "plain": ["plain", "two words", " blanks around ", "comma, comma", 'quo"ted', '"', "semi;colon",
              "first\nsecond", "a\r\nb", "back\\slash", "\\.", "NULL", "tab\there", "'", "{}", ""],
    "latin": ["Zoë", "naïve, ça", "Ærø ÷ ß", 'é"è', "£5\n¥6"],
    "western": ["5 €", "“quoted”, …", "Œuvre\n™"],
    "japanese": ["日本語", "表示, ソート", "表\\", "ソ\n能", "｡ﾊﾝｶｸ"],
    "chinese": ["中文", "功能, 許可", "功\\n", "蓋"],
    "any": ["😀 emoji", "Zoë 日本語", "\u2028", "e\u0301"],
}


def records(seed, name, count, texts):
    """Return records: an id, a text with traps, a number, a time or null."""
    pool = TEXTS["plain"] + (TEXTS[texts] if texts != "plain" else [])
    made = []
    for id in range(1, count + 1):
        dice = Dice(seed, "files", name, id)
        made.append({
            "id": id,
            "text": pool[id % len(pool)],
            "amount": f"{dice.below(100000)}.{dice.between(10, 99)}",
            "closed_at": iso(START + dice.below(END - START)) if dice.chance(0.5) else None,
        })
    return made


def csv_text(rows, delimiter, quote, null, header, line_end):
    """Return rows as COPY … (FORMAT csv) writes them, but that all texts are quoted."""
    def field(value):
        if value is None:
            return null
        if isinstance(value, int):
            return str(value)
        return quote + value.replace(quote, quote * 2) + quote

    lines = [delimiter.join(rows[0])] if header and rows else []
    lines += [delimiter.join(field(value) for value in row.values()) for row in rows]
    return "".join(line + line_end for line in lines)


def zstd(data):
    """Return a zstd frame of raw blocks, and of RLE blocks for what repeats one byte."""
    size = 128 << 10
    blocks = [data[start:start + size] for start in range(0, len(data), size)] or [b""]
    frame = [b"\x28\xb5\x2f\xfd\xa0", len(data).to_bytes(4, "little")]
    for number, block in enumerate(blocks):
        repeats = len(block) > 1 and block == block[:1] * len(block)
        head = (len(block) << 3) | (2 if repeats else 0) | (number == len(blocks) - 1)
        frame.append(head.to_bytes(3, "little") + (block[:1] if repeats else block))
    return b"".join(frame)


def compress(data, compression):
    """Return compressed bytes; *_parts has two members or frames."""
    make = {"gzip": lambda part: gzip.compress(part, 1, mtime=0), "zstd": zstd}
    kind, _, parts = compression.partition("_")
    if kind not in make or parts not in ("", "parts"):
        raise BadRequest(f"no such compression: {compression}")
    if not parts:
        return make[kind](data)
    half = len(data) // 2
    return make[kind](data[:half]) + make[kind](data[half:])


def route(request, name, seed):
    """GET /files/{name}: see the README for the parameters."""
    query = request.query
    kind = query.get("format", "ndjson")
    line_end = LINE_ENDS.get(query.get("line_end", "lf"))
    texts = query.get("texts", "plain")
    if kind not in CONTENT_TYPES or line_end is None or texts not in TEXTS:
        raise BadRequest("no such format, line_end or texts")
    rows = records(seed, name, request.number("records", 100), texts)
    if request.number("padding", 0):
        rows.append({"id": len(rows) + 1, "text": "0" * (request.number("padding", 0) << 20),
                     "amount": "0", "closed_at": None})
    if kind == "csv":
        text = csv_text(rows, query.get("delimiter", ","), query.get("quote", '"'),
                        query.get("null", ""), query.get("header", "1") == "1", line_end)
    elif kind == "ndjson":
        text = "".join(json.dumps(row, ensure_ascii=False) + line_end for row in rows)
    else:
        text = dump(rows).decode()
    if "insert" in query:
        # a line of the caller's, after the one of that number
        after = request.number("after", 1)
        lines = text.split(line_end)
        text = line_end.join(lines[:after] + [query["insert"]] + lines[after:])
    if query.get("final", "1") == "0":
        text = text.removesuffix(line_end)
    charset = query.get("charset", "utf-8")
    try:
        body = (("\ufeff" if "bom" in query else "") + text).encode(charset)
    except (LookupError, UnicodeEncodeError) as error:
        raise BadRequest(str(error)) from error
    if "compression" in query:
        body = compress(body, query["compression"])
    body = body[:len(body) - request.number("cut", 0)] + bytes.fromhex(query.get("append", ""))
    said = query.get("say", "charset=" + charset if charset != "utf-8" else "")
    content_type = query.get("content_type", CONTENT_TYPES[kind]) + (f"; {said}" if said else "")
    return Response(body=body, content_type=content_type, etag=True)
