# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""`apprentice reward score`: measure recorded episodes as the reward node would have."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

TEXT = """
Scores every sealed episode of a folder with a reward model, as far as this version of the model has not done
so, and adds the scores to rewards.jsonl: of the run for RUN/episodes, else in the folder. The episode files
do not change. A learner that is given the folder as demonstrations, or learns in the run, reads the scores.

Demonstrations that were recorded while reward nodes ran need none of this. Others do where critics learn:
rewards with and without measured progress do not fit one critic.

  apprentice reward score runs/demonstrations
  apprentice reward score runs/mine --weights my_critic
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice reward score``."""
    parser.add_argument('folder', type=Path, help='folder of episode files, or a run folder')
    parser.add_argument(
        '--robot', default='', help='shipped robot or a file (default: that of the recordings)'
    )
    parser.add_argument(
        '--model', default='apprentice.reward_models.critic:ProgressCritic',
        help='as package.module:Class (default: the progress critic)',
    )  # fmt: skip
    parser.add_argument(
        '--weights', default='', help="its weights (default: the shipped ones of the model's name)"
    )
    parser.add_argument(
        '--stride-s', type=float, default=1.0, help='between the frames of a pair (default 1)'
    )
    parser.add_argument('--device', default='cpu', help='torch device (default cpu)')


def run(args: argparse.Namespace) -> int:
    """Exit code 1 if nothing in the folder has scores of the model afterwards."""
    import torch
    from tqdm import tqdm

    from apprentice.episodes.facts import episode_folder, recorded_robot, sealed_files
    from apprentice.learning.rescore import ledger_path, score_recorded
    from apprentice.reward_models.ledger import Ledger
    from apprentice.robot.parts import find_weights, load_part

    if not args.stride_s > 0:
        raise ValueError(f'--stride-s {args.stride_s} is no time between two frames; use more than 0')
    paths, folder = sealed_files([args.folder]), episode_folder(args.folder)
    spec = recorded_robot([args.folder], args.robot)
    part: Any = load_part(args.model)
    if not hasattr(part, 'load') or not getattr(part, 'model', ''):
        raise ValueError(
            f'--model {args.model} is no reward model; docs/rewards.md lists those that are shipped'
        )
    torch.set_num_threads(1)
    model = part.load(str(find_weights(args.weights or part.model)), device=args.device)
    needed = [what for what in ('state', 'action', 'reference') if getattr(model.needs, what)]
    if needed:
        raise ValueError(f'{model.model} judges {" and ".join(needed)} beside images; ask it in Python')
    with tqdm(total=len(paths), desc=model.model, unit='episode') as bar:
        made = score_recorded(folder, spec, model, args.stride_s, lambda n: bar.update(n - bar.n))
    ledger = Ledger(ledger_path(folder))
    scored = sum(ledger.scored(path.stem, model.model) for path in paths)
    print(
        f'{made} new scores of {model.model}; {scored} of {len(paths)} episodes have some, in {ledger.path}'
    )
    return 0 if scored else 1
