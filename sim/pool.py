# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Worlds spread over processes, for images: one renderer a processor, frames in shared memory.

Software GL scales with processes, not with threads: its rasteriser's own threads and its lock in one process
compete. So each worker owns a slice of the simulations, steps and renders them with one thread, and writes
what it sees into memory that the parent reads without a copy.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection, Pipe
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

from apprentice.robot.spec import RobotSpec
from apprentice.sim.randomize import Randomization
from apprentice.sim.scene import Scene
from apprentice.sim.shared_arrays import map_arrays, size_of
from apprentice.sim.task import Expert
from apprentice.sim.tasks import load_task
from apprentice.sim.world import make_worlds
from apprentice.sim.worlds import Snapshot


class WorkerDied(RuntimeError):
    """A worker process ended by itself; its simulations are lost, the others can be closed in order."""


class WorldPool:
    """The same worlds as :class:`~apprentice.sim.worlds.Worlds`, in ``workers`` processes.

    Equal to the bit to worlds in one process. Arrays that are returned are views of shared memory: they
    change with the next call.

    Args:
        workers: processes; 0 takes one for each processor, never more than ``count``.
        task: instead of the robot file's, by name.
        level: difficulty of the starts, see Task.start.
        options: passed to Worlds in the workers (``randomization``, ...).
    """

    def __init__(
        self,
        spec: RobotSpec,
        count: int,
        workers: int = 0,
        task: str = '',
        level: float = 1.0,
        **options: Any,
    ):
        _check(count, workers)
        self.spec = spec = spec.with_task(task)
        self.count, self._level = count, level
        workers = min(workers or os.cpu_count() or 1, count)
        bounds = np.linspace(0, count, workers + 1).round().astype(int)
        self._owned = [range(a, b) for a, b in itertools.pairwise(bounds)]
        self._memory = SharedMemory(create=True, size=size_of(spec, count))
        self._arrays = map_arrays(self._memory, spec, count)
        self.instructions = [''] * count
        self._workers: list[tuple[subprocess.Popen, Connection]] = []
        setup = {'spec': asdict(spec), 'count': count, 'memory': self._memory.name, 'level': level, **options}
        try:
            for owned in self._owned:
                self._workers.append(_start_worker())
                self._send(len(self._workers) - 1, ('setup', setup, owned.start, owned.stop))
            self._receive(range(workers))
        except BaseException:
            self.close()
            raise

    @property
    def level(self) -> float:
        """Difficulty of the starts from the next reset on, see Task.start."""
        return self._level

    @level.setter
    def level(self, level: float) -> None:
        for worker in range(len(self._workers)):
            self._send(worker, ('set_level', level))
        self._receive(range(len(self._workers)))
        self._level = level

    @property
    def max_duration_s(self) -> float:
        """An attempt that takes longer has failed."""
        return load_task(str(self.spec.simulator['task'])).max_duration_s

    @property
    def joints(self) -> np.ndarray:
        """Joint positions [N, dim]."""
        return self._arrays['joints']

    @property
    def velocities(self) -> np.ndarray:
        """Joint velocities [N, dim]."""
        return self._arrays['velocities']

    @property
    def failed(self) -> np.ndarray:
        """bool [N]: simulations that diverged and stand still."""
        return self._arrays['failed']

    def progress(self) -> np.ndarray:
        """Staged progress [N] in [0, 1]."""
        return self._arrays['progress']

    def success(self) -> np.ndarray:
        """bool [N]."""
        return self._arrays['success']

    def frames(self) -> dict[str, np.ndarray]:
        """The frames of the last call that rendered: name -> uint8 [N, H, W, 3]."""
        return {c.name: self._arrays[f'frames/{c.name}'] for c in self.spec.cameras}

    def reset(
        self, sims: Sequence[int], seeds: Sequence[int], instruction: str = '', render: bool = False
    ) -> list[str]:
        """See Worlds.reset; ``render`` also fills :meth:`frames`."""
        if not len(sims):
            return []
        seed_of = dict(zip(sims, seeds, strict=True))
        asked = self._share(sims)
        for worker, share in asked.items():
            self._send(worker, ('reset', share, [int(seed_of[sim]) for sim in share], instruction, render))
        for worker, told in zip(asked, self._receive(asked), strict=True):
            for sim, text in zip(asked[worker], told, strict=True):
                self.instructions[sim] = text
        return [self.instructions[sim] for sim in sims]

    def step(
        self,
        targets: np.ndarray,
        duration_s: float,
        sims: Sequence[int] | None = None,
        render: bool = False,
    ) -> None:
        """See Worlds.step; ``render`` also fills :meth:`frames`, in the same message."""
        chosen = range(self.count) if sims is None else sims
        if not len(chosen):
            return
        if not np.all(np.isfinite(targets)):
            raise ValueError(f'joint target is not finite: {targets}')
        self._arrays['targets'][list(chosen)] = targets
        asked = self._share(chosen)
        for worker, share in asked.items():
            self._send(worker, ('step', share, duration_s, render))
        self._receive(asked)

    def render(self, sims: Sequence[int] | None = None) -> dict[str, np.ndarray]:
        """Frames of now: name -> uint8 [len(sims), H, W, 3]."""
        chosen = range(self.count) if sims is None else sims
        asked = self._share(chosen)
        for worker, share in asked.items():
            self._send(worker, ('render', share))
        self._receive(asked)
        return {name: frames[list(chosen)] for name, frames in self.frames().items()}

    def expert(self) -> Expert:
        """A demonstrator for this robot and task."""
        scene = Scene(self.spec)
        return scene.task.expert(scene)

    def objects(self, sim: int = 0) -> dict[str, np.ndarray]:
        """Poses [7] of the objects of one simulation."""
        return self._ask(sim, ('objects', sim))

    def save(self, sim: int) -> Snapshot:
        """See Worlds.save."""
        return self._ask(sim, ('save', sim))

    def restore(self, sim: int, snapshot: Snapshot, render: bool = False) -> None:
        """See Worlds.restore; ``render`` also fills :meth:`frames`."""
        self._ask(sim, ('restore', sim, snapshot, render))
        self.instructions[sim] = snapshot.instruction

    def _ask(self, sim: int, message: tuple) -> Any:
        worker = next(i for i, owned in enumerate(self._owned) if sim in owned)
        self._send(worker, message)
        return self._receive([worker])[0]

    def _share(self, sims: Sequence[int]) -> dict[int, list[int]]:
        shares = {i: [int(s) for s in sims if s in owned] for i, owned in enumerate(self._owned)}
        return {worker: share for worker, share in shares.items() if share}

    def _send(self, worker: int, message: tuple) -> None:
        try:
            self._workers[worker][1].send(message)
        except OSError:
            raise self._died(worker) from None

    def _receive(self, workers: Any) -> list[Any]:
        """One answer of each worker, in order. All are read before an error of one is raised."""
        answers = []
        for worker in workers:
            try:
                answers.append(self._workers[worker][1].recv())
            except (EOFError, OSError):
                answers.append(self._died(worker))
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def _died(self, worker: int) -> WorkerDied:
        process, owned = self._workers[worker][0], self._owned[worker]
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
        return WorkerDied(
            f'the worker of simulations {owned.start} to {owned.stop - 1} ended with code '
            f'{process.returncode}; its last words are above. If it ran out of memory, use fewer '
            'simulations or smaller cameras'
        )

    def __enter__(self) -> WorldPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers and free the shared memory."""
        for process, connection in self._workers:
            connection.close()  # the worker reads the end of its input and leaves
            try:
                process.wait(5.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._workers.clear()
        self._arrays.clear()
        with contextlib.suppress(FileNotFoundError):
            self._memory.unlink()
        with contextlib.suppress(BufferError):  # a caller still holds a view; the pages go with it
            self._memory.close()


def _start_worker() -> tuple[subprocess.Popen, Connection]:
    # not multiprocessing: it would import the caller's main module again
    ours, theirs = Pipe()
    environment = {**os.environ, 'LP_NUM_THREADS': '0', 'OMP_NUM_THREADS': '1'}
    environment['PYTHONPATH'] = os.pathsep.join(path for path in sys.path if path)
    code = 'from apprentice.sim.pool_worker import main; main()'
    process = subprocess.Popen(
        [sys.executable, '-c', code, str(theirs.fileno())], pass_fds=[theirs.fileno()], env=environment
    )
    theirs.close()
    return process, ours


@contextlib.contextmanager
def open_worlds(spec: RobotSpec, wanted: int, workers: int = 0, **options: Any) -> Iterator[Any]:
    """Simulations for ``wanted`` episodes, closed at the end.

    A pool with two simulations a worker, so that none waits while another one ends; one world in this
    process for a robot whose ``simulator.world`` is not ours. Raises ValueError for options that such a
    world does not have.
    """
    _check(wanted, workers)
    workers = workers or os.cpu_count() or 1
    if 'world' in spec.simulator:
        _refuse({'task': spec.simulator.get('task'), **options}, spec)
        worlds = make_worlds(spec, 1)
    else:
        worlds = WorldPool(spec, min(wanted, 2 * workers), workers, **options)
    try:
        yield worlds
    finally:
        worlds.close()


def _check(count: int, workers: int) -> None:
    if count < 1:
        raise ValueError(f'{count} simulations cannot be made; ask for 1 or more')
    if workers < 0:
        raise ValueError(f'{workers} workers; use 1 or more, or 0 for one a processor')


def _refuse(options: dict[str, Any], spec: RobotSpec) -> None:
    """Raise ValueError for options that would change something; a foreign world takes none."""
    plain = {
        'randomization': lambda value: not Randomization.of(value).active,
        'level': lambda value: value == 1,
    }
    flags = {'task': ' (--sim-task)', 'randomization': ' (--randomization)'}
    for name, value in options.items():
        if value not in (None, '') and not plain.get(name, lambda _: False)(value):
            raise ValueError(
                f'robot {spec.name!r} brings its own simulation (simulator.world); {name} {value!r} cannot '
                f'be put into it; leave out {name}{flags.get(name, "")}'
            )
