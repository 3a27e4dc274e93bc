# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Run a ROS 2 launch YAML file, with or without a ROS installation.

Where the real ``launch`` packages are importable they do the work; otherwise the file is read by
``apprentice.cli.launch_file`` and run by ``apprentice.cli.supervisor``.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import shlex
import sys
from pathlib import Path

from apprentice.cli import environment
from apprentice.cli.launch_file import LaunchError, Plan, find_launch_file, load
from apprentice.cli.supervisor import Supervisor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'words',
        nargs='+',
        metavar='[PACKAGE] FILE [ARG:=VALUE]',
        help='launch file (a path, or a name in launch/), then its arguments',
    )
    parser.add_argument('--show-args', action='store_true', help="list the file's arguments and stop")
    parser.add_argument('--dry-run', action='store_true', help='print the command lines and stop')
    parser.add_argument(
        '--standalone',
        action='store_true',
        help='do not hand over to the launch package where it is installed',
    )


def parse_arguments(words: list[str]) -> dict[str, str]:
    """``name:=value`` words as a dictionary. Raises LaunchError for anything else."""
    arguments = {}
    for word in words:
        name, separator, value = word.partition(':=')
        if not name or not separator:
            raise LaunchError(f'{word!r} is not of the form arg:=value')
        arguments[name] = value
    return arguments


def run(args: argparse.Namespace) -> int:
    """Returns 0 if nothing failed, 1 if a node failed, 2 for wrong usage."""
    logging.basicConfig(level=logging.INFO, format='[up] %(message)s', stream=sys.stderr)
    environment.prepare()
    file, rest = find_launch_file(args.words)
    arguments = parse_arguments(rest)
    if args.show_args:
        _show(load(file, arguments, tolerant=True))
        return 0
    note = environment.limit_discovery()
    plan = load(file, arguments)  # also when handing over: our errors name the remedy
    if args.dry_run:
        for process in plan.processes:
            print(f'[{process.name}] {shlex.join(process.command)}')
        return 0
    if note:
        print(f'[up] {note}', flush=True)
    if not args.standalone and _real_launch():
        return _hand_over(file, arguments)
    return run_plan(plan)


def run_plan(plan: Plan) -> int:
    """Run a plan's processes until Ctrl-C, or until a required one ends. Returns 0 or 1."""
    for message in plan.messages:
        print(f'[up] {message}', flush=True)
    if not plan.processes:
        raise LaunchError('with these arguments the launch file starts nothing')
    with Supervisor() as supervisor:
        for process in plan.processes:
            label = supervisor.start(process)
            logging.getLogger(__name__).info('%s started, pid %d', label, supervisor.pid(label))
        return supervisor.run()


def _show(plan: Plan) -> None:
    print("Arguments (pass as 'name:=value'):")
    for argument in plan.arguments.values():
        default = 'required' if argument.default is None else f'default: {argument.default!r}'
        choices = f'; one of {", ".join(argument.choices)}' if argument.choices else ''
        print(f"\n    '{argument.name}':\n        {argument.description}\n        ({default}{choices})")


def _real_launch() -> bool:
    """True if launch, launch_ros and launch_yaml are installed and this package is in the ament index."""
    for name in ('launch', 'launch_ros', 'launch_yaml'):
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:  # a folder that happens to be called launch has no origin
            return False
    index = Path('share', 'ament_index', 'resource_index', 'packages', 'apprentice')
    return any(
        (prefix / index).is_file() and (prefix / 'lib' / 'apprentice').is_dir()
        for prefix in environment.ament_prefixes()
    )


def _hand_over(file: Path, arguments: dict[str, str]) -> int:
    from launch import LaunchDescription, LaunchService  # type: ignore[attr-defined]
    from launch.actions import IncludeLaunchDescription
    from launch.launch_description_sources import AnyLaunchDescriptionSource

    print('[up] running with the launch package of this ROS installation', flush=True)
    service = LaunchService()
    include = IncludeLaunchDescription(
        AnyLaunchDescriptionSource(os.fspath(file)), launch_arguments=list(arguments.items())
    )
    service.include_launch_description(LaunchDescription([include]))
    return service.run()
