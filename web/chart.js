// Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
// Lines over seconds since the episode began; hatched where a person drove. Used live and for recordings.
import { make } from './text.js';

// told apart by colour and by dashes; values of models are dotted, progress is not
const DASHES = [[], [9, 4], [3, 3, 9, 3], [14, 4], [2, 3], [6, 3, 2, 3]];
const modelOf = key => key.slice(0, key.lastIndexOf(' '));

export class Chart {
  series = {};
  spans = [];
  cursor = null;  // time of a vertical line, null: none
  length = 0;     // the time axis is at least this long
  #hidden = {};
  #dirty = true;
  #drawn = '';
  #note = () => {};
  #scheme = '';
  #colours = {};

  /** canvas and legend are elements; note(text) is told what the time axis means. */
  constructor(canvas, legend, note = () => {}) {
    [this.canvas, this.legend] = [canvas, legend];
    this.#note = note;
    setInterval(() => { if (!document.hidden) this.draw(); }, 100);
    matchMedia('(prefers-color-scheme: light)').addEventListener('change', () => this.touch());
    this.#showLegend();
  }

  receive(message) {
    if (message.reset) { this.series = {}; this.spans = []; }
    for (const [key, points] of Object.entries(message.series)) (this.series[key] ||= []).push(...points);
    if (message.spans) this.spans = message.spans;
    this.#showLegend();
    this.#dirty = true;
  }

  touch() { this.#dirty = true; }

  #style(key) {
    const model = modelOf(key), raw = key.endsWith(' value'), truth = model === 'simulator';
    const models = [...new Set(Object.keys(this.series).map(modelOf))].sort().filter(name => name !== 'simulator');
    const index = models.indexOf(model) % 6;
    return { colour: truth ? '--truth' : `--line-${index + 1}`, raw, dashes: raw ? [2, 4] : truth ? [] : DASHES[index], label: truth ? 'simulator truth' : raw ? `${model} value` : model };
  }

  #visible(key) {  // raw values wait for a click where there is a progress curve to look at
    if (key in this.#hidden) return !this.#hidden[key];
    return !key.endsWith(' value') || !(key.replace(/value$/, 'progress') in this.series);
  }

  #showLegend() {
    const keys = Object.keys(this.series).sort(), wanted = keys.map(key => key + this.#visible(key)).join() + (this.spans.length > 0);
    if (wanted === this.#drawn) return;
    this.#drawn = wanted;
    const nodes = keys.map(key => {
      const { colour, raw, dashes, label } = this.#style(key), line = make('i', { className: raw ? 'dotted' : dashes.length ? 'dashed' : '' });
      line.style.borderColor = `var(${colour})`;
      const node = make('button', { type: 'button' }, line, label);
      node.dataset.series = key;
      node.setAttribute('aria-pressed', this.#visible(key));
      node.addEventListener('click', () => { this.#hidden[key] = this.#visible(key); this.touch(); this.#showLegend(); });
      return node;
    });
    this.legend.replaceChildren(...nodes, ...(this.spans.length ? [make('span', {}, make('i', { className: 'span' }), 'a person drove')] : []));
    this.#note(keys.length ? 'seconds since the episode began' : 'no samples yet');
  }

  /** A colour of the style sheet as canvas understands it; asked again when the page turns light or dark. */
  #colour(name) {
    const style = getComputedStyle(this.canvas);
    if (style.colorScheme !== this.#scheme) { this.#scheme = style.colorScheme; this.#colours = {}; }
    if (!(name in this.#colours)) {
      this.canvas.style.color = `var(${name})`;
      this.#colours[name] = getComputedStyle(this.canvas).color;
    }
    return this.#colours[name];
  }

  draw() {
    const { canvas } = this, ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    const size = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== size[0] || canvas.height !== size[1]) { [canvas.width, canvas.height] = size; this.touch(); }
    if (!this.#dirty || !width) return;
    this.#dirty = false;
    const pen = canvas.getContext('2d'), colour = name => this.#colour(name);
    const lines = Object.entries(this.series).filter(([key, points]) => points.length && this.#visible(key));
    let [low, high, start, end] = [0, 1, Infinity, this.length];
    for (const [, points] of lines) {
      start = Math.min(start, points[0][0]);
      end = Math.max(end, points[points.length - 1][0]);
      for (const [, value] of points) { low = Math.min(low, value); high = Math.max(high, value); }
    }
    start = start < 30 || start === Infinity ? 0 : start;  // old points of an endless run are gone
    end = Math.max(end, start + (this.length || 5));
    const left = 38, right = width - 8, top = 8, bottom = height - 20;
    const x = t => left + (t - start) / (end - start) * (right - left), y = v => bottom - (v - low) / (high - low) * (bottom - top);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    for (const [from, to] of this.spans) {
      const [a, b] = [Math.max(from, start), Math.min(to ?? end, end)];
      if (b > a) hatch(pen, x(a), top, x(b) - x(a), bottom - top, colour('--amber'));
    }
    pen.font = '11px system-ui, sans-serif';
    pen.fillStyle = colour('--dim');
    pen.strokeStyle = colour('--line');
    pen.lineWidth = 1;
    pen.setLineDash([]);
    // an outlier must not bring thousands of grid lines
    const rows = [0.25, 0.5, 1, 2, 5, 10, 25, 50, 100].find(step => (high - low) / step <= 7) || (high - low) / 5;
    const unit = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600].find(step => (end - start) / step <= 8) || (end - start) / 8;
    pen.textAlign = 'right';
    for (let v = Math.ceil(low / rows) * rows; v <= high + 1e-9; v += rows) {
      pen.beginPath(); pen.moveTo(left, y(v)); pen.lineTo(right, y(v)); pen.stroke();
      pen.fillText(v.toFixed(rows < 1 ? 2 : 0), left - 6, y(v) + 4);
    }
    pen.textAlign = 'center';
    for (let t = Math.ceil(start / unit) * unit; t <= end; t += unit) pen.fillText(`${Math.round(t)}`, x(t), height - 5);
    for (const [key, points] of lines) this.#line(pen, points, this.#style(key), colour, x, y);
    if (this.cursor !== null) {
      pen.strokeStyle = colour('--text');
      pen.lineWidth = 1.5;
      pen.setLineDash([]);
      pen.beginPath(); pen.moveTo(x(this.cursor), top); pen.lineTo(x(this.cursor), bottom); pen.stroke();
    }
  }

  #line(pen, points, style, colour, x, y) {
    pen.strokeStyle = colour(style.colour);
    pen.lineWidth = style.raw ? 1.5 : 2.2;
    pen.setLineDash(style.dashes);
    pen.beginPath();
    const [first, last] = [points[0][0], points[points.length - 1][0]];
    const gap = Math.max(1, 6 * (last - first) / points.length);  // nobody looked: no samples, no line
    points.forEach(([t, v], i) => i && t - points[i - 1][0] > gap ? pen.moveTo(x(t), y(v)) : pen.lineTo(x(t), y(v)));
    pen.stroke();
    if (points.length === 1) { pen.fillStyle = colour(style.colour); pen.fillRect(x(first) - 2, y(points[0][1]) - 2, 4, 4); }
  }
}

function hatch(pen, left, top, width, height, colour) {
  pen.save();
  pen.beginPath();
  pen.rect(left, top, width, height);
  pen.clip();
  pen.globalAlpha = 0.16;
  pen.fillStyle = colour;
  pen.fillRect(left, top, width, height);
  pen.globalAlpha = 0.5;
  pen.strokeStyle = colour;
  pen.lineWidth = 1;
  pen.setLineDash([]);
  pen.beginPath();
  for (let at = left - height; at < left + width; at += 9) { pen.moveTo(at, top + height); pen.lineTo(at + height, top); }
  pen.stroke();
  pen.restore();
}
