# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What passes from a backbone to the flow expert, and the interface of backbones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch


@dataclass
class Inputs:
    """A batch of observations in raw units.

    Attributes:
        images: camera -> uint8 [B, H, W, 3] RGB.
        state: float32 [B, dim] (rad, gripper m).
        text: B instructions.
    """

    images: dict[str, torch.Tensor]
    state: torch.Tensor
    text: Sequence[str]

    def to(self, device: torch.device | str) -> Inputs:
        """The same on another device."""
        images = {name: stack.to(device) for name, stack in self.images.items()}
        return Inputs(images, self.state.to(device), self.text)


@dataclass
class Prefix:
    """Everything the expert may see of an observation.

    Attributes:
        keys, values: [L, B, heads, P, head_dim], one set per backbone layer.
        mask: bool [B, P], true where a token is real.
        pooled: [B, D], a summary for critics.
    """

    keys: torch.Tensor
    values: torch.Tensor
    mask: torch.Tensor
    pooled: torch.Tensor

    def repeat(self, n: int) -> Prefix:
        """Each batch item ``n`` times in a row: [B] becomes [B * n]."""
        return Prefix(
            self.keys.repeat_interleave(n, 1),
            self.values.repeat_interleave(n, 1),
            self.mask.repeat_interleave(n, 0),
            self.pooled.repeat_interleave(n, 0),
        )

    def detach(self) -> Prefix:
        return Prefix(self.keys.detach(), self.values.detach(), self.mask, self.pooled.detach())


class Backbone(Protocol):
    """Observation to prefix; the only seam between a vision-language model and the rest.

    A class with ``Config``, a frozen dataclass of its sizes whose ``part`` names the class
    (``package.module:Class``); made as ``Class(cameras, state_dim, config)`` with cameras as name ->
    (height, width). The ``Config`` may have a method ``downsample(images)``: pictures uint8 [T, H, W, 3] as
    small as the backbone looks at, which ``encode`` takes as well. Training keeps no more of large ones.

    Two attributes are optional. ``base`` is for pretrained weights that are not trained and therefore not in
    ``state_dict``: which model it is, with a ``sha256`` over it; checkpoints record and compare it.
    ``rope_theta`` is the base of rotary positions of the keys.

    So are two methods, by which a backbone can be exported to ONNX: ``tokenize(text)``, which needs no
    instance, to token ids [B, T], and ``encode_tokens(images, state, ids)``.
    """

    @property
    def layout(self) -> tuple[int, int, int]:
        """(layers, heads, head_dim) of the keys and values."""
        ...

    def encode(self, images: dict[str, torch.Tensor], state: torch.Tensor, text: Sequence[str]) -> Prefix:
        """``state`` is normalised, [B, dim]; images are uint8 [B, H, W, 3]."""
        ...


def rotated_as(backbone: Backbone, config: Any) -> Any:
    """Settings of what reads the prefix; the rotary base of the backbone where ``rope_theta`` is negative."""
    if config.rope_theta >= 0:
        return config
    return replace(config, rope_theta=getattr(backbone, 'rope_theta', 0.0))
