#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What there is to do when a GPU is at hand, in one command:
#   bash tools/gpu-check.sh OUTDIR [quick|full] [STAGE...]
# Stages, cheapest first: device build conformance tests sanitizer bench rivals train profile. `quick` leaves out
# sanitizer, rivals and profile. A stage that has passed is not run again until a source changes (OUTDIR/STAGE.passed
# holds their hash); stages that are named run alone. What takes far longer than it should is stopped, and has failed. Needs no network. Without a GPU every stage that wants one is skipped, and says so.
#   METVOX_BUILD   build folder (build-gpu)      METVOX_JOBS   compilers at once (all cores)
#   METVOX_PYTHON  a Python with torch, for rivals (python3)
# The last line is "N passed, N failed"; the exit code is 6 where a stage failed. OUTDIR gets a log a stage, bench.json,
# rivals.jsonl and summary.txt.
set -uo pipefail
# shellcheck source=tools/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

if (($# < 1)) || [[ $1 == -* ]]; then
  sed -n '3,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
out=$1
shift
size=full
if [[ ${1:-} == quick || ${1:-} == full ]]; then size=$1 && shift; fi
stages=("$@")
if ((${#stages[@]} == 0)); then
  stages=(device build conformance tests bench train)
  [[ $size == full ]] && stages=(device build conformance tests sanitizer bench rivals train profile)
fi
build=${METVOX_BUILD:-$root/build-gpu} python=${METVOX_PYTHON:-python3}
metvox=$build/metvox
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 3
export METVOX_TUNER_CACHE=$out/tuner.tsv  # which engine won, and by how much

readonly skipped=77
has_gpu() { command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q .; }
need_gpu() { has_gpu || { echo "no GPU here"; return $skipped; }; }
need_program() { [[ -x $metvox ]] || { echo "no program $metvox: run the stage build first"; return 1; }; }

# within SECONDS COMMAND...: a kernel that hangs must not keep what follows from running.
within() {
  local seconds=$1 status
  shift
  timeout --kill-after=30 "$seconds" "$@"
  status=$?
  if ((status == 124 || status == 137)); then say "stopped after $seconds s, which is far longer than it should take (does a kernel hang?): $*"; fi
  return $status
}

# Of all that a stage's result may depend on.
hash_of_sources() {
  (cd "$root" && find CMakeLists.txt cmake tensor kernels autograd layers io segmentation tools tests -type f -print0 |
    sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
}

stage_device() {
  need_gpu || return
  nvidia-smi --query-gpu=name,driver_version,compute_cap,memory.total,clocks.max.sm,clocks.max.mem,power.limit --format=csv
}

compute_cap() { nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .; }

# For the architecture that is there, and no other: 90a for 9.0.
stage_build() {
  need_gpu || return
  local cap
  cap=$(compute_cap)
  [[ $cap == 90 ]] && cap=90a
  configure "$build" -DMETVOX_CUDA=ON "-DMETVOX_CUDA_ARCHS=$cap-real" -DMETVOX_TESTS=ON &&
    cmake --build "$build" --parallel "$jobs" --target metvox test_conformance test_sim test_segmentation && "$metvox" devices
}

conformance=$build/tests/kernels/conformance/test_conformance
# Each kernel and each op's small cases against the reference, all in allocations of their own.
kernels=(env METVOX_TEST_DEVICE=cuda "$build/tests/kernels/sim/test_sim")
kernel_filter='--gtest_filter=-executor.*:gemm.*:hopper.*'
# The first steps of small networks in each precision, beside those of the CPU.
first_steps=("$build/tests/test_segmentation" --gtest_filter='device_training.first_steps_on_a_gpu*')

# Every wrapper of an instruction on the GPU and in the simulator. Where they differ nothing below means anything.
stage_conformance() {
  need_gpu || return
  need_program && within 300 "$conformance" gpu
}

# A process a suite: after some errors of a kernel every call of its process fails.
kernel_suites() {
  local suites suite failures=()
  mapfile -t suites < <("${kernels[@]}" "$kernel_filter" --gtest_list_tests | awk '/^[^ ]/ && $1 ~ /\.$/ { print $1 }')
  ((${#suites[@]})) || { echo "${kernels[*]} lists no tests"; return 1; }
  for suite in "${suites[@]}"; do
    within 300 "${kernels[@]}" --gtest_brief=1 "--gtest_filter=$suite*" || failures+=("${suite%.}")
  done
  ((${#failures[@]} == 0)) || { echo "kernel tests that failed: ${failures[*]}"; return 1; }
}

# Our kernels, then the op cases on every engine (bench verifies before it times), then whole steps.
stage_tests() {
  need_gpu || return
  need_program && kernel_suites && within 900 "$metvox" bench --device cuda --engine all --runs 1 &&
    within 600 "${first_steps[@]}"
}

stage_sanitizer() {
  need_gpu || return
  command -v compute-sanitizer >/dev/null || { echo "no compute-sanitizer here"; return $skipped; }
  local tool status=0
  for tool in memcheck racecheck initcheck synccheck; do
    echo "== $tool"
    within 300 compute-sanitizer --tool "$tool" --error-exitcode 9 "$conformance" gpu || status=1
    within 900 compute-sanitizer --tool "$tool" --error-exitcode 9 --target-processes all "${kernels[@]}" \
      "$kernel_filter" || status=1
    within 900 compute-sanitizer --tool "$tool" --error-exitcode 9 "${first_steps[@]}" || status=1
  done
  return $status
}

stage_bench() {
  need_gpu || return
  need_program || return
  within 300 "$metvox" bench ceilings --device cuda &&
    within 300 "$metvox" bench ceilings --device cuda --precision f32 || return
  within 1800 "$metvox" bench --device cuda --engine all --json >"$out/bench.json" || return
  if (($(compute_cap) >= 80)); then
    within 300 "$metvox" bench ceilings --device cuda --precision tf32 &&
      within 900 "$metvox" bench conv3d --device cuda --engine all --precision tf32 --json >"$out/bench-tf32.json" || return
  fi
  within 900 "$metvox" bench step --device cuda && within 900 "$metvox" bench forward --device cuda
}

# PyTorch in a few plain lines, in the same run, each beside ours.
stage_rivals() {
  need_gpu || return
  "$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null || { echo "no torch with CUDA here"; return $skipped; }
  local mode
  : >"$out/rivals.jsonl"
  for _ in 1 2 3; do
    within 300 "$metvox" bench step '32..320 128^3' --device cuda --json >>"$out/rivals.jsonl" || return
    for mode in eager eager-channels-last compiled compiled-channels-last; do
      within 300 "$python" "$root/tools/rival_torch.py" step '32..320 128^3' --precision bf16 --device cuda \
        --mode "$mode" --runs 20 >>"$out/rivals.jsonl" || echo "rival $mode failed"
    done
  done
  cat "$out/rivals.jsonl"
}

# A phantom cohort, trained and predicted on the GPU, and the first steps of the CPU beside it.
stage_train() {
  need_gpu || return
  need_program || return
  local work=$out/train
  rm -rf "$work"
  within 300 "$metvox" phantom --out "$work/raw" --cases 8 --seed 1 --size 96x112x96 &&
    within 300 "$metvox" plan "$work/raw" --out "$work/data" --base-features 16 --patch-size 64 64 64 --batch-size 2 &&
    within 300 "$metvox" preprocess "$work/raw" --plans "$work/data/plans.json" --out "$work/data" || return
  local device
  for device in cpu cuda; do
    within 900 "$metvox" train "$work/data" --fold 0 --epochs 1 --iterations 20 --val-iterations 1 --device $device \
      --precision f32 --out "$work/$device" || return
    cat "$work/$device"/*/fold_0/metrics.jsonl
  done
  within 900 "$metvox" train "$work/data" --fold 0 --epochs 4 --iterations 50 --device cuda --profile --out "$work/bf16" &&
    within 600 "$metvox" predict -i "$work/raw/imagesTr" -o "$work/predictions" -m "$work"/bf16/* --device cuda
}

stage_profile() {
  need_gpu || return
  command -v ncu >/dev/null || { echo "no ncu here"; return $skipped; }
  within 600 ncu --target-processes all --set basic --launch-count 60 "$metvox" bench conv3d '32>32 64^3' --device cuda --runs 3
}

passed=0 failed=0 skips=0
sources=$(hash_of_sources)
summary=$out/summary.txt
: >"$summary"
tell() {
  printf '%-12s %-8s %s\n' "$1" "$2" "$3" | tee -a "$summary"
}
for stage in "${stages[@]}"; do
  if ! declare -F "stage_$stage" >/dev/null; then
    say "gpu-check: there is no stage \"$stage\"; see the head of ${BASH_SOURCE[0]}"
    exit 2
  fi
done
for stage in "${stages[@]}"; do
  if [[ $# -eq 0 && -e $out/$stage.passed && $(<"$out/$stage.passed") == "$sources" ]]; then
    tell "$stage" passed "before; see $stage.log"
    ((++passed))
    continue
  fi
  start=$SECONDS
  "stage_$stage" >"$out/$stage.log" 2>&1
  status=$?
  took="$((SECONDS - start)) s"
  if ((status == 0)); then
    tell "$stage" passed "$took" && echo "$sources" >"$out/$stage.passed"
    ((++passed))
  elif ((status == skipped)); then
    tell "$stage" skipped "$(tail -1 "$out/$stage.log")"
    ((++skips))
  else
    tell "$stage" failed "$took, exit $status: $(tail -1 "$out/$stage.log")"
    ((++failed))
    if [[ $stage == build || $stage == conformance ]]; then break; fi
  fi
done
((skips == 0)) || echo "$skips skipped" | tee -a "$summary"
echo "$passed passed, $failed failed" | tee -a "$summary"
((failed == 0)) || exit 6
