#!/usr/bin/env bash
# What a reader would object to and a machine can find: one "ok" or "not ok"
# line a rule, with the places below it. Needs no database and no package.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C.UTF-8

bad=0

indent() { sed 's/^/  /'; }

# verdict RULE: reads the places that break it from standard input.
verdict() {
    local places
    places=$(head -n 20)
    if [ -z "$places" ]; then
        echo "ok $1"
    else
        bad=$((bad + 1))
        echo "not ok $1"
        indent <<<"$places"
    fi
}

# advise RULE: the same, for what depends on the version of a tool.
advise() {
    local places
    places=$(head -n 20)
    [ -z "$places" ] || { echo "warning: $1"; indent <<<"$places"; }
}

# All source files; without git (a copy, a bare machine) all but built ones.
sources() {
    git ls-files -co --exclude-standard 2>/dev/null | while read -r f; do
        if [ -f "$f" ]; then echo "$f"; fi
    done || true
}
all=$(sources)
[ -n "$all" ] || all=$(find . -type f -not -path './.git/*' -not -path '*/results/*' \
    -not -path '*/__pycache__/*' -not -path '*/tmp_check/*' -not -name '*.o' -not -name '*.so' \
    -not -name '*.bc' -not -name 'etl--[0-9].[0-9].sql' -printf '%P\n')
all=$(sort <<<"$all")

# files PATTERN prints those whose path matches; list_files puts them into "list".
files() { grep -E "$1" <<<"$all" || true; }
list_files() {
    mapfile -t list <<<"$(files "$1")"
    [ -n "${list[0]}" ] || list=()
}
search() {
    list_files "$2"
    # Without a file grep would read standard input.
    grep -nHP "$1" "${list[@]}" /dev/null || true
}

# ---- C

# Comments and strings may name what code must not call; line numbers are kept.
code_only() {
    perl -0777 -pe 's{(/\*.*?\*/|"(?:\\.|[^"\\])*"|//[^\n]*)}{ (my $t = $1) =~ s/[^\n]//g; $t }gse' "$1"
}
banned='sprintf|vsprintf|strcpy|strcat|strncpy|strtok|gets|system|popen|alloca|malloc|calloc|realloc|sleep|usleep'
banned_calls() {
    local f
    for f in $(files '^src/.*\.[ch]$'); do
        code_only "$f" | grep -nP "(?<![\w.>])($banned)\s*\(" | sed "s|^|$f:|" || true
    done
}
banned_calls | verdict "no banned C functions ($banned)"

clang_format_differences() {
    list_files '^src/.*\.[ch]$'
    if command -v clang-format >/dev/null && [ ${#list[@]} -gt 0 ]; then
        clang-format --dry-run "${list[@]}" 2>&1 | grep -oP '^\S+?(?=:\d+:\d+: warning)' | uniq -c || true
    fi
}
clang_format_differences | advise "clang-format would change (places, file)"

# ---- SQL

# By name: public is what lives in etl or public and does not start with "_".
uncommented() {
    list_files '^sql/[^/]*\.sql$'
    if [ ${#list[@]} -eq 0 ]; then return; fi
    perl -ne '
        s/--.*//;
        if (/^\s*CREATE\s+(?:OR\s+REPLACE\s+)?(FUNCTION|PROCEDURE|VIEW)\s+(?:(?:etl|public|\@extschema\@)\.)?([a-z]\w*)\b(?!\.)/i) {
            my ($kind, $name) = (uc $1, lc $2);
            $at{$name} //= "$ARGV:$.: $kind $name" unless $internal{$name};
            $current = $name; $head = "";
        }
        # Trigger functions are nobody\x27s to call.
        $trigger{$current} = 1 if $current && /RETURNS\s+(?:event_)?trigger\b/i;
        $seen{lc $1} = 1 while /COMMENT\s+ON\s+(?:FUNCTION|PROCEDURE|VIEW)\s+(?:(?:etl|public|\@extschema\@)\.)?(\w+)/gi;
        close ARGV if eof;
        END { print map { "$at{$_} has no COMMENT\n" } grep { !$seen{$_} && !$trigger{$_} } sort keys %at }
    ' "${list[@]}"
}
uncommented | verdict "every public function and view has a COMMENT"

# ---- all files

text='\.(c|h|sql|sh|py|pl|pm|t|md|json|control|list|spec|conf)$|^(Makefile|\.ci/run)$'
search '^(<{7}|>{7}) ' "$text" | verdict "no conflict left in a file"
search '[ \t]+$' "$text" | verdict "no trailing blanks"
search '\r' "$text" | verdict "no carriage returns"
search '\t' '\.(sh|py|md|json)$|^\.ci/run$' | verdict "no tabs in shell, Python, Markdown and JSON"
search '^ {4,}[^ \\]' '^src/.*\.[ch]$' | verdict "C is indented by tabs"

without_final_newline() {
    local f
    for f in $(files "$text"); do
        if [ -s "$f" ] && [ -n "$(tail -c 1 "$f")" ]; then echo "$f"; fi
    done
}
without_final_newline | verdict "files end with a newline"

# Paths of one machine, and the mirror that this one installs from.
machine_words() {
    # in brackets, so that the patterns do not find themselves
    printf '%s\n' '/[w]ork/' '/[r]oot/' '/[h]ome/[a-z]'
    # shellcheck disable=SC2016  # apt's own variable
    apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null |
        sed -nE 's|^[a-z+]+://([^/:]+).*|\1|p' | sort -u | sed 's/\./\\./g'
}
search "$(machine_words | paste -sd '|')" "$text|LICENSE" |
    verdict "no paths or mirrors of one machine"

# ---- shell

shell_errors() {
    local f
    for f in $(files '^scripts/.*\.sh$|^\.ci/run$'); do bash -n "$f" 2>&1 || true; done
}
shell_errors | verdict "shell scripts parse"

shellcheck_findings() {
    list_files '^scripts/.*\.sh$|^\.ci/run$'
    if command -v shellcheck >/dev/null; then shellcheck -x -f gcc "${list[@]}" || true; fi
}
shellcheck_findings | advise "shellcheck"

# ---- Python

python_errors() {
    local f
    for f in $(files '\.py$'); do
        python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])' "$f" 2>&1 | tail -n 1
    done
}
python_errors | verdict "Python files parse"

exit $((bad > 0))
