# SPDX-License-Identifier: BSD-2-Clause
"""The objects of the fake have the types that npm's `stripe` declares for three API versions.

`make test-stripe` fetches the packages into build/npm.
"""
import json
import os

import pytest

import accepted
import members
import world_of_objects
from endpoints_api import SNAPSHOT_EVENTS
from fakestripe import FakeStripe
from sdk_check import Checker
from sdk_types import Sdk

NPM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build", "npm")
VERSIONS = {"16.0.0": "2024-06-20", "18.0.0": "2025-03-31.basil", "23.1.0": "2026-10-28.endive"}
# API v2 is not bound to the versions of v1's objects: the fake has it as in the newest types only.
NEWEST = "2026-10-28.endive"
# The beginnings of problems that are accepted, and in which version.
EXCEPTIONS = {
    # Stripe also sends events that are younger than an account's version. The types of 2024-06-20 do not list these.
    "event.type is 'billing.meter.": "2024-06-20",
    "event.type is 'refund.failed'": "2024-06-20",
}


def directory(package):
    found = os.path.join(NPM, f"stripe-{package}")
    assert os.path.isdir(found), "run scripts/fetch-stripe first"
    return found


@pytest.fixture(scope="module", params=VERSIONS)
def told(request):
    """(checker, [(call, object)], events, version)"""
    version = VERSIONS[request.param]
    sdk = Sdk(directory(request.param))
    assert sdk.version == version
    with FakeStripe() as fake:
        fake.settings(api_version=version, event_days=3650)
        fake.begin_at(world_of_objects.BEGIN)
        call = world_of_objects.Caller(fake, version)
        world_of_objects.fill(fake, call)
        seen = list(call.seen)
        yield Checker(sdk), seen, world_of_objects.events(call), version


def unexpected(version, problems):
    """The problems, without those that are accepted for this version."""
    accepted_here = tuple(known for known, only in EXCEPTIONS.items() if only == version)
    return sorted({p for p in problems if not p.startswith(accepted_here)})


def test_answers_have_the_types_of_the_version(told):
    checker, seen, _, version = told
    problems = unexpected(version, (p for call, value in seen if version == NEWEST or "/v2/" not in call
                                    for p in checker.problems(value)))
    assert not problems, "\n".join(problems)


def test_events_have_the_types_of_the_version(told):
    checker, _, events, version = told
    assert {event["api_version"] for event in events} == {version}
    problems = unexpected(version, (p for event in events for p in checker.problems(event)))
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("spoil, problem", [
    (lambda customer: customer.pop("created"), "customer.created is missing"),
    (lambda customer: customer.pop("email"), "customer.email is missing"),
    (lambda customer: customer.update(colour="red"), "customer.colour is not in the type"),
    (lambda customer: customer.update(livemode="no"), "customer.livemode is 'no', not a boolean"),
    (lambda customer: customer["metadata"].update(a=1), "customer.metadata.a is 1, not a string"),
    (lambda customer: customer["invoice_settings"].pop("footer"), "customer.invoice_settings.footer is missing"),
    (lambda customer: customer.update(invoice_settings=None), "customer.invoice_settings is None, not an object")])
def test_the_comparison_finds_what_is_wrong(told, spoil, problem):
    checker, seen, _, _ = told
    customer = json.loads(json.dumps(next(value for _, value in seen if value.get("object") == "customer")))
    assert not checker.problems(customer)
    spoil(customer)
    assert checker.problems(customer) == [problem]


def test_endpoints_take_the_event_names_of_the_newest_types():
    sdk = Sdk(directory("23.1.0"))
    module = sdk.resource("WebhookEndpoints")
    _, (_, names), _ = module.types["WebhookEndpointCreateParams.EnabledEvent"]
    known = {name for kind, name in (one[:2] for one in names) if kind == "literal"}
    assert SNAPSHOT_EVENTS <= known, SNAPSHOT_EVENTS - known


def test_the_tables_are_up_to_date():
    """If this fails: python3 tests/stripe/sdk_types.py build/npm/stripe-*"""
    sdks = [Sdk(directory(package)) for package in VERSIONS]
    for table in (accepted, members):
        with open(table.PATH) as file:
            assert file.read() == table.text_of(sdks)
