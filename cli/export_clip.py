# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""``apprentice export clip-onnx``: the image tower of a CLIP model for onnxruntime on the CPU."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from apprentice.reward_models.clip.encoder import ClipEncoder

SIM = 'sim'
SEEDS = 31_000_000  # of no attempt that trains or judges a shipped model
TEXT = """\
Writes FOLDER with clip.onnx (pixels -> unit embedding), with --int8 also clip_int8.onnx, and golden images
with the embeddings torch made of them. The folder is complete or not there. Every later loading runs the
golden images and refuses the folder if the embeddings differ, or if it was made from other weights.

Then it measures: images a second, and, where images are given, whether the rewards keep their order.

Run what was made with the parameter runtime: onnx or onnx-int8 of the reward node. It looks for FOLDER in the
folder onnx beside the weights.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice export clip-onnx``."""
    parser.add_argument('weights', metavar='WEIGHTS', help='as for the reward node, or a shipped name')
    parser.add_argument('--out', type=Path, required=True, metavar='FOLDER', help='where the files go')
    parser.add_argument('--int8', action='store_true', help='also clip_int8.onnx, smaller and less exact')
    parser.add_argument(
        '--images', default='', metavar='FOLDER',
        help=f"PNG or JPEG files of the robot's cameras, or {SIM}: rendered by the simulator",
    )  # fmt: skip
    parser.add_argument('--count', type=int, default=64, help='images that are used of them (default 64)')
    parser.add_argument('--text', default='pick up the red cube', help='instruction of the measured rewards')
    parser.add_argument('--threads', type=int, default=1, help='threads of torch and onnxruntime (default 1)')
    parser.add_argument('--rounds', type=int, default=20, help='calls measured of each row (default 20)')


def run(args: argparse.Namespace) -> int:
    """Export, then print the table. Exit code 2 for weights, options or a folder that cannot be used."""
    if args.rounds < 1 or args.count < 1 or args.threads < 1:
        raise ValueError('--rounds, --count and --threads must be 1 or more')
    import torch

    from apprentice.reward_models.clip import onnx_export
    from apprentice.reward_models.clip.reward import ClipReward
    from apprentice.robot.parts import find_weights

    torch.set_num_threads(args.threads)
    started = time.perf_counter()

    def say(stage: str) -> None:
        print(f'{time.perf_counter() - started:5.1f} s  {stage}', file=sys.stderr, flush=True)

    weights = args.weights if ':' in args.weights else str(find_weights(args.weights))
    reward = ClipReward.load(weights)
    images = None
    if args.images:
        say('images')
        images = simulated(args.count) if args.images == SIM else read_images(Path(args.images), args.count)
    manifest = onnx_export.export(reward.encoder, args.out, args.int8, images, say)
    say('measuring')
    models = {'torch': reward}
    for runtime in ('onnx', 'onnx-int8')[: 2 if args.int8 else 1]:
        models[runtime] = ClipReward.load(weights, runtime=runtime, onnx=args.out)
    print(f'{args.out}, {args.threads} thread(s), median of {args.rounds}')
    for line in _table(models, images, args, manifest['difference']):
        print(line)
    print(f'run it with runtime:=onnx weights:={weights}')
    return 0


def _table(models: dict, images: np.ndarray | None, args: argparse.Namespace, differences: dict) -> list[str]:
    import numpy as np

    from apprentice.reward_models.clip.onnx_tower import GRAPHS
    from apprentice.reward_models.evaluation.metrics import spearman

    encoders: dict[str, ClipEncoder] = {name: model.encoder for name, model in models.items()}
    size = encoders['torch'].size
    given = np.zeros((8, *size, 3), np.uint8) if images is None else encoders['torch'].resize(images)
    one, eight = given[:1], np.resize(given, (8, *size, 3))
    rates = {count: speeds(encoders, frames, args.rounds) for count, frames in ((1, one), (8, eight))}
    rows = [['runtime', 'images/s, 1', 'images/s, 8', 'from torch']]
    if images is not None:
        rows[0].append('same order')
        rewards = {name: model.reward(model.encode(given), args.text) for name, model in models.items()}
    for name in models:
        found = differences.get(GRAPHS.get(name, ''), 0.0)
        rows.append([name, f'{rates[1][name]:.1f}', f'{rates[8][name]:.1f}', f'{found:.1e}'])
        if images is not None:
            rows[-1].append(f'{spearman(rewards["torch"], rewards[name]):.4f}')
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ['  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def speeds(encoders: dict[str, ClipEncoder], frames: np.ndarray, rounds: int) -> dict[str, float]:
    """Images a second, from the median of the calls; the encoders take turns."""
    found: dict[str, list[float]] = {name: [] for name in encoders}
    for turn in range(rounds + 2):
        for name, encoder in encoders.items():
            begin = time.perf_counter()
            encoder.images(frames)
            if turn >= 2:  # the first ones allocate
                found[name].append(time.perf_counter() - begin)
    return {name: len(frames) / statistics.median(each) for name, each in found.items()}


def read_images(folder: Path, count: int) -> np.ndarray:
    """uint8 [N, H, W, 3] of up to ``count`` files, evenly spread over a folder; of one size.

    Raises ValueError for a folder without images, or with images of several sizes.
    """
    import numpy as np
    from PIL import Image

    files = sorted(p for p in folder.rglob('*') if p.suffix.lower() in ('.png', '.jpg', '.jpeg'))
    if not files:
        raise ValueError(f'{folder} holds no PNG or JPEG files; save some frames of your cameras there')
    chosen = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, count).astype(int))]
    frames = [np.asarray(Image.open(path).convert('RGB')) for path in chosen]
    if len({frame.shape for frame in frames}) > 1:
        raise ValueError(f'the images of {folder} have several sizes; give those of one camera')
    return np.stack(frames)


def simulated(count: int) -> np.ndarray:
    """uint8 [N, H, W, 3]: frames of attempts at the demo task that no shipped model was trained on."""
    # triton's LLVM must be there before Mesa's
    import numpy as np
    import torch._dynamo  # noqa: F401

    from apprentice.robot.parts import find_robot
    from apprentice.robot.spec import RobotSpec
    from apprentice.sim.captions import BEHAVIOURS, attempt
    from apprentice.sim.world import World

    world = World(RobotSpec.load(find_robot('sim_arm')))
    try:
        chosen = BEHAVIOURS[: -(-count // 50)]  # an attempt has some 100 frames
        attempts = [attempt(world, SEEDS + i, behaviour) for i, behaviour in enumerate(chosen)]
    finally:
        world.close()
    frames = np.concatenate([each.frames.reshape(-1, *each.frames.shape[-3:]) for each in attempts])
    return frames[np.unique(np.linspace(0, len(frames) - 1, count).astype(int))]
