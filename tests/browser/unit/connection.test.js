// How a connection is made, kept and made again; time and the server are the test's.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { SignalError, connect } from '../../../src/api/web/iceway.js';
import { FakeSocket, pass, settle } from './fake_socket.js';

let client;
let tokens;
let errors;

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: 1_790_000_000_000 });
  mock.method(Math, 'random', () => 0.5);
  FakeSocket.all = [];
  tokens = 0;
  errors = [];
});

afterEach(() => {
  client.close();
  mock.timers.reset();
  mock.restoreAll();
});

test('a hello shows the token in a frame and never in the address', async () => {
  await open({ device: 'web-1' });
  FakeSocket.last.open();
  const { url, protocol, sent } = FakeSocket.last;
  assert.equal(url.href, 'wss://t.example/v1/signal');
  assert.equal(protocol, 'rtc-signal.v1');
  const { type, v, token, device, resume } = sent[0];
  assert.deepEqual({ type, v, token, device, resume },
    { type: 'hello', v: 1, token: 'token-1', device: 'web-1', resume: undefined });
});

test('a ticket goes into the address, a fresh one each time', async () => {
  let tickets = 0;
  await open({ token: undefined, ticket: () => `ticket-${++tickets}` });
  FakeSocket.last.welcome();
  assert.equal(FakeSocket.last.url.search, '?ticket=ticket-1');
  assert.equal(FakeSocket.last.sent[0].token, undefined);
  FakeSocket.last.end(1006);
  await pass(1_000);
  assert.equal(FakeSocket.last.url.search, '?ticket=ticket-2');
});

test('ready resolves with the welcome', async () => {
  await open();
  FakeSocket.last.welcome();
  assert.equal(await client.ready, client);
  assert.equal(client.state, 'connected');
  assert.equal(client.session, 's_1');
  assert.equal(client.iceServers[0].username, 'u');
});

test('the clock of the server is known', async () => {
  await open();
  FakeSocket.last.open();
  mock.timers.tick(200);
  FakeSocket.last.say({ re: FakeSocket.last.sent[0].id, type: 'welcome', session: 's_1', serverTime: 1_790_000_060_100 });
  assert.equal(client.clockOffset, 60_000);
  assert.equal(client.now(), Date.now() + 60_000);
});

test('it resumes with all it has seen and a token that is still good', async () => {
  await open();
  FakeSocket.last.welcome();
  for (let seq = 1; seq <= 3; seq++) FakeSocket.last.say({ seq, type: 'message', data: seq });
  FakeSocket.last.end(1006);
  assert.equal(client.state, 'reconnecting');
  await pass(300);
  FakeSocket.last.open();
  const { token, resume } = FakeSocket.last.sentLast('hello');
  assert.equal(token, 'token-1');
  assert.deepEqual(resume, { session: 's_1', token: 'rt_1', epoch: 'e_1', seq: 3 });
  FakeSocket.last.say({ re: FakeSocket.last.sent[0].id, type: 'welcome', session: 's_1', resumed: true, resumeToken: 'rt_2', epoch: 'e_1' });
  assert.equal(client.state, 'connected');
  FakeSocket.last.end(1006);
  await pass(1_000);
  FakeSocket.last.open();
  assert.equal(FakeSocket.last.sentLast('hello').resume.token, 'rt_2');
});

test('requests without an answer are sent again under the same id, in order', async () => {
  await open();
  FakeSocket.last.welcome();
  const answers = ['a', 'b', 'c'].map((data) => client.message({ user: 'u-2' }, data));
  const sent = FakeSocket.last.sentAll('message');
  FakeSocket.last.say({ re: sent[0].id, type: 'ok' });
  FakeSocket.last.end(1006);
  answers.push(client.message({ user: 'u-2' }, 'd'));
  await pass(300);
  FakeSocket.last.welcome({ resumed: true });
  const again = FakeSocket.last.sentAll('message');
  assert.deepEqual(again.map(({ data }) => data), ['b', 'c', 'd']);
  assert.deepEqual(again.slice(0, 2).map(({ id }) => id), sent.slice(1).map(({ id }) => id));
  for (const { id } of again) FakeSocket.last.say({ re: id, type: 'ok' });
  assert.deepEqual(await Promise.all(answers), [...sent, again[2]].map(({ id }) => ({ id })));
});

test('a frame that comes again is dropped', async () => {
  await open();
  const seen = [];
  client.on('message', ({ data }) => seen.push(data));
  FakeSocket.last.welcome();
  for (const seq of [1, 2, 2, 1, 3]) FakeSocket.last.say({ seq, type: 'message', data: seq });
  assert.deepEqual(seen, [1, 2, 3]);
});

test('a missing frame is fetched by a resume', async () => {
  await open();
  const seen = [];
  client.on('message', ({ data }) => seen.push(data));
  FakeSocket.last.welcome();
  FakeSocket.last.say({ seq: 1, type: 'message', data: 1 });
  FakeSocket.last.say({ seq: 3, type: 'message', data: 3 });
  await pass(300);
  assert.equal(FakeSocket.all.length, 2);
  FakeSocket.last.welcome({ resumed: true });
  assert.equal(FakeSocket.last.sent[0].resume.seq, 1);
  for (const seq of [2, 3]) FakeSocket.last.say({ seq, type: 'message', data: seq });
  assert.deepEqual(seen, [1, 2, 3]);
});

test('frames are acknowledged after sixteen, after two seconds, and on the way', async () => {
  await open();
  FakeSocket.last.welcome();
  const acks = () => FakeSocket.last.sent.map(({ ack }) => ack).filter((ack) => ack !== undefined);
  for (let seq = 1; seq <= 16; seq++) FakeSocket.last.say({ seq, type: 'message', data: 0 });
  assert.deepEqual(acks(), [16]);
  FakeSocket.last.say({ seq: 17, type: 'message', data: 0 });
  await pass(1_900);
  assert.deepEqual(acks(), [16]);
  await pass(200);
  assert.deepEqual(acks(), [16, 17]);
  FakeSocket.last.say({ seq: 18, type: 'message', data: 0 });
  client.message({ user: 'u-2' }, 0).catch(() => {});
  await pass(3_000);
  assert.deepEqual(acks(), [16, 17, 18]);
});

test('pauses grow as 0.3 n² seconds up to seven, with jitter', async () => {
  await open();
  const pauses = [];
  for (let n = 0; n < 8; n++) {
    const before = Date.now();
    const { length } = FakeSocket.all;
    FakeSocket.last.end(1006);
    while (FakeSocket.all.length === length) await pass(10);
    pauses.push(Date.now() - before);
  }
  // Half of the jitter each time: of 0.3 s, 0.6 s, 0.9 s, then of one second.
  assert.deepEqual(pauses, [150, 600, 1_650, 3_200, 5_300, 7_500, 7_500, 7_500]);
});

test('after 4200 to 4399 it begins anew with another token', async () => {
  await open();
  FakeSocket.last.welcome();
  FakeSocket.last.end(4203);
  await pass(300);
  FakeSocket.last.open();
  const { token, resume } = FakeSocket.last.sent[0];
  assert.deepEqual({ token, resume }, { token: 'token-2', resume: undefined });
});

test('from 4400 on it stops and says why', async () => {
  await open();
  FakeSocket.last.welcome();
  const waiting = client.message({ user: 'u-2' }, 0);
  FakeSocket.last.end(4409, 'replaced');
  assert.equal(client.state, 'closed');
  assert.deepEqual(client.closed, { code: 4409, reason: 'replaced' });
  await assert.rejects(waiting, (error) => error instanceof SignalError && error.code === 'closed');
  await assert.rejects(client.message({ user: 'u-2' }, 0), { code: 'closed' });
  await pass(20_000);
  assert.equal(FakeSocket.all.length, 1);
});

test('ready rejects when it is refused', async () => {
  await open();
  FakeSocket.last.open();
  FakeSocket.last.say({ re: FakeSocket.last.sent[0].id, type: 'error', code: 'unauthorized', message: 'no' });
  FakeSocket.last.end(4401, 'unauthorized');
  await assert.rejects(client.ready, { code: 'closed', message: 'unauthorized' });
  assert.equal(errors[0].code, 'unauthorized');
});

test('a kept token that is refused is replaced once', async () => {
  await open();
  FakeSocket.last.welcome();
  FakeSocket.last.end(1006);
  await pass(300);
  FakeSocket.last.open();
  FakeSocket.last.end(4401);
  await pass(1_000);
  FakeSocket.last.open();
  assert.equal(FakeSocket.last.sent[0].token, 'token-2');
  FakeSocket.last.end(4401);
  assert.equal(client.state, 'closed');
});

test('a token callback that fails is asked again', async () => {
  let calls = 0;
  await open({ token: async () => { if (++calls < 3) throw new Error('no network'); return 'late'; } });
  assert.equal(FakeSocket.all.length, 0);
  await pass(2_000);
  FakeSocket.last.open();
  assert.equal(FakeSocket.last.sent[0].token, 'late');
  assert.equal(errors.length, 2);
});

test('the token is renewed before it ends', async () => {
  await open();
  FakeSocket.last.welcome({ tokenExpiresIn: 60, heartbeat: { interval: 1_000, timeout: 10 } });
  await pass(45_000);
  assert.equal(FakeSocket.last.sentAll('auth-refresh').length, 0);
  await pass(10_000);
  const [{ id, token }] = FakeSocket.last.sentAll('auth-refresh');
  assert.equal(token, 'token-2');
  FakeSocket.last.say({ re: id, type: 'ok', tokenExpiresIn: 600 });
  await pass(60_000);
  assert.equal(FakeSocket.last.sentAll('auth-refresh').length, 1);
});

test('the token is renewed when the server asks', async () => {
  await open();
  FakeSocket.last.welcome();
  FakeSocket.last.say({ type: 'token-expiring', in: 60 });
  await settle();
  assert.equal(FakeSocket.last.sentLast('auth-refresh').token, 'token-2');
});

test('a silent line is asked, and given up', async () => {
  await open();
  FakeSocket.last.welcome();
  const first = FakeSocket.last;
  await pass(25_000);
  assert.equal(first.sentAll('ping').length, 1);
  first.say({ type: 'pong', t: first.sentLast('ping').t });
  assert.equal(typeof client.rtt, 'number');
  await pass(25_000);
  assert.equal(first.sentAll('ping').length, 2);
  await pass(10_100);
  assert.ok(first.isClosedByClient);
  await pass(300);
  assert.equal(FakeSocket.all.length, 2);
});

test('a connection that is never welcomed is given up', async () => {
  await open();
  FakeSocket.last.open();
  await pass(10_300);
  assert.equal(FakeSocket.all.length, 2);
});

test('after a sleep the line is doubted at once', async () => {
  await open();
  FakeSocket.last.welcome();
  // Timers stand still while a machine sleeps, the clock goes on.
  const { now } = Date;
  mock.method(Date, 'now', () => now() + 600_000);
  await pass(5_000);
  assert.equal(FakeSocket.last.sentAll('ping').length, 1);
  await pass(3_300);
  assert.equal(FakeSocket.all.length, 2);
});

test('a draining node is left within its jitter', async () => {
  await open();
  FakeSocket.last.welcome();
  const told = [];
  client.on('draining', (frame) => told.push(frame.reconnectWithin));
  FakeSocket.last.say({ type: 'draining', reconnectWithin: 20, jitter: 15 });
  await pass(7_400);
  assert.equal(FakeSocket.all.length, 1);
  await pass(400);
  assert.equal(FakeSocket.all.length, 2);
  assert.deepEqual(told, [20]);
  FakeSocket.last.open();
  assert.equal(FakeSocket.last.sent[0].resume.session, 's_1');
});

test('a new session gets back rooms and presence; what was under way is not done twice', async () => {
  await open();
  FakeSocket.last.welcome();
  const joined = client.join('r', { name: 'Ann' });
  FakeSocket.last.say({ re: FakeSocket.last.sentLast('join').id, type: 'ok', room: { id: 'r', ver: 1, members: [member('s_2')] } });
  const room = await joined;
  client.watch(['u-2']).catch(() => {});
  const message = client.message({ user: 'u-2' }, 'perhaps delivered');
  const failed = assert.rejects(message, { code: 'session-lost', retryable: true });
  FakeSocket.last.end(4201);
  const later = client.message({ room: 'r' }, 'not sent yet');
  await pass(300);
  FakeSocket.last.welcome({ resumed: false, reason: 'gap', session: 's_9' });
  await failed;
  const types = FakeSocket.last.sent.map(({ type }) => type);
  assert.deepEqual(types, ['hello', 'join', 'presence', 'message']);
  assert.deepEqual(FakeSocket.last.sent[1].state, { name: 'Ann' });
  const changes = [];
  room.on('change', (change) => changes.push(change));
  FakeSocket.last.say({ re: FakeSocket.last.sent[1].id, type: 'ok', room: { id: 'r', ver: 7, members: [member('s_3')] } });
  await settle();
  assert.deepEqual(changes, [{ joined: [member('s_3')], left: ['s_2'], changed: [] }]);
  FakeSocket.last.say({ re: FakeSocket.last.sent[3].id, type: 'ok' });
  await later;
});

test('room events change its members, old ones do not', async () => {
  await open();
  FakeSocket.last.welcome();
  const joined = client.join('r');
  FakeSocket.last.say({ re: FakeSocket.last.sentLast('join').id, type: 'ok', room: { id: 'r', ver: 17, members: [member('s_2')] } });
  const room = await joined;
  FakeSocket.last.say({ seq: 1, type: 'room-event', room: 'r', ver: 18, joined: [member('s_3')], left: ['s_2'] });
  assert.deepEqual([...room.members.keys()], ['s_3']);
  FakeSocket.last.say({ seq: 2, type: 'room-event', room: 'r', ver: 18, left: ['s_3'] });
  assert.deepEqual([...room.members.keys()], ['s_3']);
  FakeSocket.last.say({ seq: 3, type: 'room-event', room: 'r', ver: 3, snapshot: true, members: [member('s_4')] });
  assert.deepEqual([...room.members.keys()], ['s_4']);
});

test('receipts find their message', async () => {
  await open();
  FakeSocket.last.welcome();
  const got = [];
  client.message({ user: 'u-2' }, 0, { receipt: (session) => got.push(session) });
  const { id, receipt } = FakeSocket.last.sentLast('message');
  assert.equal(receipt, true);
  FakeSocket.last.say({ re: id, type: 'ok' });
  FakeSocket.last.say({ seq: 1, type: 'receipt', id, session: 's_2' });
  assert.deepEqual(got, ['s_2']);
});

test('unanswered requests are bounded', async () => {
  await open();
  FakeSocket.last.welcome();
  for (let n = 0; n < 128; n++) client.message({ user: 'u-2' }, n).catch(() => {});
  await assert.rejects(client.message({ user: 'u-2' }, 128), { code: 'limit-exceeded', retryable: true });
});

test('what is too large to be taken is not sent', async () => {
  await open();
  FakeSocket.last.welcome();
  await assert.rejects(client.message({ user: 'u-2' }, 'ä'.repeat(33_000)), { code: 'too-large' });
  assert.equal(FakeSocket.last.sentAll('message').length, 0);
});

test('a server that cannot be reached is told', async () => {
  await open();
  FakeSocket.last.end(1006);
  assert.deepEqual(errors.map(({ code, message }) => [code, message]), [['unreachable', 'no connection to t.example']]);
});

test('close says goodbye and stays closed', async () => {
  await open();
  FakeSocket.last.welcome();
  client.close();
  assert.equal(FakeSocket.last.sent.at(-1).type, 'bye');
  assert.equal(client.state, 'closed');
  await pass(20_000);
  assert.equal(FakeSocket.all.length, 1);
});

test('a listener that throws does not keep others from hearing', async () => {
  await open();
  const heard = [];
  const told = mock.method(console, 'error', () => {});
  client.on('connected', () => { throw new Error('of a listener'); });
  client.on('connected', () => heard.push('second'));
  FakeSocket.last.welcome();
  assert.deepEqual(heard, ['second']);
  assert.equal(told.mock.calls[0].arguments[0].message, 'of a listener');
});

async function open(options) {
  const token = () => `token-${++tokens}`;
  client = connect({ url: 'https://t.example/v1/signal', token, WebSocket: FakeSocket, ...options });
  client.on('error', (error) => errors.push(error));
  await settle();
}

function member(session) {
  return { session, user: 'u-2', role: 'user', state: {} };
}
