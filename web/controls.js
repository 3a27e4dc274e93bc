// Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
// Buttons and keys, and who has the controls: one person at a time. Stop needs neither token nor controls.
import { connection, recall, remember } from './connection.js';
import { $, text, toast } from './text.js';

const buttons = [...document.querySelectorAll('button[data-action]')];
let state = null, controls = { client: null, name: null };

export const mine = () => controls.client !== null && controls.client === connection.client;
/** Whether this page may do something that needs the controls: it has them, or they are free. */
export const mayControl = () => connection.live && !connection.refusal && (controls.client === null || mine());
/** Why this page may only watch, in a few words; '' if it may control. */
export const whoBlocks = () => connection.refusal ? 'you watch' : controls.client !== null && !mine() ? `${controls.name} has the controls` : '';

function act(button) {
  if (button.disabled) return;
  const fields = { task: $('instruction').value, ...(button.dataset.seed ? { seed: button.dataset.seed } : {}) };
  if (!connection.send(button.dataset.action, fields)) toast(`${button.dataset.action}: not connected, the robot did not hear it`, false);
}

function setButtons() {
  const mode = state?.gate?.mode, episode = state?.episode, phase = episode?.phase, learner = state?.learning?.learner;
  const ended = phase === 'ENDED' && Boolean(episode.id), startable = ['IDLE', 'READY', 'ENDED'].includes(phase);
  const sensible = {
    takeover: ['POLICY', 'PAUSED', 'HOLD', 'RESET'].includes(mode),
    release: mode === 'HUMAN',
    arm: ['DISARMED', 'HOLD'].includes(mode),
    clear: ['STOP', 'FAULT'].includes(mode),
    start: startable,
    success: phase === 'RUNNING' || ended,
    failure: phase === 'RUNNING' || ended,
    discard: ['RESETTING', 'READY', 'RUNNING'].includes(phase) || ended,
    learner_pause: Boolean(learner) && learner.phase !== 'paused',
    learner_go_on: learner?.phase === 'paused',
  };
  for (const button of buttons) {
    const action = button.dataset.action;
    button.disabled = action !== 'stop' && !(mayControl() && (sensible[action] ?? true));
  }
}

function showControls() {
  const free = controls.client === null, refused = Boolean(connection.refusal);
  text('holder', whoBlocks() || (mine() ? 'you have the controls' : 'controls are free'));
  $('holder').dataset.who = mine() ? 'me' : free ? 'nobody' : 'other';
  $('holder').title = connection.refusal;
  $('take').hidden = refused || !free;
  $('give').hidden = !mine();
  $('token-form').hidden = !refused || !connection.live;
  text('refusal', connection.refusal);
  text('link', connection.live ? (refused ? 'view only' : 'live') : 'offline');
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { target } = event;
  if (target instanceof HTMLInputElement && target.type !== 'range' || target instanceof HTMLSelectElement) {  // letters are text here
    if (event.key === 'Escape' || (event.key === 'Enter' && target.id === 'person')) target.blur();  // the keys are keys again
    return;
  }
  const button = buttons.find(b => b.dataset.key === event.key.toLowerCase());
  if (!button) return;
  event.preventDefault();
  if (document.activeElement instanceof HTMLElement) document.activeElement.blur();  // the space bar must not press it too
  if (!event.repeat) act(button);
}

function askName() {
  const name = $('person').value.trim();
  remember(localStorage, 'name', name);
  connection.identify();
}

export function startControls() {
  for (const button of buttons) {
    if (button.dataset.key) button.title = `key: ${button.dataset.key === ' ' ? 'Space' : button.dataset.key.toUpperCase()}`;
    button.addEventListener('click', () => { act(button); button.blur(); });
  }
  document.addEventListener('keydown', onKey);
  $('person').value = recall(localStorage, 'name');
  $('person').addEventListener('change', askName);
  $('take').addEventListener('click', () => connection.send('take'));
  $('give').addEventListener('click', () => connection.send('give'));
  $('token-form').addEventListener('submit', event => {
    event.preventDefault();
    remember(sessionStorage, 'token', $('token').value.trim());
    $('token').value = '';
    connection.identify();
  });
  setInterval(() => { if (mine()) connection.send('beat'); }, 1000);
  const refresh = () => { showControls(); setButtons(); };
  connection.on('state', message => { state = message; setButtons(); });
  connection.on('controls', message => { controls = message; refresh(); });
  connection.on('hello', message => {
    state = null;
    text('robot', message.robot);
    document.title = `${message.robot} · Apprentice`;
    refresh();
  });
  connection.on('you', message => {
    refresh();
    if (message.control && recall(sessionStorage, 'token')) toast(message.control, false);
  });
  connection.on('live', live => { document.body.dataset.connected = live; refresh(); });
  connection.on('reply', message => {
    if (message.message && (!message.ok || message.message !== 'done')) toast(`${message.action ? `${message.action}: ` : ''}${message.message}`, message.ok);
  });
  refresh();
}
