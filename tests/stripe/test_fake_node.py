# SPDX-License-Identifier: BSD-2-Clause
"""npm's newest `stripe` drives every call of the fake (drive.mjs), and reads its answers, events and errors."""
import os
import subprocess

import pytest

import accepted
import fake as _all_endpoints  # noqa: F401
from fakestripe import FakeStripe
from routes import TABLE
from test_fake_types import directory

HERE = os.path.dirname(os.path.abspath(__file__))
NEWEST = "23.1.0"


@pytest.fixture(scope="module")
def driven():
    """What the script said, and the calls that succeeded, as a set of (method, path)."""
    with FakeStripe() as fake:
        fake.price("price_pro", unit_amount=2000)
        fake.price("price_max", unit_amount=5000)
        library = os.path.join(directory(NEWEST), "esm", "stripe.esm.node.js")
        done = subprocess.run(["node", os.path.join(HERE, "drive.mjs"), library, fake.url, fake.secret_key,
                               fake.webhook_secret], capture_output=True, text=True, timeout=120, check=False)
        calls = {(c["method"], c["path"]) for c in fake.calls() if c["status"] == 200}
    return done, calls


def test_the_library_works_with_the_fake(driven):
    assert driven[0].returncode == 0, driven[0].stderr[-3000:]


def test_the_library_drives_every_call(driven):
    newest = [row for row in TABLE if "c" in accepted.CALLS[f"{row.method} {row.pattern}"][0]]
    missed = [f"{row.method} {row.pattern}" for row in newest if not any(
        method == row.method and row.expression.fullmatch(path) for method, path in driven[1])]
    assert len(newest) > 90 and not missed, missed
