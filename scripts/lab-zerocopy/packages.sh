# shellcheck shell=bash
# The packages of the lab: QEMU and the kernels, from the mirror that apt already uses, unpacked in $cache. A part of
# lab-zerocopy.sh.

cache=$PWD/target/lab-zerocopy

cannot_be_had() {
	printf 'the packages of the lab are unavailable: %s\n' "$*" >&2
	exit 77
}

# Where the lab's own programs find their libraries.
libraries() { echo "$cache/qemu/usr/lib/x86_64-linux-gnu:$cache/qemu/lib/x86_64-linux-gnu"; }

# private_apt NAME SUITE...: makes apt use, through APT_CONFIG, the lab's own lists with only these suites.
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

# Whether QEMU is there and runs on this machine. What fetched it may have been another one, on which libraries were
# installed that this one lacks.
qemu_runs() {
	[ -e "$cache/qemu/complete" ] &&
		LD_LIBRARY_PATH=$(libraries) "$cache/qemu/usr/bin/qemu-system-x86_64" -version >/dev/null 2>&1
}

# QEMU with igb, busybox and cpio, with all that this machine lacks to run them.
fetch_qemu() {
	local folder=$cache/qemu suites=("$release" "$release-updates") pin=$release package
	! qemu_runs || return 0
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
	touch "$folder/complete"
}

# fetch_kernel NAME SUITE...: the newest kernel of these suites.
fetch_kernel() {
	local name=$1 folder=$cache/$1 version package packages
	shift
	[ ! -e "$folder/complete" ] || return 0
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
			'kernel/drivers/pps/*' 'kernel/drivers/ptp/*' 'kernel/lib/*' 'kernel/fs/ext4/*' 'kernel/fs/jbd2/*' \
			'kernel/fs/mbcache*' 'kernel/crypto/crc32*' 2>/dev/null || true
		rm "$package"
	done
	rm -rf "$cache/apt/$name"
	vmlinuz "$name" >/dev/null || return 1
	echo "$version" >"$folder/complete"
}

# fetch KERNEL...: QEMU and these kernels.
fetch() {
	local name missing=0
	qemu_runs || missing=1
	for name in "$@"; do [ -e "$cache/$name/complete" ] || missing=1; done
	[ $missing = 1 ] || return 0
	mkdir -p "$cache"
	exec 9>"$cache/lock"
	flock 9
	find_mirrors
	(fetch_qemu) || exit $?
	(fetch_kernel newest trixie-backports) || cannot_be_had "no kernel in trixie-backports"
	[ $# -gt 1 ] || return 0
	# The oldest that is served and not below what README.md asks for, and the one below it, for as long as it is served.
	(fetch_kernel oldest bookworm bookworm-security) || cannot_be_had "no kernel in bookworm"
	(fetch_kernel ancient bullseye bullseye-security) || say "no kernel older than $(cat "$cache/oldest/complete") is served any more"
}
vmlinuz() { find "$cache/$1" -name 'vmlinuz*' -type f | grep . | head -n 1; }
