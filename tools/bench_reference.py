#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""metvox beside the reference, nnU-Net: what people wait for, and what it takes of their memory.

    python3 tools/bench_reference.py [--rounds 3] [--threads 2] [--only predict ...] [--metvox build/metvox]

Both in turn on the same cores, the minimum of all rounds; needs nnunetv2. Cases and weights are made anew: a phantom of
240 x 240 x 155 voxels, weights of the reference's own initialisation. One thread a side, but for predict and export of a
whole process. Prints the table of docs/performance.md; --cpu compares processor time instead of the clock's, for a
machine that is busy.
"""
import argparse
import contextlib
import io
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time

CHANNELS, SIZE, MIB = 4, (155, 240, 240), 1 << 20


def architecture(features):
    n = len(features)
    return {"network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {"n_stages": n, "features_per_stage": features, "conv_op": "torch.nn.modules.conv.Conv3d",
                            "kernel_sizes": [[3, 3, 3]] * n, "strides": [[1, 1, 1]] + [[2, 2, 2]] * (n - 1),
                            "n_conv_per_stage": [2] * n, "n_conv_per_stage_decoder": [2] * (n - 1), "conv_bias": True,
                            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                            "norm_op_kwargs": {"eps": 1e-05, "affine": True}, "dropout_op": None,
                            "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True}},
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"]}


def plans_of(spacing_mm, patch, features):
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    linear = resampling | {"order": 1}
    return {"dataset_name": "Dataset001_Bench", "plans_name": "nnUNetPlans",
            "original_median_spacing_after_transp": list(spacing_mm), "original_median_shape_after_transp": list(SIZE),
            "image_reader_writer": "SimpleITKIO", "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2],
            "experiment_planner_used": "ExperimentPlanner", "label_manager": "LabelManager",
            "foreground_intensity_properties_per_channel": {
                str(c): {"mean": 0.0, "std": 1.0, "median": 0.0, "min": -1.0, "max": 1.0, "percentile_00_5": -1.0,
                         "percentile_99_5": 1.0} for c in range(CHANNELS)},
            "configurations": {"3d_fullres": {
                "data_identifier": "nnUNetPlans_3d_fullres", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2,
                "patch_size": list(patch), "median_image_size_in_voxels": list(SIZE), "spacing": list(spacing_mm),
                "normalization_schemes": ["ZScoreNormalization"] * CHANNELS, "use_mask_for_norm": [False] * CHANNELS,
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": resampling, "resampling_fn_seg_kwargs": linear | {"is_seg": True},
                "resampling_fn_probabilities_kwargs": linear, "batch_dice": False,
                "architecture": architecture(features)}}}


def used(which):
    usage = resource.getrusage(which)
    return usage.ru_utime + usage.ru_stime


class Clock:
    """Seconds of what happens inside it: the clock's, or this process's own and its children's processor time."""

    def __init__(self, cpu):
        self.cpu = cpu

    def now(self):
        return used(resource.RUSAGE_SELF) + used(resource.RUSAGE_CHILDREN) if self.cpu else time.perf_counter()

    def __call__(self, work):
        start = self.now()
        work()
        return self.now() - start


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder, self.clock = options, folder, Clock(options.cpu)
        self.cache = {}

    def metvox(self, *arguments, threads=1):
        """Runs it; its peak in bytes."""
        process = subprocess.Popen([self.options.metvox, *map(str, arguments)], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=dict(os.environ, OMP_NUM_THREADS=str(threads)))
        self.said, told = (stream.read().decode() for stream in (process.stdout, process.stderr))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"metvox {' '.join(map(str, arguments))} ended with {process.returncode}: {told}")
        return usage.ru_maxrss * 1024

    def workload(self, kind, runs_in_one=1):
        """Seconds of a row of `metvox bench`, which is a mean of `runs_in_one`."""
        if not self.options.cpu:
            self.metvox("bench", kind, "--runs", 3, "--json")
            return json.loads(self.said)["workloads"][0]["ms_min"] / 1000
        few, many = (self.clock(lambda: self.metvox("bench", kind, "--runs", runs, "--json")) for runs in (1, 5))
        return (many - few) / 4 / runs_in_one

    def raw(self):
        """A raw data set with one case."""
        folder = self.folder / "raw"
        if not folder.exists():
            self.metvox("phantom", "--out", folder, "--cases", 1, "--seed", 1, "--size", "240x240x155",
                        threads=self.options.threads)
        return folder

    def images(self):
        return sorted((self.raw() / "imagesTr").iterdir())

    def own_spacing_mm(self):
        if "spacing" not in self.cache:
            import SimpleITK

            self.cache["spacing"] = list(SimpleITK.ReadImage(str(self.images()[0])).GetSpacing())[::-1]
        return self.cache["spacing"]

    # Each of these gives (what it is, seconds of the reference, seconds of metvox), or such rows.

    def preprocess(self, share):
        from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        spacing = [s * share for s in self.own_spacing_mm()]
        plans, out = plans_of(spacing, (64, 64, 64), [8, 16]), self.folder / "preprocessed"
        file = self.folder / "plans.json"
        file.write_text(json.dumps(plans))
        manager = PlansManager(plans)
        description = json.loads((self.raw() / "dataset.json").read_text())
        label = next((self.raw() / "labelsTr").iterdir())
        theirs = self.folder / "reference"

        def reference():
            shutil.rmtree(theirs, ignore_errors=True)
            theirs.mkdir()
            DefaultPreprocessor(verbose=False).run_case_save(str(theirs / "case"), [str(f) for f in self.images()],
                                                             str(label), manager,
                                                             manager.get_configuration("3d_fullres"), description)

        def ours():
            shutil.rmtree(out, ignore_errors=True)
            self.metvox("preprocess", self.raw(), "--plans", file, "--out", out)

        return self.clock(reference), self.clock(ours)

    def augment(self):
        import numpy as np
        import torch
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

        if "augment" not in self.cache:
            angle = 30 / 180 * np.pi
            self.cache["augment"] = nnUNetTrainer.get_training_transforms(
                np.array([128] * 3), (-angle, angle), None, (0, 1, 2), False, [False] * CHANNELS, False, [1, 2, 3], None, None)
            generator = torch.Generator().manual_seed(1)
            # The window that rotation and scaling draw from, as nnU-Net's get_patch_size gives it for 128^3.
            self.cache["window"] = (torch.rand((CHANNELS, 205, 205, 205), generator=generator) * 4 - 2,
                                    torch.randint(0, 4, (1, 205, 205, 205), generator=generator, dtype=torch.int16))
        image, labels = self.cache["window"]
        patches = 12
        torch.manual_seed(1)
        np.random.seed(1)

        def reference():
            for _ in range(patches):
                self.cache["augment"](image=image.clone(), segmentation=labels.clone())

        return self.clock(reference) / patches, self.workload("augment", patches)

    def export(self):
        import numpy as np
        import torch
        from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        manager = PlansManager(plans_of([1.25] * 3, (64, 64, 64), [8, 16]))
        labels = manager.get_label_manager({"labels": {"background": 0} | {f"class{k}": k for k in range(1, 20)},
                                            "channel_names": {"0": "T1C"}, "file_ending": ".nii.gz"})
        logits = torch.from_numpy(np.random.default_rng(1).uniform(-2, 2, (20, 124, 192, 192)).astype(np.float32))
        properties = {"spacing": [1.0] * 3, "shape_after_cropping_and_before_resampling": SIZE,
                      "shape_before_cropping": SIZE, "bbox_used_for_cropping": [[0, n] for n in SIZE]}
        configuration = manager.get_configuration("3d_fullres")
        seconds = self.clock(lambda: convert_predicted_logits_to_segmentation_with_correct_shape(
            logits, manager, configuration, labels, properties, num_threads_torch=1))
        return seconds, self.workload("export")

    def model(self):
        """A model folder of the reference's, initialised by it, and the same imported."""
        theirs, results = self.folder / "model", self.folder / "results"
        if not theirs.exists():
            import torch
            from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

            patch, features = (96, 96, 96), [16, 32, 64, 128]
            plans = plans_of(self.own_spacing_mm(), patch, features)
            labels = {"background": 0, "edema": 1, "core": 2, "enhancing": 3}
            description = {"channel_names": json.loads((self.raw() / "dataset.json").read_text())["channel_names"],
                           "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
            (theirs / "fold_0").mkdir(parents=True)
            (theirs / "plans.json").write_text(json.dumps(plans))
            (theirs / "dataset.json").write_text(json.dumps(description))
            a = architecture(features)
            torch.manual_seed(1)
            network = get_network_from_plans(a["network_class_name"], a["arch_kwargs"], a["_kw_requires_import"], CHANNELS,
                                             len(labels), allow_init=True, deep_supervision=True)
            torch.save({"network_weights": network.state_dict(), "trainer_name": "nnUNetTrainer", "current_epoch": 1,
                        "init_args": {"configuration": "3d_fullres", "fold": 0, "plans": plans, "dataset_json": description},
                        "inference_allowed_mirroring_axes": (0, 1, 2)}, theirs / "fold_0" / "checkpoint_final.pth")
            self.metvox("import", theirs, "--out", results)
        return theirs, next(results.iterdir())

    def predict(self):
        """Whole processes: (seconds, peak) of the reference, of metvox in f32, in bf16."""
        theirs, ours = self.model()
        threads = self.options.threads
        predict = pathlib.Path(sys.executable).with_name("nnUNetv2_predict_from_modelfolder")
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), nnUNet_raw=str(self.folder), nnUNet_results=str(self.folder),
                           nnUNet_preprocessed=str(self.folder))
        out = self.folder / "out"
        images = self.raw() / "imagesTr"
        rows = []

        def reference():
            shutil.rmtree(out, ignore_errors=True)
            process = subprocess.Popen([predict, "-i", images, "-o", out, "-m", theirs, "-f", "0", "-device", "cpu",
                                        "--disable_tta", "-npp", "1", "-nps", "1"], env=environment,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)  # of its workers, the largest counts
            if status:
                sys.exit(f"{predict} ended with {status}")
            rows.append(usage.ru_maxrss * 1024)

        results = [(self.clock(reference), rows[0])]
        for precision in ("f32", "bf16"):
            shutil.rmtree(out, ignore_errors=True)
            peak = []
            seconds = self.clock(lambda: peak.append(self.metvox(
                "predict", "-i", images, "-o", out, "-m", ours, "--disable-tta", "--precision", precision, "--device",
                "cpu", threads=threads)))
            results.append((seconds, peak[0]))
        return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = pathlib.Path(__file__).resolve().parent.parent
    figures = ["preprocess", "augment", "export", "predict"]
    parser.add_argument("--metvox", default=root / "build" / "metvox")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", nargs="+", choices=figures, default=figures)
    parser.add_argument("--cpu", action="store_true", help="compare processor time; for a busy machine")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in ("raw", "results", "preprocessed"):
        os.environ.setdefault(f"nnUNet_{name}", tempfile.gettempdir())
    import torch

    torch.set_num_threads(1)
    best = {}

    def keep(name, goal, theirs, ours, unit="s"):
        old = best.get(name, (goal, theirs, ours, unit))
        best[name] = (goal, min(theirs, old[1]), min(ours, old[2]), unit)

    with tempfile.TemporaryDirectory(prefix="metvox_bench_") as folder:
        bench = Bench(options, pathlib.Path(folder))
        bench.raw()
        for k in range(options.rounds):
            for figure in options.only:
                print(f"round {k + 1} of {options.rounds}: {figure}", file=sys.stderr)
                with contextlib.redirect_stdout(io.StringIO()):
                    if figure == "preprocess":
                        keep("preprocess 4 x 155x240x240, not resampled", 6, *bench.preprocess(1))
                        keep("preprocess 4 x 155x240x240 to voxels 1.25 times as large", 6, *bench.preprocess(1.25))
                    elif figure == "augment":
                        keep("augment a patch of 4 x 128^3", 5, *bench.augment())
                    elif figure == "export":
                        keep("export 20 classes 124x192x192 to 155x240x240", 20, *bench.export())
                    else:
                        (slow, large), (f32, f32_peak), (bf16, _) = bench.predict()
                        keep("predict a case, start to end, f32", 1.5, slow, f32)
                        keep("predict a case, start to end, bf16", 3, slow, bf16)
                        keep("predict's peak of memory, f32", 2, large / MIB, f32_peak / MIB, "MiB")
    load = os.getloadavg()
    print(f"{time.strftime('%F')}, load average {load[0]:.1f}, {options.rounds} rounds, {options.threads} threads,",
          "processor time" if options.cpu else "by the clock")
    print("\n| figure | nnU-Net | metvox | ratio | goal | |\n|---|---|---|---|---|---|")
    for name, (goal, theirs, ours, unit) in best.items():
        digits = 0 if unit == "MiB" else 2
        print(f"| {name} | {theirs:.{digits}f} {unit} | {ours:.{digits + (unit == 's')}f} {unit} | {theirs / ours:.1f} | {goal} |"
              f" {'reached' if theirs >= goal * ours else 'missed'} |")


if __name__ == "__main__":
    main()
