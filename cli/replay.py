# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Publish recorded episodes on the graph again, or print what is in them."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from apprentice.episodes.facts import recorded_spec
from apprentice.episodes.files import EpisodeFileError
from apprentice.episodes.join import read_episode
from apprentice.episodes.labels import iter_sealed
from apprentice.episodes.log_reader import LogMessage, LogReader
from apprentice.robot.spec import RobotFileError
from apprentice.robot.types import Episode, Source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice replay``."""
    parser.add_argument(
        'files', nargs='+', metavar='FILE', help='episode file (.mcap or .mcap.part) or folder'
    )
    parser.add_argument('--info', action='store_true', help='print a summary; needs no ROS')
    parser.add_argument('--topic', action='append', metavar='T', help='only this topic (may be repeated)')
    parser.add_argument('--rate', type=float, default=1.0, metavar='R', help='speed, 2 is twice as fast')
    parser.add_argument(
        '--delay', type=float, default=1.0, metavar='S', help='wall seconds for subscribers to connect first'
    )
    parser.add_argument('--loop', action='store_true', help='start over at the end, until Ctrl-C')
    parser.add_argument(
        '--publish',
        action=argparse.BooleanOptionalAction,
        default=True,
        help='publish the messages; --no-publish only reads the file through and needs no ROS',
    )
    parser.add_argument(
        '--robot', help='name of a shipped robot or a file (default: the one recorded in the episode)'
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    if args.rate <= 0:
        print('error: --rate must be positive', file=sys.stderr)
        return 2
    files = list(_files(args.files))
    if not files:
        print(f'error: no episode files in {", ".join(args.files)}', file=sys.stderr)
        return 1
    status = 0
    try:
        while True:
            for path in files:
                try:
                    if args.info:
                        print(summary(path, args.robot))
                    else:
                        _play(path, args)
                except (
                    EpisodeFileError,
                    RobotFileError,
                    FileNotFoundError,
                    RuntimeError,
                    ImportError,
                ) as error:
                    print(f'error: {error}', file=sys.stderr)
                    status = 1
            if args.info or not args.loop or status:
                return status
    except KeyboardInterrupt:
        return 130


def summary(path: Path, robot: str | None = None) -> str:
    """What is in an episode file, as text. Raises EpisodeFileError."""
    reader = LogReader(path, salvage=True)
    counts: Counter[tuple[str, str]] = Counter()
    first, last = 0, 0
    for message in reader.messages():
        counts[message.topic, message.type] += 1
        first = min(first or message.log_time, message.log_time)
        last = max(last, message.log_time)
    lines = [f'{path}  {path.stat().st_size / 1e6:.2f} MB  {(last - first) * 1e-9:.2f} s of log']
    try:
        lines += _describe(read_episode(path, recorded_spec(path, robot), salvage=True))
    except EpisodeFileError as error:
        lines.append(f'  not readable as an episode: {error}')
    width = max((len(topic) for topic, _ in counts), default=0)
    lines += [f'  {topic:<{width}}  {count:>6}  {kind}' for (topic, kind), count in sorted(counts.items())]
    return '\n'.join(lines)


def _describe(episode: Episode) -> list[str]:
    human = episode.source == int(Source.HUMAN)
    takeovers = len(set(episode.takeover_id[human].tolist()))
    lines = [
        f'  episode {episode.episode_id}  robot {episode.robot}  task {episode.task!r}  seed {episode.seed}',
        f'  outcome {episode.outcome.name}  steps {len(episode)}  interventions {takeovers} '
        f'({int(human.sum())} steps)  weights version {episode.weights_version}'
        + ('  held out' if episode.eval_only else ''),
        f'  frames dropped {episode.frames_dropped}',
    ]
    models = sorted({reward.model for reward in episode.rewards})
    for model in models:
        values = [reward.value for reward in episode.rewards if reward.model == model and reward.valid]
        span = (
            f'first {values[0]:.3f}, last {values[-1]:.3f}, highest {max(values):.3f}'
            if values
            else 'none valid'
        )
        lines.append(f'  reward {model}: {len(values)} valid, {span}')
    return lines


def _play(path: Path, args: argparse.Namespace) -> None:
    reader = LogReader(path, salvage=True)
    names = (
        None if not args.topic else {topic for given in args.topic for topic in (given, given.lstrip('/'))}
    )
    total = sum(1 for m in reader.messages() if names is None or m.name in names or m.topic in names)
    if total == 0:
        known = sorted({message.topic for message in reader.messages()})
        raise EpisodeFileError(f'{path} has no messages to replay; its topics: {", ".join(known) or "none"}')
    with tqdm(total=total, desc=path.name, unit='msg') as bar:
        if not args.publish:
            for _ in reader.messages(names):
                bar.update()
            return
        try:
            from apprentice.nodes.replay import replay
        except ImportError as error:
            raise ImportError(
                f'publishing needs ROS 2 ({error}): source its setup file or pip install "apprentice[ros]"; '
                'or use --no-publish'
            ) from None
        exclude = set()
        if names is None:
            # a recording must not move a robot by itself; naming the topic says it is meant
            exclude = {recorded_spec(path, args.robot).command.topic.lstrip('/')}
            tqdm.write(f'not publishing {", ".join(exclude)}: that would move a robot; use --topic to insist')

        def progress(message: LogMessage) -> None:
            bar.update()

        replay(reader, names, exclude, args.rate, progress, args.delay)


def _files(given: Iterable[str]) -> Iterable[Path]:
    for name in given:
        path = Path(name)
        if path.is_dir():
            yield from iter_sealed(path if any(path.glob('*.mcap')) else path / 'episodes')
        else:
            yield path
