# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The learner's own state on disk, so that a killed learner goes on where it was."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from apprentice.learning.weighted_flow import WeightedFlow
from apprentice.policies.checkpoint import write_tensors

TENSORS, STATE = 'learner.safetensors', 'learner.json'


def save(algorithm: WeightedFlow, folder: str | Path, state: dict[str, Any]) -> None:
    """Write policy, average, optimizer moments and random state whole or not at all (rename)."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f'.{folder.name}.', dir=folder.parent))
    try:
        tensors = {f'policy.{k}': v for k, v in algorithm.policy.state_dict().items()}
        tensors |= {f'average.{k}': v for k, v in algorithm.averaged.state_dict().items()}
        for index, moments in algorithm.optimizer.state_dict()['state'].items():
            tensors |= {f'optimizer.{index}.{k}': torch.as_tensor(v) for k, v in moments.items()}
        tensors['generator'] = algorithm.generator.get_state()
        write_tensors({k: v.detach().contiguous().clone() for k, v in tensors.items()}, made / TENSORS)
        (made / STATE).write_text(json.dumps({**state, 'steps': algorithm.steps}) + '\n')
        for name in (TENSORS, STATE):
            with open(made / name, 'rb') as file:
                os.fsync(file.fileno())
        previous = folder.with_name(f'.{folder.name}.previous')
        shutil.rmtree(previous, ignore_errors=True)
        if folder.exists():
            os.rename(folder, previous)
        os.rename(made, folder)
        shutil.rmtree(previous, ignore_errors=True)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def restore(algorithm: WeightedFlow, folder: str | Path) -> dict[str, Any] | None:
    """Put a snapshot back into ``algorithm``; returns its state, or None if there is no snapshot.

    A crash between the two renames of :func:`save` leaves the previous snapshot, which is then used.
    Raises ValueError for a snapshot that does not fit.
    """
    folder = Path(folder)
    if not (folder / STATE).is_file():
        folder = folder.with_name(f'.{folder.name}.previous')
        if not (folder / STATE).is_file():
            return None
    tensors = load_file(folder / TENSORS)
    state = json.loads((folder / STATE).read_text())

    def part(name: str) -> dict[str, torch.Tensor]:
        return {k[len(name) + 1 :]: v for k, v in tensors.items() if k.startswith(f'{name}.')}

    try:
        algorithm.policy.load_state_dict(part('policy'))
        algorithm.averaged.load_state_dict(part('average'))
        optimizer = algorithm.optimizer.state_dict()
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in part('optimizer').items():
            index, _, name = key.partition('.')
            moments.setdefault(int(index), {})[name] = value
        algorithm.optimizer.load_state_dict({**optimizer, 'state': moments})
        algorithm.generator.set_state(tensors['generator'])
    except (RuntimeError, KeyError) as error:
        raise ValueError(
            f'{folder} is a snapshot of another policy ({error}); pass another run_dir or remove it'
        ) from error
    algorithm.steps = int(state['steps'])
    return state
