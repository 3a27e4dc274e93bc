# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""``apprentice train preference --data FOLDER``: a reward from what people preferred, on recorded episodes"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from apprentice.robot.files import write_text

if TYPE_CHECKING:
    from apprentice.robot.types import Episode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice train preference`` for recorded answers."""
    parser.add_argument(
        '--data',
        type=Path,
        nargs='+',
        help='run folders or folders of episodes that people were asked about (default: simulated attempts)',
    )
    parser.add_argument(
        '--labels', type=Path, nargs='+', help='files of answers (default: preferences.jsonl beside --data)'
    )


def run(args: argparse.Namespace, source: str, relative: str) -> int:
    """Fit the reward to the answers, write it, and say how it does on answers held out.

    Args:
        source: where the CLIP weights are; relative: how the reward finds them from its own folder.
    """
    from apprentice.episodes.answers import answer_files, read_answers
    from apprentice.episodes.facts import recorded_robot
    from apprentice.episodes.sources import readers_by_name
    from apprentice.learning.preference.answered import (
        StretchFeatures,
        cameras_of,
        collect_features,
        fit_answers,
    )
    from apprentice.reward_models.clip.reward import ClipReward
    from apprentice.reward_models.preferences.ensemble import FitConfig
    from apprentice.reward_models.preferences.reward import PreferenceReward, save

    if not args.data:
        raise ValueError('--labels needs the episodes that the answers are about: --data FOLDER')
    spec = recorded_robot(args.data, args.robot)
    readers = readers_by_name(args.data, spec)
    answers = read_answers(args.labels or answer_files(args.data))
    clip = ClipReward.load(source)
    cameras = cameras_of(clip, spec)
    features = StretchFeatures(clip, cameras, spec.action_dt)
    answers = collect_features(features, answers, _reader(readers))
    ensemble, report = fit_answers(features, answers, FitConfig(seed=args.seed))
    save(args.out, ensemble, clip, relative, cameras, f'{clip.version}-{args.seed}-{len(answers)}')
    version = PreferenceReward.load(args.out).version
    people = len({answer.person for answer in answers})
    _card(args, version, report, people)
    print(
        f'preference reward in {args.out}, {len(answers)} answers of {people} '
        f'{"person" if people == 1 else "people"}, held out: '
        + json.dumps({k: round(v, 3) for k, v in report.items()})
    )
    return 0


def _reader(readers: dict[str, Callable[[], Episode]]) -> Callable[[str], Episode | None]:
    return lambda name: readers[name]() if name in readers else None


def _card(args: argparse.Namespace, version: str, report: dict[str, float], people: int) -> None:
    words = ['apprentice', 'train', 'preference', '--out', str(args.out), '--data', *map(str, args.data)]
    words += ['--labels', *map(str, args.labels)] if args.labels else []
    words += ['--clip', args.clip, '--seed', str(args.seed)]
    words += ['--robot', args.robot] if args.robot else []
    rows = '\n'.join(f'| {name} | {value:.3f} |' for name, value in report.items())
    card = f"""# Preference reward

Bradley and Terry's likelihood, fitted to {report['answers']:.0f} answers of {people} people about stretches
of recorded episodes. Used by `apprentice.reward_models.preferences.reward:PreferenceReward`.

    {shlex.join(words)}

Version {version}; it looks through the CLIP model it was trained on and loads with no other. It knows the
cameras, scenes and instructions it was trained on, and nothing else.

| | |
|---|---|
{rows}

accuracy, log_loss, brier and ece: on `pairs` decided answers that a model of the others had not seen. What
people like is not yet success: check it with `apprentice reward` before it drives learning.
"""
    write_text(args.out / 'README.md', card)
