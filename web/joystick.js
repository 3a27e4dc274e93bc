// Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
// Driving by touch, mouse and keys. Holding on is the dead-man: while a stick, a gripper button or H is held
// the page sends twenty messages a second; letting go, losing the focus, the connection or sight ends it.
// Every message carries the newest clock of the node, so that the node knows how old the picture is that we act on.
import { connection } from './connection.js';
import { mayControl, whoBlocks } from './controls.js';
import { $, text } from './text.js';

const PERIOD_MS = 50;
const sticks = [];             // { node, knob, pointer, x, y }: x right, y up, in [-1, 1]
const keys = new Set();
const pressed = new Map();     // event.code -> the name in keys it went down with
const grips = new Map();       // pointer -> direction
const MOVES = {                // key -> [part, axis, value]; robot's base: x forward, y left, z up
  arrowup: ['linear', 0, 1], arrowdown: ['linear', 0, -1], arrowleft: ['linear', 1, 1], arrowright: ['linear', 1, -1],
  pageup: ['linear', 2, 1], pagedown: ['linear', 2, -1], ',': ['angular', 2, 1], '.': ['angular', 2, -1],
};
let clock = null, timer = 0, deaf = false;   // deaf: the node refused; wait until everything is let go

const held = () => !deaf && (sticks.some(stick => stick.pointer !== null) || grips.size > 0 || keys.has('h'));
const wanted = () => sticks.some(stick => stick.pointer !== null) || grips.size > 0 || keys.has('h');

function command() {
  const [left, right] = sticks;
  const move = { linear: [left.y, -left.x, right.y], angular: [0, 0, -right.x], grip: 0 };
  if (keys.has('h')) {
    for (const key of keys) {
      const [part, axis, value] = MOVES[key] || [];
      if (part) move[part][axis] += value;
    }
    move.grip = (keys.has('o') ? 1 : 0) - (keys.has('l') ? 1 : 0);
  }
  for (const direction of grips.values()) move.grip = direction;
  const cut = value => Math.round(Math.max(-1, Math.min(1, value)) * 1000) / 1000 + 0;
  return { linear: move.linear.map(cut), angular: move.angular.map(cut), grip: move.grip };
}

function tick() {
  if (!held() || !mayControl()) return stop();
  connection.send('drive', { held: true, clock, ...command() });
}

function update() {
  if (held() && mayControl()) {
    if (!timer) timer = setInterval(tick, PERIOD_MS);
    tick();
  } else if (timer) stop();
  if (!wanted()) deaf = false;
  $('drive').dataset.held = Boolean(timer);
}

/** End the stream now and let go of everything. */
function stop() {
  if (!timer) return;
  clearInterval(timer);
  timer = 0;
  connection.send('drive', { held: false });
  if (wanted()) deaf = true;
  $('drive').dataset.held = false;
}

function letGo() {
  stop();
  keys.clear();
  pressed.clear();
  grips.clear();
  sticks.forEach(stick => { stick.pointer = null; place(stick, 0, 0); });
  deaf = false;
}

function place(stick, x, y) {
  const size = Math.hypot(x, y) || 1, scale = size > 1 ? 1 / size : 1;
  [stick.x, stick.y] = [x * scale, y * scale];
  stick.knob.style.transform = `translate(${stick.x * 100}%, ${-stick.y * 100}%)`;
}

function makeStick(node) {
  const stick = { node, knob: node.firstElementChild, pointer: null, x: 0, y: 0 };
  const move = event => {  // relative to where the finger came down: the robot must not leap
    const radius = node.getBoundingClientRect().width / 3;
    place(stick, (event.clientX - stick.origin[0]) / radius, -(event.clientY - stick.origin[1]) / radius);
  };
  node.addEventListener('pointerdown', event => {
    if (stick.pointer !== null || event.button > 0) return;
    event.preventDefault();
    if (!mayControl()) return;
    stick.pointer = event.pointerId;
    node.setPointerCapture(event.pointerId);
    stick.origin = [event.clientX, event.clientY];
    update();
  });
  node.addEventListener('pointermove', event => { if (event.pointerId === stick.pointer) move(event); });
  const end = event => {
    if (event.pointerId !== stick.pointer) return;
    stick.pointer = null;
    place(stick, 0, 0);
    update();
  };
  for (const kind of ['pointerup', 'pointercancel', 'lostpointercapture']) node.addEventListener(kind, end);
  node.addEventListener('contextmenu', event => event.preventDefault());
  return stick;
}

function makeGrip(node, direction) {
  node.addEventListener('pointerdown', event => {
    if (event.button > 0 || node.disabled) return;
    node.setPointerCapture(event.pointerId);
    grips.set(event.pointerId, direction);
    update();
  });
  for (const kind of ['pointerup', 'pointercancel', 'lostpointercapture']) {
    node.addEventListener(kind, event => { if (grips.delete(event.pointerId)) update(); });
  }
  node.addEventListener('contextmenu', event => event.preventDefault());
}

function onKey(event, down) {
  // a key is let go under the name it went down with: Shift turns , into <
  const key = !down && pressed.get(event.code) || event.key.toLowerCase();
  if (!down) {  // whatever has the focus and whichever modifier is held: letting go always counts
    pressed.delete(event.code);
    const known = keys.delete(key);
    if (key === 'h') { keys.clear(); pressed.clear(); }
    if (known) update();
    return;
  }
  if (key === 'meta') letGo();  // macOS sends no keyup of other keys while it is held
  if (event.target instanceof HTMLInputElement && event.target.type !== 'range') return;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (key === 'h' || keys.has('h') && (key in MOVES || key === 'o' || key === 'l')) {
    event.preventDefault();
    keys.add(key);
    pressed.set(event.code, key);
    update();
  }
}

/** Why nothing here drives, if so: on the sticks for the eye and for screen readers, and in words. */
function showLock() {
  const why = whoBlocks();
  $('drive').dataset.locked = Boolean(why);
  for (const { node } of sticks) node.setAttribute('aria-disabled', Boolean(why));
  for (const button of [$('grip-open'), $('grip-close')]) button.disabled = !mayControl();
  return why;
}

export function startJoystick() {
  sticks.push(makeStick($('stick-move')), makeStick($('stick-turn')));
  makeGrip($('grip-open'), 1);
  makeGrip($('grip-close'), -1);
  document.addEventListener('keydown', event => { if (!event.repeat) onKey(event, true); });
  document.addEventListener('keyup', event => onKey(event, false));
  document.addEventListener('focusin', event => {
    if (event.target instanceof HTMLInputElement && event.target.type !== 'range') letGo();
  });
  addEventListener('blur', letGo);
  addEventListener('pagehide', letGo);
  document.addEventListener('visibilitychange', () => { if (document.hidden) letGo(); });
  document.addEventListener('click', event => { if (event.target.closest('#stop')) letGo(); });
  connection.on('live', live => { if (!live) letGo(); });
  connection.on('reply', message => { if (message.action === 'drive' && !message.ok) stop(); });
  connection.on('controls', () => { showLock(); if (!mayControl()) letGo(); });
  connection.on('state', ({ drive, gate }) => {
    clock = drive.clock;
    const driving = drive.client !== null && gate?.mode === 'HUMAN';
    $('drive').dataset.driving = driving;
    text('drive-note', showLock() || (!drive.listened ? 'no teleop node listens: start one to drive from here'
      : driving ? 'you hold the robot: letting go gives it back' : drive.client !== null ? 'waiting for the gate' : 'hold a stick, or hold H and use the arrow keys'));
  });
}
