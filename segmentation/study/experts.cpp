// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/experts.h"

#include <algorithm>
#include <map>
#include <set>

#include "segmentation/evaluation/agreement.h"

namespace metvox {

namespace {

constexpr uint64_t kMostBytes = 4 << 20, kMostText = 2000, kMostName = 80;

// What keeps the answer from being one; empty when nothing does.
std::string flaw_of(const ExpertQuestion& q, const std::string& answer) {
  const auto digits = [&](size_t most) {
    return answer.size() <= most && answer.find_first_not_of("0123456789") == std::string::npos;
  };
  if (answer.empty()) return "";
  switch (q.kind) {
    case AnswerKind::grade: return digits(1) && answer[0] >= '1' && answer[0] <= '5' ? "" : "a grade from 1 to 5";
    case AnswerKind::count: return digits(3) ? "" : "a number from 0 to 999";
    case AnswerKind::text: return answer.size() <= kMostText ? "" : sentence("a text of at most ", kMostText, " bytes");
    case AnswerKind::choice: break;
  }
  std::string words;
  for (const std::string& word : q.choices) {
    if (answer == word) return "";
    words += (words.empty() ? "" : ", ") + word;
  }
  return "one of " + words;
}

// Characters that move a cursor or end a line become spaces.
std::string printable(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 32 || c == 127) c = ' ';
  const size_t first = text.find_first_not_of(' ');
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(' ') - first + 1);
}

// As much of a cell as a message needs.
std::string shown(const std::string& cell) { return printable(cell.substr(0, kMostName)); }

std::vector<std::string> answer_columns(const std::vector<std::string>& before) {
  std::vector<std::string> columns = before;
  for (const ExpertQuestion& q : expert_questions()) columns.push_back(q.name);
  return columns;
}

std::vector<size_t> places_of(const CsvTable& table, const std::vector<std::string>& columns, const Path& path) {
  std::vector<size_t> places;
  for (const std::string& name : columns) places.push_back(table.column(name, path));
  return places;
}

// The answers of a row, from its `first` place on.
std::vector<std::string> checked_answers(const std::vector<std::string>& row, const std::vector<size_t>& places,
                                         size_t first, const std::string& where) {
  std::vector<std::string> answers;
  for (size_t q = 0; q < expert_questions().size(); ++q) {
    answers.push_back(printable(row[places[first + q]]));
    const std::string flaw = flaw_of(expert_questions()[q], answers.back());
    if (!flaw.empty())
      fail(Fault::input, where, ": ", expert_questions()[q].name, " is \"", shown(answers.back()), "\"; expected is ",
           flaw, ", or nothing");
  }
  return answers;
}

const ExpertKey* key_of(const std::string& form, const std::vector<ExpertKey>& keys, const std::string& where) {
  for (const ExpertKey& key : keys)
    if (key.form == form) return &key;
  fail(Fault::input, where, ": answers form \"", shown(form), "\", but this study's is ", keys.front().form);
}

// Of the form that is there, and of those before it.
std::vector<ExpertKey> all_keys(const Path& study) {
  const Path file = study / "experts" / "key.csv", older = study / "experts" / "keys";
  if (!std::filesystem::exists(file))
    fail(Fault::input, file.string(), ": is not there, so no form was handed out: `metvox experts ", study.string(),
         "` writes one");
  std::vector<ExpertKey> keys{read_expert_key(file)};
  if (std::filesystem::exists(older))
    for (const auto& entry : std::filesystem::directory_iterator(older))
      if (entry.path().extension() == ".csv") keys.push_back(read_expert_key(entry.path()));
  return keys;
}

bool answered(const ExpertRating& rating) {
  return std::any_of(rating.answers.begin(), rating.answers.end(), [](const auto& a) { return !a.empty(); });
}

}  // namespace

const std::vector<ExpertQuestion>& expert_questions() {
  static const std::vector<ExpertQuestion> questions{
      {"overall", "Overall (1 useless, 5 as I would draw it)", AnswerKind::grade, {}},
      {"boundary", "Boundaries (1 wrong, 5 exact)", AnswerKind::grade, {}},
      {"missed_lesions", "Lesions that it misses", AnswerKind::count, {}},
      {"missed_where", "Where they are", AnswerKind::text, {}},
      {"false_lesions", "Outlines that are no lesion", AnswerKind::count, {}},
      {"necrosis", "Necrotic core found? (none: there is none)", AnswerKind::choice, {"yes", "no", "none"}},
      {"usable", "Usable in a clinic, after small corrections at most?", AnswerKind::choice, {"yes", "no"}},
      {"comment", "Remarks", AnswerKind::text, {}}};
  return questions;
}

std::vector<ExpertRating> read_expert_answers(const Path& path, const std::vector<ExpertKey>& keys) {
  if (std::filesystem::exists(path) && std::filesystem::is_regular_file(path) &&
      std::filesystem::file_size(path) > kMostBytes)
    fail(Fault::input, path.string(), ": is larger than any form");
  const CsvTable table = read_csv(path);
  const auto places = places_of(table, answer_columns({"form", "expert", "sample", "letter"}), path);
  std::vector<ExpertRating> ratings;
  std::set<std::pair<std::string, std::string>> seen;
  std::string name;
  const ExpertKey* key = nullptr;
  for (size_t i = 0; i < table.rows.size(); ++i) {
    const auto& row = table.rows[i];
    const std::string where = sentence(path.string(), ", row ", i + 1), &form = row[places[0]],
                      &sample = row[places[2]];
    if (!key) key = key_of(form, keys, where);
    if (form != key->form)
      fail(Fault::input, where, ": answers form \"", shown(form), "\", the rows above ", key->form);
    const std::string expert = printable(row[places[1]]);
    if (expert.empty() || expert.size() > kMostName)
      fail(Fault::input, where, ": the expert's name is missing or longer than ", kMostName, " bytes");
    if (!name.empty() && expert != name)
      fail(Fault::input, where, ": is by ", expert, ", the rows above by ", name, "; a file is one expert's");
    name = expert;
    const auto found = std::find(key->samples.begin(), key->samples.end(), sample);
    if (found == key->samples.end()) fail(Fault::input, where, ": the form has no case \"", shown(sample), "\"");
    const auto& [system, prediction] =
        key->shown(static_cast<size_t>(found - key->samples.begin()), shown(row[places[3]]), where);
    if (!seen.insert({sample, system}).second)
      fail(Fault::input, where, ": ", sample, " ", shown(row[places[3]]), " is there twice");
    ExpertRating rating{expert, sample, system, prediction, checked_answers(row, places, 4, where)};
    if (answered(rating)) ratings.push_back(std::move(rating));
  }
  if (ratings.empty()) fail(Fault::input, path.string(), ": nothing is answered in it");
  return ratings;
}

std::vector<ExpertRating> gather_expert_answers(const std::vector<Path>& files, const Path& study) {
  const Path folder = study / "experts";
  const std::vector<ExpertKey> keys = all_keys(study);
  std::map<std::array<std::string, 4>, Path> judged;
  std::vector<ExpertRating> all;
  for (const Path& file : files)
    for (const ExpertRating& r : read_expert_answers(file, keys)) {
      const auto [before, fresh] = judged.insert({{r.expert, r.sample, r.system, r.prediction}, file});
      if (!fresh)
        fail(Fault::input, file.string(), ": ", r.expert, " judges the same outline of ", r.sample, " as in ",
             before->second.string(), "; two experts need two names, and one answers once");
      all.push_back(r);
    }
  CsvTable table{answer_columns({"expert", "sample", "system", "prediction"}), {}};
  for (const ExpertRating& r : all) {
    auto& row = table.rows.emplace_back(std::vector<std::string>{r.expert, r.sample, r.system, r.prediction});
    row.insert(row.end(), r.answers.begin(), r.answers.end());
  }
  std::vector<ExpertRating> counting = all;
  take_outdated(counting, prediction_hash_in(study));
  CsvTable agree{{"first", "second", "question", "n", "equal", "kappa"}, {}};
  for (const ExpertAgreement& a : expert_agreement(counting))
    agree.rows.push_back(
        {a.first, a.second, a.question, std::to_string(a.n), csv_number(a.equal), csv_number(a.kappa)});
  write_csv(folder / "agreement.csv", agree);
  write_csv(folder / "ratings.csv", table);
  return all;
}

std::vector<ExpertRating> read_expert_ratings(const Path& study) {
  const Path path = study / "experts" / "ratings.csv";
  if (!std::filesystem::exists(path)) return {};
  const CsvTable table = read_csv(path);
  const auto places = places_of(table, answer_columns({"expert", "sample", "system", "prediction"}), path);
  std::vector<ExpertRating> ratings;
  for (size_t i = 0; i < table.rows.size(); ++i) {
    const auto& row = table.rows[i];
    ratings.push_back({row[places[0]], row[places[1]], row[places[2]], row[places[3]],
                       checked_answers(row, places, 4, sentence(path.string(), ", row ", i + 1))});
  }
  return ratings;
}

std::vector<ExpertRating> take_outdated(std::vector<ExpertRating>& ratings, const PredictionHash& hash) {
  std::map<std::pair<std::string, std::string>, std::string> now;
  const auto counts = [&](const ExpertRating& r) {
    const auto [found, fresh] = now.insert({{r.system, r.sample}, ""});
    if (fresh) found->second = hash(r.system, r.sample);
    return found->second == r.prediction;
  };
  const auto outdated = std::stable_partition(ratings.begin(), ratings.end(), counts);
  const std::vector<ExpertRating> out(outdated, ratings.end());
  ratings.erase(outdated, ratings.end());
  return out;
}

std::vector<ExpertAgreement> expert_agreement(const std::vector<ExpertRating>& ratings) {
  std::vector<std::string> experts;
  std::map<std::string, std::map<std::pair<std::string, std::string>, const ExpertRating*>> of;
  for (const ExpertRating& r : ratings) {
    if (!of.contains(r.expert)) experts.push_back(r.expert);
    of[r.expert][{r.sample, r.system}] = &r;
  }
  std::vector<ExpertAgreement> out;
  for (size_t a = 0; a < experts.size(); ++a)
    for (size_t b = a + 1; b < experts.size(); ++b)
      for (size_t q = 0; q < expert_questions().size(); ++q) {
        const ExpertQuestion& question = expert_questions()[q];
        if (question.kind == AnswerKind::text) continue;
        std::vector<double> first, second;
        for (const auto& [what, rating] : of[experts[a]]) {
          const auto other = of[experts[b]].find(what);
          if (other == of[experts[b]].end()) continue;
          const std::string &x = rating->answers[q], &y = other->second->answers[q];
          if (x.empty() || y.empty()) continue;
          const auto number = [&](const std::string& text) {
            return question.kind == AnswerKind::choice
                       ? static_cast<double>(std::find(question.choices.begin(), question.choices.end(), text) -
                                             question.choices.begin())
                       : std::stod(text);
          };
          first.push_back(number(x));
          second.push_back(number(y));
        }
        out.push_back(
            {experts[a], experts[b], question.name, std::ssize(first), share_equal(first, second),
             cohen_kappa(first, second,
                         question.kind == AnswerKind::choice ? KappaWeights::none : KappaWeights::quadratic)});
      }
  return out;
}

}  // namespace metvox
