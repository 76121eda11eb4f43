# Two commands do everything: `make run` and `make test`. `make help` lists the rest.
SHELL := /bin/sh
.DEFAULT_GOAL := help

MODULES  := . instrumentation/messaging instrumentation/otelkafkago instrumentation/otelfranz instrumentation/otelsarama instrumentation/sentrykafka instrumentation examples integration/peers integration
UI_INPUT := $(shell find web/ui/src web/ui/public web/ui/index.html web/ui/vite.config.ts web/ui/tsconfig.json web/ui/package.json web/ui/package-lock.json web/api/openapi.yaml -type f 2>/dev/null)
TOOLS    := $(CURDIR)/bin/tools
ARTEFACTS ?= $(CURDIR)/artefacts

export HOPTRACE_ARTEFACTS = $(ARTEFACTS)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-zA-Z_-]+:.*## / { printf "  %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## build, start everything with example traffic, print the address of the UI
	@scripts/run

.PHONY: build
build: ui ## build bin/hoptrace (one file, no cgo, with the UI) and bin/orders (the example)
	CGO_ENABLED=0 go build -trimpath -o bin/hoptrace ./cmd/hoptrace
	CGO_ENABLED=0 go build -trimpath -o bin/orders ./examples/orders

.PHONY: ui
ui: web/ui/dist/index.html ## build the browser application

web/ui/node_modules/.package-lock.json: web/ui/package.json web/ui/package-lock.json
	cd web/ui && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

web/ui/dist/index.html: web/ui/node_modules/.package-lock.json $(UI_INPUT)
	cd web/ui && npm run --silent build
	@touch $@

.PHONY: libchdb
libchdb: ## get the embedded ClickHouse engine (about 200 MB, once)
	@internal/embeddedclickhouse/libchdb/fetch

.PHONY: test
test: test-parts build libchdb test-ui test-unit test-integration ## all tests, installing what they need

.PHONY: test-parts
test-parts: ## install what tests need besides Go and Node (root on Debian; names it elsewhere)
	@scripts/install-test-parts

.PHONY: test-ui
test-ui: ui ## types and unit tests of the browser application
	cd web/ui && npm run --silent typecheck && npm test --silent

.PHONY: test-unit
test-unit: libchdb ## vet, unit tests with the race detector, fuzz seeds, contract suites
	@failed=; for m in $(MODULES); do [ $$m = integration ] && continue; \
	  echo "== $$m"; (cd $$m && go vet ./... && CGO_ENABLED=1 go test -race -timeout 30m ./...) || failed="$$failed $$m"; done; \
	  [ -z "$$failed" ] || { echo "modules that failed:$$failed"; exit 1; }

.PHONY: test-integration
test-integration: build libchdb ## real processes, a real Kafka, real SDKs, a real browser
	@mkdir -p $(ARTEFACTS)
	cd integration && go vet ./... && go test -v -count=1 -timeout 50m ./...

.PHONY: fuzz
fuzz: ## fuzz every decoder for a while: make fuzz FUZZTIME=1m
	@scripts/fuzz $(or $(FUZZTIME),20s)

.PHONY: lint
lint: $(TOOLS)/golangci-lint ## golangci-lint over all modules
	@for m in $(MODULES); do echo "== lint $$m"; (cd $$m && $(TOOLS)/golangci-lint run --config $(CURDIR)/.golangci.yml ./...) || exit 1; done

.PHONY: deadcode
deadcode: $(TOOLS)/deadcode ## functions that the programs never reach
	$(TOOLS)/deadcode -test ./...

$(TOOLS)/golangci-lint: tools/lint/go.mod tools/lint/go.sum
	@mkdir -p $(TOOLS)
	cd tools/lint && GOWORK=off go build -o $(TOOLS)/ tool

$(TOOLS)/gofumpt $(TOOLS)/deadcode $(TOOLS)/benchstat &: tools/go.mod tools/go.sum
	@mkdir -p $(TOOLS)
	cd tools && GOWORK=off go build -o $(TOOLS)/ tool

.PHONY: fmt
fmt: $(TOOLS)/gofumpt ## format the Go code
	$(TOOLS)/gofumpt -w $$(git ls-files '*.go')

.PHONY: pictures
pictures: build libchdb ## take the pictures of README and docs anew
	cd integration && HOPTRACE_BIN=$(CURDIR)/bin/hoptrace ORDERS_BIN=$(CURDIR)/bin/orders PICTURES=$(CURDIR)/docs/pictures go test -run '^TestPictures$$' -count=1 -timeout 20m .

.PHONY: bench
bench: build libchdb ## the whole line, measured; Go benchmark lines for benchstat
	cd integration && go test -run '^$$' -bench '^BenchmarkLine$$' -benchtime 1x -timeout 30m ./bench

.PHONY: bench-events
bench-events: build libchdb ## the line of error events, measured: 20 KB each, 70 % repeats
	cd integration && go test -run '^$$' -bench '^BenchmarkEvents$$' -benchtime 1x -timeout 30m ./bench

.PHONY: bench-queries
bench-queries: build libchdb ## the questions of the UI over a day of 10 million spans, which the first run makes
	cd integration && HOPTRACE_BIN=$(CURDIR)/bin/hoptrace go test -run '^$$' -bench '^BenchmarkQuery$$' -benchtime 1x -timeout 60m ./bench

.PHONY: bench-scroll
bench-scroll: build libchdb ## a trace of 10,000 spans scrolled in Chromium: milliseconds of the page's thread a frame
	cd integration && HOPTRACE_BIN=$(CURDIR)/bin/hoptrace go test -run '^$$' -bench '^BenchmarkScroll$$' -benchtime 1x -timeout 15m ./bench

.PHONY: bench-instrumentation
bench-instrumentation: ## what instrumentation costs a Kafka client, ours and its peers': make bench-instrumentation BROKERS="stub kafka"
	@mkdir -p $(ARTEFACTS)
	BROKERS="$(BROKERS)" BENCHFLAGS="$(BENCHFLAGS)" integration/peers/bench/run $(ARTEFACTS)/bench-instrumentation.txt

.PHONY: bench-unit
bench-unit: libchdb ## the benchmarks of the packages
	@for m in $(MODULES); do [ $$m = integration ] && continue; (cd $$m && go test -run '^$$' -bench . -benchmem ./...) || exit 1; done

.PHONY: generate
generate: web/ui/node_modules/.package-lock.json ## types of records from their schemas, types of the API for the browser application
	go generate ./schemas/...
	cd web/ui && npm run --silent generate

.PHONY: ci
ci: lint test ## what CI runs

.PHONY: clean
clean: ## remove what was built (not the data, not the caches)
	rm -rf bin artefacts web/ui/node_modules && find web/ui/dist -mindepth 1 ! -name .gitkeep -delete
