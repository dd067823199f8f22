# `make help` tells what there is. Every target installs what it misses, and only that: Debian packages by
# apt-get (through sudo when you are not root), cargo's tools by `cargo install` at a fixed version.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test lint unit e2e crash conf fuzz fuzz-targets bench bench-peers bench-scale deny deny-needs build-needs test-needs gated-proxy

# Demo and tests share one profile, so that everything is compiled once.
PROFILE := demo
CARGO := cargo
NEXTEST_VERSION := 0.9.143
DENY_VERSION := 0.20.2
NEXTEST := $(CARGO) nextest run --locked --cargo-profile $(PROFILE)
CLIPPY := $(CARGO) clippy --locked --profile $(PROFILE) --quiet
DENY := $(CARGO) deny --workspace
# Tools are run once or twice: what optimising them would take is longer than all that they do.
INSTALL := $(CARGO) install --locked --debug --config profile.dev.debug=0
# How many seconds of each fuzz target: TIME. In a test of everything, so many.
TIME := 600
BRIEFLY := 10

# Debian's package would start a Prometheus, on our own port: only the one program is taken out of it.
PROMTOOL := $(or $(shell command -v promtool),$(CURDIR)/target/tools/promtool)
# The programs need not be installed for their units to be looked at, nor does the manual.
UNITS_FIT = for unit in patapim-edge patapim-agent; do mkdir -p target/tools/units && sed -e 's,^ExecStart=[^ ]*,ExecStart=/bin/true,' \
	-e '/^Documentation=/d' conf/$$unit.service >target/tools/units/$$unit.service \
	&& systemd-analyze verify --man=no target/tools/units/$$unit.service; done

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build-needs ## Builds everything and runs it with throw-away data; prints the link to open. PORT=… chooses the port
	$(CARGO) build --locked --profile $(PROFILE) --bins
	exec target/$(PROFILE)/patapim-edge demo $(if $(PORT),--port $(PORT))

test: lint test-needs gated-proxy ## Everything: lint, conf, then unit and end-to-end tests, browsers included, and the documentation's examples
	@if [ -x $(PROMTOOL) ] || $(MAKE) -s $(PROMTOOL); then $(MAKE) -s conf; else echo "No promtool to be had: the alert rules are not checked." >&2; fi
	$(CARGO) test --locked --quiet --profile $(PROFILE) --doc
	@FUZZ_SEED=1 $(MAKE) -s fuzz TIME=$(BRIEFLY)
	$(NEXTEST)

# The doors that only the fuzz targets use are looked at with all the rest. The policy looks at what other systems need, too,
# which a build here has no reason to fetch.
lint: build-needs deny-needs ## Formatting, clippy, each program's features alone, and the dependency policy
	$(CARGO) fmt --all --check
	$(CLIPPY) --workspace --all-targets -- --cfg fuzzing -D warnings
	$(CLIPPY) --no-default-features --features edge --lib --bins -- -D warnings
	$(CLIPPY) --no-default-features --features agent --lib --bins -- -D warnings
	$(CARGO) fetch --locked
	$(DENY) --offline check bans licenses sources
	@if compgen -G "$${CARGO_HOME:-$$HOME/.cargo}/advisory-dbs/*/crates" >/dev/null; then $(DENY) --offline check advisories; \
		else echo "No advisory database is at hand; make deny fetches it." >&2; fi

unit: build-needs test-needs ## The tests beside the code
	$(NEXTEST) --lib --bins

e2e: test-needs gated-proxy ## The tests from outside; ONLY=… names some of them: make e2e ONLY=sign_in::
	$(NEXTEST) --test e2e $(ONLY)

crash: build-needs test-needs ## Ends the server KILLS=… times (300) under load, by kill -9 and by power cuts, and holds it against a ledger
	PATAPIM_KILLS=$(or $(KILLS),300) $(NEXTEST) --profile crash --no-capture --test e2e storage::crash

conf: $(PROMTOOL) ## The alert rules and their tests, by promtool; the units, where systemd-analyze is there
	@$(PROMTOOL) check rules conf/alerts.yml >/dev/null
	@cd conf && $(PROMTOOL) test rules alerts_test.yml >/dev/null
	@if command -v systemd-analyze >/dev/null; then $(UNITS_FIT); fi

# The tests run it as its operator would.
gated-proxy: build-needs
	$(CARGO) build --locked --profile $(PROFILE) --example gated_proxy

bench: build-needs ## What the edge costs beside its peers, written into BENCHMARKS.md; ONLY=… names parts, and writes nothing
	$(call packages,h2load:nghttp2-client)
	$(CARGO) bench --locked --bench load -- $(ONLY)

bench-peers: ## Installs what the edge is compared with: HAProxy, nginx and OpenSSH's server
	$(call packages,/usr/sbin/haproxy:haproxy /usr/sbin/nginx:nginx-light /usr/sbin/sshd:openssh-server)

fuzz: fuzz-targets ## Each fuzz target for ten minutes, one per processor; TIME=… for so many seconds, ONLY=… for some of them
	fuzz/run target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE)) $(TIME) $(ONLY)

# The profile, and so the dependencies, are those of the tests; only our own crates are compiled once more.
fuzz-targets: build-needs
	RUSTC_WORKSPACE_WRAPPER=$(CURDIR)/fuzz/instrumented $(CARGO) build --locked --profile $(PROFILE) --package patapim-fuzz --bins

bench-scale: build-needs ## Memory of 10,000 idle agents and WebSockets, a reconnect storm, a crowded tunnel; COUNT=… for fewer
	$(CARGO) bench --locked --bench scale -- $(COUNT)

deny: deny-needs ## Licences, bans, sources and known vulnerabilities of the dependencies, with cargo-deny
	$(DENY) check

# $(call packages,COMMAND:PACKAGE …): those Debian packages whose command is not there yet.
define packages
	@missing=; for need in $(1); do \
		command -v "$${need%%:*}" >/dev/null || missing="$$missing $${need#*:}"; done; \
	if [ -n "$$missing" ]; then \
		command -v apt-get >/dev/null || { echo "Not a Debian machine: please install$$missing, then try again." >&2; exit 1; }; \
		as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
		$$as_root apt-get update -qq; \
		$$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $${missing//+/ }; \
	fi
endef

$(CURDIR)/target/tools/promtool:
	@command -v apt-get >/dev/null || { echo "Not a Debian machine: please install promtool, of Prometheus, then try again." >&2; exit 1; }
	@mkdir -p $(@D) && cd $(@D) && rm -f prometheus_*.deb && { apt-get download -qq prometheus 2>/dev/null || { \
		as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; $$as_root apt-get update -qq; apt-get download -qq prometheus; }; }
	@cd $(@D) && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xf - --strip-components=3 ./usr/bin/promtool && rm prometheus_*.deb
	@touch $@

build-needs:
	@command -v $(CARGO) >/dev/null || { echo "Rust is missing: see https://rustup.rs, then try again." >&2; exit 1; }
	$(call packages,cc:build-essential cmake:cmake)

test-needs: build-needs
	$(call packages,chromium:chromium+fonts-liberation)
	@$(CARGO) nextest --version >/dev/null 2>&1 || \
		$(INSTALL) --no-default-features --features default-no-update cargo-nextest@$(NEXTEST_VERSION)

deny-needs:
	@$(CARGO) deny --version >/dev/null 2>&1 || $(INSTALL) cargo-deny@$(DENY_VERSION)
