# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Table and learning curves of `apprentice bench realworld-rl`."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from apprentice.robot.files import replacing
from apprentice.robot.intervals import wilson

Result = dict[str, Any]


def table(results: list[Result]) -> list[str]:
    """Markdown: for each task and arm the seeds side by side, then what the targets say."""
    lines = [
        '| task | arm | start | at the end, new starts | episodes to 80 % | to 90 % | by people | CPU min |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for (task, arm), some in groups(results).items():
        won, trials = (sum(each['final'][key] for each in some) for key in ('successes', 'trials'))
        low, high = wilson(won, trials)
        finals = ', '.join(f'{_rate(each["final"]):.0%}' for each in some)
        cells = [
            task,
            arm,
            ', '.join(f'{_rate(each["start"]):.0%}' for each in some),
            f'{finals}; together {won}/{trials} [{low:.0%}, {high:.0%}]',
            _episodes(some, 'to80'),
            _episodes(some, 'to90'),
            ', '.join(f'{driven(each):.0%}' for each in some),
            f'{median(each["cpu_s"] for each in some) / 60:.0f}',
        ]
        lines.append(f'| {" | ".join(cells)} |')
    return lines


def groups(results: list[Result]) -> dict[tuple[str, str], list[Result]]:
    """By task and arm, in the order they come in."""
    found: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        found.setdefault((result['task'], result['arm']), []).append(result)
    return found


def driven(result: Result) -> float:
    """Share of all steps that people drove."""
    steps = sum(result['steps'])
    return sum(h * n for h, n in zip(result['human'], result['steps'], strict=True)) / max(steps, 1)


def _rate(entry: dict[str, Any]) -> float:
    return entry['successes'] / entry['trials']


def _episodes(some: list[Result], key: str) -> str:
    """Of every seed; one that did not get there has at least as many as it did."""
    return ', '.join(
        str(each[key]) if each[key] is not None else f'more than {each["episodes_done"]}' for each in some
    )


def plot(results: list[Result], path: Path) -> None:
    """Success of the autonomous evaluations over episodes: one panel a task, a line a seed."""
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys(result['task'] for result in results))
    arms = list(dict.fromkeys(result['arm'] for result in results))
    figure = Figure(figsize=(5.5 * len(tasks), 4.2), layout='constrained')
    axes = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    for axis, task in zip(axes, tasks, strict=True):
        for number, arm in enumerate(arms):
            some = groups(results).get((task, arm), [])
            for seed, result in enumerate(some):
                episodes = [entry['episodes'] for entry in result['evaluations']]
                rates = [100 * _rate(entry) for entry in result['evaluations']]
                label = arm if seed == 0 else None
                style = {'color': f'C{number % 10}', 'ls': '-' if number < 10 else '--'}
                axis.plot(episodes, rates, **style, alpha=0.8, label=label, marker='.', lw=1.2)
        axis.axhline(90, color='0.7', lw=0.8, ls='--')
        axis.set(title=task, xlabel='episodes on the robot', ylim=(0, 102))
    figure.legend(*axes[0].get_legend_handles_labels(), loc='outside right center', fontsize=8)
    axes[0].set_ylabel('autonomous success on held-out starts, %')
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip('.') or 'svg', dpi=120)
