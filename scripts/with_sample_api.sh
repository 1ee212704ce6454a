#!/usr/bin/env bash
# with_sample_api.sh COMMAND...: runs a command with the sample API of the tests at hand, its
# URL in ETL_TEST_API. Started on a free port unless there is one already; stopped by its pid.
set -euo pipefail
[ -z "${ETL_TEST_API:-}" ] || exec "$@"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
stop() {
    [ -z "${api:-}" ] || kill "$api" 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT

# The sample data end the day before: what the API serves must not depend on today.
/usr/bin/python3 "$here/../test/api/server.py" --port 0 --port-file "$work/port" \
    --now 2026-11-21T00:00:00Z --log "$work/log" &
api=$!
for _ in $(seq 100); do
    [ -s "$work/port" ] && break
    kill -0 "$api" || exit 1
    read -rt 0.1 <> <(:) || true
done
ETL_TEST_API=http://127.0.0.1:$(cat "$work/port")
export ETL_TEST_API ETL_TEST_API_LOG=$work/log
"$@"
