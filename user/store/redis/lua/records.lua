-- SPDX-License-Identifier: BSD-2-Clause
-- records: opening the store, accounts, keys and lists.

local AS_OF, SUBSCRIPTION = 9, 15 -- positions in an account's line
local KEY_ACCOUNT, KEY_HASH, KEY_CREATED, KEY_REVOKED, KEY_SEQ = 1, 2, 3, 4, 5

-- open(pepper check, id for a new store or '', schema) -> {id, is new}
function F.open(a)
  local check, id, schema = a[1], a[2], tonumber(a[3])
  local meta = redis.call('HMGET', P .. 'meta', 'store_id', 'pepper_check', 'schema')
  if not meta[1] then
    if id == '' then
      return { '', 0 }
    end
    if redis.call('EXISTS', P .. 'accounts', P .. 'n', P .. 'changes') > 0 then
      return fail('EUCLEAN', P .. 'meta is missing, but other keys of a store exist')
    end
    redis.call('HSET', P .. 'meta', 'store_id', id, 'pepper_check', check, 'schema', schema)
    change('made', id)
    return { id, 1 }
  end
  if tonumber(meta[3]) > schema then
    return fail('ENOTSUP', 'the store was written by a newer tollgate')
  end
  if meta[2] ~= check then
    return fail('EKEYREJECTED', 'its keys were hashed with another pepper')
  end
  return { meta[1], 0 }
end

-- mark() -> n: add an entry to an empty stream, so that there is a place to continue from
function F.mark()
  return change('mark', '')
end

-- ---- accounts ----

local function set_subscription(id, was, now)
  if was == now then
    return
  end
  if was ~= '' then
    redis.call('HDEL', P .. 'subscriptions', was)
  end
  if now ~= '' then
    redis.call('HSET', P .. 'subscriptions', now, id)
  end
end

local function subscription_is_taken(id, subscription)
  local owner = subscription ~= '' and redis.call('HGET', P .. 'subscriptions', subscription)
  return owner and owner ~= id
end

-- account_add(id, line, tasks as for add_fresh_tasks()...) -> n
function F.account_add(a)
  local id, line = a[1], a[2]
  local subscription = split(line)[SUBSCRIPTION]
  if redis.call('HEXISTS', P .. 'accounts', id) == 1 then
    return fail('EEXIST', 'the account exists already')
  end
  if subscription_is_taken(id, subscription) then
    return fail('EEXIST', 'the subscription belongs to another account')
  end
  redis.call('HSET', P .. 'accounts', id, line)
  set_subscription(id, '', subscription)
  add_fresh_tasks(a, 3)
  return change('account', id, line)
end

-- account_set(id, line before or '', line, mask of named fields, tasks as for add_fresh_tasks()...) -> n
-- Sets the values that differ between the two lines, and those whose bit is in the mask (bit 0 is
-- the first value). Other values keep what another host has changed in the meantime. Fails if another
-- host has stored a later state from Stripe. Calls that an older version left in a journal have no mask.
-- Lines of older versions may be shorter: values that one of them does not have stay as they are.
function F.account_set(a)
  local id, before, line, named = a[1], a[2], a[3], tonumber(a[4] or '0')
  local stored = redis.call('HGET', P .. 'accounts', id)
  if not stored then
    return fail('ENOENT', 'no such account')
  end
  local was, now, old = split(stored), split(line), before ~= '' and split(before)
  if old then
    local is_outdated = tonumber(now[AS_OF]) < tonumber(was[AS_OF])
    if now[AS_OF] ~= old[AS_OF] and was[AS_OF] ~= old[AS_OF] and is_outdated then
      return fail('ESTALE', 'the store has a later state from Stripe')
    end
    for i = 1, #now do
      if was[i] and now[i] == old[i] and bit.band(named, bit.lshift(1, i - 1)) == 0 then
        now[i] = was[i]
      end
    end
  end
  for i = #now + 1, #was do
    now[i] = was[i]
  end
  if subscription_is_taken(id, now[SUBSCRIPTION]) then
    return fail('EEXIST', 'the subscription belongs to another account')
  end
  line = join(now)
  redis.call('HSET', P .. 'accounts', id, line)
  set_subscription(id, was[SUBSCRIPTION], now[SUBSCRIPTION])
  add_fresh_tasks(a, 5)
  return change('account', id, line)
end

-- account_delete(id) -> n
function F.account_delete(a)
  local id = a[1]
  local line = redis.call('HGET', P .. 'accounts', id)
  if not line then
    return fail('ENOENT', 'no such account')
  end
  for _, member in ipairs(redis.call('ZRANGEBYLEX', P .. 'account_keys', '[' .. id .. ':', '(' .. id .. ';')) do
    local key = member:sub(-16)
    redis.call('HDEL', P .. 'key_hashes', split(redis.call('HGET', P .. 'keys', key))[KEY_HASH])
    redis.call('HDEL', P .. 'keys', key)
    redis.call('ZREM', P .. 'key_order', key)
    redis.call('ZREM', P .. 'account_keys', member)
  end
  redis.call('HDEL', P .. 'keys_over', id)
  set_subscription(id, split(line)[SUBSCRIPTION], '')
  redis.call('HDEL', P .. 'accounts', id)
  return change('account_gone', id)
end

-- ---- keys ----

-- Returns an error if these keys cannot be added, or nil. Each key is two words: id and line, whose
-- seq is still empty.
local function check_keys(a, first, last)
  local ids, hashes = {}, {}
  for i = first, last, 2 do
    local id, values = a[i], split(a[i + 1])
    local hash = values[KEY_HASH]
    if ids[id] or hashes[hash] or redis.call('HEXISTS', P .. 'keys', id) == 1
      or redis.call('HEXISTS', P .. 'key_hashes', hash) == 1 then
      return fail('EEXIST', 'the key exists already')
    end
    if redis.call('HEXISTS', P .. 'accounts', values[KEY_ACCOUNT]) == 0 then
      return fail('ENOENT', 'no such account')
    end
    ids[id], hashes[hash] = true, true
  end
end

local function put_key(id, values)
  local line = join(values)
  redis.call('HSET', P .. 'keys', id, line)
  return change('key', id, line)
end

local function add_keys(a, first, last)
  local n = 0
  for i = first, last, 2 do
    local id, values = a[i], split(a[i + 1])
    local seq = redis.call('HINCRBY', P .. 'meta', 'key_seq', 1)
    local over = redis.call('HGET', P .. 'keys_over', values[KEY_ACCOUNT])
    values[KEY_SEQ] = tostring(seq)
    if over and tonumber(over) > tonumber(values[KEY_CREATED]) then
      values[KEY_CREATED] = over
    end
    redis.call('HSET', P .. 'key_hashes', values[KEY_HASH], id)
    redis.call('ZADD', P .. 'key_order', seq, id)
    redis.call('ZADD', P .. 'account_keys', 0, values[KEY_ACCOUNT] .. ':' .. pad(seq) .. ':' .. id)
    n = put_key(id, values)
  end
  return n
end

-- Let a key end at `at`, unless it already ends sooner.
local function end_key(values, at)
  local was = tonumber(values[KEY_REVOKED])
  if was ~= 0 and was <= tonumber(at) then
    return nil
  end
  values[KEY_REVOKED] = at
  return values
end

-- keys_add(id, line, ...) -> n
function F.keys_add(a)
  return check_keys(a, 1, #a) or add_keys(a, 1, #a)
end

-- key_rotate(old id, end of the old key, new id, new line) -> n
function F.key_rotate(a)
  local line = redis.call('HGET', P .. 'keys', a[1])
  if not line then
    return fail('ENOENT', 'no such key')
  end
  local refused = check_keys(a, 3, 4)
  if refused then
    return refused
  end
  local ended = end_key(split(line), a[2])
  if ended then
    put_key(a[1], ended)
  end
  return add_keys(a, 3, 4)
end

-- key_revoke(id, at) -> n
function F.key_revoke(a)
  local line = redis.call('HGET', P .. 'keys', a[1])
  if not line then
    return fail('ENOENT', 'no such key')
  end
  local values = split(line)
  return put_key(a[1], end_key(values, a[2]) or values)
end

-- keys_revoke(account, at) -> n
-- The stream gets a single entry, so that it is one change on every host: all keys created before a
-- certain time end. Keys that are added later never get an earlier time of creation, whatever their
-- host's clock says; see keys_over in add_keys().
function F.keys_revoke(a)
  local account, at = a[1], a[2]
  local members = redis.call('ZRANGEBYLEX', P .. 'account_keys', '[' .. account .. ':', '(' .. account .. ';')
  local before = tonumber(redis.call('HGET', P .. 'keys_over', account) or '0')
  for _, member in ipairs(members) do
    local id = member:sub(-16)
    local values = split(redis.call('HGET', P .. 'keys', id))
    before = math.max(before, tonumber(values[KEY_CREATED]) + 1)
    local ended = end_key(values, at)
    if ended then
      redis.call('HSET', P .. 'keys', id, join(ended))
    end
  end
  before = string.format('%.0f', before)
  redis.call('HSET', P .. 'keys_over', account, before)
  return change('keys_end', account, at .. '\t' .. before)
end

-- keys_list(account or '', after or '', limit) -> {id, line, ...}
function F.keys_list(a)
  local account, after, limit = a[1], a[2], tonumber(a[3])
  local seq, ids, rows = nil, {}, {}
  if after ~= '' then
    local line = redis.call('HGET', P .. 'keys', after)
    if not line then
      return fail('ENOENT', 'no such key')
    end
    seq = tonumber(split(line)[KEY_SEQ])
  end
  if account == '' then
    ids = redis.call('ZRANGEBYSCORE', P .. 'key_order', seq and '(' .. seq or '-inf', '+inf', 'LIMIT', 0, limit)
  else
    local from = '(' .. account .. ':' .. (seq and pad(seq) .. ';' or '')
    for _, member in ipairs(redis.call('ZRANGEBYLEX', P .. 'account_keys', from, '(' .. account .. ';', 'LIMIT', 0, limit)) do
      ids[#ids + 1] = member:sub(-16)
    end
  end
  for _, id in ipairs(ids) do
    rows[#rows + 1] = id
    rows[#rows + 1] = redis.call('HGET', P .. 'keys', id)
  end
  return rows
end

-- key_claim(queue, task id, task's line, body, key id, key's line) -> n
function F.key_claim(a)
  local queue, id = a[1], a[2]
  if redis.call('HEXISTS', P .. 'tasks:' .. queue, id) == 1 then
    return fail('EEXIST', 'the key was claimed already')
  end
  local refused = check_keys(a, 5, 6)
  if refused then
    return refused
  end
  add_task(queue, id, a[3], a[4])
  return add_keys(a, 5, 6)
end

-- ---- lists ----

-- entry_put(block, line) -> n
function F.entry_put(a)
  redis.call('HSET', P .. 'lists', a[1], a[2])
  return change('entry', a[1], a[2])
end

-- entry_remove(block) -> n
function F.entry_remove(a)
  if redis.call('HDEL', P .. 'lists', a[1]) == 0 then
    return fail('ENOENT', 'no such entry')
  end
  return change('entry_gone', a[1])
end

-- entries_prune(at) -> n
function F.entries_prune(a)
  local at, n = tonumber(a[1]), tonumber(redis.call('GET', P .. 'n') or '0')
  local rows = redis.call('HGETALL', P .. 'lists')
  for i = 1, #rows, 2 do
    local until_ms = tonumber(split(rows[i + 1])[3])
    if until_ms ~= 0 and until_ms <= at then
      redis.call('HDEL', P .. 'lists', rows[i])
      n = change('entry_gone', rows[i])
    end
  end
  return n
end

return run()
