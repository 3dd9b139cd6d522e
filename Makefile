# Everything runs in environments made here; PYTHON is only used to make them.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH ?= torch==2.13.0
VENV := .venv
TEST := .venv-test
HEAR := .venv-hear
OUT := demo-output

.PHONY: demo test hear-env lint bench clean

# $(call venv,FOLDER): a virtual environment with torch in it
define venv
test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
$(1)/bin/python -m pip install -q --disable-pip-version-check $(TORCH)
endef

$(VENV)/.done: pyproject.toml
	$(call venv,$(VENV))
	$(VENV)/bin/python -m pip install -q --disable-pip-version-check -e '.[plot]'
	touch $@

$(TEST)/.done: pyproject.toml
	$(call venv,$(TEST))
	$(TEST)/bin/python -m pip install -q --disable-pip-version-check -e '.[test,mteb]' loguru
	$(TEST)/bin/python -m pip install -q --disable-pip-version-check --no-deps xares==0.1.3 # torchaudio need not load
	touch $@

# heareval and hearvalidator as published, beside the versions they run with; see docs/hear.md.
hear-env:
	PYTHON=$(PYTHON) TORCH=$(TORCH) bash configs/hear_env/make.sh $(HEAR) hear_diffres

demo: $(VENV)/.done
	mkdir -p $(OUT)
	$(VENV)/bin/hear-diffres embed examples/clips -o $(OUT)/clips.parquet --model mn04 --reduction 0.5 --overwrite
	$(VENV)/bin/hear-diffres nearest $(OUT)/clips.parquet -k 2
	$(VENV)/bin/hear-diffres plot examples/clips/door_1.ogg -o $(OUT)/diffres.png --model mn04 --reduction 0.75

lint: $(TEST)/.done
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .
	$(TEST)/bin/mypy

test: lint hear-env
	$(TEST)/bin/python -m pytest -n 2 --dist loadfile

bench: $(TEST)/.done
	$(TEST)/bin/python -m benchmarks.run

clean:
	rm -rf $(VENV) $(TEST) $(HEAR) $(OUT) build dist *.egg-info
