# SPDX-License-Identifier: Apache-2.0
# Writes predicted.json (golden): what nnU-Net's own predictor, which sums windows in half precision, makes of the cases of
# exchange/: the labels on the images' grid, digit by digit, and every STEP-th logit, the bits of a half in four hex digits.
# Needs nnunetv2 (written with 2.8.1). Usage: python make_predicted.py > predicted.json
import contextlib
import json
import pathlib
import sys

import numpy as np
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot, determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

STEP = 5


def predicted(name):
    folder = pathlib.Path(__file__).parent / "exchange" / name
    dataset = json.loads((folder / "dataset.json").read_text())
    plans = PlansManager(json.loads((folder / "plans.json").read_text()))
    checkpoint = torch.load(folder / "fold_0" / "checkpoint_final.pth", weights_only=False)
    configuration = plans.get_configuration(checkpoint["init_args"]["configuration"])
    labels = plans.get_label_manager(dataset)
    net = get_network_from_plans(configuration.network_arch_class_name, configuration.network_arch_init_kwargs,
                                 configuration.network_arch_init_kwargs_req_import,
                                 determine_num_input_channels(plans, configuration, dataset), labels.num_segmentation_heads,
                                 allow_init=False, deep_supervision=False)
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.manual_initialization(net, plans, configuration, [checkpoint["network_weights"]], dataset,
                                    checkpoint["trainer_name"], checkpoint["inference_allowed_mirroring_axes"])
    previous = folder / "oracle" / "previous_stage" / "case.nii.gz"
    data, seg, properties = DefaultPreprocessor(verbose=False).run_case(
        [str(folder / "oracle" / f"case_{c:04d}.nii.gz") for c in range(2)], str(previous) if previous.exists() else None,
        plans, configuration, dataset)
    if previous.exists():
        data = np.vstack((data, convert_labelmap_to_one_hot(seg[0], labels.foreground_labels, data.dtype)))
    logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data))
    written = convert_predicted_logits_to_segmentation_with_correct_shape(logits, plans, configuration, labels, properties)
    bits = logits.numpy().view(np.uint16).ravel()[::STEP]
    return {"name": name, "labels": "".join(str(v) for v in written.ravel()), "shape": list(logits.shape),
            "logits": "".join(f"{v:04x}" for v in bits)}


with contextlib.redirect_stdout(sys.stderr):
    cases = [predicted(name) for name in ("plain", "resenc", "flat", "cascade")]
print(json.dumps({"step": STEP, "cases": cases}).replace('{"name"', '\n{"name"'))
