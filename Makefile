# `make demo` and `make test` set up what they need in .venv; PYTHON chooses the interpreter for it.
PYTHON ?= python3
WORKDIR ?= runs/digits_gap
BIN = .venv/bin
READY = .venv/.ready

.PHONY: demo test test-quick test-slow test-pythons faults bench docs studies studies-smoke lint format requirements

demo: $(READY)
	$(BIN)/python launch.py --config=experiments/digits_gap.py --workdir=$(WORKDIR)

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist=loadfile

# The mathematics alone.
test-quick: $(READY)
	$(BIN)/python -m pytest -n 2 -m 'not slow and not faults and not long' tests/test_linalg.py \
		$(addprefix tests/,model posterior objective inference evidence)

test-slow: $(READY)
	$(BIN)/python -m pytest -n 2 --dist=loadfile -m slow

# `make demo`, `pip install .` and `make test` on Python 3.13 and 3.14, in trees of Debian that it makes in TREES: as root.
TREES ?= /var/tmp/vaelab-trees
test-pythons:
	tests/pythons.sh $(TREES)

# 30 kills, 10 runs stopped twice each.
faults: $(READY)
	$(BIN)/python -m pytest -m faults

# The short set, on the run in WORKDIR; benchmarks/README.md lists the others.
bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	test -f $(WORKDIR)/gap.json || $(MAKE) demo
	$(BIN)/python benchmarks/run.py --run=$(WORKDIR)

# The documentation as pages in site/. Their search needs a server, `python -m http.server -d site`.
docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r docs/requirements.txt
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

# Every run that README and docs report; MNIST and Fashion-MNIST must have been prepared. What is done is not done again.
# JOBS at a time, one thread each, but for those that take times.
# NAME@VARIANT goes to runs/NAME_VARIANT; the longest are first, so that the end is even.
JOBS ?= 2
SWEEPS = encoder_capacity decoder_capacity training_set_size posterior_family kl_warmup latent_dim priors hierarchy counts \
	rate_distortion mean_field_vs_encoder
TIMING = mean_field_vs_encoder@timing
STUDIES = inference_suboptimality \
	$(addprefix mean_field_vs_encoder@,mnist mnist$(comma)equal_time equal_time stopped long full) $(SWEEPS) \
	mnist_convolutional $(addprefix mnist_families@,iaf real_nvp full cholesky low_rank diagonal) mnist_gap fashion_gap \
	photo_patches reparameterization gradient_variance linear_gaussian
SMOKES = $(addsuffix @smoke,inference_suboptimality $(SWEEPS))

studies: $(READY)
	$(call launch,$(TIMING))
	$(call launch,full_covariance_kl)
	$(call launch,family_cost)
	$(MAKE) --jobs=$(JOBS) --no-print-directory --output-sync=target $(addprefix launch@,$(STUDIES))

studies-smoke: $(READY)
	$(MAKE) --jobs=$(JOBS) --no-print-directory --output-sync=target $(addprefix launch@,$(SMOKES) $(TIMING)$(comma)smoke)

launch@%: export XLA_FLAGS := $(XLA_FLAGS) --xla_cpu_multi_thread_eigen=false
launch@%: $(READY)
	$(call launch,$*)

launch = $(BIN)/python launch.py --config=experiments/$(firstword $(subst @, ,$(1))).py$(addprefix :,$(word 2,$(subst @, ,$(1)))) \
	--workdir=runs/$(subst $(comma),_,$(subst @,_,$(1)))
comma = ,

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

requirements:
	uv pip compile --quiet --universal --python-version 3.11 requirements.in -o requirements.txt \
		--custom-compile-command "make requirements"

$(READY): requirements.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v[:2] in [(3, 11), (3, 12), (3, 13), (3, 14)] else \
		f"vaelab needs Python 3.11 to 3.14 and this is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $(READY)
