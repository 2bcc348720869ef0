#!/usr/bin/env bash
# Makes packages of xdpmap in target/packages: for Debian and Ubuntu, for systems with RPM, and an image for containers.
#
#   ./scripts/package.sh                  make the .deb and the .rpm, and print where they are
#   ./scripts/package.sh deb | rpm        make one of them
#   ./scripts/package.sh image            make the image: an OCI archive, which podman, skopeo and docker read
#   ./scripts/package.sh root FOLDER      make what is in the image in an empty folder; Dockerfile does that
#   ./scripts/package.sh same             make the .deb and the .rpm twice, in two folders with other settings, and compare
#                                         every bit
#   ./scripts/package.sh test [12|13]     on a fresh Debian of that release (scripts/fresh.sh): make both; on another one:
#                                         install, scan a lab as a member of the group scan, read the manual, complete a
#                                         command, remove. The default is this machine's release
#   ./scripts/package.sh test-image       make the image twice, compare, and scan a lab with it by podman
#
# Packages of one commit are the same bit by bit, wherever they are made by the same compilers: times in them are those
# of the commit, or $SOURCE_DATE_EPOCH, and names of folders are replaced. docs/install.md says what is in them.
set -euo pipefail
# Also where the output of a function is taken.
shopt -s inherit_errexit
cd "$(dirname "$0")/.."
. scripts/lib.sh
# The order of names, and the form of dates.
export LC_ALL=C TZ=UTC

parts=scripts/package
out=$PWD/target/packages
# As docs/tuning.md explains them.
capabilities=cap_net_raw,cap_net_admin,cap_bpf,cap_perfmon,cap_ipc_lock+ep
# The number of the package among those of one version.
release=1
# The commands beside a scan. Of these, some can be called by a name of their own.
commands=(blocklist calibrate checkpoint ctl diff doctor iterate map merge probing-txt report resume tee verify)
companions=(blocklist ctl iterate tee)
# What has the program list the crates that it is made of, in a section of its own. Compiled once, in a minute or two,
# because no registry has it prebuilt.
auditable=cargo-auditable@0.7.7
tools=$PWD/target/package-tools

version() { sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1; }
summary() { sed -n 's/^description = "\(.*\)"$/\1/p' scanner/Cargo.toml; }

# Sets SOURCE_DATE_EPOCH: the time of all that is in a package; and XDPMAP_COMMIT, which scanner/build.rs reads.
set_epoch() {
	if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
		SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null) ||
			fail "this tree is not a git repository: set SOURCE_DATE_EPOCH to the time of its commit, and XDPMAP_COMMIT"
	fi
	if [ -z "${XDPMAP_COMMIT:-}" ]; then XDPMAP_COMMIT=$(git rev-parse HEAD 2>/dev/null) || XDPMAP_COMMIT=; fi
	export SOURCE_DATE_EPOCH XDPMAP_COMMIT
}

host() { rustc -vV | sed -n 's/^host: //p'; }

# Builds the program into $1, with the compiler's further flags $2..., and prints where it is. Names of folders of this
# machine are replaced in it.
build() {
	local folder=$1 host flags
	host=$(host)
	flags=(
		"${@:2}"
		"--remap-path-prefix=$(rustc --print sysroot)/lib/rustlib/src/rust=/usr/src/rust"
		"--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/usr/src/cargo"
		"--remap-path-prefix=$PWD=/usr/src/xdpmap"
	)
	# In this form, names of folders may have blanks. It takes precedence over the machine's own flags.
	CARGO_ENCODED_RUSTFLAGS=$(printf '%s\x1f' "${flags[@]}" | sed 's/\x1f$//') PATH=$tools/bin:$PATH \
		CARGO=$PWD/$parts/cargo cargo-auditable auditable build --release --locked --quiet --package xdpmap --bin xdpmap --target "$host" --target-dir "$folder"
	echo "$folder/$host/release/xdpmap"
}

# Replaces @NAME@ in the file $1 by the value of each NAME=VALUE that follows.
fill() {
	local text pair
	text=$(<"$1")
	for pair in "${@:2}"; do text=${text//"@${pair%%=*}@"/"${pair#*=}"}; done
	printf '%s\n' "$text"
}

# Licences of the libraries in the program: name, version, and the texts that come with each.
third_party() {
	local name version licence folder text
	echo "The program xdpmap contains these libraries, and Rust's standard library (MIT OR Apache-2.0)."
	cargo tree --locked --package xdpmap --edges normal --target "$(host)" --prefix none \
		--format '{p}|{l}' | sed 's/ (\*)$//; s/ (proc-macro)//' | grep -v ' (/' | sort -u |
		while IFS='|' read -r name licence; do
			version=${name#* v}
			name=${name%% *}
			printf '\n==== %s %s: %s\n' "$name" "$version" "$licence"
			for folder in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"$name-$version"; do
				for text in "$folder"/{LICEN[CS]E,COPYING,COPYRIGHT,NOTICE}*; do
					if [ -f "$text" ]; then printf '\n---- %s\n\n' "${text##*/}" && cat "$text"; fi
				done
				break
			done
		done
}

# Puts the program $3 into the folder $1, at its place $2 there, and beside the documents what others have in it: licences,
# and the bill of materials.
stage_program() {
	local root=$1 installed=$1/$2 doc=$1/usr/share/doc/xdpmap
	install -D -m 755 "$3" "$installed"
	strip --strip-unneeded "$installed"
	install -d "$doc"
	install -m 644 LICENSE-MIT LICENSE-APACHE "$doc"
	fill "$parts/copyright" "mit=$(sed -n '/^Permission/,$s/^$/./; /^Permission/,$s/^/ /p' LICENSE-MIT)" >"$doc/copyright"
	third_party | gzip -9n >"$doc/third-party.txt.gz"
	python3 "$parts/sbom.py" "$installed" "$(host)" "$auditable" >"$doc/sbom.cdx.json"
}

# Gives all that is in the folder $1 the time of the commit.
set_times() { find "$1" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +; }

# Puts all files into the folder $1 as they are installed. $2 is the program, $3 the folder for completions for zsh.
stage() {
	local root=$1 program=$2 zsh=$3 doc=$1/usr/share/doc/xdpmap name file
	umask 022
	rm -rf "$root"
	stage_program "$root" usr/bin/xdpmap "$program"
	for name in "${companions[@]}"; do ln -s xdpmap "$root/usr/bin/xdpmap-$name"; done
	install -d "$root/usr/sbin"
	sed 's#scripts/tune-nic.sh#xdpmap-tune-nic#' scripts/tune-nic.sh >"$root/usr/sbin/xdpmap-tune-nic"
	chmod 755 "$root/usr/sbin/xdpmap-tune-nic"

	for file in xdpmap.conf blocklist.conf; do install -D -m 644 "conf/$file" "$root/etc/xdpmap/$file"; done
	install -d "$root/usr/lib/systemd/system" "$root/usr/lib/sysusers.d"
	for file in xdpmap@.service xdpmap@.timer; do
		# What it says of its own installation has been done.
		sed -e '/^#   install /d' -e '/^#$/d' -e 's#/usr/local/bin/#/usr/bin/#' "conf/$file" \
			>"$root/usr/lib/systemd/system/$file"
	done
	printf '# Members may scan.\ng scan -\n' >"$root/usr/lib/sysusers.d/xdpmap.conf"

	generate() { env -i "$program" --generate "$1" -C /dev/null; }
	install -d "$root/usr/share/man/man1" "$root/usr/share/man/man5" "$root/usr/share/bash-completion/completions" \
		"$root/usr/share/fish/vendor_completions.d" "$root/$zsh"
	generate man | gzip -9n >"$root/usr/share/man/man1/xdpmap.1.gz"
	for name in "${commands[@]}"; do generate "man-$name" | gzip -9n >"$root/usr/share/man/man1/xdpmap-$name.1.gz"; done
	generate man-conf | gzip -9n >"$root/usr/share/man/man5/xdpmap.conf.5.gz"
	generate complete-bash >"$root/usr/share/bash-completion/completions/xdpmap"
	generate complete-fish >"$root/usr/share/fish/vendor_completions.d/xdpmap.fish"
	generate complete-zsh >"$root/$zsh/_xdpmap"

	install -m 644 README.md SECURITY.md CITATION.cff "$doc"
	cp -R docs "$doc/docs"
	install -m 644 conf/slurm.sbatch conf/kubernetes-job.yaml conf/aws-batch.json "$doc"
	gzip -9nc CHANGELOG.md >"$doc/changelog.gz"
	find "$root" -type d -exec chmod 755 {} +
	find "$doc" "$root/usr/lib" "$root/usr/share" -type f -exec chmod 644 {} +
	set_times "$root"
}

# The newest version of the C library whose names the program $1 uses.
libc_of() { objdump -T "$1" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -1 | sed 's/GLIBC_//'; }

# The libraries of the system that the program $1 needs. The packages name those of a usual build, and no others.
check_libraries() {
	local library
	while read -r library; do
		case $library in
		libc.so.6 | libm.so.6 | libgcc_s.so.1 | ld-linux-*) ;;
		*) fail "the program needs $library, which scripts/package.sh does not know" ;;
		esac
	done < <(objdump -p "$1" | awk '$1 == "NEEDED" { print $2 }')
}

# Makes the package for Debian in the folder $1, of the program $2.
make_deb() {
	local folder=$1 program=$2 root=$1/deb depends size file architecture
	architecture=$(dpkg --print-architecture)
	stage "$root" "$program" usr/share/zsh/vendor-completions
	depends="libc6 (>= $(libc_of "$root/usr/bin/xdpmap")), libgcc-s1, libcap2-bin, passwd"
	# As Debian counts: each file in whole units of 1024 bytes, and one for everything else.
	size=$(find "$root" -printf '%y %s\n' | awk '{ sum += $1 == "f" ? int(($2 + 1023) / 1024) : 1 } END { print sum }')
	install -d "$root/DEBIAN"
	fill "$parts/control" "version=$(version)" "release=$release" "architecture=$architecture" "size=$size" \
		"depends=$depends" "summary=$(summary)" >"$root/DEBIAN/control"
	for file in postinst postrm; do
		fill "$parts/$file" "capabilities=$capabilities" >"$root/DEBIAN/$file"
		chmod 755 "$root/DEBIAN/$file"
	done
	(cd "$root" && find etc -type f | sort | sed 's#^#/#') >"$root/DEBIAN/conffiles"
	(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
	find "$root/DEBIAN" -exec touch --date "@$SOURCE_DATE_EPOCH" {} +
	# The number of threads would change the form of the compressed data.
	dpkg-deb --root-owner-group --threads-max=1 -Zxz --build "$root" \
		"$folder/xdpmap_$(version)-${release}_$architecture.deb" >/dev/null
	rm -rf "$root"
}

# Makes the package for systems with RPM in the folder $1, of the program $2.
make_rpm() {
	local folder=$1 program=$2 root=$1/rpm top=$1/rpmbuild requires architecture
	architecture=$(uname -m)
	stage "$root" "$program" usr/share/zsh/site-functions
	requires="libc.so.6(GLIBC_$(libc_of "$root/usr/bin/xdpmap"))(64bit), libgcc_s.so.1()(64bit)"
	mkdir -p "$top"
	# Folders that belong to the system or to other packages are not this one's.
	fill "$parts/xdpmap.spec" "version=$(version)" "release=$release" "summary=$(summary)" "requires=$requires" \
		"capabilities=$capabilities" "files=$(
			cd "$root" && find . \( -type f -o -type l \) -printf '/%P\n' | sort | sed \
				-e 's#^/usr/bin/xdpmap$#%attr(0750, root, scan) &#' \
				-e 's#^/etc/.*#%config(noreplace) &#' \
				-e 's#^/usr/share/doc/.*#%doc "&"#' \
				-e 's#^/usr/share/man/.*#%doc &#'
			find etc/xdpmap usr/share/doc/xdpmap -type d -printf '%%dir /%p\n' | sort
		)" >"$top/xdpmap.spec"
	TZ=UTC LC_ALL=C rpmbuild -bb --quiet --target "$architecture" --define "_topdir $top" --define "staged $root" \
		--define "_rpmdir $folder" --define '_rpmfilename %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm' \
		--define '_buildhost localhost' --define 'use_source_date_epoch_as_buildtime 1' \
		--define 'clamp_mtime_to_source_date_epoch 1' --define '_build_id_links none' --define '_binary_payload w6.xzdio' \
		--define '__os_install_post %{nil}' --define 'debug_package %{nil}' "$top/xdpmap.spec" >"$top/log" 2>&1 ||
		fail "rpmbuild: $(tail -n 5 "$top/log")"
	rm -rf "$root" "$top"
}

# Puts into the empty folder $1 what an image holds. The program needs no library (as that of scripts/static.sh); its build
# is in $2.
make_root() {
	local root=$1 program
	[ -z "$(ls -A "$root" 2>/dev/null)" ] || fail "$root is not empty"
	say "building xdpmap without libraries"
	program=$(build "$2" -Ctarget-feature=+crt-static)
	umask 022
	stage_program "$root" usr/local/bin/xdpmap "$program"
	install -D -m 644 conf/blocklist.conf "$root/etc/xdpmap/blocklist.conf"
	# The folder that a scan starts in.
	mkdir "$root/out"
	set_times "$root"
}

# Makes the image in the folder $1; the build is in $2. Nothing of it stays in the machine's own storage of images.
make_image() (
	local folder=$1 work architecture=amd64 storage
	[ "$(uname -m)" = x86_64 ] || architecture=arm64
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	make_root "$work/root" "$2"
	say "making the image"
	# The last stage of Dockerfile, whose root has just been made.
	sed -e '1,/^FROM scratch/{/^FROM scratch/!d}' -e 's#^COPY --from=build /image /$#COPY . /#' Dockerfile >"$work/Dockerfile"
	storage=(--root "$work/storage" --runroot "$work/run" --storage-driver vfs)
	buildah "${storage[@]}" build --quiet --isolation chroot --timestamp "$SOURCE_DATE_EPOCH" --format oci \
		--build-arg "version=$(version)" --build-arg "revision=$XDPMAP_COMMIT" \
		--build-arg "created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)" \
		--file "$work/Dockerfile" --tag xdpmap "$work/root" >/dev/null
	buildah "${storage[@]}" push --quiet xdpmap "oci:$work/oci:$(version)"
	mkdir -p "$folder"
	tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
		-C "$work/oci" -cf "$folder/xdpmap-$(version)-image-$architecture.tar" .
)

# Makes the packages $3... in the folder $1; the build is in $2.
make_packages() {
	local folder=$1 build=$2 program kind
	rm -rf "$folder"
	mkdir -p "$folder"
	say "building xdpmap"
	program=$(build "$build")
	check_libraries "$program"
	for kind in "${@:3}"; do
		say "making the package: $kind"
		"make_$kind" "$folder" "$program"
	done
}

need_tools() {
	need_cargo
	local packages=("${build_packages[@]}" binutils python3) kind
	for kind in "$@"; do
		case $kind in
		rpm) packages+=(rpm) ;;
		image) packages+=(buildah) ;;
		esac
	done
	need_packages "${packages[@]}"
	if [ ! -x "$tools/bin/cargo-auditable" ] || ! grep -qF "${auditable/@/ } " "$tools/.crates.toml"; then
		say "building ${auditable/@/ }"
		cargo install --quiet --locked --root "$tools" --target-dir "$tools/build" "$auditable"
		rm -rf "$tools/build"
	fi
}

# Makes the packages in a second place, with other settings, and compares them with those of the first.
compare() {
	local first=$1 elsewhere file different=0
	elsewhere=$(mktemp -d)
	# shellcheck disable=SC2064 # the folder of now
	trap "rm -rf '$elsewhere'" EXIT
	mkdir "$elsewhere/a tree"
	git ls-files -z --cached --others --exclude-standard |
		tar --null --files-from=- --create | tar -x -C "$elsewhere/a tree"
	mkdir "$elsewhere/a tree/target"
	cp -R "$tools" "$elsewhere/a tree/target/"
	say "the same again, in another folder"
	(
		umask 077
		cd "$elsewhere/a tree"
		HOSTNAME=elsewhere ./scripts/package.sh >/dev/null
	)
	for file in "$first"/*; do
		if cmp "$file" "$elsewhere/a tree/target/packages/${file##*/}"; then
			sha256sum "$file"
		else
			different=1
		fi
	done
	[ $different = 0 ] || fail "the packages of one commit differ"
	say "both times the same"
}

case ${1:-} in
'' | deb | rpm)
	kinds=("${1:-deb}")
	[ $# -gt 0 ] || kinds=(deb rpm)
	need_tools "${kinds[@]}"
	set_epoch
	make_packages "$out" "$PWD/target/package" "${kinds[@]}"
	printf '%s\n' "$out"/*
	;;
same)
	need_tools deb rpm
	set_epoch
	make_packages "$out" "$PWD/target/package" deb rpm
	compare "$out"
	;;
root)
	need_tools root
	set_epoch
	mkdir -p "${2:?root needs a folder}"
	make_root "$2" "$PWD/target/package-static"
	;;
image)
	need_tools image
	set_epoch
	make_image "$out" "$PWD/target/package-static"
	printf '%s\n' "$out"/*-image-*.tar
	;;
test-image)
	need_tools image
	need_packages podman runc skopeo jq "${lab_packages[@]}"
	set_epoch
	make_image "$out" "$PWD/target/package-static"
	again=$(mktemp -d)
	trap 'rm -rf "$again"' EXIT
	make_image "$again" "$PWD/target/package-static"
	cmp "$out"/*-image-*.tar "$again"/*-image-*.tar || fail "the images of one build differ"
	say "both times the same"
	./scripts/package/try-image.sh "$out"/*-image-*.tar
	;;
test)
	set_epoch
	# Where they are made, and where they are installed: a machine that has only the base system.
	./scripts/fresh.sh "${@:2}" \
		"SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH XDPMAP_COMMIT=$XDPMAP_COMMIT ./scripts/package.sh && cargo build --release --locked --quiet --package lab" \
		./scripts/package/try.sh
	;;
-h | --help) sed -n '2,18s/^# \{0,1\}//p' "$0" ;;
*) fail "unknown argument $1; see --help" ;;
esac
