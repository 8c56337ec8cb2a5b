# The two commands that a newcomer needs: make demo, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-torch test-busy soak check bench docs format clean

demo: $(VENV)/.installed
	@$(BIN)/textkin demo

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/system_programs.py
	$(BIN)/python tools/fetch_test_models.py
	$(BIN)/python tools/make_server_env.py
	$(BIN)/pytest -n 2 -m "not soak"

# The engine that runs on torch (about a gigabyte more), beside the local one.
test-torch: .venv-bench/.installed
	.venv-bench/bin/python tools/fetch_test_models.py
	.venv-bench/bin/pytest tests/golden/test_golden_torch.py tests/unit/test_models_torch.py

# The tests three times in a random order beside four busy loops: none may depend on how fast the machine is.
test-busy: $(VENV)/.dev
	$(BIN)/python tools/fetch_test_models.py
	$(BIN)/python tools/make_server_env.py
	$(BIN)/python tools/busy.py

# What is slow and seldom fails; attacks in small. The scripts say in their --help how to do more.
soak: $(VENV)/.dev
	$(BIN)/pytest -q -m soak
	$(BIN)/python benchmarks/sweep.py --runs 600
	$(BIN)/python benchmarks/power_cuts.py --cuts 200
	$(BIN)/python benchmarks/kill.py --kills 30 --model hashing
	$(BIN)/python benchmarks/bulk_kill.py --kills 20 --model hashing
	$(BIN)/python benchmarks/faults.py --texts 2000

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -n 2 -m "not slow and not soak"

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv-bench/.installed
	.venv-bench/bin/python benchmarks/run_all.py

docs: $(VENV)/.dev
	$(BIN)/python tools/make_docs.py

clean:
	rm -rf $(VENV) .venv-bench .venv-servers .venv-servers.lock dist build

$(VENV)/bin/python:
	@$(PYTHON) tools/make_venv.py $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@ $(VENV)/.installed

.venv-bench/.installed: pyproject.toml
	@$(PYTHON) tools/make_venv.py .venv-bench
	.venv-bench/bin/python -m pip install --quiet torch==2.13.0
	.venv-bench/bin/python -m pip install --quiet --editable ".[dev,torch]" torch==2.13.0 scipy datasets
	@touch $@
