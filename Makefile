# make env | demo | test | test-gpu | check | bench | bench-quality | chaos | fuzz | evidence. Needs Python 3.11 alone; everything else goes into .venv.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
TEST_PROCESSES ?= 2
WANTED := $(shell cat pyproject.toml infra/constraints.txt | cksum | tr ' ' '-')
STAMP := $(VENV)/.installed-$(WANTED)

export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1

.PHONY: env demo test test-gpu check bench bench-quality chaos fuzz evidence clean

env: $(STAMP)

$(STAMP):
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c infra/constraints.txt -e '.[dev]'
	rm -f $(VENV)/.installed-*
	touch $(STAMP)

demo: env
	$(BIN)/triptych demo triptych-demo

test: env
	$(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist loadgroup --no-loadscope-reorder

test-gpu: env
	$(BIN)/python -m pytest -q -m gpu tests/gpu

check: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: env
	$(BIN)/python -m tests.benchmarks.ingest
	$(BIN)/python -m tests.benchmarks.decode
	$(BIN)/python -m tests.benchmarks.scale
	$(BIN)/python -m tests.benchmarks.reading
	$(BIN)/python -m tests.benchmarks.codecs
	$(BIN)/python -m tests.benchmarks.mfcc
	$(BIN)/python -m tests.benchmarks.efficientnet
	$(BIN)/python -m tests.benchmarks.extract
	$(BIN)/python -m tests.benchmarks.export
	$(BIN)/python -m tests.benchmarks.training
	$(BIN)/python -m tests.benchmarks.objects

bench-quality: env
	$(BIN)/python -m tests.benchmarks.quality_ravdess
	$(BIN)/python -m tests.benchmarks.quality_meld
	$(BIN)/python -m tests.benchmarks.quality_asr
	$(BIN)/python -m tests.benchmarks.quality_fusion
	$(BIN)/python -m tests.benchmarks.quality_digits
	$(BIN)/python -m tests.benchmarks.quality_mosi
	$(BIN)/python -m tests.benchmarks.quality_cnn_lstm

chaos: env
	$(BIN)/python -m tests.whole.chaos

fuzz: env
	$(BIN)/python -m tests.whole.fuzz

evidence: env
	$(BIN)/python -m tests.benchmarks.evidence

clean:
	rm -rf $(VENV) triptych-demo
