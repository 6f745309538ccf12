# SPDX-License-Identifier: BSD-2-Clause
"""guide: a paid API as the usual guides build it: FastAPI that asks Redis twice for every request.

It looks up the key's record by the key's hash, then increments the window's counter and sets its expiry. It answers
by itself, without an upstream. Run by uvicorn, see fleet.py.
"""
import hashlib
import os
import time

import redis.asyncio
from fastapi import FastAPI, Header, HTTPException, Response

WINDOW_S, LIMIT = 60, 100000000
BODY = os.environ["BODY"].encode()

app = FastAPI()
store = redis.asyncio.Redis(port=int(os.environ["REDIS_PORT"]))


@app.get("/")
async def items(x_api_key: str = Header()):
    hashed = hashlib.sha256(x_api_key.encode()).hexdigest()
    record = await store.hgetall(f"key:{hashed}")
    if record.get(b"status") != b"active":
        raise HTTPException(401, "Invalid or expired API key")
    window = f"rate:{hashed}:{int(time.time()) // WINDOW_S}"
    async with store.pipeline(transaction=False) as pipe:
        count, _ = await pipe.incr(window).expire(window, WINDOW_S).execute()
    if count > LIMIT:
        raise HTTPException(429, "Rate limit exceeded. Upgrade your tier.")
    return Response(BODY, media_type="application/json")
