from leapp.actors import Actor
from leapp.configs.actor import livemode, livemode_more
from leapp.libraries.common import livemode_prep
from leapp.libraries.stdlib import api
from leapp.models import LiveModeConfig
from leapp.tags import ExperimentalTag, FactsPhaseTag, IPUWorkflowTag


class LiveModeConfigScanner(Actor):
    """
    Tells what /etc/leapp/actor_conf.d asks of LiveMode.

    An invalid configuration gives no message here; live_mode_reporter inhibits the upgrade for it.
    """

    name = 'live_mode_config_scanner'
    config_schemas = livemode.livemode_cfg_fields + livemode_more.more_cfg_fields
    consumes = ()
    produces = (LiveModeConfig,)
    tags = (ExperimentalTag, FactsPhaseTag, IPUWorkflowTag)

    def process(self):
        if not livemode_prep.is_opted_in():
            api.current_logger().info('LiveMode is idle: LEAPP_UNSUPPORTED is not 1')
            return
        try:
            answer = livemode_prep.call(['config'])
        except livemode_prep.Failed as error:
            api.current_logger().error('LiveMode is not configured: %s', error.why)
            return
        for warning in answer['warnings']:
            api.current_logger().warning(warning)
        config = answer['livemode']
        self.produce(
            LiveModeConfig(
                is_enabled=True,
                squashfs_fullpath=config['squashfs_image_path'],
                additional_packages=config['additional_packages'],
                autostart_upgrade_after_reboot=config['autostart_upgrade_after_reboot'],
                setup_network_manager=config['setup_network_manager'],
                setup_passwordless_root=config['setup_passwordless_root'],
                setup_opensshd_with_auth_keys=config['setup_opensshd_using_auth_keys'],
                capture_upgrade_strace_into=config['capture_strace_info_into'],
                # leapp's own code refuses or mangles these two; livemode-prep reads them itself.
                dracut_network='',
                url_to_load_squashfs_from='',
            )
        )
