#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes losses.json: the losses and their gradients in float64 on small data by formula (mixed() of make_networks.py).
Tversky is MONAI's TverskyLoss(sigmoid, alpha 0.3, beta 0.7) and its cross-entropy (1 + 10 g) BCE, as in luumsk/BrainMetaSeg,
trainers/nnUNetTrainer_TverskyBCE.py; the Dice losses are those of nnU-Net 2.8.1, training/loss/compound_losses.py. Run it
where torch, numpy and monai are installed: python3 make_losses.py > losses.json"""
import importlib.metadata
import json

import torch
from monai.losses import TverskyLoss
from torch import nn

from mixed import mixed

REGIONS, IGNORE = [(1, 2, 3), (1, 3), (3,)], 4


def soft_dice(p, target, mask, batch):
    axes = (0, 2, 3, 4) if batch else (2, 3, 4)
    overlap, size = (p * target * mask).sum(axes), (p * mask).sum(axes) + (target * mask).sum(axes)
    return -((2 * overlap + 1e-5) / torch.clip(size + 1e-5, 1e-8)).mean()


def value(name, logits, labels, batch, ignore):
    mask = (labels != IGNORE)[:, None].double()
    if name == "dice-ce":
        target = nn.functional.one_hot(torch.where(labels == IGNORE, 0, labels), 4).permute(0, 4, 1, 2, 3).double()
        dice = soft_dice(torch.softmax(logits, 1)[:, 1:], target[:, 1:], mask, batch)
        return dice + nn.functional.cross_entropy(logits, labels, ignore_index=IGNORE)
    target = torch.stack([sum(labels == label for label in region) for region in REGIONS], 1).double()
    bce = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    if name == "tversky-bce":
        return TverskyLoss(sigmoid=True, alpha=0.3, beta=0.7)(logits, target) + ((1 + 10 * target) * bce).mean()
    # with an ignore label nnU-Net divides by voxels, without it by voxels times regions
    mean = (bce * mask).sum() / mask.sum() if ignore else bce.mean()
    return soft_dice(torch.sigmoid(logits), target, mask, batch) + mean


def case(name, batch, ignore):
    heads = 4 if name == "dice-ce" else 3
    logits = (mixed((2, heads, 2, 3, 4), "logits") * 4).requires_grad_()
    labels = ((mixed((2, 2, 3, 4), "labels") + 1) * (2.5 if ignore else 2)).floor().long()
    labels[1][labels[1] == 3] = 0  # a region that a sample lacks
    loss = value(name, logits, labels, batch, ignore)
    loss.backward()
    return {"loss": name, "batch_dice": batch, "ignore": ignore, "value": loss.item(),
            "gradient": logits.grad.flatten().tolist()}


cases = [case("dice-bce", False, False), case("dice-bce", True, False), case("dice-bce", True, True),
         case("dice-ce", False, False), case("dice-ce", True, False), case("dice-ce", False, True),
         case("tversky-bce", False, False)]
made_with = {p: importlib.metadata.version(p) for p in ("torch", "monai")}
print(json.dumps({"made_with": made_with, "cases": cases}).replace('{"loss"', '\n{"loss"'))
