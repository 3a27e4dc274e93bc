'use strict';
const $ = id => document.getElementById(id);
const text = (id, value) => { const node = $(id); value = String(value); if (node.textContent !== value) node.textContent = value; };
const shown = (value, suffix = '', digits = 0) => value === null || value === undefined ? '–' : Number(value).toFixed(digits) + suffix;
const SILENT_MS = 2500;
const OWNERS = { policy: 'The policy is driving', human: 'A person is driving', gate: 'The gate holds the robot' };
const MODES = { STOP: 'Stopped', HOLD: 'Holding position', FAULT: 'Fault: the robot holds', DISARMED: 'Not armed: nothing is commanded', PAUSED: 'Waiting for a fresh plan', RESET: 'Moving home' };
const page = { socket: null, live: false, last: 0, retry: 400, cameras: [], state: null, refusal: '' };

// Connection: one websocket; silence counts as loss.
function connect() {
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  const socket = page.socket = new WebSocket(`${scheme}//${location.host}/ws${location.search}`);
  socket.binaryType = 'arraybuffer';
  page.last = performance.now();
  socket.onmessage = event => {
    page.last = performance.now();
    if (event.data instanceof ArrayBuffer) drawFrame(event.data);
    else receive(JSON.parse(event.data));
  };
  socket.onclose = () => {
    if (page.socket !== socket) return;
    page.socket = null;
    setLive(false);
    setTimeout(connect, page.retry);
    page.retry = Math.min(page.retry * 1.5, 3000);
  };
}
setInterval(() => {
  if (page.socket && performance.now() - page.last > SILENT_MS) {
    const socket = page.socket;
    socket.onmessage = null;
    socket.onclose();  // the closing handshake of a dead peer can take a minute
    socket.close();
  }
}, 500);

function setLive(live) {
  page.live = live;
  document.body.dataset.connected = live;
  text('link', live ? (page.refusal ? 'view only' : 'live') : 'offline');
  $('link').title = page.refusal;
  if (live) page.retry = 400;
  setButtons();
}

function receive(message) {
  if (message.type === 'hello') {
    page.refusal = message.control || '';
    page.state = null;
    text('robot', message.robot);
    document.title = `${message.robot} · Apprentice`;
    makeCameras(message.cameras);
    if (page.refusal) toast(page.refusal, false);
  } else if (message.type === 'state') {
    page.state = message;
    if (!page.live) setLive(true);
    showState(message);
  } else if (message.type === 'curves') {
    chart.receive(message);
  } else if (message.type === 'reply') {
    if (!message.ok || message.message !== 'done') toast(`${message.action}: ${message.message}`, message.ok);
  }
}

// Controls: every button names its action and its key.
const buttons = [...document.querySelectorAll('button[data-action]')];
function act(button) {
  if (button.disabled || !page.socket) return;
  page.socket.send(JSON.stringify({ action: button.dataset.action, task: $('instruction').value }));
}
for (const button of buttons) {
  button.title = `key: ${button.dataset.key === ' ' ? 'Space' : button.dataset.key.toUpperCase()}`;
  button.addEventListener('click', () => { act(button); button.blur(); });
}
document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target instanceof HTMLInputElement) { // letters are text here; Escape gives the keys back
    if (event.key === 'Escape') event.target.blur();
    return;
  }
  const button = buttons.find(b => b.dataset.key === event.key.toLowerCase());
  if (!button) return;
  event.preventDefault();
  if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
  if (!event.repeat) act(button);
});
function setButtons() {
  const mode = page.state?.gate?.mode, episode = page.state?.episode, phase = episode?.phase;
  const ended = phase === 'ENDED' && Boolean(episode.id);
  const sensible = {
    stop: true,
    takeover: ['POLICY', 'PAUSED', 'HOLD', 'RESET'].includes(mode),
    release: mode === 'HUMAN',
    arm: ['DISARMED', 'HOLD'].includes(mode),
    clear: ['STOP', 'FAULT'].includes(mode),
    start: ['IDLE', 'READY', 'ENDED'].includes(phase),
    success: phase === 'RUNNING' || ended,
    failure: phase === 'RUNNING' || ended,
    discard: ['RESETTING', 'READY', 'RUNNING'].includes(phase) || ended,
  };
  for (const button of buttons) button.disabled = !page.live || Boolean(page.refusal) || !sensible[button.dataset.action];
}
function toast(message, ok) {
  const node = document.createElement('div');
  node.className = ok ? 'toast' : 'toast bad';
  node.textContent = message;
  $('toasts').append(node);
  while ($('toasts').children.length > 3) $('toasts').firstChild.remove();
  setTimeout(() => node.remove(), ok ? 3000 : 7000);
}

// Panels.
function showState(state) {
  const { gate, episode, counters, learner, weights, command } = state;
  document.body.dataset.mode = gate ? gate.mode : 'NONE';
  text('mode', gate ? gate.mode : 'NO GATE');
  const spent = gate && gate.for_s !== null ? ` for ${duration(gate.for_s)}` : '';
  text('owner', gate ? (MODES[gate.mode] || OWNERS[gate.owner] || gate.owner) + spent : 'The gate node is silent');
  text('reason', gate ? gate.reason : 'who controls the robot is unknown: look at the log of the gate node');
  $('mode').title = gate ? `owner ${gate.owner}, epoch ${gate.epoch}` : '';

  text('phase', episode ? episode.phase : '–');
  $('phase').className = episode?.phase === 'RUNNING' ? 'tag live' : 'tag';
  $('outcome').hidden = episode?.phase !== 'ENDED';
  text('outcome', episode ? episode.outcome : '');
  $('outcome').className = 'tag ' + ({ SUCCESS: 'good', FAILURE: 'bad' }[episode?.outcome] || '');
  $('held-out').hidden = !episode?.eval_only;
  text('task', episode ? episode.task || '(no instruction)' : 'no episode yet');
  text('elapsed', episode ? shown(episode.elapsed_s, ' s', 1) : '–');
  text('step', episode ? episode.step : '–');
  text('ratio', episode ? shown(episode.intervention_ratio * 100, ' %') : '–');

  for (const kind of ['learning', 'evaluation']) {
    const group = counters[kind], known = group.rate !== null;
    text(`rate-${kind}`, known ? shown(group.rate * 100, ' %') : '–');
    text(`count-${kind}`, known ? `${group.successes} of ${group.successes + group.failures}` : 'no trials');
    const bar = $(`bar-${kind}`), [interval, mark] = bar.children;
    interval.style.left = `${known ? group.low * 100 : 0}%`;
    interval.style.width = `${known ? (group.high - group.low) * 100 : 0}%`;
    mark.hidden = !known;
    mark.style.left = `${(group.rate || 0) * 100}%`;
    bar.title = known ? `${shown(group.low * 100)} to ${shown(group.high * 100)} %` : '';
  }
  text('episodes', counters.all.episodes);
  text('successes', counters.all.successes);
  text('failures', counters.all.failures);
  text('interventions', counters.interventions);

  text('learner-phase', learner ? learner.phase : 'none');
  text('active', weights.active === null ? '–' : `v${weights.active}` + (weights.newest > weights.active ? ` of v${weights.newest}` : ''));
  text('loss', shown(learner?.loss, '', 3));
  text('updates', shown(learner?.updates_per_s, '', 1));
  text('buffer', learner ? learner.transitions : '–');
  const notes = [learner?.message, learner?.human_transitions ? `${learner.human_transitions} steps by people` : '', learner?.pending ? `${learner.pending} to go` : '',
    learner?.quarantined ? `${learner.quarantined} transitions refused` : '', weights.refused ? `policy refused weights: ${weights.refused}` : ''];
  text('learner-note', notes.filter(Boolean).join(' · '));

  const speed = command.speed && Math.abs(command.speed - 1) > 0.1 ? `, ${command.speed.toFixed(1)}× real time` : '';
  text('command', `commands ${shown(command.hz, ' Hz', 1)}${speed}`);
  const clamped = Object.entries(gate?.clamped || {}).filter(([, count]) => count);
  text('clamps', clamped.length ? 'Clamped steps: ' + clamped.map(([why, count]) => `${why} ${count}`).join(', ') : 'No command was clamped.');
  showNodes(state.nodes);
  state.cameras.forEach(showCamera);
  setButtons();
}
const duration = s => s < 60 ? `${Math.floor(s)} s` : s < 3600 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 3600)} h`;

function showNodes(nodes) {
  const list = $('nodes');
  while (list.children.length > nodes.length) list.lastChild.remove();
  nodes.forEach((node, index) => {
    let row = list.children[index];
    if (!row) {
      row = document.createElement('li');
      row.append(document.createElement('i'), document.createElement('b'), document.createElement('span'));
      list.append(row);
    }
    row.className = node.level;
    row.dataset.node = node.name;
    row.title = node.message;
    row.children[1].textContent = node.name;
    row.children[2].textContent = node.message;
  });
}

// Cameras: binary messages of one byte index, padding, stamp (float64 at 4), JPEG.
function makeCameras(cameras) {
  const names = cameras.map(camera => camera.name).join();
  if (names === page.cameras.map(camera => camera.name).join()) return;
  page.cameras = cameras;
  $('cameras').replaceChildren(...cameras.map((camera, index) => {
    const box = document.createElement('div'), label = document.createElement('p');
    box.className = 'camera late';
    box.id = `camera-${camera.name}`;
    camera.canvas = document.createElement('canvas');
    camera.canvas.dataset.testid = `camera-${camera.name}`;
    [camera.canvas.width, camera.canvas.height] = [camera.width, camera.height];
    camera.note = document.createElement('span');
    label.append(Object.assign(document.createElement('b'), { textContent: camera.name }), camera.note);
    box.append(camera.canvas, label);
    camera.box = box;
    return box;
  }));
}
async function drawFrame(buffer) {
  const camera = page.cameras[new DataView(buffer).getUint8(0)];
  if (!camera || camera.busy) return;
  camera.busy = true;
  try {
    const bitmap = await createImageBitmap(new Blob([new Uint8Array(buffer, 12)], { type: 'image/jpeg' }));
    const { canvas } = camera;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
    canvas.getContext('2d').drawImage(bitmap, 0, 0);
    bitmap.close();
    camera.frames = (camera.frames || 0) + 1;
    camera.box.dataset.frames = camera.frames;
  } finally {
    camera.busy = false;
  }
}
function showCamera(report, index) {
  const camera = page.cameras[index];
  const late = report.age === null || report.age > Math.max(camera.max_age_s, 0.5);
  camera.box.classList.toggle('late', late || Boolean(report.error));
  const age = report.age === null ? 'no frames yet' : report.age < 1 ? `${Math.round(report.age * 100) * 10} ms` : `no frame for ${duration(report.age)}`;
  camera.note.textContent = report.error || (late ? age : `${report.hz.toFixed(1)} Hz · ${age}`);
}

// Chart: lines over seconds since the episode began; shaded where a person drove.
const chart = {
  series: {}, spans: [], hidden: {}, dirty: true,
  colours: ['#4f8cff', '#3fbf7f', '#e879b9', '#2dd4cf', '#f4d35e', '#a78bfa'],
  receive(message) {
    if (message.reset) { this.series = {}; this.spans = []; }
    for (const [key, points] of Object.entries(message.series)) (this.series[key] ||= []).push(...points);
    if (message.spans) this.spans = message.spans;
    this.legend();
    this.dirty = true;
  },
  style(key) {
    const cut = key.lastIndexOf(' '), model = key.slice(0, cut), raw = key.slice(cut + 1) === 'value';
    const models = [...new Set(Object.keys(this.series).map(k => k.slice(0, k.lastIndexOf(' '))))].sort().filter(m => m !== 'simulator');
    const truth = model === 'simulator', colour = truth ? '#cdd5df' : this.colours[models.indexOf(model) % this.colours.length];
    return { colour, raw, label: truth ? 'simulator truth' : raw ? `${model} value` : model };
  },
  visible(key) {  // raw values wait for a click where there is a progress curve to look at
    if (key in this.hidden) return !this.hidden[key];
    return !key.endsWith(' value') || !(key.replace(/value$/, 'progress') in this.series);
  },
  legend() {
    const keys = Object.keys(this.series).sort(), wanted = keys.map(key => key + this.visible(key)).join() + (this.spans.length > 0);
    if (wanted === this.drawn) return;
    this.drawn = wanted;
    const nodes = keys.map(key => {
      const { colour, raw, label } = this.style(key), node = document.createElement('button'), line = document.createElement('i');
      line.className = raw ? 'dashed' : '';
      line.style.borderColor = colour;
      node.append(line, label);
      node.dataset.series = key;
      node.setAttribute('aria-pressed', this.visible(key));
      node.addEventListener('click', () => { this.hidden[key] = this.visible(key); this.dirty = true; this.legend(); });
      return node;
    });
    const span = document.createElement('span'), mark = document.createElement('i');
    mark.className = 'span';
    span.append(mark, 'a person drove');
    $('legend').replaceChildren(...nodes, ...(this.spans.length ? [span] : []));
    text('chart-note', keys.length ? 'seconds since the episode began' : 'no samples yet');
  },
  draw() {
    const canvas = $('chart'), ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    const size = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== size[0] || canvas.height !== size[1]) { [canvas.width, canvas.height] = size; this.dirty = true; }
    if (!this.dirty || !width) return;
    this.dirty = false;
    const pen = canvas.getContext('2d'), lines = Object.entries(this.series).filter(([key, points]) => points.length && this.visible(key));
    let [low, high, start, end] = [0, 1, Infinity, 0];
    for (const [, points] of lines) {
      start = Math.min(start, points[0][0]);
      end = Math.max(end, points[points.length - 1][0]);
      for (const [, value] of points) { low = Math.min(low, value); high = Math.max(high, value); }
    }
    start = start < 30 || start === Infinity ? 0 : start;  // old points of an endless run are gone
    end = Math.max(end, start + 5);
    const left = 34, right = width - 8, top = 8, bottom = height - 20;
    const x = t => left + (t - start) / (end - start) * (right - left), y = v => bottom - (v - low) / (high - low) * (bottom - top);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = '#ffb02e33';
    for (const [from, to] of this.spans) {
      const [a, b] = [Math.max(from, start), Math.min(to ?? end, end)];
      if (b > a) pen.fillRect(x(a), top, x(b) - x(a), bottom - top);
    }
    pen.font = '11px system-ui, sans-serif';
    pen.fillStyle = '#8b96a5';
    pen.strokeStyle = '#262d37';
    pen.lineWidth = 1;
    pen.setLineDash([]);
    const rows = high - low > 1.5 ? 0.5 : 0.25, unit = [1, 2, 5, 10, 20, 30, 60, 120, 300].find(u => (end - start) / u <= 8) || 600;
    pen.textAlign = 'right';
    for (let v = Math.ceil(low / rows) * rows; v <= high + 1e-9; v += rows) {
      pen.beginPath(); pen.moveTo(left, y(v)); pen.lineTo(right, y(v)); pen.stroke();
      pen.fillText(v.toFixed(2), left - 6, y(v) + 4);
    }
    pen.textAlign = 'center';
    for (let t = Math.ceil(start / unit) * unit; t <= end; t += unit) pen.fillText(`${t}`, x(t), height - 5);
    for (const [key, points] of lines) {
      const { colour, raw } = this.style(key);
      pen.strokeStyle = colour;
      pen.lineWidth = raw ? 1.5 : 2.2;
      pen.setLineDash(raw ? [3, 3] : []);
      pen.beginPath();
      const [first, last] = [points[0][0], points[points.length - 1][0]];
      const gap = Math.max(1, 6 * (last - first) / points.length);  // nobody looked: no samples, no line
      points.forEach(([t, v], i) => i && t - points[i - 1][0] > gap ? pen.moveTo(x(t), y(v)) : pen.lineTo(x(t), y(v)));
      pen.stroke();
    }
  },
};
setInterval(() => { if (!document.hidden) chart.draw(); }, 100);
chart.legend();
setButtons();
connect();
