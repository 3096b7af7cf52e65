# SPDX-License-Identifier: Apache-2.0
"""A Postfix of our own: everything it has stands in one folder, and it ends with the test."""
import os
import shutil
import unittest

import harness

MAIN = {
    "compatibility_level": "3.6", "mydestination": "", "alias_maps": "", "local_recipient_maps": "", "local_transport": "discard",
    "inet_interfaces": "127.0.0.1", "inet_protocols": "ipv4", "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
    "smtpd_peername_lookup": "no", "maillog_file": "/dev/stdout",
}
MASTER = """127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
relay unix - - n - - smtp
discard unix - - n - - discard
error unix - - n - - error
retry unix - - n - - error
proxymap unix - - n - - proxymap
flush unix n - n 1000? 0 flush
showq unix n - n - - showq
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix(harness.Process):
    def __init__(self, home, port, hostname, settings):
        if os.environ.get(harness.NAMESPACE) == "user" or os.geteuid() != 0:
            raise unittest.SkipTest("Postfix starts as root only")
        program = harness.program("postfix")
        for part in ("etc", "queue", "data"):
            os.makedirs(os.path.join(home, part))
        os.chmod(home, 0o755)
        shutil.chown(os.path.join(home, "data"), "postfix")
        main = {**MAIN, "myhostname": hostname, "queue_directory": f"{home}/queue", "data_directory": f"{home}/data", **settings}
        with open(os.path.join(home, "etc", "main.cf"), "w", encoding="ascii") as file:
            file.writelines(f"{name} = {value}\n" for name, value in main.items())
        with open(os.path.join(home, "etc", "master.cf"), "w", encoding="ascii") as file:
            file.write(MASTER.format(port=port))
        super().__init__([program, "-c", os.path.join(home, "etc"), "start-fg"], os.path.join(home, "log"))
        harness.until(lambda: harness.answers("127.0.0.1", port), lambda: f"Postfix listens: {self.log[-1500:]}", 20)
