# SPDX-License-Identifier: Apache-2.0
# Writes surface.json (golden): pairs of small masks (bits as hex, z y x, first voxel the highest bit) and what
# google-deepmind/surface-distance says of them. Needs numpy, scipy and surface-distance (written with 0.1).
# Usage: python make_surface.py > surface.json
import json

import numpy as np

np.Inf = np.inf  # surface-distance 0.1 was written for numpy 1
from scipy import ndimage  # noqa: E402
import surface_distance as sd  # noqa: E402
from surface_distance import lookup_tables  # noqa: E402

rng = np.random.RandomState(11)
SPACINGS = [(1., 1., 1.), (1., .5, .5), (.5, .5, 1.), (1.0000014305114746, .5, .5), (5., .9, .9), (.7, 1.3, 2.1)]


def blob(shape, kind):
    if kind == "noise":
        return rng.rand(*shape) < rng.uniform(.02, .6)
    smooth = ndimage.gaussian_filter(rng.randn(*shape), rng.uniform(.6, 1.6))
    return smooth > np.quantile(smooth, rng.uniform(.6, .97))


def number(x):
    return "inf" if np.isinf(x) else float(x)


def case(a, b, spacing):
    d = sd.compute_surface_distances(b, a, spacing)
    return {"shape": a.shape, "spacing_mm": spacing, "prediction": np.packbits(a).tobytes().hex(),
            "truth": np.packbits(b).tobytes().hex(), "hd95": number(sd.compute_robust_hausdorff(d, 95)),
            "hd100": number(sd.compute_robust_hausdorff(d, 100)),
            "nsd": [sd.compute_surface_dice_at_tolerance(d, t) for t in (.5, 1., 2.)],
            "areas_mm2": [float(d["surfel_areas_pred"].sum()), float(d["surfel_areas_gt"].sum())]}


cases = []
for i in range(36):
    shape = tuple(int(n) for n in rng.randint(3, 13, 3))
    kind = ("noise", "smooth", "smooth")[i % 3]
    cases.append(case(blob(shape, kind), blob(shape, kind), SPACINGS[i % len(SPACINGS)]))
one = np.zeros((4, 5, 6), bool)
one[0, 0, 0] = True
cases.append(case(one, np.zeros_like(one), SPACINGS[0]))
cases.append(case(one, one, SPACINGS[1]))
cases.append(case(one, one[::-1, ::-1, ::-1].copy(), SPACINGS[2]))
tables = [{"spacing_mm": s, "areas_mm2": lookup_tables.create_table_neighbour_code_to_surface_area(s).tolist()}
          for s in (SPACINGS[0], SPACINGS[5])]
print("{\"tables\": [\n" + ",\n".join(map(json.dumps, tables)) + "],\n\"cases\": [\n" +
      ",\n".join(map(json.dumps, cases)) + "]}")
