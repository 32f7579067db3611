// An RTCPeerConnection without a network, whose descriptions can be foretold.

export class FakeConnection {
  static all = [];
  signalingState = 'stable';
  connectionState = 'new';
  localDescription = null;
  remoteDescription = null;
  remoteCandidates = [];
  restarts = 0;
  pair = undefined;
  #offers = 0;

  constructor(configuration) {
    this.configuration = configuration;
    FakeConnection.all.push(this);
  }

  static get last() {
    return FakeConnection.all.at(-1);
  }

  getTransceivers() {
    return ['audio', 'video'].map((kind) => ({ sender: { track: { kind } }, receiver: { track: { kind } } }));
  }

  async setLocalDescription() {
    const isAnswer = this.signalingState === 'have-remote-offer';
    this.signalingState = isAnswer ? 'stable' : 'have-local-offer';
    this.localDescription = isAnswer
      ? { type: 'answer', sdp: `to ${this.remoteDescription.sdp}` } : { type: 'offer', sdp: `offer ${++this.#offers}` };
  }

  async setRemoteDescription(description) {
    if (description.type === 'answer' && this.signalingState !== 'have-local-offer') throw new Error('no offer');
    this.remoteDescription = description;
    this.signalingState = description.type === 'answer' ? 'stable' : 'have-remote-offer';
  }

  async addIceCandidate(candidate) {
    this.remoteCandidates.push(candidate?.candidate ?? 'end');
  }

  restartIce() {
    this.restarts++;
    this.onnegotiationneeded();
  }

  getConfiguration() {
    return this.configuration;
  }

  setConfiguration(configuration) {
    this.configuration = configuration;
  }

  async getStats() {
    const [local, remote] = this.pair ?? [];
    return new Map(local ? [
      ['T', { type: 'transport', selectedCandidatePairId: 'P' }],
      ['P', { type: 'candidate-pair', localCandidateId: 'L', remoteCandidateId: 'R' }],
      ['L', { candidateType: local }], ['R', { candidateType: remote }],
    ] : []);
  }

  close() {
    this.connectionState = 'closed';
  }

  /** The browser finds a candidate; `null` is the last. */
  find(candidate) {
    this.onicecandidate({ candidate: candidate && { candidate, toJSON: () => ({ candidate, sdpMid: '0' }) } });
  }

  become(connectionState) {
    this.connectionState = connectionState;
    this.onconnectionstatechange();
  }
}
