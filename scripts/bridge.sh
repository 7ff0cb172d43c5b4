#!/usr/bin/env bash
#
# scripts/bridge.sh: sse-bridge on a cluster of scripts/cluster.sh, for make demo and make run.
#
#     scripts/bridge.sh start DIR    starts it in the background, for database "demo"; DIR/bridge.url
#                                    says where it serves, DIR/bridge.log what it does
#     scripts/bridge.sh tour DIR     shows the API, and a change arriving on the stream
#     scripts/bridge.sh stop DIR     ends it
#
# It serves on port 8080, or on another where that is taken.

set -euo pipefail
root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
. "$root/scripts/lib.sh"

bridge=$root/build/sse-bridge/sse-bridge
first_port=8080
last_port=8099

sql()
{
	"$root/scripts/cluster.sh" psql "$dir" -d demo -qAt "$@"
}

# Whether it serves, or ended instead.
wait_until_ready()
{
	local pid=$1 url=$2 i
	for ((i = 0; i < 100; i++)); do
		curl -fs -o /dev/null "$url/readyz" && return
		kill -0 "$pid" 2>/dev/null || return 1
		sleep 0.1
	done
	return 1
}

# Tries one port after the other. It runs in a session of its own, which outlives this script.
launch()
{
	local port pid
	for ((port = first_port; port <= last_port; port++)); do
		(: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
		setsid "$bridge" --listen "127.0.0.1:$port" \
			--database "host=$(<"$dir/socket") port=$(<"$dir/port") dbname=demo user=bridge" \
			>"$dir/bridge.log" 2>&1 </dev/null &
		pid=$!
		if wait_until_ready "$pid" "http://127.0.0.1:$port"; then
			say "$pid" >"$dir/bridge.pid"
			say "http://127.0.0.1:$port" >"$dir/bridge.url"
			return
		fi
		kill "$pid" 2>/dev/null || true
	done
	tail -n 20 "$dir/bridge.log" >&2
	rm -f "$dir"/bridge.*
	die "sse-bridge doesn't start"
}

start()
{
	sql -c 'CREATE ROLE bridge LOGIN' -c "SELECT ff_grant('bridge', 'admin')" >/dev/null
	launch
}

stop()
{
	local pid i
	[[ -s $dir/bridge.pid ]] || return 0
	pid=$(<"$dir/bridge.pid")
	rm -f "$dir"/bridge.*
	kill "$pid" 2>/dev/null || return 0
	for ((i = 0; i < 150; i++)); do
		kill -0 "$pid" 2>/dev/null || return 0
		sleep 0.1
	done
	kill -9 "$pid" 2>/dev/null || true
}

# Shows a command as one would type it, and runs it.
show()
{
	local word
	printf '\n$'
	for word; do
		[[ $word != *[[:space:]{]* ]] || word="'$word'"
		printf ' %s' "$word"
	done
	printf '\n'
	"$@"
	printf '\n'
}

# Microseconds since 1970.
now()
{
	say "${EPOCHREALTIME/[.,]/}"
}

# Reads a stream up to the event of a change, and says how long after its commit it came.
watch()
{
	local line event='' committed
	while IFS= read -r line; do
		[[ $line != event:* ]] || event=${line#event: }
		[[ $line == data:* ]] || continue
		if [[ $event == snapshot ]]; then
			: >"$dir/bridge.watching"
			continue
		fi
		arrived=$(now)
		printf 'event: %s\n%s\n' "$event" "$line"
		committed=$(sql -c "SELECT (extract(epoch FROM occurred_at) * 1000000)::bigint FROM ff.events ORDER BY id DESC LIMIT 1")
		printf '\n-- It arrived %d ms after the commit.\n' $(((arrived - committed + 500) / 1000))
		return
	done
	return 1
}

show_stream()
{
	local url=$1 reader i
	printf '\n-- A stream tells of every change. Somebody throws the kill switch in psql, and:\n'
	printf '\n$ curl -N "%s/stream?keys=new-checkout"\n' "$url"
	rm -f "$dir/bridge.watching"
	watch < <(exec curl -Ns "$url/stream?keys=new-checkout") &
	reader=$!
	for ((i = 0; i < 100; i++)); do
		[[ ! -e $dir/bridge.watching ]] || break
		sleep 0.05
	done
	rm -f "$dir/bridge.watching"
	sql -c "UPDATE ff.flags SET enabled = false WHERE key = 'new-checkout'"
	wait "$reader"
	sql -c "UPDATE ff.flags SET enabled = true WHERE key = 'new-checkout'"
}

tour()
{
	local url
	url=$(<"$dir/bridge.url")
	printf '\n-- sse-bridge serves the same flags over HTTP, evaluated in its own memory.\n'
	show curl -s "$url/evaluate/new-checkout" -H 'Content-Type: application/json' \
		-d '{"context": {"user_id": "user-6", "plan": "pro"}}'
	printf -- '-- Changes go through the database: checked there, and on record with who made them.\n'
	show curl -s -X PATCH "$url/flags/new-checkout" -H 'Content-Type: application/json' \
		-H 'FF-Actor: demo' -d '{"rollout": [{"variant": "on", "weight": 101}]}'
	show_stream "$url"
}

dir=${2:-}
[[ -n $dir ]] || die "usage: scripts/bridge.sh start | tour | stop DIR"
case $1 in
	start) start ;;
	tour) tour ;;
	stop) stop ;;
	*) die "usage: scripts/bridge.sh start | tour | stop DIR" ;;
esac
