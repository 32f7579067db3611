//! Signaling on real nodes with a real Redis while nodes, Redis and networks fail, and while clients misbehave.

mod answering;
mod crossed;
mod dead_network;
mod draining;
mod forged;
mod killed;
mod receiver;
mod redis_trouble;
mod scene;
mod silent;
mod slow;
