// How an application uses the client; compiled only, to hold the types of src/api/web/iceway.d.ts against it.

import { Call, Iceway, Room, SignalError, connect } from '../../src/api/web/iceway.js';
import type { CallState, Ended, MediaOptions, To } from '../../src/api/web/iceway.js';

declare const video: HTMLVideoElement;

export async function fiveLines(): Promise<void> {
  const iceway = connect({ token: async () => (await fetch('/rtc-token')).text() });
  iceway.on('incoming', (call) => call.answer());
  const call = await iceway.call({ user: 'u-9' }, { media: ['audio', 'video'] });
  call.on('stream', (stream) => { video.srcObject = stream; });
  call.on('ended', ({ reason }) => console.log(reason));
}

export function events(iceway: Iceway): () => void {
  iceway.on('state', (state: 'connecting' | 'connected' | 'reconnecting' | 'closed') => state);
  iceway.once('closed', ({ code, reason }) => console.log(code.toFixed(), reason.length));
  iceway.on('cancelled', (call: Call, reason: string) => console.log(call.peer.user, reason));
  iceway.on('presence', ({ user, status, devices }) => console.log(user, status === 'dnd', devices + 1));
  iceway.on('iceServers', ([first], reason) => console.log(first?.username, reason === 'drain'));
  iceway.on('message', ({ from, data }) => console.log(from.session, data));
  // @ts-expect-error there is no such event
  iceway.on('incomming', () => {});
  // @ts-expect-error a call, not a text
  iceway.on('incoming', (call: string) => call);
  return iceway.on('draining', ({ jitter }) => console.log(jitter));
}

export async function call(iceway: Iceway, to: To, options: MediaOptions): Promise<Ended | undefined> {
  try {
    const call = await iceway.call(to, { ...options, ttl: 30, grant: 'jwt', prepare: (pc) => pc.createDataChannel('chat') });
    call.on('state', (state: CallState) => console.log(state));
    call.on('peer', (state) => state === 'away' && call.restartIce());
    const connection: RTCPeerConnection | undefined = call.connection;
    console.log(connection?.connectionState, call.relayed, call.id, call.direction);
    await call.hangup('user');
    return call.ended;
  } catch (error) {
    if (error instanceof SignalError && error.retryable) console.log(error.code, error.retryAfter);
    throw error;
  }
}

export async function everything(): Promise<void> {
  const iceway = await connect({
    url: new URL('wss://rtc.example.org/v1/signal'), ticket: () => 'ticket', device: 'web-1',
    rtc: { iceTransportPolicy: 'relay' }, mediaTimeoutMs: 60_000, WebSocket,
  }).ready;
  const room: Room = await iceway.join('conv-42', { name: 'Ann' });
  room.on('change', ({ joined, left }) => console.log(joined[0]?.user, left[0]?.length, room.members.size));
  await room.setState({ name: 'Anna' });
  const { id } = await iceway.message({ role: 'sfu', room: 'conv-42' }, { rid: 7 }, { receipt: (session) => console.log(session) });
  await iceway.watch(['u-9', id]);
  await iceway.setStatus('away');
  await iceway.request('load', { load: 0.5 });
  const servers: RTCIceServer[] = await iceway.refreshIceServers();
  console.log(servers, iceway.now() - iceway.clockOffset, iceway.rtt, iceway.presence.get('u-9')?.status);
  // @ts-expect-error calls are for one party
  await iceway.call({ user: 'u', room: 7 });
  // @ts-expect-error read only
  iceway.state = 'closed';
  // @ts-expect-error there is no fourth status
  await iceway.setStatus('offline');
  await room.leave();
  iceway.close();
}

declare const incoming: Call;
await incoming.answer({ stream: new MediaStream() });
await incoming.answer({ media: { audio: true, video: { width: 640 } } });
await incoming.reject('busy', 'device');
