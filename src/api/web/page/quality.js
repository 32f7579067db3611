// How good a connection is, in words, from the browser's own statistics.

const LOSS_FAIR = 0.02;
const LOSS_BAD = 0.08;
const RTT_FAIR_S = 0.3;
const RTT_BAD_S = 0.8;
const OVER = { udp: 'UDP', tcp: 'TCP', tls: 'TLS' };

/** Reads one connection again and again. */
export class Quality {
  #connection;
  #before;

  constructor(connection) {
    this.#connection = connection;
  }

  /** @returns {Promise<{state: string, words: string, parts: string[]} | undefined>} nothing until media flows */
  async read() {
    const stats = new Map();
    (await this.#connection.getStats()).forEach((entry) => stats.set(entry.id, entry));
    const all = [...stats.values()];
    const transport = all.find(({ type, selectedCandidatePairId }) => type === 'transport' && selectedCandidatePairId);
    const pair = stats.get(transport?.selectedCandidatePairId) ?? all.find(({ type, nominated, state }) => type === 'candidate-pair' && nominated && state === 'succeeded');
    if (!pair) return undefined;
    const now = sum(all, performance.now());
    const [before, rtt] = [this.#before, pair.currentRoundTripTime];
    this.#before = now;
    if (!before || now.at <= before.at) return undefined;
    const seconds = (now.at - before.at) / 1000;
    const packets = now.packets - before.packets;
    const loss = packets > 0 ? Math.max(0, now.lost - before.lost) / (packets + Math.max(0, now.lost - before.lost)) : 0;
    const sides = [stats.get(pair.localCandidateId), stats.get(pair.remoteCandidateId)];
    const parts = [
      path(sides),
      rtt === undefined ? '' : `${Math.max(1, Math.round(rtt * 1000))} ms`,
      `↓ ${bits((now.received - before.received) * 8 / seconds)}`,
      `↑ ${bits((now.sent - before.sent) * 8 / seconds)}`,
      now.height ? `${now.width} × ${now.height}` : '',
      loss >= 0.001 ? `${(loss * 100).toFixed(1)} % lost` : '',
    ];
    return { ...grade(loss, rtt ?? 0, packets), parts: parts.filter(Boolean) };
  }
}

function grade(loss, rtt, packets) {
  if (packets === 0) return { state: 'bad', words: 'Nothing arrives' };
  if (loss > LOSS_BAD || rtt > RTT_BAD_S) return { state: 'bad', words: 'Poor connection' };
  if (loss > LOSS_FAIR || rtt > RTT_FAIR_S) return { state: 'fair', words: 'Fair connection' };
  return { state: 'good', words: 'Good connection' };
}

function path([local, remote]) {
  if (local?.candidateType === 'relay') return `relayed${OVER[local.relayProtocol] ? ` over ${OVER[local.relayProtocol]}` : ''}`;
  return remote?.candidateType === 'relay' ? 'relayed at the other side' : 'direct';
}

function sum(all, at) {
  const total = { at, received: 0, sent: 0, packets: 0, lost: 0, width: 0, height: 0 };
  for (const entry of all) {
    if (entry.type === 'inbound-rtp') {
      total.received += entry.bytesReceived ?? 0;
      total.packets += entry.packetsReceived ?? 0;
      total.lost += entry.packetsLost ?? 0;
      if (entry.kind === 'video') [total.width, total.height] = [entry.frameWidth ?? 0, entry.frameHeight ?? 0];
    }
    if (entry.type === 'outbound-rtp') total.sent += entry.bytesSent ?? 0;
  }
  return total;
}

function bits(rate) {
  return rate >= 1e6 ? `${(rate / 1e6).toFixed(1)} Mbit/s` : `${Math.round(rate / 1e3)} kbit/s`;
}
