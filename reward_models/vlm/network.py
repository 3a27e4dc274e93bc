# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A vision-language model of Hugging Face that answers with probabilities of its next token.

Nothing is padded: questions whose beginnings and rests have equal lengths run together, so that a probability
does not depend on what else is in the batch. Keys and values of a shared beginning (the instruction and the
reference demonstration) are computed once and kept.
"""

from __future__ import annotations

import inspect
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.vlm.chat import Chat, Question, Segment, joined, stacked
from apprentice.robot.model_folders import fingerprint, require

Layers = list[tuple[torch.Tensor, torch.Tensor]]  # keys and values [B, heads, L, d] of each layer


@dataclass
class Prefix:
    """Keys and values of a shared beginning, batch of one."""

    segment: Segment
    layers: Layers


class Branches:
    """Sequences the model has read so far; each can be continued by tokens.

    Attributes:
        log_probs: float32 [N, vocabulary] of the next token.
    """

    def __init__(self, network: Network, log_probs: torch.Tensor, layers: Layers, positions: torch.Tensor):
        self._network, self._layers, self._positions = network, layers, positions
        self.log_probs = log_probs

    def __len__(self) -> int:
        return len(self.log_probs)

    def extend(self, rows: Sequence[int], tokens: Sequence[int]) -> Branches:
        """For each i the sequence rows[i] continued by the token tokens[i]."""
        network = self._network
        index = torch.as_tensor(list(rows), device=network.device)
        layers = [(keys[index], values[index]) for keys, values in self._layers]
        positions = self._positions[index]
        ids = torch.as_tensor(list(tokens), device=network.device)[:, None]
        return network.read({'input_ids': ids}, layers, positions[:, None], positions + 1)


class Network:
    """One model and its processor.

    Thread-safe. Made by :meth:`load`.

    Args:
        model: ``AutoModelForImageTextToText``.
        chat: its processor.
        batch: sequences that run together.
        prefixes: shared beginnings that are kept.
    """

    def __init__(self, model: Any, chat: Chat, batch: int, prefixes: int, version: str):
        self.model, self.chat, self.version = model.eval().requires_grad_(False), chat, version
        self.device = next(model.parameters()).device
        self.prefix_hits = self.prefix_misses = 0
        self._batch, self._keep = batch, prefixes
        self._prefixes: OrderedDict[Any, Prefix] = OrderedDict()
        self._names = inspect.signature(type(model).forward).parameters
        self._cache = 'cache' if 'cache' in self._names else 'past_key_values'
        # models with positions in two directions compute them for a whole sequence
        self._rope: Callable[..., Any] | None = getattr(model.base_model, 'get_rope_index', None)
        self._dynamic = require('transformers').DynamicCache
        self._lock = threading.Lock()

    @classmethod
    def load(cls, folder: Path, device: str, dtype: str, batch: int, prefixes: int) -> Network:
        """Load a folder with config.json, processor and safetensors; nothing is downloaded.

        Raises RewardModelError if it is not a complete vision-language model, ImportError for a missing
        package.
        """
        transformers = require('transformers')
        kind = dtype or ('bfloat16' if torch.device(device).type == 'cuda' else 'float32')
        try:
            model, report = transformers.AutoModelForImageTextToText.from_pretrained(
                str(folder),
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                dtype=getattr(torch, kind),
            )
            processor = transformers.AutoProcessor.from_pretrained(str(folder), local_files_only=True)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise RewardModelError(f'{folder} does not load as a vision-language model: {error}') from error
        lost = sorted(report['missing_keys'])
        if lost:  # transformers would go on with random numbers
            raise RewardModelError(
                f'{folder} lacks {len(lost)} weights of its own configuration, such as {lost[0]}; '
                'copy it again'
            )
        missing = [part for part in ('tokenizer', 'image_processor') if not hasattr(processor, part)]
        if missing:
            raise RewardModelError(
                f'{folder} lacks the files of {" and ".join(missing)}; copy it again, complete'
            )
        return cls(model.to(device), Chat(processor), batch, prefixes, fingerprint(folder)[:12])

    @property
    def tokenizer(self) -> Any:
        return self.chat.processor.tokenizer

    @torch.inference_mode()
    def ask(self, questions: Sequence[Question], reader: Callable[[Branches], np.ndarray]) -> np.ndarray:
        """What ``reader`` makes of the next tokens, [N, K] for N questions; equal ones are asked once."""
        with self._lock:
            unique = list({question.key: question for question in questions}.values())
            groups: dict[Any, list[tuple[Question, Prefix | None, Segment]]] = {}
            for question in unique:
                first, second = self.chat.segments(question)
                prefix = None if first is None else self._prefix(question.shared_key, first)
                sizes = {name: tuple(value.shape[1:]) for name, value in second.extra.items()}
                key = (0 if first is None else first.length, second.length, tuple(sorted(sizes.items())))
                groups.setdefault(key, []).append((question, prefix, second))
            answers: dict[Any, np.ndarray] = {}
            for group in groups.values():
                for start in range(0, len(group), self._batch):
                    part = group[start : start + self._batch]
                    rows = reader(self._begin(part))
                    answers.update(zip((question.key for question, _, _ in part), rows, strict=True))
            return np.stack([answers[question.key] for question in questions])

    def _prefix(self, key: Any, segment: Segment) -> Prefix:
        if key in self._prefixes:
            self._prefixes.move_to_end(key)
            self.prefix_hits += 1
            return self._prefixes[key]
        self.prefix_misses += 1
        branches = self._first([None], [segment], None)
        prefix = Prefix(segment, branches._layers)
        self._prefixes[key] = prefix
        while len(self._prefixes) > self._keep:
            self._prefixes.popitem(last=False)
        return prefix

    def _begin(self, part: list[tuple[Question, Prefix | None, Segment]]) -> Branches:
        layers: Layers | None = None
        prefixes = [prefix for _, prefix, _ in part if prefix is not None]
        if prefixes:
            every = zip(*(prefix.layers for prefix in prefixes), strict=True)
            layers = [(torch.cat([k for k, _ in of]), torch.cat([v for _, v in of])) for of in every]
        before = [prefix.segment if prefix else None for _, prefix, _ in part]
        return self._first(before, [second for _, _, second in part], layers)

    def _first(
        self, before: list[Segment | None], segments: list[Segment], layers: Layers | None
    ) -> Branches:
        inputs = {name: value.to(self.device) for name, value in stacked(segments).items()}
        new, old = segments[0].length, 0 if before[0] is None else before[0].length
        if self._rope is None:
            after = torch.full((len(segments),), old + new, device=self.device)
            return self.read(inputs, layers, None, after)
        names = inspect.signature(self._rope).parameters
        whole = [joined(a, b, names) for a, b in zip(before, segments, strict=True)]
        positions, _ = self._rope(**{name: value.to(self.device) for name, value in stacked(whole).items()})
        after = positions.amax(dim=(0, 2)) + 1
        return self.read(inputs, layers, positions[:, :, old:], after)

    def read(
        self,
        inputs: dict[str, torch.Tensor],
        layers: Layers | None,
        positions: torch.Tensor | None,
        after: torch.Tensor,
    ) -> Branches:
        """Run the model on a batch behind the keys and values it has already.

        Args:
            positions: int64 [3, B, L] of the new tokens, or [B, 1] equal in all directions; None: the
                model's own.
            after: int64 [B], position of the token behind them.
        """
        cache = self._dynamic()
        for number, (keys, values) in enumerate(layers or []):
            cache.update(keys, values, number)
        named = {name: value for name, value in inputs.items() if name in self._names}
        if self._rope is not None and positions is not None:
            named['position_ids'] = (
                positions if positions.ndim == 3 else positions.expand(3, *positions.shape)
            )
        out = self.model(**named, **{self._cache: cache}, use_cache=True, logits_to_keep=1)
        log_probs = out.logits[:, -1].float().log_softmax(dim=-1).cpu()
        kept = [(layer.keys, layer.values) for layer in cache.layers]
        return Branches(self, log_probs, kept, after)
