"""Trees laid out as OpenNebula's own packages lay them out, with a few names of each kind and contents of our own.

Names are those that install.sh of release-7.4.0 and release-6.10.5 installs; who owns them is as in the debian/*.install
files of OpenNebula/packages. What only the node packages own stands under their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from components.domain import Version

_HELPER = "usr/lib/one/ruby/cli/one_helper"

_BOTH: Mapping[str, tuple[str, ...]] = {
    "opennebula": (
        *("usr/bin/oned", "usr/bin/one", "usr/bin/onedb", "usr/bin/onecfg", "usr/bin/onehem-server"),
        *("usr/lib/one/mads/one_tm", "usr/lib/one/mads/onemonitord", "usr/lib/one/onehem/onehem-server.rb"),
        *("usr/lib/one/sh/scripts_common.sh", "usr/lib/one/sh/override/ssh", "usr/lib/one/onecfg/lib/onecfg.rb"),
        *("usr/lib/one/ruby/ActionManager.rb", "usr/lib/one/ruby/CommandManager.rb"),
        *("usr/lib/one/ruby/HostSyncManager.rb", "usr/lib/one/ruby/OpenNebulaDriver.rb"),
        *("usr/lib/one/ruby/VirtualMachineDriver.rb", "usr/lib/one/ruby/DriverExecHelper.rb"),
        *("usr/lib/one/ruby/ssh_stream.rb", "usr/lib/one/ruby/one_vnm.rb", "usr/lib/one/ruby/onedb/onedb.rb"),
        *("usr/lib/one/ruby/onedb/fsck/vm.rb", "usr/lib/one/ruby/onedb/patches/ip.rb"),
        *("etc/one/oned.conf", "etc/one/monitord.conf", "etc/one/onehem-server.conf", "etc/one/defaultrc"),
        *("etc/one/tmrc", "etc/one/auth/ldap_auth.conf", "etc/one/hm/hmrc", "etc/one/vmm_exec/vmm_exec_kvm.conf"),
        *("var/lib/one/remotes/VERSION", "var/lib/one/remotes/datastore/downloader.sh"),
        *("var/lib/one/remotes/scripts_common.sh", "var/lib/one/remotes/etc/im/kvm-probes.d/pci.conf"),
        *("usr/share/one/conf/oned.conf", "usr/share/one/schemas/xsd/vm.xsd", "usr/share/one/pre_cleanup"),
        *("usr/share/one/follower_cleanup", "usr/share/one/start-scripts/cron_start_script"),
        *("usr/share/one/onecfg/etc/files.yaml", "usr/share/man/man1/onedb.1.gz", "usr/share/man/man1/oned.1.gz"),
        *("lib/systemd/system/opennebula.service", "lib/systemd/system/opennebula-hem.service"),
        *("lib/systemd/system/opennebula-showback.timer", "etc/logrotate.d/opennebula"),
        *("etc/logrotate.d/opennebula-hem", "etc/sudoers.d/opennebula-server"),
        *("usr/share/doc/opennebula/changelog.Debian.gz", "usr/share/lintian/overrides/opennebula"),
    ),
    "opennebula-libs": (
        *("usr/lib/one/ruby/opennebula.rb", "usr/lib/one/ruby/opennebula/client.rb"),
        *("usr/lib/one/ruby/opennebula/flow/service_template.rb", "usr/lib/one/ruby/cloud/CloudClient.rb"),
        *("usr/lib/one/ruby/cloud/CloudServer.rb", "usr/lib/one/ruby/cloud/CloudAuth.rb"),
        *("usr/lib/one/ruby/cloud/CloudAuth/OneGateCloudAuth.rb", "usr/lib/one/ruby/vendors/packethost/lib/packet.rb"),
        *("usr/share/one/Gemfile", "usr/share/one/install_gems", "usr/share/doc/opennebula-libs/copyright"),
    ),
    "opennebula-tools": (
        *("usr/bin/onevm", "usr/bin/onehost", "usr/bin/onemarketapp", "usr/bin/oneflow", "usr/bin/oneflow-template"),
        *("usr/lib/one/ruby/cli/command_parser.rb", "usr/lib/one/ruby/cli/one_helper.rb", f"{_HELPER}/onevm_helper.rb"),
        *("etc/one/cli/onevm.yaml", "etc/one/cli/oneflowtemplate.yaml", "usr/share/one/onetoken.sh"),
        *("usr/share/man/man1/onevm.1.gz", "etc/bash_completion.d/opennebula"),
    ),
    "opennebula-flow": (
        *("usr/bin/oneflow-server", "usr/lib/one/oneflow/oneflow-server.rb", "usr/lib/one/oneflow/lib/models/role.rb"),
        *("etc/one/oneflow-server.conf", "lib/systemd/system/opennebula-flow.service"),
        "etc/logrotate.d/opennebula-flow",
    ),
    "opennebula-gate": (
        *("usr/bin/onegate-server", "usr/lib/one/onegate/onegate-server.rb", "usr/lib/one/onegate/onegate"),
        *("etc/one/onegate-server.conf", "lib/systemd/system/opennebula-gate.service"),
    ),
    "opennebula-fireedge": (
        *("usr/bin/fireedge-server", "usr/lib/one/fireedge/dist/index.js", "usr/lib/one/fireedge/node_modules/x/x.js"),
        *("etc/one/fireedge-server.conf", "etc/one/fireedge/sunstone/sunstone-server.conf"),
        "lib/systemd/system/opennebula-fireedge.service",
    ),
    "opennebula-guacd": (
        *("usr/share/one/guacd/sbin/guacd", "usr/share/one/guacd/lib/libguac.so", "etc/one/guacd"),
        "lib/systemd/system/opennebula-guacd.service",
    ),
    "opennebula-migration": (
        *("usr/lib/one/ruby/onedb/local/6.10.0_to_7.0.0.rb", "usr/lib/one/ruby/onedb/shared/6.8.0_to_6.10.0.rb"),
    ),
    "opennebula-provision": (
        *("usr/bin/oneprovision", "usr/bin/oneprovider", "etc/one/cli/oneprovision.yaml"),
        f"{_HELPER}/oneprovision_helper.rb",
    ),
    "opennebula-prometheus": (
        *("etc/one/prometheus/rules.yml", "usr/lib/one/opennebula_exporter/opennebula_exporter.rb"),
        *("usr/share/one/grafana/dashboards/vms.json", "lib/systemd/system/opennebula-node-exporter.service"),
    ),
    "opennebula-rubygems": ("usr/share/one/gems-dist/gems/ox-2/ox.rb", "usr/share/one/gems-dist/gems/ox-2/ext/ox.so"),
    "opennebula-common": (
        *("usr/share/one/ssh/config", "usr/share/one/ssh/config-pre7.6", "usr/share/doc/one/LICENSE"),
        *("etc/sudoers.d/opennebula", "usr/lib/tmpfiles.d/opennebula-common.conf"),
    ),
    "opennebula-node-kvm": ("usr/bin/qemu-kvm-one-gen", "etc/sudoers.d/opennebula-node-kvm"),
}
_ONLY: Mapping[Version, Mapping[str, tuple[str, ...]]] = {
    Version.V7_4: {
        "opennebula": (
            *("etc/one/schedulers/rank.conf", "etc/one/auth/saml_auth.conf", "usr/lib/one/mads/one_sched"),
            *("usr/lib/one/ruby/DriverLogger.rb", "var/lib/one/remotes/scheduler/rank/place"),
            "var/lib/one/remotes/etc/im/kvm-probes.d/forecast.conf",
        ),
        "opennebula-libs": ("usr/lib/one/ruby/opennebula/grpc/hash.rb", "usr/lib/one/ruby/opennebula/form/form.rb"),
        "opennebula-tools": (
            *("usr/bin/oneform", "usr/bin/oneks", "usr/lib/one/ruby/cli/ods_helper.rb", "etc/one/cli/ks_cluster.yaml"),
        ),
        "opennebula-fireedge": ("etc/one/fireedge/sunstone/remotes-config.yaml",),
        "opennebula-form": (
            *("etc/one/oneform-server.conf", "usr/bin/oneform-server", "usr/lib/one/oneform/oneform-server.rb"),
            *("var/lib/one/oneform/drivers/.states/dummy.state", "usr/share/one/ansible/plugins/lib/oneform_client.py"),
        ),
        "opennebula-ks": (
            *("etc/one/oneks-server.conf", "usr/bin/oneks-server", "usr/lib/one/oneks/oneks-server.rb"),
            *("var/lib/one/oneks/nodegroups/general/spec.erb", "usr/lib/one/ods/ods-server.rb"),
        ),
        "opennebula-common": ("usr/lib/one/ruby/load_opennebula_paths.rb",),
    },
    Version.V6_10: {
        "opennebula": (
            *("usr/bin/mm_sched", "etc/one/sched.conf", "usr/share/man/man1/mm_sched.1.gz", "etc/one/az_driver.conf"),
            *("etc/one/vcenter_driver.default", "usr/lib/one/ruby/PublicCloudDriver.rb", "usr/lib/one/ruby/aws_vnm.rb"),
            *(
                "usr/lib/one/ruby/equinix.rb",
                "usr/lib/one/ruby/opennebula_driver.rb",
                "usr/share/one/examples/vm.template",
            ),
            "lib/systemd/system/opennebula-scheduler.service",
        ),
        "opennebula-libs": (
            *("usr/lib/one/ruby/vcenter_driver.rb", "usr/lib/one/ruby/vcenter_driver/host.rb"),
            *("usr/lib/one/ruby/nsx_driver/nsx_rule.rb", "usr/lib/one/ruby/scripts_common.rb"),
            "usr/lib/one/ruby/cloud/CloudAuth/SunstoneCloudAuth.rb",
        ),
        "opennebula-sunstone": (
            *("usr/bin/sunstone-server", "usr/bin/novnc-server", "usr/lib/one/sunstone/sunstone-server.rb"),
            *("usr/lib/one/sunstone/public/dist/login.js", "usr/lib/one/ruby/OpenNebulaAddons.rb"),
            *("etc/one/sunstone-server.conf", "etc/one/sunstone-views.yaml", "etc/one/sunstone-views/kvm/admin.yaml"),
            *("usr/share/one/websockify/run", "var/lib/one/sunstone/main.js"),
            *("lib/systemd/system/opennebula-sunstone.service", "lib/systemd/system/opennebula-novnc.service"),
        ),
        "opennebula-tools": ("usr/bin/onevcenter",),
        "opennebula-provision": ("usr/lib/one/oneprovision/lib/oneprovision.rb",),
        "opennebula-provision-data": ("usr/share/one/oneprovision/edge-clusters/metal.yml",),
    },
}
_PROGRAMS = ("usr/bin/", "usr/lib/one/mads/", "usr/share/one/guacd/sbin/")


def owners(version: Version) -> dict[str, set[str]]:
    """Package → paths that are its own."""
    found = {name: set(places) for name, places in _BOTH.items()}
    for name, places in _ONLY[version].items():
        found.setdefault(name, set()).update(places)
    return found


def lay_out(tree: Path, version: Version) -> Path:
    """The tree, with an empty `packages.txt`."""
    for place in set().union(*owners(version).values()):
        path = tree / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {place}\n")
        path.chmod(0o755 if place.startswith(_PROGRAMS) else 0o644)
    (tree / "usr/share/one/gems").symlink_to("gems-dist")
    (tree / "packages.txt").touch()
    return tree
