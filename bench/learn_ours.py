# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Our contestants in `apprentice bench learn`: algorithms of the library on states instead of images.

The default recipe in small: a flow policy cloned from the demonstrations plans chunks, FlowEdit chooses and
edits them, and the flow goes on learning from what succeeded. Beside it RLPD-SAC alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from apprentice.bench.learn_world import DISCOUNT, Path, Plan, Trial, TrialConfig
from apprentice.bench.measure import versions
from apprentice.learning.rl.base import Algorithm, ChunkBatch, Sizes, make
from apprentice.learning.rl.core import adam, step
from apprentice.learning.rl.networks import perceptron, single
from apprentice.learning.rl.table import Table
from apprentice.policies.flow import flow_loss, integrate, sample_time

REFRESH = 25  # episodes after which all candidates are planned again
DENOISE = 4  # steps of the flow


@dataclass(frozen=True)
class Ours:
    """How a contestant of ours learns.

    Attributes:
        part: the algorithm; settings: of its ``Config``.
        rows: of a chunk.
        candidates: chunks of the flow; 0: no flow.
        batch, updates: of the algorithm; updates for each step of the environment.
        before: updates on the demonstrations before the first episode.
        clone: gradient steps of the flow on the demonstrations; again: after every episode.
    """

    part: str
    settings: dict[str, Any] = field(default_factory=dict)
    rows: int = 1
    candidates: int = 0
    batch: int = 128
    updates: float = 1.0
    before: int = 0
    clone: int = 1000
    again: int = 50


OURS = {
    'flow_edit': Ours(
        'apprentice.learning.rl.flow_edit:FlowEdit',
        {
            'critic': {'members': 4, 'judges': 2, 'hidden': [128, 128]},
            'scale': 0.5, 'limit': 1.0, 'edit_every': 2, 'warm_up': 200, 'near': 0.1, 'near_end': 0.0,
            'epsilon': 0.0,
        },
        rows=2, candidates=4, updates=2.0, before=500, again=20,
    ),
    'rlpd_sac': Ours(
        'apprentice.learning.rl.rlpd_sac:RlpdSac', {'bound': 1.0}, updates=2.0, before=500
    ),
}  # fmt: skip


class StateFlow(torch.nn.Module):
    """Velocity of a chunk [B, C, A] at flow times, given a state [B, D]; as the library's flow expert."""

    def __init__(self, sizes: Sizes, generator: torch.Generator):
        super().__init__()
        self.sizes, self.generator = sizes, generator
        inputs = sizes.feature + sizes.chunk + 1
        self.network = perceptron(inputs, (256, 256), sizes.chunk, act='silu', generator=generator)
        self._optimizer = adam(self, 1e-3)
        self._shown: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def forward(self, chunk: torch.Tensor, time: torch.Tensor, feature: torch.Tensor) -> torch.Tensor:
        when = time[:, :1].expand(len(chunk), 1)
        return single(self.network, torch.cat([feature, chunk.flatten(1), when], 1)).view_as(chunk)

    @torch.no_grad()
    def plan(self, feature: torch.Tensor, count: int) -> torch.Tensor:
        """Candidates [B, N, C, A]."""
        shape = (len(feature) * count, self.sizes.rows, self.sizes.actions)
        noise = torch.randn(shape, generator=self.generator)
        found = integrate(self, feature.repeat_interleave(count, 0), noise, DENOISE)  # type: ignore[arg-type]
        return found.clamp(-1, 1).unflatten(0, (-1, count))

    def show(self, feature: torch.Tensor, chunk: torch.Tensor, valid: torch.Tensor) -> None:
        """Remember chunks to imitate."""
        self._shown.append((feature, chunk, valid))

    def fit(self, steps: int, batch: int = 128) -> None:
        """Gradient steps of plain flow matching on what was shown."""
        feature, chunk, valid = (torch.cat(each) for each in zip(*self._shown))
        for _ in range(steps):
            rows = torch.randint(len(feature), (batch,), generator=self.generator)
            noise = torch.randn(batch, *chunk.shape[1:], generator=self.generator)
            time = sample_time((batch, 1), self.generator).expand(-1, self.sizes.rows)
            loss = flow_loss(self, feature[rows], chunk[rows], noise, time, valid[rows])  # type: ignore[arg-type]
            step(self._optimizer, loss.mean(), 1.0)


class Memory:
    """Chunk transitions of what was executed; half of a batch from demonstrations."""

    def __init__(self, sizes: Sizes, flow: StateFlow | None, candidates: int):
        self._sizes, self._flow, self._candidates = sizes, flow, candidates
        self._seen, self._done = Table(), Table()
        self._shown = 0  # transitions of demonstrations; they come first

    def plan(self, feature: torch.Tensor) -> torch.Tensor:
        """Candidates [T, N, C, A]; one without a meaning for an algorithm that looks at none."""
        if self._flow is None:
            return torch.zeros(len(feature), 1, self._sizes.rows, self._sizes.actions)
        return self._flow.plan(feature, self._candidates)

    def add(self, path: Path, human: bool = False) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Add an episode; its observations [T, D], chunks [T, C, A] and which of their rows were executed."""
        feature, length = torch.from_numpy(path.observations), len(path.actions)
        seen = self._seen.append(feature=feature, candidates=self.plan(feature))
        start, offset = np.arange(length), np.arange(self._sizes.rows)
        rows = np.minimum(self._sizes.rows, length - start)
        index = start[:, None] + np.minimum(offset, rows[:, None] - 1)
        valid = offset < rows[:, None]
        powers = DISCOUNT**offset
        chunk, executed = torch.from_numpy(path.actions[index]), torch.from_numpy(valid)
        over = path.success & (start + rows == length)
        self._done.append(
            at=torch.from_numpy(start + seen.start),
            following=torch.from_numpy(start + rows + seen.start),
            action=chunk,
            valid=executed,
            reward=torch.from_numpy((path.rewards[index] * valid * powers).sum(1)).float(),
            discount=torch.from_numpy(np.where(over, 0.0, DISCOUNT**rows)).float(),
            human=torch.full((length,), human),
        )
        self._shown += length * human
        return feature[:-1], chunk, executed

    def replan(self) -> None:
        """Candidates by the flow as it is now."""
        self._seen.put(slice(0, len(self._seen)), candidates=self.plan(self._seen['feature']))

    def sample(self, size: int, generator: torch.Generator) -> ChunkBatch:
        """Half of people, half of the policy, once there is both."""
        own = len(self._done) - self._shown
        people = size if not own else size // 2
        drawn = torch.randint(self._shown, (people,), generator=generator)
        if own:
            rest = self._shown + torch.randint(own, (size - people,), generator=generator)
            drawn = torch.cat([drawn, rest])
        taken = self._done.rows(drawn)
        now, then = self._seen.rows(taken.pop('at')), self._seen.rows(taken.pop('following'))
        return ChunkBatch(
            feature=now['feature'],
            candidates=now['candidates'],
            next_feature=then['feature'],
            next_candidates=then['candidates'],
            **taken,
        )


def acting(algorithm: Algorithm, memory: Memory, generator: torch.Generator | None = None) -> Plan:
    """What plans; with a generator it explores."""

    def plan(observations: np.ndarray) -> np.ndarray:
        feature = torch.from_numpy(observations)
        chunk = algorithm.choose(feature, memory.plan(feature), generator is not None, generator)
        return chunk.clamp(-1, 1).numpy()

    return plan


def learn(name: str, trial: dict[str, Any], changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """A trial of ``OURS[name]``, with other fields of it where ``changes`` says so."""
    torch.set_num_threads(1)
    config, ours = TrialConfig(**trial), OURS[name]
    ours = Ours(**{**asdict(ours), **(changes or {})})
    made = Trial(config)
    shown = made.demonstrations()
    made.begin()
    sizes = Sizes(made.env.observation_space.shape[0], ours.rows, made.env.action_space.shape[0])  # type: ignore[index]
    algorithm = make(ours.part, sizes, ours.settings, config.seed)
    g = torch.Generator().manual_seed(config.seed)
    flow = StateFlow(sizes, g) if ours.candidates else None
    memory = Memory(sizes, flow, ours.candidates)
    for path in shown:
        chunks = memory.add(path, human=True)
        if flow is not None:
            flow.show(*chunks)
    if flow is not None:
        flow.fit(ours.clone)
        memory.replan()
    for _ in range(ours.before):
        algorithm.update(memory.sample(ours.batch, g))
    explore, exploit = acting(algorithm, memory, g), acting(algorithm, memory)
    made.evaluate(exploit)
    owed = 0.0
    while True:
        path = made.follow(explore, None if made.episodes else config.seed)
        chunks = memory.add(path)
        if flow is not None:
            if path.success:
                flow.show(*chunks)
            flow.fit(ours.again)
            if made.episodes % REFRESH == REFRESH - 1:
                memory.replan()
        owed += ours.updates * len(path.actions)
        for _ in range(int(owed)):
            algorithm.update(memory.sample(ours.batch, g))
        owed -= int(owed)
        if not made.ended(exploit, len(path.actions)):
            break
    result = made.result()
    made.close()
    return {
        **result,
        'trial': trial,
        'updates': algorithm.steps,
        'versions': versions('torch', 'gymnasium', 'mujoco'),
    }
