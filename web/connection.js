// Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
// The websocket to the dashboard node: one connection, made again whenever it is lost.
// Every page uses it: connection.on(type, handler) for messages, connection.send(action, fields) for presses.

const SILENT_MS = 2500;  // the node speaks ten times a second: silence is loss
const [FIRST_RETRY_MS, LAST_RETRY_MS] = [300, 4000];

/** A value of this browser, '' where storage is forbidden. */
export function recall(store, name) {
  try { return store.getItem(name) || ''; } catch { return ''; }
}
export function remember(store, name, value) {
  try { store.setItem(name, value); } catch { /* private mode: asked again next time */ }
}

/** The node's answer to a GET; while it is busy with others' requests it is asked again, some seconds long. */
export async function ask(path) {
  for (let left = 8; ; left--) {
    const response = await fetch(path);
    if (response.status !== 503 || !left) return response;
    await new Promise(done => setTimeout(done, 400 + 400 * Math.random()));
  }
}

/** Load a picture into an <img>; rejects where there is none. */
export async function picture(image, path) {
  const response = await ask(path);
  if (!response.ok) throw new Error(await response.text());
  const url = URL.createObjectURL(await response.blob());
  try {
    await new Promise((done, failed) => { image.onload = done; image.onerror = failed; image.src = url; });
  } finally {
    URL.revokeObjectURL(url);
  }
}

function tabKey() {  // a reloaded tab is known by it, and gets the controls back
  let key = recall(sessionStorage, 'key');
  if (!key) {
    key = [...crypto.getRandomValues(new Uint8Array(16))].map(byte => byte.toString(16).padStart(2, '0')).join('');
    remember(sessionStorage, 'key', key);
  }
  return key;
}

/** The token of #token=... as it stands there: + is a plus (base64 has them), %20 a space. */
function linkedToken() {
  const found = /(?:^#|&)token=([^&]*)/.exec(location.hash)?.[1] || '';
  try { return decodeURIComponent(found); } catch { return found; }  // a % that stands for itself
}

// #token=... of a link is kept in this tab and taken out of the address bar; it never reaches a server's log
const linked = linkedToken();
if (linked) {
  remember(sessionStorage, 'token', linked);
  history.replaceState(null, '', location.pathname + location.search);
}

class Connection {
  live = false;      // messages of a graph arrive
  refusal = '';      // why this page may only watch, '' if it may control
  client = 0;        // number of this page
  #handlers = new Map();
  #socket = null;
  #heard = 0;
  #retry = FIRST_RETRY_MS;
  #timer = 0;

  constructor() {
    setInterval(() => this.#watch(), 500);
    const now = () => { if (!this.#socket) { this.#retry = FIRST_RETRY_MS; this.#connect(); } };
    addEventListener('online', now);
    document.addEventListener('visibilitychange', () => { if (!document.hidden) now(); });
  }

  /** Call handler(message) for messages of a type; 'frame' carries an ArrayBuffer, 'live' a boolean. */
  on(type, handler) {
    if (!this.#handlers.has(type)) this.#handlers.set(type, []);
    this.#handlers.get(type).push(handler);
  }

  /** Tell the node what a person did. Returns whether it could be sent. */
  send(action, fields = {}) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify({ ...fields, action }));
    return true;
  }

  start() { this.#connect(); }

  /** Say again who this is: after a token or a name was typed. */
  identify() {
    this.send('identify', { token: recall(sessionStorage, 'token'), key: tabKey(), name: recall(localStorage, 'name') });
  }

  #emit(type, message) { for (const handler of this.#handlers.get(type) || []) handler(message); }

  #connect() {
    clearTimeout(this.#timer);
    const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = this.#socket = new WebSocket(`${scheme}//${location.host}/ws`);
    socket.binaryType = 'arraybuffer';
    this.#heard = performance.now();
    socket.onopen = () => this.identify();
    socket.onmessage = event => {
      this.#heard = performance.now();
      if (event.data instanceof ArrayBuffer) this.#emit('frame', event.data);
      else this.#receive(JSON.parse(event.data));
    };
    socket.onclose = () => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      this.#setLive(false);
      this.#timer = setTimeout(() => this.#connect(), this.#retry * (0.8 + 0.4 * Math.random()));
      this.#retry = Math.min(this.#retry * 1.6, LAST_RETRY_MS);
    };
  }

  #watch() {
    const socket = this.#socket;
    if (!socket || performance.now() - this.#heard < SILENT_MS) return;
    socket.onmessage = null;
    socket.onclose();  // the closing handshake of a dead peer can take a minute
    socket.close();
  }

  #receive(message) {
    if (message.type === 'hello' || message.type === 'you') {
      this.client = message.client;
      this.refusal = message.control || '';
    }
    this.#emit(message.type, message);
    if (message.type === 'state') this.#setLive(true);
  }

  #setLive(live) {
    if (live) this.#retry = FIRST_RETRY_MS;
    if (live === this.live) return;
    this.live = live;
    this.#emit('live', live);
  }
}

export const connection = new Connection();
