#!/usr/bin/env bash
# Runs the project's scripts on a machine on which nothing is installed: a minimal Debian in its own namespaces.
#
#   fresh.sh [RELEASE] [COMMAND...]   without a COMMAND the demo and the tests, each on a separate machine
#
# RELEASE is 12 or 13 for Debian, or 24.04 for Ubuntu; the default is this machine's own. Its packages come from the
# mirror that this machine's apt uses, so Ubuntu can be made on Ubuntu only.
#
# Every COMMAND is one argument, a line for bash, and gets a machine that no earlier one has changed: it has to install
# what it needs. /src there is a copy of this tree, without files that git ignores. What is built in it is kept from
# COMMAND to COMMAND, and removed at the end.
#
# The machine has the base system and this machine's Rust toolchain, which it can only read. It is also hostile: it has
# config files, a block list, variables and a home folder that would spoil every scan that read them. It has its own
# devices. It uses this machine's network, and this machine's settings for package mirrors, to download packages.
#
# Downloads are kept in ~/.cache/xdpmap-fresh, the base system for a week. Compiled crates of others are kept there as
# well, as long as everything that they were made from stays the same: their versions, the compiler, and the packages
# that scripts install.
#
# Needs root and Debian or Ubuntu. It may be killed at any time: only that folder remains.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

# shellcheck disable=SC1091
release=$(. /etc/os-release && echo "$VERSION_ID")
case ${1:-} in
-h | --help) sed -n '2,21s/^# \{0,1\}//p' "$0" && exit 0 ;;
12 | 13 | 24.04) release=$1 && shift ;;
esac
if [ $# = 0 ]; then set -- ./scripts/demo.sh ./scripts/test.sh; fi
case $release in
12) codename=bookworm components=main ;;
13) codename=trixie components=main ;;
24.04) codename=noble components='main universe' ;;
*) fail "this machine is no Debian 12 or 13 and no Ubuntu 24.04: name one of these, such as fresh.sh 12" ;;
esac
cache=${XDG_CACHE_HOME:-$HOME/.cache}/xdpmap-fresh
image=$cache/$codename
# An image's form: a change of how it is made makes a new one.
form=1
image_days=7

[ "$(id -u)" = 0 ] || fail "fresh.sh needs root: it mounts file systems"
need_cargo
need_packages mmdebstrap debian-archive-keyring git

# ---- the base system

# The sources of this machine's mirror for the release, as lines of sources.list.
sources() {
	local main security
	main=$(mirror "$codename")
	[ -n "$main" ] || main=$(mirror '')
	security=$(mirror "$codename-security")
	if [ -z "$security" ]; then
		# Debian's security suites are next to the others, under another name; Ubuntu's are among them.
		case $components in
		main) security=$main-security ;;
		*) security=$main ;;
		esac
	fi
	printf "deb %s %s $components\n" "$main" "$codename" "$main" "$codename-updates" "$security" "$codename-security"
}

make_image() {
	if [ -e "$image/made-$form" ] && [ -z "$(find "$image/made-$form" -mtime +$image_days)" ]; then return; fi
	say "making a minimal $codename"
	rm -rf "$image"
	mkdir -p "$image"
	sources >"$image/sources.list"
	apt-config dump | grep '^Acquire::' >"$image/apt.conf" || true
	mmdebstrap --quiet --variant=minbase --aptopt="$image/apt.conf" --skip=cleanup/apt/lists "$codename" "$image/root" - <"$image/sources.list" >"$image/log" 2>&1 ||
		fail "there is no base system: $(tail -n 3 "$image/log")"
	cp "$image/apt.conf" "$image/root/etc/apt/apt.conf.d/50mirror"
	# What dies with the machine need not reach the disk.
	echo force-unsafe-io >"$image/root/etc/dpkg/dpkg.cfg.d/unsafe-io"
	touch "$image/made-$form"
}

# ---- compiled crates

# The folder of crates of others that were made from the same inputs. The scripts are among the inputs, so a script that
# no longer installs what a crate needs finds none.
crates_folder() {
	local key
	key=$({
		rustc -vV
		cat Cargo.lock Cargo.toml ./*/Cargo.toml crates/*/Cargo.toml scanner/tests/support/Cargo.toml bench/senders/*/Cargo.* scripts/*.sh .ci/*
		stat -c %Y "$image/made-$form"
	} | sha256sum | cut -c 1-16)
	echo "$cache/crates-$codename-$key"
}

# Keeps what was built in $1, without what is of this tree, as $crates.
keep_crates() {
	local built=$1 folder folders name
	if [ -e "$crates" ]; then return; fi
	rm -rf "$cache/crates-$codename-"*
	mapfile -t folders < <(find "$built" -maxdepth 4 -type d -name .fingerprint)
	for folder in "${folders[@]}"; do
		folder=${folder%/.fingerprint}
		mkdir -p "$work/crates${folder#"$built"}"
		for name in .fingerprint build deps .cargo-lock; do
			if [ -e "$folder/$name" ]; then mv "$folder/$name" "$work/crates${folder#"$built"}/"; fi
		done
	done
	for name in xdpmap xsk simd targets wire ebpf-build ebpf_build bench lab support parsers offline kernel zerocopy alone no_clang reproducible; do
		find "$work/crates" -mindepth 2 \( -name "${name}[-_.]*" -o -name "lib${name}[-_.]*" \) -prune -exec rm -rf {} +
	done
	if [ -e "$built/.rustc_info.json" ]; then mv "$built/.rustc_info.json" "$work/crates/"; fi
	mv "$work/crates" "$crates"
}

# ---- what is brought along

# Copies this tree, without what git ignores.
copy_tree() {
	mkdir "$work/src"
	git ls-files -z --cached --others --exclude-standard |
		while IFS= read -r -d '' file; do if [ -e "$file" ]; then printf '%s\0' "$file"; fi; done |
		tar --null --files-from=- --create | tar -x -C "$work/src"
}

# The hostile part of a machine: for every way in which a setting may reach a scan, one that would spoil it.
make_hostile() {
	local root=$1 folder
	for folder in "$root/etc/xdpmap" "$root/root/.config/xdpmap"; do
		mkdir -p "$folder"
		printf 'interface "no-such-interface"\nrate 1\nmax-targets 1\noutput-module json\n' >"$folder/xdpmap.conf"
		echo '0.0.0.0/0' >"$folder/blocklist.conf"
	done
}

# The variables that a command gets, in $variables: few of this machine's, and some that are hostile. Incremental builds
# are off, because each build happens once.
choose_variables() {
	local name
	variables=(PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "TERM=${TERM:-dumb}"
		CARGO_HOME=/opt/cargo CARGO_INCREMENTAL=0 DEBIAN_FRONTEND=noninteractive TZ=Asia/Kathmandu LC_ALL=C
		XDPMAP_RATE=1 XDPMAP_INTERFACE=no-such-interface XDPMAP_BLOCKLIST_FILE=/no/such/file XDPMAP_CONFIG=/no/such/file)
	for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY PIP_INDEX_URL PIP_EXTRA_INDEX_URL \
		PIP_TRUSTED_HOST PIP_DEFAULT_TIMEOUT CI; do
		if [ -n "${!name:-}" ]; then variables+=("$name=${!name}"); fi
	done
	if [ -r /etc/ssl/certs/ca-certificates.crt ]; then
		variables+=(SSL_CERT_FILE=/opt/machine/ca.crt PIP_CERT=/opt/machine/ca.crt CARGO_HTTP_CAINFO=/opt/machine/ca.crt)
	fi
}

# How this machine reaches the mirrors, for the one in $1.
bring_settings() {
	local root=$1 file
	mkdir -p "$root/opt/machine"
	cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
	if [ -r /etc/ssl/certs/ca-certificates.crt ]; then cp /etc/ssl/certs/ca-certificates.crt "$root/opt/machine/ca.crt"; fi
	for file in "${PIP_CONFIG_FILE:-}" "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf" /etc/pip.conf; do
		if [ -r "$file" ]; then cp "$file" "$root/etc/pip.conf" && break; fi
	done
}

# ---- a machine

# Runs in namespaces that are new: makes of $work/run a machine, and has it run the command $1.
enter() {
	local root=$work/run/root toolchain cargo_home=${CARGO_HOME:-$HOME/.cargo} device
	toolchain=$(rustc --print sysroot)
	mount --make-rprivate /
	mkdir -p "$work/run"/{upper,work,root}
	mount -t overlay none -o "lowerdir=$image/root,upperdir=$work/run/upper,workdir=$work/run/work" "$root"
	mkdir -p "$root"/{src,opt/rust,opt/cargo/registry,dev/net,.machine} "$cargo_home/registry" "$cache/apt-$codename/partial"
	mount --bind "$work/src" "$root/src"
	mkdir -p "$root/src/target"
	mount -t overlay none -o "lowerdir=$from,upperdir=$work/built,workdir=$work/built-work" "$root/src/target"
	mount --bind "$toolchain" "$root/opt/rust"
	mount -o remount,bind,ro "$root/opt/rust"
	mount --bind "$cargo_home/registry" "$root/opt/cargo/registry"
	for file in config.toml config; do
		if [ -r "$cargo_home/$file" ]; then cp "$cargo_home/$file" "$root/opt/cargo/"; fi
	done
	mount --bind "$cache/apt-$codename" "$root/var/cache/apt/archives"
	bring_settings "$root"
	make_hostile "$root"
	mount -t proc proc "$root/proc"
	mount -t sysfs sysfs "$root/sys"
	mount -t bpf bpf "$root/sys/fs/bpf"
	mount -t tmpfs -o mode=755 tmpfs "$root/run"
	# Its own device nodes: a test that writes to one cannot damage this machine's.
	mount -t tmpfs -o mode=755,dev tmpfs "$root/dev"
	mkdir -p "$root"/dev/{net,pts,shm}
	for device in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0 net/tun:10:200; do
		IFS=: read -r name major minor <<<"$device"
		mknod -m 666 "$root/dev/$name" c "$major" "$minor"
	done
	mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$root/dev/pts"
	ln -s pts/ptmx "$root/dev/ptmx"
	ln -s /proc/self/fd "$root/dev/fd"
	ln -s fd/1 "$root/dev/stdout"
	ln -s fd/2 "$root/dev/stderr"
	mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
	hostname fresh
	cd "$root"
	pivot_root . .machine
	umount -l /.machine
	rmdir /.machine
	cd /src
	# As for a user who has logged off: SIGHUP is ignored. And other users cannot read new files.
	trap '' HUP
	umask 027
	exec env -i "${variables[@]}" bash -euc "$1"
}

make_image
mkdir -p "$cache"
work=$(mktemp -d -p "$cache" run.XXXXXX)
trap 'wait; rm -rf "$work"' EXIT
copy_tree
choose_variables
crates=$(crates_folder)
# The folder that crates are taken from. If there are none, an empty one, because an overlay needs a folder.
from=$crates
[ -d "$from" ] || from=$work/none
mkdir -p "$work"/{none,built,built-work,crates}
[ "$from" = "$work/none" ] || say "compiled crates of others are here from an earlier run"
for command in "$@"; do
	began=$SECONDS
	say "on a fresh $codename: $command"
	export -f enter bring_settings make_hostile
	status=0
	# It ends together with this script, and so does everything that it started.
	work=$work image=$image cache=$cache codename=$codename from=$from \
		unshare --mount --pid --fork --ipc --uts --kill-child \
		bash -euc "variables=(${variables[*]@Q}); enter \"\$1\"" enter "$command" </dev/null || status=$?
	say "on a fresh $codename: $command took $((SECONDS - began)) s"
	[ "$status" = 0 ] || exit "$status"
	# Tens of thousands of files: removed in the background.
	mv "$work/run" "$work/run.$began"
	rm -rf "$work/run.$began" &
done
keep_crates "$work/built"
