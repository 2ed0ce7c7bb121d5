// SPDX-License-Identifier: Apache-2.0
// The form that experts fill in: one page with its pictures and its few lines of script inside, which saves the answers
// as the CSV file that read_expert_answers() takes.
#include <algorithm>
#include <cmath>

#include "io/nifti.h"
#include "segmentation/data/config_hash.h"
#include "segmentation/evaluation/html.h"
#include "segmentation/evaluation/viewer_files.h"
#include "segmentation/study/experts.h"
#include "segmentation/study/report_pictures.h"

namespace metvox {

namespace {

constexpr double kSliceStep_mm = 8;
constexpr int kFormSliceHeight = 190;

constexpr const char* kFormStyle = R"(<style>
.strips{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,500px),1fr));gap:6px}
.strips img{display:block;width:100%;height:auto;border-radius:4px}
.letters{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,300px),1fr));gap:14px;margin-top:14px}
fieldset{border:1px solid var(--line);border-radius:10px;background:var(--paper);padding:10px 14px;min-width:0}
legend{font-weight:600}
.q{margin:10px 0}
.q>span{display:block;font-size:.92rem}
.q label{margin-right:12px;white-space:nowrap}
input[type=number]{width:5.5em}
input,textarea,button{font:inherit}
textarea{width:100%;min-height:2.6em}
#bar{position:sticky;bottom:0;background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:10px 14px;
display:flex;flex-wrap:wrap;gap:8px 14px;align-items:center;margin-top:20px}
@media print{#bar{display:none}}
</style>
)";

// Answers live in the page; the browser's store keeps them where it may (a page opened as a file: not everywhere).
constexpr const char* kFormScript = R"(<script>
"use strict";
const page=document.getElementById("form"),id=page.dataset.form,key="metvox-form-"+id;
const fields=[...page.querySelectorAll("fieldset")],names=page.dataset.questions.split(" ");
const expert=document.getElementById("expert"),said=document.getElementById("said");
function answer(f,n){const e=[...f.querySelectorAll('[name$="|'+n+'"]')];
if(e[0].type==="radio"){const c=e.find(x=>x.checked);return c?c.value:""}return e[0].value.trim()}
function put(f,n,v){const e=[...f.querySelectorAll('[name$="|'+n+'"]')];
if(e[0].type==="radio")for(const x of e)x.checked=x.value===v;else e[0].value=v}
function cell(t){return /[",\r\n]/.test(t)?'"'+t.replace(/"/g,'""')+'"':t}
function csv(){const rows=[["form","expert","sample","letter",...names]];
for(const f of fields)rows.push([id,expert.value.trim(),f.dataset.sample,f.dataset.letter,...names.map(n=>answer(f,n))]);
return rows.map(r=>r.map(cell).join(",")).join("\n")+"\n"}
function parse(t){const rows=[[""]];let q=false;
for(let i=0;i<t.length;++i){const c=t[i],r=rows[rows.length-1];
if(q){if(c==='"'&&t[i+1]==='"'){r[r.length-1]+=c;++i}else if(c==='"')q=false;else r[r.length-1]+=c}
else if(c==='"')q=true;else if(c===",")r.push("");else if(c==="\n")rows.push([""]);else if(c!=="\r")r[r.length-1]+=c}
return rows.filter(r=>r.length>1)}
function load(t){const rows=parse(t),h=rows.shift()||[],at=n=>h.indexOf(n);
if(at("form")<0||!rows.length||rows[0][at("form")]!==id){said.textContent="That file answers another form.";return}
expert.value=rows[0][at("expert")];
for(const r of rows)for(const f of fields)if(f.dataset.sample===r[at("sample")]&&f.dataset.letter===r[at("letter")])
for(const n of names)if(at(n)>=0)put(f,n,r[at(n)]);count()}
function count(){const n=fields.filter(f=>answer(f,"overall")!=="").length;
said.textContent=n+" of "+fields.length+" predictions have an overall grade."}
page.addEventListener("input",()=>{count();try{localStorage.setItem(key,csv())}catch(e){}});
document.getElementById("save").addEventListener("click",()=>{
if(!expert.value.trim()){said.textContent="Please give your name or a code first.";expert.focus();return}
const a=document.createElement("a");a.href=URL.createObjectURL(new Blob([csv()],{type:"text/csv"}));
a.download="answers-"+expert.value.trim().replace(/[^A-Za-z0-9-]+/g,"_")+".csv";a.click()});
document.getElementById("load").addEventListener("change",e=>{const f=e.target.files[0];if(f)f.text().then(load)});
count();try{const t=localStorage.getItem(key);if(t)load(t)}catch(e){}
</script>
)";

// The two with the highest mean Dice.
std::vector<std::string> best_systems(const StudyResults& r) {
  std::vector<std::pair<double, std::string>> ranked;
  for (const StudyResult& s : r.systems) {
    double sum = 0;
    for (const char* metric : {"DICE_et", "DICE_tc", "DICE_wt"}) sum += r.descriptive(s, metric).mean;
    ranked.push_back({std::isfinite(sum) ? -sum : 0, s.system.name()});
  }
  std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> names;
  for (size_t k = 0; k < std::min<size_t>(2, ranked.size()); ++k) names.push_back(ranked[k].second);
  return names;
}

const StudySystem& system_named(const StudyResults& r, const std::string& name) {
  for (const StudyResult& s : r.systems)
    if (s.system.name() == name) return s.system;
  std::string names;
  for (const StudyResult& s : r.systems) names += (names.empty() ? "" : ", ") + s.system.name();
  fail(Fault::usage, "--systems: \"", name, "\" has no scores in this study; there are ", names);
}

// What a form is to show now: what is asked for, else what the one before showed, as far as it is still there.
ExpertKey wanted_key(const StudyResults& r, const ExpertFormOptions& options, const ExpertKey* before,
                     const PredictionHash& hash) {
  std::vector<std::string> systems = options.systems;
  for (const std::string& name : systems) system_named(r, name);
  const auto there = [&](const std::string& name) {
    return std::any_of(r.systems.begin(), r.systems.end(), [&](const auto& s) { return s.system.name() == name; });
  };
  if (systems.empty() && before && std::all_of(before->systems.begin(), before->systems.end(), there))
    systems = before->systems;
  if (systems.empty()) systems = best_systems(r);
  std::sort(systems.begin(), systems.end());
  if (std::adjacent_find(systems.begin(), systems.end()) != systems.end())
    fail(Fault::usage, "--systems: one is given twice");
  return make_expert_key(config_hash(to_json(r.config)), systems, r.scores.samples,
                         options.seed.value_or(r.config.seed), hash);
}

// Axial slices, regularly spaced, in which there is a head.
std::vector<Double3> slices_of(const CaseVolumes& v, int axis) {
  const Shape& n = v.truth.shape();
  const float* x = v.images.data<float>();
  double mean = 0;
  for (int64_t i = 0; i < v.truth.size(); ++i) mean += x[i] / static_cast<double>(v.truth.size());
  std::vector<int64_t> bright(static_cast<size_t>(n[axis]));
  for (int64_t i = 0; i < v.truth.size(); ++i) {
    const Int3 p{i / (n[1] * n[2]), i / n[2] % n[1], i % n[2]};
    bright[static_cast<size_t>(p[static_cast<size_t>(axis)])] += x[i] > mean;
  }
  const int64_t least = v.truth.size() / n[axis] / 50;
  const double step = std::max(1.0, kSliceStep_mm / v.grid.spacing_mm[static_cast<size_t>(2 - axis)]);
  std::vector<Double3> places;
  for (double at = step / 2; at < static_cast<double>(n[axis]); at += step) {
    if (bright[static_cast<size_t>(at)] <= least) continue;
    Double3 place{static_cast<double>(n[0]) / 2, static_cast<double>(n[1]) / 2, static_cast<double>(n[2]) / 2};
    place[static_cast<size_t>(axis)] = std::floor(at);
    places.push_back(place);
  }
  return places;
}

// A strip a slice: the sequences, then the predictions A, B, ... filled in the labels' colours.
std::string strips(const CaseVolumes& v, const std::vector<Tensor>& predictions,
                   const std::vector<ViewerLabel>& labels) {
  const SlicePainter painter(v);
  std::vector<SliceContent> contents;
  for (int64_t image = 0; image < v.images.shape()[0]; ++image) contents.push_back({image, {}, ""});
  for (size_t place = 0; place < predictions.size(); ++place) {
    SliceContent content{0, {}, expert_letter(place)};
    for (const ViewerLabel& label : labels)
      content.tints.push_back({share_of(predictions[place], {label.name, {label.value}}, .5f), label.colour});
    contents.push_back(content);
  }
  std::string out;
  for (const Double3& place : slices_of(v, painter.superior_axis())) {
    std::vector<Picture> panels;
    for (const SliceContent& content : contents) panels.push_back(painter.axial(place, kFormSliceHeight, content));
    out += html::image(beside(panels, kPanelGap), "a slice, and predictions on it");
  }
  return "<div class=\"strips\">\n" + out + "</div>\n";
}

std::string input_of(const ExpertQuestion& q, const std::string& name) {
  const std::string named = " name=\"" + html::escape(name + "|" + q.name) + "\"";
  if (q.kind == AnswerKind::text) return "<textarea maxlength=\"600\"" + named + "></textarea>";
  if (q.kind == AnswerKind::count) return "<input type=\"number\" min=\"0\" max=\"999\" step=\"1\"" + named + ">";
  std::string out;
  for (const std::string& word :
       q.kind == AnswerKind::grade ? std::vector<std::string>{"1", "2", "3", "4", "5"} : q.choices)
    out += "<label><input type=\"radio\" value=\"" + word + "\"" + named + "> " + word + "</label>";
  return out;
}

std::string questions_of(const std::string& sample, const std::string& letter) {
  std::string out = "<fieldset data-sample=\"" + html::escape(sample) + "\" data-letter=\"" + letter + "\"><legend>" +
                    html::escape(sample) + ", " + letter + "</legend>\n";
  for (const ExpertQuestion& q : expert_questions())
    out +=
        "<div class=\"q\"><span>" + html::escape(q.words) + "</span>" + input_of(q, sample + "|" + letter) + "</div>\n";
  return out + "</fieldset>\n";
}

std::string introduction(const StudyConfig& config, const ExpertKey& key, const std::vector<ViewerLabel>& labels) {
  std::vector<std::pair<Rgb, std::string>> colours;
  for (const ViewerLabel& label : labels) colours.push_back({label.colour, label.name});
  std::string out = sentence(
      "<h1>How good are these outlines?</h1>\n<p>", key.samples.size(), " cases, of each ", key.systems.size(),
      " predictions called A, B, ... The letters are shuffled case by case: A is not always the same program. Truth is "
      "not shown. The slices below are ",
      kSliceStep_mm,
      " mm apart, so look at the volumes too: in 3D Slicer, load the case's images, then CASE_A.nii.gz and the "
      "like from this page's folder as segmentations. Answer on your own; leave empty what you cannot judge. At the "
      "end, <b>Save answers</b> and send the file back.</p>\n");
  if (config.held_out.phantom)
    out += "<p class=\"note\"><b>Phantoms are not patients.</b> These heads are synthetic.</p>\n";
  return out +
         "<p class=\"note\">For research. This is not a medical device and must not be used for diagnosis or "
         "treatment.</p>\n<p><label>Your name or code <input id=\"expert\" maxlength=\"60\"></label></p>\n" +
         legend(colours);
}

// Into experts/form once it is whole, in place of the one that lies there.
void write_form(const StudyResults& r, const ExpertKey& key) {
  StudyCases cases(r.config, r.study);
  if (!cases.fault().empty()) fail(Fault::input, "the form needs the cases: ", cases.fault());
  const std::vector<ViewerLabel> labels = viewer_labels(cases.dataset().labels);
  const Path experts = r.study / "experts", folder = experts / "form.new";
  std::filesystem::remove_all(folder);
  make_folder(folder);
  std::string names, body;
  for (const ExpertQuestion& q : expert_questions()) names += (names.empty() ? "" : " ") + q.name;
  for (size_t s = 0; s < key.samples.size(); ++s) {
    const std::string& sample = key.samples[s];
    std::vector<Tensor> predictions;
    std::string questions;
    for (size_t place = 0; place < key.order[s].size(); ++place) {
      predictions.push_back(cases.prediction(system_named(r, key.order[s][place].system), sample));
      write_nifti(folder / (sample + "_" + expert_letter(place) + ".nii.gz"), predictions.back(),
                  cases.volumes(sample).grid, {kIntentLabel, "metvox " METVOX_VERSION, label_description(labels)});
      questions += questions_of(sample, expert_letter(place));
    }
    body += "<h2>" + html::escape(sample) + "</h2>\n" + strips(cases.volumes(sample), predictions, labels) +
            "<div class=\"letters\">\n" + questions + "</div>\n";
  }
  write_csv(folder / "form.csv", blank_form(key));
  write_text(folder / "form.html",
             html::page_begin("metvox study: experts") + kFormStyle + "<form id=\"form\" data-form=\"" + key.form +
                 "\" data-questions=\"" + names + "\" onsubmit=\"return false\">\n" +
                 introduction(r.config, key, labels) + body +
                 "<div id=\"bar\"><button type=\"button\" id=\"save\">Save answers</button><label>Go on with a saved "
                 "file <input type=\"file\" id=\"load\" accept=\".csv\"></label><span id=\"said\" "
                 "class=\"soft\"></span></div>\n</form>\n" +
                 kFormScript + html::page_end());
  if (const Path before = experts / "key.csv"; std::filesystem::exists(before)) {
    make_folder(experts / "keys");
    std::filesystem::rename(before, experts / "keys" / (read_expert_key(before).form + ".csv"));
  }
  std::filesystem::remove_all(experts / "form");
  std::filesystem::rename(folder, experts / "form");
  write_expert_key(key, experts / "key.csv");
}

}  // namespace

ExpertForm write_expert_form(const StudyConfig& config, const Path& study, const ExpertFormOptions& options) {
  const StudyResults r = read_study_results(config, study);
  const Path folder = study / "experts", file = folder / "key.csv";
  const PredictionHash hash = prediction_hash_in(study);
  if (!std::filesystem::exists(file)) {
    const ExpertKey key = wanted_key(r, options, nullptr, hash);
    write_form(r, key);
    return {.key = key};
  }
  const ExpertKey before = read_expert_key(file), now = wanted_key(r, options, &before, hash);
  const std::vector<std::string> stale = stale_parts(before, r.scores.samples, hash);
  const bool asked = !options.systems.empty() || options.seed, other = asked && now.form != before.form;
  if (!other && stale.empty()) return {.key = before};
  if (form_is_begun(before, study)) {
    if (other)
      fail(Fault::usage, folder.string(),
           ": experts have begun to fill in another form (other systems, cases or seed);",
           " remove or rename the folder to make a new one");
    return {.key = before, .stale = stale};
  }
  write_form(r, now);
  return {.key = now, .anew = true};
}

}  // namespace metvox
