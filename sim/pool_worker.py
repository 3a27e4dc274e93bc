# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A worker process of :class:`~apprentice.sim.pool.WorldPool`: its slice of the worlds, one thread."""

from __future__ import annotations

import sys
import traceback
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Any

from apprentice.robot.spec import RobotSpec
from apprentice.sim.shared_arrays import map_arrays
from apprentice.sim.worlds import Worlds

# errors a caller can do something about come through as they are
_PLAIN = (ValueError, ImportError, OSError)


class Worker:
    """Worlds ``first`` to ``last - 1`` of a pool; answers one message at a time."""

    def __init__(self, setup: dict[str, Any], first: int, last: int):
        setup = dict(setup)
        spec = RobotSpec.from_dict(setup.pop('spec'))
        count, name = setup.pop('count'), setup.pop('memory')
        self._memory = SharedMemory(name)
        # the parent owns the block; without this the tracker would remove it when a worker ends
        resource_tracker.unregister(self._memory._name, 'shared_memory')  # type: ignore[attr-defined]
        arrays = map_arrays(self._memory, spec, count)
        self._mine = {key: array[first:last] for key, array in arrays.items()}
        self._first = first
        self._worlds = Worlds(spec, last - first, 1, 'auto', **setup)
        self._cameras = [camera.name for camera in spec.cameras]

    def _local(self, sims: list[int]) -> list[int]:
        return [sim - self._first for sim in sims]

    def reset(self, sims: list[int], seeds: list[int], instruction: str, render: bool) -> list[str]:
        told = self._worlds.reset(self._local(sims), seeds, instruction)
        self._report(sims, render)
        return told

    def step(self, sims: list[int], duration_s: float, render: bool) -> None:
        local = self._local(sims)
        self._worlds.step(self._mine['targets'][local], duration_s, local)
        self._report(sims, render)

    def render(self, sims: list[int]) -> None:
        local = self._local(sims)
        frames = {name: self._mine[f'frames/{name}'] for name in self._cameras}
        if local == list(range(len(self._mine['joints']))):
            self._worlds.render(local, frames)
            return
        for sim in local:
            self._worlds.render([sim], {name: images[sim : sim + 1] for name, images in frames.items()})

    def objects(self, sim: int) -> Any:
        return self._worlds.objects(sim - self._first)

    def save(self, sim: int) -> Any:
        return self._worlds.save(sim - self._first)

    def restore(self, sim: int, snapshot: Any, render: bool) -> None:
        self._worlds.restore(sim - self._first, snapshot)
        self._report([sim], render)

    def set_level(self, level: float) -> None:
        self._worlds.level = level

    def _report(self, sims: list[int], render: bool) -> None:
        worlds, mine = self._worlds, self._mine
        mine['joints'][:] = worlds.joints
        mine['velocities'][:] = worlds.view.velocities
        mine['progress'][:] = worlds.progress()
        mine['success'][:] = worlds.success()
        mine['failed'][:] = worlds.failed
        if render:
            self.render(sims)

    def close(self) -> None:
        self._worlds.close()
        self._mine.clear()
        self._memory.close()


def main() -> None:
    """Serve the connection whose file descriptor is the first argument, until it is closed."""
    connection = Connection(int(sys.argv[1]))
    worker: Worker | None = None
    while True:
        try:
            action, *arguments = connection.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            break
        answer: Any = None
        try:
            if action == 'setup':
                worker = Worker(*arguments)
            else:
                answer = getattr(worker, action)(*arguments)
        except _PLAIN as error:
            answer = error
        except KeyboardInterrupt:
            break
        except Exception:
            answer = RuntimeError(f'in a worker of the pool:\n{traceback.format_exc()}')
        try:
            connection.send(answer)
        except OSError:
            break
    if worker is not None:
        worker.close()
