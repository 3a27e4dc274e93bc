# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Simulation with images of two cameras: WorldPool beside a bare mujoco.Renderer and gym-hil.

A step is 50 time steps of physics and a frame of each of the two cameras, in every row. Most of the distance
to gym-hil is what is drawn, and settings: its Panda has 67 meshes, ours is made of capsules and boxes, and it
comes with shadows and multisampling. So it also runs with our settings, and MuJoCo's own renderer runs in one
process on our scene with our settings, which leaves only the processes as a difference.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import mujoco
import numpy as np

from apprentice.bench.measure import numbers, timed
from apprentice.bench.report import cores
from apprentice.bench.runner import OURS, SHIPPED, TUNED, Case, Contestant, Ratio
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.sim.pool import WorldPool
from apprentice.sim.worlds import Worlds

HERE = 'apprentice.bench.sim_pixels'
SUBSTEPS = 50  # gym-hil's


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--res', default='64,128,224', help='sizes in pixels (default 64,128,224)')
    parser.add_argument('--workers', type=int, default=cores(), help='default: one a processor')
    parser.add_argument('--count', type=int, default=0, help='simulations (default: 64 a worker)')


def cases(args: argparse.Namespace) -> list[Case]:
    return [_case(args, int(size)) for size in args.res.split(',')]


def _case(args: argparse.Namespace, size: int) -> Case:
    workers = args.workers
    ours = Contestant(
        f'WorldPool, {workers} workers',
        OURS,
        f'{HERE}:pool',
        parameters={
            'size': size,
            'workers': workers,
            'count': args.count or 64 * workers,
            'seconds': args.seconds,
        },
    )

    def bare(name: str, environment: dict[str, str]) -> Contestant:
        parameters = {'size': size, 'seconds': args.seconds}
        return Contestant(name, TUNED, f'{HERE}:bare', parameters=parameters, environment=environment)

    def gym_hil(tuned: bool, processes: int) -> Contestant:
        # a lone renderer may use Mesa's own threads; with one a processor they are in the way, as in ours
        environment = {'LP_NUM_THREADS': '0'} if processes > 1 else {}
        name = f'gym-hil, {"our settings" if tuned else "as shipped"}, {_processes(processes)}'
        # it makes a few steps a second
        parameters = {
            'size': size,
            'tuned': tuned,
            'processes': processes,
            'seconds': (2 if tuned else 3) * args.seconds,
        }
        kind = TUNED if tuned else SHIPPED
        return Contestant(name, kind, peer='gym_hil', parameters=parameters, environment=environment)

    one = bare("mujoco.Renderer, one process, Mesa's threads", {})
    lone = bare('mujoco.Renderer, one process, LP_NUM_THREADS=0', {'LP_NUM_THREADS': '0'})
    shipped, tuned = gym_hil(False, 1), gym_hil(True, 1)
    spread = [gym_hil(True, workers)] if workers > 1 else []
    target = 1.9 if workers == 2 else None
    return Case(
        f'{size} x {size}, two cameras',
        'frames/s',
        [shipped, tuned, *spread, one, lone, ours],
        [
            Ratio(ours.name, shipped.name, 300.0),
            Ratio(ours.name, tuned.name, 20.0),
            *(Ratio(ours.name, each.name) for each in spread),
            Ratio(ours.name, one.name, target),
            Ratio(ours.name, lone.name, target),
        ],
        note=f'{SUBSTEPS} time steps of physics a step',
    )


def _processes(count: int) -> str:
    return 'one process' if count == 1 else f'{count} processes'


def _spec(size: int) -> RobotSpec:
    spec = RobotSpec.load(share('robots', 'sim_arm.yaml'))
    cameras = tuple(dataclasses.replace(camera, width=size, height=size) for camera in spec.cameras)
    return dataclasses.replace(spec, cameras=cameras)


def _targets(spec: RobotSpec, count: int, period: float) -> np.ndarray:
    """Commands [steps, N, dim] that wander around home at half of the largest speed."""
    reach = 0.5 * spec.vector('velocity') * period
    moves = np.random.default_rng(0).uniform(-1, 1, (20, count, spec.dim)) * reach
    targets = spec.vector('home') + np.cumsum(moves, axis=0)
    return np.clip(targets, spec.vector('lower'), spec.vector('upper'))


def _numbers(measured: dict[str, Any], cameras: int) -> dict[str, Any]:
    steps = measured['value'] / cameras
    also = {
        'env steps/s': steps,
        'physics steps/s': steps * SUBSTEPS,
        'simulated s/s': steps * SUBSTEPS / 400,
    }
    return numbers(measured, 'mujoco', 'numpy', **also)


def pool(size: int, workers: int, count: int, seconds: float) -> dict[str, Any]:
    """Ours: what rollouts use."""
    spec = _spec(size)
    with WorldPool(spec, count, workers) as sims:
        period = SUBSTEPS / 400
        targets = _targets(spec, count, period)
        sims.reset(range(count), range(count))

        def episode() -> int:
            for target in targets:
                sims.step(target, period, render=True)
            return count * len(targets) * len(spec.cameras)

        sims.step(targets[0], period, render=True)
        assert all(frames.std() > 0 for frames in sims.frames().values()), 'the frames are empty'
        return _numbers(timed(episode, seconds), len(spec.cameras))


def bare(size: int, seconds: float) -> dict[str, Any]:
    """mj_step and mujoco.Renderer in a loop: nothing of ours but the scene and its settings."""
    spec = _spec(size)
    sims = Worlds(spec, 1)
    sims.reset([0], [0])
    model, data = sims.physics.materialize(0)
    # as ours: a buffer of the size of the frame
    model.vis.global_.offheight = model.vis.global_.offwidth = size
    renderer = mujoco.Renderer(model, size, size)
    for flag in ('mjRND_SHADOW', 'mjRND_REFLECTION', 'mjRND_SKYBOX'):
        renderer.scene.flags[int(getattr(mujoco.mjtRndFlag, flag))] = 0
    targets = _targets(spec, 1, SUBSTEPS / 400)[:, 0]
    buffer = np.empty((size, size, 3), np.uint8)

    def episode() -> int:
        for target in targets:
            data.ctrl[sims.scene.ctrl] = target
            mujoco.mj_step(model, data, nstep=SUBSTEPS)
            for camera in spec.cameras:
                renderer.update_scene(data, camera=camera.name)
                renderer.render(out=buffer)
        return len(targets) * len(spec.cameras)

    episode()
    return _numbers(timed(episode, seconds), len(spec.cameras))
