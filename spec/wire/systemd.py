# SPDX-License-Identifier: Apache-2.0
"""A real systemd, in name spaces of its own, on this machine's programs: what an operator's machine would be.

    machine = Machine()             # SkipTest where it can't be
    machine.run("systemctl", "start", "sluice")
    machine.stop()

Its root is an overlay: it sees this machine's files, and what it writes is in memory. Of the units that are installed
here it starts none by itself: what this machine has configured (/etc/systemd, /etc/fstab, generators) is hidden from it,
and so is a sluice that is installed here, and its mail.
The network is the test's. It can't set clocks, load modules or write to /proc/sys and /sys, and has a cgroup to itself.
"""
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

import harness
from harness import until

INIT = "/lib/systemd/systemd"
NEVER = "-sys_time,-sys_module,-sys_boot,-sys_rawio,-syslog,-mknod"
HIDDEN = ("etc/systemd", "usr/lib/systemd/system-generators", "usr/lib/systemd/system/sysinit.target.wants", "etc/sluice", "usr/local",
          "var/spool", "var/log")
EMPTY = ("etc/fstab", "etc/crypttab")
TARGET = "[Unit]\nDescription=nothing but what a test starts\nRequires=systemd-journald.socket\n"

# Process 1 to be: in name spaces of its own, and with the overlay as its root.
BOOT = """set -e
cd "$1"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for node in null zero full random urandom tty; do : > dev/$node; mount --bind /dev/$node dev/$node; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
pivot_root . mnt
cd /
umount -l mnt
exec setpriv --bounding-set="$2" env -i container=sluice-test PATH=/usr/sbin:/usr/bin:/sbin:/bin """ + INIT + """ --system \
    --unit=test.target --show-status=no --log-target=journal"""


def sh(*argv):
    subprocess.run(argv, check=True, capture_output=True)


class Cgroup:
    """A group of the unified hierarchy below our own; mounted afresh, for it may stand anywhere or nowhere."""

    def __init__(self, at):
        sh("mount", "-t", "cgroup2", "cgroup2", at)
        with open("/proc/self/cgroup", encoding="ascii") as groups:
            ours = next(line.rstrip("\n")[3:] for line in groups if line.startswith("0::"))
        # Below one that already has none of ours: a name space of process groups shows the rest as "/..".
        base = os.path.normpath(at + ours) if not ours.startswith("/..") else at
        self.path = tempfile.mkdtemp(prefix="sluice-test-", dir=base)

    def enter(self):
        with open(os.path.join(self.path, "cgroup.procs"), "w", encoding="ascii") as procs:
            procs.write(str(os.getpid()))

    def remove(self):
        """False: some process of it is not gone yet."""
        try:
            for folder, _, _ in os.walk(self.path, topdown=False):
                os.rmdir(folder)
        except OSError:
            return False
        return True


class Machine:
    def __init__(self):
        if os.geteuid() != 0 or os.environ.get(harness.NAMESPACE) != "root":
            raise unittest.SkipTest("root and name spaces of its own are needed")
        if not os.path.exists(INIT):
            raise unittest.SkipTest("systemd is not installed")
        self.base = tempfile.mkdtemp(prefix="sd", dir="/tmp")
        self.memory, self.groups = os.path.join(self.base, "memory"), os.path.join(self.base, "groups")
        self.root = os.path.join(self.memory, "root")
        self.boots = self.cgroup = None
        os.mkdir(self.memory)
        os.mkdir(self.groups)
        try:
            self.mount()
            self.cgroup = Cgroup(self.groups)
        except (subprocess.CalledProcessError, OSError, StopIteration) as error:
            self.stop()
            raise unittest.SkipTest(f"no overlay or cgroup2 to run systemd on: {error}") from None

    def mount(self):
        sh("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", self.memory)
        for name in ("root", "upper", "work"):
            os.mkdir(os.path.join(self.memory, name))
        sh("mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={self.memory}/upper,workdir={self.memory}/work", self.root)
        for folder in HIDDEN:
            os.makedirs(self.at(folder), exist_ok=True)
            sh("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", self.at(folder))
        for name in EMPTY:
            self.write(name, "")
        self.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        self.write("etc/systemd/system/test.target", TARGET)

    def at(self, path):
        return os.path.join(self.root, path.lstrip("/"))

    def write(self, path, text):
        os.makedirs(os.path.dirname(self.at(path)), exist_ok=True)
        with open(self.at(path), "w", encoding="utf-8") as file:
            file.write(text)

    def boot(self):
        argv = [shutil.which("unshare"), "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child", "sh", "-c", BOOT, "boot",
                self.root, NEVER]
        with open(os.path.join(self.base, "console"), "wb") as console:
            self.boots = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
                                          preexec_fn=self.cgroup.enter)

        def up():
            if self.boots.poll() is not None:
                raise unittest.SkipTest(f"systemd does not run here: {self.console()[-300:]}")
            return self.init() and self.run("systemctl", "is-active", "test.target", check=False).stdout.strip() == "active"
        try:
            until(up, lambda: f"systemd runs: {self.console()[-1000:]}", 20)
        except AssertionError as error:
            raise unittest.SkipTest(str(error)) from None

    def console(self):
        with open(os.path.join(self.base, "console"), encoding="utf-8", errors="replace") as console:
            return console.read()

    def init(self):
        """The number that its process 1 has here, or 0."""
        with open(f"/proc/{self.boots.pid}/task/{self.boots.pid}/children", encoding="ascii") as children:
            pid = int((children.read().split() or ["0"])[0])
        return pid if pid and os.readlink(f"/proc/{pid}/exe").endswith("/systemd") else 0

    def run(self, *argv, check=True, deadline_s=60.0):
        """A program of this machine's, as its root."""
        enter = [shutil.which("nsenter"), "-t", str(self.init()), "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--root", "--wd", "--"]
        done = subprocess.run([*enter, *argv], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=deadline_s * harness.SLOW,
                              check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr}{done.stdout}")
        return done

    def of_unit(self, unit, key):
        return self.run("systemctl", "show", "-P", key, unit).stdout.strip()

    def stop(self):
        if self.boots:
            os.killpg(self.boots.pid, signal.SIGKILL)       # process 1 goes with it, and all of its name space
            self.boots.wait()
        if self.cgroup:
            until(self.cgroup.remove, "its processes are gone")
        for mounted in (self.memory, self.groups):
            subprocess.run(["umount", "--recursive", "--lazy", mounted], capture_output=True, check=False)
            os.rmdir(mounted)   # never rmtree(): should something be mounted still, this fails
        shutil.rmtree(self.base)
