# SPDX-License-Identifier: Apache-2.0
"""Numbers by formula, for golden data that need not be stored: value i of a stream, in [-1, 1). tests/support/mixed.h
has the same."""
import numpy as np
import torch


def stream(name):
    """FNV-1a."""
    h = 0x811C9DC5
    for letter in name.encode():
        h = (h ^ letter) * 0x01000193 & 0xFFFFFFFF
    return h


def mixed(shape, name):
    x = (np.arange(int(np.prod(shape)), dtype=np.uint64) + 1) * 2654435761 + stream(name) & 0xFFFFFFFF
    x = (x ^ x >> 15) * 2246822519 & 0xFFFFFFFF
    x = (x ^ x >> 13) * 3266489917 & 0xFFFFFFFF
    x ^= x >> 16
    return torch.from_numpy((x / 2**31 - 1).reshape(shape))
