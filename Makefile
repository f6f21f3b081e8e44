# The short way to everything; `make help` lists the targets.
# All of it is CMake underneath: cmake --preset release && cmake --build build
.DEFAULT_GOAL := help
.PHONY: help demo test build lint format format-check bench bench-build fuzz install clean

SECONDS_PER_DEMO ?= 240
PREFIX ?= /usr/local

help: ## Show this list
	@echo "Verbatim: language models that read and write text as it is written"; echo
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 24
	@echo; echo "  make demo TEXT=folder   the demo on your own text"

demo: build ## Train a small model on this system's manual pages, measure it, let it write
	@scripts/install-dependencies demo
	@scripts/demo --seconds $(SECONDS_PER_DEMO) $(if $(TEXT),--text "$(TEXT)")

build: build/build.ninja ## Build the program: build/verbatim
	@cmake --build build --target verbatim

test: ## Build everything and run all tests
	@scripts/install-dependencies build test
	@$(MAKE) --no-print-directory build/build.ninja
	@cmake --build build
	@scripts/run-tests build

bench: bench-build ## Measure speed: micro-benchmarks, then the program's own
	@cmake --build build --target verbatim
	@scripts/run-benchmarks build
	@build/verbatim bench all

bench-build: build/build.ninja ## Build the micro-benchmarks, which no other target does
	@scripts/install-dependencies bench
	@cmake --preset release -DVERBATIM_BENCH=ON >/dev/null
	@cmake --build build --target benchmarks

lint: build/build.ninja ## Check the code with clang-tidy and the folder rules
	@scripts/install-dependencies dev
	@scripts/check-structure
	@scripts/lint build

format: ## Format the C++ files
	@scripts/install-dependencies dev
	@git ls-files -z '*.h' '*.cc' | xargs -0 clang-format-14 -i

format-check: ## Say which C++ files are not formatted
	@scripts/install-dependencies dev
	@git ls-files -z '*.h' '*.cc' | xargs -0 -r clang-format-14 --dry-run --Werror

fuzz: ## Build the fuzzers and run each for 30 seconds
	@scripts/install-dependencies build dev
	@scripts/fuzz

install: build/build.ninja ## Install to PREFIX (default /usr/local)
	@cmake --build build --target installed
	@cmake --install build --prefix "$(PREFIX)"

clean: ## Remove the build folder, the demo's models included
	@rm -rf build

# Ninja configures again by itself when a CMake file changes.
build/build.ninja:
	@scripts/install-dependencies build test
	@cmake --preset release
