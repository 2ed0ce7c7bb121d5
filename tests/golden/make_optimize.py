#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes optimize.inc: weights after ten steps of torch.optim.SGD and Adam, in float64. Run it where torch is installed:
python3 make_optimize.py > optimize.inc"""
import math

import torch

COUNT, STEPS = 5, 10


def weight(i):
    return math.sin(1.0 + i)


def gradient(step, i):
    return math.cos(0.7 * step + 1.3 * i) + 0.1 * i


def run(make):
    w = torch.tensor([weight(i) for i in range(COUNT)], dtype=torch.float64, requires_grad=True)
    optimizer = make([w])
    for step in range(1, STEPS + 1):
        w.grad = torch.tensor([gradient(step, i) for i in range(COUNT)], dtype=torch.float64)
        optimizer.step()
    return ", ".join(repr(v) for v in w.tolist())


print(f"// Written by make_optimize.py with torch {torch.__version__}.")
print("const double kSgd[] = {" + run(lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.99, nesterov=True, weight_decay=3e-5)) + "};")
print("const double kSgdDecay[] = {" + run(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.5, nesterov=True, weight_decay=0.2)) + "};")
print("const double kAdam[] = {" + run(lambda p: torch.optim.Adam(p, lr=1e-4)) + "};")
print("const double kAdamDecay[] = {" + run(lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.8, 0.9), eps=1e-5, weight_decay=0.3)) + "};")
