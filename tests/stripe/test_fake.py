# SPDX-License-Identifier: BSD-2-Clause
"""The fake works with Stripe's own library: objects, lists, errors, versions and idempotency."""
import base64
import http.client
import json
import urllib.request
from urllib.parse import urlencode

import pytest
import stripe

OLD = "2022-11-15"
NO_REDIRECT = (302, 303)


def call(fake, method, path, params=(), headers=None):
    """Makes one call without a library. Returns (status, headers, body)."""
    connection = http.client.HTTPConnection(fake.host, fake.port, timeout=10)
    head = {"Authorization": f"Bearer {fake.secret_key}", **(headers or {})}
    body = urlencode(params) if method == "POST" else None
    if body is not None:
        head.setdefault("Content-Type", "application/x-www-form-urlencoded")
    connection.request(method, path, body, head)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    return answer.status, answer.headers, said


def new_session(**fields):
    return stripe.checkout.Session.create(**{
        "mode": "subscription", "line_items": [{"price": "price_pro", "quantity": 1}],
        "success_url": "http://shop.test/done?session_id={CHECKOUT_SESSION_ID}",
        "cancel_url": "http://shop.test/pricing", **fields})


# Objects and lists.

def test_a_customer_is_created_changed_and_deleted(fake):
    made = stripe.Customer.create(email="eve@example.com", metadata={"team": "red", "seat": "1"})
    changed = stripe.Customer.modify(made.id, name="Eve", metadata={"seat": ""})
    assert (changed.email, changed.name) == ("eve@example.com", "Eve")
    assert dict(changed.metadata) == {"team": "red"}
    assert stripe.Customer.delete(made.id).deleted
    assert stripe.Customer.retrieve(made.id).to_dict() == {
        "id": made.id, "object": "customer", "deleted": True}
    assert made.id not in [c.id for c in stripe.Customer.list(limit=100)]


def test_pages_follow_each_other_both_ways(fake):
    made = [stripe.Customer.create(email="page@example.com").id for _ in range(7)]
    newest_first = made[::-1]
    found = stripe.Customer.list(email="page@example.com", limit=3)
    assert [c.id for c in found] == newest_first[:3] and found.has_more
    assert [c.id for c in found.auto_paging_iter()] == newest_first
    back = stripe.Customer.list(email="page@example.com", limit=3, ending_before=newest_first[5])
    assert [c.id for c in back] == newest_first[2:5] and back.has_more
    last = stripe.Customer.list(email="page@example.com", limit=3, starting_after=newest_first[4])
    assert [c.id for c in last] == newest_first[5:] and not last.has_more


def test_created_filters_a_list(fake):
    first = stripe.Customer.create(email="bound@example.com")
    fake.advance(seconds=10)
    second = stripe.Customer.create(email="bound@example.com")
    found = stripe.Customer.list(email="bound@example.com", created={"gt": first.created})
    assert [c.id for c in found] == [second.id]
    found = stripe.Customer.list(email="bound@example.com", created={"lte": first.created})
    assert [c.id for c in found] == [first.id]


def test_prices_are_found_by_lookup_key(fake):
    found = stripe.Price.list(lookup_keys=["pro", "max"], expand=["data.product"])
    assert {p.id for p in found} == {"price_pro", "price_max"}
    assert found.data[0].product.object == "product"


def test_a_lookup_key_moves_only_if_asked(fake):
    product = stripe.Product.create(name="Moved")
    fields = {"currency": "usd", "unit_amount": 1, "product": product.id, "lookup_key": "moving",
              "recurring": {"interval": "month"}}
    old = stripe.Price.create(**fields)
    with pytest.raises(stripe.error.InvalidRequestError):
        stripe.Price.create(**fields)
    new = stripe.Price.create(transfer_lookup_key=True, **fields)
    assert [p.id for p in stripe.Price.list(lookup_keys=["moving"])] == [new.id]
    assert stripe.Price.retrieve(old.id).lookup_key is None


def test_a_metered_price_needs_a_meter_in_versions_without_usage_records(fake):
    fields = {"currency": "usd", "unit_amount": 1, "product_data": {"name": "Metered"},
              "recurring": {"interval": "month", "usage_type": "metered"}}
    with pytest.raises(stripe.error.InvalidRequestError, match="meter"):
        stripe.Price.create(**fields)
    assert stripe.Price.create(stripe_version=OLD, **fields).recurring.usage_type == "metered"


def test_expanded_members_are_objects_and_others_are_errors(fake, customer):
    sub = stripe.Subscription.create(customer=customer.id, items=[{"price": "price_pro"}],
                                     expand=["latest_invoice", "customer"])
    assert sub.latest_invoice.status == "paid" and sub.customer.email == customer.email
    listed = stripe.Subscription.list(customer=customer.id, status="all",
                                      expand=["data.latest_invoice"])
    assert listed.data[0].latest_invoice.id == sub.latest_invoice.id
    deep = stripe.Subscription.retrieve(sub.id, expand=["items.data.price.product"])
    assert deep["items"].data[0].price.product.object == "product"
    for path in ("status", "items", "nonsense", "customer.email", "data.items.data.price.product"):
        with pytest.raises(stripe.error.InvalidRequestError, match="expand"):
            stripe.Subscription.retrieve(sub.id, expand=[path])


# Errors.

def test_no_key_and_a_wrong_key_are_401(fake):
    for headers in ({"Authorization": ""}, {"Authorization": "Bearer sk_test_other"}):
        status, head, body = call(fake, "GET", "/v1/customers", headers=headers)
        assert status == 401 and json.loads(body)["error"]["type"] == "invalid_request_error"
        assert head["Request-Id"].startswith("req_")
    basic = base64.b64encode(f"{fake.secret_key}:".encode()).decode()
    assert call(fake, "GET", "/v1/customers", headers={"Authorization": f"Basic {basic}"})[0] == 200
    with pytest.raises(stripe.error.AuthenticationError):
        stripe.Customer.list(api_key="sk_test_other")


@pytest.mark.parametrize("path, params, code, param", [
    ("/v1/customers", {"emial": "x"}, "parameter_unknown", "emial"),
    ("/v1/customers", {"metadata[a][b]": "x"}, None, "metadata[a]"),
    ("/v1/subscriptions", {"items[0][price]": "price_pro"}, "parameter_missing", "customer"),
    ("/v1/subscriptions", {"customer": "cus_x", "items[0][prize]": "p"}, "parameter_unknown",
     "items[0][prize]"),
    ("/v1/checkout/sessions", {"mode": "gift", "line_items[0][price]": "p"}, None, "mode"),
    ("/v1/prices", {"currency": "usd", "unit_amount": "1.5"}, "parameter_invalid_integer",
     "unit_amount"),
])
def test_parameters_are_checked(fake, path, params, code, param):
    status, _, body = call(fake, "POST", path, params)
    error = json.loads(body)["error"]
    assert (status, error["type"], error.get("code")) == (400, "invalid_request_error", code)
    assert error["param"] == param and error["message"]


def test_a_missing_object_is_404(fake):
    with pytest.raises(stripe.error.InvalidRequestError) as caught:
        stripe.Subscription.retrieve("sub_none")
    assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")
    status, _, body = call(fake, "GET", "/v1/nonsense")
    assert status == 404 and "Unrecognized request URL" in json.loads(body)["error"]["message"]


def test_a_body_that_is_not_a_form_is_refused(fake):
    status, _, body = call(fake, "POST", "/v1/customers", {"a": "b"},
                           {"Content-Type": "application/json"})
    assert status == 400 and "application/x-www-form-urlencoded" in json.loads(body)["error"]["message"]


# Idempotency.

def test_an_idempotency_key_repeats_its_first_answer(fake):
    key = {"idempotency_key": f"again-{fake.now()}"}
    first = stripe.Customer.create(email="once@example.com", **key)
    again = stripe.Customer.create(email="once@example.com", **key)
    assert again.id == first.id
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    with pytest.raises(stripe.error.IdempotencyError):
        stripe.Customer.create(email="other@example.com", **key)
    fake.advance(hours=25)
    assert stripe.Customer.create(email="once@example.com", **key).id != first.id


def test_a_call_that_was_not_started_keeps_no_answer(fake):
    key = {"idempotency_key": f"began-{fake.now()}"}
    with pytest.raises(stripe.error.InvalidRequestError):
        stripe.Customer.create(nonsense="x", **key)
    assert stripe.Customer.create(email="x@example.com", **key).email == "x@example.com"


# Versions.

def test_the_version_decides_where_the_period_and_the_subscription_are(fake, customer):
    made = stripe.Subscription.create(customer=customer.id, items=[{"price": "price_pro"}])
    item = made["items"].data[0]
    assert "current_period_end" not in made and item.current_period_end > made.created
    old = stripe.Subscription.retrieve(made.id, stripe_version=OLD, expand=["latest_invoice"])
    assert old.current_period_end == item.current_period_end
    assert "current_period_end" not in old["items"].data[0]
    assert old.latest_invoice.subscription == made.id and "parent" not in old.latest_invoice
    new = stripe.Invoice.retrieve(made.latest_invoice)
    assert new.parent.subscription_details.subscription == made.id and "subscription" not in new
    head = call(fake, "GET", "/v1/customers", headers={"Stripe-Version": OLD})[1]
    assert head["Stripe-Version"] == OLD


# Checkout.

def test_the_page_pays_and_leads_back(fake):
    session = new_session(client_reference_id="ref_1", metadata={"tier": "pro"},
                          subscription_data={"metadata": {"tier": "pro"}})
    assert (session.status, session.payment_status) == ("open", "unpaid")
    page = urllib.request.urlopen(session.url).read().decode()
    assert "<button" in page and ">Pay<" in page and 'href="http://shop.test/pricing"' in page
    path = session.url[len(fake.url):]
    status, head, _ = call(fake, "POST", path, {"email": "grace@example.com"})
    assert (status, head["Location"]) == (303, f"http://shop.test/done?session_id={session.id}")
    done = stripe.checkout.Session.retrieve(session.id,
                                            expand=["subscription", "customer", "line_items"])
    assert (done.status, done.payment_status) == ("complete", "paid")
    assert done.customer.email == done.customer_details.email == "grace@example.com"
    assert done.subscription.status == "active" and done.subscription.metadata.tier == "pro"
    assert done.line_items.data[0].price.id == "price_pro"
    assert call(fake, "GET", path)[0] == 303, "a page that is shown again leads on"
    assert done.client_reference_id == "ref_1"


def test_a_trial_needs_no_payment(fake):
    session = new_session(subscription_data={"trial_period_days": 7})
    fake.pay(session.id)
    done = stripe.checkout.Session.retrieve(session.id, expand=["subscription"])
    assert (done.payment_status, done.subscription.status) == ("no_payment_required", "trialing")


def test_a_declined_card_leaves_the_session_open(fake, customer):
    fake.payments(customer.id, "fails", 1)
    session = new_session(customer=customer.id)
    status, _, page = call(fake, "POST", session.url[len(fake.url):], {})
    assert status == 402 and b"declined" in page
    assert stripe.checkout.Session.retrieve(session.id).status == "open"
    assert call(fake, "POST", session.url[len(fake.url):], {})[0] == 303


def test_only_licensed_prices_have_a_quantity(fake):
    with pytest.raises(stripe.error.InvalidRequestError, match="metered"):
        new_session(line_items=[{"price": "price_use", "quantity": 1}])
    with pytest.raises(stripe.error.InvalidRequestError, match="Quantity is required"):
        new_session(line_items=[{"price": "price_pro"}])
    both = new_session(line_items=[{"price": "price_pro", "quantity": 1}, {"price": "price_use"}])
    assert both.amount_total == 2000


def test_the_newest_version_has_no_payment_method_types(fake):
    with pytest.raises(stripe.error.InvalidRequestError) as caught:
        new_session(payment_method_types=["card"])
    assert caught.value.code == "parameter_unknown"
    assert new_session(payment_method_types=["card"], stripe_version=OLD).url


def test_a_session_expires(fake):
    asked, late = new_session(), new_session()
    assert stripe.checkout.Session.expire(asked.id).status == "expired"
    fake.advance(hours=25)
    assert stripe.checkout.Session.retrieve(late.id).status == "expired"
    assert call(fake, "GET", late.url[len(fake.url):])[0] == 410


def test_a_pending_payment_ends_later(fake):
    for has_succeeded, status in ((True, "paid"), (False, "unpaid")):
        session = new_session()
        fake.pay(session.id, **{"async": True})
        pending = stripe.checkout.Session.retrieve(session.id, expand=["subscription"])
        assert (pending.status, pending.payment_status) == ("complete", "unpaid")
        assert pending.subscription.status == "incomplete"
        fake.end_async(session.id, has_succeeded)
        assert stripe.checkout.Session.retrieve(session.id).payment_status == status


def test_the_portal_cancels_and_leads_back(fake, customer):
    sub = stripe.Subscription.create(customer=customer.id, items=[{"price": "price_pro"}])
    portal = stripe.billing_portal.Session.create(customer=customer.id,
                                                  return_url="http://shop.test/back")
    path = portal.url[len(fake.url):]
    page = call(fake, "GET", path)[2].decode()
    assert 'href="http://shop.test/back"' in page and sub.id in page
    assert call(fake, "POST", path, {"subscription": sub.id, "do": "cancel"})[0] == 303
    assert stripe.Subscription.retrieve(sub.id).cancel_at_period_end
    fake.advance(minutes=6)
    assert call(fake, "GET", path)[0] == 410


# Entitlements.

def test_a_product_gives_its_features(fake, customer):
    fake.price("price_features", features=["export", "audit"])
    sub = stripe.Subscription.create(customer=customer.id, items=[{"price": "price_features"}])

    def keys():
        path = f"/v1/entitlements/active_entitlements?customer={customer.id}"
        return [row["lookup_key"] for row in json.loads(call(fake, "GET", path)[2])["data"]]
    assert keys() == ["export", "audit"]
    stripe.Subscription.cancel(sub.id)
    assert keys() == []
    told = stripe.Event.list(type="entitlements.active_entitlement_summary.updated", limit=2)
    assert [len(e.data.object.entitlements.data) for e in told] == [0, 2]
    assert len(told.data[0].data.previous_attributes["entitlements"].data) == 2
