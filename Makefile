# SPDX-License-Identifier: MIT

# The toolchain that scripts/bootstrap downloads where the machine has none.
export PATH := $(CURDIR)/.toolchain/usr/bin:$(PATH)

# Where `make serve` listens, and what else to pass to `fathom serve`.
PORT ?= 8080
ARGUMENTS ?=

.DEFAULT_GOAL := help
.PHONY: help serve test check build bench format lint clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

serve: ## Set up, build and serve the bundled model on 127.0.0.1:8080
	@scripts/bootstrap
	swift build -c release --product fathom
	.build/release/fathom serve --host 127.0.0.1 --port $(PORT) $(ARGUMENTS)

test: ## Set up, build, hold the kernels to their rules, and run every test
	@scripts/bootstrap --tests
	swift build -c release --build-tests
	scripts/check-kernels .build/release
	scripts/run-tests -c release --skip-build --parallel

check: ## What a change must pass: lint, no warnings, kernel rules, tests
	@scripts/bootstrap --tests
	$(MAKE) --no-print-directory lint
	FATHOM_WARNINGS_AS_ERRORS=1 swift build --build-tests --scratch-path .build-check
	$(MAKE) --no-print-directory test

build: ## Build the release binary, .build/release/fathom
	@scripts/bootstrap
	swift build -c release --product fathom

bench: build ## Measure generation on a synthesized 2-billion-parameter model
	.build/release/fathom bench generate $(ARGUMENTS)

format: ## Rewrite the sources in the project's format
	swift format --in-place --parallel --recursive --configuration .swift-format Package.swift Sources Tests

lint: ## Say where the sources leave the project's format
	swift format lint --strict --parallel --recursive --configuration .swift-format Package.swift Sources Tests

clean: ## Remove everything that was built
	rm -rf .build .build-check
