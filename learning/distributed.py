# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""One training in several processes, as torchrun starts them, one for each GPU.

Plain PyTorch: with DDP each process has the whole model, with FSDP (``fully_shard``) a share of every layer.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import inspect
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import torch
import torch.distributed as dist
from torch import nn

Parallel = Literal['ddp', 'fsdp']
Precision = Literal['fp32', 'bf16']
_CPU = torch.device('cpu')
_PATIENCE = datetime.timedelta(days=1)  # of those who wait while the first process reads the episodes
_SAID = 512  # bytes that a process may say to all


class RanksApart(ConnectionError):
    """Processes that train together lost each other, or did different things: none of them can go on."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: its number; the first one, 0, writes all files.
        world: how many there are.
        device: of its share of the work.
        slow: the group in which they wait for each other for long; None: they are not connected.
    """

    rank: int = 0
    world: int = 1
    device: torch.device = _CPU
    slow: Any = None

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, size: int) -> slice:
        """This process' rows of a batch of ``size``."""
        return slice(self.rank * size // self.world, (self.rank + 1) * size // self.world)

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """The mean over all processes, in place, in one exchange; all of one type."""
        if self.world > 1:
            flat = torch.cat([tensor.flatten() for tensor in tensors])
            parts = (self.total(flat) / self.world).split([tensor.numel() for tensor in tensors])
            for tensor, part in zip(tensors, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            dist.barrier(group=self.slow)

    def tell(self, value: Any = None) -> Any:
        """What the first process says, plain data of JSON, in all of them. Raises RanksApart."""
        if self.world == 1:
            return value
        data = bytearray(json.dumps(value).encode()) if self.first else bytearray()
        size = torch.tensor([len(data)])
        with _lost():
            dist.broadcast(size, 0, group=self.slow)
            content = torch.frombuffer(data or bytearray(int(size)), dtype=torch.uint8)
            dist.broadcast(content, 0, group=self.slow)
        return json.loads(content.numpy().tobytes())

    def say(self, text: str) -> list[str]:
        """What each process says, by rank, in all of them; cut after 512 bytes. Raises RanksApart."""
        if self.world == 1:
            return [text]
        mine = torch.frombuffer(bytearray(text.encode()[:_SAID].ljust(_SAID, b'\0')), dtype=torch.uint8)
        said = [torch.empty_like(mine) for _ in range(self.world)]
        with _lost():
            dist.all_gather(said, mine, group=self.slow)
        return [each.numpy().tobytes().rstrip(b'\0').decode(errors='ignore') for each in said]

    def alike(self, text: str) -> bool:
        """Whether all processes have the same text. Raises RanksApart."""
        return len({*self.say(hashlib.sha256(text.encode()).hexdigest())}) == 1


@contextlib.contextmanager
def _lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        said = str(error).partition('. ')[0]
        raise RanksApart(f'another process of this training has ended or hangs ({said})') from error


@contextlib.contextmanager
def join(device: str | None = 'auto', patience: datetime.timedelta = _PATIENCE) -> Iterator[Ranks]:
    """The processes that torchrun started, connected while it lasts; without torchrun this process alone.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or, without torchrun, one GPU such as ``cuda:1``; None: that of
            the first process.
        patience: of those who wait for the first process.

    Raises ValueError for a device that is not there.
    """
    if int(os.environ.get('WORLD_SIZE', '1')) == 1:
        yield Ranks(device=find_device(device or 'auto'))
        return
    store, rank, world = next(dist.rendezvous('env://'))
    local_rank = int(os.environ.get('LOCAL_RANK', '0'))
    with connect(store, rank, world, device, patience, local_rank) as ranks:
        yield ranks


@contextlib.contextmanager
def connect(
    store: dist.Store,
    rank: int,
    world: int,
    device: str | None,
    patience: datetime.timedelta = _PATIENCE,
    local_rank: int | None = None,
) -> Iterator[Ranks]:
    """The processes that meet at ``store``, connected while it lasts; the rest as in :func:`join`.

    Args:
        local_rank: number on its machine; default: ``rank``.
    """
    if device is None:
        device = store.get('device').decode()
    elif rank == 0:
        store.set('device', device)
    chosen = find_device(device, rank if local_rank is None else local_rank)
    place: dict[str, Any] = {'store': dist.PrefixStore('group', store), 'rank': rank, 'world_size': world}
    if chosen.type == 'cuda':
        torch.cuda.set_device(chosen)
        dist.init_process_group('nccl', device_id=chosen, **place)
    else:
        dist.init_process_group('gloo', **place)
    yield Ranks(rank, world, chosen, dist.new_group(backend='gloo', timeout=patience))
    # not after an error: the others may not answer any more
    dist.destroy_process_group()


def leave(code: int = 0) -> NoReturn:
    """End this process, one of several, when :func:`join` is over; what is written is flushed.

    A thread of torch's process groups can abort an interpreter that ends by itself, after all is done
    ("terminate called without an active exception": 6 of 60 runs of two processes on a loaded machine).
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def find_device(name: str, local_rank: int | None = None) -> torch.device:
    """The device of a setting, for one of several processes of this machine where ``local_rank`` is given.

    Raises ValueError for one that is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == 'auto':
        name = 'cuda' if count else 'cpu'
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f'device is {name!r}; use auto, cpu, cuda or cuda:0') from None
    if device.type == 'cpu':
        return device
    if device.type != 'cuda':
        raise ValueError(f'device is {name!r}; use auto, cpu, cuda or cuda:0')
    index = device.index or 0
    if local_rank is not None:
        if device.index is not None:
            raise ValueError(f'device is {name!r}, but each process takes a GPU of its own; use device=cuda')
        index = local_rank
    if index >= count:
        raise ValueError(
            f'device {name!r} (GPU {index}) is not there, PyTorch sees {count} GPUs; use device=cpu, fewer '
            'processes, or a PyTorch that was built for this GPU'
        )
    return torch.device('cuda', index)


def spread(objective: nn.Module, ranks: Ranks) -> nn.Module:
    """A loss module whose gradients are the mean over the processes (DDP)."""
    if ranks.world == 1:
        return objective
    wrapper = nn.parallel.DistributedDataParallel
    known = inspect.signature(wrapper).parameters
    # buffers are constants here
    without_buffers = 'forward_sync_buffers' if 'forward_sync_buffers' in known else 'broadcast_buffers'
    options: dict[str, Any] = {without_buffers: False, 'gradient_as_bucket_view': True}
    # layers that only feed a summary, which flow matching does not read, get no gradient
    return wrapper(objective, find_unused_parameters=True, **options)


def shard(trained: nn.Module, frozen: nn.Module, ranks: Ranks, precision: Precision) -> None:
    """Leave each process a share of every parameter of two loss modules, in place (FSDP).

    Parameters are put together layer by layer when they are needed, and taken apart after the backward pass.
    Optimizers must be made after this.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(ranks.device.type, (ranks.world,))
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if precision == 'bf16' else None,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,  # autocast does, and knows which operations stay in float32
    )
    for objective in (trained, frozen):
        # The expert's gradient enters a layer through its keys and values, which need not be among its
        # outputs: FSDP would not notice in time that the layer must be put together again. So the layers stay
        # together from forward to backward pass.
        options: dict[str, Any] = {'mp_policy': policy, 'reshard_after_forward': objective is frozen}
        for block in _blocks(objective):
            fully_shard(block, mesh=mesh, **options)
        fully_shard(objective, mesh=mesh, **options)
        for module in objective.modules():
            if isinstance(module, FSDPModule):
                module.set_force_sum_reduction_for_comms(True)  # gloo knows no mean


def _blocks(module: nn.Module) -> list[nn.Module]:
    """The layers of transformers: what is in lists, outermost ones, and consists of parts."""
    found = []
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            found += [layer for layer in child if any(True for _ in layer.children())]
        else:
            found += _blocks(child)
    return found


def without_exchange(objective: nn.Module) -> contextlib.AbstractContextManager[Any]:
    """While it lasts gradients are summed up here and not exchanged; of more use to DDP than to FSDP, which
    would keep them whole.
    """
    if isinstance(objective, nn.parallel.DistributedDataParallel):
        return objective.no_sync()
    return contextlib.nullcontext()


def whole(tensor: Any) -> torch.Tensor:
    """A parameter put together from its shares; all processes must call it, in the same order."""
    return tensor.full_tensor() if hasattr(tensor, 'full_tensor') else tensor


def as_shared(tensor: torch.Tensor, like: Any) -> torch.Tensor:
    """A whole tensor, the same in all processes, cut as ``like`` is."""
    if not hasattr(like, 'full_tensor'):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = like.device_mesh, like.placements
    return distribute_tensor(tensor.to(like.device), mesh, placements, src_data_rank=None)
