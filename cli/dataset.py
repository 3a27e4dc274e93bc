# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""recorded episodes: info, check, merge, export as a LeRobotDataset, and a folder ready for the hub"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from apprentice.episodes.lerobot_video import KINDS
from apprentice.robot.intervals import wilson
from apprentice.robot.types import Outcome

_OUTCOMES = tuple(outcome.name.lower() for outcome in Outcome)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice dataset``."""
    what = parser.add_subparsers(dest='what', metavar='WHAT', required=True)

    info = what.add_parser('info', help='count episodes, hours, tasks, cameras, outcomes and bytes')
    info.add_argument(
        'folders', nargs='+', type=Path, metavar='FOLDER', help='run, episodes or LeRobotDataset'
    )
    info.add_argument('--json', action='store_true', help='one JSON line a folder')

    check = what.add_parser(
        'check', help='look for gaps, frozen cameras, joint jumps, missing labels and damage'
    )
    check.add_argument(
        'folders', nargs='+', type=Path, metavar='FOLDER', help='run, episodes or LeRobotDataset'
    )
    check.add_argument('--json', action='store_true', help='one JSON line a folder')
    check.add_argument('--robot', help='name of a shipped robot or a file (default: the one recorded)')
    check.add_argument(
        '--images', action=argparse.BooleanOptionalAction, default=True,
        help='decode the pictures of a LeRobotDataset too; --no-images is faster and finds no frozen camera',
    )  # fmt: skip
    check.add_argument(
        '--ignore', action='append', default=[], metavar='KIND', help='a kind of problem, as printed'
    )

    export = what.add_parser('export', help='write logs as a LeRobotDataset v3; again: adds what is new')
    export.add_argument('runs', nargs='+', type=Path, metavar='RUN', help='run folder, or folder of episodes')
    export.add_argument('--out', type=Path, required=True, help='folder of the dataset')
    export.add_argument('--robot', help='name of a shipped robot or a file (default: the one recorded)')
    export.add_argument(
        '--images', choices=('auto', *KINDS), default='auto',
        help='video codec, or png without loss (default: h264, but png where a camera is below 128 pixels)',
    )  # fmt: skip
    export.add_argument(
        '--hardware', action=argparse.BooleanOptionalAction, default=True,
        help="the graphics card's encoder where there is one",
    )  # fmt: skip
    export.add_argument('--fps', type=int, default=0, help="frames a second (default: the robot's action_dt)")
    export.add_argument(
        '--outcomes', nargs='+', choices=_OUTCOMES, default=['success', 'failure', 'unknown'],
        help='episodes that ended otherwise are left out (default success failure unknown)',
    )  # fmt: skip
    export.add_argument('--held-out', action='store_true', help='also episodes of evaluations')
    export.add_argument(
        '--rewards', nargs='*', metavar='MODEL', help='reward models with a column (default: those found)'
    )

    merge = what.add_parser('merge', help='several datasets, or several folders of logs, into one')
    merge.add_argument('folders', nargs='+', type=Path, metavar='FOLDER')
    merge.add_argument('--out', type=Path, required=True)

    push = what.add_parser(
        'push-folder', help='copy a LeRobotDataset with a card; upload only with --repo-id'
    )
    push.add_argument('dataset', type=Path)
    push.add_argument('target', type=Path, help='folder, which a later copy brings up to date')
    push.add_argument('--license', default='apache-2.0', help='for the card (default apache-2.0)')
    push.add_argument('--repo-id', help='upload the copy to this dataset of the Hugging Face hub')
    push.add_argument('--public', action='store_true', help='a new repository is public (default private)')


def run(args: argparse.Namespace) -> int:
    """Exit code 1: check found something, or an episode could not be exported."""
    return {
        'info': _info, 'check': _check, 'export': _export, 'merge': _merge, 'push-folder': _push,
    }[args.what](args)  # fmt: skip


def _info(args: argparse.Namespace) -> int:
    from apprentice.episodes.dataset_info import dataset_info

    for folder in args.folders:
        info = dataset_info(folder)
        if args.json:
            print(json.dumps(dataclasses.asdict(info)))
            continue
        success, failure = (info.outcomes.get(name, 0) for name in ('SUCCESS', 'FAILURE'))
        low, high = wilson(success, success + failure)
        rate = f'{success} of {success + failure}'
        if success + failure:
            rate += f' = {success / (success + failure):.0%} [{low:.0%}, {high:.0%}]'
        others = ', '.join(f'{count} {name}' for name, count in sorted(info.outcomes.items())
                           if name not in ('SUCCESS', 'FAILURE'))  # fmt: skip
        print(f'{info.folder}  ({info.kind}, robot {info.robot or "unknown"})')
        frames = f', {info.frames:,} frames' if info.frames else ''
        size = f'{info.seconds / 3600:.2f} hours, {info.size / 1e6:,.1f} MB'
        print(f'  episodes    {info.episodes}{frames}, {size}')
        print(f'  success     {rate}' + (f'; {others}' if others else ''))
        print(f'  people      {info.demonstrations} demonstrations, {info.interventions} with interventions')
        if info.held_out:
            print(f'  held out    {info.held_out}')
        for camera, about in info.cameras.items():
            print(f'  camera      {camera}: {about}')
        for task, count in sorted(info.tasks.items(), key=lambda item: -item[1]):
            print(f'  task        {count:>5} x {task}')
        if info.unfinished:
            print(f'  unfinished  {info.unfinished} (a recorder runs, or died; export seals it)')
        for name, why in info.unreadable.items():
            print(f'  unreadable  {name}: {why}')
    return 0


def _check(args: argparse.Namespace) -> int:
    from apprentice.episodes.check_lerobot import check_lerobot
    from apprentice.episodes.check_logs import check_log
    from apprentice.episodes.checks import KINDS as PROBLEMS
    from apprentice.episodes.facts import episode_folder, recorded_spec
    from apprentice.episodes.files import PART_SUFFIX, EpisodeFileError
    from apprentice.episodes.labels import iter_sealed
    from apprentice.episodes.lerobot_meta import INFO

    unknown = set(args.ignore) - set(PROBLEMS)
    if unknown:
        raise ValueError(
            f'--ignore {sorted(unknown)} is no kind of problem; there are: {", ".join(PROBLEMS)}'
        )
    failed = False
    for folder in args.folders:
        found = []
        if (folder / INFO).exists():
            checked = 0
            with tqdm(desc=folder.name, unit='episode', disable=None) as bar:

                def one() -> None:
                    nonlocal checked
                    checked += 1
                    bar.update()

                found = check_lerobot(folder, images=args.images, progress=one)
        else:
            place = episode_folder(folder)
            files = sorted([*iter_sealed(place), *place.glob('*' + PART_SUFFIX)])
            if not files:
                raise EpisodeFileError(f'{place} holds neither episode files nor a LeRobotDataset')
            checked = len(files)
            for path in tqdm(files, desc=folder.name, unit='episode', disable=None):
                found += check_log(path, recorded_spec(path, args.robot))
        found = [problem for problem in found if problem.kind not in args.ignore]
        failed |= bool(found)
        if args.json:
            problems = [dataclasses.asdict(problem) for problem in found]
            print(json.dumps({'folder': str(folder), 'episodes': checked, 'problems': problems}))
            continue
        for problem in found:
            print(f'{problem.episode}: {problem.kind}: {problem.text}')
        wrong = len({problem.episode for problem in found})
        print(
            f'{folder}: {checked} episodes checked, {f"{wrong} with problems" if wrong else "nothing found"}'
        )
    return int(failed)


def _export(args: argparse.Namespace) -> int:
    from apprentice.episodes.lerobot_export import ExportSettings, export

    settings = ExportSettings(
        images=args.images,
        hardware=args.hardware,
        fps=args.fps,
        outcomes=tuple(Outcome[name.upper()] for name in args.outcomes),
        held_out=args.held_out,
        models=None if args.rewards is None else tuple(args.rewards),
    )
    with tqdm(desc='export', unit='episode', disable=None) as bar:
        done = export(args.runs, args.out, args.robot, settings, _follow(bar))
    counts = {'added': done.added, 'updated': done.updated, 'unchanged': done.kept, 'removed': done.removed}
    print(
        f'{args.out}: '
        + ', '.join(f'{len(names)} {what}' for what, names in counts.items() if names or what == 'added')
    )
    reasons = sorted(set(done.left_out.values()))
    for why in reasons:
        print(f'  left out, {why}: {sum(reason == why for reason in done.left_out.values())}')
    for name, why in done.refused.items():
        print(f'  not exported: {name}: {why}', file=sys.stderr)
    return int(bool(done.refused))


def _merge(args: argparse.Namespace) -> int:
    from apprentice.episodes.facts import episode_folder
    from apprentice.episodes.lerobot_merge import merge_lerobot, merge_logs
    from apprentice.episodes.lerobot_meta import INFO

    kinds = {(folder / INFO).exists() for folder in args.folders}
    if len(kinds) > 1:
        raise ValueError('logs and LeRobotDatasets do not go into one folder; export the logs first')
    with tqdm(desc='merge', unit='episode', disable=None) as bar:
        if kinds.pop():
            added = merge_lerobot(args.folders, args.out, _follow(bar))
        else:
            added = merge_logs([episode_folder(folder) for folder in args.folders], args.out, _follow(bar))
    print(f'{args.out}: {added} episodes added')
    return 0


def _push(args: argparse.Namespace) -> int:
    from apprentice.episodes.dataset_card import copy_dataset, upload

    copied = copy_dataset(args.dataset, args.target, args.license)
    print(f'{args.target}: {copied / 1e6:,.1f} MB copied, card in README.md')
    if args.repo_id:
        print(upload(args.target, args.repo_id, private=not args.public))
    else:
        print('nothing was uploaded; --repo-id OWNER/NAME does')
    return 0


def _follow(bar: Any) -> Any:
    def progress(done: int, total: int, name: str) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return progress
