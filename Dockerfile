# xdpmap in a small image. See docs/tuning.md for the capabilities that it takes to run:
#
#   docker build -t xdpmap .
#   docker run --rm --network host --cap-drop ALL --cap-add NET_RAW --cap-add NET_ADMIN --cap-add BPF --cap-add PERFMON \
#     --cap-add IPC_LOCK xdpmap doctor

FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends \
	gcc libc6-dev make pkg-config libelf-dev zlib1g-dev m4 clang llvm
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package xdpmap --bin xdpmap && strip target/release/xdpmap

FROM debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends libelf1 zlib1g && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/xdpmap /usr/local/bin/xdpmap
# A block list to start from: put your own over it.
COPY conf/blocklist.conf /etc/xdpmap/blocklist.conf
WORKDIR /out
ENTRYPOINT ["xdpmap"]
