import subprocess


class CalledProcessError(Exception):
    def __init__(self, command, result):
        super().__init__('Command {} failed with exit code {}.'.format(command, result['exit_code']))
        self.command, self.exit_code = command, result['exit_code']
        self.stdout, self.stderr = result['stdout'], result['stderr']


def run(args, checked=True):
    done = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding='utf-8')
    result = {'stdout': done.stdout, 'stderr': done.stderr, 'exit_code': done.returncode}
    if checked and done.returncode:
        raise CalledProcessError(args, result)
    return result
