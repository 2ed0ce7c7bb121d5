// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/report.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "segmentation/evaluation/case_pictures.h"
#include "segmentation/evaluation/html.h"

namespace metvox {

namespace {

constexpr int kPanelHeight = 320, kCloseUpHeight = 240, kMostMissed = 24, kOverviewCases = 3;
constexpr double kCloseUp_mm = 40;

struct MissedLesion {
  std::string sample;
  double diameter_mm = 0;
  std::array<double, 3> centre_mm{};
};

struct Pictures {
  std::map<std::string, Picture> cases;
  std::vector<Picture> overview;
  std::map<size_t, Picture> missed;  // index into the list of missed lesions
  std::vector<std::string> faults;
};

std::vector<MissedLesion> missed_lesions(const CsvTable& lesions, const Path& named) {
  const auto column = [&](const char* name) { return lesions.column(name, named); };
  const size_t region = column("region"), kind = column("kind"), diameter = column("diameter_mm");
  std::vector<MissedLesion> missed;
  for (const auto& row : lesions.rows)
    if (row[region] == "tc" && row[kind] == "missed")
      missed.push_back(
          {row[column("sample")],
           std::stod(row[diameter]),
           {std::stod(row[column("x_mm")]), std::stod(row[column("y_mm")]), std::stod(row[column("z_mm")])}});
  std::stable_sort(missed.begin(), missed.end(),
                   [](const auto& a, const auto& b) { return a.diameter_mm < b.diameter_mm; });
  return missed;
}

Pictures paint_all(const ReportInputs& in, const CsvTable& scores, const std::vector<MissedLesion>& missed,
                   const std::function<void(int64_t, int64_t)>& progress) {
  const auto paths = find_case_paths(in.predictions, in.truths, in.images);
  Pictures pictures;
  int64_t done = 0;
  for (const auto& row : scores.rows) {
    const std::string& sample = row.front();
    try {
      const auto found = paths.find(sample);
      const CasePictures of_case(sample, found == paths.end() ? CasePaths{} : found->second);
      pictures.cases[sample] = of_case.planes(kPanelHeight);
      if (pictures.overview.size() < kOverviewCases) pictures.overview.push_back(of_case.row(kPanelHeight));
      for (size_t k = 0; k < std::min<size_t>(missed.size(), kMostMissed); ++k)
        if (missed[k].sample == sample)
          pictures.missed[k] = of_case.close_up(missed[k].centre_mm, kCloseUp_mm, kCloseUpHeight);
    } catch (const Error& e) {
      if (e.fault() != Fault::input) throw;
      pictures.faults.push_back(e.what());
    }
    progress(++done, static_cast<int64_t>(scores.rows.size()));
  }
  return pictures;
}

bool is_phantom(const ReportInputs& in) {
  for (const Path& dir : {in.images, in.images / "..", in.truths, in.truths / ".."})
    if (std::filesystem::exists(dir / "phantom.json")) return true;
  return false;
}

std::string tile(const std::string& number, const std::string& what) {
  return "<div class=\"tile\"><b>" + html::escape(number) + "</b><span>" + html::escape(what) + "</span></div>\n";
}

std::string headline(const ReportNumbers& n, bool phantom) {
  std::string out = "<h1>metvox report</h1>\n<p class=\"soft\">" + std::to_string(n.cases) +
                    " cases: predicted brain metastases against their truth.</p>\n";
  if (phantom)
    out +=
        "<p class=\"note\"><b>Phantoms are not patients.</b> These images are synthetic; the numbers say that the "
        "program "
        "works, and nothing about patients.</p>\n";
  // Means leave out the cases where an empty mask leaves the metric undefined.
  const auto over = [&](int64_t count) { return count == n.cases ? "" : sentence(" (", count, " cases)"); };
  out += "<div class=\"tiles\">\n" +
         tile(html::fixed(n.dice[2], 3), "mean Dice, whole tumour" + over(n.dice_cases[2])) +
         tile(html::fixed(n.dice[1], 3), "mean Dice, tumour core" + over(n.dice_cases[1])) +
         tile(html::fixed(n.dice[0], 3), "mean Dice, enhancing tumour" + over(n.dice_cases[0])) +
         tile(html::fixed(n.hd95_mm[2], 1) + " mm", "mean HD95, whole tumour" + over(n.hd95_cases[2])) +
         tile(sentence(n.all.found, " of ", n.all.lesions), "lesions found") +
         tile(sentence(n.from_8_mm.found, " of ", n.from_8_mm.lesions), "lesions of 8 mm or more found") +
         tile(html::fixed(static_cast<double>(n.all.false_positives) / static_cast<double>(n.cases), 2),
              "false lesions a case");
  return out + "</div>\n";
}

std::string sizes(const ReportNumbers& n) {
  CsvTable table{{"Diameter", "Lesions", "Found", "Missed", "Sensitivity", "False"}, {}};
  for (const auto& bin : n.bins) {
    const std::string range = std::isinf(bin.below_mm) ? sentence(bin.from_mm, " mm and more")
                              : bin.from_mm == 0       ? sentence("below ", bin.below_mm, " mm")
                                                       : sentence(bin.from_mm, " to ", bin.below_mm, " mm");
    table.rows.push_back({range, std::to_string(bin.lesions), std::to_string(bin.found),
                          std::to_string(bin.lesions - bin.found),
                          html::fixed(static_cast<double>(bin.found) / static_cast<double>(bin.lesions), 2),
                          std::to_string(bin.false_positives)});
  }
  return "<h2>Lesions by size</h2>\n" + html::table(table) +
         "<p class=\"soft\">A lesion is a 26-connected component of the tumour core; found when one voxel of it was "
         "predicted. "
         "Diameter: of the ball of equal volume.</p>\n";
}

std::string legend() {
  std::string out = "<ul class=\"legend\">";
  for (const auto& [colour, text] : {std::pair{kTruthColour, "truth"}, {kPredictionColour, "prediction"}})
    out += "<li><i style=\"background:" + html::colour(colour) + "\"></i>" + text + "</li>";
  return out +
         "<li>Outlined are enhancing tumour and core on the first sequence, the whole tumour on FLAIR.</li>"
         "<li>Slices through the largest lesion; R, L: the patient's right and left; A, P: anterior, posterior.</li>"
         "</ul>\n";
}

std::string case_figures(const CsvTable& scores, const Pictures& pictures, const Path& named) {
  std::string out = "<h2>Cases</h2>\n" + legend();
  for (const auto& row : scores.rows) {
    const auto picture = pictures.cases.find(row.front());
    if (picture == pictures.cases.end()) continue;
    const auto value = [&](const std::string& name, int digits) {
      return html::fixed(std::stod(row[scores.column(name, named)]), digits);
    };
    out += "<figure class=\"planes\"><div>" +
           html::image(picture->second, "slices of " + row.front() + " through its largest lesion") +
           "</div><figcaption><b>" + html::escape(row.front()) + "</b> <span class=\"soft\">Dice ET " +
           value("DICE_et", 3) + ", TC " + value("DICE_tc", 3) + ", WT " + value("DICE_wt", 3) + "; HD95 ET " +
           value("Hausdorff_et", 1) + ", TC " + value("Hausdorff_tc", 1) + ", WT " + value("Hausdorff_wt", 1) +
           " mm</span></figcaption></figure>\n";
  }
  for (const std::string& fault : pictures.faults)
    out += "<p class=\"note\">No picture: " + html::escape(fault) + "</p>\n";
  return out;
}

std::string missed_figures(const std::vector<MissedLesion>& missed, const Pictures& pictures) {
  if (missed.empty()) return "<h2>Missed lesions</h2>\n<p>None.</p>\n";
  std::string out = "<h2>Missed lesions, smallest first</h2>\n<div class=\"small\">\n";
  for (const auto& [k, picture] : pictures.missed) {
    const MissedLesion& m = missed[k];
    out += "<figure>" + html::image(picture, "a missed lesion of " + m.sample) + "<figcaption><b>" +
           html::fixed(m.diameter_mm, 1) + " mm</b><br><span class=\"soft\">" + html::escape(m.sample) + ", at " +
           html::fixed(m.centre_mm[0], 0) + ", " + html::fixed(m.centre_mm[1], 0) + ", " +
           html::fixed(m.centre_mm[2], 0) + " mm (R, A, S)</span></figcaption></figure>\n";
  }
  out += "</div>\n";
  if (missed.size() > kMostMissed)
    out += sentence("<p>The first ", kMostMissed, " of ", missed.size(), "; all are in lesions.csv.</p>\n");
  return out;
}

std::string training(const Path& model) {
  std::string out;
  if (model.empty()) return out;
  std::vector<Path> pictures;
  for (const auto& entry : std::filesystem::directory_iterator(model))
    if (std::filesystem::exists(entry.path() / "progress.png")) pictures.push_back(entry.path() / "progress.png");
  std::sort(pictures.begin(), pictures.end());
  for (const Path& png : pictures)
    out += "<figure>" + html::image(read_bytes(png), "training curves") + "<figcaption>" +
           html::escape(png.parent_path().filename().string()) + "</figcaption></figure>\n";
  return out.empty() ? out : "<h2>Training</h2>\n" + out;
}

std::string score_table(const CsvTable& scores) {
  CsvTable shown{scores.columns, {}};
  for (std::string& name : shown.columns) std::replace(name.begin(), name.end(), '_', ' ');
  for (const auto& row : scores.rows) {
    auto& cells = shown.rows.emplace_back(1, row.front());
    for (size_t i = 1; i < row.size(); ++i)
      cells.push_back(html::fixed(std::stod(row[i]), scores.columns[i].find("Spec") == 0 ? 5 : 3));
  }
  return "<h2>Scores</h2>\n" + html::table(shown) +
         "<p class=\"soft\">Hausdorff: HD95 in mm, weighted by surface area. Volumes in mL. A dash: not defined, since "
         "a mask is "
         "empty.</p>\n";
}

std::string configuration(const Path& predictions) {
  const Path file = predictions / "predict_config.json";
  if (!std::filesystem::exists(file)) return "";
  CsvTable table{{"Setting", "Value"}, {}};
  const Json config = read_json(file);
  for (const auto& [key, value] : config.items())
    table.rows.push_back({key, value.is_string() ? value.get<std::string>() : value.dump()});
  return "<h2>Configuration</h2>\n" + html::table(table);
}

}  // namespace

void write_report(const ReportInputs& in, const Path& out, const std::function<void(int64_t, int64_t)>& progress) {
  const CsvTable scores = read_csv(in.scores / "scores.csv"), lesions = read_csv(in.scores / "lesions.csv");
  const ReportNumbers numbers = report_numbers(scores, lesions, in.scores);
  const std::vector<MissedLesion> missed = missed_lesions(lesions, in.scores / "lesions.csv");
  const Pictures pictures = paint_all(in, scores, missed, progress);
  const std::string page = html::page_begin("metvox report") + headline(numbers, is_phantom(in)) + sizes(numbers) +
                           case_figures(scores, pictures, in.scores / "scores.csv") + missed_figures(missed, pictures) +
                           training(in.model) + score_table(scores) + configuration(in.predictions) +
                           "<footer>metvox " METVOX_VERSION
                           ". For research. This is not a medical device and must not be used for diagnosis or "
                           "treatment.</footer>\n" +
                           html::page_end();
  make_folder(out);
  if (!pictures.overview.empty()) write_png(out / "overview.png", with_legend(below(pictures.overview, kPanelGap)));
  write_text(out / "index.html", page);
}

}  // namespace metvox
