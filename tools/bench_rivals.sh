#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The table of docs/performance.md: metvox and PyTorch in turn, threads pinned, the minimum of all rounds.
#   bash tools/bench_rivals.sh [ROUNDS]
# METVOX: the program (build/metvox). PYTHON: a Python that has torch and scikit-image (python3); without them, a column is empty.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
metvox=${METVOX:-$root/build/metvox} python=${PYTHON:-python3} rounds=${1:-5}
[[ -x $metvox ]] || { echo "There is no program $metvox; build it, or say METVOX=PATH" >&2; exit 2; }
threads=$("$metvox" devices --json | "$python" -c 'import json, sys; print(json.load(sys.stdin)["devices"][0]["cores"])')
export OMP_NUM_THREADS=$threads OMP_PROC_BIND=close OMP_PLACES=cores
results=$(mktemp)
trap 'rm -f "$results"' EXIT

# workload | case | runs a round of metvox, of the rival (0: it has none) | goal in ms f32, bf16; +N: beyond the row before
rows=(
  'step|8-16-32-64 48^3|20|5|85|45'
  'step|8-16-32-64 48^3 + loader|3|0|+15|+15'
  'step|16-32-64-128 64^3|5|2|510|265'
  'step|16-32-64-128 64^3 + loader|2|0|+35|+35'
  'forward|32..320 128^3|2|1|2600|1300'
  'resample|155x240x240>186x288x288|5|1|150|'
)

# rival WORKLOAD CASE TYPE RUNS: nothing where its Python packages are not there.
rival() {
  local module=torch bound=(env)
  if [[ $1 == resample ]]; then module=skimage bound=(env OMP_NUM_THREADS=1); fi
  "$python" -c "import $module" 2>/dev/null || return 0
  "${bound[@]}" "$python" "$root/tools/rival_torch.py" "$1" "$2" --precision "$3" --runs "$4" --threads "$threads"
}

for ((round = 1; round <= rounds; ++round)); do
  for row in "${rows[@]}"; do
    IFS='|' read -r workload case runs rival_runs goal_f32 goal_bf16 <<<"$row"
    for precision in f32 bf16; do
      goal=$goal_f32
      if [[ $precision == bf16 ]]; then goal=$goal_bf16; fi
      [[ -n $goal ]] || continue
      echo "round $round of $rounds: $workload $case $precision" >&2
      "$metvox" bench "$workload" "$case" --precision "$precision" --runs "$runs" --threads "$threads" --json |
        "$python" -c 'import json, sys
w = json.load(sys.stdin)["workloads"][0]
print(json.dumps(w | {"goal": sys.argv[1]}))' "$goal" >>"$results"
      if ((rival_runs)); then rival "$workload" "$case" "$precision" "$rival_runs" >>"$results"; fi
    done
  done
done

echo "$(date +%F), load average $(cut -d' ' -f1-3 /proc/loadavg), $rounds rounds"
"$metvox" devices
"$python" - "$results" <<'PYTHON'
import json, sys

ours, theirs, goals, rivals = {}, {}, {}, set()
for line in open(sys.argv[1]):
    row = json.loads(line)
    key = row["workload"] + " " + row["case"], row["precision"]
    best = theirs if "rival" in row else ours
    best[key] = min(row["ms_min"], best.get(key, row["ms_min"]))
    if "rival" in row:
        rivals.add(row["rival"])
    else:
        goals[key] = row["goal"]
print("rivals:", ", ".join(sorted(rivals)) or "none installed")
print("\n| figure | type | goal, ms | measured, ms | | rival, ms | ratio |\n|---|---|---|---|---|---|---|")
for key, ms in ours.items():
    name, precision = key
    goal = goals[key]
    extra = ms - ours.get((name.removesuffix(" + loader"), precision), 0)
    reached = (extra if goal[0] == "+" else ms) <= float(goal)
    shown = f"{ms:.0f} (+{max(extra, 0):.0f})" if goal[0] == "+" else f"{ms:.0f}"
    rival = f"{theirs[key]:.0f} | {theirs[key] / ms:.1f}" if key in theirs else "|"
    print(f"| {name} | {precision} | {goal} | {shown} | {'reached' if reached else 'missed'} | {rival} |")
PYTHON
