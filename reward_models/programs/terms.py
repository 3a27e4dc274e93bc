# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Language to rewards (arXiv 2306.08647): a reward as a list of terms, data that a language model writes.

    {"terms": [{"residual": "distance", "of": ["tip", "cube_red"], "target": 0, "norm": "l2", "weight": 2,
                "gate": [{"residual": "height", "of": ["cube_red"], "below": 0.05}]}]}

cost = sum_i weight_i * gate_i * norm_i(residual_i - target_i), then the risk transform. Nothing is executed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from apprentice.reward_models.programs.norms import check as check_norm
from apprentice.reward_models.programs.norms import norm, risk
from apprentice.reward_models.programs.residuals import Residual, State
from apprentice.robot.settings import SettingsError, from_dict

MOST_TERMS, MOST_GATES, LARGEST = 24, 4, 1e6


class TermsError(ValueError):
    """The terms are not usable. The text goes back to the language model: what to change, and where."""


@dataclass(frozen=True)
class Gate:
    """A condition by which a term counts, from 0 to 1.

    Attributes:
        residual, of: what is looked at, as in a term; of several numbers their length (root of squares).
        below, above: where it holds; give one of them, or both for a range.
        softness: width of the transition in the unit of the residual; 0 is a step.
    """

    residual: str
    of: tuple[str, ...] = ()
    below: float | None = None
    above: float | None = None
    softness: float = 0.0


@dataclass(frozen=True)
class Term:
    """One part of the cost.

    Attributes:
        residual: name in the catalogue of residuals.
        of: names in the state that the residual is about.
        target: the wanted value, one number or one for each number of the residual; empty: 0.
        norm, parameters: see :mod:`.norms`.
        weight: at least 0.
        gate: conditions that are multiplied.
        name: of the component in reports; empty: residual and names.
    """

    residual: str
    of: tuple[str, ...] = ()
    target: tuple[float, ...] = ()
    norm: str = 'smooth_abs'
    parameters: tuple[float, ...] = ()
    weight: float = 1.0
    gate: tuple[Gate, ...] = ()
    name: str = ''

    @property
    def label(self) -> str:
        return self.name or '_'.join((self.residual, *self.of))


@dataclass(frozen=True)
class Terms:
    """A cost. ``risk`` is R of the risk transform: 0 is neutral, above 0 avoids risk."""

    terms: tuple[Term, ...]
    risk: float = 0.0

    def reads(self, residuals: Mapping[str, Residual]) -> tuple[str, ...]:
        """Names of the state that are needed."""
        used: list[Term | Gate] = [*self.terms]
        used += [gate for term in self.terms for gate in term.gate]
        return tuple(sorted({name for part in used for name in (*part.of, *residuals[part.residual].reads)}))

    def components(self, state: State, residuals: Mapping[str, Residual]) -> dict[str, np.ndarray]:
        """Cost [N] of each term, weight and gate included."""
        found: dict[str, np.ndarray] = {}
        for term in self.terms:
            value = _value(term, state, residuals)
            if len(term.target) not in (0, 1, value.shape[1]):
                raise TermsError(
                    f'term {term.label!r}: target has {len(term.target)} numbers, the residual '
                    f'{value.shape[1]}; give one, or one for each'
                )
            error = value - np.asarray(term.target) if term.target else value
            cost = term.weight * norm(term.norm, error, term.parameters)
            for gate in term.gate:
                cost = cost * _open(gate, _value(gate, state, residuals))
            found[term.label] = found.get(term.label, 0.0) + cost
        return found

    def cost(self, state: State, residuals: Mapping[str, Residual]) -> np.ndarray:
        """Cost [N] of states (name -> [N, d])."""
        return risk(np.sum(list(self.components(state, residuals).values()), axis=0), self.risk)

    def to_json(self) -> str:
        """The terms as text; :func:`parse` reads it again."""
        return json.dumps(asdict(self), indent=2)


def parse(text: str, residuals: Mapping[str, Residual], state: Mapping[str, int]) -> Terms:
    """Terms from JSON: a list of terms, or an object with ``terms`` and ``risk``.

    Args:
        residuals: what may be used, by name.
        state: what can be measured, name -> count of numbers.

    Raises TermsError that names the place, what is wrong and what there is.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise TermsError(f'this is not JSON: {error}') from None
    data = {'terms': data} if isinstance(data, list) else data
    if isinstance(data, dict) and isinstance(data.get('terms'), list):
        data = {**data, 'terms': [_plain(item) for item in data['terms']]}
    try:
        terms = from_dict(Terms, data)
    except SettingsError as error:
        raise TermsError(str(error)) from None
    except TypeError as error:  # a field without a default is missing
        raise TermsError(f'a field is missing: {error}') from None
    if not 1 <= len(terms.terms) <= MOST_TERMS:
        raise TermsError(f'there are {len(terms.terms)} terms; give 1 to {MOST_TERMS}')
    if not np.isfinite(terms.risk) or abs(terms.risk) > 10:
        raise TermsError(f'risk is {terms.risk}; give a number from -10 to 10')
    for i, term in enumerate(terms.terms):
        _check(term, f'terms[{i}]', residuals, state)
    _try(terms, residuals, state)
    return terms


def _plain(item: Any) -> Any:
    """A term or gate as it may be written shorter: one number, name or gate for a list of one."""
    if not isinstance(item, Mapping):
        return item
    short = {name: value for name, value in item.items() if value is not None}
    for name, kind in (
        ('target', (int, float)),
        ('parameters', (int, float)),
        ('of', str),
        ('gate', Mapping),
    ):
        if name in short and isinstance(short[name], kind):
            short[name] = [short[name]]
    if isinstance(short.get('gate'), list):
        short['gate'] = [_plain(gate) for gate in short['gate']]
    return short


def _check(term: Term, where: str, residuals: Mapping[str, Residual], state: Mapping[str, int]) -> None:
    _check_residual(term, where, residuals, state)
    try:
        check_norm(term.norm, term.parameters)
    except ValueError as error:
        raise TermsError(f'{where}.norm: {error}') from None
    if not 0 <= term.weight <= LARGEST:
        raise TermsError(f'{where}.weight is {term.weight}; give a number from 0 to {LARGEST:g}')
    if not all(abs(value) <= LARGEST for value in term.target):
        raise TermsError(f'{where}.target is {list(term.target)}; give finite numbers')
    if len(term.gate) > MOST_GATES:
        raise TermsError(f'{where}.gate has {len(term.gate)} conditions; give at most {MOST_GATES}')
    for i, gate in enumerate(term.gate):
        place = f'{where}.gate[{i}]'
        _check_residual(gate, place, residuals, state)
        if gate.below is None and gate.above is None:
            raise TermsError(f'{place} has neither below nor above; give one of them')
        numbers = [value for value in (gate.below, gate.above, gate.softness) if value is not None]
        if not np.all(np.isfinite(numbers)) or gate.softness < 0:
            raise TermsError(f'{place}: below, above and softness must be finite, softness not negative')


def _check_residual(
    part: Term | Gate, where: str, residuals: Mapping[str, Residual], state: Mapping[str, int]
) -> None:
    if part.residual not in residuals:
        raise TermsError(f'{where}.residual {part.residual!r} is not there; use one of {sorted(residuals)}')
    wanted = residuals[part.residual].arguments
    if len(part.of) != wanted:
        raise TermsError(
            f'{where}: residual {part.residual!r} takes {wanted} names in "of", got {list(part.of)}'
        )
    for name in (*part.of, *residuals[part.residual].reads):
        if name not in state:
            raise TermsError(f'{where}: nothing measures {name!r}; there are: {sorted(state)}')


def _try(terms: Terms, residuals: Mapping[str, Residual], state: Mapping[str, int]) -> None:
    """Evaluate once on zeros: wrong counts of numbers are found before a robot needs the cost."""
    zeros = {name: np.zeros((1, size)) for name, size in state.items()}
    try:
        cost = terms.cost(zeros, residuals)
    except TermsError:
        raise
    except (ValueError, IndexError, KeyError) as error:
        raise TermsError(f'the terms do not fit the state: {error}') from None
    if cost.shape != (1,):
        raise TermsError(f'the cost must be one number a state, got shape {cost.shape}')


def _value(part: Term | Gate, state: State, residuals: Mapping[str, Residual]) -> np.ndarray:
    return np.asarray(residuals[part.residual].function(state, *part.of), np.float64)


def _open(gate: Gate, value: np.ndarray) -> np.ndarray:
    """How far a gate is open [N], 0 to 1."""
    seen = value[:, 0] if value.shape[1] == 1 else np.linalg.norm(value, axis=1)
    share = np.ones(len(seen))
    for limit, sign in ((gate.below, 1.0), (gate.above, -1.0)):
        if limit is None:
            continue
        left = sign * (limit - seen)
        if gate.softness:
            share = share * (0.5 + 0.5 * np.tanh(0.5 * left / gate.softness))
        else:
            share = share * (left > 0)
    return share
