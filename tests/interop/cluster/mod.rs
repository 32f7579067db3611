//! Three nodes and one Redis: what holds across nodes, and what holds when one of them or Redis fails.

mod layouts;
mod nodes;
mod quotas;
mod redis_trouble;
mod revocation;
mod secrets;
mod shared;
