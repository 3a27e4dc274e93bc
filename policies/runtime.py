# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What runs a policy: torch, onnxruntime, another machine, or somebody else's library; one call for all."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from apprentice.policies.rtc import PreviousChunk, RtcConfig
from apprentice.policies.spec import PolicySpec
from apprentice.robot.parts import load_part
from apprentice.robot.types import Observation

# called as load(weights, expected_sha256=..., **options), returns (policy, manifest)
RUNTIMES = {
    'torch': 'apprentice.policies.checkpoint:load',
    'compiled': 'apprentice.policies.compiled:load',
    'onnx': 'apprentice.policies.onnx_policy:load',
    'remote': 'apprentice.policies.remote:load',
    'lerobot': 'apprentice.policies.lerobot_policy:load',
    'openpi': 'apprentice.policies.openpi_policy:load',
}


class ChunkPolicy(Protocol):
    """What plans for a robot."""

    spec: PolicySpec

    def act(
        self,
        observation: Observation,
        generator: torch.Generator | None = None,
        previous: PreviousChunk | None = None,
        rtc: RtcConfig | None = None,
    ) -> np.ndarray:
        """One chunk [H, A] in raw units. Raises ValueError for bad input or an action that is not finite."""
        ...


def load_policy(
    weights: str | Path, expected_sha256: str = '', runtime: str = 'torch', **options: Any
) -> tuple[ChunkPolicy, dict[str, Any]]:
    """A policy and its manifest.

    Args:
        weights: what the runtime takes: a folder, for ``remote`` the address of a server.
        expected_sha256: of the manifest; empty: not known.
        runtime: one of RUNTIMES, or a function ``package.module:function`` of the same form.

    Raises ValueError (CheckpointError, StatisticsError, ...), OSError or ImportError, with the remedy.
    """
    part = RUNTIMES.get(runtime, runtime)
    if ':' not in part:
        raise ValueError(f'no runtime {runtime!r}; use one of {list(RUNTIMES)}, or package.module:function')
    return load_part(part)(weights, expected_sha256=expected_sha256, **options)
