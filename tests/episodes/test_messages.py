# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
import struct

import numpy as np
import pytest
from mcap.records import Schema
from mcap_ros2.decoder import DecoderFactory

from apprentice.episodes.messages import MessageError, decode_image, definition, encode, header_stamp

TYPES = (
    'ActionChunk', 'ControlState', 'EpisodeState', 'ExecutedCommand', 'LearnerStatus', 'RewardSample',
    'WeightsAck', 'WeightsVersion',
)  # fmt: skip


def decode(kind, data):
    decoder = DecoderFactory().decoder_for('cdr', Schema(1, definition(kind).encode(), 'ros2msg', kind))
    assert decoder is not None
    return decoder(data)


def test_definition_holds_all_types_it_needs_once():
    text = definition('sensor_msgs/msg/JointState')
    assert text.count('MSG: std_msgs/Header') == 1
    assert text.count('MSG: builtin_interfaces/Time') == 1
    nested = definition('trajectory_msgs/msg/JointTrajectory')
    for name in ('trajectory_msgs/JointTrajectoryPoint', 'builtin_interfaces/Duration', 'std_msgs/Header'):
        assert f'MSG: {name}\n' in nested


@pytest.mark.parametrize('name', TYPES)
def test_own_types_survive_encoding(name):
    kind = f'apprentice_interfaces/msg/{name}'
    stamp = {'sec': 12, 'nanosec': 34}
    data = encode(kind, {'header': {'stamp': stamp, 'frame_id': 'base'}})
    message = decode(kind, data)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (12, 34)
    assert header_stamp(kind, data) == 12_000_000_034


def test_ros_reads_what_we_encode_and_we_what_ros_encodes():
    ros = pytest.importorskip('rclpy.serialization')
    from apprentice_interfaces.msg import ExecutedCommand
    from sensor_msgs.msg import Image, JointState

    state = JointState(name=['a', 'joint2'], position=[0.5, -1.25])
    state.header.stamp.sec = 7
    fields = {'header': {'stamp': {'sec': 7}}, 'name': ['a', 'joint2'], 'position': [0.5, -1.25]}
    assert ros.deserialize_message(encode('sensor_msgs/msg/JointState', fields), JointState) == state
    command = ExecutedCommand(seq=5, source=2, takeover_id=3, episode_id='e1', executed=[0.5, 0.25])
    numbers = {'seq': 5, 'source': 2, 'takeover_id': 3, 'episode_id': 'e1', 'executed': [0.5, 0.25]}
    kind = 'apprentice_interfaces/msg/ExecutedCommand'
    assert ros.deserialize_message(encode(kind, numbers), ExecutedCommand) == command
    assert list(decode(kind, ros.serialize_message(command)).executed) == [0.5, 0.25]
    image = Image(height=1, width=2, step=6, encoding='rgb8', data=bytes(range(6)))
    image.header.frame_id = 'cam'
    assert decode_image(ros.serialize_message(image)).tolist() == [[[0, 1, 2], [3, 4, 5]]]


def test_unknown_type_names_remedy():
    with pytest.raises(MessageError, match=r'install the package nowhere_msgs'):
        definition('nowhere_msgs/msg/Thing')


@pytest.mark.parametrize('frame', ['', 'f', 'four', 'front_optical_frame'])
@pytest.mark.parametrize(
    ('encoding', 'channels', 'order'),
    [('rgb8', 3, [0, 1, 2]), ('bgr8', 3, [2, 1, 0]), ('rgba8', 4, [0, 1, 2]), ('bgra8', 4, [2, 1, 0])],
)
def test_image_layouts(frame, encoding, channels, order):
    pixels = np.arange(5 * 4 * channels, dtype=np.uint8).reshape(5, 4, channels)
    padded = np.zeros((5, 4 * channels + 3), np.uint8)  # rows with a step wider than the picture
    padded[:, : 4 * channels] = pixels.reshape(5, -1)
    fields = {
        'header': {'stamp': {'sec': 1}, 'frame_id': frame},
        'height': 5, 'width': 4, 'encoding': encoding, 'step': padded.shape[1], 'data': padded.tobytes(),
    }  # fmt: skip
    image = decode_image(encode('sensor_msgs/msg/Image', fields))
    assert np.array_equal(image, pixels[:, :, order])


def test_depth_and_damaged_images_are_refused():
    fields = {'height': 2, 'width': 2, 'encoding': '16UC1', 'step': 4, 'data': bytes(8)}
    with pytest.raises(MessageError, match='publish rgb8'):
        decode_image(encode('sensor_msgs/msg/Image', fields))
    fields['encoding'], fields['step'] = 'rgb8', 6
    with pytest.raises(MessageError, match='shorter'):
        decode_image(encode('sensor_msgs/msg/Image', fields))
    with pytest.raises(MessageError, match='cut off'):
        decode_image(encode('sensor_msgs/msg/Image', fields)[:20])


def test_stamp_of_transforms_and_of_unstamped_types():
    one = b'\0\1\0\0' + struct.pack('<IiI', 1, 3, 5) + bytes(80)
    assert header_stamp('visualization_msgs/msg/MarkerArray', one) == 3_000_000_005
    assert header_stamp('visualization_msgs/msg/MarkerArray', b'\0\1\0\0' + struct.pack('<I', 0)) is None
    kind = 'std_msgs/msg/Float64MultiArray'
    assert header_stamp(kind, encode(kind, {'data': [1.0, 2.0]})) is None
