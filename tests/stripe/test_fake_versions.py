# SPDX-License-Identifier: BSD-2-Clause
"""Each API version of the fake has the calls and parameters that Stripe's types of that version list, and no others."""
import pytest
import stripe

import accepted
import fake as _all_endpoints  # noqa: F401
from routes import TABLE

OLD, BASIL, ENDIVE = "2024-06-20", "2025-03-31.basil", "2026-10-28.endive"
ITEMS = [{"price": "price_pro", "quantity": 1}]
# These are in the specs of all lists, respectively of all calls.
COMMON = ("created", "expand")


def request(method, path, version, **params):
    """The code and message of the error, or (None, "")."""
    try:
        stripe.Customer._static_request(method, path, params=params, stripe_version=version)
    except stripe.error.InvalidRequestError as e:
        return e.code, str(e)
    return None, ""


@pytest.mark.parametrize("method, path, params, name, versions", [
    ("post", "/v1/checkout/sessions", {"payment_method_types": ["card"]}, "payment_method_types", (OLD, BASIL)),
    ("post", "/v1/customers", {"coupon": "nope"}, "coupon", (OLD,)),
    ("post", "/v1/subscriptions", {"coupon": "nope"}, "coupon", (OLD,)),
    ("post", "/v1/promotion_codes", {"coupon": "nope"}, "coupon", (OLD, BASIL)),
    ("post", "/v1/promotion_codes", {"promotion": {"type": "coupon", "coupon": "nope"}}, "promotion", (ENDIVE,)),
    ("post", "/v1/subscriptions", {"pay_now": "true"}, "pay_now", ()),
    ("delete", "/v1/coupons/none", {"expand": ["x"]}, "expand", ())])
@pytest.mark.usefixtures("fake")
def test_a_parameter_exists_in_some_versions(method, path, params, name, versions):
    for version in (OLD, BASIL, ENDIVE):
        code, message = request(method, path, version, **params)
        is_unknown = code == "parameter_unknown" and f"Received unknown parameter: {name}" in message
        assert is_unknown == (version not in versions), (version, code, message)


@pytest.mark.parametrize("method, path, versions", [
    ("post", "/v1/subscription_items/si_1/usage_records", (OLD,)),
    ("get", "/v1/subscription_items/si_1/usage_record_summaries", (OLD,)),
    ("get", "/v1/invoice_payments", (BASIL, ENDIVE)),
    ("post", "/v1/subscriptions/sub_1/pause", (ENDIVE,)),
    ("post", "/v1/subscriptions/sub_1/cancel", ())])
@pytest.mark.usefixtures("fake")
def test_a_call_exists_in_some_versions(method, path, versions):
    for version in (OLD, BASIL, ENDIVE):
        code, message = request(method, path, version)
        assert ("Unrecognized request URL" in message) == (version not in versions), (version, code, message)


@pytest.mark.usefixtures("fake")
def test_a_version_between_two_has_the_parameters_of_its_major():
    for version, is_known in (("2022-11-15", True), ("2025-09-30.clover", True), ("2026-09-30.endive", False)):
        code, _ = request("post", "/v1/checkout/sessions", version, payment_method_types=["card"])
        assert (code != "parameter_unknown") == is_known, version


@pytest.mark.usefixtures("fake")
def test_what_stripe_has_and_the_fake_has_not_is_never_ignored():
    code, message = request("post", "/v1/checkout/sessions", ENDIVE, mode="subscription", line_items=ITEMS,
                            shipping_options=[{"shipping_rate": "shr_1"}])
    assert code == "fake_parameter_missing" and "does not implement this parameter: shipping_options" in message
    code, message = request("post", "/v1/subscriptions", ENDIVE, items=[{"price_data": {"currency": "usd"}}])
    assert code == "fake_parameter_missing" and "items[0][price_data]" in message


def test_the_fake_has_no_parameter_that_stripe_has_not():
    def unknown(spec, names, path):
        for name, check in spec.items():
            if name not in names:
                if name not in COMMON:
                    yield f"{path} {name}"
                continue
            inner = accepted.inside(check)
            if inner is not None:
                yield from unknown(inner, names[name][1], f"{path} {name}")

    found = [problem for row in TABLE for problem in unknown(
        row.spec, accepted.CALLS[f"{row.method} {row.pattern}"][1], f"{row.method} {row.pattern}")]
    assert not found
