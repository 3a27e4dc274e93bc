# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Low-rank adapters (LoRA, arXiv 2106.09685) for the language model of a backbone, through peft."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from apprentice.robot.model_folders import require


def is_adapter(name: str) -> bool:
    """Whether a parameter belongs to an adapter."""
    return 'lora_' in name


def adapt(decoder: nn.Module, rank: int, alpha: int, targets: Sequence[str]) -> None:
    """Put adapters into the linear layers of ``decoder``, in float32. At first they change nothing.

    Args:
        targets: last names of the layers, such as ``q_proj``; empty: all.

    Raises ValueError for a target that does not exist.
    """
    peft = require('peft', "'apprentice[vla]'")
    linear = [name for name, module in decoder.named_modules() if isinstance(module, nn.Linear)]
    kinds = {name.rpartition('.')[2] for name in linear}
    unknown = sorted(set(targets) - kinds)
    if unknown:
        raise ValueError(f'policy.backbone.lora_targets has {unknown}; the layers are called {sorted(kinds)}')
    names = [name for name in linear if not targets or name.rpartition('.')[2] in targets]
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=names)
    peft.inject_adapter_in_model(config, decoder)
    for name, parameter in decoder.named_parameters():
        if is_adapter(name):
            # small steps would be lost in bfloat16
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
