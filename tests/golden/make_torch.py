#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes torch/: small files of torch.save() and what they hold, as tests/io/torch_file_test.cpp reads them. Run it where
torch and numpy are installed, in this folder: python3 make_torch.py (made with torch 2.15.0, numpy 2.4)."""
import collections
import os

import numpy as np
import torch

from mixed import mixed


class Command:
    def __reduce__(self):
        return os.system, ("echo run > /tmp/metvox-was-here",)


weights = collections.OrderedDict()
base = mixed((4, 6), "base")
weights["dense"] = base.float()
weights["double"] = base.clone()
weights["half"] = base.half()
weights["bfloat16"] = base.bfloat16()
weights["transposed"] = weights["dense"].t()
weights["row"] = weights["dense"][2]
weights["every_other"] = weights["dense"][:, 1::2]
weights["parameter"] = torch.nn.Parameter(weights["dense"][:1])
weights["scalar"] = torch.tensor(0.5)
weights["empty"] = torch.zeros(0, 3)
weights["counts"] = torch.arange(3)
checkpoint = {
    "network_weights": weights,
    "module": torch.nn.Linear(2, 1).state_dict(),  # an OrderedDict with attributes
    "logging": {"losses": [np.float32(1.5), np.float64(-2.25), 3.5], "best": None, "means": np.arange(3) / 2},
    "init_args": {"fold": 0, "device": torch.device("cuda"), "labels": {"a": [1, 2], "b": (3, -4)}, "deep": True},
    "integers": [2**40, -(2**40), 255, 65535, np.int64(-7), np.uint8(9), np.bool_(True)],
    7: "a key that is no text",
    "letters": "ß∂",
}
torch.save(checkpoint, "torch/values.pth")
torch.save({"weights": base.float()}, "torch/legacy.pt", _use_new_zipfile_serialization=False)
torch.save({"weights": base.float(), "extra": Command()}, "torch/command.pth")
torch.jit.script(torch.nn.ReLU()).save("torch/script.pt")
