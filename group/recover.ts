/**
 * After a lost majority: what one survivor has becomes a group of one member, in a storage of its own; the survivor's
 * is only read. From the log: everything it has, committed or not, since nobody can say any more what was. From the
 * snapshot: that alone, when the log is damaged. The new group has another id, so that members of the old one that
 * come back do not mix with it.
 */
import { type Random, RaftwerkError } from "../base/index.js";
import {
  type ConfState,
  EMPTY_CONF_STATE,
  type Entry,
  isConfChangeEntry,
  makeEntry,
  makeHardState,
} from "../raft/index.js";
import { crc32 } from "./crc32.js";
import { GroupState, type Member } from "./members.js";
import { StreamCutter } from "./snapshot-stream.js";
import type { Done, GroupStorage, InitialState, SnapshotInfo, SnapshotWriter } from "./storage.js";
import { type Others, Survivor } from "./survivor.js";

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
  /**
   * Members of the old group that are given up: all that belonged to it as of `knownCommitted`, and those whom a later
   * change in the survivor's log adds. Not those whom the group had removed by then.
   */
  readonly membersGivenUp: readonly Member[];
  /** Configuration changes in the log that the new group passes over. */
  readonly changesPassedOver: readonly number[];
}

const PAGE_BYTES = 4 << 20;
const PAGE_ENTRIES = 10_000;
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
  const survivor = new Survivor(source, initial, identity, info);
  const others = survivor.others(options.random, options.from === "log");
  const plan = planRecovery(survivor, others, options);
  await copySnapshot(survivor, target, plan, others.nextId);
  if (plan.from === "log") await copyLog(survivor, target);
  const term = Math.max(initial.hardState.term, plan.from === "log" ? survivor.lastTerm : info.term);
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

function planRecovery(survivor: Survivor, others: Others, options: RecoveryOptions): Recovery {
  const { info, state, identity, knownCommitted, lastIndex: last } = survivor;
  const { from, random } = options;
  const dropped = from === "snapshot" && last > info.index ? { from: info.index + 1, to: last } : undefined;
  if ((others.mayVote || dropped !== undefined) && !options.acceptDataLoss) {
    const reasons = [
      ...(others.mayVote
        ? [
            `members ${others.members.map(({ id, address }) => `${id} (${address})`).join(", ")} may have newer data`,
          ]
        : []),
      ...(dropped === undefined
        ? []
        : [`entries ${dropped.from} to ${dropped.to} of the log would be dropped`]),
    ];
    throw refuse("dataLossNotAccepted", `${reasons.join("; ")}: repeat with --i-accept-data-loss to go on`);
  }
  const changesPassedOver: number[] = [];
  if (from === "log") {
    for (const entry of survivor.entries()) {
      if (isConfChangeEntry(entry)) changesPassedOver.push(entry.index);
    }
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
    membersGivenUp: others.members,
    changesPassedOver,
  };
}

async function copySnapshot(
  survivor: Survivor,
  target: GroupStorage,
  plan: Recovery,
  nextId: number,
): Promise<void> {
  const { info, state, reader } = survivor;
  const member: Member = { id: plan.id, address: plan.address, role: "voter", storageId: "" };
  const recovered = new GroupState([member], nextId, state.sessions);
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
  let page: Entry[] = [];
  let bytes = 0;
  const write = async (): Promise<void> => {
    const entries = page;
    page = [];
    bytes = 0;
    await promised((done) => target.write({ entries, hardState: undefined, mustSync: false }, done));
  };
  for (const entry of survivor.entries()) {
    page.push(isConfChangeEntry(entry) ? makeEntry(entry.term, entry.index) : entry);
    bytes += entry.data.length;
    if (bytes >= PAGE_BYTES || page.length >= PAGE_ENTRIES) await write();
  }
  if (page.length > 0) await write();
}
