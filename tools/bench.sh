#!/usr/bin/env bash
# Figures of a fresh cluster of three stores on this machine: memory when idle, then raw puts and gets with few and many
# clients, or what BENCH says: arguments of `shoal bench`, runs separated by semicolons. Run it as `make bench` on a quiet machine, and
# compare with another run on the same one.
#
#   BENCH_CLIENTS="64" BENCH_DURATION=30s make bench
#   make bench BENCH="raw --workload write --rate 2000"
#   make bench BENCH="ycsb a; ycsb b --phase run; ycsb c --phase run"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

clients=${BENCH_CLIENTS:-"1 16 64 256"}
duration=${BENCH_DURATION:-10s}
offset=${BENCH_PORT_OFFSET:-7000}

out=$(mktemp)
bin/shoal playground --port-offset "$offset" >"$out" 2>&1 &
cluster=$!
stop() {
	kill -TERM "$cluster" 2>/dev/null || true
	wait "$cluster" || true
	rm -f "$out"
}
trap stop EXIT

for _ in $(seq 300); do
	pd=$(sed -n 's/^ready: //p' "$out")
	[ -n "$pd" ] && break
	kill -0 "$cluster" 2>/dev/null || break
	sleep 0.1
done
if [ -z "${pd:-}" ]; then
	cat "$out"
	echo "the cluster did not come up" >&2
	exit 1
fi

sleep 5
echo "memory of the idle cluster:"
sed -n 's/^│ \([a-z]*-*[0-9]*\) *│ *\([0-9]*\) │.*/\1 \2/p' "$out" | while read -r name pid; do
	echo "  $name: $(($(ps -o rss= -p "$pid") / 1024)) MiB"
done
if [ -z "${BENCH:-}" ]; then
	for workload in write read; do
		for n in $clients; do
			BENCH+="raw --quiet --workload $workload --clients $n --duration $duration;"
		done
	done
fi
IFS=';' read -ra runs <<<"$BENCH"
for run in "${runs[@]}"; do
	echo
	read -ra args <<<"$run"
	bin/shoal bench "${args[@]}" --pd "$pd"
done
