# The two commands of a fresh clone: `make demo` and `make test`. Both make .venv on first use.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

# An environment of the oldest TensorFlow and Keras that setup.py allows: "keras>=3.10" becomes keras==3.10.*
FLOOR := .venv-floor
OLDEST := $(shell grep -oE '"(tensorflow|keras)>=[0-9.]+"' setup.py | sed -E 's/>=([0-9.]+)"/==\1.*"/')

# Tests of float32 numbers, which depend on the kernels that TensorFlow takes.
NUMBERS := tests/networks/test_processors.py tests/export/test_explicit.py tests/twins/test_pooling.py \
	tests/golden/test_golden_innvestigate.py

.PHONY: demo test test-onednn test-floor lint studio studio-check clean

demo: $(VENV)/.installed
	$(BIN)/tf-lrp demo --out out/demo.png

# What is left to `test-floor` is tested more closely by the others.
test: $(VENV)/.tested
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m pytest -n 2 --dist worksteal --durations=10 --ignore=tests/test_floor.py

# TensorFlow leaves oneDNN off on processors without AVX-512.
test-onednn: $(VENV)/.tested
	for on in 0 1; do \
		TF_ENABLE_ONEDNN_OPTS=$$on TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m pytest -n 2 -k "not float64" $(NUMBERS) || exit 1; \
	done

test-floor: $(FLOOR)/.installed
	TF_CPP_MIN_LOG_LEVEL=3 $(FLOOR)/bin/python -m pytest tests/test_floor.py

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python

# The page of the studio (needs Node 20). Its types come from the server's schema, studio/openapi.json.
studio: studio/node_modules/.package-lock.json
	cd studio && npm run --silent types && npm run --silent check && npm run --silent build

# Fails where the committed page is not the one that its source builds.
studio-check: studio
	@git diff --exit-code --stat -- tf_lrp/studio/page studio/src/api/schema.ts || \
		{ echo "The committed page is not what its source builds: run make studio and commit the result."; exit 1; }
	@test -z "$$(git ls-files --others --exclude-standard -- tf_lrp/studio/page)" || \
		{ echo "The build has files that are not committed: run make studio and commit the result."; exit 1; }

# The versions are those of the lock file. (`npm ci` also asks for packages of other systems, which not every registry has.)
studio/node_modules/.package-lock.json: studio/package-lock.json
	cd studio && npm install --silent --no-save --no-audit --no-fund
	touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.py | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.tested: setup.py | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[test]"
	touch $@ $(VENV)/.installed

$(FLOOR)/.installed: setup.py
	$(PYTHON) -m venv $(FLOOR)
	$(FLOOR)/bin/pip install --quiet --disable-pip-version-check -e . pytest $(OLDEST)
	touch $@

clean:
	rm -rf $(VENV) $(FLOOR) out
