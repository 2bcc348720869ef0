# xdpmap in an image of its own: one program that needs no library. docs/tuning.md (Containers) says how it is run:
#
#   docker build -t xdpmap .
#
# Without a base image from a registry, ./scripts/package.sh image makes the same: its last stage, by Debian's buildah.

FROM rust:1.95-bookworm AS build
ARG SOURCE_DATE_EPOCH=0
ARG revision
WORKDIR /src
COPY . .
RUN SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH XDPMAP_COMMIT=$revision ./scripts/package.sh root /image

FROM scratch
COPY --from=build /image /
ARG version
ARG revision
ARG created
LABEL org.opencontainers.image.title="xdpmap" \
      org.opencontainers.image.description="An Internet scanner on the kernel's AF_XDP, with ZMap's flags and file formats" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="$version" \
      org.opencontainers.image.revision="$revision" \
      org.opencontainers.image.created="$created"
# Put a block list of your own over /etc/xdpmap/blocklist.conf.
WORKDIR /out
ENTRYPOINT ["/usr/local/bin/xdpmap"]
