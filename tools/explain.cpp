// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <set>

#include "io/csv.h"
#include "segmentation/data/case_fault.h"
#include "segmentation/data/system_memory.h"
#include "segmentation/explain/explain.h"
#include "tools/cli.h"
#include "tools/predictions.h"
#include "tools/progress.h"

namespace metvox {
namespace {

const std::vector<std::string> kMaps{"entropy", "disagreement", "errors", "gradcam", "occlusion"};

struct Request {
  Path input, output, model, truth, cases;
  std::optional<int64_t> at_most;
  std::vector<std::string> folds, what;
  std::string checkpoint = "final", region, at;
  bool no_mirror = false;
  PredictorOptions predictor;
  ExplainOptions explain;
};

bool parse(CommandLine& line, Request& r) {
  line.option("input,i", r.input, "DIR", "images, as for `metvox predict`", Need::required);
  line.option("model,m", r.model, "DIR", "model folder that `metvox train` printed", Need::required);
  line.option("out,o", r.output, "DIR", "folder for index.html and a folder a case with its maps", Need::required);
  line.option("folds,f", r.folds, "FOLD", "folds of the ensemble; default: every fold that has the checkpoint");
  line.choice("checkpoint", r.checkpoint, {"final", "best", "latest"}, "which weights of a fold");
  line.option("prev-stage-predictions", r.explain.previous_stage, "DIR", "for a cascade, as for `metvox predict`");
  line.option("truth", r.truth, "DIR", "truths, as for `metvox evaluate`: for errors, and to explain missed lesions");
  line.option("cases", r.cases, "FILE.csv", "only the cases in its column sample, in its order");
  line.option("at-most", r.at_most, "N", "with --cases: only the first N of them");
  line.option(
      "what", r.what, "MAP",
      "entropy (over folds and mirror images), disagreement (of folds), errors (against --truth), gradcam and "
      "occlusion (of one lesion; occlusion runs the network some hundred times); default: all but occlusion that "
      "the folds and --truth allow");
  line.option("region", r.region, "NAME", "region or label whose lesion is explained; default TC, else the first");
  line.option("at", r.at, "X,Y,Z", "explain the lesion nearest to this point, mm (R, A, S); default: the largest");
  line.option("step-size", r.predictor.step_size, "SHARE", "as for `metvox predict`");
  line.option("disable-tta", r.no_mirror, "no mirror images: 8 times faster, and entropy is that of the folds alone");
  line.common({Common::device, Common::engine, Common::precision, Common::threads, Common::json, Common::quiet});
  if (!line.parse()) return false;
  if (r.at_most && (r.cases.empty() || *r.at_most < 1))
    fail(Fault::usage, "--at-most goes with --cases and is 1 or more");
  r.predictor.mirror = !r.no_mirror;
  r.predictor.target = line.target();
  return true;
}

void choose_maps(Request& r) {
  if (r.what.empty()) {
    r.what = {"entropy", "gradcam"};
    if (r.folds.size() > 1) r.what.push_back("disagreement");
    if (!r.truth.empty()) r.what.push_back("errors");
  }
  for (const std::string& map : r.what)
    if (std::find(kMaps.begin(), kMaps.end(), map) == kMaps.end())
      fail(Fault::usage, "--what: there is no map \"", map,
           "\"; there are entropy, disagreement, errors, gradcam and occlusion");
  const auto wants = [&](const char* map) { return std::find(r.what.begin(), r.what.end(), map) != r.what.end(); };
  r.explain.entropy = wants("entropy");
  r.explain.disagreement = wants("disagreement");
  r.explain.errors = wants("errors");
  r.explain.grad_cam = wants("gradcam");
  r.explain.occlusion = wants("occlusion");
  if (r.explain.errors && r.truth.empty()) fail(Fault::usage, "--what errors needs --truth");
  if (r.explain.disagreement && r.folds.size() < 2)
    fail(Fault::usage, "--what disagreement needs two folds or more, there is fold ", r.folds.at(0), " alone");
}

void choose_lesion(Request& r, const ModelFolder& model, size_t cases) {
  const std::vector<LabelTarget> regions = model.dataset.labels.foreground();
  std::string names;
  for (const LabelTarget& region : regions) names += (names.empty() ? "" : ", ") + region.name;
  const std::string wanted = r.region.empty() ? "TC" : r.region;
  const auto found =
      std::find_if(regions.begin(), regions.end(), [&](const LabelTarget& t) { return t.name == wanted; });
  if (found == regions.end() && !r.region.empty())
    fail(Fault::usage, "--region: the model has no ", r.region, "; it has ", names);
  r.explain.region = found == regions.end() ? 0 : static_cast<size_t>(found - regions.begin());
  if (r.at.empty()) return;
  if (cases != 1) fail(Fault::usage, "--at is a point in one case, but there are ", cases, " in ", r.input.string());
  r.explain.at_mm = three_from<double>(r.at, "--at", ',', "X,Y,Z");
}

Json resolved_config(const Request& r, const ModelFolder& model) {
  Json config{{"program", "metvox " METVOX_VERSION},
              {"model", std::filesystem::absolute(r.model).lexically_normal().string()},
              {"folds", r.folds},
              {"checkpoint", r.checkpoint},
              {"maps", r.what},
              {"region", model.dataset.labels.foreground()[r.explain.region].name},
              {"step_size", r.predictor.step_size},
              {"mirror", r.predictor.mirror},
              {"device", name_of(r.predictor.target.device)},
              {"precision", r.predictor.target.precision()}};
  if (!r.explain.previous_stage.empty())
    config["previous_stage"] = std::filesystem::absolute(r.explain.previous_stage).lexically_normal().string();
  return config;
}

// Those of --cases; without it all.
void choose_cases(const Request& r, std::vector<CaseFiles>& cases, std::vector<std::string>& faults) {
  if (r.cases.empty()) return;
  const CsvTable table = read_csv(r.cases);
  const size_t sample = table.column("sample", r.cases);
  std::vector<CaseFiles> chosen;
  std::set<std::string> seen;
  for (const auto& row : table.rows) {
    if (r.at_most && std::ssize(seen) == *r.at_most) break;
    if (!seen.insert(row[sample]).second) continue;
    const auto found =
        std::find_if(cases.begin(), cases.end(), [&](const CaseFiles& c) { return c.id == row[sample]; });
    if (found == cases.end())
      faults.push_back(sentence("case ", row[sample], ": ", r.cases.string(),
                                " names it, but there are no whole "
                                "images of it in ",
                                r.input.string()));
    else chosen.push_back(*found);
  }
  cases = std::move(chosen);
}

// Truths by case; without --truth none.
void add_truths(const Request& r, std::vector<CaseFiles>& cases, std::vector<std::string>& faults) {
  if (r.truth.empty()) return;
  std::map<std::string, Path> truths;
  for (const auto& [id, path] : find_labels(r.truth)) truths[id] = path;
  std::vector<CaseFiles> kept;
  for (CaseFiles& files : cases) {
    files.label = truths[files.id];
    if (files.label.empty()) faults.push_back("case " + files.id + ": no truth in " + r.truth.string());
    else kept.push_back(files);
  }
  cases = std::move(kept);
}

struct Outcome {
  std::vector<Explanation> done;
  int64_t not_begun = 0;
  bool memory = false;  // a case failed for want of it
};

Outcome explain_all(const CommandLine& line, const Request& r, Explainer& explainer,
                    const std::vector<CaseFiles>& cases, std::vector<std::string>& faults) {
  Outcome outcome;
  std::vector<std::string> warnings;
  Progress progress("explain", "%", line.values().quiet);
  const auto total = static_cast<double>(cases.size());
  for (size_t i = 0; i < cases.size(); ++i) {
    const auto fault = try_case(cases[i].id, [&] {
      outcome.done.push_back(explainer.explain(cases[i], r.output, warnings, [&](double share) {
        progress.update(static_cast<int64_t>(100 * (static_cast<double>(i) + share) / total), 100, cases[i].id);
      }));
    });
    for (const std::string& w : warnings) progress.line("metvox explain: warning: " + named_case(cases[i].id, w));
    warnings.clear();
    if (!fault) continue;
    faults.push_back(fault->text);
    outcome.memory = outcome.memory || fault->fault == Fault::memory;
    if (!fault->stop) continue;
    outcome.not_begun = std::ssize(cases) - static_cast<int64_t>(i) - 1;
    break;
  }
  return outcome;
}

int run(CommandLine& line) {
  Request r;
  if (!parse(line, r)) return 0;
  give_back_what_is_freed();
  const ModelFolder model = open_model(r.model, r.checkpoint, r.folds);
  require_previous_stage(model, r.input, r.explain.previous_stage);
  if (r.folds.empty()) r.folds = model.folds;
  choose_maps(r);
  std::vector<std::string> faults;
  std::vector<CaseFiles> cases = find_inputs(r.input, model.dataset.channel_names, &faults);
  choose_cases(r, cases, faults);
  choose_lesion(r, model, cases.size());
  add_truths(r, cases, faults);
  Predictor predictor(model, r.folds, r.checkpoint, r.predictor);
  const int64_t head = static_cast<int64_t>(r.explain.region) + (model.dataset.labels.has_regions() ? 0 : 1);
  std::unique_ptr<GradCam> grad_cam;
  if (r.explain.grad_cam)
    grad_cam = std::make_unique<GradCam>(model, r.folds[0], r.checkpoint, head, r.predictor.target);
  const PredictorMemory m = predictor.memory();
  if (r.predictor.target.device.is_cpu())
    require_memory("the model", m.arena + m.weights + m.packed + (grad_cam ? grad_cam->bytes() : 0), system_memory());
  make_folder(r.output);
  const Json config = resolved_config(r, model);
  Explainer explainer(model, predictor, grad_cam.get(), r.explain);
  const auto [done, not_begun, memory] = explain_all(line, r, explainer, cases, faults);
  for (const std::string& fault : faults) line.warn(fault);
  if (not_begun > 0) line.warn(not_begun_sentence(not_begun, r.output));
  if (done.empty()) return code(memory ? Fault::memory : Fault::input);
  write_explain_page(r.output, done, config);
  if (line.values().json) {
    Json list = Json::array();
    for (const Explanation& e : done) list.push_back(e.numbers);
    print_json({{"cases", list}, {"faults", faults}, {"page", (r.output / "index.html").string()}});
  } else {
    std::printf("%s\n", (r.output / "index.html").string().c_str());
  }
  return faults.empty() ? 0 : code(Fault::partial);
}

const VerbEntry entry{{"explain", Stage::results, "maps of what a model used, and of where it is unsure",
                       "metvox explain -i raw/imagesTs -m results/nnunet__dice-bce__3d_fullres --truth raw/labelsTs "
                       "-o explained",
                       run}};

}  // namespace
}  // namespace metvox
