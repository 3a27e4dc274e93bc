# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The gate table: a reward model and four baselines on the same attempts, as text, data and verdict."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from apprentice.bench import report
from apprentice.bench.reward_truths import COLOURS, SEEDS, TASKS
from apprentice.learning.reward_attempts import HELD_OUT_COLOURS, HELD_OUT_TASKS
from apprentice.learning.statistics import wilson
from apprentice.reward_models.base import RewardModel
from apprentice.reward_models.clip.prompts import Prompts
from apprentice.reward_models.clip.reward import ClipReward
from apprentice.reward_models.evaluation.evaluate import Judgement, see, summarise
from apprentice.reward_models.evaluation.showing import Curve, Showing, Truth, baselines, model_curve
from apprentice.reward_models.evaluation.verdict import GATE, RIVALS, Verdict, kept, weights_hash, with_order
from apprentice.robot.parts import share

COLUMNS = (
    'voc',
    'voc_rewound',
    'auroc',
    'auprc',
    'auroc_near',
    'auroc_other',
    'pair_accuracy',
    'margin',
    'margin_worst',
    'ece',
    'false_success',
    'found_success',
    'static_credit',
    'truth',
    'voc_moved',
    'auroc_moved',
)
ALL = 'all'

Result = dict[str, dict[str, Judgement]]  # row -> group -> numbers
Watch = Callable[[Sequence, str], Iterable]  # attempts and what is done with them -> the attempts


def judge_all(
    model: RewardModel,
    groups: Mapping[str, Sequence[Truth]],
    stride_s: float = 1.0,
    in_context: bool = False,
    seed: int = 0,
    with_baselines: bool = True,
    watch: Watch = lambda items, about: items,
) -> Result:
    """The model (first row) and the baselines on every group, and on all of them together (ALL)."""
    name = model.model + (' in context' if in_context else '')
    rows = {name: model_curve(model, stride_s, in_context)}
    if with_baselines:
        rows |= {'cosine': _cosine(stride_s), **baselines(seed)}
    result: Result = {}
    for row, of in rows.items():
        seen = {
            group: see(of, items, seed=seed, watch=lambda some, about=f'{row}, {group}': watch(some, about))
            for group, items in groups.items()
        }
        if len(groups) > 1:
            seen[ALL] = [each for some in seen.values() for each in some]
        result[row] = {group: summarise(some) for group, some in seen.items()}
    return result


def _cosine(stride_s: float) -> Curve:
    """The shipped CLIP's bare cosine between image and instruction; it knows no done probability."""
    clip = ClipReward.load(share('weights', 'clip'))
    of = model_curve(ClipReward(clip.encoder, Prompts(), alpha=0.0), stride_s)

    def bare(showing: Showing, text: str) -> tuple[np.ndarray, np.ndarray]:
        value = of(showing, text)[0]
        return value, np.full(len(value), np.nan)

    return bare


def make_verdict(model: RewardModel, weights: str, result: Result, source: str) -> Verdict:
    """The verdict on the first row, from all groups together."""
    rows = {row: groups.get(ALL) or next(iter(groups.values())) for row, groups in result.items()}
    own = next(iter(rows.values()))
    return Verdict(
        model.model,
        model.version,
        weights_hash(weights),
        datetime.datetime.now().isoformat(timespec='seconds'),
        source,
        own.counts,
        own.numbers,
        {rival: rows[rival].numbers for rival in RIVALS},
    )


def text(result: Result, verdict: Verdict) -> list[str]:
    """Markdown tables, one a group, with the bounds of the gate."""
    groups = list(next(iter(result.values())))
    held_out = (
        f'Held out from the shipped critic: tasks {", ".join(HELD_OUT_TASKS)}; colours '
        f'{", ".join(HELD_OUT_COLOURS)}. '
    )
    simulated = {SEEDS, COLOURS, TASKS} & set(groups)
    lines = [f'{held_out if simulated else ""}In bold: the bound of the gate is kept.', '']
    for group in groups:
        first = next(iter(result.values()))[group]
        low, high = wilson(first.counts['false_success'], first.counts['failed'])
        lines += [
            f'**{group}**: '
            + ', '.join(f'{n} {kind}' for kind, n in first.counts.items() if kind not in ('false_success',))
            + f'; false success of the first row {first.counts["false_success"]} of '
            f'{first.counts["failed"]}, '
            f'95 % [{100 * low:.1f}, {100 * high:.1f}] %',
            '',
            '| | ' + ' | '.join(COLUMNS) + ' |',
            '|---' * (len(COLUMNS) + 1) + '|',
            '| gate | ' + ' | '.join(_bound(name) for name in COLUMNS) + ' |',
        ]
        for row, judged in result.items():
            lines.append(f'| {row} | ' + ' | '.join(cell(n, judged[group].numbers) for n in COLUMNS) + ' |')
        lines.append('')
    own, judged = next(iter(result.items()))
    if verdict.losses:
        lines.append(f'{own} is refused by the learner: ' + '; '.join(verdict.losses))
    else:
        lines.append(f'{own} beats clock and cosine.')
    for group in groups:
        numbers = with_order(judged[group].numbers)
        broken = [name for name in GATE if kept(name, numbers[name]) is False]
        lines.append(
            f'{group}: ' + (f'bounds not kept: {", ".join(broken)}.' if broken else 'every bound is kept.')
        )
    return lines


def _bound(name: str) -> str:
    if name == 'voc_rewound':
        return '<= -0.5 voc'
    if name not in GATE:
        return ''
    more, bound = GATE[name]
    return f'{">=" if more else "<="} {bound:g}'


def cell(name: str, numbers: Mapping[str, float]) -> str:
    """A number of the table, bold where it keeps its bound."""
    value = numbers[name]
    if not math.isfinite(value):
        return ''
    gate = {'voc_rewound': 'voc_rewound_share'}.get(name, name)
    good = gate in GATE and kept(gate, with_order(numbers)[gate])
    return f'**{value:.3f}**' if good else f'{value:.3f}'


def as_data(result: Result, verdict: Verdict) -> dict[str, Any]:
    """For the JSON file and the page."""

    def finite(numbers: Mapping[str, float]) -> dict[str, float | None]:
        return {name: value if math.isfinite(value) else None for name, value in numbers.items()}

    return {
        'bench': 'rewards',
        'date': verdict.date,
        'machine': report.machine(),
        'name': verdict.model,
        'version': verdict.version,
        'sha256': verdict.sha256,
        'source': verdict.source,
        'gate': {name: {'more': more, 'bound': bound} for name, (more, bound) in GATE.items()},
        'losses': verdict.losses,
        'rows': {
            row: {
                group: {
                    'numbers': finite(judged.numbers),
                    'counts': judged.counts,
                    'best_of': judged.best_of,
                    'false_success_95': wilson(judged.counts['false_success'], judged.counts['failed']),
                }
                for group, judged in groups.items()
            }
            for row, groups in result.items()
        },
    }
