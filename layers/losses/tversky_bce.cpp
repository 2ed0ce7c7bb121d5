// SPDX-License-Identifier: Apache-2.0
// tversky-bce: Tversky with alpha 0.3 on false positives and beta 0.7 on false negatives, per sample and region, + BCE
// in which positives weigh 11: luumsk/BrainMetaSeg, trainers/nnUNetTrainer_TverskyBCE.py, on MONAI 1.3.0,
// losses/tversky.py. The paper (Luu et al. 2024) says 10, its code adds 10 to the 1.
#include "layers/loss_case.h"

namespace metvox {
namespace {

constexpr double kAlpha = 0.3, kBeta = 0.7, kSmooth = 1e-5;
// 1 - (TP + s) / (TP + alpha FP + beta FN + s), where TP = I, FP = P - I, FN = G - I.
constexpr OverlapRatio kTversky{.base = 1,
                                .top_i = 1,
                                .top_0 = kSmooth,
                                .bottom_i = 1 - kAlpha - kBeta,
                                .bottom_p = kAlpha,
                                .bottom_g = kBeta,
                                .bottom_0 = kSmooth,
                                .floor = 0};

const LossEntry entry{"tversky-bce", {false, 10, kTversky, false, true}};
const OpCaseEntry odd{loss_case("tversky-bce", "odd", Use::test, {3, 5, 4, 7})};
const OpCaseEntry large{loss_case("tversky-bce", "48^3", Use::bench, {2, 48, 48, 48})};

}  // namespace
}  // namespace metvox
