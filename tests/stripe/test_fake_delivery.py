# SPDX-License-Identifier: BSD-2-Clause
"""Delivery of events: signed like Stripe's; retried, delayed, repeated, out of order or lost."""
import collections
import json
import time

import pytest
import stripe

from test_fake import OLD

SECRET = "whsec_test_fake"


def make(count):
    """Creates @count customers, and so as many customer.created events."""
    return [stripe.Customer.create(email=f"n{i}@example.com").id for i in range(count)]


def subscribe(customer, price="price_pro"):
    return stripe.Subscription.create(customer=customer.id, items=[{"price": price}])


def objects(receiver):
    return [event["data"]["object"]["id"] for event in receiver.events()]


def test_the_library_accepts_what_is_sent(fake, endpoint, receiver):
    made = make(1)
    assert fake.settle()
    signature, body = receiver.got[0]
    event = stripe.Webhook.construct_event(body, signature, SECRET)
    assert (event.type, event.data.object.id) == ("customer.created", made[0])
    assert (event.livemode, event.pending_webhooks, event.api_version) == (
        False, 1, "2026-10-28.endive")
    assert event["request"].id.startswith("req_")
    again = stripe.Event.retrieve(event.id)
    assert again.data.object == event.data.object and again.pending_webhooks == 0
    with pytest.raises(stripe.error.SignatureVerificationError):
        stripe.Webhook.construct_event(body, signature, "whsec_other")


def test_the_signature_has_the_hosts_time_not_the_advanced_one(fake, endpoint, receiver):
    fake.advance(days=2)
    make(1)
    assert fake.settle()
    signature, body = receiver.got[0]
    assert stripe.WebhookSignature.verify_header(body.decode(), signature, SECRET, 300)
    signed_at = int(signature.split(",")[0][2:])
    assert abs(signed_at - time.time()) < 5 and json.loads(body)["created"] > time.time() + 86400


def test_each_secret_signs_while_one_is_rolled(fake, endpoint, receiver):
    fake.endpoint(id=endpoint["id"], secrets=["whsec_old", "whsec_new"])
    fake.settings(extra_scheme=True)
    make(1)
    assert fake.settle()
    signature, body = receiver.got[0]
    for secret in ("whsec_old", "whsec_new"):
        stripe.Webhook.construct_event(body, signature, secret)
    assert [part[:3] for part in signature.split(",")[1:]] == ["v1=", "v1=", "v0="]


def test_the_endpoint_has_its_own_version(fake, endpoint, receiver, customer):
    fake.endpoint(id=endpoint["id"], api_version=OLD)
    sub = subscribe(customer)
    fake.renew(sub.id)
    assert fake.settle()
    mine = [e for e in receiver.events() if e["data"]["object"]["id"] == sub.id]
    assert mine[0]["api_version"] == OLD
    assert "current_period_end" in mine[0]["data"]["object"]
    assert "current_period_end" in mine[-1]["data"]["previous_attributes"]
    read = stripe.Event.retrieve(mine[-1]["id"])
    assert read.api_version != OLD and "current_period_end" not in read.data.object


def test_events_are_sent_unchanged_until_they_are_accepted(fake, endpoint, receiver):
    receiver.statuses = [500, 302, 400]
    make(1)
    assert fake.settle()
    assert len(receiver.got) == 4 and len({body for _, body in receiver.got}) == 1
    delivery = fake.deliveries(state="delivered")[-1]
    assert [a["status"] for a in delivery["attempts"]] == [500, 302, 400, 200]
    assert all(a["elapsed_ms"] >= 0 for a in delivery["attempts"])


def test_events_that_nobody_accepts_are_listed_as_not_delivered(fake, endpoint, receiver):
    fake.settings(delivery_retries_s=[0.01])
    receiver.statuses = [503, 503]
    make(1)
    assert fake.settle()
    event = receiver.events()[0]["id"]
    assert event in [e.id for e in stripe.Event.list(delivery_success=False, limit=5)]
    assert stripe.Event.retrieve(event).pending_webhooks == 1
    assert fake.again(states=["failed"]) == 1 and fake.settle()
    assert event not in [e.id for e in stripe.Event.list(delivery_success=False, limit=100)]
    assert event in [e.id for e in stripe.Event.list(delivery_success=True, limit=5)]


def test_a_closed_port_is_retried(fake):
    fake.settings(delivery_retries_s=[0.01, 0.01])
    made = fake.endpoint("http://127.0.0.1:9/nobody")
    make(1)
    assert fake.settle()
    attempts = fake.deliveries(state="failed")[-1]["attempts"]
    assert len(attempts) == 3 and all("ConnectionRefused" in a["error"] for a in attempts)
    fake.control("DELETE", f"/endpoints/{made['id']}")


def test_events_are_held_and_released_in_any_order(fake, endpoint, receiver):
    fake.rule("hold")
    made = make(20)
    assert fake.settle() and not receiver.got
    assert len(stripe.Event.list(delivery_success=False, limit=100)) >= 20
    assert fake.release(reverse=True) == 20 and fake.settle()
    assert objects(receiver) == made[::-1]
    receiver.got.clear()
    fake.rule("hold")
    made = make(20)
    fake.release(shuffle=True, copies=2)
    assert fake.settle()
    assert collections.Counter(objects(receiver)) == {name: 2 for name in made}
    assert objects(receiver) != [name for name in made for _ in "12"]


def test_an_event_can_be_delivered_twice(fake, endpoint, receiver):
    fake.rule("twice", type="customer.created", count=1, copies=3)
    made = make(2)
    assert fake.settle()
    assert collections.Counter(objects(receiver)) == {made[0]: 3, made[1]: 1}


def test_events_can_arrive_out_of_order(fake, endpoint, receiver):
    fake.rule("shuffle", seconds=0.2)
    made = make(20)
    assert fake.settle()
    assert sorted(objects(receiver)) == sorted(made) and objects(receiver) != made


def test_an_event_can_be_delayed(fake, endpoint, receiver):
    fake.rule("delay", seconds=0.3, count=1)
    late, early = make(2)
    assert fake.settle()
    assert objects(receiver) == [early, late]


def test_a_lost_event_appears_only_in_the_list(fake, endpoint, receiver):
    fake.rule("drop", count=1)
    lost, found = make(2)
    assert fake.settle()
    assert objects(receiver) == [found]
    unsent = stripe.Event.list(type="customer.created", delivery_success=True, limit=2)
    assert lost in [e.data.object.id for e in unsent]
    not_delivered = stripe.Event.list(delivery_success=False, limit=100)
    assert lost not in [e.data.object.get("id") for e in not_delivered]


@pytest.mark.parametrize("how", ["signature", "body", "stale", "missing", "secret"])
def test_corrupted_events_do_not_verify(fake, endpoint, receiver, how):
    fake.rule("corrupt", how=how, count=1)
    make(1)
    assert fake.settle()
    signature, body = receiver.got[0]
    with pytest.raises((stripe.error.SignatureVerificationError, AttributeError)):
        stripe.Webhook.construct_event(body, signature, SECRET)
        if signature is None:
            raise AttributeError


def test_thin_events_only_name_their_object(fake, endpoint, receiver, customer):
    fake.endpoint(id=endpoint["id"], payload="thin")
    sub = subscribe(customer)
    assert fake.settle()
    thin = next(e for e in receiver.events() if e["type"] == "v1.customer.subscription.created")
    assert thin["object"] == "v2.core.event" and "data" not in thin
    assert thin["related_object"] == {"id": sub.id, "type": "subscription",
                                      "url": f"/v1/subscriptions/{sub.id}"}
    assert thin["created"].endswith("Z") and thin["snapshot_event"].startswith("evt_")
    assert "v1.customer.subscription.active" in receiver.types()
    signature, body = receiver.got[0]
    assert stripe.WebhookSignature.verify_header(body.decode(), signature, SECRET, 300)
    fetched = stripe.api_requestor.APIRequestor().request("get",
                                                          f"/v2/core/events/{thin['id']}")[0].data
    assert fetched["related_object"]["id"] == sub.id


def test_one_endpoint_can_get_both_formats(fake, endpoint, receiver):
    fake.endpoint(id=endpoint["id"], payload="both")
    make(1)
    assert fake.settle()
    assert sorted(receiver.types()) == ["customer.created", "v1.customer.created"]


def test_any_event_can_be_created(fake, endpoint, receiver, customer):
    fake.emit("charge.dispute.created",
              {"id": "dp_1", "object": "dispute", "customer": customer.id})
    fake.emit("customer.updated", customer.id, previous_attributes={"email": "old@example.com"})
    fake.emit("wholly.unknown", {"id": "x_1", "object": "x"})
    assert fake.settle()
    assert receiver.types()[-3:] == ["charge.dispute.created", "customer.updated", "wholly.unknown"]
    assert receiver.events()[-2]["data"]["previous_attributes"] == {"email": "old@example.com"}


def test_events_are_kept_thirty_days(fake, customer):
    event = stripe.Event.list(limit=1).data[0].id
    fake.advance(days=31)
    with pytest.raises(stripe.error.InvalidRequestError):
        stripe.Event.retrieve(event)
    assert event not in [e.id for e in stripe.Event.list(limit=100)]


def test_only_selected_types_are_sent(fake, endpoint, receiver, customer):
    assert fake.settle()
    receiver.got.clear()
    fake.endpoint(id=endpoint["id"], types=["customer.subscription.*"])
    subscribe(customer)
    assert fake.settle()
    assert receiver.types() == ["customer.subscription.created"]


def test_a_thousand_events_are_delivered(fake, endpoint, receiver):
    fake.settings(senders=4)
    for i in range(1000):
        fake.emit("test.many", {"id": f"x_{i}", "object": "x"})
    assert fake.settle(30)
    assert {f"x_{i}" for i in range(1000)} == set(objects(receiver))
