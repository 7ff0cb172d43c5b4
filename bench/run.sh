#!/usr/bin/env bash
#
# bench/run.sh: what ff costs, as JSON lines on standard output.
#
#     BENCH_USERS    rows of the table (1000000)
#     BENCH_PASSES   counted passes over all queries; medians are reported (5)
#     BENCH_SECONDS  how long pgbench runs for each statement (5)
#
# Figures are ratios to floors of the same run, because machines are noisy; doc/benchmark.md says
# what each is. A target that is missed is reported ("met": false) and is no failure.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

users=${BENCH_USERS:-1000000}
passes=${BENCH_PASSES:-5}
seconds=${BENCH_SECONDS:-5}

clean_up()
{
	[[ ! -e $work/cluster ]] || scripts/cluster.sh stop "$work/cluster" || true
	rm -rf "$work"
}

sql()
{
	scripts/cluster.sh psql "$work/cluster" -q -d postgres "$@"
}

# ff as `make` builds it, and the floor, in a server of their own.
build()
{
	mkdir -p "$work/source"
	git ls-files -z -co --exclude-standard | xargs -0 tar cf - --ignore-failed-read | tar xf - -C "$work/source"
	PG_CONFIG=$(scripts/install-tree.sh "$work/tree")
	export PG_CONFIG
	quietly make -s -C "$work/source" install with_llvm=no
	gcc -O2 -shared -fPIC -I"$("$PG_CONFIG" --includedir-server)" -o "$work/bench_true.so" bench/bench_true.c
	chmod -R go+rX "$work"
}

# Everything measured has to lie in shared buffers, and no scan may take the ring meant for others.
start()
{
	scripts/cluster.sh start "$work/cluster"
	sql -c "ALTER SYSTEM SET shared_buffers = '4GB'" -c "ALTER SYSTEM SET autovacuum = off" \
		-c "ALTER SYSTEM SET checkpoint_timeout = '1h'" -c "ALTER SYSTEM SET max_wal_size = '8GB'" \
		-c "ALTER SYSTEM SET shared_preload_libraries = 'ff'"
	as_user "$(server_user)" "$("$PG_CONFIG" --bindir)/pg_ctl" restart -w -s -D "$work/cluster/data" >/dev/null
}

load()
{
	sql -c 'CREATE EXTENSION ff' -c "CREATE FUNCTION bench_true(text, jsonb) RETURNS boolean
		LANGUAGE c STABLE PARALLEL SAFE COST 5 AS '$work/bench_true.so'"
	sql -v users="$users" -f bench/users.sql -f bench/flags.sql -f bench/peer.sql
}

# Percentiles of one statement's latency in microseconds, as pgbench logs them: "p50 p99".
latencies()
{
	local log=$work/log
	rm -f "$log".*
	PGHOST=$(<"$work/cluster/socket") PGPORT=$(<"$work/cluster/port") PGUSER=postgres \
		"$("$PG_CONFIG" --bindir)/pgbench" -n -c 1 -T "$seconds" -M prepared -f "$1" -l --log-prefix="$log" postgres \
		>/dev/null 2>&1
	awk '{ print $3 }' "$log".* | sort -n |
		awk '{ a[NR] = $1 } END { print a[int(NR * 0.50) + 1], a[int(NR * 0.99) + 1] }'
}

bench_latency()
{
	local p50 p99 floor50 floor99
	say 'SELECT 1;' >"$work/one.sql"
	say "SELECT ff_evaluate('rules', '$(<"$work/context.json")');" >"$work/evaluate.sql"
	read -r floor50 floor99 < <(latencies "$work/one.sql")
	read -r p50 p99 < <(latencies "$work/evaluate.sql")
	printf '{"name": "one SELECT 1, prepared", "p50_us": %d, "p99_us": %d}\n' "$floor50" "$floor99"
	printf '{"name": "one ff_evaluate of ten rules, prepared", "p50_us": %d, "p99_us": %d, ' "$p50" "$p99"
	awk -v a="$p50" -v b="$floor50" -v p="$p99" 'BEGIN { printf "\"share_above_select_1\": %.2f, \"target_p99_us\": 1000, \"met\": %s}\n", (a - b) / a, p < 1000 ? "true" : "false" }'
}

# Instructions of one evaluation: those of 3000 less those of 1000, over 2000.
instructions()
{
	local counts=() times
	for times in 1000 3000; do
		valgrind --tool=callgrind --callgrind-out-file=/dev/null "$work/engine_bench" "$1" \
			"$work/context.json" "$times" >/dev/null 2>"$work/callgrind"
		counts+=("$(awk '/Collected/ { print $4 }' "$work/callgrind")")
	done
	say $(((counts[1] - counts[0]) / 2000))
}

# Regular expressions run as machine code of their own, which callgrind counts, too.
bench_engine()
{
	local flag
	gcc -std=c11 -D_GNU_SOURCE -O2 -o "$work/engine_bench" bench/engine_bench.c src/engine/*.c src/engine/json/*.c \
		-ljansson -lpcre2-8 -lm
	for flag in plain rollout variants rules; do
		sql -At -c "SELECT ff_flag('$flag')" >"$work/$flag.json"
		printf '{"name": "engine alone: %s", "instructions": %d}\n' "$flag" "$(instructions "$work/$flag.json")"
	done
}

main()
{
	scripts/packages.sh bench >&2
	work=$(mktemp -d /tmp/ff-bench.XXXXXX)
	chmod 755 "$work"
	at_exit clean_up
	build
	start
	load
	sql -At -c 'SELECT ctx FROM users WHERE id = 5' >"$work/context.json"
	sql -v users="$users" -v passes="$passes" -f bench/measure.sql
	bench_latency
	bench_engine
	bench/exposures.sh "$work/cluster"
}

main
