# SPDX-License-Identifier: Apache-2.0
"""A file system on a block device that fails as told. Needs root, /dev/fuse and a loop device: why_not() says what is missing.

    disk = Disk(folder)                             # an ext4, mounted at disk.at
    disk.fault(write=errno.EIO)                     # every write and flush fails from now on,
    disk.fault(write=errno.EIO, odds=0.3)           # three of ten do,
    disk.fault(write=errno.ENOSPC, spare=True)      # or all but those to the file system's own journal
    disk.fault(read=errno.EIO)                      # every read that the page cache does not serve
    disk.spoil(path, at, n)                         # bytes of a file that can not be read any more, until they are written again
    disk.fault()                                    # it works again
    disk.cut(), disk.repair()                       # the power goes; it is there again

The ext4 lies on a loop device on a file that this program serves itself, in a process of its own, by the protocol of /dev/fuse. So an
error comes up through everything that an error of a real disk does: block layer, file system, page cache, fsync(). Run it
in a mount name space (harness.enter_namespace()), or somebody else's keeps the device busy.
"""
import errno
import fcntl
import json
import os
import random
import select
import shutil
import socket
import stat
import struct
import subprocess
import sys

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
BLOCK = 4096
MAX_WRITE = 128 << 10
FIBMAP = 1
GETATTR, SETATTR, OPEN, READ, WRITE, RELEASE, FSYNC, FLUSH, INIT, INTERRUPT, FORGET = 3, 4, 14, 15, 16, 18, 20, 25, 26, 36, 2
BIG_WRITES, DIRECT_IO = 1 << 5, 1


def why_not():
    """What keeps a Disk from working here; None: nothing."""
    if os.geteuid() != 0:
        return "not root"
    for name in ("mkfs.ext4", "debugfs", "e2fsck"):
        if not shutil.which(name, path=PATH):
            return f"no {name}"
    for name in ("/dev/fuse", "/dev/loop-control"):
        try:
            os.close(os.open(name, os.O_RDWR))
        except OSError as trouble:
            return f"{name}: {trouble.strerror}"
    return None


class Disk:
    def __init__(self, folder, size=96 << 20, errors="remount-ro"):
        self.image, self.file, self.at = (os.path.join(folder, name) for name in ("image", "device", "disk"))
        self.errors, self.size = errors, size
        os.mkdir(self.at)
        for path in (self.image, self.file):
            with open(path, "wb") as file:
                file.truncate(size if path == self.image else 0)
        self.run("mkfs.ext4", "-q", "-F", "-b", str(BLOCK), "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", self.image)
        self.journal = self.journal_place()
        fuse = os.open("/dev/fuse", os.O_RDWR)
        self.run("mount", "-i", "-t", "fuse", "-o", f"fd={fuse},rootmode=100600,user_id=0,group_id=0", "device", self.file, pass_fds=[fuse])
        self.control, theirs = socket.socketpair()
        self.server = subprocess.Popen([sys.executable, os.path.abspath(__file__), self.image, str(fuse), str(theirs.fileno())],
                                       pass_fds=[fuse, theirs.fileno()], stdin=subprocess.DEVNULL)
        os.close(fuse)
        theirs.close()
        self.control.settimeout(20)
        self.mount()

    def run(self, *argv, ok=(0,), **options):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ, PATH=PATH), **options)
        if done.returncode not in ok:
            raise OSError(f"{' '.join(argv)}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def journal_place(self):
        """Where the file system's own journal lies, in bytes of the device: it is one piece."""
        blocks = [int(word) for word in self.run("debugfs", "-R", "blocks <8>", self.image).split()]
        return [min(blocks) * BLOCK, (max(blocks) + 1) * BLOCK]

    def tell(self, **what):
        self.control.sendall(json.dumps(what).encode() + b"\n")
        if self.control.recv(1) != b"\n":
            raise OSError("the device is gone")

    def fault(self, write=0, read=0, odds=1.0, spare=False):
        """When this returns, requests that begin fail so; bad places stay bad."""
        self.tell(write=write, read=read, odds=odds, spare=self.journal if spare else [0, 0])

    def spoil(self, path, at, n):
        """The blocks of a file that hold these bytes cannot be read any more; forgets what is cached of the file."""
        bad = []
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            for block in range(at // BLOCK, (at + n - 1) // BLOCK + 1):
                there = struct.unpack("I", fcntl.ioctl(file, FIBMAP, struct.pack("I", block)))[0]
                if there:
                    bad.append(there * BLOCK)
            self.tell(bad=bad)
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def forget(self):
        """The next read of any file asks the device."""
        for folder, _, names in os.walk(self.at):
            for name in names:
                with open(os.path.join(folder, name), "rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def readable(self, path, at):
        """Whether that byte can be read, if it is there."""
        try:
            with open(path, "rb", buffering=0) as file:
                file.seek(at)
                file.read(1)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def writable(self):
        """Whether the file system takes and keeps a file."""
        path = os.path.join(self.at, "probe")
        try:
            with open(path, "wb") as file:
                file.write(b"x")
                os.fsync(file.fileno())
            os.unlink(path)
            return True
        except OSError:
            return False

    def mount(self):
        self.run("mount", "-o", f"loop,errors={self.errors}", self.file, self.at)

    def unmount(self):
        self.run("umount", self.at)

    def cut(self):
        """What is not on the device now never gets there. Ends with repair(), when nobody uses the file system any more."""
        self.fault(write=errno.EIO)

    def repair(self):
        """What the file system remembers and could not write is gone; bad places stay bad."""
        self.cut()
        self.unmount()
        self.fault()
        self.run("e2fsck", "-p", self.file, ok=(0, 1))
        self.mount()

    def close(self):
        self.fault()
        subprocess.run(["umount", "-l", self.at], check=False, capture_output=True)
        subprocess.run(["umount", "-l", self.file], check=False, capture_output=True)
        self.server.kill()
        self.server.wait()
        self.control.close()


class Server:
    """The other process: one file, which the mount point itself is."""

    def __init__(self, image, fuse, control):
        self.image, self.fuse, self.control = os.open(image, os.O_RDWR), fuse, control
        self.faults = {"write": 0, "read": 0, "odds": 1.0, "spare": [0, 0]}
        self.bad = set()        # blocks, by their first byte
        self.heard = b""

    def serve(self):
        while True:
            ready, _, _ = select.select([self.fuse, self.control], [], [])
            if self.control in ready:
                more = os.read(self.control, 1 << 20)
                if not more:
                    return
                self.hear(more)
            if self.fuse in ready:
                try:
                    self.answer(os.read(self.fuse, MAX_WRITE + 4096))
                except OSError as trouble:
                    if trouble.errno != errno.ENOENT:           # somebody took his request back
                        return                                  # nobody has the file mounted any more

    def hear(self, more):
        *lines, self.heard = (self.heard + more).split(b"\n")
        for line in lines:
            said = json.loads(line)
            self.bad.update(said.pop("bad", ()))
            self.faults.update(said)
            os.write(self.control, b"\n")

    def answer(self, request):
        _, opcode, unique = struct.unpack_from("IIQ", request)
        if opcode in (FORGET, INTERRUPT):
            return
        try:
            error, payload = 0, self.done(opcode, request[40:])
        except OSError as trouble:
            error, payload = -trouble.errno, b""
        os.write(self.fuse, struct.pack("IiQ", 16 + len(payload), error, unique) + payload)

    def done(self, opcode, said):
        if opcode == INIT:
            _, minor, ahead, flags = struct.unpack_from("IIII", said)
            return struct.pack("IIIIHHIIHHI28x", 7, min(minor, 31), ahead, flags & BIG_WRITES, 16, 12, MAX_WRITE, 1, 0, 0, 0)
        if opcode in (GETATTR, SETATTR):
            size = os.fstat(self.image).st_size
            return struct.pack("QII", 3600, 0, 0) + struct.pack("QQQQQQIIIIIIIIII", 1, size, size // 512, 0, 0, 0, 0, 0, 0,
                                                                stat.S_IFREG | 0o600, 1, 0, 0, 0, BLOCK, 0)
        if opcode == OPEN:
            return struct.pack("QII", 0, DIRECT_IO, 0)
        if opcode == READ:
            _, at, n = struct.unpack_from("QQI", said)
            return self.read(at, n)
        if opcode == WRITE:
            _, at, n = struct.unpack_from("QQI", said)
            return self.write(at, said[40:40 + n])
        if opcode == FSYNC:
            self.fail("write", self.faults["spare"][0])
            return b""
        if opcode in (FLUSH, RELEASE):
            return b""
        raise OSError(errno.ENOSYS, "")

    def fail(self, what, at):
        first, end = self.faults["spare"]
        if self.faults[what] and not first <= at < end and random.random() < self.faults["odds"]:
            raise OSError(self.faults[what], "")

    def read(self, at, n):
        self.fail("read", at)
        if self.bad and any(block in self.bad for block in range(at // BLOCK * BLOCK, at + n, BLOCK)):
            raise OSError(errno.EIO, "")
        return os.pread(self.image, n, at)

    def write(self, at, data):
        self.fail("write", at)
        if self.bad:            # a disk puts a good block in place of a bad one that is written whole
            self.bad.difference_update(range(-(-at // BLOCK) * BLOCK, (at + len(data)) // BLOCK * BLOCK, BLOCK))
        os.pwrite(self.image, data, at)
        return struct.pack("II", len(data), 0)


if __name__ == "__main__":
    Server(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])).serve()
