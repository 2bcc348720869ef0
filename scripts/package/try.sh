#!/usr/bin/env bash
# Installs the package of target/packages on a fresh machine, uses it as its users do, and removes it:
# `scripts/package.sh test` runs this. The lab must have been built.
#
# No packet leaves the machine: the scan is in a lab.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/lib.sh

if [ "$(uname -n)" != fresh ] || [ ! -d /opt/machine ]; then
	fail "this installs and purges, so it is for fresh machines only: scripts/package.sh test makes one"
fi
deb=$(echo "$PWD"/target/packages/xdpmap_*.deb)
rpm=$(echo "$PWD"/target/packages/xdpmap-*.rpm)
if [ ! -f "$deb" ] || [ ! -f "$rpm" ]; then fail "there are no packages; scripts/package.sh makes them"; fi
export DEBIAN_FRONTEND=noninteractive

quietly() { "$@" >/tmp/said 2>&1 || fail "$*: $(tail -n 20 /tmp/said)"; }
apt() { quietly apt-get -q -y -o DPkg::Lock::Timeout=300 "$@"; }
# Fails unless the text $1 has the words $2.
has() { [[ $1 == *"$2"* ]] || fail "'$2' is not in: $1"; }
# All that is on the machine, apart from what changes with every package, and from backups of the lists of users.
everything() {
	find / -xdev \( -path /proc -o -path /sys -o -path /src -o -path /tmp -o -path /run -o -path /var/lib/dpkg \
		-o -path /var/lib/apt -o -path /var/cache -o -path /var/log \) -prune -o -print |
		grep -vxE '/etc/(group|gshadow|passwd|shadow|subuid|subgid)-|/etc/\.pwd\.lock|/etc/ld\.so\.cache' | sort
}

# The settings of this machine that would spoil a scan are for the other tests.
rm -rf /etc/xdpmap /root/.config/xdpmap
apt update

say "installing on a machine that has only the base system, and removing"
everything >/tmp/before
getent group >>/tmp/before
apt install --no-install-recommends "$deb"
xdpmap --version
apt purge --autoremove xdpmap
everything >/tmp/after
getent group >>/tmp/after
diff /tmp/before /tmp/after || fail "this is what the package has left or taken"
echo "after apt purge, the machine is as it was: $(wc -l </tmp/after) names of files and groups"

say "installing again, with what users have beside it"
apt install --no-install-recommends "$deb" man-db bash-completion zsh fish rpm systemd "${lab_packages[@]}"
mode=$(stat -c '%U:%G %a' /usr/bin/xdpmap)
[ "$mode" = 'root:scan 750' ] || fail "owner and mode are $mode"
capabilities=$(getcap /usr/bin/xdpmap)
echo "$capabilities"
for capability in cap_net_raw cap_net_admin cap_bpf cap_perfmon cap_ipc_lock; do has "$capabilities" $capability; done
useradd --create-home --groups scan member
useradd --create-home other
as() { setpriv --reuid "$1" --regid "$1" --init-groups env -i HOME="/home/$1" PATH=/usr/bin:/bin "${@:2}"; }
if as other xdpmap --version 2>/tmp/said; then fail "a user who is not in the group can run it"; fi
has "$(</tmp/said)" 'Permission denied'

say "scanning a lab as a member of the group scan"
./scripts/lab.sh up package 2
trap './scripts/lab.sh down package' EXIT
folder=/home/member
# The shipped block list has the networks of labs.
touch "$folder/none" && chown member: "$folder/none"
if ip netns exec xm-package-scan setpriv --reuid member --regid member --init-groups env -i HOME=$folder \
	xdpmap -q -i scan0 -p 80 --allow-reserved 198.18.0.0/16 2>/tmp/said; then
	fail "the shipped block list was not obeyed"
fi
tail -n 1 /tmp/said
has "$(</tmp/said)" /etc/xdpmap/blocklist.conf
ip netns exec xm-package-scan setpriv --reuid member --regid member --init-groups env -i HOME=$folder \
	xdpmap -q -b $folder/none -i scan0 -p 80 -r 40000 -c 2 --allow-reserved -f saddr,sport,classification \
	-o $folder/results.csv -m $folder/scan.json 198.18.0.0/16
[ "$(stat -c %U $folder/results.csv)" = member ] || fail "the results are of $(stat -c %U $folder/results.csv)"
./scripts/lab.sh truth 80 | sort >/tmp/truth
tail -n +2 $folder/results.csv | sort -u >/tmp/found
diff /tmp/truth /tmp/found >/tmp/said || fail "the lab and the results differ: $(head -n 5 /tmp/said)"
echo "$(wc -l </tmp/found) hosts found, as in the lab; $(grep -o '"io_mode":[^,]*' $folder/scan.json)"
[ "$(xdpmap-iterate -n 3 -e 5 | wc -l)" = 3 ] || fail "xdpmap-iterate"
has "$(xdpmap-tune-nic --help)" 'xdpmap-tune-nic IFACE check'

say "what the program is made of"
# The bill in the form of its standard, by that standard's own library; and what the program itself lists.
need_packages python3-venv
python3 -m venv /tmp/bill
quietly /tmp/bill/bin/pip --quiet install 'cyclonedx-python-lib[json-validation]==11.12.0'
/tmp/bill/bin/python - /usr/share/doc/xdpmap/sbom.cdx.json /usr/bin/xdpmap <<'END'
import hashlib, json, sys, zlib
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

text, program = open(sys.argv[1]).read(), open(sys.argv[2], "rb").read()
fault = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
assert fault is None, fault
bill = json.loads(text)
assert bill["metadata"]["component"]["hashes"][0]["content"] == hashlib.sha256(program).hexdigest()
# A compressed text begins with this byte; only one in the program is a list of crates.
lists, at, rest = [], -1, memoryview(program)
while (at := program.find(b"\x78", at + 1)) >= 0:
    try:
        # Before the first byte of text comes a table of codes, of up to 300 bytes.
        if zlib.decompressobj().decompress(rest[at : at + 512], 12) == b'{"packages":':
            lists.append(json.loads(zlib.decompressobj().decompress(rest[at:]))["packages"])
    except zlib.error:
        continue
assert len(lists) == 1, len(lists)
listed = {(crate["name"], crate["version"]) for crate in lists[0]}
billed = {(part["name"], part["version"]) for part in [*bill["components"], bill["metadata"]["component"]]}
assert {part for part in billed if part[0] != "rust-std"} == listed, listed ^ billed
unlicensed = [part["name"] for part in bill["components"] if "licenses" not in part]
assert len(listed) > 100 and not unlicensed, unlicensed
print(f"{len(listed)} crates in the program, and in its bill of materials, each with its licence")
END
rm -rf /tmp/bill

say "reading the manual"
for page in '1 xdpmap' '5 xdpmap.conf' '1 xdpmap-blocklist' '1 xdpmap-checkpoint' '1 xdpmap-ctl' '1 xdpmap-doctor' \
	'1 xdpmap-iterate' '1 xdpmap-resume' '1 xdpmap-tee'; do
	# shellcheck disable=SC2086 # the section and the name
	text=$(man $page)
	has "$text" NAME
	has "$text" "xdpmap $(dpkg-query -W -f '${Version}' xdpmap | cut -d - -f 1)"
done
man xdpmap | sed -n 3,12p

say "completing commands"
# shellcheck disable=SC2016 # for the inner shells
{
	completed=$(bash --norc -i -c '. /usr/share/bash-completion/bash_completion
		{ _comp_load xdpmap || _completion_loader xdpmap || true; } 2>/dev/null
		complete -p xdpmap
		COMP_WORDS=(xdpmap --io-mode z) COMP_CWORD=2
		_xdpmap xdpmap z --io-mode
		echo "${COMPREPLY[@]}"' 2>/dev/null)
	has "$completed" '_xdpmap'
	has "$completed" zerocopy
	echo "bash: --io-mode z: ${completed##*$'\n'}"
	zsh -n /usr/share/zsh/vendor-completions/_xdpmap
	found=$(zsh -fc 'autoload -Uz compinit && compinit -u -d /tmp/zcompdump && echo $_comps[xdpmap]')
	[ "$found" = _xdpmap ] || fail "zsh finds '$found' for xdpmap"
}
# A shell of its own, on a terminal of its own, in which Tab is pressed.
cat >/tmp/tab.zsh <<'END'
zmodload zsh/zpty
zpty shell zsh -f -i
tab() {
	local said all=
	zpty -w shell "$1"$'\t\t'
	repeat 40; do
		sleep 0.1
		while zpty -rt shell said; do all+=$said; done
		[[ $all == *$2* ]] && { print "zsh: $1: $2"; zpty -w shell $'\x03'; return; }
	done
	print -r -- "zsh: $1 is not completed to $2: $all"
	exit 1
}
zpty -w shell 'PS1=; autoload -Uz compinit && compinit -u -d /tmp/zcompdump; bindkey "^I" complete-word'
sleep 1
tab 'xdpmap --io-mode zer' zerocopy
tab 'xdpmap -f saddr,rtt' saddr,rtt_us
tab 'xdpmap doc' doctor
tab 'xdpmap doctor --app' --apply
tab 'xdpmap ctl wat' watch
tab 'xdpmap -i eth9,l' eth9,lo
zpty -d shell
END
zsh -f /tmp/tab.zsh
for pair in 'xdpmap --io-mode z=zerocopy' 'xdpmap -f saddr,rtt=saddr,rtt_us' 'xdpmap -i eth9,l=eth9,lo' 'xdpmap doc=doctor' \
	'xdpmap doctor --app=--apply' 'xdpmap ctl wat=watch' 'xdpmap 192.0.2.1 --dry=--dryrun' 'xdpmap checkpoint sh=show'; do
	line=${pair%=*}
	found=$(fish -c "complete -C '$line'")
	[[ $'\n'$found == *$'\n'"${pair##*=}"* ]] || fail "fish completes '$line' to: $found"
	echo "fish: $line: ${pair##*=}"
done

say "what systemd and rpm say"
quietly systemd-analyze verify --man=no --recursive-errors=no /usr/lib/systemd/system/xdpmap@.service \
	/usr/lib/systemd/system/xdpmap@.timer
[ ! -s /tmp/said ] || fail "systemd-analyze: $(</tmp/said)"
rpm -qp --qf '%{NAME} %{VERSION} %{ARCH}, %{LICENSE}, made at %{BUILDTIME}\n' "$rpm"
rpm -qp --qf '[%{FILEUSERNAME}:%{FILEGROUPNAME} %{FILENAMES}\n]' "$rpm" >/tmp/files
grep -qx 'root:scan /usr/bin/xdpmap' /tmp/files || fail "the RPM has: $(grep /usr/bin/ /tmp/files)"
# Both packages have the same files.
dpkg-deb --fsys-tarfile "$deb" | tar -t | grep -v '/$' |
	sed 's#^\.##; s#vendor-completions/_#site-functions/_#' | sort >/tmp/of-deb
grep -vxF -f <(rpm -qp --qf '[%{FILEMODES:perms} %{FILENAMES}\n]' "$rpm" | sed -n 's/^d[^ ]* //p') \
	<(cut -d ' ' -f 2 /tmp/files) | sort >/tmp/of-rpm
diff /tmp/of-deb /tmp/of-rpm || fail "the packages have different files"

say "an update keeps what the administrator has changed"
echo '# changed here' >>/etc/xdpmap/xdpmap.conf
apt install --reinstall "$deb"
grep -q '^# changed here$' /etc/xdpmap/xdpmap.conf || fail "the config file was overwritten"
has "$(getcap /usr/bin/xdpmap)" cap_bpf
apt remove xdpmap
[ -e /etc/xdpmap/xdpmap.conf ] || fail "apt remove has removed the config file; only a purge may"
getent group scan >/dev/null || fail "apt remove has removed the group; only a purge may"

say "removing it whole"
gid=$(getent group scan | cut -d : -f 3)
apt purge xdpmap
left=$(find / -xdev \( -path /proc -o -path /sys -o -path /src -o -path /tmp -o -path /run -o -path /var/lib/apt \
	-o -path /var/cache -o -path /home \) -prune -o \( -iname '*xdpmap*' -o -gid "$gid" \) -print)
[ -z "$left" ] || fail "apt purge has left: $left"
if getent group scan; then fail "apt purge has left the group"; fi
echo "apt purge has left nothing"
say "installed, used and removed"
