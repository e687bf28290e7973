# SPDX-License-Identifier: GPL-2.0-or-later
#
# Running tests, several at a time: each in a session and folders of its own,
# with a time limit; a line for each, and the counts.

import concurrent.futures
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

from runner import environ, judge

SKIP_STATUS = judge.SKIP_STATUS


class Runner:
    def __init__(self, args, timings):
        self.args = args
        self.timings = timings
        self.lock = threading.Lock()
        self.counts = {'pass': 0, 'fail': 0, 'skip': 0}
        self.running = set()
        self.failed = []
        self.env = environ.environment(args)
        self.missing = environ.missing(args)
        self.tty = 'IOTESTS_TTY' in self.env

    def run(self, tests):
        tests = self.timings.longest_first(tests)
        try:
            with concurrent.futures.ThreadPoolExecutor(
                    self.args.jobs) as pool:
                try:
                    list(pool.map(self.run_one, tests))
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    for process in list(self.running):
                        self._kill(process)
                    raise
        finally:
            self.timings.save()
        if self.failed:
            print('failed: ' + ' '.join(sorted(self.failed)))
        print(f"{self.counts['pass']} passed, {self.counts['fail']} failed, "
              f"{self.counts['skip']} skipped")
        return 1 if self.failed else 0

    def run_one(self, test):
        """One test; whatever goes wrong with it, the others run."""
        if self.missing:
            self._report(test, 'skip', self.missing, 0, time.localtime())
            return
        try:
            self._run_and_judge(test)
        except Exception:                       # pylint: disable=W0718
            self._report(test, 'fail', 'check: ' + traceback.format_exc(), 0,
                         time.localtime())

    def _run_and_judge(self, test):
        scratch = tempfile.mkdtemp(prefix='iotest-', dir=self.args.scratch)
        sockets = tempfile.mkdtemp(prefix='sock-', dir='/tmp')
        began = time.localtime()
        start = time.monotonic()
        try:
            status, output = self._execute(test, scratch, sockets)
        finally:
            shutil.rmtree(sockets, ignore_errors=True)
        seconds = time.monotonic() - start
        verdict, detail = judge.judge(test, self.args, scratch, status,
                                      output)
        if verdict == 'fail':
            detail = detail.rstrip('\n') + \
                f'\n    the files are in {scratch}'
        elif not self.args.keep:
            shutil.rmtree(scratch, ignore_errors=True)
        if verdict == 'pass':
            self.timings.note(test, seconds)
        self._report(test, verdict, detail, seconds, began)

    def _report(self, test, verdict, detail, seconds, began):
        last = self.timings.last.get(test.name)
        notes = ''
        if self.args.timestamps:
            notes += f"  [{time.strftime('%H:%M:%S', began)} .. " \
                f"{time.strftime('%H:%M:%S')}]"
        if last is not None:
            notes += f'  [last: {last:.1f}s]'
        if verdict == 'skip':
            notes += f'  {detail}'
        with self.lock:
            self.counts[verdict] += 1
            print(f'{test.name:32} {verdict}  {seconds:6.1f} s{notes}',
                  flush=True)
            if verdict == 'fail':
                self.failed.append(test.name)
                print(detail, flush=True)

    # One process

    def _execute(self, test, scratch, sockets):
        """Run the script; return (status, output)."""
        env = environ.of_one_test(self.env, self.args, scratch, sockets)
        limit = (self.args.timeout or 120) * int(env.get('IOTESTS_SLOW', 1))
        to_terminal = self.args.debug or self.args.show or self.tty
        with subprocess.Popen(test.command(), cwd=scratch, env=env,
                              stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE,
                              stderr=None if to_terminal
                              else subprocess.STDOUT,
                              start_new_session=not self.tty) as process:
            self.running.add(process)
            timer = threading.Timer(limit, self._kill, (process,))
            timer.start()
            try:
                output = self._read(process)
                process.wait()
            finally:
                late = not timer.is_alive()
                timer.cancel()
                self._kill(process)
                self.running.discard(process)
        if late and process.returncode:
            output += f'\ncheck: not done within {limit} s\n'.encode()
        return process.returncode, output.decode(errors='replace')

    def _read(self, process):
        """All output; shown as it comes, if that is wanted.

        A child that the test left behind may hold the pipe open: the test's
        own end is what counts.
        """
        output = bytearray()

        def reader():
            for line in process.stdout:
                output.extend(line)
                if self.args.show:
                    sys.stdout.buffer.write(line)
                    sys.stdout.flush()

        thread = threading.Thread(target=reader, daemon=True)
        thread.start()
        process.wait()
        self._kill(process)
        thread.join(5)
        return bytes(output)

    def _kill(self, process):
        """End the test's session: also a daemon that it left behind."""
        try:
            if self.tty:
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
