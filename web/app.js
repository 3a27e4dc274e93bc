// Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
// The page of the dashboard: puts its subjects together, one file each.
import { startCameras } from './cameras.js';
import { Chart } from './chart.js';
import { connection, recall, remember } from './connection.js';
import { startControls } from './controls.js';
import { startJoystick } from './joystick.js';
import { startLearning } from './learning.js';
import { showRecordings, startRecordings } from './recordings.js';
import { startStatus } from './status.js';
import { $, make, text } from './text.js';

const tabs = [...document.querySelectorAll('[role=tab]')];

function showTab(tab) {
  for (const other of tabs) {
    const chosen = other === tab;
    other.setAttribute('aria-selected', chosen);
    other.tabIndex = chosen ? 0 : -1;
    $(other.getAttribute('aria-controls')).hidden = !chosen;
  }
  showRecordings(tab.id === 'tab-recordings');
}

for (const tab of tabs) {
  tab.addEventListener('click', () => showTab(tab));
  tab.addEventListener('keydown', event => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
    next.focus();
    showTab(next);
  });
}

// as the system likes it, until somebody chooses
function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme; else delete document.documentElement.dataset.theme;
}
setTheme(recall(localStorage, 'theme'));
$('theme').addEventListener('click', () => {
  const light = matchMedia('(prefers-color-scheme: light)').matches;
  const now = document.documentElement.dataset.theme || (light ? 'light' : 'dark'), next = now === 'light' ? 'dark' : 'light';
  remember(localStorage, 'theme', next);
  setTheme(next);
  charts.forEach(chart => chart.touch());
});

// pages that panels added, such as /preferences
connection.on('hello', ({ pages }) => {
  $('links').replaceChildren(...pages.map(path => make('a', { className: 'tab', href: path }, path[1].toUpperCase() + path.slice(2))));
});

const live = new Chart($('chart'), $('legend'), note => text('chart-note', note));
const charts = [live];
connection.on('curves', message => live.receive(message));
startStatus();
startCameras();
startControls();
startJoystick();
startLearning();
startRecordings();
showTab(tabs[0]);
connection.start();
