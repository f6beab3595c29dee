"""`python -m corosync_amf.cli` is `amf`."""

from corosync_amf.cli import main

main()
