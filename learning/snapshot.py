# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The state of a training on disk, so that it goes on where it was killed.

The newest snapshot and the one before are kept. Each has a hash; where the newest is damaged, the one before
is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from apprentice.learning.distributed import as_shared, whole
from apprentice.learning.weighted_flow import WeightedFlow
from apprentice.policies.checkpoint import write_tensors
from apprentice.robot.files import sha256

TENSORS, STATE = 'learner.safetensors', 'learner.json'

log = logging.getLogger(__name__)


def save(algorithm: WeightedFlow, folder: str | Path, state: dict[str, Any]) -> None:
    """Write policy, average, optimizer moments and random state whole or not at all (rename)."""
    write(tensors_of(algorithm), folder, {**state, 'steps': algorithm.steps})


def tensors_of(algorithm: WeightedFlow, keep: bool = True) -> dict[str, torch.Tensor]:
    """Copies of all tensors of a training, on the CPU.

    Args:
        keep: false in the processes that only help to put shares together and get nothing.
    """
    named = {f'policy.{k}': v for k, v in algorithm.policy.state_dict().items()}
    named |= {f'average.{k}': v for k, v in algorithm.averaged.state_dict().items()}
    for index, moments in algorithm.optimizer.state_dict()['state'].items():
        named |= {f'optimizer.{index}.{k}': torch.as_tensor(v) for k, v in moments.items()}
    named['generator'] = algorithm.generator.get_state()
    copies = {}
    for name, tensor in named.items():
        together = whole(tensor.detach())
        if keep:
            copies[name] = together.to('cpu', copy=True).contiguous()
    return copies


def write(tensors: dict[str, torch.Tensor], folder: str | Path, state: dict[str, Any]) -> None:
    """Write a snapshot whole or not at all; the one before stays beside it."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f'.{folder.name}.', dir=folder.parent))
    try:
        write_tensors(tensors, made / TENSORS)
        state = json.loads(json.dumps(state))  # as it will be read
        digest = _digest(state, made / TENSORS)
        (made / STATE).write_text(json.dumps({**state, 'sha256': digest}) + '\n')
        for name in (TENSORS, STATE):
            with open(made / name, 'rb') as file:
                os.fsync(file.fileno())
        previous = _previous(folder)
        if folder.exists():
            shutil.rmtree(previous, ignore_errors=True)
            os.rename(folder, previous)
        os.rename(made, folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def restore(
    algorithm: WeightedFlow,
    folder: str | Path,
    check: Callable[[dict[str, Any]], None] = lambda state: None,
) -> dict[str, Any] | None:
    """Put a snapshot back into ``algorithm``; returns its state, or None if there is no snapshot.

    Args:
        check: of the state, before anything is changed; raises what this then raises.

    Raises ValueError for a snapshot that does not fit, and where no snapshot can be read.
    """
    found = newest(folder, check)
    if found is None:
        return None
    tensors, state, place = found
    put(algorithm, tensors, state, place)
    return state


def newest(
    folder: str | Path, check: Callable[[dict[str, Any]], None] = lambda state: None
) -> tuple[dict[str, torch.Tensor], dict[str, Any], Path] | None:
    """Tensors, state and place of the newest snapshot that can be read, or None if there is none.

    Where the newest is damaged, or a crash between the two renames of :func:`write` took it away, the one
    before is used. A damaged one is put aside, so that it does not push out the good one.

    Args:
        check: of the state; raises what this then raises.

    Raises ValueError where no snapshot can be read.
    """
    folder = Path(folder)
    damaged = []
    for place in (folder, _previous(folder)):
        if not place.exists():
            continue
        try:
            tensors, state = _read(place)
        except (OSError, ValueError, SafetensorError) as error:
            damaged.append(f'{place} ({error})')
            continue
        if damaged:
            log.warning('damaged snapshot: %s; going on from the one before', damaged[0])
            with contextlib.suppress(OSError):  # another process of this training may have done it
                shutil.rmtree(_aside(folder), ignore_errors=True)
                os.rename(folder, _aside(folder))
        check(state)
        return tensors, state, place
    if damaged:
        raise ValueError(
            f'no snapshot can be read: {"; ".join(damaged)}; remove them to begin from the start'
        )
    return None


def remove(folder: str | Path) -> None:
    """Remove a snapshot, and the one before: the training is over."""
    for place in (Path(folder), _previous(Path(folder))):
        shutil.rmtree(place, ignore_errors=True)


def _previous(folder: Path) -> Path:
    return folder.with_name(f'.{folder.name}.previous')


def _aside(folder: Path) -> Path:
    return folder.with_name(f'.{folder.name}.damaged')


def _digest(state: dict[str, Any], tensors: Path) -> str:
    text = sha256(tensors) + json.dumps(state, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    state = json.loads((folder / STATE).read_text())
    if not isinstance(state, dict):
        raise ValueError(f'{STATE} holds no mapping')
    recorded = state.pop('sha256', None)
    # snapshots of earlier versions have none
    if recorded is not None and recorded != _digest(state, folder / TENSORS):
        raise ValueError('sha256 differs')
    return load_file(folder / TENSORS), state


def below(tensors: dict[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    """Those of one part, by their names in it."""
    return {k[len(part) + 1 :]: v for k, v in tensors.items() if k.startswith(f'{part}.')}


def put(
    algorithm: WeightedFlow, tensors: dict[str, torch.Tensor], state: dict[str, Any], folder: Path
) -> None:
    """Put what :func:`newest` found into ``algorithm``. Raises ValueError if it does not fit."""
    try:
        for name, module in (('policy', algorithm.policy), ('average', algorithm.averaged)):
            own = module.state_dict()
            values = below(tensors, name).items()
            module.load_state_dict({k: as_shared(v, own[k]) if k in own else v for k, v in values})
        trained = [p for group in algorithm.optimizer.param_groups for p in group['params']]
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in below(tensors, 'optimizer').items():
            index, _, name = key.partition('.')
            like = trained[int(index)]
            value = as_shared(value, like) if value.shape == like.shape else value
            moments.setdefault(int(index), {})[name] = value
        optimizer = algorithm.optimizer.state_dict()
        algorithm.optimizer.load_state_dict({**optimizer, 'state': moments})
        algorithm.generator.set_state(tensors['generator'])
        algorithm.steps = int(state['steps'])
    except (RuntimeError, KeyError, IndexError) as error:
        raise ValueError(
            f'{folder} is a snapshot of another policy ({error}); pass another run_dir or remove it'
        ) from error
