# shellcheck shell=sh disable=SC2154 # what is not assigned here is guest.sh's
# The case of a machine that loses its power, as a part of guest.sh: the scan's files are on a disk. /results/power/ gets
# what is there at the end.
#
# The scan is the same command in every boot. The host takes the power away some time after the guest says that it
# sends, until it lets one boot come to its end.

power() {
	mkdir -p /disk
	mount -t ext4 /dev/vdb /disk || say "no disk"
	pair igb0 igb1
	folder=/results/power
	mkdir -p "$folder"
	: >"$folder/log"
	say "power: begins with $(find /disk -type f | wc -l) files"
	scanning -i "$scan" -p 80 -r "$(argument rate)" -c 2 -q --allow-reserved -f saddr,sport,classification,success --resume-or-start \
		--checkpoint-interval 0.1 --resume-overlap 1 -O csv -o /disk/results.csv -O json -o /disk/results.json \
		-m "$folder/metadata.json" 198.18.0.0/20 >"$folder/output" 2>"$folder/log" &
	scanner=$!
	# This line is written when everything is open, before the first probe.
	until grep -q ' seed ' "$folder/log" || ! kill -0 $scanner 2>/dev/null; do sleep 0.05; done
	say "power: sends"
	wait $scanner
	echo $? >"$folder/code"
	say "power: code $(cat "$folder/code"), $(wc -l </disk/results.csv) lines"
	cp /disk/results.* "$folder/"
	unpair
	umount /disk
}
