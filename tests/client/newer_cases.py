"""Calls that newer servers have, in the form of `service_cases`."""

from __future__ import annotations

from boxd import aio
from boxd.aio import BoxConfig
from boxd.messages import backup, billing, checkpoint, network, org, org_member, snapshot, usage, vm, vm_settings
from boxd.messages.vm_config import VmConfig
from boxd.resources.machine import Machine
from tests.client.fakes import FakeChannel, session_with
from tests.client.service_cases import Case

SNAPSHOT = aio.Snapshot("s-1", "base", 2, "ready", 100, 2, 8 << 30, 1, 2, 3, "")
INFO = snapshot.SnapshotInfo(
    snapshot_id="s-1",
    name="base",
    version=2,
    status="ready",
    size_bytes=100,
    vcpu=2,
    memory_bytes=8 << 30,
    created_at=1,
    updated_at=2,
    use_count=3,
)
CHECKPOINT = aio.Checkpoint("c-1", "before", "ready", 100, 1, "user", True)
BACKUP = aio.Backup("b-1", "done", 100, 1, 2)
RATES = usage.UsageRates(vcpu_hour_micro=1, ram_gib_hour_micro=2, disk_gib_hour_micro=3)
USED = usage.VmUsage(
    vm_id="vm-1",
    name="one",
    owner="u",
    status="running",
    vcpu=2,
    memory_bytes=8 << 30,
    disk_bytes=100 << 30,
    seconds=usage.StateSeconds(running=60, standby=30, hibernated=20, stopped=10),
    vcpu_hours=0.5,
    ram_gib_hours=1.5,
    disk_gib_hours=2.5,
    cost_micro=9,
    complete=True,
)
USAGE = aio.VmUsage(
    *("vm-1", "one", "u", "running", 2, 8 << 30, 100 << 30, 60, 30, 20, 10),
    *(0.5, 1.5, 2.5, 9, True),
)


MADE = Machine(session_with(FakeChannel()), vm.CreateVmResponse(vm_id="vm-1"), full=False)
"""What a machine of this id is equal to."""

NEWER = [
    Case(
        "SuggestVmName",
        lambda c, _: c.box.suggest_name(),
        vm_settings.SuggestVmNameRequest(),
        vm_settings.SuggestVmNameResponse(name="calm-wolf"),
        "calm-wolf",
    ),
    Case(
        "SetVmNetworks",
        lambda _, box: box.set_networks(["net-1"]),
        network.SetVmNetworksRequest(vm_id="vm-1", networks=["net-1"]),
        network.SetVmNetworksResponse(networks=["net-1", "net-0"]),
        ["net-1", "net-0"],
    ),
    Case(
        "SetVmEgressAllow",
        lambda _, box: box.set_egress_allow(()),
        network.SetVmEgressAllowRequest(vm="vm-1"),
        network.SetVmEgressAllowResponse(),
        [],
    ),
    Case(
        "CreateSnapshot",
        lambda c, box: c.snapshot.create(box, "base"),
        snapshot.CreateSnapshotRequest(vm="vm-1", name="base"),
        snapshot.CreateSnapshotResponse(snapshot_id="s-1", name="base", version=2, status="creating"),
        aio.Snapshot("s-1", "base", 2, "creating"),
    ),
    Case(
        "ListSnapshots",
        lambda c, _: c.snapshot.list("acme"),
        snapshot.ListSnapshotsRequest(org="acme"),
        snapshot.ListSnapshotsResponse(snapshots=[INFO]),
        [SNAPSHOT],
    ),
    Case(
        "GetSnapshot",
        lambda c, _: c.snapshot.get("base"),
        snapshot.GetSnapshotRequest(name="base"),
        snapshot.GetSnapshotResponse(snapshot=INFO),
        SNAPSHOT,
    ),
    Case(
        "DeleteSnapshot",
        lambda c, _: c.snapshot.delete(SNAPSHOT, org="acme"),
        snapshot.DeleteSnapshotRequest(name="base", org="acme"),
        snapshot.DeleteSnapshotResponse(),
    ),
    Case(
        "DeleteSnapshot",
        lambda c, _: c.snapshot.delete("base"),
        snapshot.DeleteSnapshotRequest(name="base"),
        snapshot.DeleteSnapshotResponse(),
    ),
    Case(
        "CreateVmFromSnapshot",
        lambda c, _: c.box.create("two", config=BoxConfig(vcpu=4), from_snapshot=SNAPSHOT, labels={"a": "b"}),
        snapshot.CreateVmFromSnapshotRequest(snapshot="base", name="two", config=VmConfig(vcpu=4), labels={"a": "b"}),
        vm.CreateVmResponse(vm_id="vm-1"),
        MADE,
    ),
    Case(
        "CreateVmFromSnapshot",
        lambda c, _: c.box.create(from_snapshot="base", org="acme"),
        snapshot.CreateVmFromSnapshotRequest(snapshot="base", org="acme"),
        vm.CreateVmResponse(vm_id="vm-1"),
        MADE,
    ),
    Case(
        "CreateCheckpoint",
        lambda _, box: box.checkpoints.create(),
        checkpoint.CreateCheckpointRequest(vm="vm-1"),
        checkpoint.CreateCheckpointResponse(checkpoint_id="c-1", name="auto", status="creating"),
        aio.Checkpoint("c-1", "auto", "creating"),
    ),
    Case(
        "ListCheckpoints",
        lambda _, box: box.checkpoints.list(),
        checkpoint.ListCheckpointsRequest(vm="vm-1"),
        checkpoint.ListCheckpointsResponse(
            checkpoints=[
                checkpoint.CheckpointInfo(
                    checkpoint_id="c-1",
                    name="before",
                    status="ready",
                    size_bytes=100,
                    created_at=1,
                    created_by="user",
                    available=True,
                )
            ]
        ),
        [CHECKPOINT],
    ),
    Case(
        "RestoreCheckpoint",
        lambda _, box: box.checkpoints.restore(CHECKPOINT),
        checkpoint.RestoreCheckpointRequest(vm="vm-1", name="before"),
        checkpoint.RestoreCheckpointResponse(),
    ),
    Case(
        "DeleteCheckpoint",
        lambda _, box: box.checkpoints.delete("before"),
        checkpoint.DeleteCheckpointRequest(vm="vm-1", name="before"),
        checkpoint.DeleteCheckpointResponse(),
    ),
    Case(
        "TriggerBackup",
        lambda _, box: box.backups.create(),
        backup.TriggerBackupRequest(vm="vm-1"),
        backup.TriggerBackupResponse(backup_id="b-1"),
        "b-1",
    ),
    Case(
        "ListBackups",
        lambda _, box: box.backups.list(),
        backup.ListBackupsRequest(vm="vm-1"),
        backup.ListBackupsResponse(
            backups=[backup.BackupInfo(backup_id="b-1", status="done", size_bytes=100, created_at=1, expires_at=2)]
        ),
        [BACKUP],
    ),
    Case(
        "RestoreBackup",
        lambda _, box: box.backups.restore(BACKUP),
        backup.RestoreBackupRequest(vm="vm-1", backup_id="b-1"),
        backup.RestoreBackupResponse(),
    ),
    Case(
        "DeleteBackup",
        lambda _, box: box.backups.delete("b-1"),
        backup.DeleteBackupRequest(vm="vm-1", backup_id="b-1"),
        backup.DeleteBackupResponse(),
    ),
    Case(
        "GetBackupSchedule",
        lambda _, box: box.backups.schedule(),
        backup.GetBackupScheduleRequest(vm="vm-1"),
        backup.GetBackupScheduleResponse(
            enabled=True, schedule_kind="cron", schedule_value="0 3 * * *", retention_secs=9, next_backup_at=1
        ),
        aio.BackupSchedule(True, "cron", "0 3 * * *", 9, 1, 0),
    ),
    Case(
        "SetBackupSchedule",
        lambda _, box: box.backups.set_schedule("cron", "0 3 * * *"),
        backup.SetBackupScheduleRequest(vm="vm-1", schedule_kind="cron", schedule_value="0 3 * * *"),
        backup.SetBackupScheduleResponse(),
    ),
    Case(
        "ClearBackupSchedule",
        lambda _, box: box.backups.clear_schedule(),
        backup.ClearBackupScheduleRequest(vm="vm-1"),
        backup.ClearBackupScheduleResponse(),
    ),
    Case(
        "GetVmUsage",
        lambda _, box: box.usage(1, 2),
        usage.GetVmUsageRequest(vm_id="vm-1", since=1, until=2),
        usage.GetVmUsageResponse(period_start=1, period_end=2, currency="eur", rates=RATES, usage=USED),
        aio.UsageReport(1, 2, "eur", aio.UsageRates(1, 2, 3), 9, [USAGE], True),
    ),
    Case(
        "GetOrgUsage",
        lambda c, _: c.billing.usage(org="acme"),
        usage.GetOrgUsageRequest(org="acme"),
        usage.GetOrgUsageResponse(
            period_start=1, period_end=2, currency="eur", rates=RATES, total_cost_micro=10, vms=[USED]
        ),
        aio.UsageReport(1, 2, "eur", aio.UsageRates(1, 2, 3), 10, [USAGE], False),
    ),
    Case(
        "ListBillingActivity",
        lambda c, _: c.billing.activity(1, 2, "page", 10, "acme"),
        billing.ListBillingActivityRequest(org="acme", since=1, until=2, page_token="page", page_size=10),
        billing.ListBillingActivityResponse(
            currency="eur",
            balance_micro=7,
            entries=[billing.BillingActivityEntry(entry_id="e", kind="usage", amount_micro=-3, created_at=4)],
            next_page_token="more",
        ),
        aio.BillingActivityPage([aio.BillingActivity("e", "usage", -3, 4)], 7, "eur", "more"),
    ),
    Case(
        "CreateOrg",
        lambda c, _: c.org.create("Acme"),
        org.CreateOrgRequest(name="Acme"),
        org.CreateOrgResponse(id="o", name="Acme"),
        aio.OrgSummary("o", "Acme", True),
    ),
    Case(
        "RenameOrg",
        lambda c, _: c.org.rename("o", "Acme 2"),
        org.RenameOrgRequest(org_id="o", name="Acme 2"),
        org.RenameOrgResponse(),
    ),
    Case(
        "GetOrgMembers",
        lambda c, _: c.org.members("o"),
        org_member.GetOrgMembersRequest(org_id="o"),
        org_member.GetOrgMembersResponse(
            members=[org_member.OrgMemberInfo(user_id="u", role="admin", display_name="U", github_username="gh")]
        ),
        [aio.OrgMember("u", "admin", "U", "gh")],
    ),
    Case(
        "GetOrgMembers",
        lambda c, _: c.org.invites("o"),
        org_member.GetOrgMembersRequest(org_id="o"),
        org_member.GetOrgMembersResponse(
            invites=[
                org_member.OrgInviteInfo(
                    token="t", email="a@example.org", accept_url="https://x", created_at=1, expires_at=2, role="member"
                )
            ]
        ),
        [aio.OrgInvite("a@example.org", "member", "t", "https://x", 1, 2)],
    ),
    Case(
        "InviteOrgMember",
        lambda c, _: c.org.invite("o", "a@example.org", "member"),
        org_member.InviteOrgMemberRequest(org_id="o", email="a@example.org", role="member"),
        org_member.InviteOrgMemberResponse(token="t", accept_url="https://x", created_at=1, expires_at=2),
        aio.OrgInvite("a@example.org", "member", "t", "https://x", 1, 2),
    ),
    Case(
        "RevokeOrgInvite",
        lambda c, _: c.org.revoke_invite(aio.OrgInvite("a@example.org", "member", "t", "https://x", 1, 2)),
        org_member.RevokeOrgInviteRequest(token="t"),
        org_member.RevokeOrgInviteResponse(),
    ),
    Case(
        "SetOrgMemberRole",
        lambda c, _: c.org.set_member_role("o", "u", "admin"),
        org_member.SetOrgMemberRoleRequest(org_id="o", user_id="u", role="admin"),
        org_member.SetOrgMemberRoleResponse(),
    ),
    Case(
        "RemoveOrgMember",
        lambda c, _: c.org.remove_member("o", "u"),
        org_member.RemoveOrgMemberRequest(org_id="o", user_id="u"),
        org_member.RemoveOrgMemberResponse(),
    ),
]
