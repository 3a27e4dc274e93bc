# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""behaviour cloning: ``apprentice train bc``, its options and its ``key=value`` settings"""

from __future__ import annotations

import argparse
import logging
import re
import shlex
import sys
from pathlib import Path
from typing import Any

EXAMPLES = """
settings, as key=value words after the options or as YAML in a file for --config; words win:
  policy=NAME                         tiny (default), qwen2_5_vl, smolvlm, paligemma, or FILE.yaml
  policy.backbone.model=FOLDER        the pretrained model that the architecture is for
  policy.backbone.lora_rank=16        anything else of the architecture, see docs/policies.md
  policy.backbone.gradient_checkpointing=true
  algorithm.learning_rate=1e-4  algorithm.batch=256  algorithm.ema=0.999  algorithm.clip=1.0
  algorithm.state_noise=0.3           noise on the joints that the network sees, in standard deviations
  steps=20000  horizon=16  warm_up=500  seed=1
  device=auto  precision=bf16         where and how it computes: auto, cpu, cuda; fp32, bf16
  parallel=fsdp  accumulate=4         several GPUs: ddp (default), fsdp; parts of a batch, to save memory
  cache=FOLDER  workers=2             decoded episodes on disk, mapped into memory; threads that read ahead
  validation=0.1  validate_every=250  share of the episodes that is held out to measure the loss
  snapshot_every=250                  steps; a killed training goes on when it is started again like before

examples:
  apprentice train bc --data runs/demonstrations --out my_policy
  apprentice train bc steps=20000 algorithm.batch=128 validation=0.1
  apprentice train bc --config my_policy/train.yaml --out again
  apprentice train bc policy=smolvlm policy.backbone.model=/models/SmolVLM2-500M precision=bf16
  torchrun --nproc-per-node 8 --no-python apprentice train bc policy=qwen2_5_vl \\
      policy.backbone.model=/models/Qwen2.5-VL-3B-Instruct precision=bf16 parallel=fsdp

beside the policy, in OUT.training: metrics.jsonl, loss.png, train.yaml (all settings), snapshots
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice train bc``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument(
        '--data',
        type=Path,
        nargs='+',
        default=[Path('runs/demonstrations')],
        help='folders of episodes, or of LeRobot datasets (v3)',
    )
    parser.add_argument(
        '--mapping', type=Path, help='what LeRobot datasets name differently, see docs/policies.md'
    )
    parser.add_argument('--out', type=Path, default=Path('runs/policy'), help='folder of the policy')
    parser.add_argument(
        '--robot',
        default='',
        help='name of a shipped robot or a file (default: the one recorded in the logs, else sim_arm)',
    )
    parser.add_argument('--config', type=Path, help='YAML file of settings')
    parser.add_argument('--steps', type=int, help='gradient steps (default 2000)')
    parser.add_argument('--batch', type=int, help='samples per step, over all GPUs (default 64)')
    parser.add_argument('--learning-rate', type=float, help='peak learning rate (default 1e-3)')
    parser.add_argument('--horizon', type=int, help='rows of an action chunk (default 8)')
    parser.add_argument(
        '--heads',
        choices=('flow', 'joint', 'fast'),
        help='action heads: the flow expert, FAST tokens, or both with a joint loss (default flow)',
    )
    parser.add_argument('--threads', type=int, default=0, help='threads of torch (default: one per core)')
    parser.add_argument('--seed', type=int, help='(default 0)')
    parser.add_argument('words', nargs='*', default=[], metavar='key=value', help='settings, see below')


def run(args: argparse.Namespace) -> int:
    """Train; with torchrun in every process that it starts."""
    import torch
    from tqdm import tqdm

    from apprentice.episodes.facts import recorded_robot
    from apprentice.learning.clone import clone, training_folder
    from apprentice.learning.clone_config import read_config
    from apprentice.learning.demonstrations import load_demonstrations
    from apprentice.learning.distributed import join, leave
    from apprentice.robot.feature_mapping import FeatureMapping

    _take_back_words(args)
    mapping = FeatureMapping.load(args.mapping) if args.mapping else None
    config = read_config(args.words, args.config, _flags(args))
    robot = recorded_robot(args.data, args.robot)
    _check_folders(args.data)
    if args.threads:
        torch.set_num_threads(args.threads)
    with join(config.device) as ranks:
        level = logging.INFO if ranks.first else logging.WARNING
        logging.basicConfig(level=level, format='%(message)s', stream=sys.stderr)
        quiet = not ranks.first
        samples, counts = load_demonstrations(
            args.data,
            robot,
            config.horizon,
            training_folder(args.out) / 'cache',
            config.cache,
            mapping,
            ranks,
            lambda readers: tqdm(readers, desc='reading', unit='episode', disable=quiet),
            config.policy.downsample,
        )
        if ranks.first:
            print(f'{counts["episodes"]} of {counts["read"]} episodes are successes and are cloned')
        with tqdm(total=config.steps, desc='cloning', unit='step', disable=quiet) as bar:

            def progress(step: int, metrics: dict[str, float]) -> None:
                bar.update(step - bar.n)
                shown = {
                    name: f'{metrics[name]:.4f}' for name in ('loss', 'validation_loss') if name in metrics
                }
                bar.set_postfix(shown, refresh=False)

            about = {'episodes': counts['episodes']}
            clone(samples, robot, args.out, config, progress, about, ranks, _command(args, ranks.world))
        if ranks.first:
            print(f'policy in {args.out}; evaluate it with: apprentice eval {args.out}')
    if ranks.world > 1:
        leave()
    return 0


def _take_back_words(args: argparse.Namespace) -> None:
    """Settings that ``--data FOLDER...`` took for folders."""
    given, args.data = args.data, []
    for path in given:
        if re.match(r'[A-Za-z_][\w.]*=', str(path)) and not path.exists():
            args.words = [*args.words, str(path)]
        else:
            args.data.append(path)


def _check_folders(folders: list[Path]) -> None:
    if not folders:
        raise ValueError('--data has no folder; give one, or leave it out')
    missing = [str(path) for path in folders if not path.exists()]
    if missing:
        raise ValueError(
            f'no episodes in {", ".join(missing)}: no such folder; run `apprentice demonstrate` first, or '
            'write settings as key=value'
        )


def _flags(args: argparse.Namespace) -> dict[str, Any]:
    """The options that are settings, as such."""
    given = {name: getattr(args, name) for name in ('steps', 'horizon', 'seed')}
    flags: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    given = {'batch': args.batch, 'learning_rate': args.learning_rate}
    flags['algorithm'] = {name: value for name, value in given.items() if value is not None}
    if args.heads in ('joint', 'fast'):
        flags['policy'] = {'tokens': {}, 'head': 'fast' if args.heads == 'fast' else 'flow'}
    elif args.heads == 'flow':
        flags['policy'] = {'tokens': None, 'head': 'flow'}
    if args.heads == 'fast':
        flags['algorithm']['flow_weight'] = 0.0
    return flags


def _command(args: argparse.Namespace, world: int) -> str:
    """How to repeat this training with the file of its settings."""
    words = ['apprentice', 'train', 'bc', '--data', *map(str, args.data)]
    words += ['--robot', args.robot] if args.robot else []
    words += ['--mapping', str(args.mapping)] if args.mapping else []
    words += ['--threads', str(args.threads)] if args.threads else []
    words += ['--config', 'train.yaml', '--out', 'FOLDER']
    several = ['torchrun', '--nproc-per-node', str(world), '--no-python'] if world > 1 else []
    return f'repeat: {shlex.join([*several, *words])}'
