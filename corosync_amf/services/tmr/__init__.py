"""TMR: timers of one process; no executive takes part.

Source: SAI-AIS-TMR-A.01.01.
"""
