"""What a process remembers of the package's sources."""

from __future__ import annotations

from patchbank import fingerprint


def forget_sources() -> None:
    """Read every file again when its hash is asked for, after a test has changed one."""
    remembered = (fingerprint.code_fingerprint, fingerprint.reachable, fingerprint.module_file)
    for cached in (*remembered, fingerprint._read, fingerprint._is_module):
        cached.cache_clear()
    fingerprint._parsed.clear()
