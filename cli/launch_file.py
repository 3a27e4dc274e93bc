# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Reads ROS 2 launch YAML into a plan: arguments, messages and the processes to start.

The subset is that of docs/launch.md, with the meaning the ``launch`` package gives it (values are strings,
an include shares its includer's variables, a group has its own). Anything else is an error that says so.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from apprentice.cli.environment import ament_prefixes
from apprentice.cli.launch_node import node_command
from apprentice.cli.launch_substitutions import LaunchError, Scope, package_share, substitute, truth
from apprentice.cli.process import Process
from apprentice.robot.parts import share

__all__ = ['Argument', 'LaunchError', 'Plan', 'find_launch_file', 'load']


@dataclass(frozen=True)
class Argument:
    """A declared argument; ``default`` None means that it must be given."""

    name: str
    default: str | None
    description: str
    choices: tuple[str, ...]


@dataclass
class Plan:
    """What a launch file comes to, given its arguments and the environment."""

    arguments: dict[str, Argument] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


def find_launch_file(words: list[str]) -> tuple[Path, list[str]]:
    """The launch file named by ``FILE`` or ``PACKAGE FILE``, as in ros2 launch, and the other words."""
    plain = [word for word in words if ':=' not in word]
    rest = [word for word in words if ':=' in word]
    if len(plain) == 2:
        folder = package_share(plain[0], dict(os.environ))
        candidates = [folder / 'launch' / plain[1], folder / plain[1]]
    elif len(plain) == 1:
        candidates = [Path(plain[0]), share('launch') / plain[0]]
    else:
        raise LaunchError(
            f'expected FILE or PACKAGE FILE, then arg:=value; got {" ".join(words) or "nothing"}'
        )
    for path in candidates:
        if path.is_file():
            return path.resolve(), rest
    looked = ', '.join(str(path) for path in candidates)
    raise LaunchError(f'launch file {plain[-1]} does not exist; looked for {looked}')


def load(
    file: str | Path,
    arguments: Mapping[str, str],
    environment: Mapping[str, str] | None = None,
    tolerant: bool = False,
) -> Plan:
    """Evaluate a launch file. Raises LaunchError naming file, entity, key and remedy.

    ``tolerant`` takes the text ``<name>`` for required arguments that are missing (to list arguments).
    """
    loader = _Loader(arguments, dict(os.environ if environment is None else environment), tolerant)
    loader.file(Path(file).resolve())
    unknown = [name for name in arguments if name not in loader.plan.arguments]
    if unknown:
        known = list(loader.plan.arguments)
        close = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f'did you mean {close[0]!r}?' if close else f'known: {", ".join(known) or "none"}'
        raise LaunchError(f'{file}: there is no argument {unknown[0]!r}; {hint}')
    return loader.plan


class Entity:
    """One entry of a launch file; keys that nobody took are an error."""

    def __init__(self, kind: str, body: Any, where: str):
        self.kind, self.where = kind, f'{where} {kind}'
        if isinstance(body, list):
            body = {'children': body}
        if not isinstance(body, dict):
            raise LaunchError(f'{self.where}: expected keys and values, got {body!r}')
        if isinstance(body.get('name'), str):
            self.where += f' {body["name"]!r}'
        self._body, self._known = body, {'if', 'unless'}

    def take(self, key: str, default: Any = None, required: bool = False) -> Any:
        self._known.add(key)
        if required and key not in self._body:
            raise LaunchError(f'{self.where}: {key!r} is missing')
        return self._body.get(key, default)

    def text(self, key: str, default: str | None = None, required: bool = False) -> Any:
        """A value that must be a string, as the launch package demands."""
        value = self.take(key, default, required)
        if value is not None and not isinstance(value, str):
            raise LaunchError(f'{self.where}: {key} must be a string; write {key}: {str(value).lower()!r}')
        return value

    def entities(self, key: str) -> Iterator[Entity]:
        """A list of mappings below ``key``, e.g. the parameters of a node."""
        items = self.take(key, [])
        if not isinstance(items, list):
            raise LaunchError(f'{self.where}: {key} must be a list, each item starting with a dash')
        for i, item in enumerate(items):
            yield Entity(f'{key}[{i}]', item, self.where)

    def done(self) -> None:
        for key in self._body:
            if key not in self._known:
                close = difflib.get_close_matches(str(key), self._known, n=1)
                hint = f'did you mean {close[0]!r}?' if close else f'known: {", ".join(sorted(self._known))}'
                raise LaunchError(
                    f'{self.where}: key {key!r} is not known here; {hint} '
                    '(ros2 launch may know more than apprentice up, see docs/launch.md)'
                )


class _Loader:
    def __init__(self, given: Mapping[str, str], environment: dict[str, str], tolerant: bool):
        self._given, self._tolerant = dict(given), tolerant
        self._scope = Scope(dict(given), environment, Path())
        self._namespace = ''
        self._files: list[Path] = []
        self._passed: set[str] | None = None  # names an include gave; None in the outermost file
        self.plan = Plan()

    def file(self, path: Path) -> None:
        if path in self._files:
            raise LaunchError(f'{path} includes itself: {" -> ".join(str(p) for p in [*self._files, path])}')
        try:
            data = yaml.safe_load(path.read_text())
        except FileNotFoundError:
            raise LaunchError(f'launch file {path} does not exist') from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise LaunchError(f'launch file {path} cannot be read as YAML: {error}') from None
        if not isinstance(data, dict) or set(data) != {'launch'} or not isinstance(data['launch'], list):
            raise LaunchError(f'{path}: a launch file is one key, launch:, with a list of entities below it')
        outer, self._scope = self._scope, replace(self._scope, file=path)  # the dictionaries stay shared
        self._files.append(path)
        self._entities(data['launch'], f'{path}:')
        self._files.pop()
        self._scope = replace(self._scope, file=outer.file)

    def _entities(self, items: list[Any], where: str) -> None:
        for i, item in enumerate(items):
            if not isinstance(item, dict) or len(item) != 1:
                raise LaunchError(
                    f'{where} entry {i + 1}: expected one entity such as "- node:", got {item!r}'
                )
            kind, body = next(iter(item.items()))
            entity = Entity(str(kind), body, f'{where} entry {i + 1},')
            handler = getattr(self, '_' + str(kind).replace('-', '_'), None)
            if handler is None or kind not in _ENTITIES:
                close = difflib.get_close_matches(str(kind), _ENTITIES, n=1)
                hint = f'did you mean {close[0]!r}? ' if close else ''
                raise LaunchError(
                    f'{entity.where}: unknown entity; {hint}known: {", ".join(sorted(_ENTITIES))}; '
                    'ros2 launch may know more than apprentice up, see docs/launch.md'
                )
            try:
                if self._condition(entity):
                    handler(entity)
            except LaunchError as error:
                prefix = entity.where if str(path_of(entity)) not in str(error) else ''
                raise LaunchError(f'{prefix}: {error}' if prefix else str(error)) from None

    def _condition(self, entity: Entity) -> bool:
        when, unless = entity.text('if'), entity.text('unless')
        if when is not None and unless is not None:
            raise LaunchError('if and unless exclude each other; keep one')
        if when is not None:
            return truth(self._sub(when))
        return unless is None or not truth(self._sub(unless))

    def _sub(self, text: str) -> str:
        return substitute(text, self._scope)

    def _arg(self, entity: Entity) -> None:
        name = entity.text('name', required=True)
        default, description = entity.text('default'), entity.text('description', '')
        choices = tuple(choice.text('value', required=True) for choice in entity.entities('choice'))
        entity.done()
        variables = self._scope.variables
        self.plan.arguments.setdefault(name, Argument(name, default, description, choices))
        if default is None and self._passed is not None and name not in self._passed:
            raise LaunchError(f'argument {name!r} has no default: the include of this file must pass it')
        if name not in variables:
            if default is None and not self._tolerant:
                raise LaunchError(f'argument {name!r} ({description}) has no default; pass {name}:=value')
            variables[name] = f'<{name}>' if default is None else self._sub(default)
        if choices and variables[name] not in choices and not self._tolerant:
            raise LaunchError(f'argument {name!r} is {variables[name]!r}; choose one of {", ".join(choices)}')

    def _let(self, entity: Entity) -> None:
        name, value = entity.text('name', required=True), entity.text('value', required=True)
        entity.done()
        self._scope.variables[self._sub(name)] = self._sub(value)

    def _include(self, entity: Entity) -> None:
        path = Path(self._sub(entity.text('file', required=True)))
        passed: set[str] = set()
        for argument in entity.entities('arg'):
            name, value = argument.text('name', required=True), argument.text('value', required=True)
            argument.done()
            passed.add(self._sub(name))
            self._scope.variables[self._sub(name)] = self._sub(value)
        entity.done()
        if not path.name.endswith(('.yaml', '.yml')):
            raise LaunchError(f'{path} is not launch YAML; Python and XML launch files need ros2 launch')
        outer, self._passed = self._passed, passed
        self.file((self._scope.file.parent / path).resolve())
        self._passed = outer

    def _group(self, entity: Entity) -> None:
        children, scoped = entity.take('children', required=True), entity.take('scoped', True)
        entity.done()
        if not isinstance(scoped, bool) or not isinstance(children, list):
            raise LaunchError('scoped must be true or false, children a list of entities')
        outer, namespace = self._scope, self._namespace
        if scoped:
            self._scope = Scope(dict(outer.variables), dict(outer.environment), outer.file)
        self._entities(children, entity.where + ':')
        if scoped:
            self._scope, self._namespace = outer, namespace

    def _set_env(self, entity: Entity) -> None:
        name, value = entity.text('name', required=True), entity.text('value', required=True)
        entity.done()
        self._scope.environment[self._sub(name)] = self._sub(value)

    def _unset_env(self, entity: Entity) -> None:
        name = entity.text('name', required=True)
        entity.done()
        self._scope.environment.pop(self._sub(name), None)

    def _log(self, entity: Entity) -> None:
        message = entity.text('message', required=True)
        entity.done()
        self.plan.messages.append(self._sub(message))

    def _push_ros_namespace(self, entity: Entity) -> None:
        namespace = self._sub(entity.text('namespace', required=True))
        entity.done()
        self._namespace = join_namespace(self._namespace, namespace)

    def _node(self, entity: Entity) -> None:
        base = self._namespace
        namespace = entity.text('namespace')
        if namespace is not None:
            base = join_namespace(base, self._sub(namespace))
        command = node_command(entity, self._sub, base, ament_prefixes(self._scope.environment))
        name = self._sub(entity.text('name') or '') or self._sub(entity.text('exec')).removesuffix('_node')
        self._process(entity, name, command)

    def _executable(self, entity: Entity) -> None:
        words = self._sub(entity.text('cmd', required=True))
        command = ['sh', '-c', words] if entity.take('shell', False) is True else words.split()
        if not command:
            raise LaunchError('cmd is empty')
        name = self._sub(entity.text('name') or '') or Path(words.split()[0]).name
        self._process(entity, name, command)

    def _process(self, entity: Entity, name: str, command: list[str]) -> None:
        environment = dict(self._scope.environment)
        for item in entity.entities('env'):
            key, value = item.text('name', required=True), item.text('value', required=True)
            item.done()
            environment[self._sub(key)] = self._sub(value)
        cwd, on_exit = entity.text('cwd'), entity.text('on_exit')
        if on_exit not in (None, 'shutdown'):
            raise LaunchError(f'on_exit is {on_exit!r}; only shutdown is known')
        respawn, delay = entity.text('respawn', 'false'), entity.take('respawn_delay', 1.0)
        entity.text('output')  # always on the screen here
        entity.done()
        self.plan.processes.append(
            Process(
                name=name,
                command=tuple(command),
                environment=environment,
                cwd=None if cwd is None else self._sub(cwd),
                required=on_exit == 'shutdown',
                respawn=truth(self._sub(respawn)),
                respawn_delay_s=float(delay),
            )
        )


def path_of(entity: Entity) -> str:
    """The file an entity stands in, from its position text."""
    return entity.where.split(': ', 1)[0]


def join_namespace(base: str, namespace: str) -> str:
    """Append a relative namespace, or replace by an absolute one (leading slash)."""
    if namespace.startswith('/') or not base:
        return namespace
    return f'{base.rstrip("/")}/{namespace}' if namespace else base


_ENTITIES = {
    'arg',
    'let',
    'include',
    'group',
    'set_env',
    'unset_env',
    'log',
    'node',
    'executable',
    'push_ros_namespace',
    'push-ros-namespace',
}
