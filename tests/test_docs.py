# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What README and docs say, checked: commands, links, paths, and the tables of the graph."""

from __future__ import annotations

import ast
import dataclasses
import functools
import re
import shlex
from pathlib import Path

import pytest

from apprentice.cli.launch_file import load
from apprentice.cli.main import COMMANDS, build_parser
from apprentice.robot.arbitration import TRANSITIONS
from apprentice.robot.gate import GateConfig
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import ControlMode

ROOT = Path(__file__).resolve().parents[1]
SIM_ARM = ROOT / 'robots' / 'sim_arm.yaml'
DOCUMENTS = [
    str(path.relative_to(ROOT))
    for pattern in ('README.md', 'docs/*.md', 'weights/*/README.md', 'interfaces/README.md')
    for path in sorted(ROOT.glob(pattern))
]
NOT_OURS = {'build', 'install', 'log', 'runs', 'dist'}


def text_of(document: str) -> str:
    return (ROOT / document).read_text()


def prose(document: str) -> str:
    """The text without fenced blocks."""
    return re.sub(r'^```.*?^```', '', text_of(document), flags=re.DOTALL | re.MULTILINE)


def inline_code(document: str) -> list[str]:
    # a sentence may be wrapped inside its backticks
    return [' '.join(code.split()) for code in re.findall(r'`([^`]+)`', prose(document))]


def block_lines(document: str) -> list[str]:
    """Lines of indented blocks, comments cut off."""
    lines = [line.strip() for line in prose(document).splitlines() if line.startswith('    ')]
    return [re.sub(r'\s{2,}#.*$', '', line) for line in lines]


def commands(program: str) -> list[tuple[str, str, bool]]:
    """(document, command, whether it stands in a block and is therefore complete)."""
    found = []
    for document in DOCUMENTS:
        for line in block_lines(document):
            found.append((document, line, True))
        for code in inline_code(document):
            found.append((document, code, False))
    return [item for item in found if item[1].split()[:1] == [program] and len(item[1].split()) > 1]


def options(parser, words: list[str]) -> set[str]:
    """Options of the parser of a subcommand, two levels deep as in ``train bc``."""
    for word in words:
        for action in parser._actions:
            if isinstance(getattr(action, 'choices', None), dict) and word in action.choices:
                parser = action.choices[word]
    return {name for action in parser._actions for name in action.option_strings}


@pytest.mark.parametrize(('document', 'command', 'complete'), commands('apprentice'))
def test_apprentice_commands_exist(document, command, complete):
    words = shlex.split(command)[1:]
    assert words[0] in COMMANDS, f'{document}: there is no command `apprentice {words[0]}`'
    parser = build_parser(words[0])
    # in running text a command of `train` may lack what it needs
    if '--help' not in words and (complete or (len(words) > 2 and words[0] != 'train')):
        parser.parse_args(words)  # exits with code 2 on anything it does not know
    else:
        unknown = {w for w in words if w.startswith('--')} - options(parser, words)
        assert not unknown, f'{document}: `{command}` has unknown options {unknown}'
        if words[0] == 'train' and len(words) > 1:
            with pytest.raises(SystemExit, match='0'):
                parser.parse_args([*words[:2], '--help'])


def launch_arguments() -> list[tuple[str, str, str, list[str]]]:
    found = []
    for document, command, _ in [*commands('apprentice'), *commands('ros2')]:
        for name in re.findall(r'\b\w+\.launch\.yaml', command):
            arguments = re.findall(r'\b(\w+):=', command)
            found.append((document, command, name, arguments))
    return found


@pytest.mark.parametrize(('document', 'command', 'name', 'arguments'), launch_arguments())
def test_launch_files_have_the_arguments_that_are_named(document, command, name, arguments):
    declared = load(ROOT / 'launch' / name, {}, tolerant=True).arguments
    assert set(arguments) <= set(declared), f'{document}: {command}'
    required = {n for n, argument in declared.items() if argument.default is None}
    if arguments:
        assert required <= set(arguments), f'{document}: {command} lacks {required - set(arguments)}'


def test_session_node_has_the_parameters_that_are_named():
    named = [line for d in DOCUMENTS for line in block_lines(d) if line.startswith('session_node')]
    assert named
    source = (ROOT / 'nodes' / 'session.py').read_text()
    for line in named:
        for parameter in re.findall(r'-p (\w+):=', line):
            assert f"'{parameter}'" in source, f'the session node has no parameter {parameter}'


def test_make_targets_exist():
    phony = re.search(r'^\.PHONY: (.*)$', (ROOT / 'Makefile').read_text(), re.MULTILINE)
    assert phony
    named = commands('make')
    assert {'make demo', 'make test'} <= {' '.join(command.split()[:2]) for _, command, _ in named}
    for document, command, _ in named:
        assert command.split()[1] in phony.group(1).split(), f'{document}: {command}'


def anchor(heading: str) -> str:
    return re.sub(r'[^\w\- ]', '', heading.lower()).strip().replace(' ', '-')


@pytest.mark.parametrize('document', DOCUMENTS)
def test_links_and_images_exist(document):
    for target in re.findall(r'\]\(([^)\s]+)\)', prose(document)):
        if re.match(r'[a-z]+:', target):
            continue
        name, _, fragment = target.partition('#')
        path = (ROOT / document).parent / name if name else ROOT / document
        assert path.exists(), f'{document}: {target} does not exist'
        if fragment:
            headings = re.findall(r'^#+ (.*)$', path.read_text(), re.MULTILINE)
            assert fragment in {anchor(h) for h in headings}, f'{document}: {target} has no such heading'


def graph_names() -> set[str]:
    rows = [*table('docs/architecture.md', 'topic'), *table('docs/architecture.md', 'service')]
    return {row[0].strip('`') for row in rows} | {'episode/run'}


@pytest.mark.parametrize('document', DOCUMENTS)
def test_paths_in_backticks_exist(document):
    ours = {p.name for p in ROOT.iterdir() if not p.name.startswith('.')} - NOT_OURS
    files = {p.name for p in ROOT.iterdir() if p.is_file()} | {'.ci/run'}
    wrong = []
    for code in inline_code(document):
        is_path = re.fullmatch(r'[\w.-]+(/[\w.-]+)*/?', code) is not None
        if not is_path or code in graph_names():
            continue
        first = code.split('/')[0]
        if ('/' in code and first in ours | {'.ci'}) or code in files or re.fullmatch(r'[\w-]+\.md', code):
            places = (ROOT / code, (ROOT / document).parent / code)
            if not any(place.exists() for place in places):
                wrong.append(code)
    assert not wrong, f'{document}: {wrong} do not exist'


# the tables of docs/architecture.md


def table(document: str, first_column: str) -> list[list[str]]:
    """Rows of the table whose first heading is ``first_column``."""
    lines = text_of(document).splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith(f'| {first_column} |'))
    rows = []
    for line in lines[begin + 2 :]:
        if not line.startswith('|'):
            break
        rows.append([cell.strip() for cell in line.strip('|').split('|')])
    return rows


@functools.cache
def words_of(node: str) -> frozenset[str]:
    """Literals and names in a node's module and in the modules of nodes/ that it imports."""
    words: set[str] = set()
    waiting, seen = [node], set()
    while waiting:
        module = waiting.pop()
        path = ROOT / 'nodes' / f'{module}.py'
        if module in seen or not path.exists():
            continue
        seen.add(module)
        for item in ast.walk(ast.parse(path.read_text())):
            if isinstance(item, ast.Constant) and isinstance(item.value, str):
                words.add(item.value)
            elif isinstance(item, (ast.Name, ast.Attribute)):
                words.add(item.id if isinstance(item, ast.Name) else item.attr)
            elif isinstance(item, ast.ImportFrom) and (item.module or '').startswith('apprentice.nodes'):
                parts = (item.module or '').split('.')
                waiting += ['/'.join(parts[2:])] if len(parts) > 2 else [alias.name for alias in item.names]
    return frozenset(words)


@functools.cache
def all_words() -> frozenset[str]:
    return frozenset(word for module in modules_of_nodes() for word in words_of(module))


def modules_of_nodes() -> list[str]:
    """Paths below nodes/, without the ending; parts that are named in files lie in folders of their own."""
    folder = ROOT / 'nodes'
    return [str(path.relative_to(folder).with_suffix('')) for path in sorted(folder.rglob('*.py'))]


def robot_file_topics() -> set[str]:
    spec = RobotSpec.load(SIM_ARM)
    return {*(camera.topic for camera in spec.cameras), spec.joint_states_topic, spec.command.topic}


@pytest.mark.parametrize('row', table('docs/architecture.md', 'topic'), ids=lambda row: row[0].strip('`'))
def test_topics_are_used_by_the_nodes_that_are_named(row):
    topic, kind, makers = row[0].strip('`'), row[1], re.findall(r'`(\w+)`', row[3])
    assert kind in all_words(), f'no node uses {kind}'
    if topic in robot_file_topics():
        return
    assert topic in all_words(), f'no node uses {topic}'
    for maker in makers:
        assert topic in words_of(maker), f'nodes/{maker}.py does not know {topic}'


def literals_of_calls(*methods: str) -> set[str]:
    """Names given as text to these methods of nodes, e.g. the topics of publishers."""
    found: set[str] = set()
    for path in (ROOT / 'nodes').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, 'attr', '') in methods:
                given = [a.value for a in node.args[:2] if isinstance(a, ast.Constant)]
                found |= {value for value in given if isinstance(value, str)}
    return {name for name in found if not name.startswith('/')}


def test_every_topic_and_service_is_in_the_tables():
    methods = ('create_publisher', 'create_subscription', 'create_service', 'create_client')
    missing = literals_of_calls(*methods, '_switch', '_trigger') - graph_names()
    assert not missing, f'docs/architecture.md lacks {sorted(missing)}'


@pytest.mark.parametrize('row', table('docs/architecture.md', 'service'), ids=lambda row: row[0].strip('`'))
def test_services_are_served_by_the_nodes_that_are_named(row):
    service, kind, node = row[0].strip('`'), row[1], row[2].strip('`')
    assert {service, kind} <= words_of(node), f'nodes/{node}.py does not serve {service} ({kind})'


def test_modes_are_those_of_the_code():
    assert {row[0] for row in table('docs/architecture.md', 'mode')} == {mode.name for mode in ControlMode}


def test_transitions_are_those_of_the_code():
    documented = {}
    for event, origin, target in table('docs/architecture.md', 'event'):
        modes = {ControlMode[word] for word in re.findall(r'[A-Z]{4,}', origin)}
        if origin.startswith('every mode but'):
            modes = set(ControlMode) - modes
        documented[event] = (frozenset(modes), ControlMode[target])
    assert documented == TRANSITIONS


def test_gate_settings_are_those_of_the_code():
    defaults = {field.name: field.default for field in dataclasses.fields(GateConfig)}
    for name, default, _ in table('docs/architecture.md', 'setting'):
        assert float(default) == defaults[name], name
