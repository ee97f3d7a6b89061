# The service and nothing else: one static binary, no shell, no package, not root.
#
#   docker build -t orderly .
#   docker buildx build --platform linux/amd64,linux/arm64 -t orderly .
#
# The same sources give the same binary: dependencies are locked, paths are trimmed, nothing in it
# tells the time. Pin RUST_IMAGE to a digest for images that others shall be able to rebuild.
# `deploy/image/check` shows without a container engine what can be shown without one.
ARG RUST_IMAGE=docker.io/library/rust:1.95-bookworm

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
RUN deploy/image/build dist /out \
 && install -d -o 65532 -g 65532 -m 0750 /out/var/lib/orderly

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="orderly" \
      org.opencontainers.image.description="Carries out your runbooks: verified, explainable remediation of Alertmanager alerts" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/orderly /orderly
# For receivers and monitoring behind public certificates.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# Where the journal is kept, when no volume is mounted there.
COPY --from=build --chown=65532:65532 /out/var/lib/orderly /var/lib/orderly
USER 65532:65532
WORKDIR /var/lib/orderly
EXPOSE 8080 9090
ENTRYPOINT ["/orderly"]
CMD ["serve"]
