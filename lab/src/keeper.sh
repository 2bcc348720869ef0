# Removes a lab when the process that made it ends, for whatever reason: its input is a pipe from that process. keeper.rs
# starts it, also for `lab down`.
#
# $1 is the lab's folder. Each line of input names a namespace of the lab; the line `leave` keeps the lab.
trap '' HUP INT PIPE TERM
folder=$1
namespaces=
while read -r line; do
	if [ "$line" = leave ]; then exit 0; fi
	namespaces="$namespaces $line"
done

# The process that made the lab may have been killed while a command of its own made a namespace or started a server.
# Such commands are in this process group, and are short. Nobody may collect those that have ended.
tries=200
while [ $tries -gt 0 ] && [ "$(pgrep -g $$ -r D,R,S,T,t)" != $$ ]; do
	sleep 0.05
	tries=$((tries - 1))
done

# This process and its ancestors: `lab down` may be called from within a namespace of the lab.
ancestors=' '
pid=$$
while [ "${pid:-0}" -gt 0 ]; do
	ancestors="$ancestors$pid "
	pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status")
done

# The processes in the lab. All of them were started for it.
running() {
	for namespace in $namespaces; do
		if [ -e "/run/netns/$namespace" ]; then ip netns pids "$namespace"; fi
	done | while read -r pid; do
		case $ancestors in
		*" $pid "*) ;;
		*) echo "$pid" ;;
		esac
	done
}

pids=$(running)
if [ -n "$pids" ]; then
	# First SIGTERM: a server ends its own workers, and a scan writes its results.
	# shellcheck disable=SC2086 # one word per process
	kill $pids 2>/dev/null
	tries=60
	while [ $tries -gt 0 ] && [ -n "$(running)" ]; do
		sleep 0.05
		tries=$((tries - 1))
	done
	pids=$(running)
	# shellcheck disable=SC2086
	if [ -n "$pids" ]; then kill -KILL $pids 2>/dev/null; fi
fi
status=0
for namespace in $namespaces; do
	if [ -e "/run/netns/$namespace" ]; then ip netns del "$namespace" || status=1; fi
done
if mountpoint -q "$folder/bpf"; then umount "$folder/bpf" || status=1; fi
rm -rf -- "$folder" || status=1
exit $status
