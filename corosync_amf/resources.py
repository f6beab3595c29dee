"""Where the files that come with the package are: beside it in a checkout, inside it when installed."""

from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).parent
_ROOT: Final = _HERE / "_data" if (_HERE / "_data").is_dir() else _HERE.parent
SCAFFOLDS: Final = _ROOT / "scaffolds"
"""The application templates."""
REFERENCE_CONFIG: Final = _ROOT / "etc" / "ais" / "amf.conf"
"""The commented amf.conf; never read in place of a missing one."""
REFERENCE_MAIN_CONFIG: Final = _ROOT / "etc" / "ais" / "corosync.conf"
"""The commented corosync.conf."""
