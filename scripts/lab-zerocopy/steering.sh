# shellcheck shell=sh disable=SC2154 # what is not assigned here is guest.sh's
# The cases of --steer, as a part of guest.sh. /results/steering/ gets tables, journals, and what was said.

# table FILE [NIC]: the RSS indirection table of the scanned NIC, or of another in its namespace, into a file of the steering's.
table() { in_scan ethtool -x "${2:-$scan}" | sed '/^RSS hash key/,$d' >"/results/steering/$1"; }
# Ends a process as nothing can keep from it, and waits until it is gone.
slay() {
	kill -9 "$1"
	while [ -e "/proc/$1/cmdline" ] && [ -n "$(tr -d '\000' <"/proc/$1/cmdline")" ]; do sleep 0.05; done
}
# begin_steered LOG: a scan that steers replies, and waits for none at its end, from its first probe on. It is in a process
# group of its own, as a terminal gives to each command, and does not begin with SIGINT ignored as what a script starts by `&`
# does, for it would leave it so. Its process, and that of its guardian.
begin_steered() {
	: >"$1"
	# shellcheck disable=SC2086 # words
	/usr/bin/ip netns exec scan /usr/bin/env --default-signal=INT setsid $as xdpmap \
		-i "$scan" -p 80 -r 100 -c 0 -q --allow-reserved --queues 1,3 --steer 198.18.0.0/20 >/dev/null 2>"$1" &
	scanner=$!
	until grep -q ' seed ' "$1" || ! kill -0 $scanner 2>/dev/null; do sleep 0.05; done
	guardian=$(cat /proc/[0-9]*/stat 2>/dev/null | awk -v scanner=$scanner '$4 == scanner { print $1 }')
}
# Waits until the guardian is gone.
guarded() { while [ -n "$guardian" ] && [ -e "/proc/$guardian" ]; do sleep 0.05; done; }
# interrupt LOG: Ctrl-C, which a terminal sends to the whole group; the guardian gets one of its own. The exit code goes to
# the log's end.
interrupt() {
	if [ -e "/proc/$guardian/stat" ]; then kill -INT "$guardian"; fi
	kill -INT "-$scanner"
	wait "$scanner"
	echo "code $?" >>"$1"
}
# A file of the steering's, from a run of the doctor, with the exit code behind it.
doctor() {
	file=/results/steering/$1
	shift
	in_scan xdpmap doctor -i "$scan" "$@" >"$file" 2>&1
	echo "code $?" >>"$file"
}
# What is in the folder of journals.
journals() { find /run/xdpmap -type f >"/results/steering/$1"; }

# Replies steered to two queues of four; the table afterwards, also where the scan is killed, or its guardian as well.
steering() {
	mkdir -p /results/steering
	pair igb0 igb1
	queues 4
	table before
	survey igb-4-steered --io-mode zerocopy --queues 1,3 --steer
	table after
	journals journals-after
	ready

	begin_steered /results/steering/killed-log
	table steered
	doctor doctor-in-use
	slay "$scanner"
	guarded
	table after-kill
	journals journals-after-kill
	ready

	begin_steered /results/steering/slain-log
	slay "$guardian"
	slay "$scanner"
	table after-both
	ready
	doctor doctor-left-over
	doctor repair --repair
	table after-repair
	doctor repair-again --repair

	begin_steered /results/steering/again-log
	slay "$guardian"
	slay "$scanner"
	table after-both-again
	ready
	survey igb-4-next --io-mode zerocopy
	table after-next
	journals journals-after-next

	beside_one_another
	by_a_user
	chmod 777 /run/xdpmap
	refused igb-4-open-folder --steer
	chmod 700 /run/xdpmap
	# igb's own table is not the kernel's default, so it was put back as one that somebody has set. The kernel then refuses
	# fewer channels than it names, which the tuning wants.
	in_scan ethtool -X "$scan" default
	unpair
	two_nics
	pair e1000e0 plain0
	refused e1000e-steer --steer
	unpair
}

# A second scan while the first one steers; the guardian killed alone, and what a dry run and journals of other hosts
# make of what it has left; somebody else's table.
beside_one_another() {
	ready
	begin_steered /results/steering/first-log
	refused igb-4-second --queues 0,2 --steer
	table after-second
	interrupt /results/steering/first-log
	table after-interrupt
	journals journals-after-interrupt
	ready

	begin_steered /results/steering/unguarded-log
	slay "$guardian"
	interrupt /results/steering/unguarded-log
	ready
	in_scan xdpmap -i "$scan" -p 80 -n 10 -q --allow-reserved --dryrun --steer 198.18.0.0/20 >/results/steering/dry 2>&1
	echo "code $?" >>/results/steering/dry
	table after-unguarded
	journals journals-after-unguarded
	journal=$(cat /results/steering/journals-after-unguarded)
	cp "$journal" /run/left
	# Each is of no use here, and not to be followed.
	stale boot 's/"boot_id":"[0-9a-f]*/"boot_id":"00000000/'
	stale mac 's/"mac":"52:54:00:00:01:00"/"mac":"52:54:00:00:01:99"/'
	stale namespace 's/"mac":"52:54:00:00:01:00"/"mac":"52:54:00:00:01:99"/; s/"namespace":[0-9]*/"namespace":4026530000/'
	rm "$journal"
	cp /run/left "$journal"
	# As if its scan lived, and had no program on the NIC yet.
	exec 4<"$journal"
	flock -s 4
	refused igb-4-taken --steer
	exec 4<&-
	doctor repair-unguarded --repair
	table after-repair-unguarded

	# Root's journal, in the folder of a user.
	chown 65534 /run/xdpmap
	begin_steered /results/steering/foreign-log
	cat "/proc/$guardian/status" >/results/steering/guardian-of-root
	in_scan ethtool -X "$scan" equal 2
	table foreign
	interrupt /results/steering/foreign-log
	table after-foreign
	journals journals-after-foreign
	chown 0 /run/xdpmap
	ready
}

# stale NAME EDIT: what becomes of the journal after such a change.
stale() {
	sed "$2" /run/left >"$journal"
	doctor "doctor-stale-$1"
	doctor "repair-stale-$1" --repair
	table "after-stale-$1"
	journals "journals-stale-$1"
}

# A user with the capabilities of docs/tuning.md. The table is somebody's, and is to be that again.
by_a_user() {
	as="/usr/bin/setpriv --reuid=65534 --regid=65534 --clear-groups"
	setcap cap_net_raw,cap_net_admin,cap_bpf,cap_perfmon,cap_ipc_lock+ep /usr/bin/xdpmap
	table before-user
	refused igb-4-folder-of-root --steer
	chown 65534 /run/xdpmap
	mkdir -p /results/igb-4-user
	chmod 777 /results/igb-4-user
	survey igb-4-user --io-mode zerocopy --queues 1,3 --steer
	table after-user
	journals journals-after-user
	ready
	begin_steered /results/steering/user-log
	table steered-by-user
	cat "/proc/$guardian/status" >/results/steering/guardian-of-user
	awk '{ print "session", $1 == $6 }' "/proc/$guardian/stat" >>/results/steering/guardian-of-user
	slay "$scanner"
	guarded
	table after-user-killed
	journals journals-after-user-killed
	as=
	ready
	setcap -r /usr/bin/xdpmap
	chown 0 /run/xdpmap
}

# Two NICs in one scan, and a third that answers both. These emulated NICs may take what is for the other one, too.
two_nics() {
	pair igb0 far0
	ip link set igb1 netns scan
	# Each answers for its own address only.
	in_scan sysctl -qw net.ipv4.conf.all.arp_ignore=1
	in_scan ethtool -L igb0 combined 4
	in_scan ethtool -L igb1 combined 4
	in_scan ethtool -G igb1 rx 4096
	ip -n scan addr add 198.19.2.1/30 dev igb1
	ip -n net addr add 198.19.2.2/30 dev far0
	ip -n scan link set igb1 up
	ip -n scan route add default via 198.19.2.2 dev igb1 metric 100
	ready
	until in_scan ping -q -c 1 -W 1 -I igb1 198.19.2.2 >/dev/null 2>&1; do sleep 0.1; done
	for nic in igb0 igb1; do table "before-$nic" $nic; done
	scan=igb0,igb1
	survey igb-two-steered --io-mode zerocopy --queues 1,3 --steer
	scan=igb0
	for nic in igb0 igb1; do
		table "after-$nic" $nic
		in_scan ethtool -X $nic default
	done
	journals journals-after-two
	ip -n scan link set igb1 down
	ip -n scan link set igb1 netns 1
	unpair
}
