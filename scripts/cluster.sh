#!/usr/bin/env bash
#
# scripts/cluster.sh: a private PostgreSQL cluster in a directory of its own.
#
#     scripts/cluster.sh start DIR            makes DIR, reached through a Unix socket alone; its
#                                             data would not survive a crash (fsync is off)
#     scripts/cluster.sh start DIR --listen   one to keep: fsync is on, and it also listens on a
#                                             free port of 127.0.0.1; the password is in
#                                             DIR/pgpass
#     scripts/cluster.sh start ... NAME=VALUE with settings
#     scripts/cluster.sh running DIR          whether it runs, as the exit code
#     scripts/cluster.sh psql DIR [ARG ...]   psql, as the superuser "postgres"
#     scripts/cluster.sh stop DIR             stops it, and removes it and DIR
#
# PostgreSQL refuses to run as root. Called by root, the server therefore belongs to the user
# "postgres" (or "nobody" where there is none), who must be able to reach DIR.
#
# In DIR: data/ the cluster, with its log in data/server.log; socket and port, where it is reached;
# s/ the socket, which nobody but the server's user (and root) can get to: that is why the
# connections through it need no password.

set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The path of a Unix socket has room for 107 bytes (sun_path).
socket_path_max=107

# The ports tried for --listen.
first_port=15432
last_port=15531

usage()
{
	die "usage: scripts/cluster.sh start DIR [--listen] [NAME=VALUE ...] | running DIR | psql DIR [ARG ...]" \
		"| stop DIR"
}

bindir=$("$(find_pg_config)" --bindir 2>/dev/null) ||
	die "there is no PostgreSQL: $(find_pg_config)"

# Makes an empty directory for the server's user alone.
make_private()
{
	mkdir -p "$1"
	chmod 700 "$1"
	chown "$user" "$1"
}

# Where the socket goes: into the cluster's directory, unless that path is too long for a socket
# or has a character that means something in unix_socket_directories.
make_socket_dir()
{
	local dir=$1/s LC_ALL=C
	local path="$dir/.s.PGSQL.$last_port"
	if [[ ${#path} -gt $socket_path_max || ! $path =~ ^[A-Za-z0-9/._+-]+$ ]]; then
		dir=$(mktemp -d /tmp/ff-s.XXXXXX)
	fi
	make_private "$dir"
	say "$dir" >"$1/socket"
}

initialize()
{
	local dir=$1
	as_user "$user" test -x "$dir" ||
		die "user $user, who is to run the server, can't reach $dir"
	make_private "$dir/data"
	make_socket_dir "$dir"
	as_user "$user" "$bindir/initdb" --pgdata="$dir/data" --username=postgres --auth=trust \
		--encoding=UTF8 --locale=C.UTF-8 --no-sync --no-instructions >"$dir/initdb.log" 2>&1 || {
		cat "$dir/initdb.log" >&2
		die "initdb failed"
	}
	as_user "$user" tee "$dir/data/pg_hba.conf" >/dev/null <<-'END'
		local all all              trust
		host  all all 127.0.0.1/32 scram-sha-256
	END
	as_user "$user" tee -a "$dir/data/postgresql.conf" >/dev/null <<-END
		cluster_name = 'ff'
		unix_socket_directories = '$(<"$dir/socket")'
		listen_addresses = ''
	END
}

# Starts the server on port $2. Further arguments are settings.
launch()
{
	local dir=$1 port=$2 options="-p $2" setting
	shift 2
	for setting; do
		options+=" -c $setting"
	done
	say "$port" >"$dir/port"
	# in a session of its own: a signal that ended pg_ctl now would leave us a server on its way up
	# or down that nobody waits for
	as_user "$user" setsid --wait "$bindir/pg_ctl" start -w -s -D "$dir/data" \
		-l "$dir/data/server.log" -o "$options" 2>/dev/null
}

launch_failed()
{
	as_user "$user" tail -n 20 "$1/data/server.log" >&2 || true
	die "the server doesn't start; these are the last lines of its log"
}

# Tries one port after the other: one that is free now may be taken a moment later.
launch_listening()
{
	local dir=$1 port
	shift
	for ((port = first_port; port <= last_port; port++)); do
		if (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
			continue
		fi
		launch "$dir" "$port" listen_addresses=127.0.0.1 "$@" && return
		as_user "$user" grep -q 'could not bind\|already in use' "$dir/data/server.log" ||
			launch_failed "$dir"
		as_user "$user" rm "$dir/data/server.log"
	done
	die "no port from $first_port to $last_port is free"
}

# Connections over TCP need a password, because everybody on this machine can make one, and a
# superuser of the database can run programs as the server's user.
set_password()
{
	local dir=$1 password
	password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
	psql_in "$dir" -q -d postgres <<<"ALTER USER postgres PASSWORD '$password';"
	(umask 077 && say "127.0.0.1:$(<"$dir/port"):*:postgres:$password" >"$dir/pgpass")
}

start()
{
	local dir=$1 listen='' setting
	shift
	if [[ ${1:-} == --listen ]]; then
		listen=$1
		shift
	fi
	for setting; do
		[[ $setting =~ ^[a-z_.]+=[^[:space:]]*$ ]] || usage
	done
	mkdir -p "$dir"
	[[ -z $(ls -A "$dir") ]] || die "$dir is not empty"
	user=$(server_user)
	chmod 711 "$dir"
	initialize "$dir"
	if [[ -n $listen ]]; then
		launch_listening "$dir" "$@"
		set_password "$dir"
	else
		launch "$dir" "$first_port" fsync=off synchronous_commit=off full_page_writes=off "$@" ||
			launch_failed "$dir"
	fi
}

running()
{
	[[ -e $1/data ]] || return 1
	user=$(stat -c %U "$1/data")
	is_root || [[ $user == "$(id -un)" ]] || die "the cluster in $1 belongs to $user"
	as_user "$user" "$bindir/pg_ctl" status -D "$1/data" >/dev/null 2>&1
}

psql_in()
{
	local dir=$1
	shift
	"$bindir/psql" -X -v ON_ERROR_STOP=1 -h "$(<"$dir/socket")" -p "$(<"$dir/port")" \
		-U postgres "$@"
}

stop()
{
	local dir=$1 socket
	if running "$dir"; then
		as_user "$user" "$bindir/pg_ctl" stop -w -s -m fast -D "$dir/data" ||
			as_user "$user" "$bindir/pg_ctl" stop -w -s -m immediate -D "$dir/data"
	fi
	if [[ -s $dir/socket ]]; then
		socket=$(<"$dir/socket")
		[[ $socket == "$dir/s" ]] || rm -rf -- "$socket"
	fi
	# by name, so that a wrong DIR costs nobody his files
	rm -rf -- "$dir"/{data,s,socket,port,pgpass,initdb.log}
	[[ ! -d $dir ]] || rmdir -- "$dir"
}

# With traps set, a signal makes this script wait for the program it runs. Otherwise a caller that
# removes the cluster after a Ctrl-C would race with an initdb that is not gone yet.
at_exit :

[[ $# -ge 2 && -n $2 ]] || usage
command=$1
dir=$(realpath -m -- "$2")
shift 2
case $command in
	start) start "$dir" "$@" ;;
	running) running "$dir" ;;
	psql) psql_in "$dir" "$@" ;;
	stop) stop "$dir" ;;
	*) usage ;;
esac
