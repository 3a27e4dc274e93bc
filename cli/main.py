# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The ``apprentice`` command: finds the subcommand's module and runs it.

A subcommand is a module of this folder with ``add_arguments(parser)`` and ``run(args) -> int``; the first
line of its text is its help. Only the chosen one is imported: a missing library breaks one command, not all.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import sys
from importlib import metadata
from pathlib import Path

from apprentice.cli import environment

COMMANDS = (
    'demo', 'up', 'train', 'demonstrate', 'record', 'eval', 'export', 'serve', 'replay', 'rerun', 'dataset',
    'label', 'reward', 'bench', 'doctor',
)  # fmt: skip


def summary(command: str) -> str:
    """First line of a command's text, read without importing it; empty if the command is not installed."""
    path = Path(__file__).with_name(f'{command}.py')
    if not path.exists():
        return ''
    text = ast.get_docstring(ast.parse(path.read_text())) or ''
    return text.partition('\n')[0]


def version() -> str:
    """Version of the installed package."""
    try:
        return metadata.version('apprentice')
    except metadata.PackageNotFoundError:  # run from the sources
        return 'not installed'


def build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """The parser; only ``chosen`` gets its arguments."""
    parser = argparse.ArgumentParser(prog='apprentice', description='Robots that learn on the job, on ROS 2.')
    parser.add_argument('--version', action='version', version=f'apprentice {version()}')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    commands = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
    for command in COMMANDS:
        text = summary(command)
        if not text:
            continue
        child = commands.add_parser(
            command, help=text.replace('%', '%%'), description=text.replace('%', '%%')
        )
        if command == chosen:
            module = importlib.import_module(f'apprentice.cli.{command}')
            module.add_arguments(child)
            child.set_defaults(run=module.run)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 the work failed, 2 wrong usage or input, 130 Ctrl-C."""
    argv = sys.argv[1:] if argv is None else argv
    environment.prepare()
    debug = '--debug' in argv
    argv = [word for word in argv if word != '--debug']
    chosen = next((word for word in argv if not word.startswith('-')), None)
    try:
        parser = build_parser(chosen)
        args, rest = parser.parse_known_args(argv)
        # argparse stops a list of words at the first option; `up FILE --dry-run arg:=value` goes on after it
        if any(word.startswith('-') for word in rest) or (rest and not hasattr(args, 'words')):
            parser.error(f'unrecognized arguments: {" ".join(rest)}')
        if rest:
            args.words += rest
        args.debug = debug
        return int(args.run(args) or 0)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # our reader is gone, e.g. `| head`; the interpreter must not flush into nothing at exit
        sys.stdout = None  # type: ignore[assignment]
        return 141
    except (ValueError, OSError, ImportError) as error:
        if debug:
            raise
        print(f'apprentice: error: {error}', file=sys.stderr)
        return 2


if __name__ == '__main__':
    sys.exit(main())
