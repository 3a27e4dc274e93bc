# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Keys and values of a transformers model, recorded where it hands them to its cache; also the recomputation
of layers in the backward pass, and embeddings put into the place of tokens."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from apprentice.robot.model_folders import require


@functools.cache
def _layer() -> type:
    caches = require('transformers.cache_utils', "'apprentice[vla]'")

    class RecordingLayer(caches.DynamicLayer):  # type: ignore[name-defined, misc]
        """Keeps the keys and values of one pass, after rotation, without cutting them to a window.

        A layer that is computed again in the backward pass leaves what was recorded as it is.
        """

        is_initialized: bool

        def update(
            self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
        ) -> tuple[torch.Tensor, torch.Tensor]:
            if not self.is_initialized:
                self.keys, self.values = key_states, value_states
                self.dtype, self.device = key_states.dtype, key_states.device
                self.is_initialized = True
            return key_states, value_states

    return RecordingLayer


def recording_cache() -> Any:
    """An empty cache for one forward pass. After it, ``layers`` hold ``keys`` and ``values``
    [B, heads, P, head_dim]."""
    caches = require('transformers.cache_utils', "'apprentice[vla]'")
    return caches.Cache(layer_class_to_replicate=_layer())


def cache_argument(model: nn.Module) -> str:
    """What the model calls its cache: ``cache``, in older transformers ``past_key_values``."""
    return 'cache' if 'cache' in inspect.signature(type(model).forward).parameters else 'past_key_values'


def accepted(model: nn.Module, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The inputs that the model's forward names; processors may make more, such as labels."""
    names = inspect.signature(type(model).forward).parameters
    return {name: value for name, value in inputs.items() if name in names}


def recompute_in_backward(model: nn.Module) -> None:
    """Keep only the inputs of each transformer layer in training; the rest is computed again when needed.

    The gradient checkpointing of transformers takes the cache away, and with it keys and values. This one
    leaves it, which the recording cache allows.
    """
    layers = require('transformers.modeling_layers', "'apprentice[vla]'")
    for module in model.modules():
        if isinstance(module, layers.GradientCheckpointingLayer):
            module.forward = functools.partial(_recomputed, module.forward)  # type: ignore[method-assign]


def _recomputed(forward: Any, *args: Any, **kwargs: Any) -> Any:
    if forward.__self__.training and torch.is_grad_enabled():
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)
    return forward(*args, **kwargs)


@contextlib.contextmanager
def embedded(embedding: nn.Module, place: torch.Tensor, tokens: torch.Tensor) -> Iterator[None]:
    """While it lasts, ``embedding`` gives ``tokens`` [B, K, D] at the places [B, K]."""

    def put(module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(len(place), device=place.device)[:, None]
        return output.index_put((rows, place), tokens.to(output.dtype))

    handle = embedding.register_forward_hook(put)
    try:
        yield
    finally:
        handle.remove()
