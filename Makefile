# Only Python 3.11+ and make are needed; everything else comes from a package index into .venv.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
UV := $(VENV)/bin/uv
DVC := PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/dvc
export UV_CACHE_DIR ?= $(CURDIR)/.cache/uv
export PIP_NO_CACHE_DIR ?= 1
# As pip does, trust the certificates of this machine: some networks have their own.
export UV_SYSTEM_CERTS ?= true
COMPONENTS := gateway torchserve training ui demo dev
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header
NEED_GB := 12
URL ?= http://127.0.0.1:8080
LOCUST := locust==2.47.0
SENT = $(or $(PHOTO),$(shell $(RUN) -c 'from stack.demo import sample_photo; print(sample_photo())'))

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: install ## Start everything, judge a photo, serve until Ctrl-C (PHOTO=path, ARGS="--free-ports")
	@$(RUN) -m stack.demo $(if $(PHOTO),--photo '$(PHOTO)') $(ARGS)

models: install ## List the model's versions: live, before, loaded, not loaded
	@$(RUN) -m stack.versions list $(ARGS)

promote: install ## Make a version live while requests go on (VERSION=1.1.1)
	@$(RUN) -m stack.versions promote $(if $(VERSION),'$(VERSION)') $(ARGS)

rollback: install ## Make the version live again that was so before
	@$(RUN) -m stack.versions rollback $(ARGS)

install: $(VENV)/installed ## Create .venv from the hashed locks (TORCH_BACKEND=cpu: the small CPU build of torch)

$(VENV)/installed: requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name one with PYTHON=python3.11")'
	@$(PYTHON) -c 'import shutil, sys; free = shutil.disk_usage(".").free / 1e9; sys.exit(None if free > $(NEED_GB) else f"{free:.0f} GB are free here, $(NEED_GB) GB are needed (most of it torch): make room and try again")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
ifdef TORCH_BACKEND
	@# The lock holds the hashes of PyPI's builds, so torch alone is taken by version from the backend's own index.
	awk '/^[a-z]/ {keep = !/^(torch|torchvision|triton|nvidia-|cuda-)/ || /^torch(-model-archiver|metrics|serve)/} keep' requirements/dev.txt > $(VENV)/without-torch.txt
	$(UV) pip install --python $(RUN) --no-deps --require-hashes -r $(VENV)/without-torch.txt
	$(UV) pip install --python $(RUN) --torch-backend $(TORCH_BACKEND) $$(grep -oE '^torch(vision)?==[0-9.]+' requirements/dev.txt)
else
	$(UV) pip install --python $(RUN) --require-hashes -r requirements/dev.txt
endif
	@touch $@

test: install ## Run every test, real TorchServe and archive included
	$(RUN) -m pytest

fuzz: install ## Send 10,000 hostile uploads and say what came of them (UPLOADS=400, SEED=1)
	FUZZ_UPLOADS=$(or $(UPLOADS),10000) FUZZ_SEED=$(or $(SEED),1) $(RUN) -m pytest --quiet tests/gateway/test_upload_fuzz.py

bench-gateway: install ## Measure what the gateway costs beside a bare echo (ARGS="--photo 1MB --json")
	$(RUN) -m benchmarks.gateway $(ARGS)

bench: install ## Measure the whole stack beside the machine's ceiling and a plain service (ARGS="--quick")
	$(RUN) -m benchmarks.serving --json var/bench.json --plot var/bench.png $(ARGS)

load-test: install ## Let Locust's clients use a running gateway (URL=, LOAD_API_KEY=, PHOTO=, USERS=10, TIME=60s)
	@# In an environment of its own: nothing of the product needs Locust.
	$(UV) tool run --python $(RUN) --from $(LOCUST) locust --locustfile tests/load/locustfile.py --headless --only-summary \
	  --host $(URL) --photo "$(SENT)" --users $(or $(USERS),10) --spawn-rate 5 --run-time $(or $(TIME),60s) $(ARGS)

load-test-k6: install ## The same with k6, which must be installed
	k6 run --env HOST=$(URL) --env PHOTO="$$(realpath "$(SENT)")" tests/load/predict.js

lint: install ## Check style, format, types and the import rule
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: install ## Format the code
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

data: install ## Fetch or generate the pictures of data.source (SET="data.source=FOLDER")
	$(RUN) -m training.download $(if $(SET),--set $(SET))

validate: install ## Check the pictures: duplicates, splits, leaks (STRICT=1 fails on findings)
	$(RUN) -m training.validate $(if $(SET),--set $(SET)) $(if $(STRICT),--strict)

train: install ## Train a detector (SET="train.epochs=3", RESUME=1 goes on)
	$(RUN) -m training.train $(if $(SET),--set $(SET)) $(if $(RESUME),--resume)

score: install ## Score a catalogue into Parquet (SOURCE=folder, .csv or .parquet, OUT=folder, ARGS="--devices 2")
	$(RUN) -m training.score '$(SOURCE)' --out '$(OUT)' $(ARGS)

package: install ## Calibrate, evaluate and pack the trained detector into model_store
	for stage in calibrate evaluate reference package; do \
	  $(RUN) -m training.$$stage $(if $(SET),--set $(SET)) || exit 1; done

repro: install ## Run what has changed of the whole pipeline (SET="train.epochs=3" edits params.yaml, TINY=1: a small one)
	$(if $(SET)$(TINY),$(RUN) -m training.set_params $(if $(TINY),--preset tiny) $(SET))
	$(DVC) repro

plots: install ## Draw the curves and plots of the last evaluation as a page
	$(DVC) plots show

mlflow: install ## Show the logged runs on http://127.0.0.1:5000
	MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
	  $(VENV)/bin/mlflow server --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port 5000 --workers 1

lock: install ## Write the hashed locks anew from pyproject.toml
	for extras in gateway,tracing $(filter-out gateway,$(COMPONENTS)); do \
	  $(LOCK) pyproject.toml --extra $${extras/,/ --extra } -o requirements/$${extras%,*}.txt || exit 1; done
	echo uv | $(LOCK) - -o requirements/uv.txt

clean: ## Remove what runs and installs left, not the model
	rm -rf $(VENV) .cache var

.PHONY: help demo models promote rollback install test fuzz bench-gateway bench load-test load-test-k6 lint format data validate train score package repro plots mlflow lock clean
