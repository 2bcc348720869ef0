#!/usr/bin/env bash
# Makes an interface and its host ready for fast scans, and puts back what was there.
#
#   scripts/tune-nic.sh IFACE check    what is, what should be, and why; exits with 1 if something is off; changes nothing
#   scripts/tune-nic.sh IFACE apply    sets what is off, and writes down what was there before
#   scripts/tune-nic.sh IFACE undo     sets what was there before the first apply
#
#   --workers N   workers of a scan [default: the cores that this process may use]
#   --vlan        a VLAN of this interface will be scanned
#   --only LIST   only these stages: channels,ring,coalesce,offload,pause,rss,irq,irqbalance,governor,hugepages,busy-poll
#
# busy-poll, for scans with --busy-poll, is looked at and set only where --only names it: it makes the host's own traffic
# wait for its interrupts.
#
# Every stage can be done again without harm. What a driver does not have is left alone. Needs bash, coreutils, awk, grep,
# ethtool and iproute2, and root for apply and undo; systemctl only where irqbalance runs. What was there is kept in
# $XDPMAP_TUNE_STATE, or /run, one file an interface and network namespace: a reboot forgets both it and the changes.
set -euo pipefail

usage() {
	sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"
	exit "$1"
}
fail() {
	printf 'error: %s\n' "$*" >&2
	exit 2
}

usual_stages=(channels ring coalesce offload pause rss irq irqbalance governor hugepages)
all_stages=("${usual_stages[@]}" busy-poll)
interface='' action='' vlan='' workers='' stages=("${usual_stages[@]}")
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help) usage 0 ;;
	--workers)
		workers=${2-}
		[[ $workers =~ ^[1-9][0-9]*$ ]] || fail "--workers: '$workers' is no number of workers"
		shift
		;;
	--vlan) vlan=1 ;;
	--only)
		IFS=, read -ra stages <<<"${2-}"
		for stage in "${stages[@]}"; do
			case " ${all_stages[*]} " in
			*" $stage "*) ;;
			*) fail "--only: there is no stage '$stage'; there are ${all_stages[*]}" ;;
			esac
		done
		shift
		;;
	check | apply | undo) action=$1 ;;
	-*) fail "there is no option $1; see $0 --help" ;;
	*) interface=$1 ;;
	esac
	shift
done
if [ -z "$interface" ] || [ -z "$action" ]; then usage 2 >&2; fi
[ -e "/sys/class/net/$interface" ] || fail "there is no interface '$interface'; there is $(cd /sys/class/net && echo *)"
command -v ethtool >/dev/null || fail "ethtool is missing: install the package ethtool"
if [ "$action" != check ] && [ "$(id -u)" != 0 ]; then fail "$action needs root"; fi

namespace=$(readlink /proc/self/ns/net | tr -dc 0-9)
state=${XDPMAP_TUNE_STATE:-/run}/xdpmap-tune-$interface-$namespace
mapfile -t cores < <(awk '/^Cpus_allowed_list/ {
	n = split($2, part, ",")
	for (i = 1; i <= n; i++) { m = split(part[i], ends, "-"); for (c = ends[1]; c <= ends[m]; c++) print c }
}' /proc/self/status)
workers=${workers:-${#cores[@]}}
driver=$(basename "$(readlink "/sys/class/net/$interface/device/driver" || true)")

# --- What is: `now KEY` prints a setting's value, or nothing where there is none; `put KEY VALUE...` sets it. ---

# A number of `ethtool -l` or `-g`: SECTION is max or now.
listed() {
	ethtool "$1" "$interface" 2>/dev/null | awk -v section="$2" -v name="$3:" '
		/^Pre-set/ { in_section = "max" }
		/^Current/ { in_section = "now" }
		in_section == section && tolower($1) == name && $2 ~ /^[0-9]+$/ { print $2; exit }' || true
}

# The mask of an interrupt by its name.
irq_file() {
	local number
	number=$(awk -v name="$1" '$NF == name { sub(":", "", $1); print $1; exit }' /proc/interrupts)
	[ -n "$number" ] && printf '/proc/irq/%s/smp_affinity' "$number"
}

# The indirection table as the words that make ethtool -X set it again: `equal N start S`, `weight ...`; `custom` where
# none would.
rss_table() {
	ethtool -x "$interface" 2>/dev/null | awk '
		/^RSS hash key/ { exit }
		$1 ~ /^[0-9]+:$/ { for (i = 2; i <= NF; i++) table[size++] = $i + 0 }
		END {
			if (size == 0) exit
			low = high = table[0]
			for (i = 0; i < size; i++) {
				if (table[i] < low) low = table[i]
				if (table[i] > high) high = table[i]
				if (i > 0 && table[i] < table[i - 1]) falls = 1
				count[table[i]]++
			}
			queues = high - low + 1
			for (i = 0; i < size; i++) if (table[i] != low + i % queues) unequal = 1
			if (!unequal) { print "equal " queues " start " low; exit }
			if (falls) { print "custom"; exit }
			line = "weight"
			for (q = 0; q <= high; q++) line = line " " count[q] + 0
			print line
		}' || true
}

now() {
	case $1 in
	channels.*) listed -l now "${1#*.}" ;;
	ring.*) listed -g now "${1#*.}" ;;
	coalesce.adaptive-rx) ethtool -c "$interface" 2>/dev/null | awk '/^Adaptive RX:/ && $3 != "n/a" { print $3 }' || true ;;
	coalesce.*) ethtool -c "$interface" 2>/dev/null | awk -v name="${1#*.}:" '$1 == name && $2 != "n/a" { print $2 }' || true ;;
	offload.*)
		local name=${1#*.}
		case $name in lro) name=large-receive-offload ;; rxvlan) name=rx-vlan-offload ;; esac
		ethtool -k "$interface" 2>/dev/null | awk -v name="$name:" '$1 == name && $3 != "[fixed]" { print $2 }' || true
		;;
	pause)
		ethtool -a "$interface" 2>/dev/null | awk '
			/^(Autonegotiate|RX|TX):/ { words = words (words == "" ? "" : " ") tolower($2) }
			/^TX:/ { print words; exit }' || true
		;;
	rss) rss_table ;;
	irq.*)
		local file
		file=$(irq_file "${1#*.}") && cat "$file"
		;;
	irqbalance)
		if command -v systemctl >/dev/null && systemctl is-active --quiet irqbalance 2>/dev/null; then
			echo running
		else
			echo stopped
		fi
		;;
	governor.*) cat "/sys/devices/system/cpu/cpu${1#*.}/cpufreq/scaling_governor" 2>/dev/null || true ;;
	busy-poll.*) cat "/sys/class/net/$interface/${1#*.}" 2>/dev/null || true ;;
	hugepages) sed -n 's/.*\[\(.*\)\].*/\1/p' /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null || true ;;
	esac
}

put() {
	local key=$1 words
	shift
	case $key in
	channels.*) ethtool -L "$interface" "${key#*.}" "$1" ;;
	ring.*) ethtool -G "$interface" "${key#*.}" "$1" ;;
	coalesce.*) ethtool -C "$interface" "${key#*.}" "$1" ;;
	offload.*) ethtool -K "$interface" "${key#*.}" "$1" >/dev/null ;;
	pause)
		read -ra words <<<"$1"
		ethtool -A "$interface" autoneg "${words[0]}" rx "${words[1]}" tx "${words[2]}"
		;;
	rss)
		read -ra words <<<"$1"
		ethtool -X "$interface" "${words[@]}"
		;;
	irq.*) printf '%s\n' "$1" >"$(irq_file "${key#*.}")" ;;
	irqbalance) systemctl "$([ "$1" = running ] && echo start || echo stop)" irqbalance ;;
	governor.*) printf '%s\n' "$1" >"/sys/devices/system/cpu/cpu${key#*.}/cpufreq/scaling_governor" ;;
	busy-poll.*) printf '%s\n' "$1" >"/sys/class/net/$interface/${key#*.}" ;;
	hugepages) printf '%s\n' "$1" >/sys/kernel/mm/transparent_hugepage/enabled ;;
	esac
}

# --- What should be. ---

off=0
row() { printf '%-5s %-26s %-22s %-22s %s\n' "$@"; }

# Writes down what was there, the first time only.
remember() {
	if ! grep -q "^$1	" "$state" 2>/dev/null; then printf '%s\t%s\n' "$1" "$2" >>"$state"; fi
}

# Sets KEY to WANTED. A driver that brings its link back, as after new rings, may write over it what was negotiated, so it is
# tried again.
insist() {
	local try
	for try in 1 2 3; do
		[ "$try" = 1 ] || sleep 1
		put "$1" "$2" || return 1
		if [ "$(now "$1")" = "$2" ]; then return 0; fi
	done
	return 1
}

# want KEY WANTED WHY: compares, and with apply sets.
want() {
	local key=$1 wanted=$2 why=$3 is
	is=$(now "$key")
	if [ -z "$is" ]; then return 0; fi
	if [ "$is" = "$wanted" ]; then
		row ok "$key" "$is" "$wanted" "$why"
		return 0
	fi
	if [ "$action" = check ]; then
		row off "$key" "$is" "$wanted" "$why"
		off=1
		return 0
	fi
	case $key in irq.*) ;; *) remember "$key" "$is" ;; esac
	if insist "$key" "$wanted"; then
		row set "$key" "$is" "$wanted" "$why"
	else
		row FAIL "$key" "$is" "$wanted" "the driver or the kernel does not take it"
		off=1
	fi
}

smaller() { echo $(($1 < $2 ? $1 : $2)); }

stage_channels() {
	local kind most
	for kind in combined rx tx; do
		most=$(listed -l max "$kind")
		# Amazon's driver runs no XDP program while more than half of its channels are in use.
		if [ "$driver" = ena ] && [ "${most:-0}" -gt 1 ]; then most=$((most / 2)); fi
		if [ "${most:-0}" -gt 0 ]; then
			want "channels.$kind" "$(smaller "$workers" "$most")" "a queue for each worker"
		fi
	done
}

stage_ring() {
	local side most is
	for side in rx tx; do
		most=$(listed -g max "$side") is=$(now "ring.$side")
		if [ "${most:-0}" -gt 0 ] && [ -n "$is" ]; then
			most=$(smaller 4096 "$most")
			want "ring.$side" "$((is > most ? is : most))" "room for bursts"
		fi
	done
}

stage_coalesce() {
	local is
	if [ "$(now coalesce.adaptive-rx)" = on ]; then
		row ok coalesce.adaptive-rx on on "the driver fits interrupts to the load"
		return 0
	fi
	is=$(now coalesce.rx-usecs)
	if [ -n "$is" ]; then want coalesce.rx-usecs "$((is > 30 ? is : 30))" "fewer interrupts; a scan does not mind 30 us"; fi
}

stage_offload() {
	want offload.lro off "XDP must see frames as they came"
	want offload.rx-gro-hw off "XDP must see frames as they came"
	if [ -n "$vlan" ] || grep -q "| *$interface\$" /proc/net/vlan/config 2>/dev/null; then
		want offload.rxvlan off "XDP must see the VLAN tag"
	fi
}

stage_pause() { want pause "off off off" "a full switch is to drop, not to stop all queues"; }

stage_rss() {
	local is queues
	is=$(now rss)
	queues=$(now channels.combined)
	if [ "${queues:-0}" = 0 ]; then queues=$(now channels.rx); fi
	if [ -z "$is" ] || [ "${queues:-0}" = 0 ]; then return 0; fi
	# Any table that gives each queue its share will do.
	if ethtool -x "$interface" | awk -v queues="$queues" '
		/^RSS hash key/ { exit }
		$1 ~ /^[0-9]+:$/ { for (i = 2; i <= NF; i++) { count[$i + 0]++; size++ } }
		END {
			for (q = 0; q < queues; q++) if (count[q] < int(size / queues) || count[q] > int(size / queues) + 1) exit 1
		}'; then
		row ok rss "$queues queues" "$queues queues" "replies on all queues alike"
	elif [ "$is" = custom ]; then
		row note rss custom "equal $queues start 0" "left alone: ethtool could not set this table again"
	else
		want rss "equal $queues start 0" "replies on all queues alike"
	fi
}

# Interrupts of this interface's queues: lines of name and queue.
queue_irqs() {
	local folder names
	for folder in "/sys/class/net/$interface/device/msi_irqs" "/sys/class/net/$interface/device/../msi_irqs"; do
		[ -d "$folder" ] || continue
		names=$(cd "$folder" && echo *)
		awk -v wanted=" $names " -v interface="$interface" '$NF != interface {
			number = $1; sub(":", "", number)
			if (index(wanted, " " number " ") && match($NF, /[0-9]+$/)) print $NF, substr($NF, RSTART)
		}' /proc/interrupts
		return
	done
}

# The mask of one core, in words of 32 bits as the kernel prints masks: as many of them as in MASK.
mask_of() {
	local words core=$1 word text=''
	words=$(($(tr -cd , <<<"$2" | wc -c) + 1))
	for ((word = words - 1; word >= 0; word--)); do
		if [ "$word" = $((core / 32)) ]; then
			text+=$(printf '%0*x' "$([ "$words" = 1 ] && echo ${#2} || echo 8)" $((1 << core % 32)))
		else
			text+=00000000
		fi
		if [ "$word" -gt 0 ]; then text+=,; fi
	done
	echo "$text"
}

stage_irq() {
	local name queue is
	while read -r name queue; do
		is=$(now "irq.$name")
		if [ -n "$is" ]; then want "irq.$name" "$(mask_of "${cores[queue % ${#cores[@]}]}" "$is")" "a core for each queue"; fi
	done < <(queue_irqs)
}

stage_irqbalance() {
	if [ "$(now irqbalance)" = running ]; then
		want irqbalance stopped "it would move the interrupts"
	elif command -v pidof >/dev/null && pidof irqbalance >/dev/null; then
		row note irqbalance running stopped "it would move the interrupts; not a service: stop it by hand"
	else
		row ok irqbalance stopped stopped "it would move the interrupts"
	fi
}

stage_governor() {
	local core
	for core in "${cores[@]}"; do want "governor.$core" performance "no clocking down between batches"; done
}

stage_hugepages() {
	if [ "$(now hugepages)" = never ]; then
		want hugepages madvise "frames lie in huge pages where there are any"
	else
		row ok hugepages "$(now hugepages)" "madvise or always" "frames lie in huge pages where there are any"
	fi
}

stage_busy_poll() {
	want busy-poll.napi_defer_hard_irqs 2 "interrupts wait for who polls"
	want busy-poll.gro_flush_timeout 200000 "but for 200 us at most"
}

# The kernel's command line, for what only a boot can change.
advice() {
	local word line
	line=" $(cat /proc/cmdline) "
	for word in isolcpus nohz_full mitigations; do
		case $line in
		*" $word="*) row info "kernel $word" "$(grep -o "$word=[^ ]*" <<<"$line" | head -1)" - "as the kernel was booted" ;;
		*) case $word in
			isolcpus) row info "kernel $word" "not given" - "keeps other work off the workers' cores (--cores)" ;;
			nohz_full) row info "kernel $word" "not given" - "no timer ticks on the workers' cores" ;;
			mitigations) row info "kernel $word" "not given" - "off is faster, and unsafe where others run code" ;;
			esac ;;
		esac
	done
}

case $action in
check | apply)
	row '' setting now wanted why
	if [ "$action" = apply ]; then
		mkdir -p "$(dirname "$state")"
		# A change of channels resets these two.
		case " ${stages[*]} " in *" channels "* | *" rss "* | *" irq "*)
			table=$(now rss)
			if [ -n "$table" ] && [ "$table" != custom ]; then remember rss "$table"; fi
			if ! grep -q '^irqs	' "$state" 2>/dev/null; then
				while read -r name _; do remember "irq.$name" "$(now "irq.$name")"; done < <(queue_irqs)
				remember irqs remembered
			fi
			;;
		esac
	fi
	for stage in "${all_stages[@]}"; do
		case " ${stages[*]} " in *" $stage "*) "stage_${stage//-/_}" ;; esac
	done
	if [ "$action" = check ]; then advice; fi
	exit "$off"
	;;
undo)
	if [ ! -e "$state" ]; then
		echo "nothing to undo: no apply has changed $interface" >&2
		exit 0
	fi
	# Channels first, which reset what comes later; interrupts once they are all there again.
	for stage in "${all_stages[@]}"; do
		while IFS=$'\t' read -r key was; do
			case $key in "$stage" | "$stage".*) ;; *) continue ;; esac
			is=$(now "$key")
			if [ "$is" = "$was" ]; then continue; fi
			if insist "$key" "$was"; then
				row undo "$key" "$is" "$was" ''
			else
				row FAIL "$key" "$is" "$was" "cannot be set back"
				off=1
			fi
		done <"$state"
	done
	if [ "$off" = 0 ]; then rm -f "$state"; fi
	exit "$off"
	;;
esac
