# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""gym-hil's PandaPickCube, state only or with two cameras: environment steps or frames per second.

``tuned`` applies what makes our own frames cheap to the peer: no shadows, no multisampling, no reflections
and sky, coarse primitives. Its arm stays what it is, 67 meshes.
"""

import json
import multiprocessing
import os
import queue
import sys
import time
from importlib import metadata

CAMERAS = 2


def make(size: int, tuned: bool):
    import gym_hil  # noqa: F401 - registers the environments
    import gymnasium
    import mujoco
    from gym_hil.mujoco_gym_env import GymRenderingSpec

    options = {'image_obs': True, 'render_spec': GymRenderingSpec(size, size)} if size else {}
    env = gymnasium.make('gym_hil/PandaPickCubeBase-v0', **options)
    if tuned:
        inner = env.unwrapped
        inner._viewer.close()
        quality = inner.model.vis.quality
        quality.shadowsize = quality.offsamples = 0
        quality.numslices, quality.numstacks, quality.numquads = 12, 6, 1
        inner.model.light_castshadow[:] = 0
        inner._viewer = mujoco.Renderer(inner.model, height=size, width=size)
        for flag in ('mjRND_SHADOW', 'mjRND_REFLECTION', 'mjRND_SKYBOX'):
            inner._viewer.scene.flags[int(getattr(mujoco.mjtRndFlag, flag))] = 0
    return env


def loop(seconds: float, size: int, tuned: bool, ready) -> dict:
    """One environment, measured once ``ready`` has been passed by all processes."""
    env = make(size, tuned)
    env.action_space.seed(0)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    inner, steps = env.unwrapped, 0
    ready.wait()
    wall, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        steps += 1
        if terminated or truncated:
            env.reset()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    substeps = inner._n_substeps
    return {'steps': steps, 'wall': wall, 'cpu': cpu, 'substeps': substeps, 'dt': inner.physics_dt}


def work(answers, *arguments) -> None:
    answers.put(loop(*arguments))
    answers.close()
    answers.join_thread()
    os._exit(0)  # its GL contexts complain when the interpreter ends


def measure(seconds: float, size: int = 0, tuned: bool = False, processes: int = 1) -> dict:
    """``size`` 0: state only, in environment steps; else square frames of that size, in frames."""
    context = multiprocessing.get_context('spawn')
    ready, answers = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(target=work, args=(answers, seconds, size, tuned, ready), daemon=True)
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    done = []
    while len(done) < processes:
        try:
            done.append(answers.get(timeout=1.0))
        except queue.Empty:
            if any(worker.exitcode for worker in workers):
                sys.exit('a process of the peer failed; the reason is above')
    rate = sum(each['steps'] / each['wall'] for each in done)
    physics = rate * done[0]['substeps']
    return {
        'value': rate * CAMERAS if size else rate,
        'count': sum(each['steps'] for each in done) * (CAMERAS if size else 1),
        'wall_s': max(each['wall'] for each in done),
        'cpu_s': sum(each['cpu'] for each in done),
        'versions': {name: metadata.version(name) for name in ('gym-hil', 'mujoco', 'gymnasium')},
        'also': {
            **({'env steps/s': rate} if size else {}),
            'physics steps/s': physics,
            'simulated s/s': physics * done[0]['dt'],
        },
    }


if __name__ == '__main__':
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
