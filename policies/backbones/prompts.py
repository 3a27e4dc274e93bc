# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Observations as the inputs of a vision-language model, made by the model's own processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

_PER_TOKEN = ('input_ids', 'attention_mask', 'token_type_ids', 'mm_token_type_ids')


class Prompts:
    """Images and instructions to the keyword arguments of a model.

    Models with a chat template get one message of the user, images first; others (PaliGemma) the
    placeholders of the images and then the text.

    Args:
        processor: tokenizer and image processor.
        template: what is said, with ``{text}`` for the instruction.
        image_size: images are first stretched to squares of so many pixels; 0 leaves the size to the
            processor.
        context: tokens the model takes.
    """

    def __init__(self, processor: Any, template: str, image_size: int, context: int):
        if '{text}' not in template:
            raise ValueError(f'policy.backbone.prompt is {template!r}; it must contain {{text}}')
        self.processor, self.template = processor, template
        self.image_size, self.context = image_size, context
        self.padding: int = processor.tokenizer.pad_token_id
        # one view for each camera, instead of a view and its tiles
        self._options = {'do_image_splitting': False} if _splits(processor) else {}

    def __call__(self, images: Sequence[torch.Tensor], text: Sequence[str]) -> dict[str, torch.Tensor]:
        """Tensors of a batch, padded on the right whatever the tokenizer's own habit.

        With the padding behind, the positions of real tokens are those of the item alone.

        Args:
            images: for each camera uint8 [B, H, W, 3], or float in [0, 255].
            text: B instructions.

        Raises ValueError for an instruction that is empty, too long or that holds a placeholder.
        """
        written = [self._prompt(line, len(images), item) for item, line in enumerate(text)]
        planes = [self._planes(stack) for stack in images]
        options = dict(self._options)
        bos = self.processor.tokenizer.bos_token
        if bos and all(line.startswith(bos) for line in written):  # the template wrote it already
            options['add_special_tokens'] = False
        made = self.processor(
            text=written,
            images=[[stack[item] for stack in planes] for item in range(len(text))],
            return_tensors='pt',
            padding=True,
            padding_side='right',
            **options,
        )
        lengths = made['attention_mask'].sum(1)
        if int(lengths.max()) > self.context:
            item = int(lengths.argmax())
            raise ValueError(
                f'instruction {item} and its images make {int(lengths[item])} tokens, the model takes '
                f'{self.context}; shorten it (now {len(text[item])} characters) or use smaller images'
            )
        return {name: value for name, value in made.items() if isinstance(value, torch.Tensor)}

    def _prompt(self, text: str, cameras: int, item: int) -> str:
        placeholder = getattr(self.processor, 'image_token', '<image>')
        if not text.strip():
            raise ValueError(
                f'instruction {item} is empty; a vision-language policy needs to be told what to do'
            )
        if placeholder in text:
            raise ValueError(
                f'instruction {item} contains {placeholder!r}, which stands for an image; reword it'
            )
        said = self.template.replace('{text}', text)
        if not getattr(self.processor, 'chat_template', None):
            return placeholder * cameras + said
        content = [*({'type': 'image'} for _ in range(cameras)), {'type': 'text', 'text': said}]
        return self.processor.apply_chat_template(
            [{'role': 'user', 'content': content}], add_generation_prompt=True, tokenize=False
        )

    def _planes(self, stack: torch.Tensor) -> torch.Tensor:
        """uint8 [B, 3, H, W]."""
        planes = stack.permute(0, 3, 1, 2)
        if self.image_size and planes.shape[-2:] != (self.image_size, self.image_size):
            size = (self.image_size, self.image_size)
            planes = functional.interpolate(
                planes.float(), size, mode='bilinear', antialias=True, align_corners=False
            )
        if planes.dtype != torch.uint8:
            planes = planes.round().clamp(0, 255).to(torch.uint8)
        return planes


def _splits(processor: Any) -> bool:
    return getattr(processor.image_processor, 'do_image_splitting', None) is not None


def append_tokens(
    inputs: dict[str, torch.Tensor], count: int, token: int
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Inputs with ``count`` times ``token`` right behind the last real token of each item.

    Returns them and the places of the new tokens, int64 [B, count].
    """
    lengths = inputs['attention_mask'].sum(1, keepdim=True)
    place = lengths + torch.arange(count, device=lengths.device)
    longer = dict(inputs)
    for name in _PER_TOKEN:
        if name in inputs:
            value = {'input_ids': token, 'attention_mask': 1}.get(name, 0)
            rest = token if name == 'input_ids' else 0
            longer[name] = functional.pad(inputs[name], (0, count), value=rest).scatter(1, place, value)
    return longer, place
