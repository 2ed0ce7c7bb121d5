#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes networks.json: small networks of MONAI and of dynamic-network-architectures, in float64, with weights and data by
formula. Of each: some logits, the loss, every parameter's gradient (its norm, and its product with a fixed direction), and
after ten steps of the network's own optimizer the same of every parameter's change. Beside them how far the same network
in float32 is from that, for a limit of what float32 may do: a ReLU that decides otherwise shows in the gradients. Run it
where both packages, torch and numpy are installed: python3 make_networks.py > networks.json

A tensor's numbers are those of mixed() with its name.
"""
import importlib.metadata
import json

import numpy as np
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from monai.networks.nets import SegResNet
from torch import nn

from mixed import mixed

STEPS, CLIP, LOGITS = 10, 12, 48
REGIONS = [(1, 2, 3), (1, 3), (3,)]


def weights(name, shape):
    """Of the size that initialisation gives: norms about 1, biases small."""
    if len(shape) > 1:
        return mixed(shape, name) * (6 / np.prod(shape[1:])) ** 0.5
    return mixed(shape, name) * 0.25 + (1 if name.endswith("weight") else 0)


def region_loss(logits, labels, batch_dice):
    target = torch.stack([sum(labels == label for label in region) for region in REGIONS], 1).to(logits.dtype)
    bce = nn.functional.binary_cross_entropy_with_logits(logits, target)
    p, axes = torch.sigmoid(logits), (0, 2, 3, 4) if batch_dice else (2, 3, 4)
    overlap, size = (p * target).sum(axes), p.sum(axes) + target.sum(axes)
    return bce - ((2 * overlap + 1e-5) / (size + 1e-5)).mean()


def deep_loss(outputs, labels, batch_dice):
    """Level weights 1, 1/2, ..., the last one 0; labels of the lower levels are the nearest ones."""
    if not isinstance(outputs, (list, tuple)):
        return region_loss(outputs, labels, batch_dice)
    level = [0.5**i for i in range(len(outputs))]
    if len(level) > 1:
        level[-1] = 0
    total = 0
    for share, logits in zip(level, outputs):
        nearest = nn.functional.interpolate(labels[:, None].double(), logits.shape[2:], mode="nearest-exact")[:, 0]
        if share:
            total = total + share / sum(level) * region_loss(logits, nearest.long(), batch_dice)
    return total


def summary(tensor, name):
    return [float(tensor.norm()), float((tensor * mixed(tensor.shape, name + " direction")).sum())]


def highest(outputs):
    return outputs[0] if isinstance(outputs, (list, tuple)) else outputs


def parameters(model):
    return {n: p for n, p in model.named_parameters() if ".encoder." not in n}  # decoders hold the encoder again


def set_up(model, dtype):
    model = model.to(dtype)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(weights(name, p.shape))
    return model


def run(model, x, labels, batch_dice):
    """The loss and the finest logits; gradients are left in the model."""
    model.zero_grad()
    outputs = model(x)
    loss = deep_loss(outputs, labels, batch_dice)
    loss.backward()
    return loss.item(), highest(outputs).detach()


def float_errors(model, x, labels, batch_dice):
    """Of float32: the largest error of a logit, and of a gradient relative to its norm (those that are not all but 0)."""
    found = []
    for dtype in torch.float64, torch.float32:
        _, logits = run(set_up(model, dtype), x.to(dtype), labels, batch_dice)
        gradients = {n: p.grad.double().clone() for n, p in parameters(model).items() if p.grad is not None}
        found.append((logits.double(), gradients))
    (logits, exact), (rounded, other) = found
    relative = [float((other[n] - g).norm() / g.norm()) for n, g in exact.items() if g.norm() > 1e-6]
    return {"logit": float((rounded - logits).abs().max()), "gradient": max(relative)}


def golden(model, optimizer, shape, batch_dice):
    x = mixed(shape, "images") * 2
    labels = ((mixed((shape[0], *shape[2:]), "labels") + 1) * 2).floor().long()
    errors = float_errors(model, x, labels, batch_dice)
    model = set_up(model, torch.float64)
    optimizer = optimizer(model.parameters())
    named = parameters(model)
    start = {n: p.detach().clone() for n, p in named.items()}
    losses = []
    for step in range(STEPS):
        loss, logits = run(model, x, labels, batch_dice)
        if step == 0:
            first = logits.flatten()
            gradients = {n: summary(p.grad, n) for n, p in named.items() if p.grad is not None}
        losses.append(loss)
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
    at = [i * (len(first) - 1) // (LOGITS - 1) for i in range(LOGITS)]
    changes = {n: summary(p.detach() - start[n], n) for n, p in named.items()}
    return {"float32_errors": errors, "logits_at": at, "logits": first[at].tolist(), "losses": losses,
            "gradients": gradients, "changes": changes}


def planned(kind, architecture, features, kernels, strides, blocks, blocks_decoder):
    """The network of a plan, as nnU-Net makes it (its own initialisation is replaced)."""
    repeat = "n_conv_per_stage" if kind is PlainConvUNet else "n_blocks_per_stage"
    model = kind(input_channels=2, n_stages=len(features), features_per_stage=features, conv_op=nn.Conv3d,
                 kernel_sizes=kernels, strides=strides, num_classes=len(REGIONS), conv_bias=True,
                 norm_op=nn.InstanceNorm3d, norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU,
                 nonlin_kwargs={"inplace": True}, deep_supervision=True, n_conv_per_stage_decoder=blocks_decoder,
                 **{repeat: blocks})
    plan = {"network_class_name": architecture, "features_per_stage": features, "kernel_sizes": kernels,
            "strides": strides, "n_conv_per_stage": blocks, "n_conv_per_stage_decoder": blocks_decoder}
    return model, plan


def sgd(parameters):
    return torch.optim.SGD(parameters, 1e-2, weight_decay=3e-5, momentum=0.99, nesterov=True)


def adam(parameters):
    return torch.optim.Adam(parameters, 1e-4, weight_decay=1e-5, eps=1e-5)


def cases():
    segresnet = SegResNet(spatial_dims=3, init_filters=8, in_channels=2, out_channels=3, blocks_down=[1, 2, 2, 4],
                          blocks_up=[1, 1, 1])
    yield "segresnet", segresnet, {"features_per_stage": [8]}, adam, (2, 2, 8, 8, 8), True
    kernels, strides = [[1, 3, 3], [3, 3, 3], [3, 3, 3]], [[1, 1, 1], [1, 2, 2], [2, 2, 2]]
    unet, plan = planned(PlainConvUNet, "PlainConvUNet", [4, 6, 8], kernels, strides, [2, 2, 2], [2, 2])
    yield "nnunet", unet, plan, sgd, (2, 2, 4, 8, 12), False
    unet, plan = planned(ResidualEncoderUNet, "ResidualEncoderUNet", [4, 6, 6], kernels, strides, [1, 2, 3], [1, 1])
    yield "nnunet", unet, plan, sgd, (2, 2, 4, 8, 12), True


packages = ("torch", "monai", "dynamic-network-architectures")
result = {"made_with": {p: importlib.metadata.version(p) for p in packages}, "cases": []}
for network, model, plan, optimizer, shape, batch_dice in cases():
    result["cases"].append({"network": network, "plan": plan, "shape": shape, "batch_dice": batch_dice,
                            **golden(model, optimizer, shape, batch_dice)})
text = json.dumps(result)
for mark in ('"plan":', '"logits', '"losses":', '"gradients":', '"changes":', '"network":'):
    text = text.replace(mark, "\n" + mark)
print(text)
