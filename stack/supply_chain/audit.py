"""Ask for known vulnerabilities of all that is locked: `python -m stack.supply_chain.audit pip-audit ...`.

Each lock is asked for by itself, since two of them may hold a package in different versions.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from stack.layout import StackError
from stack.supply_chain.locks import LOCKS
from stack.supply_chain.policy import Policy

OPTIONS = ("--strict", "--progress-spinner=off", "--disable-pip", "--vulnerability-service=osv")


def main() -> None:
    """Run from the command line; all words are pip-audit's own, as it is to be called."""
    accepted = [f"--ignore-vuln={name}" for name in Policy.read().vulnerabilities]
    try:
        found = [audit([*sys.argv[1:], *OPTIONS, *accepted], lock) for lock in sorted(LOCKS.glob("*.txt"))]
    except StackError as error:
        sys.exit(f"audit: {error}")
    if any(found):
        sys.exit("audit: raise these in pyproject.toml and run make lock, or accept them in requirements/policy.toml")


def audit(command: list[str], lock: Path) -> bool:
    """Print what is known of the packages of a lock; return whether anything is.

    Raises:
        StackError: pip-audit got no answer.
    """
    done = subprocess.run([*command, f"--requirement={lock}"], capture_output=True, text=True, check=False)  # noqa: S603 - make's words
    last = done.stderr.strip().rpartition("\n")[2]
    if done.returncode and not done.stdout:
        raise StackError(f"pip-audit failed for {lock.name}: {last}")
    print(f"{lock.name}: {last}", done.stdout, sep="\n", end="", flush=True)
    return bool(done.returncode)


if __name__ == "__main__":
    main()
