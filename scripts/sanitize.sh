# shellcheck shell=bash disable=SC2154
# For test.sh --sanitize, after lib.sh; to be sourced, never run: a server that is not the
# distribution's but a copy of it, with an etl that gcc's AddressSanitizer and
# UndefinedBehaviorSanitizer watch. What they find ends the process, which the tests notice,
# and leaves a report, which is counted.
#
# The server itself is not built with them: of its memory the sanitizers see what malloc
# sees. test/guard/guarded_memory.h lets them see each chunk that etl's code allocates, and
# all chunks of the memory contexts that it makes.

SANITIZE_FLAGS=(-O1 -U_FORTIFY_SOURCE '-fsanitize=address,undefined' -fno-sanitize-recover=undefined)

# The copy is in the work directory; PG_BIN leads to it from here on.
make_private_server() {
    local private=$work/pg major=$PG_MAJOR
    sanitizer_reports=$work/reports
    step "A server of our own, for etl with AddressSanitizer"
    make_private_directory "$sanitizer_reports"
    as_user mkdir -p "$private/lib/postgresql" "$private/share/postgresql"
    as_user cp -a "/usr/lib/postgresql/$major" "$private/lib/postgresql/"
    as_user cp -a "/usr/share/postgresql/$major" "$private/share/postgresql/"
    as_user ln -s /usr/include "$private/include"
    PG_BIN=$private/lib/postgresql/$major/bin
    as_user gcc -shared -fPIC -o "$private/early_start.so" "$tree/test/guard/early_start.c"
    as_user mv "$PG_BIN/postgres" "$PG_BIN/postgres.real"
    as_user tee "$PG_BIN/postgres" >/dev/null <<WRAPPER
#!/bin/bash
# The sanitizer has to be there before anything else is.
export LD_PRELOAD=$(gcc -print-file-name=libasan.so):$private/early_start.so
export ASAN_OPTIONS=log_path=$sanitizer_reports/report:abort_on_error=1:detect_leaks=0:detect_stack_use_after_return=0
export UBSAN_OPTIONS=log_path=$sanitizer_reports/report:print_stacktrace=1:abort_on_error=1
exec -a "\$0" "\$0.real" "\$@"
WRAPPER
    as_user chmod 0755 "$PG_BIN/postgres"
}

build_and_install_sanitized() {
    local flags="${SANITIZE_FLAGS[*]} -include $tree/test/guard/guarded_memory.h"
    step "Build with AddressSanitizer and UndefinedBehaviorSanitizer"
    if ! { build_extension "$tree" COPT="$flags" && install_extension "$tree" COPT="$flags" &&
           quietly "$work/canary.log" as_user gcc -shared -fPIC -g \
               -I"$("$PG_BIN/pg_config" --includedir-server)" "${SANITIZE_FLAGS[@]}" \
               -include "$tree/test/guard/guarded_memory.h" \
               -o "$work/pg/canary.so" "$tree/test/guard/canary.c"; }; then
        count 0 1
        finish
    fi
}

# A planted error has to be found, or finding none means nothing. It takes the server down.
check_sanitizer_sight() {
    local psql=(as_user "${server[@]}" "$PG_BIN/psql" -XAtq) i
    "${psql[@]}" -c "CREATE FUNCTION guard_canary(integer) RETURNS integer LANGUAGE c STRICT
        AS '$work/pg/canary', 'guard_canary'" -c 'SELECT guard_canary(13)' >"$work/sight.log" 2>&1 || true
    if grep -qs 'AddressSanitizer: heap-buffer-overflow' "$sanitizer_reports"/report.*; then
        account 'the planted error is found' 0 1 0
    else
        account 'the planted error is found' 1 0 1
        show 20 "$work/sight.log"
    fi
    as_user find "$sanitizer_reports" -name 'report.*' -delete
    for ((i = 0; i < 100; i++)); do
        if "${psql[@]}" -c 'DROP FUNCTION guard_canary' >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    warn "the server did not come up again"
}

account_sanitizer_reports() {
    local file found=0
    step "What the sanitizers have found"
    for file in "$sanitizer_reports"/report.*; do
        [ -e "$file" ] || continue
        found=$((found + 1))
        show 80 "$file"
    done
    account 'no report' 0 $((found == 0)) "$found"
}
