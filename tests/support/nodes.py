"""Machines of a network of their own, on this machine: each a network namespace with a name and a Docker Engine.

Nothing of it is to be seen from this machine's own network, and nothing of it has a name here: a namespace lives as long
as the processes in it. The first of these reads from a pipe of ours, and so ends with this process, even if that is
killed; the engines are then cleared up by the next run, as all private engines are. Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from support.docker import Engine, wait
from support.engines import EngineError, PrivateEngine, mounts_below, remove, run, send

NEW_NET = 0x40000000  # of setns(2)
NETWORK = "192.0.2.{}/24"  # TEST-NET-1: nobody's, and unreachable from here


class Namespace:
    """A network namespace with a host name of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        for program in ("unshare", "nsenter", "ip"):
            if not shutil.which(program):
                raise EngineError(f"a network namespace needs {program}, which this machine lacks")
        script = 'echo "$0" > /proc/sys/kernel/hostname && ip link set lo up && echo ready && exec cat'
        command = ["unshare", "--net", "--uts", "sh", "-c", script, name]
        self._holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        start_new_session=True)  # fmt: skip
        assert self._holder.stdout
        said = self._holder.stdout.readline().decode(errors="replace").strip()
        if said != "ready":
            self.close()
            raise EngineError(f"no network namespace can be made here: {said or 'nothing was said'}")

    @property
    def pid(self) -> int:
        """The process that holds it."""
        return self._holder.pid

    def command(self, *words: str) -> list[str]:
        """A command as it runs in there."""
        return ["nsenter", f"--target={self.pid}", "--net", "--uts", *words]

    def ip(self, *words: str) -> None:
        """Have `ip` do something in there."""
        run(self.command("ip", *words), timeout=30)

    def pids(self) -> set[int]:
        """All processes in there but the one that holds it."""
        inside, found = os.stat(f"/proc/{self.pid}/ns/net").st_ino, set()
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and os.stat(entry / "ns/net").st_ino == inside:
                    found.add(int(entry.name))
        return found - {self.pid}

    def listen(self, port: int) -> socket.socket:
        """A socket that listens on its loopback, for this process to use: sockets stay where they were made."""
        made: list[socket.socket | OSError] = []

        def make() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            try:
                with open(f"/proc/{self.pid}/ns/net") as file:
                    if libc.setns(file.fileno(), NEW_NET):  # this thread's alone
                        raise OSError(ctypes.get_errno(), "setns")
                made.append(socket.create_server(("127.0.0.1", port)))
            except OSError as error:
                made.append(error)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise EngineError(f"nothing can listen in a network namespace here: {made[0]}")
        return made[0]

    def close(self) -> None:
        """Let go of it: it is gone with the last process in it."""
        for pipe in (self._holder.stdin, self._holder.stdout):
            if pipe:
                pipe.close()
        self._holder.kill()
        self._holder.wait()


class Relay:
    """Has a port of this machine's loopback answer on that of a namespace, too."""

    def __init__(self, namespace: Namespace, port: int) -> None:
        self.port = port
        self._listener = namespace.listen(port)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # closed
            try:
                far = socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                near.close()
                continue
            with self._lock:
                self._open |= {near, far}
            threading.Thread(target=self._talk, args=(near, far), daemon=True).start()

    def _talk(self, near: socket.socket, far: socket.socket) -> None:
        other = {near: far, far: near}
        try:
            with selectors.DefaultSelector() as ready:
                for end in other:
                    ready.register(end, selectors.EVENT_READ, end)
                while ready.get_map():
                    for key, _ in ready.select():
                        end = key.data
                        data = end.recv(65536)
                        if data:
                            other[end].sendall(data)
                        else:
                            ready.unregister(end)
                            other[end].shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one end was reset, so is the other
        finally:
            with self._lock:
                self._open -= {near, far}
            near.close()
            far.close()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        """No more connections, and an end to those that are open."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # close() alone would leave accept() waiting
        self._listener.close()
        with self._lock:
            for end in self._open:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


class Node(PrivateEngine):
    """A machine: its engine, and what that runs with the host's network, are in a namespace of its own."""

    def __init__(self, suite: str, namespace: Namespace, address: str) -> None:
        super().__init__(suite)
        self.namespace, self.address = namespace, address
        self.name = namespace.name

    def _spawn(self, command: list[str], log_file: Path) -> subprocess.Popen[bytes]:
        return super()._spawn(self.namespace.command(*command), log_file)

    @cached_property
    def engine(self) -> Engine:
        """What speaks to its engine, once that was started."""
        return Engine(self.host, environ=self.environ())

    def lose(self) -> None:
        """All that runs there is gone at once, and its network with it, as when its power fails."""
        self.namespace.ip("link", "set", "eth0", "down")
        if self.pid:
            send(self.pid, signal.SIGKILL)  # the first, so that it sees nobody else's end

        def gone() -> bool:
            left = self.namespace.pids() | self.cgroup.pids() | set(self._helpers())
            for pid in left:
                send(pid, signal.SIGKILL)
            return not left

        wait(gone, 20, f"the end of all processes of {self.name}")
        for daemon in (self._process, self._containerd):
            if daemon:
                daemon.wait(10)
        for point in mounts_below(self.dir):
            subprocess.run(["umount", "-l", point], capture_output=True, check=False)
        for folder in (self.dir / "exec", self.dir / "containerd/state"):  # which a machine has in its memory
            remove(folder)

    def boot(self) -> None:
        """It comes up again, with all that it had on its disk."""
        self.namespace.ip("link", "set", "eth0", "up")
        self.start()

    def close(self, keep_log: bool = False) -> None:
        """Its containers are not stopped one by one: whoever orchestrates them would start others."""
        if self.dir.is_dir() and self._process:
            self.lose()
        super().close(keep_log)


@contextlib.contextmanager
def network(suite: str, *names: str) -> Iterator[list[Node]]:
    """Machines of these names at one switch, switched off; EngineError says why they can't be had."""
    with contextlib.ExitStack() as stack:

        def namespace(name: str) -> Namespace:
            made = Namespace(name)
            stack.callback(made.close)
            return made

        switch, nodes = namespace("switch"), []
        switch.ip("link", "add", "br0", "type", "bridge")
        switch.ip("link", "set", "br0", "up")
        for number, name in enumerate(names, 1):
            inside, address = namespace(name), NETWORK.format(number)
            switch.ip("link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", str(inside.pid))
            switch.ip("link", "set", f"port{number}", "master", "br0", "up")
            inside.ip("address", "add", address, "dev", "eth0")
            inside.ip("link", "set", "eth0", "up")
            nodes.append(Node(suite, inside, address.partition("/")[0]))
        yield nodes
