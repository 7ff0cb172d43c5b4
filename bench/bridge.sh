#!/usr/bin/env bash
#
# bench/bridge.sh: sse-bridge beside nginx with nchan, as JSON lines on standard output (make bench-bridge).
#
#     BENCH_STREAMS    numbers of streams ("200 1000 10000", as far as file descriptors go)
#     BENCH_PASSES     passes; medians are reported (3)
#
# Both send the same bytes to the same load client, in turn, each started anew for each pass. doc/benchmark.md says what the figures are. A target that is missed is reported
# ("met": false) and is no failure.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

load=build/test-bridge/sse_load
clients=bench/bridge_clients.pl
ring_kb=4096
passes=${BENCH_PASSES:-3}
server=
other=
load_pid=

clean_up()
{
	local pid
	for pid in "$load_pid" "$server" "$other"; do
		[[ -z $pid ]] || kill "$pid" 2>/dev/null || true
	done
	[[ ! -e $work/cluster ]] || scripts/cluster.sh stop "$work/cluster" || true
	rm -rf "$work"
}

sql()
{
	scripts/cluster.sh psql "$work/cluster" -qAt -d postgres "$@"
}

build()
{
	copy_sources "$work/source"
	PG_CONFIG=$(scripts/install-tree.sh "$work/tree")
	export PG_CONFIG
	quietly make -s -C "$work/source" install with_llvm=no
	quietly make -s -C sse-bridge
	quietly make -s -C test/bridge load
	chmod -R go+rX "$work"
}

start_database()
{
	scripts/cluster.sh start "$work/cluster"
	sql -c 'CREATE EXTENSION ff' -c "INSERT INTO ff.flags (key, type, default_value) VALUES ('bench', 'boolean', 'false')" \
		-c 'CREATE ROLE bridge LOGIN' -c "SELECT ff_grant('bridge', 'admin')" >/dev/null
}

# The number of the newest event.
head_of_log()
{
	sql -c 'SELECT max(id) FROM ff.events'
}

# Changes a flag so many times ($2), $1 times a second, with $3 more bytes in each event.
write_events()
{
	sql -c "DO \$\$ DECLARE start timestamptz := clock_timestamp(); BEGIN FOR i IN 1 .. $2 LOOP
		PERFORM pg_sleep(greatest(0, i / $1::float8 - extract(epoch FROM clock_timestamp() - start)));
		UPDATE ff.flags SET description = 't=' || (extract(epoch FROM clock_timestamp()) * 1000000)::bigint || repeat('x', $3)
			WHERE key = 'bench';
		COMMIT; END LOOP; END \$\$"
}

# ---------- the two servers ----------

# Waits until a command succeeds, for a minute.
wait_until()
{
	local i
	for ((i = 0; i < 600; i++)); do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.1
	done
	die "waited in vain for: $*"
}

# Starts a bridge on a port that the system chooses; sets started and its address.
launch_bridge()
{
	local log=$1
	rm -f "$log" # else what the one before wrote might be read
	build/sse-bridge/sse-bridge --listen 127.0.0.1:0 --ring-size "${ring_kb}kB" --max-connections 19000 --max-streams 18000 \
		--database "host=$(<"$work/cluster/socket") port=$(<"$work/cluster/port") dbname=postgres user=bridge" \
		2>"$log" </dev/null &
	started=$!
	wait_until grep -q 'event=listening.* port=[0-9]' "$log"
	address=127.0.0.1:$(sed -n 's/.*event=listening.* port=//p' "$log")
	wait_until curl -fs "http://$address/readyz"
}

start_bridge()
{
	launch_bridge "$work/bridge.log"
	server=$started
	measured=$server
	path=/stream
	options=()
}

# The same memory for events as the bridge has: $1 messages.
start_nchan()
{
	local port modules user=
	for ((port = 18000; port < 18100; port++)); do
		(: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
	done
	address=127.0.0.1:$port
	! is_root || user='user root;'
	modules=$(nginx -V 2>&1 | sed -n 's/.*--modules-path=\([^ ]*\).*/\1/p')
	mkdir -p "$work/nginx"
	cat >"$work/nginx/nginx.conf" <<-END
		$user
		load_module $modules/ngx_nchan_module.so;
		worker_processes 1;
		worker_rlimit_nofile $(ulimit -Hn);
		daemon off;
		pid $work/nginx/pid;
		events { worker_connections 19000; }
		http {
			access_log off;
			client_body_temp_path $work/nginx/body;
			proxy_temp_path $work/nginx/proxy;
			fastcgi_temp_path $work/nginx/fastcgi;
			uwsgi_temp_path $work/nginx/uwsgi;
			scgi_temp_path $work/nginx/scgi;
			client_body_buffer_size 64k;
			nchan_shared_memory_size 256M;
			server {
				listen $address backlog=4096;
				keepalive_requests 1000000;
				location = /sub {
					nchan_subscriber eventsource;
					nchan_channel_id events;
					nchan_subscriber_first_message newest;
					nchan_eventsource_ping_interval 15;
				}
				location = /pub {
					nchan_publisher;
					nchan_channel_id events;
					nchan_message_buffer_length $1;
				}
				location = /status { nchan_stub_status; }
			}
		}
	END
	nginx -c "$work/nginx/nginx.conf" -e "$work/nginx/error.log" 2>/dev/null </dev/null &
	server=$!
	wait_until curl -fs "http://$address/status"
	measured=$(pgrep -P "$server")
	path=/sub
	options=(--numbered)
}

stop_server()
{
	kill "$server"
	wait "$server" 2>/dev/null || true
	server=
}

# Whether it has so many streams.
has_streams()
{
	if [[ $path == /stream ]]; then
		curl -fs "http://$address/metrics" | grep -qx "ff_bridge_streams $1"
	else
		curl -fs "http://$address/status" | grep -qx "subscribers: $1"
	fi
}

# ---------- measuring ----------

resident_kb()
{
	awk '/^VmRSS:/ { print $2 }' "/proc/$measured/status"
}

# Processor time in microseconds.
cpu_us()
{
	awk -v ticks="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) * 1000000 / ticks }' "/proc/$measured/stat"
}

start_load()
{
	mkfifo "$work/in"
	"$load" --clients "$1" --path "$path" "${options[@]}" "${@:2}" "$address" <"$work/in" >"$work/found" &
	load_pid=$!
	exec 7>"$work/in"
	rm "$work/in"
}

# Ends it when all have seen an event.
finish_load()
{
	say "$1" >&7
	wait "$load_pid"
	exec 7>&-
	load_pid=
	found missing repeated backward behind | grep -qx '0 0 0 0 ' ||
		say "ff: the load client found: missing, repeated, backward, behind $(found missing repeated backward behind)" >&2
}

# What it found, by names.
found()
{
	local name
	for name; do
		printf '%s ' "$(sed -n "s/^$name=//p" "$work/found")"
	done
}

# Sends events to all clients: $1 a second, $2 of them, each with $3 more bytes.
send_events()
{
	local head
	if [[ $path == /stream ]]; then
		head=$(head_of_log)
		write_events "$1" "$2" "$3"
		last=$((head + $2))
	else
		perl "$clients" post "$address" "$1" "$2" "$work/data.$3"
		last=$2
	fi
}

# The data of an event as the bridge sends it, for the other to send.
keep_data()
{
	local stream
	curl -sN "http://$address/stream" >"$work/stream" &
	stream=$!
	wait_until has_streams 1
	write_events 10 1 "$1"
	wait_until grep -q '^event: flag_updated' "$work/stream"
	sleep 0.5
	kill "$stream"
	wait "$stream" 2>/dev/null || true
	wait_until has_streams 0
	sed -n '/^event: flag_updated/,$ s/^data: //p' "$work/stream" | tr -d '\n' >"$work/data.$1"
}

# Streams, then events: adds to the lists of what it was: bytes of memory for each stream, processor microseconds for
# each delivery, milliseconds to the last client.
measure()
{
	local n=$1 rate=$2 count=$3 before cpu_before
	start_load 20
	wait_until has_streams 20
	send_events 20 5 "$small"
	finish_load "until $last"
	wait_until has_streams 0
	before=$(resident_kb)
	start_load "$n"
	wait_until has_streams "$n"
	sleep 1
	say $((($(resident_kb) - before) * 1024 / n)) >>"$work/$4.bytes"
	cpu_before=$(cpu_us)
	send_events "$rate" "$count" "$small"
	sleep 2
	awk -v a="$(cpu_us)" -v b="$cpu_before" -v n="$((n * count))" 'BEGIN { printf "%.2f\n", (a - b) / n }' >>"$work/$4.cpu"
	finish_load "until $last"
	found p50_ms >>"$work/$4.p50"
	found p99_ms >>"$work/$4.p99"
}

# The median of what was measured: $1 of whom, $2 what.
median()
{
	tr ' ' '\n' <"$work/$1.$2" | sed '/^$/d' | sort -n | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'
}

# The latency of the API with the streams that there are, beside a bridge that has none, while events come.
measure_latency()
{
	local rate=$1 head with without
	head=$(head_of_log)
	write_events "$rate" $((rate * 12)) "$small" &
	read -r with without < <(perl "$clients" probe /flags/bench 10 "$address" "$other_address")
	wait $!
	last=$((head + rate * 12))
	result "API latency, $2 streams ($with us)" "$(ratio "$with" "$without")" "that of a bridge without streams ($without us)" 1.2
}

# Growth in kB of what has 400 streams, of which 100 take nothing.
measure_stalled()
{
	local before
	start_load 20
	wait_until has_streams 20
	send_events 20 5 "$large"
	finish_load "until $last"
	wait_until has_streams 0
	before=$(resident_kb)
	start_load 400 --stall 100
	wait_until has_streams 400
	send_events 40 "$stalled_events" "$large"
	growth=$(($(resident_kb) - before))
	finish_load "until $last"
}

ratio()
{
	awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", a / b }'
}

# One line: $1 name, $2 figure, $3 what it is a ratio to, $4 target; without one, for information.
result()
{
	awk -v name="$1" -v ratio="$2" -v to="$3" -v target="${4:-}" 'BEGIN {
		printf "{\"name\": \"%s\", \"ratio\": %s, \"to\": \"%s\"", name, ratio, to
		if (target != "") printf ", \"target\": %s, \"met\": %s", target, ratio + 0 <= target + 0 ? "true" : "false"
		printf "}\n" }'
}

# A line of both: $1 name, $2 what was measured, $3 its unit, $4 target or none.
report()
{
	result "$1 ($(median bridge "$2") $3)" "$(ratio "$(median bridge "$2")" "$(median nchan "$2")")" "nchan's ($(median nchan "$2") $3)" "${4:-}"
}

# Both in turn, with so many streams.
compare()
{
	local n=$1 rate=$2 count=$3 i
	rm -f "$work"/{bridge,nchan}.{bytes,cpu,p50,p99}
	for ((i = 0; i < passes; i++)); do
		start_bridge
		measure "$n" "$rate" "$count" bridge
		stop_server
		start_nchan 1000
		measure "$n" "$rate" "$count" nchan
		stop_server
	done

	# with few streams it is hidden in memory that was free already
	if [[ $n -ge 5000 ]]; then
		report "idle memory, $n streams" bytes bytes 0.05
		result "idle memory, $n streams" "$(median bridge bytes)" '1 byte' 512
	fi
	report "CPU of a delivery, $n streams" cpu us 0.8
	report "from publishing to the last of $n, p50" p50 ms
	report "from publishing to the last of $n, p99" p99 ms 0.8
	[[ $n -ne 1000 ]] || result "from commit to the last of $n, p99" "$(median bridge p99)" '1 ms' 100
}

compare_latency()
{
	start_bridge
	start_load "$1"
	wait_until has_streams "$1"
	measure_latency "$2" "$1"
	finish_load "until $last"
	stop_server
}

compare_stalled()
{
	local bridge_growth
	start_bridge
	keep_data "$large"
	measure_stalled
	bridge_growth=$growth
	stop_server
	start_nchan $((ring_kb * 1024 / large))
	measure_stalled
	stop_server
	result "growth with 100 of 400 streams stalled ($bridge_growth kB)" "$(ratio "$bridge_growth" $((ring_kb + 1024)))" 'ring + 1 MB' 1
	result "growth with 100 of 400 streams stalled ($bridge_growth kB)" "$(ratio "$bridge_growth" "$growth")" "nchan's ($growth kB)" 1
}

main()
{
	local n
	scripts/packages.sh bench-bridge >&2
	small=100
	large=20000
	stalled_events=800
	ulimit -n "$(ulimit -Hn)"
	work=$(mktemp -d /tmp/ff-bench.XXXXXX)
	chmod 755 "$work"
	at_exit clean_up
	build
	start_database
	launch_bridge "$work/other.log"
	other=$started
	other_address=$address
	start_bridge
	keep_data "$small"
	stop_server
	most=$(($(ulimit -n) > 11000 ? 10000 : $(ulimit -n) - 1000))
	for n in ${BENCH_STREAMS:-200 1000 10000}; do
		[[ $n -le $most ]] || n=$most
		case $n in
			200) compare 200 50 200 ;;
			1000) compare 1000 15 200 ;;
			*) compare "$n" 2 50 ;;
		esac
	done
	compare_latency 200 20
	compare_latency "$most" 2
	compare_stalled
}

main
