# SPDX-License-Identifier: BSD-2-Clause
"""pages: Stripe's pages for customers. This file has the checkout page, portal.py the billing portal.

Plain HTML forms; nothing needs a script.
"""
import html
from urllib.parse import quote

import checkout
import form
from errors import ApiError
from portal import portal_page, see_other
from server import Answer

STYLE = ("body{font:16px/1.5 sans-serif;max-width:32em;margin:4em auto;padding:0 1em}"
         "button{font:inherit;padding:.5em 2em}input{font:inherit;padding:.3em;width:20em}"
         ".error{color:#b00}")


def show(status, title, body):
    text_ = (f"<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{html.escape(title)}</title>"
             f"<style>{STYLE}</style></head><body><h1>{html.escape(title)}</h1>{body}</body></html>")
    return Answer(status, text_, {"Cache-Control": "no-store"}, "text/html; charset=utf-8")


def money(amount, currency):
    return f"{amount / 100:.2f} {currency.upper()}"


def handle(world, request):
    with world.lock:
        parts = request.path.strip("/").split("/")
        if parts[:2] == ["c", "pay"] and len(parts) == 3:
            return pay_page(world, request, world.sessions.find(parts[2]))
        if parts[:2] == ["p", "session"] and len(parts) == 3:
            return portal_page(world, request, world.portals.find(parts[2]))
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
    cancel = session["cancel_url"] and (
        f"<p><a id=\"cancel\" href=\"{html.escape(session['cancel_url'])}\">Cancel</a></p>") or ""
    body = (f"{problem}<p>A fake of Stripe Checkout: no money moves.</p><ul>{lines}</ul>"
            f"<p>Due today: {money(session['amount_total'], session['currency'])}</p>"
            f"<form method=\"post\" action=\"/c/pay/{session['id']}\">{email}"
            f"<button id=\"pay\" type=\"submit\">Pay</button></form>{cancel}")
    return show(402 if problem else 200, "Checkout", body)
