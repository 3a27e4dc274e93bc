# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Judge a reward model against the truth, beside baselines that know nothing about the task.

Papers define these numbers differently; the definitions here are those of :func:`evaluate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from apprentice.reward_models.evaluation.metrics import (
    average_precision,
    best_of_n,
    calibration_error,
    pair_accuracy,
    roc_auc,
    spearman,
    value_order_correlation,
)
from apprentice.reward_models.evaluation.showing import (
    NEAR_MISS,
    OTHER_OBJECT,
    SUCCESS,
    Curve,
    Showing,
    Truth,
)

CERTAIN, IN_A_ROW = 0.95, 3  # an attempt is called a success at this done probability, samples in a row
BEST_OF = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass
class Judgement:
    """Numbers of one model, and what the plots need.

    Attributes:
        numbers: by name, see :func:`evaluate`; NaN where the attempts do not allow it.
        counts: what they were measured on: attempts by kind, ``false_success`` and ``failed`` as counts.
        best_of: n -> mean true score of the best of n by this model.
        curves: (kind, stamps, progress) of some attempts.
        ends: (done probability, success) of every attempt's last frame.
    """

    numbers: dict[str, float]
    counts: dict[str, int]
    best_of: dict[int, float] = field(default_factory=dict)
    curves: list[tuple[str, np.ndarray, np.ndarray]] = field(default_factory=list)
    ends: list[tuple[float, bool]] = field(default_factory=list)


def evaluate(
    of: Curve,
    items: Sequence[Truth],
    static: int = 12,
    seed: int = 0,
    watch: Callable[[Sequence[Truth]], Iterable[Truth]] = iter,
) -> Judgement:
    """Numbers of one model on held-out attempts: :func:`see` and :func:`summarise`."""
    return summarise(see(of, items, static, seed, watch))


def see(
    of: Curve,
    items: Sequence[Truth],
    static: int = 12,
    seed: int = 0,
    watch: Callable[[Sequence[Truth]], Iterable[Truth]] = iter,
) -> list[Seen]:
    """What a model says of attempts, in every way they are shown.

    Args:
        static: so many successes are frozen.
        watch: passes the attempts on, e.g. with a progress bar.
    """
    return [Seen.of(of, item, i < static, seed) for i, item in enumerate(watch(_good_first(items)))]


def summarise(seen: Sequence[Seen]) -> Judgement:
    """The numbers; cameras that were moved count only where the name says so.

    - ``voc``: mean over successes of the Spearman correlation of progress with time, until it is solved;
      ``voc_rewound``: of successes shown backwards.
    - ``auroc``, ``auprc``: last done probability against success; ``auroc_value``: last progress.
      ``auroc_near``, ``auroc_other``: successes against near misses, or attempts at another object, only.
    - ``pair_accuracy``: a success ends with more progress than a failure of its group; mean over groups.
    - ``margin``: of the matrix of successes x instructions, the diagonal less the rest of its row: last
      progress under the own instruction less the mean under the wrong ones, mean over successes;
      ``margin_worst``: less the highest of them.
    - ``ece``: of the last done probability, 10 bins.
    - ``false_success``: share of the attempts that are no success in which done probability is at least
      CERTAIN for IN_A_ROW samples; ``found_success``: the same of successes. NaN for a model without a done
      probability, which never says done.
    - ``static_credit``: largest rise of progress over 10 s of one still frame (first and middle one, with
      noise of 2 grey levels), mean.
    - ``truth``: Spearman correlation with the staged truth over all frames.
    - ``voc_moved``, ``auroc_moved``: of attempts seen by moved cameras.
    """
    moved = [each for each in seen if each.item.moved]
    seen = [each for each in seen if not each.item.moved]
    good, bad = [e for e in seen if e.item.success], [e for e in seen if not e.item.success]
    success = np.array([each.item.success for each in seen], bool)
    end = np.array([each.end for each in seen])
    wrongly, claims = sum(each.called for each in bad), any(np.isfinite(each.done).any() for each in seen)
    known = [each for each in seen if np.all(np.isfinite(each.item.progress))]
    probable = len(seen) > 0 and all(np.isfinite(e.done[-1]) and 0 <= e.done[-1] <= 1 for e in seen)

    def among(kind: str) -> float:
        chosen = np.array([each.item.kind in (SUCCESS, kind) for each in seen], bool)
        return roc_auc(end[chosen], success[chosen])

    numbers = {
        'voc': _mean([each.voc for each in good]),
        'voc_rewound': _mean([each.voc_rewound for each in good]),
        'auroc': roc_auc(end, success),
        'auprc': average_precision(end, success),
        'auroc_value': roc_auc(np.array([each.value[-1] for each in seen]), success),
        'auroc_near': among(NEAR_MISS),
        'auroc_other': among(OTHER_OBJECT),
        'pair_accuracy': _within_groups(good, bad),
        'margin': _mean([each.margin for each in good]),
        'margin_worst': _mean([each.margin_worst for each in good]),
        'ece': calibration_error(end, success) if probable else float('nan'),
        'false_success': wrongly / len(bad) if bad and claims else float('nan'),
        'found_success': _mean([float(each.called) for each in good]) if claims else float('nan'),
        'static_credit': _mean([credit for each in good for credit in each.credits]),
        'truth': float('nan'),
        'voc_moved': _mean([each.voc for each in moved if each.item.success]),
        'auroc_moved': roc_auc(
            np.array([each.end for each in moved]), np.array([each.item.success for each in moved], bool)
        ),
    }
    if known:
        truth = np.concatenate([each.item.progress for each in known])
        numbers['truth'] = spearman(np.concatenate([each.value for each in known]), truth)
    counts = {
        kind: sum(e.item.kind == kind for e in seen) for kind in dict.fromkeys(e.item.kind for e in seen)
    }
    counts |= {'false_success': wrongly, 'failed': len(bad), 'moved': len(moved)}
    counts |= {'never valid': never} if (never := sum(not each.scored for each in seen)) else {}
    return Judgement(
        numbers,
        counts,
        _best_of(seen),
        [(each.item.kind, each.item.stamps, each.value) for each in seen],
        [(float(score), bool(s)) for score, s in zip(end, success, strict=True)],
    )


def _good_first(items: Sequence[Truth]) -> list[Truth]:
    return sorted(items, key=lambda item: not item.success or item.moved)


@dataclass
class Seen:
    """What a model said of one attempt; 0 throughout where it said nothing valid (``scored``)."""

    item: Truth
    value: np.ndarray
    done: np.ndarray
    voc_rewound: float = float('nan')
    margin: float = float('nan')
    margin_worst: float = float('nan')
    credits: tuple[float, ...] = ()
    scored: bool = True

    @classmethod
    def of(cls, curve_of: Curve, item: Truth, still: bool, seed: int) -> Seen:
        value, done = curve_of(Showing.whole(item), item.text)
        seen = cls(item, np.nan_to_num(value), done, scored=bool(np.isfinite(value).any()))
        if not item.success or item.moved:
            return seen
        seen.voc_rewound = value_order_correlation(
            np.nan_to_num(curve_of(Showing.rewound(item), item.text)[0])
        )
        others = [float(curve_of(Showing.whole(item), text)[0][-1]) for text in item.wrong]
        others = [other for other in others if np.isfinite(other)]  # saying nothing is no score
        if others:
            seen.margin = float(seen.value[-1]) - float(np.mean(others))
            seen.margin_worst = float(seen.value[-1]) - max(others)
        if still:
            frozen = [Showing.frozen(item, row, seed) for row in (0, len(item.frames) // 2)]
            values = [np.nan_to_num(curve_of(showing, item.text)[0]) for showing in frozen]
            seen.credits = tuple(float(np.max(value) - value[0]) for value in values)
        return seen

    @property
    def voc(self) -> float:
        """After the success there is nothing left to rise for."""
        solved = self.item.solved
        return value_order_correlation(
            self.value[: int(np.argmax(solved)) + 1] if solved.any() else self.value
        )

    @property
    def end(self) -> float:
        """Last done probability; the last value of a model that has none."""
        return float(self.done[-1] if np.isfinite(self.done[-1]) else self.value[-1])

    @property
    def called(self) -> bool:
        """Whether it was called a success: a run of IN_A_ROW samples is CERTAIN."""
        certain = np.nan_to_num(self.done, nan=0.0) >= CERTAIN
        return len(certain) >= IN_A_ROW and bool(
            np.any(np.convolve(certain, np.ones(IN_A_ROW), 'valid') > IN_A_ROW - 0.5)
        )


def _within_groups(good: Sequence[Seen], bad: Sequence[Seen]) -> float:
    found = []
    for group in sorted({each.item.group for each in good}):
        high, low = ([e.value[-1] for e in some if e.item.group == group] for some in (good, bad))
        if low:
            found.append(pair_accuracy(np.array(high), np.array(low)))
    return _mean(found)


def _best_of(seen: Sequence[Seen]) -> dict[int, float]:
    """Mean over groups of the exact expectation; the true score is the last staged progress, or success."""
    curves = []
    for group in sorted({each.item.group for each in seen}):
        inside = [each for each in seen if each.item.group == group]
        proxy = np.array([each.value[-1] for each in inside])
        gold = [float(e.item.progress[-1]) if np.isfinite(e.item.progress[-1]) else float(e.item.success)
                for e in inside]  # fmt: skip
        curves.append([best_of_n(proxy, np.array(gold), n) for n in BEST_OF])
    return dict(zip(BEST_OF, np.mean(curves, axis=0).tolist(), strict=True)) if curves else {}


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float('nan')
