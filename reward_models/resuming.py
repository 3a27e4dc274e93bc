# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The state of a reward model's training as tensors and JSON, so that a killed one goes on where it was."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from apprentice.reward_models.base import RewardModelError

State = tuple[dict[str, torch.Tensor], dict[str, Any]]  # tensors, and what goes into JSON


@dataclass(frozen=True)
class Snapshots:
    """Where the state of a training is kept.

    Attributes:
        write: a state, whole or not at all.
        read: the newest state, None if there is none.
        every: gradient steps between two of them.
    """

    write: Callable[[dict[str, torch.Tensor], dict[str, Any]], None]
    read: Callable[[], State | None]
    every: int = 50


def state_of(
    members: nn.Module, optimizer: torch.optim.Optimizer, rng: np.random.Generator, step: int, of: str
) -> State:
    """Everything that the steps after ``step`` depend on; ``of``: fingerprint of settings and data."""
    named = {f'members.{name}': value for name, value in members.state_dict().items()}
    for index, moments in optimizer.state_dict()['state'].items():
        named |= {f'optimizer.{index}.{name}': torch.as_tensor(value) for name, value in moments.items()}
    named['generator'] = torch.get_rng_state()
    tensors = {name: value.detach().to('cpu', copy=True).contiguous() for name, value in named.items()}
    return tensors, {'step': step, 'of': of, 'rng': rng.bit_generator.state}


def put_back(
    state: State, members: nn.Module, optimizer: torch.optim.Optimizer, rng: np.random.Generator, of: str
) -> int:
    """Put a state back; returns the step after which it was taken.

    Raises RewardModelError for the state of another training, or of a damaged one.
    """
    tensors, about = state
    if about.get('of') != of:
        raise RewardModelError(
            'there is an unfinished training with other settings or other attempts here; remove '
            'its snapshots, or give another --out'
        )
    try:
        parts: dict[str, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            kind, _, rest = name.partition('.')
            parts.setdefault(kind, {})[rest] = value
        members.load_state_dict(parts['members'])
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in parts['optimizer'].items():
            index, _, rest = name.partition('.')
            moments.setdefault(int(index), {})[rest] = value
        optimizer.load_state_dict({**optimizer.state_dict(), 'state': moments})
        torch.set_rng_state(tensors['generator'])
        rng.bit_generator.state = about['rng']
        return int(about['step'])
    except (KeyError, ValueError, RuntimeError) as error:
        raise RewardModelError(
            f'the state of the unfinished training does not fit ({error}); remove it'
        ) from error


def wind_on(schedule: torch.optim.lr_scheduler.LRScheduler, steps: int) -> None:
    """Bring a schedule to where it was after so many steps."""
    with warnings.catch_warnings():  # of a schedule that moves before the first step
        warnings.simplefilter('ignore', UserWarning)
        for _ in range(steps):
            schedule.step()
