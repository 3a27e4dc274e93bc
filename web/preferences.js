// Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
// Asks a person: which of two clips is better, or whether an episode succeeded. The node says what (state.asking).

import { connection, picture, recall, remember } from '/connection.js';
import { $, make, percent, text, toast } from '/text.js';

const FRAMES = { pair: 16, episode: 32 };
const HOLD_MS = 700;          // the last frame stays: it is what decides
const EPISODE_S = 6;          // a whole episode is shown in so long, or in its own time if that is shorter
const KEYS = {
  pair: { ArrowLeft: 'left', 1: 'left', ArrowRight: 'right', 2: 'right', ArrowDown: 'equal', 3: 'equal', ArrowUp: 'cannot tell', 4: 'cannot tell' },
  episode: { ArrowRight: 'success', 1: 'success', ArrowLeft: 'failure', 2: 'failure', ArrowUp: 'cannot tell', 3: 'cannot tell' },
};

let shown = null;             // the question on the page
let newest = null;            // the question the node asks
let sides = [];               // [{ figure, clips: [{ canvas, strip, here }], time }]
let answered = [];            // earlier questions of this page, newest last
let sent = null;              // id that was answered and not confirmed yet
let revisiting = false;       // an earlier question is on the page
let playing = true;
let began = 0;
let sentSince = 0;

// Clips: one picture a camera, its frames below each other, so that both sides run on one clock.

function load(question) {
  began = 0;
  sides = ['left', 'right'].map(name => {
    const figure = $(name), stretch = question[name];
    figure.replaceChildren();
    figure.className = '';
    figure.hidden = !stretch;
    if (!stretch) return null;
    const clips = question.cameras.map(camera => {
      const canvas = make('canvas', { width: 4, height: 3 }), strip = new Image();
      canvas.setAttribute('role', 'img');
      canvas.setAttribute('aria-label', `${name}: ${camera}`);
      canvas.dataset.frame = '';
      const query = new URLSearchParams({
        id: stretch.episode, camera, begin: stretch.begin, end: stretch.end, count: FRAMES[question.kind],
      });
      const clip = { canvas, strip, here: false };
      picture(strip, `/api/strip?${query}`).then(() => {
        canvas.width = strip.width;
        canvas.height = Math.round(strip.height / FRAMES[question.kind]);
      }).catch(() => canvas.replaceWith(make('p', { className: 'broken' }, `no pictures of ${camera} from ${stretch.episode}`)))
        .finally(() => { clip.here = true; });
      figure.append(canvas);
      return clip;
    });
    const time = make('div', { className: 'time' });
    figure.append(time);
    return { figure, clips, time };
  }).filter(side => side);
}

function seconds(question) {
  const longest = Math.max(...['left', 'right'].map(name => question[name]).filter(s => s).map(s => s.end - s.begin));
  return question.kind === 'episode' ? Math.min(longest, EPISODE_S) : longest;
}

function draw(now) {
  requestAnimationFrame(draw);
  if (!shown || !playing) return;
  const clips = sides.flatMap(side => side.clips);
  if (!clips.every(clip => clip.here)) return;
  began = began || now;
  const length = seconds(shown) * 1000, count = FRAMES[shown.kind];
  const at = (now - began) % (length + HOLD_MS);
  const frame = Math.min(count - 1, Math.floor(at / length * count));
  for (const { canvas, strip } of clips) {
    if (!strip.naturalWidth || canvas.dataset.frame === String(frame)) continue;
    canvas.getContext('2d').drawImage(strip, 0, frame * canvas.height, canvas.width, canvas.height, 0, 0, canvas.width, canvas.height);
    canvas.dataset.frame = frame;
  }
  for (const side of sides) side.time.style.width = `${Math.min(100, at / length * 100)}%`;
}

// Questions and answers.

function show(question) {
  shown = question;
  document.body.dataset.kind = question ? question.kind : '';
  document.body.dataset.id = question ? question.id : '';
  $('sides').hidden = $('more').hidden = !question;
  $('answers-pair').hidden = question?.kind !== 'pair';
  $('answers-episode').hidden = question?.kind !== 'episode';
  if (!question) { sides = []; text('instruction', ''); text('why', ''); return; }
  text('question', question.kind === 'pair' ? 'Which one does it better?' : 'Did it succeed?');
  text('instruction', question.instruction);
  text('why', question.why || '');
  load(question);
}

function answer(said) {
  if (!shown || !connection.live || sent || !said) return;
  if (connection.refusal) { toast(connection.refusal, false); return; }
  const question = shown;
  if (!connection.send('answer', { id: question.id, answer: said, person: recall(localStorage, 'name') })) {
    toast('not connected; try again', false);
    return;
  }
  sent = question.id;
  sentSince = performance.now();
  for (const button of document.querySelectorAll('.answers button')) button.disabled = true;
  if (said === 'left' || said === 'right') $(said).classList.add('chosen');
}

function confirmed(ok, message) {
  const question = shown;
  sent = null;
  for (const button of document.querySelectorAll('.answers button')) button.disabled = false;
  for (const side of sides) side.figure.classList.remove('chosen');
  if (!ok) { toast(message, false); return; }
  if (message) toast(message, true);
  answered = [...answered.filter(q => q.id !== question.id), question].slice(-100);
  revisiting = false;
  $('undo').disabled = false;
  show(due());
}

/** What to ask now: the node's question, unless it is the one that was just answered. */
function due() {
  return newest && newest.id !== answered.at(-1)?.id ? newest : null;
}

function undo() {
  if (!answered.length || sent) return;
  revisiting = true;  // stays until it is answered, whatever the node asks meanwhile
  show(answered.pop());
  $('undo').disabled = !answered.length;
}

function pause() {
  playing = !playing;
  $('pause').setAttribute('aria-pressed', String(!playing));
  text('pause-text', playing ? 'pause' : 'go on');
}

function told(progress) {
  const parts = [];
  if (progress.answered !== undefined) parts.push(`${progress.answered}${progress.wanted ? ` of ${progress.wanted}` : ''} answered`);
  if (progress.undecided) parts.push(`${progress.undecided} undecided`);
  if (progress.repeats) parts.push(`you agreed with yourself in ${progress.agreed} of ${progress.repeats} repeated`);
  if (progress.accuracy !== null && progress.accuracy !== undefined) parts.push(`the reward foretells ${percent(progress.accuracy)} of answers it has not seen`);
  if (progress.episodes !== undefined) parts.push(`${progress.episodes} episodes`);
  if (progress.precision !== undefined && progress.precision !== null) parts.push(`${percent(progress.precision)} of the last ${progress.audited} audited successes were right`);
  text('progress', parts.join(' · '));
  $('bar').hidden = !progress.wanted;
  if (progress.wanted) $('done').style.width = `${Math.min(100, 100 * progress.answered / progress.wanted)}%`;
}

connection.on('state', state => {
  const asking = state.asking;
  if (!asking) {
    text('note', 'Nobody asks here: this dashboard runs without preferences.');
    $('note').hidden = false;
    return;
  }
  newest = asking.question;
  if (!sent && !revisiting && due()?.id !== shown?.id) show(due());
  text('note', asking.note || (!shown ? 'No question yet.' : ''));
  $('note').hidden = Boolean(shown) || !$('note').textContent;
  told(asking.progress || {});
  text('view-only', connection.refusal);
  if (sent && performance.now() - sentSince > 5000) confirmed(false, 'no answer from the node; try again');
});
connection.on('reply', message => {
  if (message.action === 'answer' && sent) confirmed(message.ok, message.message);
  if (message.action === 'stop') toast(`stop: ${message.message}`, message.ok);
});
connection.on('hello', hello => { $('home').hidden = $('stop').hidden = Boolean(hello.alone); });  // alone: no robot is there
connection.on('live', live => { document.body.dataset.connected = live; });

addEventListener('keydown', event => {
  if (event.target.tagName === 'INPUT' || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const said = shown && KEYS[shown.kind][event.key];
  if (said) answer(said);
  else if (event.key === 'z' || event.key === 'Z') undo();
  else if (event.key === ' ' && event.target.tagName !== 'BUTTON') pause();
  else return;
  event.preventDefault();
});
for (const button of document.querySelectorAll('.answers button')) button.addEventListener('click', () => answer(button.dataset.answer));
for (const name of ['left', 'right']) $(name).addEventListener('click', () => { if (shown?.kind === 'pair') answer(name); });
$('stop').addEventListener('click', () => {
  $('stop').blur();  // the space bar must not press it too
  if (!connection.send('stop')) toast('stop: not connected, the robot did not hear it', false);
});
$('undo').addEventListener('click', undo);
$('pause').addEventListener('click', pause);
$('person').value = recall(localStorage, 'name');
$('person').addEventListener('change', () => { remember(localStorage, 'name', $('person').value.trim()); connection.identify(); });

show(null);
requestAnimationFrame(draw);
connection.start();
