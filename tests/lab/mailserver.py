# SPDX-License-Identifier: BSD-2-Clause
"""mailserver: an SMTP server for tests, with STARTTLS and AUTH, that keeps the mails it gets.

test_notices.py checks it with Python's own smtplib."""
import base64
import email
import socketserver
import ssl
import threading


class Session(socketserver.StreamRequestHandler):
    def say(self, line):
        self.wfile.write(line.encode() + b"\r\n")

    def hear(self):
        return self.rfile.readline(4096).decode("ascii", "replace").rstrip("\r\n")

    def handle(self):
        self.is_tls = self.is_known = False
        self.recipients = []
        self.say("220 test ESMTP")
        try:
            while True:
                line = self.hear()
                word = line.split(" ", 1)[0].upper()
                if not word or not self.obey(word, line):
                    return
        except (ConnectionError, ssl.SSLError):
            pass

    def obey(self, word, line):
        handler = getattr(self, "on_" + word.lower(), None)
        if handler is None:
            self.say("502 no such command")
            return True
        return handler(line) is not False

    def on_ehlo(self, _):
        offers = ["test"]
        if self.server.tls and not self.is_tls:
            offers.append("STARTTLS")
        if self.server.password and (self.is_tls or not self.server.tls):
            offers.append("AUTH PLAIN LOGIN")
        for offer in offers[:-1]:
            self.say("250-" + offer)
        self.say("250 " + offers[-1])

    def on_helo(self, _):
        self.say("250 test")

    def on_starttls(self, _):
        self.say("220 go")
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.is_tls = True

    def on_auth(self, line):
        words = line.split()
        if words[1].upper() == "PLAIN":
            if len(words) < 3:
                self.say("334 ")
                words.append(self.hear())
            _, user, password = base64.b64decode(words[2]).decode().split("\0")
        else:
            self.say("334 VXNlcm5hbWU6")
            user = base64.b64decode(self.hear()).decode()
            self.say("334 UGFzc3dvcmQ6")
            password = base64.b64decode(self.hear()).decode()
        self.is_known = (user, password) == (self.server.user, self.server.password)
        self.say("235 welcome" if self.is_known else "535 wrong user or password")

    def on_mail(self, line):
        if self.server.password and not self.is_known:
            self.say("530 log in first")
        else:
            self.sender = line.split(":", 1)[1]
            self.recipients = []
            self.say("250 ok")

    def on_rcpt(self, line):
        code = self.server.refusals.pop(0) if self.server.refusals else None
        if code:
            self.say(f"{code} refused")
        else:
            self.recipients.append(line.split(":", 1)[1].split(">")[0].lstrip(" <"))
            self.say("250 ok")

    def on_data(self, _):
        self.say("354 go on")
        lines = []
        while (line := self.rfile.readline(2000)) not in (b".\r\n", b""):
            assert line.endswith(b"\r\n") and len(line) <= 1000
            lines.append(line[1:] if line.startswith(b".") else line)
        self.server.take(self, b"".join(lines))
        self.say("250 taken")

    def on_rset(self, _):
        self.say("250 ok")

    def on_quit(self, _):
        self.say("221 bye")
        return False


class MailServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

    def __init__(self, tls=None, user="tollgate", password=None, port=0):
        super().__init__(("127.0.0.1", port), Session)
        self.tls, self.user, self.password = tls, user, password
        self.refusals = []  # status codes for the next recipients; None: accept
        self.mails = []
        self.port = self.server_address[1]
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def take(self, session, data):
        message = email.message_from_bytes(data)
        message.recipients = session.recipients
        message.is_tls, message.is_known = session.is_tls, session.is_known
        self.mails.append(message)

    def close(self):
        self.shutdown()
        self.server_close()
        self.thread.join()
