# SPDX-License-Identifier: BSD-2-Clause
"""Fixtures: the program, and an agent of it that serves nothing but its admin socket."""
import http.client
import json
import os
import socket
import subprocess
import time

import pytest

from mdoc import TREE

DEADLINE_S = 20


def program():
    return os.environ.get("TOLLGATE", str(TREE / "build/tollgate"))


def pytest_sessionstart():
    if not os.path.exists(program()):
        pytest.exit(f"{program()} does not exist: run make first, or set TOLLGATE", 2)


@pytest.fixture(scope="session")
def tollgate():
    """Run the program; what it prints on standard output."""
    def run(*arguments, status=0):
        result = subprocess.run([program(), *arguments], text=True, check=False,
                                capture_output=True)
        assert result.returncode == status, (arguments, result.stderr)
        return result.stdout
    return run


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=DEADLINE_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class Admin:
    def __init__(self, path):
        self.path = path

    def call(self, method, path, body=None):
        connection = UnixConnection(self.path)
        connection.request(method, path, json.dumps(body) if body is not None else None)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def json(self, method, path, body=None):
        status, text = self.call(method, path, body)
        assert status == 200, text
        return json.loads(text)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="session")
def admin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agent")
    path = str(folder / "admin.sock")
    config = {"listeners": [{"name": "public", "address": f"127.0.0.1:{free_port()}"}],
              "admin": {"socket": path}, "state_dir": str(folder / "state"), "workers": 1,
              "max_accounts": 64, "instance": f"docs-{os.getpid()}",
              "tiers": [{"name": "free", "rate": "10/s", "features": ["export"]}]}
    (folder / "tollgate.yaml").write_text(json.dumps(config), encoding="utf-8")
    with open(folder / "log", "wb") as log, subprocess.Popen(
            [program(), "run", "-c", str(folder / "tollgate.yaml")], stderr=log) as process:
        try:
            wait_ready(Admin(path), process, folder / "log")
            yield Admin(path)
        finally:
            process.terminate()


def wait_ready(agent, process, log):
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end and process.poll() is None:
        try:
            if agent.call("GET", "/readyz")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.02)
    pytest.fail(f"the agent did not become ready:\n{log.read_text()}")
