#!/usr/bin/env bash
#
# scripts/demo.sh: ff, shown on a PostgreSQL cluster of its own.
#
#     scripts/demo.sh demo    builds and installs ff, makes a cluster, loads sample flags and
#                             100,000 users, shows the tour, and removes the cluster (make demo)
#     scripts/demo.sh run     the same, but leaves the cluster running (make run)
#     scripts/demo.sh stop    ends that (make stop)
#
# PG_CONFIG picks the PostgreSQL, as it does for make.

set -euo pipefail
root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
. "$root/scripts/lib.sh"

# What "run" leaves for "stop": where its cluster is.
state=$root/.run

# What is removed when this script ends, however it ends: the cluster being worked on, and a
# directory for temporary files. Empty: none.
unfinished=
scratch=

# Descriptor 9 is the lock of "run", which must not live on in the server.
cluster()
{
	"$root/scripts/cluster.sh" "$@" 9>&-
}

bridge()
{
	"$root/scripts/bridge.sh" "$@" 9>&-
}

remove_unfinished()
{
	[[ -n $unfinished ]] || return 0
	bridge stop "$unfinished"
	cluster stop "$unfinished"
	[[ ! -e $state/dir || $(<"$state/dir") != "$unfinished" ]] || rm "$state/dir"
	unfinished=
}

clean_up()
{
	[[ -z $scratch ]] || rm -rf "$scratch"
	remove_unfinished
}

# make, with the PostgreSQL that was picked, and without what an outer make -n or -j hands down.
run_make()
{
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -C "$root" PG_CONFIG="$PG_CONFIG" "$@"
}

# Whether the files that "make install" would write are there already, as they would be.
installed()
{
	local tree=$1 file
	while IFS= read -r -d '' file; do
		cmp -s "$tree/$file" "/$file" || return 1
	done < <(cd "$tree" && find . -type f -print0)
}

# Whether we may write all that "make install" would write: a PostgreSQL of one's own.
installable()
{
	local tree=$1 dir
	while IFS= read -r -d '' dir; do
		dir=$(realpath -m "/$dir")
		while [[ ! -e $dir ]]; do
			dir=$(dirname "$dir") # not there yet, so its parent matters
		done
		[[ -w $dir ]] || return 1
	done < <(cd "$tree" && find . -type f -printf '%h\0')
}

install_extension()
{
	scratch=$(mktemp -d)
	quietly run_make install DESTDIR="$scratch"
	if installed "$scratch"; then
		say "ff is installed already."
	elif is_root || installable "$scratch"; then
		quietly run_make install
	elif can_be_root; then
		quietly as_root make -C "$root" PG_CONFIG="$PG_CONFIG" install
	else
		die "installing takes root. Please run this, and try again:

    sudo make -C $(printf %q "$root") PG_CONFIG=$(printf %q "$PG_CONFIG") install
"
	fi
}

build_and_install()
{
	"$root/scripts/packages.sh" build
	PG_CONFIG=$(find_pg_config)
	export PG_CONFIG
	say "Building and installing ff for $("$PG_CONFIG" --version) ..."
	quietly run_make -j"$(nproc)" || die "the build failed"
	quietly run_make -j"$(nproc)" -C "$root/sse-bridge" || die "the build of sse-bridge failed"
	install_extension
}

# A database "demo" with the extension, the sample flags and the users.
load()
{
	local dir=$1
	say "Loading sample flags and 100,000 users ..."
	cluster psql "$dir" -d postgres -q -c 'CREATE DATABASE demo'
	cluster psql "$dir" -d demo -q -c 'CREATE EXTENSION ff'
	cluster psql "$dir" -d demo -q -f "$root/demo/flags.sql"
	cluster psql "$dir" -d demo -q -f "$root/demo/users.sql"
}

show_tour()
{
	# the tour makes a mistake on purpose, which belongs between what stands around it
	cluster psql "$1" -d demo -e -P pager=off <"$root/demo/tour.sql" 2>&1
}

# Everything up to the tour, on a new cluster in directory $1. More arguments are for its start.
make_cluster()
{
	unfinished=$1
	say "Making a cluster in $1 ..."
	cluster start "$@" shared_preload_libraries=ff
	load "$1"
	show_tour "$1"
	bridge start "$1"
	bridge tour "$1"
}

demo()
{
	local began
	build_and_install
	began=$SECONDS
	make_cluster "$(mktemp -d /tmp/ff-demo.XXXXXX)"
	remove_unfinished
	say "That was ff, in $((SECONDS - began)) seconds. The cluster is gone again;" \
		"\"make run\" leaves one to play with."
}

print_connection()
{
	local dir=$1 psql=psql port
	command -v psql >/dev/null || psql=$("$(find_pg_config)" --bindir)/psql
	port=$(<"$dir/port")
	printf '    %q -h %q -p %s -U postgres demo\n' "$psql" "$(<"$dir/socket")" "$port"
	printf 'or over TCP:\n'
	printf '    PGPASSFILE=%q %q -h 127.0.0.1 -p %s -U postgres demo\n' \
		"$dir/pgpass" "$psql" "$port"
	[[ ! -s $dir/bridge.url ]] || printf 'sse-bridge serves %s; try\n    curl -N %s/stream\n' \
		"$(<"$dir/bridge.url")" "$(<"$dir/bridge.url")"
}

# Where the cluster of "run" goes: beside its state, unless the server's user can't reach that.
run_dir()
{
	if as_user "$(server_user)" test -x "$state"; then
		say "$state/cluster"
	else
		mktemp -d /tmp/ff-run.XXXXXX
	fi
}

# Whether a cluster of "run" is up, and if so how to reach it.
running()
{
	[[ -s $state/dir ]] && cluster running "$(<"$state/dir")" || return 1
	say "It is already running. Connect with"
	print_connection "$(<"$state/dir")"
}

run()
{
	local dir
	! running || return 0
	build_and_install
	mkdir -p "$state"
	exec 9>"$state/lock"
	flock -n 9 || die "another \"make run\" is at work"
	if [[ -s $state/dir ]]; then
		bridge stop "$(<"$state/dir")"
		cluster stop "$(<"$state/dir")" # what a reboot left
	fi
	dir=$(run_dir)
	say "$dir" >"$state/dir"
	make_cluster "$dir" --listen
	unfinished=
	say "The cluster is running; \"make stop\" ends it. Connect with"
	print_connection "$dir"
}

stop()
{
	if [[ ! -s $state/dir ]]; then
		say "Nothing is running."
		return
	fi
	bridge stop "$(<"$state/dir")"
	cluster stop "$(<"$state/dir")"
	rm -rf "$state"
	say "Stopped."
}

at_exit clean_up

case ${1:-} in
	demo) demo ;;
	run) run ;;
	stop) stop ;;
	*) die "usage: scripts/demo.sh demo | run | stop" ;;
esac
