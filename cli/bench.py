# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""measurements of ours beside what a user would otherwise take; without a name: which there are"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import os
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

LOADED = 3  # exit code: the machine is busy, nothing was measured


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice bench``; those of a bench follow its name."""
    parser.add_argument('name', nargs='?', help='which one; without: list them')
    parser.add_argument('words', nargs=argparse.REMAINDER, help='options, see apprentice bench NAME --help')


def benches() -> dict[str, tuple[Path, str, bool]]:
    """Name -> (file, first line of its text, whether the runner runs it); the others are scripts."""
    import apprentice.bench

    found = {}
    for path in sorted(Path(apprentice.bench.__file__).parent.glob('*.py')):
        tree = ast.parse(path.read_text())
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        script = "__name__ == '__main__'" in path.read_text()
        if 'cases' in functions or script:
            summary = (ast.get_docstring(tree) or '').partition('\n')[0]
            found[path.stem.replace('_', '-')] = (path, summary, 'cases' in functions)
    return found


def run(args: argparse.Namespace) -> int:
    """List the benches or run one. Exit codes: 1 below --check, 2 wrong usage, 3 the machine is loaded."""
    known = benches()
    if not args.name:
        for name, (_, summary, _) in known.items():
            print(f'{name:<16}{summary}')
        return 0
    name = args.name.replace('_', '-')
    if name not in known:
        raise ValueError(f'no bench {args.name!r}; there are: {", ".join(known)}')
    path, summary, runs_here = known[name]
    if not runs_here:
        return subprocess.run([sys.executable, str(path), *args.words]).returncode
    module = importlib.import_module(f'apprentice.bench.{path.stem}')
    return _measure(name, module, _options(name, summary, module, args.words))


def _options(name: str, summary: str, module: ModuleType, words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f'apprentice bench {name}',
        description=module.__doc__ or summary,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    repeats, seconds = getattr(module, 'REPEATS', 5), getattr(module, 'SECONDS', 3.0)
    parser.add_argument('--repeats', type=int, help=f'rounds (default {repeats})')
    parser.add_argument(
        '--seconds', type=float, help=f'measured time of a row in a round (default {seconds:g})'
    )
    parser.add_argument('--quick', action='store_true', help='2 rounds of 0.5 s, to see whether all runs')
    parser.add_argument('--force', action='store_true', help='also on a loaded machine; the result says so')
    parser.add_argument('--wait', type=float, default=0.0, metavar='S', help='so long for the load to fall')
    parser.add_argument('--no-peers', dest='peers', action='store_false', help='only what needs no download')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the JSON line there too')
    parser.add_argument('--write', type=Path, metavar='FILE', help='put the table into a document, as docs/')
    parser.add_argument(
        '--check', type=float, metavar='SHARE', help='fail (1) if a ratio is below this share of its target'
    )
    if hasattr(module, 'add_arguments'):
        module.add_arguments(parser)
    options = parser.parse_args(words)
    options.repeats = options.repeats or (2 if options.quick else repeats)
    options.seconds = options.seconds or (0.5 if options.quick else seconds)
    if options.repeats < 1 or options.seconds <= 0:
        parser.error('--repeats and --seconds must be positive')
    return options


def _measure(name: str, module: ModuleType, options: argparse.Namespace) -> int:
    from apprentice.bench import report, runner

    waited = time.monotonic()
    while report.overloaded(os.getloadavg()[0]) and time.monotonic() - waited < options.wait:
        time.sleep(2.0)
    before = os.getloadavg()[0]
    reason = report.overloaded(before)
    if reason and not options.force:
        print(f'apprentice bench: {reason}', file=sys.stderr)
        return LOADED

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    cases = [runner.run_case(case, options.repeats, say, options.peers) for case in module.cases(options)]
    result: dict[str, Any] = {
        'bench': name,
        'date': date.today().isoformat(),
        'machine': report.machine(),
        'load': {'before': before, 'after': os.getloadavg()[0]},
        'loaded': bool(reason),
        'repeats': options.repeats,
        'quick': options.quick,
        'cases': cases,
    }
    lines = report.table(result)
    print('\n'.join(lines))
    report.deliver(result, lines, options.json, options.write)
    print(json.dumps(result))
    return 0 if options.check is None else _check(cases, options.check)


def _check(cases: list[dict[str, Any]], share: float) -> int:
    """1 if a ratio is missing or below ``share`` of its target."""
    wanted = [ratio for case in cases for ratio in case['ratios'] if ratio['target'] is not None]
    low = [r for r in wanted if r['ratio'] is None or r['ratio'] < share * r['target']]
    for ratio in low:
        found = 'missing' if ratio['ratio'] is None else f'{ratio["ratio"]:.3g}'
        print(f'{ratio["ours"]} / {ratio["peer"]}: {found}, target {ratio["target"]:g}', file=sys.stderr)
    return 1 if low else 0
