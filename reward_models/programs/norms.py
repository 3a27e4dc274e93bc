# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Norms and the risk transform of MuJoCo MPC (arXiv 2212.00541; mjpc/norm.cc, docs/OVERVIEW.md).

With r the residual [k], p and q parameters:

    null          r_1
    quadratic     0.5 sum r_i^2
    l22           (|r|^q + p^q)^(1/q) - p
    l2            sqrt(|r|^2 + p^2) - p
    cosh          sum p^2 (cosh(r_i / p) - 1)
    power         sum |r_i|^p
    smooth_abs    sum sqrt(r_i^2 + p^2) - p
    smooth_abs2   sum (|r_i|^q + p^q)^(1/q) - p
    rectify       sum p log(1 + exp(r_i / p))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

# name -> defaults of p and q; an empty tuple takes none
PARAMETERS: dict[str, tuple[float, ...]] = {
    'null': (),
    'quadratic': (),
    'l22': (0.1, 2.0),
    'l2': (0.01,),
    'cosh': (0.1,),
    'power': (1.0,),
    'smooth_abs': (0.01,),
    'smooth_abs2': (0.01, 2.0),
    'rectify': (0.01,),
}
_OVERFLOW = 500.0  # largest argument of exp and cosh


def norm(name: str, residual: np.ndarray, parameters: Sequence[float] = ()) -> np.ndarray:
    """Cost [N] of residuals [N, k].

    Args:
        name: a key of :data:`PARAMETERS`.
        parameters: p, or p and q; what is left out has its default.

    Raises ValueError for a name that is not there, for too many parameters, and for p or q not above 0.
    """
    given = check(name, parameters)
    return _FORMS[name](np.asarray(residual, np.float64), *given)


def check(name: str, parameters: Sequence[float]) -> tuple[float, ...]:
    """The parameters, complete. Raises ValueError as :func:`norm`."""
    if name not in PARAMETERS:
        raise ValueError(f'there is no norm {name!r}; use one of {sorted(PARAMETERS)}')
    defaults = PARAMETERS[name]
    if len(parameters) > len(defaults):
        raise ValueError(f'norm {name!r} takes {len(defaults)} parameters, got {len(parameters)}')
    given = (*(float(value) for value in parameters), *defaults[len(parameters) :])
    if not all(np.isfinite(value) and value > 0 for value in given):
        raise ValueError(f'the parameters of norm {name!r} must be numbers above 0, got {list(parameters)}')
    return given


def risk(cost: np.ndarray, aversion: float) -> np.ndarray:
    """Risk transform (exp(R c) - 1) / R of costs; R = 0 leaves them as they are.

    R above 0 avoids risk (large costs count more), below 0 seeks it.
    """
    if aversion == 0.0:
        return cost
    return np.expm1(np.minimum(aversion * cost, _OVERFLOW)) / aversion


def _length(r: np.ndarray) -> np.ndarray:
    return np.linalg.norm(r, axis=1)


_FORMS: dict[str, Callable[..., np.ndarray]] = {
    'null': lambda r: r[:, 0],
    'quadratic': lambda r: 0.5 * np.sum(r**2, axis=1),
    'l22': lambda r, p, q: (_length(r) ** q + p**q) ** (1 / q) - p,
    'l2': lambda r, p: np.sqrt(_length(r) ** 2 + p**2) - p,
    'cosh': lambda r, p: np.sum(p**2 * (np.cosh(np.clip(r / p, -_OVERFLOW, _OVERFLOW)) - 1), axis=1),
    'power': lambda r, p: np.sum(np.abs(r) ** p, axis=1),
    'smooth_abs': lambda r, p: np.sum(np.sqrt(r**2 + p**2) - p, axis=1),
    'smooth_abs2': lambda r, p, q: np.sum((np.abs(r) ** q + p**q) ** (1 / q) - p, axis=1),
    'rectify': lambda r, p: np.sum(p * np.logaddexp(0.0, r / p), axis=1),
}
