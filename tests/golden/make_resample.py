# SPDX-License-Identifier: Apache-2.0
# Writes resample.json (golden): small volumes, resampled by nnU-Net's own function (scikit-image and SciPy below it).
# Needs nnunetv2 (written with 2.8.1, batchgenerators 0.25.5, scikit-image 0.26, SciPy 1.17). Usage:
# python make_resample.py > resample.json
import json

import numpy as np
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape as resample

rng = np.random.RandomState(3)
CASES = [  # name, shape, new shape, current spacing, new spacing
    ("isotropic", (5, 7, 6), (8, 5, 9), (1, 1, 1), (.6, 1.4, .7)),
    ("doubled", (4, 5, 6), (8, 10, 12), (1, 1, 1), (.5, .5, .5)),
    ("thirds", (6, 3, 5), (2, 9, 5), (1, 1, 1), (3, .33, 1)),
    ("thick slices", (4, 6, 7), (9, 9, 5), (5, 1, 1), (2, .7, 1.4)),
    ("thick target", (6, 5, 8), (9, 8, 3), (1, 1, 1), (.7, .6, 4)),
    ("middle axis", (6, 4, 5), (8, 7, 9), (1, 6, 1.1), (.8, 3, .6)),
    ("two thick axes", (4, 4, 9), (7, 7, 5), (4, 4, 1), (2.2, 2.2, 1.8)),
    ("same plane", (5, 4, 4), (8, 4, 4), (6, 1, 1), (3.7, 1, 1)),
    ("one voxel", (1, 3, 4), (2, 5, 1), (1, 1, 1), (.5, .6, 4)),
    ("halved", (8, 6, 10), (4, 3, 5), (1, 1, 1), (2, 2, 2)),
]


def blocks(shape):
    coarse = rng.randint(-1, 4, [-(-s // 2) for s in shape])
    return np.kron(coarse, np.ones((2, 2, 2), int))[tuple(slice(s) for s in shape)]


if __name__ == "__main__":
    out = []
    for name, shape, target, current, new in CASES:
        data = np.round(rng.standard_normal(shape) * 10, 2).astype(np.float32)
        labels = blocks(shape)
        row = dict(name=name, shape=shape, target=target, current=current, new=new, data=data, labels=labels)
        for order in (1, 3):
            row[f"order{order}"] = resample(data[None].astype(float), target, current, new, False, order, 0, None)
        row["resampled_labels"] = resample(labels[None], target, current, new, True, 1, 0, None)
        out.append({k: [round(float(v), 6) if v.dtype.kind == "f" else int(v) for v in a.ravel()]
                    if isinstance(a, np.ndarray) else a for k, a in row.items()})
    print("[" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in out) + "]")
