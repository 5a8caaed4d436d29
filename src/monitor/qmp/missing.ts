/** Commands of QEMU 7.2 that are not here, and why: for the reference, and for the test that compares the lists. */
export const MISSING_COMMANDS: readonly {
  readonly why: string;
  readonly names: readonly string[];
}[] = [
  {
    why: 'Migration and snapshots are not available yet.',
    names: [
      ...[
        'announce-self',
        'migrate',
        'migrate-continue',
        'migrate-incoming',
        'migrate-pause',
        'migrate-recover',
      ],
      ...['migrate-set-capabilities', 'migrate-set-parameters', 'migrate-start-postcopy', 'migrate_cancel'],
      ...['client_migrate_info', 'query-migrate-capabilities', 'query-migrate-parameters', 'yank'],
      ...['snapshot-delete', 'snapshot-load', 'snapshot-save', 'calc-dirty-rate', 'query-dirty-rate'],
      ...['cancel-vcpu-dirty-limit', 'query-vcpu-dirty-limit', 'set-vcpu-dirty-limit', 'query-colo-status'],
      'x-colo-lost-heartbeat',
    ],
  },
  {
    why: 'Disks have no backing files, bitmaps, jobs or exports yet.',
    names: [
      ...['block-commit', 'block-stream', 'blockdev-backup', 'blockdev-create', 'blockdev-mirror'],
      ...['blockdev-snapshot', 'blockdev-snapshot-delete-internal-sync', 'blockdev-snapshot-internal-sync'],
      ...['blockdev-snapshot-sync', 'change-backing-file', 'drive-backup', 'drive-mirror', 'transaction'],
      ...['block-dirty-bitmap-add', 'block-dirty-bitmap-clear', 'block-dirty-bitmap-disable'],
      ...['block-dirty-bitmap-enable', 'block-dirty-bitmap-merge', 'block-dirty-bitmap-remove'],
      ...[
        'block-job-cancel',
        'block-job-complete',
        'block-job-dismiss',
        'block-job-finalize',
        'block-job-pause',
      ],
      ...[
        'block-job-resume',
        'block-job-set-speed',
        'job-cancel',
        'job-complete',
        'job-dismiss',
        'job-finalize',
      ],
      ...['job-pause', 'job-resume', 'block-export-add', 'block-export-del', 'nbd-server-add'],
      ...['nbd-server-remove', 'nbd-server-start', 'nbd-server-stop', 'block-latency-histogram-set'],
      ...['block-set-write-threshold', 'x-blockdev-amend', 'x-blockdev-change', 'x-blockdev-set-iothread'],
      ...['x-debug-block-dirty-bitmap-sha256', 'x-debug-query-block-graph'],
    ],
  },
  {
    why: 'There is no display yet.',
    names: [
      ...['add_client', 'change-vnc-password', 'display-reload', 'display-update', 'expire_password'],
      'set_password',
    ],
  },
  {
    why: 'The machine has not what they are about: record and replay, NUMA, SEV, SGX, Rocker, Xen, device trees.',
    names: [
      ...['dumpdtb', 'query-rocker', 'query-rocker-of-dpa-flows', 'query-rocker-of-dpa-groups'],
      ...['query-rocker-ports', 'query-sev', 'query-sev-attestation-report', 'query-sev-capabilities'],
      ...['query-sev-launch-measure', 'sev-inject-launch-secret', 'query-sgx', 'query-sgx-capabilities'],
      ...['query-vm-generation-id', 'query-xen-replication-status', 'xen-colo-do-checkpoint'],
      ...['xen-load-devices-state', 'xen-save-devices-state', 'xen-set-global-dirty-log'],
      ...['xen-set-replication', 'replay-break', 'replay-delete-break', 'replay-seek', 'set-numa-node'],
      ...['x-exit-preconfig', 'x-query-opcount', 'x-query-profile', 'x-query-rdma', 'x-query-usb'],
    ],
  },
];
