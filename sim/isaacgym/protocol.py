# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What engine and Isaac Gym worker say to each other: checked JSON on a socket, arrays in shared memory.

A message is its length (4 bytes, big endian) and that many bytes of UTF-8 JSON: ``{"id", "call",
"arguments"}`` to the worker, ``{"id", "result"}`` or ``{"id", "error"}`` back. Both ends check fields and
types before use; nothing is unpickled. Arrays (states, targets, frames) never travel: they lie in a mapped
file. Runs under Python 3.6 too.
"""

import json
import mmap
import struct

import numpy as np

VERSION = 1
PREFIX = 'apprentice_isaacgym_'  # of our folders and files
LARGEST = 64 * 1024 * 1024  # bytes of one message; a scene description is far smaller
_LENGTH = struct.Struct('>I')
_NUMBER = (int, float)
_ALIGN = 64  # bytes; where an array may begin

# call -> argument -> type; a list holding one type is a list of that type
CALLS = {
    'create': {
        'memory': str,
        'arrays': [list],
        'folder': str,
        'count': int,
        'threads': int,
        'device': str,
        'graphics': bool,
        'timestep': _NUMBER,
        'gravity': [_NUMBER],
        'spacing': _NUMBER,
        'ground': [dict],
        'actors': [dict],
    },
    'step': {'substeps': int},
    'colour': {'sim': int, 'body': int, 'colour': [_NUMBER]},
    'friction': {'sim': int, 'body': int, 'shape': int, 'friction': _NUMBER},
    'drive': {'sim': int, 'dof': int, 'stiffness': _NUMBER, 'damping': _NUMBER},
    'mass': {'sim': int, 'body': int, 'mass': _NUMBER, 'com': [_NUMBER], 'inertia': [_NUMBER]},
    'cameras': {'memory': str, 'arrays': [list], 'cameras': [dict]},
    'camera_pose': {'sim': int, 'camera': int, 'position': [_NUMBER], 'rotation': [_NUMBER]},
    'render': {'sims': [int]},
    'close': {},
}
ACTOR = {
    'name': str,
    'file': str,
    'fixed': bool,
    'gravity': bool,
    'position': [_NUMBER],
    'rotation': [_NUMBER],
    'bodies': [dict],
    'dofs': [dict],
}
BODY = {
    'name': str,
    'mass': _NUMBER,
    'com': [_NUMBER],
    'inertia': [_NUMBER],
    'shapes': [dict],
    'colour': [_NUMBER],
    'gravity': bool,
}
SHAPE = {'collides': bool, 'friction': _NUMBER, 'filter': int}
DOF = {
    'name': str,
    'limited': bool,
    'lower': _NUMBER,
    'upper': _NUMBER,
    'stiffness': _NUMBER,
    'damping': _NUMBER,
    'effort': _NUMBER,
    'armature': _NUMBER,
    'friction': _NUMBER,
}
CAMERA = {
    'name': str,
    'width': int,
    'height': int,
    'field_of_view': _NUMBER,
    'near': _NUMBER,
    'far': _NUMBER,
    'body': int,
    'position': [_NUMBER],
    'rotation': [_NUMBER],
}
GROUND = {'normal': [_NUMBER], 'distance': _NUMBER, 'friction': _NUMBER}
HELLO = {'token': str, 'protocol': int, 'python': str, 'versions': dict}
REQUEST = {'id': int, 'call': str, 'arguments': dict}
FAILURE = {'kind': str, 'message': str, 'traceback': str}


class ProtocolError(RuntimeError):
    """A message that is cut off, too long, not JSON, or not of the agreed form."""


def check(value, form, where):
    """Raise ProtocolError unless ``value`` has exactly the fields and types of ``form``."""
    if not isinstance(value, dict):
        raise ProtocolError(f'{where}: expected an object, got {type(value).__name__}')
    if set(value) != set(form):
        raise ProtocolError(f'{where}: has fields {sorted(value)}, needs {sorted(form)}')
    for name, kind in form.items():
        items = value[name] if isinstance(kind, list) else [value[name]]
        one = kind[0] if isinstance(kind, list) else kind
        if not isinstance(items, list):
            raise ProtocolError(f'{where}.{name}: expected a list')
        for item in items:
            if not isinstance(item, one) or (isinstance(item, bool) and one is not bool):
                raise ProtocolError(f'{where}.{name}: {item!r} is of the wrong type')
            if isinstance(item, float) and not np.isfinite(item):
                raise ProtocolError(f'{where}.{name}: {item!r} is not finite')


def check_request(message):
    """Check a request and its arguments, nested ones too. Returns (id, call, arguments)."""
    check(message, REQUEST, 'request')
    call, arguments = message['call'], message['arguments']
    if call not in CALLS:
        raise ProtocolError(f'unknown call {call!r}; known: {sorted(CALLS)}')
    check(arguments, CALLS[call], call)
    for ground in arguments.get('ground', []):
        check(ground, GROUND, 'ground')
    for camera in arguments.get('cameras', []):
        check(camera, CAMERA, 'camera')
    for actor in arguments.get('actors', []):
        check(actor, ACTOR, 'actor')
        for dof in actor['dofs']:
            check(dof, DOF, 'dof')
        for body in actor['bodies']:
            check(body, BODY, 'body')
            for shape in body['shapes']:
                check(shape, SHAPE, 'shape')
    return message['id'], call, arguments


def send(connection, message):
    """Send one message. Raises ProtocolError for a number that is not finite."""
    try:
        data = json.dumps(message, allow_nan=False).encode()
    except ValueError as error:
        raise ProtocolError('cannot send {}: {}'.format(message.get('call', 'a reply'), error)) from error
    if len(data) > LARGEST:
        raise ProtocolError(f'a message of {len(data)} bytes; at most {LARGEST}')
    connection.sendall(_LENGTH.pack(len(data)) + data)


def receive(connection):
    """The next message, or None where the other end has closed. Waits as long as the socket's time-out."""
    head = _exactly(connection, _LENGTH.size)
    if head is None:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > LARGEST:
        raise ProtocolError(f'a message of {length} bytes is announced; at most {LARGEST}')
    data = _exactly(connection, length)
    if data is None:
        raise ProtocolError('the connection ended within a message')
    try:
        return json.loads(data.decode())
    except ValueError as error:
        raise ProtocolError(f'not JSON: {error}') from error


def _exactly(connection, size):
    parts: list = []
    while size:
        part = connection.recv(min(size, 1 << 20))
        if not part:
            if parts:
                raise ProtocolError('the connection ended within a message')
            return None
        parts.append(part)
        size -= len(part)
    return b''.join(parts)


def memory_size(arrays):
    """Bytes that ``arrays`` (a list of [name, dtype, shape]) need in shared memory."""
    return max(_ALIGN, sum(_padded(dtype, shape) for _, dtype, shape in arrays))


def map_arrays(path, arrays):
    """Arrays in the mapped file ``path``, name -> array; both ends see each other's writes."""
    with open(path, 'r+b') as file:
        memory = mmap.mmap(file.fileno(), memory_size(arrays))
    views, offset = {}, 0
    for name, dtype, shape in arrays:
        count = int(np.prod(shape, dtype=np.int64))
        views[name] = np.frombuffer(memory, np.dtype(dtype), count, offset).reshape(shape)
        offset += _padded(dtype, shape)
    return views


def _padded(dtype, shape):
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    return -(-size // _ALIGN) * _ALIGN
