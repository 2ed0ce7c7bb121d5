#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes exchange/: small models in the files of nnU-Net and MONAI, weights by formula, a case each, and the oracle that
tools/make_oracle.py records of them (read by tests/segmentation/exchange_test.cpp). Run it here, where nnunetv2, monai
and SimpleITK are installed: python3 make_exchange.py. Versions stand in each oracle.

Weights repeat after a few values and the archives are deflated, so that the files are small.
"""
import collections
import json
import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import SimpleITK
import torch
from monai.networks.nets import SegResNet
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from mixed import mixed

HERE = pathlib.Path(__file__).parent
PERIOD = 61
LABELS = {"background": 0, "WT": [1, 2, 3], "TC": [1, 3], "ET": 3}
DATASET = {"channel_names": {"0": "T1C", "1": "FLAIR"}, "labels": LABELS, "regions_class_order": [2, 1, 3],
           "numTraining": 3, "file_ending": ".nii.gz"}


def weights(net):
    for name, p in net.named_parameters():
        repeated = mixed((PERIOD,), name).numpy()[np.arange(p.numel()) % PERIOD].reshape(p.shape)
        scale = (3 / np.prod(p.shape[1:])) ** 0.5 if p.ndim > 1 else 0.2
        with torch.no_grad():
            p.copy_(torch.from_numpy(repeated * scale + (p.ndim == 1 and name.endswith("weight"))))
    return net.state_dict()


def save(value, path):
    torch.save(value, path)
    with zipfile.ZipFile(path) as stored:
        members = [(name, stored.read(name)) for name in stored.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for name, data in members:
            packed.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED, 9)


def configuration(residual, dims=3):
    kind, repeat = ("ResidualEncoderUNet", "n_blocks_per_stage") if residual else ("PlainConvUNet", "n_conv_per_stage")
    axes = lambda rows: [row[-dims:] for row in rows]
    kwargs = {"n_stages": 3, "features_per_stage": [4, 6, 6], "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
              "kernel_sizes": axes([[1, 3, 3], [3, 3, 3], [3, 3, 3]]), "strides": axes([[1, 1, 1], [1, 2, 2], [2, 2, 2]]),
              repeat: [1, 2, 1], "n_conv_per_stage_decoder": [1, 1], "conv_bias": True,
              "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d", "norm_op_kwargs": {"eps": 1e-5, "affine": True},
              "dropout_op": None, "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU",
              "nonlin_kwargs": {"inplace": True}}
    resample = "resample_data_or_seg_to_shape"
    order = lambda labels, n: {"is_seg": labels, "order": n, "order_z": 0, "force_separate_z": None}
    return {"data_identifier": "nnUNetPlans_3d_fullres", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2,
            "patch_size": [8, 16, 16][-dims:], "median_image_size_in_voxels": [12.0, 20.0, 18.0][-dims:],
            "spacing": [2.0, 1.0, 1.0][-dims:],
            "normalization_schemes": ["ZScoreNormalization"] * 2, "use_mask_for_norm": [True] * 2,
            "resampling_fn_data": resample, "resampling_fn_data_kwargs": order(False, 3),
            "resampling_fn_seg": resample, "resampling_fn_seg_kwargs": order(True, 1),
            "resampling_fn_probabilities": resample, "resampling_fn_probabilities_kwargs": order(False, 1),
            "batch_dice": False,
            "architecture": {"network_class_name": "dynamic_network_architectures.architectures.unet." + kind,
                             "arch_kwargs": kwargs, "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"]}}


def old(new):
    """The same configuration as nnU-Net 2.0 to 2.3 wrote it."""
    out = {k: v for k, v in new.items() if k != "architecture"}
    kwargs = new["architecture"]["arch_kwargs"]
    out |= {"UNet_class_name": "PlainConvUNet", "UNet_base_num_features": 4, "unet_max_num_features": 6,
            "n_conv_per_stage_encoder": kwargs["n_conv_per_stage"], "num_pool_per_axis": [1, 2, 2],
            "n_conv_per_stage_decoder": kwargs["n_conv_per_stage_decoder"],
            "pool_op_kernel_sizes": kwargs["strides"], "conv_kernel_sizes": kwargs["kernel_sizes"]}
    return out


def plans(configurations, order):
    intensities = dict.fromkeys(("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std"), 1.0)
    back = [order.index(a) for a in range(3)]
    return {"dataset_name": "Dataset001_Golden", "plans_name": "nnUNetPlans",
            "original_median_spacing_after_transp": [2.0, 1.0, 1.0], "original_median_shape_after_transp": [12, 20, 18],
            "image_reader_writer": "SimpleITKIO", "transpose_forward": order, "transpose_backward": back,
            "configurations": configurations, "experiment_planner_used": "ExperimentPlanner",
            "label_manager": "LabelManager",
            "foreground_intensity_properties_per_channel": {"0": intensities, "1": intensities}}


def case(folder):
    shape = (11, 21, 19)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    for c in range(2):
        head = (z**2 + y**2 + x**2 < 0.9) * (300 + 100 * np.sin(3 * z + c) * np.cos(4 * x + 2 * y) +
                                            60 * mixed(shape, f"case {c}").numpy())
        image = SimpleITK.GetImageFromArray(head.round().astype(np.int16))
        image.SetSpacing((1.1, 0.9, 2.4))
        SimpleITK.WriteImage(image, str(folder / f"case_{c:04d}.nii.gz"))
    said = (z**2 + y**2 + x**2 < 0.4) * (1 + (x > 0.1) + (y + z > 0.2))  # by a previous stage
    image = SimpleITK.GetImageFromArray(said.astype(np.uint8))
    image.SetSpacing((1.1, 0.9, 2.4))
    SimpleITK.WriteImage(image, str(folder / "case.nii.gz"))
    return [str(folder / f"case_{c:04d}.nii.gz") for c in range(2)], str(folder / "case.nii.gz")


def write(name, plan, checkpoint, file):
    folder = HERE / "exchange" / name
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / "oracle").mkdir(exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plan, indent=1))
    (folder / "dataset.json").write_text(json.dumps(DATASET, indent=1))
    save(checkpoint, folder / file)
    images, previous = case(HERE)
    subprocess.run([sys.executable, HERE.parents[1] / "tools" / "make_oracle.py", folder, folder / file,
                    "0" if name != "segresnet" else "all", *images,
                    *(["--previous-stage", previous] if name == "cascade" else [])], check=True)
    for image in [*images, previous]:
        pathlib.Path(image).unlink()


PLAIN, RESIDUAL, FLAT = configuration(False), configuration(True), configuration(False, 2)
CASCADE = {"3d_lowres": {**PLAIN, "spacing": [2.6, 1.3, 1.3], "next_stage": "3d_cascade_fullres"}, "3d_fullres": PLAIN,
           "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}}
for name, run, config, configurations, order in (
        ("plain", "3d_fullres", PLAIN, {"3d_fullres": old(PLAIN)}, [0, 1, 2]),
        ("resenc", "3d_fullres", RESIDUAL, {"3d_fullres": RESIDUAL}, [0, 2, 1]),
        ("flat", "2d", FLAT, {"2d": FLAT}, [0, 1, 2]),
        ("cascade", "3d_cascade_fullres", PLAIN, CASCADE, [1, 0, 2])):
    a = config["architecture"]
    net = get_network_from_plans(a["network_class_name"], a["arch_kwargs"], a["_kw_requires_import"],
                                 2 + (3 if name == "cascade" else 0), 3, allow_init=False, deep_supervision=True)
    plan = plans(configurations, order)
    save_keys = {"network_weights": weights(net), "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01}]},
                 "grad_scaler_state": None, "logging": {"mean_fg_dice": [np.float64(0.5)], "train_losses": [np.float32(1)]},
                 "_best_ema": np.float64(0.5), "current_epoch": 1,
                 "init_args": {"plans": plan, "configuration": run, "fold": 0, "dataset_json": DATASET,
                               "device": torch.device("cpu")},
                 "trainer_name": "nnUNetTrainer", "inference_allowed_mirroring_axes": tuple(range(len(config["patch_size"])))}
    write(name, plan, save_keys, "fold_0/checkpoint_final.pth")
segresnet = SegResNet(spatial_dims=3, init_filters=8, in_channels=2, out_channels=3, blocks_down=[1, 2, 2, 4],
                      blocks_up=[1, 1, 1])
write("segresnet", plans({"3d_fullres": PLAIN}, [0, 1, 2]), collections.OrderedDict(weights(segresnet)), "model.pt")
