// Tries one way to the relay: first whether it gives a candidate, then whether data comes back through it. What is
// found is judged in words.js.

/** Longer than a browser repeats a request over UDP before it gives up. */
const GATHER_MS = 12_000;
const CONNECT_MS = 10_000;
const PINGS = 9;
const SENDING_MS = 1000;
const SLOW_MS = 5000;
const LOOK_MS = 100;
const CHUNK = new Uint8Array(16 * 1024);
/** Enough to fill any way, little enough that it drains soon; on a phone nobody pays for more than this. */
const BUFFERED_MAX = 256 * 1024;
const SENT_MAX = 24 * 1024 * 1024;

/**
 * Has the browser gather candidates over this way alone. `own`: its addresses, as far as it tells them.
 * @returns {Promise<{candidate?: RTCIceCandidate, ms: number, errors: {code: number, text: string}[], own: string[],
 *   late: boolean}>}
 */
export async function gather(way, credential) {
  const connection = new RTCPeerConnection(configuration(way, credential));
  const wanted = way.kind === 'stun' ? 'srflx' : 'relay';
  const [errors, own] = [[], []];
  const begun = performance.now();
  try {
    return await new Promise((resolve) => {
      const done = (candidate, late = false) =>
        resolve({ candidate, ms: performance.now() - begun, errors, own, late });
      connection.onicecandidate = ({ candidate }) => {
        if (candidate?.type === wanted) done(candidate);
        else if (candidate?.type === 'host' && !candidate.address?.endsWith('.local')) own.push(candidate.address);
      };
      connection.onicecandidateerror = ({ errorCode, errorText }) => {
        errors.push({ code: errorCode, text: errorText });
        // These are final; others may be of one of several networks of this machine.
        if (errorCode !== 701) done();
      };
      connection.onicegatheringstatechange = () => {
        if (connection.iceGatheringState === 'complete') done();
      };
      setTimeout(() => done(undefined, true), GATHER_MS);
      connection.createDataChannel('check');
      connection.setLocalDescription().catch((error) => {
        errors.push({ code: 0, text: String(error) });
        done();
      });
    });
  } finally {
    connection.close();
  }
}

/**
 * Sends data from this page through the relay, and back through it again.
 * @returns {Promise<{connected: boolean, rtt?: number, rate?: number, fault?: string}>} milliseconds, bits per second
 */
export async function loop(way, credential) {
  const sides = [0, 1].map(() => new RTCPeerConnection(configuration(way, credential)));
  const found = { connected: false };
  try {
    const [near, far] = await connect(sides);
    found.rtt = await roundTrip(near, far);
    found.connected = true;
    found.rate = await throughput(near, far);
  } catch (error) {
    found.fault = String(error);
  } finally {
    for (const side of sides) side.close();
  }
  return found;
}

function configuration(way, credential) {
  if (way.kind === 'stun') return { iceServers: [{ urls: way.url }] };
  const { username, password } = credential;
  return { iceServers: [{ urls: way.url, username, credential: password }], iceTransportPolicy: 'relay' };
}

async function connect([one, two]) {
  const channel = one.createDataChannel('loop');
  channel.binaryType = 'arraybuffer';
  const opened = within(CONNECT_MS, new Promise((resolve, reject) => {
    let other;
    const check = () => channel.readyState === 'open' && other && resolve([channel, other]);
    channel.onopen = check;
    two.ondatachannel = (event) => {
      other = event.channel;
      other.binaryType = 'arraybuffer';
      check();
    };
    for (const side of [one, two]) {
      side.onconnectionstatechange = () => side.connectionState === 'failed' && reject(new Error('failed'));
    }
  }));
  const described = [one, two].map(() => Promise.withResolvers?.() ?? deferred());
  [one, two].forEach((side, index) => {
    const [other, ready] = [[two, one][index], described[1 - index]];
    side.onicecandidate = async ({ candidate }) => {
      await ready.promise;
      if (candidate && other.signalingState !== 'closed') await other.addIceCandidate(candidate).catch(() => {});
    };
  });
  await one.setLocalDescription();
  await two.setRemoteDescription(one.localDescription);
  described[1].resolve();
  await two.setLocalDescription();
  await one.setRemoteDescription(two.localDescription);
  described[0].resolve();
  return opened;
}

/** The median, so that one hiccup does not count. */
async function roundTrip(near, far) {
  far.onmessage = ({ data }) => far.send(data);
  const times = [];
  for (let ping = 0; ping < PINGS; ping += 1) {
    const begun = performance.now();
    const back = new Promise((resolve) => { near.onmessage = resolve; });
    near.send('ping');
    await within(2000, back);
    times.push(performance.now() - begun);
  }
  return times.sort((a, b) => a - b)[PINGS >> 1];
}

/** What arrives in a second is counted; what is still under way then is not waited for. */
async function throughput(near, far) {
  let [bytes, first, last] = [0, 0, 0];
  far.onmessage = ({ data }) => {
    last = performance.now();
    // What came before the first arrival is not timed, so its bytes do not count either.
    if (first) bytes += data.byteLength;
    else first = last;
  };
  near.bufferedAmountLowThreshold = BUFFERED_MAX / 2;
  const begun = performance.now();
  // A slow way gets longer, until there is something to count.
  const isOver = () => performance.now() > begun + (bytes > 0 ? SENDING_MS : SLOW_MS);
  for (let sent = 0; !isOver() && sent < SENT_MAX;) {
    if (near.bufferedAmount > BUFFERED_MAX) {
      await Promise.race([new Promise((resolve) => { near.onbufferedamountlow = resolve; }), pause(LOOK_MS)]);
      continue;
    }
    near.send(CHUNK);
    sent += CHUNK.byteLength;
  }
  return last > first ? (bytes * 8 * 1000) / (last - first) : undefined;
}

function within(ms, promise) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('late')), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function deferred() {
  let resolve;
  const promise = new Promise((done) => { resolve = done; });
  return { promise, resolve };
}
