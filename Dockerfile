# Goes in: this repository, or in place of the stage `compile` a folder that holds what it would have made.
# Comes out: an image of two files, the static program and the CA certificates. Never in it: a shell, a
# package manager, a C library, a user's name.
#
#   docker buildx build --build-arg VERSION=… --build-arg REVISION=… --build-arg CREATED=… .
#   docker buildx build --build-context compile=FOLDER .     # packs FOLDER/image, compiles nothing
#
# Each platform is compiled on a machine of its own kind: no cross compiler, no emulation. SOURCE_DATE_EPOCH
# makes it the same image each time; deploy/pack.py checks what is checkable of that, docs/release.md says how.

ARG RUST=docker.io/library/rust:1.95-bookworm

FROM ${RUST} AS compile
WORKDIR /src
# Static, the C library included. A target that is named keeps that from the build scripts and macros, which
# have to be loaded by the compiler. Paths of the build are no part of the program.
ENV CARGO_BUILD_TARGET=host-tuple \
    CARGO_INCREMENTAL=0 \
    RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=/src=. --remap-path-prefix=/usr/local/cargo=cargo"

# The dependencies in a layer of their own, compiled for an empty program: what is below src alone does
# not make it anew. Not a cache mount: each builder can keep layers elsewhere, none a mount.
COPY Cargo.toml Cargo.lock ./
COPY benches/*.rs benches/
RUN mkdir -p src tests/it \
    && touch src/lib.rs \
    && echo 'fn main() {}' >src/main.rs \
    && cp src/main.rs tests/it/ \
    && cargo build --release --locked \
    # Else cargo takes the empty program for the newer one: the files' times are the ones of the checkout.
    && rm -r target/*/release/.fingerprint/vpc-cni-exporter-*

COPY src src
ARG REVISION=unknown
RUN VPCCNI_BUILD_REVISION="$REVISION" cargo build --release --locked \
    && install -D --target-directory=/image target/*/release/vpc-cni-exporter \
    && install -D --mode=644 --target-directory=/image/etc/ssl/certs /etc/ssl/certs/ca-certificates.crt

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE
LABEL org.opencontainers.image.title="vpc-cni-exporter" \
      org.opencontainers.image.description="Cluster-level Prometheus metrics for the Amazon VPC CNI, aggregated truthfully" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}"
COPY --from=compile /image/ /
# By number: Kubernetes' runAsNonRoot cannot tell by a name, and there is no file that knows one.
USER 65534:65534
EXPOSE 61681
ENTRYPOINT ["/vpc-cni-exporter"]
