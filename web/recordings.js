// Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
// Recorded episodes: the list, and one of them to scrub through, with who drove and the curves; relabelling.
import { Chart } from './chart.js';
import { ask, connection, picture } from './connection.js';
import { mayControl } from './controls.js';
import { $, make, outcomeTag, percent, shown, text, toast } from './text.js';

const player = { row: null, length: 0, time: 0, playing: false, cameras: [], last: 0 };
let episodes = [], revision = -1, visible = false, chart = null, loading = false;

async function get(path) {
  const response = await ask(path);
  if (!response.ok) throw new Error(await response.text());
  return response.json();
}

async function refresh() {
  if (loading || !visible || !connection.live) return;
  loading = true;
  try {
    const answer = await get('/api/episodes');
    episodes = answer.episodes;
    text('recordings-folder', answer.folder);
    showList();
  } catch (error) {
    text('recordings-note', `the list could not be read: ${error.message}`);
  } finally {
    loading = false;
  }
}

function showList() {
  const wanted = $('filter').value, rows = episodes.filter(row => !wanted || (wanted === 'HELPED' ? row.driven > 0 : row.outcome === wanted));
  text('recordings-note', episodes.length ? `${rows.length} of ${episodes.length}` : 'no episode was recorded yet');
  $('recordings').replaceChildren(...rows.map(row => {
    if (row.error) return make('li', { className: 'broken', title: row.error }, `▲ ${row.id}: ${row.error}`);
    const facts = [shown(row.seconds, ' s', 1), row.driven ? `${percent(row.driven)} by a person` : '', row.eval_only ? 'evaluation' : '', row.outcome !== row.recorded ? 'relabelled' : ''];
    const node = make('button', { type: 'button' }, outcomeTag(make('span'), row.outcome), make('b', {}, row.task || '(no instruction)'),
      make('small', {}, `${row.id} · ${facts.filter(Boolean).join(' · ')}`));
    node.dataset.episode = row.id;
    node.setAttribute('aria-pressed', row.id === player.row?.id);
    node.addEventListener('click', () => choose(row));
    return make('li', {}, node);
  }));
  if (player.row) {
    player.row = episodes.find(row => row.id === player.row.id) || player.row;
    outcomeTag($('player-outcome'), player.row.outcome);
  }
}

async function choose(row) {
  player.row = row;
  pause();
  for (const node of $('recordings').querySelectorAll('button')) node.setAttribute('aria-pressed', node.dataset.episode === row.id);
  let details;
  try { details = await get(`/api/episode?id=${encodeURIComponent(row.id)}`); } catch (error) { toast(error.message, false); return; }
  if (player.row !== row && player.row?.id !== row.id) return;  // somebody clicked on another meanwhile
  $('player').hidden = false;
  text('player-title', row.task || '(no instruction)');
  text('player-about', `${row.id} · ${shown(row.seconds, ' s', 1)} · driven by a person ${percent(row.driven)}`);
  outcomeTag($('player-outcome'), row.outcome);
  player.length = details.seconds;
  $('scrub').max = details.seconds;
  $('scrub').step = 0.02;
  player.cameras = details.cameras.filter(camera => camera.frames).map(camera => {
    const image = make('img', { alt: `camera ${camera.name}`, decoding: 'async' });
    image.dataset.camera = camera.name;
    return { name: camera.name, image, busy: false, wanted: null };
  });
  $('player-cameras').replaceChildren(...player.cameras.map(camera => make('figure', {}, camera.image, make('figcaption', {}, camera.name))));
  $('bands').replaceChildren(...details.spans.map(([begin, end]) => {
    const band = make('i', { title: `a person drove from ${begin.toFixed(1)} to ${end.toFixed(1)} s` });
    band.style.left = `${100 * begin / details.seconds}%`;
    band.style.width = `${100 * (end - begin) / details.seconds}%`;
    return band;
  }));
  chart.length = details.seconds;
  chart.receive({ reset: true, series: details.series, spans: details.spans });
  seek(0);
  $('player').scrollIntoView({ block: 'nearest' });
}

function seek(time) {
  player.time = Math.max(0, Math.min(player.length, time));
  $('scrub').value = player.time;
  $('scrub').setAttribute('aria-valuetext', `${player.time.toFixed(1)} seconds`);
  text('player-time', `${player.time.toFixed(1)} / ${player.length.toFixed(1)} s`);
  chart.cursor = player.time;
  chart.touch();
  for (const camera of player.cameras) { camera.wanted = player.time; load(camera); }
}

function load(camera) {  // one picture at a time a camera, then the newest wish: scrubbing never queues
  if (camera.busy || camera.wanted === null) return;
  const time = camera.wanted.toFixed(2), url = `/api/frame?id=${encodeURIComponent(player.row.id)}&camera=${encodeURIComponent(camera.name)}&t=${time}`;
  camera.wanted = null;
  camera.busy = true;
  const done = () => { camera.busy = false; camera.image.dataset.time = time; load(camera); };
  picture(camera.image, url).then(done, done);
}

function pause() {
  player.playing = false;
  text('play', '▶ Play');
}

function play() {
  if (!player.row) return;
  if (player.playing) return pause();
  if (player.time >= player.length - 0.01) seek(0);
  player.playing = true;
  player.last = performance.now();
  text('play', '❚❚ Pause');
  const step = now => {
    if (!player.playing) return;
    if (now - player.last >= 60) {
      seek(player.time + (now - player.last) / 1000 * Number($('speed').value));
      player.last = now;
      if (player.time >= player.length) return pause();
    }
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}

/** Called when the tab of recordings is shown or hidden. */
export function showRecordings(show) {
  visible = show;
  if (show) refresh(); else pause();
}

export function startRecordings() {
  chart = new Chart($('player-chart'), $('player-legend'));
  $('scrub').addEventListener('input', () => { pause(); seek(Number($('scrub').value)); });
  $('play').addEventListener('click', play);
  $('filter').addEventListener('change', showList);
  for (const button of document.querySelectorAll('[data-relabel]')) {
    button.addEventListener('click', () => connection.send('relabel', { episode: player.row.id, outcome: button.dataset.relabel }));
  }
  connection.on('state', ({ recordings }) => {
    if (recordings.revision !== revision) { revision = recordings.revision; refresh(); }
    for (const button of document.querySelectorAll('[data-relabel]')) button.disabled = !mayControl();
  });
  // the label is written by the recorder a moment after the answer
  connection.on('reply', message => { if (message.action === 'relabel' && message.ok) { toast('labelled anew', true); setTimeout(refresh, 400); setTimeout(refresh, 1500); } });
  connection.on('hello', () => { revision = -1; });
}
