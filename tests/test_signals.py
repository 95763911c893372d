"""A signal reaches whoever waits for it, whichever thread the kernel gives it to.

Each test is a program of its own: what is awaited is to be entered before any thread is started,
and a thread that another test has left would be given the signal, and end all tests by it.
"""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

_BEGIN = """\
import os, signal, threading
from gateway.signals import awaited

def send(number):
    os.kill(os.getpid(), number)
"""


def ends_well(program: str) -> bool:
    """Run a program that has the names of _BEGIN; say whether it came to its end."""
    command = [sys.executable, "-c", _BEGIN + dedent(program)]
    return subprocess.run(command, timeout=60).returncode == 0


def test_signals_come_one_after_the_other_even_when_sent_before_the_wait() -> None:
    assert ends_well("""
        with awaited(signal.SIGHUP, signal.SIGTERM) as next_signal:
            send(signal.SIGTERM)
            assert next_signal() is signal.SIGTERM
            send(signal.SIGHUP)
            assert next_signal() is signal.SIGHUP
    """)


def test_a_scope_that_was_made_before_leaves_signals_to_whoever_waits_for_them() -> None:
    assert ends_well("""
        from gateway.http.scope import RequestScope
        from gateway.http.streaming import StreamingBodies

        RequestScope(lambda environ, start: [], StreamingBodies(1))
        with awaited(signal.SIGTERM) as next_signal:
            for _ in range(20):
                send(signal.SIGTERM)
                assert next_signal() is signal.SIGTERM
    """)


def test_a_signal_among_threads_that_come_and_go_is_not_lost() -> None:
    assert ends_well("""
        ended = threading.Event()

        def breed():
            while not ended.is_set():
                thread = threading.Thread(target=lambda: None)
                thread.start()
                thread.join()

        with awaited(signal.SIGTERM) as next_signal:
            breeders = [threading.Thread(target=breed) for _ in range(4)]
            for breeder in breeders:
                breeder.start()
            for _ in range(200):
                # From another thread, so that this one waits already.
                sender = threading.Timer(0.0, send, (signal.SIGTERM,))
                sender.start()
                assert next_signal() is signal.SIGTERM
                sender.join()
            ended.set()
            for breeder in breeders:
                breeder.join()
    """)


def test_what_nobody_waited_for_is_dropped_and_the_mask_is_as_before() -> None:
    assert ends_well("""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        with awaited(signal.SIGTERM, signal.SIGINT):
            send(signal.SIGTERM)
            send(signal.SIGINT)
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    """)
