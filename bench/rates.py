# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Rates, jitter and latency of the whole graph with everything running, on this machine.

    python bench/rates.py --seconds 30                 live: on the wall clock
    python bench/rates.py --seconds 30 --lockstep      simulated time: how fast, and what it waits for

Starts launch/sim.launch.yaml (policy, two reward models, recorder, learner making updates, dashboard), runs
learning episodes back to back with takeovers, and ends everything it started.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import psutil
from signals import (
    Numbers,
    camera_to_command,
    chunk_rate,
    intervals,
    lockstep_shares,
    spread,
    takeover_latency,
)

from apprentice.cli.demo import Logs, free_port, interruptible, prepare_environment
from apprentice.cli.launch_file import load
from apprentice.cli.process import Process
from apprentice.cli.supervisor import Supervisor
from apprentice.cli.up import parse_arguments
from apprentice.episodes.files import EpisodeFileError
from apprentice.episodes.join import read_episode
from apprentice.episodes.labels import iter_sealed
from apprentice.robot.parts import find_robot, share
from apprentice.robot.spec import RobotSpec

PACKAGES = ('torch', 'mujoco', 'numpy', 'ros-jazzy-rclpy', 'ros-jazzy-rmw-fastrtps-cpp')


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--seconds', type=float, default=30.0, help='of measurement (default 30)')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the numbers there')
    parser.add_argument(
        '--robot',
        default='',
        help='name of a shipped robot or a file, with a simulator section (default sim_arm)',
    )
    parser.add_argument('--rate-hz', type=float, default=50.0, help='control rate, live (default 50)')
    parser.add_argument('--lockstep', action='store_true', help='simulated time instead of live')
    parser.add_argument(
        '--run-dir', type=Path, help='keep episodes and logs there (default: a temporary folder)'
    )
    parser.add_argument(
        '--takeover-every', type=float, default=3.0, help='seconds between takeovers; 0: none'
    )
    parser.add_argument(
        '--demonstrations', type=Path, help='folder for the learner to start with (default: none)'
    )
    parser.add_argument('--set', action='append', default=[], metavar='ARG:=VALUE', help='launch argument')
    args = parser.parse_args(arguments)
    if args.seconds <= 0 or args.rate_hz <= 0:
        parser.error('--seconds and --rate-hz must be positive')
    return args


# what was measured


def summarise(seen: Numbers, spec: RobotSpec, rate_hz: float, lockstep: bool) -> Numbers:
    """All numbers of one measurement; ``seen`` is the probe's file."""
    seconds, executed = seen['ended'] - seen['started'], seen['executed']
    steps = [row[1] for row in seen['learner']]
    numbers: Numbers = {
        'seconds': seconds,
        'episodes': [list(row) for row in seen['episodes']],
        'cameras': {
            c.name: intervals([row[0] for row in seen['frames'][c.name]], 1 / c.rate_hz) for c in spec.cameras
        },
        'joint_states': intervals([row[0] for row in seen['joints']], 1 / rate_hz),
        'gate': intervals([row[0] for row in executed], 1 / rate_hz),
        'policy': chunk_rate(seen['chunks']),
        'camera_to_command_ms': camera_to_command(seen['chunks'], executed),
        'rewards': {
            model: {'per_s': len(rows) / seconds, 'latency_ms': spread([r[2] for r in rows], 1e3)}
            for model, rows in sorted(seen['rewards'].items())
        },
        'learner_updates_per_s': (steps[-1] - steps[0]) / seconds if len(steps) > 1 else float('nan'),
        'holds': [[row[0] - seen['started'], row[2]] for row in seen['modes'] if row[1] == 'HOLD'],
        'diagnostics': seen['diagnostics'],
    }
    if lockstep:
        frames = [row[0] for rows in seen['frames'].values() for row in rows]
        numbers['lockstep'] = lockstep_shares(executed, frames)
    else:
        numbers['takeover_ms'] = takeover_latency(seen['takeovers'], executed)
    return numbers


def recorded(folder: Path, spec: RobotSpec) -> Numbers:
    """Frames missing in the recorder's files."""
    episodes, unreadable = [], []
    for path in iter_sealed(folder):
        try:
            episodes.append(read_episode(path, spec))
        except EpisodeFileError as error:
            unreadable.append(str(error))
    dropped = sum(e.frames_dropped for e in episodes)
    return {'episodes': len(episodes), 'dropped': dropped, 'unreadable': unreadable}


def machine() -> Numbers:
    """What the numbers were measured on."""
    model = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        model = next(
            (line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')), model
        )
    versions = {'python': platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {'cpu': model, 'cores': os.cpu_count(), 'versions': versions}


def measure(args: argparse.Namespace, run_dir: Path, interrupted: threading.Event) -> Numbers:
    """Start the graph and the probe, wait for the probe's file, end everything. Raises RuntimeError."""
    robot = str(find_robot(args.robot or 'sim_arm'))
    spec = RobotSpec.load(robot)
    rate_hz = spec.control_hz if args.lockstep else args.rate_hz
    arguments = {
        'robot': robot,
        'run_dir': str(run_dir),
        'lockstep': str(args.lockstep).lower(),
        'rate_hz': '0.0' if args.lockstep else str(args.rate_hz),
        'dashboard_port': str(free_port(0)),
        'updates_per_episode': '1000',  # more than there is time for: the learner never rests
        'demonstrations': str(args.demonstrations.resolve()) if args.demonstrations else '',
        **parse_arguments(args.set),
    }
    if (run_dir / 'episodes').exists():
        raise RuntimeError(f'{run_dir} holds an earlier run; choose another --run-dir or remove it')
    out, lines = run_dir / 'probe.json', set[str]()
    times: list[tuple[float, dict[str, float]]] = []
    (run_dir / 'log').mkdir(parents=True, exist_ok=True)
    logs = Logs(run_dir / 'log')

    def on_line(label: str, line: str) -> None:
        logs.line(label, line)
        if label == 'probe':
            lines.add(line)

    options = {
        'robot': robot,
        'out': str(out),
        'seconds': args.seconds,
        'takeover_every_s': 0.0 if args.lockstep else args.takeover_every,
    }
    command = [sys.executable, '-m', 'apprentice.nodes.probe', '--ros-args']
    for name, value in options.items():
        command += ['-p', f'{name}:={json.dumps(value)}']
    load_before = os.getloadavg()[0]
    with contextlib.closing(logs), Supervisor(on_line=on_line) as supervisor:
        for process in load(share('launch', 'sim.launch.yaml'), arguments).processes:
            supervisor.start(process, process.name)
        supervisor.start(Process('probe', tuple(command)), 'probe')
        while not out.exists():
            ended = supervisor.poll(0.05)
            if interrupted.is_set():
                raise RuntimeError('interrupted')
            if ended and not out.exists():
                raise RuntimeError(f'{ended[0]}: ' + '\n'.join(ended[0].last_lines))
            if len(times) < 2 and ('measuring', 'measured')[len(times)] in lines:
                times.append((time.monotonic(), cpu_seconds(supervisor)))
        if len(times) < 2:
            times.append((time.monotonic(), cpu_seconds(supervisor)))
    numbers = summarise(json.loads(out.read_text()), spec, rate_hz, args.lockstep)
    numbers['recorder'] = recorded(run_dir / 'episodes', spec)
    (begun, before), (ended_at, after) = times
    numbers['cpu_percent'] = {
        name: 100 * (after[name] - used) / (ended_at - begun)
        for name, used in before.items()
        if name in after
    }
    numbers['load_average'] = {'before': load_before, 'after': os.getloadavg()[0]}
    numbers['mode'] = 'lockstep' if args.lockstep else f'live, {rate_hz:g} Hz'
    numbers['machine'] = machine()
    return numbers


def cpu_seconds(supervisor: Supervisor) -> dict[str, float]:
    """CPU time used so far, by process."""
    used = {}
    for label in supervisor.labels:
        with contextlib.suppress(psutil.Error, KeyError):
            cpu = psutil.Process(supervisor.pid(label)).cpu_times()
            used[label] = cpu.user + cpu.system
    return used


def table(numbers: Numbers) -> list[str]:
    """Lines for the terminal."""

    def times(values: Numbers) -> str:
        if not values.get('count'):
            return 'none'
        text = '  '.join(f'{key} {values[key]:.1f}' for key in ('p50', 'p99', 'max'))
        return f'{text} ms  (n={values["count"]})'

    def signal(values: Numbers) -> str:
        if 'hz' not in values:
            return 'nothing received'
        return f'{values["hz"]:.2f} Hz, {values["missed"]} missed; deviation {times(values["jitter_ms"])}'

    info, lock = numbers['machine'], numbers.get('lockstep')
    load_average = numbers['load_average']
    rows = [
        ('machine', f'{info["cpu"]}, {info["cores"]} cores'),
        ('versions', ', '.join(f'{name} {version}' for name, version in info['versions'].items())),
        ('load average', f'{load_average["before"]:.1f} before, {load_average["after"]:.1f} after'),
        ('mode', f'{numbers["mode"]}, {numbers["seconds"]:.0f} s, {len(numbers["episodes"])} episodes'),
    ]
    if lock and lock['steps']:
        rows.append(
            (
                'control steps',
                f'{lock["steps_per_wall_s"]:.1f} per wall second, {lock["real_time_factor"]:.2f} x real time',
            )
        )
        rows += [
            (f'  {kind}', f'{values["share"]:.0%} of the wall time, {times(values)}')
            for kind, values in lock['wall_ms'].items()
            if values['count']
        ]
    else:
        rows += [(f'camera {name}', signal(values)) for name, values in numbers['cameras'].items()]
        rows += [('joint states', signal(numbers['joint_states'])), ('gate', signal(numbers['gate']))]
        gate: Numbers = next((v for k, v in numbers['diagnostics'].items() if k.endswith('gate')), {})
        own = [f'{k} {v}' for k, v in gate.items() if k.startswith(('interval', 'rate', 'refused'))]
        rows.append(("gate's own", ', '.join(own)))
        rows += [
            (
                'policy',
                f'{numbers["policy"]["hz"]:.2f} chunks/s; latency {times(numbers["policy"]["latency_ms"])}',
            ),
            ('camera to command', times(numbers['camera_to_command_ms'])),
            ('takeover', times(numbers['takeover_ms'])),
        ]
    recorder = numbers['recorder']
    rows += [
        *(
            (f'reward {m}', f'{v["per_s"]:.2f}/s; latency {times(v["latency_ms"])}')
            for m, v in numbers['rewards'].items()
        ),
        ('learner', f'{numbers["learner_updates_per_s"]:.1f} updates/s'),
        (
            'recorder',
            f'{recorder["episodes"]} episodes, {recorder["dropped"]} frames dropped, '
            f'{len(recorder["unreadable"])} unreadable',
        ),
        ('holds', '; '.join(f'{at:.1f} s: {reason}' for at, reason in numbers['holds']) or 'none'),
        ('CPU of one core', ', '.join(f'{n} {v:.0f} %' for n, v in sorted(numbers['cpu_percent'].items()))),
    ]
    return [f'{name:<18} {text}' for name, text in rows]


def main() -> int:
    """Measure and print; returns the exit code."""
    args = parse()
    prepare_environment()
    with contextlib.ExitStack() as stack:
        interrupted = stack.enter_context(interruptible())
        run_dir = args.run_dir
        if run_dir is None:
            run_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='rates-')))
        try:
            numbers = measure(args, run_dir.resolve(), interrupted)
        except (RuntimeError, ValueError, FileNotFoundError) as error:
            print(f'error: {error}', file=sys.stderr)
            return 1
    print('\n'.join(table(numbers)))
    if args.json:
        args.json.write_text(json.dumps(numbers, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
