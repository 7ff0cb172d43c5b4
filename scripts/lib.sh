# shellcheck shell=bash
# scripts/lib.sh: what the scripts share. It is sourced, not run.

# Nothing of the caller's environment may lead a client to a server that is not ours, so every
# PG* variable goes; PG_CONFIG alone says which PostgreSQL to build against.
for variable in "${!PG@}"; do
	[[ $variable == PG_CONFIG ]] || unset "$variable"
done
unset variable

# git refuses a working tree that belongs to somebody else, which root often stands in: a checkout
# mounted into a container, or "sudo make check". Who runs our scripts trusts this tree already.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory
GIT_CONFIG_VALUE_0=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
export GIT_CONFIG_VALUE_0

say()
{
	printf '%s\n' "$*"
}

die()
{
	printf 'ff: %s\n' "$*" >&2
	exit 1
}

# Runs a command whose output matters only if it fails.
quietly()
{
	local output status=0
	output=$("$@" 2>&1) || status=$?
	[[ $status -eq 0 ]] || tail -n 60 <<<"$output" >&2
	return "$status"
}

# Has a function called when this script ends, however it ends. A signal comes twice where make
# and the terminal both send it; the second must not cut short what the first began.
at_exit()
{
	# shellcheck disable=SC2064 # $1 is to be expanded now
	trap "ending=1; trap '' HUP INT TERM; $1" EXIT
	trap 'end_by_signal 129' HUP
	trap 'end_by_signal 130' INT
	trap 'end_by_signal 143' TERM
}

end_by_signal()
{
	if [[ -z ${ending:-} ]]; then
		ending=1
		exit "$1"
	fi
}

# Copies the files that git does not ignore, as they are in the working tree that one is in.
copy_sources()
{
	mkdir -p "$1" || return 1
	git ls-files -z -co --exclude-standard | xargs -0 tar cf - --ignore-failed-read | tar xf - -C "$1"
}

is_root()
{
	[[ $(id -u) -eq 0 ]]
}

# Whether as_root would work without asking anybody for a password.
can_be_root()
{
	is_root || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }
}

as_root()
{
	if is_root; then
		"$@"
	else
		sudo -n "$@"
	fi
}

# The user that the server of a new cluster runs as.
server_user()
{
	if ! is_root; then
		id -un
	elif id -u postgres >/dev/null 2>&1; then
		say postgres
	else
		say nobody
	fi
}

# Runs a command as user $1: oneself or, for root, anybody. From /, because the current
# directory may be closed to that user.
as_user()
{
	local user=$1
	shift
	if [[ $(id -un) == "$user" ]]; then
		(cd / && "$@")
	else
		(cd / && setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups \
			env -i PATH="$PATH" LC_ALL=C.UTF-8 HOME=/ "$@")
	fi
}

# The major version of PostgreSQL that this distribution brings. Those that ff can't be built for
# are left out: asking apt for 15 there gives the clearest message.
distribution_major()
{
	local system
	# Debian's next release has a name before it has a number
	system=$(. /etc/os-release 2>/dev/null &&
		printf '%s:%s' "${ID:-}" "${VERSION_ID:-${VERSION_CODENAME:-}}") || true
	case $system in
		debian:13*) say 17 ;;
		debian:14* | debian:forky) say 18 ;;
		ubuntu:24.*) say 16 ;;
		*) say 15 ;;
	esac
}

# The pg_config to build with: PG_CONFIG; else the one in PATH, where it belongs to a server that
# extensions can be built for; else the one that the distribution's packages will bring.
find_pg_config()
{
	local pgxs
	if [[ -n ${PG_CONFIG:-} ]]; then
		say "$PG_CONFIG"
	elif pgxs=$(pg_config --pgxs 2>/dev/null) && [[ -e $pgxs ]]; then
		command -v pg_config
	else
		say "/usr/lib/postgresql/$(distribution_major)/bin/pg_config"
	fi
}
