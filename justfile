# Common tasks. `just` lists them.

default:
    @just --list

# The first study of the README: real data, about a minute on two cores.
demo:
    cargo run --release -- run studies/digits.yaml

# All tests, as in the README.
test:
    cargo test --workspace

# All tests, with the Python references installed into target/venv and the system's Chromium, none skipped.
test-all: venv
    HPO_TEST_CHROMIUM="$(command -v chromium)" HPO_TEST_PYTHON="$PWD/target/venv/bin/python" KERAS_BACKEND=torch HPO_TEST_REQUIRE_ALL=1 cargo test --workspace

# The Python client: types, and tests against the real packages.
test-python: venv
    cargo build --package hpo
    target/venv/bin/python -m pip install --quiet --editable ./python
    cd python && ../target/venv/bin/python -m mypy --strict
    HPO_BIN="$PWD/target/debug/hpo" KERAS_BACKEND=torch HPO_TEST_REQUIRE_ALL=1 target/venv/bin/python -m pytest python

# Formatting and lints, as CI wants them.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# API documentation of all crates.
doc:
    cargo doc --workspace --no-deps --open

# A Python environment with torch and keras, for the tests that compare with them.
venv:
    test -x target/venv/bin/python || python3 -m venv target/venv
    target/venv/bin/python -m pip install --quiet -r .ci/requirements.txt

# What orchestration costs: 500 trivial trials against a bare loop that spawns the same program.
bench-spawn:
    cargo run --release --package hpo-run --example spawn_rate

# Milliseconds per update of the built-in trainer and its optimizers.
bench-train:
    cargo run --release --package hpo-train --example train_speed
    cargo bench --package hpo-train --bench optimizer_step

# Fuzz one target (fuzz/README.md names them) for some seconds.
fuzz target seconds="660":
    mkdir -p fuzz/found/{{target}}
    cd fuzz && RUSTC_BOOTSTRAP=1 cargo fuzz run -s none {{target}} found/{{target}} corpus/{{target}} -- -dict=dictionaries/{{target}}.dict -max_total_time={{seconds}} -timeout=20 -rss_limit_mb=1500 -max_len=16384 -print_final_stats=1

# What CI runs.
ci:
    .ci/run
