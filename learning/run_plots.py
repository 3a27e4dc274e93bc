# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The curves of a run: success, interventions, reward, loss, versions, time to success; each one SVG."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

from apprentice.learning.run_history import LIVE, OFFLINE, History, rolling
from apprentice.robot.intervals import wilson

_GREEN, _RED, _ORANGE, _GREY, _BLUE = '#2a9d5c', '#c8443c', '#f2a33a', '#8a8a8a', '#2f6db3'
_WINDOW = 20  # episodes of a rolling mean


def curves(history: History) -> list[tuple[str, str, str]]:
    """Title, explanation and SVG of every picture there is something to draw in."""
    pictures: list[tuple[str, str, Callable[[History, Any], bool]]] = [
        (
            'Success',
            f'Line: learning episodes without help, mean of the last {_WINDOW}; an episode in which a person '
            'drove is no success. Squares: held-out evaluations with 95 % intervals.',
            _success,
        ),
        ('Interventions', 'Share of the control steps that a person drove.', _interventions),
        ('Reward', f'What each reward model said last in an episode, mean of the last {_WINDOW}.', _reward),
        ('Loss', 'Of the gradient step before each published version.', _loss),
        ('Versions', 'Newest published, and the one that acted in the episode.', _versions),
        ('Time to success', 'Seconds of the robot clock, episodes without help.', _seconds),
    ]
    made = [(title, text, _svg(history, draw)) for title, text, draw in pictures]
    return [(title, text, svg) for title, text, svg in made if svg]


def _svg(history: History, draw: Callable[[History, Any], bool]) -> str:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # without pyplot: no global state and no display
    figure = Figure(figsize=(6.4, 3.2), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(axis='y', color='#e3e6ea', lw=0.8)
    axes.set_axisbelow(True)
    if not draw(history, axes):
        return ''
    stream = io.StringIO()
    # names of parts are random otherwise, and two pictures of one page must not share them
    with rc_context({'svg.fonttype': 'none', 'svg.hashsalt': draw.__name__}):
        figure.savefig(stream, format='svg', transparent=True, metadata={'Date': None})
    text = stream.getvalue()
    return text[text.index('<svg') :]


def _success(history: History, axes: Any) -> bool:
    trials = [attempt.trial for attempt in history.learning]
    axes.set(xlabel='learning episode', ylabel='success', ylim=(-0.06, 1.06))
    if trials:
        numbers = range(1, len(trials) + 1)
        alone = [float(trial.autonomous_success) for trial in trials]
        means = rolling(alone, _WINDOW)
        counts = [min(i, _WINDOW) for i in numbers]
        bounds = [wilson(round(mean * n), n) for mean, n in zip(means, counts)]
        axes.fill_between(numbers, *zip(*bounds), color=_GREEN, alpha=0.13, lw=0)
        axes.plot(numbers, means, color=_GREEN, lw=1.6, label='learning, without help')
        kinds = ((_GREEN, 'success', False), (_ORANGE, 'with help', True), (_RED, 'no success', False))
        for colour, label, helped in kinds:
            rows = [
                i
                for i, trial in zip(numbers, trials)
                if (trial.human_steps > 0) == helped and (helped or trial.success == (colour == _GREEN))
            ]
            heights = [1.03 if trials[i - 1].success else -0.03 for i in rows]
            if rows:
                axes.scatter(rows, heights, color=colour, s=30, marker='|', label=label)
    for where, marker in ((LIVE, 's'), (OFFLINE, 'D')):
        points = [e for e in history.evaluations if e.where == where and e.trials]
        if not points:
            continue
        rates = [e.successes / e.trials for e in points]
        low = [rate - e.interval[0] for rate, e in zip(rates, points)]
        high = [e.interval[1] - rate for rate, e in zip(rates, points)]
        axes.errorbar(
            [e.after for e in points], rates, yerr=[low, high], fmt=marker, color=_BLUE, capsize=4, ms=5,
            label=f'held out, {where}',
        )  # fmt: skip
    if not trials and not history.evaluations:
        return False
    axes.legend(fontsize=7, loc='center left', bbox_to_anchor=(1.0, 0.5), frameon=False)
    return True


def _interventions(history: History, axes: Any) -> bool:
    trials = [attempt.trial for attempt in history.learning if attempt.trial.steps]
    if not trials:
        return False
    shares = [trial.human_steps / trial.steps for trial in trials]
    numbers = range(1, len(trials) + 1)
    axes.bar(numbers, shares, color=_ORANGE, alpha=0.45, width=1.0, label='episode')
    axes.plot(numbers, rolling(shares, _WINDOW), color='black', lw=1.4, label=f'last {_WINDOW}')
    axes.set(
        xlabel='learning episode', ylabel='share of steps', ylim=(0, 1.03), xlim=(0.5, len(trials) + 0.5)
    )
    axes.legend(fontsize=7, frameon=False)
    return True


def _reward(history: History, axes: Any) -> bool:
    models = sorted({model for attempt in history.learning for model in attempt.progress})
    for index, model in enumerate(models):
        found = [(i, a.progress[model]) for i, a in enumerate(history.learning, 1) if model in a.progress]
        numbers, values = zip(*found)
        axes.scatter(numbers, values, s=6, color=f'C{index}', alpha=0.4)
        axes.plot(numbers, rolling(values, _WINDOW), color=f'C{index}', lw=1.4, label=model)
    axes.set(xlabel='learning episode', ylabel='progress at the end', ylim=(-0.05, 1.05))
    if models:
        axes.legend(fontsize=7, frameon=False)
    return bool(models)


def _loss(history: History, axes: Any) -> bool:
    points = [
        (line['train_steps'], float(line['loss'])) for line in history.versions if _number(line.get('loss'))
    ]
    if not points:
        return False
    axes.plot(*zip(*points), 'o-', color='black', lw=1.2, ms=3)
    axes.set(xlabel='updates', ylabel='loss')
    losses = [loss for _, loss in points]
    if 0 < 5 * min(losses) < max(losses):
        axes.set_yscale('log')
    return True


def _versions(history: History, axes: Any) -> bool:
    acted = [attempt.trial.weights_version for attempt in history.learning]
    published = [(line.get('episodes', 0), line['version']) for line in history.versions]
    if not any(acted) and not published:
        return False
    if published:
        last = max(len(acted), published[-1][0])
        steps = [(0, 0), *published, (last, published[-1][1])]
        axes.step(*zip(*steps), where='post', color=_GREY, lw=1.2, label='published')
    if acted:
        axes.step(range(1, len(acted) + 1), acted, where='post', color=_BLUE, lw=1.6, label='acting')
    axes.set(xlabel='learning episode', ylabel='version')
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(fontsize=7, frameon=False)
    return True


def _seconds(history: History, axes: Any) -> bool:
    found = [
        (number, attempt.trial.duration_s)
        for number, attempt in enumerate(history.learning, 1)
        if attempt.trial.autonomous_success
    ]
    held_out = [(e.after, e.median_seconds) for e in history.evaluations if e.median_seconds is not None]
    if not found and not held_out:
        return False
    if found:
        numbers, seconds = zip(*found)
        axes.scatter(numbers, seconds, s=8, color=_GREEN, label='learning')
        axes.plot(numbers, rolling(seconds, _WINDOW), color=_GREEN, lw=1.4)
    if held_out:
        axes.plot(*zip(*held_out), 's', color=_BLUE, ms=5, label='held out, median')
    axes.set(xlabel='learning episode', ylabel='s')
    axes.set_ylim(0, 1.08 * axes.get_ylim()[1])
    axes.legend(fontsize=7, frameon=False)
    return True


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
