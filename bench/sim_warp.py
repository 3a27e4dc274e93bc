# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""MuJoCo Warp: our physics engine and rendering beside mjwarp-testspeed on the same model.

Physics: every simulation starts as seed 0 of the pick task and gets the same commands, as many contacts are
provided for, and a step is a time step of one simulation. Frames: two cameras, boxes refitted and rays cast,
left on the device. `bare` calls MuJoCo Warp without anything of ours, on any device; mjwarp-testspeed, its
own tool, runs on a GPU only. Its CPU seconds include its start and compilation. On a CPU this shows that all
runs, not a speed anyone should want: there, use sim-state's engine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from apprentice.bench.measure import numbers, timed
from apprentice.bench.runner import LIMIT, OURS, SHIPPED, Case, Contestant, Ratio
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.sim.worlds import Worlds

HERE = 'apprentice.bench.sim_warp'
SUBSTEPS = 20  # time steps between two commands
TOOL_S = 540.0  # how long mjwarp-testspeed may take; the runner's own limit is above
COMMANDS = 20  # then everything starts over


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--worlds', help='simulations at once (default: 64; on a GPU 1024,8192)')
    parser.add_argument('--res', type=int, default=64, help='size of the frames in pixels (default 64)')


def cases(args: argparse.Namespace) -> list[Case]:
    from apprentice.sim.physics.warp import best_device

    gpu = best_device() != 'cpu'
    sizes = [int(size) for size in (args.worlds or ('1024,8192' if gpu else '64')).split(',')]
    return [case for count in sizes for case in (_physics(args, count, gpu), _frames(args, count, gpu))]


def _physics(args: argparse.Namespace, count: int, gpu: bool) -> Case:
    parameters = {'count': count, 'seconds': args.seconds}
    ours = Contestant('WarpPhysics', OURS, f'{HERE}:physics', parameters={**parameters, 'exact': False})
    exact = Contestant(
        'WarpPhysics, deterministic', OURS, f'{HERE}:physics', parameters={**parameters, 'exact': True}
    )
    bare = Contestant('mujoco_warp, bare', LIMIT, f'{HERE}:bare_physics', parameters=parameters)
    tool = Contestant(
        'mjwarp-testspeed', SHIPPED, f'{HERE}:testspeed', parameters={'count': count, 'size': 0}
    )
    return Case(
        f'physics, {count} simulations',
        'steps/s',
        [tool, bare, ours, exact] if gpu else [bare, ours],
        [Ratio(ours.name, tool.name, 0.9), Ratio(ours.name, bare.name)] if gpu
        else [Ratio(ours.name, bare.name, 0.9)],
        note=f'a command every {SUBSTEPS} time steps of 2.5 ms',
    )  # fmt: skip


def _frames(args: argparse.Namespace, count: int, gpu: bool) -> Case:
    parameters = {'count': count, 'size': args.res, 'seconds': args.seconds}
    ours = Contestant('WarpRendering', OURS, f'{HERE}:frames', parameters=parameters)
    bare = Contestant('mujoco_warp, bare', LIMIT, f'{HERE}:bare_frames', parameters=parameters)
    tool = Contestant(
        'mjwarp-testspeed', SHIPPED, f'{HERE}:testspeed', parameters={'count': count, 'size': args.res}
    )
    return Case(
        f'frames of {args.res} x {args.res}, {count} simulations',
        'frames/s',
        [tool, bare, ours] if gpu else [bare, ours],
        [Ratio(ours.name, tool.name, 0.9), Ratio(ours.name, bare.name)] if gpu
        else [Ratio(ours.name, bare.name, 0.9)],
        note='two cameras, no sky; ours are uint8 RGB, the others packed words',
    )  # fmt: skip


class Setup:
    """The pick scene at the start of seed 0, and commands [COMMANDS, dim] that wander around home."""

    def __init__(self, size: int = 64):
        robot = RobotSpec.load(share('robots', 'sim_arm.yaml'))
        cameras = tuple(dataclasses.replace(camera, width=size, height=size) for camera in robot.cameras)
        self.spec = dataclasses.replace(robot, cameras=cameras)
        worlds = Worlds(self.spec, 1, engine='threads')
        worlds.reset([0], [0])
        self.scene = worlds.scene
        data = worlds.physics.materialize(0)[1]
        self.qpos, self.qvel, self.ctrl = data.qpos.copy(), data.qvel.copy(), data.ctrl.copy()
        reach = self.spec.vector('velocity') * SUBSTEPS * self.scene.model.opt.timestep
        moves = np.random.default_rng(0).uniform(-1, 1, (COMMANDS, self.spec.dim)) * reach
        targets = self.spec.vector('home') + np.cumsum(moves, axis=0)
        self.targets = np.clip(targets, self.spec.vector('lower'), self.spec.vector('upper'))

    def physics(self, count: int, exact: bool = False) -> Any:
        from apprentice.sim.physics.warp import WarpPhysics

        return WarpPhysics(self.scene.model, count, deterministic=exact)

    def begin(self, physics: Any) -> None:
        """All simulations at the start."""
        every = range(physics.count)
        physics.reset(every)
        for name, values in (('qpos', self.qpos), ('qvel', self.qvel), ('ctrl', self.ctrl)):
            physics.write(name, range(len(values)), values, every)
        physics.forward(every)

    def write(self, folder: Path) -> tuple[Path, Path]:
        """The compiled model, and start and commands, as files for mjwarp-testspeed."""
        from apprentice.sim.physics.warp import device_model

        model, replay = folder / 'scene.mjb', folder / 'commands.npz'
        mujoco.mj_saveModel(device_model(self.scene.model), str(model), None)
        ctrl = np.repeat(self.ctrl[None], COMMANDS, 0)
        ctrl[:, self.scene.ctrl] = self.targets
        times = np.arange(COMMANDS + 1) * SUBSTEPS * self.scene.model.opt.timestep
        np.savez(replay, ctrl=ctrl, times=times, qpos=self.qpos[None], qvel=self.qvel[None])
        return model, replay


def _numbers(measured: dict[str, Any], **also: float) -> dict[str, Any]:
    return numbers(measured, 'mujoco', 'mujoco-warp', 'warp-lang', **also)


def physics(count: int, seconds: float, exact: bool) -> dict[str, Any]:
    """Ours, as Worlds drives it: a command and its time steps, failures looked for, poses made current."""
    setup = Setup()
    sims = setup.physics(count, exact)

    def episode() -> int:
        for target in setup.targets:
            sims.write('ctrl', setup.scene.ctrl, target, range(count))
            sims.step(SUBSTEPS)
        return count * COMMANDS * SUBSTEPS

    setup.begin(sims)
    sims.step(SUBSTEPS)
    measured = timed(episode, seconds, lambda: setup.begin(sims))
    assert not sims.failed.any(), 'a simulation diverged'
    return _numbers(measured)


def bare_physics(count: int, seconds: float) -> dict[str, Any]:
    """A graph of mujoco_warp.step, launched again and again; the commands are uploaded."""
    setup = Setup()
    sims = setup.physics(count)  # for its arrays, with the same room for contacts
    from apprentice.sim.physics.warp_kernels import mjw, wp

    model, data = sims.warp_model, sims.warp_data
    with wp.ScopedDevice(sims.device):
        with wp.ScopedCapture() as capture:
            mjw.step(model, data)
        ctrl = np.tile(setup.ctrl.astype(np.float32), (count, 1))

        def episode() -> int:
            for target in setup.targets:
                ctrl[:, setup.scene.ctrl] = target
                data.ctrl.assign(ctrl)
                for _ in range(SUBSTEPS):
                    wp.capture_launch(capture.graph)
                wp.synchronize()
            return count * COMMANDS * SUBSTEPS

        return _numbers(timed(episode, seconds, lambda: setup.begin(sims)))


def frames(count: int, size: int, seconds: float) -> dict[str, Any]:
    """Ours: RGB frames of all simulations on the device."""
    from apprentice.sim.physics.warp_kernels import wp
    from apprentice.sim.warp_render import WarpRendering

    setup = Setup(size)
    sims, rendering = setup.physics(count), WarpRendering(setup.scene)
    setup.begin(sims)

    def draw() -> int:
        rendering.draw(sims)
        wp.synchronize()
        return count * len(setup.spec.cameras)

    draw()
    return _numbers(timed(draw, seconds), pixels=size)


def bare_frames(count: int, size: int, seconds: float) -> dict[str, Any]:
    """mujoco_warp's refit_bvh and render with the settings of mjwarp-testspeed."""
    setup = Setup(size)
    sims = setup.physics(count)
    from apprentice.sim.physics.warp import device_model
    from apprentice.sim.physics.warp_kernels import mjw, wp

    setup.begin(sims)
    with wp.ScopedDevice(sims.device):
        context = mjw.create_render_context(
            device_model(setup.scene.model), nworld=count, cam_res=(size, size), render_rgb=True,
            render_depth=False, render_seg=False, render_skybox=False,  # as ours, see sim/robots/decor.py
        )  # fmt: skip

        def draw() -> int:
            mjw.refit_bvh(sims.warp_model, sims.warp_data, context)
            mjw.render(sims.warp_model, sims.warp_data, context)
            wp.synchronize()
            return count * len(setup.spec.cameras)

        draw()
        return _numbers(timed(draw, seconds), pixels=size)


def testspeed(count: int, size: int) -> dict[str, Any]:
    """MuJoCo Warp's own tool on the same model; frames of ``size`` pixels, or with 0 physics."""
    setup = Setup(size or 64)
    sims = setup.physics(1)
    with tempfile.TemporaryDirectory() as folder:
        model, replay = setup.write(Path(folder))
        command = [
            sys.executable,
            '-m',
            'mujoco_warp.testspeed',
            str(model),
            '--format=json',
            '--noise_std=0',
        ]
        command += [f'--nworld={count}', f'--nconmax={sims.contacts}', f'--njmax={sims.constraints}']
        command += [f'--replay={replay}']
        if size:
            command += ['--function=render', f'--render_width={size}', f'--render_height={size}']
            command += ['--render_depth=false', '--render_seg=false', '--render_skybox=false']
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_S)
        except subprocess.TimeoutExpired:
            raise RuntimeError(
                f'mjwarp-testspeed did not end within {TOOL_S:g} s; take fewer --worlds'
            ) from None
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = next((line for line in reversed(done.stdout.splitlines()) if line.startswith('{')), '')
    if done.returncode or not answer:
        last = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()][-1:]
        raise RuntimeError(f'mjwarp-testspeed ended with code {done.returncode}: {" ".join(last)}')
    found = json.loads(answer)
    each = len(setup.spec.cameras) if size else 1
    measured = {
        'value': found['steps_per_second'] * each,
        'count': found['steps_per_second'] * found['run_time'] * each,
        'wall_s': found['run_time'],
        'cpu_s': used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime,
    }
    return _numbers(measured, **({'pixels': size} if size else {}))
