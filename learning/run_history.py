# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""How a run went, read from its folder: every episode, every evaluation, every version of the weights."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apprentice.episodes.ending import final_state
from apprentice.episodes.files import EpisodeFileError
from apprentice.episodes.join import CHUNK, EXECUTED, REWARD, STATE
from apprentice.episodes.labels import iter_sealed, read_label
from apprentice.episodes.log_reader import LogReader
from apprentice.episodes.messages import nanoseconds
from apprentice.learning.report import Trial
from apprentice.learning.statistics import wilson
from apprentice.robot.types import Outcome, RewardKind, Source

EVALUATIONS = 'evaluations.jsonl'
LIVE, OFFLINE = 'live', 'offline'  # where an evaluation was: through the nodes, by `apprentice eval`
_PROGRESS = (RewardKind.ABS_PROGRESS, RewardKind.PROGRESS_DELTA)

log = logging.getLogger(__name__)


@dataclass
class Attempt:
    """One episode of a run.

    Attributes:
        started: nanoseconds of the robot's clock.
        held_out: an evaluation, never learned from.
        progress: reward model -> what it measured last, in [0, 1].
    """

    trial: Trial
    started: int
    held_out: bool
    progress: dict[str, float] = field(default_factory=dict)


@dataclass
class Evaluation:
    """Held-out trials of one version; an episode in which a person drove is no success.

    Attributes:
        after: learning episodes before it.
        seconds: time to success of each that succeeded.
    """

    version: int
    after: int
    successes: int
    trials: int
    seconds: list[float]
    where: str = LIVE

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval."""
        return wilson(self.successes, self.trials)

    @property
    def median_seconds(self) -> float | None:
        ordered = sorted(self.seconds)
        return ordered[len(ordered) // 2] if ordered else None


@dataclass
class History:
    """A run: ``learning`` episodes in order, ``evaluations``, ``versions`` as the learner published them.

    Attributes:
        refused: why candidates were not published.
        unread: files that could not be read, with the reason.
    """

    name: str
    learning: list[Attempt] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def read_history(run_dir: str | Path) -> History:
    """Read a run folder; pictures are not looked at. Raises ValueError for a folder that is no run."""
    folder = Path(run_dir)
    paths = list(iter_sealed(folder / 'episodes'))
    if not paths and not (folder / 'metrics.jsonl').is_file():
        raise ValueError(
            f'{folder} holds no episodes and no metrics.jsonl; pass the run folder of a recorder or a learner'
        )
    history = History(folder.resolve().name)
    attempts = []
    for path in paths:
        try:
            attempts.append(read_attempt(path))
        except EpisodeFileError as error:
            history.unread.append(str(error))
    # names carry the number of an episode; a clock may be set back
    history.learning = [attempt for attempt in attempts if not attempt.held_out]
    lines = _lines(folder / 'metrics.jsonl')
    history.versions = [line for line in lines if 'version' in line]
    history.refused = [str(line['refused']) for line in lines if 'refused' in line]
    history.evaluations = _evaluations(attempts) + _offline(_lines(folder / EVALUATIONS), history)
    history.evaluations.sort(key=lambda e: (e.after, e.version))
    return history


def read_attempt(path: Path) -> Attempt:
    """One episode without its pictures. Raises EpisodeFileError."""
    reader = LogReader(path)
    states: list[Any] = []
    sources: list[int] = []
    takeovers: set[int] = set()
    version, progress = int(reader.metadata.get('weights_version', 0)), {}
    for message in reader.messages({STATE, EXECUTED, CHUNK, REWARD}):
        decoded = reader.decode(message)
        if message.name == STATE:
            states.append(decoded)
        elif message.name == EXECUTED:
            sources.append(int(decoded.source))
            if decoded.source == Source.HUMAN:
                takeovers.add(int(decoded.takeover_id))
        elif message.name == CHUNK:
            version = int(decoded.weights_version)
        elif decoded.valid and decoded.kind in _PROGRESS:
            value = decoded.progress if math.isfinite(decoded.progress) else decoded.value
            progress[str(decoded.model)] = float(value)
    wanted = reader.metadata.get('episode_id', '') or path.stem
    final = final_state(reversed(states), path, wanted)
    last, label = final.state, read_label(path)
    outcome = final.outcome if label is None else label
    started, ended = nanoseconds(last.started), nanoseconds(last.ended)
    steps = [source for source in sources if source in (Source.POLICY, Source.HUMAN)]
    trial = Trial(
        wanted,
        int(last.seed),
        outcome.name,
        final.cause.name,
        max(0.0, (ended - started) * 1e-9),
        len(steps),
        sum(source == Source.HUMAN for source in steps),
        len(takeovers - {0}),
        version,
    )
    return Attempt(trial, started, bool(last.eval_only), progress)


def append_evaluation(run_dir: str | Path, line: dict[str, Any]) -> None:
    """Keep the result of ``apprentice eval`` beside the run it belongs to."""
    path = Path(run_dir) / EVALUATIONS
    with open(path, 'a') as file:
        file.write(json.dumps(line) + '\n')


def rolling(values: Sequence[float], window: int) -> list[float]:
    """Mean of the last ``window`` values at every one of them."""
    return [
        sum(part) / len(part) for part in (values[max(0, i - window + 1) : i + 1] for i in range(len(values)))
    ]


def _lines(path: Path) -> list[dict[str, Any]]:
    """Records of a file of JSON lines; one that a crash left unfinished is left out."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            log.warning('%s: a line is damaged and left out', path)
            continue
        if isinstance(record, dict):
            found.append(record)
    return found


def _evaluations(attempts: Sequence[Attempt]) -> list[Evaluation]:
    """Held-out episodes in a row with one version are one evaluation."""
    found: list[Evaluation] = []
    learned, fresh = 0, True
    for attempt in attempts:
        trial = attempt.trial
        if not attempt.held_out:
            learned, fresh = learned + 1, True
            continue
        if trial.outcome not in (Outcome.SUCCESS.name, Outcome.FAILURE.name):
            continue  # it was broken off and says nothing about the policy
        if fresh or found[-1].version != trial.weights_version:
            found.append(Evaluation(trial.weights_version, learned, 0, 0, []))
            fresh = False
        point = found[-1]
        point.trials += 1
        if trial.autonomous_success:
            point.successes += 1
            point.seconds.append(trial.duration_s)
    return found


def _offline(lines: Sequence[dict[str, Any]], history: History) -> list[Evaluation]:
    """What ``apprentice eval --keep`` measured, placed where the version was published."""
    episodes = {int(line.get('version', -1)): int(line.get('episodes', 0)) for line in history.versions}
    found = []
    for line in lines:
        try:
            version, seconds = int(line['version']), [float(s) for s in line.get('seconds', [])]
            found.append(
                Evaluation(
                    version, episodes.get(version, 0), int(line['successes']), int(line['trials']), seconds,
                    OFFLINE,
                )
            )  # fmt: skip
        except (KeyError, TypeError, ValueError):
            history.unread.append(f'{EVALUATIONS} holds a line that is no evaluation: {line}')
    return found
