// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/html.h"
#include "segmentation/evaluation/slices.h"
#include "segmentation/explain/explain.h"
#include "segmentation/explain/explain_colours.h"

namespace metvox {

namespace {

std::string key(Rgb colour, const std::string& words) {
  return "<li><i style=\"background:" + html::colour(colour) + "\"></i>" + words + "</li>\n";
}

std::string legend() {
  return "<ul class=\"legend\">\n" + key(kTruthColour, "outline: truth") +
         key(kPredictionColour, "outline: prediction") +
         key(kUnsureColour, "entropy (full: 1 bit), disagreement (full: 0.5)") + key(kHitColour, "hit") +
         key(kFalseColour, "false") + key(kMissedColour, "missed") +
         key(kForColour, "speaks for the lesion (Grad-CAM, occlusion; full: the most of the case)") +
         key(kAgainstColour, "speaks against it (occlusion)") + "</ul>\n";
}

std::string number(const Json& value, int digits) {
  return value.is_number() ? html::fixed(value.get<double>(), digits) : "–";
}

CsvTable region_table(const Json& regions) {
  CsvTable table{{"region", "entropy, bits", "disagreement", "Dice"}, {}};
  for (const auto& [name, r] : regions.items())
    table.rows.push_back({name, number(r.value("entropy_mean_in_prediction", Json()), 3),
                          number(r.value("disagreement_mean_in_prediction", Json()), 3),
                          number(r.value("Dice", Json()), 3)});
  return table;
}

std::string lesion_text(const Json& lesion) {
  if (lesion.is_null()) return "<p>No lesion, so nothing to explain by occlusion or Grad-CAM.</p>\n";
  const Json& mm = lesion["centre_mm"];
  return "<p>The lesion of " + html::escape(lesion["region"].get<std::string>()) + " at " + number(mm[0], 1) + ", " +
         number(mm[1], 1) + ", " + number(mm[2], 1) + " mm (R, A, S), " + number(lesion["volume_mm3"], 0) +
         " mm³: mean probability " + number(lesion["mean_probability"], 3) + ".</p>\n";
}

std::string occlusion_table(const Json& lesion) {
  if (!lesion.is_object() || !lesion.contains("occlusion")) return "";
  const Json& o = lesion["occlusion"];
  CsvTable table{{"covered", "log-odds of the lesion"}, {{"nothing", number(o["log_odds"], 2)}}};
  for (const auto& [name, lost] : o["lost_without"].items())
    table.rows.push_back({name + ", all of it", number(o["log_odds"].get<double>() - lost.get<double>(), 2)});
  return html::table(table);
}

std::string meaning(bool cascade) {
  const std::string of_stage = cascade ? " In a cascade they are of this stage: what the previous one said is taken as "
                                         "given."
                                       : "",
                    and_labels = cascade ? ", and every label of the previous stage taken away" : "";
  return "<h2>What the maps are</h2>\n"
         "<p>Tables hold means over the predicted voxels. <b>Entropy</b>: of the mean probability over folds and "
         "mirror images, in bits; 1 where it is a half. "
         "<b>Disagreement</b>: standard deviation over folds of each fold's probability. Both say what the model does "
         "not "
         "know of itself; a model may be sure and wrong." +
         of_stage +
         "</p>\n"
         "<p><b>Occlusion</b> (Zeiler and Fergus 2014): how much of the lesion's mean log-odds is lost where a box of "
         "every "
         "sequence is set to the sequence's mean" +
         and_labels +
         "; the mean over the boxes that cover a voxel; without mirror "
         "images.</p>\n"
         "<p><b>Grad-CAM for segmentation</b> (Vinogradova et al. 2020): the network's deepest features, each weighted "
         "by "
         "the mean gradient of the lesion's summed logits; of the first fold. Its grid is coarse, and it shows "
         "where features lie, not that they are causes.</p>\n";
}

}  // namespace

void write_explain_page(const Path& out, const std::vector<Explanation>& cases, const Json& config) {
  std::string page = html::page_begin("metvox: what the model used") + "<h1>What the model used</h1>\n" +
                     "<p class=\"note\">These maps are metvox's own extension: the transfer study that metvox follows "
                     "shows overlays only and names no such method. They are no proof of what a model does, and metvox "
                     "is not a medical device.</p>\n" +
                     legend();
  for (const Explanation& e : cases) {
    const std::string name = e.folder.filename().string();
    page += "<h2>" + html::escape(name) + "</h2>\n" + lesion_text(e.numbers.value("lesion", Json())) + "<figure>" +
            html::image(std::span<const std::byte>(read_bytes(e.folder / "overview.png")),
                        name + ": maps in three planes") +
            "</figure>\n" + html::table(region_table(e.numbers["regions"])) +
            occlusion_table(e.numbers.value("lesion", Json()));
  }
  page += meaning(config.contains("previous_stage")) + "<h2>Configuration</h2>\n<div class=\"wide\"><pre>" +
          html::escape(json_text(config, 2)) + "</pre></div>\n" + html::page_end();
  write_text(out / "index.html", page);
}

}  // namespace metvox
