#!/usr/bin/env bash
# A lab with real drivers: a virtual machine whose emulated NICs have AF_XDP zero-copy, for surveys from NIC to NIC.
#
#   lab-zerocopy.sh fetch                       download QEMU and the kernels, once; later runs contact no server
#   lab-zerocopy.sh run KERNEL PROGRAM OUT      boot KERNEL (newest, oldest, ancient), run its cases with PROGRAM, which is
#                                               an xdpmap, and leave what came of each in the folder OUT
#   lab-zerocopy.sh shell KERNEL PROGRAM        the same machine with a shell on this terminal; `poweroff -f` ends it
#   lab-zerocopy.sh power TIMES PROGRAM OUT     boot the newest kernel with a disk on which PROGRAM keeps a scan, take its
#                                               power away TIMES times in mid-scan, and let it come to its end
#   lab-zerocopy.sh pause SECONDS PROGRAM OUT   boot the newest kernel with a far side outside of the machine, and pause the
#                                               machine twice in mid-scan for SECONDS, with clocks that stand still and with
#                                               clocks that go on
#   lab-zerocopy.sh count PLUGIN PROGRAM OUT FILE...
#                                               boot the newest kernel on one processor whose instructions PLUGIN counts
#                                               (bench/machine/count.c), into OUT/counts; the guest gets the FILEs as well.
#                                               What the guest has kept so far is in OUT/results.tar
#
# LAB_CASES is a function of the scripts in scripts/lab-zerocopy to run instead of all of the kernel's cases, such as `virtio`;
# for `count` it is `budget:` with the cases of budget.sh to count, separated by commas.
#
# Nothing is installed, and nothing on this machine is changed: packages come from the mirror that apt already uses,
# through the lab's own package lists, and are unpacked in target/lab-zerocopy. The guest's NICs are connected by hubs
# inside QEMU, and those with several queues by taps in a network namespace that contains only QEMU: no packet can leave
# the machine. Root is needed only for these taps. The machine is emulated in software, unless the processor really has
# virtualisation.
#
# Exit code 77: the packages are unavailable here. 1: the guest did not finish; OUT/console says why.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. scripts/lab-zerocopy/far.sh
. scripts/lab-zerocopy/packages.sh

kernels=(newest oldest ancient)
# How long a guest may take. The newest kernel's cases take five minutes on two cores that also have other work.
patience_seconds=${LAB_PATIENCE_SECONDS:-1500}
modules=(igb e1000e virtio_pci virtio_net virtio_blk veth 8021q bonding ext4)

# ---- the guest's files

# Copies a program of this machine, with the libraries that it needs.
give_program() {
	local program=$1 library
	install -D "$program" "$root/usr/bin/${2:-$(basename "$program")}"
	# A static program has none.
	{ ldd "$program" 2>/dev/null || true; } | { grep -o '/[^ ]*' || true; } | while read -r library; do
		[ -e "$root$library" ] || install -D "$library" "$root$library"
	done
}

# give_module NAME: a kernel module and before it those that it needs, for insmod in the order of $root/modules/order.
give_module() {
	local name=${1//-/_} file needed
	[ ! -e "$root/modules/$name.ko" ] || return 0
	file=$(find "$cache/$kernel" \( -name "$name.ko*" -o -name "${name//_/-}.ko*" \) -type f | head -n 1)
	# Not there: built in.
	[ -n "$file" ] || return 0
	case $file in
	*.xz) "$busybox" xzcat "$file" ;;
	*) cat "$file" ;;
	esac >"$root/modules/$name.ko"
	needed=$(tr '\0' '\n' <"$root/modules/$name.ko" | sed -n 's/^depends=//p' | tr ',' ' ')
	for needed in $needed; do give_module "$needed"; done
	echo "$name" >>"$root/modules/order"
}

make_initramfs() {
	local program=$1 applet file
	root=$work/root
	mkdir -p "$root"/{bin,modules,proc,sys,dev,tmp,run,etc,results,var/log/nginx,usr/bin}
	cp "$busybox" "$root/bin/busybox"
	for applet in $("$busybox" --list); do ln -s busybox "$root/bin/$applet" 2>/dev/null || true; done
	# Its own take precedence.
	rm -f "$root/bin/ip"
	strip -o "$work/xdpmap" "$program" 2>/dev/null || cp "$program" "$work/xdpmap"
	give_program "$work/xdpmap"
	give_program "$(command -v ip)"
	give_program "$(command -v ethtool)"
	# No host of a machine that counts needs it, which unpacks it an instruction at a time.
	[ -n "$plugin" ] || give_program "$(command -v nginx)"
	give_program "$(command -v bash)"
	give_program "$(command -v setcap)"
	give_program "$(command -v setpriv)"
	give_program "$(command -v flock)"
	cp scripts/tune-nic.sh "$root/usr/bin/"
	for file in "${files[@]}"; do give_program "$file"; done
	# The one of busybox does not support signals.
	give_program "$(command -v env)"
	echo root:x:0:0::/:/bin/sh >"$root/etc/passwd"
	echo nobody:x:65534:65534::/:/bin/false >>"$root/etc/passwd"
	printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
	for module in "${modules[@]}"; do give_module "$module"; done
	install scripts/lab-zerocopy/guest.sh "$root/init"
	cp scripts/lab-zerocopy/{steering,budget,power,pause,far}.sh "$root/"
	# cpio may be the lab's own.
	(cd "$root" && find . | PATH=$PATH:$cache/qemu/bin:$cache/qemu/usr/bin cpio -o -H newc --quiet | gzip -1) >"$work/initramfs"
}

# ---- the machine

# NICs on a hub: wire NUMBER MODEL MODEL... Their MAC addresses tell the guest which they are.
wire() {
	local number=$1 end=0 model
	shift
	for model in "$@"; do
		machine+=(-netdev "hubport,id=n$number$end,hubid=$number")
		nic "$number" "$end" "$model"
		end=$((end + 1))
	done
}
# nic NUMBER END MODEL
nic() {
	local port=p$1$2 mac=52:54:00:00:0$1:0$2
	machine+=(-device "pcie-root-port,id=$port,chassis=$1$2,slot=$1$2")
	machine+=(-device "$3,bus=$port,netdev=n$1$2,mac=$mac,romfile=")
}

# The qemu command, in $machine.
describe_machine() {
	# Zero-copy needs DMA addresses; the offloads keep XDP away.
	local virtio=virtio-net-pci,disable-legacy=on,iommu_platform=on,rx_queue_size=1024
	local plain=guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,guest_csum=off
	local accelerator=(-accel "tcg,thread=multi" -cpu max -smp 2) end
	# A /dev/kvm that opens is not enough.
	if grep -qwE 'vmx|svm' /proc/cpuinfo && [ -w /dev/kvm ]; then accelerator=(-accel kvm -cpu host -smp 2); fi
	if [ -n "$plugin" ]; then
		# A nanosecond of the guest's clock is an instruction. Nothing depends on this machine's clock, or on chance.
		accelerator=(-accel "tcg,thread=single" -cpu max -smp 1 -icount "shift=0,sleep=off,align=off" -seed 1
			-rtc "clock=vm,base=2026-01-01" -plugin "$plugin,out=$out/counts")
	fi
	# shellcheck disable=SC2054 # the commas are QEMU's
	machine=("$qemu" -L "$cache/qemu/usr/share/qemu" -L "$cache/qemu/usr/share/seabios" -L /usr/share/qemu
		-machine q35 "${accelerator[@]}" -m 1280 -nodefaults -no-user-config -display none -no-reboot
		# The guest's second serial line is QEMU's own monitor: a cable can be pulled from within.
		-chardev "socket,id=monitor,path=$work/monitor,server=on,wait=off" -mon chardev=monitor
		-serial stdio -chardev "socket,id=guest,path=$work/monitor" -serial chardev:guest -kernel "$(vmlinuz "$kernel")" -initrd "$work/initramfs"
		# The last five keep the clock's calibration from failing on a busy host, which ends in a panic.
		-append "console=ttyS0 quiet panic=-1 lab.cases=${LAB_CASES:-$kernel} lab.shell=$shell lab.rate=$((1024 / (losses + 1))) nokaslr mitigations=off no_timer_check tsc=reliable lpj=4000000${plugin:+ norandmaps}"
		-drive "if=none,id=results,format=raw,cache=unsafe,file=$results" -device virtio-blk-pci,drive=results)
	if [ "$losses" -gt 0 ]; then
		# shellcheck disable=SC2054 # as above
		machine+=(-drive "if=none,id=disk,format=raw,file=$work/disk" -device virtio-blk-pci,drive=disk)
	fi
	if [ -n "$plugin" ]; then
		# The first is alone: what it sends arrives nowhere.
		wire 1 igb
		wire 5 igb e1000e
		# On a hub without a second end a virtio-net waits for ever: QEMU keeps its frame until another end can take it. With
		# nothing at its other side QEMU drops the frame at once. It does so when a timer of the guest's clock is over: a
		# thread of its own, which is QEMU's usual way, would depend on this machine's clock.
		machine+=(-device "pcie-root-port,id=p60,chassis=60,slot=60"
			-device "$virtio,$plain,bus=p60,mac=52:54:00:00:06:00,romfile=,ioeventfd=off,tx=timer,x-txtimer=1")
		return
	fi
	if [ "$losses" -gt 0 ]; then
		wire 1 igb igb
		return
	fi
	if [ "$pause_seconds" -gt 0 ]; then
		machine+=(-netdev "tap,id=n10,ifname=tap0,script=no,downscript=no")
		nic 1 0 igb
		# A monitor for this script: two pipes with names.
		machine+=(-chardev "pipe,id=host,path=$work/host" -mon chardev=host)
		machine=(unshare -n bash -c "$far_side" lab "$work" "${machine[@]}")
		return
	fi
	wire 1 igb igb "virtio-net-pci,$plain"
	wire 2 "$virtio,$plain" "$virtio,$plain"
	wire 3 e1000e "virtio-net-pci,$plain"
	if [ "$(id -u)" = 0 ]; then
		for end in 0 1; do
			machine+=(-netdev "tap,id=n4$end,ifname=tap$end,script=no,downscript=no,queues=4")
			nic 4 "$end" "$virtio,$plain,mq=on,vectors=10,rss=on,hash=on"
		done
		# The taps' bridge, in a namespace that ends with QEMU.
		# shellcheck disable=SC2016 # it is the inner shell's to expand
		machine=(unshare -n bash -c '
			set -e
			sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
			ip link add bridge type bridge mcast_snooping 0
			ip link set bridge up
			for tap in tap0 tap1; do
				ip tuntap add "$tap" mode tap multi_queue
				ip link set "$tap" master bridge up
			done
			exec "$@"' lab "${machine[@]}")
	fi
}

# The far side of a machine that is paused, in a namespace with QEMU, which goes on while the machine does not. The
# process becomes QEMU.
# shellcheck disable=SC2016 # it is the inner shell's to expand
far_side='
	set -e
	work=$1
	shift
	sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
	. scripts/lab-zerocopy/far.sh
	end_far_side "$work"
	ip link set lo up
	ip tuntap add tap0 mode tap
	ip addr add 198.19.0.2/30 dev tap0
	ip link set tap0 up
	answer "$work"
	tcpdump -Z root -i tap0 -s 64 --immediate-mode -U -w "$work/probes.pcap" "tcp[tcpflags] == tcp-syn" 2>"$work/tcpdump.log" &
	echo $! >"$work/tcpdump"
	echo $$ >"$work/machine"
	exec "$@"'

boot() {
	kernel=$1 shell=$2
	local program=$3 out=${4:-}
	[ -x "$program" ] || fail "there is no program $program"
	# The machine that counts needs only its own.
	if [ -n "$plugin" ]; then kernels=("$kernel"); fi
	(fetch "${kernels[@]}") || exit $?
	[ -e "$cache/$kernel/complete" ] || cannot_be_had "the $kernel kernel"
	need_lab_programs
	busybox=$cache/qemu/bin/busybox
	[ -x "$busybox" ] || busybox=/bin/busybox
	qemu=$cache/qemu/usr/bin/qemu-system-x86_64
	work=$(mktemp -d)
	trap 'leave' EXIT
	[ -z "$out" ] || mkdir -p "$out"
	make_initramfs "$program"
	results=$work/results.tar
	# Whatever ends this script: nothing that has been counted is lost.
	if [ -n "$plugin" ]; then results=$out/results.tar; fi
	truncate -s 64M "$results"
	describe_machine
	if [ "$shell" = 1 ]; then
		LD_LIBRARY_PATH=$(libraries) "${machine[@]}"
		return
	fi
	lose_power
	if [ "$pause_seconds" -gt 0 ]; then
		mkfifo "$work/host.in" "$work/host.out"
		pause_twice &
		pauser=$!
	fi
	local began=$SECONDS code=0 tries=3
	while [ "$tries" -gt 0 ]; do
		tries=$((tries - 1)) code=0
		LD_LIBRARY_PATH=$(libraries) timeout --foreground "$patience_seconds" "${machine[@]}" </dev/null >"$out/console" 2>&1 || code=$?
		# QEMU 10 itself ends by an assertion now and then while the firmware lays out the PCI devices (iotlb_to_section, with a
		# thread for each processor). The guest has not said a word then. Whatever happens later is a result.
		if [ "$code" -lt 128 ] || grep -aq '^LAB ' "$out/console"; then break; fi
		say "QEMU crashed before the guest was up: $(tail -n 1 "$out/console")"
	done
	if [ -n "$pauser" ]; then
		end_far_side "$work"
		cp "$work"/{probes.pcap,tcpdump.log} "$out/"
	fi
	tar -x -C "$out" -f "$results" 2>/dev/null || true
	say "Linux $(cat "$cache/$kernel/complete"): $((SECONDS - began)) s, $(find "$out" -name code | wc -l) surveys"
	if [ ! -e "$out/done" ]; then
		tail -n 40 "$out/console" >&2
		fail "the guest did not finish (code $code); $out/console has its whole output"
	fi
	rm "$results"
}

# Boots the machine as often as it is to lose its power: the first time while the scan starts, and then within four
# seconds of its sending, of which it has four for each boot.
lose_power() {
	[ "$losses" -gt 0 ] || return 0
	local number qemu_pid deadline sign
	truncate -s 64M "$work/disk"
	mke2fs -q -t ext4 -F "$work/disk"
	for ((number = 0; number < losses; number++)); do
		LD_LIBRARY_PATH=$(libraries) "${machine[@]}" </dev/null >"$out/console-$number" 2>&1 &
		qemu_pid=$!
		deadline=$((SECONDS + patience_seconds))
		sign='power: sends'
		if [ "$number" = 0 ]; then sign='power: begins'; fi
		until grep -aq "$sign" "$out/console-$number"; do
			kill -0 $qemu_pid 2>/dev/null || fail "the guest ended before its scan; see $out/console-$number"
			[ $SECONDS -lt $deadline ] || fail "the guest never said '$sign'; see $out/console-$number"
			sleep 0.1
		done
		sleep "$(awk "BEGIN { moment = $number * 0.618; print 0.2 + 3.8 * (moment - int(moment)) }")"
		kill -KILL $qemu_pid || fail "the guest ended before it lost its power; see $out/console-$number"
		wait $qemu_pid 2>/dev/null || true
	done
	say "lost its power $losses times"
}

# Waits until the guest's console in this file has a line.
await() {
	local console=$1 sign=$2 deadline=$((SECONDS + patience_seconds))
	until grep -aq "$sign" "$console" 2>/dev/null; do
		[ $SECONDS -lt $deadline ] || fail "the guest never said '$sign'; see $console"
		sleep 0.1
	done
}

# Pauses the machine twice, two seconds after its scan has begun, and four later: first its processors alone, whose clocks
# stand still meanwhile, then all of QEMU, after which they have gone on. What is on its way to the machine half a second
# before is lost, as on a network whose other end is far.
pause_twice() {
	local machine answers
	# Both ends of each pipe, so that nobody waits for the other.
	exec 8<>"$work/host.in" 9<>"$work/host.out"
	await "$out/console" 'pause: sends'
	machine=$(cat "$work/machine")
	# However this ends, it goes on.
	trap 'kill -CONT "$machine"' EXIT
	answers=(nsenter "--net=/proc/$machine/ns/net" ip route)
	sleep 2
	"${answers[@]}" add blackhole 198.19.0.1
	sleep 0.5
	echo stop >&8
	sleep "$pause_seconds"
	"${answers[@]}" del blackhole 198.19.0.1
	echo cont >&8
	sleep 4
	"${answers[@]}" add blackhole 198.19.0.1
	sleep 0.5
	kill -STOP "$machine"
	sleep "$pause_seconds"
	"${answers[@]}" del blackhole 198.19.0.1
}

# Removes what the machine needed.
leave() {
	[ -z "$pauser" ] || kill "$pauser" 2>/dev/null || true
	end_far_side "$work"
	rm -rf "$work"
}

need_lab_programs() {
	local program programs=(ip ethtool nginx setcap setpriv flock mke2fs)
	# For the far side of a machine that is paused.
	if [ "$pause_seconds" -gt 0 ]; then programs+=(nsenter tcpdump); fi
	for program in "${programs[@]}"; do
		command -v "$program" >/dev/null || fail "$program is missing; scripts/test.sh installs it"
	done
}

usage() {
	sed -n '2,20s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

PATH=$PATH:/usr/sbin:/sbin
# The plugin that counts, what else the guest gets, how often it loses its power, for how long it is paused, and by which
# process.
plugin='' files=() losses=0 pause_seconds=0 pauser=''
case ${1:-} in
fetch) fetch "${kernels[@]}" ;;
run) [ $# = 4 ] || usage && boot "$2" 0 "$(realpath "$3")" "$(realpath -m "$4")" ;;
power)
	[ $# = 4 ] || usage
	losses=$2
	LAB_CASES=power boot newest 0 "$(realpath "$3")" "$(realpath -m "$4")"
	;;
pause)
	[ $# = 4 ] || usage
	pause_seconds=$2
	LAB_CASES=pause boot newest 0 "$(realpath "$3")" "$(realpath -m "$4")"
	;;
shell) [ $# = 3 ] || usage && boot "$2" 1 "$(realpath "$3")" ;;
count)
	[ $# -ge 4 ] || usage
	plugin=$(realpath "$2") program=$(realpath "$3") out=$(realpath -m "$4")
	shift 4
	for file in "$@"; do files+=("$(realpath "$file")"); done
	boot newest 0 "$program" "$out"
	;;
*) usage ;;
esac
