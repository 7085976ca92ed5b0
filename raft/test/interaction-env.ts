/**
 * A group of nodes on MemStorage with a hand-driven network: what interaction scripts act on. Nothing happens by
 * itself; every write, apply and delivery is a step of the script, and what passes is written to `output`.
 */
import { SeededRandom } from "../../base/random.js";
import { decodeConfChange } from "../confchange-codec.js";
import type { ConfigInit } from "../config.js";
import { describeEntries, describeMessage, describeReady, quote } from "../describe.js";
import { isResponseMessage, makeMessage } from "../message.js";
import { RawNode, type StepResult } from "../rawnode.js";
import type { MemStorage } from "../storage.js";
import type {
  Append,
  Apply,
  ConfState,
  Entry,
  HardState,
  Message,
  MessageType,
  NodeId,
  Ready,
  Snapshot,
} from "../types.js";
import { APPEND_THREAD, APPLY_THREAD } from "../types.js";
import { HistoryStorage } from "./interaction-storage.js";

/** A command cannot be done; its text is part of the script's output. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}

interface AppendWork {
  readonly append: Append;
  readonly message: Message;
}
interface ApplyWork {
  readonly apply: Apply;
  readonly message: Message;
}

export interface Node {
  readonly id: NodeId;
  readonly raw: RawNode;
  readonly storage: HistoryStorage;
  readonly isAsync: boolean;
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  readonly appendWork: AppendWork[];
  readonly applyWork: ApplyWork[];
  readonly init: ConfigInit;
  hardState: HardState;
}

const isThread = (id: NodeId): boolean => id === APPEND_THREAD || id === APPLY_THREAD;
const isLocal = (message: Message): boolean =>
  message.from === message.to || isThread(message.from) || isThread(message.to);

const STEP_ERRORS: Readonly<Partial<Record<StepResult["kind"], string>>> = {
  localMessage: "raft: cannot step raft local message",
  peerNotFound: "raft: cannot step as peer not found",
  dropped: "raft proposal dropped",
};
const STORAGE_ERRORS: Readonly<Record<string, string>> = {
  compacted: "requested index is unavailable due to compaction",
  unavailable: "requested entry at index is unavailable",
  snapshotOutOfDate: "requested index is older than the existing snapshot",
  snapshotTemporarilyUnavailable: "snapshot is temporarily unavailable",
};

const refuse = (error: string | undefined): void => {
  if (error !== undefined) throw new CommandError(STORAGE_ERRORS[error] ?? error);
};

export class InteractionEnv {
  readonly nodes: Node[] = [];
  messages: Message[] = [];
  output = "";
  isQuiet = false;

  write(text: string): void {
    if (!this.isQuiet) this.output += text;
  }

  /** Runs and indents every line that it wrote. */
  indented(run: () => void): void {
    const before = this.output;
    this.output = "";
    try {
      run();
    } finally {
      const lines = this.output.split("\n");
      if (lines.at(-1) === "") lines.pop();
      this.output = before + lines.map((line) => `  ${line}\n`).join("");
    }
  }

  node(id: NodeId): Node {
    const node = this.nodes[id - 1];
    if (node === undefined) throw new CommandError(`no node ${id}`);
    return node;
  }

  addNodes(count: number, snapshot: Snapshot | undefined, options: Partial<ConfigInit>): void {
    for (let i = 0; i < count; i++) {
      const id = this.nodes.length + 1;
      const storage = new HistoryStorage();
      if (snapshot !== undefined) {
        if (snapshot.metadata.index <= 1) {
          throw new CommandError("index must be specified as > 1 due to bootstrap");
        }
        refuse(storage.applySnapshot(snapshot));
        storage.history.push(snapshot);
      }
      const init: ConfigInit = {
        electionTicks: 3,
        heartbeatTicks: 1,
        maxSizePerMessageBytes: Number.POSITIVE_INFINITY,
        maxInflightMessages: 0x7fff_ffff,
        ...options,
        ...(snapshot === undefined ? {} : { applied: snapshot.metadata.index }),
        id,
        storage,
        random: new SeededRandom(id, 0),
      };
      this.nodes.push(this.#makeNode(init, storage));
    }
  }

  #makeNode(init: ConfigInit, storage: HistoryStorage): Node {
    return {
      id: init.id,
      raw: new RawNode(init),
      storage,
      isAsync: init.asyncStorageWrites === true,
      electionTicks: init.electionTicks ?? 3,
      heartbeatTicks: init.heartbeatTicks ?? 1,
      appendWork: [],
      applyWork: [],
      init,
      hardState: storage.initialState().hardState,
    };
  }

  /** A crash: what was not written is gone, and so are the messages of the storage threads. */
  restart(id: NodeId): void {
    const { init, storage } = this.node(id);
    this.messages = this.messages.filter((message) => message.to !== id || !isLocal(message));
    const applied = storage.state.metadata.index;
    this.nodes[id - 1] = this.#makeNode({ ...init, applied }, storage);
  }

  processReady(node: Node): void {
    const ready = node.raw.ready();
    const { append } = ready;
    const messages = this.#outgoing(node, ready);
    const hardState = append?.hardState;
    const previous = node.hardState;
    if (hardState !== undefined) node.hardState = hardState;
    this.write(
      describeReady({
        mustSync:
          (append?.entries.length ?? 0) > 0 ||
          node.hardState.term !== previous.term ||
          node.hardState.vote !== previous.vote,
        softState: ready.softState,
        hardState,
        readStates: ready.readStates,
        entries: append?.entries ?? [],
        snapshot: append?.snapshot,
        committedEntries: ready.apply?.entries ?? [],
        messages,
      }),
    );
    if (!node.isAsync) {
      if (append !== undefined) this.#persist(node, append);
      this.#apply(node, ready.apply?.entries ?? []);
    }
    this.messages.push(...messages.filter((message) => !isThread(message.to)));
    if (!node.isAsync) node.raw.advance(ready);
  }

  /** Messages as they are printed: with the storage messages in asynchronous mode, which also become work. */
  #outgoing(node: Node, ready: Ready): Message[] {
    const { append, apply } = ready;
    if (!node.isAsync) {
      const waiting = append?.responses.filter((message) => message.to !== node.id) ?? [];
      return [...ready.messages, ...waiting];
    }
    const messages = [...ready.messages];
    if (append !== undefined) {
      const { term, vote, commit } = append.hardState ?? { term: 0, vote: 0, commit: 0 };
      const message = makeMessage({
        type: "MsgStorageAppend",
        from: node.id,
        to: APPEND_THREAD,
        term,
        vote,
        commit,
        entries: append.entries,
        ...(append.snapshot === undefined ? {} : { snapshot: append.snapshot }),
        responses: append.responses,
      });
      node.appendWork.push({ append, message });
      messages.push(message);
    }
    if (apply !== undefined) {
      const done = {
        type: "MsgStorageApplyResp",
        from: APPLY_THREAD,
        to: node.id,
        entries: apply.entries,
      } as const;
      const message = makeMessage({
        type: "MsgStorageApply",
        from: node.id,
        to: APPLY_THREAD,
        entries: apply.entries,
        responses: [makeMessage(done)],
      });
      node.applyWork.push({ apply, message });
      messages.push(message);
    }
    return messages;
  }

  processAppendThread(node: Node): void {
    const work = node.appendWork.shift();
    if (work === undefined) return this.write("no append work to perform");
    this.#announce(work.message);
    this.#persist(node, work.append);
    this.#respond(node.raw.detachAppend(work.append));
  }

  processApplyThread(node: Node): void {
    const work = node.applyWork.shift();
    if (work === undefined) return this.write("no apply work to perform");
    this.#announce(work.message);
    this.#apply(node, work.apply.entries);
    this.#respond([node.raw.detachApply(work.apply)]);
  }

  #announce(message: Message): void {
    this.write(`Processing:\n${describeMessage({ ...message, responses: [] })}\n`);
  }

  #respond(responses: readonly Message[]): void {
    this.write("Responses:\n");
    for (const response of responses) this.write(`${describeMessage(response)}\n`);
    this.messages.push(...responses);
  }

  #persist(node: Node, append: Append): void {
    if (append.hardState !== undefined) node.storage.setHardState(append.hardState);
    if (append.snapshot === undefined) return node.storage.append(append.entries);
    if (append.entries.length > 0)
      throw new CommandError("can't apply snapshot and entries at the same time");
    refuse(node.storage.applySnapshot(append.snapshot));
  }

  /** The application appends the data of every entry to what it has; the context of configuration changes too. */
  #apply(node: Node, entries: readonly Entry[]): void {
    const { storage } = node;
    for (const entry of entries) {
      let update = entry.data;
      let confState: ConfState | undefined;
      const change = entry.type === "EntryNormal" ? undefined : decodeConfChange(entry.data);
      if (change !== undefined) {
        update = change.context;
        const result = node.raw.applyConfChange(change);
        if (result.kind === "invalid") throw new CommandError(result.reason);
        confState = result.confState;
      }
      const after = (before: Snapshot): Snapshot => ({
        metadata: {
          index: entry.index,
          term: entry.term,
          confState: confState ?? before.metadata.confState,
        },
        data: new Uint8Array([...before.data, ...update]),
      });
      storage.state = after(storage.state);
      storage.history.push(after(storage.newest()));
    }
  }

  /** How many messages were delivered or dropped. */
  deliver(to: NodeId, drop: boolean, type: MessageType | undefined): number {
    const mine = this.#addressedTo(to, drop, type);
    this.messages = this.messages.filter((message) => !mine.includes(message));
    for (const message of mine) {
      this.write(`${drop ? "dropped: " : ""}${describeMessage(message)}\n`);
      if (drop) continue;
      const error = STEP_ERRORS[this.#step(this.node(message.to).raw, message).kind];
      if (error !== undefined) this.write(`${error}\n`);
    }
    return mine.length;
  }

  /** By order of the script also a node that has seen no term sends a snapshot, in a term that no peer may have. */
  #step(raw: RawNode, message: Message): StepResult {
    if (isLocal(message)) return raw.stepDetached(message);
    if (message.term !== 0) return raw.step(message);
    const { voters, votersOutgoing, learners } = raw.config;
    const isMember = [voters, votersOutgoing, learners].some((ids) => ids.includes(message.from));
    if (isResponseMessage(message.type) && !isMember) return { kind: "peerNotFound" };
    return raw.stepDetached(message);
  }

  #addressedTo(to: NodeId, drop: boolean, type: MessageType | undefined): Message[] {
    return this.messages.filter(
      (message) =>
        message.to === to && !(drop && isLocal(message)) && (type === undefined || message.type === type),
    );
  }

  stabilize(nodes: readonly Node[]): void {
    for (let done = false; !done; ) {
      done = true;
      const act = (header: string, run: () => void): void => {
        if (header !== "") this.write(header);
        this.indented(run);
        done = false;
      };
      for (const node of nodes) {
        if (node.raw.hasReady()) act(`> ${node.id} handling Ready\n`, () => this.processReady(node));
      }
      for (const node of nodes) {
        if (this.#addressedTo(node.id, false, undefined).length === 0) continue;
        act(`> ${node.id} receiving messages\n`, () => this.deliver(node.id, false, undefined));
      }
      for (const node of nodes) {
        for (let first = true; node.appendWork.length > 0; first = false) {
          act(first ? `> ${node.id} processing append thread\n` : "", () => this.processAppendThread(node));
        }
      }
      for (const node of nodes) {
        for (let first = true; node.applyWork.length > 0; first = false) {
          act(first ? `> ${node.id} processing apply thread\n` : "", () => this.processApplyThread(node));
        }
      }
    }
  }

  sendSnapshot(from: NodeId, to: NodeId): void {
    const sender = this.node(from);
    const { term } = sender.raw.basicStatus();
    const message = makeMessage({ type: "MsgSnap", term, from, to, snapshot: sender.storage.newest() });
    this.messages.push(message);
    this.write(describeMessage(message));
  }

  writeLog(node: Node): void {
    const first = node.storage.firstIndex();
    const last = node.storage.lastIndex();
    if (last < first) this.write(`log is empty: first index=${first}, last index=${last}`);
    else this.write(describeEntries(node.storage.tail(first)));
  }

  /** What the application has: where it is, and the data of all entries up to there. */
  writeApplied(node: Node): void {
    const { metadata, data } = node.storage.state;
    this.write(`index=${metadata.index} term=${metadata.term} data=${quote(data)}`);
  }

  compact(node: Node, index: number): void {
    refuse(node.storage.compact(index as Parameters<MemStorage["compact"]>[0]));
    this.writeLog(node);
  }
}
