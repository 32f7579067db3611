// What is said in transcripts.json, word for word: `client` frames must be sent, `server` frames come, `page` is what the
// application or the browser does, the rest is how the call then is. No frame may be sent that does not stand there.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { connect } from '../../../src/api/web/iceway.js';
import { FakeConnection } from './fake_connection.js';
import { FakeSocket, pass, settle } from './fake_socket.js';

const transcripts = JSON.parse(readFileSync(new URL('transcripts.json', import.meta.url)));
const STREAM = { getTracks: () => [] };

let client;
let call;
let incoming;
let cancelled;

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: 1_790_000_000_000 });
  mock.method(Math, 'random', () => 0);
  mock.method(crypto, 'getRandomValues', (bytes) => bytes.fill(1));
  globalThis.RTCPeerConnection = FakeConnection;
  FakeSocket.all = [];
  FakeConnection.all = [];
  incoming = 0;
  cancelled = undefined;
  client = connect({ url: 'wss://t.example/v1/signal', token: () => 'token', WebSocket: FakeSocket });
  client.on('incoming', (which) => { call = which; incoming++; });
  client.on('cancelled', (_, reason) => { cancelled = reason; });
});

afterEach(() => {
  client.close();
  mock.timers.reset();
  mock.restoreAll();
});

for (const [name, steps] of Object.entries(transcripts)) {
  test(name, async () => {
    await settle();
    FakeSocket.last.welcome();
    FakeSocket.last.sent = [];
    for (const step of steps) await play(step);
    assert.deepEqual(FakeSocket.last.sent.filter(isCall), []);
  });
}

async function play(step) {
  if (step.page) await act(step);
  else if (step.server) FakeSocket.last.say(step.server);
  else if (step.client) return assert.deepEqual(await next(), step.client);
  else if (step.close) await reconnect(step);
  else check(step);
  await settle();
}

/** The next frame about a call; candidates and restarts take a moment. */
async function next() {
  for (let waited = 0; waited < 2_000; waited += 100) {
    const at = FakeSocket.last.sent.findIndex(isCall);
    if (at >= 0) return FakeSocket.last.sent.splice(at, 1)[0];
    await pass(100);
  }
  return undefined;
}

function isCall({ call }) {
  return call !== undefined;
}

async function act({ page, to, candidates, is, pair }) {
  switch (page) {
    case 'call':
      client.call(to, { stream: STREAM }).catch(() => {});
      [call] = client.calls.values();
      break;
    case 'answer': call.answer({ stream: STREAM }).catch(() => {}); break;
    case 'hangup': call.hangup(); break;
    case 'negotiate': FakeConnection.last.onnegotiationneeded(); break;
    case 'find': for (const candidate of candidates) FakeConnection.last.find(candidate); break;
    case 'media':
      FakeConnection.last.pair = pair;
      FakeConnection.last.become(is);
      break;
  }
}

async function reconnect({ close, welcome }) {
  FakeSocket.last.end(close);
  await pass(100);
  FakeSocket.last.welcome(welcome);
}

function check(step) {
  const { state, peer, ended } = call;
  const { remoteCandidates, remoteDescription, configuration } = FakeConnection.last ?? {};
  const seen = {
    state, peer, ended, incoming, cancelled, remote: remoteCandidates, described: remoteDescription?.sdp,
    username: configuration?.iceServers[0].username,
  };
  for (const [name, expected] of Object.entries(step)) assert.deepEqual(seen[name], expected, name);
}
