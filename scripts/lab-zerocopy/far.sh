# shellcheck shell=sh
# The far side, which answers for 198.18.0.0/20: nginx on the 120 addresses 31 apart from 198.18.0.5 on, a reset from the
# kernel for the rest of 198.18.0.0/21, silence for the rest. lab/src/hosts.rs says so as well (GUEST), for what is held
# against the results. A part of guest.sh, and of lab-zerocopy.sh where the far side is not in the guest.

servers() {
	i=0
	while [ $i -lt 120 ]; do
		n=$((i * 31 + 5))
		echo "198.18.$((n / 256)).$((n % 256))"
		i=$((i + 1))
	done
}

# answer FOLDER [COMMAND...]: lets a network namespace answer; COMMAND runs others in it. FOLDER is nginx's.
answer() {
	far_folder=$1
	shift
	"$@" ip route add local 198.18.0.0/21 dev lo
	"$@" ip route add blackhole 198.18.8.0/21
	servers | sed 's,.*,route replace local &/32 dev lo,' | "$@" ip -batch -
	{
		echo "worker_processes 1; pid $far_folder/nginx; error_log $far_folder/nginx.log; events { worker_connections 1024; }"
		echo "http { access_log off; server {"
		servers | sed 's/.*/listen &:80;/'
		echo "return 200; } }"
	} >"$far_folder/nginx.conf"
	"$@" nginx -c "$far_folder/nginx.conf"
}

# fall_silent FOLDER: ends the nginx of that folder.
fall_silent() {
	kill "$(cat "$1/nginx")"
	while [ -e "$1/nginx" ]; do sleep 0.1; done
}

# end_far_side FOLDER: ends the nginx and the tcpdump of that folder, if there are any.
end_far_side() {
	[ ! -e "$1/nginx" ] || fall_silent "$1"
	[ ! -e "$1/tcpdump" ] || kill "$(cat "$1/tcpdump")" 2>/dev/null || true
	rm -f "$1/tcpdump"
}
