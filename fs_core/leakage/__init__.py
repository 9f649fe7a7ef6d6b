"""Looking for leaks: answers that knew more than could be known at their moments.

Four kinds of evidence, a file each: what is declared beside what was measured (`availability`), answers that
change once the future is deleted (`truncation`), features that know the label too well or facts that follow it
too closely (`label`), and columns made elsewhere that aren't what was known (`claims`).
"""

from fs_core.leakage.report import Finding, LeakageReport, Severity

__all__ = ["Finding", "LeakageReport", "Severity"]
