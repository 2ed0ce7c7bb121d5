# SPDX-License-Identifier: Apache-2.0
# Writes statistics.json (golden): samples and what SciPy says of them, and a made-up study of three models, two regimes
# and nine cases. Needs numpy and scipy (written with 1.17).
# Usage: python make_statistics.py > statistics.json
import itertools
import json

import numpy as np
from scipy import stats

rng = np.random.RandomState(5)
SIDES = ("two-sided", "less", "greater")


def numbers(x):
    return ["inf" if np.isinf(v) else float(v) for v in np.asarray(x, float)]


def differences(n, kind):
    x = rng.randn(n) + rng.uniform(-.5, 1)
    if kind != "plain":
        x = np.round(x * 3) / 4  # ties, zeros
    if kind == "infinite":
        x[0], x[-1] = np.inf, np.inf
    return x


def flips(d, side):
    """All 2^n signs, one by one: exact with ties and zeros."""
    ranks = stats.rankdata(np.abs(d[d != 0]))
    here = ranks[d[d != 0] > 0].sum()
    sums = np.array([np.dot(s, ranks) for s in itertools.product((0, 1), repeat=len(ranks))])
    less, greater = np.mean(sums <= here), np.mean(sums >= here)
    return {"less": less, "greater": greater, "two-sided": min(1, 2 * min(less, greater))}[side]


def wilcoxon(d):
    out = {"x": numbers(d)}
    for side in SIDES:
        plain = np.all(d != 0) and len(set(abs(d))) == len(d)
        if plain:
            exact = stats.wilcoxon(d, alternative=side, method="exact").pvalue
        else:
            exact = flips(d, side) if len(d) <= 13 else None
        asymptotic = stats.wilcoxon(d, alternative=side, method="asymptotic")
        out[side] = [float(asymptotic.statistic), None if exact is None else float(exact), float(asymptotic.pvalue)]
    return out


def mann_whitney(n, m, tied):
    a, b = rng.randn(n) + rng.uniform(-1, 1), rng.randn(m)
    if tied:
        a, b = np.round(a * 2), np.round(b * 2)
        a[0] = np.inf
    return {"a": numbers(a), "b": numbers(b),
            **{s: [float(v) for v in stats.mannwhitneyu(a, b, alternative=s)] for s in SIDES}}


def kruskal(sizes, tied):
    samples = [rng.randn(n) + k / 3 for k, n in enumerate(sizes)]
    if tied:
        samples = [np.round(s * 2) for s in samples]
    return {"samples": [numbers(s) for s in samples], "result": [float(v) for v in stats.kruskal(*samples)]}


def shapiro(n, kind):
    x = {"normal": rng.randn, "skew": lambda k: rng.exponential(size=k)**2, "near one": lambda k: 1 - rng.rand(k) * 1e-4}[kind](n)
    return {"x": numbers(x), "result": [float(v) for v in stats.shapiro(x)]}


def student(n):
    x = rng.gamma(2, size=n)
    low, high = stats.t.interval(.95, n - 1, loc=x.mean(), scale=stats.sem(x))
    bca = stats.bootstrap((x,), np.mean, n_resamples=200000, random_state=1).confidence_interval
    return {"x": numbers(x), "student": [float(low), float(high)], "bca": [float(bca.low), float(bca.high)]}


def wilson(k, n):
    return [k, n, *map(float, stats.binomtest(k, n).proportion_ci(method="wilson"))]


def power(n, side):
    """Probability that the paired t-test shows a difference of one standard deviation of the differences."""
    t = stats.t.ppf(.975 if side == "two-sided" else .95, n - 1)
    ncp = np.sqrt(n)
    return [n, side, float(stats.nct.sf(t, n - 1, ncp))]


METRICS = [f"{m}_{r}" for m in ("DICE", "Hausdorff", "Sensitivity", "Specificity", "True_volume", "Predicted_volume")
           for r in ("et", "tc", "wt")]


def study():
    scores = {}
    for model, regime in itertools.product("abc", ("fine-tuned", "scratch")):
        columns = {}
        for name in METRICS:
            if name.startswith("Hausdorff"):
                x = np.sqrt(rng.randint(1, 20, 9))
            elif "volume" in name:
                x = np.arange(1, 10) * 1.5
            else:
                x = np.round(1 - rng.rand(9) ** 2 * .3, 2)  # ties, zero differences
            columns[name] = x
        scores[model, regime] = columns
    rows = []
    for group, models in (("a", "a"), ("b", "b"), ("c", "c"), ("pooled", "abc")):
        for name in METRICS[:9]:
            a, b = (np.mean([scores[m, r][name] for m in models], axis=0) for r in ("fine-tuned", "scratch"))
            side = "less" if name.startswith("Hausdorff") else "greater"
            rows.append(["paired", "fine-tuned_vs_scratch", group, name, flips(a - b, side)])
    for other in "ac":
        for name in METRICS[:9]:
            rows.append(["paired", "architecture", "b_vs_" + other, name,
                         flips(scores["b", "fine-tuned"][name] - scores[other, "fine-tuned"][name], "two-sided")])
    for name in METRICS[:12]:
        a, b = (np.concatenate([scores[m, r][name] for m in "abc"]) for r in ("fine-tuned", "scratch"))
        rows.append(["paper", "fine-tuned_vs_scratch", "pooled", name, stats.mannwhitneyu(a, b, alternative="greater")[1]])
        by_model = {m: np.concatenate([scores[m, r][name] for r in ("fine-tuned", "scratch")]) for m in "abc"}
        for a, b in ("cb", "ca", "ba"):
            rows.append(["paper", "architecture", f"{a}_vs_{b}", name,
                         stats.mannwhitneyu(by_model[a], by_model[b], alternative="greater")[1]])
    return {"scores": [{"model": m, "regime": r, "columns": {k: numbers(v) for k, v in c.items()}}
                       for (m, r), c in scores.items()], "p_values": rows}


out = {
    "wilcoxon": [wilcoxon(differences(n, kind)) for n in (1, 2, 5, 10, 12, 13, 30, 60)
                 for kind in (("plain", "tied") if n < 5 else ("plain", "tied", "infinite"))],
    "mann_whitney": [mann_whitney(n, m, tied) for n, m in ((1, 1), (3, 5), (8, 8), (8, 40), (10, 10), (30, 30), (7, 200))
                     for tied in (False, True)],
    "kruskal": [kruskal(s, tied) for s in ((5, 5), (10, 10, 10), (3, 8, 20, 4)) for tied in (False, True)],
    "shapiro": [shapiro(n, kind) for n in (3, 4, 5, 6, 7, 10, 11, 12, 20, 50, 200)
                for kind in ("normal", "skew", "near one")],
    "intervals": [student(n) for n in (3, 6, 10, 40)],
    "wilson": [wilson(k, n) for k, n in ((0, 1), (1, 1), (0, 10), (3, 10), (10, 10), (77, 300))],
    "power": [power(n, side) for n in (4, 7, 10, 26) for side in ("two-sided", "greater")],
    "study": study(),
}
print("{\n" + ",\n".join(f"{json.dumps(k)}: " + ("[\n" + ",\n".join(map(json.dumps, v)) + "]" if isinstance(v, list) else
      "{" + ",\n".join(f"{json.dumps(i)}: [\n" + ",\n".join(map(json.dumps, w)) + "]" for i, w in v.items()) + "}")
      for k, v in out.items()) + "}")
