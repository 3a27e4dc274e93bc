# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A policy from its folder, with sampling noise of its own for every episode, as rollouts ask it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # before the first GL context, see docs/architecture.md

from apprentice.learning.rl.choosing import Choosing, critics_act, load_choosing
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
        sha256: of the manifest, which holds the hash of the weights.
        about: what its training wrote about it.
        critics: whether the critics that lie beside the policy choose what it does; left_out: they lie there,
            but do not.
    """

    act: SeededAct
    folder: Path
    sha256: str
    about: dict[str, Any]
    critics: bool = False
    left_out: bool = False

    @property
    def identity(self) -> str:
        """What tells it from any other policy, and from itself without its critics."""
        return f'{self.sha256}-critics' if self.critics else self.sha256

    @property
    def name(self) -> str:
        """For people: the folder's name, and the name in ``about`` if there is one."""
        about = self.about.get('name', '') if isinstance(self.about, dict) else self.about
        return f'{self.folder.resolve().name} ({about})' if about else self.folder.resolve().name


def load_policy(
    name: str, spec: RobotSpec, seed: int = 0, head: str = '', critics: bool = True
) -> LoadedPolicy:
    """Load a policy by path or shipped name; empty: the starter policy. It acts as in the policy node: with
    the critics that lie beside it, which do not explore.

    Args:
        seed: of the noise.
        head: which action head acts, ``flow`` or ``fast``; empty: that of the policy.
        critics: false leaves them out.

    Raises CheckpointError for a damaged folder, PolicyMismatch for a policy that is not for ``spec`` and
    ValueError for another head than that whose chunks the critics know.
    """
    folder = find_weights(name) if name else share('weights', 'policy')
    policy, manifest = checkpoint.load(folder)
    policy.spec.require(spec)
    digest = checkpoint.sha256(folder / checkpoint.MANIFEST)
    acting = load_choosing(folder, policy, manifest) if critics else policy
    chosen = isinstance(acting, Choosing)
    if chosen and head not in ('', policy.config.head):
        raise ValueError(
            f'{folder}: the critics beside the policy choose among chunks of the {policy.config.head} head, '
            f'not of the head {head}; leave the head out, or the critics (--without-critics)'
        )
    left_out = not critics and critics_act(manifest)
    return LoadedPolicy(seeded(acting, seed, head), folder, digest, manifest['about'], chosen, left_out)


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
