# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""An episode saved for the Rerun viewer, and what Foxglove finds in a log."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from apprentice.cli.main import main
from apprentice.episodes.episode_writer import write_episode
from apprentice.robot.parts import share


@pytest.fixture
def path(tmp_path, spec, episode):
    return write_episode(tmp_path, episode, spec, share('robots', 'sim_arm.yaml').read_text())


def test_rrd_holds_pictures_joints_and_rewards(tmp_path, path, spec):
    pytest.importorskip('rerun', reason="needs pip install 'apprentice[rerun]'")
    assert main(['rerun', str(path), '--save', str(tmp_path / 'rrd')]) == 0
    target = tmp_path / 'rrd' / f'{path.stem}.rrd'
    # read back with rerun's own tool
    command = [sys.executable, '-m', 'rerun_cli']
    home = {**os.environ, 'HOME': str(tmp_path), 'XDG_CONFIG_HOME': '', 'XDG_DATA_HOME': ''}
    # it would report its use
    subprocess.run([*command, 'analytics', 'disable'], env=home, capture_output=True, timeout=60, check=True)
    command += ['rrd', 'print', '-v', str(target)]
    shown = subprocess.run(command, env=home, capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0, shown.stderr
    wanted = {
        '/camera/front',
        '/camera/wrist',
        '/reward/critic',
        '/reward/simulator',
        '/episode',
        'EncodedImage',
    }
    wanted |= {f'/joints/{joint}/{what}' for joint in spec.joint_names for what in ('measured', 'commanded')}
    assert not {name for name in wanted if name not in shown.stdout}


def test_without_rerun_the_extra_is_named(path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'rerun', None)
    assert main(['rerun', str(path)]) == 2
    assert 'apprentice[rerun]' in capsys.readouterr().err


def test_layout_of_foxglove_names_topics_and_fields_of_the_log(path):
    """Every path of the shipped layout that is in this log leads to a field of its message."""
    layout = json.loads(share('layouts', 'foxglove.json').read_text())

    def leaves(node):
        return [node] if isinstance(node, str) else leaves(node['first']) + leaves(node['second'])

    assert sorted(leaves(layout['layout'])) == sorted(layout['configById'])
    fields: dict[str, object] = {}
    with open(path, 'rb') as stream:
        # by the schemas in the file alone, as Foxglove does
        for schema, channel, _, message in make_reader(
            stream, decoder_factories=[DecoderFactory()]
        ).iter_decoded_messages():
            assert (schema.encoding, channel.message_encoding) == ('ros2msg', 'cdr')
            fields.setdefault(channel.topic, message)
    named = 0
    for panel in layout['configById'].values():
        paths = [entry['value'] for entry in panel.get('paths', [])]
        paths += [
            value for value in (panel.get('topicPath'), panel.get('imageMode', {}).get('imageTopic')) if value
        ]
        for text in paths:
            topic, _, field = text.partition('.') if '.' in text else (text, '', '')
            topic = topic.partition('{')[0]
            if topic not in fields:
                assert topic == '/gate/state', f'{topic} is not recorded'
                continue
            named += 1
            for part in filter(None, field.replace('[:]', '').split('.')):
                assert hasattr(fields[topic], part), text
    assert named >= 8
