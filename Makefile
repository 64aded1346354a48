# Everything sets itself up in .venv; only Python 3.11+, make and git are needed.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# More than the cores of a small machine: end-to-end tests wait for processes much of their time.
WORKERS ?= 5
CHAOS_SECONDS ?= 240
# Names of benchmarks, such as `make bench BENCH="store state"`; all when empty. BENCH_SCALE=10 makes `server` ten times as large.
BENCH ?=

# What is done of the matrix is kept here, so that a second `make matrix` goes on where the first ended.
MATRIX_WORK ?= $(VENV)/matrix


# Terraforms (and OpenTofus) that are asked which states they can read.
TERRAFORMS ?= terraform

# Slow proofs: begin no further one after so many seconds (all when empty), and with which one to begin.
PROOFS_SECONDS ?=
PROOFS_TURN ?= 0

.PHONY: demo test proofs check bench chaos matrix real-provider snapshots state-mutants search lock clean

demo: $(READY)
	$(BIN)/interlock demo

# Compiled once, and not by each of the workers at the same time. A file is one worker's, which starts once what its tests
# share; the files in their order, because those that take long come first and many short ones last.
test: $(READY)
	@$(BIN)/python -m compileall -q -j 2 src
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not slow"

# What `make test` leaves out: the proofs marked slow, and most examples of property tests. PROOFS_SECONDS=60 PROOFS_TURN=7 begins with the seventh and ends early.
proofs: $(READY)
	HYPOTHESIS_PROFILE=deep $(BIN)/python -m pytest -n $(WORKERS) --dist load -m "slow or hypothesis" --turn $(PROOFS_TURN) \
	  $(if $(PROOFS_SECONDS),--begin-within $(PROOFS_SECONDS))

check: $(READY)
	scripts/check

bench: $(READY)
	$(BIN)/python -m benchmarks $(BENCH)

chaos: $(READY)
	$(BIN)/python -m tests.chaos --seconds $(CHAOS_SECONDS)

# Whole lives of the unmodified provider's types, limits, storms, kills (tests/real_provider): half an hour. It is found on
# PATH or through INTERLOCK_TEST_PROVIDER; where it is absent, everything is skipped.
real-provider: $(READY)
	$(BIN)/python -m pytest -m real_provider tests/real_provider

# Every operation under every fault on every Terraform that is there (tests/matrix); an hour or more.
matrix: $(READY)
	$(BIN)/python -m tests.matrix --work $(MATRIX_WORK)

# Renews tests/snapshots/kept, what commands print at 80 columns; review the difference.
snapshots: $(READY)
	INTERLOCK_RENEW_SNAPSHOTS=1 $(BIN)/python -m pytest -q tests/snapshots -k reviewed

# Renews tests/corpus/state_mutants.json: 1,400 states, a start of each Terraform for each.
state-mutants: $(READY)
	$(BIN)/python -m tests.state_mutants $(TERRAFORMS)

# Every order of events around the lock at larger scopes than the tests search, smallest first, for at most so long.
SEARCH_MINUTES ?= 60
search: $(READY)
	$(BIN)/python -m tests.simulation.lock_search $(SEARCH_MINUTES)

$(READY): requirements/dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: none of python3.13, python3.12, python3.11, python3 is"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

# Renews the pinned versions and hashes (needs uv). What deploy/Dockerfile installs has the versions that are tested.
LOCKING := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet
lock:
	$(LOCKING) pyproject.toml --all-extras --group dev --output-file requirements/dev.txt
	$(LOCKING) pyproject.toml --extra server --constraints requirements/dev.txt --output-file requirements/server.txt
	$(LOCKING) --group build --constraints requirements/dev.txt --output-file requirements/build.txt

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
