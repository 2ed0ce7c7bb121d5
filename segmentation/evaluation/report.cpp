// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/report.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "io/nifti.h"
#include "segmentation/data/dataset.h"
#include "segmentation/evaluation/html.h"
#include "segmentation/evaluation/slices.h"

namespace metvox {

namespace {

constexpr int kPanelHeight = 400, kCloseUpHeight = 240, kMostMissed = 24, kOverviewCases = 4;
constexpr double kCloseUp_mm = 40;

struct CasePaths {
  Path prediction, truth, image;
};

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

// The first sequence of each case, T1C in this project's data sets, and its label files.
std::map<std::string, CasePaths> find_paths(const ReportInputs& in) {
  std::map<std::string, CasePaths> paths;
  const Path description = in.predictions / "dataset.json";
  const auto dataset = std::filesystem::exists(description) ? read_description(description) : brats_description("");
  std::vector<std::string> faults;
  for (const CaseFiles& files : find_inputs(in.images, dataset.channel_names, &faults))
    paths[files.id].image = files.images.front();
  for (const auto& [sample, path] : find_labels(in.predictions)) paths[sample].prediction = path;
  for (const auto& [sample, path] : find_labels(in.truths)) paths[sample].truth = path;
  return paths;
}

CaseVolumes read_volumes(const std::string& sample, const CasePaths& paths) {
  if (paths.image.empty()) fail(Fault::input, sample, ": no images of this case");
  const Volume image = read_nifti(paths.image), truth = read_nifti_labels(paths.truth),
               prediction = read_nifti_labels(paths.prediction);
  CaseVolumes v{image.voxels, onto_lattice(prediction, image.geometry), onto_lattice(truth, image.geometry),
                image.geometry};
  if (!v.prediction || !v.truth) fail(Fault::input, sample, ": images and labels lie on different grids");
  return v;
}

// A voxel of the largest lesion near its middle: of tc, else of any label, truth before prediction; else the volume's
// middle.
Double3 point_of_interest(const CaseVolumes& v) {
  for (const Tensor& labels : {v.truth, v.prediction})
    for (const size_t region : {1, 2}) {
      const Components found = find_components(region_mask(labels, metastasis_regions()[region]));
      const auto largest = std::max_element(found.components.begin(), found.components.end(),
                                            [](const Component& a, const Component& b) { return a.voxels < b.voxels; });
      if (largest != found.components.end()) return largest->centre;
    }
  const Shape& n = v.image.shape();
  return {static_cast<double>(n[0]) / 2, static_cast<double>(n[1]) / 2, static_cast<double>(n[2]) / 2};
}

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
  const auto paths = find_paths(in);
  Pictures pictures;
  int64_t done = 0;
  for (const auto& row : scores.rows) {
    const std::string& sample = row.front();
    try {
      const auto found = paths.find(sample);
      const CaseVolumes v = read_volumes(sample, found == paths.end() ? CasePaths{} : found->second);
      const SlicePainter painter(v);
      const Double3 point = point_of_interest(v);
      pictures.cases[sample] = painter.three_planes(point, kPanelHeight);
      if (pictures.overview.size() < kOverviewCases) pictures.overview.push_back(painter.axial(point, kPanelHeight));
      const Affine to_index = v.grid.affine.inverse();
      for (size_t k = 0; k < std::min<size_t>(missed.size(), kMostMissed); ++k) {
        if (missed[k].sample != sample) continue;
        const auto index = to_index(missed[k].centre_mm);
        pictures.missed[k] = painter.close_up({index[2], index[1], index[0]}, kCloseUp_mm, kCloseUpHeight);
      }
    } catch (const Error& e) {
      if (e.fault() != Fault::input) throw;
      pictures.faults.push_back(e.what());
    }
    progress(++done, static_cast<int64_t>(scores.rows.size()));
  }
  return pictures;
}

Picture overview_of(const std::vector<Picture>& panels) {
  constexpr int kGap = 6, kLegend = 30;
  int width = -kGap;
  for (const Picture& p : panels) width += p.width + kGap;
  Picture all(std::max(width, 1), kPanelHeight + kLegend, {16, 18, 22});
  int x = 0;
  for (const Picture& p : panels) {
    all.paste(p, x, 0);
    x += p.width + kGap;
  }
  x = 8;
  const std::array<std::pair<int, const char*>, 3> names{{{3, "enhancing"}, {1, "core"}, {2, "oedema"}}};
  for (const auto& [label, name] : names) {
    all.fill_rectangle(x, kPanelHeight + 9, 13, 13, label_colour(label));
    all.text(x + 19, kPanelHeight + 9, name, {225, 225, 225}, 2);
    x += 19 + Picture::text_width(name, 2) + 20;
  }
  const std::string key = "fill: metvox   line: truth";
  all.text(std::max(x, all.width - 8 - Picture::text_width(key, 2)), kPanelHeight + 9, key, {225, 225, 225}, 2);
  return all;
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
  const std::array<std::pair<int, const char*>, 3> names{
      {{3, "enhancing tumour"}, {1, "necrotic or non-enhancing core"}, {2, "oedema"}}};
  for (const auto& [label, name] : names)
    out += "<li><i style=\"background:" + html::colour(label_colour(label)) + "\"></i>" + name + "</li>";
  return out +
         "<li>fill: prediction, line: truth</li><li>R, L: the patient's right and left; A, P: anterior, "
         "posterior</li></ul>\n";
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
           html::image(picture->second, "axial, coronal and sagittal slice of " + row.front()) +
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
  if (!pictures.overview.empty()) write_png(out / "overview.png", overview_of(pictures.overview));
  write_text(out / "index.html", page);
}

}  // namespace metvox
