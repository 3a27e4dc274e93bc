# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A policy from its folder, with sampling noise of its own for every episode, as rollouts ask it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # before the first GL context, see docs/architecture.md

from apprentice.learning.rl.choosing import Choosing
from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy
from apprentice.robot.parts import find_weights, share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Observation
from apprentice.sim.rollout import SeededAct, Turn


@dataclass(frozen=True)
class LoadedPolicy:
    """A policy ready for rollouts.

    Attributes:
        sha256: of the manifest, which holds the hash of the weights: what tells it from any other policy.
        about: what its training wrote about it.
    """

    act: SeededAct
    folder: Path
    sha256: str
    about: dict[str, Any]

    @property
    def name(self) -> str:
        """For people: the folder's name, and the name in ``about`` if there is one."""
        about = self.about.get('name', '') if isinstance(self.about, dict) else self.about
        return f'{self.folder.resolve().name} ({about})' if about else self.folder.resolve().name


def load_policy(name: str, spec: RobotSpec, seed: int = 0, head: str = '') -> LoadedPolicy:
    """Load a policy by path or shipped name; empty: the starter policy.

    Args:
        seed: of the noise.
        head: which action head acts, ``flow`` or ``fast``; empty: that of the policy.

    Raises CheckpointError for a damaged folder and PolicyMismatch for a policy that is not for ``spec``.
    """
    folder = find_weights(name) if name else share('weights', 'policy')
    policy, manifest = checkpoint.load(folder)
    policy.spec.require(spec)
    digest = checkpoint.sha256(folder / checkpoint.MANIFEST)
    return LoadedPolicy(seeded(policy, seed, head), folder, digest, manifest['about'])


def seeded(policy: FlowPolicy | Choosing, seed: int = 0, head: str = '') -> SeededAct:
    """The policy with noise drawn from ``seed`` and the turn alone: a chunk's noise is the same whatever
    runs beside it, unless critics explore. Raises ValueError for a negative seed.
    """
    if seed < 0:
        raise ValueError(f'seed {seed} of the sampling noise is negative; use 0 or more')

    def act(observations: list[Observation], turns: list[Turn]) -> np.ndarray:
        mixed = [np.random.SeedSequence((seed, *turn)).generate_state(1, np.uint64)[0] for turn in turns]
        generators = [torch.Generator().manual_seed(int(each)) for each in mixed]
        if isinstance(policy, Choosing):
            elapsed = [step * policy.spec.action_dt for _, _, step in turns]
            return policy.act_batch(observations, generators, elapsed_s=elapsed)
        return policy.act_batch(observations, generators, head=head or None)

    return SeededAct(act)
