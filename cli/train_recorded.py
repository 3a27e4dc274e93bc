# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""`apprentice train critic --data`: a progress critic from recordings of one's own robot."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apprentice.reward_models.base import Episodes
    from apprentice.reward_models.evaluation.showing import Truth
    from apprentice.robot.spec import RobotSpec

FEWEST = 5  # successes: fewer leave nothing to calibrate and judge on
SIDE = {'thumbnails': 96, 'clip': 224}  # pixels of the shorter side that are kept of a picture


def critic_on_recordings(args: argparse.Namespace) -> int:
    """Train on three fifths of the recordings, calibrate on one, judge on one; write weights and card."""
    from apprentice.bench.reward_table import judge_all, make_verdict, text
    from apprentice.cli.train_rewards import CRITIC, fit_critic, unfinished
    from apprentice.episodes.facts import recorded_robot
    from apprentice.learning import snapshot
    from apprentice.reward_models.evaluation import verdict
    from apprentice.robot.files import cache_folder

    if args.out == Path(CRITIC):
        raise ValueError(f'--data needs --out FOLDER; {CRITIC} holds the shipped critic')
    spec = recorded_robot(args.data, args.robot)
    training, calibration, judged = divided(_read(args, spec))
    print(f'{len(training)} recordings to train on, {len(calibration)} to calibrate, {len(judged)} to judge')
    held_back = _episodes(calibration, spec)
    if all(held_back.success) or all(item.success for item in training):
        print('few or no failures among them: label some, or its judgement of success is worth little')
    critic, report = fit_critic(
        args, _episodes(training, spec), held_back if len({*held_back.success}) == 2 else None
    )
    result = judge_all(critic, {'recordings': judged})
    found = make_verdict(critic, str(args.out), result, ', '.join(map(str, args.data)))
    verdict.write(found, [cache_folder() / 'verdicts', args.out])  # the learner looks in the first
    tables = '\n'.join(text(result, found))
    _card(args, spec, critic.version, report, tables, len(training))
    snapshot.remove(unfinished(args))
    print(tables)
    return 0


def divided(items: Sequence[Truth]) -> tuple[list[Truth], list[Truth], list[Truth]]:
    """Recordings to train on, to calibrate and to judge on: three, one and one of five, of each outcome.

    Raises ValueError for too few successes.
    """
    good = [item for item in items if item.success]
    if len(good) < FEWEST:
        raise ValueError(
            f'{len(good)} of {len(items)} recordings are successes; the critic learns progress from them: '
            f'record or label {FEWEST} or more'
        )
    parts: tuple[list[Truth], list[Truth], list[Truth]] = ([], [], [])
    for group in (good, [item for item in items if not item.success]):
        for number, item in enumerate(group):
            parts[max(0, number % 5 - 2)].append(item)
    return parts


def _read(args: argparse.Namespace, spec: RobotSpec) -> list[Truth]:
    from tqdm import tqdm

    from apprentice.bench.reward_truths import recorded
    from apprentice.episodes.facts import episode_folder
    from apprentice.learning.reward_attempts import RATE_HZ

    side = SIDE['clip' if args.clip else 'thumbnails']
    return [
        item
        for folder in {episode_folder(folder).resolve(): None for folder in args.data}  # each once
        for item in recorded(
            folder,
            spec,
            RATE_HZ,
            lambda some: tqdm(some, 'reading', unit='episode'),
            side,
            lambda episode: not episode.eval_only,  # held-out starts are never learned from
        )
    ]


def _episodes(items: Sequence[Truth], spec: RobotSpec) -> Episodes:
    from apprentice.reward_models.base import Episodes

    return Episodes(
        [item.frames for item in items],
        [item.text for item in items],
        [item.success for item in items],
        tuple(camera.name for camera in spec.cameras),
    )


def _card(
    args: argparse.Namespace, spec: RobotSpec, version: str, report: dict[str, float], tables: str, count: int
) -> None:
    from apprentice.robot.files import write_text

    words = ['apprentice', 'train', 'critic', '--out', str(args.out), '--data', *map(str, args.data)]
    words += ['--robot', args.robot] if args.robot else []
    words += ['--clip', str(args.clip)] if args.clip else []
    words += ['--steps', str(args.steps), '--seed', str(args.seed)]
    card = f"""# Progress critic

From {count} recordings of the robot {spec.name!r}: time on the successes, and which episodes failed. Used by
`apprentice.reward_models.critic:ProgressCritic`.

    {shlex.join(words)}

{report['parameters']:.0f} parameters, stored as float16; trained in {report['seconds']:.0f} s; version
{version}.

On recordings that it was neither trained nor calibrated on (what the columns mean: docs/rewards.md):

{tables}

It knows the cameras, scenes and instructions it was trained on, and nothing else.
"""
    write_text(args.out / 'README.md', card)
