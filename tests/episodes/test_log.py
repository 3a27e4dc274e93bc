# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Writing, sealing, recovering and reading logs, with real files, signals and limits."""

import os
import signal
import subprocess
import sys
import time

import pytest
import yaml
from mcap.reader import make_reader

from apprentice.episodes.background import BackgroundWriter
from apprentice.episodes.files import EpisodeFileError, LogWriteError
from apprentice.episodes.log_reader import LogReader
from apprentice.episodes.log_writer import LogWriter, qos_text
from apprentice.episodes.messages import encode
from apprentice.episodes.sealing import recover

STRING = 'std_msgs/msg/String'


def text(number: int, size: int = 0) -> bytes:
    return encode(STRING, {'data': f'{number}' + 'x' * size})


def numbers(path, salvage=False) -> list[int]:
    reader = LogReader(path, salvage)
    return [int(reader.decode(message).data.rstrip('x')) for message in reader.messages()]


def filled(folder, count=10, name='ep') -> LogWriter:
    writer = LogWriter(folder, name, {'robot': 'sim_arm', 'robot_file': 'name: sim_arm'})
    writer.add_topic('/ns/chatter', STRING, 'chatter')
    for i in range(count):
        writer.write('/ns/chatter', text(i), 1000 + i, 500 + i)
    return writer


def test_sealed_file_is_indexed_compressed_and_complete(tmp_path):
    writer = filled(tmp_path)
    assert not list(tmp_path.iterdir())  # writing never waits for the disk
    writer.flush()
    assert writer.part.exists()
    path = writer.seal()
    assert [p.name for p in tmp_path.iterdir()] == ['ep.mcap']
    with open(path, 'rb') as stream:
        reader = make_reader(stream, validate_crcs=True)
        assert reader.get_header().profile == 'ros2'
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        assert summary.statistics.message_count == 10
        assert summary.chunk_indexes[0].compression == 'zstd'
        (channel,) = summary.channels.values()
        assert (channel.topic, channel.message_encoding) == ('/ns/chatter', 'cdr')
        assert next(iter(summary.schemas.values())).encoding == 'ros2msg'
        (metadata,) = reader.iter_metadata()
        assert metadata.metadata['robot'] == 'sim_arm'
    messages = list(LogReader(path).messages({'chatter'}))
    assert [(m.log_time, m.publish_time, m.sequence) for m in messages] == [
        (1000 + i, 500 + i, i) for i in range(10)
    ]
    assert numbers(path) == list(range(10))


def test_quality_of_service_is_written_in_full():
    (profile,) = yaml.safe_load(qos_text('best_effort', 'transient_local', 7))
    assert (profile['reliability'], profile['durability'], profile['depth']) == (
        'best_effort', 'transient_local', 7,
    )  # fmt: skip
    for key in ('history', 'deadline', 'lifespan', 'liveliness', 'liveliness_lease_duration'):
        assert key in profile
    assert profile['deadline'] == {'sec': 9223372036, 'nsec': 854775807}


def test_every_cut_of_an_unfinished_file_is_readable(tmp_path):
    writer = filled(tmp_path, 5)
    writer.flush()
    data = writer.part.read_bytes()
    seen = set()
    for size in range(8, len(data) + 1, 3):
        cut = tmp_path / 'cut.mcap.part'
        cut.write_bytes(data[:size])
        found = numbers(cut, salvage=True)
        assert found == list(range(len(found)))
        seen.add(len(found))
    assert seen >= {0, 1, 2, 3, 4}
    (tmp_path / 'zeros.mcap.part').write_bytes(data + bytes(4096))
    assert numbers(tmp_path / 'zeros.mcap.part', salvage=True) == list(range(5))
    with pytest.raises(EpisodeFileError, match=r'cut off .* salvage=True'):
        numbers(cut)
    writer.close()


def test_foreign_missing_newer_and_damaged_files_are_named(tmp_path):
    with pytest.raises(EpisodeFileError, match='does not exist'):
        LogReader(tmp_path / 'none.mcap')
    (tmp_path / 'a.mcap').write_text('hello')
    with pytest.raises(EpisodeFileError, match=r'a\.mcap is not an MCAP file'):
        LogReader(tmp_path / 'a.mcap')
    newer = LogWriter(tmp_path, 'newer', {'schema_version': '99'})
    newer.flush()
    with pytest.raises(EpisodeFileError, match='upgrade apprentice'):
        LogReader(newer.part, salvage=True)
    path = filled(tmp_path, 200).seal()
    data = bytearray(path.read_bytes())
    middle = data.index(b'\x28\xb5\x2f\xfd') + 40  # inside the first compressed chunk
    data[middle] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(EpisodeFileError, match='damaged chunk'):
        numbers(path)
    assert numbers(path, salvage=True) == []


def test_same_episode_again_never_overwrites(tmp_path):
    first = filled(tmp_path, 3).seal()
    second = filled(tmp_path, 4)
    second.flush()
    third = filled(tmp_path, 5)
    assert [second.sealed.name, third.sealed.name] == ['ep.2.mcap', 'ep.3.mcap']
    second.seal()
    assert (numbers(first), numbers(second.sealed)) == ([0, 1, 2], [0, 1, 2, 3])


def test_recover_seals_the_dead_and_leaves_the_living(tmp_path):
    living = filled(tmp_path, 3, 'living')
    living.flush()
    dead = filled(tmp_path, 4, 'dead')
    dead.close()
    with open(dead.part, 'ab') as stream:
        stream.write(b'\x05' + (1000).to_bytes(8, 'little') + b'torn')
    (tmp_path / 'empty.mcap.part').touch()
    (tmp_path / 'foreign.mcap.part').write_text('not a log')
    assert recover(tmp_path) == [tmp_path / 'dead.mcap']
    assert numbers(tmp_path / 'dead.mcap') == [0, 1, 2, 3]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        'dead.mcap', 'foreign.mcap.part', 'living.mcap.part',
    ]  # fmt: skip
    assert numbers(living.seal()) == [0, 1, 2]


def test_recover_after_a_crash_between_rename_and_removal(tmp_path):
    writer = filled(tmp_path)
    writer.flush()
    part = writer.part.read_bytes()
    writer.seal()
    writer.part.write_bytes(part)
    assert recover(tmp_path) == [tmp_path / 'ep.mcap']
    assert [p.name for p in tmp_path.iterdir()] == ['ep.mcap']


KILLED = """
import sys, time
from apprentice.episodes.background import BackgroundWriter
from apprentice.episodes.messages import encode
from pathlib import Path
writer = BackgroundWriter(Path(sys.argv[1])).open('killed', {})
writer.add_topic('/chatter', 'std_msgs/msg/String')
number = 0
while True:
    writer.write('/chatter', encode('std_msgs/msg/String', {'data': str(number)}), time.time_ns())
    print(number, time.time_ns(), flush=True)
    number += 1
    time.sleep(0.01)
"""


def test_killed_process_loses_at_most_the_last_second(tmp_path):
    process = subprocess.Popen(
        [sys.executable, '-c', KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(2.7)
    process.send_signal(signal.SIGKILL)
    lines = process.stdout.read().splitlines()
    process.wait()
    last, killed_at = (int(value) for value in lines[-1].split())
    (path,) = recover(tmp_path)
    found = numbers(path)
    assert found == list(range(len(found)))
    at = {int(number): int(stamp) for number, stamp in (line.split() for line in lines)}
    assert killed_at - at[found[-1]] <= 1e9
    assert last > 100


FULL = """
import resource, signal, sys
from pathlib import Path
from apprentice.episodes.files import LogWriteError
from apprentice.episodes.log_writer import LogWriter
from apprentice.episodes.messages import encode
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = LogWriter(sys.argv[1], 'full')
writer.add_topic('/chatter', 'std_msgs/msg/String')
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
failures = 0
for number in range(100):
    text = encode('std_msgs/msg/String', {'data': f'{number}' + 'x' * 1000})
    writer.write('/chatter', text, number)
    try:
        writer.flush()
    except LogWriteError as error:
        failures += 1
        message = str(error)
assert failures > 50, failures
assert 'ulimit -f' in message and 'wait in memory' in message, message
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
try:
    writer.seal()
    raise SystemExit('sealing must fail')
except LogWriteError as error:
    pass
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
writer.seal()
"""


def test_full_disk_loses_nothing_once_there_is_room(tmp_path):
    process = subprocess.run([sys.executable, '-c', FULL, str(tmp_path)], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert numbers(tmp_path / 'full.mcap') == list(range(100))


def test_failing_seal_leaves_the_part_intact(tmp_path):
    writer = filled(tmp_path, 50)
    writer.flush()
    before = writer.part.read_bytes()
    (tmp_path / 'ep.mcap.tmp').mkdir()  # the temporary name cannot be opened, whoever we are
    with pytest.raises(LogWriteError, match=r'cannot write .*ep\.mcap.*safe in'):
        writer.seal()
    assert writer.part.read_bytes() == before
    (tmp_path / 'ep.mcap.tmp').rmdir()
    assert numbers(writer.seal()) == list(range(50))


def test_memory_limit_counts_what_is_lost(tmp_path):
    writer = LogWriter(tmp_path, 'ep', memory_limit=10_000)
    writer.add_topic('/chatter', STRING)
    for i in range(100):
        writer.write('/chatter', text(i, 1000), i)
    assert 80 < writer.lost < 100
    kept = numbers(writer.seal())
    assert kept == list(range(100 - writer.lost))


def test_order_by_log_time(tmp_path):
    writer = LogWriter(tmp_path, 'ep')
    writer.add_topic('/chatter', STRING)
    for i in (3, 1, 2, 0, 4):
        writer.write('/chatter', text(i), i * 10**8)
    path = writer.seal()
    reader = LogReader(path)
    assert numbers(path) == [3, 1, 2, 0, 4]
    assert [m.log_time // 10**8 for m in reader.messages(ordered=True)] == [0, 1, 2, 3, 4]


def test_background_flushes_seals_recovers_and_warns(tmp_path):
    filled(tmp_path, 3, 'left').close()
    background = BackgroundWriter(tmp_path, min_free_mb=1e9)
    writer = background.open('ep', {})
    writer.add_topic('/chatter', STRING)
    writer.write('/chatter', text(0), 1)
    deadline = time.monotonic() + 5
    while not (writer.part.exists() and numbers(writer.part, True) == [0] and background.errors):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert 'free some space' in background.errors['space']
    background.finish(writer)
    assert background.close() == []
    sealed = {item.path.name: item for item in background.sealed}
    assert sealed['left.mcap'].recovered
    assert sealed['ep.mcap'].messages == 1


@pytest.mark.skipif(os.geteuid() != 0, reason='needs root to mount a small disk')
def test_really_full_disk(tmp_path):
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', str(tmp_path)], check=False)
    if mounted.returncode:
        pytest.skip('mounting is not allowed here')
    try:
        writer = filled(tmp_path, 5)
        writer.flush()
        ballast = tmp_path / 'ballast'
        with pytest.raises(OSError, match='No space'):
            ballast.write_bytes(bytes(100_000))
        for i in range(5, 45):
            writer.write('/ns/chatter', text(i, 500), 1000 + i)
        with pytest.raises(LogWriteError, match='disk is full: free some space'):
            writer.flush()
        assert numbers(writer.part, salvage=True)[:5] == [0, 1, 2, 3, 4]
        ballast.unlink()
        assert numbers(writer.seal()) == list(range(45))
    finally:
        subprocess.run(['umount', '-l', str(tmp_path)], check=False)
