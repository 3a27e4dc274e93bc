// Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
// The learner, the advice to people, whether the rewards can be trusted, and the health of the nodes.
import { connection } from './connection.js';
import { $, make, percent, shown, text } from './text.js';

// a level is a sign, a word and a colour: never the colour alone
const NODE_SIGNS = { ok: '●', warn: '▲', stale: '◌', error: '✕', gone: '✕' };
const REWARD_SIGNS = { ok: ['●', 'trusted', 'ok'], flag: ['▲', 'look at it', 'warn'], 'down-weight': ['▲', 'counts less', 'warn'], freeze: ['▲', 'frozen', 'warn'], sparse: ['✕', 'not used', 'error'], stop: ['✕', 'learning stopped', 'error'] };
const open = new Set();  // nodes whose values are shown
let troubles = { nodes: 0, rewards: 0, learner: 0 };

function count(kind, number) {
  troubles = { ...troubles, [kind]: number };
  const all = Object.values(troubles).reduce((sum, n) => sum + n, 0);
  text('health-count', all ? `▲ ${all}` : '');
  $('health-count').title = `${all} in trouble`;
}

function showLearner({ learner, weights }) {
  text('learner-phase', learner ? (learner.silent_s ? 'silent' : learner.phase) : 'none');
  $('learner-phase').className = learner?.alarm || learner?.phase === 'error' ? 'tag bad' : learner?.silent_s ? 'tag' : learner?.phase === 'updating' ? 'tag live' : 'tag';
  text('active', weights.active === null ? '–' : `v${weights.active}`);
  text('newest', weights.newest ? `v${weights.newest}` : '–');
  text('loss', shown(learner?.loss, '', 3));
  text('updates', shown(learner?.updates_per_s, '', 1));
  text('buffer', learner ? learner.transitions : '–');
  text('learned', learner ? learner.episodes : '–');
  const notes = [learner?.message, learner?.recipe, learner?.human_transitions ? `${learner.human_transitions} steps by people` : '', learner?.pending ? `${learner.pending} updates to go` : '',
    learner?.quarantined ? `${learner.quarantined} transitions refused` : '', weights.refused ? `policy refused weights: ${weights.refused}` : '',
    learner?.silent_s ? `nothing heard for ${Math.round(learner.silent_s)} s` : ''];
  text('learner-note', notes.filter(Boolean).join(' · '));
  text('alarm-text', learner?.alarm || '');
  $('alarm').hidden = !learner?.alarm;
  count('learner', learner?.alarm ? 1 : 0);
}

function showGuidance(guidance) {
  $('guidance').hidden = !guidance;
  if (!guidance) return;
  text('grade', guidance.grade);
  text('advice', guidance.advice ? `➜ ${guidance.advice}` : 'nothing to do: watch');
  $('guidance').dataset.advice = guidance.advice ? 'yes' : 'no';
  text('advice-reason', guidance.reason);
  const facts = [guidance.tries ? `alone ${percent(guidance.success)} of the last ${guidance.tries}` : '', guidance.intervention_share === null ? '' : `people drove ${percent(guidance.intervention_share)}`];
  text('advice-facts', facts.filter(Boolean).join(' · '));
  $('start-there').hidden = !guidance.start;
  if (guidance.start) {
    $('start-there').dataset.seed = guidance.start.seed;
    text('start-there', `Start where it fails${guidance.start.cluster ? ` (${guidance.start.cluster})` : ''}`);
  }
}

function showRewards(rewards) {
  const alarms = rewards.filter(row => row.level !== 'ok');
  text('rewards-none', rewards.length ? '' : 'no judgement yet: the monitor speaks after every episode');
  $('acknowledge').hidden = !alarms.length;
  const wanted = JSON.stringify(rewards);
  if (wanted === $('rewards').dataset.shown) return;
  $('rewards').dataset.shown = wanted;
  $('rewards').replaceChildren(...rewards.map(row => {
    const [sign, word, kind] = REWARD_SIGNS[row.level] || ['?', row.level, 'warn'];
    const loud = row.detectors.filter(detector => detector.alarm).map(d => `${d.name} ${shown(d.value, '', 2)} (limit ${shown(d.limit, '', 2)})`);
    const all = row.detectors.map(d => `${d.alarm ? '▲' : '·'} ${d.name}: ${shown(d.value, '', 2)} of ${shown(d.limit, '', 2)}`);
    const details = make('details', {}, make('summary', {}, `${row.detectors.length} detectors`), ...all.map(line => make('div', {}, line)));
    const item = make('li', { className: kind }, make('i', {}, sign), make('b', {}, row.model), make('span', {}, `${word}, weight ${shown(row.weight, '', 2)}`),
      make('p', {}, [row.reason, loud.join('; ')].filter(Boolean).join(' — ')), details);
    item.dataset.model = row.model;
    item.dataset.level = row.level;
    return item;
  }));
  count('rewards', alarms.length);
}

function showNodes(nodes) {
  const list = $('nodes');
  while (list.children.length > nodes.length) list.lastChild.remove();
  nodes.forEach((node, index) => {
    let row = list.children[index];
    if (!row) {
      row = make('li', {}, make('i'), make('button', { type: 'button' }), make('span'), make('dl'));
      row.children[1].addEventListener('click', () => {
        const name = row.dataset.node;
        if (!open.delete(name)) open.add(name);
        row.classList.toggle('open', open.has(name));
      });
      list.append(row);
    }
    row.className = node.level + (open.has(node.name) ? ' open' : '');
    row.dataset.node = node.name;
    row.children[0].textContent = NODE_SIGNS[node.level] || '?';
    row.children[0].title = node.level;
    row.children[1].textContent = node.name;
    row.children[1].setAttribute('aria-expanded', open.has(node.name));
    row.children[2].textContent = node.level === 'ok' ? node.message : `${node.level}: ${node.message}`;
    const values = open.has(node.name) ? node.values : [];
    row.children[3].replaceChildren(...values.flatMap(([key, value]) => [make('dt', {}, key), make('dd', {}, value)]));
  });
  count('nodes', nodes.filter(node => node.level !== 'ok').length);
}

export function startLearning() {
  connection.on('state', ({ learning }) => {
    showLearner(learning);
    showGuidance(learning.guidance);
    showRewards(learning.rewards);
  });
  connection.on('nodes', message => showNodes(message.nodes));
}
