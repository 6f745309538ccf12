# SPDX-License-Identifier: BSD-2-Clause
"""Charges, refunds and disputes; live mode; test clocks."""
import pytest
import stripe


def paid(fake, **fields):
    """A subscription, and the charge that paid its first invoice."""
    fake.price("price_basic", unit_amount=2000)
    customer = stripe.Customer.create(**fields)
    sub = stripe.Subscription.create(customer=customer.id, items=[{"price": "price_basic"}])
    (charge,) = stripe.Charge.list(customer=customer.id).data
    return sub, charge


@pytest.mark.parametrize("version", ["2022-11-15", "2026-10-28.endive"])
def test_a_charge_leads_to_its_invoice(fake, version):
    sub, charge = paid(fake)
    charge = stripe.Charge.retrieve(charge.id, stripe_version=version)
    assert (charge.amount, charge.refunded, charge.disputed) == (2000, False, False)
    if version < "2025-03-31":
        assert charge.invoice == sub.latest_invoice
    else:
        assert "invoice" not in charge


def test_a_refund_in_parts_is_complete_in_the_end(fake):
    _, charge = paid(fake)
    stripe.Refund.create(charge=charge.id, amount=500)
    part = stripe.Charge.retrieve(charge.id)
    assert (part.amount_refunded, part.refunded) == (500, False)
    rest = stripe.Refund.create(charge=charge.id)
    assert rest.amount == 1500 and stripe.Charge.retrieve(charge.id).refunded
    with pytest.raises(stripe.error.InvalidRequestError):
        stripe.Refund.create(charge=charge.id, amount=1)
    fake.fail_refund(rest.id)
    assert not stripe.Charge.retrieve(charge.id).refunded
    assert stripe.Refund.retrieve(rest.id).status == "failed"


@pytest.mark.usefixtures("endpoint")
def test_a_dispute_has_states_and_events(fake, receiver):
    _, charge = paid(fake)
    inquiry = fake.dispute(charge.id, "warning_needs_response")
    fake.move_dispute(inquiry["id"], "warning_closed")
    dispute = fake.dispute(charge.id)
    fake.move_dispute(dispute["id"], "under_review")
    fake.move_dispute(dispute["id"], "won")
    fake.settle()
    assert [t for t in receiver.types() if "dispute" in t] == [
        "charge.dispute." + word for word in (
            "created", "updated", "closed", "created", "funds_withdrawn", "updated", "updated",
            "funds_reinstated", "closed")]
    assert [d.status for d in stripe.Dispute.list(charge=charge.id)] == ["won", "warning_closed"]
    assert stripe.Charge.retrieve(charge.id).disputed


@pytest.mark.usefixtures("endpoint")
def test_all_objects_are_of_the_mode_of_the_account(fake, receiver):
    fake.settings(livemode=True)
    sub, charge = paid(fake)
    fake.settle()
    assert sub.livemode and charge.livemode
    assert all(event["livemode"] and event["data"]["object"].get("livemode", True)
               for event in receiver.events())
