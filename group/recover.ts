/**
 * After a lost majority: what one survivor has becomes a group of one member, in a storage of its own; the survivor's
 * is only read. From the log: everything it has, committed or not, since nobody can say any more what was. From the
 * snapshot: that alone, when the log is damaged. The new group has another id, so that members of the old one that
 * come back do not mix with it.
 */
import { assert, type Random, RaftwerkError } from "../base/index.js";
import {
  type ConfState,
  EMPTY_CONF_STATE,
  type Entry,
  isConfChangeEntry,
  makeEntry,
  makeHardState,
} from "../raft/index.js";
import { crc32 } from "./crc32.js";
import { describeEntry } from "./inspect.js";
import { GroupState, type Member } from "./members.js";
import { StreamCutter, StreamReader } from "./snapshot-stream.js";
import type { Done, GroupStorage, InitialState, SnapshotInfo, SnapshotWriter } from "./storage.js";

export interface RecoveryOptions {
  readonly from: "log" | "snapshot";
  /** Of the recovered member; that of the survivor by default. */
  readonly address?: string;
  readonly acceptDataLoss: boolean;
  readonly random: Random;
}

export interface Recovery {
  readonly from: "log" | "snapshot";
  readonly oldGroupId: string;
  readonly groupId: string;
  readonly id: number;
  readonly address: string;
  /** Last entry that the new group has. */
  readonly lastIndex: number;
  readonly snapshotIndex: number;
  /** The survivor knew entries up to here as committed. */
  readonly knownCommitted: number;
  /** Entries that were kept, and may never have been committed. */
  readonly uncertain: { readonly from: number; readonly to: number } | undefined;
  /** Entries that were given up. */
  readonly dropped: { readonly from: number; readonly to: number } | undefined;
  /** Members of the old group that may know more, and are given up. */
  readonly membersGivenUp: readonly Member[];
  /** Configuration changes in the log that the new group passes over. */
  readonly changesPassedOver: readonly number[];
}

const READ_BYTES = 4 << 20;
const PIECE_BYTES = 256 << 10;

const promised = (run: (done: Done) => void): Promise<void> =>
  new Promise((resolve, reject) => {
    run((error) => (error === undefined ? resolve() : reject(error)));
  });

const openStorage = (storage: GroupStorage): Promise<InitialState> =>
  new Promise((resolve, reject) => {
    storage.open((error, state) => {
      if (error !== undefined || state === undefined) reject(error ?? new Error("no state"));
      else resolve(state);
    });
  });

const refuse = (code: "dataLossNotAccepted" | "dataDirectoryMismatch", message: string): RaftwerkError =>
  new RaftwerkError(code, message, { retry: "never" });

interface Survivor {
  readonly storage: GroupStorage;
  readonly initial: InitialState;
  readonly info: SnapshotInfo;
  readonly state: GroupState;
  readonly reader: StreamReader;
}

function openSnapshot(storage: GroupStorage): { readonly reader: StreamReader; readonly state: GroupState } {
  let offset = 0;
  const reader = new StreamReader(() => {
    const piece = storage.readSnapshot(offset);
    offset += piece?.length ?? 0;
    return piece;
  });
  return { reader, state: GroupState.decode(reader.begin()) };
}

/** Members by the snapshot and every change in the log behind it, applied or not. */
function everybody(survivor: Survivor): Member[] {
  const members = new Map(survivor.state.members);
  eachEntry(survivor, (entry) => {
    for (const member of describeEntry(entry).members ?? []) members.set(member.id, member);
  });
  return [...members.values()];
}

function eachEntry({ storage, info }: Survivor, visit: (entry: Entry) => void): void {
  let next = Math.max(info.index + 1, storage.firstIndex());
  while (next <= storage.lastIndex()) {
    const entries = storage.entries(next, storage.lastIndex() + 1, READ_BYTES);
    for (const entry of entries) visit(entry);
    next += entries.length;
  }
}

/** Writes the recovered group into `target`, an empty storage. Opens both. */
export async function recoverGroup(
  source: GroupStorage,
  target: GroupStorage,
  options: RecoveryOptions,
): Promise<Recovery> {
  const initial = await openStorage(source);
  const info = source.snapshot();
  const { identity } = initial;
  if (identity === undefined || !identity.isFounded || info === undefined) {
    throw refuse("dataDirectoryMismatch", "there is no member of a group here, or one that never took part");
  }
  const blank = await openStorage(target);
  if (blank.identity !== undefined || blank.snapshot !== undefined) {
    throw refuse("dataDirectoryMismatch", "the target of the recovery is not empty");
  }
  const survivor: Survivor = { storage: source, initial, info, ...openSnapshot(source) };
  const plan = planRecovery(survivor, options);
  await copySnapshot(survivor, target, plan);
  if (plan.from === "log") await copyLog(survivor, target);
  const term = Math.max(initial.hardState.term, source.term(Math.max(source.lastIndex(), info.index)));
  const hardState = makeHardState(term, 0, plan.lastIndex);
  await promised((done) => target.write({ entries: [], hardState, mustSync: true }, done));
  const { groupId, id, address } = plan;
  const storageId = [0, 1, 2].map(() => options.random.u32().toString(16).padStart(8, "0")).join("");
  // Last: without an identity the target counts for nothing.
  await promised((done) =>
    target.saveIdentity({ storageId, groupId, nodeId: id, address, isFounded: true, pins: [] }, done),
  );
  return plan;
}

function planRecovery(survivor: Survivor, options: RecoveryOptions): Recovery {
  const { storage, initial, info, state } = survivor;
  const { from, random } = options;
  const identity = initial.identity as NonNullable<InitialState["identity"]>;
  const last = Math.max(storage.lastIndex(), info.index);
  const knownCommitted = Math.max(initial.hardState.commit, info.index);
  const others = everybody(survivor).filter(({ id }) => id !== identity.nodeId);
  const dropped = from === "snapshot" && last > info.index ? { from: info.index + 1, to: last } : undefined;
  const isOthersVoting = others.some(({ role }) => role === "voter");
  if ((isOthersVoting || dropped !== undefined) && !options.acceptDataLoss) {
    const reasons = [
      ...(isOthersVoting
        ? [`members ${others.map(({ id, address }) => `${id} (${address})`).join(", ")} may have newer data`]
        : []),
      ...(dropped === undefined
        ? []
        : [`entries ${dropped.from} to ${dropped.to} of the log would be dropped`]),
    ];
    throw refuse("dataLossNotAccepted", `${reasons.join("; ")}: repeat with --i-accept-data-loss to go on`);
  }
  const changesPassedOver: number[] = [];
  if (from === "log") {
    eachEntry(survivor, (entry) => {
      if (isConfChangeEntry(entry)) changesPassedOver.push(entry.index);
    });
  }
  const address = options.address ?? state.members.get(identity.nodeId)?.address ?? identity.address;
  const isUncertain = from === "log" && last > knownCommitted;
  return {
    from,
    oldGroupId: identity.groupId,
    groupId: [0, 1].map(() => random.u32().toString(16).padStart(8, "0")).join(""),
    id: identity.nodeId,
    address,
    lastIndex: from === "log" ? last : info.index,
    snapshotIndex: info.index,
    knownCommitted,
    uncertain: isUncertain ? { from: knownCommitted + 1, to: last } : undefined,
    dropped,
    membersGivenUp: others,
    changesPassedOver,
  };
}

async function copySnapshot(survivor: Survivor, target: GroupStorage, plan: Recovery): Promise<void> {
  const { info, state, reader } = survivor;
  const all = [...everybody(survivor).map(({ id }) => id + 1), state.nextId];
  const member: Member = { id: plan.id, address: plan.address, role: "voter", storageId: "" };
  const recovered = new GroupState([member], Math.max(...all), state.sessions);
  const cutter = new StreamCutter(PIECE_BYTES);
  const writer = target.beginSnapshot();
  const checksum = { value: 0 };
  cutter.begin(recovered.encode(), reader.isInitial);
  for (let chunk = reader.frame(); chunk !== undefined; chunk = reader.frame()) {
    cutter.frame(chunk);
    await drainInto(writer, cutter, checksum, false);
  }
  cutter.end();
  await drainInto(writer, cutter, checksum, true);
  const confState: ConfState = { ...EMPTY_CONF_STATE, voters: [plan.id] };
  const copied: SnapshotInfo = { ...info, confState, bytes: writer.offset, checksum: checksum.value };
  await promised((done) => target.publishSnapshot(writer, copied, done));
}

async function drainInto(
  writer: SnapshotWriter,
  cutter: StreamCutter,
  checksum: { value: number },
  isLast: boolean,
): Promise<void> {
  for (let piece = cutter.take(isLast); piece !== undefined; piece = cutter.take(isLast)) {
    const bytes = piece;
    checksum.value = crc32(bytes, checksum.value);
    await promised((done) => writer.write(writer.offset, bytes, done));
  }
}

/** Entries as they are; where the old group changed its members there is an empty one. */
async function copyLog(survivor: Survivor, target: GroupStorage): Promise<void> {
  const { storage, info } = survivor;
  let next = info.index + 1;
  assert(storage.firstIndex() <= next, "the log begins behind its snapshot");
  while (next <= storage.lastIndex()) {
    const entries = storage
      .entries(next, storage.lastIndex() + 1, READ_BYTES)
      .map((entry) => (isConfChangeEntry(entry) ? makeEntry(entry.term, entry.index) : entry));
    await promised((done) => target.write({ entries, hardState: undefined, mustSync: false }, done));
    next += entries.length;
  }
}
