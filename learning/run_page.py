# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""One page about a run: learning curves, evaluations with intervals, versions."""

from __future__ import annotations

import datetime
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2

from apprentice.learning.run_history import Evaluation, History
from apprentice.learning.run_plots import curves
from apprentice.robot.files import write_text
from apprentice.robot.parts import share


def summary(history: History) -> dict[str, Any]:
    """Everything on the page as plain data."""
    trials = [attempt.trial for attempt in history.learning]
    steps = sum(trial.steps for trial in trials)
    return {
        'run': history.name,
        'episodes': len(trials),
        'without_help': sum(trial.autonomous_success for trial in trials),
        'helped': sum(trial.human_steps > 0 for trial in trials),
        'human_share': sum(trial.human_steps for trial in trials) / steps if steps else None,
        'robot_minutes': sum(trial.duration_s for trial in trials) / 60,
        'versions': len(history.versions),
        'updates': history.versions[-1].get('train_steps', 0) if history.versions else 0,
        'evaluations': [
            {**asdict(point), 'interval': point.interval, 'median_seconds': point.median_seconds}
            for point in history.evaluations
        ],
        'learning': [asdict(attempt) for attempt in history.learning],
        'refused': history.refused,
        'unread': history.unread,
    }


def write(history: History, folder: Path) -> Path:
    """Write learning.json and index.html into ``folder``, each at once; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    data = summary(history)
    write_text(folder / 'learning.json', json.dumps(data, indent=1))
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        share('web', 'run.html').read_text()
    )
    page = template.render(
        **data,
        date=datetime.date.today().isoformat(),
        first=_end(history.evaluations, newest=False),
        last=_end(history.evaluations, newest=True),
        curves=curves(history),
    )
    write_text(folder / 'index.html', page)
    return folder / 'index.html'


def _end(points: list[Evaluation], newest: bool) -> Evaluation | None:
    """The first or the newest evaluation; None where there is none, or the newest is the first."""
    if not points or (newest and len(points) == 1):
        return None
    return points[-1] if newest else points[0]
