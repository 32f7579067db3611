//! Signaling on real nodes with a real Redis while nodes, Redis and networks fail.

mod scene;
