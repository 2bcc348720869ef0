#!/usr/bin/env bash
# Runs the image in the archive $1 by podman, as docs/tuning.md (Containers) says: what it declares, what is in it, and a
# scan of a lab. `scripts/package.sh test-image` runs this. Needs root.
#
# No packet leaves the machine: each container is in a network namespace of the lab, or in one without interfaces. Images
# and containers are in a folder of their own, which is removed.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/lib.sh

archive=$(realpath -e "${1:?the archive of an image}")
[ "$(id -u)" = 0 ] || fail "BPF needs the host's root: a container without it cannot scan"
work=$(mktemp -d)
lab=image$$
tear_down() {
	trap - EXIT
	./scripts/lab.sh down $lab
	# What is mounted for a container that has failed.
	podman "${storage[@]}" rm --all --force --time 1 >/dev/null 2>&1 || true
	rm -rf "$work"
}
storage=(--root "$work/storage" --runroot "$work/run" --tmpdir "$work/tmp" --storage-driver vfs
	--cgroup-manager cgroupfs --events-backend none --runtime runc)
trap tear_down EXIT
has() { [[ $1 == *"$2"* ]] || fail "'$2' is not in: $1"; }

say "what the image declares"
declared=$(skopeo inspect --config "oci-archive:$archive")
for label in title licenses version revision created; do
	value=$(jq -r ".config.Labels[\"org.opencontainers.image.$label\"] // empty" <<<"$declared")
	[ -n "$value" ] || fail "the image has no $label"
	echo "$label: $value"
done
[ "$(jq -c .config.Entrypoint <<<"$declared")" = '["/usr/local/bin/xdpmap"]' ] || fail "the image runs something else"
podman "${storage[@]}" load --quiet --input "$archive" >/dev/null
image=$(podman "${storage[@]}" images --quiet)
[ -n "$image" ] || fail "podman has loaded no image"

# The documented line, and the documented profile: podman's own allows bpf(2) with SYS_ADMIN only.
jq '(.syscalls[] | select(.action == "SCMP_ACT_ERRNO").names) -= ["bpf"]
  | .syscalls += [{names: ["bpf"], action: "SCMP_ACT_ALLOW", includes: {caps: ["CAP_BPF"]}}]' \
	/usr/share/containers/seccomp.json >"$work/profile.json"
# podman asks for more than a machine may allow its root.
limits=(--ulimit "nofile=$(ulimit -Sn):$(ulimit -Sn)" --ulimit nproc=1024:1024)
mkdir "$work/out"
touch "$work/out/none"
start() {
	timeout 120 podman "${storage[@]}" run --rm "${limits[@]}" --network "$1" \
		--log-driver none --security-opt "seccomp=$work/profile.json" --cap-drop ALL --cap-add NET_RAW \
		--cap-add NET_ADMIN --cap-add BPF --cap-add PERFMON --cap-add IPC_LOCK -v "$work/out:/out" "$image" "${@:2}"
}

say "what is in it"
has "$(start none --version)" "xdpmap $(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)"
start none iterate -n 3 -e 5 >/dev/null
container=$(podman "${storage[@]}" create "$image")
podman "${storage[@]}" export "$container" | tar -C "$work" -x --one-top-level=root
(cd "$work/root" && find . -type f -size +0 | sort)
has "$(<"$work/root/usr/share/doc/xdpmap/sbom.cdx.json")" CycloneDX
if objdump -p "$work/root/usr/local/bin/xdpmap" | grep NEEDED; then fail "the program needs a library"; fi

say "scanning a lab"
./scripts/lab.sh up $lab 2
start "ns:/run/netns/xm-$lab-scan" -qq -b none -i scan0 -p 80 -r 40000 -c 2 --allow-reserved \
	-f saddr,sport,classification -o results.csv -m scan.json 198.18.0.0/16
./scripts/lab.sh truth 80 | sort >"$work/truth"
tail -n +2 "$work/out/results.csv" | sort -u >"$work/found"
diff "$work/truth" "$work/found" >"$work/said" || fail "the lab and the results differ: $(head -n 5 "$work/said")"
mode=$(jq -r .io_mode "$work/out/scan.json")
[ "$mode" != packet ] || fail "the container has no AF_XDP: $(jq -r .io_mode_reason "$work/out/scan.json")"
echo "$(wc -l <"$work/found") hosts found, as in the lab; $mode"
# The block list in the image has the networks of labs.
if start "ns:/run/netns/xm-$lab-scan" -qq -i scan0 -p 80 --allow-reserved 198.18.0.0/16 2>"$work/said"; then
	fail "the block list in the image was not obeyed"
fi
has "$(<"$work/said")" /etc/xdpmap/blocklist.conf
say "the image works"
