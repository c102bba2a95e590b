#!/bin/bash
# Makes DIR from checkouts of leapp and leapp-repository, which stay as they are: setup.sh LEAPP LEAPP_REPOSITORY DIR.
#   venv/         what the framework needs; rpm and dnf are this machine's
#   python/       the same for the source system of the tests
#   framework/    the framework with the schemas of its database, and leapp-repository's commands
#   8to9, 9to10   machines: what leapp-repository's package has in /etc/leapp and /usr/share/leapp-repository
#   checkout/     leapp-repository without its livemode actors, for its own tests
#   topics/, bare/  leapp-repository's models, tags and workflow, and no actor
set -euo pipefail
framework=$(readlink -f "$1") repository=$(readlink -f "$2") out=$3
for need in "$framework/leapp/actors" "$framework/res/schema/embed.py" "$repository/repos/system_upgrade/common" "$repository/commands/upgrade"; do
    [ -e "$need" ] || { echo "$need is missing: LEAPP and LEAPP_REPOSITORY are checkouts of leapp and leapp-repository" >&2 && exit 2; }
done
rm -rf "$out"
mkdir -p "$out"
out=$(readlink -f "$out")

# Not by the name of leapp: what PyPI has there is another product.
/usr/bin/python3 -m venv --system-site-packages "$out/venv"
"$out/venv/bin/pip" install --quiet --disable-pip-version-check six requests PyYAML setuptools distro pyudev pytest

# The same for a system that has nothing.
"$out/venv/bin/pip" install --quiet --disable-pip-version-check --ignore-installed --target "$out/python" six requests PyYAML distro

mkdir "$out/framework" "$out/framework/res"
cp -r "$framework/leapp" "$out/framework/"
cp -r "$framework/res/schema" "$out/framework/res/"
(cd "$out/framework" && python3 res/schema/embed.py >"$out/schema.log" && cp res/schema/schemas.py leapp/utils/)
cp -r "$repository/commands" "$out/framework/leapp/cli/"
rm -rf "$out/framework/leapp/cli/commands/tests"

# As the spec file of leapp-repository does it, by links that hold below any root.
for way in 8to9 9to10; do
    share=$out/$way/usr/share/leapp-repository
    mkdir -p "$share/repositories" "$share/custom-repositories" "$out/$way/etc/leapp/repos.d" "$out/$way/etc/leapp/actor_conf.d"
    cp "$framework/etc/leapp/logger.conf" "$out/$way/etc/leapp/"
    cp -r "$repository/repos/common" "$share/repositories/"
    mkdir "$share/repositories/system_upgrade"
    cp -r "$repository/repos/system_upgrade/common" "$repository/repos/system_upgrade/el${way/to/toel}" "$share/repositories/system_upgrade/"
    find "$share" -name tests -type d -prune -exec rm -r {} +
    for name in common system_upgrade; do
        ln -s "../../../usr/share/leapp-repository/repositories/$name" "$out/$way/etc/leapp/repos.d/$name"
    done
    # Since 0.26.
    ln -s ../../../usr/share/leapp-repository/custom-repositories "$out/$way/etc/leapp/repos.d/custom-repositories"
done

cp -r "$out/9to10/usr/share/leapp-repository/repositories/system_upgrade/common" "$out/bare"
rm -r "$out/bare/actors"
cp -r "$repository/repos/common" "$out/topics"
# With their tests, and not the actors that ours replace.
mkdir "$out/checkout"
cp -r "$repository/repos" "$repository/conftest.py" "$out/checkout/"
rm -r "$out/checkout/repos/system_upgrade/common/actors/livemode"
