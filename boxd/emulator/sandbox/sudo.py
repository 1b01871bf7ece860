"""`sudo` in a box: the machine user may become the box's root without a password, as on the real service.

The host's own sudo, if there is one, knows nothing of the box's user. So a box gets a small script of that
name and, for it, a set-user-id copy of the host's setpriv(1). The box's user namespace and its few
capabilities bound what that root can do.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .rootfs import Plan

_HELPER = "usr/local/lib/boxd/as-root"
_SCRIPT = "usr/local/bin/sudo"
_TEXT = f"""#!/bin/sh
# Runs a command as the box's root. Takes the usual options of sudo; a user other than root is refused.
shell=
while [ $# -gt 0 ]; do
    case $1 in
        --) shift; break ;;
        -u | --user) [ "$2" = root ] || {{ echo "sudo: only root is known here" >&2; exit 1; }}; shift 2 ;;
        --user=root | -[nEHSkKPAb]* | --preserve-env* | --non-interactive | --set-home | --stdin) shift ;;
        -i | -s | --login | --shell) shell=yes; shift ;;
        -v | --validate) exit 0 ;;
        -*) echo "sudo: unknown option $1" >&2; exit 1 ;;
        *=*) export "$1"; shift ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || shell=yes
if [ -n "$shell" ]; then
    if [ $# -gt 0 ]; then set -- /bin/sh -c "$*"; else set -- /bin/sh; fi
fi
export HOME=/root USER=root LOGNAME=root SUDO_USER="${{USER:-boxd}}"
[ "$(id -u)" = 0 ] && exec "$@"
exec /{_HELPER} --reuid=0 --regid=0 --clear-groups -- "$@"
"""


def host_helper() -> str | None:
    """The host's setpriv, without which there is no sudo in boxes."""
    return shutil.which("setpriv", path="/usr/bin:/bin:/usr/local/bin")


def install(plan: Plan, disk: str) -> None:
    """Put the script, and in a privileged sandbox its helper, on a new disk."""
    script = plan.place(disk, _SCRIPT)
    os.makedirs(os.path.dirname(script), exist_ok=True)
    with open(script, "w", encoding="utf-8") as target:
        target.write(_TEXT)
    os.chmod(script, 0o755)
    source = host_helper()
    if plan.user != 0 and source is not None:
        helper = plan.place(disk, _HELPER)
        os.makedirs(os.path.dirname(helper), exist_ok=True)
        shutil.copyfile(source, helper)
        os.chmod(helper, 0o4755)
