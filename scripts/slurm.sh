#!/usr/bin/env bash
# Runs conf/slurm.sbatch on a real Slurm of this host alone: a controller and four nodes of Debian's packages, each node
# with its tasks in a lab of its own. While the scan runs, one node loses its power, and one task is requeued. Then the 16
# shards, merged, must be the one scan.
#
# All daemons are in namespaces of their own, with a key and folders that are made for them and removed: nothing of them
# reaches a network, no service of the machine is touched, and no process outlives the script.
#
# Exit code 77: the packages are unavailable here.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
. scripts/lib.sh

nodes=4
# A shard takes some seconds, so that its node can fail meanwhile.
rate=16K
scan=(-p 80 --allow-reserved -c 1 --checkpoint-interval 0.2 198.18.0.0/16)

# ---- inside the namespaces

slurm_conf() {
	cat <<-END
		ClusterName=lab
		SlurmctldHost=localhost(127.0.0.1)
		SlurmUser=root
		SlurmdUser=root
		AuthType=auth/munge
		CryptoType=crypto/munge
		# A requeued task waits until its credential has expired: not for two minutes.
		AuthInfo=socket=$work/munge/socket,cred_expire=5
		StateSaveLocation=$work/state
		SlurmdSpoolDir=$work/spool-%n
		SlurmctldPidFile=$work/slurmctld.pid
		SlurmdPidFile=$work/slurmd-%n.pid
		SlurmctldLogFile=$work/slurmctld.log
		SlurmdLogFile=$work/slurmd-%n.log
		ProctrackType=proctrack/linuxproc
		TaskPlugin=task/none
		SchedulerType=sched/builtin
		SchedulerParameters=batch_sched_delay=0,sched_interval=1
		SelectType=select/linear
		SwitchType=switch/none
		MpiDefault=none
		SlurmdParameters=config_overrides
		ReturnToService=2
		SlurmdTimeout=6
		KillWait=5
		MessageTimeout=5
	END
	for node in $(seq $nodes); do
		echo "NodeName=node$node NodeHostname=localhost NodeAddr=127.0.0.1 Port=$((17000 + node)) CPUs=1 RealMemory=500"
	done
	echo "PartitionName=lab Nodes=ALL Default=YES MaxTime=10 State=UP"
}

# Starts a node. When its first process ends, so do all others of it.
start_node() {
	setsid unshare --pid --fork --kill-child=KILL --mount --mount-proc slurmd -D -N "node$1" \
		>>"$work/node$1.said" 2>&1 &
	node_pid[$1]=$!
}

# eventually SECONDS WHAT COMMAND...: until the command succeeds.
eventually() {
	local seconds=$1 what=$2 until=$((SECONDS + $1))
	shift 2
	until "$@"; do
		[ $SECONDS -lt $until ] || fail "$what: not within $seconds s"
		sleep 0.2
	done
}

nodes_are_up() { [ "$(sinfo --noheader --Node --states idle --format %N | wc -l)" = "$nodes" ]; }
no_job_is_left() { [ -z "$(squeue --noheader)" ]; }
# The tasks that run, with the number of their node: TASK NODE.
running() { squeue --noheader --array --states running --format '%K %N' | sed 's/node//'; }
# A task whose scan has sent for a while, and has not finished.
in_the_middle() {
	task='' node=''
	while read -r task node; do
		grep -q '"state": "unfinished"' "$(printf 'shard-%05d/results.csv.xdpmap' "$task")" 2>/dev/null &&
			[ -n "$(tail -n +1 "$(printf 'shard-%05d/results.csv' "$task")")" ] && return
	done < <(running | awk -v not="$1" '$1 != not')
	return 1
}

cluster() {
	declare -A node_pid
	ip link set lo up
	# With loopback addresses alone, names of hosts and even addresses are not looked up (AI_ADDRCONFIG).
	ip address add 192.0.2.1/32 dev lo
	export SLURM_CONF=$work/slurm.conf PATH=$work/bin:$PATH
	# Nodes share the folder of control sockets, and have processes of the same number. What this machine's users have
	# set for scans of theirs is not for these.
	export XDPMAP_CONTROL=none XDPMAP_CONFIG=/dev/null
	# Clients of munged may be any user, who has to reach its socket.
	chmod 711 "$work"
	mkdir -m 711 "$work"/{munge,state,bin,scan}
	# What tasks find as xdpmap: the scan of a node is in the lab of that node.
	cat >"$work/bin/xdpmap" <<-END
		#!/bin/sh
		exec ip netns exec "xm-slurm-\${SLURMD_NODENAME:-node1}-scan" "$program" "\$@"
	END
	chmod 755 "$work/bin/xdpmap"
	head -c 128 /dev/urandom >"$work/munge/key"
	chmod 400 "$work/munge/key"
	slurm_conf >"$SLURM_CONF"
	munged --foreground --key-file "$work/munge/key" --socket "$work/munge/socket" --pid-file "$work/munge/pid" \
		--log-file "$work/munge/log" --seed-file "$work/munge/seed" >"$work/munged.said" 2>&1 &
	eventually 10 "munged answers" test -S "$work/munge/socket"
	slurmctld -D >"$work/slurmctld.said" 2>&1 &
	for node in $(seq $nodes); do start_node "$node"; done
	eventually 30 "the nodes are up" nodes_are_up
	say "$(slurmctld -V): $nodes nodes are up"

	cd "$work/scan"
	XDPMAP_TOTAL_RATE=$rate sbatch --parsable "$root/conf/slurm.sbatch" "${scan[@]}" >"$work/job"
	local job task node first
	job=$(cat "$work/job")
	eventually 20 "a task scans" in_the_middle none
	say "node $node loses its power while it scans shard $task"
	kill -KILL "${node_pid[$node]}"
	wait "${node_pid[$node]}" 2>/dev/null || true
	first=$task
	eventually 20 "another task scans" in_the_middle "$first"
	say "shard $task is requeued on node $node"
	scontrol requeue "${job}_$task"
	local second=$task
	eventually 30 "Slurm has seen that node ${first} is gone" grep -q "Requeuing\|requeue job" "$work/slurmctld.log"
	for node in "${!node_pid[@]}"; do kill -0 "${node_pid[$node]}" 2>/dev/null || start_node "$node"; done
	eventually 120 "all tasks are done" no_job_is_left

	say "the shards are merged"
	xdpmap merge . -o all.csv -m all.json
	xdpmap verify all.json
	for task in "$first" "$second"; do
		grep -q '"batch_restarts":1,' "$(printf 'shard-%05d/metadata.json' "$task")" || fail "shard $task was not started again"
		grep -q '"earlier_runs":{"started":\[' "$(printf 'shard-%05d/metadata.json' "$task")" || fail "shard $task did not go on"
	done
	say "the same as one scan"
	xdpmap --seed 20260131 --rate $rate -o whole.csv -m whole.json --quiet "${scan[@]}"
	diff <(sort all.csv) <(sort whole.csv) || fail "the shards are not the one scan"
	say "$(wc -l <whole.csv) hosts in both"

	# What Slurm says of steps, of steps in arrays, and of a task that is submitted again alone.
	sbatch --wait --quiet --array=1-7:2 --output step-%a.log --wrap "xdpmap --plan --shard auto -e 7 ${scan[*]}"
	grep -q "shard 2 of 4 by Slurm array: SLURM_ARRAY_TASK_ID is 5, counted from 1 in steps of 2" step-5.log ||
		fail "steps: $(cat step-5.log)"
	if sbatch --wait --quiet --array=3 --output lone.log "$root/conf/slurm.sbatch" "${scan[@]}"; then
		fail "a task that is submitted again alone is not refused: $(cat lone.log)"
	fi
	grep -q "SLURM_ARRAY_TASK_COUNT says that this is the only task" lone.log || fail "$(cat lone.log)"
	say "done"
}

if [ "${1:-}" = --inside ]; then
	work=$2 program=$3
	cluster
	exit
fi

# ---- outside

[ "$(id -u)" = 0 ] || exec sudo --preserve-env=PATH "$0" "$@"
if ! (need_packages slurmctld slurmd slurm-client munge "${lab_packages[@]}"); then
	say "SKIPPED: Slurm's packages are unavailable here; nothing was tried"
	exit 77
fi
need_cargo
cargo build --release --locked --quiet --package xdpmap --package lab
program=${CARGO_TARGET_DIR:-$root/target}/release/xdpmap
lab=${CARGO_TARGET_DIR:-$root/target}/release/lab
work=$(mktemp -d)
inside=
finish() {
	local code=$?
	trap - EXIT INT TERM
	# The first process of the namespaces takes the others with it. Labs go with the ends of their pipes.
	if [ -n "$inside" ]; then kill -KILL "$inside" 2>/dev/null || true; fi
	for node in $(seq $nodes); do
		local pipe=${keep[$node]:-}
		if [ -n "$pipe" ]; then exec {pipe}>&-; fi
	done
	for node in $(seq $nodes); do "$lab" down "slurm-node$node" || true; done
	if [ $code != 0 ]; then tail -n 20 "$work"/*.log "$work"/*.said "$work"/scan/*.log >&2 2>/dev/null || true; fi
	rm -rf "$work"
	exit $code
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
declare -A keep
for node in $(seq $nodes); do
	exec {pipe}> >(exec "$lab" hold "slurm-node$node" 1 >"$work/node$node.lab")
	keep[$node]=$pipe
done
for node in $(seq $nodes); do
	for _ in $(seq 100); do
		if [ -s "$work/node$node.lab" ]; then break; fi
		sleep 0.2
	done
	[ -s "$work/node$node.lab" ] || fail "the lab of node $node is not there"
done
say "labs for $nodes nodes"
unshare --mount --net --pid --fork --kill-child=KILL --mount-proc --propagation private \
	"$0" --inside "$work" "$program" &
inside=$!
wait "$inside"
