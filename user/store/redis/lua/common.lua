-- SPDX-License-Identifier: BSD-2-Clause common: the beginning of every script. Each file of this
-- directory is loaded with this one in front of it, and ends with `return run()`: ARGV[1] names the
-- function, and the rest are its arguments.
--
-- Redis does not roll back a script that fails halfway, so functions check everything before they
-- write.

local P = 'tollgate:'
local CHANGES_MAX = 200000 -- approximate number of entries that the stream keeps
local F = {}

local function fail(word, why)
  return redis.error_reply(word .. ' ' .. (why or ''))
end

-- Add a change to the stream, which every host follows. Changes are numbered without a gap.
local function change(kind, id, value)
  local n = redis.call('INCR', P .. 'n')
  redis.call('XADD', P .. 'changes', 'MAXLEN', '~', CHANGES_MAX, '*', 'n', n, 'k', kind, 'i', id, 'v', value or '')
  return n
end

-- Split a record's line into its values.
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

-- A task's line ends with its seq, which add_task() assigns. For each queue and state there are two
-- sorted sets of tasks: one by seq, one by time of creation.
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

-- Add the tasks that a[first] and the following words describe, except those that exist already.
-- Each is four words: queue, id, line, body. Returns {for each task 1 if it was added, or 0}, n.
local function add_fresh_tasks(a, first)
  local fresh, n = {}, 0
  for i = first, #a, 4 do
    local is_fresh = redis.call('HEXISTS', P .. 'tasks:' .. a[i], a[i + 1]) == 0
    if is_fresh then
      n = add_task(a[i], a[i + 1], a[i + 2], a[i + 3])
    end
    fresh[#fresh + 1] = is_fresh and 1 or 0
  end
  return fresh, n
end

-- Store the units that an epoch has charged against a quota. quota:<kind>:<period> maps
-- '<account>:<epoch>' to the units, and quota_sum:<kind>:<period> maps the account to the sum over
-- epochs. A total smaller than the stored one changes nothing.
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

-- Check the fence of a host that does work for which it needs the billing lease. Returns an error
-- if another host has got the lease since, or nil.
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
    -- A call from a host's journal. Its arguments begin with the journal's id and the call's number
    -- there. A call that was replayed before is skipped.
    journal, seq, name = table.remove(ARGV, 1), table.remove(ARGV, 1), table.remove(ARGV, 1)
    if tonumber(seq) <= tonumber(redis.call('HGET', P .. 'journals', journal) or '0') then
      return 0
    end
  end
  if not F[name] then
    return fail('EINVAL', 'unknown function ' .. name)
  end
  -- Write nothing to a database that was emptied: the host would believe that the data is safe.
  if name ~= 'open' and redis.call('EXISTS', P .. 'meta') == 0 then
    return fail('EGONE', 'the database no longer has the store')
  end
  if journal then
    redis.call('HSET', P .. 'journals', journal, seq)
  end
  return F[name](ARGV)
end

-- ---- end of common.lua ----
