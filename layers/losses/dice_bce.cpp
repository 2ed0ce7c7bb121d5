// SPDX-License-Identifier: Apache-2.0
// dice-bce: nnU-Net's loss for regions, soft Dice on sigmoids + mean BCE (nnU-Net 2.8.1,
// training/loss/compound_losses.py, DC_and_BCE_loss).
#include "layers/loss_case.h"
#include "layers/losses/overlap.h"

namespace metvox {
namespace {

const LossEntry entry{"dice-bce", {false, 0, kSoftDice, true, true}};
const OpCaseEntry odd{loss_case("dice-bce", "odd", Use::test, {3, 5, 4, 7})};
const OpCaseEntry large{loss_case("dice-bce", "48^3", Use::bench, {2, 48, 48, 48})};

}  // namespace
}  // namespace metvox
