// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/experts.h"

#include <algorithm>
#include <map>
#include <set>

#include "io/csv.h"
#include "segmentation/data/config_hash.h"
#include "segmentation/evaluation/agreement.h"
#include "tensor/random.h"

namespace metvox {

namespace {

constexpr uint64_t kMostBytes = 4 << 20, kMostText = 2000, kMostName = 80;
constexpr size_t kMostSystems = 26;

std::string letter_of(size_t place) { return std::string(1, static_cast<char>('A' + place)); }

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

const std::string& ExpertKey::system(size_t sample, const std::string& letter, const std::string& where) const {
  for (size_t place = 0; place < order[sample].size(); ++place)
    if (letter == letter_of(place)) return order[sample][place];
  fail(Fault::input, where, ": there is no prediction \"", letter, "\" of ", samples[sample]);
}

ExpertKey make_expert_key(const std::string& study_hash, const std::vector<std::string>& systems,
                          const std::vector<std::string>& samples, uint64_t seed) {
  check(!systems.empty() && systems.size() <= kMostSystems, "an expert form of ", systems.size(), " systems");
  ExpertKey key{config_hash(Json{{"study", study_hash}, {"systems", systems}, {"samples", samples}, {"seed", seed}}),
                systems,
                samples,
                {}};
  for (size_t s = 0; s < samples.size(); ++s) {
    std::vector<std::string>& order = key.order.emplace_back(systems);
    Random random(seed, s);
    for (size_t left = order.size(); left > 1; --left)
      std::swap(order[left - 1], order[static_cast<size_t>(random.below(static_cast<int64_t>(left)))]);
  }
  return key;
}

void write_expert_key(const ExpertKey& key, const Path& path) {
  CsvTable table{{"form", "sample", "letter", "system"}, {}};
  for (size_t s = 0; s < key.samples.size(); ++s)
    for (size_t place = 0; place < key.order[s].size(); ++place)
      table.rows.push_back({key.form, key.samples[s], letter_of(place), key.order[s][place]});
  write_csv(path, table);
}

ExpertKey read_expert_key(const Path& path) {
  const CsvTable table = read_csv(path);
  const auto places = places_of(table, {"form", "sample", "letter", "system"}, path);
  ExpertKey key;
  for (const auto& row : table.rows) {
    const std::string &sample = row[places[1]], &system = row[places[3]];
    if (key.form.empty()) key.form = row[places[0]];
    if (key.samples.empty() || key.samples.back() != sample) {
      key.samples.push_back(sample);
      key.order.emplace_back();
    }
    if (row[places[0]] != key.form || row[places[2]] != letter_of(key.order.back().size()))
      fail(Fault::input, path.string(), ": is not as metvox wrote it; restore it, the answers cannot be read without");
    key.order.back().push_back(system);
  }
  if (key.form.empty()) fail(Fault::input, path.string(), ": is empty");
  key.systems = key.order.front();
  std::sort(key.systems.begin(), key.systems.end());
  return key;
}

std::vector<ExpertRating> read_expert_answers(const Path& path, const ExpertKey& key) {
  if (std::filesystem::exists(path) && std::filesystem::is_regular_file(path) &&
      std::filesystem::file_size(path) > kMostBytes)
    fail(Fault::input, path.string(), ": is larger than any form");
  const CsvTable table = read_csv(path);
  const auto places = places_of(table, answer_columns({"form", "expert", "sample", "letter"}), path);
  std::vector<ExpertRating> ratings;
  std::set<std::pair<std::string, std::string>> seen;
  std::string name;
  for (size_t i = 0; i < table.rows.size(); ++i) {
    const auto& row = table.rows[i];
    const std::string where = sentence(path.string(), ", row ", i + 1), &sample = row[places[2]];
    if (row[places[0]] != key.form)
      fail(Fault::input, where, ": answers form \"", shown(row[places[0]]), "\", but this study's is ", key.form);
    const std::string expert = printable(row[places[1]]);
    if (expert.empty() || expert.size() > kMostName)
      fail(Fault::input, where, ": the expert's name is missing or longer than ", kMostName, " bytes");
    if (!name.empty() && expert != name)
      fail(Fault::input, where, ": is by ", expert, ", the rows above by ", name, "; a file is one expert's");
    name = expert;
    const auto found = std::find(key.samples.begin(), key.samples.end(), sample);
    if (found == key.samples.end()) fail(Fault::input, where, ": the form has no case \"", shown(sample), "\"");
    const std::string& system =
        key.system(static_cast<size_t>(found - key.samples.begin()), shown(row[places[3]]), where);
    if (!seen.insert({sample, system}).second)
      fail(Fault::input, where, ": ", sample, " ", shown(row[places[3]]), " is there twice");
    ExpertRating rating{expert, sample, system, checked_answers(row, places, 4, where)};
    if (answered(rating)) ratings.push_back(std::move(rating));
  }
  if (ratings.empty()) fail(Fault::input, path.string(), ": nothing is answered in it");
  return ratings;
}

std::vector<ExpertRating> gather_expert_answers(const std::vector<Path>& files, const Path& study) {
  const Path folder = study / "experts";
  if (!std::filesystem::exists(folder / "key.csv"))
    fail(Fault::input, (folder / "key.csv").string(), ": is not there, so no form was handed out: `metvox experts ",
         study.string(), "` writes one");
  const ExpertKey key = read_expert_key(folder / "key.csv");
  std::map<std::string, Path> experts;
  std::vector<ExpertRating> all;
  for (const Path& file : files) {
    const auto ratings = read_expert_answers(file, key);
    const auto [known, fresh] = experts.insert({ratings.front().expert, file});
    if (!fresh)
      fail(Fault::input, file.string(), ": is by ", known->first, ", as is ", known->second.string(),
           "; two experts need two names, one expert has one file");
    all.insert(all.end(), ratings.begin(), ratings.end());
  }
  CsvTable table{answer_columns({"expert", "sample", "system"}), {}};
  for (const ExpertRating& r : all) {
    auto& row = table.rows.emplace_back(std::vector<std::string>{r.expert, r.sample, r.system});
    row.insert(row.end(), r.answers.begin(), r.answers.end());
  }
  CsvTable agree{{"first", "second", "question", "n", "equal", "kappa"}, {}};
  for (const ExpertAgreement& a : expert_agreement(all))
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
  const auto places = places_of(table, answer_columns({"expert", "sample", "system"}), path);
  std::vector<ExpertRating> ratings;
  for (size_t i = 0; i < table.rows.size(); ++i) {
    const auto& row = table.rows[i];
    ratings.push_back({row[places[0]], row[places[1]], row[places[2]],
                       checked_answers(row, places, 3, sentence(path.string(), ", row ", i + 1))});
  }
  return ratings;
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
