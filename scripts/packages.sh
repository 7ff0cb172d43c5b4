#!/usr/bin/env bash
#
# scripts/packages.sh: installs the Debian packages that ff needs, those that are missing.
#
#     scripts/packages.sh build           what make, make demo and make run need
#     scripts/packages.sh check           that, and what make check needs
#     scripts/packages.sh bench           that of build, and what the benchmarks need
#     scripts/packages.sh bench-bridge    that of build, and nginx with nchan, which make bench-bridge
#                                         compares with (Debian starts it, on port 80)
#     scripts/packages.sh majors          that of build, and what make check-majors needs
#     scripts/packages.sh --list check    names them, and changes nothing
#
# It installs as root or through sudo, if sudo asks for no password. Otherwise it prints the line
# to run and exits with 1. PG_CONFIG picks the PostgreSQL, as it does for make.

set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

build_packages=(gcc libc6-dev make libxxhash-dev libpcre2-dev curl libpq-dev libevent-dev
	libhttp-parser-dev libjansson-dev libcurl4-openssl-dev libssl-dev libsystemd-dev uthash-dev)
check_packages=(git libtap-parser-sourcehandler-pgtap-perl libipc-run-perl libdbd-pg-perl
	libcmocka-dev libjansson-dev clang libclang-rt-dev clang-format valgrind
	nodejs npm chromium pgbouncer)
bench_packages=(valgrind libjansson-dev)
bench_bridge_packages=(nginx-light libnginx-mod-nchan)
majors_packages=(git debootstrap)

# Keeps Debian from making a cluster "main", and starting it, beside the server's package. A file
# of our own that is gone after the installation is the least that does it: createcluster.conf
# is the administrator's, and a policy-rc.d would keep every other service from starting too.
no_main_cluster=/etc/postgresql-common/createcluster.d/zz-ff.conf

usage()
{
	die "usage: scripts/packages.sh [--list] build|check|bench|bench-bridge|majors ..."
}

# The major version whose packages are wanted; empty where PG_CONFIG is a PostgreSQL that no
# package brought, and none replaces.
packaged_major()
{
	local config bindir
	config=$(find_pg_config)
	bindir=$("$config" --bindir 2>/dev/null) || bindir=$(dirname "$config")
	if [[ $bindir =~ ^/usr/lib/postgresql/([0-9]+)/bin$ ]]; then
		say "${BASH_REMATCH[1]}"
	fi
}

# The packages for the purposes named, one a line.
list_packages()
{
	local major purpose
	major=$(packaged_major)
	printf '%s\n' "${build_packages[@]}"
	if [[ -n $major ]]; then
		printf '%s\n' "postgresql-$major" "postgresql-server-dev-$major"
	fi
	for purpose; do
		case $purpose in
			build) ;;
			check)
				printf '%s\n' "${check_packages[@]}"
				[[ -z $major ]] || say "postgresql-$major-pgtap"
				;;
			bench) printf '%s\n' "${bench_packages[@]}" ;;
			bench-bridge) printf '%s\n' "${bench_bridge_packages[@]}" ;;
			majors) printf '%s\n' "${majors_packages[@]}" ;;
			*) usage ;;
		esac
	done
}

# What is installed by name, or provided by what is: node's own package of nodejs has npm in it.
missing_packages()
{
	# shellcheck disable=SC2016 # the ${...} is dpkg-query's
	comm -23 <(list_packages "$@" | sort -u) \
		<(dpkg-query -W -f '${db:Status-Status} ${Package}, ${Provides}\n' | sed -n 's/^installed //p' |
			tr ',' '\n' | sed 's/ *(.*//; s/^ *//' | sort -u)
}

# There is no apt. What is there may do all the same; only the compiler can tell.
without_apt()
{
	local config
	config=$(find_pg_config)
	if command -v make >/dev/null && [[ -e $("$config" --pgxs 2>/dev/null) ]] &&
		printf '#define PCRE2_CODE_UNIT_WIDTH 8\n#include <pcre2.h>\n#include <xxhash.h>\n' |
			cc -E - >/dev/null 2>&1; then
		return 0
	fi
	die "this system has no apt-get, so please install: a C compiler, make, PostgreSQL 15 or newer
    with its server headers (PG_CONFIG=/path/to/pg_config picks one), and the headers of xxHash
    and PCRE2. On Debian they are: $(list_packages "$@" | sort -u | paste -sd ' ')"
}

remove_no_main_cluster()
{
	as_root rm -f "$no_main_cluster"
	as_root rmdir --ignore-fail-on-non-empty "$(dirname "$no_main_cluster")"
}

install_packages()
{
	at_exit remove_no_main_cluster
	as_root mkdir -p "$(dirname "$no_main_cluster")"
	# shellcheck disable=SC2016 # $1 is the inner shell's
	as_root sh -c 'echo "create_main_cluster = false" >"$1"' sh "$no_main_cluster"

	local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq
		-o DPkg::Lock::Timeout=120 -o Acquire::Retries=3)
	quietly as_root "${apt[@]}" update
	quietly as_root "${apt[@]}" install -y --no-install-recommends "$@"
}

main()
{
	local list=false missing
	if [[ ${1:-} == --list ]]; then
		list=true
		shift
	fi
	[[ $# -gt 0 ]] || usage
	list_packages "$@" >/dev/null
	if $list; then
		list_packages "$@" | sort -u
		return
	fi

	if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
		without_apt "$@"
		return
	fi
	mapfile -t missing < <(missing_packages "$@")
	[[ ${#missing[@]} -gt 0 ]] || return 0
	if ! can_be_root; then
		printf 'ff: Debian packages are missing. Please run this, and try again:\n\n    %s\n\n' \
			"sudo apt-get install --no-install-recommends ${missing[*]}" >&2
		exit 1
	fi
	say "Installing ${missing[*]} ..."
	install_packages "${missing[@]}"
}

main "$@"
