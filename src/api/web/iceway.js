/** The client of the signaling relay, see iceway.d.ts. */
export {};
