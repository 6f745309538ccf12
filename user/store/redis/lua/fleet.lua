-- SPDX-License-Identifier: BSD-2-Clause
-- fleet: the hosts that share this store, and the leases for work that only one of them may do.
--
-- hosts		hash, host -> last heartbeat in ms by this Redis's clock, and then its line
-- lease:<name>	hash: host, fence, until_ms

local FORGET_MS = 600000 -- a host without a heartbeat for this long is removed

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Return the holder of a lease at `now`, and the lease's fence. With `wants`, the host gets the
-- lease if no other host has it. The fence grows with every new holder.
local function lease(name, host, wants, ttl_ms, now)
  local key = P .. 'lease:' .. name
  local holder, fence, until_ms = unpack(redis.call('HMGET', key, 'host', 'fence', 'until_ms'))
  local is_free = not holder or holder == '' or tonumber(until_ms) <= now
  if wants and (is_free or holder == host) then
    fence = holder == host and not is_free and fence or string.format('%.0f', tonumber(fence or '0') + 1)
    redis.call('HSET', key, 'host', host, 'fence', fence, 'until_ms', string.format('%.0f', now + ttl_ms))
    return host, fence
  end
  return is_free and '' or holder, fence or '0'
end

-- beat(host, line, wants the lease: 1 or 0, ttl in ms)
-- -> {now, number of the last change, holder or '', fence if this host holds it or '0', host, line, ...}
function F.beat(a)
  local host, line, now = a[1], a[2], now_ms()
  local holder, fence = lease('billing', host, a[3] == '1', tonumber(a[4]), now)
  redis.call('HSET', P .. 'hosts', host, string.format('%.0f', now) .. '\t' .. line)
  local answer = { string.format('%.0f', now), redis.call('GET', P .. 'n') or '0', holder, holder == host and fence or '0' }
  local hosts = redis.call('HGETALL', P .. 'hosts')
  for i = 1, #hosts, 2 do
    if tonumber(hosts[i + 1]:match('^%d+')) + FORGET_MS < now then
      redis.call('HDEL', P .. 'hosts', hosts[i])
    else
      answer[#answer + 1] = hosts[i]
      answer[#answer + 1] = hosts[i + 1]
    end
  end
  return answer
end

-- hosts_alive() -> how many hosts sent a heartbeat in the last ten seconds
function F.hosts_alive()
  local now, alive = now_ms(), 0
  for _, line in ipairs(redis.call('HVALS', P .. 'hosts')) do
    if tonumber(line:match('^%d+')) + 10000 >= now then
      alive = alive + 1
    end
  end
  return alive
end

-- leave(host) -> 0: remove the host, and release its lease at once
function F.leave(a)
  local key = P .. 'lease:billing'
  redis.call('HDEL', P .. 'hosts', a[1])
  if redis.call('HGET', key, 'host') == a[1] then
    redis.call('HSET', key, 'host', '')
  end
  return 0
end

return run()
