/** What the peers of a store do, under TiKV's names: proposals, messages, snapshots, and how long their steps take. */
import type { Registry } from "prom-client";
import { eraftpb } from "../proto/index.js";
import type { FigureListener, Store, TimedStep } from "../store/index.js";
import { exponential, LightHistogram, onScrape, type Set } from "./histogram.js";

/** `label`: the one value of the label `type`. */
interface StepMetric {
  readonly name: string;
  readonly help: string;
  readonly label?: string;
  readonly buckets?: number;
}

const STEPS: Readonly<Record<TimedStep, StepMetric>> = {
  commit: {
    name: "tikv_raftstore_commit_log_duration_seconds",
    help: "From a proposal to its commit, once for each Ready with commits",
    buckets: 32,
  },
  write: {
    name: "tikv_storage_engine_async_request_duration_seconds",
    help: "From a write's arrival at its region to its answer",
    label: "write",
    buckets: 32,
  },
  wait: {
    name: "tikv_raftstore_request_wait_time_duration_secs",
    help: "From a write's arrival at its region to its proposal",
  },
  turn: { name: "tikv_raftstore_store_duration_secs", help: "Turns of the store" },
  tick: {
    name: "tikv_raftstore_raft_process_duration_secs",
    help: "Ticks of all regions that are awake",
    label: "tick",
  },
  snapshotSent: {
    name: "tikv_server_send_snapshot_duration_seconds",
    help: "Snapshots read and sent to another store",
  },
  snapshotLoaded: {
    name: "tikv_raftstore_snapshot_duration_seconds",
    help: "Snapshots loaded",
    label: "apply",
  },
};

/** 2, 4 ... 1024, then the two that alerts look at. */
const LAG_BUCKETS = [...exponential(2, 2, 10), 5_120, 10_240];

export function watchPeers(store: Store, registry: Registry): void {
  store.figures.listener = listener(registry);
  const counter = (name: string, help: string, read: (set: Set) => void): void =>
    onScrape(registry, "counter", name, help, read);
  aboutProposals(store, counter);
  aboutMessages(store, counter);
  counter("tikv_raftstore_check_split_total", "Looks at the size of a region", (set) => {
    const { checks, checksInVain, splitsProposed } = store.splits;
    set({ type: "all" }, checks);
    set({ type: "ignore" }, checksInVain);
    set({ type: "success" }, splitsProposed);
  });
}

function listener(registry: Registry): FigureListener {
  const steps = {} as Record<TimedStep, LightHistogram>;
  for (const [step, { name, help, label, buckets = 26 }] of Object.entries(STEPS)) {
    const labels = label === undefined ? {} : { fixed: { type: label } };
    const bounds = exponential(1e-5, 2, buckets);
    steps[step as TimedStep] = new LightHistogram({ name, help, ...labels, buckets: bounds, registry });
  }
  const plain = (name: string, help: string, buckets: readonly number[]): LightHistogram =>
    new LightHistogram({ name, help, buckets, registry });
  const lag = plain(
    "tikv_raftstore_log_lag",
    "Entries by which a region's slowest peer is behind",
    LAG_BUCKETS,
  );
  const sizes = plain("tikv_snapshot_size", "Bytes of the snapshots loaded", exponential(1024, 2, 23));
  const ofRegion = (what: string, buckets: readonly number[]): LightHistogram =>
    plain(`tikv_region_${what}`, "Of one region between two reports to PD", buckets);
  const flow = {
    bytesWritten: ofRegion("written_bytes", exponential(256, 2, 20)),
    keysWritten: ofRegion("written_keys", exponential(1, 2, 20)),
    bytesRead: ofRegion("read_bytes", exponential(256, 2, 20)),
    keysRead: ofRegion("read_keys", exponential(1, 2, 20)),
  };
  return {
    time: (step, ms, times) => steps[step].observe(ms / 1000, "", times),
    logLag: (entries) => lag.observe(entries),
    snapshotBytes: (bytes) => sizes.observe(bytes),
    regionFlow({ bytesWritten, keysWritten, bytesRead, keysRead }) {
      flow.bytesWritten.observe(bytesWritten);
      flow.keysWritten.observe(keysWritten);
      flow.bytesRead.observe(bytesRead);
      flow.keysRead.observe(keysRead);
    },
  };
}

type Counter = (name: string, help: string, read: (set: Set) => void) => void;

const ADMIN_NAMES = { changePeer: "conf_change", split: "batch-split", compactLog: "compact" } as const;

function aboutProposals({ figures, reads }: Store, counter: Counter): void {
  counter("tikv_raftstore_proposal_total", "Proposals and reads, by kind", (set) => {
    const { changePeer, split, compactLog } = figures.adminProposed;
    const counts = {
      normal: figures.writeEntries + split + compactLog,
      conf_change: changePeer,
      transfer_leader: figures.transfers,
      local_read: reads.localReads,
      read_index: figures.readIndexes,
    };
    for (const [type, count] of Object.entries(counts)) set({ type }, count);
    set(
      { type: "all" },
      Object.values(counts).reduce((sum, count) => sum + count, 0),
    );
  });
  counter("tikv_raftstore_admin_cmd_total", "Administrative commands, proposed and applied", (set) => {
    for (const kind of ["changePeer", "split", "compactLog"] as const) {
      set({ type: ADMIN_NAMES[kind], status: "all" }, figures.adminProposed[kind]);
      set({ type: ADMIN_NAMES[kind], status: "success" }, figures.adminApplied[kind]);
    }
  });
  counter("tikv_raftstore_raft_ready_handled_total", "Ready states of Raft, by what they had", (set) => {
    for (const [type, count] of Object.entries(figures.readies)) set({ type }, count);
  });
}

/** `MsgAppendResponse` -> `append_resp`, as TiKV labels them. */
const messageLabel = (type: number): string => {
  const name = eraftpb.MessageType[type];
  if (name === undefined) return "extra";
  return name
    .replace(/^Msg/, "")
    .replace(/Response$/, "Resp")
    .replace(/([a-z])([A-Z])/g, "$1_$2")
    .toLowerCase();
};

function aboutMessages(store: Store, counter: Counter): void {
  const { transport } = store;
  counter("tikv_raftstore_raft_sent_message_total", "Messages for other stores, by kind", (set) => {
    for (const [type, count] of transport.sentByType) {
      set({ type: messageLabel(type), status: "accept" }, count);
    }
    set({ type: "all", status: "drop" }, transport.droppedMessages);
  });
  counter("tikv_raftstore_raft_dropped_message_total", "Messages of stores not taken, by reason", (set) => {
    for (const [type, count] of Object.entries(store.messagesDropped)) set({ type }, count);
  });
  counter("tikv_server_raft_message_recv_total", "Messages of other stores", (set) =>
    set({}, store.messagesReceived),
  );
  counter("tikv_server_raft_message_flush_total", "Batches of messages sent off", (set) =>
    set({ reason: "wake" }, transport.flushes),
  );
  counter("tikv_server_report_failure_msg_total", "Stores that could not be reached", (set) => {
    for (const [id, count] of transport.unreachable)
      set({ type: "unreachable", store_id: String(id) }, count);
  });
}
