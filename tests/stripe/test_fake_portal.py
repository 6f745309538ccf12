# SPDX-License-Identifier: BSD-2-Clause
"""The billing portal of the fake: its configuration, its sessions, and the flows that customers confirm."""
import http.client
from urllib.parse import urlencode, urlsplit

import pytest
import stripe

from test_fake_life import Story

BACK = "https://example.com/back"
DISABLED = "the subscription update feature in the portal configuration is disabled"


@pytest.fixture
def plans(fake):
    fake.plans("price_pro", "price_max")
    yield
    fake.plans()


def subscribe(customer, *prices, **fields):
    return stripe.Subscription.create(customer=customer.id, items=[{"price": p} for p in prices or ("price_pro",)],
                                      **fields)


def confirm(sub, price="price_max", item=None, **row):
    """The flow that changes the subscription's item to a price."""
    rows = [{"id": item or sub["items"].data[0].id, **({"price": price} if price else {}), **row}]
    return {"type": "subscription_update_confirm",
            "subscription_update_confirm": {"subscription": sub.id, "items": rows},
            "after_completion": {"type": "redirect", "redirect": {"return_url": BACK}}}


def session(customer, flow=None, **fields):
    return stripe.billing_portal.Session.create(customer=customer.id, **({"flow_data": flow} if flow else {}), **fields)


def refused(customer, flow, words, param=None):
    with pytest.raises(stripe.error.InvalidRequestError) as caught:
        session(customer, flow)
    assert words in str(caught.value) and caught.value.http_status == 400
    if param:
        assert caught.value.param == param


def visit(url, **fields):
    """Gets the page, or posts its form."""
    at = urlsplit(url)
    connection = http.client.HTTPConnection(at.netloc, timeout=10)
    connection.request("POST" if fields else "GET", at.path, urlencode(fields) if fields else None)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.getheader("Location"), text


def test_a_confirmed_change_is_prorated_and_leads_back(plans, customer):
    sub, story = subscribe(customer), Story(customer)
    made = session(customer, confirm(sub), return_url="https://example.com/cancel")
    assert made.flow.subscription_update_confirm["items"][0].price == "price_max"
    assert story.told()[0] == ["billing_portal.session.created"]
    status, _, page = visit(made.url)
    assert status == 200 and "price_max"[6:] in page and "https://example.com/cancel" in page
    assert stripe.Subscription.retrieve(sub.id)["items"].data[0].price.id == "price_pro", "nothing happens before"
    assert visit(made.url, do="confirm")[:2] == (303, BACK)
    types, events = story.told()
    assert types == ["invoiceitem.created", "invoiceitem.created", "invoice.created", "invoice.finalized",
                     "charge.succeeded", "invoice.paid", "invoice.payment_succeeded", "customer.subscription.updated"]
    changed = events[-1].data
    assert changed.previous_attributes["items"].data[0].price.id == "price_pro"
    assert changed.object["items"].data[0].price.id == "price_max"
    invoice = stripe.Invoice.retrieve(changed.object.latest_invoice)
    assert invoice.billing_reason == "subscription_update" and 2990 <= invoice.amount_paid <= 3000
    credit, charge = invoice.lines.data
    assert -2000 <= credit.amount < -1990 and 4990 < charge.amount <= 5000
    assert "Unused time on" in credit.description and "Remaining time on" in charge.description
    assert credit.parent.subscription_item_details.proration


def test_without_an_own_invoice_the_next_one_has_the_proration(fake, plans, customer):
    fake.plans("price_pro", "price_max", proration_behavior="create_prorations")
    sub = subscribe(customer)
    before = sub.latest_invoice
    assert fake.confirm(session(customer, confirm(sub)).url)["url"] == BACK
    assert stripe.Subscription.retrieve(sub.id).latest_invoice == before
    assert {i.invoice for i in stripe.InvoiceItem.list(customer=customer.id).data} == {None}
    fake.renew(sub.id)
    after = stripe.Invoice.retrieve(stripe.Subscription.retrieve(sub.id).latest_invoice)
    assert 7990 < after.amount_paid <= 8000
    assert {i.invoice for i in stripe.InvoiceItem.list(customer=customer.id).data} == {after.id}


def test_a_downgrade_becomes_a_credit(fake, plans, customer):
    sub = subscribe(customer, "price_max")
    fake.confirm(session(customer, confirm(sub, "price_pro")).id)
    invoice = stripe.Invoice.retrieve(stripe.Subscription.retrieve(sub.id).latest_invoice)
    assert invoice.status == "paid" and invoice.amount_due == 0 and -3000 <= invoice.total < -2990
    assert stripe.Customer.retrieve(customer.id).balance == invoice.total == invoice.ending_balance
    fake.renew(sub.id)
    assert stripe.Customer.retrieve(customer.id).balance == invoice.total + 2000, "the next invoice uses it"


def test_another_interval_credits_what_was_paid_and_charges_in_full(fake, customer):
    fake.plans("price_pro", "price_daily")
    sub = subscribe(customer, "price_daily")
    fake.confirm(session(customer, confirm(sub, "price_pro")).id)
    invoice = stripe.Invoice.retrieve(stripe.Subscription.retrieve(sub.id).latest_invoice)
    assert 1900 <= invoice.amount_paid < 1910
    fake.plans()


def test_a_declined_card_changes_nothing(fake, plans, customer):
    sub = subscribe(customer)
    fake.payments(customer.id, "fails")
    made = session(customer, confirm(sub))
    status, _, page = visit(made.url, do="confirm")
    assert status == 402 and "declined" in page
    after = stripe.Subscription.retrieve(sub.id)
    assert after["items"].data[0].price.id == "price_pro" and after.status == "active"
    fake.payments(customer.id, None)
    assert visit(made.url, do="confirm")[0] == 303, "and it can be tried again"


def test_a_flow_is_done_once(plans, customer):
    sub = subscribe(customer)
    made = session(customer, {**confirm(sub), "after_completion": {"type": "portal_homepage"}})
    assert visit(made.url, do="confirm")[:2] == (303, urlsplit(made.url).path)
    assert "Keep" in visit(made.url)[2] or "Cancel at" in visit(made.url)[2], "the portal's own page"


def test_a_customer_chooses_a_plan(fake, plans, customer):
    sub = subscribe(customer)
    flow = {"type": "subscription_update", "subscription_update": {"subscription": sub.id},
            "after_completion": {"type": "hosted_confirmation", "hosted_confirmation": {"custom_message": "Enjoy!"}}}
    made = session(customer, flow)
    assert 'value="price_max"' in visit(made.url)[2] and 'value="price_pro"' not in visit(made.url)[2]
    assert visit(made.url, price="price_daily")[0] == 402, "it is not on offer"
    status, _, page = visit(made.url, price="price_max")
    assert status == 200 and "Enjoy!" in page
    assert stripe.Subscription.retrieve(sub.id)["items"].data[0].price.id == "price_max"


def test_a_customer_cancels(customer):
    sub = subscribe(customer)
    flow = {"type": "subscription_cancel", "subscription_cancel": {"subscription": sub.id}}
    made = session(customer, flow)
    visit(made.url, do="confirm")
    after = stripe.Subscription.retrieve(sub.id)
    assert after.cancel_at_period_end and after.status == "active"
    refused(customer, flow, "already set to be canceled at period end")


def test_a_new_card_pays_again(fake, customer):
    fake.payments(customer.id, "fails")
    sub = subscribe(customer)
    assert sub.status == "incomplete"
    made = session(customer, {"type": "payment_method_update"})
    visit(made.url, card="succeeds")
    stripe.Invoice.pay(sub.latest_invoice)
    assert stripe.Subscription.retrieve(sub.id).status == "active"
    assert stripe.Customer.retrieve(customer.id).invoice_settings.default_payment_method


def test_updates_must_be_enabled_for_the_price(fake, customer):
    sub = subscribe(customer)
    refused(customer, confirm(sub), DISABLED)
    refused(customer, {"type": "subscription_update", "subscription_update": {"subscription": sub.id}}, DISABLED)
    fake.plans("price_pro")
    refused(customer, confirm(sub), "is not among the prices")
    fake.plans("price_pro", "price_max", default_allowed_updates=["quantity"])
    refused(customer, confirm(sub), "does not allow customers to change the price")
    fake.plans("price_pro", "price_max", default_allowed_updates=["price"])
    refused(customer, confirm(sub, None, quantity=2), "does not allow customers to change the quantity")
    fake.plans()


def test_the_subscription_must_be_the_customers_own_and_alive(fake, plans, customer):
    sub = subscribe(customer)
    other = stripe.Customer.create()
    theirs = subscribe(other)
    where = "flow_data[subscription_update_confirm]"
    refused(customer, confirm(theirs), "No such subscription", f"{where}[subscription]")
    refused(customer, confirm(sub, item=theirs["items"].data[0].id), "No such subscription item",
            f"{where}[items][0][id]")
    refused(customer, confirm(sub, "price_pro"), "no changes to confirm")
    stripe.Subscription.delete(sub.id)
    refused(customer, confirm(sub), "because it is canceled")
    stripe.Customer.delete(other.id)


@pytest.mark.parametrize("prices, fields, why", [
    (("price_pro", "price_max"), {}, "multiple items"),
    (("price_use",), {}, "usage-based"),
    (("price_pro",), {"collection_method": "send_invoice", "days_until_due": 3}, "sent to the customer"),
    (("price_pro",), {"cancel_at_period_end": True}, "set to be canceled")])
def test_some_subscriptions_cannot_be_changed(plans, customer, prices, fields, why):
    refused(customer, confirm(subscribe(customer, *prices, **fields)), why)


def test_flow_data_is_checked(plans, customer):
    sub = subscribe(customer)
    good = confirm(sub)
    detail = good["subscription_update_confirm"]
    refused(customer, {**good, "type": "subscription_update"}, "You may only specify")
    refused(customer, {"type": "subscription_update_confirm"}, "Missing required param")
    refused(customer, {**good, "subscription_update_confirm": {**detail, "items": detail["items"] * 2}}, "exactly one")
    refused(customer, {**good, "after_completion": {"type": "redirect"}}, "Missing required param",
            "flow_data[after_completion][redirect]")
    refused(customer, {**good, "after_completion": {"type": "redirect", "redirect": {"return_url": "x"}}}, "valid URL")
    refused(customer, {**good, "type": "upgrade"}, "must be one of")
    refused(customer, {**good, "colour": "red"}, "unknown parameter", "flow_data[colour]")


def test_configurations_are_checked(customer):
    product = stripe.Price.retrieve("price_pro").product
    update = {"enabled": True, "default_allowed_updates": ["price"],
              "products": [{"product": product, "prices": ["price_max"]}]}
    features = {"payment_method_update": {"enabled": True}, "subscription_update": update}
    with pytest.raises(stripe.error.InvalidRequestError, match="does not belong"):
        stripe.billing_portal.Configuration.create(features=features)
    update["products"][0]["prices"] = ["price_pro"]
    with pytest.raises(stripe.error.InvalidRequestError, match="while payment method update is disabled"):
        stripe.billing_portal.Configuration.create(features={**features,
                                                             "payment_method_update": {"enabled": False}})
    made = stripe.billing_portal.Configuration.create(features=features, business_profile={"headline": "Hi"})
    assert not made.is_default and made.features.subscription_update.proration_behavior == "none"
    # Stripe leaves the products out unless they are expanded.
    assert "products" not in made.features.subscription_update
    path = "features.subscription_update.products"
    for shown in (stripe.billing_portal.Configuration.retrieve(made.id, expand=[path]),
                  stripe.billing_portal.Configuration.list(is_default=False, expand=[f"data.{path}"]).data[0]):
        assert [row.prices for row in shown.features.subscription_update.products] == [["price_pro"]]
    sub = subscribe(customer, "price_max")
    other = session(customer, confirm(sub, "price_pro"), configuration=made.id)
    assert other.configuration == made.id
    stripe.billing_portal.Configuration.modify(made.id, active=False)
    with pytest.raises(stripe.error.InvalidRequestError, match="not active"):
        session(customer, configuration=made.id)
