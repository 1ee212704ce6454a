#!/bin/sh
# Assembles the install script from its parts: assemble.sh PART ... -- TEMPLATE ...
# A part stays readable on its own; the install script is generated and never committed.
set -eu
printf '%s\n' '-- Generated from the parts under sql/: edit those, not this file.'
printf '%s\n' '-- complain if script is sourced in psql, rather than via CREATE EXTENSION'
printf '%s\n' '\echo Use "CREATE EXTENSION etl" to load this file. \quit'
for part in "$@"; do
    [ "$part" = -- ] && continue
    printf '\n-- ==== %s ====\n\n' "$part"
    cat "$part"
done
