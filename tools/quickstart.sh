#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From nothing to a report: installs what is missing, builds metvox, makes phantoms, trains a small model on them, segments
# phantoms that it has not seen, scores them and writes quickstart/report/index.html. Run it again to go on where it stopped.
# Exits 6 when the model is worse than it should be.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

install_packages
cuda=OFF  # nvcc takes minutes; only where there is a GPU to compute on
if command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q .; then cuda=AUTO; fi
configure "$root/build-quickstart" -DMETVOX_TESTS=OFF -DMETVOX_PCH=ON -DMETVOX_CUDA=$cuda
run cmake --build "$root/build-quickstart" --parallel "$jobs" --target metvox

cd "$root"
metvox=./build-quickstart/metvox
size=(--size 96x112x96)
run "$metvox" phantom --out quickstart/raw --cases 20 --seed 1 "${size[@]}"
run "$metvox" phantom --out quickstart/unseen --cases 5 --seed 1000 "${size[@]}"
run "$metvox" plan quickstart/raw --out quickstart/preprocessed --base-features 8 --patch-size 48 48 48 --batch-size 2
run "$metvox" preprocess quickstart/raw --plans quickstart/preprocessed/plans.json --out quickstart/preprocessed
run "$metvox" train quickstart/preprocessed --fold 0 --network nnunet --loss dice-bce --epochs 24 --iterations 75 \
  --val-iterations 5 --out quickstart/results --resume
model=quickstart/results/nnunet__dice-bce__3d_fullres
run "$metvox" predict -i quickstart/unseen/imagesTr -o quickstart/predictions -m "$model" -f 0
run "$metvox" evaluate --pred quickstart/predictions --truth quickstart/unseen/labelsTr --out quickstart/scores
run "$metvox" report --images quickstart/unseen/imagesTr --truth quickstart/unseen/labelsTr --pred quickstart/predictions \
  --scores quickstart/scores --model "$model" --out quickstart/report

# column FILE NAME: the number of a column, by its name in the first line.
column() { head -n 1 "$1" | tr ',' '\n' | grep -nx "$2" | cut -d: -f1; }

scores=quickstart/scores/scores.csv lesions=quickstart/scores/lesions.csv
dice=$(awk -F, -v c="$(column $scores DICE_wt)" 'NR > 1 { sum += $c; ++n } END { printf "%.4f", n ? sum / n : 0 }' $scores)
missed=$(awk -F, -v region="$(column $lesions region)" -v kind="$(column $lesions kind)" -v mm="$(column $lesions diameter_mm)" \
  'NR > 1 && $region == "tc" && $kind == "missed" && $mm >= 8' $lesions | wc -l)
say "Whole-tumour Dice of the unseen phantoms (which are not patients): $dice on average; lesions of 8 mm or more missed: $missed"
say "The report: $root/quickstart/report/index.html"
if ((missed > 0)) || awk -v dice="$dice" 'BEGIN { exit !(dice < 0.85) }'; then
  say "This is worse than it should be: a mean Dice of 0.85 and no missed lesion. Something is wrong; please report it."
  exit 6
fi
