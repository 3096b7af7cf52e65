# SPDX-License-Identifier: Apache-2.0
"""An SMTP client that says exactly what it is told, byte by byte; smtplib is too kind."""
import os
import re
import socket
import ssl

SLOW = float(os.environ.get("SLOW", "1"))


class Reply:
    def __init__(self, lines):
        self.lines = lines
        self.code = int(lines[-1][:3])
        self.text = "\n".join(l[4:] for l in lines)
        match = re.match(r"(\d\.\d{1,3}\.\d{1,3})\b", self.text)
        self.enhanced = match.group(1) if match else ""

    def __repr__(self):
        return " / ".join(self.lines)


class Closed(Exception):
    """The peer closed where a reply was due."""


class Client:
    def __init__(self, port, host="127.0.0.1", source=None, greet=True, ehlo="client.example", deadline_s=10.0):
        self.socket = socket.create_connection((host, port), deadline_s * SLOW, (source, 0) if source else None)
        self.buffer = b""
        self.greeting = self.extensions = None
        if greet:
            self.greeting = self.reply()
            if ehlo and self.greeting.code == 220:
                self.ehlo(ehlo)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data.encode("utf-8") if isinstance(data, str) else data)

    def line(self):
        while b"\r\n" not in self.buffer:
            try:
                more = self.socket.recv(65536)
            except (ConnectionResetError, BrokenPipeError):
                more = b""
            if not more:
                raise Closed(self.buffer)
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line.decode("utf-8", "replace")

    def reply(self):
        lines = [self.line()]
        while lines[-1][3:4] == "-":
            lines.append(self.line())
        return Reply(lines)

    def command(self, line):
        self.send(line + "\r\n" if isinstance(line, str) else line + b"\r\n")
        return self.reply()

    def ehlo(self, name="client.example"):
        reply = self.command(f"EHLO {name}")
        self.extensions = {}
        for line in reply.lines[1:]:
            keyword, _, value = line[4:].partition(" ")
            self.extensions[keyword.upper()] = value
        return reply

    def closed(self):
        """The peer ends the connection, and says no more first."""
        try:
            while True:
                more = self.socket.recv(65536)
                if not more:
                    return True
                self.buffer += more
        except ConnectionResetError:
            return True
        except socket.timeout:
            return False

    def envelope(self, sender, recipients, mail="", rcpt=""):
        """MAIL and every RCPT; the replies."""
        replies = [self.command(f"MAIL FROM:<{sender}>{mail}")]
        return replies + [self.command(f"RCPT TO:<{to}>{rcpt}") for to in recipients]

    def message(self, sender, recipients, body, mail="", rcpt=""):
        """A whole transaction; the reply that ended it. `body` is wire form already stuffed, or gets stuffed here."""
        for reply in self.envelope(sender, recipients, mail, rcpt):
            if reply.code >= 400:
                return reply
        reply = self.command("DATA")
        if reply.code != 354:
            return reply
        if body.startswith(b"."):
            body = b"." + body
        self.send(body.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        return self.reply()

    def starttls(self, cafile=None, host=None):
        reply = self.command("STARTTLS")
        if reply.code != 220:
            return reply
        context = ssl.create_default_context(cafile=cafile) if cafile else ssl._create_unverified_context()
        self.socket = context.wrap_socket(self.socket, server_hostname=host)
        self.buffer = b""
        return reply
