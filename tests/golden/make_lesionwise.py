# SPDX-License-Identifier: Apache-2.0
# Writes lesionwise.json (golden): label volumes made of ellipsoids (painted in order; x, y, z voxels) and what the
# published evaluations say of them: segmentationmetrics (the 19 columns of luumsk/BrainMetaSeg), the BraTS metric
# scripts of 2023 and 2024, and brats-evaluation with panoptica (2026).
# Needs numpy, scipy, nibabel, pandas, medpy, connected-components-3d, segmentationmetrics, surface-distance and
# brats-evaluation (written with 2.2.6, 1.17.1, 5.4.2, 2.3.3, 0.5.2, 3.29.0, 1.2.0, 0.1 and 0.0.10, panoptica 2.1.7).
# Usage: python make_lesionwise.py SCRIPTS_2023 SCRIPTS_2024 SCRIPTS_2025 PARSER_MAY_2026 > lesionwise.json
# where the arguments are folders with rachitsaluja/BraTS-2023-Metrics at 43c9052, BraTS-2024-Metrics at b04e5a0 and at
# f1131e3, and metrics_parser.py of BraTS/BraTS_evaluation at 791134c. The script of b04e5a0 has no NSD, that of f1131e3
# another penalty: each is taken for what it alone has.
import importlib.util
import io
import json
import os
import sys
import tempfile
import warnings
from contextlib import redirect_stdout

import nibabel as nib
import numpy as np
import pandas as pd



def replace(self, old, new, inplace=False):
    frame = self if inplace else self.copy()
    for column in frame.columns:
        frame[column] = [new if np.isscalar(v) and v == old else v for v in frame[column]]
    return frame


np.Inf = np.inf  # the scripts were written for numpy 1 and pandas 1
pd.DataFrame.append = lambda self, other: pd.concat([self, other])
pd.DataFrame.replace = replace  # that of pandas 2 stumbles over cells that hold arrays
warnings.simplefilter("ignore")
rng = np.random.RandomState(23)
SPACINGS = [(1, 1, 1), (1, 1, 1), (1, .5, .5), (.7, 1.3, 2.1), (.5, .5, 1)]
TIED_SEEDS = [202, 295, 424]  # where the pairing is another one in another order of lesions
REGIONS = {"et": [3], "tc": [1, 3], "wt": [1, 2, 3]}


def script(folder, name):
    sys.path.insert(0, folder)
    for module in [m for m in sys.modules if m.startswith("surface_distance")]:
        del sys.modules[module]  # each folder has its own copy
    spec = importlib.util.spec_from_file_location(name + "_" + os.path.basename(folder), f"{folder}/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.pop(0)
    return module


SCRIPTS = [script(os.path.abspath(sys.argv[1]), "metrics"), script(os.path.abspath(sys.argv[2]), "metrics_MET"),
           script(os.path.abspath(sys.argv[3]), "metrics_MET")]
MAY_2026 = script(os.path.abspath(sys.argv[4]), "metrics_parser")


def paint(shape, ellipsoids):
    x, y, z = np.indices(shape)
    out = np.zeros(shape, np.uint8)
    for label, c, r in ellipsoids:
        # Whole numbers only, so that every language paints the same voxels.
        inside = ((x - c[0]) ** 2 * (r[1] * r[2]) ** 2 + (y - c[1]) ** 2 * (r[0] * r[2]) ** 2 +
                  (z - c[2]) ** 2 * (r[0] * r[1]) ** 2) <= (r[0] * r[1] * r[2]) ** 2
        out[inside] = label
    return out


def lesion(c, r):
    rings = [(2, c, [v + int(rng.randint(0, 3)) for v in r])] if rng.rand() < .7 else []
    rings.append((3, c, r))
    if min(r) > 1 and rng.rand() < .7:
        rings.append((1, c, [v - 1 for v in r]))
    return rings


def pair():
    shape = [int(v) for v in rng.randint(18, 27, 3)]
    truth, prediction = [], []
    for _ in range(rng.randint(1, 7)):
        c, r = [int(rng.randint(0, n)) for n in shape], [int(v) for v in rng.randint(1, 5, 3)]
        truth += lesion(c, r)
        for _ in range(rng.choice([0, 1, 1, 1, 2])):
            moved = [int(v + rng.randint(-2, 3)) for v in c]
            prediction += lesion(moved, [max(1, int(v + rng.randint(-1, 2))) for v in r])
    for _ in range(rng.randint(0, 3)):  # specks
        which = truth if rng.rand() < .5 else prediction
        which.append((int(rng.randint(1, 4)), [int(rng.randint(0, n)) for n in shape], [1, 1, 1]))
    return shape, prediction, truth


def tied(seed):
    """Specks of one size, so that several pairings are as good."""
    own = np.random.RandomState(seed)
    shape = [9, 11, 10]
    prediction, truth = [[[3, [int(own.randint(0, n)) for n in shape], [1, 1, 1]] for _ in range(20)] for _ in range(2)]
    return shape, prediction, truth


def number(x):
    return None if x is None or np.isnan(x) else "inf" if np.isinf(x) else float(x)


def row(frame, region):
    return frame[frame["Labels"] == region.upper()].iloc[0]


def by_scripts(prediction, truth):
    results = []
    for module in SCRIPTS:
        with redirect_stdout(io.StringIO()):
            result = module.get_LesionWiseResults(prediction, truth, "BraTS-MET")
        results.append(result[0] if isinstance(result, tuple) else result)
    out = {}
    for region in REGIONS:
        r23, r24, r25 = (row(r, region) for r in results)
        counts = ["Num_TP", "Num_FP", "Num_FN"]
        out[region] = {
            "2023": [number(r23[k]) for k in counts + ["LesionWise_Score_Dice", "LesionWise_Score_HD95"]],
            "2024": [number(r24[k]) for k in counts + ["LesionWise_Score_Dice", "LesionWise_Score_HD95"]],
            "nsd": [number(r25[f"LesionWise_Score_NSD @ {t}"]) for t in ("0.5", "1.0")],
            "legacy": [number(r23[k]) for k in ("Legacy_Dice", "Legacy_HD95", "Sensitivity", "Specificity")]}
    return out


def by_brats_evaluation(prediction, truth):
    from importlib.resources import files
    from brats_evaluation.evaluation import evaluate_single_exam
    from brats_evaluation.metrics_parser import parse_mets_results
    from panoptica import Panoptica_Evaluator
    with redirect_stdout(io.StringIO()):
        evaluator = Panoptica_Evaluator.load_from_config(
            str(files("brats_evaluation").joinpath("configs", "config_mets.yaml")))
        # Images, not their paths: of paths panoptica 2.1.7 takes the axes as z, y, x and the spacing as x, y, z. Its global
        # distances know no spacing and are left out.
        result = evaluate_single_exam(nib.load(prediction), nib.load(truth), "case", evaluator)
        assert "error" not in result, result
        with open("panoptica.json", "w") as f:
            json.dump({"metrics": [result], "missings": []}, f)
        parse_mets_results("panoptica.json", 20.0, .1, "panoptica.csv")
        MAY_2026.parse_mets_results("panoptica.json", 20.0, .1, "may.csv")
    r, may = (pd.read_csv(name).iloc[0] for name in ("panoptica.csv", "may.csv"))
    means = [f"lesionwise_{m}_{s}" for m in ("dsc", "hd95", "nsd") for s in ("mean", "std")]
    names = [f"all_instance_{n}" for n in ("tp", "fp", "fn", "f1", "prec", "rec")] + means + [
        f"{size}_instance_{n}" for size in ("large", "small") for n in ("tp", "fp", "fn", "f1")]
    return {region: [[number(row.get(f"{n}_{region}", np.nan)) for n in of]
                     for row, of in ((r, names), (may, means))] for region in REGIONS}


def by_segmentationmetrics(p, t, zoom, region):
    from segmentationmetrics import SegmentationMetrics
    p, t = np.isin(p, REGIONS[region]), np.isin(t, REGIONS[region])
    if not p.any() or not t.any():
        return None  # it has no numbers of empty masks
    m = SegmentationMetrics(p.astype(np.uint8), t.astype(np.uint8), zoom)
    return [float(v) for v in (m.dice, m.hausdorff_distance, m.sensitivity, m.specificity, m.true_volume,
                               m.predicted_volume)]


def case(shape, prediction, truth, spacing):
    p, t = paint(shape, prediction), paint(shape, truth)
    affine = np.diag(list(spacing) + [1.])
    for name, array in (("p.nii.gz", p), ("t.nii.gz", t)):
        nib.save(nib.Nifti1Image(array, affine), name)
    zoom = tuple(float(v) for v in nib.load("t.nii.gz").header.get_zooms())
    regions = by_scripts("p.nii.gz", "t.nii.gz")
    for region, numbers in by_brats_evaluation("p.nii.gz", "t.nii.gz").items():
        regions[region]["2026"], regions[region]["may 2026"] = numbers
        regions[region]["scores"] = by_segmentationmetrics(p, t, zoom, region)
    return {"shape_xyz": shape, "spacing_xyz_mm": zoom, "prediction": prediction, "truth": truth, "regions": regions}


def main():
    cases = []
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        for i in range(int(os.environ.get("CASES", 16))):
            shape, prediction, truth = pair()
            cases.append(case(shape, prediction, truth, SPACINGS[i % len(SPACINGS)]))
        shape, prediction, truth = pair()
        cases += [case(shape, p, t, SPACINGS[0]) for p, t in ((prediction, []), ([], truth), ([], []))]
        cases += [case(*tied(seed), SPACINGS[0]) for seed in TIED_SEEDS]
        os.chdir(here)
    print("{\"cases\": [\n" + ",\n".join(map(json.dumps, cases)) + "]}")


main()
