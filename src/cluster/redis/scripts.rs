//! The Lua that runs inside Redis. Each script touches the keys of one hash tag only.

use std::sync::OnceLock;

use sha1::{Digest as _, Sha1};

/// A script, and the name Redis keeps it by.
pub(super) struct Script {
    pub(super) source: &'static str,
    digest: OnceLock<String>,
}

impl Script {
    pub(super) const fn new(source: &'static str) -> Self {
        Self { source, digest: OnceLock::new() }
    }

    /// The SHA-1 of the source, for EVALSHA.
    pub(super) fn digest(&self) -> &str {
        self.digest
            .get_or_init(|| Sha1::digest(self.source).iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Puts this node into the index of nodes and drops those that are over.
pub(super) static RENEW_INDEX: Script = Script::new(
    "local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
return redis.call('PEXPIRE', KEYS[1], ARGV[2])",
);

/// Writes rows that are newer than what is there, or the same sealed with another key (its id is the first four bytes). Keys: table, its expiry index, state. Arguments: most rows,
/// lease, proposed epoch, then id, version, expiry (0: none) and sealed value of each. Answers how many were written, the
/// number of writes so far, and the epoch.
pub(super) static WRITE_ROWS: Script = Script::new(
    "local size = redis.call('HLEN', KEYS[1])
local written = 0
for i = 4, #ARGV, 4 do
  local id, version, expires = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local old = redis.call('HGET', KEYS[1], id)
  local is_newer = not old
  if old then
    local old_version, seal = string.match(old, '^([^|]*)|[^|]*|(.*)$')
    is_newer = not old_version or old_version < version
      or (old_version == version and string.sub(seal, 1, 4) ~= string.sub(ARGV[i + 3], 1, 4))
  end
  if is_newer and (old or size < tonumber(ARGV[1])) then
    redis.call('HSET', KEYS[1], id, version .. '|' .. expires .. '|' .. ARGV[i + 3])
    if expires ~= '0' then redis.call('ZADD', KEYS[2], expires, id) else redis.call('ZREM', KEYS[2], id) end
    if not old then size = size + 1 end
    written = written + 1
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
local epoch = redis.call('HGET', KEYS[3], 'epoch')
if not epoch then
  epoch = ARGV[3]
  redis.call('HSET', KEYS[3], 'epoch', epoch)
end
local sequence = redis.call('HINCRBY', KEYS[3], 'sequence', written)
redis.call('PEXPIRE', KEYS[3], ARGV[2])
return {written, sequence, epoch}",
);

/// Removes rows that are over and renews the lease of the others. Keys: table, its expiry index, state. Arguments: now
/// (seconds), most at once, lease.
pub(super) static EXPIRE_ROWS: Script = Script::new(
    "local ids = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(ids) do
  redis.call('HDEL', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[3]) end
return #ids",
);

/// Removes a row if it still is what was read. Keys: table. Arguments: id, what was read.
pub(super) static REMOVE_FORGED: Script = Script::new(
    "if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then return redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0",
);

/// The generic cell rate algorithm. Arguments: microseconds per use, burst. Answers whether it is admitted, how many
/// more are, and microseconds until the next.
pub(super) static LIMIT: Script = Script::new(
    "local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local due = tonumber(redis.call('GET', KEYS[1]) or now) or now
if due < now then due = now end
if due > now + burst * interval then due = now + burst * interval end
local after = due + interval
local wait = after - burst * interval - now
if wait > 0 then return {0, 0, math.ceil(wait)} end
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000) + 1)
return {1, math.floor(-wait / interval), 0}",
);

/// Keeps a value unless there is one, and answers that one. Arguments: value, milliseconds.
pub(super) static REMEMBER: Script = Script::new(
    "local there = redis.call('GET', KEYS[1])
if there then return there end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false",
);

/// Adds usage records once each. Keys: stream, seen ids, then days. Arguments: most records in the stream, lease of the
/// ids, most ids, lease of the days, most fields of a day, node, then of each record: code of its id, index of its day
/// among the keys, code of the user, code of the label or nothing, seconds, bytes sent, bytes received, sealed record.
/// Answers how many were added, how many old ones had to go, and how many were not summed by name.
pub(super) static APPEND_USAGE: Script = Script::new(
    "local added, overflowed = 0, 0
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local before = redis.call('XLEN', KEYS[1])
local function sum(day, name, i)
  redis.call('HINCRBY', day, name .. 'a', 1)
  redis.call('HINCRBY', day, name .. 't', ARGV[i + 4])
  redis.call('HINCRBY', day, name .. 's', ARGV[i + 5])
  redis.call('HINCRBY', day, name .. 'r', ARGV[i + 6])
end
local function sum_named(day, name, i)
  if redis.call('HLEN', day) < tonumber(ARGV[5]) or redis.call('HGET', day, name .. 'a') then
    sum(day, name, i)
  else
    overflowed = overflowed + 1
  end
end
for i = 7, #ARGV, 8 do
  if not redis.call('ZSCORE', KEYS[2], ARGV[i]) then
    redis.call('ZADD', KEYS[2], now + added, ARGV[i])
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'n', ARGV[6], 'd', ARGV[i + 7])
    local day = KEYS[tonumber(ARGV[i + 1])]
    sum(day, '', i)
    sum_named(day, 'u' .. ARGV[i + 2], i)
    if ARGV[i + 3] ~= '' then sum_named(day, 'l' .. ARGV[i + 3], i) end
    redis.call('PEXPIRE', day, ARGV[4])
    added = added + 1
  end
end
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {added, before + added - redis.call('XLEN', KEYS[1]), overflowed}",
);
