# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Gradient steps of an algorithm: on a device, over parts of a batch, over processes, in bfloat16."""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Iterator

import numpy as np
import torch

from apprentice.learning.dataset import Chunks
from apprentice.learning.distributed import (
    Parallel,
    Precision,
    Ranks,
    shard,
    spread,
    whole,
    without_exchange,
)
from apprentice.learning.loader import Loaded
from apprentice.learning.weighted_flow import FlowObjective, WeightedFlow, WeightedFlowConfig
from apprentice.policies.policy import FlowPolicy

_HELD_OUT = 1024  # samples of a validation, at most
_VALIDATION = 1  # of the seeds drawn from the seed: the noise of every validation


class Trainer:
    """Takes the steps of :class:`WeightedFlow` so that they are the same however they are cut.

    What is random is drawn for the whole batch in every process, each uses its rows of it, and every part of
    the loss is divided by the weight of the whole batch: a step on one process and a step on many differ by
    rounding only.

    Args:
        policy: in training mode, on the CPU.
        accumulate: parts that a share of a batch is cut into.
    """

    def __init__(
        self,
        policy: FlowPolicy,
        config: WeightedFlowConfig,
        seed: int = 0,
        ranks: Ranks | None = None,
        parallel: Parallel = 'ddp',
        precision: Precision = 'fp32',
        accumulate: int = 1,
    ):
        self.ranks, self.accumulate, self._seed = ranks or Ranks(), accumulate, seed
        if config.batch < self.ranks.world * accumulate:
            raise ValueError(
                f'a batch of {config.batch} samples cannot be cut into {self.ranks.world} processes times '
                f'{accumulate} parts; give a larger algorithm.batch'
            )
        self._bf16 = precision == 'bf16'
        self.sharded = parallel == 'fsdp' and self.ranks.world > 1
        self._skeleton: FlowPolicy | None = None
        if not self.sharded:
            policy.to(self.ranks.device)
        self.algorithm = WeightedFlow(policy, config, seed)
        self._average = FlowObjective(self.algorithm.averaged, config)
        if self.sharded:
            self._skeleton = copy.deepcopy(self.algorithm.averaged).to('meta')
            shard(self.algorithm.objective, self._average, self.ranks, precision)
            self.algorithm.optimizer = self.algorithm.make_optimizer()
            self._objective: torch.nn.Module = self.algorithm.objective
        else:
            self._objective = spread(self.algorithm.objective, self.ranks)

    def step(self, loaded: Loaded, number: int, rate: float) -> dict[str, float]:
        """The gradient step ``number`` at ``rate`` times the learning rate; returns metrics."""
        algorithm, ranks = self.algorithm, self.ranks
        # for layers that drop activations; set by the step, so that a resumed run draws the same
        torch.manual_seed(_seed(self._seed, number, ranks.rank))
        mine = ranks.share(loaded.size)
        draws = algorithm.draw(loaded.size, loaded.batch.inputs.images)
        draws = draws.each(lambda tensor: tensor[mine].to(ranks.device, non_blocking=True))
        batch = loaded.batch.to(ranks.device)
        cut = self.accumulate * ranks.world > 1
        total = loaded.total.to(ranks.device) if cut else None
        algorithm.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, torch.Tensor] = {}
        for rows in _parts(len(batch), self.accumulate):
            part = batch.part(rows) if cut else batch
            drawn = draws.each(lambda tensor, rows=rows: tensor[rows]) if cut else draws  # type: ignore[misc]
            last = rows.stop == len(batch)
            with contextlib.nullcontext() if last else without_exchange(self._objective):
                with self._autocast():
                    losses = self._objective(part, drawn, total)
                loss = losses['loss']
                # the exchange takes the mean over processes, the loss is their sum
                (loss * ranks.world if ranks.world > 1 else loss).backward()
            for name, value in losses.items():
                sums[name] = sums[name] + value.detach() if name in sums else value.detach()
        values = ranks.total(torch.stack(list(sums.values())).float()).tolist()
        metrics = dict(zip(sums, values))
        metrics |= algorithm.apply(metrics['loss'], rate)
        return {**metrics, 'learning_rate': algorithm.config.learning_rate * rate}

    @torch.no_grad()
    def validate(self, chunks: Chunks, rows: np.ndarray) -> dict[str, float]:
        """Losses of the averaged weights on the samples ``rows``, with the same noise each time."""
        ranks, size = self.ranks, self.algorithm.config.batch
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), _HELD_OUT)).astype(int)]
        rows = np.resize(rows, max(len(rows), ranks.world))  # something for every process
        generator = torch.Generator().manual_seed(_seed(self._seed, _VALIDATION))
        total = torch.from_numpy(chunks.weight[rows]).sum().to(ranks.device)
        sums: dict[str, torch.Tensor] = {}
        for index in np.array_split(rows, max(1, len(rows) // size)):
            mine = ranks.share(len(index))
            draws = self.algorithm.draw(len(index), generator=generator)
            draws = draws.each(lambda tensor, mine=mine: tensor[mine].to(ranks.device))  # type: ignore[misc]
            batch = chunks.select(index[mine]).tensors().to(ranks.device)
            with self._autocast():
                losses = self._average(batch, draws, total)
            for name, value in losses.items():
                sums[name] = sums[name] + value if name in sums else value
        values = ranks.total(torch.stack(list(sums.values())).float()).tolist()
        return {f'validation_{name}': value for name, value in zip(sums, values)}

    def result(self) -> FlowPolicy:
        """The averaged policy, for a checkpoint; every process must call it.

        With FSDP it has weights and nothing else: save it and load it again to use it.
        """
        averaged = self.algorithm.averaged
        if self._skeleton is None:
            return averaged
        tensors = {}
        for name, tensor in averaged.state_dict().items():
            together = whole(tensor)
            tensors[name] = together.cpu() if self.ranks.first else torch.empty(0)
        if self.ranks.first:
            self._skeleton.load_state_dict(tensors, assign=True)
        return self._skeleton

    @contextlib.contextmanager
    def _autocast(self) -> Iterator[None]:
        with torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self._bf16):
            yield


def _parts(size: int, count: int) -> list[slice]:
    ends = [i * size // count for i in range(count + 1)]
    return [slice(first, last) for first, last in itertools.pairwise(ends)]


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint32)[0])
