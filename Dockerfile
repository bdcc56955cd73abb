# hpo in a container: docker build -t hpo . && docker run --rm -v "$PWD:/project" hpo run studies/digits.yaml
#
# For GPUs and your own training scripts, put the binary into the image your training runs in:
#   COPY --from=hpo /usr/local/bin/hpo /usr/local/bin/hpo
FROM rust:1-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock clippy.toml ./
COPY crates crates
RUN cargo build --release --locked --package hpo

FROM debian:bookworm-slim
# tini reaps the processes that training scripts leave behind and passes signals on.
RUN apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/hpo /usr/local/bin/hpo
COPY studies /usr/share/hpo/studies
WORKDIR /project
ENTRYPOINT ["tini", "--", "hpo"]
CMD ["--help"]
