# SPDX-License-Identifier: Apache-2.0
"""Clients at work, and tests that are run with several numbers of workers."""
import threading

from client import Client, Closed

DOMAINS = [f"d{n}.example" for n in range(24)]


def each_of(counts):
    """A decorator: the test once for each number of workers."""
    def decorate(test):
        def run(self):
            for n in counts:
                with self.subTest(workers=n):
                    test(self, n)
        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run
    return decorate


class Load:
    """Clients at work until stopped, each on connections of its own; `acknowledged`: what got a 250, by its number."""

    def __init__(self, port, clients=8, domains=DOMAINS, rcpts=2):
        self.port, self.domains, self.rcpts = port, domains, rcpts
        self.acknowledged, self.lock, self.ended = [], threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self._work, args=(n,), daemon=True) for n in range(clients)]
        for thread in self.threads:
            thread.start()

    def _work(self, me):
        i = 0
        while not self.ended.is_set():
            try:
                with Client(self.port, deadline_s=5) as c:
                    for _ in range(20):         # then another connection: it may be another worker's
                        if self.ended.is_set():
                            return
                        i += 1
                        names = [f"{me}.{i}.{r}@{self.domains[(me + i * 7 + r * 5) % len(self.domains)]}" for r in range(self.rcpts)]
                        if c.message("", names, f"Subject: {me}.{i}\r\n\r\nx\r\n".encode()).code == 250:
                            with self.lock:
                                self.acknowledged += names
            except (OSError, Closed, ValueError):
                self.ended.wait(0.02)

    def stop(self):
        self.ended.set()
        for thread in self.threads:
            thread.join(10)
        return self.acknowledged
