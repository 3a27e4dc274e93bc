# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a session showed: success before and after with intervals, as a table, a JSON file and a plot."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apprentice.learning.statistics import Paired, paired, wilson
from apprentice.robot.files import write_text
from apprentice.robot.types import Outcome

__all__ = ['Curve', 'Report', 'Trial', 'plot', 'table', 'wilson', 'write']


@dataclass
class Trial:
    """One episode of a session. ``outcome`` and ``end_cause`` are names of EpisodeState's values."""

    episode_id: str
    seed: int
    outcome: str
    end_cause: str
    duration_s: float = 0.0
    steps: int = 0
    human_steps: int = 0
    interventions: int = 0
    weights_version: int = 0
    message: str = ''

    @property
    def success(self) -> bool:
        return self.outcome == Outcome.SUCCESS.name

    @property
    def autonomous_success(self) -> bool:
        """Success without a single step by a person; what evaluation counts."""
        return self.success and self.human_steps == 0 and self.interventions == 0


@dataclass
class Curve:
    """Progress over one episode: seconds since its start and values in [0, 1], by ``model``."""

    episode_id: str
    model: str
    seconds: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


@dataclass
class Report:
    """Everything a session collected. Phases: ``evaluate before``, ``learn``, ``evaluate after``.

    Attributes:
        finished: False for the report of an interrupted or failed session.
        agreement: reward model -> see :func:`apprentice.learning.statistics.agreement`.
        frames: camera -> received and dropped (gaps between stamps) frames.
        command: rate of executed commands per second of the robot's clock and of the wall.
        weights: versions published, and the one acknowledged last.
        loss: (train steps, loss) of the learner over time.
    """

    session_id: str = ''
    seed: int = 0
    finished: bool = False
    before: list[Trial] = field(default_factory=list)
    learning: list[Trial] = field(default_factory=list)
    after: list[Trial] = field(default_factory=list)
    agreement: dict[str, dict[str, float]] = field(default_factory=dict)
    frames: dict[str, dict[str, int]] = field(default_factory=dict)
    command: dict[str, float] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)
    loss: list[tuple[float, float]] = field(default_factory=list)
    wall_s: dict[str, float] = field(default_factory=dict)
    robot_s: dict[str, float] = field(default_factory=dict)
    curves: list[Curve] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def paired(self) -> Paired | None:
        """Both evaluations on the starts they share; None before there is one."""
        before = {t.seed: t.autonomous_success for t in self.before}
        after = {t.seed: t.autonomous_success for t in self.after}
        seeds = [seed for seed in before if seed in after]
        if not seeds:
            return None
        return paired([before[s] for s in seeds], [after[s] for s in seeds])


def success_line(trials: Sequence[Trial]) -> str:
    """For example ``14/25   56 %   [37, 73] %``."""
    if not trials:
        return 'not run'
    successes = sum(t.autonomous_success for t in trials)
    low, high = wilson(successes, len(trials))
    rate = 100.0 * successes / len(trials)
    return f'{successes}/{len(trials)}   {rate:.0f} %   95 % interval [{100 * low:.0f}, {100 * high:.0f}] %'


def table(report: Report) -> str:
    """The report as aligned text."""
    rows = [('held-out success before learning', success_line(report.before))]
    rows.append(('held-out success after learning', success_line(report.after)))
    pair = report.paired()
    if pair is not None:
        rows.append(
            (
                'same starts, before and after',
                f'both {pair.both}, only before {pair.only_before}, only after {pair.only_after}, '
                f'neither {pair.neither}; exact McNemar p = {pair.p:.3g}',
            )
        )
    rows += _learning_rows(report)
    rows += _graph_rows(report)
    rows += [('note', note) for note in report.notes]
    if not report.finished:
        rows.append(('note', 'the session did not finish: this report is partial'))
    width = max(len(name) for name, _ in rows)
    lines = [f'{name:<{width}}   {value}' for name, value in rows]
    rule = '-' * max(len(line) for line in lines)
    title = f'session {report.session_id}, seed {report.seed}'
    return '\n'.join([title, rule, *lines, rule]) + '\n'


def _learning_rows(report: Report) -> list[tuple[str, str]]:
    trials = report.learning
    steps = sum(t.steps for t in trials)
    human = sum(t.human_steps for t in trials)
    helped = sum(t.interventions > 0 for t in trials)
    succeeded = sum(t.success for t in trials)
    alone = sum(t.autonomous_success for t in trials)
    share = f' ({100.0 * human / steps:.0f} % of {steps})' if steps else ''
    rows = [
        ('learning episodes', f'{len(trials)}: {succeeded} succeeded, {alone} of them without help'),
        ('interventions', f'{sum(t.interventions for t in trials)} in {helped} episodes'),
        ('control steps by a person', f'{human}{share}'),
    ]
    if report.weights:
        rows.append(
            (
                'weights',
                f'{report.weights.get("published", 0)} versions published, '
                f'version {report.weights.get("active", 0)} acting at the end, '
                f'{report.weights.get("train_steps", 0)} updates',
            )
        )
    for model, values in sorted(report.agreement.items()):
        rows.append(
            (
                f'agreement of {model}',
                f'progress: Spearman {_number(values["progress_spearman"])} '
                f'({values["samples"]:.0f} samples); '
                f'success: AUC {_number(values["success_auc"])} ({values["episodes"]:.0f} episodes)',
            )
        )
    if not report.agreement:
        rows.append(('reward-model agreement', 'no reward sample could be joined with the truth'))
    return rows


def _graph_rows(report: Report) -> list[tuple[str, str]]:
    received = sum(f['received'] for f in report.frames.values())
    dropped = sum(f['dropped'] for f in report.frames.values())
    rows = [('camera frames dropped', f'{dropped} of {received + dropped}')]
    if report.command:
        rows.append(
            (
                'command rate',
                f'{report.command["per_robot_s"]:.1f} Hz of the robot clock, '
                f'{report.command["per_wall_s"]:.1f} Hz of wall time',
            )
        )
    wall, robot = sum(report.wall_s.values()), sum(report.robot_s.values())
    phases = ', '.join(f'{name} {value:.0f} s' for name, value in report.wall_s.items())
    rows.append(('wall time', f'{wall:.0f} s ({phases})' if phases else '0 s'))
    running = wall - report.wall_s.get('start', 0.0)  # while nodes load, the robot's clock may not exist
    if running > 0:
        rows.append(('real-time factor', f'{robot / running:.2f}'))
    return rows


def _number(value: float) -> str:
    return f'{value:.2f}' if math.isfinite(value) else 'undefined'


def to_json(report: Report) -> dict[str, Any]:
    """Plain data with the derived numbers; NaN becomes null."""
    data = dataclasses.asdict(report)
    for name, trials in (('before', report.before), ('after', report.after)):
        successes = sum(t.autonomous_success for t in trials)
        low, high = wilson(successes, len(trials))
        data[f'success_{name}'] = {'successes': successes, 'trials': len(trials), 'low': low, 'high': high}
    pair = report.paired()
    data['paired'] = dataclasses.asdict(pair) if pair is not None else None
    return _clean(data)


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write(report: Report, folder: str | Path, picture: bool = True) -> dict[str, Path]:
    """Write result.json, table.txt and plot.png, each at once; returns their paths by name."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / name for name in ('result.json', 'table.txt', 'plot.png')}
    for name, text in (('result.json', json.dumps(to_json(report), indent=1)), ('table.txt', table(report))):
        write_text(paths[name], text)
    if picture:
        plot(report, paths['plot.png'])
    return paths


def plot(report: Report, path: str | Path) -> None:
    """The session as one picture: success, learning episodes, progress, loss."""
    from apprentice.learning.report_plot import draw

    draw(report, Path(path))
