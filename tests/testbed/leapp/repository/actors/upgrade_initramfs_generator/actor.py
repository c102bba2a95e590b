import glob
import os
import shutil

from leapp.actors import Actor
from leapp.libraries.stdlib import run
from leapp.models import (
    BootContent,
    LiveModeConfig,
    TargetUserSpaceInfo,
    TargetUserSpaceUpgradeTasks,
    UpgradeInitramfsTasks,
)
from leapp.tags import InterimPreparationPhaseTag, IPUWorkflowTag


class UpgradeInitramfsGenerator(Actor):
    """
    Does to the container and to /boot what leapp's own actor does.
    """

    name = 'upgrade_initramfs_generator'
    consumes = (LiveModeConfig, TargetUserSpaceInfo, TargetUserSpaceUpgradeTasks, UpgradeInitramfsTasks)
    produces = (BootContent,)
    tags = (InterimPreparationPhaseTag, IPUWorkflowTag)

    def process(self):
        userspace = next(self.consume(TargetUserSpaceInfo)).path
        inside = ['unshare', '--mount', '--pid', '--fork', '--mount-proc=' + userspace + '/proc', 'chroot', userspace]
        for tasks in self.consume(TargetUserSpaceUpgradeTasks):
            run(inside + ['dnf', '--quiet', '-y', 'install'] + tasks.install_rpms)
            for file in tasks.copy_files:
                source, target = os.environ['INSTALLED'] + file.src, userspace + (file.dst or file.src)
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.rmtree(target, ignore_errors=True)
                (shutil.copytree if os.path.isdir(source) else shutil.copy2)(source, target)
        modules, drivers, files = ['livenet', 'dmsquash-live'], [], []
        for tasks in [] if os.environ.get('FORGETS_TASKS') else self.consume(UpgradeInitramfsTasks):
            modules += [module.name for module in tasks.include_dracut_modules]
            drivers += [module.name for module in tasks.include_kernel_modules]
            files += tasks.include_files
        version, = os.listdir(userspace + '/lib/modules')
        kernel, = glob.glob(userspace + '/boot/vmlinuz-*')
        call = inside + ['dracut', '--force', '--no-hostonly', '--no-hostonly-default-device', '--lvmconf', '--mdadmconf']
        call += ['--compress', 'zstd -q -T0 -3', '-o', 'plymouth dash resume ifcfg earlykdump']
        for module in modules:
            call += ['--add', module]
        if files:
            call += ['--install', ' '.join(files)]
        if drivers:
            call += ['--add-drivers', ' '.join(drivers)]
        run(call + ['--kver', version, '/boot/initramfs-upgrade.x86_64.img'])
        root = os.environ['SOURCE']
        shutil.copy2(kernel, root + '/boot/vmlinuz-upgrade.x86_64')
        shutil.move(userspace + '/boot/initramfs-upgrade.x86_64.img', root + '/boot/initramfs-upgrade.x86_64.img')
        # For tests to know it by; not where /run is in memory.
        if os.stat(root + '/run').st_dev == os.stat(root + '/boot').st_dev:
            os.link(root + '/boot/initramfs-upgrade.x86_64.img', root + '/run/initramfs-of-leapp')
        with open(root + '/boot/.vmlinuz-upgrade.x86_64.hmac', 'w') as file:
            file.write('00  vmlinuz-upgrade.x86_64\n')
        self.produce(BootContent(
            kernel_path='/boot/vmlinuz-upgrade.x86_64',
            initram_path='/boot/initramfs-upgrade.x86_64.img',
            kernel_hmac_path='/boot/.vmlinuz-upgrade.x86_64.hmac',
        ))
