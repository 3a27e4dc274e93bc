# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Reading episode logs: sealed files, and with ``salvage`` also unfinished or cut-off ones."""

from __future__ import annotations

import heapq
import logging
import os
import struct
from collections.abc import Collection, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Metadata, Schema
from mcap.stream_reader import get_chunk_data_stream
from mcap.writer import MCAP0_MAGIC
from mcap_ros2.decoder import DecoderFactory

from apprentice.episodes.files import METADATA, SCHEMA_VERSION, EpisodeFileError

_HEAD = struct.Struct('<BQ')  # opcode, length
_MESSAGE = struct.Struct('<HIQQ')  # channel, sequence, log time, publish time
_REORDER_NS = 2_000_000_000
_log = logging.getLogger(__name__)


class LogMessage(NamedTuple):
    """One recorded message: ``data`` is CDR, times are nanoseconds, ``name`` the topic in the robot file."""

    topic: str
    name: str
    type: str
    log_time: int
    publish_time: int
    sequence: int
    data: bytes
    schema: bytes
    channel_metadata: dict[str, str]


class LogReader:
    """One episode file.

    Args:
        path: a sealed ``.mcap``, or with ``salvage`` also a ``.mcap.part`` or a cut-off file, of which
            everything up to the damage is read.

    Attributes:
        metadata: robot, robot_file, episode_id, session_id, schema_version as far as recorded.

    Raises EpisodeFileError for missing, foreign, newer and damaged files.
    """

    def __init__(self, path: str | Path, salvage: bool = False):
        self.path, self.salvage = Path(path), salvage
        self._factory = DecoderFactory()
        self._decoders: dict[tuple[str, bytes], Any] = {}
        self.metadata = self._read_metadata()
        version = self.metadata.get('schema_version', '0')
        if not version.isdigit() or int(version) > SCHEMA_VERSION:
            raise EpisodeFileError(
                f'{self.path} has log format {version}, this version reads up to {SCHEMA_VERSION}; '
                'upgrade apprentice'
            )

    def messages(self, names: Collection[str] | None = None, ordered: bool = False) -> Iterator[LogMessage]:
        """All messages, or those of the given names, in the order of the file.

        With ``ordered`` in the order of their log time; messages up to 2 s out of order are sorted.
        """
        found = self._messages(None if names is None else set(names))
        if not ordered:
            yield from found
            return
        heap: list[tuple[int, int, LogMessage]] = []
        newest = 0
        for number, message in enumerate(found):
            heapq.heappush(heap, (message.log_time, number, message))
            newest = max(newest, message.log_time)
            while heap[0][0] < newest - _REORDER_NS:
                yield heapq.heappop(heap)[2]
        while heap:
            yield heapq.heappop(heap)[2]

    def decode(self, message: LogMessage) -> Any:
        """The message as an object with the fields of its type. Raises EpisodeFileError."""
        key = (message.type, message.schema)
        try:
            decoder = self._decoders.get(key)
            if decoder is None:
                schema = Schema(len(self._decoders) + 1, message.schema, 'ros2msg', message.type)
                decoder = self._decoders[key] = self._factory.decoder_for('cdr', schema)
            assert decoder is not None
            return decoder(message.data)
        except (McapError, ValueError, struct.error, IndexError, NotImplementedError) as error:
            raise EpisodeFileError(
                f'{self.path}: message {message.sequence} of {message.topic} is not a {message.type}: '
                f'{error}; the file is damaged'
            ) from error

    def _read_metadata(self) -> dict[str, str]:
        for opcode, body in self._records():
            if opcode == Opcode.METADATA:
                try:
                    record = Metadata.read(ReadDataStream(BytesIO(body)))
                except (McapError, struct.error, UnicodeDecodeError) as error:
                    self._damaged(f'has a damaged description ({error!r})')
                    continue
                if record.name == METADATA:
                    return record.metadata
            elif opcode in (Opcode.MESSAGE, Opcode.CHUNK, Opcode.DATA_END):
                break  # our writers put it first
        return {}

    def _messages(self, names: set[str] | None) -> Iterator[LogMessage]:
        schemas: dict[int, Schema] = {}
        channels: dict[int, tuple[Channel, str, Schema]] = {}
        try:
            for opcode, body in self._records(chunks=True):
                if opcode == Opcode.MESSAGE:
                    number, sequence, log_time, publish_time = _MESSAGE.unpack_from(body)
                    if number not in channels:
                        continue
                    channel, name, schema = channels[number]
                    data = bytes(body[_MESSAGE.size :])
                    times = (log_time, publish_time, sequence)
                    yield LogMessage(
                        channel.topic, name, schema.name, *times, data, schema.data, channel.metadata
                    )
                elif opcode == Opcode.SCHEMA:
                    record = Schema.read(ReadDataStream(BytesIO(body)))
                    schemas[record.id] = record
                elif opcode == Opcode.CHANNEL:
                    channel = Channel.read(ReadDataStream(BytesIO(body)))
                    name = channel.metadata.get('apprentice_name', channel.topic.lstrip('/'))
                    known = schemas.get(channel.schema_id)
                    if known is None or known.encoding != 'ros2msg' or channel.message_encoding != 'cdr':
                        continue
                    if names is None or name in names:
                        channels[channel.id] = (channel, name, known)
        except (McapError, struct.error, UnicodeDecodeError) as error:
            self._damaged(f'has a damaged record ({error!r})')

    def _records(self, chunks: bool = False) -> Iterator[tuple[int, memoryview]]:
        """(opcode, body) of every complete record; with ``chunks`` of those inside chunks as well."""
        try:
            stream = open(self.path, 'rb')  # noqa: SIM115 - closed below
        except FileNotFoundError:
            raise EpisodeFileError(f'{self.path} does not exist; check the path') from None
        except OSError as error:
            raise EpisodeFileError(f'{self.path} cannot be opened: {error.strerror}') from None
        with stream:
            if stream.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
                raise EpisodeFileError(
                    f'{self.path} is not an MCAP file; episodes are <id>.mcap in the folder episodes of a run'
                )
            yield from self._walk(stream, chunks)

    def _walk(self, stream: BinaryIO, chunks: bool) -> Iterator[tuple[int, memoryview]]:
        size = os.fstat(stream.fileno()).st_size
        while True:
            position = stream.tell()
            head = stream.read(_HEAD.size)
            opcode, length = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0)
            # zeros are what a power failure leaves at the end of a file
            if opcode == 0 or position + _HEAD.size + length > size:
                if head or not self.salvage:
                    self._damaged(f'is cut off at byte {position} of {size}')
                return
            body = memoryview(stream.read(length))
            if opcode == Opcode.CHUNK and chunks:
                yield from self._chunk(bytes(body), position)
            else:
                yield opcode, body
            if opcode == Opcode.DATA_END:
                return  # what follows repeats schemas and channels, and indexes them

    def _chunk(self, body: bytes, position: int) -> Iterator[tuple[int, memoryview]]:
        try:
            chunk = Chunk.read(ReadDataStream(BytesIO(body)))
            stream, size = get_chunk_data_stream(chunk, validate_crc=True)
            data = memoryview(stream.read(size))
        except Exception as error:  # the decompressors raise types of their own
            self._damaged(f'has a damaged chunk at byte {position} ({error})')
            return
        offset = 0
        while offset < len(data):
            opcode, length = _HEAD.unpack_from(data, offset)
            offset += _HEAD.size
            yield opcode, data[offset : offset + length]
            offset += length

    def _damaged(self, what: str) -> None:
        if not self.salvage:
            raise EpisodeFileError(
                f'{self.path} {what}; read the rest with salvage=True, '
                'or let a recorder with this run_dir seal it when it starts'
            )
        _log.warning('%s %s; the rest is read', self.path, what)
