# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The plan of the house, checked: who may import whom, where ROS may be, what every file looks like."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
LICENCE = '# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0'
# room -> rooms it may import; nothing imports nodes but the command line
MAY_IMPORT = {
    'robot': set(),
    'policies': {'robot'},
    'reward_models': {'robot'},
    'episodes': {'robot'},
    'sim': {'robot'},
    'learning': {'robot', 'policies', 'reward_models', 'episodes', 'sim'},
    'nodes': {'robot', 'policies', 'reward_models', 'episodes', 'sim', 'learning'},
    'cli': {'robot', 'policies', 'reward_models', 'episodes', 'sim', 'learning', 'nodes', 'bench'},
}
ROS = {'rclpy', 'rcl_interfaces', 'builtin_interfaces', 'ament_index_python', 'launch', 'launch_ros'}
MESSAGES = re.compile(r'^([a-z_]+_(msgs|srvs)|apprentice_interfaces)$')
# the real launch package is used by `apprentice up` where it is installed
LAUNCH_ALLOWED = {ROOT / 'cli' / 'up.py'}


def python_files(*folders: str) -> list[Path]:
    return sorted(p for f in folders for p in (ROOT / f).rglob('*.py') if '__pycache__' not in p.parts)


def imports(path: Path) -> list[str]:
    """Absolute dotted names a file imports, at any depth."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.append(node.module)
            names += [f'{node.module}.{alias.name}' for alias in node.names]
    return names


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize('room', MAY_IMPORT)
def test_imports_run_one_way(room):
    wrong = []
    for path in python_files(room):
        for name in imports(path):
            parts = name.split('.')
            if parts[0] == 'apprentice' and len(parts) > 1 and parts[1] not in MAY_IMPORT[room] | {room}:
                wrong.append(f'{relative(path)} imports {name}')
    assert not wrong, '\n'.join(wrong)


def test_no_ros_outside_nodes():
    wrong = []
    for path in python_files(*(room for room in MAY_IMPORT if room != 'nodes')):
        for name in imports(path):
            top = name.split('.')[0]
            if (top in ROS or MESSAGES.match(top)) and not (top == 'launch' and path in LAUNCH_ALLOWED):
                wrong.append(f'{relative(path)} imports {name}')
    assert not wrong, '\n'.join(wrong)


BLOCK_ROS = """
import importlib, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        blocked = ('rclpy', 'rcl_interfaces', 'apprentice_interfaces', 'sensor_msgs', 'std_msgs')
        if name.split('.')[0] in blocked:
            raise ModuleNotFoundError(f'{name} is blocked')

sys.meta_path.insert(0, Block())
for name in sys.argv[1:]:
    importlib.import_module(name)
assert 'rclpy' not in sys.modules
"""


@pytest.mark.timeout(600)
def test_everything_but_nodes_imports_without_ros():
    modules = []
    for path in python_files('robot', 'policies', 'reward_models', 'episodes', 'sim', 'learning'):
        name = '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')
        modules.append(f'apprentice.{name}')
    done = subprocess.run([sys.executable, '-c', BLOCK_ROS, *modules], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_file_has_the_licence_line_and_is_short():
    wrong = []
    for path in python_files(*MAY_IMPORT, 'tests', 'bench'):
        lines = path.read_text().splitlines()
        if lines and lines[0] != LICENCE:
            wrong.append(f'{relative(path)}: the first line must be {LICENCE!r}')
        if len(lines) > 400:
            wrong.append(f'{relative(path)}: {len(lines)} lines; one subject a file, 400 at most')
    assert not wrong, '\n'.join(wrong)


def test_no_print_in_the_library():
    wrong = []
    for path in python_files(*(room for room in MAY_IMPORT if room != 'cli')):
        lines = path.read_text().splitlines()
        for node in ast.walk(ast.parse('\n'.join(lines))):
            printing = isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'print'
            # an exception is marked, with the reason beside it
            if printing and 'noqa: T201' not in lines[node.lineno - 1]:
                wrong.append(f'{relative(path)}:{node.lineno}')
    assert not wrong, 'use logging, or the node logger: ' + ', '.join(wrong)


def nodes_of_setup() -> tuple[str, ...]:
    for node in ast.walk(ast.parse((ROOT / 'setup.py').read_text())):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == 'NODES':
            return ast.literal_eval(node.value)
    raise AssertionError('setup.py has no NODES')


@pytest.mark.parametrize('node', nodes_of_setup())
def test_every_executable_has_a_main(node):
    path = ROOT / 'nodes' / f'{node}.py'
    if not path.exists():
        pytest.skip(f'{node} is not there yet')
    functions = [n.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef)]
    assert 'main' in functions


def launched_nodes() -> list[tuple[str, dict]]:
    """(file, node) of every node entity in the launch files, groups included."""
    found = []

    def walk(items, file):
        for item in items:
            kind, body = next(iter(item.items()))
            if kind == 'node':
                found.append((file, body))
            elif kind == 'group':
                walk(body['children'] if isinstance(body, dict) else body, file)

    for path in sorted((ROOT / 'launch').rglob('*.yaml')):
        walk(yaml.safe_load(path.read_text())['launch'], path.name)
    return found


def known_words(path: Path, seen: set[Path]) -> set[str]:
    """String literals and class fields of a module and of the modules of ours that it imports."""
    if path in seen or not path.exists():
        return set()
    seen.add(path)
    tree = ast.parse(path.read_text())
    words = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    words |= {
        n.target.id for n in ast.walk(tree) if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
    }
    for name in imports(path):
        parts = name.split('.')
        if parts[:2] in (['apprentice', 'nodes'], ['apprentice', 'robot']):
            words |= known_words(ROOT.joinpath(*parts[1:]).with_suffix('.py'), seen)
    return words


@pytest.mark.parametrize(
    ('file', 'body'), launched_nodes(), ids=lambda v: v if isinstance(v, str) else v['name']
)
def test_launched_nodes_exist_and_declare_their_parameters(file, body):
    node = body['exec'].removesuffix('_node')
    assert body['pkg'] == 'apprentice'
    assert node in nodes_of_setup(), f'{file}: setup.py has no executable {body["exec"]}'
    path = ROOT / 'nodes' / f'{node}.py'
    if not path.exists():
        pytest.skip(f'{node} is not there yet')
    words = known_words(path, set()) | {'use_sim_time'}
    undeclared = [p['name'] for p in body['param'] if p['name'] not in words]
    assert not undeclared, f'{file}: {body["name"]} is given parameters it does not declare: {undeclared}'


def test_every_node_is_launched():
    """The session is started by the demo, the loopback robot by tests; everything else is launched."""
    launched = {body['exec'].removesuffix('_node') for _, body in launched_nodes()}
    assert launched == set(nodes_of_setup()) - {'session', 'loopback_robot'}


def test_launch_files_are_plain_ros_launch():
    """Values the launch package demands as strings are strings, in every file."""
    for file, body in launched_nodes():
        for key in (
            'pkg',
            'exec',
            'name',
            'namespace',
            'if',
            'unless',
            'args',
            'ros_args',
            'on_exit',
            'output',
        ):
            assert isinstance(body.get(key, ''), str), f'{file}: {body["name"]}: {key} must be a string'


def test_a_robot_is_never_armed_by_its_launch_file():
    text = (ROOT / 'launch' / 'robot.launch.yaml').read_text()
    assert "{name: auto_arm, value: 'false'}" in text
    assert "{name: person, value: ''}" in text
    assert all(p['name'] != 'arm_on_start' for _, body in launched_nodes() for p in body['param'])
