# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A torch policy whose backbone and expert are compiled, with CUDA graphs on a GPU."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import torch
from torch._dynamo.exc import BackendCompilerFailed

from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.prefix import Prefix
from apprentice.robot.types import Observation

_log = logging.getLogger(__name__)


def load(
    folder: str | Path, expected_sha256: str = '', device: str = 'cpu', backend: str = 'inductor'
) -> tuple[FlowPolicy, dict[str, Any]]:
    """A checkpoint made by ``apprentice train bc``, compiled for acting, and its manifest.

    It plans a chunk before it returns, so that the first one on a robot is not late. Compiling takes a minute
    or so; every other number of candidates compiles again when it is first asked for. On a CPU it needs a
    C++ compiler. **It was not run on a GPU.**

    Args:
        backend: of torch.compile.

    Raises as :func:`.checkpoint.load`, and OSError where nothing can be compiled.
    """
    policy, manifest = checkpoint.load(folder, expected_sha256)
    compile_policy(policy.to(device), backend)
    spec, started = policy.spec, time.perf_counter()
    images = {name: stack[0] for name, stack in spec.blank_images(1).items()}
    try:
        policy.act(Observation(0.0, images, spec.state.mean, 'move'), torch.Generator())
    except BackendCompilerFailed as error:
        raise OSError(
            f'torch.compile failed: {str(error).splitlines()[0]}; install a C++ compiler (apt install g++), '
            'or use runtime torch or onnx'
        ) from error
    _log.info('compiled %s in %.0f s', folder, time.perf_counter() - started)
    return policy, manifest


def compile_policy(policy: FlowPolicy, backend: str = 'inductor') -> None:
    """Compile what takes the time, in place; tokenising and the loop over Euler steps stay in Python."""
    graphs = policy.device.type == 'cuda' and backend == 'inductor'
    options: dict[str, Any] = {'backend': backend, 'mode': 'reduce-overhead' if graphs else None}
    name = 'encode_tokens' if hasattr(policy.backbone, 'encode_tokens') else 'encode'
    compiled = torch.compile(getattr(policy.backbone, name), dynamic=False, **options)

    def encode(*observed: Any) -> Prefix:
        prefix = compiled(*observed)
        # CUDA graphs write to the same memory every time, also while the expert's run
        return Prefix(*(x.clone() for x in (prefix.keys, prefix.values, prefix.mask, prefix.pooled)))

    setattr(policy.backbone, name, encode)
    policy.expert.compile(dynamic=False, **options)
