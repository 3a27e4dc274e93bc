# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""world model: ``apprentice train world-model``, from logged episodes or from attempts in the simulator"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apprentice.robot.files import write_text

if TYPE_CHECKING:
    import torch

    from apprentice.reward_models.resuming import State
    from apprentice.robot.spec import RobotSpec
    from apprentice.robot.types import Episode

WORLD_MODEL_SEEDS = 40_000_000  # apart from every other range; the bench has 48 000 000 and up
TOGETHER = 8  # simulations at once
METRICS = 'metrics.jsonl'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice train world-model``."""
    parser.add_argument(
        '--data',
        type=Path,
        nargs='+',
        default=[],
        help='folders of episodes, or of LeRobot datasets (v3); default: attempts in the simulator',
    )
    parser.add_argument(
        '--mapping', type=Path, help='what LeRobot datasets name differently, see docs/policies.md'
    )
    parser.add_argument('--out', type=Path, default=Path('runs/world_model'), help='folder of the weights')
    parser.add_argument(
        '--robot',
        default='',
        help='name of a shipped robot or a file (default: the recorded one, or sim_arm)',
    )
    parser.add_argument(
        '--episodes', type=int, default=400, help='attempts in the simulator, without --data (default 400)'
    )
    parser.add_argument(
        '--features',
        default='',
        help='open_clip model whose feature map it predicts: folder, file or name (default: shipped)',
    )
    parser.add_argument('--layer', type=int, default=4, help='of the image tower (default 4)')
    parser.add_argument('--grid', type=int, default=0, help='side of the map after averaging; 0: as it is')
    parser.add_argument('--pooled', action='store_true', help='predict the pooled embedding instead')
    parser.add_argument('--allow-download', action='store_true', help='fetch weights that are not here')
    parser.add_argument('--steps', type=int, default=2000, help='gradient steps at most (default 2000)')
    parser.add_argument('--batch', type=int, default=128, help='chunks a step and member (default 128)')
    parser.add_argument('--rows', type=int, default=4, help='rows that one prediction takes (default 4)')
    parser.add_argument('--unroll', type=int, default=2, help='predictions in a row (default 2)')
    parser.add_argument('--members', type=int, default=3, help='of the ensemble (default 3)')
    parser.add_argument('--rank', type=int, default=64, help='principal components (default 64)')
    parser.add_argument('--width', type=int, default=256, help='of the predictor (default 256)')
    parser.add_argument('--layers', type=int, default=2, help='of the predictor (default 2)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--threads', type=int, default=0, help='threads of torch (default: one per core)')
    parser.add_argument(
        '--snapshot-every', type=int, default=100, help='steps; beside it in OUT.training (default 100)'
    )


def run(args: argparse.Namespace) -> int:
    """Encode every episode once, train with early stopping, write weights, model card and metrics.

    A killed training goes on when it is started again like before.
    """
    import torch
    import torch._dynamo
    from tqdm import tqdm

    from apprentice.episodes.facts import recorded_robot
    from apprentice.learning import snapshot
    from apprentice.learning.clone import training_folder
    from apprentice.learning.metrics_file import MetricsFile
    from apprentice.learning.run_lock import lock_run
    from apprentice.reward_models.resuming import Snapshots
    from apprentice.reward_models.world_model.clips import Clips
    from apprentice.reward_models.world_model.train import WorldModelConfig, train_world_model

    logging.basicConfig(level=logging.INFO, format='%(message)s', stream=sys.stderr)
    if args.threads:
        torch.set_num_threads(args.threads)
    missing = [str(folder) for folder in args.data if not folder.exists()]
    if missing:
        raise ValueError(
            f'no episodes in {", ".join(missing)}: no such folder; run `apprentice demonstrate` first'
        )
    spec = recorded_robot(args.data, args.robot)
    cameras = tuple(camera.name for camera in spec.cameras)
    config = WorldModelConfig(
        steps=args.steps, batch=args.batch, rows=args.rows, unroll=args.unroll,
        members=args.members, rank=args.rank, width=args.width, layers=args.layers, seed=args.seed,
    )  # fmt: skip
    features, described = _features(args)
    with _episodes(args, spec) as (episodes, total):
        bar = tqdm(episodes, desc='reading' if args.data else 'simulating', unit='episode', total=total)
        clips = Clips.of(bar, features, cameras, shortest=config.chunk + 1)
    args.out.mkdir(parents=True, exist_ok=True)
    work = training_folder(args.out)
    unfinished = work / 'snapshot'
    with (
        lock_run(work),
        contextlib.closing(MetricsFile(args.out / METRICS, _steps_done(unfinished))) as metrics_file,
        tqdm(total=config.steps, desc='world model', unit='step') as shown,
    ):

        def progress(step: int, metrics: dict[str, float]) -> None:
            metrics_file.write(step, metrics)
            shown.update(step - shown.n)
            if 'held_out' in metrics:
                shown.set_postfix({name: f'{value:.4f}' for name, value in metrics.items()}, refresh=False)

        def write(tensors: dict[str, torch.Tensor], state: dict[str, Any]) -> None:
            metrics_file.sync()
            snapshot.write(tensors, unfinished, state)

        def newest() -> State | None:
            found = snapshot.newest(unfinished)
            return None if found is None else found[:2]

        snapshots = Snapshots(write, newest, args.snapshot_every)
        report = train_world_model(
            clips, spec.gripper_mask, described, args.out, config, progress=progress, snapshots=snapshots
        )
        snapshot.remove(unfinished)
    _card(args, report, clips.cameras)
    print(
        f'world model in {args.out}: error {report["held_out_error"]:.4f} on held-out episodes, '
        f'{report["standing_still_error"]:.4f} for saying that nothing changes'
    )
    return 0


def _steps_done(unfinished: Path) -> int:
    from apprentice.learning import snapshot

    found = snapshot.newest(unfinished)
    return 0 if found is None else int(found[1]['step'])


def _features(args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """The frozen features, and how to find them again from the folder of the weights."""
    from apprentice.robot.parts import load_part, share

    place = Path(args.features or share('weights', 'clip')).expanduser()
    kind = 'Pooled' if args.pooled else 'ClipMap'
    part = f'apprentice.reward_models.world_model.features:{kind}'
    options = {} if args.pooled else {'layer': args.layer, 'grid': args.grid}
    source = str(place) if place.exists() else args.features
    features = load_part(part).load(source, allow_download=args.allow_download, **options)
    if place.exists():
        source = os.path.relpath(place.resolve(), args.out.resolve())
    return features, {'part': part, 'source': source, 'options': options, 'version': features.version}


@contextlib.contextmanager
def _episodes(args: argparse.Namespace, spec: RobotSpec) -> Iterator[tuple[Iterable[Episode], int]]:
    if args.data:
        from apprentice.episodes.sources import episode_readers
        from apprentice.robot.feature_mapping import FeatureMapping

        mapping = FeatureMapping.load(args.mapping) if args.mapping else None
        readers: list[Callable[[], Episode]] = [
            reader for folder in args.data for reader in episode_readers(folder, spec, mapping)
        ]
        yield (reader() for reader in readers), len(readers)
        return
    from apprentice.sim.attempts import attempts
    from apprentice.sim.worlds import Worlds

    if args.episodes < 2:
        raise ValueError(f'{args.episodes} episodes; use 2 or more')
    worlds = Worlds(spec, min(TOGETHER, args.episodes))
    first = WORLD_MODEL_SEEDS + 100_000 * args.seed
    try:
        yield attempts(worlds, range(first, first + args.episodes)), args.episodes
    finally:
        worlds.close()


def _card(args: argparse.Namespace, report: dict[str, float], cameras: tuple[str, ...]) -> None:
    """README.md beside the weights."""
    from apprentice.reward_models.files import read_json, version_of
    from apprentice.reward_models.world_model.files import CONFIG

    config = read_json(args.out / CONFIG)
    scales = config['energy']['scales']
    words = ['apprentice', 'train', 'world-model', '--out', str(args.out)]
    words += ['--data', *map(str, args.data)] if args.data else ['--episodes', str(args.episodes)]
    for name in ('robot', 'mapping', 'features'):
        words += [f'--{name}', str(getattr(args, name))] if getattr(args, name) else []
    words += ['--pooled'] if args.pooled else ['--layer', str(args.layer), '--grid', str(args.grid)]
    for name in ('steps', 'batch', 'rows', 'unroll', 'members', 'rank', 'width', 'layers', 'seed'):
        words += [f'--{name}', str(getattr(args, name))]
    source = 'logged episodes' if args.data else 'attempts in the simulator, good and failing'
    still, described = report['standing_still_error'], config['features']
    members = config['predictor']['members']
    count = {name: f'{value:.0f}' for name, value in report.items()}
    card = f"""# World model

An ensemble of {members} small networks that predict the layer-normed features of `{described['source']}`
after an action chunk, and the scales of the energies that rank chunks (NORA-1.5). Used by
`apprentice.reward_models.world_model.reward:WorldModelReward`.

Reproduce:

    {shlex.join(words)}

{count['parameters']} parameters, stored as float16; {count['frames']} steps of {count['episodes']} {source};
cameras {', '.join(cameras)}; best of {count['steps']} steps at {count['best_step']}; {count['seconds']} s;
version {version_of(config)}. Licence: Apache-2.0, as the package; that of the features is their own.

| on episodes that were held out | mean L1 of layer-normed features |
|---|---|
| predicted after {config['predictor']['rows']} x {args.unroll} rows | {report['held_out_error']:.4f} |
| saying that nothing changes | {still:.4f} |

Scales (standard deviation among chunks of one moment): end {scales['end']:.4f}, sub {scales['sub']:.4f},
deviation {scales['deviation']:.4f}. How well it ranks: `apprentice bench world-model {args.out}`.

It knows the pictures and the robot it was trained on; `ood` of a score says how far a question is from them.
"""
    write_text(args.out / 'README.md', card)
