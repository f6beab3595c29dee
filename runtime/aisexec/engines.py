"""The engines of one node, in the order in which they learn of a membership. Pure."""

from dataclasses import replace

from corosync_amf.engine import Engine
from corosync_amf.services.amf.engine import AmfEngine
from corosync_amf.services.ckpt.engine import CkptEngine
from corosync_amf.services.clm.engine import ClmEngine, ClmSettings
from corosync_amf.services.cpg.engine import CpgEngine
from corosync_amf.services.evs.engine import EvsEngine
from corosync_amf.services.evt.engine import EvtEngine
from corosync_amf.services.evt.messages import Settings as EvtSettings
from corosync_amf.services.lck.engine import LckEngine
from corosync_amf.services.log.engine import LogEngine
from corosync_amf.services.msg.engine import MsgEngine
from corosync_amf.services.ntf.engine import NtfEngine


def engines_of(amf: AmfEngine, clm: ClmSettings | None = None, evt: EvtSettings | None = None) -> list[Engine]:
    """One engine of each service, new but for AMF's."""
    return [
        ClmEngine(replace(clm or ClmSettings(), has_amf=True)),
        CkptEngine(),
        amf,
        EvtEngine(evt),
        MsgEngine(),
        LckEngine(),
        NtfEngine(),
        LogEngine(),
        EvsEngine(),
        CpgEngine(),
    ]
