# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Vision-language models of Hugging Face as backbones, through their public interface: nothing is patched.

Made for any ``AutoModelForImageTextToText`` whose layers keep keys and values; tested with Qwen2.5-VL (as in
NORA-1.5, arXiv 2511.14659), SmolVLM (as in SmolVLA, arXiv 2506.01844) and PaliGemma (as in pi0, arXiv
2410.24164). Keys and values are those the model hands to its cache, after rotary positions.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from apprentice.policies.backbones.lora import adapt, is_adapter
from apprentice.policies.backbones.pretrained import find_model, load_model, load_processor
from apprentice.policies.backbones.prompts import Prompts, append_tokens
from apprentice.policies.backbones.recording import (
    accepted,
    cache_argument,
    embedded,
    recompute_in_backward,
    recording_cache,
)
from apprentice.policies.prefix import Prefix
from apprentice.robot.model_folders import fingerprint

_MODEL = 'model.'  # of the names of the pretrained weights in the backbone


@dataclass(frozen=True)
class HuggingFaceConfig:
    """Which model, and what of it is trained.

    Attributes:
        model: a folder, or a name on the hub (``owner/name``) that is in the hub's cache; also looked for by
            its last part in the folders of the environment variable APPRENTICE_MODELS.
        download: a name on the hub may be downloaded.
        layers: of the language model, from the first; 0: all.
        freeze: train nothing of the model.
        lora_rank: train adapters of this rank (arXiv 2106.09685) instead of the model; 0: none.
        lora_alpha: adapters are scaled by lora_alpha / lora_rank.
        lora_targets: linear layers that get adapters, such as q_proj; empty: all of the language model.
        dtype: of the pretrained weights; adapters and the flow expert stay in float32.
        quantize: linear layers in 8 or 4 bits (bitsandbytes), for frozen models and adapters.
        image_size: images are stretched to squares of so many pixels first; 0 leaves it to the processor.
        prompt: what the model is told; ``{text}`` is the instruction.
        state_tokens: tokens behind the prompt with a learned projection of the joint state. NORA and NORA-1.5
            have none.
        gradient_checkpointing: compute layers again in the backward pass instead of keeping them.
    """

    part: ClassVar[str] = 'apprentice.policies.backbones.huggingface:HuggingFaceBackbone'
    model: str = ''
    download: bool = False
    layers: int = 0
    freeze: bool = False
    lora_rank: int = 0
    lora_alpha: int = 16
    lora_targets: tuple[str, ...] = ()
    dtype: Literal['float32', 'bfloat16'] = 'float32'
    quantize: Literal['', '8bit', '4bit'] = ''
    image_size: int = 0
    prompt: str = '{text}'
    state_tokens: int = 0
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        for name in ('layers', 'lora_rank', 'image_size', 'state_tokens'):
            if getattr(self, name) < 0:
                raise ValueError(f'policy.backbone.{name} is {getattr(self, name)}; give 0 or more')
        if self.dtype not in ('float32', 'bfloat16') or self.quantize not in ('', '8bit', '4bit'):
            raise ValueError(
                f'policy.backbone.dtype {self.dtype!r} with quantize {self.quantize!r}; use float32 or '
                "bfloat16, with '', 8bit or 4bit"
            )
        if self.freeze and self.lora_rank:
            raise ValueError('policy.backbone.freeze leaves nothing to lora_rank; set one of them')
        if self.quantize and self.trains_all:
            raise ValueError('a quantised model cannot be trained whole; set freeze or lora_rank')

    @property
    def trains_all(self) -> bool:
        """Whether the pretrained weights themselves are trained, and are therefore part of checkpoints."""
        return not self.freeze and not self.lora_rank


class HuggingFaceBackbone(nn.Module):
    """A pretrained vision-language model.

    Weights that are not trained are shared by copies, left out of ``state_dict`` and read from the model's
    folder again; :attr:`base` says which model that is.

    Args:
        cameras: name -> (height, width); images are given to the model in this order.
        state_dim: size of the state vector.

    Raises FileNotFoundError if the model is not on this machine, ValueError if it cannot be used, ImportError
    for a missing package; each says what to do.
    """

    Config = HuggingFaceConfig

    def __init__(self, cameras: dict[str, tuple[int, int]], state_dim: int, config: HuggingFaceConfig):
        super().__init__()
        if not cameras:
            raise ValueError('a vision-language policy needs a camera; the robot file has none')
        self.config, self.cameras = config, cameras
        folder = find_model(config.model, config.download)
        self.base = {} if config.trains_all else {'model': config.model, 'sha256': fingerprint(folder)}
        self.model = load_model(folder, config.dtype, config.quantize, config.layers)
        decoder = self.model.get_decoder()
        sizes = decoder.config
        self._hidden: int = sizes.hidden_size
        heads = sizes.num_attention_heads
        self._layout = (
            len(decoder.layers),
            getattr(sizes, 'num_key_value_heads', None) or heads,
            getattr(sizes, 'head_dim', None) or sizes.hidden_size // heads,
        )
        self.prompts = Prompts(
            load_processor(folder),
            config.prompt,
            config.image_size,
            sizes.max_position_embeddings - config.state_tokens,
        )
        self.state = nn.Linear(state_dim, config.state_tokens * self._hidden) if config.state_tokens else None
        self._cache = cache_argument(self.model)
        if not config.trains_all:
            self.model.requires_grad_(False)
        if config.lora_rank:
            adapt(decoder, config.lora_rank, config.lora_alpha, config.lora_targets)
        if config.gradient_checkpointing:
            recompute_in_backward(self.model)
        self._pretrained = frozenset(
            name for name in self.state_dict() if name.startswith(_MODEL) and not is_adapter(name)
        )
        if not config.trains_all:
            self.register_state_dict_post_hook(_leave_out)
            self.register_load_state_dict_post_hook(_do_not_miss)

    @property
    def layout(self) -> tuple[int, int, int]:
        return self._layout

    @property
    def rope_theta(self) -> float:
        """Base of the model's rotary positions, 0 if it does not say; what expert.rope_theta should be."""
        sizes = self.model.get_decoder().config
        parameters = getattr(sizes, 'rope_parameters', None) or {}
        parameters = parameters.get('full_attention', parameters)  # of models with two kinds of layers
        return float(parameters.get('rope_theta', getattr(sizes, 'rope_theta', 0.0)) or 0.0)

    def encode(self, images: dict[str, torch.Tensor], state: torch.Tensor, text: Sequence[str]) -> Prefix:
        """See :class:`~apprentice.policies.prefix.Backbone`; ``pooled`` is the mean of the last layer.

        Raises KeyError for a missing camera, ValueError for an instruction that is empty or too long.
        """
        missing = [name for name in self.cameras if name not in images]
        if missing:
            raise KeyError(f'no image of {missing}; the policy was made for the cameras {list(self.cameras)}')
        device = next(self.model.parameters()).device
        inputs = self.prompts([images[name].to(device) for name in self.cameras], text)
        inputs = {name: value.to(device) for name, value in inputs.items()}
        place: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if self.state is not None:
            inputs, where = append_tokens(inputs, self.config.state_tokens, self.prompts.padding)
            tokens = self.state(state).unflatten(-1, (self.config.state_tokens, self._hidden)).to(device)
            place = embedded(self.model.get_input_embeddings(), where, tokens)
        cache = recording_cache()
        with place:
            out = self.model(**accepted(self.model, inputs), **{self._cache: cache}, use_cache=True)
        return self._prefix(cache, out.last_hidden_state.to(state), inputs['attention_mask'].to(state.device))

    def _prefix(self, cache: Any, hidden: torch.Tensor, mask: torch.Tensor) -> Prefix:
        keys, values = ([getattr(layer, kind) for layer in cache.layers] for kind in ('keys', 'values'))
        shapes = {None if x is None else (x.shape[1], x.shape[3]) for x in (*keys, *values)}
        if len(keys) != self._layout[0] or shapes != {self._layout[1:]}:
            raise ValueError(
                f'models of type {self.model.config.model_type!r} do not keep keys and values of one '
                'shape in every layer; use another model'
            )
        weight = mask[..., None].to(hidden.dtype)
        pooled = (hidden * weight).sum(1) / weight.sum(1)
        return Prefix(torch.stack(keys).to(hidden), torch.stack(values).to(hidden), mask.bool(), pooled)

    def is_base(self, name: str) -> bool:
        """Whether a parameter or buffer is a pretrained one that is not trained."""
        return not self.config.trains_all and name.startswith(_MODEL) and not is_adapter(name)

    def requires_grad_(self, requires_grad: bool = True) -> HuggingFaceBackbone:
        """As of every module, but what the configuration freezes stays frozen."""
        for name, parameter in self.named_parameters():
            if not self.is_base(name):
                parameter.requires_grad_(requires_grad)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> HuggingFaceBackbone:
        """Copies share what is not trained: an average or a reference costs no second model."""
        memo.update({id(p): p for name, p in self.named_parameters() if self.is_base(name)})
        memo[id(self.prompts)] = self.prompts
        if self.config.quantize:  # bitsandbytes keeps weights beside the parameters too
            for module in self.modules():
                beside = [vars(module).get(name) for name in ('state', 'quant_state')]
                memo.update({id(weights): weights for weights in beside if weights is not None})
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin


def _leave_out(
    module: nn.Module, state_dict: dict[str, torch.Tensor], prefix: str, local_metadata: dict[str, Any]
) -> None:
    assert isinstance(module, HuggingFaceBackbone)
    for name in [n for n in state_dict if n.startswith(prefix) and module.is_base(n[len(prefix) :])]:
        del state_dict[name]


def _do_not_miss(module: nn.Module, incompatible: Any) -> None:
    assert isinstance(module, HuggingFaceBackbone)
    known = module._pretrained

    def ours(name: str) -> bool:  # the policy calls it backbone.model...
        return any(name.split('.', cut)[-1] in known for cut in range(name.count('.') + 1))

    incompatible.missing_keys[:] = [name for name in incompatible.missing_keys if not ours(name)]
