"""Writes the tests and remote schemas of a checkout of JSON-Schema-Test-Suite as files for COPY.

usage: cases.py CHECKOUT DIRECTORY      makes DIRECTORY/cases and DIRECTORY/remotes
"""

import json
import pathlib
import sys

DIALECTS = {
    "draft4": "http://json-schema.org/draft-04/schema#",
    "draft6": "http://json-schema.org/draft-06/schema#",
    "draft7": "http://json-schema.org/draft-07/schema#",
    "draft2019-09": "https://json-schema.org/draft/2019-09/schema",
    "draft2020-12": "https://json-schema.org/draft/2020-12/schema",
}
# Where the suite says that its remotes are.
REMOTES = "http://localhost:1234/"


class Number(str):
    """A number as it is written: 1.0 is not 1 to all tests, and 1e400 is no float."""


def read(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file, parse_float=Number, parse_int=Number)


def write(value):
    """JSON text in ASCII, numbers as they were."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(write, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(json.dumps(key) + ": " + write(member) for key, member in value.items()) + "}"
    return json.dumps(value)


def line(*columns):
    """A line of COPY's text format."""
    escaped = (str(column).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n") for column in columns)
    return "\t".join(escaped) + "\n"


def kind(path):
    if path.parts[0] != "optional":
        return "required"
    return "format" if "format" in path.parts[1:-1] else "optional"


def cases(root, dialect):
    for path in sorted((root / "tests" / dialect).rglob("*.json")):
        relative = path.relative_to(root / "tests" / dialect)
        for group in read(path):
            schema = group["schema"]
            # What names no dialect has that of its directory.
            if isinstance(schema, dict) and "$schema" not in schema:
                schema = {"$schema": DIALECTS[dialect], **schema}
            for test in group["tests"]:
                yield line(dialect, kind(relative), relative, group["description"], test["description"],
                           write(schema), write(test["data"]), str(test["valid"]).lower())


def remotes(root):
    for path in sorted((root / "remotes").rglob("*.json")):
        relative = path.relative_to(root / "remotes")
        schema = read(path)
        # Dialects that are none of the five.
        named = schema.get("$schema", "") if isinstance(schema, dict) else ""
        if relative.parts[0] in ("draft3", "v1", "draft-next") or "draft-03" in named or "/next/" in named:
            continue
        yield line(REMOTES + relative.as_posix(), write(schema))


def main(root, directory):
    with open(directory / "cases", "w", encoding="ascii", errors="backslashreplace") as file:
        for dialect in DIALECTS:
            file.writelines(cases(root, dialect))
    with open(directory / "remotes", "w", encoding="ascii", errors="backslashreplace") as file:
        file.writelines(remotes(root))


main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
