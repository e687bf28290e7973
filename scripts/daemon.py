# SPDX-License-Identifier: GPL-2.0-or-later
"""A storage daemon as a child process, for the demo and the benchmarks.

Works with the daemon built here and with the installed peer alike.
"""
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests/qemu-iotests"))

# pylint: disable=wrong-import-position
from qmp import QmpClient, QmpError  # noqa: E402

BUILD = os.environ.get("BUILD_DIR", os.path.join(ROOT, "build"))
ENDED = ("BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED")


def program(name):
    """The path of a program of ours."""
    return os.path.join(BUILD, name)


def when(event):
    """The time stamp of an event, in seconds."""
    stamp = event["timestamp"]
    return stamp["seconds"] + stamp["microseconds"] / 1e6


class Daemon(QmpClient):
    """qemu-storage-daemon with a QMP socket in the folder `scratch`."""

    count = 0

    def __init__(self, prog, scratch, *args, wrapper=(), env=None):
        Daemon.count += 1
        path = os.path.join(scratch, f"qmp-{os.getpid()}-{Daemon.count}.sock")
        self.process = subprocess.Popen(
            [*wrapper, prog, *args, "--chardev",
             f"socket,id=qmp,path={path},server=on,wait=off",
             "--monitor", "qmp"], env=env)
        deadline = time.monotonic() + 20
        while True:
            try:
                super().__init__(path, timeout=300)
                break
            except OSError:
                if (self.process.poll() is not None
                        or time.monotonic() > deadline):
                    raise RuntimeError(
                        f"{prog} did not start") from None
                time.sleep(0.001)
        try:
            self.negotiate()
        except KeyError:
            # The peer greets twice where we connect while it starts.
            self.read_reply()

    def transaction(self, *actions, mode=None):
        args = {"actions": [{"type": t, "data": d} for t, d in actions]}
        if mode:
            args["properties"] = {"completion-mode": mode}
        return self.command("transaction", args)

    def wait_job(self, job):
        """Waits for the job's end; that event's data, with its name and the
        seconds since the job was created, by the daemon's clock."""
        event = self.wait_event(ENDED, {"device": job})
        created = self.wait_event("JOB_STATUS_CHANGE",
                                  {"id": job, "status": "created"})
        return dict(event["data"], event=event["event"],
                    seconds=when(event) - when(created))

    def bitmap(self, node, name):
        for info in self.command("query-named-block-nodes", {"flat": True}):
            if info["node-name"] == node:
                for bitmap in info.get("dirty-bitmaps", []):
                    if bitmap.get("name") == name:
                        return bitmap
        raise KeyError(f"no bitmap '{name}' on node '{node}'")

    def quit(self):
        self.command("quit")
        self.close()
        if self.process.wait(timeout=60):
            raise RuntimeError(
                f"the daemon ended with {self.process.returncode}")


__all__ = ["Daemon", "QmpError", "program", "ROOT", "BUILD"]
