-- SPDX-License-Identifier: BSD-2-Clause
-- share: hosts borrow units of limits that they share. enforce/share.h has the other half.
--
-- share:<account>	hash:
--	b		'<tokens> <us>': the bucket's tokens at that time
--	p<run>		'<paid> <seq> <us>': units charged for a run, and number and time of its last call
--	q<run>		'<kind>:<period> <cap> <used> <us>': what a run may charge to the quota until then
--	c<run>		'<places> <wanted> <us>': concurrent requests that a run may have until then
--
-- A run is '<instance>:<generation>'. Its totals start at 0 when the host starts, and whenever the
-- account gets another slot there. Calls carry totals, so a call whose answer was lost, or that
-- comes twice, is harmless. If Redis does not know the run (it was idle for long, or Redis lost
-- data), the `paid` that the host remembers from its last grant is used.

local WORDS = 18 -- arguments per account
local PLACES_US = 3000000
local CAP_US = 3000000
local ACTIVE_US = 1000000
local FORGET_US = 600000000
local KEEP_S = 600

local function now_us()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function numbers(text)
  local list = {}
  for word in text:gmatch('%S+') do
    list[#list + 1] = tonumber(word) or word
  end
  return list
end

-- Read the fields of an account's hash, and delete those of runs that have not called for a long
-- time.
local function read(key, now)
  local flat, fields = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do
    local values = numbers(flat[i + 1])
    if values[#values] + FORGET_US < now and flat[i] ~= 'b' then
      redis.call('HDEL', key, flat[i])
    else
      fields[flat[i]] = values
    end
  end
  return fields
end

local function put(key, field, format, ...)
  redis.call('HSET', key, field, string.format(format, ...))
end

-- Settle the used units, and grant more. Returns paid, left, and the ns until units are available
-- or 0.
local function rate(key, fields, me, row, hosts, now)
  local interval_ns, burst, need = row.interval_ns, row.burst, math.min(row.need, row.burst)
  local bucket, mine = fields.b or { burst, now }, fields['p' .. me] or { math.min(row.paid, row.used), 0, now }
  if row.seq <= mine[2] then
    return nil -- a later call arrived before this one
  end
  if interval_ns == 0 then
    put(key, 'p' .. me, '%.0f %.0f %.0f', row.used, row.seq, now)
    return row.used, 0, 0
  end
  local tokens = math.min(burst, bucket[1] + math.max(0, now - bucket[2]) * 1000 / interval_ns)
  local last = math.max(now, bucket[2])
  -- The bucket never exceeds the burst, because units that are given back were taken from it. Its
  -- debt is limited to what all hosts can spend at once: anything more was allowed out of the
  -- hosts' own shares while Redis was unreachable, and is not debt.
  local floor = math.min(tokens, -(burst + hosts * math.max(1, need)))
  tokens = math.max(floor, math.min(burst, tokens - (row.used - mine[1])))
  local active = 2 -- this run, and one that may come
  for name, values in pairs(fields) do
    if name:sub(1, 1) == 'p' and name ~= 'p' .. me and values[3] + ACTIVE_US > now then
      active = active + 1
    end
  end
  local grant = math.min(row.want, math.floor(tokens / active))
  if grant < need then
    grant = row.want > 0 and tokens >= need and need or 0
  end
  grant = math.max(0, grant)
  tokens = tokens - grant
  put(key, 'b', '%.6f %.0f', tokens, last)
  put(key, 'p' .. me, '%.0f %.0f %.0f', row.used + grant, row.seq, now)
  local wait = 0
  if grant == 0 and tokens < math.max(1, need) then
    wait = (math.max(1, need) - tokens) * interval_ns
  end
  return row.used + grant, math.max(0, math.floor(tokens)), wait
end

-- Returns the ceiling for this host's own charges, what others have charged, and what is left.
local function quota(key, fields, me, row, hosts, now)
  if row.quota_limit == 0 then
    return 0, 0, 0
  end
  put_quota(row.account, row.epoch, row.kind, row.period, row.quota_used)
  local period = row.kind .. ':' .. row.period
  local sum = tonumber(redis.call('HGET', P .. 'quota_sum:' .. period, row.account) or '0')
  local own = tonumber(redis.call('HGET', P .. 'quota:' .. period, row.account .. ':' .. row.epoch) or '0')
  local lent = 0
  for name, values in pairs(fields) do
    if name:sub(1, 1) == 'q' and name ~= 'q' .. me and values[1] == period and values[4] > now then
      lent = lent + math.max(0, values[2] - values[3])
    end
  end
  local left = math.max(0, row.quota_limit - sum - lent)
  local grant = math.min(row.quota_want, math.floor(left / hosts))
  if row.quota_want > 0 and grant < row.need and left >= row.need then
    grant = row.need
  end
  put(key, 'q' .. me, '%s %.0f %.0f %.0f', period, own + grant, own, now + CAP_US)
  return own + grant, sum - own, left - grant
end

-- Returns the number of concurrent requests that this host may have.
local function places(key, fields, me, row, now)
  if row.concurrency == 0 then
    return 0
  end
  local others, waiting = 0, 0
  for name, values in pairs(fields) do
    if name:sub(1, 1) == 'c' and name ~= 'c' .. me and values[3] > now then
      others = others + values[1]
      if values[1] == 0 and values[2] > 0 then
        waiting = waiting + 1
      end
    end
  end
  -- This host keeps the places in use. Of the free ones, each waiting host without any place gets
  -- one first.
  local room = math.max(0, row.concurrency - others)
  local grant = math.min(row.places_want, math.max(math.min(row.held, room), room - waiting))
  put(key, 'c' .. me, '%.0f %.0f %.0f', grant, row.places_want, now + PLACES_US)
  return grant
end

-- exchange(instance, hosts, eighteen words per account...) -> eight words per account
function F.exchange(a)
  local instance, hosts, now, answer = a[1], math.max(1, tonumber(a[2])), now_us(), {}
  for i = 3, #a, WORDS do
    local row = {
      account = a[i], epoch = a[i + 1], seq = tonumber(a[i + 2]), used = tonumber(a[i + 3]),
      need = tonumber(a[i + 4]), want = tonumber(a[i + 5]), interval_ns = tonumber(a[i + 6]),
      burst = tonumber(a[i + 7]), quota_limit = tonumber(a[i + 8]), kind = a[i + 9], period = a[i + 10],
      quota_used = tonumber(a[i + 11]), quota_want = tonumber(a[i + 12]),
      places_want = tonumber(a[i + 13]), concurrency = tonumber(a[i + 14]),
      held = tonumber(a[i + 15]), paid = tonumber(a[i + 16]),
    }
    local me = instance .. ':' .. a[i + 17]
    local key = P .. 'share:' .. row.account
    local fields = read(key, now)
    local paid, left, wait = rate(key, fields, me, row, hosts, now)
    if paid then
      local cap, others, free = quota(key, fields, me, row, hosts, now)
      local full_s = row.interval_ns * row.burst / 1e9
      local words = { 1, paid, left, wait, cap, others, free, places(key, fields, me, row, now) }
      redis.call('EXPIRE', key, string.format('%.0f', KEEP_S + 2 * full_s))
      for _, word in ipairs(words) do
        answer[#answer + 1] = string.format('%.0f', word)
      end
    else
      for _ = 1, 8 do
        answer[#answer + 1] = '0'
      end
    end
  end
  return answer
end

return run()
