# SPDX-License-Identifier: Apache-2.0
"""An Exim of our own: Debian's package, unpacked but not installed (deps/install bench), for it can't be installed beside Postfix.

It insists on a user that only the package's installation makes: inside our mount name space /etc/passwd and /etc/group have it.
"""
import ctypes
import os
import shutil
import subprocess
import unittest

from rig import harness

BINARY = os.path.join(harness.ROOT, "build/peers/usr/sbin/exim4")
USER, ID = "Debian-exim", 65533
PR_SET_CHILD_SUBREAPER = 36

# The specification's advice for a busy relay: split spool, no limit by load or by messages of a connection, no lookups.
CONFIG = """exim_user = {user}
primary_hostname = mx.example
spool_directory = {home}/spool
log_file_path = {home}/log/%slog
split_spool_directory
deliver_drop_privilege
keep_environment =
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
pid_file_path = {home}/pid
host_lookup =
rfc1413_query_timeout = 0s
tls_advertise_hosts =
smtp_accept_max = 200
smtp_accept_max_per_connection = 0
smtp_accept_queue_per_connection = 0
queue_run_max = 20
remote_max_parallel = 20
acl_smtp_rcpt = accept
acl_smtp_data = accept
begin routers
all:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = out
begin transports
out:
  driver = smtp
  port = {sink_port}
  allow_localhost
  hosts_avoid_tls = *
  hosts_try_dane =
begin retry
* * F,1h,1m
"""


def add_line(folder, path, line):
    copy = os.path.join(folder, os.path.basename(path))
    shutil.copy(path, copy)
    with open(copy, "a", encoding="ascii") as file:
        file.write(line + "\n")
    subprocess.run(["mount", "--bind", copy, path], check=True)


def make_user(folder):
    with open("/etc/passwd", encoding="utf-8") as file:
        if f"\n{USER}:" in file.read():
            return
    add_line(folder, "/etc/passwd", f"{USER}:x:{ID}:{ID}::/:/usr/sbin/nologin")
    add_line(folder, "/etc/group", f"{USER}:x:{ID}:")


def adopt_orphans():
    """Deliveries outlive who started them: whoever asks for the daemon's CPU time must find theirs in it."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


class Exim(harness.Process):
    def __init__(self, home, port, sink_port):
        if os.environ.get(harness.NAMESPACE) != "root":
            raise unittest.SkipTest("Exim starts as root in a name space only")
        if not os.path.exists(BINARY):
            raise unittest.SkipTest("Exim is not unpacked (deps/install bench)")
        os.makedirs(home)
        os.chmod(home, 0o755)
        make_user(home)
        for part in ("spool", "log"):
            os.makedirs(os.path.join(home, part))
            shutil.chown(os.path.join(home, part), USER, USER)
        config = os.path.join(home, "exim.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write(CONFIG.format(user=USER, home=home, port=port, sink_port=sink_port))
        super().__init__([BINARY, "-C", config, "-bdf"], os.path.join(home, "out"), preexec=adopt_orphans)
        harness.until(lambda: harness.answers("127.0.0.1", port), lambda: f"Exim listens: {self.log[-1500:]}", 20)
