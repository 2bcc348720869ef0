# xdpmap in an image of its own: one file. See docs/tuning.md for the capabilities that it takes to run:
#
#   docker build -t xdpmap .
#   docker run --rm --network host --cap-drop ALL --cap-add NET_RAW --cap-add NET_ADMIN --cap-add BPF --cap-add PERFMON \
#     --cap-add IPC_LOCK xdpmap doctor

FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev clang llvm
WORKDIR /src
COPY . .
RUN install -D --strip "$(./scripts/static.sh)" /image/usr/local/bin/xdpmap

FROM scratch
COPY --from=build /image /
# A block list to start from: put your own over it.
COPY conf/blocklist.conf /etc/xdpmap/blocklist.conf
WORKDIR /out
ENTRYPOINT ["/usr/local/bin/xdpmap"]
