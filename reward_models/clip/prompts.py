# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""From an instruction ("pick up the red cube") to what a picture of its end looks like, in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from apprentice.reward_models.base import RewardModelError


@dataclass(frozen=True)
class Prompts:
    """Templates that turn an instruction into goal and baseline descriptions.

    Attributes:
        pattern: regular expression with the named group ``object``.
        goal: descriptions of success; ``{object}`` is replaced. Several are averaged.
        baseline: descriptions of the scene in which nothing has been achieved.
        contrast: further states that are not success; only the softmax of ``done_prob`` uses them.
        objects: every object an instruction may name; the others make wrong instructions.
        instruction: how a wrong instruction is worded.
    """

    pattern: str = r'(?:pick up|grasp|lift) (?:the |a )?(?P<object>.+?)\s*\.?$'
    goal: tuple[str, ...] = ('{instruction}',)
    baseline: tuple[str, ...] = ('a robot arm and objects on a table',)
    contrast: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    instruction: str = 'pick up the {object}'

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Prompts:
        """Build from JSON or YAML data; lists become tuples. Raises RewardModelError."""
        known = {field.name for field in fields(cls)}
        unknown = set(data) - known
        if unknown:
            raise RewardModelError(f'prompts: unknown field {sorted(unknown)}; known: {sorted(known)}')
        data = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        prompts = cls(**data)
        if not prompts.goal or not prompts.baseline:
            raise RewardModelError('prompts: goal and baseline need at least one template each')
        try:
            groups = re.compile(prompts.pattern).groupindex
        except re.error as error:
            raise RewardModelError(f'prompts: pattern is not a regular expression: {error}') from None
        if 'object' not in groups:
            raise RewardModelError("prompts: pattern needs the named group 'object': (?P<object>...)")
        return prompts

    def to_dict(self) -> dict[str, Any]:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def object_of(self, instruction: str) -> str:
        """The object an instruction names; the whole instruction if the pattern does not match."""
        match = re.search(self.pattern, instruction.strip().lower())
        return match.group('object') if match else instruction.strip()

    def goals(self, instruction: str) -> list[str]:
        return self._fill(self.goal, instruction)

    def baselines(self, instruction: str) -> list[str]:
        return self._fill(self.baseline, instruction)

    def contrasts(self, instruction: str) -> list[str]:
        return self._fill((*self.baseline, *self.contrast), instruction)

    def wrong_instructions(self, instruction: str) -> list[str]:
        """The same request for every other known object; empty if the object is unknown."""
        named = self.object_of(instruction)
        if named not in self.objects:
            return []
        return [self.instruction.format(object=other) for other in self.objects if other != named]

    def _fill(self, templates: Sequence[str], instruction: str) -> list[str]:
        named = self.object_of(instruction)
        # replace, not format: a template or an instruction may hold braces
        return [t.replace('{object}', named).replace('{instruction}', instruction.strip()) for t in templates]
