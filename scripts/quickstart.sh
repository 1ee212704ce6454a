#!/usr/bin/env bash
# From a bare machine to a filled star schema, on a private cluster of its own.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if is_root; then
    HOME_DEFAULT=/var/lib/etl-quickstart
else
    HOME_DEFAULT=$HOME/.etl-quickstart
fi
ETL_HOME=${ETL_HOME:-$HOME_DEFAULT}
DATABASE=demo
FIRST_PORT=54330
wanted_port=

usage() {
    cat <<TEXT
usage: scripts/quickstart.sh [--port N] [--stop]

Installs packages, builds and installs the extension, makes a private cluster
in $ETL_HOME, starts a sample of the GitHub API on loopback, runs the pipeline
"github_issues" for three days and shows the star schema. Run it again at will.

  --port N   the cluster's port (default: the last one, or the first free from $FIRST_PORT)
  --stop     stop the cluster and the sample API; the data stays

ETL_HOME=DIRECTORY in the environment puts all of it elsewhere.
TEXT
}

parse_arguments() {
    while [ $# -gt 0 ]; do
        case "$1" in
            --stop) stop; exit ;;
            --port)
                [[ ${2:-} =~ ^[0-9]+$ ]] || die "--port needs a number"
                wanted_port=$2
                shift ;;
            -h | --help) usage; exit ;;
            *) usage >&2; exit 2 ;;
        esac
        shift
    done
}

# ----------------------------------------------------------------------------- stop

stop() {
    step "Stop what quickstart started in $ETL_HOME"
    if ! is_root && [ ! -d "$ETL_HOME" ] && [ -d /var/lib/etl-quickstart ]; then
        die "it was started as root: use sudo $0 --stop"
    fi
    use_version_of_data
    if api_runs "$ETL_HOME"; then
        stop_api "$ETL_HOME"
        note "the sample API has stopped"
    else
        note "the sample API does not run"
    fi
    if [ -d "$ETL_HOME/data" ] && cluster_runs "$ETL_HOME/data"; then
        stop_cluster "$ETL_HOME/data"
        note "the cluster has stopped"
    else
        note "the cluster does not run"
    fi
    note "the data is kept; to be rid of it: ${SUDO_HINT}rm -r $ETL_HOME"
}

# -------------------------------------------------------------------------- cluster

# A data directory is of one major version; a machine may have moved on since.
use_version_of_data() {
    local version
    detect_pg_major
    version=$(cat "$ETL_HOME/data/PG_VERSION" 2>/dev/null) || return 0
    [ "$version" = "$PG_MAJOR" ] && return 0
    [ -x "/usr/lib/postgresql/$version/bin/postgres" ] ||
        die "$ETL_HOME/data is of PostgreSQL $version, which is not installed; remove $ETL_HOME to start afresh"
    PG_MAJOR=$version
    PG_BIN=/usr/lib/postgresql/$version/bin
}

make_home() {
    make_private_directory "$ETL_HOME"
    as_user test -w "$ETL_HOME" ||
        die "user $(unprivileged_user) cannot reach $ETL_HOME: set ETL_HOME to another place"
    make_private_directory "$ETL_HOME/socket"
    [ ${#ETL_HOME} -le 80 ] || die "ETL_HOME is too long for the path of a socket in it"
}

# The same port on every run, so that what a person noted down stays true.
choose_port() {
    local last
    last=$(cat "$ETL_HOME/port" 2>/dev/null) || last=
    port=${wanted_port:-$last}
    if [ -z "$port" ] || { [ -z "$wanted_port" ] && ! port_is_free "$port"; }; then
        port=$(first_free_port "$FIRST_PORT")
    fi
    port_is_free "$port" || die "port $port is in use"
    echo "$port" | as_user tee "$ETL_HOME/port" >/dev/null
}

# Always restarted: the library of the last build is loaded in the running one.
restart_cluster() {
    local data=$ETL_HOME/data
    if [ ! -f "$data/PG_VERSION" ]; then
        note "creating $data"
        create_cluster "$data"
    else
        note "reusing $data"
        stop_cluster "$data"
    fi
    choose_port
    # pg_cron by background workers: by connections it would need a password.
    configure_cluster "$data" <<CONF
# Written by scripts/quickstart.sh on each run; own settings go to postgresql.conf.
shared_preload_libraries = 'etl,pg_cron'
cron.database_name = '$DATABASE'
cron.use_background_workers = on
unix_socket_directories = '$ETL_HOME/socket'
unix_socket_permissions = 0700
listen_addresses = '127.0.0.1'
port = $port
max_worker_processes = 32
# any public host, and loopback, where the sample API is
etl.allowed_hosts = '*, 127.0.0.1'
CONF
    start_cluster "$data" "$ETL_HOME/postgres.log" || die "see $ETL_HOME/postgres.log"
    note "running on port $port, preloaded: etl, pg_cron"
}

quick_psql() {
    as_user "$PG_BIN/psql" -X -q -v ON_ERROR_STOP=1 -h "$ETL_HOME/socket" -p "$port" -U postgres "$@"
}

create_database() {
    [ -n "$(quick_psql -d postgres -Atc "SELECT 1 FROM pg_database WHERE datname = '$DATABASE'")" ] ||
        quick_psql -d postgres -c "CREATE DATABASE $DATABASE"
}

# ----------------------------------------------------------------------------- demo

# The unprivileged user may not be able to read the checkout (/root is closed).
copy_demo() {
    rm -rf "$ETL_HOME/demo"
    mkdir -p "$ETL_HOME/demo"
    cp -r "$ROOT/test/api" "$ROOT/scripts/quickstart.sql" "$ETL_HOME/demo/"
    give_away "$ETL_HOME/demo"
}

# On its last port if it can: what a person installed by hand goes on working.
start_sample_api() {
    local last
    stop_api "$ETL_HOME"
    last=$(cat "$ETL_HOME/api.last-port" 2>/dev/null) || last=0
    if [ "$last" -ne 0 ] && ! port_is_free "$last"; then last=0; fi
    start_api "$ETL_HOME" "$ETL_HOME/demo/api" --port "$last" || die "see $ETL_HOME/api.out"
    as_user cp "$ETL_HOME/api.port" "$ETL_HOME/api.last-port"
    api_url=http://127.0.0.1:$(cat "$ETL_HOME/api.port")
    note "$api_url"
}

build_and_install() {
    local work
    work=$(mktemp -d /tmp/etl-build.XXXXXX)
    make_private_directory "$work"
    copy_tree "$work/etl"
    if ! { build_extension "$work/etl" && install_extension "$work/etl"; }; then
        die "see above; the build is in $work"
    fi
    rm -rf "$work"
}

run_demo() {
    quick_psql -d "$DATABASE" -v api_url="$api_url" -f "$ETL_HOME/demo/quickstart.sql"
}

farewell() {
    step "6/6 It is yours now"
    note "look around:   ${SUDO_HINT}psql -h $ETL_HOME/socket -p $port -U postgres $DATABASE"
    note "stop it:       ${SUDO_HINT}$0 --stop"
    note "logs:          $ETL_HOME/postgres.log, $ETL_HOME/api.log"
}

main() {
    # Under sudo the cluster is out of the caller's own reach.
    SUDO_HINT=
    if is_root && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then SUDO_HINT="sudo "; fi
    parse_arguments "$@"
    detect_pg_major

    step "1/6 Packages (PostgreSQL $PG_MAJOR)"
    local packages
    read -ra packages <<<"$(build_packages) postgresql-$PG_MAJOR-cron"
    install_packages "${packages[@]}"

    step "2/6 Build and install the extension"
    make_home
    use_version_of_data
    build_and_install

    step "3/6 A private cluster"
    restart_cluster
    create_database

    step "4/6 A sample of the GitHub API"
    copy_demo
    start_sample_api

    step "5/6 The pipeline \"github_issues\""
    run_demo

    farewell
}

main "$@"
