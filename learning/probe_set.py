# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a candidate policy must pass before it is published: a few observations of the log, asked every time.

A candidate is compared with the weights that act now, on the same observations and with the same noise:
its actions must be finite, must not be far from theirs, and its loss on held-out demonstrated steps must not
be much above theirs. It says nothing about how good a policy is; it catches one that fell apart.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from apprentice.learning.dataset import Chunks
from apprentice.learning.weighted_flow import FlowObjective, WeightedFlow
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.spec import PolicySpec
from apprentice.robot.settings import at_least
from apprentice.robot.types import Episode, Observation

_VERSIONS = 8  # whose actions are kept
_HELD_OUT = 256  # samples of the loss, at most


class Plans(Protocol):
    """What is asked: a policy, or anything else that plans chunks."""

    spec: PolicySpec

    def act(self, observation: Observation, generator: torch.Generator | None = None) -> np.ndarray:
        """One chunk [H, A] in raw units. Raises ValueError for an action that is not finite."""
        ...


@dataclass(frozen=True)
class ProbeConfig:
    """What a candidate is allowed.

    Attributes:
        observations: how many are kept; 0: nothing is probed.
        rows_per_episode: taken of one episode, so that the first one does not fill the set.
        max_change: of an action, in standard deviations of the demonstrated (relative) actions of its joint;
            0: any. The same noise is used for both policies, so an unchanged one changes nothing.
        max_change_raw: the same in rad, or the gripper's unit; 0: any.
        held_out: demonstrations that are kept from learning for the loss, the last ones; 0: no loss is asked.
        loss_factor: how many times the loss of the acting weights a candidate may have on the held-out
            steps; 0: the loss is not asked for.
        failures: candidates in a row that fail before training goes back to the last good snapshot.
    """

    observations: int = 24
    rows_per_episode: int = 4
    max_change: float = 10.0
    max_change_raw: float = 0.0
    held_out: int = 0
    loss_factor: float = 2.0
    failures: int = 3

    def __post_init__(self) -> None:
        at_least(self, 1, 'rows_per_episode')
        at_least(
            self, 0, 'observations', 'max_change', 'max_change_raw', 'held_out', 'loss_factor', 'failures'
        )


@dataclass(frozen=True)
class ProbeResult:
    """What was found. ``change`` in standard deviations, ``change_raw`` in the joint's unit; NaN: not asked.

    Attributes:
        reason: why the candidate must not act, empty: it may.
        joint: whose action changed most.
    """

    reason: str = ''
    change: float = float('nan')
    change_raw: float = float('nan')
    joint: str = ''
    loss: float = float('nan')
    loss_acting: float = float('nan')

    @property
    def passed(self) -> bool:
        return not self.reason


@dataclass(frozen=True)
class _Answer:
    actions: np.ndarray  # [N, H, A]
    loss: float


class ProbeSet:
    """Fixed observations, and what the weights that act answer to them.

    Args:
        loss: flow loss of a policy on held-out samples, with the same noise every time; None: not asked for.
    """

    def __init__(
        self,
        spec: PolicySpec,
        config: ProbeConfig | None = None,
        loss: Callable[[Plans, Chunks], float] | None = None,
    ):
        self.spec, self.config, self._loss = spec, config or ProbeConfig(), loss
        self._shown: list[Observation] = []  # of demonstrations
        self._online: dict[str, list[Observation]] = {}  # by episode, while there is room beside them
        self._held_out: list[Chunks] = []
        self._answers: OrderedDict[int, _Answer] = OrderedDict()  # by version
        self._newest: _Answer | None = None  # of the candidate

    @property
    def observations(self) -> list[Observation]:
        """Those that are asked about, of demonstrations first."""
        return [*self._shown, *(seen for each in self._online.values() for seen in each)]

    def __len__(self) -> int:
        return len(self.observations)

    def hold_out(self, episode: Episode) -> None:
        """Ask for the loss on a demonstration, too. Do not learn from it."""
        if self._loss is not None and self.config.loss_factor:
            self._held_out.append(Chunks.of(episode, self.spec.horizon))
            self._forget()

    def thinned(self, episode: Episode) -> Episode:
        """The steps of an episode that :meth:`add` would take."""
        rows = self._rows(episode)
        arrays = {n: v[rows] for n, v in vars(episode).items() if isinstance(v, np.ndarray)}
        return replace(episode, images={n: s[rows] for n, s in episode.images.items()}, rewards=[], **arrays)

    def _rows(self, episode: Episode) -> np.ndarray:
        fine = np.flatnonzero(np.isfinite(episode.state).all(1))
        count = min(self.config.rows_per_episode, self.config.observations) if len(fine) else 0
        return np.unique(fine[np.linspace(0, len(fine) - 1, count).astype(int)])

    def add(self, episode: Episode, demonstration: bool = False) -> bool:
        """Take observations of an episode while there is room; returns whether any was taken.

        Which are taken does not depend on whether demonstrations come first or, after a restart, last.

        Args:
            demonstration: it makes room for itself: online observations go, the last ones first.
        """
        if not demonstration and episode.episode_id in self._online:
            return False
        room = self.config.observations - len(self._shown if demonstration else self.observations)
        rows = self._rows(episode)
        if room <= 0 or not len(rows):
            return False
        taken = []
        for row in rows[:room]:
            images = {name: np.array(episode.images[name][row]) for name in self.spec.cameras}
            state = np.asarray(episode.state[row], np.float64)
            taken.append(Observation(float(episode.stamps[row]), images, state, episode.task))
        if demonstration:
            self._shown += taken
            self._displace()
        else:
            self._online[episode.episode_id] = taken
        self._forget()
        return True

    def _displace(self) -> None:
        """Drop the last online observations that there is no room for any more."""
        room = self.config.observations - len(self._shown)
        for name, taken in list(self._online.items()):
            self._online[name] = taken[: max(room, 0)]
            room -= len(taken)
            if not self._online[name]:
                del self._online[name]

    def check(self, candidate: Plans, acting: Plans | None, version: int = 0) -> ProbeResult:
        """Whether ``candidate`` may be published.

        Args:
            acting: the weights it would replace; None: those of ``version`` were asked before, or it is
                only asked whether actions are finite.
            version: of ``acting``; its answers are kept under this number.
        """
        if not self.observations:
            return ProbeResult()
        try:
            self._newest = answer = self._ask(candidate)
        except ValueError as error:
            return ProbeResult(str(error))
        if version not in self._answers:
            if acting is None:
                return ProbeResult(loss=answer.loss)
            self._remember(version, self._ask(acting))
        known = self._answers[version]
        found = compare(answer.actions, known.actions, self.spec, self.config)
        found = replace(found, loss=answer.loss, loss_acting=known.loss)
        allowed = self.config.loss_factor * known.loss
        if found.passed and self._held_out and self._loss is not None and not answer.loss <= allowed:
            reason = (
                f'its loss on held-out demonstrations is {answer.loss:.3g}, that of version {version} '
                f'{known.loss:.3g}; {self.config.loss_factor:g} times that is allowed'
            )
            found = replace(found, reason=reason)
        return found

    def finite(self, policy: Plans, result: ProbeResult) -> ProbeResult:
        """``result``, unless ``policy`` plans an action that is not finite."""
        try:
            for index, observation in enumerate(self.observations):
                _act(policy, observation, index)
        except ValueError as error:
            return replace(result, reason=str(error))
        return result

    def knows(self, version: int) -> bool:
        """Whether the answers of a version are here."""
        return version in self._answers

    def accept(self, version: int) -> None:
        """The candidate of the last :meth:`check` was published under this number."""
        if self._newest is not None:
            self._remember(version, self._newest)

    def _forget(self) -> None:
        """All were asked about other observations."""
        self._answers.clear()
        self._newest = None

    def _remember(self, version: int, answer: _Answer) -> None:
        self._answers[version] = answer
        while len(self._answers) > _VERSIONS:
            self._answers.popitem(last=False)

    def _ask(self, policy: Plans) -> _Answer:
        found = np.stack([_act(policy, seen, index) for index, seen in enumerate(self.observations)])
        if not self._held_out or self._loss is None:
            return _Answer(found, float('nan'))
        return _Answer(found, self._loss(policy, Chunks.concatenate(self._held_out)))


def _act(policy: Plans, observation: Observation, index: int) -> np.ndarray:
    actions = policy.act(observation, torch.Generator().manual_seed(index))
    if not np.all(np.isfinite(actions)):  # a runtime of somebody else need not look
        raise ValueError('the policy produced an action that is not finite; the weights are damaged')
    return actions


def compare(actions: np.ndarray, acting: np.ndarray, spec: PolicySpec, config: ProbeConfig) -> ProbeResult:
    """How far chunks [..., H, A] are from those of the acting weights, to the same observations and noise."""
    if not np.all(np.isfinite(actions)):
        return ProbeResult('the policy produced an action that is not finite; the weights are damaged')
    raw = np.abs(np.asarray(actions, np.float64) - acting)
    raw = raw.reshape(-1, raw.shape[-1]).max(0)
    scaled = raw / spec.action.std
    most = int(scaled.argmax())
    found = ProbeResult(change=float(scaled[most]), change_raw=float(raw.max()), joint=spec.joints[most])
    if config.max_change and found.change > config.max_change:
        reason = (
            f'an action of {found.joint} changes by {found.change:.1f} standard deviations, '
            f'{config.max_change:g} are allowed'
        )
        return replace(found, reason=reason)
    if config.max_change_raw and found.change_raw > config.max_change_raw:
        joint = spec.joints[int(raw.argmax())]
        reason = f'an action of {joint} changes by {raw.max():.3g}, {config.max_change_raw:g} is allowed'
        return replace(found, joint=joint, reason=reason)
    return found


def held_out_loss(algorithm: WeightedFlow) -> Callable[[Plans, Chunks], float]:
    """The flow loss of a policy of ``algorithm``'s kind, with the same noise every time."""

    @torch.no_grad()
    def loss(policy: Plans, chunks: Chunks) -> float:
        if not isinstance(policy, FlowPolicy):
            return float('nan')
        rows = np.linspace(0, len(chunks) - 1, min(len(chunks), _HELD_OUT)).astype(int)
        batch = chunks.select(rows).tensors().to(policy.device)
        draws = algorithm.draw(len(rows), generator=torch.Generator().manual_seed(0))
        objective = FlowObjective(policy, algorithm.config)
        return float(objective(batch, draws.each(lambda tensor: tensor.to(policy.device)))['loss'])

    return loss
