#!/usr/bin/env bash
# Builds the extension and runs every test of it; ends with "N passed, N failed".
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=sanitize.sh
. "$(dirname "${BASH_SOURCE[0]}")/sanitize.sh"

usage() {
    cat <<TEXT
usage: scripts/test.sh [--only SUITE[,SUITE]] [--without SUITE[,SUITE]]
                       [--regress NAME[,NAME]] [--tap NAME[,NAME]]
                       [--sanitize] [--pg MAJOR] [--keep]

Installs the packages it needs, builds with warnings as errors, installs, and
runs the tests on temporary clusters of its own. As root or with sudo.

  --only SUITE   of: lint api regress isolation tap sanitize fuzz  (default: all)
  --without SUITE
  --regress NAME, --tap NAME
                 of these suites only the tests of that name; * and ? may be in it
  --sanitize     with etl built for AddressSanitizer, in a server of its own
  --pg MAJOR     a PostgreSQL other than the distribution's
  --keep         keep the working directory (always kept after a failure)

The suite sanitize is those tests again, with --sanitize, that bring what a
source sends into all of etl's C; the suite fuzz is scripts/fuzz.sh.
TEXT
}

SUITES=" lint api regress isolation tap sanitize fuzz "
# Of the suite sanitize.
SANITIZED_REGRESS='extract_basic,define_extract_rules,json_schema,json_schema_registry,json_writer,page_*,http_*,try_source,request_body,schema_drift'
SANITIZED_TAP='010_faults,015_formats,040_interrupted_extractions'
only=$SUITES
keep=
sanitize=
regress_names='*' tap_names='*'
passed=0 failed=0 skipped=0
# The sample API's clock: what it serves must not depend on the day of the test.
TEST_NOW=2026-11-21T00:00:00Z
# At a terminal Ctrl-C must reach the tests; elsewhere all children must end too.
limit=(timeout --kill-after=20)
if [ -t 0 ]; then limit+=(--foreground); fi

check_suite() { [[ $SUITES == *" $1 "* ]] || die "no suite \"$1\"; there are:$SUITES"; }

parse_arguments() {
    local suite
    while [ $# -gt 0 ]; do
        case "$1" in
            --only)
                only=" ${2:-} "
                only=${only//,/ }
                for suite in $only; do check_suite "$suite"; done
                shift ;;
            --without)
                for suite in ${2//,/ }; do
                    check_suite "$suite"
                    only=${only/ $suite / }
                done
                shift ;;
            --regress) regress_names=${2:?--regress needs a name}; shift ;;
            --tap) tap_names=${2:?--tap needs a name}; shift ;;
            --sanitize) sanitize=yes ;;
            --pg) PG_MAJOR=${2:?--pg needs a version}; shift ;;
            --keep) keep=yes ;;
            -h | --help) usage; exit ;;
            *) usage >&2; exit 2 ;;
        esac
        shift
    done
}

wanted() { [[ $only == *" $1 "* ]]; }

# named LIST NAME: is it one of the list, by its patterns?
named() {
    local patterns pattern
    IFS=, read -ra patterns <<<"$1"
    for pattern in "${patterns[@]}"; do
        # shellcheck disable=SC2053  # a pattern
        if [[ $2 == $pattern ]]; then return 0; fi
    done
    return 1
}

# -------------------------------------------------------------- counting, showing

count() {
    passed=$((passed + $1))
    failed=$((failed + $2))
    skipped=$((skipped + ${3:-0}))
}

# count_lines FILE PATTERN
count_lines() { grep -cE "$2" "$1" || true; }

# A suite that ends badly without naming a failed test has failed all the same.
account() {
    local name=$1 result=$2 good=$3 bad=$4 skip=${5:-0}
    if [ "$result" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    count "$good" "$bad" "$skip"
    printf '    %-40s %4d passed, %d failed%s\n' "$name" "$good" "$bad" \
        "$([ "$skip" -eq 0 ] || echo ", $skip skipped")"
}

show() {
    local lines=$1 file=$2
    [ -s "$file" ] || return 0
    printf '    ---- %s\n' "$file"
    tail -n "$lines" "$file" | sed 's/^/    | /'
}

# ------------------------------------------------------------------- work directory

# Short on purpose: a socket's path has at most 107 bytes, and tests nest.
make_work_directory() {
    work=$(mktemp -d /tmp/etl-test.XXXXXX)
    tree=$work/etl
    make_private_directory "$work"
    trap clean_up EXIT
    trap 'exit 130' INT TERM
}

# shellcheck disable=SC2317  # called by a trap
clean_up() {
    local result=$?
    trap - EXIT
    stop_api "$work" || true
    stop_clusters_below "$work"
    if [ -n "$keep" ] || [ "$result" -ne 0 ]; then
        note "kept: $work"
    else
        rm -rf "$work"
    fi
    exit "$result"
}

# A TAP test that was ended by force leaves its clusters behind.
# shellcheck disable=SC2317  # called by a trap
stop_clusters_below() {
    local file
    find "$1" -name postmaster.pid 2>/dev/null | while read -r file; do
        stop_cluster "${file%/*}" immediate || true
    done
}

# ------------------------------------------------------------------------- set-up

install_what_is_missing() {
    local -a packages
    step "Packages (PostgreSQL $PG_MAJOR)"
    read -ra packages <<<"$(build_packages) postgresql-$PG_MAJOR-cron postgresql-$PG_MAJOR-pgtap perl libipc-run-perl"
    install_packages "${packages[@]}"
}

build_and_install() {
    step "Build, warnings as errors, and install"
    if ! { build_extension "$tree" CI=true && install_extension "$tree"; }; then
        count 0 1
        finish
    fi
}

# Tests that need a server find it by PGHOST, and the sample API by
# ETL_TEST_API; both live as long as the suites that use them.
start_test_server() {
    make_private_directory "$work/socket"
    create_cluster "$work/data"
    configure_cluster "$work/data" <<CONF
shared_preload_libraries = 'etl'
unix_socket_directories = '$work/socket'
listen_addresses = ''
port = 5432
fsync = off
max_worker_processes = 32
log_line_prefix = '%m [%p] %q%u@%d %b '
$(cat "$ROOT/test/postgresql.conf" 2>/dev/null)
CONF
    if ! start_cluster "$work/data" "$work/postgres.log"; then
        count 0 1
        finish
    fi
    server=(PGHOST="$work/socket" PGPORT=5432 PGUSER=postgres PGDATABASE=postgres)
    note "a temporary cluster in $work/data"
    if [ -f "$tree/test/api/server.py" ]; then
        start_api "$work" "$tree/test/api" --now "$TEST_NOW" || { count 0 1; finish; }
        server+=(ETL_TEST_API="http://127.0.0.1:$(cat "$work/api.port")"
                 ETL_TEST_API_LOG="$work/api.log")
        note "the sample API on ${server[-2]#*=}"
    fi
}

# ------------------------------------------------------------------------- suites

run_lint() {
    local log=$work/lint.log result=0
    step "Lint"
    "$ROOT/scripts/lint.sh" >"$log" 2>&1 || result=$?
    grep -E '^(not ok|warning)|^ ' "$log" | sed 's/^/    /' || true
    account lint "$result" "$(count_lines "$log" '^ok ')" "$(count_lines "$log" '^not ok ')"
}

run_api() {
    local log=$work/api-tests.log result=0 total bad skip
    compgen -G "$tree/test/api/*test*.py" >/dev/null || return 0
    step "The sample API's own tests (unittest)"
    as_user -C "$tree/test/api" PYTHONDONTWRITEBYTECODE=1 "${limit[@]}" 600 \
        python3 -m unittest discover -v -s . -p '*test*.py' >"$log" 2>&1 || result=$?
    total=$(sed -n 's/^Ran \([0-9]*\) test.*/\1/p' "$log")
    bad=$(sum_of "$log" failures) bad=$((bad + $(sum_of "$log" errors)))
    skip=$(sum_of "$log" skipped)
    account "test/api" "$result" $((${total:-0} > bad + skip ? total - bad - skip : 0)) "$bad" "$skip"
    if [ "$result" -ne 0 ]; then show 60 "$log"; fi
}

# From unittest's last line, such as "FAILED (failures=1, skipped=2)".
sum_of() {
    local value
    value=$(sed -nE "s/^(FAILED|OK) \(.*\b$2=([0-9]+).*/\2/p" "$1" | tail -n 1)
    echo "${value:-0}"
}

# pg_regress says "test a ... ok 5 ms" up to 15 and "ok 1 - a 5 ms" from 16 on.
# run_regress NAME MAKEVARIABLE: the variable is the other suite's, emptied, as
# is TAP_TESTS: make ends with the first suite that fails, and each is to run.
run_regress() {
    local name=$1 other=$2 log=$work/$1.log result=0 file chosen=()
    compgen -G "$tree/test/$name/s*/*.s*" >/dev/null || return 0
    step "$name tests"
    make_private_directory "$tree/test/$name/results"
    if [ "$name" = regress ] && [ "$regress_names" != '*' ]; then
        for file in "$tree"/test/regress/sql/*.sql; do
            file=$(basename "$file" .sql)
            if named "$regress_names" "$file"; then chosen+=("$file"); fi
        done
        chosen=("REGRESS=${chosen[*]}")
    fi
    as_user -C "$tree" "${server[@]}" "${limit[@]}" 1500 make -s PG_CONFIG="$PG_BIN/pg_config" \
        with_llvm=no "$other=" TAP_TESTS= ${chosen[@]+"${chosen[@]}"} installcheck >"$log" 2>&1 || result=$?
    grep -E '^(test .* \.\.\.|(not )?ok )|^  *[a-z_0-9]+ +\.\.\. ' "$log" | sed 's/^/    /' || true
    account "$name" "$result" \
        "$(count_lines "$log" '(^|\.\.\. )ok\b')" "$(count_lines "$log" '^not ok |\.\.\. FAILED')"
    if [ "$result" -ne 0 ]; then show_regress_failure "$name" "$log"; fi
}

show_regress_failure() {
    local name=$1 log=$2 diffs
    diffs=$(find "$tree/test/$name" -name regression.diffs | head -n 1)
    if [ -s "$diffs" ]; then
        show 300 "$diffs"
    else
        show 40 "$log"
    fi
    # A crash shows here and nowhere else.
    grep -E 'PANIC|FATAL|terminated by signal|TRAP' "$work/postgres.log" | tail -n 10 | sed 's/^/    | /' || true
}

run_tap() {
    local file
    compgen -G "$tree/test/t/*.pl" >/dev/null || return 0
    step "TAP tests (each with clusters of its own)"
    for file in "$tree"/test/t/*.pl; do
        if named "$tap_names" "$(basename "$file" .pl)"; then run_tap_file "$file"; fi
    done
}

# The environment is what PGXS's prove_installcheck sets: TESTDIR up to 15,
# TESTDATADIR and TESTLOGDIR from 16 on.
run_tap_file() {
    local file=$1 name pgxs result=0 log directory
    name=$(basename "$file" .pl)
    log=$work/tap-$name.log
    directory=$work/tap/$name
    as_user mkdir -p "$directory/tmp_check/log"
    pgxs=$(dirname "$("$PG_BIN/pg_config" --pgxs)")/../..
    as_user -C "$tree" TESTDIR="$directory" TESTDATADIR="$directory/tmp_check" \
        TESTLOGDIR="$directory/tmp_check/log" top_builddir="$directory" PGPORT=65432 \
        PG_REGRESS="$pgxs/src/test/regress/pg_regress" PERL5LIB="$pgxs/src/test/perl:$tree/test/t" \
        ETL_TEST_API_SERVER="$tree/test/api/server.py" \
        ETL_MEMORY_REQUESTS="${ETL_MEMORY_REQUESTS:-}" ETL_SANITIZED="$sanitize" \
        "${limit[@]}" 900 prove --verbose --nocolor "test/t/$name.pl" >"$log" 2>&1 || result=$?
    account "test/t/$name.pl" "$result" "$(count_tap "$log" ok)" "$(count_tap "$log" 'not ok')" \
        "$(count_lines "$log" '^ok .*# [Ss][Kk][Ii][Pp]|^1\.\.0 # [Ss][Kk][Ii][Pp]')"
    if [ "$result" -ne 0 ]; then
        show 60 "$log"
        show 30 "$directory/tmp_check/log/regress_log_$name"
    elif [ -z "$keep" ]; then
        rm -rf "$directory"
    fi
}

# Top level only: a subtest's lines are indented. Skipped is not passed.
count_tap() { grep -E "^$2\b" "$1" | grep -civ '# \(skip\|todo\)' || true; }

# run_script NAME COMMAND...: a script that counts by itself. Its words are shown, its count is ours.
run_script() {
    local name=$1 log=$work/$1.log good bad
    shift
    { "$@" </dev/null 2>&1 && echo 0 >"$log.result" || echo 1 >"$log.result"; } |
        tee "$log" | sed -uE '/^[0-9]+ passed, [0-9]+ failed/d; s/^/    /'
    good=$(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed.*/\1/p' "$log" | tail -n 1)
    bad=$(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed.*/\2/p' "$log" | tail -n 1)
    account "$name" "$(cat "$log.result")" "${good:-0}" "${bad:-0}"
}

run_sanitize() {
    step "Tests again, with sanitizers"
    run_script sanitize "$ROOT/scripts/test.sh" --sanitize --pg "$PG_MAJOR" --only regress,tap \
        --regress "$SANITIZED_REGRESS" --tap "$SANITIZED_TAP"
}

run_fuzz() {
    step "Fuzzing"
    run_script fuzz "$ROOT/scripts/fuzz.sh" --pg "$PG_MAJOR"
}

finish() {
    printf '\n'
    printf '%d passed, %d failed%s\n' "$passed" "$failed" \
        "$([ "$skipped" -eq 0 ] || echo ", $skipped skipped")"
    if [ "$failed" -gt 0 ] || [ "$passed" -eq 0 ]; then exit 1; fi
    exit 0
}

main() {
    parse_arguments "$@"
    detect_pg_major
    install_what_is_missing
    make_work_directory
    copy_tree "$tree"
    if wanted lint; then run_lint; fi
    if wanted api; then run_api; fi
    if [ -n "$sanitize" ]; then
        make_private_server
        build_and_install_sanitized
    elif wanted regress || wanted isolation || wanted tap; then
        build_and_install
    fi
    if wanted regress || wanted isolation; then
        step "Start a server for the regression and isolation tests"
        start_test_server
        if [ -n "$sanitize" ]; then check_sanitizer_sight; fi
    fi
    if wanted regress; then run_regress regress ISOLATION; fi
    if wanted isolation; then run_regress isolation REGRESS; fi
    if wanted tap; then run_tap; fi
    if [ -n "$sanitize" ]; then
        account_sanitizer_reports
        finish
    fi
    if wanted sanitize; then run_sanitize; fi
    if wanted fuzz; then run_fuzz; fi
    finish
}

main "$@"
