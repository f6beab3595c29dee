"""A SIP back-to-back user agent with billing and an RTP relay, as a component of corosync-amf."""
