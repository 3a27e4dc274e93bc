# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Rollouts and sweeps through Ray: an optional extra for large simulation, never in the path of control.

Ray is used as it comes: actors, an actor pool that gives the next block of starts to whoever is free, the
object store for weights. Without an address it is started on this machine, on the loopback alone, without
dashboard and without usage statistics.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from apprentice.learning.rl.engine import Lane, LaneSetup, ordered, split
from apprentice.learning.rl.episodes import MacroEpisode
from apprentice.learning.rl.on_policy import Actor

_LOOPBACK = 'RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER'


def require_ray() -> None:
    """Raise ImportError that names the extra where Ray is not installed; does not import it."""
    if importlib.util.find_spec('ray') is None:
        raise ImportError("Ray is not installed; pip install 'apprentice[ray]', or use --engine local")


def start(workers: int, address: str = '') -> Any:
    """Ray, started here for ``workers`` processors, or joined at ``address`` where it runs already.

    Raises ImportError that names the extra where Ray is not installed.
    """
    require_ray()
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
    os.environ.setdefault('RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO', '0')
    if not address:
        _stay_on_the_loopback()
    import ray

    if address:
        if not ray.is_initialized():
            ray.init(address=address, logging_level=logging.WARNING)
        return ray
    if ray.is_initialized():
        return ray
    ray.init(
        num_cpus=workers,
        num_gpus=0,
        include_dashboard=False,
        _node_ip_address='127.0.0.1',
        object_store_memory=512 * 2**20,
        logging_level=logging.WARNING,
        runtime_env={'env_vars': {'OMP_NUM_THREADS': '1', 'LP_NUM_THREADS': '0'}},
    )
    return ray


def _stay_on_the_loopback() -> None:
    # Ray turns 127.0.0.1 into the address of the network card, and then listens everywhere, unless it takes
    # this for a computer that cannot be part of a cluster; it reads that once, when it is imported
    if os.environ.get(_LOOPBACK) != '0' and 'ray' in sys.modules:
        raise RuntimeError(f'Ray was imported before; set {_LOOPBACK}=0 first, to keep it on the loopback')
    os.environ[_LOOPBACK] = '0'


class _Worker:
    """A lane as a Ray actor."""

    def __init__(self, setup: LaneSetup):
        import torch

        torch.set_num_threads(1)
        self._lane = Lane(setup)

    def collect(self, weights: dict[str, Any], seeds: list[int], noise_seed: int) -> list[MacroEpisode]:
        self._lane.actor.load_state_dict(weights)
        return self._lane.collect(seeds, noise_seed)

    def close(self) -> None:
        self._lane.close()


class RayEngine:
    """Lanes as Ray actors, here or on the machines of a cluster.

    Args:
        workers: actors, one processor each.
        address: of a running cluster, ``auto`` or host:port; empty: started here.
    """

    def __init__(self, setup: LaneSetup, workers: int = 1, address: str = ''):
        ray = self._ray = start(workers, address)
        self._started = not address
        remote = ray.remote(num_cpus=1, max_restarts=0)(_Worker)
        self._actors = [remote.remote(setup) for _ in range(workers)]
        from ray.util import ActorPool

        self._pool = ActorPool(self._actors)
        self._block = setup.together

    def collect(self, actor: Actor, seeds: Sequence[int], noise_seed: int = 0) -> list[MacroEpisode]:
        """See :class:`.engine.Engine`. Raises RuntimeError when an actor died."""
        blocks = max(len(self._actors), len(seeds) // self._block)
        weights = self._ray.put({name: tensor.cpu() for name, tensor in actor.state_dict().items()})
        work = [share for share in split(seeds, blocks) if share]
        try:
            found = self._pool.map_unordered(
                lambda worker, share: worker.collect.remote(weights, share, noise_seed), work
            )
            return ordered(list(found))
        except self._ray.exceptions.RayError as error:
            raise RuntimeError(
                f'a rollout worker of Ray failed ({error}); start again, training goes on from its snapshot'
            ) from error

    def close(self) -> None:
        """End the actors, and Ray if it was started here."""
        for worker in self._actors:
            self._ray.kill(worker)
        if self._started:
            self._ray.shutdown()


def sweep(
    function: Callable[[Any], Any], settings: Sequence[Any], workers: int, address: str = ''
) -> list[Any]:
    """``function`` of each of ``settings``, one processor each, as many at once as there are; in their order.

    One that fails gives its exception as result, the others go on.
    """
    ray = start(workers, address)
    try:
        remote = ray.remote(num_cpus=1, max_retries=0)(function)
        pending = [remote.remote(each) for each in settings]
        results: list[Any] = []
        for reference in pending:
            try:
                results.append(ray.get(reference))
            except ray.exceptions.RayError as error:
                results.append(error)
        return results
    finally:
        if not address:
            ray.shutdown()
