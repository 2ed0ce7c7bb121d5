# SPDX-License-Identifier: Apache-2.0
# Writes preprocess.json (golden): small cases through nnU-Net's own preprocessor, and logits through its export.
# Needs nnunetv2 (written with 2.8.1). Usage: python make_preprocess.py > preprocess.json
import json

import numpy as np
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

rng = np.random.RandomState(11)
REGIONS = {"background": 0, "WT": [1, 2, 3], "TC": [1, 3], "ET": 3}
LABELS = {"background": 0, "a": 1, "b": 2}


def resampling(is_seg, order):
    return {"is_seg": is_seg, "order": order, "order_z": 0, "force_separate_z": None}


def nothing(data, seg):
    pass


def constant_channel(data, seg):
    data[1][data[1] != 0] = 7


def one_voxel_lesions(data, seg):
    """One stays a voxel, one may vanish where voxels grow, one lies beyond the head."""
    seg[:] = 0
    seg[2, 5, 4] = seg[5, 3, 2] = 1
    seg[0, 0, 0] = 2


def one_voxel_head(data, seg):
    data[:, np.arange(seg.size).reshape(seg.shape) != seg.size // 2] = 0
    data[:, seg.shape[0] // 2, seg.shape[1] // 2, seg.shape[2] // 2] = 5
    seg[:] = 0


def make(name, shape, spacing, target, forward, schemes, use_mask, labels, edit=nothing):
    channels = len(schemes)
    inside = np.zeros(shape, bool)
    inside[1:-2, 2:-1, 1:-1] = True
    inside[1, 2, 1:4] = False
    hole = (shape[0] // 2, shape[1] // 2, shape[2] // 2)
    data = np.where(inside, rng.randint(1, 200, (channels, *shape)), 0).astype(np.float32)
    data[(slice(None), *hole)] = 0
    seg = np.where(inside, rng.randint(0, 1 + max(max(v) if isinstance(v, list) else v for v in labels.values()), shape), 0)
    seg[0, 0, 0] = 0
    edit(data, seg)
    configuration = {
        "data_identifier": "x", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2, "patch_size": [8] * len(target),
        "median_image_size_in_voxels": [8.0] * len(target), "spacing": target, "normalization_schemes": schemes,
        "use_mask_for_norm": use_mask, "batch_dice": False,
        **{f"resampling_fn_{k}": "resample_data_or_seg_to_shape" for k in ("data", "seg", "probabilities")},
        "resampling_fn_data_kwargs": resampling(False, 3), "resampling_fn_seg_kwargs": resampling(True, 1),
        "resampling_fn_probabilities_kwargs": resampling(False, 1),
        "architecture": {"network_class_name": "PlainConvUNet", "arch_kwargs": {
            "n_stages": 2, "features_per_stage": [4, 8], "kernel_sizes": [[3] * len(target)] * 2,
            "strides": [[1] * len(target), [2] * len(target)], "n_conv_per_stage": [1, 1], "n_conv_per_stage_decoder": [1]}}}
    plans = {
        "dataset_name": "Dataset001_x", "plans_name": "nnUNetPlans", "original_median_spacing_after_transp": spacing,
        "original_median_shape_after_transp": list(shape), "image_reader_writer": "SimpleITKIO",
        "transpose_forward": forward, "transpose_backward": [forward.index(i) for i in range(3)],
        "configurations": {"c": configuration}, "experiment_planner_used": "ExperimentPlanner", "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(c): {
            "mean": 90.0, "std": 40.0, "percentile_00_5": 20.0, "percentile_99_5": 150.0, "median": 91.0, "min": 1.0,
            "max": 199.0} for c in range(channels)}}
    dataset = {"channel_names": {str(c): "x" for c in range(channels)}, "labels": labels, "numTraining": 1,
               "file_ending": ".nii.gz"}
    if labels is REGIONS:
        dataset["regions_class_order"] = [2, 1, 3]
    manager = PlansManager(json.loads(json.dumps(plans)))
    configuration = manager.get_configuration("c")
    properties = {"spacing": spacing}
    out, out_seg, properties = DefaultPreprocessor(verbose=False).run_case_npy(
        data, seg[None].astype(np.int16), properties, manager, configuration, dataset)
    heads = 3
    logits = np.round(rng.standard_normal((heads, *out.shape[1:])) * 3, 2).astype(np.float32)
    restored, probabilities = convert_predicted_logits_to_segmentation_with_correct_shape(
        torch.from_numpy(logits), manager, configuration, manager.get_label_manager(dataset), properties, True)
    floats = lambda a: [round(float(v), 5) for v in np.asarray(a).ravel()]  # noqa: E731
    integers = lambda a: [int(v) for v in np.asarray(a).ravel()]  # noqa: E731
    return dict(name=name, shape=shape, spacing=spacing, plans=plans, dataset=dataset, data=integers(data),
                labels=integers(seg), bbox=properties["bbox_used_for_cropping"], preprocessed_shape=out.shape[1:],
                preprocessed=floats(out), preprocessed_seg=integers(out_seg),
                counts=[len(v) for v in properties["class_locations"].values()], logits=floats(logits),
                restored=integers(restored), probabilities=floats(probabilities))


Z = "ZScoreNormalization"
if __name__ == "__main__":
    runs = [
        make("masked regions", (8, 9, 7), [1.0, 1.1, 0.9], [0.8, 1.2, 0.9], [1, 0, 2], [Z, Z], [True, True], REGIONS),
        make("thick slices", (7, 9, 8), [1.0, 1.1, 6.0], [5.0, 0.8, 1.3], [2, 0, 1],
             ["CTNormalization", "RescaleTo01Normalization", "NoNormalization"], [False] * 3, LABELS),
        make("slices", (7, 8, 9), [3.0, 1.0, 1.0], [0.7, 1.5], [0, 1, 2], [Z], [False], REGIONS),
        make("constant channel", (6, 7, 8), [1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [0, 1, 2], [Z, Z], [True, False], LABELS,
             constant_channel),
        make("one-voxel lesions", (8, 9, 7), [1.0, 1.0, 1.0], [1.4, 1.3, 0.8], [2, 1, 0], [Z], [True], LABELS,
             one_voxel_lesions),
        make("one-voxel head", (5, 5, 5), [1.0, 1.0, 1.0], [0.5, 0.6, 0.7], [0, 1, 2], [Z], [True], LABELS, one_voxel_head),
        make("one slice", (4, 10, 9), [9.0, 0.7, 0.8], [4.0, 1.0, 1.0], [0, 1, 2], [Z, "CTNormalization"], [False] * 2, REGIONS),
    ]
    print("[" + ",\n".join(json.dumps(r, separators=(",", ":"), default=int) for r in runs) + "]")
