# Everything a newcomer needs: `make demo` and `make test` do all the set-up on a machine with Python 3.11 or newer,
# a C++17 compiler and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NATIVE := CMakeLists.txt setup.py pyproject.toml $(wildcard csrc/*/*.cpp csrc/*/*.cu csrc/*/*.h csrc/*/*.inc csrc/include/saccade/*)
CXX_FILES := $(wildcard csrc/*/*.cpp csrc/*/*/*.cpp csrc/*/*.cu csrc/*/*.h csrc/*/*/*.h csrc/include/saccade/* tests/cpp/*.cpp \
	tests/cpp/*.h tests/fuzz/*.cpp tests/fuzz/*.h tests/embedding/consumer/*.c* benchmarks/cpp/*.cpp \
	examples/*/*.cpp examples/*/*.h examples/*/*.c)

.PHONY: help demo test test-python test-cpp test-slow soak fuzz lint format bench clean

help:
	@echo "make demo      set up, then tanks in the woods: the whole job on drawn scenes, offline"
	@echo "make test      set up, then the tests: Python, and C++ under AddressSanitizer, UBSan and ThreadSanitizer"
	@echo "make test-slow the full parity matrix: every network, 64 photos, every runtime"
	@echo "make soak      long runs that are killed, starved and repeated; half an hour of fuzzing: over an hour"
	@echo "make fuzz      a minute of fuzzing the readers of program files (FUZZ_SECONDS=60; needs clang)"
	@echo "make lint      ruff, pyright, clang-format"
	@echo "make bench     the benchmarks (see benchmarks/README.md)"

# The build tools are pinned as well, so the extension is built without pip's isolated environment.
$(VENV)/.made: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: $(PYTHON) is older than Python 3.11; try: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install -q -c constraints.txt cmake ninja pybind11 scikit-build-core setuptools
	@touch $@

$(VENV)/.installed: $(VENV)/.made $(NATIVE)
	$(BIN)/python -m pip install -q -c constraints.txt --no-build-isolation -e .
	@touch $@

$(VENV)/.developing: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt --no-build-isolation -e ".[dev]"
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/saccade demo

test: test-cpp test-python

test-python: $(VENV)/.developing
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: $(VENV)/.developing
	$(BIN)/python -m pytest tests/compiler/test_parity_*.py tests/compiler/test_imports.py -m "slow or data"

soak: $(VENV)/.developing
	$(BIN)/python benchmarks/soak.py kills memory growth resume
	$(BIN)/python benchmarks/steady.py
	$(BIN)/python tests/fuzz/run.py --seconds 1800 --results benchmarks/results

FUZZ_SECONDS ?= 60
fuzz: $(VENV)/.made
	$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS)

# $(call sanitized,FOLDER,SANITIZERS): the C++ tests, built and run in build/FOLDER.
COMMA := ,
define sanitized
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/cmake -S . -B build/$(1) -G Ninja -DCMAKE_BUILD_TYPE=Debug \
		-DSACCADE_PYTHON=OFF -DSACCADE_TESTS=ON -DSACCADE_CUDA=OFF -DSACCADE_SANITIZE=$(2)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/cmake --build build/$(1)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ctest --test-dir build/$(1) --output-on-failure
endef

test-cpp: $(VENV)/.made
	$(call sanitized,asan,address$(COMMA)undefined)
	$(call sanitized,tsan,thread)

lint: $(VENV)/.developing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(CXX_FILES)
	$(BIN)/pyright

format: $(VENV)/.developing
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_FILES)

bench: $(VENV)/.developing
	$(BIN)/saccade bench $(addprefix torchvision/,resnet18 resnet50 mobilenet_v2 vgg16 alexnet) --batch 1 --batch 8 \
		--runtime onnxruntime --runtime openvino -o benchmarks/results/bench-cpu-grad-cam.json
	$(BIN)/saccade bench torchvision/resnet18 torchvision/resnet50 --batch 8 --method saliency \
		--runtime onnxruntime --runtime openvino -o benchmarks/results/bench-cpu-saliency.json
	$(BIN)/saccade bench torchvision/resnet18 --batch 8 --runtime torchscript --runtime aotinductor --no-peers \
		-o benchmarks/results/bench-cpu-torch.json
	for name in render top_k startup pipeline folder embedding; do $(BIN)/python benchmarks/$$name.py || exit 1; done
	$(BIN)/python benchmarks/document.py

clean:
	rm -rf build dist demo-out $(VENV) python/*.egg-info python/saccade/_native*.so
