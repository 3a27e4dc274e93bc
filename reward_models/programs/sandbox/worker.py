# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The child process: locks itself in, then takes one program and states, and answers with rewards.

Started by :mod:`.process`; reads from file 0 and writes to file 1, the only ones it has.
"""

from __future__ import annotations
import __future__

import importlib
import json
import math
import os
import sys
import time
import types
from typing import Any

import numpy as np

from apprentice.reward_models.programs.sandbox.locks import lock_down
from apprentice.reward_models.programs.sandbox.wire import (
    LARGEST_HEADER,
    LENGTH,
    LONGEST_NAME,
    MOST_COMPONENTS,
    numbers,
    pack,
)
from apprentice.reward_models.programs.syntax import ARGUMENTS, BUILTINS, KEPT_BACK, MATH, NUMPY

_FILE = '<program>'


def main(folder: str, memory_mb: int, cpu_s: int) -> None:
    """Serve until the pipe is closed."""
    _warm_up()
    os.environ.clear()
    locks = lock_down(folder, memory_mb, cpu_s)
    _write(pack({'locks': locks, 'cpu': time.process_time()}))
    code = None
    while True:
        header = _header()
        if header is None:
            return
        try:
            if 'source' in header:
                flags = __future__.annotations.compiler_flag  # annotations are not evaluated
                code = compile(header['source'], _FILE, 'exec', flags, dont_inherit=True)
                answer = pack({'ok': True, 'cpu': time.process_time()})
            else:
                shapes = {name: tuple(shape) for name, shape in header['shapes']}
                data = _read(8 * sum(int(np.prod(shape, dtype=np.int64)) for shape in shapes.values()))
                answer = _answer(code, numbers(data or b'', shapes), int(header['items']))
        except BaseException as error:  # whatever a program raises becomes a message
            answer = pack({'ok': False, 'error': _told(error), 'cpu': time.process_time()})
        _write(answer)


def _warm_up() -> None:
    """What numpy loads at first use is loaded while files can still be read."""
    values = np.arange(6.0).reshape(2, 3)
    np.einsum('ij,ij->i', values, values)
    np.linalg.norm(values, axis=1)
    np.quantile(values, 0.5)
    np.median(values)
    str(values)
    for name in ('sum', 'mean', 'min', 'max', 'std', 'prod', 'all', 'any', 'clip', 'round'):
        getattr(values, name)(*((0, 1) if name == 'clip' else ()))


def _answer(code: Any, arrays: dict[str, np.ndarray], items: int) -> bytes:
    known: dict[str, Any] = {'state': {}, 'previous': {}}
    for name, values in arrays.items():
        kind, _, key = name.partition('/')
        if key:
            known[kind][key] = values.copy()  # a program may write into its copy
        else:
            known[kind] = values.copy()
    space = _namespace()  # fresh for each call: nothing is remembered between two
    with np.errstate(all='ignore'):
        exec(code, space)
        if 'reward' in space:
            result = _call(space['reward'], known)
            total, parts = result if isinstance(result, tuple) and len(result) == 2 else (result, {})
        else:  # Auto MC-Reward (arXiv 2312.09238): the sign of the sparse reward, a tenth of the dense one's
            parts = {n: np.asarray(_call(space[n], known), np.float64) for n in ('sparse', 'dense')}
            total = np.sign(parts['sparse']) + 0.1 * np.sign(parts['dense'])
    if not isinstance(parts, dict) or len(parts) > MOST_COMPONENTS:
        raise ValueError(f'the components must be a dict of at most {MOST_COMPONENTS} arrays')
    for name in parts:
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
            raise ValueError(f'a component is named by a text of at most {LONGEST_NAME} characters')
    rows = [_row('the reward', total, items)]
    rows += [_row(f'component {name!r}', values, items) for name, values in parts.items()]
    return pack({'ok': True, 'names': list(parts), 'cpu': time.process_time()}, np.stack(rows))


def _call(function: Any, known: dict[str, Any]) -> Any:
    code = function.__code__
    wanted = code.co_varnames[: code.co_argcount]
    return function(*(known[name] for name in wanted if name in ARGUMENTS))


def _row(what: str, values: Any, items: int) -> np.ndarray:
    row = np.asarray(values, np.float64)
    if row.shape != (items,):
        raise ValueError(
            f'{what} has shape {row.shape}, it must be ({items},): one number for each state; '
            'state["tip"] is [N, 7], so reduce over axis=1 or take a column'
        )
    return row


def _namespace() -> dict[str, Any]:
    import builtins

    offered = {name: _whole(getattr(np, name)) for name in NUMPY if hasattr(np, name)}
    offered['linalg'] = types.SimpleNamespace(norm=_whole(np.linalg.norm))
    return {
        '__builtins__': {'__import__': _loaded} | {name: getattr(builtins, name) for name in BUILTINS},
        'np': types.SimpleNamespace(**offered),
        'math': types.SimpleNamespace(**{name: getattr(math, name) for name in MATH}),
    }


def _whole(function: Any) -> Any:
    """A function of numpy that fills all it returns: what it may leave out holds numbers of an earlier call.

    The wrapper is new for each call of the program, so nothing hung on it is remembered either.
    """
    if isinstance(function, type) or not callable(function):
        return function

    def filled(*values: Any, **options: Any) -> Any:
        for name in KEPT_BACK:
            if name in options:
                raise TypeError(f'{name}= may not be given; use np.where(condition, a, b)')
        return function(*values, **options)

    return filled


def _loaded(name: str, *rest: Any, **more: Any) -> Any:
    """numpy's methods import parts of numpy by the caller's ``__import__``; only loaded ones are given."""
    if name.partition('.')[0] != 'numpy' or name not in sys.modules:
        raise ImportError('np and math are there; nothing else can be imported')
    return importlib.import_module(name)


def _told(error: BaseException) -> str:
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _FILE:
            line = trace.tb_lineno
        trace = trace.tb_next
    try:
        text = 'it needs more memory than it may have' if isinstance(error, MemoryError) else str(error)
    except BaseException:
        text = ''
    where = f'line {line}: ' if line else ''
    return f'{where}{type(error).__name__[:60]}: {text[:1000]}'


def _header() -> dict[str, Any] | None:
    length = _read(LENGTH.size)
    if length is None:
        return None
    size = LENGTH.unpack(length)[0]
    text = _read(size) if size <= LARGEST_HEADER * 4 else None
    return None if text is None else json.loads(text)


def _read(count: int) -> bytes | None:
    parts = []
    while count:
        part = os.read(0, min(count, 2**20))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b''.join(parts)


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]
