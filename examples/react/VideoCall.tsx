// A video call between two users, for React 18 and later. Copy iceway.js and iceway.d.ts of your server beside it:
//   curl -O https://calls.example.org/iceway.js -O https://calls.example.org/iceway.d.ts

import { useCallback, useEffect, useRef, useState } from 'react';
import { connect, type Call, type CallState, type Iceway, type State } from './iceway.js';

export interface IcewayOptions {
  /** `wss://calls.example.org/v1/signal` */
  url: string;
  /** A JWT of the user who is logged in; called again whenever a fresh one is needed. */
  getToken: () => Promise<string>;
  /** Such as `{ iceTransportPolicy: 'relay' }`. */
  rtc?: Omit<RTCConfiguration, 'iceServers'>;
}

/** One connection to the signaling relay for as long as the component is there. Have it once, near the root. */
export function useIceway({ url, getToken, rtc }: IcewayOptions): { client?: Iceway; state: State } {
  const [client, setClient] = useState<Iceway>();
  const [state, setState] = useState<State>('connecting');
  // What is made anew at every render must not end the connection.
  const latest = useRef({ getToken, rtc });
  useEffect(() => { latest.current = { getToken, rtc }; });
  useEffect(() => {
    const made = connect({ url, token: () => latest.current.getToken(), rtc: latest.current.rtc });
    const off = made.on('state', setState);
    setClient(made);
    setState(made.state);
    return () => {
      off();
      made.close();
      setClient(undefined);
    };
  }, [url]);
  return { client, state };
}

export interface CallControl {
  call?: Call;
  state?: CallState;
  local?: MediaStream;
  remote?: MediaStream;
  /** Why the last one ended, or was not possible. */
  ended?: string;
  dial: (user: string) => Promise<void>;
  answer: () => Promise<void>;
  reject: () => Promise<void>;
  hangup: () => Promise<void>;
}

/** The one call of this client: who calls during a call finds it busy. */
export function useCall(client: Iceway | undefined): CallControl {
  const [call, setCall] = useState<Call>();
  const [state, setState] = useState<CallState>();
  const [remote, setRemote] = useState<MediaStream>();
  const [ended, setEnded] = useState<string>();
  const isBusy = useRef(false);

  const take = useCallback((taken: Call) => {
    isBusy.current = true;
    setCall(taken);
    setState(taken.state);
    setRemote(taken.remoteStream);
    setEnded(undefined);
    taken.on('state', setState);
    taken.on('stream', setRemote);
    taken.on('ended', ({ reason }) => {
      isBusy.current = false;
      setCall(undefined);
      setRemote(undefined);
      setEnded(reason);
    });
  }, []);

  useEffect(() => client?.on('incoming', (incoming) => {
    if (isBusy.current) incoming.reject('busy').catch(() => {});
    else take(incoming);
  }), [client, take]);

  const attempt = useCallback(async (what: () => Promise<unknown>) => {
    try {
      await what();
    } catch (error) {
      isBusy.current = false;
      setEnded(error instanceof Error ? error.message : String(error));
    }
  }, []);

  return {
    call, state, remote, ended,
    local: call?.localStream,
    dial: useCallback((user) => attempt(async () => {
      if (!client || isBusy.current) return;
      isBusy.current = true;
      take(await client.call({ user }, { media: ['audio', 'video'] }));
    }), [attempt, client, take]),
    answer: useCallback(() => attempt(async () => call?.answer()), [attempt, call]),
    reject: useCallback(() => attempt(async () => call?.reject('declined')), [attempt, call]),
    hangup: useCallback(() => attempt(async () => call?.hangup()), [attempt, call]),
  };
}

export interface VideoCallProps extends IcewayOptions {
  /** Whom the button calls. */
  peer: string;
}

const WORDS: Record<CallState, string> = {
  calling: 'Calling…',
  ringing: 'Ringing…',
  connecting: 'Connecting…',
  connected: 'Connected',
  reconnecting: 'The connection is gone, trying again…',
  ended: 'Ended',
};

/** A button that calls, a bell that rings, and the call. */
export function VideoCall({ peer, ...options }: VideoCallProps) {
  const { client, state } = useIceway(options);
  const { call, local, remote, ended, dial, answer, reject, hangup, ...control } = useCall(client);
  const isRinging = call?.direction === 'incoming' && control.state === 'ringing';
  const kinds = local?.getTracks().map(({ kind }) => kind) ?? [];

  return (
    <section aria-label={`Call with ${peer}`}>
      <p role="status">
        {call && control.state ? WORDS[control.state] : state === 'connected' ? 'Ready' : 'Connecting to the server…'}
        {!call && ended && ` (${ended})`}
      </p>
      {!call && <button type="button" disabled={state !== 'connected'} onClick={() => dial(peer)}>Call {peer}</button>}
      {isRinging && (
        <div role="alertdialog" aria-label="Incoming call">
          <p>{call.peer.user} is calling.</p>
          <button type="button" onClick={answer}>Answer</button>
          <button type="button" onClick={reject}>Decline</button>
        </div>
      )}
      {call && !isRinging && (
        <>
          <Video stream={remote} label={`Video of ${call.peer.user ?? peer}`} />
          <Video stream={local} label="Your own video" isOwn />
          {kinds.includes('audio') && <Toggle stream={local} kind="audio" label="Mute" />}
          {kinds.includes('video') && <Toggle stream={local} kind="video" label="Camera off" />}
          <button type="button" onClick={hangup}>Hang up</button>
        </>
      )}
    </section>
  );
}

function Video({ stream, label, isOwn = false }: { stream?: MediaStream; label: string; isOwn?: boolean }) {
  const element = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    if (element.current && element.current.srcObject !== (stream ?? null)) element.current.srcObject = stream ?? null;
  }, [stream]);
  return <video ref={element} autoPlay playsInline muted={isOwn} aria-label={label} />;
}

function Toggle({ stream, kind, label }: { stream?: MediaStream; kind: 'audio' | 'video'; label: string }) {
  const [isOff, setIsOff] = useState(false);
  const toggle = () => {
    for (const track of stream?.getTracks() ?? []) if (track.kind === kind) track.enabled = isOff;
    setIsOff(!isOff);
  };
  return <button type="button" aria-pressed={isOff} onClick={toggle}>{label}</button>;
}
