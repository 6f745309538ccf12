-- SPDX-License-Identifier: BSD-2-Clause
-- usage: usage by window, and quotas by period.
--
-- usage:<start>:<seconds>	hash, account -> requests, units, closed units, closings, and then epoch,
--			requests, units of each epoch
-- windows		sorted set of '<start>:<seconds>' by start
-- account_windows	sorted set of '<account>:<start>:<seconds>'
-- open, open_accounts	sorted sets of '<end>:<start>:<account>:<seconds>' and
--			'<account>:<end>:<start>:<seconds>': windows with units that are not closed
-- quota:<kind>:<period>, quota_sum:<kind>:<period>	see common.lua
-- quotas		sorted set of '<kind>:<period>' by period
--
-- Sets whose members have more than one number are sorted by member. Their numbers are padded to 16
-- digits.

local PAGE = 500

local function window_key(start, seconds)
  return P .. 'usage:' .. start .. ':' .. seconds
end

local function number(n)
  return string.format('%.0f', n)
end

local function set_open(account, start, seconds, is_open)
  local at = pad(tonumber(start) + tonumber(seconds)) .. ':' .. pad(tonumber(start))
  local member, own = at .. ':' .. account .. ':' .. seconds, account .. ':' .. at .. ':' .. seconds
  if is_open then
    redis.call('ZADD', P .. 'open', 0, member)
    redis.call('ZADD', P .. 'open_accounts', 0, own)
  else
    redis.call('ZREM', P .. 'open', member)
    redis.call('ZREM', P .. 'open_accounts', own)
  end
end

-- Store one epoch's totals. Totals smaller than the stored ones change nothing.
local function put(account, epoch, start, seconds, requests, units)
  local key, values = window_key(start, seconds), nil
  local line, at = redis.call('HGET', key, account), nil
  if line then
    values = split(line)
  else
    values = { '0', '0', '0', '0' }
    redis.call('ZADD', P .. 'windows', start, start .. ':' .. seconds)
    redis.call('ZADD', P .. 'account_windows', 0, account .. ':' .. pad(tonumber(start)) .. ':' .. seconds)
  end
  for i = 5, #values, 3 do
    if values[i] == epoch then
      at = i
    end
  end
  if not at then
    at = #values + 1
    values[at], values[at + 1], values[at + 2] = epoch, '0', '0'
  end
  local more = { math.max(0, requests - tonumber(values[at + 1])), math.max(0, units - tonumber(values[at + 2])) }
  for i = 1, 2 do
    values[i] = number(tonumber(values[i]) + more[i])
    values[at + i] = number(tonumber(values[at + i]) + more[i])
  end
  redis.call('HSET', key, account, join(values))
  if more[2] > 0 then
    set_open(account, start, seconds, tonumber(values[2]) > tonumber(values[3]))
  end
end

-- usage_put(account, epoch, start, seconds, requests, units, ...) -> 0
function F.usage_put(a)
  for i = 1, #a, 6 do
    put(a[i], a[i + 1], a[i + 2], a[i + 3], tonumber(a[i + 4]), tonumber(a[i + 5]))
  end
  return 0
end

-- usage_restore(account, epoch, start, seconds, requests, units, closed units, closings, ...) -> 0
function F.usage_restore(a)
  for i = 1, #a, 8 do
    local account, start, seconds = a[i], a[i + 2], a[i + 3]
    put(account, a[i + 1], start, seconds, tonumber(a[i + 4]), tonumber(a[i + 5]))
    local key = window_key(start, seconds)
    local values = split(redis.call('HGET', key, account))
    values[3], values[4] = number(tonumber(values[3]) + tonumber(a[i + 6])), a[i + 7]
    redis.call('HSET', key, account, join(values))
    set_open(account, start, seconds, tonumber(values[2]) > tonumber(values[3]))
  end
  return 0
end

-- quota_put(account, epoch, kind, period, units, ...) -> 0
function F.quota_put(a)
  for i = 1, #a, 5 do
    put_quota(a[i], a[i + 1], a[i + 2], a[i + 3], tonumber(a[i + 4]))
  end
  return 0
end

local function add_row(rows, account, start, seconds)
  local values = split(redis.call('HGET', window_key(start, seconds), account))
  rows[#rows + 1] = account
  rows[#rows + 1] = start
  rows[#rows + 1] = seconds
  for i = 1, 4 do
    rows[#rows + 1] = values[i]
  end
end

-- Read a page of a set: its members from `from` on, and where to continue, or ''.
local function page(set, from, to, limit)
  limit = math.min(limit, PAGE)
  local members = redis.call('ZRANGEBYLEX', P .. set, from, to, 'LIMIT', 0, limit)
  return members, { #members == limit and '(' .. members[#members] or '' }
end

local function unpad(digits)
  return number(tonumber(digits))
end

-- usage_of(account, since, where to begin or '', limit) -> {where to continue or '', rows of seven values}
function F.usage_of(a)
  local account = a[1]
  local from = a[3] ~= '' and a[3] or '[' .. account .. ':' .. pad(tonumber(a[2]))
  local members, rows = page('account_windows', from, '(' .. account .. ';', tonumber(a[4]))
  for _, member in ipairs(members) do
    local start, seconds = member:match(':(%d+):(%d+)$')
    add_row(rows, account, unpad(start), seconds)
  end
  return rows
end

-- usage_open(account or '', ended by, where to begin or '', limit) -> the same
function F.usage_open(a)
  local account, set, from, to = a[1], 'open', '-', '(' .. pad(tonumber(a[2])) .. ';'
  if account ~= '' then
    set, from, to = 'open_accounts', '[' .. account .. ':', '(' .. account .. ';'
  end
  local members, rows = page(set, a[3] ~= '' and a[3] or from, to, tonumber(a[4]))
  for _, member in ipairs(members) do
    if account ~= '' then
      local start, seconds = member:match(':%d+:(%d+):(%d+)$')
      add_row(rows, account, unpad(start), seconds)
    else
      local start, owner, seconds = member:match(':(%d+):(%x+):(%d+)$')
      add_row(rows, owner, unpad(start), seconds)
    end
  end
  return rows
end

-- Returns an error if this window cannot be closed as listed, or nil.
local function check_close(values, units, closed)
  if not values then
    return closed ~= 0 and fail('EAGAIN', 'the window was closed in the meantime') or fail('EINVAL', 'no such window')
  end
  if tonumber(values[3]) ~= closed then
    return fail('EAGAIN', 'the window was closed in the meantime')
  end
  if units <= closed or units > tonumber(values[2]) then
    return fail('EINVAL', 'there is nothing to close, or more than was used')
  end
end

-- usage_close(fence, number of rows, [account, start, seconds, units, closed]...,
--	[queue, id, line, body]...) -> n
function F.usage_close(a)
  local count, at, seen, n = tonumber(a[2]), 3, {}, 0
  local refused = fenced_off(a[1])
  if refused then
    return refused
  end
  for _ = 1, count do
    local key, account = window_key(a[at + 1], a[at + 2]), a[at]
    local line = redis.call('HGET', key, account)
    refused = seen[key .. account] and fail('EAGAIN', 'a window is listed twice')
      or check_close(line and split(line), tonumber(a[at + 3]), tonumber(a[at + 4]))
    if refused then
      return refused
    end
    seen[key .. account] = true
    at = at + 5
  end
  for i = at, #a, 4 do
    if seen[a[i] .. ' ' .. a[i + 1]] or redis.call('HEXISTS', P .. 'tasks:' .. a[i], a[i + 1]) == 1 then
      return fail('EEXIST', 'a task exists already')
    end
    seen[a[i] .. ' ' .. a[i + 1]] = true
  end
  for i = 3, at - 1, 5 do
    local key, values = window_key(a[i + 1], a[i + 2]), nil
    values = split(redis.call('HGET', key, a[i]))
    values[3], values[4] = a[i + 3], number(tonumber(values[4]) + 1)
    redis.call('HSET', key, a[i], join(values))
    set_open(a[i], a[i + 1], a[i + 2], tonumber(values[2]) > tonumber(values[3]))
  end
  for i = at, #a, 4 do
    n = add_task(a[i], a[i + 1], a[i + 2], a[i + 3])
  end
  return n
end

-- Start of the second latest window of `account`, or -1. Windows with the same start count as one.
local function last_but_one(account)
  local last = nil
  local members = redis.call('ZREVRANGEBYLEX', P .. 'account_windows', '(' .. account .. ';', '[' .. account .. ':', 'LIMIT', 0, 8)
  for _, member in ipairs(members) do
    local start = tonumber(member:match(':(%d+):%d+$'))
    if last and start ~= last then
      return start
    end
    last = start
  end
  return -1
end

-- usage_prune(start, seconds, cursor) -> cursor: prunes one page of the accounts of a window that has ended
function F.usage_prune(a)
  local start, seconds = a[1], a[2]
  local key = window_key(start, seconds)
  local found = redis.call('HSCAN', key, a[3], 'COUNT', PAGE)
  for i = 1, #found[2], 2 do
    local account, values = found[2][i], split(found[2][i + 1])
    if tonumber(values[2]) <= tonumber(values[3]) and tonumber(start) < last_but_one(account) then
      redis.call('HDEL', key, account)
      redis.call('ZREM', P .. 'account_windows', account .. ':' .. pad(tonumber(start)) .. ':' .. seconds)
    end
  end
  if redis.call('EXISTS', key) == 0 then
    redis.call('ZREM', P .. 'windows', start .. ':' .. seconds)
  end
  return found[1]
end

-- usage_delete(account, '1' to delete open usage too) -> 0
function F.usage_delete(a)
  local account = a[1]
  local from, to = '[' .. account .. ':', '(' .. account .. ';'
  local open = redis.call('ZRANGEBYLEX', P .. 'open_accounts', from, to)
  if #open > 0 and a[2] ~= '1' then
    return fail('EBUSY', 'the account has usage that is not closed')
  end
  for _, member in ipairs(open) do
    local start, seconds = member:match(':%d+:(%d+):(%d+)$')
    set_open(account, unpad(start), seconds, false)
  end
  for _, member in ipairs(redis.call('ZRANGEBYLEX', P .. 'account_windows', from, to)) do
    local start, seconds = member:match(':(%d+):(%d+)$')
    redis.call('HDEL', window_key(unpad(start), seconds), account)
    redis.call('ZREM', P .. 'account_windows', member)
  end
  return 0
end

return run()
