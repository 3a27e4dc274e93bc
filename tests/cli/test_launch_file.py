# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Launch YAML without a ROS installation: what it comes to, and what its errors say."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

import pytest

from apprentice.bench import transport
from apprentice.bench.runner import OURS
from apprentice.cli.launch_file import LaunchError, Plan, load

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def plan(tmp_path):
    """``plan(text, x='1')`` evaluates a launch file of that text."""

    def evaluate(text: str, /, environment: dict | None = None, **arguments: str) -> Plan:
        file = tmp_path / 'test.launch.yaml'
        file.write_text(text)
        return load(file, arguments, environment or {})

    return evaluate


def echo(word: str) -> str:
    return f'launch:\n- executable: {{cmd: "echo {word}"}}\n'


def words(plan: Plan) -> list[str]:
    return [process.command[-1] for process in plan.processes]


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('$(var x)', 'seven'),
        ('a-$(var $(var name))-b', 'a-seven-b'),
        ('$(var missing fallback)', 'fallback'),
        ('$(env HERE)', 'there'),
        ("$(env NOT_SET 'two words')", 'words'),
        ('$(env NOT_SET LARGE_DATA?a=4MB&b=true)', 'LARGE_DATA?a=4MB&b=true'),
        ('$(not true)', 'false'),
        ('$(and true $(or false 1))', 'true'),
        ('$(any 0 0 1)', 'true'),
        ('$(all 0 0 1)', 'false'),
        ('$(equals $(var x) seven)', 'true'),
        ('$(equals 1 1.0)', 'true'),
        ('$(not-equals a b)', 'true'),
        ("$(eval '2 * 3 < 7 and not False')", 'True'),
        ('$(eval \'\\"$(var x)\\" == \\"seven\\"\')', 'True'),
    ],
)
def test_substitutions(plan, text, expected):
    head = (
        'launch:\n- arg: {name: x, default: seven}\n- let: {name: name, value: x}\n- executable: {cmd: "echo '
    )
    assert words(plan(head + text + '"}\n', {'HERE': 'there'}))[0] == expected


def test_dirname_and_package_share(plan, tmp_path):
    text = echo('$(dirname)/$(filename)')
    assert words(plan(text)) == [f'{tmp_path}/{tmp_path}/test.launch.yaml']
    assert Path(words(plan(echo('$(find-pkg-share apprentice)')))[0], 'launch', 'sim.launch.yaml').exists()
    (tmp_path / 'share' / 'other').mkdir(parents=True)
    prefix = {'AMENT_PREFIX_PATH': str(tmp_path)}
    assert words(plan(echo('$(find-pkg-share other)'), prefix)) == [f'{tmp_path}/share/other']


def test_conditions_groups_and_environment(plan):
    text = """
launch:
- arg: {name: fast, default: 'false'}
- let: {name: word, value: outer}
- set_env: {name: A, value: one}
- group:
    scoped: true
    if: $(not $(var fast))
    children:
      - let: {name: word, value: inner}
      - set_env: {name: A, value: two}
      - unset_env: {name: B}
      - executable: {cmd: echo $(var word), env: [{name: C, value: three}]}
- group:
    - executable: {cmd: echo $(var word)-list, if: $(var fast)}
- group:
    scoped: false
    children:
      - let: {name: word, value: leaked}
- executable: {cmd: echo $(var word), unless: $(var fast)}
"""
    slow = plan(text, {'B': 'b'})
    assert words(slow) == ['inner', 'leaked']
    assert slow.processes[0].environment == {'A': 'two', 'C': 'three'}
    assert slow.processes[1].environment == {'A': 'one', 'B': 'b'}
    assert words(plan(text, fast='true')) == ['outer-list']


def test_include_passes_arguments_and_shares_variables(plan, tmp_path):
    (tmp_path / 'inner.launch.yaml').write_text(
        'launch:\n- arg: {name: who}\n- arg: {name: how, default: default}\n'
        '- let: {name: said, value: "yes"}\n- executable: {cmd: echo $(var who)-$(var how)}\n'
    )
    include = 'launch:\n- include: {file: $(dirname)/inner.launch.yaml, arg: [{name: who, value: me}]}\n'
    assert words(plan(include + '- executable: {cmd: echo $(var said)}\n')) == ['me-default', 'yes']
    with pytest.raises(LaunchError, match='the include of this file must pass it'):
        plan('launch:\n- arg: {name: who, default: x}\n- include: {file: $(dirname)/inner.launch.yaml}\n')
    with pytest.raises(LaunchError, match='includes itself'):
        plan('launch:\n- include: {file: $(filename)}\n')


def test_node_command_line(plan, tmp_path):
    executable = tmp_path / 'lib' / 'demo' / 'talker'
    executable.parent.mkdir(parents=True)
    executable.write_text('#!/bin/sh\n')
    executable.chmod(0o755)
    (tmp_path / 'p.yaml').write_text('/**: {ros__parameters: {a: 1}}')
    text = """
launch:
- arg: {name: seed, default: '5'}
- push_ros_namespace: {namespace: robots}
- node:
    pkg: demo
    exec: talker
    name: talker
    namespace: left
    args: --fast 'two words'
    ros_args: --log-level debug
    on_exit: shutdown
    respawn: 'false'
    param:
      - {from: $(dirname)/p.yaml}
      - {name: seed, value: $(var seed)}
      - {name: text, value: $(var seed), type: str}
      - {name: empty, value: '', type: str}
      - {name: rate, value: 2.0}
      - {name: flags, value: [true, false]}
      - {name: deep, param: [{name: inside, value: x}]}
    remap: [{from: chatter, to: said}]
"""
    process = plan(text, {'AMENT_PREFIX_PATH': str(tmp_path)}).processes[0]
    assert process.required
    assert process.command == (
        str(executable), '--fast', 'two words', '--ros-args', '--log-level', 'debug',
        '-r', '__node:=talker', '-r', '__ns:=/robots/left', '--params-file', f'{tmp_path}/p.yaml',
        '-p', 'seed:=5', '-p', 'text:="5"', '-p', 'empty:=""', '-p', 'rate:=2.0',
        '-p', 'flags:=[true, false]', '-p', 'deep.inside:="x"', '-r', 'chatter:=said',
    )  # fmt: skip


NODE = 'launch:\n- node: {pkg: apprentice, exec: gate_node, name: gate, '


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (NODE + 'remapp: []}', "entry 1, node 'gate': key 'remapp' is not known here; did you mean 'remap'"),
        ('launch:\n- nodee: {pkg: x}', "unknown entity; did you mean 'node'"),
        ('launch:\n- node_container: {pkg: x}', 'ros2 launch may know more'),
        ('launch:\n- node: {pkg: x}', "'exec' is missing"),
        ('launch:\n- node: {pkg: nowhere, exec: nothing}', "'nothing' of package 'nowhere' is not installed"),
        (NODE + 'param: {name: x}}', 'param must be a list'),
        (NODE + 'param: [{name: x, value: {a: 1}}]}', 'a parameter is a bool, number, string'),
        (NODE + 'param: [{name: x, value: fast, type: int}]}', "value 'fast' is not of type int"),
        (NODE + 'param: [{from: /nowhere.yaml}]}', 'parameter file /nowhere.yaml does not exist'),
        (NODE + 'if: true}', "if must be a string; write if: 'true'"),
        (NODE + 'if: perhaps}', "condition is 'perhaps'; it must be true, false"),
        (
            'launch:\n- arg: {name: x, description: a number}',
            'argument .x. .a number. has no default; pass x:=value',
        ),
        ('launch:\n- arg: {name: x, default: c, choice: [{value: a}, {value: b}]}', 'choose one of a, b'),
        ('launch:\n- log: {message: $(var x)}', r'\$\(var x\): no such variable'),
        ('launch:\n- log: {message: $(env NOPE)}', r'\$\(env NOPE\): not set; export it'),
        ('launch:\n- log: {message: $(command ls)}', r'substitution \$\(command\) is not supported'),
        ('launch:\n- log: {message: $(var x}', 'is not closed'),
        ("launch:\n- log: {message: $(eval 'open(1)')}", 'is not allowed'),
        (
            'launch:\n- include: {file: other.launch.py}',
            'not launch YAML; Python and XML launch files need ros2',
        ),
        (
            'launch:\n- include: {file: /nowhere.launch.yaml}',
            'launch file /nowhere.launch.yaml does not exist',
        ),
        ('launch: {a: 1}', 'a launch file is one key, launch:'),
        ('launch: [', 'cannot be read as YAML'),
    ],
)
def test_errors_name_file_entity_and_remedy(plan, text, message):
    with pytest.raises(LaunchError, match=message) as error:
        plan(text)
    assert 'launch.yaml' in str(error.value)


def test_unknown_argument_suggests_the_known_one(plan):
    with pytest.raises(LaunchError, match="no argument 'sed'; did you mean 'seed'"):
        plan("launch:\n- arg: {name: seed, default: '0'}\n", sed='1')


def test_our_launch_files_come_to_the_expected_processes():
    sim = load(ROOT / 'launch' / 'sim.launch.yaml', {'lockstep': 'true', 'namespace': 'left'})
    names = {p.name for p in sim.processes}
    assert names == {
        'sim_robot', 'gate', 'policy', 'reward_clip', 'reward_critic', 'reward_health', 'episode', 'teleop',
        'recorder', 'dashboard', 'learner', 'guide',
    }  # fmt: skip
    assert all('__ns:=/left' in p.command and 'use_sim_time:=true' in p.command for p in sim.processes)
    assert {p.name for p in sim.processes if p.required} == {'sim_robot', 'gate'}
    robot = load(ROOT / 'launch' / 'robot.launch.yaml', {'robot': 'a.yaml', 'weights': 'w', 'learn': 'false'})
    assert {p.name for p in robot.processes} == names - {'sim_robot', 'learner', 'guide'}
    alone = load(ROOT / 'launch' / 'sim.launch.yaml', {'rewards': 'false'})
    assert names - {p.name for p in alone.processes} == {'reward_clip', 'reward_critic', 'reward_health'}
    guided = load(ROOT / 'launch' / 'sim.launch.yaml', {'guide': 'true', 'guidance': 'my.yaml'})
    command = next(p.command for p in guided.processes if p.name == 'guide')
    assert any('guidance:=' in word and 'my.yaml' in word for word in command)
    profiles = {p.environment['FASTRTPS_DEFAULT_PROFILES_FILE'] for p in robot.processes}
    assert profiles == {str(ROOT / 'launch' / 'fastdds.xml')}
    assert all('use_sim_time:=false' in p.command for p in robot.processes)
    assert all('auto_arm:=true' not in p.command for p in robot.processes)


def test_faults_task_and_duration_reach_the_nodes_that_use_them(tmp_path):
    arguments = {'faults': str(tmp_path / 'plan.yaml'), 'sim_task': 'stack'}
    processes = {p.name: p.command for p in load(ROOT / 'launch' / 'sim.launch.yaml', arguments).processes}
    for name in ('sim_robot', 'policy'):
        assert f'faults:="{tmp_path}/plan.yaml"' in processes[name], name
    for name in ('sim_robot', 'episode', 'teleop'):
        assert 'sim_task:="stack"' in processes[name], name
    assert 'max_duration_s:=0.0' in processes['episode']  # the task's
    robot = load(ROOT / 'launch' / 'robot.launch.yaml', {'robot': 'a.yaml', 'weights': 'w'})
    commands = {p.name: p.command for p in robot.processes}
    assert 'max_duration_s:=10.0' in commands['episode']
    assert 'faults:=""' in commands['policy']


def test_the_bench_measures_the_transport_of_the_robot():
    robot = load(ROOT / 'launch' / 'robot.launch.yaml', {'robot': 'a.yaml', 'weights': 'w'})
    profiles = {p.environment['FASTRTPS_DEFAULT_PROFILES_FILE'] for p in robot.processes}
    rows = [row for case in transport.cases(Namespace(seconds=1.0)) for row in case.contestants]
    ours = next(row for row in rows if row.kind == OURS)
    assert profiles == {ours.environment['FASTRTPS_DEFAULT_PROFILES_FILE']}


def test_users_own_transport_setting_wins():
    environment = {'FASTRTPS_DEFAULT_PROFILES_FILE': 'my.xml', 'AMENT_PREFIX_PATH': sys.prefix}
    arguments = {'robot': 'a.yaml', 'weights': 'w'}
    plan = load(ROOT / 'launch' / 'robot.launch.yaml', arguments, environment)
    assert {p.environment['FASTRTPS_DEFAULT_PROFILES_FILE'] for p in plan.processes} == {'my.xml'}
