"""Prints documents for a JSON parser, one a line in hexadecimal: json_documents.py SEED COUNT.

The written ones come first, each a way in which parsers have been wrong.  Then random ones: most are
well formed, with every freedom of number, escape, white space and key order; the rest are these with
bits flipped, bytes replaced, ends cut off and parts of others pasted in.
"""
import random
import sys

MAX_DEPTH = 5000        # of src/extract/json/json_tape.h

# What the grammar allows or forbids at one place each.
WRITTEN = [
    # scalars at the root, and nothing
    '', ' ', 'null', ' true ', 'false\n', '"a"', '""', '0', '-0', '1', '\t-1.5e3\r', 'nul', 'nulll', 'True', 'NULL', 'undefined', 'NaN', 'Infinity', '-Infinity', "'a'",
    'null null', '1 2', '"a""b"', '[]]', '{}}', '[1]x', '\ufeff[]', '[]\ufeff', '\u00a0[]', '\x0b1', '\x0c1', '/* */1', '1 // one', '#',
    # numbers
    '01', '-01', '00', '-', '+1', '.5', '-.5', '1.', '1.e1', '1e', '1e+', '1e-', '1E5', '1e05', '1e+5', '1e-05', '0e0', '-0e0', '-0.0', '0.0', '0.00000', '1.50', '100', '10000',
    '1_000', '0x10', '1a', '1e5x', '1.5.5', '1ee5', '--1', '1-2', '- 1', '0.5-', '1e5.5', '\u0661', '1\u0661', '9999', '99990000', '0.0001', '0.00010', '0.9999',
    '12345678901234567', '123456789012345678', '1234567890123456789', '9999999999999999999', '18446744073709551615', '18446744073709551616', '12345678901234567890', '123456789012.3456',
    '1234567890123.456', '1234567890123456.7', '-9223372036854775808', '0.1234567890123456', '0.12345678901234567', '0.000000000000001', '0.0000000000000001',
    '1e131071', '1e131072', '9.9e131071', '-1e131071', '1e-16383', '1e-16384', '0e-16383', '0e-16384', '0.0e-16383', '0e131072', '0e1073741822', '0e1073741823', '0e1073741824', '0e-1073741824',
    '1e999999999999999999999', '1e-999999999999999999999', '0e999999999999999999999', '1e2147483648', '1e-2147483648', '1e18446744073709551617',
    '1e63', '1e64', '1e255', '1e256', '1e257', '1e-252', '1e-256', '1e-260', '123e-63', '123e-64', '1.5e-62', '1.5e-63', '5e-324', '1.7976931348623157e308', '100e-2', '0.001e3', '0.00e2',
    '1' + '0' * 131071, '1' + '0' * 131072, '0.' + '0' * 16382 + '1', '0.' + '0' * 16383 + '1', '0.' + '0' * 20000 + 'e20000', '1' + '0' * 200000 + 'e-190000',
    '7' * 15999, '7' * 16001, '7' * 131072, '7' * 131073, '0.' + '3' * 16383, '0.' + '3' * 16384, '1' + '0' * 140000 + 'e-9000', '0.' + '0' * 140000 + '1e140000',
    # strings
    '"', '"a', '"\\', '"\\"', '"\\u', '"\\u1', '"\\u12', '"\\u123', '"\\u1234', '"\\u123"', '"\\u12g4"', '"\\U0041"', '"\\x41"', '"\\a"', '"\\\'"', '"\\0"', '"\\ "', '"\\\n"', '"\\\u00e9"', '"\\"x',
    '"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\u0041\\u00e9\\u20ac\\uFFFF"', '"\\u0000"', '"a\\u0000b"', '"\\u0001\\u001f"', '"\\u007f\\u0080\\u07ff\\u0800\\uffff"',
    '"\\ud83d\\ude00"', '"\\ud800\\udc00"', '"\\udbff\\udfff"', '"\\ud83d"', '"\\ude00"', '"\\ud83dx"', '"\\ud83d\\n"', '"\\ud83d\\ud83d"', '"\\ud83d\\u0041"', '"\\ud83d\\"', '"\\ud83d\\u', '"\\ud83d\\ude0"',
    '"\\ud83d\\u0000"', '"\\ud83d\\\\ude00"', '"\\uD83D\\uDE00\\uD83D"', '"\\ude00\\ud83d"', '"\x7f"', '"\u00e9\u20ac\U0001f600"', '"\u2028\u2029"', '"\ufdd0\ufffe\U0010ffff"',
    *('"%s%s"' % ('x' * n, c) for n in (0, 14, 15, 16, 17, 31, 32, 33) for c in ('\n', '\t', '\x1f', '\\n', '\\', '\u00e9', '')),
    *('"%s' % ('y' * n) for n in (14, 15, 16, 17, 31, 32)),
    # arrays, objects
    '[', '[1', '[1,', '[1,]', '[,1]', '[1,,2]', '[1 2]', '[1;2]', '[1:2]', '[}', ']', ',', ':', '[[]', '[[]]', '[ ]', '[\n1\t,\r2 ]', '[""]', '["a",]', '[a]', '[null,true,false]', '[nul]', '[1}',
    '{', '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":1,}', '{,"a":1}', '{"a"}', '{"a",1}', '{"a" 1}', '{"a"::1}', '{"a":1:2}', '{"a":1 "b":2}', '{a:1}', "{'a':1}", '{1:1}', '{null:1}', '{[]:1}', '{"a":1]', '}', '{ }',
    '{"a":}', '{"a":,}', '{"":0}', '{"":{"":[]}}', '{"a":1,"a":2}', '{"a":{"b":1},"a":[]}', '{"a":1,"b":2,"a":3,"b":4,"c":5}', '{"b":1,"a":2}', '{"aa":1,"b":2}', '{"\\u0061":1,"a":2}', '{"a":1,"\\u0061":2}',
    '{"a":1e400000,"a":1}', '{"a":"\\u0000","a":1}', '{"\u00e9":1,"zz":2,"z":3}', '{"a\\u0000":1}', '{"\\ud800":1}', '[1e400000 x', '[1e400000,"\\u0000"]', '{"a" : [ { "b" : { } } ] }',
    '[' * 1000, '[' * 100000, '{"a":' * 1000, '[' * 1000 + ']' * 1000, '[' * MAX_DEPTH + ']' * MAX_DEPTH, '{"a":' * MAX_DEPTH + '1' + '}' * MAX_DEPTH, '[' * (MAX_DEPTH + 1) + ']' * (MAX_DEPTH + 1),
    '[{"a":' * (MAX_DEPTH // 2) + 'null' + '}]' * (MAX_DEPTH // 2), '[' * 200000 + ']' * 200000, '[[1,2],' * 2000 + '0' + ']' * 2000,
]

# Bytes that are no UTF-8, and such as are at the edge of it.
WRITTEN_BYTES = [
    b'"\xff"', b'"\xc0\x80"', b'"\xc1\xbf"', b'"\xc2"', b'"\xc2\x80"', b'"\xe0\x9f\xbf"', b'"\xe0\xa0\x80"', b'"\xed\x9f\xbf"', b'"\xed\xa0\x80"', b'"\xed\xb0\x80\xed\xa0\x80"', b'"\xef\xbf\xbf"',
    b'"\xf0\x8f\xbf\xbf"', b'"\xf0\x90\x80\x80"', b'"\xf4\x8f\xbf\xbf"', b'"\xf4\x90\x80\x80"', b'"\xf5\x80\x80\x80"', b'"\x80"', b'"\xbf\xbf"', b'"\xe2\x82"', b'"\xf0\x9f\x98"', b'\xc3', b'"\xc3', b'[\xc3\xa9]',
    b'"\xc3(\xff\xed\xa0\x80"', b'\x00', b'"\x00"', b'[1]\x00', b'{"a\x00":1}', b'"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\x00"', b'"\\u0041\xff"', b'{"\xff":1}', b'nul\xff', b'1\xc3\xa9', b'"\xc3\xa9\\ud83d"', b'[]\xff', b'"\\\xc3\xa9"',
]

rng = random.Random(int(sys.argv[1]))
count = int(sys.argv[2])

SPACES = ['', '', '', '', ' ', '\n', '\t', '\r\n', '  ', '\n    ']
SAMPLES = ['a', 'b', 'z', '0', ' ', '/', "'", '-', '\x7f', '\u00e9', '\u07ff', '\u0800', '\u20ac', '\uffff', '\U0001f600', '\U0010ffff', '\u0301', '\u0663']
WORDS = ['id', 'url', 'name', 'state', 'title', 'created_at', 'user', 'labels', 'body', 'node_id', '']
# Shapes that come again, as the records of a source do; some past the stride of JSONB's offsets, one past what is remembered.
SHAPES = [[rng.choice(WORDS) + '_' * rng.randrange(3) + str(i) for i in rng.sample(range(n), n)] for n in (1, 2, 3, 5, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 128, 129, 200)]


def space():
    return rng.choice(SPACES)


def digits(low, high):
    return ''.join(rng.choice('0123456789') for _ in range(rng.randint(low, high)))


def zeroes(text):
    """The digits with a part of them made 0: at either end, or in between."""
    start, end = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
    return text[:start] + '0' * (end - start) + text[end:] if rng.random() < 0.5 else text


def number():
    size = rng.choice([1, 1, 2, 4, 5, 8, 9, 12, 17, 18, 19, 20, 40])
    whole = zeroes(digits(1, size)).lstrip('0') or '0'
    text = rng.choice(['', '', '-']) + whole
    if rng.random() < 0.4:
        text += '.' + (zeroes(digits(1, rng.choice([1, 2, 3, 4, 5, 8, 16, 17, 30, 70]))) or '0')
    if rng.random() < 0.2:
        exponent = rng.choice([0, 1, 2, 3, 4, 5, 8, 20, 60, 63, 64, 65, 250, 256, 260, 300, 16380, 16383, 16384, 131060, 131071, 131072, 140000, 10 ** 9, 10 ** 20])
        text += rng.choice('eE') + rng.choice(['', '+', '-']) + '0' * rng.choice([0, 0, 0, 3]) + str(exponent)
    return text


def string(longest=None):
    parts = []
    for _ in range(rng.choice([0, 1, 2, 3, 5, 8, 13, 30]) if longest is None else longest):
        kind = rng.random()
        if kind < 0.7:
            parts.append('abcdefghijklmnopqrstuvwxyz'[rng.randrange(26)] * rng.choice([1, 1, 1, 3, 7, 15, 16, 17]))
        elif kind < 0.85:
            parts.append(rng.choice(SAMPLES))
        elif kind < 0.93:
            parts.append('\\' + rng.choice('"\\/bfnrt'))
        elif kind < 0.97:
            parts.append(rng.choice(['\\u%04x', '\\u%04X']) % rng.choice([1, 0x41, 0x7f, 0x80, 0xe9, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xfffd, 0xffff]))
        elif kind < 0.99:
            parts.append('\\ud%03x\\ud%03x' % (rng.randint(0x800, 0xbff), rng.randint(0xc00, 0xfff)))
        else:
            parts.append(rng.choice(['\\u0000', '\\ud800', '\\udc00', '\\uzzzz', '\\x', '\n', '\x1f']))
    return '"' + ''.join(parts) + '"'


def keys():
    if rng.random() < 0.5:
        chosen = list(rng.choice(SHAPES[:10] if rng.random() < 0.8 else SHAPES))
        if rng.random() < 0.1:
            chosen[rng.randrange(len(chosen))] = rng.choice(WORDS)
        if rng.random() < 0.1:
            rng.shuffle(chosen)
        if rng.random() < 0.1:
            chosen += rng.choices(chosen, k=2)
        return ['"%s"' % key for key in chosen]
    return [string(rng.choice([0, 1, 1, 2])) for _ in range(rng.choice([0, 1, 2, 3, 8]))]


def value(depth, scalars=0.5):
    kind = rng.random()
    if depth <= 0 or kind < scalars:
        return rng.choice([number, number, string, string, lambda: rng.choice(['null', 'true', 'false'])])()
    if kind < (1 + scalars) / 2:
        elements = [value(depth - 1 - rng.randrange(3)) for _ in range(rng.choice([0, 1, 2, 3, 5, 31, 32, 33, 65] if rng.random() < 0.2 else [0, 1, 2, 3]))]
        return '[' + space() + (space() + ',' + space()).join(elements) + space() + ']'
    names = keys()
    members = [name + space() + ':' + space() + value(depth - 1 - rng.randrange(3) if len(names) < 20 else 0) for name in names]
    return '{' + space() + (space() + ',' + space()).join(members) + space() + '}'


def broken(document, other):
    data = bytearray(document)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = rng.choice(b'"\\{}[]:,0-.eE \n\tu\x00\x1f\x80\xc3\xff/tfn')
        elif kind == 2:
            del data[at:at + rng.choice([1, 1, 2, 5])]
        elif kind == 3:
            data[at:at] = rng.choice([b'"', b'\\', b',', b':', b'{', b'}', b'[', b']', b'1', b'-', b'\\u0000', b'\\ud800', b'null', b'1e9', b' ', b'\x00', b'\xed\xa0\x80'])
        elif kind == 4:
            del data[at:]
        elif kind == 5:
            start = rng.randrange(len(other) + 1)
            data[at:] = other[start:]
        else:
            start = rng.randrange(len(other) + 1)
            data[at:at] = other[start:start + rng.choice([1, 3, 10, 40])]
    return bytes(data)


def main():
    documents = [text.encode('utf-8', 'surrogatepass') for text in WRITTEN] + WRITTEN_BYTES
    recent = [b'[1,"a"]']
    while len(documents) < count:
        document = value(rng.choice([0, 2, 2, 4, 4, 4, 6]), 0.1).encode()
        if rng.random() < 0.4:
            documents.append(broken(document, rng.choice(recent)))
        else:
            documents.append(document)
        recent = recent[-20:] + [document]
    sys.stdout.write(''.join(document.hex() + '\n' for document in documents[:count]))


main()
