"""A signal reaches whoever waits for it, whichever thread the kernel gives it to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

from gateway.signals import awaited


def test_signals_come_one_after_the_other_even_when_sent_before_the_wait() -> None:
    with awaited(signal.SIGHUP, signal.SIGTERM) as next_signal:
        os.kill(os.getpid(), signal.SIGTERM)
        assert next_signal() is signal.SIGTERM
        os.kill(os.getpid(), signal.SIGHUP)
        assert next_signal() is signal.SIGHUP


def test_a_scope_that_was_made_before_leaves_signals_to_whoever_waits_for_them() -> None:
    program = (
        "import os, signal\n"
        "from gateway.http.scope import RequestScope\n"
        "from gateway.http.streaming import StreamingBodies\n"
        "from gateway.signals import awaited\n"
        "RequestScope(lambda environ, start: [], StreamingBodies(1))\n"
        "with awaited(signal.SIGTERM) as next_signal:\n"
        "    for _ in range(20):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        assert next_signal() is signal.SIGTERM\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


def test_a_signal_among_threads_that_come_and_go_is_not_lost() -> None:
    ended = threading.Event()

    def breed() -> None:
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
            sender = threading.Timer(0.0, os.kill, (os.getpid(), signal.SIGTERM))
            sender.start()
            assert next_signal() is signal.SIGTERM
            sender.join()
        ended.set()
        for breeder in breeders:
            breeder.join()


def test_what_nobody_waited_for_is_dropped_and_the_mask_is_as_before() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with awaited(signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
