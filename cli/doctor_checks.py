# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The checks of ``apprentice doctor``. Each returns (level, what was found, what to do about it).

What may crash an interpreter or cost seconds runs in a child process.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from apprentice.robot.parts import find_robot, share
from apprentice.robot.spec import RobotSpec

Result = tuple[str, str, str]
INSTALL = 'run make install, or pip install -c constraints.txt -e ".[ros]" ./interfaces'

_RENDER = """
import time, mujoco
model = mujoco.MjModel.from_xml_string('''
<mujoco>
  <visual><quality shadowsize="0" offsamples="0"/><global offwidth="64" offheight="64"/></visual>
  <worldbody>
    <light pos="0 0 2"/><geom type="sphere" size="1" rgba="1 0 0 1"/>
    <camera name="camera" pos="0 -4 0" xyaxes="1 0 0 0 0 1"/>
  </worldbody>
</mujoco>''')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 64, 64)
renderer.update_scene(data, 'camera')
assert renderer.render()[32, 32, 0] > 50, 'the picture is empty'
start = time.perf_counter()
for _ in range(20): renderer.render()
print(f'{20 / (time.perf_counter() - start):.0f} frames/s at 64x64')
"""


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``level`` is ok, warn or fail."""

    name: str
    level: str
    found: str
    remedy: str


def _child(code: str, timeout_s: float = 120.0, **environment: str) -> tuple[bool, str]:
    """Run Python code in a child; returns (succeeded, its output or the last line of its error)."""
    try:
        done = subprocess.run(
            [sys.executable, '-c', code],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env={**os.environ, **environment},
        )
    except subprocess.TimeoutExpired:
        return False, f'no answer within {timeout_s:.0f} s'
    if done.returncode == 0:
        return True, done.stdout.strip()
    lines = done.stderr.strip().splitlines()
    return False, lines[-1] if lines else f'exit code {done.returncode}'


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ''


def python() -> Result:
    found = f'{platform.python_version()}, {sys.prefix}'
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        return 'fail', found, 'use Python 3.10, 3.11 or 3.12: make PYTHON=python3.11 install'
    return 'ok', found, ''


def rclpy() -> Result:
    code = (
        'import rclpy; print(rclpy.__file__); rclpy.init(); n = rclpy.create_node("doctor"); n.destroy_node()'
    )
    good, text = _child(code)
    version = _version('ros-jazzy-rclpy') or _version('rclpy')
    if not good:
        return 'fail', text, f'{INSTALL}; or source /opt/ros/jazzy/setup.bash'
    return 'ok', f'{version}, a node starts ({text})', ''


def middleware() -> Result:
    good, text = _child('import rclpy; print(rclpy.get_rmw_implementation_identifier())')
    if not good:
        return 'fail', text, INSTALL
    if text != 'rmw_fastrtps_cpp':
        return 'warn', text, 'only rmw_fastrtps_cpp was tried; unset RMW_IMPLEMENTATION to use it'
    return 'ok', text, ''


def interfaces() -> Result:
    code = (
        'from apprentice_interfaces.msg import ActionChunk;'
        'from rclpy.serialization import serialize_message;'
        'serialize_message(ActionChunk())'
    )
    good, text = _child(code)
    if not good:
        return (
            'fail',
            text,
            'run pip install ./interfaces (needs a C++ compiler), or colcon build and source it',
        )
    return 'ok', _version('apprentice_interfaces') or 'colcon build', ''


def torch() -> Result:
    found = f'torch {_version("torch") or "missing"}, torchvision {_version("torchvision") or "missing"}'
    good, text = _child(
        'import torch, torchvision; torchvision.ops.nms(torch.rand(1, 4), torch.rand(1), 0.5);'
        'print(torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU, runs on the CPU")'
    )
    if not good:
        return (
            'fail',
            f'{found}: {text}',
            'install a matching pair: pip install -c constraints.txt torch torchvision',
        )
    return 'ok', f'{found}; {text}', ''


def open_clip() -> Result:
    good, text = _child('import open_clip; print(open_clip.__version__)')
    return ('ok', text, '') if good else ('fail', text, INSTALL)


def mujoco() -> Result:
    version = _version('mujoco')
    if not version:
        return 'fail', 'missing', INSTALL
    if version == '4.0.0':
        return 'fail', version, "4.0.0 has a solver bug; pip install 'mujoco>=3.3,!=4.0.0'"
    return 'ok', version, ''


def render() -> Result:
    backend = os.environ.get('MUJOCO_GL', 'egl')
    good, text = _child(_RENDER, MUJOCO_GL=backend)
    if not good:
        return 'fail', f'MUJOCO_GL={backend}: {text}', 'sudo apt-get install -y libegl1 libgl1-mesa-dri'
    return 'ok', f'MUJOCO_GL={backend}: {text}', ''


def isaac_gym() -> Result:
    """Optional: where it is not set up nothing is wrong."""
    from apprentice.sim.isaacgym.process import (
        DEVICE,
        PYTHON,
        REMEDY,
        IsaacGymUnavailable,
        Options,
        WorkerProcess,
    )

    never = 'not run on the real library by us'
    if not os.environ.get(PYTHON):
        return 'ok', f'not set up, optional ({PYTHON}, docs/isaacgym.md); {never}', ''
    try:
        worker = WorkerProcess(Options(start_s=120.0))
    except IsaacGymUnavailable as error:
        return 'warn', error.cause, f'see docs/isaacgym.md. {REMEDY}'
    versions = ', '.join(f'{name} {version}' for name, version in worker.versions.items())
    worker.close()
    return (
        'warn',
        f'imports ({versions}); {never}',
        f'compare a rollout with MuJoCo first; {DEVICE} chooses the GPU',
    )


def disk() -> Result:
    free = shutil.disk_usage(os.getcwd()).free / 1e9
    found = f'{free:.1f} GB free here'
    if free < 1:
        return (
            'fail',
            found,
            'the recorder stops when the disk is full: free some space, or set run_dir elsewhere',
        )
    if free < 10:
        return 'warn', found, 'a day of recording can fill this; keep 10 GB free'
    return 'ok', found, ''


def ros_environment() -> Result:
    names = ('AMENT_PREFIX_PATH', 'ROS_DOMAIN_ID', 'ROS_AUTOMATIC_DISCOVERY_RANGE', 'RMW_IMPLEMENTATION')
    found = ', '.join(f'{name}={os.environ[name]}' for name in names if os.environ.get(name)) or 'nothing set'
    if os.environ.get('ROS_LOCALHOST_ONLY') == '1':
        return (
            'warn',
            f'{found}, ROS_LOCALHOST_ONLY=1',
            'outdated: use ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST',
        )
    if not os.environ.get('ROS_AUTOMATIC_DISCOVERY_RANGE'):
        remedy = (
            'nodes started by hand find every machine of the network; apprentice up and demo stay on this one'
        )
        return 'warn', found, remedy
    return 'ok', found, ''


def large_images() -> Result:
    value = os.environ.get('FASTRTPS_DEFAULT_PROFILES_FILE', '')
    if value and not os.path.isfile(value):
        return 'fail', f'FASTRTPS_DEFAULT_PROFILES_FILE={value} does not exist', 'correct it or unset it'
    if value:
        return 'ok', value, ''
    remedy = (
        'camera drivers and other tools lose images above 450 kB without it: '
        f'export FASTRTPS_DEFAULT_PROFILES_FILE={share("launch", "fastdds.xml")}'
    )
    return 'ok', 'default: fine for the simulator; robot.launch.yaml sets its own for its nodes', remedy


def robot_file(robot: str) -> Result:
    try:
        spec = RobotSpec.load(find_robot(robot or 'sim_arm'))
    except (ValueError, FileNotFoundError) as error:
        return 'fail', str(error), 'correct the robot file; robots/sim_arm.yaml is a working one'
    cameras = ', '.join(camera.name for camera in spec.cameras) or 'none'
    level = 'ok' if spec.cameras else 'warn'
    remedy = '' if spec.cameras else 'a policy needs at least one camera; add it under cameras:'
    return level, f'{spec.name}: {spec.dim} joints at {spec.control_hz:g} Hz, cameras: {cameras}', remedy


def shipped_weights() -> Result:
    remedy = 'the clone is incomplete: git checkout weights; or train: apprentice train --help'
    try:
        files = sorted(share('weights').rglob('*.safetensors'))
    except FileNotFoundError as error:
        return 'fail', str(error), remedy
    # the ones the launch files name by default
    missing = [n for n in ('policy', 'clip', 'critic') if not any(n in file.parts for file in files)]
    if missing:
        return 'fail', f'no weights in {share("weights")} for: {", ".join(missing)}', remedy
    from safetensors import safe_open

    for file in files:
        with safe_open(str(file), 'numpy') as tensors:  # reads the header; a torn file raises
            tensors.keys()
    names = ', '.join(str(file.relative_to(share('weights'))) for file in files)
    return 'ok', f'{names} ({sum(file.stat().st_size for file in files) / 1e6:.1f} MB)', ''


def input_devices() -> Result:
    """Pads and keyboards that teleoperation could read from the kernel."""
    if not _version('evdev'):
        return 'ok', 'evdev is not installed', ''  # only some devices of teleoperation need it
    import evdev

    files = sorted(Path('/dev/input').glob('event*'))
    names = [evdev.InputDevice(path).name for path in evdev.list_devices()]
    if files and not names:
        remedy = 'sudo usermod -aG input $USER, then log in again'
        return 'warn', f'{len(files)} devices, none readable', remedy
    return 'ok', ', '.join(names) or 'none', ''


CHECKS: tuple[tuple[str, Callable[[], Result]], ...] = (
    ('python', python),
    ('rclpy', rclpy),
    ('middleware', middleware),
    ('interfaces', interfaces),
    ('torch', torch),
    ('open_clip', open_clip),
    ('mujoco', mujoco),
    ('rendering', render),
    ('isaac gym', isaac_gym),
    ('disk', disk),
    ('ROS variables', ros_environment),
    ('large images', large_images),
    ('input devices', input_devices),
)
