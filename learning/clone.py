# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Behaviour cloning: a policy from demonstrations, resumable, with a metrics file."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from apprentice.learning import snapshot
from apprentice.learning.dataset import Chunks, policy_spec
from apprentice.learning.weighted_flow import WeightedFlow, WeightedFlowConfig
from apprentice.policies import checkpoint
from apprentice.policies.config import PolicyConfig
from apprentice.policies.policy import FlowPolicy
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CloneConfig:
    """Training of a policy from demonstrations.

    Attributes:
        steps: gradient steps; warm-up over the first 100, then cosine to zero.
        horizon: rows of a chunk.
        snapshot_every: steps between snapshots, from which a killed run goes on.
    """

    steps: int = 2000
    horizon: int = 8
    seed: int = 0
    snapshot_every: int = 250
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    algorithm: WeightedFlowConfig = field(default_factory=lambda: WeightedFlowConfig(learning_rate=1e-3))


def learning_rate(step: int, steps: int, warm_up: int = 100) -> float:
    """Factor of the peak learning rate at ``step``: linear warm-up, cosine decay."""
    return min(1.0, (step + 1) / warm_up) * 0.5 * (1 + float(np.cos(np.pi * step / steps)))


def clone(
    episodes: Sequence[Episode],
    robot: RobotSpec,
    out: str | Path,
    config: CloneConfig | None = None,
    progress: Callable[[int, dict[str, float]], None] = lambda step, metrics: None,
    about: dict | None = None,
) -> FlowPolicy:
    """Train on ``episodes`` and save the averaged policy in ``out``; returns it.

    Calling again with the same arguments after a kill goes on from the newest snapshot and follows the
    same loss curve: batches, noise and augmentation come from restored random states.

    Raises StatisticsError for degenerate data and ValueError for none.
    """
    config, out = config or CloneConfig(), Path(out)
    spec = policy_spec(episodes, robot, config.horizon)
    data = Chunks.concatenate([Chunks.of(episode, config.horizon) for episode in episodes])
    torch.manual_seed(config.seed)
    algorithm = WeightedFlow(FlowPolicy(spec, config.policy).train(), config.algorithm, config.seed)
    rng = np.random.default_rng(config.seed)
    work = out.with_name(f'{out.name}.training')
    settings = {'config': json.loads(json.dumps(asdict(config))), 'samples': len(data)}
    state = snapshot.restore(algorithm, work / 'snapshot')
    if state is not None:
        if state['settings'] != settings:
            raise ValueError(
                f'{work} belongs to a run with other data or settings; remove it or pass another --out'
            )
        rng.bit_generator.state = state['rng']
        log.info('resuming at step %d', algorithm.steps)
    work.mkdir(parents=True, exist_ok=True)
    with open(work / 'metrics.jsonl', 'a') as metrics_file:
        for step in range(algorithm.steps, config.steps):
            batch = data.select(rng.integers(len(data), size=config.algorithm.batch))
            metrics = algorithm.update(batch, learning_rate(step, config.steps))
            progress(step + 1, metrics)
            metrics_file.write(json.dumps({'step': step + 1, **metrics}) + '\n')
            if (step + 1) % config.snapshot_every == 0:
                metrics_file.flush()
                snapshot.save(
                    algorithm, work / 'snapshot', {'settings': settings, 'rng': rng.bit_generator.state}
                )
    checkpoint.save(
        algorithm.averaged,
        out,
        {'name': 'behaviour cloning', 'train_steps': algorithm.steps, **(about or {})},
    )
    return algorithm.averaged
