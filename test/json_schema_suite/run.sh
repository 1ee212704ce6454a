#!/bin/sh
# The public JSON-Schema-Test-Suite, all tests of five dialects, against a server with the extension.
#
#   test/json_schema_suite/run.sh [CHECKOUT]     needs psql (PGHOST, PGDATABASE, ...) and python3
#
# CHECKOUT is a clone of the suite; without one its copy in the source distribution of Python's
# jsonschema is taken, which pip downloads.  Each test is judged twice, as jsonb and as text, which must
# agree but for \u0000.  Prints how many pass, each that fails, and the wall time.  Fails unless all
# required tests pass.  Nothing of the database is left changed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
suite=${1:-}
if [ -z "$suite" ]; then
    python3 -m pip download --quiet --no-deps --no-binary jsonschema --dest "$work" jsonschema
    tar -xzf "$work"/jsonschema-*.tar.gz -C "$work"
    suite=$(echo "$work"/jsonschema-*/json)
fi
if ! [ -d "$suite/tests/draft2020-12" ]; then
    echo "$suite is no checkout of JSON-Schema-Test-Suite" >&2
    exit 1
fi
python3 "$here/cases.py" "$suite" "$work"
cd "$work" && psql -XAtq -v ON_ERROR_STOP=1 -f "$here/suite.sql"
