# SPDX-License-Identifier: Apache-2.0
# Writes windows.json (golden): where nnU-Net's sliding windows start, and the weights of their voxels, the bits of a half
# in four hex digits. Needs nnunetv2 (written with 2.8.1). Usage: python make_windows.py > windows.json
import json

import numpy as np
import torch
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window

SIZES = [((64, 192, 160), (64, 192, 160), .5), ((192, 512, 432), (64, 192, 160), .5), ((155, 240, 240), (128, 128, 128), .5),
         ((33, 47, 51), (24, 32, 32), .5), ((110, 65, 64), (64, 64, 64), .5), ((40, 41, 42), (12, 13, 14), .3),
         ((100, 99, 98), (32, 32, 32), .75), ((100, 99, 98), (32, 32, 32), 1.0), ((17, 18, 19), (16, 16, 16), .05)]
PATCHES = [(16, 16, 16), (4, 6, 8), (7, 9, 5), (2, 20, 24), (1, 12, 14), (32, 3, 4)]


def starts(size, patch, step):
    return {"size": size, "patch": patch, "step": step, "starts": compute_steps_for_sliding_window(size, patch, step)}


def weights(patch):
    w = compute_gaussian(patch, sigma_scale=1 / 8, value_scaling_factor=10, device=torch.device("cpu"))
    return {"patch": patch, "bits": "".join(f"{v:04x}" for v in w.numpy().view(np.uint16).ravel())}


print(json.dumps({"starts": [starts(*s) for s in SIZES], "weights": [weights(p) for p in PATCHES]}))
