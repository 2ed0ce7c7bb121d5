# SPDX-License-Identifier: Apache-2.0
# Writes summary.json (golden): the whole summary.json, case by case, that nnU-Net makes of small folders.
# Needs nnunetv2 (written with 2.8.1) and SimpleITK. Usage: python make_summary.py > summary.json
import json
import os
import sys
import tempfile

import numpy as np
from make_crossval import IGNORE, LABELS, ONE, PLANS, REGIONS, SHAPE, blobs, digits, null_for_nan, write
from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder, load_summary_json
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager


def whole(value):
    """What load_summary_json made tuples and integers of is text again, as in the file."""
    if isinstance(value, dict):
        return {str(k): whole(v) for k, v in value.items()}
    return [whole(v) for v in value] if isinstance(value, list) else value


def summary(dataset, seed):
    rng = np.random.RandomState(seed)
    manager = PlansManager(json.loads(json.dumps(PLANS))).get_label_manager(dataset)
    painted = [v for v in (2, 1, 3) if v in np.hstack([np.ravel(v) for k, v in dataset["labels"].items() if k != "ignore"])]
    ignore = manager.ignore_label
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        predictions, references = os.path.join(folder, "pred"), os.path.join(folder, "ref")
        os.makedirs(predictions)
        os.makedirs(references)
        for c in range(3):
            truth = blobs(rng, painted, 2, True) if c != 1 else np.zeros(SHAPE, np.uint8)
            prediction = np.where(rng.random_sample(SHAPE) < .2, 0, truth).astype(np.uint8)
            if c != 2:
                prediction = np.where(prediction == 0, blobs(rng, painted[:1], 1, False), prediction).astype(np.uint8)
            if ignore:
                truth[rng.randint(SHAPE[0])] = ignore
            for volume, place in ((prediction, predictions), (truth, references)):
                write(volume, os.path.join(place, f"case{c}.nii.gz"))
            cases.append({"prediction": digits(prediction), "truth": digits(truth)})
        file = os.path.join(folder, "summary.json")
        compute_metrics_on_folder(references, predictions, file, SimpleITKIO(), ".nii.gz",
                                  manager.foreground_regions if manager.has_regions else manager.foreground_labels,
                                  ignore, 1)
        found = whole(load_summary_json(file))
    for case in found["metric_per_case"]:
        for key in ("prediction_file", "reference_file"):
            case[key] = os.path.basename(case[key])
    return {**dataset, "cases": cases, "summary": found}


if __name__ == "__main__":
    json.dump(null_for_nan({"shape": SHAPE, "folders": [
        summary(REGIONS, 1), summary(LABELS, 2), summary(IGNORE, 3), summary(ONE, 4)]}), sys.stdout)
    print()
