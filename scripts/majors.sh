#!/usr/bin/env bash
#
# scripts/majors.sh MAJOR ... [SECTION ...]: the tests on other major versions of PostgreSQL.
#
#     scripts/majors.sh 17 18         what needs a server, on 17 and then on 18
#     scripts/majors.sh 18 tap        only that section of scripts/check.sh
#
# Each version runs in a small Debian of the release that brings it, in a folder that is entered by
# chroot. Making one takes minutes and about 2 GB, so it stays for the next time: remove the folder
# to have newer packages. FF_MAJORS_DIR is where they are, /tmp/ff-majors by default. The FF_
# variables of scripts/check.sh hold here, too; what FF_KEEP=1 keeps is in the folder's /tmp.
#
# It runs as root, because chroot does. The working tree is copied, and nothing is written to it.

set -euo pipefail
systems=$(realpath -m -- "${FF_MAJORS_DIR:-${TMPDIR:-/tmp}/ff-majors}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

# The sections whose outcome depends on the server. The others can be named, but for "format":
# clang-format formats differently in each release.
server_sections=(build pgtap isolation tap readme)

# Where the copy of the sources goes in each system.
copy=/usr/local/src/ff

majors=()
sections=()
failed=()

# What is removed when this script ends, however it ends: a system that is not whole.
unfinished=

usage()
{
	die "usage: scripts/majors.sh MAJOR ... [SECTION ...]"
}

# The Debian release that brings a major version. None brings 16.
release_of()
{
	case $1 in
		15) say bookworm ;;
		17) say trixie ;;
		18) say forky ;;
		*) die "no Debian release is known to bring PostgreSQL $1" ;;
	esac
}

# Where apt gets Debian from on this machine: what a machine can reach, apt has been told.
mirror()
{
	local site
	# shellcheck disable=SC2016 # the $(...) are apt's
	site=$(apt-get indextargets --format '$(LABEL) $(SITE)' 'Created-By: Packages' |
		awk '$1 == "Debian" && !found { found = 1; print $2 }')
	[[ -n $site ]] || die "apt knows no mirror of Debian; \"apt-get update\" may help"
	say "$site"
}

# Releases that are newer than debootstrap are made as sid is.
recipe_of()
{
	local recipes=/usr/share/debootstrap/scripts
	if [[ -e $recipes/$1 ]]; then
		say "$recipes/$1"
	else
		say "$recipes/sid"
	fi
}

# Runs a command in namespaces of its own: what it mounts is gone when it ends, however it ends, and
# so are servers that it started.
contained()
{
	unshare --mount --pid --fork --kill-child "$@"
}

remove_unfinished()
{
	[[ -z $unfinished ]] || rm -rf --one-file-system "$unfinished"
	unfinished=
}

# Root runs what is in there, so nobody else may have put it there.
prepare_directory()
{
	mkdir -p "$systems"
	[[ -O $systems && $((8#$(stat -c %a "$systems") & 022)) -eq 0 ]] ||
		die "$systems is not root's alone; FF_MAJORS_DIR picks another directory"
}

# One run at a time in each system. The lock is let go with the next one's, or at the end.
lock_system()
{
	exec 9>"$systems/$1.lock"
	flock -n 9 || die "another run is at work in $systems/$1"
}

# How this machine's apt fetches (proxies, whether it minds an old mirror) holds in the system, too.
copy_apt_settings()
{
	apt-config dump | grep -iE '^Acquire::(https?|retries|check)' >"$1/etc/apt/apt.conf.d/50outside" ||
		true
}

# Under another name until it is whole, so that what a failure leaves is not taken for a system.
make_system()
{
	local major=$1 release from
	release=$(release_of "$major")
	from=$(mirror)
	say "Making a Debian $release for PostgreSQL $major in $systems/$major ..."
	unfinished=$systems/$major.unfinished
	rm -rf --one-file-system "$unfinished"
	quietly contained --mount-proc debootstrap --variant=minbase "$release" "$unfinished" "$from" \
		"$(recipe_of "$release")"
	copy_apt_settings "$unfinished"
	mv "$unfinished" "$systems/$major"
	unfinished=
}

# The copy is a repository as well, because git says what check.sh is to build.
copy_to_system()
{
	local to=$systems/$1$copy
	rm -rf "$to"
	copy_sources "$to"
	git -C "$to" init -q
}

# check.sh in the system, with nothing of this machine's environment but its own settings.
check_in_system()
{
	local major=$1 name settings=()
	for name in "${!FF_@}"; do
		settings+=("$name=${!name}")
	done
	contained --root="$systems/$major" --mount-proc \
		/usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "${settings[@]}" \
		PG_CONFIG="/usr/lib/postgresql/$major/bin/pg_config" "$copy/scripts/check.sh" "${sections[@]}"
}

check_major()
{
	local major=$1
	printf '\n=== PostgreSQL %s\n' "$major"
	lock_system "$major"
	[[ -e $systems/$major ]] || make_system "$major"
	copy_to_system "$major"
	check_in_system "$major" || failed+=("$major")
}

for argument; do
	case $argument in
		[0-9]*) majors+=("$argument") ;;
		*) sections+=("$argument") ;;
	esac
done
[[ ${#majors[@]} -gt 0 ]] || usage
[[ ${#sections[@]} -gt 0 ]] || sections=("${server_sections[@]}")
for major in "${majors[@]}"; do
	release_of "$major" >/dev/null
done
is_root || die "this takes root: it makes systems and enters them by chroot"
scripts/packages.sh majors
prepare_directory
at_exit remove_unfinished
for major in "${majors[@]}"; do
	check_major "$major"
done
[[ ${#failed[@]} -eq 0 ]] || die "failed on PostgreSQL ${failed[*]}"
