//! The Lua of events and calls. Each script touches the keys of one hash tag only.

use super::scripts::Script;

/// Adds events to a partition. Keys: stream. Arguments: most events, lease, node, then each event sealed. Answers how
/// many older ones had to go.
pub(super) static APPEND_EVENTS: Script = Script::new(
    "local before = redis.call('XLEN', KEYS[1])
for i = 4, #ARGV do
  redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[1], '*', 'n', ARGV[3], 'd', ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return before + #ARGV - 3 - redis.call('XLEN', KEYS[1])",
);

/// Moves an event from one stream to another, once. Keys: from, to. Arguments: most events there, lease, node, then id
/// and sealed event of each. Answers how many were moved, and how many older ones had to go.
pub(super) static MOVE_EVENTS: Script = Script::new(
    "local moved, before = 0, redis.call('XLEN', KEYS[2])
for i = 4, #ARGV, 2 do
  if redis.call('XDEL', KEYS[1], ARGV[i]) == 1 then
    redis.call('XADD', KEYS[2], '*', 'n', ARGV[3], 'd', ARGV[i + 1])
    moved = moved + 1
  end
end
redis.call('XTRIM', KEYS[2], 'MAXLEN', ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return {moved, before + moved - redis.call('XLEN', KEYS[2])}",
);

/// Takes, renews and gives back partitions. Keys: leases. Arguments: who asks, lease, a 1 or 0 for each partition:
/// whether it is wanted. Answers those that are held.
pub(super) static HOLD_PARTITIONS: Script = Script::new(
    "local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local held = {}
for p = 1, #ARGV[3] do
  local name = tostring(p - 1)
  local lease = redis.call('HGET', KEYS[1], name)
  local owner, ends = nil, 0
  if lease then owner, ends = string.match(lease, '^(.*)|(%d+)$') end
  local is_own = owner == ARGV[1]
  if string.sub(ARGV[3], p, p) == '1' then
    if is_own or not owner or tonumber(ends) <= now then
      redis.call('HSET', KEYS[1], name, ARGV[1] .. '|' .. string.format('%.0f', now + ARGV[2]))
      held[#held + 1] = p - 1
    end
  elseif is_own then
    redis.call('HDEL', KEYS[1], name)
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[2] * 2)
return held",
);

/// Notes steps of calls. Keys: records by code, their order, state, then the steps of each call. Arguments: most calls,
/// retention in microseconds, lease, most steps, then code, number, sealed record and sealed step of each. Answers how
/// many calls had to go for others.
pub(super) static NOTE_CALLS: Script = Script::new(
    "local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local last = tonumber(redis.call('HGET', KEYS[3], 'last') or '0')
for i = 5, #ARGV, 4 do
  local code, steps = ARGV[i], KEYS[(i - 5) / 4 + 4]
  last = math.max(now, last + 1)
  local known = redis.call('HGET', KEYS[1], code)
  if not known or tonumber(string.match(known, '^(%d+)|')) <= tonumber(ARGV[i + 1]) then
    redis.call('HSET', KEYS[1], code, ARGV[i + 1] .. '|' .. ARGV[i + 2])
  end
  redis.call('ZADD', KEYS[2], string.format('%.0f', last), code)
  if redis.call('HLEN', steps) < tonumber(ARGV[4]) then redis.call('HSET', steps, ARGV[i + 1], ARGV[i + 3]) end
  redis.call('PEXPIRE', steps, math.ceil(ARGV[2] / 1000))
end
redis.call('HSET', KEYS[3], 'last', string.format('%.0f', last))
local before = string.format('(%.0f', now - ARGV[2])
local over = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', before, 'LIMIT', 0, 1000)
local surplus = redis.call('HLEN', KEYS[1]) - #over - ARGV[1]
local dropped = 0
if surplus > 0 then
  for _, code in ipairs(redis.call('ZRANGE', KEYS[2], #over, #over + surplus - 1)) do
    over[#over + 1] = code
    dropped = dropped + 1
  end
end
for _, code in ipairs(over) do
  redis.call('HDEL', KEYS[1], code)
  redis.call('ZREM', KEYS[2], code)
end
for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], ARGV[3]) end
return dropped",
);
