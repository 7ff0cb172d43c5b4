#!/usr/bin/env bash
#
# test/readme.sh: the README's tour is what psql answers, letter by letter.
#
# It takes the statements out of README.md, runs them over the demo's flags and users on a cluster
# of its own, and compares with the page. ff must be installed (make install).

set -euo pipefail
root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
. "$root/scripts/lib.sh"

clean_up()
{
	rm -rf "$out"
	"$root/scripts/cluster.sh" stop "$dir"
}

dir=$(mktemp -d /tmp/ff-readme.XXXXXX)
out=$(mktemp -d)
at_exit clean_up

demo_psql()
{
	"$root/scripts/cluster.sh" psql "$dir" -d postgres -q "$@"
}

"$root/scripts/cluster.sh" start "$dir" shared_preload_libraries=ff
demo_psql -c 'CREATE EXTENSION ff' -f "$root/demo/flags.sql" -f "$root/demo/users.sql"

# the blocks of the page: statements, each followed by what psql answers
awk '/^```/ { inside = !inside; next } inside && NF' "$root/README.md" >"$out/page"
# a statement begins with one of these words and ends with a semicolon
awk '/^(SELECT|INSERT|UPDATE|BEGIN|SET|COMMIT|ROLLBACK)/ { statement = 1 }
	statement { print } /;$/ { statement = 0 }' "$out/page" >"$out/statements"
demo_psql -e -v ON_ERROR_STOP=0 -P pager=off <"$out/statements" 2>&1 | awk NF >"$out/psql"

[[ -s $out/statements ]] && diff -u --label README.md --label psql "$out/page" "$out/psql"
