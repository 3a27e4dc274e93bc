# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Recorded episodes whose outcome a person should look at, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apprentice.episodes.ending import final_state
from apprentice.episodes.join import REWARD, STATE, TRUTH
from apprentice.episodes.labels import read_label
from apprentice.episodes.log_reader import LogReader
from apprentice.episodes.messages import nanoseconds
from apprentice.robot.episode_record import EndCause
from apprentice.robot.types import Outcome

_END_S = 1.5  # samples so near the end say what the end looks like
MARGIN = 0.05  # over the best wrong instruction; less is doubtful
SURE, UNSURE = 0.9, 0.5  # done probability that objects to a failure, and to a success


@dataclass(frozen=True)
class Said:
    """The last valid word of a reward model about an episode; NaN: not said."""

    model: str
    done: float
    margin: float


@dataclass(frozen=True)
class Ending:
    """How an episode ended.

    Attributes:
        name: of the file, without its suffix.
        recorded: outcome without a later label; label: that one.
        automatic: a predicate or a reward model ended it as a success.
        by_person: a person said the outcome, live.
        truth: whether the simulator says that it succeeded; None on a robot.
    """

    path: Path
    name: str
    task: str
    recorded: Outcome
    label: Outcome | None
    automatic: bool
    eval_only: bool
    seconds: float
    said: tuple[Said, ...] = field(default=())
    truth: bool | None = None
    by_person: bool = False

    @property
    def outcome(self) -> Outcome:
        """With the later label."""
        return self.recorded if self.label is None else self.label


def ending_of(path: str | Path) -> Ending:
    """Read the states and rewards of a log. Raises EpisodeFileError without a running episode."""
    path = Path(path)
    reader = LogReader(path)
    found: dict[str, list[Any]] = {STATE: [], REWARD: [], TRUTH: []}
    for message in reader.messages(set(found)):
        found[message.name].append(reader.decode(message))
    final = final_state(reversed(found[STATE]), path, reader.metadata.get('episode_id', ''))
    last, recorded, end = final.state, final.outcome, final.ended_ns
    newest: dict[str, Said] = {}
    for sample in found[REWARD]:
        near = nanoseconds(sample.t1) >= end - _END_S * 1e9
        if sample.valid and near and sample.episode_id in ('', last.episode_id):
            newest[sample.model] = Said(sample.model, float(sample.done_prob), float(sample.margin))
    mine = [sample for sample in found[TRUTH] if sample.episode_id in ('', last.episode_id)]
    return Ending(
        path=path,
        name=path.stem,
        task=last.task,
        recorded=recorded,
        label=read_label(path),
        automatic=recorded == Outcome.SUCCESS and final.cause == EndCause.PREDICATE,
        eval_only=bool(last.eval_only),
        seconds=final.seconds,
        said=tuple(newest.values()),
        truth=bool(mine[-1].done) if mine else None,
        by_person=recorded != Outcome.UNKNOWN and final.cause == EndCause.HUMAN,
    )


def doubt(ending: Ending) -> tuple[float, str]:
    """How doubtful the outcome is, in [0, 1], and why; 0 and an empty text: it is not.

    Nobody doubts what a person said, live or later.
    """
    if ending.label is not None or ending.by_person:
        return 0.0, ''
    if ending.recorded == Outcome.UNKNOWN:
        return 1.0, 'nobody said how it ended'
    found = [(0.0, '')]
    for said in ending.said:
        if ending.recorded == Outcome.SUCCESS and ending.automatic:
            if said.done < UNSURE:
                share = f'{said.done:.0%}'
                found.append((1 - said.done, f'ended as a success, but {said.model} says {share} done'))
            elif said.margin < MARGIN:
                why = f'ended as a success, but for {said.model} another instruction fits as well'
                found.append(
                    (0.5 * (1 - max(0.0, said.margin) / MARGIN) + 0.25, f'{why} ({said.margin:+.2f})')
                )
        elif ending.recorded == Outcome.FAILURE and said.done >= SURE:
            found.append((said.done, f'ended as a failure, but {said.model} says {said.done:.0%} done'))
    return max(((value, why) for value, why in found if math.isfinite(value)), default=(0.0, ''))
