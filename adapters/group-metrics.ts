/** A group member's figures for Prometheus, read when asked. */
import { Counter, Gauge, Registry } from "prom-client";
import type { GroupCounters, GroupStatus } from "../group/index.js";

const TOTALS: readonly (readonly [name: string, help: string, counter: keyof GroupCounters])[] = [
  ["proposals_total", "Commands that this member put into the log as leader", "proposals"],
  ["entries_proposed_total", "Log entries that carried them", "entriesProposed"],
  ["commands_applied_total", "Commands applied", "commandsApplied"],
  ["read_rounds_total", "Rounds of read index", "readRounds"],
  ["reads_leased_total", "Reads answered under the lease", "readsLeased"],
  ["turns_total", "Turns of the member", "turns"],
  ["synced_writes_total", "Writes with fsync", "syncedWrites"],
  ["unsynced_writes_total", "Writes without fsync", "unsyncedWrites"],
  ["packets_sent_total", "Packets sent", "packetsSent"],
  ["packets_received_total", "Packets received", "packetsReceived"],
  ["packets_refused_total", "Packets of strangers, or damaged", "packetsRefused"],
  ["sent_bytes_total", "Bytes sent to members", "bytesSent"],
  ["received_bytes_total", "Bytes received from members", "bytesReceived"],
  ["elections_won_total", "Elections won", "elections"],
  ["snapshots_created_total", "Snapshots made", "snapshotsCreated"],
  ["snapshots_installed_total", "Snapshots taken from a leader", "snapshotsInstalled"],
  ["snapshot_sent_bytes_total", "Bytes of snapshots sent", "snapshotBytesSent"],
  ["snapshot_received_bytes_total", "Bytes of snapshots received", "snapshotBytesReceived"],
];

const GAUGES: readonly (readonly [name: string, help: string, read: (status: GroupStatus) => number])[] = [
  ["leader", "1 when this member leads", (status) => Number(status.leader === status.id && status.id !== 0)],
  ["has_leader", "1 when this member knows a leader", (status) => Number(status.leader !== 0)],
  ["term", "Term", (status) => status.term],
  ["commit_index", "Index of the last committed entry known", (status) => status.commitIndex],
  ["applied_index", "Index of the last applied entry", (status) => status.appliedIndex],
  ["first_index", "Index of the first entry in the log", (status) => status.firstIndex],
  ["last_index", "Index of the last entry in the log", (status) => status.lastIndex],
  ["log_bytes", "Bytes of data in the log", (status) => status.logBytes],
  ["snapshot_index", "Index of the live snapshot", (status) => status.snapshot?.index ?? 0],
  ["snapshot_bytes", "Bytes of the live snapshot", (status) => status.snapshot?.bytes ?? 0],
  ["members", "Members of the group", (status) => status.members.length],
  ["sessions", "Open sessions", (status) => status.sessions],
  ["proposals_waiting", "Proposals without an outcome yet", (status) => status.counters.proposalsWaiting],
  ["reads_waiting", "Reads without an answer yet", (status) => status.counters.readsWaiting],
];

/** `raftwerk_group_*`, labelled with group and member; into a registry of one's own or a new one. */
export function groupRegistry(read: () => GroupStatus, registry: Registry = new Registry()): Registry {
  const labelNames = ["group", "member"];
  const labels = (status: GroupStatus): Record<string, string> => ({
    group: status.groupId,
    member: String(status.id),
  });
  for (const [name, help, counter] of TOTALS) {
    const metric = new Counter({
      name: `raftwerk_group_${name}`,
      help,
      labelNames,
      registers: [registry],
      collect() {
        const status = read();
        this.reset();
        this.inc(labels(status), status.counters[counter]);
      },
    });
    void metric;
  }
  for (const [name, help, value] of GAUGES) {
    const metric = new Gauge({
      name: `raftwerk_group_${name}`,
      help,
      labelNames,
      registers: [registry],
      collect() {
        const status = read();
        this.set(labels(status), value(status));
      },
    });
    void metric;
  }
  return registry;
}
