"""NTF: notifications and alarms: produced, subscribed to, and read afterwards.

Source: SAI-AIS-NTF-A.03.01.
"""

from .client import NtfService, initialize
from .values import Callback

__all__ = ["Callback", "NtfService", "initialize"]
