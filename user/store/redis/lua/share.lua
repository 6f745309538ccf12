-- SPDX-License-Identifier: BSD-2-Clause
-- share: what hosts borrow of limits that they hold together. enforce/share.h has the other half.
--
-- share:<account>	hash:
--	b		'<tokens> <last us>': the bucket, as of then
--	p<run>		'<paid> <seq> <us>': units charged on behalf of a run, as of its last call
--	q<run>		'<kind>:<period> <cap> <used> <us>': what it may charge of the quota, until then
--	c<run>		'<places> <wanted> <us>': requests that it may have running, until then
--
-- A run is '<instance>:<generation>': totals begin at 0 with a host's start, and whenever the account gets
-- another slot there. It tells totals, so a call whose answer was lost, or that comes twice, changes nothing
-- more. Of a run that was forgotten here (idle for long, or Redis lost data) what it was told counts.

local WORDS = 18 -- arguments an account
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

-- The fields of an account's hash; those of runs that were not heard of for long are forgotten.
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

-- Settle what was used, and lend: paid, left, ns to wait until there is something or 0.
local function rate(key, fields, me, row, hosts, now)
  local interval_ns, burst, need = row.interval_ns, row.burst, math.min(row.need, row.burst)
  local bucket, mine = fields.b or { burst, now }, fields['p' .. me] or { math.min(row.paid, row.used), 0, now }
  if row.seq <= mine[2] then
    return nil -- a call that was overtaken by a later one
  end
  if interval_ns == 0 then
    put(key, 'p' .. me, '%.0f %.0f %.0f', row.used, row.seq, now)
    return row.used, 0, 0
  end
  local tokens = math.min(burst, bucket[1] + math.max(0, now - bucket[2]) * 1000 / interval_ns)
  local last = math.max(now, bucket[2])
  -- Never above the burst: what is given back was taken from there. Nor further below nothing than the
  -- shares of all hosts go at once: what they allowed while Redis was away was theirs, and is no debt.
  local floor = math.min(tokens, -(burst + hosts * math.max(1, need)))
  tokens = math.max(floor, math.min(burst, tokens - (row.used - mine[1])))
  local active = 2 -- this one, and one that may come
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

-- The ceiling of this host's own charges, what others have charged, what nobody has.
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
  -- A place more than are in use is for a host that has none.
  local room = math.max(0, row.concurrency - others)
  local grant = math.min(row.places_want, math.max(math.min(row.held, room), room - waiting))
  put(key, 'c' .. me, '%.0f %.0f %.0f', grant, row.places_want, now + PLACES_US)
  return grant
end

-- exchange(instance, hosts, eighteen words an account...) -> eight words an account
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
