#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small odd NIfTI files and what nibabel reads from them: tests/golden/nifti/. Needs nibabel and numpy."""
import gzip
import json
import math
import pathlib

import nibabel as nib
import numpy as np

OUT = pathlib.Path(__file__).parent / "nifti"
SHAPE = (5, 4, 3)
HEADERS = {1: nib.Nifti1Header, 2: nib.Nifti2Header}
IMAGES = {(1, True): nib.Nifti1Image, (1, False): nib.Nifti1Pair, (2, True): nib.Nifti2Image, (2, False): nib.Nifti2Pair}
cases = []


def rotation(x, y, z):
    """Turn about x, then y, then z, in radians."""
    cx, sx, cy, sy, cz, sz = math.cos(x), math.sin(x), math.cos(y), math.sin(y), math.cos(z), math.sin(z)
    return (np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]]) @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
            @ np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]]))


def affine(matrix, spacing, offset):
    out = np.eye(4)
    out[:3, :3] = matrix @ np.diag(spacing)
    out[:3, 3] = offset
    return out


def voxels(dtype):
    dtype = np.dtype(dtype)
    n = np.arange(np.prod(SHAPE))
    if dtype.kind == "f":
        values = (n - 20) * 1.37 + 0.001 * n * n
    else:
        info = np.iinfo(dtype)
        step = int(info.max) // 64
        values = np.array([int(info.max) - step * int(k) if k % 2 or info.min == 0 else int(info.min) + step * int(k) for k in n],
                          dtype=object)
    return values.astype(dtype).reshape(SHAPE, order="F")


def save(name, dtype="i2", version=1, endian="<", form="sform", matrix=None, spacing=(0.9, 1.1, 2.5), offset=(-80.5, 70.25, -33),
         slope=None, extra_axes=()):
    header = HEADERS[version](endianness=endian)
    data = voxels(dtype).reshape(SHAPE + extra_axes, order="F")
    header.set_data_shape(data.shape)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(endian))
    header.set_zooms(spacing + (1.0,) * len(extra_axes))
    header["xyzt_units"] = 10
    matrix = np.diag([-1, -1, 1]) if matrix is None else matrix
    grid = affine(matrix, spacing, offset)
    if form in ("qform", "both"):
        header.set_qform(grid, code=1)
    if form == "sform":
        header.set_sform(grid, code=2)
    if form == "both":  # deliberately elsewhere: the sform wins
        header.set_sform(affine(matrix, spacing, (1, 2, 3)), code=4)
    if slope is not None:
        header["scl_slope"], header["scl_inter"] = slope
    single = not name.endswith((".img", ".img.gz"))
    header["magic"] = {(1, True): b"n+1", (1, False): b"ni1", (2, True): b"n+2", (2, False): b"ni2"}[version, single]
    if single:
        header["vox_offset"] = 352 if version == 1 else 544
    raw_header = header.binaryblock
    raw_voxels = data.astype(np.dtype(dtype).newbyteorder(endian)).tobytes(order="F")
    pack = (lambda b: gzip.compress(b, mtime=0)) if name.endswith(".gz") else (lambda b: b)
    if single:
        (OUT / name).write_bytes(pack(raw_header + bytes(4) + raw_voxels))
    else:
        (OUT / name).write_bytes(pack(raw_voxels))
        (OUT / name.replace(".img", ".hdr")).write_bytes(pack(raw_header))

    image = IMAGES[version, single].from_filename(OUT / name)
    used = slope is not None and np.isfinite(slope[0]) and slope[0] != 0
    expected = data.astype(np.float64)
    if used:
        expected = expected * float(np.float32(slope[0])) + float(np.float32(slope[1]))
    assert np.allclose(image.get_fdata(), expected, rtol=1e-6)
    found = image.affine if form != "none" else np.diag([float(z) for z in header.get_zooms()[:3]] + [1.0])
    cases.append(dict(file=name, version=version, dtype=np.dtype(dtype).name, shape=SHAPE, affine=found.tolist(),
                      axes="".join(nib.aff2axcodes(found)) if form != "none" else "unknown",
                      spacing_mm=[float(z) for z in header.get_zooms()[:3]],
                      qform_code=int(header["qform_code"]), sform_code=int(header["sform_code"]),
                      values=[float(v) for v in expected.reshape(-1, order="F")]))


def main():
    OUT.mkdir(exist_ok=True)
    for endian, word in (("<", "little"), (">", "big")):
        for dtype in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"):
            save(f"{dtype}-{word}.nii", dtype, endian=endian)
        save(f"v2-i2-{word}.nii", "i2", version=2, endian=endian)
        save(f"v2-f8-{word}.nii.gz", "f8", version=2, endian=endian, form="qform", matrix=rotation(0.3, -0.2, 0.1))
        save(f"pair-{word}.img", "i2", endian=endian)
    save("pair-zipped.img.gz", "u1")
    save("v2-pair.img", "f4", version=2)
    save("zipped.nii.gz", "i2")
    save("slope.nii", "i2", slope=(0.5, -3.25))
    save("slope-tiny.nii", "i4", slope=(2.3283064370807974e-10, 0.5))
    save("slope-zero.nii", "i2", slope=(0, 7))
    save("slope-nan.nii", "i2", slope=(np.nan, 7))
    save("slope-float.nii", "f4", slope=(-2, 1), endian=">")
    save("trailing.nii", "u1", extra_axes=(1,))
    save("qform-oblique.nii", form="qform", matrix=rotation(0.4, 0.25, -0.6))
    save("qform-mirrored.nii", form="qform", matrix=rotation(0.1, -0.3, 0.2) @ np.diag([1, 1, -1]))
    save("qform-half-turn.nii", form="qform", matrix=np.diag([-1, -1, 1]))
    save("qform-permuted.nii", form="qform", matrix=np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]))
    save("sform-oblique.nii", matrix=rotation(-0.2, 0.35, 0.5))
    save("both-forms.nii", form="both", matrix=rotation(0.2, 0, 0.1))
    save("no-forms.nii", form="none")
    (OUT / "expected.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")


if __name__ == "__main__":
    main()
