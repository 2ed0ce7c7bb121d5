#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes augment.json: what nnU-Net's own transforms make of a small case with their random numbers injected. Needs
batchgeneratorsv2 (written with 0.3.6), torch and numpy: python3 make_augment.py > augment.json

The case is (2, 9, 11, 10): value ((i * 7919 + 13) % 1009) / 256 - 1 at flat index i; label of voxel i (i // 7) % 4 - 1. A
window that starts at FIRST and extends over WINDOW becomes the patch PATCH; of the flat one the depths are equal.
"""
import json
import sys

import numpy as np
import torch
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform

SHAPE, FIRST, WINDOW, PATCH = (9, 11, 10), (-1, 0, 2), (9, 10, 9), (6, 7, 5)
FLAT_FIRST, FLAT_WINDOW = (1, 0, 2), (6, 10, 9)


def case():
    n = int(np.prod(SHAPE))
    data = (((np.arange(2 * n) * 7919 + 13) % 1009) / 256 - 1).reshape(2, *SHAPE)
    return data, ((np.arange(n) // 7) % 4 - 1).reshape(SHAPE)


def window(x, first, extent, fill):
    out = np.full(extent, fill, dtype=x.dtype)
    lo = [max(0, -f) for f in first]
    hi = [min(w, s - f) for w, s, f in zip(extent, SHAPE, first)]
    inside = tuple(slice(a, b) for a, b in zip(lo, hi))
    out[inside] = x[tuple(slice(a + f, b + f) for a, b, f in zip(lo, hi, first))]
    return out


def loaded(first, extent):
    """As the data loader hands it over."""
    data, seg = case()
    return {"image": torch.from_numpy(np.stack([window(c, first, extent, 0.0) for c in data])),
            "segmentation": torch.from_numpy(window(seg, first, extent, -1))[None].to(torch.int16)}


def spatial(sample, patch, angles, scale):
    """angles: an axis each; in two dimensions the one that turns."""
    t = SpatialTransform(patch, 0, False, p_rotation=float(angles is not None), p_scaling=float(scale is not None),
                         rotation=lambda image, dim: angles[dim], scaling=lambda image, dim: scale,
                         p_synchronize_scaling_across_axes=1, bg_style_seg_sampling=False, border_mode_seg="constant",
                         padding_value_seg=-1)
    sample["image"] = sample["image"].float()
    return t(**sample)


def flat(angle, scale):
    sample = spatial(Convert3DTo2DTransform()(**loaded(FLAT_FIRST, FLAT_WINDOW)), PATCH[1:], (angle, angle), scale)
    return Convert2DTo3DTransform()(**sample)


def in_turn(values):
    """Draws that come one after the other, whatever is asked for."""
    values = iter(values)
    return lambda *args, **kwargs: next(values)


def rounded(x):
    return [float(f"{v:.7g}") for v in np.asarray(x).ravel()]


def labels(sample):
    return [int(v) for v in sample["segmentation"].ravel()]


def main():
    centre = spatial(loaded(FIRST, WINDOW), PATCH, None, None)
    turned, in_plane = spatial(loaded(FIRST, WINDOW), PATCH, (0.3, -0.2, 0.4), 1.1), flat(0.7, 0.9)
    # Of voxels whose neighbours lie partly beyond the window only the image: 0.3.6 lets what is beyond vote for -1,
    # earlier versions, and we, give it no vote.
    beyond = spatial(loaded(FIRST, WINDOW), PATCH, (0.3, -0.2, 0.4), 1.4)
    only_scaled = spatial(loaded(FIRST, WINDOW), PATCH, None, 0.77)

    def after(transform):
        return rounded(transform(image=centre["image"].clone(), segmentation=centre["segmentation"].clone())["image"])

    def low_resolution(axes):
        return SimulateLowResolutionTransform(in_turn((0.6, 0.85)), False, True, axes, None, 1)

    def gamma(values, inverted):
        return GammaTransform(in_turn(values), float(inverted), False, 1, 1)

    mirrored = {"image": MirrorTransform((0, 1, 2))._apply_to_image(centre["image"], axes=[0, 2]),
                "segmentation": MirrorTransform((0, 1, 2))._apply_to_segmentation(centre["segmentation"], axes=[0, 2])}
    json.dump({
        "centre": rounded(centre["image"]), "centre_labels": labels(centre),
        "spatial": rounded(turned["image"]), "spatial_labels": labels(turned),
        "beyond": rounded(beyond["image"]),
        "scaled": rounded(only_scaled["image"]), "scaled_labels": labels(only_scaled),
        "in_plane": rounded(in_plane["image"]), "in_plane_labels": labels(in_plane),
        "blur": after(GaussianBlurTransform(in_turn((0.5, 0.8, 1.0, 0.9, 0.6, 0.7)), False, False, 1)),
        "brightness": after(MultiplicativeBrightnessTransform(in_turn((0.8, 1.2)), False, 1)),
        "contrast": after(ContrastTransform(in_turn((1.2, 0.8)), True, False, 1)),
        "low_resolution": after(low_resolution(None)), "low_resolution_in_plane": after(low_resolution((0,))),
        "gamma": after(gamma((1.4, 0.8), False)), "inverted_gamma": after(gamma((0.75, 1.3), True)),
        "mirror": rounded(mirrored["image"]), "mirror_labels": labels(mirrored),
        "mask": after(MaskImageTransform([1]))}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
