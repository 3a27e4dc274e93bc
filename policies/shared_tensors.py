# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Tied weights: tensors that are one in memory are one in a file, too; safetensors takes no copies."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def once(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Each tensor once, on the CPU in its own type, and for every further name the name it is kept under."""
    kept: dict[str, torch.Tensor] = {}
    shared: dict[str, str] = {}
    seen: dict[tuple, str] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach()
        view = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        first = seen.setdefault(view, name) if tensor.numel() else name
        if first != name:
            shared[name] = first
            continue
        tensor = tensor.to('cpu').contiguous()
        # a part of a larger tensor would drag the whole into the file
        kept[name] = tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()
    return kept, shared


def again(kept: Mapping[str, torch.Tensor], shared: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """What :func:`once` took apart. Raises KeyError for a name that is missing."""
    return {**kept, **{name: kept[first] for name, first in shared.items()}}
