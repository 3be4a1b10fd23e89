# Barnabas. `make help` lists what there is.
SHELL := bash
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
BIN := $(TARGET_DIR)/$(HOST)/release
# Static programs: the same binary runs here, in a `FROM scratch` image and on any Linux of the same architecture.
STATIC := $(if $(findstring linux-gnu,$(HOST)),-C target-feature=+crt-static,)
RELEASE := RUSTFLAGS="$(STATIC)" cargo build --locked --release --target $(HOST)

.PHONY: help run build test check fuzz soak upgrade bench demo demo-down deny cargo-deny clean
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: ## a broker on localhost:9092, data in ./data (ARGS="..." adds options)
	@$(RELEASE) --quiet -p broker
	@exec $(BIN)/broker standalone $(ARGS)

build: ## both programs and the example, released and static, in target/<host>/release
	$(RELEASE) -p broker -p operator -p mail

check: ## fast: format, lints, unit tests, crate boundaries, freshness of generated files
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
	cargo test --locked --workspace --quiet

test: ## everything: check, real clients, a real Kubernetes; closes with a count
	@e2e/test.sh

fuzz: ## every fuzz target, 10,000,000 executions each; RUNS and SECONDS_EACH change that (fuzz/run.sh)
	@fuzz/run.sh

soak: build ## the long forms: histories, walks of the model, faults under 9,000 records a second, outages of five minutes
	SIM_HISTORIES=$(or $(HISTORIES),10000) cargo test --locked -p sim --test clusters no_history -- --nocapture
	WALKS=$(or $(WALKS),100000) cargo test --locked -p proof --test clean
	BARNABAS_BIN=$(abspath $(BIN)) BARNABAS_CHAOS=1200 BARNABAS_RATE=9000 BARNABAS_ROUNDS=10 BARNABAS_KAFKA_TOO=1 BARNABAS_MOVED=1024 e2e/run-chaos.sh
	BARNABAS_BIN=$(abspath $(BIN)) BARNABAS_RECORDS=1000000 e2e/run-clients.sh
	BARNABAS_BIN=$(abspath $(BIN)) BARNABAS_LONG=1 BARNABAS_REST=3600 e2e/run-operator.sh
	BARNABAS_BIN=$(abspath $(BIN)) BARNABAS_OUTAGE=300 BARNABAS_OUTAGE_WITH_RESTART=300 e2e/run-kubernetes.sh

upgrade: ## a release to the next and back under load, on a real Kubernetes (e2e/run-upgrade.sh)
	@e2e/run-upgrade.sh

bench: build ## side by side with Apache Kafka
	$(RELEASE) -p bench
	@e2e/bench/run.sh

demo: ## a real Kubernetes (or the one of KUBECONFIG), both charts, Topics, messages, metrics
	@e2e/demo.sh

demo-down: ## stop what `make demo` started
	@e2e/demo.sh down

deny: cargo-deny ## licences, sources and banned crates of the dependency tree
	cargo deny --locked check licenses bans sources

# Built without optimisation: it runs for seconds, and its release takes minutes to build.
cargo-deny:
	@command -v cargo-deny > /dev/null || cargo install --locked --quiet --debug cargo-deny

clean: ## remove build results and caches
	cargo clean
	rm -rf .cache
