// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "segmentation/study/shapiro_wilk.h"

namespace metvox {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

using Systems = std::vector<const SystemScores*>;

// What is compared: the systems of one side with those of the other, one by one.
struct Sides {
  std::string comparison, group;
  Systems a, b;
};

struct Samples {
  std::vector<double> a, b;
};

// Paper mode puts the cases of several systems behind each other, paired mode averages them case by case.
std::vector<double> join(const Systems& systems, const std::string& metric, CompareMode mode) {
  std::vector<double> out;
  for (const SystemScores* s : systems) {
    const auto& values = s->values.at(metric);
    if (mode == CompareMode::paper || out.empty()) {
      out.insert(out.end(), values.begin(), values.end());
    } else {
      for (size_t i = 0; i < values.size(); ++i) out[i] += values[i];
    }
  }
  if (mode == CompareMode::paired)
    for (double& value : out) value /= static_cast<double>(systems.size());
  return out;
}

Samples complete_pairs(const Sides& sides, const std::string& metric, CompareMode mode) {
  const auto a = join(sides.a, metric, mode), b = join(sides.b, metric, mode);
  Samples out;
  for (size_t i = 0; i < a.size(); ++i)
    if (!std::isnan(a[i]) && !std::isnan(b[i])) {
      out.a.push_back(a[i]);
      out.b.push_back(b[i]);
    }
  return out;
}

std::vector<std::string> tested_metrics(CompareMode mode) {
  std::vector<std::string> out;
  for (const std::string& metric : study_metrics())
    for (const char* family : {"DICE_", "Hausdorff_", "Sensitivity_", "Specificity_"})
      if (metric.starts_with(family) && (mode == CompareMode::paper || !metric.starts_with("Specificity_")))
        out.push_back(metric);
  return out;
}

// Sorted, so that sums over models do not depend on the order of the files.
std::vector<std::string> models_of(const StudyScores& scores) {
  std::vector<std::string> models;
  for (const SystemScores& s : scores.systems) models.push_back(s.model);
  std::sort(models.begin(), models.end());
  models.erase(std::unique(models.begin(), models.end()), models.end());
  return models;
}

Descriptive describe(const SystemScores& system, const std::string& metric, CompareMode mode, Bootstrap& bootstrap) {
  std::vector<double> x = system.values.at(metric);
  std::erase_if(x, [](double value) { return !std::isfinite(value); });
  const Interval ci = mode == CompareMode::paper ? student_interval(x) : bootstrap.of_mean(x);
  return {system.name(), metric, std::ssize(x), mean(x), std_population(x), std_sample(x), ci, shapiro_wilk(x)};
}

void add_effects(PairTest& row, const std::vector<double>& differences, Bootstrap& bootstrap) {
  const SignedRanks ranks = rank_signed(differences);
  row.rank_biserial = matched_rank_biserial(ranks);
  row.equal_cases = std::count(differences.begin(), differences.end(), 0.0);
  row.a_better_share95 = wilson_interval(row.a_better_cases, row.n_cases);
  row.smallest_p = smallest_p(ranks.doubled.size(), row.alternative);
  const bool finite = std::all_of(differences.begin(), differences.end(), [](double d) { return std::isfinite(d); });
  row.mean_difference = finite ? mean(differences) : kNaN;
  row.difference95 = finite ? bootstrap.of_mean(differences) : Interval{kNaN, kNaN};
  row.detectable_difference =
      finite ? detectable_difference(std_sample(differences), differences.size(), row.alternative) : kNaN;
}

PairTest test(const Sides& sides, const std::string& metric, CompareMode mode, Bootstrap& bootstrap) {
  const Samples x = complete_pairs(sides, metric, mode);
  const auto differences = paired_differences(x.a, x.b);
  const bool lower = lower_is_better(metric);
  PairTest row;
  row.comparison = sides.comparison;
  row.group = sides.group;
  row.metric = metric;
  row.mean_a = mean(x.a);
  row.mean_b = mean(x.b);
  row.n_cases = std::ssize(x.a);
  row.a_better_cases =
      std::count_if(differences.begin(), differences.end(), [&](double d) { return lower ? d < 0 : d > 0; });
  row.equal_cases = std::count(differences.begin(), differences.end(), 0.0);
  if (mode == CompareMode::paper) {
    row.test = "mann-whitney";
    row.alternative = Alternative::greater;
    if (!x.a.empty()) row.result = mann_whitney(x.a, x.b, row.alternative);
    row.rank_biserial = x.a.empty() ? 0 : rank_biserial(row.result.statistic, x.a.size(), x.b.size());
    row.p_holm = row.mean_difference = row.detectable_difference = row.smallest_p = kNaN;
    row.a_better_share95 = row.difference95 = {kNaN, kNaN};
  } else {
    row.test = "wilcoxon";
    if (sides.comparison != "architecture") row.alternative = lower ? Alternative::less : Alternative::greater;
    row.result = wilcoxon(differences, row.alternative);
    add_effects(row, differences, bootstrap);
  }
  if (lower) row.rank_biserial = 0 - row.rank_biserial;
  return row;
}

std::vector<Sides> regimes(const StudyScores& scores, CompareMode mode, std::vector<Note>& notes) {
  Sides pooled{"fine-tuned_vs_scratch", "pooled", {}, {}};
  std::vector<Sides> out;
  for (const std::string& model : models_of(scores)) {
    const SystemScores *tuned = scores.find(model, Regime::fine_tuned), *scratch = scores.find(model, Regime::scratch);
    if (!tuned || !scratch) {
      const bool apart = mode == CompareMode::paper || !tuned;
      notes.push_back({model + ":" + name_of(tuned ? Regime::fine_tuned : Regime::scratch), "", "",
                       std::string("the model's other regime is not there: left out of fine-tuned_vs_scratch") +
                           (apart ? " and of what compares models" : "")});
      continue;
    }
    pooled.a.push_back(tuned);
    pooled.b.push_back(scratch);
    if (mode == CompareMode::paired) out.push_back({pooled.comparison, model, {tuned}, {scratch}});
  }
  if (mode == CompareMode::paper ? !pooled.a.empty() : pooled.a.size() > 1) out.push_back(pooled);
  return out;
}

// The systems that stand for a model where models are compared: paper mode takes both regimes. Empty: one is not there.
Systems of_model(const StudyScores& scores, const std::string& model, CompareMode mode) {
  const SystemScores *tuned = scores.find(model, Regime::fine_tuned), *scratch = scores.find(model, Regime::scratch);
  if (mode == CompareMode::paired) return tuned ? Systems{tuned} : Systems{};
  return tuned && scratch ? Systems{tuned, scratch} : Systems{};
}

std::vector<Sides> architectures(const StudyScores& scores, CompareMode mode, const std::string& reference) {
  const std::vector<std::string> models = models_of(scores);
  std::vector<Sides> out;
  const auto add = [&](const std::string& a, const std::string& b) {
    const Systems of_a = of_model(scores, a, mode), of_b = of_model(scores, b, mode);
    if (!of_a.empty() && !of_b.empty()) out.push_back({"architecture", a + "_vs_" + b, of_a, of_b});
  };
  if (!reference.empty()) {
    for (const std::string& other : models)
      if (other != reference) add(reference, other);
  } else if (mode == CompareMode::paper) {
    for (size_t a = models.size(); a-- > 0;)
      for (size_t b = a; b-- > 0;) add(models[a], models[b]);
  }
  return out;
}

void adjust(std::vector<PairTest>& rows, size_t first) {
  std::vector<double> p;
  for (size_t i = first; i < rows.size(); ++i) p.push_back(rows[i].result.p_value);
  const auto adjusted = holm(p);
  for (size_t i = first; i < rows.size(); ++i) rows[i].p_holm = adjusted[i - first];
}

std::vector<OmnibusTest> omnibus(const StudyScores& scores) {
  std::vector<Systems> groups;
  std::string names;
  for (const std::string& model : models_of(scores)) {
    const Systems systems = of_model(scores, model, CompareMode::paper);
    if (systems.empty()) continue;
    groups.push_back(systems);
    names += (names.empty() ? "" : "_vs_") + model;
  }
  if (groups.size() < 2) return {};
  std::vector<OmnibusTest> out;
  for (const std::string& metric : tested_metrics(CompareMode::paper)) {
    std::vector<std::vector<double>> all, samples(groups.size());
    for (const Systems& g : groups) all.push_back(join(g, metric, CompareMode::paper));
    for (size_t i = 0; i < all[0].size(); ++i) {
      if (std::any_of(all.begin(), all.end(), [&](const auto& x) { return std::isnan(x[i]); })) continue;
      for (size_t g = 0; g < all.size(); ++g) samples[g].push_back(all[g][i]);
    }
    out.push_back({names, metric, std::ssize(samples[0]), samples[0].empty() ? TestResult{} : kruskal_wallis(samples)});
  }
  return out;
}

}  // namespace

std::vector<CaseMarks> challenging_cases(const StudyScores& scores) {
  std::vector<CaseMarks> cases;
  for (const std::string& sample : scores.samples) cases.push_back({sample});
  for (const SystemScores& system : scores.systems)
    for (const std::string& metric : tested_metrics(CompareMode::paper)) {
      const std::vector<double>& values = system.values.at(metric);
      size_t worst = values.size();
      for (size_t i = 0; i < values.size(); ++i) {
        if (std::isnan(values[i])) continue;
        const bool worse =
            worst == values.size() || (lower_is_better(metric) ? values[i] > values[worst] : values[i] < values[worst]);
        if (worse) worst = i;
      }
      if (worst == values.size()) continue;
      ++cases[worst].marks;
      ++cases[worst].by_region[metric.ends_with("_et") ? 0 : metric.ends_with("_tc") ? 1 : 2];
    }
  std::stable_sort(cases.begin(), cases.end(), [](const auto& a, const auto& b) { return a.marks > b.marks; });
  return cases;
}

StudyComparison compare(const StudyScores& scores, CompareMode mode, const std::string& reference, uint64_t seed) {
  StudyComparison out{mode, std::ssize(scores.samples), {}, {}, {}, challenging_cases(scores), scores.notes};
  Bootstrap bootstrap(seed);
  for (const SystemScores& system : scores.systems)
    for (const std::string& metric : study_metrics())
      out.descriptive.push_back(describe(system, metric, mode, bootstrap));

  const auto metrics = tested_metrics(mode);
  const auto run = [&](const Sides& sides) {
    for (const std::string& metric : metrics) out.tests.push_back(test(sides, metric, mode, bootstrap));
  };
  for (const Sides& sides : regimes(scores, mode, out.notes)) {
    const size_t first = out.tests.size();
    run(sides);
    if (mode == CompareMode::paired) adjust(out.tests, first);
  }
  const size_t first = out.tests.size();
  for (const Sides& sides : architectures(scores, mode, reference)) run(sides);
  if (mode == CompareMode::paired) adjust(out.tests, first);

  if (mode == CompareMode::paper) {
    out.omnibus = omnibus(scores);
    out.notes.push_back({"", "", "",
                         "paper mode is the published analysis: it asks whether distances are greater, though less is "
                         "better, takes each case several times, and corrects nothing; paired mode does not"});
  }
  if (out.cases > static_cast<int64_t>(kMostExactPairs) && mode == CompareMode::paired)
    out.notes.push_back({"", "", "", sentence("above ", kMostExactPairs, " differing cases p values are approximate")});
  return out;
}

}  // namespace metvox
