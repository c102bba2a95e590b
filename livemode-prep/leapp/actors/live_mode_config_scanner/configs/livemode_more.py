"""The keys of the section livemode that leapp's own actors do not have."""
from leapp.configs.actor.livemode_key import key

Atomic = key(__name__, 'Atomic', 'atomic', 'auto')
OnFailure = key(__name__, 'OnFailure', 'on_failure', 'return')
HoldLimit = key(__name__, 'HoldLimit', 'hold_limit', 0)
Watchdog = key(__name__, 'Watchdog', 'watchdog', True)

more_cfg_fields = (Atomic, OnFailure, HoldLimit, Watchdog)
