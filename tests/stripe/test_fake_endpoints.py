# SPDX-License-Identifier: BSD-2-Clause
"""Endpoints and event destinations that are created with calls, as an operator would."""
import json
import urllib.error
import urllib.request

import pytest
import stripe


def v2(fake, method, path, body=None, kind="application/json"):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(fake.url + path, data, {
        "Authorization": f"Bearer {fake.secret_key}", "Content-Type": kind}, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_an_endpoint_gets_its_events_signed_with_its_secret(fake, receiver):
    made = stripe.WebhookEndpoint.create(url=receiver.url, enabled_events=["customer.created"])
    stripe.Customer.create(email="a@example.com")
    stripe.Product.create(name="other")
    assert fake.settle() and receiver.types() == ["customer.created"]
    signature, body = receiver.got[0]
    assert stripe.Webhook.construct_event(body, signature, made.secret).type == "customer.created"
    shown = stripe.WebhookEndpoint.retrieve(made.id)
    assert "secret" not in shown and shown.status == "enabled"
    assert [e.id for e in stripe.WebhookEndpoint.list(limit=100).auto_paging_iter()] == [made.id]
    stripe.WebhookEndpoint.modify(made.id, disabled=True)
    stripe.Customer.create(email="b@example.com")
    assert fake.settle() and len(receiver.got) == 1
    assert stripe.WebhookEndpoint.delete(made.id).deleted


@pytest.mark.parametrize("name", ["invoice.*", "invoice.", "no.such.event", "v1.invoice.paid"])
def test_events_are_registered_by_single_names(fake, name):
    with pytest.raises(stripe.error.InvalidRequestError, match="Invalid enabled_events"):
        stripe.WebhookEndpoint.create(url="https://example.com/x", enabled_events=["invoice.paid", name])


@pytest.mark.parametrize("types", [["invoice.*"], ["invoice.paid"] * 21])
def test_events_are_listed_by_at_most_twenty_single_names(fake, types):
    with pytest.raises(stripe.error.InvalidRequestError):
        stripe.Event.list(types=types)
    assert stripe.Event.list(type="invoice.*").data == []


def test_a_destination_shows_its_url_only_if_asked(fake):
    body = {"name": "n", "type": "webhook_endpoint", "event_payload": "thin",
            "enabled_events": ["v1.billing.meter.no_meter_found"],
            "webhook_endpoint": {"url": "https://example.com/x"}, "include": ["webhook_endpoint.signing_secret"]}
    made = v2(fake, "POST", "/v2/core/event_destinations", body)
    assert made["webhook_endpoint"]["signing_secret"].startswith("whsec_")
    listed = v2(fake, "GET", "/v2/core/event_destinations")["data"][-1]
    assert listed["id"] == made["id"] and listed["webhook_endpoint"] == {}
    listed = v2(fake, "GET", "/v2/core/event_destinations?include[0]=webhook_endpoint.url")["data"][-1]
    assert listed["webhook_endpoint"] == {"url": "https://example.com/x"}
    assert v2(fake, "POST", f"/v2/core/event_destinations/{made['id']}/disable", {})["status"] == "disabled"
    for wrong, kind in (({**body, "enabled_events": ["invoice.paid"]}, "application/json"),
                        ({**body, "nonsense": 1}, "application/json"),
                        (body, "application/x-www-form-urlencoded")):
        with pytest.raises(urllib.error.HTTPError):
            v2(fake, "POST", "/v2/core/event_destinations", wrong, kind)
    fake.control("DELETE", f"/endpoints/{made['id']}")


def test_a_portal_has_a_configuration(fake):
    assert [c.is_default for c in stripe.billing_portal.Configuration.list(active=True).data] == [True]
