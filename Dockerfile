# syntax=docker/dockerfile:1
# iceway alone, with the libraries it is linked to: no shell, no package manager, no root.
#
#   docker build -t iceway .
#   docker run --read-only --network host -e ICEWAY_AUTH_SECRET=… iceway
#
# Every setting has a variable (ICEWAY_…); a file is mounted to /etc/iceway and named by ICEWAY_CONFIG.
FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --locked --release --bin iceway \
    && debian/image target/release/iceway /image

FROM scratch
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="iceway" \
      org.opencontainers.image.description="TURN relay, credentials and signaling for WebRTC" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT"
COPY --from=build /image/root/ /
# What outlives a restart, and the control socket: all that is ever written.
COPY --from=build --chown=65532:65532 --chmod=700 /image/empty/ /var/lib/iceway/
COPY --from=build --chown=65532:65532 --chmod=700 /image/empty/ /run/iceway/
ENV PATH=/usr/bin \
    STATE_DIRECTORY=/var/lib/iceway \
    RUNTIME_DIRECTORY=/run/iceway
VOLUME ["/var/lib/iceway", "/run/iceway"]
USER 65532:65532
WORKDIR /var/lib/iceway
# STUN, TURN and signaling; TLS where there is a certificate; HTTP, which listens on loopback until http.listen says
# otherwise. Relayed media takes UDP ports 49152 to 65535, which are best served with the network of the host.
EXPOSE 3478/udp 3478/tcp 5349/tcp 9641/tcp
# Refuses new calls and waits for those that are up, at most for runtime.drain_timeout: give it that long to stop.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["/usr/bin/iceway", "healthcheck"]
ENTRYPOINT ["/usr/bin/iceway"]
CMD ["serve"]
