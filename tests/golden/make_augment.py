#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes augment.json: what nnU-Net's own transforms make of a small case with their random numbers injected, today's
and, under names that begin with bg1, those up to nnU-Net 2.3. Needs batchgeneratorsv2 (written with 0.3.6),
batchgenerators (0.25.5), torch and numpy: python3 make_augment.py > augment.json

The case is (2, 9, 11, 10): value ((i * 7919 + 13) % 1009) / 256 - 1 at flat index i; label of voxel i (i // 7) % 4 - 1. A
window that starts at FIRST and extends over WINDOW becomes the patch PATCH; of the flat one the depths are equal.
"""
import json
import sys
from unittest import mock

import numpy as np
import torch
from batchgenerators.augmentations.color_augmentations import (augment_brightness_multiplicative, augment_contrast,
                                                               augment_gamma)
from batchgenerators.augmentations.noise_augmentations import augment_gaussian_blur, augment_gaussian_noise
from batchgenerators.augmentations.resample_augmentations import augment_linear_downsampling_scipy
from batchgenerators.augmentations.spatial_transformations import augment_spatial
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform

SHAPE, FIRST, WINDOW, PATCH = (9, 11, 10), (-1, 0, 2), (9, 10, 9), (6, 7, 5)
FLAT_FIRST, FLAT_WINDOW = (1, 0, 2), (6, 10, 9)
NOISE_KEY, SIGMA = 0x123456789abcdef, 0.07


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


def normals(shape, key):
    """The field of normal numbers that kernels/augment_bodies.h makes of a key."""
    n, run = int(np.prod(shape)), 64
    blocks = np.arange(-(-n // (4 * run)) * run, dtype=np.uint64)
    low, ten = np.uint64(0xffffffff), np.uint64(32)
    c = [blocks & low, blocks >> ten, np.zeros_like(blocks), np.zeros_like(blocks)]
    k = [key & 0xffffffff, key >> 32]
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(b >> ten) ^ c[1] ^ np.uint64(k[0]), b & low, (a >> ten) ^ c[3] ^ np.uint64(k[1]), a & low]
        k = [(k[0] + 0x9E3779B9) & 0xffffffff, (k[1] + 0xBB67AE85) & 0xffffffff]
    out = np.empty(4 * len(blocks))
    first = np.arange(len(blocks)) // run * 4 * run + np.arange(len(blocks)) % run
    for j in (0, 2):  # Box and Muller
        radius = np.sqrt(-2 * np.log(((c[j] >> np.uint64(8)).astype(float) + 0.5) * 2.0**-24))
        turn = 2 * np.pi * (c[j + 1] >> np.uint64(8)).astype(float) * 2.0**-24
        out[first + j * run], out[first + (j + 1) * run] = radius * np.cos(turn), radius * np.sin(turn)
    return out[:n].reshape(shape)


def noisy(image):
    fields = torch.stack([torch.from_numpy(normals(c.shape, NOISE_KEY + i)) for i, c in enumerate(image)])
    with mock.patch.object(torch.Tensor, "normal_", lambda self, mean, std: self.copy_(mean + std * fields)):
        return GaussianNoiseTransform(in_turn((SIGMA,)), 1, True)(image=image.clone())["image"]


def drawing(uniform=(), random=(), normal=None):
    """numpy's generator gives these numbers, one after the other."""
    return mock.patch.multiple("numpy.random", uniform=in_turn(uniform), random=in_turn(random), normal=normal)


def bg1_spatial(first, extent, patch, angles, scale):
    """In two dimensions slices are channels, as where a patch is flat."""
    sample = loaded(first, extent)
    stacked = lambda x: x.numpy().reshape(1, -1, *extent[-len(patch):]).astype(np.float32)
    draws = ([0] + [v for a in angles for v in (0, a)] if angles else []) + ([0, scale] if scale else [])
    with drawing(draws, [0.0 if scale and scale < 1 else 0.9]):
        data, seg = augment_spatial(stacked(sample["image"]), stacked(sample["segmentation"]), patch,
                                    do_elastic_deform=False, do_rotation=angles is not None, do_scale=scale is not None,
                                    scale=(0.7, 1.4), border_mode_data="constant", border_cval_data=0, order_data=3,
                                    border_mode_seg="constant", border_cval_seg=-1, order_seg=1, random_crop=False)
    return {"image": data, "segmentation": seg.astype(int)}


def bg1(centre):
    """Of nnU-Net up to 2.3. `centre` is the patch that values change in."""
    def after(f, draws, random=(), **kwargs):
        with drawing(draws, random):
            return rounded(f(centre.copy(), **kwargs))

    def blur(image):
        with drawing((0, 0)), mock.patch("random.uniform", in_turn((0.6, 1.0))):
            return rounded(augment_gaussian_blur(image.copy(), (0.5, 1.0), p_per_channel=0.5))

    def low_resolution(axes):
        return after(augment_linear_downsampling_scipy, (0, 0.6, 0, 0.85), per_channel=True, p_per_channel=0.5,
                     order_downsample=0, order_upsample=3, ignore_axes=axes)

    def gamma(values, inverted):
        return after(augment_gamma, values, [0.0 if v < 1 else 0.9 for v in values], gamma_range=(0.7, 1.5),
                     invert_image=inverted, per_channel=True, retain_stats=True)

    with drawing((0, 0), normal=lambda mean, sigma, size: sigma * normals(size, NOISE_KEY + next(channel))), \
            mock.patch("random.uniform", in_turn((SIGMA,))):
        channel = iter(range(2))
        noise = rounded(augment_gaussian_noise(centre.copy()))
    out = {
        "noise": noise, "blur": blur(centre), "thin_blur": blur(centre[:, :2]),  # fewer slices than taps
        "brightness": after(augment_brightness_multiplicative, (1, 0.8, 1.2)),
        "contrast": after(augment_contrast, (0, 1.2, 0, 0.8), (0.9, 0.0)),
        "low_resolution": low_resolution(None), "low_resolution_in_plane": low_resolution((0,)),
        "gamma": gamma((1.4, 0.8), False), "inverted_gamma": gamma((0.75, 1.3), True),
    }
    for name, sample in (("centre", bg1_spatial(FIRST, WINDOW, PATCH, None, None)),
                         ("spatial", bg1_spatial(FIRST, WINDOW, PATCH, (0.3, -0.2, 0.4), 1.1)),
                         ("beyond", bg1_spatial(FIRST, WINDOW, PATCH, (0.3, -0.2, 0.4), 1.37)),
                         ("scaled", bg1_spatial(FIRST, WINDOW, PATCH, None, 0.77)),
                         ("in_plane", bg1_spatial(FLAT_FIRST, FLAT_WINDOW, PATCH[1:], (0.7,), 0.9))):
        out[name], out[name + "_labels"] = rounded(sample["image"]), labels(sample)
    return {"bg1_" + name: values for name, values in out.items()}


def rounded(x):
    return [float(f"{v:.7g}") for v in np.asarray(x).ravel()]


def labels(sample):
    return [int(v) for v in sample["segmentation"].ravel()]


def main():
    centre = spatial(loaded(FIRST, WINDOW), PATCH, None, None)
    turned, in_plane = spatial(loaded(FIRST, WINDOW), PATCH, (0.3, -0.2, 0.4), 1.1), flat(0.7, 0.9)
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
        "beyond": rounded(beyond["image"]), "beyond_labels": labels(beyond),
        "scaled": rounded(only_scaled["image"]), "scaled_labels": labels(only_scaled),
        "in_plane": rounded(in_plane["image"]), "in_plane_labels": labels(in_plane),
        "blur": after(GaussianBlurTransform(in_turn((0.5, 0.8, 1.0, 0.9, 0.6, 0.7)), False, False, 1)),
        "brightness": after(MultiplicativeBrightnessTransform(in_turn((0.8, 1.2)), False, 1)),
        "contrast": after(ContrastTransform(in_turn((1.2, 0.8)), True, False, 1)),
        "low_resolution": after(low_resolution(None)), "low_resolution_in_plane": after(low_resolution((0,))),
        "gamma": after(gamma((1.4, 0.8), False)), "inverted_gamma": after(gamma((0.75, 1.3), True)),
        "mirror": rounded(mirrored["image"]), "mirror_labels": labels(mirrored),
        "mask": after(MaskImageTransform([1])), "noise": rounded(noisy(centre["image"])),
        **bg1(centre["image"].numpy())}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
