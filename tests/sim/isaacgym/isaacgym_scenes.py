# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the tests of the Isaac Gym adapter share: options for the fake, a scene with all kinds of things."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import mujoco

from apprentice.sim.isaacgym.process import Options

HERE = Path(__file__).resolve().parent
FAKE, SHIM = HERE / 'fake', HERE / 'fake_torch'

SCENE = """
<mujoco>
  <compiler angle="radian" autolimits="true"/>
  <option timestep="0.005"/>
  <asset><mesh name="wedge" vertex="0 0 0  0.1 0 0  0 0.1 0  0 0 0.1"/></asset>
  <worldbody>
    <geom name="floor" type="plane" size="2 2 0.1" pos="0 0 -0.1" friction="0.7"/>
    <geom name="block" type="box" size="0.1 0.1 0.05" pos="0.6 0 -0.05" rgba="0.1 0.2 0.3 1"/>
    <camera name="side" pos="0 -2 0.5" xyaxes="1 0 0 0 0.3 1" fovy="50"/>
    <body name="cabinet" pos="0.2 -0.5 0.1" euler="0 0 0.4">
      <geom name="shell" type="box" size="0.1 0.1 0.1"/>
      <body name="drawer" pos="0 0.05 0.02">
        <joint name="drawer" type="slide" axis="0 1 0" range="0 0.2" damping="3" frictionloss="0.1"/>
        <geom name="front" type="box" size="0.05 0.01 0.03" mass="0.5"/>
        <site name="handle" pos="0 0.03 0" euler="0.2 0 0"/>
      </body>
    </body>
    <body name="lever" pos="-0.3 0.2 0.3" euler="0.3 0.2 0.1" gravcomp="1">
      <joint name="lever" axis="0 1 1" pos="0.02 0 0.01" range="-1 1" stiffness="8"
             springref="0.2" ref="0.1"/>
      <geom type="capsule" fromto="0 0 0 0.1 0.1 0.1" size="0.02" mass="0.3"/>
      <body name="twist" pos="0.1 0.1 0.1" gravcomp="1">
        <joint name="twist_a" axis="1 0 0" range="-1 1" damping="1" armature="0.02"/>
        <joint name="twist_b" axis="0 0 1" range="-2 1" damping="1"/>
        <geom type="cylinder" size="0.02 0.05" pos="0 0 0.05" euler="0.5 0 0" mass="0.2"/>
        <body name="left" pos="0 0.02 0.1" gravcomp="1">
          <joint name="left" type="slide" axis="0 1 0" range="0 0.04"/>
          <geom name="left" type="box" size="0.01 0.01 0.02" mass="0.02"/>
        </body>
        <body name="right" pos="0 -0.02 0.1" gravcomp="1">
          <joint name="right" type="slide" axis="0 -1 0" range="0 0.04"/>
          <geom name="right" type="sphere" size="0.01" mass="0.02"/>
          <camera name="hand" pos="0 0.1 0.2" euler="2.6 0.1 0" fovy="60"/>
        </body>
        <body name="marker" pos="0 0 0.12" gravcomp="1"/>
      </body>
    </body>
    <body name="wedge" pos="0.6 0.02 0.4" euler="0 0 0.5">
      <freejoint name="wedge"/>
      <geom name="wedge" type="mesh" mesh="wedge" mass="0.1" rgba="0.8 0.2 0.2 1"/>
    </body>
    <body name="ball" pos="0 0.8 0.4">
      <freejoint name="ball"/>
      <geom name="ball" type="sphere" size="0.03" mass="0.05" rgba="0.2 0.8 0.2 1"
            contype="2" conaffinity="1"/>
    </body>
    <body name="mark" pos="0.2 0.5 0.2" gravcomp="1">
      <inertial pos="0 0 0" mass="0.1" diaginertia="1e-4 1e-4 1e-4"/>
      <joint name="mark_x" type="slide" axis="1 0 0" damping="30"/>
      <joint name="mark_y" type="slide" axis="0 1 0" damping="30"/>
      <geom name="mark" type="cylinder" size="0.05 0.001" contype="0" conaffinity="0" rgba="0.3 0.5 0.9 1"/>
    </body>
  </worldbody>
  <equality><joint joint1="right" joint2="left" polycoef="0.002 0.5 0 0 0"/></equality>
  <actuator>
    <position name="lever" joint="lever" kp="24" kv="2" ctrlrange="-1 1"/>
    <position name="twist_a" joint="twist_a" kp="20" kv="1"/>
    <position name="twist_b" joint="twist_b" kp="20" kv="1"/>
    <position name="left" joint="left" kp="100" kv="4" forcerange="-6 6"/>
  </actuator>
</mujoco>
"""


def scene() -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(SCENE)


def options(*, torch: bool = False, **changes) -> Options:
    """Options for a worker on the fake, in this interpreter; without ``torch`` on the shim."""
    folders = [FAKE] if torch else [FAKE, SHIM]
    values = {'python': sys.executable, 'path': os.pathsep.join(map(str, folders)), 'device': 'cuda:0'}
    return Options(**(values | {'start_s': 60.0, 'call_s': 30.0} | changes))
