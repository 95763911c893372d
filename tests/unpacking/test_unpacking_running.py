"""Programs of others: bounded, and gone when nobody wants them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from gateway.errors import ImportFailed, ProgramKilled
from gateway_queue.unpacking.running import Limits, run

LIMITS = Limits(file_size=1 << 20)


def python(code: str) -> list[str | Path]:
    return [sys.executable, "-I", "-c", code]


def test_what_a_program_says_and_how_it_ends_is_told(tmp_path: Path) -> None:
    heard: list[str] = []

    ended = run(
        python("print('one\\rtwo'); raise SystemExit(3)"),
        folder=tmp_path,
        limits=LIMITS,
        tick=heard.append,
    )

    assert ended.code == 3
    assert ended.said == "".join(heard) == "one\ntwo\n"
    assert ended.last_words == "two"


def test_a_program_gets_its_input_and_no_secret_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_API_KEY", "secret")
    code = (
        "import os, sys; data = sys.stdin.buffer.read();"
        "print(len(data), sorted(os.environ), os.getcwd(), os.getsid(0) == os.getpid(),"
        "os.environ['LC_ALL'], os.nice(0) > 0)"
    )

    ended = run(
        python(code),
        folder=tmp_path,
        limits=LIMITS,
        tick=lambda _: None,
        feed=[b"x" * 300_000, b"y"],
    )

    assert ended.said.split(" ", 1)[0] == "300001"
    assert "GATEWAY" not in ended.said
    assert f"{tmp_path} True C.UTF-8 True" in ended.said


def test_only_the_end_of_endless_words_is_kept(tmp_path: Path) -> None:
    code = "import sys\nfor n in range(20000): print('word' * 10)\nprint('the end')"

    ended = run(python(code), folder=tmp_path, limits=LIMITS, tick=lambda _: None)

    assert len(ended.said) <= 64 * 1024
    assert ended.last_words == "the end"


def test_a_program_that_reads_nothing_of_what_it_is_given_may_end(tmp_path: Path) -> None:
    ended = run(
        python("pass"),
        folder=tmp_path,
        limits=LIMITS,
        tick=lambda _: None,
        feed=(b"x" * 65536 for _ in range(1000)),
    )
    assert ended.code == 0


@pytest.mark.skipif(sys.platform != "linux", reason="limits from outside are Linux's")
def test_a_program_cannot_write_more_than_it_may(tmp_path: Path) -> None:
    code = "import sys\nsys.stdin.read()\nopen('big', 'wb').write(bytes(9 << 20))"

    ended = run(python(code), folder=tmp_path, limits=LIMITS, tick=lambda _: None, feed=[b"go"])

    assert ended.code != 0
    assert (tmp_path / "big").stat().st_size <= LIMITS.file_size


def test_what_a_tick_raises_ends_a_program_with_all_that_it_started(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "child.wait()"
    )
    pids: list[int] = []
    before = psutil.Process().children()

    def tick(said: str) -> None:
        if said:
            pids.append(int(said))
            raise KeyError("cancelled")

    with pytest.raises(KeyError):
        run(python(code), folder=tmp_path, limits=LIMITS, tick=tick)

    assert psutil.Process().children() == before
    (pid,) = pids
    try:
        psutil.Process(pid).wait(10)
    except psutil.NoSuchProcess:
        return
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_program_that_hangs_is_ended(tmp_path: Path) -> None:
    with pytest.raises(ImportFailed, match="did not end within 1 s"):
        run(
            python("import time; time.sleep(600)"),
            folder=tmp_path,
            limits=Limits(file_size=0, timeout_s=0.6),
            tick=lambda _: None,
        )
    assert [*tmp_path.iterdir()] == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a death")
def test_no_program_outlives_a_gateway_that_is_killed(tmp_path: Path) -> None:
    hanging = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    gateway = (
        "import sys\nfrom pathlib import Path\n"
        "from gateway_queue.unpacking.running import Limits, run\n"
        f"run([sys.executable, '-I', '-c', {hanging!r}], folder=Path('.'), "
        "limits=Limits(file_size=0), tick=lambda said: print(said, end='', flush=True))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", gateway], stdout=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        program = psutil.Process(int(process.stdout.readline()))
        process.send_signal(signal.SIGKILL)

    try:
        program.wait(10)
    except psutil.TimeoutExpired:  # nobody may be there who would collect it
        assert program.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_that_others_kill_has_said_nothing_of_what_it_worked_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    def kill(said: str) -> None:
        if said:
            os.kill(int(said), number)

    with pytest.raises(ProgramKilled, match=rf"was killed \({number.name}\): the machine may"):
        run(
            python("import os, time; print(os.getpid(), flush=True); time.sleep(600)"),
            folder=tmp_path,
            limits=LIMITS,
            tick=kill,
        )


def test_a_program_dies_of_what_it_does_as_it_would_by_itself(tmp_path: Path) -> None:
    ended = run(
        ["/bin/sh", "-c", "kill -XFSZ $$"], folder=tmp_path, limits=LIMITS, tick=lambda _: None
    )
    assert ended.code == -signal.SIGXFSZ


def test_a_program_that_cannot_be_run_says_why(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("elsewhere it is an error of the system")
    broken = tmp_path / "7z"
    broken.write_text("no program")
    ended = run([broken], folder=tmp_path, limits=LIMITS, tick=lambda _: None)
    assert ended.code == 127
    assert ended.last_words.startswith(str(broken))
