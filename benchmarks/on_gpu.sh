#!/usr/bin/env bash
# Builds, tests and measures on a bare machine with an NVIDIA GPU that reaches no network, in less than nine minutes.
#
#     OUT=results-folder benchmarks/on_gpu.sh
#
# The machine has Python, torch with CUDA, torchvision, cmake, ninja, nvcc, pybind11 and scikit-build-core. Everything
# else travels as wheels in the folder wheels/ (kept out of the repository), made where there is a network by
#
#     pip download --python-version 3.12 --only-binary=:all: --no-deps -d wheels click rich … (see WANTED below)
#
# onnxruntime-gpu's wheel is larger than what travels at once: split -b 60M it into wheels/NAME.whl.part-aa, -ab, …; each
# call of this script keeps the parts that it finds in $WHEELS; the one that finds wheels/NAME.whl.sha256 too joins them.
#
# Where there is no GPU everything runs on the CPU, to rehearse; such results are not to be committed.
set -euo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-$PWD/on-gpu}
WHEELS=${WHEELS:-$HOME/saccade-wheels}
PYTHON=${PYTHON:-python3}
DEVICE=cpu
nvidia-smi -L 2>/dev/null && DEVICE=cuda
NETWORKS=${NETWORKS:-"torchvision/resnet18 torchvision/resnet50"}
ROUNDS=${ROUNDS:-15}
WANTED="click rich markdown_it_py mdurl pygments pyarrow duckdb safetensors timm huggingface_hub onnx onnxscript onnx_ir \
ml_dtypes psutil pytest hypothesis sortedcontainers iniconfig pluggy"

say() { printf '\n== %s (%s s)\n' "$*" "$SECONDS"; }
# One step's failure is told and written down, and the next is tried: device time is dear.
failed=()
step() {
    say "$1"
    local name=$1; shift
    if ! timeout "${LIMIT:-200}" "$@" 2>&1 | tail -n 40; then
        failed+=("$name")
        echo "FAILED: $name"
    fi
    cp -r benchmarks/results/. "$OUT"/  # what there is, should the time run out
}

mkdir -p "$OUT" "$WHEELS"
if [ -d wheels ]; then
    cp -n wheels/* "$WHEELS"/
    for sum in "$WHEELS"/*.sha256; do
        [ -e "$sum" ] || continue
        whole=${sum%.sha256}
        cat "$whole".part-* > "$whole"
        (cd "$WHEELS" && sha256sum -c "$sum") || rm -f "$whole"
    done
    # The two ship the same module and break each other.
    ls "$WHEELS"/onnxruntime_gpu*.whl 2>/dev/null && "$PYTHON" -m pip uninstall -q -y onnxruntime
fi
say "what is here"
"$PYTHON" -c 'import sys, torch; print(sys.version.split()[0], "torch", torch.__version__, "CUDA", torch.cuda.is_available())'
for wheel in "$WHEELS"/*.whl; do
    [ -e "$wheel" ] && { "$PYTHON" -m pip install -q --no-index --no-deps "$wheel" || echo "not installed: $wheel"; }
done
for package in $WANTED; do
    "$PYTHON" -c "import importlib.metadata as m; m.version('$package')" 2>/dev/null || echo "absent: $package"
done

cuda=OFF; [ "$DEVICE" = cuda ] && cuda=ON
step build "$PYTHON" -m pip install -q --no-build-isolation --no-deps --no-index \
    --config-settings=cmake.define.SACCADE_CUDA=$cuda -e .
step "C++ tests, CUDA's arithmetic among them" bash -c "cmake -S . -B build/gpu -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DSACCADE_PYTHON=OFF -DSACCADE_TESTS=ON -DSACCADE_CUDA=$cuda > /dev/null && cmake --build build/gpu && \
    ctest --test-dir build/gpu --output-on-failure"
step "pictures and programs, beside their references" "$PYTHON" -m pytest -q -x tests/render tests/execute/test_runner.py
if [ "$DEVICE" = cuda ]; then
    step "compute-sanitizer" compute-sanitizer --error-exitcode 1 "$PYTHON" -m pytest -q tests/render/test_cuda.py -m gpu
    step "pictures on the GPU" "$PYTHON" benchmarks/render_gpu.py
fi
# One call for each, the dearest last: saccade bench writes what it has after each combination.
for runtime in torchscript onnxruntime aotinductor; do
    for network in $NETWORKS; do
        for precision in float32 float16; do
            step "$network, $runtime, $precision" "$PYTHON" -c "from saccade.cli import main; main()" bench \
                "$network" --device "$DEVICE" --batch 1 --batch 128 --runtime "$runtime" --precision "$precision" \
                --rounds "$ROUNDS" --patience 0 \
                -o "benchmarks/results/bench-$DEVICE-${network##*/}-$runtime-$precision.json"
        done
    done
done
say "done; ${#failed[@]} steps failed ${failed[*]:-}"
exit $(( ${#failed[@]} > 0 ))
