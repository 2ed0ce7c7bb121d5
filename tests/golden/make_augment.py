#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes augment.json: what PyTorch gives for the transforms of augmentation with fixed parameters.

The case is (2, 9, 11, 10): value ((i * 7919 + 13) % 1009) / 256 - 1 at flat index i; label of voxel i (i // 7) % 4 - 1 where
that is below 3. The window starts at (-1, 0, 2) with extent (9, 10, 9), the patch is (6, 7, 5).
"""
import json
import os

import numpy as np
import torch
import torch.nn.functional as F

SHAPE, FIRST, WINDOW, PATCH = (9, 11, 10), (-1, 0, 2), (9, 10, 9), (6, 7, 5)


def case():
    n = int(np.prod(SHAPE))
    data = (((np.arange(2 * n) * 7919 + 13) % 1009) / 256 - 1).reshape(2, *SHAPE)
    return data, ((np.arange(n) // 7) % 4 - 1).reshape(SHAPE)


def window(x, fill):
    out = np.full(WINDOW, fill, dtype=x.dtype)
    lo = [max(0, -f) for f in FIRST]
    hi = [min(w, s - f) for w, s, f in zip(WINDOW, SHAPE, FIRST)]
    inside = tuple(slice(a, b) for a, b in zip(lo, hi))
    out[inside] = x[tuple(slice(a + f, b + f) for a, b, f in zip(lo, hi, FIRST))]
    return out


def grid(angles, scale):
    a, b, c = angles
    r0 = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    r1 = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    r2 = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    matrix = r2 @ r1 @ r0 * scale
    index = np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in PATCH], indexing="ij"), -1)
    at = index @ matrix.T + (np.array(WINDOW) - 1) / 2
    return torch.from_numpy(((2 * at + 1) / np.array(WINDOW) - 1)[..., ::-1].copy())


def sample(x, g):
    return F.grid_sample(torch.from_numpy(x.astype(np.float64))[None, None], g[None], mode="bilinear", padding_mode="zeros",
                         align_corners=False)[0, 0].numpy()


def spatial(data, seg, angles, scale):
    g = grid(angles, scale)
    image = np.stack([sample(window(c, 0.0), g) for c in data])
    s = window(seg, -1)
    labels = np.unique(s)
    votes = np.stack([sample((s == v).astype(float), g) for v in labels])
    return image, labels[votes.argmax(0)], np.sort(votes, 0)


def taps(sigma):
    n = 6 * sigma + 0.5
    r = round(n)
    size = r if r % 2 else r + 1 if n >= r else r - 1
    x = np.arange(size) - (size - 1) / 2
    k = np.exp(-0.5 * (x / sigma) ** 2)
    return k / k.sum()


def blur(x, sigmas):
    x = torch.from_numpy(x)[None, None]
    for axis, sigma in enumerate(sigmas):
        k = torch.from_numpy(taps(sigma))
        shape, pad = [1] * 5, [0] * 6
        shape[2 + axis] = len(k)
        pad[2 * (2 - axis)] = pad[2 * (2 - axis) + 1] = len(k) // 2
        x = F.conv3d(F.pad(x, pad, mode="reflect"), k.reshape(shape))
    return x[0, 0].numpy()


def gamma(x, g, inverted):
    x = -x if inverted else x
    mean, std, low, span = x.mean(), x.std(ddof=1), x.min(), x.max() - x.min()
    y = ((x - low) / span) ** g * span + low
    y = (y - y.mean()) * (std / y.std(ddof=1)) + mean
    return -y if inverted else y


def contrast(x, f):
    return np.clip((x - x.mean()) * f + x.mean(), x.min(), x.max())


def low_resolution(x, zoom):
    t = torch.from_numpy(x)[None, None]
    small = F.interpolate(t, [round(n * zoom) for n in x.shape], mode="nearest-exact")
    return F.interpolate(small, x.shape, mode="trilinear")[0, 0].numpy()


def rounded(x):
    return [float(f"{v:.7g}") for v in np.asarray(x).ravel()]


def main():
    data, seg = case()
    image, labels, votes = spatial(data, seg, (0.3, -0.2, 0.4), 1.2)
    start = [f + w // 2 - p // 2 for f, w, p in zip(FIRST, WINDOW, PATCH)]
    x = data[0][tuple(slice(s, s + p) for s, p in zip(start, PATCH))].copy()
    out = {
        "centre": rounded(x),
        "spatial_image": rounded(image),
        "spatial_labels": [int(v) for v in labels.ravel()],
        "spatial_margin": rounded(votes[-1] - votes[-2]),
        "blur": rounded(blur(x, (0.5, 0.8, 1.0))),
        "contrast": rounded(contrast(x, 1.2)),
        "low_resolution": rounded(low_resolution(x, 0.6)),
        "gamma": rounded(gamma(x, 1.4, False)),
        "inverted_gamma": rounded(gamma(x, 0.75, True)),
    }
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "augment.json"), "w") as f:
        json.dump(out, f)
        f.write("\n")


if __name__ == "__main__":
    main()
