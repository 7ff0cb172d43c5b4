#!/usr/bin/env bash
#
# bench/exposures.sh: what noting exposures costs evaluation, and how fast they are written down.
# Called by bench/run.sh with the cluster's directory, whose server has ff preloaded.
#
#     BENCH_EXPOSURES   rows of ff.exposures to grow to (2000000)
#
# Each round runs the same statement with ff.exposure_mode off and on, side by side in time; ratios
# are of the medians. In between what was noted is flushed or thrown away, uncounted.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

dir=$1
grow=${BENCH_EXPOSURES:-2000000}
rounds=${BENCH_PASSES:-5}

sql()
{
	scripts/cluster.sh psql "$dir" -qAt -d postgres "$@"
}

# The flag of the bench, but as an experiment, and nothing that flushes by itself.
prepare()
{
	sql -c "ALTER SYSTEM SET ff.exposure_flush_interval = '1h'" -c "ALTER SYSTEM SET ff.exposure_flush_count = 1000000000" \
		-c 'SELECT pg_reload_conf()' >/dev/null
	sql -c "INSERT INTO ff.flags (key, type, default_value, rollout, experiment) VALUES ('experiment', 'boolean', 'false',
		'[{\"variant\": \"on\", \"weight\": 30}]', '{\"active\": true}')" \
		-c 'CREATE UNLOGGED TABLE ready (is_ready boolean)' -c 'CREATE UNLOGGED TABLE gate (is_open boolean)'
}

median()
{
	sort -n | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'
}

# Seconds of a statement in each of $2 sessions at once, with mode $1. Each has run it once before,
# as sessions that live for long have; what that noted is flushed before the gate opens.
timed()
{
	local mode=$1 sessions=$2 statement=$3 i pids=()
	sql -c 'TRUNCATE ready, gate'
	for ((i = 0; i < sessions; i++)); do
		sql -c "SET ff.exposure_mode = '$mode'" -c 'SET max_parallel_workers_per_gather = 0' -c 'SET jit = off' \
			-c "DO \$\$ BEGIN PERFORM ($statement); END \$\$" -c 'INSERT INTO ready VALUES (true)' \
			-c 'DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$' \
			-c "DO \$\$ DECLARE start timestamptz := clock_timestamp(); BEGIN PERFORM ($statement);
				RAISE INFO '%', extract(epoch FROM clock_timestamp() - start); END \$\$" 2>&1 | sed -n 's/.*INFO: *//p' &
		pids+=($!)
	done
	sql -c "DO \$\$ BEGIN WHILE (SELECT count(*) FROM ready) < $sessions LOOP PERFORM pg_sleep(0.01); END LOOP; END \$\$" \
		-c 'SELECT ff_flush_exposures()' -c 'INSERT INTO gate VALUES (true)' >/dev/null
	wait "${pids[@]}"
}

longest()
{
	sort -n | tail -1
}

# What noting costs: $1 name, $2 sessions, $3 statement.
compare()
{
	local name=$1 sessions=$2 statement=$3 round off=() on=()
	for ((round = 0; round < rounds; round++)); do
		off+=("$(timed off "$sessions" "$statement" | longest)")
		on+=("$(timed experiments "$sessions" "$statement" | longest)")
		sql -c 'SELECT ff_flush_exposures()' >/dev/null
	done
	awk -v a="$(printf '%s\n' "${on[@]}" | median)" -v b="$(printf '%s\n' "${off[@]}" | median)" -v name="$name" -v s="$sessions" \
		'BEGIN { printf "{\"name\": \"noting: %s\", \"sessions\": %d, \"ratio\": %.2f, \"to\": \"ff.exposure_mode = off\", \"target\": 1.2, \"met\": %s}\n",
			name, s, a / b, a / b <= 1.2 ? "true" : "false" }'
}

bench_noting()
{
	local sessions
	for sessions in 1 2 8 32; do
		compare 'repeated users, ff_bool' "$sessions" \
			"SELECT count(ff_bool('experiment', ctx)) FROM (SELECT ctx FROM users WHERE id <= 500) u, generate_series(1, 400)"
		compare 'new users, ff_bool' "$sessions" \
			"SELECT count(ff_bool('experiment', ctx)) FROM users WHERE id <= 150000"
	done
	compare 'repeated users, ff_evaluate' 1 \
		"SELECT count(ff_evaluate('experiment', ctx)) FROM (SELECT ctx FROM users WHERE id <= 500) u, generate_series(1, 400)"
	compare 'new users, ff_evaluate' 1 \
		"SELECT count(ff_evaluate('experiment', ctx)) FROM users WHERE id <= 150000"
}

# Seconds that a flush of the users $1 to $2 takes, of whom nobody is in the buffer.
flush_seconds()
{
	sql -c "SELECT count(ff_bool('experiment', ctx || jsonb_build_object('user_id', id))) FROM users WHERE id BETWEEN $1 AND $2" >/dev/null
	sql -c 'SELECT ff_flush_exposures()' >/dev/null
	sql -c 'SELECT extract(epoch FROM last_duration) FROM ff.exposure_stats'
}

bench_flush()
{
	local n=100000 new known copy
	new=$(flush_seconds 1 $n)
	known=$(flush_seconds 1 $n)
	sql -c "CREATE TABLE rows_out AS SELECT * FROM ff.exposures WHERE exposed_at = (SELECT max(exposed_at) FROM ff.exposures)" \
		-c "\\copy rows_out TO '$dir/rows'"
	copy=$(sql -c "DO \$\$ DECLARE start timestamptz := clock_timestamp(); BEGIN COPY ff.exposures FROM '$dir/rows';
		RAISE INFO '%', extract(epoch FROM clock_timestamp() - start); END \$\$" 2>&1 | sed -n 's/.*INFO: *//p')
	awk -v new="$new" -v known="$known" -v copy="$copy" 'BEGIN {
		printf "{\"name\": \"flush of known users\", \"ratio\": %.2f, \"to\": \"speed of COPY\", \"target\": 0.33, \"met\": %s}\n", copy / known, (copy / known >= 0.33 ? "true" : "false")
		printf "{\"name\": \"flush of new users\", \"ratio\": %.2f, \"to\": \"speed of COPY\", \"target\": 0.33, \"met\": %s}\n", copy / new, (copy / new >= 0.33 ? "true" : "false") }'
}

# How long ff.exposure_counts of one flag takes as the rows grow, beside counting them.
bench_growth()
{
	local rows counts scan step=$((grow / 4)) i
	for ((i = 1; i <= 4; i++)); do
		sql -c "INSERT INTO ff.exposures (namespace, flag_key, variant_key, user_id, exposed_at, reason)
			SELECT 'default', 'experiment', 'on', 'user-' || g, now() - interval '1 hour', 'ROLLOUT' FROM generate_series(1, $step) g"
		rows=$(sql -c 'SELECT count(*) FROM ff.exposures')
		counts=$(sql -c '\timing on' -c "SELECT * FROM ff.exposure_counts WHERE flag_key = 'experiment'" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p')
		scan=$(sql -c '\timing on' -c "SELECT count(DISTINCT user_id) FROM ff.exposures WHERE flag_key = 'experiment'" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p')
		printf '{"name": "ff.exposure_counts of a flag", "rows": %d, "ms": %s, "ms_of_a_scan": %s}\n' "$rows" "$counts" "$scan"
	done
}

prepare
bench_noting
bench_flush
bench_growth
