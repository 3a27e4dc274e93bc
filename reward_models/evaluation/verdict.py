# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a benchmark found of a reward model, in a file that whoever wants to learn from it can read.

A model that is worse than time itself, or than a bare cosine, at telling good from bad must not teach.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.files import read_json, write_json

FILE = 'verdict.json'
_BESIDE = (FILE, 'README.md', 'calibration.json')  # they change no score
RIVALS = ('clock', 'cosine')  # a model that is worse than one of these is refused
# what decides between a model and a rival; a number that one of them lacks does not
DECISIVE = ('order', 'auroc', 'pair_accuracy', 'margin')
# number -> (whether more is better, bound)
GATE: dict[str, tuple[bool, float]] = {
    'voc': (True, 0.8),
    'voc_rewound_share': (False, -0.5),
    'auroc': (True, 0.9),
    'pair_accuracy': (True, 0.8),
    'margin': (True, 0.5),
    'ece': (False, 0.1),
    'static_credit': (False, 0.02),
    'false_success': (False, 0.01),
}


@dataclass(frozen=True)
class Verdict:
    """Numbers of one model beside those of its rivals.

    Attributes:
        model, version: as its scores carry them.
        sha256: of the weights, see :func:`weights_hash`; empty for a model without.
        date: ISO 8601.
        source: what it was judged on.
        counts: attempts of each kind.
        numbers: see :func:`~.evaluate.evaluate`.
        rivals: baseline -> its numbers on the same attempts.
    """

    model: str
    version: str
    sha256: str
    date: str
    source: str
    counts: Mapping[str, int]
    numbers: Mapping[str, float]
    rivals: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def losses(self) -> list[str]:
        """Where it is worse than a rival, with both numbers; empty: it may teach."""
        found = []
        for rival in RIVALS:
            theirs = with_order(self.rivals.get(rival, {}))
            ours = with_order(self.numbers)
            for name in DECISIVE:
                own, other = ours.get(name, math.nan), theirs.get(name, math.nan)
                if math.isfinite(own) and math.isfinite(other) and own < other:
                    found.append(f'{name} {own:.3f}, {rival} {other:.3f}')
        return found

    @property
    def gate(self) -> dict[str, bool | None]:
        """Bound by bound of GATE whether it is kept; None where the number could not be measured."""
        numbers = with_order(self.numbers)
        return {name: kept(name, numbers.get(name, math.nan)) for name in GATE}


def with_order(numbers: Mapping[str, float]) -> dict[str, float]:
    """The numbers and two more: ``order``, voc - voc_rewound, and ``voc_rewound_share``, their ratio."""
    voc, rewound = numbers.get('voc', math.nan), numbers.get('voc_rewound', math.nan)
    share = rewound / voc if voc > 0 else math.nan
    return {**numbers, 'order': voc - rewound, 'voc_rewound_share': share}


def kept(name: str, value: float) -> bool | None:
    """Whether a number keeps its bound; None for one that is NaN."""
    more, bound = GATE[name]
    if not math.isfinite(value):
        return None
    return value >= bound if more else value <= bound


def write(verdict: Verdict, places: Iterable[Path]) -> list[Path]:
    """Write the verdict into every folder that can be written to; returns the files. OSError if none can."""
    data = {**asdict(verdict), 'losses': verdict.losses, 'gate': verdict.gate}
    written, failure = [], None
    for folder in places:
        path = folder / FILE if folder.name != 'verdicts' else folder / f'{_named(verdict)}.json'
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(path, _without_nan(data))
            written.append(path)
        except OSError as error:
            failure = error
    if not written and failure is not None:
        raise failure
    return written


def read(path: Path) -> Verdict:
    """Raises RewardModelError for a file that is none."""
    data = read_json(path)
    try:
        values = {each.name: data[each.name] for each in fields(Verdict)}
        for name in ('model', 'version', 'sha256', 'date', 'source'):
            if not isinstance(values[name], str):
                raise TypeError(f'{name} must be a string, not {values[name]!r}')
        values['numbers'] = _with_nan(values['numbers'], 'numbers')
        values['rivals'] = {
            name: _with_nan(theirs, f'rivals: {name}')
            for name, theirs in _object(values['rivals'], 'rivals').items()
        }
        _object(values['counts'], 'counts')
    except KeyError as error:
        raise RewardModelError(f'{path} is no verdict: {error} is missing; remove it') from None
    except (TypeError, ValueError, OverflowError) as error:
        raise RewardModelError(f'{path} is no verdict: {error}; remove it') from None
    return Verdict(**values)


def weights_hash(weights: str | Path) -> str:
    """sha256 over the files of a folder of weights that scores depend on, or over one file; else empty."""
    path = Path(str(weights)).expanduser()
    if path.is_file():
        files = [path]
    else:
        files = [p for p in sorted(path.rglob('*')) if p.is_file() and p.name not in _BESIDE]
    if not files:
        return ''
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _named(verdict: Verdict) -> str:
    safe = ''.join(c if c.isalnum() or c in '-.' else '_' for c in f'{verdict.model}-{verdict.version}')
    return safe[:120]


def _without_nan(data):
    """JSON has no NaN: null."""
    if isinstance(data, Mapping):
        return {key: _without_nan(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_without_nan(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _object(data: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise TypeError(f'{what} must be an object, not {data!r}')
    return data


def _with_nan(numbers: Any, what: str) -> dict[str, float]:
    found = {}
    for name, value in _object(numbers, what).items():
        if value is not None and not isinstance(value, int | float):
            raise TypeError(f'{what}: {name} must be a number, not {value!r}')
        found[name] = math.nan if value is None else float(value)
    return found
