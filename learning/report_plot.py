# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The picture of a session's report."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from apprentice.learning.statistics import wilson
from apprentice.robot.files import replacing

if TYPE_CHECKING:
    from apprentice.learning.report import Report

_GREEN, _RED, _ORANGE, _GREY = '#2a9d5c', '#c8443c', '#f2a33a', '#8a8a8a'
_WINDOW = 10  # learning episodes in the rolling success
_CURVES = 12  # episodes whose progress is drawn


def draw(report: Report, path: Path) -> None:
    """Write the picture; the old one stays until the new one is complete."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # without pyplot: no global state and no display
    figure = Figure(figsize=(11, 7), layout='constrained')
    FigureCanvasAgg(figure)
    (success, learning), (progress, loss) = figure.subplots(2, 2)
    _success(report, success)
    _learning(report, learning)
    _progress(report, progress)
    _loss(report, loss)
    partial = '' if report.finished else ' (not finished)'
    figure.suptitle(f'Session {report.session_id}, seed {report.seed}{partial}')
    with replacing(path) as temporary:
        figure.savefig(temporary, format='png', dpi=110)


def _success(report: Report, axes) -> None:
    for x, (name, trials) in enumerate((('before', report.before), ('after', report.after))):
        if not trials:
            axes.text(x, 0.5, 'not run', ha='center', color=_GREY)
            continue
        k, n = sum(t.autonomous_success for t in trials), len(trials)
        low, high = wilson(k, n)
        axes.bar(x, k / n, width=0.6, color=_GREY if name == 'before' else _GREEN)
        axes.errorbar(x, k / n, yerr=[[k / n - low], [high - k / n]], color='black', capsize=6)
        axes.text(x, min(0.97, high + 0.02), f'{k}/{n}', ha='center')
    axes.set(xticks=[0, 1], xticklabels=['before', 'after'], xlim=(-0.6, 1.6), ylim=(0, 1.05))
    axes.set(title='Held-out autonomous success, 95 % Wilson interval', ylabel='success rate')


def _learning(report: Report, axes) -> None:
    trials = report.learning
    axes.set(title='Learning episodes', xlabel='episode', ylabel='success', ylim=(-0.08, 1.08))
    if not trials:
        axes.text(0.5, 0.5, 'none', transform=axes.transAxes, ha='center', color=_GREY)
        return
    x = np.arange(1, len(trials) + 1)
    outcome = np.array([float(t.success) for t in trials])
    for i, trial in zip(x, trials):
        if trial.interventions:
            axes.axvspan(i - 0.5, i + 0.5, color=_ORANGE, alpha=0.3, lw=0)
    axes.scatter(x, outcome, c=[_GREEN if o else _RED for o in outcome], s=18, zorder=3)
    alone = np.array([float(t.autonomous_success) for t in trials])
    for values, style, label in ((outcome, '-', 'all'), (alone, '--', 'without help')):
        rolling = [values[max(0, i - _WINDOW + 1) : i + 1].mean() for i in range(len(values))]
        axes.plot(x, rolling, style, color='black', lw=1.2, label=f'{label}, last {_WINDOW}')
    axes.fill_between([], [], color=_ORANGE, alpha=0.3, label='a person intervened')
    axes.legend(fontsize=8, loc='center right')


def _progress(report: Report, axes) -> None:
    axes.set(
        title='Progress within episodes', xlabel='s since the start', ylabel='progress', ylim=(-0.05, 1.05)
    )
    models = sorted({curve.model for curve in report.curves})
    for index, model in enumerate(models):
        curves = [c for c in report.curves if c.model == model]
        chosen = curves[:: max(1, math.ceil(len(curves) / _CURVES))]
        for i, curve in enumerate(chosen):
            label = model if i == 0 else None
            axes.plot(curve.seconds, curve.values, color=f'C{index}', alpha=0.5, lw=1, label=label)
    if models:
        axes.legend(fontsize=8, loc='upper left')
    else:
        axes.text(0.5, 0.5, 'none', transform=axes.transAxes, ha='center', color=_GREY)


def _loss(report: Report, axes) -> None:
    axes.set(title='Learner', xlabel='updates', ylabel='loss')
    points = [(step, loss) for step, loss in report.loss if math.isfinite(loss)]
    if points:
        axes.plot(*zip(*points), color='black', lw=1)
    else:
        axes.text(0.5, 0.5, 'no update', transform=axes.transAxes, ha='center', color=_GREY)
