# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""From logs to a LeRobotDataset v3.0: as often as wanted, only what is new or labelled anew is written."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.episodes.facts import episode_facts, episode_folder, fingerprint, recorded_robot, sealed_files
from apprentice.episodes.files import EpisodeFileError
from apprentice.episodes.join import REWARD, TRUTH, read_episode
from apprentice.episodes.labels import read_label
from apprentice.episodes.lerobot_features import progress_said, reward_feature
from apprentice.episodes.lerobot_ledger import LEDGER, Entry
from apprentice.episodes.lerobot_store import finishing
from apprentice.episodes.lerobot_writer import LeRobotWriter
from apprentice.episodes.log_reader import LogReader
from apprentice.episodes.sealing import recover
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Outcome

log = logging.getLogger(__name__)
_SCANNED = 20  # files in which reward models are looked for
_SMALL = 128  # pixels; at 64, video lost colours that a policy needs, see docs/recording.md
_COLUMN = re.compile(r'reward\.(.+)\.progress')


@dataclass(frozen=True)
class ExportSettings:
    """What goes into the dataset, and how.

    Attributes:
        images: h264, av1 or png, see :class:`LeRobotWriter`; auto: what the dataset has, and for a new one
            h264, or png where a camera is so small that video would lose colours.
        hardware: use a graphics card's encoder where there is one.
        fps: frames a second; 0 takes the robot's ``action_dt``.
        outcomes: episodes that ended otherwise are left out; those without a label are UNKNOWN.
        held_out: also the episodes of evaluations, which a policy must not be trained on.
        models: reward models whose progress becomes a column; None: those found in the first files.
    """

    images: str = 'auto'
    hardware: bool = True
    fps: int = 0
    outcomes: tuple[Outcome, ...] = (Outcome.SUCCESS, Outcome.FAILURE, Outcome.UNKNOWN)
    held_out: bool = False
    models: tuple[str, ...] | None = None


@dataclass
class Exported:
    """What an export did, by file name; ``refused`` says why, ``left_out`` by which rule."""

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def export(
    runs: Sequence[str | Path],
    out: str | Path,
    robot: str | None = None,
    settings: ExportSettings | None = None,
    progress: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> Exported:
    """Bring the dataset in ``out`` up to date with the logs of ``runs``.

    What is in it already stays; an episode whose label changed is written again, one that is no longer to be
    in it, by its label or by other settings, goes. An export that was cut off goes on where it was. Logs that
    a dead recorder left are sealed first. Episodes that cannot be read are listed and the others exported.

    Args:
        runs: run folders, or folders of episode files.
        robot: name of a shipped robot or a file; default: the one recorded in the first log.
        progress: told after each file: how many of how many, and its name.

    Raises EpisodeFileError, RobotFileError, LeRobotDatasetError where another program has changed the
    dataset, and OSError of the disk (what was written stays).
    """
    settings = settings or ExportSettings()
    for run in runs:
        for path in recover(episode_folder(run)):
            log.warning('%s was left by a recorder that died, and is sealed now', path)
    files = sealed_files(runs)
    spec = recorded_robot(runs, robot)
    if settings.fps:
        spec = dataclasses.replace(spec, action_dt=1 / settings.fps)
    columns = _columns(Path(out))
    models = _models(files, settings.models, columns)
    images = _images(spec, columns) if settings.images == 'auto' else settings.images
    writer = LeRobotWriter(out, spec, models, images, settings.hardware)
    report = Exported()
    with finishing(writer.store) as store:
        known = {entry.source.get('fingerprint'): entry for entry in store.entries}
        for number, path in enumerate(files):
            try:
                _one(writer, path, spec, settings, known, report)
            except (EpisodeFileError, ValueError) as error:
                report.refused[path.name] = str(error)
            progress(number + 1, len(files), path.name)
    return report


def _one(
    writer: LeRobotWriter,
    path: Path,
    spec: RobotSpec,
    settings: ExportSettings,
    known: dict[str | None, Entry],
    report: Exported,
) -> None:
    label = read_label(path)
    source: dict[str, Any] = {
        'file': path.name,
        'fingerprint': fingerprint(path),
        'label': label.name if label is not None else '',
    }
    entry = known.get(source['fingerprint'])
    old = {} if entry is None else entry.source
    same = entry is not None and old.get('label') == source['label']
    if same and 'outcome' in old:
        source |= {'outcome': old['outcome'], 'eval_only': old['eval_only']}
    else:
        facts = episode_facts(path)
        source |= {'outcome': facts.outcome.name, 'eval_only': facts.eval_only}
    why = _why_left_out(source, settings)
    if why:
        report.left_out[path.name] = why
        if entry is not None:
            writer.store.remove(entry.slot)
            known.pop(source['fingerprint'])
            report.removed.append(path.name)
        return
    if entry is not None and same:
        if 'outcome' not in old:  # exported before the outcome was noted
            entry = dataclasses.replace(entry, source={**old, **source})
            writer.store.commit(entry)
            known[source['fingerprint']] = entry
        report.kept.append(path.name)
        return
    episode = read_episode(path, spec)
    new = writer.add(episode, source, None if entry is None else entry.slot)
    known[source['fingerprint']] = new  # the same file in two folders is one episode
    (report.added if entry is None else report.updated).append(path.name)


def _why_left_out(source: dict[str, Any], settings: ExportSettings) -> str:
    if Outcome[source['outcome']] not in settings.outcomes:
        return str(source['outcome'])
    return 'held out for evaluation' if source['eval_only'] and not settings.held_out else ''


def _columns(out: Path) -> dict[str, Any]:
    """Those of a dataset that is there; else none."""
    try:
        return json.loads((out / LEDGER).read_text().partition('\n')[0])['features']
    except (OSError, ValueError, KeyError):
        return {}


def _images(spec: RobotSpec, columns: dict[str, Any]) -> str:
    small = any(min(camera.width, camera.height) < _SMALL for camera in spec.cameras)
    if columns:
        small = all(column.get('dtype') != 'video' for column in columns.values())
    return 'png' if small else 'h264'


def _models(files: Sequence[Path], wanted: tuple[str, ...] | None, columns: dict[str, Any]) -> list[str]:
    """Reward models with a column: those of a dataset that is there stay."""
    if wanted is not None:
        return list(wanted)
    found = sorted({model for path in files[:_SCANNED] for model in _models_in(path)})
    if not columns:
        return found
    there = [match[1] for match in map(_COLUMN.fullmatch, columns) if match]
    by_column = {reward_feature(model): model for model in found}
    new = [model for column, model in by_column.items() if column not in columns]
    if new:
        log.warning('the dataset has no column for %s; export to a new folder to have them', ', '.join(new))
    return [by_column.get(f'reward.{name}.progress', name) for name in there]


def _models_in(path: Path) -> set[str]:
    found: set[str] = set()
    try:
        reader = LogReader(path)
        for message in reader.messages({REWARD, TRUTH}):
            sample = reader.decode(message)
            if sample.model and np.isfinite(progress_said(sample)):
                found.add(sample.model)
    except EpisodeFileError as error:
        log.info('%s', error)  # reported when it is exported
    return found
