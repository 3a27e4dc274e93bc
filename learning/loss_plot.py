# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The picture of a training: loss, validation loss and gradient norm over steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.robot.files import replacing

_GREY, _BLACK, _ORANGE = '#c0c0c0', 'black', '#f2a33a'


def draw_losses(metrics: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the picture of the lines of a metrics file; the old one stays until the new one is complete."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # without pyplot: no global state and no display
    figure = Figure(figsize=(9, 6), layout='constrained')
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    _curve(upper, metrics, 'loss')
    held_out = [(m['step'], m['validation_loss']) for m in metrics if 'validation_loss' in m]
    if held_out:
        upper.plot(*zip(*held_out), 'o-', color=_ORANGE, ms=4, label='held-out episodes, averaged weights')
    upper.set(ylabel='loss', title=f'{len(metrics)} steps')
    upper.legend(fontsize=8)
    _curve(lower, metrics, 'gradient_norm')
    lower.set(xlabel='step', ylabel='gradient norm')
    for axes in (upper, lower):
        if any(line.get_ydata().size and np.nanmin(line.get_ydata()) > 0 for line in axes.get_lines()):
            axes.set_yscale('log')
    with replacing(path) as temporary:
        figure.savefig(temporary, format='png', dpi=110)


def _curve(axes: Any, metrics: Sequence[dict[str, Any]], name: str) -> None:
    """The values of every step, and their mean over a fiftieth of all steps."""
    steps = np.array([m['step'] for m in metrics if name in m], float)
    values = np.array([m[name] for m in metrics if name in m], float)
    finite = np.isfinite(values)
    steps, values = steps[finite], values[finite]
    axes.plot(steps, values, color=_GREY, lw=0.8, label='each step')
    window = max(1, len(values) // 50)
    if len(values) >= window > 1:
        mean = np.convolve(values, np.ones(window) / window, 'valid')
        axes.plot(steps[window - 1 :], mean, color=_BLACK, lw=1.2, label=f'mean of {window} steps')
