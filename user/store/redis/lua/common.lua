-- SPDX-License-Identifier: BSD-2-Clause
-- common: what every script begins with. Each file of this folder is loaded with this one before it,
-- and ends with `return run()`: ARGV[1] names the function, the rest are its arguments.
--
-- Redis takes nothing back of a script that fails half-way: functions check all before they write.

local P = 'tollgate:'
local CHANGES_MAX = 200000 -- entries of the stream that are kept, about
local F = {}

local function fail(word, why)
  return redis.error_reply(word .. ' ' .. (why or ''))
end

-- Tell every host of a change. Its number follows the last one without a gap.
local function change(kind, id, value)
  local n = redis.call('INCR', P .. 'n')
  redis.call('XADD', P .. 'changes', 'MAXLEN', '~', CHANGES_MAX, '*', 'n', n, 'k', kind, 'i', id, 'v', value or '')
  return n
end

-- The values of a record's line.
local function split(line)
  local values = {}
  for value in (line .. '\t'):gmatch('(.-)\t') do
    values[#values + 1] = value
  end
  return values
end

local function join(values)
  return table.concat(values, '\t')
end

local function pad(number)
  return string.format('%016.0f', number)
end

-- A task's line ends with its seq, which is given here; its state stands before. Both are kept by two
-- orders for each state, by seq and by creation.
local TASK_CREATED, TASK_STATE = 3, 7

local function task_keys(queue, state)
  local key = P .. 'tasks:' .. queue .. ':' .. state
  return key, key .. ':created'
end

local function add_task(queue, id, line, body)
  local values = split(line)
  local seq = redis.call('HINCRBY', P .. 'meta', 'task_seq', 1)
  local by_seq, by_created = task_keys(queue, values[TASK_STATE])
  values[#values] = tostring(seq)
  redis.call('SADD', P .. 'queues', queue)
  redis.call('HSET', P .. 'tasks:' .. queue, id, join(values))
  redis.call('ZADD', by_seq, seq, id)
  redis.call('ZADD', by_created, values[TASK_CREATED], id)
  if body ~= '' then
    redis.call('HSET', P .. 'bodies:' .. queue, id, body)
  end
  return change('task', id, queue)
end

-- What an epoch has charged against a quota: quota:<kind>:<period> has it by '<account>:<epoch>', and
-- quota_sum:<kind>:<period> the sum by account. A smaller total than is known changes nothing.
local function put_quota(account, epoch, kind, period, units)
  local name = kind .. ':' .. period
  local known = redis.call('HGET', P .. 'quota:' .. name, account .. ':' .. epoch)
  local more = units - tonumber(known or '0')
  if not known or more > 0 then
    redis.call('HSET', P .. 'quota:' .. name, account .. ':' .. epoch, string.format('%.0f', units))
    redis.call('HINCRBY', P .. 'quota_sum:' .. name, account, string.format('%.0f', more))
    redis.call('ZADD', P .. 'quotas', period, name)
  end
end

-- What to answer a host that does what the holder of the billing lease does, and has lost it; or nil.
local function fenced_off(fence)
  local current = redis.call('HGET', P .. 'lease:billing', 'fence')
  if current and current ~= fence then
    return fail('ESTALE', 'another host has the lease')
  end
end

local function run()
  local name = table.remove(ARGV, 1)
  local journal, seq
  if name == '@journal' then
    -- What waited on a host while we were away, once: the journal and its number come first.
    journal, seq, name = table.remove(ARGV, 1), table.remove(ARGV, 1), table.remove(ARGV, 1)
    if tonumber(seq) <= tonumber(redis.call('HGET', P .. 'journals', journal) or '0') then
      return 0
    end
  end
  if not F[name] then
    return fail('EINVAL', 'no function ' .. name)
  end
  -- Nothing is written to a database that was emptied: it would seem to be kept.
  if name ~= 'open' and redis.call('EXISTS', P .. 'meta') == 0 then
    return fail('EGONE', 'the store is gone')
  end
  if journal then
    redis.call('HSET', P .. 'journals', journal, seq)
  end
  return F[name](ARGV)
end

-- ---- end of common.lua ----
