# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""One ROS 2 package (ament_python) whose top-level folders become ``apprentice.<folder>``."""

from pathlib import Path

from setuptools import find_packages, setup

ROOMS = ('robot', 'policies', 'reward_models', 'learning', 'episodes', 'sim', 'nodes', 'cli', 'bench')
NODES = (
    'sim_robot',
    'loopback_robot',
    'policy',
    'reward',
    'reward_health',
    'guide',
    'gate',
    'episode',
    'teleop',
    'recorder',
    'record_flow',
    'learner',
    'preferences',
    'dashboard',
    'foxglove',
    'session',
)

rooms = {f'apprentice.{room}': room for room in ROOMS}
packages = list(rooms) + [f'apprentice.{room}.{sub}' for room in ROOMS for sub in find_packages(room)]


def shared(folder: str) -> list[tuple[str, list[str]]]:
    """Every file of a folder, to be installed below share/apprentice."""
    files = [p for p in sorted(Path(folder).rglob('*')) if p.is_file() and '__pycache__' not in p.parts]
    folders = sorted({p.parent for p in files})
    return [(f'share/apprentice/{d}', [str(p) for p in files if p.parent == d]) for d in folders]


setup(
    name='apprentice',
    version='0.1.0',
    description='Robots that learn on the job: VLA policy, reward models, RL and human help on ROS 2',
    license='Apache-2.0',
    maintainer='Apprentice maintainers',
    maintainer_email='maintainers@apprentice-robotics.org',
    python_requires='>=3.10',
    packages=packages,
    package_dir=rooms,
    package_data={
        'apprentice.policies.presets': ['*.yaml'],
        'apprentice.sim': ['randomization/*.yaml'],
        'apprentice.sim.robots': ['models/*.xml'],
        'apprentice.bench': ['peers/*'],
    },
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/apprentice']),
        ('share/apprentice', ['package.xml']),
        *shared('launch'),
        *shared('layouts'),
        *shared('recipes'),
        *shared('robots'),
        *shared('teleop'),
        *shared('weights'),
        *shared('web'),
    ],
    install_requires=[
        'numpy',
        'pyyaml',
        'torch',
        'torchvision',
        'open_clip_torch',
        'mujoco>=3.3,!=4.0.0',
        'safetensors',
        'mcap',
        'mcap-ros2-support',
        'aiohttp',
        'pillow',
        'jinja2',
        'matplotlib',
        'tqdm',
        'psutil',
        'scipy',
        'tokenizers',
        'omegaconf',
        'msgpack',
    ],
    extras_require={
        'ros': ['ros-jazzy-rclpy', 'ros-jazzy-rmw-fastrtps-cpp', 'ros-jazzy-common-interfaces'],
        'onnx': ['onnx', 'onnxscript', 'onnxruntime'],
        'onnx-gpu': ['onnx', 'onnxscript', 'onnxruntime-gpu'],
        'vla': ['transformers>=5.5', 'peft', 'accelerate', 'num2words'],  # num2words: SmolVLM's processor
        'lerobot-dataset': ['pyarrow', 'av'],
        'teleop': ['evdev; sys_platform == "linux"'],  # gamepads and keyboards read from the kernel
        'openpi': ['websockets'],
        'foxglove': ['foxglove-sdk'],
        'rerun': ['rerun-sdk>=0.23'],
        'ray': ['ray>=2.40'],
        'gym': ['gymnasium[mujoco]>=1.1'],
        'warp': ['mujoco>=3.17', 'mujoco-warp>=3.17,<3.18', 'warp-lang>=1.19'],
        'dev': [
            'apprentice[gym,warp,onnx,vla,lerobot-dataset,openpi,teleop,foxglove,rerun]',
            'pytest',
            'pytest-rerunfailures',
            'pytest-xdist',
            'pytest-timeout',
            'ruff',
            'mypy',
            'types-PyYAML',
            'playwright',
        ],
    },
    entry_points={
        'console_scripts': [
            'apprentice = apprentice.cli.main:main',
            *[f'{node}_node = apprentice.nodes.{node}:main' for node in NODES],
        ],
    },
    zip_safe=True,
)
