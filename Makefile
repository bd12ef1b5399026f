# Weir's commands. Each recipe is what you would type by hand.

PIPELINES ?= pipelines
WASM := wasm32-unknown-unknown
HOST := $(shell rustc -vV | sed -n 's/host: //p')
BENCHES := boundary http fanout rabbit reload
RABBITMQ := /usr/lib/rabbitmq/bin/rabbitmq-server

.PHONY: help run test lint bench plugins rabbitmq clean

help:
	@echo "make run      builds plugins and daemon, then starts it on $(PIPELINES)/"
	@echo "make test     runs every test; installs RabbitMQ if it is missing and it may"
	@echo "make lint     checks format, clippy, licences and sources of dependencies"
	@echo "make bench    builds for release, measures, prints tables"
	@echo "make plugins  builds plugins/*.wasm into plugins/dist/"

# The dev profile: a third of the build time of --release, with optimised dependencies.
run: plugins
	cargo build -p weir
	target/debug/weir run --demo $(PIPELINES)

test: plugins rabbitmq
	cd plugins && cargo test --target $(HOST)
	cargo build --workspace --bins --tests
	cargo test --workspace

lint:
	cargo fmt --all --check
	cd plugins && cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cd plugins && cargo clippy --all-targets --target $(HOST) -- -D warnings
	cargo deny --version || cargo install --locked cargo-deny
	cargo deny check --hide-inclusion-graph licenses bans sources
	cargo deny --manifest-path plugins/Cargo.toml --config .deny.toml check --hide-inclusion-graph licenses bans sources

bench: plugins rabbitmq
	cargo build --release --workspace --bins
	ulimit -n $$(ulimit -Hn) && for bench in $(BENCHES); do target/release/bench-$$bench || exit; done

plugins:
	rustup target list --installed | grep -q $(WASM) || rustup target add $(WASM)
	cd plugins && cargo build --release
	mkdir -p plugins/dist
	cp -u plugins/target/$(WASM)/release/*.wasm plugins/dist/

# The broker tests start their own private broker; all they need is the package.
rabbitmq:
	@if [ -x $(RABBITMQ) ]; then :; \
	elif [ "$$(id -u)" = 0 ]; then apt-get update -q && apt-get install -qy --no-install-recommends rabbitmq-server; \
	elif sudo -n true; then sudo apt-get update -q && sudo apt-get install -qy --no-install-recommends rabbitmq-server; \
	else echo "*** RabbitMQ is not installed and may not be installed here: its tests will be SKIPPED ***"; fi

clean:
	cargo clean
	cd plugins && cargo clean
	rm -rf plugins/dist
