# SPDX-License-Identifier: Apache-2.0
"""Starts the node and its peers on loopback, and ends them again.

A module of tests ends with `harness.main()`. It runs inside name spaces of its
own (network, mounts, processes) where the system allows that: ports never
collide, addresses such as 192.0.2.10 exist, and nothing outlives the module.
A module that can't do without says NEEDS_NAMESPACE = True, and is skipped with
the reason where the system refuses. One that measures a pace says PACED = True,
and spec/run runs it beside others of that kind only; or ALONE = True, where it
needs much of the machine, and it runs beside none.

Nothing here sleeps for time to pass: until() waits for a condition, with a
deadline that SLOW stretches.
"""
import csv
import glob
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("B", "build"))
SLUICE = os.path.join(BUILD, "sluice")
SLOW = float(os.environ.get("SLOW", "1"))
SANITIZED = re.search(r"asan|tsan|ubsan", os.path.basename(BUILD)) is not None

NAMESPACE = "SLUICE_WIRE_NAMESPACE"     # set in the environment inside one
ADDRESSES = ["192.0.2.%d" % n for n in range(10, 20)] + ["2001:db8::%d" % n for n in range(10, 20)]

now = time.monotonic


def until(condition, what, deadline_s=10.0):
    """Waits until condition() is true and returns what it gave."""
    end = now() + deadline_s * SLOW
    while True:
        got = condition()
        if got:
            return got
        if now() > end:
            raise AssertionError(f"not within {deadline_s * SLOW:.0f} s: {what() if callable(what) else what}")
        time.sleep(0.02)


def free_port(host="127.0.0.1"):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def program(name):
    """Where a program of Debian's stands; sbin is not on everybody's PATH."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin")
    if not path:
        raise unittest.SkipTest(f"{name} is not installed (deps/install test)")
    return path


def hang(pid, function):
    """From now on that function of that node's is an endless loop."""
    loop = {"x86_64": b"\xeb\xfe", "aarch64": b"\x00\x00\x00\x14"}.get(platform.machine())
    if not loop:
        raise unittest.SkipTest("a machine whose jump is not known")
    symbols = subprocess.run([program("nm"), SLUICE], capture_output=True, text=True, check=True).stdout
    offset = int(re.search(rf"^(\w+) T {function}$", symbols, re.M).group(1), 16)
    if platform.machine() == "x86_64":
        offset += 4         # behind the landing mark of indirect calls
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps:
        base = int(next(line for line in maps if line.rstrip().endswith("/sluice")).split("-")[0], 16)
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(base + offset)
        memory.write(loop)


def max_in_window(times, window_s):
    """The most of `times` that fall into any half-open window of that length."""
    times, most, first = sorted(times), 0, 0
    for last, at in enumerate(times):
        while at - times[first] >= window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


def peak(intervals):
    """The most intervals (begin, end) open at once. One that ends when another begins does not overlap it."""
    events = sorted([(b, 1) for b, _ in intervals] + [(e, -1) for _, e in intervals if e is not None])
    most = open_now = 0
    for _, step in events:
        open_now += step
        most = max(most, open_now)
    return most


class Process:
    """A program that runs beside the test; its output goes to a file."""

    def __init__(self, argv, log, env=None, preexec=None):
        self.argv, self.log_path = argv, log
        with open(log, "ab") as out:
            self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                          env=dict(os.environ, **(env or {})), preexec_fn=preexec)

    @property
    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def running(self):
        return self.popen.poll() is None

    def wait(self, deadline_s=10.0):
        """The exit status (negative: a signal's number)."""
        return self.popen.wait(timeout=deadline_s * SLOW)

    def signal(self, number):
        self.popen.send_signal(number)

    def stop(self, deadline_s=10.0):
        """SIGTERM, and SIGKILL for one that does not mind it. Returns the exit status."""
        if self.running():
            self.signal(signal.SIGTERM)
        try:
            return self.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.wait()
            raise AssertionError(f"{os.path.basename(self.argv[0])} did not end within "
                                 f"{deadline_s * SLOW:.0f} s of SIGTERM") from None


class Node(Process):
    """`sluice run`. Options of the command line that matter to no test are filled in."""

    def __init__(self, folder, policy, port, spool=None, options=(), env=None, preexec=None):
        self.folder, self.port = folder, port
        self.control = os.path.join(folder, "control.sock")
        self.accounting = os.path.join(folder, "acct.csv")
        self.spool = spool or os.path.join(folder, "spool")
        self.policy = os.path.join(folder, "policy.lua")
        if policy is not None:
            with open(self.policy, "w", encoding="utf-8") as file:
                file.write(policy)
        argv = [SLUICE, "run", self.policy, "--spool", self.spool, "--control", self.control,
                "--accounting", self.accounting]
        if "--resolver" not in options:
            argv += ["--resolver", "127.0.0.1:9"]
        self.crashed = False
        log = os.path.join(folder, "node.log")
        self.log_from = os.path.getsize(log) if os.path.exists(log) else 0
        super().__init__(argv + list(options), log, env=env, preexec=preexec)

    @property
    def log(self):
        """Of this process; one that ran before on the same folder wrote into the same file."""
        with open(self.log_path, "rb") as log:
            log.seek(self.log_from)
            return log.read().decode("utf-8", "replace")

    def wait_ready(self):
        def ready():
            if not self.running():
                raise AssertionError(f"the node ended with {self.popen.returncode}: {self.log[-2000:]}")
            return re.search(r"(^|\s)ready\s*$", self.log, re.M)
        until(ready, "the node says ready", 20)
        return self

    def kill(self):
        self.crashed = True
        self.signal(signal.SIGKILL)
        self.wait()

    def command(self, *argv, json_out=True):
        """A subcommand against this node; its JSON."""
        done = command(*argv, "--control", self.control, *(["--json"] if json_out else []))
        if done.returncode != 0:
            raise AssertionError(f"sluice {' '.join(argv)}: exit {done.returncode}: {done.stderr}")
        return json.loads(done.stdout) if json_out else done.stdout

    def status(self):
        return self.command("status")

    def queue(self, name):
        return next((q for q in self.command("queues") if q["queue"] == name), None)

    def records(self, *types):
        """Accounting, of the types given (all)."""
        if not os.path.exists(self.accounting):
            return []
        with open(self.accounting, newline="", encoding="utf-8") as file:
            text = file.read()
        text = text[:text.rfind("\n") + 1]      # a line being written is not one yet
        return [r for r in csv.DictReader(text.splitlines(keepends=True)) if not types or r["type"] in types]

    def wait_records(self, n, *types, deadline_s=10.0):
        until(lambda: len(self.records(*types)) >= n,
              lambda: f"{n} records {types}; there are {[(r['type'], r['rcpt'], r['dsnDiag']) for r in self.records()][-8:]}",
              deadline_s)
        return self.records(*types)

    def wait_empty(self, deadline_s=10.0):
        until(lambda: self.status()["queued"] == 0, lambda: f"nothing is queued; {self.command('queues')}", deadline_s)

    def memory_bytes(self, key="VmRSS"):
        with open(f"/proc/{self.popen.pid}/status", encoding="ascii") as status:
            return int(re.search(rf"^{key}:\s+(\d+) kB", status.read(), re.M).group(1)) * 1024

    def cpu_seconds(self):
        with open(f"/proc/{self.popen.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def waited_seconds(self):
        """How long its threads have stood in line for a processor, all together; 0 where the system does not count it."""
        total = 0
        for task in glob.glob(f"/proc/{self.popen.pid}/task/*/schedstat"):
            with open(task, encoding="ascii") as stat:
                total += int(stat.read().split()[1])
        return total / 1e9


def command(*argv, stdin=None, deadline_s=20.0, env=None, cwd=None):
    """Runs `sluice …` to its end."""
    return subprocess.run([SLUICE, *argv], input=stdin, stdin=None if stdin else subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=deadline_s * SLOW, env=dict(os.environ, **(env or {})), cwd=cwd, check=False)


class Case(unittest.TestCase):
    """A test with a folder of its own, and processes that end with it."""

    longMessage = True

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="sw")
        os.chmod(self.folder, 0o755)
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.processes = []

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def write(self, name, content):
        with open(self.path(name), "wb" if isinstance(content, bytes) else "w") as file:
            file.write(content)
        return self.path(name)

    def node(self, policy="", listener="", port=None, host="127.0.0.1", wait=True, settings="", paused=False, **options):
        """Starts a node. `policy` is what follows the usual listener; one that declares a listener, node or
        virtual MTA by itself does so instead of the usual one. paused: nothing leaves until command("resume", "*")."""
        port = port or free_port(host)
        at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        text = ""
        if "node {" not in policy:
            text += f'node {{ hostname = "node.example", min_free_space = "4M", {settings} }}\n'
        if "listener " not in policy:
            text += f'listener "{at}" {{ relay_from = {{ "127.0.0.0/8", "::1" }}, {listener} }}\n'
        if 'vmta "' not in policy:
            text += 'vmta "default" { source = "any" }\n'
        node = self.start(text + policy, port, wait=wait, **options)
        if paused:
            node.command("pause", "*")
        return node

    def start(self, policy, port, wait=True, folder=None, **options):
        """A node on a whole policy, in a folder of its own."""
        folder = folder or tempfile.mkdtemp(prefix="n", dir=self.folder)
        node = Node(folder, policy, port, **options)
        self.keep(node)
        return node.wait_ready() if wait else node

    def restart(self, node, policy=None, change=None, **options):
        """Another process on what is left of this one; change: what to replace in its policy, and by what."""
        if change:
            with open(node.policy, encoding="utf-8") as file:
                policy = file.read().replace(*change)
        again = Node(node.folder, policy, node.port, spool=node.spool, **options)
        self.keep(again)
        return again.wait_ready()

    def first_in_line(self):
        """Threads and processes that the test begins from now on get a processor before any others, where the system lets us."""
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        except PermissionError:
            return
        self.addCleanup(os.sched_setscheduler, 0, os.SCHED_OTHER, os.sched_param(0))

    def keep(self, process):
        self.processes.append(process)
        self.addCleanup(self.ended_well, process)
        return process

    def ended_well(self, process):
        """A node must stop when told, say so by exit 0, and have upset no sanitizer."""
        if not isinstance(process, Node):
            if process.running():
                process.stop()
            return
        expected = process.running()
        status = process.stop(20)
        self.assertNotRegex(process.log, r"Sanitizer|runtime error:|broken invariant", "the node's log")
        if expected:
            self.assertEqual(status, 0, "exit status of the node after SIGTERM")
        elif not process.crashed:
            self.assertIn(status, (0, 1, 2), "the node ended by itself")

    def source(self, node, count=1, sessions=1, sender="sender@sender.example", to="user@example.com", size=400, extra=(),
               wait=True):
        """Postfix's smtp-source."""
        argv = [program("smtp-source"), "-m", str(count), "-s", str(sessions), "-l", str(size), "-f", sender, "-t", to,
                *extra, f"127.0.0.1:{node.port}"]
        if not wait:
            return self.keep(Process(argv, self.path("source.log")))
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120 * SLOW, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def sink(self, *options, host="127.0.0.1", port=None, backlog=256):
        """Postfix's smtp-sink; the port."""
        port = port or free_port(host)
        user = ["-u", "nobody"] if os.geteuid() == 0 and not os.environ.get(NAMESPACE) == "user" else []
        self.keep(Process([program("smtp-sink"), *user, *options, f"{host}:{port}", str(backlog)], self.path("sink.log")))
        until(lambda: answers(host, port), "smtp-sink listens")
        return port

    def relay(self, listener="", settings="", extra="", **options):
        """A node that hands everything to a receiver of ours; both."""
        from receiver import Receiver
        mx = Receiver(**options)
        self.addCleanup(mx.stop)
        return self.node(f'domain "*" {{ smtp_hosts = "{mx.at}", {settings} }}\n{extra}', listener=listener), mx

    def delivered(self, mx, n=1):
        until(lambda: len(mx.messages) >= n, lambda: f"{n} messages arrive; {mx.commands()[-5:]}")
        return mx.messages[n - 1]

    def send(self, node, to="user@example.com", sender="sender@sender.example", body=b"Subject: test\r\n\r\nhello\r\n", **parameters):
        """One message by a plain client; the reply to its final dot."""
        from client import Client
        with Client(node.port) as client:
            return client.message(sender, [to] if isinstance(to, str) else to, body, **parameters)


def answers(host, port):
    try:
        socket.create_connection((host, port), 1).close()
        return True
    except OSError:
        return False


class Certificates:
    """A certificate authority of the moment, by openssl."""

    def __init__(self, folder, name="ca"):
        self.folder, self.name = folder, name
        os.makedirs(folder, exist_ok=True)
        self.ca = os.path.join(folder, f"{name}.pem")
        self.ca_key = os.path.join(folder, f"{name}.key")
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                     "-subj", f"/CN=test {name}", "-keyout", self.ca_key, "-out", self.ca,
                     "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")

    def openssl(self, *argv):
        subprocess.run([program("openssl"), *argv], check=True, capture_output=True, stdin=subprocess.DEVNULL)

    def issue(self, host, days="2", names=None, mark=""):
        """(certificate, key) for the host, or what `names` says as a subjectAltName; both PEM. mark: for another of that host."""
        base = os.path.join(self.folder, f"{self.name}-{host}{mark}")
        cert, key, request, extensions = (base + end for end in (".pem", ".key", ".csr", ".ext"))
        if os.path.exists(cert):
            return cert, key
        with open(extensions, "w", encoding="ascii") as file:
            file.write(f"subjectAltName={names or 'DNS:' + host}\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={host}",
                     "-keyout", key, "-out", request)
        self.openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.ca_key, "-CAcreateserial",
                     "-days", days, "-extfile", extensions, "-out", cert)
        return cert, key


class Dns(Process):
    """NSD with zones given as text. A zone whose text is None is configured and never loaded: SERVFAIL."""

    def __init__(self, folder, zones, port=None, address="127.0.0.1"):
        self.folder = os.path.join(folder, "nsd")
        os.makedirs(self.folder)
        self.address, self.port = address, port or free_port(address)
        self.serial = 1
        self.zones = zones
        for name in zones:
            self.write(name)
        conf = (f'server:\n  ip-address: {address}@{self.port}\n  username: ""\n  chroot: ""\n  pidfile: "{self.folder}/pid"\n'
                f'  zonesdir: "{self.folder}"\n  database: ""\n  xfrdfile: "{self.folder}/xfrd"\n  zonelistfile: "{self.folder}/list"\n'
                f'  server-count: 1\n  verbosity: 1\n  rrl-ratelimit: 0\n  minimal-responses: yes\n'
                f'remote-control:\n  control-enable: no\n')
        for name in zones:
            conf += f'zone:\n  name: "{name}"\n  zonefile: "{name}.zone"\n'
        with open(os.path.join(self.folder, "conf"), "w", encoding="ascii") as file:
            file.write(conf)
        super().__init__([program("nsd"), "-d", "-c", os.path.join(self.folder, "conf")], os.path.join(self.folder, "log"))
        until(self.alive, lambda: f"NSD answers: {self.log[-1000:]}")

    def write(self, name):
        if self.zones[name] is None:
            return
        with open(os.path.join(self.folder, f"{name}.zone"), "w", encoding="ascii") as file:
            file.write(f"$ORIGIN {name}.\n$TTL 60\n@ SOA ns hostmaster {self.serial} 3600 600 86400 1\n@ NS ns\nns A 127.0.0.1\n")
            file.write(self.zones[name])

    def reload(self, name, text):
        """Another text for a zone; NSD reads it again."""
        self.zones[name] = text
        self.serial += 1
        self.write(name)
        self.signal(signal.SIGHUP)

    def alive(self):
        if not self.running():
            raise AssertionError(f"NSD ended: {self.log}")
        query = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0" + b"\x02ns" + b"".join(
            bytes([len(p)]) + p.encode() for p in next(n for n, t in self.zones.items() if t is not None).split(".")) + b"\0\0\1\0\1"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.2)
            probe.connect((self.address, self.port))
            try:
                probe.send(query)
                return probe.recv(512)[3] & 15 == 0
            except OSError:
                return False

    @property
    def option(self):
        return ("--resolver", f"{self.address}:{self.port}")


# --- running a module ---

class Result(unittest.TestResult):
    """TAP on standard output, one line a test, and beneath a failure the ends of the logs."""

    def startTest(self, test):
        super().startTest(test)
        self.started, self.said = now(), False

    def tell(self, test, ok, note=""):
        if not self.said:
            name = test.id().split(".", 1)[-1]
            print(f"{'ok' if ok else 'not ok'} - {name} ({now() - self.started:.2f} s){note}", flush=True)
        self.said = True

    def broken(self, test, err):
        self.tell(test, False)
        print("".join(traceback.format_exception(*err)), flush=True)
        for process in getattr(test, "processes", []):
            print(f"--- {' '.join(process.argv)[:200]}\n--- ended with {process.popen.returncode}; log:")
            if os.path.exists(process.log_path):
                print("\n".join(process.log.splitlines()[-40:]), flush=True)
        if os.environ.get("WIRE_STOP"):
            sys.exit(1)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.tell(test, True)

    def addError(self, test, err):
        super().addError(test, err)
        self.broken(test, err)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.broken(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            self.tell(test, False)
            print(f"in {subtest.id()}:\n" + "".join(traceback.format_exception(*err)), flush=True)
            for process in getattr(test, "processes", [])[:1]:
                print("\n".join(process.log.splitlines()[-15:]), flush=True)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.tell(test, True, f" # SKIP {reason}")


def enter_namespace(needed):
    """Replaces this process by itself inside name spaces. Returns why not, or None inside one."""
    if os.environ.get(NAMESPACE):
        loopback_up()
        return None
    unshare = shutil.which("unshare")
    if not unshare:
        return "no unshare(1)"
    spaces = [unshare, "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    kinds = [("root", spaces)] if os.geteuid() == 0 else []
    for kind, argv in kinds + [("user", spaces + ["--map-root-user"])]:
        if subprocess.run(argv + ["true"], capture_output=True, check=False).returncode == 0:
            os.environ[NAMESPACE] = kind
            os.execv(unshare, argv + [sys.executable] + sys.argv)
    return "the system allows no name spaces here" if needed else None


def loopback_up():
    ip = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if not ip:
        return
    subprocess.run([ip, "link", "set", "lo", "up"], check=True)
    for address in ADDRESSES:
        subprocess.run([ip, "addr", "replace", address + ("/128" if ":" in address else "/32"), "dev", "lo"]
                       + (["nodad"] if ":" in address else []), check=True)


def main():
    module = sys.modules["__main__"]
    refused = enter_namespace(getattr(module, "NEEDS_NAMESPACE", False))
    loader = unittest.TestLoader()
    wanted = [a for a in sys.argv[1:] if not a.startswith("-")]
    result = Result()

    def each(suite):
        for item in suite:
            if isinstance(item, unittest.TestSuite):
                yield from each(item)
            else:
                yield item
    tests = [t for t in each(loader.loadTestsFromModule(module)) if not wanted or any(w in t.id() for w in wanted)]
    if refused and getattr(module, "NEEDS_NAMESPACE", False):
        for test in tests:
            print(f"ok - {test.id().split('.', 1)[-1]} # SKIP {refused}")
        sys.exit(0)
    unittest.TestSuite(tests).run(result)
    sys.exit(0 if result.wasSuccessful() else 1)
