#!/usr/bin/env bash
# Runs libFuzzer on what reads bytes that a source sends; ends with "N passed, N failed".
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<TEXT
usage: scripts/fuzz.sh [--seconds N] [--corpus DIR] [--input FILE] [--pg MAJOR] [TARGET ...]

Installs the packages it needs, builds etl with clang's AddressSanitizer and
UndefinedBehaviorSanitizer, and fuzzes each target (default: all) in a
single-user server of its own, as many at a time as there are processors. A
target passes that finds nothing. As root or with sudo.

  --seconds N    how long for each target (default 15)
  --corpus DIR   keep what is interesting in DIR/TARGET, and begin with it
  --input FILE   run the target on one input instead, such as a finding
  --pg MAJOR     a PostgreSQL other than the distribution's

Targets: $(all_targets)
TEXT
}

all_targets() {
    local file
    for file in "$ROOT"/test/fuzz/fuzz_*.c; do
        if grep -q '^FUZZ_TARGET(' "$file"; then sed -n 's/^FUZZ_TARGET(\(.*\))$/\1/p' "$file"; fi
    done | paste -sd ' '
}

seconds=15
corpus=
input=
targets=()
passed=0 failed=0

parse_arguments() {
    while [ $# -gt 0 ]; do
        case "$1" in
            --seconds) seconds=${2:?--seconds needs a number}; shift ;;
            --corpus) corpus=$(realpath -m "${2:?--corpus needs a directory}"); shift ;;
            --input) input=$(realpath "${2:?--input needs a file}"); shift ;;
            --pg) PG_MAJOR=${2:?--pg needs a version}; shift ;;
            -h | --help) usage; exit ;;
            -*) usage >&2; exit 2 ;;
            *)
                [[ " $(all_targets) canary " == *" $1 "* ]] || die "no target \"$1\"; there are: $(all_targets)"
                targets+=("$1") ;;
        esac
        shift
    done
    if [ ${#targets[@]} -eq 0 ]; then
        if [ -n "$input" ]; then die "--input needs a target"; fi
        read -ra targets <<<"$(all_targets)"
    fi
}

make_work_directory() {
    work=$(mktemp -d /tmp/etl-fuzz.XXXXXX)
    tree=$work/etl
    make_private_directory "$work"
    trap clean_up EXIT
    trap 'exit 130' INT TERM
}

# shellcheck disable=SC2317  # called by a trap
clean_up() {
    local result=$?
    trap - EXIT
    # what was started for targets, and only that
    # shellcheck disable=SC2046  # a list, to be split
    kill $(jobs -p) 2>/dev/null || true
    wait
    if [ "$result" -ne 0 ]; then note "kept: $work"; else rm -rf "$work"; fi
    exit "$result"
}

# Whatever a run finds lies here; the next run does not clean it up.
findings() { find "$work" -maxdepth 1 -name "$1-crash-*" -o -maxdepth 1 -name "$1-timeout-*" \
                  -o -maxdepth 1 -name "$1-oom-*" -o -maxdepth 1 -name "$1-leak-*"; }

# ------------------------------------------------------------------------- set-up

# The clang that PostgreSQL's own headers and packages go with.
find_clang() {
    local -a packages
    read -ra packages <<<"$(build_packages)"
    install_packages "${packages[@]}"
    clang=$(sed -nE 's/^CLANG *= *//p' "$("$PG_BIN/pg_config" --pgxs | sed 's|/makefiles/pgxs.mk$||')/Makefile.global")
    [ -x "$clang" ] || die "PostgreSQL $PG_MAJOR names no clang that is installed"
    install_packages "libclang-rt-${clang##*-}-dev"
    asan=$("$clang" -print-file-name="libclang_rt.asan-$(uname -m).so")
    [ -f "$asan" ] || die "found no libclang_rt.asan for $clang"
}

build() {
    step "Build with sanitizers ($(basename "$clang"))"
    copy_tree "$tree"
    quietly "$work/build.log" as_user -C "$tree" make -s -j"$(nproc)" -C test/fuzz \
        PG_CONFIG="$PG_BIN/pg_config" CLANG="$clang" OUT="$work/build" || die "did not build"
    quietly "$work/build.log" as_user "$clang" -shared -fPIC -o "$work/build/early_start.so" \
        "$tree/test/guard/early_start.c" || die "did not build"
}

# server DIRECTORY: a single-user server there; SQL comes on standard input.
server() {
    as_user -C "$work" LD_PRELOAD="$asan:$work/build/early_start.so" \
        ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0 \
        UBSAN_OPTIONS=print_stacktrace=1 \
        "$PG_BIN/postgres" --single -D "$1" -c log_checkpoints=off -c fsync=off postgres
}

# What the compiler of schemas looks up is there, and empty.
prepare_server() {
    as_user "$PG_BIN/initdb" -D "$work/data" -U postgres --encoding=UTF8 --locale=C.UTF-8 --no-sync \
        --auth=trust --no-instructions >/dev/null
    server "$work/data" >"$work/prepare.log" 2>&1 <<SQL || true
CREATE FUNCTION etl_fuzz(target text, arguments text[]) RETURNS void LANGUAGE c AS '$work/build/etl_fuzz.so', 'etl_fuzz';
CREATE SCHEMA etl;
CREATE TABLE etl.registered_schema (uri text PRIMARY KEY, schema jsonb NOT NULL);
SQL
    if grep -qE 'ERROR|FATAL|Sanitizer' "$work/prepare.log" || [ ! -s "$work/prepare.log" ]; then
        tail -n 20 "$work/prepare.log" | sed 's/^/    | /' >&2
        die "the server did not take the library"
    fi
}

# A gzip stream is no text, hence made here.
add_binary_seeds() {
    local seeds=$tree/test/fuzz/corpus/content_encoding
    { printf 'gzip\n\003'; printf 'a body, a body, a body' | gzip -9n; } >"$seeds/gzip"
    { printf 'x-gzip\n\377'; for _ in 1 2; do printf 'two members' | gzip -9n; done; } >"$seeds/gzip_twice"
    { printf 'gzip\n\377'; head -c 200000 /dev/zero | gzip -9n; } >"$seeds/gzip_bomb"
    give_away "$seeds"
}

# ------------------------------------------------------------------------ a target

# fuzz TARGET ARGUMENT...: one run; its words go to TARGET.log.
fuzz() {
    local name=$1 arguments
    shift
    cp -a "$work/data" "$work/data-$name"
    arguments=$(printf ",'%s'" "$@")
    echo "SELECT etl_fuzz('$name', ARRAY[${arguments#,}]);" |
        server "$work/data-$name" >"$work/$name.log" 2>&1 || true
    rm -rf "$work/data-$name"
}

start_target() {
    local name=$1 kept=${corpus:-$work/corpus}/$1 seeds=$tree/test/fuzz/corpus/$1
    local dictionary=$tree/test/fuzz/dictionaries/$1.dict arguments
    if [ -n "$input" ]; then
        cp "$input" "$work/input"
        give_away "$work/input"
        fuzz "$name" -timeout=10 "-artifact_prefix=$work/$name-" "$work/input"
        return
    fi
    mkdir -p "$kept"
    give_away "$kept"
    arguments=(-max_total_time="$seconds" -timeout=10 -max_len=4096 -print_final_stats=1
               "-artifact_prefix=$work/$name-" "$kept")
    if [ -f "$dictionary" ]; then arguments=("-dict=$dictionary" "${arguments[@]}"); fi
    if [ -d "$seeds" ]; then arguments+=("$seeds"); fi
    fuzz "$name" "${arguments[@]}"
}

# A run that did not get to its end has found something, or did not run at all.
judge() {
    local name=$1 log=$work/$1.log file
    if grep -qE '^(Done [0-9]+ runs in|Executed .* in [0-9]+ ms)' "$log" && [ -z "$(findings "$name")" ]; then
        passed=$((passed + 1))
        printf '    %-20s passed   %s\n' "$name" \
            "$(sed -nE 's/^#([0-9]+)\s+DONE\s+cov: ([0-9]+).*/\1 inputs, \2 places reached/p' "$log")"
        return
    fi
    failed=$((failed + 1))
    printf '    %-20s FAILED\n' "$name"
    if ! grep -E -A 25 'does not hold|ERROR:|runtime error|^FATAL' "$log" | head -n 40 | sed 's/^/    | /'; then
        tail -n 20 "$log" | sed 's/^/    | /'
    fi
    findings "$name" | while read -r file; do
        note "input: $file"
        od -A d -t x1z "$file" | head -n 40 | sed 's/^/    | /'
        note "again: scripts/fuzz.sh --input $file $name"
    done
}

# A planted error has to be found, or the others passing means nothing.
check_sight() {
    start_target canary
    if grep -q 'AddressSanitizer: .* in fuzz_canary' "$work/canary.log" && [ -n "$(findings canary)" ]; then
        passed=$((passed + 1))
        printf '    %-20s passed   the planted error was found\n' canary
        findings canary | xargs -r rm -f
    else
        failed=$((failed + 1))
        printf '    %-20s FAILED   the planted error was not found\n' canary
        tail -n 20 "$work/canary.log" | sed 's/^/    | /'
    fi
}

main() {
    local name
    parse_arguments "$@"
    detect_pg_major
    step "Packages (PostgreSQL $PG_MAJOR)"
    find_clang
    make_work_directory
    build
    prepare_server
    add_binary_seeds
    if [ -n "$input" ]; then
        step "One input"
        start_target "${targets[0]}"
        judge "${targets[0]}"
        sed 's/^/    | /' "$work/${targets[0]}.log"
    else
        step "Fuzz for $seconds s each: ${targets[*]}"
        check_sight
        for name in "${targets[@]}"; do
            while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n || true; done
            start_target "$name" &
        done
        wait
        for name in "${targets[@]}"; do judge "$name"; done
    fi
    printf '\n%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

main "$@"
