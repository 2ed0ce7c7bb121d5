#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records what the reference makes of one case at every stage, for `metvox verify MODEL`: reading, normalising and resampling
by nnU-Net, the network by dynamic-network-architectures or MONAI, windows and export by nnU-Net's functions, all in double
from the weights of the original file; beside them how far the same in float32 is from that.

  python3 make_oracle.py MODEL CHECKPOINT.pth FOLD CASE_0000.nii.gz CASE_0001.nii.gz ... [--previous-stage CASE.nii.gz]

MODEL is the folder that `metvox import` printed, CHECKPOINT the file that FOLD was imported from; of a cascade's second
stage also what the first said of the case. Needs nnunetv2 (and monai for SegResNet). Writes MODEL/oracle/.
"""
import argparse
import importlib.metadata
import itertools
import json
import pathlib
import shutil
import struct

import numpy as np
import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
from nnunetv2.preprocessing.normalization import default_normalization_schemes
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot, determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

MOST_VALUES, MOST_LABELS = 256, 1 << 16


def network_of(weights, configuration, channels, heads):
    """The network in double, and which layer of ours each of its modules is."""
    weights = {name.removeprefix("module."): value for name, value in weights.items()}
    if "convInit.conv.weight" in weights:
        from monai.networks.nets import SegResNet

        net = SegResNet(spatial_dims=3, init_filters=weights["convInit.conv.weight"].shape[0], in_channels=channels,
                        out_channels=heads, blocks_down=[1, 2, 2, 4], blocks_up=[1, 1, 1])
        ours = {"Convolution": ".conv conv3d", "ResBlock": " add"}
    else:
        net = get_network_from_plans(configuration.network_arch_class_name, configuration.network_arch_init_kwargs,
                                     configuration.network_arch_init_kwargs_req_import, channels, heads,
                                     allow_init=False, deep_supervision=False)
        ours = {"ConvDropoutNormReLU": ".norm norm_act", "BasicBlockD": " add_act", "ConvTranspose3d": " conv_transpose3d",
                "ConvTranspose2d": " conv_transpose3d"}
    net.load_state_dict(weights)
    layers = {}
    for name, module in net.named_modules():
        kind = type(module).__name__
        if kind in ours and not name.startswith("decoder.encoder."):
            layers[name] = name + ours[kind]
    if hasattr(net, "decoder"):
        top = f"decoder.seg_layers.{len(net.decoder.seg_layers) - 1}"
        layers[top] = top + " conv3d"
    return net.eval(), layers


def preprocessed(images, spacing, previous, plans, configuration, labels, dtype):
    """As DefaultPreprocessor.run_case_npy, and the masks of a previous stage behind the data; the normalised and the
    resampled data, and what restores them."""
    order = plans.transpose_forward
    data = images.transpose([0, *[i + 1 for i in order]])
    if previous is not None:
        previous = previous.transpose([0, *[i + 1 for i in order]])
    spacing = [spacing[i] for i in order]
    properties = {"shape_before_cropping": data.shape[1:]}
    data, seg, properties["bbox_used_for_cropping"] = crop_to_nonzero(data.astype(np.float32), previous)
    data = data.astype(dtype)
    properties["shape_after_cropping_and_before_resampling"] = data.shape[1:]
    for c in range(len(data)):
        scheme = getattr(default_normalization_schemes, configuration.normalization_schemes[c])
        normaliser = scheme(configuration.use_mask_for_norm[c],
                            plans.foreground_intensity_properties_per_channel[str(c)], target_dtype=dtype)
        data[c] = normaliser.run(data[c], seg[0])
    target = configuration.spacing
    if len(target) < len(spacing):
        target = [spacing[0], *target]
    shape = compute_new_shape(data.shape[1:], spacing, target)
    resampled = configuration.resampling_fn_data(data, shape, spacing, target)
    if previous is not None:
        seg = configuration.resampling_fn_seg(seg, shape, spacing, target)
        resampled = np.vstack([resampled, convert_labelmap_to_one_hot(seg[0], labels.foreground_labels, dtype)])
    return data, resampled, properties


def with_layers(net, layers, x):
    """Every layer's output."""
    outputs, hooks = {}, []
    for name, module in net.named_modules():
        if name in layers:
            def keep(module, x, y, ours=layers[name]):
                outputs[ours] = (y if y.ndim == 5 else y[:, :, None]).detach().double().clone()  # a 2-D layer's D is 1

            hooks.append(module.register_forward_hook(keep))
    net(x)
    for hook in hooks:
        hook.remove()
    return outputs


def blended(net, data, patch, mirror_axes):
    """As nnUNetPredictor, with its weights, but sums of the data's own type."""
    data, crop = pad_nd_image(data, patch, "constant", {"value": 0}, True, None)
    weights = compute_gaussian(tuple(patch), value_scaling_factor=10, device=torch.device("cpu")).to(data.dtype)
    total, weight, first = 0, torch.zeros(data.shape[1:], dtype=data.dtype), None
    axes = [a + 2 for a in mirror_axes or ()]
    flips = [f for n in range(len(axes) + 1) for f in itertools.combinations(axes, n)]
    slices = [range(n) for n in data.shape[1:-len(patch)]]  # of a 2-D network
    for *k, start in itertools.product(*slices, itertools.product(
            *compute_steps_for_sliding_window(data.shape[-len(patch):], patch, 0.5))):
        place = (slice(None), *k, *[slice(a, a + b) for a, b in zip(start, patch)])
        window = data[place][None]
        first = window if first is None else first
        y = sum(torch.flip(net(torch.flip(window, f)), f) for f in flips)[0] / len(flips)
        if not torch.is_tensor(total):
            total = torch.zeros((len(y), *data.shape[1:]), dtype=data.dtype)
        total[place] += y * weights
        weight[place[1:]] += weights
    return (total / weight)[(slice(None), *crop[1:])], first


def stages(args, dtype):
    model = pathlib.Path(args.model)
    plans, dataset = PlansManager(json.loads((model / "plans.json").read_text())), json.loads((model / "dataset.json").read_text())
    checkpoint = torch.load(args.checkpoint, map_location="cpu", weights_only=False)
    name = checkpoint.get("init_args", {}).get("configuration", "3d_fullres")
    weights = next((checkpoint[k] for k in ("network_weights", "state_dict", "model") if k in checkpoint), checkpoint)
    mirror = checkpoint.get("inference_allowed_mirroring_axes", (0, 1, 2))
    configuration = plans.get_configuration(name)
    labels = plans.get_label_manager(dataset)
    channels = determine_num_input_channels(plans, configuration, dataset)
    net, layers = network_of(weights, configuration, channels, labels.num_segmentation_heads)
    net = net.to(torch.from_numpy(np.zeros(1, dtype)).dtype)
    images, found = SimpleITKIO().read_images(args.images)
    previous = SimpleITKIO().read_seg(args.previous_stage)[0] if args.previous_stage else None
    normalised, resampled, properties = preprocessed(images, found["spacing"], previous, plans, configuration, labels, dtype)
    with torch.inference_mode():
        logits, window = blended(net, torch.from_numpy(resampled), configuration.patch_size, mirror)
        out = {"read": images, "crop": np.array(properties["bbox_used_for_cropping"], dtype), "normalise": normalised,
               "resample": resampled}
        out |= {"layer " + name: y for name, y in with_layers(net, layers, window).items()}
    segmentation = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, plans, configuration, labels, {**properties, "spacing": found["spacing"]})
    return out | {"window": logits, "export": segmentation}


def sampled(values, most):
    values = np.asarray(values, np.float64).ravel()
    count = min(most, len(values))
    return values[[k * (len(values) - 1) // max(count - 1, 1) for k in range(count)]]


def write_safetensors(path, tensors, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, values in tensors.items():
        raw = values.astype("<f8").tobytes()
        header[name] = {"dtype": "F64", "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model")
parser.add_argument("checkpoint")
parser.add_argument("fold")
parser.add_argument("images", nargs="+")
parser.add_argument("--previous-stage", metavar="CASE.nii.gz")
args = parser.parse_args()
exact, rounded = stages(args, np.float64), stages(args, np.float32)
described, tensors = {}, {}
for name, values in exact.items():
    values, other = np.asarray(values, np.float64), np.asarray(rounded[name], np.float64)
    described[name] = {"shape": list(values.shape), "float32_error": float(np.abs(values - other).max())}
    tensors[name] = sampled(values, MOST_LABELS if name == "export" else MOST_VALUES)
packages = {p: importlib.metadata.version(p) for p in ("nnunetv2", "dynamic-network-architectures", "torch")}
folder = pathlib.Path(args.model) / "oracle"
folder.mkdir(exist_ok=True)
for image in args.images:
    shutil.copy(image, folder)
if args.previous_stage:
    (folder / "previous_stage").mkdir(exist_ok=True)
    shutil.copy(args.previous_stage, folder / "previous_stage")
case = pathlib.Path(args.images[0]).name.removesuffix(".nii.gz")[:-5]
oracle = {"case": case, "fold": args.fold, "made_with": packages, "stages": described}
write_safetensors(folder / "oracle.safetensors", tensors, {"oracle": json.dumps(oracle)})
print(folder)
