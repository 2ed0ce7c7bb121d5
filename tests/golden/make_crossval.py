# SPDX-License-Identifier: Apache-2.0
# Writes crossval.json (golden): ensembles, post-processing decisions and summaries of small cases by nnU-Net itself.
# Needs nnunetv2 (written with 2.8.1). Usage: python make_crossval.py > crossval.json
import contextlib
import json
import multiprocessing
import multiprocessing.dummy
import multiprocessing.pool  # noqa: F401  (takes its own get_context before it is replaced)
import os
import sys
import tempfile

import numpy as np
import SimpleITK as sitk
from mixed import mixed
from nnunetv2.ensembling.ensemble import average_probabilities
from nnunetv2.postprocessing.remove_connected_components import determine_postprocessing
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

multiprocessing.get_context = lambda kind: multiprocessing.dummy  # threads start at once

REGIONS = {"labels": {"background": 0, "WT": [1, 2, 3], "TC": [1, 3], "ET": 3}, "regions_class_order": [2, 1, 3]}
LABELS = {"labels": {"background": 0, "a": 1, "b": 2}}
IGNORE = {"labels": {"background": 0, "a": 1, "b": 2, "ignore": 3}}
ONE = {"labels": {"background": 0, "a": 1}}
PLANS = {"dataset_name": "Dataset001_x", "plans_name": "nnUNetPlans", "image_reader_writer": "SimpleITKIO",
         "label_manager": "LabelManager", "configurations": {}}
SHAPE = (6, 8, 9)


def digits(volume):
    return "".join(str(v) for v in volume.ravel())


def ensemble(dataset, members):
    manager = PlansManager(json.loads(json.dumps(PLANS))).get_label_manager(dataset)
    heads = manager.num_segmentation_heads
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for m in range(members):
            p = ((mixed((heads, *SHAPE), f"member{m}").numpy() + 1) / 2).astype(np.float32)
            files.append(os.path.join(folder, f"{m}.npz"))
            np.savez(files[-1], probabilities=p)
        mean = average_probabilities(files)
    return {**dataset, "members": members, "segmentation": digits(manager.convert_probabilities_to_segmentation(mean)),
            "mean_sum": float(mean.astype(np.float64).sum())}


def blobs(rng, labels, count, big):
    """Nested boxes, which overlap or touch now and then; one may be larger than the others."""
    volume = np.zeros(SHAPE, np.uint8)
    for i in range(count):
        first = [rng.randint(0, n - 1) for n in SHAPE]
        size = rng.randint(1, 3, 3) + (2 if big and i == 0 else 0)
        for label in labels[:1 + rng.randint(len(labels))]:
            volume[tuple(slice(f, f + s) for f, s in zip(first, size))] = label
            size = np.maximum(size - 1, 1)
    return volume


def write(volume, path):
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing((1.0, 1.5, 2.0))
    sitk.WriteImage(image, path)


def postprocessing(dataset, seed, truths, specks):
    rng = np.random.RandomState(seed)
    painted = [2, 1, 3] if "regions_class_order" in dataset else sorted(
        v for k, v in dataset["labels"].items() if k not in ("background", "ignore"))
    ignore = dataset["labels"].get("ignore")
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        predictions, references = os.path.join(folder, "pred"), os.path.join(folder, "ref")
        os.makedirs(predictions)
        os.makedirs(references)
        for c in range(3):
            truth = blobs(rng, painted, truths, True)
            prediction = np.where(rng.random_sample(SHAPE) < .03, 0, truth)
            speck = blobs(rng, painted, specks, False)
            prediction = np.where((speck > 0) & (prediction == 0), speck, prediction).astype(np.uint8)
            if ignore:
                truth[0] = ignore
            write(prediction, os.path.join(predictions, f"case{c}.nii.gz"))
            write(truth, os.path.join(references, f"case{c}.nii.gz"))
            cases.append({"prediction": digits(prediction), "truth": digits(truth)})
        description = {**dataset, "file_ending": ".nii.gz"}
        with contextlib.redirect_stdout(sys.stderr):
            determine_postprocessing(predictions, references, json.loads(json.dumps(PLANS)), description, 1, True)
        with open(os.path.join(predictions, "postprocessing.json")) as f:
            found = json.load(f)
        after = [digits(sitk.GetArrayFromImage(sitk.ReadImage(os.path.join(predictions, "postprocessed", f"case{c}.nii.gz"))))
                 for c in range(3)]
    for case, volume in zip(cases, after):
        case["after"] = volume
    return {**dataset, "cases": cases, "kwargs": found["postprocessing_kwargs"], "before": found["input_folder"],
            "after": found["postprocessed"]}


def null_for_nan(value):
    if isinstance(value, dict):
        return {k: null_for_nan(v) for k, v in value.items()}
    if isinstance(value, list):
        return [null_for_nan(v) for v in value]
    return None if isinstance(value, float) and np.isnan(value) else value


if __name__ == "__main__":
    # Seeds found by trial, for every way to decide: all adopted, none, the first vetoed by a region that gets worse,
    # some of the regions, a region that is nowhere (nan).
    runs = [(REGIONS, 96, 1, 2), (REGIONS, 76, 1, 1), (REGIONS, 15, 2, 1), (REGIONS, 14, 2, 2), (REGIONS, 115, 2, 2),
            (REGIONS, 39, 1, 2), (LABELS, 29, 1, 1), (LABELS, 21, 2, 1), (IGNORE, 0, 2, 2), (IGNORE, 13, 1, 1),
            (ONE, 0, 1, 1), (ONE, 76, 1, 1)]
    json.dump(null_for_nan({
        "shape": SHAPE,
        "ensembles": [ensemble(REGIONS, 2), ensemble(REGIONS, 3), ensemble(LABELS, 2), ensemble(LABELS, 5)],
        "postprocessing": [postprocessing(*run) for run in runs]}), sys.stdout, indent=None)
    print()
