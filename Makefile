# Weir's commands. Each recipe is what you would type by hand.

PIPELINES ?= pipelines
WASM := wasm32-unknown-unknown
HOST := $(shell rustc -vV | sed -n 's/host: //p')
PUSHER_PYTHON := target/pusher-python
AUTOBAHN := target/autobahn-python
TOOLS := target/plugin-tools
RABBITMQ := /usr/lib/rabbitmq/bin/rabbitmq-server

.PHONY: help run test conformance autobahn lint bench chaos plugins rabbitmq node plugin-tools clean

help:
	@echo "make run      builds plugins and daemon, then starts it on $(PIPELINES)/"
	@echo "make test     runs every test; installs RabbitMQ, Node and Chromium if they are missing and it may"
	@echo "make lint     checks format, clippy, licences and sources of dependencies"
	@echo "make bench    builds for release, measures, prints tables"
	@echo "make chaos    builds for release, breaks things under load, writes tests/RELIABILITY.md"
	@echo "make plugins  builds plugins/*.wasm into plugins/dist/"

# The dev profile: a third of the build time of --release, with optimised dependencies.
run: plugins
	cargo build -p weir
	target/debug/weir run --demo $(PIPELINES)

test: plugins rabbitmq node plugin-tools autobahn
	cd plugins && cargo test --target $(HOST)
	cargo build --workspace --bins --tests
	cargo test --workspace
	@if node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; then cd sdk/js && npm ci --no-audit --no-fund && npm test; \
	else echo "*** There is no Node 20: the tests of the JavaScript client are SKIPPED ***"; [ -z "$$CI" ]; fi
	@if node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; then $(MAKE) conformance; \
	else echo "*** There is no Node 20: the tests with Pusher's libraries are SKIPPED ***"; [ -z "$$CI" ]; fi

# Unmodified Pusher libraries, for Node and Python, against the daemon.
conformance:
	test -x $(PUSHER_PYTHON)/bin/python || python3 -m venv $(PUSHER_PYTHON) || [ -z "$$CI" ]
	$(PUSHER_PYTHON)/bin/pip install -q -r tests/conformance/pusher/requirements.txt || [ -z "$$CI" ]
	cd tests/conformance/pusher && npm ci --no-audit --no-fund && npm test

# The Autobahn cases, which WebSockets are held against.
autobahn:
	test -x $(AUTOBAHN)/bin/kosoku || python3 -m venv $(AUTOBAHN) || [ -z "$$CI" ]
	$(AUTOBAHN)/bin/pip install -q -r tests/conformance/autobahn/requirements.txt || [ -z "$$CI" ]

lint:
	cargo fmt --all --check
	cd plugins && cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cd plugins && cargo clippy --all-targets --target $(HOST) -- -D warnings
	cargo deny --version || cargo install --locked cargo-deny
	cargo deny check --hide-inclusion-graph licenses bans sources
	cargo deny --manifest-path plugins/Cargo.toml --config .deny.toml check --hide-inclusion-graph licenses bans sources

bench: plugins rabbitmq
	$(call need,command -v nats-server,nats-server)
	cargo build --release --workspace --bins
	ulimit -n $$(ulimit -Hn) && target/release/weir-bench

# Breaks things under load for about 40 minutes, and writes down what was lost.
chaos: plugins rabbitmq
	$(call need,command -v fiu-run,fiu-utils)
	cargo build --release --workspace --bins
	target/release/weir-bench chaos tests/RELIABILITY.md

plugins:
	rustup target list --installed | grep -q $(WASM) || rustup target add $(WASM)
	cd plugins && cargo build --release
	mkdir -p plugins/dist
	for file in plugins/target/$(WASM)/release/*.wasm; do \
		cp -u $$file plugins/dist/$$(basename $$file | tr _ -) || exit 1; done

# $(call need,TEST,PACKAGES) installs what is missing where the test fails, if it may.
need = @if $(1) >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ]; then apt-get update -q && apt-get install -qy --no-install-recommends $(2); \
	elif sudo -n true; then sudo apt-get update -q && sudo apt-get install -qy --no-install-recommends $(2); \
	else echo "*** $(2): not installed and may not be installed here, so its tests will be SKIPPED ***"; fi

# The broker tests start their own private broker; all they need is the package.
rabbitmq:
	$(call need,test -x $(RABBITMQ),rabbitmq-server)

# The JavaScript client is tested in Node and in a real browser, Pusher's libraries also in Python.
node:
	$(call need,command -v npm,nodejs npm)
	$(call need,command -v chromium,chromium)
	$(call need,python3 -m ensurepip --version,python3 python3-venv)

# Plugins in JavaScript and Python are built by these; the versions are those of sdk/templates.
plugin-tools: node
	mkdir -p $(TOOLS)
	test -e $(TOOLS)/node_modules/.bin/componentize-qjs || npm install --prefix $(TOOLS) --no-audit --no-fund componentize-qjs@0.4.5 || echo "*** no componentize-qjs ***"
	test -e $(TOOLS)/bin/componentize-py || { python3 -m venv $(TOOLS) && $(TOOLS)/bin/pip install -q componentize-py==0.25.1; } || echo "*** no componentize-py ***"

clean:
	cargo clean
	cd plugins && cargo clean
	rm -rf plugins/dist sdk/js/lib sdk/js/node_modules
