# SPDX-License-Identifier: Apache-2.0
"""`top` in a terminal: what it shows, its keys, and how it leaves the terminal."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios

import harness
from harness import SLUICE, command, until

POLICY = '''vmta "default" { source = "any" }
domain "a.example" { paused = true }
domain "b.example" { paused = true }
'''


class Terminal:
    """`sluice top` on a pseudo terminal of 24 by 80."""

    def __init__(self, node, lines=24, columns=80):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.seen = ""
        self.process = subprocess.Popen([SLUICE, "top", "--control", node.control], stdin=slave, stdout=slave, stderr=slave,
                                        env=dict(os.environ, TERM="xterm"), start_new_session=True)

    def read(self):
        while select.select([self.master], [], [], 0.05)[0]:
            self.seen += os.read(self.master, 65536).decode(errors="replace")

    def wait(self, pattern, what):
        def there():
            self.read()
            return re.search(pattern, self.seen, re.S)
        until(there, what)

    def key(self, keys):
        self.seen = ""
        os.write(self.master, keys.encode())

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


class Top(harness.Case):
    def top(self):
        node = self.node(POLICY)
        for to in ("u@a.example", "v@a.example", "u@b.example"):
            self.assertEqual(self.send(node, to=to).code, 250)
        terminal = Terminal(node)
        self.addCleanup(terminal.end)
        terminal.wait(r"a\.example/default.*b\.example/default", "both queues are shown")
        return node, terminal

    def test_keys_act_on_the_queue_under_the_cursor(self):
        node, terminal = self.top()
        terminal.key("w")
        terminal.wait(r"a\.example/default waits: paused", "why is shown")
        terminal.key("q")
        terminal.wait(r"arrows move", "the rows are back")
        terminal.key("\033[B")
        terminal.wait(r">b\.example/default", "the cursor moved")
        terminal.key("p")
        terminal.wait(r"paused b\.example/default: 1 recipients", "the act is told")
        terminal.key("/a.ex")
        terminal.wait(r"filter: a\.ex_.*>a\.example/default", "the filter narrows")
        self.assertNotIn("b.example", terminal.seen.rsplit("\033[H", 1)[1])
        self.assertTrue(all(len(line) <= 80 for line in re.sub(r"\033\[[0-9;?]*[A-Za-z]", "", terminal.seen).splitlines()))

    def test_keys_that_came_together_are_told_apart(self):
        _, terminal = self.top()
        terminal.key("\033[B\033[A\033[1;5A\033[B")
        terminal.wait(r">b\.example/default", "the cursor moved down, up and down")
        terminal.key("k\033[Bw")
        terminal.wait(r"b\.example/default waits: paused", "why of the queue that the cursor came back to")

    def leaves(self, terminal, how):
        how()
        self.assertEqual(terminal.process.wait(timeout=10 * harness.SLOW), 0)
        terminal.read()
        self.assertIn("\033[?1049l", terminal.seen)
        self.assertIn("\033[?25h", terminal.seen)
        self.assertEqual(termios.tcgetattr(terminal.slave), terminal.before)

    def test_q_leaves_the_terminal_as_it_was(self):
        _, terminal = self.top()
        self.leaves(terminal, lambda: terminal.key("q"))

    def test_a_signal_leaves_the_terminal_as_it_was(self):
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
            _, terminal = self.top()
            self.leaves(terminal, lambda: terminal.process.send_signal(signum))

    def test_it_does_not_stop_with_the_terminal_in_its_hands(self):
        _, terminal = self.top()
        self.assertEqual(termios.tcgetattr(terminal.slave)[6][termios.VSUSP], b"\0")
        self.leaves(terminal, lambda: terminal.key("q"))

    def test_a_node_that_goes_away_is_told_and_the_terminal_restored(self):
        node, terminal = self.top()
        node.stop()
        self.assertEqual(terminal.process.wait(timeout=10 * harness.SLOW), 1)
        terminal.read()
        self.assertRegex(terminal.seen, r"\033\[\?1049l.*sluice: no node answers at")
        self.assertEqual(termios.tcgetattr(terminal.slave), terminal.before)

    def test_without_a_terminal_it_says_what_to_use_instead(self):
        node = self.node(POLICY)
        done = command("top", "--control", node.control)
        self.assertEqual(done.returncode, 1)
        self.assertIn("sluice queues", done.stderr)


harness.main()
