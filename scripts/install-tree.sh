#!/usr/bin/env bash
#
# scripts/install-tree.sh DIR: a PostgreSQL of our own under DIR, to install extensions into.
#
# PostgreSQL finds its files by where its programs lie, so a copy of its folders is a second
# installation. Tests use one: they touch nothing that the system has installed, and need not be
# root for it. Prints the path of the copy's pg_config.

set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ $# -eq 1 ]] || die "usage: scripts/install-tree.sh DIR"
mkdir -p "$1"
tree=$(realpath "$1")
config=$(find_pg_config)

# Folders keep their places relative to one another, which is what the programs go by.
for what in bindir pkglibdir sharedir; do
	from=$("$config" "--$what")
	mkdir -p "$tree$from"
	cp -a "$from/." "$tree$from/"
done
for what in includedir includedir-server pkgincludedir; do
	from=$("$config" "--$what")
	mkdir -p "$(dirname "$tree$from")"
	[[ -e $tree$from || ! -e $from ]] || ln -s "$from" "$tree$from"
done
chmod -R go+rX "$tree"
say "$tree$("$config" --bindir)/pg_config"
