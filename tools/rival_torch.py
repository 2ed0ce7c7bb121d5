#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The workloads of `metvox bench` in plain PyTorch: same network, loss, optimizer and sizes.

    rival_torch.py step '8-16-32-64 48^3' --precision bf16 --runs 10 --threads 2
    rival_torch.py step '32..320 128^3' --precision bf16 --device cuda --mode compiled-channels-last

prints one JSON object with ms_min, ms_median and, on a GPU, the most memory that was allocated. bf16 is autocast.
`resample` is scikit-image, as nnU-Net calls it.
"""
import argparse
import json
import time

CHANNELS, HEADS = 4, 3


def network(features):
    from torch import cat, nn

    class Block(nn.Sequential):
        def __init__(self, cin, cout, stride):
            super().__init__(nn.Conv3d(cin, cout, 3, stride, 1), nn.InstanceNorm3d(cout, affine=True), nn.LeakyReLU(0.01, inplace=True),
                             nn.Conv3d(cout, cout, 3, 1, 1), nn.InstanceNorm3d(cout, affine=True), nn.LeakyReLU(0.01, inplace=True))

    class PlainConvUNet(nn.Module):
        def __init__(self):
            super().__init__()
            pairs = list(zip(features[:-1], features[1:]))
            self.encoder = nn.ModuleList([Block(CHANNELS, features[0], 1)] + [Block(a, b, 2) for a, b in pairs])
            self.up = nn.ModuleList([nn.ConvTranspose3d(b, a, 2, 2) for a, b in reversed(pairs)])
            self.decoder = nn.ModuleList([Block(2 * a, a, 1) for a, _ in reversed(pairs)])
            self.heads = nn.ModuleList([nn.Conv3d(a, HEADS, 1) for a, _ in reversed(pairs)])

        def forward(self, x, levels):
            """Logits of the finest `levels` levels, finest first."""
            skips = []
            for stage in self.encoder:
                skips.append(x := stage(x))
            skips.pop()
            logits = []
            for i, (up, stage) in enumerate(zip(self.up, self.decoder)):
                x = stage(cat([up(x), skips.pop()], 1))
                if i >= len(self.up) - levels:
                    logits.insert(0, self.heads[i](x))
            return logits

    return PlainConvUNet()


def dice_bce(logits, truth):
    from torch.nn.functional import binary_cross_entropy_with_logits

    p, axes = logits.sigmoid(), (2, 3, 4)
    dice = (2 * (p * truth).sum(axes) + 1e-5) / (p.sum(axes) + truth.sum(axes) + 1e-5).clip(1e-8)
    return binary_cross_entropy_with_logits(logits, truth) - dice.mean()


def prepared(net, how):
    """The network on its device, in its memory format, compiled or not."""
    import torch

    net = net.to(how.device)
    if how.mode.endswith("channels-last"):
        net = net.to(memory_format=torch.channels_last_3d)
    return torch.compile(net) if how.mode.startswith("compiled") else net


def drawn_images(n, patch, how):
    import torch

    images = torch.rand(n, CHANNELS, patch, patch, patch, device=how.device) * 4 - 2
    return images.contiguous(memory_format=torch.channels_last_3d) if how.mode.endswith("channels-last") else images


def step_work(features, patch, how):
    """Forward, deep supervision, backward, clipping, SGD with Nesterov; the coarsest level has no weight."""
    import torch

    net, levels = prepared(network(features), how), len(features) - 2
    optimizer = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.99, nesterov=True, weight_decay=3e-5)
    weights = [2.0 ** (levels - 1 - i) / (2.0 ** levels - 1) for i in range(levels)]
    images = drawn_images(2, patch, how)
    truth = (torch.rand(2, HEADS, patch, patch, patch, device=how.device) < 0.2).float()
    truths = [truth[:, :, ::2 ** i, ::2 ** i, ::2 ** i].contiguous() for i in range(levels)]

    def once():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(how.device, torch.bfloat16, enabled=how.precision == "bf16"):
            logits = net(images, levels)
        loss = sum(w * dice_bce(y.float(), t) for w, y, t in zip(weights, logits, truths))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 12)
        optimizer.step()

    return once


def forward_work(features, patch, how):
    import torch

    net = prepared(network(features).eval(), how)
    images = drawn_images(1, patch, how)

    def once():
        with torch.inference_mode(), torch.autocast(how.device, torch.bfloat16, enabled=how.precision == "bf16"):
            net(images, 1)

    return once


def resample_work():
    import numpy
    from skimage.transform import resize

    volume = numpy.random.default_rng(0).random((155, 240, 240), numpy.float32)
    return lambda: resize(volume, (186, 288, 288), 3, mode="edge", clip=True, anti_aliasing=False)


LARGEST = [32, 64, 128, 256, 320, 320]
WORK = {
    "step 8-16-32-64 48^3": lambda how: step_work([8, 16, 32, 64], 48, how),
    "step 16-32-64-128 64^3": lambda how: step_work([16, 32, 64, 128], 64, how),
    "step 32..320 128^3": lambda how: step_work(LARGEST, 128, how),
    "forward 32..320 128^3": lambda how: forward_work(LARGEST, 128, how),
    "resample 155x240x240>186x288x288": lambda how: resample_work(),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=sorted({name.split()[0] for name in WORK}))
    parser.add_argument("case")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--mode", choices=["eager", "eager-channels-last", "compiled", "compiled-channels-last"], default="eager")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    name = args.workload + " " + args.case
    if name not in WORK:
        parser.error(f'there is no workload "{name}"; there are: ' + ", ".join(WORK))
    rival = "scikit-image"
    if args.workload != "resample":
        import torch

        torch.set_num_threads(args.threads)
        torch.manual_seed(0)
        rival = "torch " + torch.__version__
        torch.backends.cudnn.benchmark = True
    once = WORK[name](args)

    by_device = args.device == "cuda" and args.workload == "forward"  # as metvox bench times these

    def timed():
        if by_device:
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            once()
            end.record()
            torch.cuda.synchronize()
            return begin.elapsed_time(end)
        start = time.perf_counter()
        once()
        if args.device == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - start) * 1e3

    for _ in range(3 if args.device == "cuda" else 1):
        timed()  # the first runs choose kernels and touch memory
    ms = sorted(timed() for _ in range(args.runs))
    row = {"workload": args.workload, "case": args.case, "rival": rival, "mode": args.mode, "device": args.device,
           "precision": args.precision, "clock": "device" if by_device else "host", "runs": len(ms), "ms_min": ms[0], "ms_median": ms[len(ms) // 2]}
    if args.device == "cuda":
        row |= {"allocated_bytes": torch.cuda.max_memory_allocated(), "reserved_bytes": torch.cuda.max_memory_reserved()}
    print(json.dumps(row))


if __name__ == "__main__":
    main()
