# Everything a contributor runs. Needs Python 3.11 or newer, and make.
#
#   make test PYTHON=python3.13           choose the interpreter that .venv is made with
#   make fast ARGS="tests/actors -k full" hand arguments to pytest (or to the demo, or to the benchmark)
#   make servers ARGS="--only redis,nats" start only these

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?=
ARGS ?=

py := .venv/bin/python
pip := $(py) -m pip --quiet --disable-pip-version-check
say = @printf '==> %s\n'

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

.PHONY: venv
venv: .venv/.dev ## Make .venv with the project, its tests' tools and its checkers

.PHONY: test
test: venv ## Check everything: ruff, format, mypy, imports, tests
	$(say) 'ruff: lint'
	@$(py) -m ruff check .
	$(say) 'ruff: format'
	@$(py) -m ruff format --check .
	$(say) 'mypy: types'
	@$(py) -m mypy
	$(say) 'import-linter: each floor imports only floors below it'
	@.venv/bin/lint-imports --no-logo
	$(say) 'servers: those that the tests run against'
	@$(py) -m tests.servers.install
	$(say) 'pytest: tests'
	@$(py) -m pytest $(ARGS)

.PHONY: fast
fast: venv ## Run the tests only
	@$(py) -m pytest $(ARGS)

.PHONY: servers
servers: venv ## Start Redis, NATS, RabbitMQ and Kafka for playing, and print their URLs
	@$(py) -m tests.servers.install
	@$(py) -m tests.servers $(ARGS)

.PHONY: demo
demo: .venv/.run ## Run the example that shows the engine at work
	@$(py) examples/flights.py $(ARGS)

# As a module: the folder of a script comes first on the path, where benchmarks/engine.py would pass for the engine.
.PHONY: bench
bench: .venv/.peer ## Measure it beside loops by hand and FastStream, on real servers (an hour; ARGS="--save" keeps it)
	@$(py) -m tests.servers.install
	@$(py) -m benchmarks $(ARGS)

.PHONY: bench-quick
bench-quick: .venv/.peer ## Measure a selection in a few minutes, beside the stored figures
	@$(py) -m tests.servers.install
	@$(py) -m benchmarks --quick $(ARGS)

.PHONY: faults
faults: .venv/.peer ## Break everything on every broker, and write down what became of it (about an hour)
	@$(py) -m tests.servers.install
	@$(py) -m tests.faults --write docs/reliability.md $(ARGS)

.PHONY: soak
soak: venv ## Carry messages for half an hour with a kill every minute (ARGS="--minutes 5 --broker kafka")
	@$(py) -m tests.servers.install
	@$(py) -m tests.faults.soak $(ARGS)

.PHONY: clean
clean: ## Remove .venv, caches and built files
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name .git -prune -o -type d -name __pycache__ -exec rm -rf {} +

# Three marks say what .venv holds: .run the project and what it needs to run, .dev its tools too, .peer also what
# benchmarks compare with. The tools come with the rest, so .dev makes .run too. A changed pyproject.toml makes all stale.

.venv/.run: pyproject.toml | .venv/bin/python
	$(say) 'Installing headrace into .venv'
	@$(pip) install --editable .
	@touch $@

.venv/.dev: pyproject.toml | .venv/bin/python
	$(say) 'Installing headrace with its development tools into .venv (the first time takes a minute)'
	@$(pip) install --editable '.[dev]'
	@touch .venv/.run $@

.venv/.peer: pyproject.toml .venv/.dev
	$(say) 'Installing what benchmarks compare with into .venv'
	@$(pip) install --editable '.[peer]'
	@touch $@

.venv/bin/python:
	@for python in "$(PYTHON)" python3 python3.14 python3.13 python3.12 python3.11 python; do \
		if [ -n "$$python" ] && "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
			2>/dev/null; then \
			printf '==> Making .venv with %s\n' "$$("$$python" -c 'import sys; print(sys.version.split()[0], sys.executable)')"; \
			exec "$$python" -m venv --clear .venv; \
		fi; \
		if [ -n "$(PYTHON)" ]; then \
			echo 'PYTHON=$(PYTHON) is not a Python 3.11 or newer that can make virtual environments.' >&2; \
			exit 1; \
		fi; \
	done; \
	echo 'No Python 3.11 or newer with venv and ensurepip was found. Install one (on Debian: python3-venv too),' >&2; \
	echo 'or say where it is: make venv PYTHON=/path/to/python' >&2; \
	exit 1
