# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The files of the embedding cache: killed writers, damaged bytes, several processes, a full folder."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.cache import store as store_module
from apprentice.reward_models.cache.store import EmbeddingStore, stored_dim

DIM = 24
HEADER, RECORD, ENTRY = 48, 2 * DIM, 24


def key(i):
    return i.to_bytes(16, 'big')


def emb(i):
    return np.random.default_rng(i).normal(size=DIM).astype(np.float16)


@pytest.fixture
def opened(tmp_path):
    made = []

    def make(encoder='e', limit=1 << 20):
        made.append(EmbeddingStore(tmp_path / 'cache', encoder, DIM, limit))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def filled(opened, tmp_path):
    """The folder of a closed store with 10 embeddings."""
    store = opened()
    store.add({key(i): emb(i) for i in range(10)})
    store.close()
    return tmp_path / 'cache'


def assert_holds(store, numbers):
    for i in numbers:
        np.testing.assert_array_equal(store.get(key(i)), emb(i))


def test_what_was_added_is_there_after_opening_again(filled, opened):
    assert stored_dim(filled) == DIM
    store = opened()
    assert_holds(store, range(10))
    assert store.get(key(10)) is None
    assert store.used_bytes == 2 * HEADER + 10 * (RECORD + ENTRY)
    store.add({key(10): emb(10)})
    assert_holds(store, range(11))
    assert len(list(filled.glob('*.data'))) == 1  # it went on in the same file


def test_one_process_writes_and_others_read_on(opened, monkeypatch):
    monkeypatch.setattr(store_module, 'REFRESH_S', 0.0)
    writer, reader = opened(), opened()
    assert (writer.writes, reader.writes) == (True, False)
    writer.add({key(1): emb(1)})
    assert_holds(reader, [1])
    reader.add({key(2): emb(2)})
    assert reader.get(key(2)) is None
    writer.close()
    assert_holds(reader, [1])
    assert opened().writes


def test_a_killed_writer_loses_nothing_that_was_added(tmp_path, opened):
    script = (
        'import sys, time\n'
        f'sys.path.insert(0, {str(tmp_path)!r})\n'
        'import numpy as np\n'
        'from apprentice.reward_models.cache.store import EmbeddingStore\n'
        f's = EmbeddingStore({str(tmp_path / "cache")!r}, "e", {DIM})\n'
        f's.add({{i.to_bytes(16, "big"): np.random.default_rng(i).normal(size={DIM}).astype(np.float16)'
        ' for i in range(5)})\n'
        'print("ready", flush=True)\n'
        'time.sleep(60)\n'
    )
    process = subprocess.Popen([sys.executable, '-c', script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'ready\n'
    assert not opened().writes
    process.send_signal(signal.SIGKILL)
    process.wait()
    store = opened()
    assert store.writes  # the lock went with the process
    assert_holds(store, range(5))


@pytest.mark.parametrize('cut', [1, RECORD - 1, RECORD + 5])
def test_half_a_record_is_cut_off(filled, opened, cut):
    data = filled / '00000000.data'
    os.truncate(data, data.stat().st_size - cut)
    store = opened()
    lost = -(-cut // RECORD)
    assert_holds(store, range(10 - lost))
    assert store.get(key(9)) is None
    store.add({key(i): emb(i) for i in range(10)})
    store.close()
    assert_holds(opened(), range(10))


def test_records_without_entries_are_written_over(filled, opened):
    index = filled / '00000000.index'
    os.truncate(index, HEADER + 7 * ENTRY + 3)
    store = opened()
    assert len(store) == 7
    store.add({key(i): emb(i) for i in range(7, 10)})
    assert_holds(store, range(10))
    store.close()
    assert_holds(opened(), range(10))


def flip(path, place):
    with path.open('r+b') as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 1]))


def test_a_flipped_bit_in_a_record_is_noticed_and_the_record_made_again(filled, opened):
    flip(filled / '00000000.data', HEADER + 3 * RECORD + 5)
    store = opened()
    assert store.get(key(3)) is None
    assert store.counts.corrupt == 1
    assert_holds(store, [0, 1, 2, 4, 5, 6, 7, 8, 9])
    store.add({key(3): emb(3)})
    assert_holds(store, [3])
    store.close()
    assert_holds(opened(), range(10))


def test_a_flipped_bit_in_the_index_loses_that_entry_only(filled, opened):
    flip(filled / '00000000.index', HEADER + 3 * ENTRY + 2)
    store = opened()
    assert store.counts.corrupt == 1
    assert store.get(key(3)) is None
    assert_holds(store, [0, 1, 2, 4, 5, 6, 7, 8, 9])


@pytest.mark.parametrize('suffix', ['data', 'index'])
def test_a_damaged_header_makes_the_file_start_afresh(filled, opened, suffix):
    flip(filled / f'00000000.{suffix}', 10)
    store = opened()
    assert len(store) == 0
    store.add({key(1): emb(1)})
    store.close()
    store = opened()
    assert_holds(store, [1])
    assert store.get(key(2)) is None


def test_another_encoder_is_never_believed(filled, opened):
    assert len(opened('another')) == 0


def test_a_reader_does_not_remove_what_it_cannot_read(filled, opened):
    writer = opened()
    flip(filled / '00000000.data', 10)
    reader = opened()
    assert len(reader) == 0
    assert (filled / '00000000.index').exists()
    assert writer.writes


def test_a_full_folder_loses_its_oldest(opened, tmp_path):
    store = opened(limit=1 << 20)
    count = (1 << 20) // (RECORD + ENTRY)
    for start in range(0, 2 * count, 500):
        store.add({key(i): emb(0) for i in range(start, start + 500)})
        assert store.used_bytes <= 1 << 20
    assert store.counts.removed > 0
    assert store.get(key(0)) is None
    assert store.get(key(2 * count - 1)) is not None
    assert store.used_bytes > 0.8 * (1 << 20)
    store.close()
    on_disk = sum(p.stat().st_size for p in (tmp_path / 'cache').iterdir())
    assert on_disk <= 1 << 20


def test_a_full_disk_ends_writing_and_nothing_else(opened, monkeypatch, caplog):
    store = opened()
    store.add({key(1): emb(1)})
    write = os.write

    def full(file, data):
        write(file, bytes(data)[:7])
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(store_module.os, 'write', full)
    store.add({key(2): emb(2)})
    monkeypatch.undo()
    assert 'No space left' in caplog.text
    assert store.get(key(2)) is None
    assert_holds(store, [1])
    assert not store.writes
    again = opened()
    again.add({key(2): emb(2)})
    assert_holds(again, [1, 2])


def test_wrong_use_is_an_error(opened, tmp_path):
    with pytest.raises(RewardModelError, match='at least 1 MB'):
        opened(limit=1000)
    with pytest.raises(RewardModelError, match='float16'):
        opened().add({key(1): emb(1).astype(np.float32)})
    (tmp_path / 'file').write_text('')
    with pytest.raises(RewardModelError, match='cannot be used'):
        EmbeddingStore(tmp_path / 'file', 'e', DIM)
