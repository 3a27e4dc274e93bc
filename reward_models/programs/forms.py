# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The two forms of a reward program, checked and ready to evaluate: terms (data) and Python (locked in)."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from apprentice.reward_models.programs.norms import risk
from apprentice.reward_models.programs.residuals import State, catalogue
from apprentice.reward_models.programs.sandbox.process import Limits, Sandbox
from apprentice.reward_models.programs.syntax import ENTRIES, ProgramError, check_program
from apprentice.reward_models.programs.terms import parse
from apprentice.robot.types import RewardKind

Values = tuple[np.ndarray, dict[str, np.ndarray]]
FORMS = ('terms', 'python')


class Form(Protocol):
    """A program that can be evaluated.

    Attributes:
        kind: COST (small is good) or REWARD.
        reads: names of the state that it needs.
        uses: out of ``state, previous, action``.
        locks: of the process it runs in, name -> whether it holds; empty where nothing is executed.
    """

    kind: RewardKind
    reads: tuple[str, ...]
    uses: tuple[str, ...]

    @property
    def locks(self) -> dict[str, bool]: ...

    def evaluate(
        self, state: State, previous: State | None = None, action: np.ndarray | None = None
    ) -> Values:
        """Value [N] and named components of N states. Raises ProgramError or RewardModelError."""
        ...

    def close(self) -> None:
        """End what runs."""
        ...


class TermsForm:
    """Terms of a cost; see :mod:`.terms`. Raises TermsError for terms that do not fit."""

    kind = RewardKind.COST
    uses: tuple[str, ...] = ('state',)

    def __init__(self, source: str, sizes: Mapping[str, int], residuals: Mapping[str, str] | None = None):
        self._residuals = catalogue(residuals)
        self.terms = parse(source, self._residuals, sizes)
        self.reads = self.terms.reads(self._residuals)
        self.locks: dict[str, bool] = {}

    def evaluate(
        self, state: State, previous: State | None = None, action: np.ndarray | None = None
    ) -> Values:
        components = self.terms.components(state, self._residuals)
        return risk(np.sum(list(components.values()), axis=0), self.terms.risk), components

    def close(self) -> None:
        pass


class PythonForm:
    """A Python program in a process of its own, see :mod:`.sandbox`. Raises ProgramError if refused."""

    kind = RewardKind.REWARD

    def __init__(self, source: str, sizes: Mapping[str, int], limits: Limits | None = None):
        self.reads = check_program(source, sizes)
        if not self.reads:
            raise ProgramError('the program reads nothing of the state; write state["tip"] and the like')
        self.uses = _arguments(source)
        self._sandbox = Sandbox(source, limits)

    @property
    def locks(self) -> dict[str, bool]:
        return self._sandbox.locks

    def evaluate(
        self, state: State, previous: State | None = None, action: np.ndarray | None = None
    ) -> Values:
        seen = {name: state[name] for name in self.reads}
        before = {name: previous[name] for name in self.reads} if previous is not None else None
        return self._sandbox(seen, before, action if 'action' in self.uses else None)

    def close(self) -> None:
        self._sandbox.close()


def make_form(
    form: str, source: str, sizes: Mapping[str, int], residuals: Mapping[str, str] | None = None,
    limits: Limits | None = None,
) -> Form:  # fmt: skip
    """A program in the form ``terms`` or ``python``. Raises TermsError, ProgramError or ValueError."""
    if form == 'terms':
        return TermsForm(source, sizes, residuals)
    if form == 'python':
        return PythonForm(source, sizes, limits)
    raise ValueError(f'there is no form {form!r}; use one of {list(FORMS)}')


def _arguments(source: str) -> tuple[str, ...]:
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return tuple(dict.fromkeys(a.arg for f in functions if f.name in ENTRIES for a in f.args.args))
