# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Results of a bench as a table, in a document, and what they were measured on."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apprentice.robot.files import write_text

OVERLOADED = 0.5  # share of the cores that other programs may use


def machine() -> dict[str, Any]:
    """What the numbers are measured on."""
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        named = (line.split(':', 1)[1].strip() for line in lines if line.startswith('model name'))
        processor = next(named, processor)
    return {'processor': processor, 'cores': cores(), 'python': platform.python_version()}


def cores() -> int:
    """Processors this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def overloaded(load: float) -> str:
    """Why a load average forbids a measurement; empty if it does not."""
    allowed = OVERLOADED * cores()
    if load <= allowed:
        return ''
    return (
        f'the load average is {load:.1f}, more than {allowed:.1f} on {cores()} cores: a ratio would measure '
        'the other programs. Wait (--wait 120), end them, or use --force, which marks the result as loaded'
    )


def table(result: dict[str, Any]) -> list[str]:
    """The result in Markdown, readable in a terminal: for each case the rows, then the ratios."""
    lines = [_heading(result), '']
    for case in result['cases']:
        columns = list(dict.fromkeys(name for row in case['rows'] for name in row['also']))
        lines += [f'**{case["case"]}**' + (f': {case["note"]}' if case['note'] else ''), '']
        head = ['', 'row', case['unit'], 'lowest to highest', *columns, 'CPU s per 1000']
        lines += _grid([head, *(_cells(row, columns) for row in case['rows'])])
        lines.append('')
        if case['ratios']:
            head = ['ours', 'peer', 'ratio', 'lowest to highest', 'target']
            lines += [*_grid([head, *map(_ratio_cells, case['ratios'])]), '']
    return lines


def _heading(result: dict[str, Any]) -> str:
    computer, load = result['machine'], result['load']
    versions = {
        name: version
        for case in result['cases']
        for row in case['rows']
        if row['kind'] in ('ours', 'limit')
        for name, version in row['versions'].items()
    }
    used = [f'Python {computer["python"]}', *(f'{name} {version}' for name, version in versions.items())]
    return (
        f'{result["date"]}, {computer["processor"]}, {computer["cores"]} cores, {", ".join(used)}; '
        f'median of {result["repeats"]}; load average {load["before"]:.1f} before, {load["after"]:.1f} after'
        + (' (**loaded machine: not to be quoted**)' if result['loaded'] else '')
    )


def _cells(row: dict[str, Any], columns: Sequence[str]) -> list[str]:
    if row['value'] is None:
        return [row['kind'], row['name'], f'did not run: {row["error"]}', '', *('' for _ in columns), '']
    spread = f'{number(min(row["values"]))} to {number(max(row["values"]))}'
    also = [number(row['also'].get(name)) for name in columns]
    return [row['kind'], row['name'], number(row['value']), spread, *also, number(row['cpu_s_per_1000'])]


def _ratio_cells(ratio: dict[str, Any]) -> list[str]:
    if ratio['ratio'] is None:
        found, spread = 'missing', ''
    else:
        found = f'{number(ratio["ratio"])}'
        spread = f'{number(ratio["low"])} to {number(ratio["high"])}'
    target = '' if ratio['target'] is None else f'>= {ratio["target"]:g}'
    if ratio['met'] is not None:
        target += ', reached' if ratio['met'] else ', missed'
    return [ratio['ours'], ratio['peer'], found, spread, target]


def number(value: float | None) -> str:
    """Three digits, or whole numbers with thousands apart."""
    if value is None:
        return ''
    return f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.3g}'


def _grid(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    # a reason in a cell may be long; it need not widen the column of every row
    widths = [min(width, max(34, len(rows[0][i]))) for i, width in enumerate(widths)]
    lines = [
        '| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + ' |'
        for row in rows
    ]
    return [lines[0], '|' + '|'.join('-' * (width + 2) for width in widths) + '|', *lines[1:]]


def keep(path: Path, result: Mapping[str, Any]) -> None:
    """A result as one line of JSON: all of it, or what was there before."""
    write_text(path, json.dumps(result) + '\n')


def deliver(
    result: Mapping[str, Any], lines: Sequence[str], json_file: Path | None, document: Path | None
) -> None:
    """A result where ``--json`` and ``--write`` want it; its ``bench`` names the place in the document."""
    if json_file:
        keep(json_file, result)
    if document:
        write(document, result['bench'], lines)


def write(path: Path, name: str, lines: Sequence[str]) -> None:
    """Put a table into a document between its markers ``<!-- bench NAME -->`` and ``<!-- end -->``.

    Raises ValueError if the document has no such place.
    """
    text = path.read_text()
    begin, end = f'<!-- bench {name} -->', '<!-- end -->'
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ValueError(
            f'{path} has no place for the table; write the lines {begin!r} and {end!r} where it goes'
        )
    body = '\n'.join(lines).strip()
    write_text(path, f'{head}{begin}\n{body}\n{end}{tail}')
