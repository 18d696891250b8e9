"""Start and stop a PostgreSQL of this project, which nobody else can connect to."""

import os
import pwd
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from filelock import FileLock, Timeout

from pipeline.errors import PipelineError

ROLE = "mlflow"
DATABASE = "postgres"  # the one that a new cluster has
# Debian's packages put the programs of each version here, and not on the PATH.
DEBIAN_FOLDER = Path("/usr/lib/postgresql")
SERVER_USER = "postgres"  # whom Debian's packages make; PostgreSQL refuses to run as root
OTHER_SERVERS = "PG"  # begins variables that would lead PostgreSQL's programs somewhere else
START_SECONDS = 60
CANNOT_START = "could not start server"


class PostgreSQL:
    """A database server over a folder of this project.

    It listens on a socket in a folder that is closed to other users, and on no port: there is no
    password that could be shown.

    Args:
        folder: folder of the database; it is made with the first start, and its data stay.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._data = self._folder / "data"
        self._log = self._folder / "log"
        lock = self._folder.with_name(f".{folder.name}.lock")
        self._lock = FileLock(lock, thread_local=False)  # it is this process that holds it
        self._socket: Path | None = None

    @property
    def address(self) -> str:
        """Address of the database for SQLAlchemy, while it runs."""
        return f"postgresql://{ROLE}@/{DATABASE}?host={quote(str(self._socket), safe='')}"

    def start(self) -> None:
        """Start the server, and wait until it answers.

        Raises:
            PipelineError: PostgreSQL is not installed, does not start, or serves these data to
                another process.
        """
        programs = _programs(self._version())
        self._take()
        try:
            if self._version() is None:
                self._create(programs)
            elif _run([programs / "pg_ctl", f"--pgdata={self._data}", "status"]).returncode == 0:
                self.stop()  # nobody has it: left by a process that was killed
            if self._socket is None:
                self._socket = Path(tempfile.mkdtemp(prefix="pipeline-postgresql-"))
                _hand_over(self._socket)
            listens = f"-c listen_addresses= -k {shlex.quote(str(self._socket))}"
            started = ["start", "--wait", f"--timeout={START_SECONDS}", f"--log={self._log}"]
            self._control(programs, *started, f"--options={listens}")
        except BaseException:
            self._let_go()
            raise

    def stop(self) -> None:
        """Close all connections, and end the server.

        Raises:
            PipelineError: the server does not run.
        """
        self._control(_programs(self._version()), "stop", "--mode=fast", "--wait")

    def close(self) -> None:
        """End the server for good: what starts again has another address."""
        try:
            self.stop()
        finally:
            self._let_go()

    def _version(self) -> str | None:
        """Return the major version whose data these are; None if there are none."""
        file = self._data / "PG_VERSION"
        try:
            return file.read_text(encoding="utf-8").strip() if file.is_file() else None
        except PermissionError as error:
            raise PipelineError(
                f"{self._folder} is another user's, perhaps since root has run this."
            ) from error

    def _take(self) -> None:
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        if self._lock.is_locked:
            return
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise PipelineError(f"PostgreSQL over {self._folder} runs already.") from error

    def _let_go(self) -> None:
        if self._socket is not None:
            shutil.rmtree(self._socket, ignore_errors=True)
            self._socket = None
        self._lock.release()

    def _create(self, programs: Path) -> None:
        """Make an empty database, which has its name once it is whole."""
        self._folder.mkdir(exist_ok=True)
        _hand_over(self._folder)
        part = self._data.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        # The socket's folder keeps others out, so that whoever reaches the socket may connect.
        options = [f"--username={ROLE}", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        done = _run([programs / "initdb", f"--pgdata={part}", *options])
        if done.returncode != 0:
            who = f" (as the user {SERVER_USER}, since root may not)" if os.geteuid() == 0 else ""
            raise PipelineError(
                f"PostgreSQL cannot make a database in {self._folder}{who}: {_reason(done.stdout)}"
            )
        part.replace(self._data)

    def _control(self, programs: Path, *arguments: str) -> None:
        done = _run([programs / "pg_ctl", f"--pgdata={self._data}", *arguments])
        if done.returncode != 0:
            said = done.stdout
            if CANNOT_START in said and self._log.is_file():
                said = self._log.read_text(encoding="utf-8", errors="replace")
            raise PipelineError(
                f"PostgreSQL over {self._folder} does not {arguments[0]}: {_reason(said)}"
            )


def _programs(version: str | None) -> Path:
    """Find the folder of PostgreSQL's programs.

    Args:
        version: major version that is needed; None takes the PATH's, or else the newest.

    Raises:
        PipelineError: there is none.
    """
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(DEBIAN_FOLDER.glob("*/bin"), key=_number, reverse=True)
    for folder in folders:
        initdb = folder / "initdb"
        if initdb.is_file() and (version is None or version == _major(initdb)):
            return folder
    if version is not None:
        raise PipelineError(
            f"these data are of PostgreSQL {version}, which is not installed: install it (apt "
            f"install postgresql-{version}), or convert them with pg_upgrade."
        )
    raise PipelineError(
        "PostgreSQL is not installed: apt install postgresql (Debian, Ubuntu) or brew install "
        "postgresql (macOS); or name a database that runs already: MLFLOW_BACKEND_STORE_URI=..."
    )


def _number(folder: Path) -> int:
    version = folder.parent.name
    return int(version) if version.isdecimal() else 0


def _major(program: Path) -> str:
    """Return a program's major version, as PG_VERSION has it."""
    said = re.search(r"\d+", _run([program, "--version"]).stdout)
    return said[0] if said else ""


def _run(command: list[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run a program of PostgreSQL, out of reach of the terminal's Ctrl-C."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OTHER_SERVERS)}
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        entry = _server_user()
        user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    return subprocess.run(
        command,
        cwd="/",  # the other user may not enter this one
        env=kept | {"LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        start_new_session=True,
        **user,
    )


def _server_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SERVER_USER)
    except KeyError as error:
        raise PipelineError(
            f"PostgreSQL refuses to run as root, and there is no user {SERVER_USER}; be another "
            "user, or make that one."
        ) from error


def _hand_over(folder: Path) -> None:
    """Close a folder to all but the user that PostgreSQL runs as."""
    folder.chmod(0o700)
    if os.geteuid() == 0:
        entry = _server_user()
        os.chown(folder, entry.pw_uid, entry.pw_gid)


def _reason(said: str) -> str:
    """Take the line that says what is wrong from what a program has said."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"\b(error|FATAL|PANIC):", line)]
    return (telling or lines or ["it does not say why"])[-1]
