# shellcheck shell=sh disable=SC2154 # what is not assigned here is guest.sh's
# What a probe costs, as a part of guest.sh: intervals of counting for the plugin bench/machine/count.c, in the machine
# with one processor that `lab-zerocopy.sh count` boots. /results/marks has the name of each interval and the exit code of
# its command, in their order, and /results/commands the commands; bench/questions/budget.py evaluates them.
#
# Each case runs with two numbers of probes: what a scan does once is in both, so their difference is of probes only. What
# came of a case is kept before the next one begins.

# Tells the plugin what functions of this kernel are for. An e1000e is only ever the other end of a wire.
name_functions() {
	cat /proc/kallsyms >/results/kallsyms
	# By fixed strings first, because a table of this size is slow to read here.
	grep -F -e ' common_interrupt' -e ' sysvec_' -e ' __do_softirq' -e ' handle_softirqs' -e ' __schedule' \
		-e ' do_syscall_64' -e '[e1000e]' /results/kallsyms |
		awk '$3 ~ /^(common_interrupt|sysvec_[a-z0-9_]*)$/ { print "interrupt", $1 }
			$3 ~ /^(__do_softirq|handle_softirqs)$/ { print "softirq", $1 }
			$3 == "__schedule" { print "scheduler", $1 }
			$3 == "do_syscall_64" { print "call", $1 }
			$3 == "e1000e_poll" { print "far", $1 }
			$3 ~ /^e1000_(intr|msix)[a-z_]*$/ { print "far-interrupt", $1 }' >/run/functions
	while read -r what address; do mark "$what" "$address"; done </run/functions
	say "named $(wc -l </run/functions) functions"
}

# counted NAME COMMAND...: an interval of its own for a command, whose output goes to NAME.out and NAME.log.
counted() {
	interval=$1
	shift
	echo "$interval $*" >>/results/commands
	mark
	echo "- 0" >>/results/marks
	"$@" >"/results/$interval.out" 2>"/results/$interval.log"
	code=$?
	mark
	echo "$interval $code" >>/results/marks
	say "$interval: code $code"
}

# on NIC: the NIC of the next scans, in a namespace with a gateway that nobody has to ask for.
scan=
on() {
	if [ "$scan" = "$1" ]; then return; fi
	if [ -n "$scan" ]; then
		ip -n scan link set "$scan" down
		ip -n scan link set "$scan" netns 1
		ip netns del scan
	fi
	scan=$1
	ip netns add scan
	ip link set "$scan" netns scan
	in_scan sysctl -qw net.ipv6.conf.all.disable_ipv6=1
	ip -n scan link set lo up
	ip -n scan addr add 198.19.0.1/30 dev "$scan"
	ip -n scan link set "$scan" up
	ip -n scan neigh add 198.19.0.2 lladdr 02:00:00:00:00:02 dev "$scan" nud permanent
	ip -n scan route add default via 198.19.0.2
	up
}

# Waits for the link: a driver takes it down for a while when a program comes or goes.
up() {
	sleep 1
	linked scan "$scan"
	sleep 1
}

# linked NAMESPACE NIC: waits until there is a link.
linked() {
	tries=0
	until [ "$(ip netns exec "$1" cat "/sys/class/net/$2/carrier" 2>/dev/null)" = 1 ]; do
		tries=$((tries + 1))
		if [ $tries = 60 ]; then
			say "$2 has no link"
			break
		fi
		sleep 0.5
	done
}

# scan_of NAME COUNT OPTION...
scan_of() {
	name=$1-$2 count=$2
	shift 2
	up
	counted "$name" in_scan xdpmap -i "$scan" -G 02:00:00:00:00:02 -p 80 -n "$count" -T 1 -q --allow-reserved \
		-b /dev/null -C /dev/null --seed 1 -m "/results/$name.json" "$@" 10.0.0.0/8
}

# unheard_scan_of NAME COUNT OPTION...: nothing answers.
unheard_scan_of() { scan_of "$@" -c 0 -o /dev/null; }

# scans NAME MODE OPTION...: as fast as it goes.
scans() {
	case=$1
	counts_for "$2"
	shift 2
	for n in $few $many; do unheard_scan_of "$case" "$n" -r 0 --io-mode "$mode" "$@"; done
}

# counts_for MODE: how many probes the two runs of a case have. Two starts differ by some million instructions, which are to
# be less than a hundredth of what the further probes take: zero-copy costs least, and a start with live frames differs most.
counts_for() {
	mode=$1 few=10000 many=60000
	case $mode in
	zerocopy) many=1210000 ;;
	live) many=260000 ;;
	esac
}

# bare NAME MODE: the bare sender. Drivers have zero-copy only with a program.
bare() {
	counts_for "$2"
	if [ "$mode" = zerocopy ]; then
		ip -n scan link set dev "$scan" xdp object /usr/bin/pass.bpf.o section xdp
	fi
	for n in $few $many; do
		up
		counted "$1-$n" in_scan bare_xsk "$scan" 02:00:00:00:00:02 "$n" "$mode"
	done
	ip -n scan link set dev "$scan" xdp off
}

# slow RATE FEW MANY: a scan that mostly waits.
slow() {
	for n in $2 $3; do unheard_scan_of "slow-$1" "$n" -r "$1" --io-mode zerocopy; done
}

# answered_by_all NAME RATE FEW MANY: each target answers, and becomes a line of CSV.
answered_by_all() {
	for n in $3 $4; do
		scan_of "$1" "$n" -r "$2" --io-mode zerocopy -c 1 -o /run/answers.csv -f saddr,sport,classification,success
		say "$1: $(wc -l </run/answers.csv) lines"
		rm -f /run/answers.csv*
	done
}

# zmaps: Debian's zmap, one sending thread.
zmaps() {
	counts_for packet
	for n in $few $many; do
		up
		counted "zmap-$n" in_scan zmap -i "$scan" -p 80 -T 1 -c 0 -S 198.19.0.1 -G 02:00:00:00:00:02 -b /dev/null \
			-C /dev/null -q -B 100G --cores=0 -n "$n" -r 0 --max-sendto-failures 1000000 -o /dev/null 10.0.0.0/8
	done
}

# until_sent COUNT COMMAND...: a command that ends only when a packet arrives after its last one. The other end of its wire
# is idle until then.
until_sent() {
	count=$1 before=0 now=1
	shift
	"$@" &
	sender=$!
	while [ "$now" != "$before" ] || [ "$now" -lt "$count" ]; do
		sleep 1
		before=$now
		now=$(in_scan cat "/sys/class/net/$scan/statistics/tx_packets")
	done
	in_net ping -q -c 1 -W 1 198.19.0.1 >/dev/null 2>&1
	wait $sender
}

# masscans NIC: Debian's masscan. The NIC is the other end.
masscans() {
	other_end "$1"
	counts_for packet
	for n in $few $many; do
		counted "masscan-$n" until_sent "$n" in_scan masscan -e "$scan" -p 80 --rate 100000000 --wait 0 \
			--adapter-ip 198.19.0.1 --adapter-port 40000 --router-mac 02:00:00:00:00:02 -oX /dev/null \
			--range "10.0.0.0-10.$((n / 65536)).$((n / 256 % 256)).$((n % 256))"
	done
}

# other_end NIC: the other end of the wire. It is not the gateway of the scans, so its NIC drops their probes.
other_end() {
	if [ -e /run/netns/net ]; then return; fi
	ip netns add net
	ip link set "$1" netns net
	ip -n net addr add 198.19.0.2/30 dev "$1"
	ip -n net link set "$1" up
	ip -n net neigh add 198.19.0.1 lladdr "$(in_scan cat "/sys/class/net/$scan/address")" dev "$1" nud permanent
}

# answers NIC: the other end, with a program on it that answers each SYN with a SYN-ACK and drops resets. It runs in
# functions that the NIC's driver calls, so the plugin counts it apart: no packet may wait there for others (GRO), or
# another function passes it on. The NIC gets the gateway's MAC address.
answering=
answers() {
	if [ -n "$answering" ]; then return; fi
	answering=$1
	other_end "$1"
	sysctl -qw net.core.gro_normal_batch=1
	in_net sysctl -qw net.ipv6.conf.all.disable_ipv6=1
	in_net ethtool -K "$1" gro off
	ip -n net link set "$1" down
	ip -n net link set "$1" address 02:00:00:00:00:02
	in_net ethtool -G "$1" rx 4096 tx 4096
	ip -n net link set "$1" up
	ip -n net link set dev "$1" xdpgeneric object /usr/bin/responder.bpf.o section xdp
	linked net "$1"
	up
}

# on_four_queues NAME: zero-copy, with one worker on a NIC of four queues.
on_four_queues() {
	in_scan ethtool -L "$scan" combined 4
	scans "$1" zerocopy
	in_scan ethtool -L "$scan" combined 1
}

# counted_case CASE
counted_case() {
	case $1 in
	*-virtio) on virtio0 ;;
	packet | live | zmap | masscan | answered*) on near0 ;;
	*) on igb0 ;;
	esac
	case $1 in
	bare-copy) bare "$1" copy ;;
	bare-zerocopy*) bare "$1" zerocopy ;;
	copy | packet | live) scans "$1" "$1" ;;
	zerocopy | zerocopy-virtio) scans "$1" zerocopy ;;
	zerocopy-smallest) scans "$1" zerocopy --probe-args smallest-probes ;;
	zerocopy-4-queues) on_four_queues "$1" ;;
	slow-1000) slow 1000 1000 21000 ;;
	slow-10000) slow 10000 10000 60000 ;;
	slow-50000) slow 50000 50000 550000 ;;
	zmap) zmaps ;;
	masscan) masscans near1 ;;
	answered) answers near1 && answered_by_all "$1" 0 10000 60000 ;;
	answered-10000) answers near1 && answered_by_all "$1" 10000 10000 30000 ;;
	*) say "there is no case $1" ;;
	esac
}

# budget CASE,CASE...: these cases, one after the other.
budget() {
	name_functions
	for one in $(echo "$1" | tr , ' '); do
		counted_case "$one"
		keep
		say "kept $one"
	done
}
