# SPDX-License-Identifier: Apache-2.0
# Writes cascade.json (golden): the operators that batchgeneratorsv2 applies to the masks of a cascade's previous stage.
# Needs batchgeneratorsv2 (written with 0.3.6) and scikit-image. Usage: python make_cascade.py > cascade.json
import json
import sys

import numpy as np
import torch
from batchgeneratorsv2.transforms.nnunet import random_binary_operator as r

SHAPE = (10, 12, 13)
OPERATORS = {"dilate": r.binary_dilation_torch, "erode": r.binary_erosion_torch, "close": r.binary_closing_torch,
             "open": r.binary_opening_torch}


def digits(volume):
    return "".join(str(int(v)) for v in volume.ravel())


rng = np.random.RandomState(5)
labels = np.zeros(SHAPE, int)
labels[2:9, 2:11, 3:12] = 1
labels[4:8, 5:9, 5:8] = 2
labels[rng.random_sample(SHAPE) < .02] = 2
labels[rng.random_sample(SHAPE) < .01] = 0
runs = []
for steps in ([(1, "dilate", 1)], [(1, "erode", 1.0)], [(2, "dilate", 1.7)], [(2, "close", 2.25)], [(1, "open", 2.5)],
              [(2, "dilate", 3.3), (1, "close", 1.2)], [(1, "erode", 1.9), (2, "open", 1.45)], [(2, "dilate", 7.9)]):
    image = torch.from_numpy(np.stack([labels == 1, labels == 2])).float()
    transform = r.ApplyRandomBinaryOperatorTransform([0, 1])
    image = transform._apply_to_image(image, apply_to_channels=[s[0] - 1 for s in steps],
                                      operators=[OPERATORS[s[1]] for s in steps], strel_size=[s[2] for s in steps])
    assert float(image.sum(0).max()) <= 1  # masks never overlap: a map of labels says the same
    runs.append({"steps": steps, "after": digits(image[0].numpy() + 2 * image[1].numpy())})
json.dump({"shape": SHAPE, "labels": digits(labels), "runs": runs}, sys.stdout)
print()
