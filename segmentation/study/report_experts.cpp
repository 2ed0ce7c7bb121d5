// SPDX-License-Identifier: Apache-2.0
// The page's last judges: what experts answered, how far they agree, beside what was measured.
#include <algorithm>
#include <cmath>
#include <map>

#include "segmentation/evaluation/html.h"
#include "segmentation/evaluation/moments.h"
#include "segmentation/study/experts.h"
#include "segmentation/study/report_data.h"

namespace metvox {
namespace {

using Ratings = std::vector<ExpertRating>;

size_t question(const std::string& name) {
  const auto& all = expert_questions();
  return static_cast<size_t>(std::find_if(all.begin(), all.end(), [&](const auto& q) { return q.name == name; }) -
                             all.begin());
}

std::vector<std::string> systems_of(const Ratings& ratings) {
  std::vector<std::string> systems;
  for (const ExpertRating& r : ratings) systems.push_back(r.system);
  std::sort(systems.begin(), systems.end());
  systems.erase(std::unique(systems.begin(), systems.end()), systems.end());
  return systems;
}

// Numbers given to a system, of one case or of all (empty).
std::vector<double> numbers(const Ratings& ratings, const std::string& system, const std::string& name,
                            const std::string& sample = "") {
  std::vector<double> values;
  for (const ExpertRating& r : ratings)
    if (r.system == system && (sample.empty() || r.sample == sample) && !r.answers[question(name)].empty())
      values.push_back(std::stod(r.answers[question(name)]));
  return values;
}

// "7 of 10"; those who say that there is nothing to find are not counted.
std::string yes_text(const Ratings& ratings, const std::string& system, const std::string& name) {
  int64_t yes = 0, all = 0;
  for (const ExpertRating& r : ratings) {
    const std::string& answer = r.answers[question(name)];
    if (r.system != system || (answer != "yes" && answer != "no")) continue;
    yes += answer == "yes";
    ++all;
  }
  return all == 0 ? "–" : sentence(yes, " of ", all);
}

std::string systems_table(const Ratings& ratings) {
  CsvTable table{{"System", "Judgements", "Overall (1–5)", "Boundaries (1–5)", "Missed a case", "False a case",
                  "Necrosis found", "Usable"},
                 {}};
  for (const std::string& system : systems_of(ratings)) {
    auto& row = table.rows.emplace_back();
    row = {system, sentence(std::count_if(ratings.begin(), ratings.end(),
                                          [&](const ExpertRating& r) { return r.system == system; }))};
    for (const char* name : {"overall", "boundary", "missed_lesions", "false_lesions"})
      row.push_back(html::fixed(mean(numbers(ratings, system, name)), 2));
    row.push_back(yes_text(ratings, system, "necrosis"));
    row.push_back(yes_text(ratings, system, "usable"));
  }
  return html::table(table);
}

// The experts' mean grade case by case, one system against another.
std::string grades_test(const StudyResults& r, const Ratings& ratings) {
  const std::vector<std::string> systems = systems_of(ratings);
  std::string out;
  for (size_t a = 0; a < systems.size(); ++a)
    for (size_t b = a + 1; b < systems.size(); ++b) {
      std::vector<double> first, second;
      for (const std::string& sample : r.scores.samples) {
        const double x = mean(numbers(ratings, systems[a], "overall", sample)),
                     y = mean(numbers(ratings, systems[b], "overall", sample));
        if (!std::isfinite(x) || !std::isfinite(y)) continue;
        first.push_back(x);
        second.push_back(y);
      }
      if (first.empty()) continue;
      const auto differences = paired_differences(first, second);
      out +=
          "<p>Overall grade, " + html::escape(systems[a]) + " minus " + html::escape(systems[b]) + ": " +
          html::fixed(mean(differences), 2) +
          sentence(" over ", first.size(), " cases (experts' mean; Wilcoxon's signed-rank test, exact, two-sided: p ") +
          html::fixed(wilcoxon(differences, Alternative::two_sided).p_value, 3) + ").</p>\n";
    }
  return out;
}

std::string agreement_table(const Ratings& ratings) {
  CsvTable table{{"Question", "Experts", "Judged by both", "Equal", "Kappa"}, {}};
  std::map<std::string, std::vector<double>> kappas;
  const auto all = expert_agreement(ratings);
  for (const ExpertAgreement& a : all) {
    if (a.n == 0) continue;
    table.rows.push_back({a.question, a.first + ", " + a.second, sentence(a.n), html::fixed(100 * a.equal, 0) + " %",
                          html::fixed(a.kappa, 2)});
    if (std::isfinite(a.kappa)) kappas[a.question].push_back(a.kappa);
  }
  if (table.rows.empty()) return "<p>One expert so far, or none about the same predictions: nothing to agree on.</p>\n";
  std::string means;
  for (const auto& [name, values] : kappas)
    if (values.size() > 1)
      means += (means.empty() ? " Mean over pairs: " : ", ") + name + " " + html::fixed(mean(values), 2);
  return "<h3>Do the experts agree?</h3>\n" + html::table(table) +
         "<p class=\"soft\">Cohen's kappa: 1 the same, 0 as by chance; of grades and counts with quadratic weights. A "
         "dash: both always say one thing." +
         means + "</p>\n";
}

// What was said and what was measured, case by case.
std::string cases_table(const StudyResults& r, const Ratings& ratings) {
  CsvTable table{{"Case", "System", "Lesions", "Found (measured)", "Missed (experts)", "Dice TC", "Overall (experts)"},
                 {}};
  for (size_t i = 0; i < r.scores.samples.size(); ++i)
    for (const std::string& system : systems_of(ratings)) {
      const auto place = std::find_if(r.systems.begin(), r.systems.end(),
                                      [&](const StudyResult& s) { return s.system.name() == system; });
      if (place == r.systems.end()) continue;
      int64_t lesions = 0, found = 0;
      for (const StudyLesion& l : r.lesions)
        if (l.sample == r.scores.samples[i]) {
          ++lesions;
          found += l.found[static_cast<size_t>(place - r.systems.begin())];
        }
      const auto said = [&](const char* name) {
        return html::fixed(mean(numbers(ratings, system, name, r.scores.samples[i])), 1);
      };
      table.rows.push_back({r.scores.samples[i], system, sentence(lesions), sentence(found), said("missed_lesions"),
                            html::fixed(r.values(*place, "DICE_tc")[i], 2), said("overall")});
    }
  return "<details><summary>Case by case, beside what was measured</summary>\n" + html::table(table) + "</details>\n";
}

std::string remarks(const Ratings& ratings) {
  std::string out;
  for (const ExpertRating& r : ratings)
    for (const char* name : {"missed_where", "comment"})
      if (const std::string& text = r.answers[question(name)]; !text.empty())
        out += "<li><b>" + html::escape(r.sample) + ", " + html::escape(r.system) + "</b>, " + html::escape(r.expert) +
               (name == std::string("comment") ? ": " : ", misses: ") + html::escape(text) + "</li>\n";
  return out.empty() ? "" : "<details><summary>Remarks</summary>\n<ul>\n" + out + "</ul></details>\n";
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + html::escape(word);
  return out;
}

// A form that somebody has begun stays as it is, and may be older than what the study predicts now.
std::string stale_note(const StudyResults& r, const PredictionHash& hash) {
  const Path file = r.study / "experts" / "key.csv";
  if (!std::filesystem::exists(file)) return "";
  const ExpertKey key = read_expert_key(file);
  const std::vector<std::string> stale = stale_parts(key, r.scores.samples, hash);
  if (stale.empty() || !form_is_begun(key, r.study)) return "";
  return "<p class=\"note\">The form is older than the study: " + joined(stale) +
         ". It stays, since experts have begun to fill it in; remove or rename the folder experts for a new one.</p>\n";
}

std::string outdated_note(const Ratings& outdated) {
  if (outdated.empty()) return "";
  std::vector<std::string> names;
  for (const ExpertRating& rating : outdated)
    if (const std::string name = rating.sample + " by " + rating.system;
        std::find(names.begin(), names.end(), name) == names.end())
      names.push_back(name);
  return sentence("<p class=\"note\">Left out: ", outdated.size(), outdated.size() == 1 ? " judgement" : " judgements",
                  " of outlines that the study does not predict any more: ") +
         joined(names) + ".</p>\n";
}

}  // namespace

std::string experts_section(const StudyResults& r) {
  const std::string title = "<h2>What experts say</h2>\n";
  const PredictionHash hash = prediction_hash_in(r.study);
  Ratings ratings = read_expert_ratings(r.study);
  const Ratings outdated = take_outdated(ratings, hash);
  const std::string notes = stale_note(r, hash) + outdated_note(outdated);
  if (ratings.empty())
    return title + notes +
           "<p class=\"soft\">Nobody has been asked yet, or answered. Forms with shuffled, unnamed predictions lie in "
           "experts/form; metvox experts STUDY --answers FILE.csv ... reads what comes back.</p>\n";
  return title + notes +
         "<p>Predictions were shown without names, shuffled case by case. Questions and evaluation are ours; the paper "
         "names no form.</p>\n" +
         systems_table(ratings) + grades_test(r, ratings) + agreement_table(ratings) + cases_table(r, ratings) +
         remarks(ratings);
}

}  // namespace metvox
