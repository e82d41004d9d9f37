"""Whether a published vulnerability is known of the exact versions that development and CI use (constraints.txt).

Ends with 1 where one is found that `ACCEPTED` does not name. Where nothing can be looked up, for want of a network or
of an index that answers, it says so and ends with 0: a check that needs the world to be there is none.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
ACCEPTED: dict[str, str] = {}
"""Identifier of a vulnerability -> why it does not reach us. Nothing else is left out."""
SECONDS = 180


def audit(pins: list[str]) -> list[dict[str, Any]] | str:
    """What is known of each pin; a text where it could not be looked up."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(pins))
        file.flush()
        command = ["-r", file.name, "--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
        try:
            found = subprocess.run(
                [sys.executable, "-m", "pip_audit", *command, "--timeout", "10"],
                capture_output=True, text=True, check=False, timeout=SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"no answer in {SECONDS} seconds"
    try:
        return json.loads(found.stdout)["dependencies"]
    except (ValueError, KeyError):
        return (found.stderr.strip().splitlines() or ["pip-audit says nothing"])[-1]


def verdict(found: list[dict[str, Any]]) -> tuple[list[str], int]:
    """What to say of the answers of pip-audit, and the exit code."""
    skipped = [each["name"] for each in found if "skip_reason" in each]
    if len(skipped) == len(found):
        return [f"NOT DONE, the advisories cannot be looked up here ({found[0]['skip_reason']})."], 0
    known = [(each["name"], each["version"], one) for each in found for one in each.get("vulns", [])]
    new = [one for one in known if not {one[2]["id"], *one[2].get("aliases", [])} & ACCEPTED.keys()]
    n_packages, n_accepted = len(found) - len(skipped), len(known) - len(new)
    said = [f"{n_packages} packages looked up, {len(known)} vulnerabilities, {n_accepted} of them accepted."]
    said += [f"nothing is known of {', '.join(skipped)}."] if skipped else []
    for name, version, one in new:
        mended = ", ".join(one.get("fix_versions", [])) or "no version yet"
        said.append(f"{name} {version}: {one['id']}, mended in {mended}.")
    return said, 1 if new else 0


def main() -> int:
    """Look all of them up, the first before the others: where it cannot be, 190 more cannot either."""
    lines = (line.partition("#")[0].strip() for line in CONSTRAINTS.read_text().splitlines())
    pins = [line for line in lines if line]
    found = audit(pins[:1])
    if not isinstance(found, str) and all("skip_reason" not in each for each in found):
        found = audit(pins)
    said, code = ([f"NOT DONE, {found}."], 0) if isinstance(found, str) else verdict(found)
    for line in said:
        print(f"audit: {line}")
    return code


if __name__ == "__main__":
    sys.exit(main())
