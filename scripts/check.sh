#!/usr/bin/env bash
#
# scripts/check.sh [SECTION ...]: all tests, or those of the sections named.
#
# Everything is built from a copy of the files that git does not ignore, with warnings as errors, and
# installed into a PostgreSQL of its own: neither the working tree nor the system is touched.
# FF_KEEP=1 keeps the directory with copy, logs and results.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

sections=(format sql engine sanitize bridge build pgtap isolation tap readme)
strict="-Wall -Wextra -Werror -Wno-unused-parameter" # the server's headers have unused parameters
passed=0
failed=()

clean_up()
{
	[[ ! -e $work/cluster ]] || PG_CONFIG=$tree_config scripts/cluster.sh stop "$work/cluster" || true
	if [[ -n ${FF_KEEP:-} ]]; then
		say "kept: $work"
	else
		rm -rf "$work"
	fi
}

# ---------- sections without a server ----------

check_format()
{
	mapfile -t files < <(git ls-files '*.c' '*.h' | grep -v ffe_casefold.h)
	clang-format --dry-run -Werror "${files[@]}"
}

# The install script is what its parts make, and keeps to the rules for such scripts: it creates
# and never replaces, because what is there already may be somebody's trap.
check_sql()
{
	cat sql/*.sql | diff -u ff--1.0.sql -
	if grep -nE 'OR REPLACE|IF NOT EXISTS|SECURITY DEFINER' sql/*.sql; then
		say "the install script must create, and nothing in it may run with others' rights"
		return 1
	fi
}

# The engine knows no server, keeps no state of its own, and needs of the C library only functions
# that compute, and memory for those who ask for ffe_malloc.
check_engine_symbols()
{
	local allowed='^(mem(cmp|cpy|move|set|chr|mem)|str(len|cmp|cpy|cat)|__str(cpy|cat)_chk|__mem(cpy|move|set)_chk|(__)?v?snprintf(_chk)?|inet_pton|round|malloc|free|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|pcre2_[a-z_]+_8|ffe_[a-z_]+)$'
	if grep -nE '#include +["<](postgres|fmgr|utils/|access/|libpq|jansson)' src/engine/*.[ch]; then
		say "the engine includes a host's header"
		return 1
	fi
	mkdir -p "$work/symbols"
	for file in src/engine/*.c; do
		gcc -std=c11 -D_GNU_SOURCE -O2 -c "$file" -o "$work/symbols/$(basename "$file" .c).o"
	done
	nm -u "$work"/symbols/*.o >"$work/symbols/undefined"
	if awk 'NF == 2 { print $2 }' "$work/symbols/undefined" | sort -u | grep -vE "$allowed"; then
		say "the engine calls what it should not"
		return 1
	fi
}

check_engine()
{
	check_engine_symbols
	make -s -C test/engine check
}

check_sanitize()
{
	make -s -C test/engine check-sanitize
}

check_bridge()
{
	make -s -C test/bridge check
	make -s -C test/bridge check-sanitize
}

# ---------- sections with a server ----------

# A copy of the sources, built strictly, in a server of its own. It is called where a failure must
# not end the script, so that set -e doesn't hold in it either: each step says what becomes of its
# failure.
build_copy()
{
	copy_sources "$work/source" || return 1
	tree_config=$(scripts/install-tree.sh "$work/tree") || return 1
	export PG_CONFIG=$tree_config
	if ! make -s -C "$work/source" with_llvm=no FF_CFLAGS="$strict" >"$work/build.log" 2>&1 ||
		! make -s -C "$work/source" install with_llvm=no >>"$work/build.log" 2>&1 ||
		! make -s -C "$work/source/sse-bridge" CFLAGS="-O2 -g -Werror" >>"$work/build.log" 2>&1 ||
		! make -s -C "$work/source/test/bridge" load >>"$work/build.log" 2>&1; then
		cat "$work/build.log"
		return 1
	fi
	chmod -R go+rX "$work"
}

# Once, for all sections, even if it fails: it would fail again, in a copy of the copied server.
built=
build()
{
	if [[ -z $built ]]; then
		if build_copy; then
			built=true
		else
			built=false
		fi
	fi
	$built
}

check_build()
{
	build
}

start_cluster()
{
	[[ -e $work/cluster ]] || scripts/cluster.sh start "$work/cluster"
}

# Environment for clients of the cluster.
in_cluster()
{
	PGHOST=$(<"$work/cluster/socket") PGPORT=$(<"$work/cluster/port") PGUSER=postgres \
		PATH="$("$tree_config" --bindir):$PATH" "$@"
}

# Each file in a database of its own, so that one can't lean on another.
check_pgtap()
{
	local status=0 file name
	build
	start_cluster
	in_cluster psql -Xq -d postgres -c 'CREATE DATABASE ff_pgtap'
	in_cluster psql -Xq -d ff_pgtap -c 'CREATE EXTENSION pgtap'
	for file in test/pgtap/*.sql; do
		name=ff_$(basename "$file" .sql)
		in_cluster psql -Xq -d postgres -c "CREATE DATABASE $name TEMPLATE ff_pgtap"
		in_cluster pg_prove --dbname "$name" "$file" || status=1
	done
	return "$status"
}

check_isolation()
{
	local regress specs
	build
	start_cluster
	regress=$("$tree_config" --pkglibdir)/pgxs/src/test/isolation
	specs=$(cd test/isolation/specs && ls -- *.spec | sed 's/\.spec$//')
	mkdir -p "$work/isolation"
	in_cluster psql -Xq -d postgres -c 'CREATE DATABASE ff_isolation'
	in_cluster psql -Xq -d ff_isolation -c 'CREATE EXTENSION ff'
	# shellcheck disable=SC2086 # a list of names
	in_cluster "$regress/pg_isolation_regress" --inputdir=test/isolation \
		--outputdir="$work/isolation" --bindir="$("$tree_config" --bindir)" \
		--use-existing --dbname=ff_isolation $specs || {
		cat "$work"/isolation/regression.diffs
		return 1
	}
}

# What npm brings for tests with clients of the bridge: of the versions, and with the checksums, in
# package-lock.json. No package runs a script of its own here.
install_clients()
{
	(cd "$work/source/test/clients" &&
		quietly npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier) || {
		say "npm can't install what test/clients needs"
		return 1
	}
	chmod -R go+rX "$work/source/test/clients"
}

# The server's own test library makes clusters as it needs them, and doesn't run as root.
check_tap()
{
	local user pgxs
	build
	install_clients
	user=$(server_user)
	pgxs=$("$tree_config" --pkglibdir)/pgxs
	mkdir -p "$work/tap"
	chown "$user" "$work/tap"
	as_user "$user" env \
		PATH="$("$tree_config" --bindir):$PATH" PG_CONFIG="$tree_config" \
		PG_REGRESS="$pgxs/src/test/regress/pg_regress" TESTDIR="$work/tap" TESTDATADIR="$work/tap/data" \
		TESTLOGDIR="$work/tap/log" TMPDIR="$work/tap" FF_SOURCE="$work/source" \
		FF_ORACLE_OPERATIONS="${FF_ORACLE_OPERATIONS:-}" FF_ORACLE_SEED="${FF_ORACLE_SEED:-}" \
		prove -I "$pgxs/src/test/perl" -I "$work/source/test/t" "$work"/source/test/t/*.pl
}

check_readme()
{
	build
	test/readme.sh
}

# ---------- all of them ----------

# In a shell of its own, where the first command that fails ends it, as `if` and `||` would not.
run_section()
{
	local name=$1 status=0
	printf '\n=== %s\n' "$name"
	set +e
	(set -e; "check_$name")
	status=$?
	set -e
	if [[ $status -eq 0 ]]; then
		passed=$((passed + 1))
	else
		failed+=("$name")
		printf '=== %s FAILED\n' "$name"
	fi
}

scripts/packages.sh check
work=$(mktemp -d /tmp/ff-check.XXXXXX)
chmod 755 "$work"
tree_config=
at_exit clean_up
[[ $# -eq 0 ]] || sections=("$@")
for section in "${sections[@]}"; do
	case $section in
		build | pgtap | isolation | tap | readme)
			build || { failed+=("$section"); continue; }
			;;
	esac
	run_section "$section"
done
printf '\n%d passed, %d failed\n' "$passed" "${#failed[@]}"
[[ ${#failed[@]} -eq 0 ]] || {
	say "failed: ${failed[*]}"
	exit 1
}
