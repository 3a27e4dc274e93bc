# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What there is to say about a recorded episode without decoding its images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from apprentice.episodes.ending import final_state
from apprentice.episodes.files import EpisodeFileError
from apprentice.episodes.join import STATE
from apprentice.episodes.labels import iter_sealed, read_label
from apprentice.episodes.log_reader import LogReader
from apprentice.robot.parts import find_robot, share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Outcome

_EDGE = 1 << 16


@dataclass(frozen=True)
class EpisodeFacts:
    """One episode file.

    Attributes:
        outcome: with the label given later, if there is one; ABORT without an end.
        ended: its end was recorded.
        seconds: from its start to its end, 0 where that is not known.
        human_share: of its control steps, driven by a person.
    """

    path: Path
    episode_id: str
    robot: str
    task: str
    outcome: Outcome
    ended: bool
    eval_only: bool
    seconds: float
    human_share: float
    size: int


def episode_facts(path: str | Path, salvage: bool = False) -> EpisodeFacts:
    """Facts of a log. Raises EpisodeFileError for a file without an episode and for damaged ones."""
    path = Path(path)
    reader = LogReader(path, salvage)
    states = [reader.decode(message) for message in reader.messages({STATE})]
    final = final_state(reversed(states), path, reader.metadata.get('episode_id', ''))
    last, label = final.state, read_label(path)
    return EpisodeFacts(
        path=path,
        episode_id=final.episode_id,
        robot=reader.metadata.get('robot', ''),
        task=last.task,
        outcome=final.outcome if label is None else label,
        ended=final.ended,
        eval_only=bool(last.eval_only),
        seconds=final.seconds if final.ended else 0.0,
        human_share=float(last.intervention_ratio),
        size=path.stat().st_size,
    )


def recorded_spec(path: str | Path, robot: str | None = None) -> RobotSpec:
    """The robot of a log: the one given by name or file, else the one recorded in it.

    A log that only names its robot is of the shipped one of that name, and one that does not of ``sim_arm``.
    Raises RobotFileError, FileNotFoundError or EpisodeFileError.
    """
    if robot:
        return RobotSpec.load(find_robot(robot))
    recorded = yaml.safe_load(LogReader(path, salvage=True).metadata.get('robot_file', '')) or {}
    if 'joints' in recorded:
        return RobotSpec.from_dict(recorded)
    name = Path(str(recorded.get('name', 'sim_arm'))).name
    try:
        return RobotSpec.load(find_robot(name))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'{path} is of robot {name!r} and has no robot file in it; pass --robot FILE'
        ) from error


def recorded_robot(runs: Sequence[str | Path], robot: str | None = None) -> RobotSpec:
    """The robot given, else that of the first log in ``runs`` that can be read, else ``sim_arm``.

    Raises RobotFileError, or FileNotFoundError for a name that nothing has.
    """
    if robot:
        return RobotSpec.load(find_robot(robot))
    for path in (path for run in runs for path in iter_sealed(episode_folder(run))):
        try:
            return recorded_spec(path)
        except EpisodeFileError:  # whoever reads the episode says what is wrong with it
            continue
    return RobotSpec.load(share('robots', 'sim_arm.yaml'))


def fingerprint(path: Path) -> str:
    """Tells sealed files apart whatever they are called: of their size, their beginning and their index."""
    digest = hashlib.sha256(str(path.stat().st_size).encode())
    with open(path, 'rb') as stream:
        digest.update(stream.read(_EDGE))
        stream.seek(max(0, path.stat().st_size - _EDGE))
        digest.update(stream.read())
    return digest.hexdigest()[:32]


def episode_folder(run: str | Path) -> Path:
    """Where the episode files of a run folder lie; a folder of episode files is one itself."""
    run = Path(run)
    inside = run / 'episodes'
    return inside if inside.is_dir() and not any(iter_sealed(run)) else run


def sealed_files(runs: Sequence[str | Path]) -> list[Path]:
    """Sealed episode files of run folders and folders of episodes. Raises EpisodeFileError without any."""
    found = [path for run in runs for path in iter_sealed(episode_folder(run))]
    if not found:
        raise EpisodeFileError(
            f'no episode files (*.mcap) in {", ".join(map(str, runs))}; give a run folder, or its folder '
            'episodes'
        )
    return found
