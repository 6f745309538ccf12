-- SPDX-License-Identifier: BSD-2-Clause
-- tasks: work that must be done once. common.lua describes how a task is stored.

local TASK_DUE, TASK_TRIED, TASK_ATTEMPTS, TASK_NOTE = 4, 5, 6, 8
local DONE = '1'
local LOOKS = 2000 -- tasks that one call examines

-- tasks_add(queue, id, line, body, ...) -> {n, and for each task 1 if it was added or 0 if it existed}
function F.tasks_add(a)
  local fresh, n = add_fresh_tasks(a, 1)
  table.insert(fresh, 1, n)
  return fresh
end

local function add_row(rows, queue, id)
  local line = redis.call('HGET', P .. 'tasks:' .. queue, id)
  if line then
    rows[#rows + 1] = id
    rows[#rows + 1] = line
    rows[#rows + 1] = redis.call('HGET', P .. 'bodies:' .. queue, id)
  end
  return line
end

-- task_find(queue, id) -> {'', id, line, body} or {''}
function F.task_find(a)
  local rows = { '' }
  add_row(rows, a[1], a[2])
  return rows
end

-- tasks_list(queue, state, due by, after seq, limit) -> {where to continue or '', id, line, body, ...}
function F.tasks_list(a)
  local queue, due_by, limit = a[1], tonumber(a[3]), tonumber(a[5])
  local by_seq = task_keys(queue, a[2])
  local found = redis.call('ZRANGEBYSCORE', by_seq, '(' .. a[4], '+inf', 'WITHSCORES', 'LIMIT', 0, LOOKS)
  local rows = { #found == 2 * LOOKS and found[#found] or '' }
  for i = 1, #found, 2 do
    local values = split(redis.call('HGET', P .. 'tasks:' .. queue, found[i]))
    if tonumber(values[TASK_DUE]) <= due_by then
      if (#rows - 1) / 3 == limit then
        rows[1] = ''
        break
      end
      add_row(rows, queue, found[i])
    end
  end
  return rows
end

-- tasks_set(fence, queue, id, due, tried, attempts, state, note, body or '' to keep it, ...) -> 0
function F.tasks_set(a)
  local refused = fenced_off(a[1])
  if refused then
    return refused
  end
  for i = 2, #a, 8 do
    local queue, id, state = a[i], a[i + 1], a[i + 5]
    local line = redis.call('HGET', P .. 'tasks:' .. queue, id)
    if line then
      local values = split(line)
      if values[TASK_STATE] ~= state then
        local by_seq, by_created = task_keys(queue, values[TASK_STATE])
        redis.call('ZREM', by_seq, id)
        redis.call('ZREM', by_created, id)
        by_seq, by_created = task_keys(queue, state)
        redis.call('ZADD', by_seq, values[#values], id)
        redis.call('ZADD', by_created, values[TASK_CREATED], id)
      end
      values[TASK_DUE], values[TASK_TRIED], values[TASK_ATTEMPTS] = a[i + 2], a[i + 3], a[i + 4]
      values[TASK_STATE], values[TASK_NOTE] = state, a[i + 6]
      redis.call('HSET', P .. 'tasks:' .. queue, id, join(values))
      if state == DONE then
        redis.call('HDEL', P .. 'bodies:' .. queue, id)
      elseif a[i + 7] ~= '' then
        redis.call('HSET', P .. 'bodies:' .. queue, id, a[i + 7])
      end
    end
  end
  return 0
end

-- tasks_prune(queue, before) -> how many were deleted; to be repeated until it is 0
function F.tasks_prune(a)
  local queue = a[1]
  local by_seq, by_created = task_keys(queue, DONE)
  local ids = redis.call('ZRANGEBYSCORE', by_created, '-inf', '(' .. a[2], 'LIMIT', 0, 500)
  for _, id in ipairs(ids) do
    redis.call('HDEL', P .. 'tasks:' .. queue, id)
    redis.call('ZREM', by_seq, id)
    redis.call('ZREM', by_created, id)
  end
  if redis.call('EXISTS', P .. 'tasks:' .. queue) == 0 then
    redis.call('SREM', P .. 'queues', queue)
  end
  return #ids
end

-- queues_count() -> {queue, pending, done, failed, creation time of the oldest pending task, ...}
function F.queues_count()
  local queues, rows = redis.call('SMEMBERS', P .. 'queues'), {}
  table.sort(queues)
  for _, queue in ipairs(queues) do
    rows[#rows + 1] = queue
    for state = 0, 2 do
      rows[#rows + 1] = tostring(redis.call('ZCARD', (task_keys(queue, tostring(state)))))
    end
    local _, by_created = task_keys(queue, '0')
    rows[#rows + 1] = redis.call('ZRANGE', by_created, 0, 0, 'WITHSCORES')[2] or '0'
  end
  return rows
end

return run()
