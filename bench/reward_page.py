# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The page of `apprentice bench rewards`: the tables and four plots, in one file without scripts."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from apprentice.reward_models.evaluation.evaluate import Judgement
from apprentice.reward_models.evaluation.showing import FAILURE, NEAR_MISS, OTHER_OBJECT, SUCCESS
from apprentice.robot.files import write_text
from apprentice.robot.parts import share

_COLOURS = {SUCCESS: '#2a9d5c', NEAR_MISS: '#f2a33a', FAILURE: '#c8443c', OTHER_OBJECT: '#7b5ea7'}
_DRAWN = 12  # curves of a kind


def write(path: Path, data: Mapping[str, Any], result: Mapping[str, Mapping[str, Judgement]]) -> Path:
    """Write the page at once.

    Args:
        data: of the JSON file.
        result: row -> group -> numbers.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        share('web', 'rewards.html').read_text()
    )
    groups = list(next(iter(result.values())))
    columns = [name for name in next(iter(next(iter(result.values())).values())).numbers]
    page = template.render(
        data=data,
        groups=groups,
        columns=columns,
        plots={group: _picture({row: judged[group] for row, judged in result.items()}) for group in groups},
    )
    write_text(path, page)
    return path


def _picture(rows: Mapping[str, Judgement]) -> str:
    """PNG, base64: curves and ends of the first row, its calibration, and best of n of all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # without pyplot: no global state and no display
    figure = Figure(figsize=(12, 3.2), layout='constrained')
    FigureCanvasAgg(figure)
    curves, ends, reliability, best = figure.subplots(1, 4)
    own = next(iter(rows.values()))
    drawn: dict[str, int] = {}
    for kind, stamps, values in own.curves:
        drawn[kind] = drawn.get(kind, 0) + 1
        if drawn[kind] <= _DRAWN:
            label = kind if drawn[kind] == 1 else None
            curves.plot(stamps, values, color=_COLOURS[kind], lw=1, alpha=0.6, label=label)
    curves.set(title='progress', xlabel='s', ylim=(-0.05, 1.05))
    curves.legend(fontsize=7)
    last = {kind: [float(v[-1]) for k, _, v in own.curves if k == kind] for kind in drawn}
    ends.hist(list(last.values()), bins=np.linspace(0, 1, 11), stacked=True, label=list(last),
              color=[_COLOURS[kind] for kind in last])  # fmt: skip
    ends.set(title='last progress', xlabel='progress', ylabel='attempts')
    _reliability(own, reliability)
    for row, judged in rows.items():
        best.plot(list(judged.best_of), list(judged.best_of.values()), label=row, lw=1.4)
    best.set(title='true score of the best of n', xlabel='n', ylim=(0, 1.05))
    best.set_xscale('log', base=2)
    best.legend(fontsize=7)
    file = io.BytesIO()
    figure.savefig(file, format='png', dpi=110)
    return base64.b64encode(file.getvalue()).decode()


def _reliability(judged: Judgement, axes) -> None:
    probability = np.array([p for p, _ in judged.ends])
    success = np.array([s for _, s in judged.ends], float)
    which = np.clip((probability * 10).astype(int), 0, 9) if len(probability) else np.zeros(0, int)
    points = [(probability[which == b].mean(), success[which == b].mean()) for b in np.unique(which)]
    axes.plot([0, 1], [0, 1], color='#bbb', lw=1)
    axes.plot(*zip(*points), 'o-', color='black', lw=1) if points else None
    axes.set(title='calibration', xlabel='done probability', ylabel='successes', xlim=(0, 1), ylim=(0, 1.05))
