# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A question about images as the inputs of a model, made by the model's own processor and chat template."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from apprentice.reward_models.base import RewardModelError

_MARK = '\x1e'  # record separator: where the shared beginning ends; no instruction holds it
_PER_TOKEN = ('input_ids', 'mm_token_type_ids')
_NOT_FOR_THE_MODEL = ('attention_mask', 'labels', 'token_type_ids')


@dataclass(frozen=True, eq=False)
class Picture:
    """One image, uint8 [H, W, 3] RGB; equal pixels are equal pictures."""

    pixels: np.ndarray

    @cached_property
    def key(self) -> bytes:
        return hashlib.sha1(self.pixels.tobytes()).digest()


@dataclass(frozen=True)
class Question:
    """One message of the user, and how the model's answer begins.

    Attributes:
        parts: texts and pictures in order.
        shared: so many parts from the first are the same for many questions; their keys and values are kept.
        answer: what the model is made to have said already.
    """

    parts: tuple[str | Picture, ...]
    shared: int = 0
    answer: str = ''

    @cached_property
    def key(self) -> tuple[Any, ...]:
        return (*self._key(self.parts), self.shared, self.answer)

    @cached_property
    def shared_key(self) -> tuple[Any, ...]:
        # how a template begins may depend on what the message begins with
        return (*self._key(self.parts[: self.shared]), type(self.parts[0]))

    @staticmethod
    def _key(parts: tuple[str | Picture, ...]) -> tuple[str | bytes, ...]:
        return tuple(part if isinstance(part, str) else part.key for part in parts)


@dataclass(frozen=True)
class Segment:
    """Model inputs of a piece of one question.

    Attributes:
        ids: int64 [1, L].
        extra: what else the processor made (pixel values, grids, token types), without padding.
    """

    ids: torch.Tensor
    extra: Mapping[str, torch.Tensor]

    @property
    def length(self) -> int:
        return self.ids.shape[1]


class Chat:
    """Turns questions into the two segments before and behind the end of what is shared.

    Args:
        processor: tokenizer and image processor of one model.
    """

    def __init__(self, processor: Any):
        self.processor = processor
        self.placeholder: str = getattr(processor, 'image_token', '<image>')
        images = processor.image_processor
        # one view an image, instead of a view and its tiles
        names = ('do_image_splitting', 'crop_to_patches')
        self._options = {name: False for name in names if getattr(images, name, None) is not None}

    def segments(self, question: Question) -> tuple[Segment | None, Segment]:
        """The shared beginning (None: nothing is shared) and the rest.

        Raises RewardModelError for a text that holds a placeholder of an image.
        """
        before, behind = self._written(question)
        pictures = [[p.pixels for p in half if isinstance(p, Picture)] for half in self._halves(question)]
        first = self._segment(before, pictures[0]) if before else None
        return first, self._segment(behind, pictures[1])

    @staticmethod
    def _halves(question: Question) -> tuple[tuple[str | Picture, ...], tuple[str | Picture, ...]]:
        return question.parts[: question.shared], question.parts[question.shared :]

    def _written(self, question: Question) -> tuple[str, str]:
        content: list[dict[str, str]] = []
        for place, part in enumerate(question.parts):
            if isinstance(part, str) and (self.placeholder in part or _MARK in part):
                raise RewardModelError(f'{part!r} contains what stands for an image or a mark; reword it')
            mark = _MARK if 0 < place == question.shared else ''
            if isinstance(part, str):
                content.append({'type': 'text', 'text': mark + part})
            else:
                if mark:
                    content.append({'type': 'text', 'text': mark})
                content.append({'type': 'image'})
        if getattr(self.processor, 'chat_template', None):
            message = [{'role': 'user', 'content': content}]
            text = self.processor.apply_chat_template(message, add_generation_prompt=True, tokenize=False)
        else:
            text = ''.join(c.get('text', self.placeholder) for c in content)
            bos = self.processor.tokenizer.bos_token or ''
            text = bos + text
        before, mark, behind = text.partition(_MARK)
        if not mark:
            before, behind = '', text
        return before, behind + question.answer

    def _segment(self, text: str, pictures: list[np.ndarray]) -> Segment:
        planes = [torch.from_numpy(np.ascontiguousarray(p.transpose(2, 0, 1))) for p in pictures]
        images = {'images': [planes]} if planes else {}
        # the template has written the tokens of the beginning already
        made = self.processor(
            text=[text],
            return_tensors='pt',
            add_special_tokens=False,
            **images,
            **(self._options if planes else {}),
        )
        tensors = {name: value for name, value in made.items() if isinstance(value, torch.Tensor)}
        ids = tensors.pop('input_ids')
        extra = {name: value for name, value in tensors.items() if name not in _NOT_FOR_THE_MODEL}
        return Segment(ids, extra)


def stacked(segments: list[Segment]) -> dict[str, torch.Tensor]:
    """Inputs of a batch of segments of equal length; pixel values and grids follow one another."""
    made = {'input_ids': torch.cat([s.ids for s in segments])}
    for name in segments[0].extra:
        made[name] = torch.cat([s.extra[name] for s in segments])
    return made


def joined(first: Segment | None, second: Segment, names: Collection[str]) -> Segment:
    """Both segments as one, with those of the inputs that are named."""
    extra: dict[str, torch.Tensor] = {}
    for name in names:
        values = [s.extra[name] for s in (first, second) if s is not None and name in s.extra]
        if values:
            extra[name] = torch.cat(values, dim=1 if name in _PER_TOKEN else 0)
    ids = second.ids if first is None else torch.cat([first.ids, second.ids], dim=1)
    return Segment(ids, extra)
