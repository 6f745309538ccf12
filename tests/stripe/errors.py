# SPDX-License-Identifier: BSD-2-Clause
"""errors: errors of calls, with the texts and codes of Stripe's API."""


class ApiError(Exception):
    """An error, answered as {"error": {...}}.

    @kept: whether the answer is kept under the call's idempotency key. It is not for a call that
    never began: wrong parameters, no such path, too many calls.
    """

    def __init__(self, status, message, code=None, param=None, type="invalid_request_error",
                 headers=(), kept=True, more=None):
        super().__init__(message)
        self.status = status
        self.headers = dict(headers)
        self.kept = kept
        self.body = {"type": type, "message": message}
        if code:
            self.body["code"] = code
            self.body["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
        if param:
            self.body["param"] = param
        self.body.update(more or {})


def invalid(message, param=None, code=None):
    """The parameters are not valid, so the call was not started."""
    return ApiError(400, message, code=code, param=param, kept=False)


def refused(message, param=None, code=None, status=400):
    """The call was started but could not be completed."""
    return ApiError(status, message, code=code, param=param)


def missing(kind, name, param="id"):
    return ApiError(404, f"No such {kind}: '{name}'", code="resource_missing", param=param)


def declined():
    return ApiError(402, "Your card was declined.", code="card_declined", type="card_error",
                    more={"decline_code": "generic_decline"})
