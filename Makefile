# Barnabas. `make help` lists what there is.
SHELL := bash
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
BIN := $(TARGET_DIR)/$(HOST)/release
# Static programs: the same binary runs here, in a `FROM scratch` image and on any Linux of the same architecture.
STATIC := $(if $(findstring linux-gnu,$(HOST)),-C target-feature=+crt-static,)
RELEASE := RUSTFLAGS="$(STATIC)" cargo build --locked --release --target $(HOST)

.PHONY: help run build test check bench demo demo-down deny clean
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: ## a broker on localhost:9092, data in ./data (ARGS="..." adds options)
	@$(RELEASE) --quiet -p broker
	@exec $(BIN)/broker standalone $(ARGS)

build: ## both programs, released and static, in target/<host>/release
	$(RELEASE) -p broker -p operator -p mail -p bench

check: ## fast: format, lints, unit tests, crate boundaries, freshness of generated files
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
	cargo test --locked --workspace --quiet

test: ## everything: check, real clients, a real Kubernetes; closes with a count
	@e2e/test.sh

bench: build ## side by side with Apache Kafka
	@e2e/bench/run.sh

demo: ## a real Kubernetes (or the one of KUBECONFIG), both charts, Topics, messages, metrics
	@e2e/demo.sh

demo-down: ## stop what `make demo` started
	@e2e/demo.sh down

deny: ## licences, sources and banned crates of the dependency tree
	@command -v cargo-deny > /dev/null || cargo install --locked --quiet cargo-deny
	cargo deny --locked check licenses bans sources

clean: ## remove build results and caches
	cargo clean
	rm -rf .cache
