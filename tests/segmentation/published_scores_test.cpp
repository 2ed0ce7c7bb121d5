// SPDX-License-Identifier: Apache-2.0
// The published numbers (Luu et al. 2024 and luumsk/BrainMetaSeg's notebooks and later re-analysis) from the published
// scores. These lie beside the source tree, not in it; without them the tests are skipped.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "segmentation/study/compare.h"

namespace metvox {
namespace {

class published_scores : public testing::Test {
 protected:
  void SetUp() override {
    const Path dir = Path(METVOX_SOURCE_DIR) / "../shared/data/study-scores/2026-09-29";
    if (!std::filesystem::is_directory(dir)) GTEST_SKIP() << "no " << dir;
    std::vector<ScoreFile> files;
    for (const std::string model : {"default", "segresnet", "tverskybce"})
      for (const Regime regime : {Regime::fine_tuned, Regime::scratch})
        files.push_back(
            {model, regime, dir / (model + (regime == Regime::scratch ? "_scratch.csv" : "_finetune.csv"))});
    scores = read_study_scores(files);
  }

  // As printed: to half a unit of the last digit.
  static void expect_printed(double value, const char* printed, const std::string& what) {
    const std::string text = printed;
    const size_t point = text.find('.');
    const double unit = std::pow(10, point == std::string::npos ? 0 : -static_cast<double>(text.size() - point - 1));
    EXPECT_NEAR(value, std::stod(text), 0.5 * unit * (1 + 1e-9)) << what;
  }
  static const PairTest& test(const StudyComparison& c, const std::string& group, const std::string& metric) {
    for (const PairTest& t : c.tests)
      if (t.group == group && t.metric == metric) return t;
    throw std::runtime_error(group + " " + metric);
  }
  static const Descriptive& row(const StudyComparison& c, const std::string& system, const std::string& metric) {
    for (const Descriptive& d : c.descriptive)
      if (d.system == system && d.metric == metric) return d;
    throw std::runtime_error(system + " " + metric);
  }

  StudyScores scores;
};

}  // namespace

// A recount: the paper prints 28, 11 and 11 for 733, 731 and 739.
TEST_F(published_scores, challenging_cases) {
  std::map<std::string, int64_t> marks;
  int64_t sum = 0;
  for (const CaseMarks& c : challenging_cases(scores)) {
    marks[c.sample.substr(12, 3)] = c.marks;  // SBT-MET-A000726-20180528
    sum += c.marks;
  }
  EXPECT_EQ(sum, 72);
  const std::map<std::string, int64_t> expected{{"733", 24}, {"731", 11}, {"726", 9}, {"739", 8}, {"728", 5},
                                                {"729", 5},  {"734", 5},  {"727", 2}, {"730", 2}, {"732", 1}};
  EXPECT_EQ(marks, expected);
  EXPECT_EQ(challenging_cases(scores).front().marks, 24);
}

TEST_F(published_scores, means_deviations_and_intervals) {
  const StudyComparison c = compare(scores, CompareMode::paper, "", 0);
  // Intervals are printed whole; Student's quantile of the SciPy of then is good to 3e-11.
  const struct {
    const char *system, *metric, *mean, *deviation;
    double low, high;
  } printed[] = {
      {"default:fine-tuned", "DICE_et", "0.905191", "0.060529", 0.859549341624805, 0.9508327463394337},
      {"default:scratch", "DICE_et", "0.901867", "0.057865", 0.8582334897754873, 0.9455003348997137},
      {"default:fine-tuned", "DICE_tc", "0.936469", "0.071900", 0.8822524963577102, 0.9906857526174232},
      {"default:scratch", "DICE_tc", "0.933502", "0.055110", 0.8919465610464932, 0.9750583825586496},
      {"default:fine-tuned", "DICE_wt", "0.914037", "0.041628", 0.882647150589266, 0.9454264331970087},
      {"default:scratch", "DICE_wt", "0.906628", "0.049443", 0.8693458854715259, 0.9439104008057466},
      {"default:fine-tuned", "Hausdorff_et", "2.762155", "2.417748", 0.93904634688434, 4.585264241701764},
      {"default:scratch", "Hausdorff_et", "2.779166", "1.910823", 1.3383056832415954, 4.220027188363806},
      {"default:fine-tuned", "Hausdorff_tc", "1.866159", "1.625563", 0.6403992643478642, 3.091917897747358},
      {"default:scratch", "Hausdorff_tc", "5.496081", "7.988633", -0.5277663175307872, 11.519929030435236},
      {"default:fine-tuned", "Hausdorff_wt", "3.360934", "2.231400", 1.6783408756145728, 5.0435261535722855},
      {"default:scratch", "Hausdorff_wt", "3.229426", "2.306694", 1.4900580865946316, 4.968793743827349},
      {"default:fine-tuned", "Sensitivity_et", "0.891776", "0.094680", 0.8203824550989757, 0.9631701475002804},
      {"default:scratch", "Sensitivity_et", "0.883308", "0.091064", 0.8146406773785713, 0.9519750045707722},
      {"default:fine-tuned", "Sensitivity_tc", "0.903716", "0.116150", 0.8161332147806754, 0.9912988415566176},
      {"default:scratch", "Sensitivity_tc", "0.898394", "0.095828", 0.8261347655108316, 0.970654110237675},
      {"default:fine-tuned", "Sensitivity_wt", "0.859142", "0.074822", 0.8027226144034422, 0.9155623250541202},
      {"default:scratch", "Sensitivity_wt", "0.850488", "0.094375", 0.7793244269034129, 0.9216522552930121},
      {"default:fine-tuned", "Specificity_et", "0.999855", "0.000174", 0.999724490193551, 0.9999863139471169},
      {"default:scratch", "Specificity_et", "0.999864", "0.000153", 0.9997483523105747, 0.9999796072276904},
      {"default:fine-tuned", "Specificity_tc", "0.999966", "0.000016", 0.9999536450990365, 0.9999779693287003},
      {"default:scratch", "Specificity_tc", "0.999958", "0.000019", 0.9999433323016496, 0.9999720320562586},
      {"default:fine-tuned", "Specificity_wt", "0.999942", "0.000072", 0.9998879109651817, 0.9999962938537159},
      {"default:scratch", "Specificity_wt", "0.999943", "0.000065", 0.9998941649774732, 0.9999928117074192},
      {"segresnet:fine-tuned", "DICE_et", "0.904268", "0.059603", 0.8593248701938904, 0.9492120365783961},
      {"segresnet:scratch", "DICE_et", "0.892122", "0.068938", 0.8401388754628558, 0.9441048116547575},
      {"segresnet:fine-tuned", "DICE_tc", "0.923117", "0.106266", 0.8429870093299487, 1.003247635233505},
      {"segresnet:scratch", "DICE_tc", "0.914352", "0.099013", 0.8396916665821809, 0.9890130732359382},
      {"segresnet:fine-tuned", "DICE_wt", "0.907016", "0.054019", 0.8662828619175942, 0.9477486476072696},
      {"segresnet:scratch", "DICE_wt", "0.908348", "0.051078", 0.8698326789578521, 0.946863706702481},
      {"segresnet:fine-tuned", "Hausdorff_et", "2.922971", "3.075101", 0.6041838992107484, 5.241757799220153},
      {"segresnet:scratch", "Hausdorff_et", "4.221430", "4.376589", 0.9212526829669474, 7.521608200357592},
      {"segresnet:fine-tuned", "Hausdorff_tc", "2.544388", "3.478665", -0.07870740626025174, 5.167483656315923},
      {"segresnet:scratch", "Hausdorff_tc", "4.591293", "4.745529", 1.0129151894010624, 8.169669945045829},
      {"segresnet:fine-tuned", "Hausdorff_wt", "3.238335", "2.326627", 1.4839360967583135, 4.992733258879288},
      {"segresnet:scratch", "Hausdorff_wt", "2.933505", "1.941535", 1.469485355332029, 4.397523927447374},
      {"segresnet:fine-tuned", "Sensitivity_et", "0.888461", "0.096562", 0.8156482445295795, 0.9612738068857193},
      {"segresnet:scratch", "Sensitivity_et", "0.867490", "0.114056", 0.7814862382100912, 0.9534943608022112},
      {"segresnet:fine-tuned", "Sensitivity_tc", "0.890293", "0.155279", 0.7732042053102797, 1.007381217897922},
      {"segresnet:scratch", "Sensitivity_tc", "0.871439", "0.148700", 0.7593115756599272, 0.9835671975757957},
      {"segresnet:fine-tuned", "Sensitivity_wt", "0.843603", "0.091656", 0.774489112550827, 0.9127164016947712},
      {"segresnet:scratch", "Sensitivity_wt", "0.849019", "0.078271", 0.789998516452096, 0.908039063936307},
      {"segresnet:fine-tuned", "Specificity_et", "0.999860", "0.000159", 0.9997406221699336, 0.9999797869954179},
      {"segresnet:scratch", "Specificity_et", "0.999865", "0.000156", 0.9997473354440615, 0.9999818598889673},
      {"segresnet:fine-tuned", "Specificity_tc", "0.999959", "0.000017", 0.9999461380079122, 0.9999719942453531},
      {"segresnet:scratch", "Specificity_tc", "0.999960", "0.000022", 0.9999436428708869, 0.9999771849737326},
      {"segresnet:fine-tuned", "Specificity_wt", "0.999941", "0.000088", 0.9998740951372348, 1.0000072174037513},
      {"segresnet:scratch", "Specificity_wt", "0.999942", "0.000072", 0.9998878181714773, 0.999997029533558},
      {"tverskybce:fine-tuned", "DICE_et", "0.904734", "0.057283", 0.861539460430833, 0.9479282679440785},
      {"tverskybce:scratch", "DICE_et", "0.901792", "0.054061", 0.8610274173163944, 0.9425569974490472},
      {"tverskybce:fine-tuned", "DICE_tc", "0.954861", "0.019303", 0.9403055382283083, 0.9694170302883498},
      {"tverskybce:scratch", "DICE_tc", "0.942030", "0.034296", 0.9161690198385657, 0.9678908623317617},
      {"tverskybce:fine-tuned", "DICE_wt", "0.942576", "0.027066", 0.9221663358718157, 0.9629847973782577},
      {"tverskybce:scratch", "DICE_wt", "0.935016", "0.030594", 0.9119467057843919, 0.9580858142678023},
      {"tverskybce:fine-tuned", "Hausdorff_et", "2.305606", "1.354322", 1.2843762750584145, 3.3268355379876455},
      {"tverskybce:scratch", "Hausdorff_et", "4.284948", "4.470940", 0.9136245835730143, 7.656270994188883},
      {"tverskybce:fine-tuned", "Hausdorff_tc", "1.268359", "0.491190", 0.8979760027912647, 1.6387420562839254},
      {"tverskybce:scratch", "Hausdorff_tc", "3.588750", "4.496772", 0.19794818131655711, 6.979551473705335},
      {"tverskybce:fine-tuned", "Hausdorff_wt", "2.473034", "1.893176", 1.0454799873191012, 3.9005884099826575},
      {"tverskybce:scratch", "Hausdorff_wt", "2.644007", "1.839630", 1.256830033619288, 4.031184298961023},
      {"tverskybce:fine-tuned", "Sensitivity_et", "0.941898", "0.065489", 0.8925156482956443, 0.9912794508254489},
      {"tverskybce:scratch", "Sensitivity_et", "0.930243", "0.069200", 0.8780627663065704, 0.9824235534400646},
      {"tverskybce:fine-tuned", "Sensitivity_tc", "0.963720", "0.034420", 0.9377661952192343, 0.9896747082667027},
      {"tverskybce:scratch", "Sensitivity_tc", "0.937670", "0.072560", 0.8829562917093579, 0.9923839809743373},
      {"tverskybce:fine-tuned", "Sensitivity_wt", "0.940695", "0.055738", 0.8986658835782216, 0.9827240895499801},
      {"tverskybce:scratch", "Sensitivity_wt", "0.922233", "0.066964", 0.8717388007495401, 0.9727278250915632},
      {"tverskybce:fine-tuned", "Specificity_et", "0.999725", "0.000279", 0.9995148784226456, 0.9999350120138352},
      {"tverskybce:scratch", "Specificity_et", "0.999738", "0.000266", 0.999537463405018, 0.9999388700475089},
      {"tverskybce:fine-tuned", "Specificity_tc", "0.999888", "0.000040", 0.9998575500741426, 0.9999174699506731},
      {"tverskybce:scratch", "Specificity_tc", "0.999890", "0.000054", 0.9998490472819808, 0.9999307628635321},
      {"tverskybce:fine-tuned", "Specificity_wt", "0.999753", "0.000178", 0.999619108726415, 0.9998875304787074},
      {"tverskybce:scratch", "Specificity_wt", "0.999799", "0.000148", 0.9996871199755211, 0.9999105104429189},
  };
  for (const auto& p : printed) {
    const Descriptive& d = row(c, p.system, p.metric);
    const std::string what = std::string(p.system) + " " + p.metric;
    EXPECT_EQ(d.n, 10) << what;
    expect_printed(d.mean, p.mean, what);
    expect_printed(d.std_population, p.deviation, what);
    EXPECT_NEAR(d.ci95.low, p.low, 1e-10 * (p.high - p.low)) << what;
    EXPECT_NEAR(d.ci95.high, p.high, 1e-10 * (p.high - p.low)) << what;
  }
}

TEST_F(published_scores, mann_whitney) {
  const StudyComparison c = compare(scores, CompareMode::paper, "", 0);
  const struct {
    const char *group, *metric, *u, *p;
  } printed[] = {
      {"pooled", "DICE_et", "481.0", "0.326022"},
      {"pooled", "DICE_tc", "551.0", "0.068661"},
      {"pooled", "DICE_wt", "465.0", "0.415128"},
      {"pooled", "Hausdorff_et", "364.0", "0.899701"},
      {"pooled", "Hausdorff_tc", "233.5", "0.999393"},
      {"pooled", "Hausdorff_wt", "451.0", "0.497045"},
      {"pooled", "Sensitivity_et", "491.0", "0.274663"},
      {"pooled", "Sensitivity_tc", "517.0", "0.162763"},
      {"pooled", "Sensitivity_wt", "475.0", "0.358594"},
      {"pooled", "Specificity_et", "434.0", "0.596364"},
      {"pooled", "Specificity_tc", "462.0", "0.432497"},
      {"pooled", "Specificity_wt", "430.0", "0.619086"},
      {"tverskybce_vs_segresnet", "DICE_wt", "", "0.0360"},
      {"tverskybce_vs_default", "DICE_wt", "", "0.0382"},
      {"tverskybce_vs_segresnet", "Sensitivity_et", "", "0.0120"},
      {"tverskybce_vs_segresnet", "Sensitivity_tc", "", "0.0077"},
      {"tverskybce_vs_segresnet", "Sensitivity_wt", "", "0.0006"},
      {"tverskybce_vs_default", "Sensitivity_et", "", "0.0111"},
      {"tverskybce_vs_default", "Sensitivity_tc", "", "0.0111"},
      {"tverskybce_vs_default", "Sensitivity_wt", "", "0.0022"},
      {"segresnet_vs_default", "DICE_et", "", "0.62"},
      {"segresnet_vs_default", "Specificity_tc", "", "0.73"},
  };
  for (const auto& p : printed) {
    const PairTest& t = test(c, p.group, p.metric);
    if (*p.u) {
      EXPECT_EQ(t.result.statistic, std::stod(p.u));
    }
    expect_printed(t.result.p_value, p.p, std::string(p.group) + " " + p.metric);
    EXPECT_EQ(t.n_cases, t.comparison == "architecture" ? 20 : 30);
  }
}

TEST_F(published_scores, shapiro_wilk) {
  const StudyComparison c = compare(scores, CompareMode::paper, "", 0);
  const struct {
    const char *system, *metric, *w, *p;
  } printed[] = {
      {"default:fine-tuned", "DICE_et", "0.912360", "0.297596"},
      {"default:fine-tuned", "DICE_tc", "0.596355", "0.000050"},
      {"default:scratch", "DICE_tc", "0.731380", "0.002118"},
      {"tverskybce:fine-tuned", "DICE_tc", "0.884365", "0.146394"},
      {"tverskybce:scratch", "DICE_tc", "0.765810", "0.005560"},
      {"segresnet:fine-tuned", "Hausdorff_tc", "0.480011", "0.000002"},
      {"segresnet:scratch", "Hausdorff_wt", "0.906746", "0.259377"},
      {"default:scratch", "Sensitivity_tc", "0.769512", "0.006169"},
  };
  for (const auto& p : printed) {
    const Descriptive& d = row(c, p.system, p.metric);
    expect_printed(d.shapiro.statistic, p.w, p.metric);
    expect_printed(d.shapiro.p_value, p.p, p.metric);
  }
}

// The authors' re-analysis of 2026-09-29 (luumsk/BrainMetaSeg scores/statistical_tests_2026-09-29.csv): cases where the
// first side is better, p in 1024ths, p Holm in 1024ths.
TEST_F(published_scores, paired_by_case) {
  const StudyComparison c = compare(scores, CompareMode::paired, "tverskybce", 0);
  const struct {
    const char *group, *metric;
    int better;
    double p, holm;
  } published[] = {
      {"default", "DICE_et", 7, 99, 608},
      {"default", "DICE_tc", 7, 82, 608},
      {"default", "DICE_wt", 8, 43, 387},
      {"default", "Hausdorff_et", 5, 328, 656},
      {"default", "Hausdorff_tc", 6, 76, 608},
      {"default", "Hausdorff_wt", 3, 828, 828},
      {"default", "Sensitivity_et", 6, 192, 608},
      {"default", "Sensitivity_tc", 7, 119, 608},
      {"default", "Sensitivity_wt", 7, 99, 608},
      {"segresnet", "DICE_et", 7, 25, 175},
      {"segresnet", "DICE_tc", 7, 82, 328},
      {"segresnet", "DICE_wt", 4, 704, 1024},
      {"segresnet", "Hausdorff_et", 7, 12, 108},
      {"segresnet", "Hausdorff_tc", 7, 16, 128},
      {"segresnet", "Hausdorff_wt", 1, 912, 1024},
      {"segresnet", "Sensitivity_et", 8, 33, 198},
      {"segresnet", "Sensitivity_tc", 8, 33, 198},
      {"segresnet", "Sensitivity_wt", 5, 630, 1024},
      {"tverskybce", "DICE_et", 8, 99, 297},
      {"tverskybce", "DICE_tc", 10, 1, 9},
      {"tverskybce", "DICE_wt", 6, 43, 172},
      {"tverskybce", "Hausdorff_et", 7, 165, 320},
      {"tverskybce", "Hausdorff_tc", 8, 14, 84},
      {"tverskybce", "Hausdorff_wt", 5, 160, 320},
      {"tverskybce", "Sensitivity_et", 7, 25, 125},
      {"tverskybce", "Sensitivity_tc", 9, 5, 35},
      {"tverskybce", "Sensitivity_wt", 10, 1, 9},
      {"pooled", "DICE_et", 8, 14, 60},
      {"pooled", "DICE_tc", 8, 10, 60},
      {"pooled", "DICE_wt", 7, 99, 297},
      {"pooled", "Hausdorff_et", 9, 10, 60},
      {"pooled", "Hausdorff_tc", 9, 2, 18},
      {"pooled", "Hausdorff_wt", 5, 512, 512},
      {"pooled", "Sensitivity_et", 8, 7, 49},
      {"pooled", "Sensitivity_tc", 9, 5, 40},
      {"pooled", "Sensitivity_wt", 7, 99, 297},
      {"tverskybce_vs_default", "DICE_et", 3, 712, 1024},
      {"tverskybce_vs_default", "DICE_tc", 3, 866, 1024},
      {"tverskybce_vs_default", "DICE_wt", 9, 10, 90},
      {"tverskybce_vs_default", "Hausdorff_et", 4, 640, 1024},
      {"tverskybce_vs_default", "Hausdorff_tc", 5, 64, 448},
      {"tverskybce_vs_default", "Hausdorff_wt", 9, 4, 48},
      {"tverskybce_vs_default", "Sensitivity_et", 10, 2, 36},
      {"tverskybce_vs_default", "Sensitivity_tc", 10, 2, 36},
      {"tverskybce_vs_default", "Sensitivity_wt", 10, 2, 36},
      {"tverskybce_vs_segresnet", "DICE_et", 5, 1024, 1024},
      {"tverskybce_vs_segresnet", "DICE_tc", 4, 788, 1024},
      {"tverskybce_vs_segresnet", "DICE_wt", 9, 6, 60},
      {"tverskybce_vs_segresnet", "Hausdorff_et", 3, 656, 1024},
      {"tverskybce_vs_segresnet", "Hausdorff_tc", 7, 16, 128},
      {"tverskybce_vs_segresnet", "Hausdorff_wt", 9, 4, 48},
      {"tverskybce_vs_segresnet", "Sensitivity_et", 10, 2, 36},
      {"tverskybce_vs_segresnet", "Sensitivity_tc", 10, 2, 36},
      {"tverskybce_vs_segresnet", "Sensitivity_wt", 10, 2, 36},
  };
  EXPECT_EQ(std::size(published), c.tests.size());
  for (const auto& e : published) {
    const PairTest& t = test(c, e.group, e.metric);
    const std::string what = std::string(e.group) + " " + e.metric;
    EXPECT_EQ(t.a_better_cases, e.better) << what;
    EXPECT_EQ(1024 * t.result.p_value, e.p) << what;
    EXPECT_EQ(1024 * t.p_holm, e.holm) << what;
    EXPECT_GE(t.difference95.high, t.difference95.low);
  }
  for (const Descriptive& d : c.descriptive) {
    EXPECT_GE(d.ci95.low, 0);
    EXPECT_LE(d.ci95.high, lower_is_better(d.metric) || d.metric.find("volume") != std::string::npos ? 1e3 : 1);
  }
}

}  // namespace metvox
