// SPDX-License-Identifier: Apache-2.0
// dice-ce: nnU-Net's loss for exclusive labels, soft Dice on the softmax without background + cross-entropy
// (nnU-Net 2.8.1, training/loss/compound_losses.py, DC_and_CE_loss).
#include "layers/loss_case.h"
#include "layers/losses/overlap.h"

namespace metvox {
namespace {

const LossEntry entry{"dice-ce", {true, 0, kSoftDice, true, false}};
const OpCaseEntry odd{loss_case("dice-ce", "odd", Use::test, {2, 3, 4, 5})};
const OpCaseEntry large{loss_case("dice-ce", "48^3", Use::bench, {2, 48, 48, 48})};

}  // namespace
}  // namespace metvox
