"""Faults inside an answer that HTTP finds nothing wrong with.

All but the last few break one record (record=N, by default the middle one) of the page that
would have been answered and keep the rest, the Link header included.  A page without
records gets one.
"""

import json

from faults import fault
from message import BadRequest, Response, dump

TEXT_FIELDS = ("title", "value", "body", "name", "message")
NUMBER_FIELDS = ("comments", "userId", "amount", "value")
MARK = "\ue000mark\ue000"
MARK_BYTES = dump(MARK)


def break_record(context, change):
    """Return the page with one record's bytes changed by change(record) -> bytes."""
    response = context.base()
    try:
        page = json.loads(response.body)
    except ValueError as error:
        raise BadRequest(f"nothing to break: the answer is no JSON: {error}") from error
    holder, key = None, None
    records = page
    if isinstance(page, dict):
        key = next((name for name, value in page.items() if isinstance(value, list)), None)
        holder, records = page, page[key] if key else [page]
    records = records or [{"id": 1, "value": "made up"}]
    position = context.number("record", len(records) // 2) % len(records)
    texts = [change(record) if here == position else dump(record)
             for here, record in enumerate(records)]
    if holder is not None and key is None:
        response.body = texts[0]
        return response
    listed = b"[" + b",".join(texts) + b"]"
    if holder is not None:
        listed = dump(holder | {key: MARK}).replace(MARK_BYTES, listed)
    response.body = listed
    return response


def spoil(context, fields, value, inside=None):
    """Return the page with one field of a record given a value json.dumps would not write.

    "field" names it; by default it is the first of the usual ones that the record has, and
    it is added if there is none.  "inside" goes into the middle of the field's own text.
    """
    def change(record):
        if not isinstance(record, dict):
            record = {"value": record}
        name = context.text("field") or next((name for name in fields if name in record),
                                             "value")
        text = value
        if inside is not None:
            old = record.get(name)
            old = old if isinstance(old, str) else "spoiled"
            # Cut after a character, and not inside of an escape, so before encoding.
            half = len(old) // 2
            text = dump(old[:half])[:-1] + inside + dump(old[half:])[1:]
        return dump(record | {name: MARK}).replace(MARK_BYTES, text)

    return break_record(context, change)


@fault
def invalid_json_page(context):
    """The envelope is broken: no JSON at all."""
    response = context.base()
    response.body = response.body[:-1] + b",,}"
    return response


@fault
def truncated_json(context):
    """The JSON ends in the middle, though HTTP says it is complete."""
    response = context.base()
    response.body = response.body[:max(1, len(response.body) // 2)]
    return response


@fault
def invalid_json_record(context):
    """One record is malformed: style=missing_colon|bare_word|trailing_comma|unbalanced."""
    style = context.text("style", "missing_colon")

    def change(record):
        text = dump(record)
        if style == "bare_word":
            return text[:-1] + b',"oops":undefined}'
        if style == "trailing_comma":
            return text[:-1] + b",}"
        if style == "unbalanced":
            return text[:-1]
        return text.replace(b":", b" ", 1)

    return break_record(context, change)


@fault
def record_not_object(context):
    """One record is valid JSON but no object: json=..., by default a string."""
    return break_record(context, lambda record: context.text("json", '"no object"').encode())


@fault
def missing_field(context):
    """One record lacks a field: field=id."""
    name = context.text("field", "id")
    return break_record(context, lambda record: dump(
        {key: value for key, value in record.items() if key != name}))


@fault
def set_field(context):
    """One record has a field set to any text: field=..., json=... (default null)."""
    return spoil(context, ("id",), context.text("json", "null").encode())


@fault
def duplicate_record(context):
    """One record appears twice in the page."""
    return break_record(context, lambda record: dump(record) + b"," + dump(record))


@fault
def duplicate_key(context):
    """One record has a key twice: field=id; the second value is json=... (default 0)."""
    name = context.text("field", "id")
    value = context.text("json", "0").encode()
    return break_record(
        context, lambda record: dump(record)[:-1] + b"," + dump(name) + b":" + value + b"}")


@fault
def nul_escape(context):
    """A string with a NUL written as \\u0000: valid JSON, impossible in jsonb."""
    return spoil(context, TEXT_FIELDS, None, inside=b"\\u0000")


@fault
def lone_surrogate(context):
    """A string with half of a surrogate pair; escape=d800 (or dc00)."""
    return spoil(context, TEXT_FIELDS, None,
                 inside=b"\\u" + context.text("escape", "d800").encode())


@fault
def invalid_utf8(context):
    """A string with bytes that are no UTF-8."""
    return spoil(context, TEXT_FIELDS, None, inside=b"\xc3\x28\xff\xed\xa0\x80")


@fault
def raw_nul(context):
    """A string with a NUL byte."""
    return spoil(context, TEXT_FIELDS, None, inside=b"\x00")


@fault
def raw_control(context):
    """A string with an unescaped line break."""
    return spoil(context, TEXT_FIELDS, None, inside=b"\n\t")


@fault
def big_integer(context):
    """An integer of 2^power (70)."""
    return spoil(context, NUMBER_FIELDS, str(1 << context.number("power", 70)).encode())


@fault
def huge_number(context):
    """The number 1e400000: valid JSON, more than numeric holds."""
    return spoil(context, NUMBER_FIELDS, context.text("number", "1e400000").encode())


@fault
def not_a_number(context):
    """NaN: no JSON, though many libraries write it."""
    return spoil(context, NUMBER_FIELDS, b"NaN")


@fault
def deep_nesting(context):
    """A field "deep" of depth=10000 arrays."""
    depth = context.number("depth", 10_000)
    return break_record(
        context, lambda record: dump(record)[:-1] + b',"deep":' + b"[" * depth + b"]" * depth
        + b"}")


@fault
def long_string(context):
    """A string of megabytes=8."""
    return spoil(context, TEXT_FIELDS,
                 b'"' + b"x" * (context.number("megabytes", 8) << 20) + b'"')


@fault
def many_fields(context):
    """One record with fields=5000 more, of names that no schema knows."""
    more = {f"field_{position}": position for position in range(context.number("fields", 5000))}
    return break_record(context, lambda record: dump(record | more))


@fault
def hostile_names(context):
    """One record with names that break naive SQL."""
    more = {name: name for name in (
        "select", "Robert'); drop table students;--", 'quo"ted', "back\\slash", "", " ",
        "ID", "Id", "x" * 200, "x" * 201, "émoji 😬", "a.b", "a__b", "$1", "%s", "new\nline")}
    return break_record(context, lambda record: dump(more | record))


@fault
def empty_body(context):
    """200 and nothing."""
    response = context.base()
    response.body = b""
    return response


@fault
def white_space_body(context):
    """200 and white space."""
    response = context.base()
    response.body = b" \r\n\t "
    return response


@fault
def empty_page(context):
    """200 and no records, though the Link header goes on."""
    response = context.base()
    response.body = b"[]" if response.body[:1] == b"[" else b"{}"
    return response


@fault
def null_body(context):
    """200 and null."""
    response = context.base()
    response.body = b"null"
    return response


@fault
def html_instead_of_json(context):
    """200 and the page of a captive portal; content_type=... can lie."""
    return Response(200, b"<!DOCTYPE html>\n<html><head><title>Maintenance</title></head>"
                         b"<body><h1>We'll be back soon</h1></body></html>\n",
                    content_type=context.text("content_type", "text/html; charset=utf-8"))


@fault
def error_object_200(context):
    """200 and {"message":"error"}."""
    return Response(200, b'{"message":"error"}')


@fault
def utf16(context):
    """The page in UTF-16 with its byte order mark."""
    response = context.base()
    response.body = b"\xff\xfe" + response.body.decode().encode("utf-16-le")
    response.set_header("Content-Type", "application/json; charset=utf-16")
    return response


@fault
def latin1(context):
    """The page in ISO 8859-1, and the header says so."""
    response = context.base()
    response.body = response.body.decode().encode("latin-1", "replace")
    response.set_header("Content-Type", "application/json; charset=iso-8859-1")
    return response


@fault
def bom(context):
    """The page after a byte order mark in UTF-8."""
    response = context.base()
    response.body = b"\xef\xbb\xbf" + response.body
    return response
