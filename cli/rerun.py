# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""look at recorded episodes in the Rerun viewer, or save them as .rrd"""

from __future__ import annotations

import argparse
from pathlib import Path

from apprentice.episodes.facts import recorded_spec, sealed_files
from apprentice.episodes.rerun_log import import_rerun, log_episode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice rerun``."""
    parser.add_argument('files', nargs='+', type=Path, metavar='FILE', help='episode file (.mcap) or folder')
    parser.add_argument(
        '--save', type=Path, metavar='DIR', help='write DIR/<episode>.rrd instead of a window'
    )
    parser.add_argument('--robot', help='name of a shipped robot or a file (default: the one recorded)')
    parser.add_argument(
        '--quality', type=int, default=90, help='of the JPEG pictures; 0: uncompressed (default 90)'
    )


def run(args: argparse.Namespace) -> int:
    """Every episode is a recording of its own in the viewer."""
    rerun = import_rerun()
    if not 0 <= args.quality <= 100:
        raise ValueError(f'--quality {args.quality} is not within 0 to 100')
    files = [file for path in args.files for file in (sealed_files([path]) if path.is_dir() else [path])]
    for path in files:
        recording = rerun.RecordingStream('apprentice', recording_id=path.stem)
        if args.save:
            args.save.mkdir(parents=True, exist_ok=True)
            recording.save(args.save / f'{path.stem}.rrd')
        else:
            recording.spawn()
        count = log_episode(recording, path, recorded_spec(path, args.robot), args.quality)
        recording.flush()
        print(f'{path.name}: {count} messages' + (f' in {args.save / path.stem}.rrd' if args.save else ''))
    return 0
