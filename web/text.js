// Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
// Small helpers for what is written on the page.

export const $ = id => document.getElementById(id);

/** Set the text of an element by id, only where it changed: screen readers announce every change. */
export function text(id, value) {
  const node = $(id);
  value = String(value);
  if (node.textContent !== value) node.textContent = value;
}

/** A number with a unit, a dash where it is unknown. */
export const shown = (value, suffix = '', digits = 0) =>
  value === null || value === undefined ? '–' : Number(value).toFixed(digits) + suffix;

export const percent = share => shown(share === null || share === undefined ? null : share * 100, ' %');

export const duration = s =>
  s < 60 ? `${Math.floor(s)} s` : s < 3600 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 3600)} h`;

/** An element with properties and children; strings become text. */
export function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// an outcome is a sign, a word and a colour: never the colour alone
const OUTCOMES = {
  SUCCESS: ['✓', 'success', 'good'], FAILURE: ['✗', 'failure', 'bad'], ABORT: ['⌫', 'discarded', ''], UNKNOWN: ['?', 'open', ''],
};
export function outcomeTag(node, outcome) {
  const [sign, word, kind] = OUTCOMES[outcome] || ['?', String(outcome || '').toLowerCase(), ''];
  node.className = `tag ${kind}`;
  node.dataset.outcome = outcome || '';
  const wanted = `${sign} ${word}`;
  if (node.textContent !== wanted) node.textContent = wanted;
  return node;
}

/** A short message at the edge of the page. */
export function toast(message, ok) {
  const node = make('div', { className: ok ? 'toast' : 'toast bad' }, `${ok ? '' : '✗ '}${message}`);
  if ($('toasts').lastChild?.textContent === node.textContent) $('toasts').lastChild.remove();  // said once is enough
  $('toasts').append(node);
  while ($('toasts').children.length > 3) $('toasts').firstChild.remove();
  setTimeout(() => node.remove(), ok ? 3000 : 7000);
}
