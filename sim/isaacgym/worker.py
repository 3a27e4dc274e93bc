# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The process that holds Isaac Gym: ``python worker.py SOCKET``, started by process.py.

Runs under Python 3.6 to 3.8 with the standard library, numpy, isaacgym and torch; the token and further
import paths come through the environment. Ends when the other side closes the socket.
"""

import os
import platform
import shutil
import socket
import sys
import traceback
import types
from typing import Any

_PACKAGE = 'apprentice_isaacgym'  # what our files are called here: their names alone could hide others


class Worker:
    """Answers calls one after the other."""

    def __init__(self, connection, library):
        self._connection, self._library = connection, library
        self._simulation: Any = None
        self._sensors: Any = None
        self._answers: dict = {
            'create': self._create,
            'step': self._step,
            'colour': self._colour,
            'friction': self._friction,
            'drive': self._drive,
            'mass': self._mass,
            'cameras': self._cameras,
            'camera_pose': self._camera_pose,
            'render': self._render,
            'close': self._close,
        }

    def serve(self):
        """Until ``close``, or until the other side is gone; its folder goes with it then."""
        from apprentice_isaacgym import protocol

        while True:
            message = protocol.receive(self._connection)
            if message is None:
                remove_folder(os.path.dirname(os.path.abspath(sys.argv[1])))
                return
            number, call = -1, ''
            try:
                number, call, arguments = protocol.check_request(message)
                answer = {'id': number, 'result': self._answers[call](**arguments) or {}}
            except Exception as error:
                number = message.get('id', number) if isinstance(message, dict) else number
                answer = {'id': number, 'error': failure(error)}
            protocol.send(self._connection, answer)
            if call == 'close':
                return

    def _create(self, memory, arrays, **description):
        from apprentice_isaacgym.simulation import Simulation

        self._simulation = Simulation(self._library, description, take_arrays(memory, arrays))

    def _step(self, substeps):
        self._simulation.step(substeps)

    def _colour(self, sim, body, colour):
        self._simulation.world.set_colour(sim, body, colour)

    def _friction(self, sim, body, shape, friction):
        self._simulation.world.set_friction(sim, body, shape, friction)

    def _drive(self, sim, dof, stiffness, damping):
        self._simulation.world.set_drive(sim, dof, stiffness, damping)

    def _mass(self, sim, body, **inertial):
        self._simulation.world.set_mass(sim, body, inertial)

    def _cameras(self, memory, arrays, cameras):
        from apprentice_isaacgym.cameras import Cameras

        world, views = self._simulation.world, take_arrays(memory, arrays)
        self._sensors = Cameras(self._library, world, cameras, views)
        return {'focal_lengths': self._sensors.focal_lengths()}

    def _camera_pose(self, sim, camera, position, rotation):
        self._sensors.set_pose(sim, camera, position, rotation)

    def _render(self, sims):
        self._sensors.render(sims)

    def _close(self):
        if self._simulation is not None:
            self._simulation.world.gym.destroy_sim(self._simulation.world.sim)


def take_arrays(memory, arrays):
    """Map shared memory and remove its name: nothing is left when both ends are gone, however they ended."""
    from apprentice_isaacgym.protocol import PREFIX, map_arrays

    views = map_arrays(memory, arrays)
    if os.path.basename(memory).startswith(PREFIX):
        os.unlink(memory)
    return views


def remove_folder(folder):
    """Remove a folder of ours, and no other, whatever path the worker was started with."""
    from apprentice_isaacgym.protocol import PREFIX

    if os.path.basename(folder).startswith(PREFIX):
        shutil.rmtree(folder, ignore_errors=True)


def failure(error):
    """An exception as protocol.FAILURE."""
    return {'kind': type(error).__name__, 'message': str(error), 'traceback': traceback.format_exc()}


def main():
    """Connect, say what was found, serve."""
    here = os.path.dirname(os.path.abspath(__file__))
    extra = os.environ.get('APPRENTICE_ISAACGYM_PATH', '').split(os.pathsep)
    sys.path[:1] = [path for path in extra if path]  # in place of this folder
    package = types.ModuleType(_PACKAGE)
    package.__path__ = [here]
    sys.modules[_PACKAGE] = package
    from apprentice_isaacgym import protocol

    token = os.environ.pop('APPRENTICE_ISAACGYM_TOKEN', '')
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(sys.argv[1])
    hello = {'token': token, 'protocol': protocol.VERSION, 'python': platform.python_version()}
    try:
        from apprentice_isaacgym.library import Library

        library = Library.load()
    except Exception as error:
        protocol.send(connection, {'id': 0, 'error': failure(error)})
        return
    protocol.send(connection, {'id': 0, 'result': dict(hello, versions=library.versions())})
    Worker(connection, library).serve()


if __name__ == '__main__':
    main()
