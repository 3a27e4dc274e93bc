# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Check this machine, its installation and a robot file; say what to do about what is wrong."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from concurrent.futures import ThreadPoolExecutor

from apprentice.cli.doctor_checks import CHECKS, Finding, robot_file, shipped_weights

_MARKS = {'ok': '\x1b[32mok  \x1b[0m', 'warn': '\x1b[33mwarn\x1b[0m', 'fail': '\x1b[31mFAIL\x1b[0m'}
NEVER_RUN = (
    'real hardware: the gate and robots/example_ur5e.yaml were only run against the simulator',
    'Isaac Gym: its engine was tested against a contract fake only, not run on the real library',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'robot',
        nargs='?',
        default='',
        help='name of a shipped robot or a file, to check (default sim_arm)',
    )
    parser.add_argument('--json', action='store_true', help='machine-readable output')


def run(args: argparse.Namespace) -> int:
    """Returns 0, or 1 if a check failed."""
    checks = [*CHECKS, ('robot file', lambda: robot_file(args.robot)), ('weights', shipped_weights)]
    if not args.json and sys.stderr.isatty():
        print(f'{len(checks)} checks, some import large libraries ...', file=sys.stderr, flush=True)
    with ThreadPoolExecutor(4) as pool:  # the slow ones wait for child processes
        findings = list(pool.map(lambda item: _guarded(*item), checks))
    failed = any(finding.level == 'fail' for finding in findings)
    if args.json:
        rows = [dataclasses.asdict(finding) for finding in findings]
        print(json.dumps({'ok': not failed, 'checks': rows, 'never_run': NEVER_RUN}, indent=2))
    else:
        _table(findings)
    return 1 if failed else 0


def _guarded(name: str, check) -> Finding:
    try:
        level, found, remedy = check()
    except Exception as error:  # a check that breaks is a finding too
        level, found, remedy = 'fail', f'{type(error).__name__}: {error}', 'run make install again'
    return Finding(name, level, found, remedy)


def _table(findings: list[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    colour = sys.stdout.isatty()
    for finding in findings:
        mark = _MARKS[finding.level] if colour else f'{finding.level:4}'
        print(f'{mark}  {finding.name:{width}}  {finding.found}')
        if finding.remedy and finding.level != 'ok':
            print(f'{"":6}{"":{width}}  -> {finding.remedy}')
    print('\nNever run by us:')
    for line in NEVER_RUN:
        print(f'  - {line}')
