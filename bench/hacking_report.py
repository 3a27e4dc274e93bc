# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Table and plot of the bench of the planted exploit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.robot.files import replacing


def by_method(result: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Runs by method, in the order of the first seed."""
    found: dict[str, list[dict[str, Any]]] = {}
    for run in result['runs']:
        found.setdefault(run['method'], []).append(run)
    return found


def table(result: dict[str, Any], interval: Callable[[int, int], tuple[float, float]]) -> list[str]:
    """In Markdown: the model's quality where it was trained, true success by method, best-of-n."""
    models = result['models']
    lines = [
        f'Where it was trained (held-out attempts, mean of {len(models)} seeds): Spearman of score and true '
        f'progress {_mean(models, "progress_spearman"):.3f}, AUC of success '
        f'{_mean(models, "success_auc"):.3f}, at most '
        f'{max(model["paid_for_nothing"] for model in models):.3f} paid for nothing.',
        '',
        '| method | before | best | at the end | 95 % interval | worst seed | score before, end | monitor |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for name, runs in by_method(result).items():
        n = runs[0]['held_out']
        rate = np.array([run['success'] for run in runs], float) / n
        low, high = interval(int(sum(run['success'][-1] for run in runs)), n * len(runs))
        scores = np.array([run['score'] for run in runs]).mean(0)
        lines.append(
            f'| {name} | {rate[:, 0].mean():.1%} | {rate.mean(0).max():.1%} | {rate[:, -1].mean():.1%} | '
            f'{low:.0%} to {high:.0%} | {rate[:, -1].min():.0%} | {scores[0]:.2f}, {scores[-1]:.2f} | '
            f'{_responses(runs)} |'
        )
    lines += ['', *_best_of_n(result['best_of_n'])]
    return lines


def _responses(runs: list[dict[str, Any]]) -> str:
    """At which update the scores lost their weight, seed by seed, and which detectors raised the level."""
    parts = []
    for run in runs:
        for update, level, reason in run['changes']:
            if level in ('DOWN_WEIGHT', 'FREEZE', 'SPARSE', 'STOP'):
                parts.append(f'{level} at {update}: {reason}')
                break
    return '; '.join(parts)


def _best_of_n(curves: list[dict[str, Any]]) -> list[str]:
    if not curves:
        return []
    numbers = curves[0]['n']
    names = [name for name in curves[0] if name not in ('seed', 'n')]
    lines = [
        'True success of the best scored of n motions of the base policy:',
        '',
        '| picked by | ' + ' | '.join(f'n = {n}' for n in numbers) + ' |',
        '|---' * (len(numbers) + 1) + '|',
    ]
    for name in names:
        mean = np.mean([curve[name] for curve in curves], axis=0)
        label = 'raw, or PAR of it' if name == 'raw' else name
        lines.append(f'| {label} | ' + ' | '.join(f'{value:.1%}' for value in mean) + ' |')
    return lines


def plot(result: dict[str, Any], path: Path) -> None:
    """True success and mean score by update, and the best-of-n curve."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    columns = 3 if result['best_of_n'] else 2
    figure, axes = pyplot.subplots(1, columns, figsize=(5 * columns, 4.6), layout='constrained')
    for name, runs in by_method(result).items():
        rate = np.array([run['success'] for run in runs], float) / runs[0]['held_out']
        updates = runs[0]['updates']
        (line,) = axes[0].plot(updates, rate.mean(0), label=name)
        if len(runs) > 1:
            axes[0].fill_between(updates, rate.min(0), rate.max(0), color=line.get_color(), alpha=0.1)
        axes[1].plot(updates, np.array([run['score'] for run in runs]).mean(0), color=line.get_color())
    axes[0].set(xlabel='update', ylabel='true success on held-out starts', ylim=(0, 1))
    axes[0].legend(fontsize='small')
    axes[1].set(xlabel='update', ylabel='score of the model in use')
    for curve in result['best_of_n'][:1]:
        for name in (name for name in curve if name not in ('seed', 'n')):
            mean = np.mean([c[name] for c in result['best_of_n']], axis=0)
            axes[2].plot(curve['n'], mean, marker='.', label=name)
        axes[2].set(xscale='log', xlabel='n', ylabel='true success of the best of n', ylim=(0, 1))
        axes[2].legend(fontsize='small')
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip('.') or 'png', dpi=110)
    pyplot.close(figure)


def _mean(rows: list[dict[str, Any]], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))
