# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The command line of one ``node`` entity of a launch file."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from apprentice.cli.launch_substitutions import LaunchError

if TYPE_CHECKING:
    from apprentice.cli.launch_file import Entity

_TYPES: dict[str, Callable[[str], Any]] = {
    'str': str,
    'int': int,
    'float': float,
    'bool': lambda text: {'true': True, 'false': False}[text.lower()],
}


def find_executable(package: str, name: str, prefixes: list[Path]) -> list[str]:
    """The command that starts a package's executable. Raises LaunchError with the places looked at.

    In this order: ``<prefix>/lib/<package>/<name>`` in the ROS prefixes (colcon, apt), the script pip put
    beside the interpreter, and this package's node modules (``gate_node`` is ``apprentice.nodes.gate``).
    """
    candidates = [prefix / 'lib' / package / name for prefix in prefixes]
    candidates.append(Path(sys.executable).parent / name)
    for path in candidates:
        if path.is_file() and os.access(path, os.X_OK):
            return [str(path)]
    if package == 'apprentice' and name.endswith('_node'):
        module = f'apprentice.nodes.{name.removesuffix("_node")}'
        if importlib.util.find_spec(module) is not None:
            return [sys.executable, '-c', f'from {module} import main; main()']
    looked = ', '.join(str(path) for path in candidates)
    raise LaunchError(f'executable {name!r} of package {package!r} is not installed; looked for {looked}')


def node_command(
    entity: Entity, sub: Callable[[str], str], namespace: str, prefixes: list[Path]
) -> list[str]:
    """Executable, arguments, then ``--ros-args`` with name, namespace, parameters and remappings."""
    package, executable = sub(entity.text('pkg', required=True)), sub(entity.text('exec', required=True))
    command = find_executable(package, executable, prefixes)
    command += shlex.split(sub(entity.text('args', '')))
    ros = shlex.split(sub(entity.text('ros_args', '')))
    name = sub(entity.text('name', ''))
    if name:
        ros += ['-r', f'__node:={name}']
    if namespace:
        ros += ['-r', f'__ns:=/{namespace.strip("/")}']
    for item in entity.entities('param'):
        ros += _parameter(item, sub)
    for item in entity.entities('remap'):
        source, target = item.text('from', required=True), item.text('to', required=True)
        item.done()
        ros += ['-r', f'{sub(source)}:={sub(target)}']
    return [*command, '--ros-args', *ros] if ros else command


def _parameter(item: Entity, sub: Callable[[str], str], prefix: str = '') -> list[str]:
    source = item.text('from')
    if source is not None:
        item.done()
        path = Path(sub(source))
        if not path.is_file():
            raise LaunchError(f'{item.where}: parameter file {path} does not exist')
        return ['--params-file', str(path)]
    name = prefix + sub(item.text('name', required=True))
    nested = [word for child in item.entities('param') for word in _parameter(child, sub, name + '.')]
    if nested:
        item.done()
        return nested
    value, kind = item.take('value', required=True), item.text('type')
    item.done()
    try:
        return ['-p', f'{name}:={_yaml(_typed(value, kind, sub))}']
    except (ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise LaunchError(f'{item.where}: value {value!r} is not of type {kind or "any"}: {error}') from None


def _typed(value: Any, kind: str | None, sub: Callable[[str], str]) -> Any:
    """Typed YAML values stay; strings are read as YAML after substitution, unless ``type`` says otherwise."""
    if isinstance(value, list):
        if not value or len({type(item) for item in value}) != 1:
            raise ValueError('a list must have items, all of one type')
        return [_typed(item, kind.removeprefix('list_of_') if kind else None, sub) for item in value]
    if isinstance(value, str):
        text = sub(value)
        if kind is not None:
            if kind not in _TYPES:
                raise ValueError(f'type {kind!r} is unknown; use one of {", ".join(_TYPES)}')
            return _TYPES[kind](text)
        value = yaml.safe_load(text) if text else ''
    elif kind is not None and kind in _TYPES and not isinstance(value, type(_TYPES[kind](str(value)))):
        raise ValueError(f'it is a {type(value).__name__}')
    if not isinstance(value, (bool, int, float, str, list)):
        raise ValueError(f'a parameter is a bool, number, string or a list of one of them, not {value!r}')
    return value


def _yaml(value: Any) -> str:
    """A value as rcl reads it back with the same type."""
    if isinstance(value, float) and value != value:
        return '.nan'
    if isinstance(value, float) and value in (float('inf'), float('-inf')):
        return '.inf' if value > 0 else '-.inf'
    return json.dumps(value, ensure_ascii=False)
