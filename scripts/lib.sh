#!/usr/bin/env bash
# Shared by the scripts: root through sudo only if needed, missing packages, messages. Sourced, not run.
# shellcheck disable=SC2034 # what is set here is used by scripts that source it

# A message, with the time since the script began.
say() { printf '\033[1m==>\033[0m [%d:%02d] %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*" >&2; }
fail() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# The mirror that this machine's apt has a suite from; of any suite, if $1 is empty.
mirror() {
	# shellcheck disable=SC2016 # the names are apt's
	apt-get indextargets --format '$(SITE) $(CODENAME)' 'Created-By: Packages' |
		awk -v suite="$1" 'suite == "" || $2 == suite { print $1; exit }'
}

# Settings of the machine's user are for scans of theirs: no script is to scan with them.
for variable in "${!XDPMAP_@}"; do
	case $variable in
	XDPMAP_CLANG | XDPMAP_COMMIT | XDPMAP_LLVM_STRIP | XDPMAP_TEST_* | XDPMAP_TUNE_STATE) ;;
	*) unset "$variable" ;;
	esac
done

# Runs a command as root: directly, or through sudo.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		fail "this step needs root, and there is no sudo: $*"
	fi
}

# Whether the programs of a package are there without it, because another package has them.
provided() {
	case $1 in
	nginx-light) [ -x /usr/sbin/nginx ] ;;
	bpftool) command -v bpftool >/dev/null || [ -x /usr/sbin/bpftool ] ;;
	rpm) command -v rpmbuild >/dev/null ;;
	*) false ;;
	esac
}

# Installs those of the named Debian or Ubuntu packages that are missing. Contacts no server if none is.
need_packages() {
	local package absent=()
	command -v dpkg-query >/dev/null || fail "this script installs packages on Debian and Ubuntu only; you need: $*"
	for package in "$@"; do
		if provided "$package"; then continue; fi
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || absent+=("$package")
	done
	[ ${#absent[@]} -gt 0 ] || return 0
	say "installing ${absent[*]}"
	as_root apt-get -q -o DPkg::Lock::Timeout=300 update >/dev/null
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
		install --no-install-recommends "${absent[@]}" >/dev/null
	# Stop servers that the new packages have started: only our own should run. Servers that were there before are the
	# user's. chrony keeps running, because it replaces the former time daemon.
	command -v systemctl >/dev/null || return 0
	for package in "${absent[@]}"; do
		if [ -n "${services[$package]:-}" ]; then
			# shellcheck disable=SC2086 # several units
			as_root systemctl disable --now ${services[$package]} >/dev/null 2>&1 || true
		fi
	done
}

# The Python of the project's own environment.
python=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/target/python/bin/python

# Installs programs without a Debian package, or without a small one, into that environment. Contacts no server if
# nothing is missing.
# need_python REQUIREMENT...
need_python() {
	[ -x "$python" ] || python3 -m venv "${python%/bin/python}"
	"$python" -m pip --quiet --disable-pip-version-check install "$@"
}

# The units of the servers that packages start.
declare -A services=(
	[nginx-light]=nginx [snmpd]=snmpd [unbound]=unbound [memcached]=memcached [rpcbind]='rpcbind.socket rpcbind'
	[slurmctld]=slurmctld [slurmd]=slurmd [munge]=munge
	[atftpd]=atftpd [redis-server]=redis-server [minissdpd]=minissdpd [miniupnpd-nftables]=miniupnpd
	[prometheus]=prometheus [prometheus-node-exporter]=prometheus-node-exporter
)

# What a build needs in addition to Rust: a linker (cc), the C library, and clang for the XDP program.
build_packages=(gcc libc6-dev clang llvm)
# What a build of the tests needs in addition: they also load the XDP program through libbpf, which is built then.
test_build_packages=(make pkg-config libelf-dev zlib1g-dev)
# What the lab needs.
lab_packages=(iproute2 ethtool procps nginx-light)
# What tests call in addition: lab/src/tools.rs lists the programs. netbase has the names of ports and protocols, in
# which rpcbind looks up its own. python3-dev has what pyasn is compiled with.
test_packages=(
	netbase
	tshark tcpdump nftables zmap snmpd unbound chrony memcached rpcbind atftpd jq redis-server python3-venv libcap2-bin
	minissdpd miniupnpd-nftables curl nmap masscan wireguard-go wireguard-tools bpftool strace systemd gdb
	binutils e2fsprogs man-db prometheus prometheus-node-exporter gzip xz-utils zstd
	libxml2-utils ndiff mawk python3-dev
)
# Ubuntu has Chromium as a snap only; scanner/tests/support/src/browser.rs skips what needs it there.
grep -qs '^ID=ubuntu' /etc/os-release || test_packages+=(chromium-headless-shell)

need_cargo() {
	# shellcheck disable=SC1091
	command -v cargo >/dev/null || { [ -r "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"; } || true
	command -v cargo >/dev/null || fail "cargo not found; install Rust from https://rustup.rs"
}

# side_by_side: from now on commands can run beside the script. What is left of them ends with it, also after Ctrl-C and
# failure. What each has said is a file in the folder $beside.
side_by_side() {
	declare -gA beside_pids=()
	beside=$(mktemp -d)
	trap end_beside EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
}
# start NAME COMMAND...: runs a command beside the script, in a process group of its own.
start() {
	local name=$1
	shift
	set -m
	"$@" </dev/null >"$beside/$name" 2>&1 &
	set +m
	beside_pids[$name]=$!
}
# await NAME: waits for a command, prints what it has said, and fails if it failed.
await() {
	local code=0
	wait "${beside_pids[$1]}" || code=$?
	unset "beside_pids[$1]"
	cat "$beside/$1"
	[ "$code" = 0 ] || fail "failed, with code $code: $1"
}
end_beside() {
	trap - EXIT INT TERM
	local pid
	for pid in "${beside_pids[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
	wait || true
	rm -rf "$beside"
}

# need_xdpmap FILE: $program is that xdpmap or, if FILE is empty, one that is built here.
need_xdpmap() {
	program=$1
	[ -z "$program" ] || return 0
	need_cargo
	need_packages "${build_packages[@]}"
	say "building xdpmap (a few minutes the first time)"
	cargo build --release --locked --quiet --package xdpmap --package lab
	program=$PWD/target/release/xdpmap
}

# make_lab NAME QUEUES: a lab (scripts/lab.sh) and an empty folder $work, which are removed at the end of the script, even
# after Ctrl-C and failure.
make_lab() {
	lab=$1$$
	work=$(mktemp -d)
	trap remove_lab EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	as_root ./scripts/lab.sh up "$lab" "$2"
}
remove_lab() {
	trap - EXIT
	trap '' INT TERM
	as_root ./scripts/lab.sh down "$lab"
	as_root rm -rf "$work"
}

# Runs a command on the scanning side of that lab.
inside() { as_root ip netns exec "xm-$lab-scan" "$@"; }
