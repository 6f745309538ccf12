# SPDX-License-Identifier: BSD-2-Clause
"""The lab's fixtures. The report of a failed test includes the agents' logs."""
import os
import subprocess

import pytest

import agent as agents
import lab
from upstream import Upstream

LOG_LINES = 80


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes long, and even longer with sanitizers")


def pytest_sessionstart():
    if os.geteuid():
        pytest.exit("run the lab as root", 2)
    if not os.path.exists(lab.tollgate()):
        pytest.exit(f"{lab.tollgate()} does not exist: run make first, or set TOLLGATE", 2)
    if subprocess.run(["mountpoint", "-q", lab.BPFFS], check=False).returncode:
        subprocess.run(["mount", "-t", "bpf", "bpffs", lab.BPFFS], check=True)
    lab.sweep_pins()
    lab.enter_private_network()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    for agent in agents.ALL:
        if os.path.exists(agent.log_path):
            tail = "\n".join(agent.log().splitlines()[-LOG_LINES:])
            report.sections.append((f"log of {agent.folder}", tail))


@pytest.fixture(scope="session")
def loopback():
    return lab.Loopback()


@pytest.fixture(scope="module")
def namespaces():
    """Client and edge, joined by a veth pair."""
    made = lab.Namespaces()
    made.up()
    yield made
    made.down()


class Maker:
    """Creates agents and upstreams, and stops them after the test or module."""

    def __init__(self, folder, network):
        self.folder, self.network = folder, network
        self.made = []

    def upstream(self, **options):
        made = Upstream(self.network, **options)
        self.made.append(made)
        return made

    def nginx(self, **options):
        made = lab.Nginx(self.folder, self.network, **options)
        self.made.append(made)
        return made

    def agent(self, *upstreams, **config):
        """Create an agent without starting it. upstreams: servers of the upstream `api`."""
        servers = [u.address for u in upstreams] or [("127.0.0.1", 9)]
        made = agents.Agent(self.folder, self.network, servers, **config)
        self.made.append(made)
        return made

    def close(self):
        errors = []
        for made in reversed(self.made):
            try:
                made.close()
            except Exception as error:  # close the others too
                errors.append(error)
        assert not errors, errors


def closing(maker):
    yield maker
    maker.close()


@pytest.fixture
def make(tmp_path, loopback):
    yield from closing(Maker(tmp_path, loopback))


@pytest.fixture(scope="module")
def make_module(tmp_path_factory, loopback):
    yield from closing(Maker(tmp_path_factory.mktemp("lab"), loopback))


@pytest.fixture
def make_lab(tmp_path, namespaces):
    """The same, with the agent on the edge and clients on the other end of the veth pair."""
    yield from closing(Maker(tmp_path, namespaces))
