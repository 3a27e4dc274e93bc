# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""From a picture that changes to the first command that changes: our nodes beside LeRobot's async inference.

All pixels of a 50 Hz camera change value at random times. The reaction lasts from the capture of the first
changed picture to the first command that differs because of it, as the robot receives it; one clock for all.

Equal are the policy (LeRobot's ACT in its default size, one set of random weights whose last layer is
fitted so that its 50 rows depend on the picture alone), the picture, the camera's rate, and joints that
sway, so that LeRobot's server never drops an observation as too similar to the last. LeRobot runs its own
policy_server and robot_client in two processes, with gRPC between; its fake arm is read in no time. Ours are
the real gate and policy nodes in processes of their own, and a driver that publishes camera and joints over
ROS. Not equal: LeRobot runs the network in eager torch of its own version, ours as TorchScript; ours passes a
gate with limits and watchdogs, which follows the rows by interpolation and commands at 50 Hz whatever their
spacing, while LeRobot sends a row a tick; the other nodes of our graph (recorder, rewards, learner,
dashboard) are left out. A plan begins with a fresh observation once so many rows of the last one have
passed; most of a reaction may be waiting for that, so each row says after how many.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from apprentice.bench import environments, latency_driver
from apprentice.bench.measure import numbers, use_free_ros_domain
from apprentice.bench.runner import OURS, SHIPPED, TUNED, Case, Contestant, Ratio, measure
from apprentice.bench.signals import intervals
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec

HERE, PEER = 'apprentice.bench.latency', 'lerobot_async'
CONTROL_HZ = 50.0
CHUNK = 50  # rows of the policy
LEAST = 0.1  # degrees by which a command has to differ; the policy's two answers are 2 degrees apart
FLIP_S = (1.5, 2.5)  # between changes of the picture; longer than LeRobot needs to react
SWAY_DEG = 20.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--size', type=int, default=128, help='of the picture, pixels (default 128)')


def cases(args: argparse.Namespace) -> list[Case]:
    common = {
        'policy': str(policy_folder(args.size)),
        'size': args.size,
        'camera_hz': CONTROL_HZ,
        'sway_deg': SWAY_DEG,
        'flip_s': FLIP_S,
        'seconds': 10 * args.seconds,
    }

    def lerobot(name: str, kind: str, threads: int = 0, **settings: Any) -> Contestant:
        environment = {'HF_HUB_OFFLINE': '1', **({'OMP_NUM_THREADS': str(threads)} if threads else {})}
        return Contestant(name, kind, peer=PEER, parameters=common | settings, environment=environment)

    def nodes(name: str, **settings: Any) -> Contestant:
        profile = str(share('launch', 'fastdds.xml'))
        return Contestant(
            name,
            OURS,
            f'{HERE}:nodes',
            parameters={**common, **settings, 'peers': getattr(args, 'peers', True)},
            environment={'OMP_NUM_THREADS': '1', 'FASTRTPS_DEFAULT_PROFILES_FILE': profile},
        )

    def tuned(rows: int) -> Contestant:
        name = f'LeRobot, 50 fps, after {rows} row{"s" * (rows > 1)}'
        return lerobot(
            name, TUNED, 1, fps=round(CONTROL_HZ), chunk_size_threshold=(CHUNK - rows) / CHUNK,
            aggregate_fn_name='latest_only', inference_latency=0.0,
        )  # fmt: skip

    shipped = lerobot('LeRobot, 30 fps, after 25 rows', SHIPPED)
    coarse = nodes('nodes, rows of 0.1 s, after 4', action_dt=0.1, execute_steps=4, rtc='auto')
    fine = [
        # ACT cannot continue a chunk, so the newest replaces the one before, as LeRobot's latest_only
        nodes(f'nodes, rows of 0.02 s, after {rows}', action_dt=0.02, execute_steps=rows, rtc='none')
        for rows in (4, 1)
    ]
    theirs = [tuned(rows) for rows in (4, 1)]
    return [
        Case(
            'changed picture to changed command',
            'ms, median',
            [shipped, *theirs, coarse, *fine],
            [
                Ratio(coarse.name, shipped.name, 2.0),
                Ratio(fine[0].name, shipped.name, 2.0),
                *(Ratio(ours.name, peer.name, 2.0) for ours, peer in zip(fine, theirs, strict=True)),
            ],
            lower_is_better=True,
            note=f'camera at {CONTROL_HZ:g} Hz; jitter: of the intervals of commands, against their period '
            '(wanted at 50 Hz: at most 5 ms); CPU: of a thousand commands',
        )
    ]


def policy_folder(size: int) -> Path:
    """Where the peer's script, as it stands, writes the policy."""
    script = environments.PEERS / f'{PEER}.py'
    digest = hashlib.sha256(script.read_bytes()).hexdigest()[:12]
    return environments.location(PEER) / f'act-{size}-{digest}'


def _make_policy(folder: Path, common: dict[str, Any], peers: bool) -> None:
    """Let LeRobot write the policy. Raises PeerError."""
    if folder.exists():
        return
    if not peers:
        raise environments.PeerError(
            f'{folder} is missing: LeRobot makes the policy; run once without --no-peers'
        )
    python = environments.prepare(PEER)
    measure(Contestant('policy', OURS, peer=PEER, parameters={**common, 'seconds': 0}), str(python), 600.0)


# ours


def nodes(
    policy: str,
    size: int,
    camera_hz: float,
    sway_deg: float,
    flip_s: Sequence[float],
    seconds: float,
    action_dt: float,
    execute_steps: int,
    rtc: str = 'auto',
    peers: bool = True,
) -> dict[str, Any]:
    """Median reaction [ms] of gate and policy node. Raises RuntimeError."""
    common = {'policy': policy, 'size': size, 'camera_hz': camera_hz, 'sway_deg': sway_deg, 'flip_s': flip_s}
    _make_policy(Path(policy), common, peers)
    use_free_ros_domain()
    with tempfile.TemporaryDirectory() as folder:
        robot = Path(folder) / 'robot.yaml'
        robot.write_text(yaml.safe_dump(latency_driver.robot_file(size, camera_hz, CONTROL_HZ, action_dt)))
        options = {
            # a driver that is late shall be seen in the numbers and not end the measurement
            'gate': {'robot': str(robot), 'arm_on_start': True, 'joint_timeout_s': 2.0},
            'policy': {
                'robot': str(robot),
                'weights': str(Path(policy) / 'policy.pt'),
                'runtime': 'apprentice.bench.latency_act:load',
                'runtime_options': f'robot: {robot}',
                'execute_steps': execute_steps,
                'rtc': rtc,
            },
        }
        running = {name: _start(name, values) for name, values in options.items()}

        def alive() -> str:
            return next((name for name, process in running.items() if process.poll() is not None), '')

        try:
            log = latency_driver.run(RobotSpec.load(robot), seconds, flip_s, sway_deg, alive)
        finally:
            for process in running.values():
                process.terminate()
            for process in running.values():
                process.wait(20.0)
    return summary(log)


def _start(node: str, values: dict[str, Any]) -> subprocess.Popen:
    command = [sys.executable, '-m', f'apprentice.nodes.{node}', '--ros-args']
    for name, value in values.items():
        command += ['-p', f'{name}:={json.dumps(value)}']
    return subprocess.Popen(command)


# what was seen


def summary(log: latency_driver.Log) -> dict[str, Any]:
    """The row of one round. Raises ValueError if nothing reacted."""
    found = [1000 * each for each in reactions(log.changes, log.commands, LEAST) if each is not None]
    if not found:
        raise ValueError(f'no command followed any of {len(log.changes)} changes')
    times = [moment for moment, _ in log.commands if log.begun <= moment <= log.ended]
    steady = intervals(times, 1 / CONTROL_HZ)
    measured = {
        'value': float(np.median(found)),
        'count': len(times),
        'wall_s': log.watch.wall_s,
        'cpu_s': log.watch.cpu_s,
    }
    also = {
        'slowest ms': max(found),
        'answered %': 100 * len(found) / len(log.changes),
        'command Hz': steady['hz'],
        'jitter p99 ms': steady['jitter_ms']['p99'],
    }
    if log.plans:
        also['plan ms'] = 1000 * float(np.median(log.plans))
        also['plans/s'] = len(log.plans) / (log.ended - log.begun)
    return numbers(measured, 'ros-jazzy-rclpy', 'torch', **also)


def reactions(
    changes: Sequence[tuple[float, int]], commands: Sequence[tuple[float, float]], least: float
) -> list[float | None]:
    """Seconds from each change (time, +1 or -1) to the first command that has gone that way.

    Args:
        changes: in order of time, in turns up and down.
        commands: (time, value), in order of time.
        least: how far a command must have gone from the one in force at the change.

    Returns None for a change that no command followed before the next. What is left of the motion before
    goes the other way, so it is no reaction; the way is then measured from where that ended.
    """
    times = np.array([moment for moment, _ in commands])
    found: list[float | None] = []
    for i, (begin, sign) in enumerate(changes):
        end = changes[i + 1][0] if i + 1 < len(changes) else math.inf
        first, last = np.searchsorted(times, (begin, end))
        if first == 0:
            raise ValueError('the picture changed before the first command')
        known, answer = commands[first - 1][1], None
        for moment, value in commands[first:last]:
            if sign * (value - known) > least:
                answer = moment - begin
                break
            if sign * (value - known) < 0:
                known = value
        found.append(answer)
    return found
