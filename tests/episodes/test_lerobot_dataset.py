# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""LeRobotDataset v3.0 folders, written here in LeRobot's layout, read as episodes."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from lerobot_files import change_info, write_dataset

from apprentice.episodes import sources
from apprentice.episodes.lazy_frames import LazyFrames, join_frames
from apprentice.episodes.lerobot_dataset import LeRobotSource
from apprentice.episodes.lerobot_meta import LeRobotDatasetError
from apprentice.robot.feature_mapping import FeatureMapping
from apprentice.robot.settings import SettingsError
from apprentice.robot.types import Episode, Outcome, Source

pytest.importorskip('pyarrow', reason="needs pip install 'apprentice[lerobot-dataset]'")
pytest.importorskip('av', reason="needs pip install 'apprentice[lerobot-dataset]'")


def make(spec, number: int, steps: int, outcome: Outcome = Outcome.SUCCESS) -> Episode:
    """An episode whose pictures are plain: their brightness tells episode, camera and row."""
    random = np.random.default_rng(number)
    source = np.full(steps, int(Source.POLICY), np.uint8)
    source[3:5] = source[7:8] = int(Source.HUMAN)
    images = {
        camera.name: np.stack(
            [np.full((64, 64, 3), 8 * (row + 4 * number) + 4 * place, np.uint8) for row in range(steps)]
        )
        for place, camera in enumerate(spec.cameras)
    }
    return Episode(
        episode_id=f'e{number}',
        task=f'task {number % 2}',
        seed=0,
        outcome=outcome,
        end_cause=0,
        eval_only=False,
        stamps=np.arange(steps) * spec.action_dt,
        images=images,
        state=random.normal(size=(steps, spec.dim)).astype(np.float32),
        action=random.normal(size=(steps, spec.dim)).astype(np.float32),
        source=source,
        takeover_id=np.array([0, 0, 0, 1, 1, 0, 0, 2] + [0] * (steps - 8)),
        robot=spec.name,
    )


@pytest.fixture
def episodes(spec) -> list[Episode]:
    return [make(spec, 0, 12), make(spec, 1, 9, Outcome.FAILURE), make(spec, 2, 10)]


def same(found: Episode, wanted: Episode, pixels: float = 0.0) -> None:
    for name in ('state', 'action', 'source', 'takeover_id'):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), name)
    np.testing.assert_allclose(found.stamps, wanted.stamps)
    assert (found.task, found.outcome, found.robot) == (wanted.task, wanted.outcome, wanted.robot)
    assert set(found.images) == set(wanted.images)
    for name, images in wanted.images.items():
        assert found.images[name].dtype == np.uint8
        worst = np.abs(np.asarray(found.images[name], int) - images).max()
        assert worst <= pixels, f'{name} differs by {worst}'


@pytest.mark.parametrize('lazy', [False, True])
def test_images_in_parquet_are_read_without_loss(tmp_path, spec, episodes, lazy):
    source = LeRobotSource(write_dataset(tmp_path / 'data set', episodes, spec.joint_names), spec)
    assert len(source) == 3
    assert source.decoded_bytes == 31 * 2 * 64 * 64 * 3
    for number in (2, 0, 1):
        found = source.episode(number, lazy)
        assert isinstance(found.images['front'], LazyFrames if lazy else np.ndarray)
        same(found, episodes[number])
    assert source.episode(1).episode_id == 'data set_ep000001'


def test_frames_of_videos_are_the_right_ones(tmp_path, spec, episodes):
    source = LeRobotSource(write_dataset(tmp_path, episodes, spec.joint_names, video=True), spec)
    for number in (1, 0, 2):  # the second lies inside the file of the first
        same(source.episode(number), episodes[number], pixels=2)  # rows differ by 8, cameras by 4
    frames = source.episode(1, lazy=True).images['wrist']
    wanted = episodes[1].images['wrist'].astype(int)
    for index in (8, [7, 0, 0, 3], slice(2, 9, 3), np.arange(9) % 2 == 0):
        assert frames[index].shape == wanted[index].shape
        assert np.abs(frames[index].astype(int) - wanted[index]).max() <= 2
    assert frames[[]].shape == (0, 64, 64, 3)


def test_without_extras_a_person_drove_and_succeeded(tmp_path, spec, episodes):
    folder = write_dataset(tmp_path, episodes, spec.joint_names, extras=False)
    found = LeRobotSource(folder, spec).episode(1)
    assert found.outcome == Outcome.SUCCESS
    assert set(found.source) == {int(Source.HUMAN)}
    assert set(found.takeover_id) == {1}


def test_every_difference_is_named_at_once(tmp_path, spec, episodes):
    folder = write_dataset(tmp_path, episodes, ['a', *spec.joint_names[1:]], fps=15)
    images = {'dtype': 'image', 'shape': [3, 48, 64], 'names': ['channels', 'height', 'width']}

    def features(old):
        new = {name: feature for name, feature in old.items() if 'images' not in name}
        return {**new, 'observation.images.front': images}

    change_info(folder, features=features)
    mapping = FeatureMapping(scale={'joint9': 2.0})
    with pytest.raises(LeRobotDatasetError) as caught:
        LeRobotSource(folder, spec, mapping)
    text = str(caught.value)
    for part in (
        "scale of ['joint9']",
        "camera 'front' is (64, 64), 'observation.images.front' is (48, 64)",
        "camera 'wrist' needs 'observation.images.wrist', the dataset has the images ['observation.images.fr",
        '15 frames a second, the robot steps every 0.1 s',
        "'observation.state' lacks ['joint1'], it has ['a', 'joint2'",
        "'action' has ['a'], which robot 'sim_arm' does not have",
        '--mapping',
    ):
        assert part in text, f'{part!r} is not in {text!r}'


def test_other_names_units_and_order_by_a_mapping(tmp_path, spec, episodes):
    names = [f'motor_{i}.pos' for i in range(7)] + ['speed']
    order = [3, 0, 1, 2, 4, 5, 6]
    theirs = []
    for episode in episodes:
        new = dataclasses.replace(episode)
        for what in ('state', 'action'):
            ours = getattr(episode, what)
            columns = np.rad2deg(ours[:, order])
            columns[:, 6] = 1 - ours[:, 6] / 0.04  # an open hand is 0
            setattr(new, what, np.concatenate([columns, columns[:, :1]], 1).astype(np.float32))
        new.images = {'top': episode.images['front'], 'hand': episode.images['wrist']}
        theirs.append(new)
    folder = write_dataset(tmp_path / 'd', theirs, names)
    file = tmp_path / 'mapping.yaml'
    file.write_text(
        'cameras: {front: observation.images.top, wrist: observation.images.hand}\n'
        'joints: {joint1: motor_1.pos, joint2: motor_2.pos, joint3: motor_3.pos, joint4: motor_0.pos,\n'
        '         joint5: motor_4.pos, joint6: motor_5.pos, gripper: motor_6.pos}\n'
        'scale: {joint1: degrees, joint2: degrees, joint3: degrees, joint4: degrees, joint5: degrees,\n'
        '        joint6: degrees, gripper: -0.04}\n'
        'offset: {gripper: 0.04}\n'
    )
    source = LeRobotSource(folder, spec, FeatureMapping.load(file))
    for found, wanted in zip((source.episode(number) for number in range(3)), episodes):
        np.testing.assert_allclose(found.state, wanted.state, atol=1e-6)
        np.testing.assert_allclose(found.action, wanted.action, atol=1e-6)
        np.testing.assert_array_equal(found.images['front'], wanted.images['front'])
    with pytest.raises(LeRobotDatasetError, match='speed'):  # an element too many is only left out when asked
        LeRobotSource(folder, spec, FeatureMapping(names=(*spec.joint_names, 'speed')))


def test_vectors_without_names_need_a_mapping(tmp_path, spec, episodes):
    folder = write_dataset(tmp_path, episodes, spec.joint_names)

    def nameless(old):
        return {
            name: {**feature, 'names': feature['names'] if 'images' in name else None}
            for name, feature in old.items()
        }

    change_info(folder, features=nameless)
    with pytest.raises(LeRobotDatasetError, match=r'7 elements without names.*`names`'):
        LeRobotSource(folder, spec)
    same(LeRobotSource(folder, spec, FeatureMapping(names=spec.joint_names)).episode(0), episodes[0])

    def grouped(old):
        named = {'names': {'motors': list(spec.joint_names)}}
        return {name: {**feature, **({} if feature['names'] else named)} for name, feature in old.items()}

    change_info(folder, features=grouped)  # as older recordings have it
    same(LeRobotSource(folder, spec).episode(0), episodes[0])


def test_a_multiple_of_the_rate_is_thinned_out(tmp_path, spec, episodes):
    folder = write_dataset(tmp_path, episodes, spec.joint_names, fps=30, video=True)
    source = LeRobotSource(folder, spec)
    assert source.stride == 3
    found, wanted = source.episode(2), episodes[2]
    assert len(found) == 3  # of 10 frames; the tenth begins a step that is not complete
    np.testing.assert_allclose(found.stamps, [0.0, 0.1, 0.2])
    np.testing.assert_array_equal(found.state, wanted.state[[0, 3, 6]])
    np.testing.assert_array_equal(found.action, wanted.action[[2, 5, 8]])
    np.testing.assert_array_equal(found.source, wanted.source[[2, 5, 8]])
    assert np.abs(found.images['front'].astype(int) - wanted.images['front'][[0, 3, 6]]).max() <= 2


@pytest.mark.parametrize(('resize', 'inner'), [('stretch', (64, 64)), ('pad', (32, 64))])
def test_another_size_only_when_asked(tmp_path, spec, episodes, resize, inner):
    for episode in episodes:
        episode.images = {
            name: stack[:, :40, :].repeat(2, 2)[:, :, :80] for name, stack in episode.images.items()
        }
    folder = write_dataset(tmp_path, episodes, spec.joint_names)
    with pytest.raises(LeRobotDatasetError, match=r'\(40, 80\).*resize'):
        LeRobotSource(folder, spec)
    image = LeRobotSource(folder, spec, FeatureMapping(resize=resize)).episode(0).images['front'][3]
    assert image.shape == (64, 64, 3)
    assert np.sum(image[:, 0, 0] == episodes[0].images['front'][3, 0, 0, 0]) == inner[0]


def test_another_version_says_how_to_convert(tmp_path, spec, episodes):
    folder = write_dataset(tmp_path / 'robot' / 'set', episodes, spec.joint_names)
    change_info(folder, codebase_version='v2.1')
    with pytest.raises(LeRobotDatasetError, match=r'convert_dataset_v21_to_v30 --root=.*robot --repo-id=set'):
        LeRobotSource(folder, spec)
    change_info(folder, codebase_version='v4.0')
    with pytest.raises(LeRobotDatasetError, match=r'this version reads v3\.0'):
        LeRobotSource(folder, spec)


def damage(folder, name: str, content: bytes | None) -> None:
    path = next(folder.glob(name))
    path.write_bytes(path.read_bytes()[:200] if content is None else content)


def test_damaged_and_unfinished_datasets_are_refused(tmp_path, spec, episodes):
    folder = write_dataset(tmp_path / 'a', episodes, spec.joint_names, video=True)
    damage(folder, 'videos/*front/*/file-001.mp4', b'no video')
    source = LeRobotSource(folder, spec)
    same(source.episode(0), episodes[0], pixels=2)
    with pytest.raises(LeRobotDatasetError, match=r'file-001\.mp4 is missing or damaged'):
        source.episode(2)
    damage(folder, 'data/*/file-000.parquet', None)
    with pytest.raises(LeRobotDatasetError, match=r'file-000\.parquet is missing or damaged.*finalize'):
        source.episode(0)
    change_info(folder, total_episodes=4)
    with pytest.raises(LeRobotDatasetError, match=r'3 episodes with 31 frames.*4 and 31.*finalise'):
        LeRobotSource(folder, spec)
    damage(folder, 'meta/episodes/*/*.parquet', None)
    with pytest.raises(LeRobotDatasetError, match='damaged'):
        LeRobotSource(folder, spec)
    (folder / 'meta' / 'info.json').write_text('{')
    with pytest.raises(LeRobotDatasetError, match=r'info\.json is unreadable'):
        LeRobotSource(folder, spec)
    with pytest.raises(LeRobotDatasetError, match='is no LeRobotDataset'):
        LeRobotSource(tmp_path, spec)


def test_a_video_that_is_too_short_is_refused(tmp_path, spec, episodes):
    folder = write_dataset(tmp_path, episodes[:1], spec.joint_names, video=True)
    shorter = make(spec, 0, 9)
    other = write_dataset(tmp_path / 'other', [shorter], spec.joint_names, video=True)
    video = 'videos/observation.images.front/chunk-000/file-000.mp4'
    (folder / video).write_bytes((other / video).read_bytes())
    with pytest.raises(LeRobotDatasetError, match=r'no frame at 0\.900 s'):
        LeRobotSource(folder, spec).episode(0)


def test_numbers_that_are_not_finite_are_refused(tmp_path, spec, episodes):
    episodes[1].action[4, 2] = math.nan
    source = LeRobotSource(write_dataset(tmp_path, episodes, spec.joint_names), spec)
    source.episode(0)
    with pytest.raises(LeRobotDatasetError, match='episode 1: action holds NaN'):
        source.episode(1)


def test_a_mapping_is_checked(tmp_path):
    file = tmp_path / 'mapping.yaml'
    for text, message in (
        ('resize: crop', 'resize'),
        ('scale: {joint1: miles}', "scale of 'joint1' is 'miles'"),
        ('scale: {joint1: 0}', 'joint1'),
        ('offset: {joint1: degrees}', 'joint1'),
        ('camera: {}', 'camera'),
        ('- a', 'no mapping'),
        ('{', 'not valid YAML'),
    ):
        file.write_text(text)
        with pytest.raises(SettingsError, match=message):
            FeatureMapping.load(file)


def test_a_folder_is_read_by_what_lies_in_it(tmp_path, spec, episodes, monkeypatch):
    from apprentice.episodes.episode_writer import write_episode

    write_episode(tmp_path / 'logs', episodes[0], spec)
    folder = write_dataset(tmp_path / 'set', episodes, spec.joint_names)
    assert sources.episode_readers(tmp_path / 'none', spec) == []
    (logged,) = sources.episode_readers(tmp_path / 'logs', spec)
    np.testing.assert_array_equal(logged().action, episodes[0].action)
    read = [reader() for reader in sources.episode_readers(folder, spec)]
    assert all(isinstance(episode.images['front'], np.ndarray) for episode in read)
    monkeypatch.setattr(sources, 'MEMORY_SHARE', 0.0)
    read = [reader() for reader in sources.episode_readers(folder, spec)]
    assert all(isinstance(episode.images['front'], LazyFrames) for episode in read)


def test_joined_frames_decode_only_what_is_asked_for():
    asked = []

    def part(first: int, length: int) -> LazyFrames:
        def decode(rows):
            asked.append((first, rows.tolist()))
            return np.broadcast_to((rows + first).astype(np.uint8)[:, None, None, None], (len(rows), 2, 2, 3))

        return LazyFrames((length, 2, 2, 3), decode)

    joined = join_frames([part(0, 3), np.full((2, 2, 2, 3), 77, np.uint8), part(100, 4)])
    assert joined.shape == (9, 2, 2, 3)
    assert joined[[8, 1, 3, 5]][:, 0, 0, 0].tolist() == [103, 1, 77, 100]
    assert asked == [(0, [1]), (100, [3, 0])]
    assert np.asarray(joined)[:, 1, 1, 2].tolist() == [0, 1, 2, 77, 77, 100, 101, 102, 103]
    with pytest.raises(ValueError, match='different sizes'):
        join_frames([part(0, 3), np.zeros((2, 4, 4, 3), np.uint8)])
