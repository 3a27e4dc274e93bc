// Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
// Live cameras. A frame is a binary message: one byte index, padding, stamp (float64 at 4), JPEG from 12 on.
import { connection } from './connection.js';
import { $, duration, make } from './text.js';

let cameras = [];

function build(list) {
  const names = list.map(camera => camera.name).join();
  if (names === cameras.map(camera => camera.name).join()) return;
  cameras = list;
  $('cameras').dataset.count = list.length;
  $('cameras').replaceChildren(...list.map(camera => {
    camera.canvas = make('canvas', { width: camera.width, height: camera.height });
    camera.canvas.dataset.testid = `camera-${camera.name}`;
    camera.canvas.setAttribute('role', 'img');
    camera.canvas.setAttribute('aria-label', `camera ${camera.name}`);
    camera.note = make('span');
    camera.stale = make('strong', { className: 'stale', hidden: true });
    camera.box = make('div', { className: 'camera late', id: `camera-${camera.name}` },
      camera.canvas, camera.stale, make('p', {}, make('b', {}, camera.name), camera.note));
    return camera.box;
  }));
}

async function draw(buffer) {
  const camera = cameras[new DataView(buffer).getUint8(0)];
  if (!camera || camera.busy || document.hidden) return;
  camera.busy = true;
  try {
    const bitmap = await createImageBitmap(new Blob([new Uint8Array(buffer, 12)], { type: 'image/jpeg' }));
    const { canvas } = camera;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
    canvas.getContext('2d').drawImage(bitmap, 0, 0);
    bitmap.close();
    // for measuring: whoever puts a list there gets the age of every picture drawn
    camera.box.drawn?.push(Date.now() / 1000 - new DataView(buffer).getFloat64(4, true));
    camera.frames = (camera.frames || 0) + 1;
    camera.box.dataset.frames = camera.frames;
  } finally {
    camera.busy = false;
  }
}

function show(report, index) {
  const camera = cameras[index];
  if (!camera) return;
  const late = report.age === null || report.age > Math.max(camera.max_age_s, 0.5) || Boolean(report.error);
  const short = report.age < 1 ? `${Math.round(report.age * 100) * 10} ms` : duration(report.age);
  const age = report.age === null ? 'no frames yet' : late ? `no frame for ${short}` : short;
  camera.box.classList.toggle('late', late);
  camera.stale.hidden = !late;
  camera.stale.textContent = late ? `${camera.name} is stale` : '';
  camera.note.textContent = report.error || (late ? age : `${report.hz.toFixed(1)} Hz · ${age}`);
}

export function startCameras() {
  connection.on('hello', message => build(message.cameras));
  connection.on('frame', draw);
  connection.on('state', state => state.cameras.forEach(show));
}
