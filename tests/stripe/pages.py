# SPDX-License-Identifier: BSD-2-Clause
"""pages: Stripe's pages for customers: the checkout page and the billing portal.

Plain HTML forms; nothing needs a script.
"""
import html
from urllib.parse import quote

import checkout
import form
import portal
import subscription
from errors import ApiError
from server import Answer
from subscription_api import plan_cancellation

STYLE = ("body{font:16px/1.5 sans-serif;max-width:32em;margin:4em auto;padding:0 1em}"
         "button{font:inherit;padding:.5em 2em}input{font:inherit;padding:.3em;width:20em}"
         ".error{color:#b00}")


def show(status, title, body):
    text_ = (f"<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{html.escape(title)}</title>"
             f"<style>{STYLE}</style></head><body><h1>{html.escape(title)}</h1>{body}</body></html>")
    return Answer(status, text_, {"Cache-Control": "no-store"}, "text/html; charset=utf-8")


def see_other(url):
    return Answer(303, b"", {"Location": url}, "text/plain")


def money(amount, currency):
    return f"{amount / 100:.2f} {currency.upper()}"


def handle(world, request):
    with world.lock:
        parts = request.path.strip("/").split("/")
        if parts[:2] == ["c", "pay"] and len(parts) == 3:
            with world.acting(parts[2]):
                return pay_page(world, request, world.sessions.find(parts[2]))
        if parts[:2] == ["p", "session"] and len(parts) == 3:
            session = world.portals.find(parts[2])
            with world.acting(session and session["id"]):
                return portal_page(world, request, session)
        return show(404, "Nothing here", "")


def success_url(session):
    """The session's success_url, with {CHECKOUT_SESSION_ID} replaced."""
    return session["success_url"].replace("{CHECKOUT_SESSION_ID}", quote(session["id"]))


def pay_page(world, request, session):
    if session is None:
        return show(404, "No such session", "")
    if session["status"] == "complete":
        return see_other(success_url(session))
    if session["status"] != "open":
        return show(410, "This page has expired", "")
    problem = ""
    if request.method == "POST":
        fields = dict(form.pairs(request.body.decode()))
        try:
            if fields.get("code"):
                checkout.enter_code(world, session, fields["code"])
            checkout.complete(world, session, fields.get("email"))
            return see_other(success_url(session))
        except ApiError as e:
            problem = f"<p class=\"error\" role=\"alert\">{html.escape(str(e))}</p>"
    lines = "".join(f"<li>{html.escape(str(world.products.get(line['price']['product'])['name']))}: "
                    f"{money(line['amount_total'], line['currency'])}</li>"
                    for line in session["_line_items"])
    email = "" if session["customer"] else (
        "<p><label>Email <input name=\"email\" type=\"email\" "
        f"value=\"{html.escape(session['customer_email'] or 'buyer@example.com')}\"></label></p>")
    if session["allow_promotion_codes"]:
        email += "<p><label>Promotion code <input name=\"code\"></label></p>"
    cancel = session["cancel_url"] and (
        f"<p><a id=\"cancel\" href=\"{html.escape(session['cancel_url'])}\">Cancel</a></p>") or ""
    body = (f"{problem}<p>A fake of Stripe Checkout: no money moves.</p><ul>{lines}</ul>"
            f"<p>Due today: {money(session['amount_total'], session['currency'])}</p>"
            f"<form method=\"post\" action=\"/c/pay/{session['id']}\">{email}"
            f"<button id=\"pay\" type=\"submit\">Pay</button></form>{cancel}")
    return show(402 if problem else 200, "Checkout", body)


def portal_page(world, request, session):
    if session is None or world.now() - session["created"] > 300:
        return show(410, "This page has expired", "")
    if not session["_is_done"]:
        return flow_page(world, request, session)
    customer = world.customers.get(session["customer"])
    mine = [world.subscriptions.get(name) for name in customer["_subs"]]
    if request.method == "POST":
        fields = dict(form.pairs(request.body.decode()))
        for sub in mine:
            if sub["id"] == fields.get("subscription") and sub["status"] not in subscription.ENDED:
                with subscription.updating(world, sub):
                    plan_cancellation(world, sub, fields.get("do") == "cancel")
        return see_other(request.path)
    rows = "".join(portal_row(request, sub) for sub in mine)
    return show(200, "Billing", f"<p>A fake of Stripe's billing portal.</p><ul>{rows}</ul>{way_back(session)}")


def way_back(session):
    return session["return_url"] and (
        f"<p><a id=\"return\" href=\"{html.escape(session['return_url'])}\">Return</a></p>") or ""


def portal_row(request, sub):
    shown = f"{sub['id']}: {sub['status']}"
    if sub["status"] in subscription.ENDED:
        return f"<li>{shown}</li>"
    do, label = ("keep", "Keep") if sub["cancel_at_period_end"] else ("cancel",
                                                                      "Cancel at the period's end")
    return (f"<li>{shown}<form method=\"post\" action=\"{request.path}\"><input type=\"hidden\" "
            f"name=\"subscription\" value=\"{sub['id']}\"><button name=\"do\" value=\"{do}\" "
            f"type=\"submit\">{label}</button></form></li>")


def flow_page(world, request, session):
    """The page on which a customer confirms the action that a flow is for."""
    problem = ""
    if request.method == "POST":
        try:
            portal.complete(world, session, dict(form.pairs(request.body.decode())))
            return after_flow(request, session)
        except (ApiError, ValueError) as e:
            problem = f"<p class=\"error\" role=\"alert\">{html.escape(str(e))}</p>"
    title, inside = flow_form(world, session)
    body = (f"{problem}<p>A fake of Stripe's billing portal.</p><form method=\"post\" action=\"{request.path}\">"
            f"{inside}<button id=\"confirm\" type=\"submit\">Confirm</button></form>{way_back(session)}")
    return show(402 if problem else 200, title, body)


def after_flow(request, session):
    after = session["flow"]["after_completion"]
    if after["type"] == "redirect":
        return see_other(after["redirect"]["return_url"])
    if after["type"] == "hosted_confirmation":
        words = after["hosted_confirmation"]["custom_message"] or "Your changes are saved."
        return show(200, "Thank you", f"<p>{html.escape(words)}</p>")
    return see_other(request.path)


def flow_form(world, session):
    """(title, what is inside the form)"""
    flow = session["flow"]
    if flow["type"] == "payment_method_update":
        return "Add a payment method", "<input type=\"hidden\" name=\"card\" value=\"succeeds\">"
    if flow["type"] == "subscription_cancel":
        offer = flow["subscription_cancel"]["retention"]
        keep = "<button name=\"do\" value=\"accept\" type=\"submit\">Stay, with a discount</button>" if offer else ""
        return "Cancel your plan", f"<p>{flow['subscription_cancel']['subscription']}</p>{keep}"
    if flow["type"] == "subscription_update_confirm":
        row = flow["subscription_update_confirm"]["items"][0]
        return "Confirm your update", f"<p>{plan_name(world, row['price'])}, quantity {row['quantity']}</p>"
    allowed = world.portal_configurations.get(session["configuration"])
    now = portal.subscription_of(world, session)["items"]["data"][0]["price"]["id"]
    choices = "".join(f"<label><input type=\"radio\" name=\"price\" value=\"{name}\">{plan_name(world, name)}</label>"
                      for name in portal.offers(world, allowed) if name != now)
    return "Update your plan", choices


def plan_name(world, name):
    price = world.prices.get(name)
    amount = money(price["unit_amount"], price["currency"]) if price["unit_amount"] is not None else ""
    return html.escape(f"{world.products.get(price['product'])['name']} {amount} per {price['recurring']['interval']}")
