# SPDX-License-Identifier: Apache-2.0
"""A receiver that answers as told, and remembers who said what, when.

    mx = Receiver()
    mx.answer("MAIL", "421 4.7.0 too many", times=1)
    mx.answer("RCPT", lambda event: "550 5.1.1 who?" if "nobody" in event.line else None)
    mx.answer(".", CLOSE)

Stages: connect EHLO HELO STARTTLS MAIL RCPT DATA body . RSET QUIT. The newest rule is asked first; one that
is used up, or whose function gives None, passes on; in the end the receiver accepts.
"""
import socket
import ssl
import threading
import time

CLOSE = "close"         # ends the connection instead of answering
RESET = "reset"         # so does this, by RST
HANG = "hang"           # never answers, until the peer goes
EXTENSIONS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN")
DEFAULT = {"connect": "220 {host} ESMTP", "HELO": "250 {host}", "STARTTLS": "220 2.0.0 go", "MAIL": "250 2.1.0 ok",
           "RCPT": "250 2.1.5 ok", "DATA": "354 go", ".": "250 2.0.0 taken", "RSET": "250 2.0.0 ok", "NOOP": "250 2.0.0 ok",
           "QUIT": "221 2.0.0 bye"}

now = time.monotonic


class Ended(Exception):
    """This connection is over."""


class Event:
    def __init__(self, session, stage, line):
        self.session, self.stage, self.line, self.at = session, stage, line, now()


class Message:
    def __init__(self, session, mail, rcpts, data):
        self.session, self.mail, self.rcpts, self.data, self.at = session, mail, rcpts, data, now()

    @property
    def recipients(self):
        return [line[line.index("<") + 1:line.index(">")] for line in self.rcpts]

    @property
    def sender(self):
        return self.mail[self.mail.index("<") + 1:self.mail.index(">")]

    @property
    def body(self):
        return self.data.split(b"\r\n\r\n", 1)[1] if b"\r\n\r\n" in self.data else b""

    @property
    def headers(self):
        return self.data.split(b"\r\n\r\n", 1)[0] + b"\r\n"


class Session:
    def __init__(self, peer):
        self.peer, self.opened, self.closed = peer, now(), None
        self.helo, self.tls, self.messages = None, None, 0
        self.tls_resumed = None
        self.commands = []      # (at, line)
        self.pipelined = False  # it said more before it had our answer


class Receiver:
    def __init__(self, host="127.0.0.1", port=0, extensions=EXTENSIONS, certificate=None, backlog=512, keep=True, linger_s=0):
        self.host, self.extensions, self.keep, self.linger_s = host, list(extensions), keep, linger_s
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*certificate)
            self.extensions.append("STARTTLS")
        self.rules, self.sessions, self.messages = [], [], []
        self.attempts = []              # (at, address) of each RCPT
        self.lock = threading.Lock()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((host, port))
        self.socket.listen(backlog)
        self.port = self.socket.getsockname()[1]
        self.stopping, self.open_sockets = False, set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def at(self):
        """As smtp_hosts wants it."""
        return f"[{self.host}]:{self.port}"

    def answer(self, stage, reply, times=None, every=None, when=None):
        with self.lock:
            self.rules.insert(0, {"stage": stage, "reply": reply, "left": times, "every": every, "seen": 0, "when": when})

    def accept_all(self):
        with self.lock:
            self.rules.clear()

    def stop(self):
        self.stopping = True
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
        with self.lock:
            for connection in list(self.open_sockets):
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    # --- what it saw ---

    def commands(self, verb=None):
        """Every command line of every session, in order of time."""
        with self.lock:
            lines = sorted((c for s in self.sessions for c in s.commands), key=lambda c: c[0])
        return [line for _, line in lines if verb is None or line.upper().startswith(verb.upper())]

    def recipients(self):
        with self.lock:
            return [r for m in self.messages for r in m.recipients]

    def connected_at(self):
        return [s.opened for s in self.sessions]

    def intervals(self):
        return [(s.opened, s.closed) for s in self.sessions]

    # --- a session ---

    def _accept(self):
        while not self.stopping:
            try:
                connection, peer = self.socket.accept()
            except OSError:
                return
            session = Session(peer)
            with self.lock:
                self.sessions.append(session)
                self.open_sockets.add(connection)
            threading.Thread(target=self._serve, args=(connection, session), daemon=True).start()

    def _serve(self, connection, session):
        talk = Talk(self, connection, session)
        try:
            talk.run()
        except (Ended, OSError, ssl.SSLError, ValueError):
            pass
        time.sleep(self.linger_s)       # before it closes, and counts it as closed
        with self.lock:
            session.closed = now()
            self.open_sockets.discard(connection)
        try:
            talk.connection.close()
        except OSError:
            pass

    def choose(self, event):
        """The reply to this event: the newest rule's that has one."""
        with self.lock:
            rules = [r for r in self.rules if r["stage"] == event.stage]
        for rule in rules:
            with self.lock:
                if rule["left"] == 0 or (rule["when"] and not rule["when"](event)):
                    continue
                rule["seen"] += 1
                if rule["every"] and rule["seen"] % rule["every"]:
                    continue
                if rule["left"] is not None and not callable(rule["reply"]):
                    rule["left"] -= 1
            reply = rule["reply"](event) if callable(rule["reply"]) else rule["reply"]
            if reply is not None:
                return reply
        return None


class Talk:
    """One connection's dialogue."""

    def __init__(self, receiver, connection, session):
        self.receiver, self.connection, self.session = receiver, connection, session
        self.buffer = b""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fill(self):
        more = self.connection.recv(262144)
        if not more:
            raise Ended
        self.buffer += more

    def line(self):
        while b"\n" not in self.buffer:
            self.fill()
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r").decode("utf-8", "surrogateescape")

    def data(self):
        """Up to the final dot; unstuffed. CRLF is strict here as well."""
        pieces, tail = [], b""
        if self.buffer.startswith(b".\r\n"):
            self.buffer = self.buffer[3:]
            return b""
        while True:
            window = tail + self.buffer
            end = window.find(b"\r\n.\r\n")
            if end >= 0:
                pieces.append(window[:end + 2])
                self.buffer = window[end + 5:]
                break
            keep = min(len(window), 4)
            pieces.append(window[:len(window) - keep])
            tail, self.buffer = window[len(window) - keep:], b""
            self.fill()
        whole = b"".join(pieces)
        if whole.startswith(b"."):
            whole = whole[1:]
        return whole.replace(b"\r\n.", b"\r\n")

    def say(self, event_stage, line="", default=None):
        """Answers an event; the code that went out."""
        self.session.pipelined |= event_stage in ("EHLO", "MAIL", "RCPT") and self.buffer != b""
        reply = self.receiver.choose(Event(self.session, event_stage, line))
        if reply is None:
            reply = default if default is not None else DEFAULT.get(event_stage, "250 2.0.0 ok").format(host="mx.example")
        if reply == CLOSE:
            raise Ended
        if reply == RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            raise Ended
        if reply == HANG:
            while True:
                self.fill()
        self.connection.sendall(reply.encode("utf-8") + (b"" if reply.endswith("\n") else b"\r\n"))
        code = int(reply[:3])
        if code == 421 or (event_stage == "connect" and code >= 500):
            raise Ended
        return code

    def run(self):
        self.say("connect")
        mail, rcpts = None, []
        while True:
            line = self.line()
            self.session.commands.append((now(), line))
            verb = line[:8].upper() if line.upper().startswith("STARTTLS") else line[:4].upper()
            if verb == "EHLO":
                self.session.helo = line[5:]
                offered = [e for e in self.receiver.extensions if not (e == "STARTTLS" and self.session.tls)]
                lines = ["mx.example", *offered]
                self.say("EHLO", line, "\r\n".join(f"250{'-' if i < len(lines) - 1 else ' '}{e}" for i, e in enumerate(lines)))
            elif verb == "HELO":
                self.session.helo = line[5:]
                self.say("HELO", line)
            elif verb == "STARTTLS":
                if self.say("STARTTLS", line) == 220:
                    self.starttls()
            elif verb == "MAIL":
                if self.say("MAIL", line) == 250:
                    mail, rcpts = line, []
            elif verb == "RCPT":
                with self.receiver.lock:
                    self.receiver.attempts.append((now(), line))
                if mail is None:
                    self.say("RCPT", line, "503 5.5.1 MAIL first")
                elif self.say("RCPT", line) == 250:
                    rcpts.append(line)
            elif verb == "DATA":
                if not rcpts:
                    self.say("DATA", line, "503 5.5.1 RCPT first")
                    continue
                if self.say("DATA", line) == 354:
                    self.take(mail, rcpts)
                mail, rcpts = None, []
            elif verb == "RSET":
                mail, rcpts = None, []
                self.say("RSET", line)
            elif verb == "QUIT":
                self.say("QUIT", line)
                raise Ended
            else:
                self.say(verb, line, "500 5.5.2 what?")

    def take(self, mail, rcpts):
        reply = self.receiver.choose(Event(self.session, "body", ""))
        if reply == CLOSE:
            self.fill()         # in the middle of it
            raise Ended
        if reply == HANG:
            threading.Event().wait(3600)
        data = self.data()
        message = Message(self.session, mail, rcpts, data if self.receiver.keep else b"")
        reply = self.receiver.choose(Event(self.session, ".", mail))
        if reply is None or reply[:1] == "2":
            with self.receiver.lock:
                self.receiver.messages.append(message)
            self.session.messages += 1
        if reply == CLOSE:
            raise Ended
        if reply == HANG:
            while True:
                self.fill()
        reply = reply or DEFAULT["."]
        self.connection.sendall(reply.encode("utf-8") + (b"" if reply.endswith("\n") else b"\r\n"))
        if reply.startswith("421"):
            raise Ended

    def starttls(self):
        self.buffer = b""
        self.connection = self.receiver.context.wrap_socket(self.connection, server_side=True)
        self.session.tls = self.connection.version()
        self.session.tls_resumed = self.connection.session_reused

