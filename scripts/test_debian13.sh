#!/usr/bin/env bash
# Runs scripts/test.sh on Debian 13, hence on PostgreSQL 17, in a root directory
# made by debootstrap. Needs root; prints what test.sh prints.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SUITE=trixie
# Outside of the checkout, and kept: making it costs a minute, reusing it nothing.
TARGET=${ETL_DEBIAN13_ROOT:-/var/tmp/etl-debian13}
COMPLETE=etc/etl-test-root-complete

usage() {
    cat <<TEXT
usage: scripts/test_debian13.sh [--fresh] [argument of test.sh ...]

  --fresh   make the root directory anew

The root directory is $TARGET (ETL_DEBIAN13_ROOT). Its packages come from the
mirror that apt uses here; on another distribution than Debian name one in
ETL_DEBIAN_MIRROR.
TEXT
}

# ------------------------------------------------------------------------- mirrors

# apt_site LABEL: where apt here gets Debian's packages from. "Debian" has the
# distribution, "Debian-Security" its updates.
apt_site() {
    local site
    # shellcheck disable=SC2016  # apt's own variables
    site=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(SITE)' 'Created-By: Packages' |
               awk -F '|' -v label="$1" '$1 == "Debian" && $2 == label { print $3; exit }')
    case "$site" in
        # A list of mirrors in a file, as Debian's cloud images have it.
        mirror+file:*) awk '/^[a-z]+:/ { print $1; exit }' "${site#mirror+file:}" ;;
        *) echo "$site" ;;
    esac
}

find_mirrors() {
    mirror=${ETL_DEBIAN_MIRROR:-$(apt_site Debian)}
    if [ -z "$mirror" ]; then
        as_root apt-get -q update >/dev/null || true
        mirror=$(apt_site Debian)
    fi
    [ -n "$mirror" ] || die "found no Debian mirror in apt's sources; set ETL_DEBIAN_MIRROR"
    security=$(apt_site Debian-Security)
}

# -------------------------------------------------------------------- root directory

make_root() {
    local log=$TARGET.log
    step "Debian 13 in $TARGET"
    if [ -f "$TARGET/$COMPLETE" ]; then
        note "exists already"
        return
    fi
    install_packages debootstrap debian-archive-keyring
    rm -rf --one-file-system "$TARGET"
    note "debootstrap; its output goes to $log"
    quietly "$log" debootstrap --variant=minbase "$SUITE" "$TARGET" "$mirror" ||
        die "debootstrap failed"
    configure_apt
    configure_names
    touch "$TARGET/$COMPLETE"
}

# What this machine's apt needs to reach its mirror (a proxy, a certificate, a
# clock it is not to believe), the one inside needs as well.
configure_apt() {
    apt-config dump | grep -E '^Acquire::(http|https|Retries|Check-Date|Check-Valid-Until|Max-FutureTime)\b' \
        >"$TARGET/etc/apt/apt.conf.d/90host" || true
    if [[ $mirror$security == *https:* ]]; then
        cp -L /etc/ssl/certs/ca-certificates.crt "$TARGET/etc/ssl/host-certificates.crt"
        echo 'Acquire::https::CAInfo "/etc/ssl/host-certificates.crt";' >>"$TARGET/etc/apt/apt.conf.d/90host"
    fi
    {
        echo "deb $mirror $SUITE main"
        if [ -n "$security" ]; then echo "deb $security $SUITE-security main"; fi
    } >"$TARGET/etc/apt/sources.list"
}

configure_names() {
    cp -L /etc/resolv.conf "$TARGET/etc/resolv.conf"
    echo debian13 >"$TARGET/etc/hostname"
    [ -s "$TARGET/etc/hosts" ] || echo '127.0.0.1 localhost debian13' >"$TARGET/etc/hosts"
}

copy_checkout() {
    local inside=$TARGET/srv/etl
    rm -rf --one-file-system "$inside"
    mkdir -p "$inside"
    # As committed plus what is not yet: what a person here would test.
    tar -C "$ROOT" -cf - --exclude=./.git --exclude='*.o' --exclude='*.so' --exclude='*.bc' . |
        tar -C "$inside" --no-same-owner -xf -
}

# --------------------------------------------------------------------------- inside

# Runs inside its own mount and process namespaces: mounts and processes
# end with it, however it ends, so there is nothing to unmount.
# shellcheck disable=SC2016  # expanded by the inner shell
ENTER='
set -eu
target=$1
shift
mount -t proc proc "$target/proc"
mount -t tmpfs -o mode=1777 tmpfs "$target/dev/shm"
exec chroot "$target" "$@"'

may_unshare() { unshare --mount --pid --fork true 2>/dev/null; }

# PostgreSQL and bash get by without /proc (process substitution does not, hence
# none in lib.sh, test.sh and lint.sh), but not without a /dev/shm to write to.
enter_plainly() {
    warn "no right to mount here: going on without /proc"
    chmod 1777 "$TARGET/dev/shm"
    chroot "$TARGET" "$@"
}

enter() {
    local clean=(/usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
                 DEBIAN_FRONTEND=noninteractive TERM=dumb CI="${CI:-}")
    if may_unshare; then
        unshare --mount --pid --fork --kill-child sh -c "$ENTER" enter "$TARGET" "${clean[@]}" "$@"
    else
        enter_plainly "${clean[@]}" "$@"
    fi
}

main() {
    local fresh=
    case "${1:-}" in
        --fresh) fresh=yes; shift ;;
        -h | --help) usage; exit ;;
    esac
    is_root || die "needs root: sudo $0"
    detect_pg_major
    find_mirrors
    if [ -n "$fresh" ]; then rm -f "$TARGET/$COMPLETE"; fi
    make_root
    copy_checkout
    step "scripts/test.sh inside"
    enter /srv/etl/scripts/test.sh "$@" </dev/null
}

main "$@"
