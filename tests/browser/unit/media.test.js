// How a call keeps its media alive, and when it gives up; time, the server and the browser are the test's.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { connect } from '../../../src/api/web/iceway.js';
import { FakeConnection } from './fake_connection.js';
import { FakeSocket, pass, settle } from './fake_socket.js';

const STREAM = { getTracks: () => [] };
let client;

beforeEach(async () => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: 1_790_000_000_000 });
  mock.method(Math, 'random', () => 0);
  globalThis.RTCPeerConnection = FakeConnection;
  FakeSocket.all = [];
  FakeConnection.all = [];
  client = connect({ url: 'wss://t.example/v1/signal', token: () => 'token', WebSocket: FakeSocket });
  await settle();
  FakeSocket.last.welcome({ heartbeat: { interval: 1_000_000, timeout: 10 } });
});

afterEach(() => {
  client.close();
  mock.timers.reset();
  mock.restoreAll();
});

test('a failure restarts ICE at once on the side that called', async () => {
  const call = await connected();
  FakeConnection.last.become('failed');
  assert.equal(call.state, 'reconnecting');
  await pass(100);
  assert.equal(FakeConnection.last.restarts, 1);
  assert.equal(FakeSocket.last.sentLast('renegotiate').restart, true);
  answerRenegotiation();
  await settle();
  FakeConnection.last.become('connected');
  assert.equal(call.state, 'connected');
  await pass(60_000);
  assert.equal(FakeConnection.last.restarts, 1);
});

test('the side that was called helps out a little later', async () => {
  await connected('incoming');
  FakeConnection.last.become('failed');
  await pass(1_900);
  assert.equal(FakeConnection.last.restarts, 0);
  await pass(200);
  assert.equal(FakeConnection.last.restarts, 1);
});

test('a short silence heals by itself, a long one does not', async () => {
  await connected();
  FakeConnection.last.become('disconnected');
  await pass(3_900);
  FakeConnection.last.become('connected');
  await pass(10_000);
  assert.equal(FakeConnection.last.restarts, 0);
  FakeConnection.last.become('disconnected');
  await pass(4_100);
  assert.equal(FakeConnection.last.restarts, 1);
});

test('media that does not come back ends the call', async () => {
  const call = await connected();
  FakeConnection.last.become('failed');
  for (let second = 0; second < 60; second++) {
    await pass(1_000);
    if (FakeConnection.last.signalingState === 'have-local-offer') answerRenegotiation();
  }
  assert.ok(FakeConnection.last.restarts >= 4);
  assert.deepEqual(call.ended, { reason: 'ice-failed', by: 'local' });
  assert.equal(FakeSocket.last.sentLast('call-hangup').reason, 'ice-failed');
});

test('media that never comes ends the call', async () => {
  const call = await answered();
  for (let second = 0; second < 60; second++) {
    await pass(1_000);
    if (FakeConnection.last.signalingState === 'have-local-offer') answerRenegotiation();
  }
  assert.deepEqual(call.ended, { reason: 'ice-timeout', by: 'local' });
});

test('while nobody can be told, ICE waits, and the call goes on', async () => {
  const call = await connected();
  FakeSocket.last.end(1006);
  FakeConnection.last.become('failed');
  await pass(100);
  FakeSocket.last.end(1006);
  await pass(60_000);
  assert.equal(FakeConnection.last.restarts, 0);
  assert.equal(call.state, 'reconnecting');
  while (FakeSocket.last.readyState !== 0) await pass(1_000);
  FakeSocket.last.welcome({ resumed: true });
  await pass(100);
  assert.equal(FakeConnection.last.restarts, 1);
});

test('a peer that is away is waited for', async () => {
  const call = await connected();
  const told = [];
  call.on('peer', (state) => told.push(state));
  say({ type: 'call-peer', state: 'away', session: 's_9' });
  FakeConnection.last.become('failed');
  await pass(60_000);
  assert.equal(FakeConnection.last.restarts, 0);
  say({ type: 'call-peer', state: 'back', session: 's_10' });
  await pass(100);
  assert.equal(FakeConnection.last.restarts, 1);
  assert.equal(call.peer.session, 's_10');
  assert.deepEqual(told, ['away', 'back']);
});

test('a call hung up before it was offered is never offered', async () => {
  FakeSocket.last.end(1006);
  const offered = client.call({ user: 'u-9' }, { stream: STREAM });
  offered.catch(() => {});
  const [call] = client.calls.values();
  await settle();
  call.hangup();
  await pass(300);
  FakeSocket.last.welcome({ resumed: true });
  assert.deepEqual(FakeSocket.last.sent.map(({ type }) => type), ['hello']);
});

test('an offer that is refused ends the call and says why', async () => {
  const offered = client.call({ user: 'u-9' }, { stream: STREAM });
  await settle();
  FakeSocket.last.say({ re: FakeSocket.last.sentLast('call-offer').id, type: 'error', code: 'forbidden', retryable: false });
  await assert.rejects(offered, { code: 'forbidden' });
  assert.equal(client.calls.size, 0);
});

test('nobody rings on because this side has no camera', async () => {
  let answer;
  client.on('incoming', (call) => { answer = call.answer(); });
  offer();
  await assert.rejects(answer);
  const { reason, scope } = FakeSocket.last.sentLast('call-reject');
  assert.deepEqual({ reason, scope }, { reason: 'media-failed', scope: 'device' });
});

test('a call that nobody listens for does not ring until somebody does', async () => {
  offer();
  await settle();
  assert.equal(FakeSocket.last.sentAll('call-ringing').length, 0);
  let incoming = 0;
  client.on('incoming', () => incoming++);
  client.on('incoming', () => incoming++);
  await settle();
  assert.equal(FakeSocket.last.sentAll('call-ringing').length, 1);
  assert.equal(incoming, 2);
});

test('closing a page declines nothing for the other devices', async () => {
  client.on('incoming', () => {});
  offer();
  client.close();
  assert.deepEqual(FakeSocket.last.sent.slice(-1).map(({ type }) => type), ['bye']);
  assert.equal(FakeSocket.last.sentAll('call-reject').length, 0);
});

test('what the server could not take just now is said again', async () => {
  await connected();
  FakeConnection.last.onnegotiationneeded();
  await settle();
  const [first] = FakeSocket.last.sentAll('renegotiate');
  FakeSocket.last.say({ re: first.id, type: 'error', code: 'rate-limited', retryable: true, retryAfter: 2 });
  await pass(1_900);
  assert.equal(FakeSocket.last.sentAll('renegotiate').length, 1);
  await pass(200);
  assert.deepEqual(FakeSocket.last.sentAll('renegotiate')[1].data, first.data);
});

test('a call that the server no longer knows is over', async () => {
  const call = await connected();
  FakeConnection.last.onnegotiationneeded();
  await settle();
  FakeSocket.last.say({ re: FakeSocket.last.sentLast('renegotiate').id, type: 'error', code: 'call-ended', retryable: false });
  await settle();
  assert.deepEqual(call.ended, { reason: 'call-ended', by: 'server' });
});

test('an offer without an end from the server ends by its own time', async () => {
  let cancelled;
  client.on('incoming', () => {});
  client.on('cancelled', (_, reason) => { cancelled = reason; });
  offer();
  FakeSocket.last.end(1006);
  await pass(66_000);
  assert.equal(cancelled, 'timeout');
});

async function answered(direction = 'outgoing') {
  if (direction === 'incoming') {
    const incoming = new Promise((resolve) => client.once('incoming', resolve));
    offer();
    const call = await incoming;
    call.answer({ stream: STREAM }).catch(() => {});
    await settle();
    return call;
  }
  client.call({ user: 'u-9' }, { stream: STREAM }).catch(() => {});
  const [call] = client.calls.values();
  await settle();
  const { id } = FakeSocket.last.sentLast('call-offer');
  FakeSocket.last.say({ re: id, type: 'ok' });
  say({ type: 'call-answer', from: { user: 'u-9', session: 's_9' }, data: { type: 'answer', sdp: 'theirs' } });
  await settle();
  return call;
}

async function connected(direction) {
  const call = await answered(direction);
  FakeConnection.last.become('connected');
  return call;
}

function answerRenegotiation() {
  say({ type: 'renegotiate', data: { type: 'answer', sdp: 'theirs again' } });
}

function say(frame) {
  const [call] = client.calls.values();
  FakeSocket.last.seq = (FakeSocket.last.seq ?? 0) + 1;
  FakeSocket.last.say({ seq: FakeSocket.last.seq, call: call.id, ...frame });
}

function offer() {
  FakeSocket.last.seq = 1;
  FakeSocket.last.say({
    seq: 1, type: 'call-offer', call: 'c_x', from: { user: 'u-9', session: 's_9' }, media: ['audio'], polite: true,
    expiresAt: client.now() + 60_000, data: { type: 'offer', sdp: 'theirs' },
  });
}
