# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Samples mapped from a cache are those of memory, and a cache of something else is built again."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clone_rig import ROBOT, make_episode, make_episodes

from apprentice.episodes.episode_writer import write_episode
from apprentice.episodes.labels import write_label
from apprentice.episodes.lazy_frames import LazyFrames
from apprentice.learning import cache, demonstrations
from apprentice.learning.cache import MANIFEST, open_cache, rebuilding
from apprentice.learning.dataset import Samples
from apprentice.learning.demonstrations import load_demonstrations
from apprentice.robot.types import Outcome

HORIZON = 6


@pytest.fixture
def logs(tmp_path) -> Path:
    """Five episodes, of which a failure and an evaluation are not cloned."""
    for number in range(5):
        changes = {1: {'outcome': Outcome.FAILURE}, 3: {'eval_only': True}}.get(number, {})
        episode = make_episode(number, 9 + number, task=f'task {number % 2}', **changes)
        write_episode(tmp_path / 'logs', episode, ROBOT)
    return tmp_path / 'logs'


def load(logs: Path, folder: Path | str = '', horizon: int = HORIZON, read: list | None = None):
    def watch(readers):
        for reader in readers:
            if read is not None:
                read.append(1)
            yield reader

    return load_demonstrations([logs], ROBOT, horizon, logs.parent / 'spill', folder, watch=watch)


def assert_same(first: Samples, second: Samples) -> None:
    assert first.digest() == second.digest()
    np.testing.assert_array_equal(first.episode, second.episode)
    index = np.random.default_rng(0).permutation(len(first))
    one, other = first.chunks.select(index), second.chunks.select(index)
    assert one.text == other.text
    for name in ('state', 'actions', 'valid', 'weight'):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
        assert getattr(one, name).dtype == getattr(other, name).dtype
    for camera, stack in one.images.items():
        np.testing.assert_array_equal(stack, other.images[camera], camera)


def mapped(samples: Samples) -> bool:
    return isinstance(samples.chunks.images['front'].base, np.memmap)


def test_small_data_stays_in_memory(logs):
    samples, counts = load(logs)
    assert counts == {'read': 5, 'episodes': 3}
    assert (samples.episodes, len(samples)) == (3, 9 + 11 + 13)
    assert not mapped(samples)
    assert not (logs.parent / 'spill').exists()


def test_a_cache_holds_the_same_and_is_read_only_once(logs, tmp_path):
    read: list[int] = []
    memory, counts = load(logs)
    first, _ = load(logs, tmp_path / 'cache', read=read)
    assert len(read) == 5
    second, again = load(logs, tmp_path / 'cache', read=read)
    assert len(read) == 5  # not read again
    assert again == counts
    for samples in (first, second):
        assert mapped(samples)
        assert_same(memory, samples)


@pytest.mark.parametrize('change', ['file', 'label', 'new', 'gone', 'horizon'])
def test_a_cache_of_something_else_is_built_again(logs, tmp_path, change):
    load(logs, tmp_path / 'cache')
    first = sorted(logs.glob('*.mcap'))[0]
    horizon = HORIZON
    if change == 'file':
        os.utime(first, ns=(1, 1))
    elif change == 'label':
        write_label(first, Outcome.FAILURE, 'test')
    elif change == 'new':
        write_episode(logs, make_episode(9), ROBOT)
    elif change == 'gone':
        first.unlink()
    else:
        horizon += 1
    read: list[int] = []
    samples, counts = load(logs, tmp_path / 'cache', horizon, read)
    assert len(read) == counts['read'] == {'new': 6, 'gone': 4}.get(change, 5)
    assert counts['episodes'] == {'label': 2, 'new': 4, 'gone': 2}.get(change, 3)
    assert_same(samples, load(logs, horizon=horizon)[0])


@pytest.mark.parametrize('damage', ['cut', 'manifest', 'missing'])
def test_a_damaged_cache_is_built_again(logs, tmp_path, caplog, damage):
    before, _ = load(logs, tmp_path / 'cache')
    images = tmp_path / 'cache' / 'image.front.bin'
    if damage == 'cut':
        os.truncate(images, images.stat().st_size - 1)
    elif damage == 'missing':
        images.unlink()
    else:
        (tmp_path / 'cache' / MANIFEST).write_text('{')
    read: list[int] = []
    with caplog.at_level(logging.WARNING):
        after, _ = load(logs, tmp_path / 'cache', read=read)
    assert len(read) == 5
    assert_same(load(logs)[0], after)
    if damage != 'missing':
        assert 'is damaged' in caplog.text
    assert len(before) == len(after)


def test_what_does_not_fit_goes_to_the_disk(logs, monkeypatch):
    memory, _ = load(logs)
    one_episode = 9 * 2 * 64 * 64 * 3
    free = type('', (), {'available': one_episode / demonstrations.MEMORY_SHARE})
    monkeypatch.setattr(demonstrations.psutil, 'virtual_memory', lambda: free)
    read: list[int] = []
    samples, counts = load(logs, read=read)
    assert (len(read), counts) == (5, {'read': 5, 'episodes': 3})
    assert mapped(samples)
    assert (logs.parent / 'spill' / MANIFEST).exists()
    assert_same(memory, samples)


def test_images_that_are_decoded_when_used_go_to_the_disk(tmp_path):
    episodes = make_episodes(2)
    plain = Samples.of(make_episodes(2), HORIZON)
    decoded = []

    def lazy(stack: np.ndarray) -> LazyFrames:
        def decode(rows: np.ndarray) -> np.ndarray:
            decoded.append(len(rows))
            return stack[rows]

        return LazyFrames(stack.shape, decode)

    for episode in episodes:
        episode.images = {name: lazy(stack) for name, stack in episode.images.items()}
    samples, _ = demonstrations._read(
        [lambda e=e: e for e in episodes], HORIZON, tmp_path / 'spill', False, 'key'
    )
    assert sum(decoded) == 2 * (10 + 11)  # each once
    assert mapped(samples)
    assert_same(plain, samples)


def test_of_large_pictures_small_ones_are_kept_decoded_or_not(tmp_path):
    """Also where a lazy episode follows another; the digest is the same: a killed training goes on."""
    first, second = make_episodes(2)

    def lazy(episode):
        images = {name: LazyFrames(s.shape, lambda rows, s=s: s[rows]) for name, s in episode.images.items()}
        return replace(episode, images=images)

    def half(images):
        return images[:, ::2, ::2]

    def read(name, *episodes):
        readers = [lambda e=e: e for e in episodes]
        return demonstrations._read(readers, HORIZON, tmp_path / name, False, 'key', half)[0]

    plain, mixed = read('plain', first, second), read('mixed', first, lazy(second))
    assert mapped(mixed)
    assert not mapped(plain)
    assert_same(plain, mixed)
    assert plain.digest() == mixed.digest() != Samples.of([first, second], HORIZON).digest()


def test_a_cache_of_other_pictures_is_built_again(logs):
    keys = [
        demonstrations.source_key([logs], ROBOT, HORIZON, None, downsample)
        for downsample in (
            demonstrations.whole,
            lambda images: images[:, ::-1],
            lambda images: images[:, ::2],
        )
    ]
    assert len(set(keys)) == 3
    assert keys[0] == demonstrations.source_key([logs], ROBOT, HORIZON)


def test_a_folder_with_something_else_is_not_replaced(logs, tmp_path):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'thesis.txt').write_text('years of work')
    with pytest.raises(ValueError, match='is no cache and would be replaced'):
        load(logs, tmp_path / 'mine')
    assert (tmp_path / 'mine' / 'thesis.txt').read_text() == 'years of work'


def build(folder: Path, *episodes, error: BaseException | None = None) -> None:
    with rebuilding(folder, HORIZON) as writer:
        for episode in episodes:
            writer.add(episode)
        if error is not None:
            raise error


def test_an_interrupted_build_leaves_the_old_cache(logs, tmp_path):
    load(logs, tmp_path / 'cache')
    key = demonstrations.source_key([logs], ROBOT, HORIZON)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / 'cache', make_episode(0), error=KeyboardInterrupt())
    assert open_cache(tmp_path / 'cache', key) is not None
    assert sorted(p.name for p in tmp_path.iterdir()) == ['cache', 'logs']


def test_cameras_of_another_size_are_named(tmp_path):
    other = make_episode(1)
    other.images['wrist'] = other.images['wrist'][:, :32]
    with pytest.raises(ValueError, match=r'episode-0001.*train on episodes of one robot file'):
        build(tmp_path / 'cache', make_episode(0), other)


def test_without_a_success_it_says_so(tmp_path):
    write_episode(tmp_path / 'logs', make_episode(0, outcome=Outcome.FAILURE), ROBOT)
    for folder in ('', tmp_path / 'cache'):
        with pytest.raises(ValueError, match=r'no episodes to train on.*none of the 1 that were read'):
            load(tmp_path / 'logs', folder)
    with pytest.raises(ValueError, match='no episodes in'):
        load(tmp_path / 'nothing')
    assert cache.FORMAT == 1
