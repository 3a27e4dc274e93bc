# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Simulation without images: Worlds beside raw MuJoCo on the same model, EnvPool and gym-hil.

An environment step of ours is a command, the physics, progress and success of every simulation. How much
simulated time it covers differs between systems, so each case says what it makes equal. Raw MuJoCo steps the
same compiled model from the same starts under the same commands and does nothing else: the limit. Resets
count where the peer's do (EnvPool, gym-hil) and not where it has none.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mujoco
import numpy as np

from apprentice.bench.measure import numbers, timed
from apprentice.bench.report import cores
from apprentice.bench.runner import LIMIT, OURS, SHIPPED, TUNED, Case, Contestant, Ratio
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.sim.physics import batch
from apprentice.sim.worlds import Worlds

HERE = 'apprentice.bench.sim_state'
EPISODE_S = 3.0  # as PandaPickCube's 150 steps of 20 ms
RESETS = 'Worlds with resets'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--count', type=int, default=64, help='simulations at once (default 64)')
    parser.add_argument('--threads', type=int, default=cores(), help='default: one a processor')


def cases(args: argparse.Namespace) -> list[Case]:
    spec = RobotSpec.load(share('robots', 'sim_arm.yaml'))
    control = round(1 / spec.control_hz / 0.0025)

    def ours(substeps: int, resets: bool) -> Contestant:
        parameters = _parameters(args, substeps)
        name = RESETS if resets else 'Worlds'
        return Contestant(name, OURS, f'{HERE}:worlds', parameters=parameters | {'resets': resets})

    def limits(substeps: int) -> list[Contestant]:
        ways = [('mujoco.batch', 'raw_batch')] if batch.available() else []
        ways += [('mujoco.rollout', 'raw_rollout'), ('mj_step in threads', 'raw_threads')]
        parameters = _parameters(args, substeps)
        return [Contestant(name, LIMIT, f'{HERE}:{way}', parameters=parameters) for name, way in ways]

    def envpool(threads: int) -> Contestant:
        kind = TUNED if threads else SHIPPED
        name = f'EnvPool PandaPickCube, 16 at once, {threads or 1} thread{"s" * (threads > 1)}'
        parameters = {'count': 16, 'seconds': args.seconds, 'threads': threads}
        return Contestant(name, kind, peer='envpool', parameters=parameters)

    def gym_hil(processes: int) -> Contestant:
        kind = SHIPPED if processes == 1 else TUNED
        name = f'gym-hil PickCube, {processes} process{"es" * (processes > 1)}'
        parameters = {'seconds': 2 * args.seconds, 'processes': processes}
        return Contestant(name, kind, peer='gym_hil', parameters=parameters)

    first = 'mujoco.batch' if batch.available() else 'mj_step in threads'
    raw = Ratio('Worlds', first, 0.95)
    pools = [envpool(0), envpool(args.threads)]
    slow = [gym_hil(1), gym_hil(args.threads)] if args.threads > 1 else [gym_hil(1)]
    return [
        Case(
            f'control step of {1000 / spec.control_hz:g} ms',
            'env steps/s',
            [*limits(control), ours(control, False)],
            [raw],
            note=f'{control} time steps of 2.5 ms, the rate of the robot file',
        ),
        Case(
            '4 time steps a step',
            'env steps/s',
            [limits(4)[0], *pools, ours(4, False), ours(4, True)],
            [Ratio('Worlds', first), *(Ratio(RESETS, pool.name, 1.0) for pool in pools)],
            note='as much physics: 10 ms of ours, 20 ms of EnvPool',
        ),
        Case(
            '20 ms a step',
            'env steps/s',
            [limits(8)[0], *pools, ours(8, False), ours(8, True)],
            [raw, *(Ratio(RESETS, pool.name) for pool in pools)],
            note='as much simulated time: 8 time steps of ours, 4 of EnvPool',
        ),
        Case(
            '100 ms a step',
            'env steps/s',
            [*slow, ours(40, True)],
            [Ratio(RESETS, slow[0].name, 20.0), *(Ratio(RESETS, each.name) for each in slow[1:])],
            note='as much simulated time: 40 time steps of ours, 50 of gym-hil (controller in Python)',
        ),
    ]


def _parameters(args: argparse.Namespace, substeps: int) -> dict[str, Any]:
    return {'count': args.count, 'threads': args.threads, 'substeps': substeps, 'seconds': args.seconds}


class Setup:
    """Worlds at seeded starts, and commands that move the arms and fingers at random, one every step."""

    def __init__(self, count: int, threads: int, substeps: int):
        self.spec = RobotSpec.load(share('robots', 'sim_arm.yaml'))
        self.worlds = Worlds(self.spec, count, threads)
        self.worlds.reset(range(count), range(count))
        self.model = self.worlds.scene.model
        self.starts = [self.worlds.save(sim) for sim in range(count)]
        self.substeps, self.period = substeps, substeps * self.model.opt.timestep
        self.steps = max(1, round(EPISODE_S / self.period))
        rng, spec = np.random.default_rng(0), self.spec
        reach = spec.vector('velocity') * self.period
        moves = rng.uniform(-1, 1, (self.steps, count, spec.dim)) * reach
        targets = spec.vector('home') + np.cumsum(moves, axis=0)
        self.targets = np.clip(targets, spec.vector('lower'), spec.vector('upper'))

    @property
    def state(self) -> np.ndarray:
        """MuJoCo's integration state at the starts [N, size]."""
        return np.stack([start.state for start in self.starts])

    def controls(self) -> np.ndarray:
        """The commands as MuJoCo's ctrl [steps, N, nu]."""
        controls = np.zeros((*self.targets.shape[:2], self.model.nu))
        controls[:, :, self.worlds.scene.ctrl] = self.targets
        return controls

    def numbers(self, measured: dict[str, Any]) -> dict[str, Any]:
        physics = measured['value'] * self.substeps
        also = {'physics steps/s': physics, 'simulated s/s': physics * self.model.opt.timestep}
        return numbers(measured, 'mujoco', 'numpy', **also)


def worlds(count: int, threads: int, substeps: int, seconds: float, resets: bool) -> dict[str, Any]:
    """One episode after the other in all simulations, its resets measured or not."""
    setup = Setup(count, threads, substeps)
    sims, many = setup.worlds, range(count)

    def back() -> None:
        for sim, start in enumerate(setup.starts):
            sims.restore(sim, start)

    def advance(targets: np.ndarray) -> None:
        sims.step(targets, setup.period)
        sims.progress()
        sims.success()

    def episode() -> int:
        if resets:
            sims.reset(many, many)
        for targets in setup.targets:
            advance(targets)
        return count * setup.steps

    advance(setup.targets[0])
    measured = timed(episode, seconds, None if resets else back)
    assert not sims.failed.any(), 'a simulation diverged'
    sims.close()
    return setup.numbers(measured)


def raw_batch(count: int, threads: int, substeps: int, seconds: float) -> dict[str, Any]:
    import mujoco.batch

    setup = Setup(count, threads, substeps)
    sims = mujoco.batch.Batch(setup.model, nsim=count, nthread=threads, persistent=True)
    controls, ctrl, start = setup.controls(), sims.bind('ctrl'), setup.state

    def back() -> None:
        sims.reset()
        sims.state[:] = start
        sims.forward()

    def episode() -> int:
        for control in controls:
            ctrl[:] = control
            sims.step(nstep=substeps)
        return count * setup.steps

    return setup.numbers(timed(episode, seconds, back))


def raw_rollout(count: int, threads: int, substeps: int, seconds: float) -> dict[str, Any]:
    """A call for every step, as a policy needs it; the states it returns start the next call."""
    from mujoco.rollout import Rollout

    setup = Setup(count, threads, substeps)
    full = int(mujoco.mjtState.mjSTATE_FULLPHYSICS)
    start, data = np.empty((count, mujoco.mj_stateSize(setup.model, full))), mujoco.MjData(setup.model)
    for sim, state in enumerate(setup.state):
        mujoco.mj_setState(setup.model, data, state, int(mujoco.mjtState.mjSTATE_INTEGRATION))
        mujoco.mj_getState(setup.model, data, start[sim], full)
    controls = np.repeat(setup.controls()[:, :, None], substeps, axis=2)
    scratch = [mujoco.MjData(setup.model) for _ in range(max(1, threads))]
    models = [setup.model] * count
    with Rollout(nthread=threads if threads > 1 else 0) as rollout:

        def episode() -> int:
            state = start
            for control in controls:
                states, _ = rollout.rollout(models, scratch, state, control)
                state = np.ascontiguousarray(states[:, -1])
            return count * setup.steps

        return setup.numbers(timed(episode, seconds))


def raw_threads(count: int, threads: int, substeps: int, seconds: float) -> dict[str, Any]:
    """One MjData a simulation, a share of them for every thread."""
    setup = Setup(count, threads, substeps)
    model, start, controls = setup.model, setup.state, setup.controls()
    data = [mujoco.MjData(model) for _ in range(count)]
    shares = [range(i, count, threads) for i in range(threads)]

    def back() -> None:
        for sim, each in enumerate(data):
            mujoco.mj_resetData(model, each)
            mujoco.mj_setState(model, each, start[sim], int(mujoco.mjtState.mjSTATE_INTEGRATION))

    with ThreadPoolExecutor(threads) as pool:

        def advance(share: range, control: np.ndarray) -> None:
            for sim in share:
                data[sim].ctrl[:] = control[sim]
                mujoco.mj_step(model, data[sim], nstep=substeps)

        def episode() -> int:
            for control in controls:
                list(pool.map(advance, shares, [control] * threads))
            return count * setup.steps

        return setup.numbers(timed(episode, seconds, back))
