// Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
// Who is in control and why, the episode, and how often the policy succeeds alone.
import { connection } from './connection.js';
import { $, duration, outcomeTag, percent, shown, text } from './text.js';

const OWNERS = { policy: 'The policy is driving', human: 'A person is driving', gate: 'The gate holds the robot' };
const MODES = {
  STOP: 'Stopped', HOLD: 'Holding position', FAULT: 'Fault: the robot holds', DISARMED: 'Not armed: nothing is commanded',
  PAUSED: 'Waiting for a fresh plan', RESET: 'Moving home',
};

function showGate(gate) {
  document.body.dataset.mode = gate ? gate.mode : 'NONE';
  text('mode', gate ? gate.mode : 'NO GATE');
  const spent = gate && gate.for_s !== null ? ` for ${duration(gate.for_s)}` : '';
  text('owner', gate ? (MODES[gate.mode] || OWNERS[gate.owner] || gate.owner) + spent : 'The gate node is silent');
  text('reason', gate ? gate.reason : 'who controls the robot is unknown: look at the log of the gate node');
  $('mode').title = gate ? `owner ${gate.owner}, epoch ${gate.epoch}` : '';
  const clamped = Object.entries(gate?.clamped || {}).filter(([, count]) => count);
  text('clamps', clamped.length ? 'Clamped steps: ' + clamped.map(([why, count]) => `${why} ${count}`).join(', ') : 'No command was clamped.');
}

function showEpisode(episode) {
  text('phase', episode ? episode.phase.toLowerCase() : '–');
  $('phase').className = episode?.phase === 'RUNNING' ? 'tag live' : 'tag';
  $('outcome').hidden = episode?.phase !== 'ENDED';
  outcomeTag($('outcome'), episode?.outcome);
  $('held-out').hidden = !episode?.eval_only;
  text('task', episode ? episode.task || '(no instruction)' : 'no episode yet');
  text('elapsed', episode ? shown(episode.elapsed_s, ' s', 1) : '–');
  text('step', episode ? episode.step : '–');
  text('ratio', episode ? percent(episode.intervention_ratio) : '–');
}

function showCounters(counters) {
  for (const kind of ['learning', 'evaluation']) {
    const group = counters[kind], known = group.rate !== null;
    text(`rate-${kind}`, known ? percent(group.rate) : '–');
    text(`count-${kind}`, known ? `${group.alone} of ${group.trials}` : 'no trials');
    text(`interval-${kind}`, known ? `[${shown(group.low * 100)}, ${shown(group.high * 100)}] %` : '');
    const [interval, mark] = $(`bar-${kind}`).children;
    interval.style.left = `${known ? group.low * 100 : 0}%`;
    interval.style.width = `${known ? (group.high - group.low) * 100 : 0}%`;
    mark.hidden = !known;
    mark.style.left = `${(group.rate || 0) * 100}%`;
  }
  text('episodes', counters.episodes);
  text('successes', counters.successes);
  text('failures', counters.failures);
  text('interventions', counters.interventions);
}

function showSpeed(command) {
  const speed = command.speed && Math.abs(command.speed - 1) > 0.1 ? `, ${command.speed.toFixed(1)}× real time` : '';
  text('command', `commands ${shown(command.hz, ' Hz', 1)}${speed}`);
}

export function startStatus() {
  connection.on('state', state => {
    showGate(state.gate);
    showEpisode(state.episode);
    showCounters(state.counters);
    showSpeed(state.command);
  });
}
