#!/usr/bin/env bash
# A lab with real drivers: a virtual machine whose emulated NICs have AF_XDP zero-copy, for surveys from NIC to NIC.
#
#   lab-zerocopy.sh fetch                       get QEMU and the kernels, once; later runs ask no server
#   lab-zerocopy.sh run KERNEL PROGRAM OUT      boot KERNEL (newest, oldest, ancient), run its cases with PROGRAM, which is
#                                               an xdpmap, and leave what came of each in the folder OUT
#   lab-zerocopy.sh shell KERNEL PROGRAM        the same machine with a shell on this terminal; `poweroff -f` ends it
#
# LAB_CASES is a function of the scripts in scripts/lab-zerocopy to run instead of all of the kernel's cases, such as `virtio`.
#
# Nothing is installed, and nothing of this machine is changed: packages come from the mirror that apt uses already, through
# package lists of the lab's own, and are unpacked in target/lab-zerocopy. The guest's NICs meet on hubs inside QEMU, and
# those with several queues on taps in a network namespace that only QEMU is in: no packet can leave the machine. Root is
# needed for these taps alone. The machine is emulated by software, unless the processor really has virtualisation.
#
# Exit code 77: the packages cannot be had here. 1: the guest did not come to its end; OUT/console says why.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

cache=$PWD/target/lab-zerocopy
# How long a guest may take. The newest kernel's cases take five minutes on two cores that have other work, too.
patience_seconds=${LAB_PATIENCE_SECONDS:-900}
modules=(igb e1000e virtio_pci virtio_net virtio_blk veth 8021q bonding)

cannot_be_had() {
	printf 'the packages of the lab cannot be had: %s\n' "$*" >&2
	exit 77
}

# ---- packages

# Where the lab's own programs find their libraries.
libraries() { echo "$cache/qemu/usr/lib/x86_64-linux-gnu:$cache/qemu/lib/x86_64-linux-gnu"; }

# private_apt NAME SUITE...: points apt, through APT_CONFIG, at lists of the lab's own with just these suites.
private_apt() {
	local folder=$cache/apt/$1 suite site keyring=/usr/share/keyrings/debian-archive-keyring
	shift
	for keyring in $keyring.gpg $keyring.pgp; do [ ! -r "$keyring" ] || break; done
	rm -rf "$folder"
	mkdir -p "$folder"/{lists,cache/archives}/partial "$folder/parts"
	for suite in "$@"; do
		case $suite in
		*-security) site=$security_mirror ;;
		*) site=$main_mirror ;;
		esac
		printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$site" "$suite"
	done >"$folder/sources.list"
	# How this machine reaches its mirror (proxies and the like), but none of its hooks.
	env -u APT_CONFIG apt-config dump | grep '^Acquire::' >"$folder/apt.conf" || true
	cat >>"$folder/apt.conf" <<-END
		Dir::Etc::main "/dev/null";
		Dir::Etc::parts "$folder/parts";
		Dir::Etc::sourcelist "$folder/sources.list";
		Dir::Etc::sourceparts "$folder/parts";
		Dir::Etc::preferences "/dev/null";
		Dir::Etc::preferencesparts "$folder/parts";
		Dir::State::lists "$folder/lists";
		Dir::Cache "$folder/cache";
		Debug::NoLocking "1";
		APT::Sandbox::User "root";
		Acquire::Languages "none";
		Acquire::Retries "3";
	END
	export APT_CONFIG=$folder/apt.conf
	apt-get -q update >"$folder/log" 2>&1 && ! grep -q '^[WE]:' "$folder/log"
}

# Finds out where this machine's packages come from.
find_mirrors() {
	[ "$(uname -m)" = x86_64 ] || cannot_be_had "the emulated NICs are those of an x86-64 machine"
	command -v apt-get >/dev/null || cannot_be_had "there is no apt"
	# shellcheck disable=SC1091
	release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	main_mirror=$(mirror "$release")
	security_mirror=$(mirror "$release-security")
	case $release in
	bookworm | trixie) ;;
	*) cannot_be_had "this machine is no Debian 12 or 13" ;;
	esac
	[ -n "$main_mirror" ] || cannot_be_had "apt knows no mirror"
	: "${security_mirror:=$main_mirror-security}"
}

# QEMU with igb, busybox and cpio, with all that this machine lacks to run them.
fetch_qemu() {
	local folder=$cache/qemu suites=("$release" "$release-updates") pin=$release package
	[ ! -e "$folder/done" ] || return 0
	# Debian 12's own is too old for igb.
	if [ "$release" = bookworm ]; then suites+=(bookworm-backports) && pin=bookworm-backports; fi
	private_apt qemu "${suites[@]}" "$release-security" || cannot_be_had "$(tail -n 1 "$cache/apt/qemu/log")"
	say "getting QEMU"
	apt-get -q -y -t "$pin" --no-install-recommends --reinstall --download-only install \
		qemu-system-x86 busybox-static cpio >"$cache/apt/qemu/log" 2>&1 ||
		cannot_be_had "$(tail -n 1 "$cache/apt/qemu/log")"
	rm -rf "$folder" && mkdir -p "$folder"
	for package in "$cache"/apt/qemu/cache/archives/*.deb; do dpkg-deb -x "$package" "$folder"; done
	rm -rf "$cache/apt/qemu"
	LD_LIBRARY_PATH=$(libraries) "$folder/usr/bin/qemu-system-x86_64" -device help | grep -q '^name "igb"' ||
		cannot_be_had "this QEMU has no igb"
	touch "$folder/done"
}

# fetch_kernel NAME SUITE...: the newest kernel of these suites.
fetch_kernel() {
	local name=$1 folder=$cache/$1 version package packages
	shift
	[ ! -e "$folder/done" ] || return 0
	private_apt "$name" "$@" || return 1
	version=$(apt-cache show linux-image-amd64 2>/dev/null | sed -n 's/^Depends:.*linux-image-\([0-9][^ ]*-amd64\).*/\1/p' | head -n 1)
	[ -n "$version" ] || return 1
	say "getting Linux $version"
	# From 7.x on image and modules are packages of their own.
	packages=("linux-image-$version")
	if apt-cache show "linux-binary-$version" >/dev/null 2>&1; then
		packages=("linux-binary-$version" "linux-modules-$version")
	fi
	rm -rf "$folder" && mkdir -p "$folder"
	(cd "$folder" && apt-get -q download "${packages[@]}" >log 2>&1) || return 1
	for package in "$folder"/*.deb; do
		dpkg-deb --fsys-tarfile "$package" | tar -x -C "$folder" --wildcards --no-anchored \
			--exclude='*/kernel/drivers/net/wireless/*' 'vmlinuz*' 'kernel/drivers/net/*' 'kernel/net/*' \
			'kernel/drivers/virtio/*' 'kernel/drivers/block/virtio_blk*' 'kernel/drivers/dca/*' 'kernel/drivers/i2c/*' \
			'kernel/drivers/pps/*' 'kernel/drivers/ptp/*' 'kernel/lib/*' 2>/dev/null || true
		rm "$package"
	done
	rm -rf "$cache/apt/$name"
	vmlinuz "$name" >/dev/null || return 1
	echo "$version" >"$folder/done"
}

fetch() {
	if [ -e "$cache/qemu/done" ] && [ -e "$cache/newest/done" ] && [ -e "$cache/oldest/done" ] && [ -e "$cache/ancient/done" ]; then
		return 0
	fi
	mkdir -p "$cache"
	exec 9>"$cache/lock"
	flock 9
	find_mirrors
	(fetch_qemu) || exit $?
	(fetch_kernel newest trixie-backports) || cannot_be_had "no kernel in trixie-backports"
	# The oldest that is served and not below what README.md asks for, and the one below it, for as long as it is served.
	(fetch_kernel oldest bookworm bookworm-security) || cannot_be_had "no kernel in bookworm"
	(fetch_kernel ancient bullseye bullseye-security) || say "no kernel older than $(cat "$cache/oldest/done") is served any more"
}

vmlinuz() { find "$cache/$1" -name 'vmlinuz*' -type f | grep . | head -n 1; }

# ---- the guest's files

# Copies a program of this machine, with the libraries that it needs.
give_program() {
	local program=$1 library
	install -D "$program" "$root/usr/bin/${2:-$(basename "$program")}"
	ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
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
	local program=$1 applet
	root=$work/root
	mkdir -p "$root"/{bin,modules,proc,sys,dev,tmp,run,etc,results,var/log/nginx,usr/bin}
	cp "$busybox" "$root/bin/busybox"
	for applet in $("$busybox" --list); do ln -s busybox "$root/bin/$applet" 2>/dev/null || true; done
	# Its own are stronger.
	rm -f "$root/bin/ip"
	strip -o "$work/xdpmap" "$program" 2>/dev/null || cp "$program" "$work/xdpmap"
	give_program "$work/xdpmap"
	give_program "$(command -v ip)"
	give_program "$(command -v ethtool)"
	give_program "$(command -v nginx)"
	give_program "$(command -v bash)"
	give_program "$(command -v setcap)"
	give_program "$(command -v setpriv)"
	give_program "$(command -v flock)"
	cp scripts/tune-nic.sh "$root/usr/bin/"
	# That of busybox knows nothing of signals.
	give_program "$(command -v env)"
	echo root:x:0:0::/:/bin/sh >"$root/etc/passwd"
	echo nobody:x:65534:65534::/:/bin/false >>"$root/etc/passwd"
	printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
	for module in "${modules[@]}"; do give_module "$module"; done
	install scripts/lab-zerocopy/guest.sh "$root/init"
	cp scripts/lab-zerocopy/steering.sh "$root/"
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
	local accelerator=(-accel "tcg,thread=multi" -cpu max) end
	# A /dev/kvm that opens is not enough.
	if grep -qwE 'vmx|svm' /proc/cpuinfo && [ -w /dev/kvm ]; then accelerator=(-accel kvm -cpu host); fi
	# shellcheck disable=SC2054 # the commas are QEMU's
	machine=("$qemu" -L "$cache/qemu/usr/share/qemu" -L "$cache/qemu/usr/share/seabios" -L /usr/share/qemu
		-machine q35 "${accelerator[@]}" -smp 2 -m 1280 -nodefaults -no-user-config -display none -no-reboot
		# The guest's second serial line is QEMU's own monitor: a cable can be pulled from within.
		-chardev "socket,id=monitor,path=$work/monitor,server=on,wait=off" -mon chardev=monitor
		-serial stdio -chardev "socket,id=guest,path=$work/monitor" -serial chardev:guest -kernel "$(vmlinuz "$kernel")" -initrd "$work/initramfs"
		# The last five keep the clock's calibration from failing on a busy host, which ends in a panic.
		-append "console=ttyS0 quiet panic=-1 lab.cases=${LAB_CASES:-$kernel} lab.shell=$shell nokaslr mitigations=off no_timer_check tsc=reliable lpj=4000000"
		-drive "if=none,id=results,format=raw,file=$work/results.tar" -device virtio-blk-pci,drive=results)
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

boot() {
	kernel=$1 shell=$2
	local program=$3
	[ -x "$program" ] || fail "there is no program $program"
	(fetch) || exit $?
	[ -e "$cache/$kernel/done" ] || cannot_be_had "the $kernel kernel"
	need_lab_programs
	busybox=$cache/qemu/bin/busybox
	[ -x "$busybox" ] || busybox=/bin/busybox
	qemu=$cache/qemu/usr/bin/qemu-system-x86_64
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	make_initramfs "$program"
	truncate -s 64M "$work/results.tar"
	describe_machine
	if [ "$shell" = 1 ]; then
		LD_LIBRARY_PATH=$(libraries) "${machine[@]}"
		return
	fi
	local out=$4 began=$SECONDS code=0 tries=3
	mkdir -p "$out"
	while [ "$tries" -gt 0 ]; do
		tries=$((tries - 1)) code=0
		LD_LIBRARY_PATH=$(libraries) timeout --foreground "$patience_seconds" "${machine[@]}" </dev/null >"$out/console" 2>&1 || code=$?
		# QEMU 10 itself ends by an assertion now and then while the firmware lays out the PCI devices (iotlb_to_section, with a
		# thread for each processor). The guest has not said a word then. Whatever happens later is a result.
		if [ "$code" -lt 128 ] || grep -aq '^LAB ' "$out/console"; then break; fi
		say "QEMU crashed before the guest was up: $(tail -n 1 "$out/console")"
	done
	tar -x -C "$out" -f "$work/results.tar" 2>/dev/null || true
	say "Linux $(cat "$cache/$kernel/done"): $((SECONDS - began)) s, $(find "$out" -name code | wc -l) surveys"
	if [ ! -e "$out/done" ]; then
		tail -n 40 "$out/console" >&2
		fail "the guest did not come to its end (code $code); $out/console has all that it said"
	fi
}

need_lab_programs() {
	local program
	for program in ip ethtool nginx setcap setpriv flock; do
		command -v "$program" >/dev/null || fail "$program is missing; scripts/test.sh installs it"
	done
}

usage() {
	sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

PATH=$PATH:/usr/sbin:/sbin
case ${1:-} in
fetch) fetch ;;
run) [ $# = 4 ] || usage && boot "$2" 0 "$(realpath "$3")" "$(realpath -m "$4")" ;;
shell) [ $# = 3 ] || usage && boot "$2" 1 "$(realpath "$3")" ;;
*) usage ;;
esac
