# SPDX-License-Identifier: BSD-2-Clause
"""shopper: a minimal browser: it keeps cookies and fills in forms, but does not follow redirects."""
import html
import http.client
import json
import re
from urllib.parse import urlencode, urlsplit

FROM_A_BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"


class Page:
    def __init__(self, answer):
        self.status = answer.status
        self.headers = answer.getheaders()
        self.text = answer.read().decode()

    def get(self, name):
        found = [v for n, v in self.headers if n.lower() == name.lower()]
        return found[0] if found else None

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def json(self):
        return json.loads(self.text)

    def forms(self):
        """The forms of the page, as [(action, {name: value})]. Boxes are not checked."""
        found = []
        for action, inside in re.findall(r'<form method="post" action="([^"]*)">(.*?)</form>', self.text, re.S):
            inside = re.sub(r'<input type="checkbox"[^>]*>', "", inside)
            fields = re.findall(r'name="([^"]*)"[^>]*?value="([^"]*)"', inside)
            found.append((html.unescape(action), {n: html.unescape(v) for n, v in fields}))
        return found

    def form(self, ending, **fields):
        """The first form whose action ends with @ending and that has these fields."""
        for action, own in self.forms():
            if action.endswith(ending) and all(own.get(n) == v for n, v in fields.items()):
                return action, own
        raise AssertionError(f"no form {ending} {fields}: {self.text}")

    def key(self):
        """The API key that the page shows, or None."""
        found = re.search(r'<code class="key" id="key">([^<]*)</code>', self.text)
        return found[1] if found else None


class Shopper:
    def __init__(self, agent):
        self.address = agent.address
        self.cookies = {}  # (name, path): value

    def ask(self, method, target, body=None, **headers):
        headers = {n.replace("_", "-"): v for n, v in headers.items() if v is not None}
        headers.setdefault("Accept", FROM_A_BROWSER)
        path = target.split("?")[0]
        sent = [f"{n}={v}" for (n, under), v in self.cookies.items()
                if path == under or path.startswith(under + "/")]
        if sent and "Cookie" not in headers:
            headers["Cookie"] = "; ".join(sent)
        connection = http.client.HTTPConnection(*self.address, timeout=20)
        connection.request(method, target, body, headers)
        page = Page(connection.getresponse())
        connection.close()
        self.keep(page)
        return page

    def keep(self, page):
        for cookie in page.all("Set-Cookie"):
            pair, *attributes = cookie.split("; ")
            name, value = pair.split("=", 1)
            attributes = dict(a.partition("=")[::2] for a in attributes)
            if attributes["Max-Age"] == "0":
                self.cookies.pop((name, attributes["Path"]), None)
            else:
                self.cookies[name, attributes["Path"]] = value

    def get(self, target, **headers):
        return self.ask("GET", target, **headers)

    def post(self, target, fields=None, **headers):
        headers.setdefault("Content_Type", "application/x-www-form-urlencoded")
        return self.ask("POST", target, urlencode(fields or {}), **headers)

    def submit(self, page, ending, values=None, **fields):
        action, own = page.form(ending, **fields)
        return self.post(action, {**own, **(values or {})})

    # What customers do.

    def buy(self, tier="basic"):
        """Starts a checkout; returns the ID of its session."""
        page = self.submit(self.get("/pricing"), "/checkout", tier=tier)
        assert page.status == 303, page.text
        return urlsplit(page.get("Location")).path.rsplit("/", 1)[1]

    def arrive(self, session):
        return self.get(f"/dashboard?session_id={session}")

    def claim(self, session):
        return self.submit(self.arrive(session), "/claim")

    def sign_in(self, key):
        return self.post("/dashboard/sign-in", {"key": key})
