# shellcheck shell=sh disable=SC2154 # what is not assigned here is guest.sh's
# The case of a machine that is paused, as a part of guest.sh: the far side is not in the guest, and goes on meanwhile.
# The host pauses the machine some time after the guest says that it sends.

pause() {
	scan=igb0
	side scan "$scan" 198.19.0.1
	ip -n scan route add default via 198.19.0.2
	ready
	folder=/results/pause
	mkdir -p "$folder"
	: >"$folder/log"
	scanning -i "$scan" -p 80 -r 400 -c 4 -q --allow-reserved -f saddr,sport,classification,success --io-mode zerocopy \
		-o "$folder/results.csv" -m "$folder/metadata.json" 198.18.0.0/20 >"$folder/output" 2>"$folder/log" &
	scanner=$!
	# This line is written when everything is open, before the first probe.
	until grep -q ' seed ' "$folder/log" || ! kill -0 $scanner 2>/dev/null; do sleep 0.05; done
	say "pause: sends"
	wait $scanner
	echo $? >"$folder/code"
	say "pause: code $(cat "$folder/code"), $(wc -l <"$folder/results.csv") lines"
}
