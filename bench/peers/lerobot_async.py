# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""LeRobot's policy_server and robot_client with a fake arm: from a picture that changes to the command.

The server runs in a process of its own, as its documentation starts it; the client runs here, with an arm
that it makes through LeRobot's registry of robots. The arm logs what it is sent. The policy is LeRobot's ACT
with random weights, written once: as LeRobot saves it, and as TorchScript for whoever has no LeRobot.
"""

import bisect
import json
import math
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from lerobot.async_inference.configs import RobotClientConfig
from lerobot.async_inference.robot_client import RobotClient
from lerobot.configs.types import FeatureType, NormalizationMode, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.act.processor_act import make_act_pre_post_processors
from lerobot.robots import Robot, RobotConfig

JOINTS, CHUNK = 6, 50
LEVELS, ACTIONS = (40, 200), (-1.0, 1.0)  # value of all pixels; what the policy does about it, degrees
LEAST = 0.1  # degrees by which a command has to differ
START_S, SETTLE_S = 120.0, 2.0


# the policy


class OfImage(torch.nn.Module):
    """ACT as a function of one picture, float [1, 3, S, S] in [0, 1], to its chunk [1, CHUNK, JOINTS]."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.model({'observation.images': [image], 'observation.state': torch.zeros(1, JOINTS)})[0]


def make_policy(folder: Path, size: int) -> None:
    """ACT in its default size for one camera, seeded. Its last layer is fitted, so that every row is one of
    ACTIONS for a picture of that level: a change of the command is then due to the picture alone."""
    torch.manual_seed(0)
    config = ACTConfig(
        input_features={'observation.images.front': PolicyFeature(FeatureType.VISUAL, (3, size, size))},
        output_features={'action': PolicyFeature(FeatureType.ACTION, (JOINTS,))},
        normalization_mapping={kind: NormalizationMode.IDENTITY for kind in ('VISUAL', 'STATE', 'ACTION')},
        chunk_size=CHUNK,
        n_action_steps=CHUNK,
        use_vae=False,  # trains it; of no use for acting
        pretrained_backbone_weights=None,
        device='cpu',
    )
    policy = ACTPolicy(config).eval()
    of_image, head, features = OfImage(policy.model), policy.model.action_head, []
    pictures = [torch.full((1, 3, size, size), level / 255) for level in LEVELS]
    hook = head.register_forward_pre_hook(lambda _, given: features.append(given[0][0].double()))
    with torch.no_grad():
        for picture in pictures:
            of_image(picture)
        hook.remove()
        known = torch.cat(features)
        known = torch.cat([known, torch.ones(len(known), 1, dtype=known.dtype)], dim=1)
        wanted = torch.tensor(ACTIONS, dtype=known.dtype).repeat_interleave(CHUNK)[:, None]
        solved = torch.linalg.lstsq(known, wanted, driver='gelsd').solution[:, 0].float()
        head.weight.copy_(solved[:-1].expand_as(head.weight))
        head.bias.fill_(solved[-1])
        for picture, action in zip(pictures, ACTIONS):
            error = float((of_image(picture) - action).abs().max())
            if error > 0.02:
                sys.exit(f'the policy could not be fitted: {error:.2g} degrees off')
        traced = torch.jit.trace(of_image, pictures[0])
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent))
    policy.save_pretrained(made)
    for processor in make_act_pre_post_processors(config):
        processor.save_pretrained(made)
    traced.save(str(made / 'policy.pt'))
    try:
        made.rename(folder)
    except OSError:  # somebody else was faster
        shutil.rmtree(made)


# the arm


@RobotConfig.register_subclass('bench_arm')
@dataclass(kw_only=True)
class BenchArmConfig(RobotConfig):
    size: int
    rate_hz: float
    sway_deg: float


class BenchArm(Robot):
    """Camera and joints at ``rate_hz`` on a grid of its own; reading them costs nothing.

    All pixels have one of two values, which changes at ``flips``. The joints sway, because LeRobot's server
    drops observations whose joints have not moved by one unit since the last plan. Times: time.monotonic().
    """

    config_class = BenchArmConfig
    name = 'bench_arm'

    def __init__(self, config: BenchArmConfig):
        super().__init__(config)
        self._config, self._connected, self._begun = config, False, time.monotonic()
        self._frames = [np.full((config.size, config.size, 3), level, np.uint8) for level in LEVELS]
        self.flips: list[float] = []
        self.commands: list[tuple[float, float]] = []

    @property
    def action_features(self) -> dict:
        return {f'joint{i + 1}.pos': float for i in range(JOINTS)}

    @property
    def observation_features(self) -> dict:
        return {**self.action_features, 'front': (self._config.size, self._config.size, 3)}

    @property
    def is_connected(self) -> bool:
        return self._connected

    @property
    def is_calibrated(self) -> bool:
        return True

    def connect(self, calibrate: bool = True) -> None:
        self._connected = True

    def disconnect(self) -> None:
        self._connected = False

    def calibrate(self) -> None:
        pass

    def configure(self) -> None:
        pass

    def capture(self, moment: float, rounding=math.floor) -> float:
        """The moment of the newest picture; of the next one with ``math.ceil``."""
        rate = self._config.rate_hz
        return self._begun + rounding((moment - self._begun) * rate) / rate

    def get_observation(self) -> dict:
        stamp = self.capture(time.monotonic())
        angle, sway = math.pi * (stamp - self._begun), self._config.sway_deg
        joints = [sway * (math.sin(angle) if i % 2 else math.cos(angle)) for i in range(JOINTS)]
        return {
            **dict(zip(self.action_features, joints)),
            'front': self._frames[bisect.bisect_right(self.flips, stamp) % 2],
        }

    def send_action(self, action: dict) -> dict:
        self.commands.append((time.monotonic(), action['joint1.pos']))
        return action


# what was seen


def flips(begin: float, end: float, shortest: float, longest: float) -> list[float]:
    """When the picture changes: seeded, the last time so early that there is time to react."""
    rng, found, moment = random.Random(0), [], begin
    while (moment := moment + rng.uniform(shortest, longest)) <= end - shortest:
        found.append(moment)
    return found


def reactions(changes: list, commands: list, least: float) -> list:
    """Seconds from each change (time, +1 or -1) to the first of ``commands`` (time, value) that has gone by
    ``least`` in that direction, None where none did before the next change."""
    found = []
    ends = [time for time, _ in changes[1:]] + [math.inf]
    for (begin, sign), end in zip(changes, ends):
        known = [value for time, value in commands if time < begin][-1]
        answer = None
        for moment, value in commands:
            if not begin <= moment < end:
                continue
            if sign * (value - known) > least:
                answer = moment - begin
                break
            if sign * (value - known) < 0:  # what is left of the motion before
                known = value
        found.append(answer)
    return found


def cpu_seconds(pid: int) -> float:
    """Of another process, so far."""
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def start_server(fps: int, inference_latency: float | None) -> tuple[subprocess.Popen, int]:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    command = [sys.executable, '-m', 'lerobot.async_inference.policy_server', '--host=127.0.0.1']
    command += [f'--port={port}', f'--fps={fps}']
    if inference_latency is not None:
        command.append(f'--inference_latency={inference_latency}')
    with open('server.log', 'w') as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(('127.0.0.1', port), 1.0).close()
            return server, port
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                server.kill()
                sys.exit(f'policy_server did not start: {Path("server.log").read_text()[-300:]}')
            time.sleep(0.1)


def measure(
    policy: str,
    size: int,
    camera_hz: float,
    sway_deg: float,
    flip_s: list[float],
    seconds: float,
    fps: int = 30,
    chunk_size_threshold: float | None = None,
    aggregate_fn_name: str = '',
    inference_latency: float | None = None,
) -> dict:
    """Median reaction [ms]. What is None or empty is left at LeRobot's default. ``seconds`` 0: only make the
    policy."""
    if not Path(policy).exists():
        make_policy(Path(policy), size)
    if not seconds:
        return {'value': 0.0, 'count': 0, 'wall_s': 0.0, 'cpu_s': 0.0}
    server, port = start_server(fps, inference_latency)
    try:
        options = {'chunk_size_threshold': chunk_size_threshold, 'aggregate_fn_name': aggregate_fn_name}
        arm = BenchArmConfig(
            id='bench', calibration_dir=Path('calibration'), size=size, rate_hz=camera_hz, sway_deg=sway_deg
        )
        client = RobotClient(
            RobotClientConfig(
                policy_type='act',
                pretrained_name_or_path=policy,
                robot=arm,
                actions_per_chunk=CHUNK,
                server_address=f'127.0.0.1:{port}',
                fps=fps,
                **{name: value for name, value in options.items() if value},
            )
        )
        if not client.start():
            sys.exit('robot_client could not connect to policy_server')
        return run(client, server, seconds, flip_s, fps)
    finally:
        server.kill()


def run(client: RobotClient, server: subprocess.Popen, seconds: float, flip_s: list[float], fps: int) -> dict:
    """As ``async_client`` of LeRobot does, until ``seconds`` have been measured."""
    robot, window = client.robot, []

    def usage() -> tuple[float, float, int]:
        return time.monotonic(), time.process_time() + cpu_seconds(server.pid), os.stat('server.log').st_size

    def watch() -> None:
        deadline = time.monotonic() + START_S
        while not robot.commands and time.monotonic() < deadline:
            time.sleep(0.05)
        if robot.commands:
            time.sleep(SETTLE_S)
            begun = time.monotonic()
            robot.flips = flips(begun, begun + seconds, *flip_s)
            window.append(usage())
            time.sleep(max(0.0, begun + seconds - time.monotonic()))
            window.append(usage())
        client.shutdown_event.set()

    for work in (client.receive_actions, watch):
        threading.Thread(target=work, daemon=True).start()
    client.control_loop(task='')
    if len(window) < 2:
        sys.exit(f'no command came within {START_S:g} s: {Path("server.log").read_text()[-300:]}')
    (begun, used, first), (ended, used_then, last) = window
    changes = [(robot.capture(flip, math.ceil), (1, -1)[i % 2]) for i, flip in enumerate(robot.flips)]
    found = [1000 * each for each in reactions(changes, robot.commands, LEAST) if each is not None]
    if not found:
        sys.exit(f'no command followed any of {len(changes)} changes')
    times = np.array([moment for moment, _ in robot.commands if begun <= moment <= ended])
    log = Path('server.log').read_bytes()[first:last].decode(errors='replace')
    plans = [float(t) for t in re.findall(r'Action chunk #\d+ generated \| Total time: ([\d.]+)ms', log)]
    return {
        'value': statistics.median(found),
        'count': len(times),
        'wall_s': ended - begun,
        'cpu_s': used_then - used,
        'versions': {name: metadata.version(name) for name in ('lerobot', 'torch', 'grpcio')},
        'also': {
            'slowest ms': max(found),
            'answered %': 100 * len(found) / len(changes),
            'command Hz': 1 / float(np.mean(np.diff(times))),
            'jitter p99 ms': float(np.percentile(1000 * np.abs(np.diff(times) - 1 / fps), 99)),
            **(
                {'plan ms': statistics.median(plans), 'plans/s': len(plans) / (ended - begun)}
                if plans
                else {}
            ),
        },
    }


if __name__ == '__main__':
    print('\n' + json.dumps(measure(**json.loads(sys.argv[1]))), flush=True)
    os._exit(0)  # gRPC's threads would wait for the server
