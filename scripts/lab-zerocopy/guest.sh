#!/bin/sh
# The first process of the guest that scripts/lab-zerocopy.sh boots: runs surveys from NIC to NIC, packs what came of
# them, and switches the machine off.
#
# /results/CASE/ gets results.csv, metadata.json, log (standard error), code (exit code), ping (what became of ten pings
# through the scanned NIC while the scan ran) and answered (segments that the other side's TCP took in and sent).
#
# Each pair of NICs is put into two network namespaces in turn. `scan` runs xdpmap; `net` answers for 198.18.0.0/20 (far.sh).
export PATH=/usr/bin:/bin
# busybox's shell takes its own ip, which knows no namespaces, whatever the path is.
ip() { /usr/bin/ip "$@"; }

busybox mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /var/lib/nginx
ln -s /run /var/run
ip link set lo up

argument() { tr ' ' '\n' </proc/cmdline | sed -n "s/^lab.$1=//p"; }
seconds() { cut -d ' ' -f 1 /proc/uptime; }
say() { echo "LAB $(seconds) $*"; }
say "Linux $(uname -r), cases '$(argument cases)'"

while read -r module; do insmod "/modules/$module.ko" || say "no module $module"; done </modules/order

# The name of the NIC with the last bytes $1 in its MAC address, once the driver has made it.
nic() {
	for _ in 0 1 2 3 4 5 6 7 8 9; do
		for file in /sys/class/net/*/address; do
			read -r address <"$file"
			if [ "$address" = "52:54:00:00:$1" ]; then
				folder=${file%/address}
				echo "${folder##*/}"
				return
			fi
		done
		sleep 0.5
	done
}
# Renames NICs to what they are.
name() {
	found=$(nic "$1")
	if [ -n "$found" ]; then ip link set "$found" name "$2"; fi
}
case $(argument cases) in
budget:*) nics='01:00=igb0 05:00=near0 05:01=near1 06:00=virtio0' ;;
power) nics='01:00=igb0 01:01=igb1' ;;
pause) nics='01:00=igb0' ;;
*)
	nics='01:00=igb0 01:01=igb1 01:02=far0 02:00=virtio0 02:01=virtio1'
	nics="$nics 03:00=e1000e0 03:01=plain0 04:00=multi0 04:01=multi1"
	;;
esac
for one in $nics; do name "${one%=*}" "${one#*=}"; done

in_scan() { ip netns exec scan "$@"; }
in_net() { ip netns exec net "$@"; }

# The words that run a scan as a user other than root.
as=
# shellcheck disable=SC2086 # words
scanning() { in_scan $as xdpmap "$@"; }

# shellcheck source=scripts/lab-zerocopy/steering.sh
. /steering.sh
# shellcheck source=scripts/lab-zerocopy/budget.sh
. /budget.sh
# shellcheck source=scripts/lab-zerocopy/power.sh
. /power.sh
# shellcheck source=scripts/lab-zerocopy/pause.sh
. /pause.sh
# shellcheck source=scripts/lab-zerocopy/far.sh
. /far.sh

# side NAMESPACE DEVICE ADDRESS: puts an interface into a namespace of its own.
side() {
	ip netns add "$1"
	ip link set "$2" netns "$1"
	ip netns exec "$1" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 2>/dev/null
	ip -n "$1" link set lo up
	ip -n "$1" addr add "$3/30" dev "$2"
	# A processor of the guest may stop for a while on a busy host: nothing must get lost meanwhile.
	ip netns exec "$1" ethtool -G "$2" rx 4096 2>/dev/null
	ip -n "$1" link set "$2" up
}

# pair SCAN NET: the interface to scan through, and the one to answer on.
pair() {
	scan=$1 net=$2
	side scan "$scan" 198.19.0.1
	side net "$net" 198.19.0.2
	ip -n scan route add default via 198.19.0.2
	answer /run in_net
	ready
	say "pair $scan $net"
}

# Packs the results so far, so that a later case that breaks something costs only its own results.
keep() {
	tar -c -C /results -f /dev/vda .
	sync
}

unpair() {
	fall_silent /run
	ip -n scan link set "$scan" down
	ip -n net link set "$net" down
	ip -n scan link set "$scan" netns 1
	ip -n net link set "$net" netns 1
	ip netns del scan
	ip netns del net
	keep
}

# Waits until the pair can talk.
ready() {
	tries=0
	until in_scan ping -q -c 1 -W 1 198.19.0.2 >/dev/null 2>&1; do
		tries=$((tries + 1))
		if [ $tries = 60 ]; then
			say "$scan and $net cannot talk"
			break
		fi
	done
}

queues() {
	in_scan ethtool -L "$scan" combined "$1"
	in_net ethtool -L "$net" combined "$1"
	ready
}

# What the other side's TCP has counted: segments taken in, and sent.
# shellcheck disable=SC2016 # it is awk's to expand
answered() { in_net awk '/^Tcp: [0-9]/ { print $11, $12 }' /proc/net/snmp; }

# survey CASE OPTION...
survey() {
	case=$1
	shift
	folder=/results/$case
	mkdir -p "$folder"
	answered >"$folder/answered"
	# Else grep has nothing to look at in the first moments.
	: >"$folder/log"
	scanning -i "$scan" -p 80 -r 5000 -c 2 -q --allow-reserved -f saddr,sport,classification,success \
		-o "$folder/results.csv" -m "$folder/metadata.json" "$@" 198.18.0.0/20 >"$folder/output" 2>"$folder/log" &
	scanner=$!
	# This line is written when everything is open, before the first probe.
	until grep -q ' seed ' "$folder/log" || ! kill -0 $scanner 2>/dev/null; do sleep 0.05; done
	in_scan ping -c 10 -i 0.2 -W 5 198.19.0.2 >"$folder/ping" 2>&1 &
	wait $scanner
	echo $? >"$folder/code"
	wait
	answered >>"$folder/answered"
	say "$case: code $(cat "$folder/code"), $(wc -l <"$folder/results.csv") lines"
}

# refused CASE OPTION...: a scan that is not to start.
refused() {
	case=$1
	shift
	folder=/results/$case
	mkdir -p "$folder"
	scanning -i "$scan" -p 80 -n 10 -c 0 -q --allow-reserved "$@" 198.18.0.0/20 >"$folder/output" 2>"$folder/log"
	echo $? >"$folder/code"
	say "$case: code $(cat "$folder/code")"
}

# polled CASE OPTION...: a survey while interrupts are kept back for workers that poll.
polled() {
	in_scan tune-nic.sh "$scan" apply --only busy-poll >/dev/null
	survey "$@"
	in_scan tune-nic.sh "$scan" undo >/dev/null
}

newest() {
	drivers
	wires
}

# Each driver in every mode.
drivers() {
	igb
	virtio
	fallbacks
	tuning
}

# What is between a NIC and its queues, or its wire.
wires() {
	vlan
	bond
	outage
	steering
}

igb() {
	pair igb0 igb1
	for n in 1 2 4 8; do
		queues $n
		survey igb-$n-zerocopy --io-mode zerocopy
	done
	queues 4
	# At once after one another: the NIC is still busy with the reset that the end of the last one meant.
	survey igb-4-auto
	survey igb-4-live --io-mode live
	survey igb-4-copy --io-mode copy
	survey igb-4-generic --io-mode generic
	survey igb-4-packet --io-mode packet
	polled igb-4-polled --io-mode zerocopy --busy-poll
	unpair
}

virtio() {
	pair virtio0 virtio1
	survey virtio-1-zerocopy --io-mode zerocopy
	survey virtio-1-live --io-mode live
	survey virtio-1-copy --io-mode copy
	survey virtio-1-generic --io-mode generic
	survey virtio-1-packet --io-mode packet
	unpair
	if [ -e /sys/class/net/multi0 ]; then
		pair multi0 multi1
		queues 4
		survey virtio-4-zerocopy --io-mode zerocopy
		# One worker, which polls four queues.
		polled virtio-4-polled --io-mode zerocopy -T 1 --busy-poll
		# Four queues on two processors: the driver's fault would bring this kernel down.
		refused virtio-4-live --io-mode live
		unpair
	fi
}

# A VLAN of the NIC, whose own network continues next to it; the NIC must leave the tags where XDP sees them.
vlan() {
	pair igb0 igb1
	queues 4
	for end in scan:igb0:1 net:igb1:2; do
		namespace=${end%%:*} parent=${end#*:} parent=${parent%:*}
		ip -n "$namespace" link add link "$parent" name "$parent.100" type vlan id 100
		ip -n "$namespace" addr add "198.19.1.${end##*:}/30" dev "$parent.100"
		ip -n "$namespace" link set "$parent.100" up
	done
	ip -n scan route replace default via 198.19.1.2
	in_scan tune-nic.sh igb0 apply --vlan --only offload >/dev/null
	scan=igb0.100
	survey igb-vlan-zerocopy --io-mode zerocopy
	# The driver takes its link down when the sockets go.
	ready
	survey igb-vlan-packet --io-mode packet
	ready
	mkdir -p /results/steering
	table before-vlan igb0
	survey igb-vlan-steered --io-mode zerocopy --queues 1,3 --steer
	table after-vlan igb0
	scan=igb0
	in_scan tune-nic.sh igb0 undo >/dev/null
	in_scan ethtool -X igb0 default
	ip -n scan link del igb0.100
	ip -n net link del igb1.100
	unpair
}

# A bond of one NIC, and a VLAN of it: an XDP program would run on the member, and its sockets get nothing.
bond() {
	pair igb0 igb1
	queues 2
	ip -n scan link set igb0 down
	ip -n scan addr flush dev igb0
	ip -n scan link add bond0 type bond mode active-backup miimon 50
	ip -n scan link set igb0 master bond0
	ip -n scan addr add 198.19.0.1/30 dev bond0
	ip -n scan link set bond0 up
	ip -n scan route replace default via 198.19.0.2
	scan=bond0
	ready
	survey bond-auto
	for mode in zerocopy copy generic live; do refused bond-$mode --io-mode $mode; done
	refused bond-queues --queues 0
	ip -n scan link add link bond0 name bond0.100 type vlan id 100
	ip -n scan addr add 198.19.1.1/30 dev bond0.100
	ip -n scan link set bond0.100 up
	ip -n net link add link igb1 name igb1.100 type vlan id 100
	ip -n net addr add 198.19.1.2/30 dev igb1.100
	ip -n net link set igb1.100 up
	ip -n scan route replace default via 198.19.1.2
	scan=bond0.100
	survey bond-vlan-auto
	ip -n scan link del bond0
	ip -n net link del igb1.100
	scan=igb0
	unpair
}

# cable on|off: plugs in, or pulls, the cable of the NIC that is scanned through, by the machine's monitor. The first
# line ends what the terminal may have echoed to the monitor before its echo was off.
cable() { printf '\nset_link n10 %s\n' "$1" >&3; }

# The link is down for five seconds during the scan.
outage() {
	pair igb0 igb1
	queues 4
	exec 3<>/dev/ttyS1
	stty raw -echo <&3
	folder=/results/igb-outage
	mkdir -p "$folder"
	: >"$folder/log"
	in_scan xdpmap -i "$scan" -p 80 -r 1000 -c 2 --allow-reserved -f saddr,sport,classification,success --io-mode zerocopy \
		-o "$folder/results.csv" -m "$folder/metadata.json" 198.18.0.0/20 >"$folder/output" 2>"$folder/log" &
	scanner=$!
	until grep -q 'send: ' "$folder/log" || ! kill -0 $scanner 2>/dev/null; do sleep 0.05; done
	cable off
	sleep 5
	cable on
	wait $scanner
	echo $? >"$folder/code"
	exec 3>&-
	ready
	unpair
	say "igb-outage: code $(cat "$folder/code"), $(wc -l <"$folder/results.csv") lines"
}

# How much busy polling changes: the same surveys with it and without, in turns. `CASE/cpu` has user and system seconds.
busy() {
	pair igb0 igb1
	queues "${1:-4}"
	for round in 1 2 3; do
		for rate in 5000 20000; do
			measured "$round-$rate-plain" -r $rate
			in_scan tune-nic.sh "$scan" apply --only busy-poll >/dev/null
			measured "$round-$rate-polled" -r $rate --busy-poll
			in_scan tune-nic.sh "$scan" undo >/dev/null
		done
	done
	unpair
}

# measured CASE OPTION...
measured() {
	case=$1
	shift
	mkdir -p "/results/busy/$case"
	ready
	in_scan bash -c 'TIMEFORMAT="%U %S"; time "$@" 2>/dev/null' measured xdpmap -i "$scan" -p 80-83 -c 1 -q --allow-reserved \
		-o /dev/null -m "/results/busy/$case/metadata.json" "$@" 198.18.0.0/20 2>"/results/busy/$case/cpu"
	say "$case: $(cat "/results/busy/$case/cpu")"
}

# NICs with fewer features.
fallbacks() {
	pair e1000e0 plain0
	survey e1000e-auto
	refused e1000e-zerocopy --io-mode zerocopy
	refused e1000e-copy --io-mode copy
	unpair
	pair plain0 e1000e0
	survey plain-auto
	refused plain-zerocopy --io-mode zerocopy
	unpair
}

# What ethtool and the interrupts' masks say of the scanned NIC.
settings() {
	for flag in k l g c x a; do
		echo "== ethtool -$flag"
		in_scan ethtool -$flag "$scan"
	done
	echo "== interrupts"
	grep "$scan-" /proc/interrupts | while read -r number rest; do
		echo "${rest##* } $(cat "/proc/irq/${number%:}/smp_affinity")"
	done
}

# tune VERB: what scripts/tune-nic.sh says of the scanned NIC, and its exit code.
tune() {
	in_scan tune-nic.sh "$scan" "$1" >"/results/tuning/$1" 2>&1
	echo "code $?" >>"/results/tuning/$1"
}

# The doctor's findings, and the tuning script: what it changes, and whether it restores all of it.
tuning() {
	mkdir -p /results/tuning
	pair igb0 igb1
	queues 8
	in_scan ethtool -G "$scan" rx 512 tx 512
	# A mask that a user has set, which the kernel forgets when channels change.
	grep "$scan-TxRx-3" /proc/interrupts | while read -r number _; do echo 2 >"/proc/irq/${number%:}/smp_affinity"; done
	# New rings take the link down for a moment, and a while after that the kernel forgets the neighbour's MAC address.
	ready
	sleep 3
	ready
	in_scan xdpmap doctor -i "$scan" >/results/tuning/doctor 2>&1
	echo "code $?" >>/results/tuning/doctor
	settings >/results/tuning/before
	tune check
	tune apply
	# The link's settings are negotiated with the other end, so they are read once it is up again.
	ready
	settings >/results/tuning/applied
	# All but flow control: once the link is up again, this igb has receiving pause frames on, whatever was set.
	stages=channels,ring,coalesce,offload,rss,irq,irqbalance,governor,hugepages
	in_scan tune-nic.sh "$scan" check --only $stages >/results/tuning/check-applied 2>&1
	echo "code $?" >>/results/tuning/check-applied
	ready
	survey igb-tuned-zerocopy --io-mode zerocopy
	tune undo
	ready
	settings >/results/tuning/after
	unpair
	say "tuning: $(tail -n 1 /results/tuning/undo)"
}

# Kernels without zero-copy for these NICs.
old() {
	pair igb0 igb1
	queues 4
	survey igb-4-auto
	refused igb-4-zerocopy --io-mode zerocopy
	$1 igb-4-live --io-mode live
	$2 igb-4-polled --io-mode copy --busy-poll
	unpair
	pair virtio0 virtio1
	survey virtio-1-auto
	refused virtio-1-live --io-mode live
	unpair
	pair e1000e0 plain0
	survey e1000e-auto
	unpair
	ip link add veth0 numrxqueues 2 numtxqueues 2 type veth peer name veth1 numrxqueues 2 numtxqueues 2
	pair veth0 veth1
	in_net ethtool -K veth1 tx off gro on >/dev/null
	survey veth-auto
	$1 veth-live --io-mode live
	$2 veth-polled --io-mode copy --busy-poll
	unpair
}

if [ "$(argument shell)" = 1 ]; then
	say "a shell; 'pair igb0 igb1' and so on are functions of /init"
	sh -i
else
	case $(argument cases) in
	oldest) old survey polled ;;
	# No live frames there, and no busy polling.
	ancient) old refused refused ;;
	budget:*) budget "$(argument cases | cut -d : -f 2)" ;;
	*) "$(argument cases)" ;;
	esac
	uname -r >/results/kernel
	dmesg >/results/dmesg
	seconds >/results/done
	keep
	say "done"
fi
poweroff -f
