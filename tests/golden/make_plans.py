# SPDX-License-Identifier: Apache-2.0
# Writes plans.json (golden): data set fingerprints and the plans that nnU-Net's own planners make of them.
# Needs nnunetv2 (written with 2.8.1). Usage: python make_plans.py > plans.json
import contextlib
import io
import json
import os
import sys
import tempfile

import numpy as np

root = tempfile.mkdtemp()
os.environ.update(nnUNet_raw=f"{root}/raw", nnUNet_preprocessed=f"{root}/pre", nnUNet_results=f"{root}/res")
os.makedirs(root + "/res")

import torch  # noqa: E402
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner  # noqa: E402
from nnunetv2.experiment_planning.experiment_planners.residual_unets import (  # noqa: E402
    residual_encoder_unet_planners as residual)

PLANNERS = {"default": ExperimentPlanner, "resenc-m": residual.nnUNetPlannerResEncM,
            "resenc-l": residual.nnUNetPlannerResEncL, "resenc-xl": residual.nnUNetPlannerResEncXL}
REGIONS = {"background": 0, "WT": [1, 2, 3], "TC": [1, 3], "ET": 3}
rng = np.random.RandomState(7)


def jitter(shape, amount, n):
    return [[int(s + rng.randint(-amount, amount + 1) * (s > amount)) for s in shape] for _ in range(n)]


DATASETS = {
    "sbt": dict(spacings=[[1.0000014305114746, .5, .5]], shapes=[[192, 512, 432]], n=26, relative=.98698),
    "brats": dict(spacings=[[1., 1., 1.]], shapes=[[144, 181, 142]], n=652, relative=.35),
    "thick": dict(spacings=[[float(z), 1.5, 1.5625] for z in (10, 10, 5, 10, 8, 10, 10, 7)],
                  shapes=jitter([9, 216, 256], 3, 8), n=100, relative=1., channels=["CT"], labels={"background": 0, "a": 1}),
    "small": dict(spacings=[[1., 1., 1.]] * 6, shapes=jitter([36, 50, 35], 4, 6), n=260, relative=1.,
                  channels=["T1", "nonorm", "rescale_to_0_1"], labels={"background": 0, "a": 1, "b": 2}),
    "turned": dict(spacings=[[.7, .71, 5.]] * 4, shapes=jitter([512, 500, 41], 6, 4), n=12, relative=.7),
    "halves": dict(spacings=[[.9, 1.1, 1.], [1.3, .95, 1.2]], shapes=[[131, 178, 140], [98, 211, 133]], n=40, relative=.6),
    "large": dict(spacings=[[.8, .77, .77]] * 3, shapes=jitter([560, 512, 512], 20, 3), n=60, relative=.9),
    "flat": dict(spacings=[[999., 1., 1.]] * 3, shapes=[[1, 640, 700], [1, 512, 512], [1, 600, 512]], n=3000, relative=1.),
    "tiny": dict(spacings=[[1., 1., 1.]] * 2, shapes=[[10, 12, 9], [11, 9, 13]], n=30, relative=.4),
    "huge": dict(spacings=[[.3, .3, .3]], shapes=[[1024, 1100, 900]], n=5, relative=1., channels=["CT", "CT"]),
    "slab": dict(spacings=[[4., .45, .45], [3.6, .5, .45], [6., .43, .43]], shapes=jitter([24, 512, 448], 3, 3), n=80,
                 relative=.8),
    "cube": dict(spacings=[[1.2, 1.2, 1.2]], shapes=[[200, 200, 200]], n=100, relative=1., channels=["T1"],
                 labels={"background": 0, **{f"l{i}": i for i in range(1, 20)}}),
    "mixed": dict(spacings=[[2.5, .8, .8], [3., .8, .8], [5., .7, .7], [1., .9, .9]],
                  shapes=[[180, 512, 512], [150, 512, 512], [90, 600, 600], [400, 430, 440]], n=50, relative=.74),
    "single": dict(spacings=[[.9, .8, 1.7]], shapes=[[70, 80, 40]], n=1, relative=1., labels={"background": 0, "a": 1}),
}
RUNS = [(d, "default", 8) for d in DATASETS] + [("sbt", "default", 24), ("sbt", "default", 4), ("brats", "resenc-m", 8),
        ("sbt", "resenc-m", 8), ("halves", "resenc-l", 24), ("sbt", "resenc-xl", 40), ("large", "resenc-l", 24), ("tiny", "resenc-m", 8),
        ("slab", "resenc-l", 24), ("cube", "resenc-xl", 40), ("flat", "resenc-m", 8)]


def plan(dataset, preset, gb):
    d = DATASETS[dataset]
    channels = d.get("channels", ["T1C", "T1N", "T2F", "T2W"])
    description = {"channel_names": {str(i): c for i, c in enumerate(channels)}, "labels": d.get("labels", REGIONS),
                   "numTraining": d["n"], "file_ending": ".nii.gz"}
    if "labels" not in d:
        description["regions_class_order"] = [2, 1, 3]
    intensities = {str(c): {k: float(i + c) for i, k in enumerate(
        ["max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std"])} for c in range(len(channels))}
    fingerprint = {"spacings": d["spacings"], "shapes_after_crop": d["shapes"],
                   "median_relative_size_after_cropping": d["relative"],
                   "foreground_intensity_properties_per_channel": intensities}
    number = 100 + list(DATASETS).index(dataset)
    name = f"Dataset{number}_{dataset}"
    raw, pre = f"{root}/raw/{name}", f"{root}/pre/{name}"
    for folder in (raw + "/imagesTr", raw + "/labelsTr", pre):
        os.makedirs(folder, exist_ok=True)
    for c in range(len(channels)):
        open(f"{raw}/imagesTr/x_{c:04d}.nii.gz", "w").close()
    json.dump(description, open(raw + "/dataset.json", "w"))
    json.dump(fingerprint, open(pre + "/dataset_fingerprint.json", "w"))
    planner = PLANNERS[preset](number, gb)
    with contextlib.suppress(FileNotFoundError):  # nnU-Net would keep configurations of an earlier run
        os.remove(f"{pre}/{planner.plans_identifier}.json")
    planner.determine_reader_writer = lambda: type("SimpleITKIO", (), {})
    with torch.device("meta"), contextlib.redirect_stdout(io.StringIO()):
        plans = planner.plan_experiment()
    return {"name": f"{dataset} {preset} {gb}", "preset": preset, "gpu_memory_gb": gb, "dataset_name": name,
            "dataset": description, "fingerprint": fingerprint, "plans": plans}


runs = []
for run in RUNS:
    runs.append(plan(*run))
    print(run, {k: v.get("patch_size") for k, v in runs[-1]["plans"]["configurations"].items()}, file=sys.stderr)
print("[" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in runs) + "]")
