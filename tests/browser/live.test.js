// The client under Node with a real server, which tests/interop/calls_client.rs starts: what needs no browser.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';

import { connect } from '../../src/api/web/iceway.js';

const { url, tokens } = JSON.parse(process.env.LIVE);
const sockets = new Map();
const clients = [];

after(() => { for (const client of clients) client.close(); });

test('messages, receipts, rooms and presence', async () => {
  const [ann, bob] = await Promise.all([open('ann'), open('bob')]);
  const message = heard(bob, 'message');
  const receipt = new Promise((resolve) => { ann.message({ user: 'bob' }, { hello: 'ä' }, { receipt: resolve }); });
  const [{ from, data }] = await message;
  assert.deepEqual([from.user, from.session, data], ['ann', ann.session, { hello: 'ä' }]);
  assert.equal(await receipt, bob.session);

  const room = await ann.join('conv', { name: 'Ann' });
  const change = heard(room, 'change');
  const other = await bob.join('conv', { name: 'Bob' });
  assert.deepEqual((await change)[0].joined.map(({ user, state }) => [user, state]), [['bob', { name: 'Bob' }]]);
  assert.equal(other.members.get(ann.session).state.name, 'Ann');
  const said = heard(ann, 'message');
  await other.message('to all');
  assert.equal((await said)[0].data, 'to all');

  const isAway = new Promise((resolve) => { ann.on('presence', ({ status }) => status === 'away' && resolve()); });
  await ann.watch(['bob']);
  await bob.setStatus('away');
  await isAway;
  assert.ok(Math.abs(ann.clockOffset) < 1_000);
});

test('a broken connection is resumed and nothing is lost or doubled', async () => {
  const [ann, bob] = await Promise.all([open('carol'), open('dave')]);
  const got = [];
  bob.on('message', ({ data }) => got.push(data));
  const sent = [];
  for (let n = 0; n < 60; n++) {
    sent.push(ann.message({ user: 'dave' }, n));
    if (n % 20 === 10) for (const user of ['carol', 'dave']) sockets.get(user).close();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await Promise.all(sent);
  while (got.length < 60) await heard(bob, 'message');
  assert.deepEqual(got, Array.from({ length: 60 }, (_, n) => n));
});

test('a refusal is an error with a code', async () => {
  const eve = await open('eve');
  await assert.rejects(eve.request('call-rejoin', { call: 'c_none' }), { name: 'SignalError', code: 'no-such-call', retryable: false });
  await assert.rejects(eve.request('nonsense'), { code: 'unknown-type' });
});

test('a newer session of the same device replaces the older one', async () => {
  const older = await open('frank');
  const closed = heard(older, 'closed');
  const newer = await open('frank');
  assert.equal((await closed)[0].code, 4409);
  assert.equal(newer.state, 'connected');
});

test('a token that is not taken ends it', async () => {
  const client = connect({ url, token: () => 'nonsense' });
  client.on('error', () => {});
  await assert.rejects(client.ready, { code: 'closed' });
  assert.equal(client.closed.code, 4401);
});

function open(user) {
  const client = connect({
    url, token: () => tokens[user],
    WebSocket: class extends WebSocket {
      constructor(...values) {
        super(...values);
        sockets.set(user, this);
      }
    },
  });
  clients.push(client);
  return client.ready;
}

function heard(emitter, event) {
  return new Promise((resolve) => emitter.once(event, (...values) => resolve(values)));
}
