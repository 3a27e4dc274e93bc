# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The random numbers of sampling: one generator for a batch, or one for each observation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

Noise = torch.Generator | Sequence[torch.Generator] | None


def draw(
    sampler: Callable[..., torch.Tensor], rows: int, shape: tuple[int, ...], generator: Noise = None
) -> torch.Tensor:
    """Random numbers [rows, *shape] on the CPU; ``sampler`` is ``torch.randn``, ``torch.rand`` or alike.

    With several generators each draws for as many consecutive rows as the others, so that what one
    observation gets does not depend on the rest. Raises ValueError where the rows cannot be shared equally.
    """
    if generator is None or isinstance(generator, torch.Generator):
        return sampler(rows, *shape, generator=generator)
    if not generator or rows % len(generator):
        raise ValueError(f'{len(generator)} generators for {rows} samples; give one for each observation')
    share = rows // len(generator)
    return torch.cat([sampler(share, *shape, generator=each) for each in generator])
