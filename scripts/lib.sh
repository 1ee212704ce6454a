# shellcheck shell=bash
# Shared by the scripts in this directory; to be sourced, never run.
#
# The rules all of them keep: nothing is installed that is there already, no
# cluster but our own is created, started or stopped, PostgreSQL never runs as
# root, and each step says what it does before it does it.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# A PGHOST or PGPORT of the caller would lead psql to another cluster.
# shellcheck disable=SC2086  # a list of names, to be split
unset ${!PG*}
export LC_ALL=C.UTF-8
umask 022

# ---------------------------------------------------------------- what is said

if [ -t 1 ]; then
    BOLD=$'\e[1m' RED=$'\e[31m' PLAIN=$'\e[0m'
else
    BOLD='' RED='' PLAIN=''
fi

step() { printf '\n%s==> %s%s\n' "$BOLD" "$*" "$PLAIN"; }
note() { printf '    %s\n' "$*"; }
warn() { printf '%s    warning: %s%s\n' "$RED" "$*" "$PLAIN" >&2; }
die() {
    printf '%serror: %s%s\n' "$RED" "$*" "$PLAIN" >&2
    exit 1
}

# Runs a command with its output in a log, which is shown only if it fails.
quietly() {
    local log=$1
    shift
    "$@" >"$log" 2>&1 && return 0
    warn "failed: $*"
    tail -n 40 "$log" | sed 's/^/    | /' >&2
    return 1
}

# --------------------------------------------------------------------- who runs

is_root() { [ "$(id -u)" -eq 0 ]; }

as_root() {
    if is_root; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "needs root: run this as root, or install sudo (command was: $*)"
    fi
}

# PostgreSQL refuses to run as root. Its package makes the user "postgres".
unprivileged_user() {
    if is_root; then echo postgres; else id -un; fi
}

# Runs a command as that user, with a clean environment: root's PATH may lead
# into root's home, where that user cannot read. Assignments (A=b) may come
# first, as with env; -C DIR before all sets the directory.
as_user() {
    local home clean
    home=$(getent passwd "$(unprivileged_user)" | cut -d: -f6)
    clean=("HOME=$home" "PATH=${PG_BIN:+$PG_BIN:}/usr/local/bin:/usr/bin:/bin"
           "LC_ALL=C.UTF-8" "LANG=C.UTF-8" "TERM=${TERM:-dumb}")
    local directory=/
    if [ "${1:-}" = -C ]; then
        directory=$2
        shift 2
    fi
    if is_root; then
        setpriv --reuid=postgres --regid=postgres --init-groups -- \
            env -i -C "$directory" "${clean[@]}" "$@"
    else
        env -i -C "$directory" "${clean[@]}" "$@"
    fi
}

# A directory that belongs to the unprivileged user and is closed to others.
make_private_directory() {
    mkdir -p "$1"
    chmod 0700 "$1"
    if is_root; then chown "$(unprivileged_user):" "$1"; fi
}

# Hands a tree that root wrote over to the unprivileged user.
give_away() {
    if is_root; then chown -R "$(unprivileged_user):" "$1"; fi
}

# --------------------------------------------------------- distribution, packages

# The major version that this distribution ships; PG_MAJOR set by the caller
# (test.sh --pg) goes before it.
detect_pg_major() {
    [ -n "${PG_MAJOR:-}" ] || PG_MAJOR=$(distribution_pg_major)
    [ -n "$PG_MAJOR" ] ||
        die "unknown distribution: known are Debian 12 and 13 and Ubuntu 24.04; elsewhere follow the README's manual steps"
    PG_BIN=/usr/lib/postgresql/$PG_MAJOR/bin
}

distribution_pg_major() {
    # shellcheck disable=SC1091
    . /etc/os-release
    case "$ID:${VERSION_ID:-}" in
        debian:12) echo 15 ;;
        debian:13) echo 17 ;;
        ubuntu:24.04) echo 16 ;;
        # A derivative, or a newer release: whatever server is installed.
        *) find /usr/lib/postgresql -maxdepth 1 -name '[0-9]*' -printf '%f\n' 2>/dev/null |
               sort -n | tail -n 1 ;;
    esac
}

build_packages() {
    local isal=libisal-dev
    # not on every architecture, and not needed
    apt-cache show $isal >/dev/null 2>&1 || isal=
    echo build-essential pkg-config "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR" \
         libcurl4-openssl-dev zlib1g-dev libzstd-dev $isal python3 ca-certificates
}

missing_packages() {
    local package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            echo "$package"
    done
}

install_packages() {
    local missing log
    mapfile -t missing <<<"$(missing_packages "$@")"
    if [ -z "${missing[0]}" ]; then
        note "all packages are installed"
        return
    fi
    note "installing: ${missing[*]}"
    log=$(mktemp)
    without_default_cluster apt_install "$log" "${missing[@]}" ||
        die "apt could not install the packages"
    rm -f "$log"
}

apt_install() {
    local log=$1
    shift
    # A lock held by another apt (unattended upgrades of a new machine) is waited for.
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300)
    # One failing third-party source must not stop us: the install step decides.
    quietly "$log" as_root "${apt[@]}" update || warn "apt-get update had errors; going on"
    quietly "$log" as_root "${apt[@]}" install --no-install-recommends "$@"
}

# Debian's server package creates and starts a cluster "main" on its first
# install. A drop-in, taken away again right after, keeps it from doing so:
# no file of another package is changed and later installs behave as always.
without_default_cluster() {
    local directory=/etc/postgresql-common/createcluster.d file result=0
    if [ -z "$(missing_packages "postgresql-$PG_MAJOR")" ]; then
        "$@"
        return
    fi
    file=$directory/etl-no-main-cluster.conf
    as_root mkdir -p "$directory"
    echo 'create_main_cluster = false' | as_root tee "$file" >/dev/null
    "$@" || result=$?
    as_root rm -f "$file"
    return $result
}

# ----------------------------------------------------------------- build, install

# Builds in a copy, so that neither root nor another major version leaves
# objects in the checkout. No git needed: a bare machine may have none.
copy_tree() {
    local target=$1
    mkdir -p "$target"
    tar -C "$ROOT" -cf - --exclude=./.git --exclude='*.o' --exclude='*.so' --exclude='*.bc' \
        --exclude='./sql/etl--[0-9].[0-9].sql' --exclude='*/results' --exclude='*/tmp_check' \
        --exclude=__pycache__ . | tar -C "$target" --no-same-owner -xf -
    give_away "$target"
}

# Without LLVM bitcode: it only serves inlining by JIT, and doubles the build.
pgxs_make() {
    local directory=$1
    shift
    as_user -C "$directory" make -s PG_CONFIG="$PG_BIN/pg_config" with_llvm=no "$@"
}

build_extension() {
    local directory=$1
    shift
    quietly "$directory.build.log" pgxs_make "$directory" -j"$(nproc)" "$@" ||
        return 1
    note "built for PostgreSQL $PG_MAJOR"
}

install_extension() {
    local directory=$1
    shift
    quietly "$directory.install.log" as_root make -s -C "$directory" \
        PG_CONFIG="$PG_BIN/pg_config" with_llvm=no "$@" install || return 1
    note "installed into $("$PG_BIN/pg_config" --sharedir)/extension"
}

# ------------------------------------------------------------------------ clusters

# Local connections are trusted because the socket's directory is closed to all
# but the owner and root; TCP, where anyone on the machine can knock, is not.
create_cluster() {
    local data=$1
    as_user "$PG_BIN/initdb" -D "$data" -U postgres --encoding=UTF8 --locale=C.UTF-8 \
        --auth-local=trust --auth-host=scram-sha-256 --no-instructions >/dev/null
    echo "include_if_exists = 'etl.conf'" | as_user tee -a "$data/postgresql.conf" >/dev/null
}

# The settings come on standard input and replace the ones of the last start.
configure_cluster() { as_user tee "$1/etl.conf" >/dev/null; }

cluster_runs() { as_user "$PG_BIN/pg_ctl" -D "$1" status >/dev/null 2>&1; }

start_cluster() {
    local data=$1 log=$2
    as_user "$PG_BIN/pg_ctl" -D "$data" -l "$log" -w -t 60 start >/dev/null </dev/null && return 0
    warn "the cluster did not start; the end of $log:"
    tail -n 20 "$log" | sed 's/^/    | /' >&2
    return 1
}

# By data directory, hence by the pid in it: never by name.
stop_cluster() {
    local data=$1 mode=${2:-fast}
    cluster_runs "$data" || return 0
    as_user "$PG_BIN/pg_ctl" -D "$data" -m "$mode" -w -t 60 stop >/dev/null
}

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

first_free_port() {
    local port
    for ((port = $1; port < $1 + 200; port++)); do
        if port_is_free "$port"; then
            echo "$port"
            return
        fi
    done
    die "no free port between $1 and $((port - 1))"
}

# ---------------------------------------------------------------------- sample API

# start_api DIRECTORY CODE [ARGUMENT...]: runs CODE/server.py on a free loopback
# port (or on --port N); leaves api.pid, api.port and api.log in DIRECTORY.
start_api() {
    local directory=$1 code=$2 i
    shift 2
    as_user rm -f "$directory/api.port"
    # A session of its own: Ctrl-C in this terminal later must not end it.
    as_user -C "$directory" PYTHONDONTWRITEBYTECODE=1 setsid python3 "$code/server.py" \
        --port 0 --port-file "$directory/api.port" --log "$directory/api.log" \
        --pid-file "$directory/api.pid" "$@" \
        </dev/null >"$directory/api.out" 2>&1 &
    for ((i = 0; i < 100; i++)); do
        if [ -s "$directory/api.port" ]; then return 0; fi
        sleep 0.1
    done
    warn "the sample API did not start"
    sed 's/^/    | /' "$directory/api.out" >&2
    return 1
}

# A pid file can outlive its process, and the pid be another's by now.
api_runs() {
    local pid command
    pid=$(cat "$1/api.pid" 2>/dev/null) || return 1
    [ -n "$pid" ] || return 1
    # Without /proc (a bare chroot) the pid alone has to do.
    command=$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") || kill -0 "$pid" 2>/dev/null || return 1
    [ -z "$command" ] || [[ $command == *"server.py"*"$1/api.pid"* ]]
}

stop_api() {
    local pid i
    if api_runs "$1"; then
        pid=$(cat "$1/api.pid")
        kill "$pid"
        for ((i = 0; i < 50; i++)); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
    fi
    as_user rm -f "$1/api.pid" "$1/api.port"
}
