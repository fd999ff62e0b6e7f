# ganeti-gluster: `make help` lists what can be made.

SHELL = /bin/bash
.SHELLFLAGS = -e -o pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.SUFFIXES:

# Ganeti runs on Debian's own Python, and so does everything here.
PYTHON ?= /usr/bin/python3
SUITE ?= trixie
SUITES ?= trixie bookworm trixie+backports
QEMU ?=
DESTDIR ?=
PREFIX ?= /usr

VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' lib/__init__.py)
DEB = build/ganeti-gluster_$(VERSION)_$(ARCHITECTURE).deb
ARCHITECTURE := $(shell dpkg --print-architecture 2>/dev/null || echo unknown)
VENV = build/venv/bin/python
WHEEL = build/cache/gfapi-1.2-py3-none-any.whl

# With QEMU=backports, SUITE=trixie is SUITE=trixie+backports, and check is on that alone.
ifneq ($(QEMU),)
override SUITE := $(patsubst %+$(QEMU),%,$(SUITE))+$(QEMU)
override SUITES := $(SUITE)
endif

export SUITE
unexport QEMU
export PYTHONDONTWRITEBYTECODE = 1

# What the package is made of. The folders are named too, so that a deleted file
# is noticed.
DEB_PARTS := $(wildcard setup.py LICENSE README.rst NEWS pyproject.toml lib constants src \
  debian doc hooks extstorage monitoring)
# `doc` alone would be the target of that name.
DEB_SOURCES := $(patsubst doc,doc/,$(shell find $(DEB_PARTS) -name __pycache__ -prune -o -print))

# Python programs without a suffix, which ruff cannot tell by their names.
SCRIPTS = $(shell grep -lsE '^\#!.*python' lib/* qa/* test/* hooks/*/* extstorage/*/* .ci/* debian/tests/* \
  | grep -v '\.py$$')
SHELL_SCRIPTS = $(shell grep -lsE '^\#!.*/(ba)?sh' debian/* test/* qa/* qa/*/* qa/os/*/* \
  hooks/*/* extstorage/*/* .ci/*)

.PHONY: help
help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) \
	  | awk -F '\t' '{ printf "  make %-17s %s\n", $$1, $$2 }'

.PHONY: build deb
build: deb ## the same as deb
deb: $(DEB) ## build/ganeti-gluster_<version>_<architecture>.deb

$(DEB): Makefile $(DEB_SOURCES) $(WHEEL)
	@debian/build-deb $(WHEEL) $@ $(DEB_PARTS)

.PHONY: reproducible
reproducible: deb ## build the package again, elsewhere and otherwise, and compare it
	@test/reproducible $(WHEEL) $(DEB) $(DEB_PARTS)

# Fetched by name and version, checked by its sum, kept until `make clean`.
$(WHEEL): debian/gfapi.txt
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || \
	  .ci/need /usr/lib/python3/dist-packages/pip=python3-pip
	@mkdir -p $(@D)
	@$(PYTHON) -m pip download --quiet --disable-pip-version-check --no-deps \
	  --only-binary :all: --require-hashes -r debian/gfapi.txt -d $(@D)
	@touch $@

# The tools, as pinned. Two runs of make may want them at once: one builds, the
# other waits.
.PHONY: venv
venv:
	@mkdir -p build
	@flock build/.venv.lock .ci/make-venv $(PYTHON) build/venv requirements-dev.txt

# mypy wants the package under its name.
.PHONY: lint
lint: venv ## ruff, the format, mypy --strict, and shellcheck
	@failed=; \
	$(VENV) -m ruff check . $(SCRIPTS) || failed+=" check"; \
	$(VENV) -m ruff format --check --output-format concise . $(SCRIPTS) || failed+=" format"; \
	.ci/type-check $(VENV) || failed+=" types"; \
	build/venv/bin/shellcheck --severity=warning $(SHELL_SCRIPTS) || failed+=" shell"; \
	[ -z "$$failed" ] || { echo "lint: failed:$$failed" >&2; exit 1; }

.PHONY: fmt
fmt: venv ## put the sources into the house format
	$(VENV) -m ruff check --fix-only --quiet . $(SCRIPTS)
	$(VENV) -m ruff format . $(SCRIPTS)

.PHONY: findings-doc
findings-doc: ## doc/verify.rst from the table of what verification finds
	@$(PYTHON) .ci/findings-doc

.PHONY: doc
doc: ## the manual in build/doc, from doc/, without a warning
	@mkdir -p build
	@flock build/.doc-venv.lock .ci/make-venv $(PYTHON) build/doc-venv requirements-doc.txt
	build/doc-venv/bin/python -m sphinx -q -E -n -W --keep-going -d build/doc-cache doc build/doc
	@echo "build/doc/index.html"

.PHONY: completion
completion: venv ## debian/ganeti-gluster.bash-completion from the tables of commands
	@$(VENV) .ci/completion

.PHONY: test
test: venv ## the unit tests, anywhere by anyone; ARGS="-k name" for pytest
	$(VENV) -m pytest test --ignore=test/integration --ignore=test/cluster $(ARGS)

# What has changed since SINCE needs these; NODES=yes has those on nodes run too.
SINCE ?= HEAD
.PHONY: test-changed
test-changed: venv ## lint, and the tests that your changes need; SINCE=main NODES=yes
	@$(MAKE) --no-print-directory lint
	@tests=$$(test/changed --since $(SINCE) unit); \
	[ -z "$$tests" ] || $(VENV) -m pytest -q $$tests
	@tests=$$(test/changed --since $(SINCE) nodes | sed 's/^/--test /'); \
	if [ -z "$$tests" ]; then :; \
	elif [ -z "$(NODES)" ]; then echo "on nodes, with NODES=yes:" $$tests; \
	else $(MAKE) --no-print-directory deb && \
	  $(ON_TESTBED) --suite $(SUITE) --deb $(DEB) $$tests integration cluster; fi

.PHONY: test-integration test-cluster
test-integration: requirements venv deb ## tests on a real glusterd, within a node; SUITE=… QEMU=…
	@$(ON_TESTBED) --suite $(SUITE) --deb $(DEB) integration
test-cluster: requirements venv deb ## tests on a real cluster; SUITE=… QEMU=…
	@$(ON_TESTBED) --suite $(SUITE) --deb $(DEB) cluster

# Two runs of one checkout take turns at its testbeds; -o: the nodes do not keep the lock.
ON_TESTBED = flock -o build/.testbed.lock test/on-testbed

# Said in one line before anything starts.
.PHONY: requirements
requirements:
	@test/on-testbed --requirements

.PHONY: check
check: requirements ## lint, test, and the tests on real nodes; SUITES="…"
	@rm -f build/check-times
	@test/timed lint $(MAKE) --no-print-directory lint
	@test/timed "unit tests" $(MAKE) --no-print-directory test
	@test/timed package $(MAKE) --no-print-directory deb
	@flock -o build/.testbed.lock test/in-parallel $(DEB) fast $(SUITES)
	@echo "check: ok"

.PHONY: check-slow
check-slow: requirements venv deb ## the tests that take long, on one suite; SUITE=… QEMU=…
	@rm -f build/check-times
	@test/timed reproducible $(MAKE) --no-print-directory reproducible
	@flock -o build/.testbed.lock test/in-parallel $(DEB) slow $(SUITE)
	@echo "check-slow: ok"

.PHONY: faults
faults: requirements venv deb ## each fault in each operation, into doc/faults.rst; hours; ARGS="-k name"
	@FAULT_TABLE=doc/faults.rst $(ON_TESTBED) --suite $(SUITE) --deb $(DEB) --nodes 4 --mark '' \
	  --test test/cluster/test_fault_matrix.py $(if $(ARGS),--only '$(ARGS)') cluster

.PHONY: demo
demo: requirements deb ## the whole way on a real cluster; SUITE=bookworm or sid, QEMU=backports
	@qa/demo

.PHONY: bench
bench: requirements deb ## ours against stock Ganeti's, into build/bench.json; SUITE=… QEMU=…
	@qa/bench

.PHONY: install
install: ## into DESTDIR and PREFIX, for systems without .deb packages
	$(PYTHON) -m pip install --root $(or $(DESTDIR),/) --prefix $(PREFIX) .
	install -D -m 644 -t '$(DESTDIR)/usr/share/ganeti-gluster/monitoring' monitoring/*
	debian/install-hooks '$(DESTDIR)'
	debian/install-extstorage '$(DESTDIR)'
	install -D -m 755 lib/services-sync '$(DESTDIR)/usr/lib/ganeti-gluster/services-sync'
	$(MAKE) -C src VERSION=$(VERSION)
	install -D -m 755 src/image-server '$(DESTDIR)/usr/lib/ganeti-gluster/image-server'
	install -D -m 644 debian/ganeti-gluster.ganeti-gluster-image@.service \
	  '$(DESTDIR)/usr/lib/systemd/system/ganeti-gluster-image@.service'
	install -D -m 755 lib/agent '$(DESTDIR)/usr/lib/ganeti-gluster/agent'
	install -D -m 644 -t '$(DESTDIR)$(PREFIX)/share/man/man8' doc/man8/*.8
	for unit in gluster-services-sync.service ganeti-gluster-monitor.service \
	  ganeti-gluster-agent.service ganeti-gluster-agent.path; do \
	  install -D -m 644 debian/ganeti-gluster.$$unit '$(DESTDIR)/usr/lib/systemd/system/'$$unit; done

.PHONY: clean
clean: ## remove build/, caches, our testbed, and root trees nobody uses
	@test/on-testbed --clean
	@if grep -q " $(CURDIR)/build/" /proc/self/mountinfo; then \
	  echo "make clean: something is still mounted under build/" >&2; exit 1; fi
	rm -rf --one-file-system build .mypy_cache .ruff_cache .pytest_cache *.egg-info
	@find . -name .git -prune -o -name __pycache__ -prune -exec rm -rf {} +
