/**
 * Blows where it hurts: not any fault at any time, but one that is aimed at who leads, or at the halves of a joint
 * configuration. Random faults alone rarely leave a leader deposed, and ignorant of it, for long enough to be asked.
 */
import { CUT_KINDS, type CutKind, type FuzzNetwork } from "./fuzz-network.js";
import type { FuzzNode } from "./fuzz-node.js";
import type { FuzzOptions } from "./fuzz-options.js";

export interface Battlefield {
  readonly options: FuzzOptions;
  readonly nodes: readonly FuzzNode[];
  readonly network: FuzzNetwork;
  readonly below: (bound: number) => number;
  readonly note: (event: string) => void;
}

export class Strikes {
  readonly #field: Battlefield;
  /** Who was cut off, and how many steps of it are left. */
  #deposed: FuzzNode | undefined = undefined;
  #steps = 0;

  constructor(field: Battlefield) {
    this.#field = field;
  }

  /** Who is to be asked, since it may not know that it leads no more. */
  get deposed(): FuzzNode | undefined {
    return this.#deposed;
  }

  pass(): void {
    const { below, network, nodes, note } = this.#field;
    const old = this.#deposed;
    if (old === undefined) return;
    // Once another leads, what is left to happen happens soon.
    const term = old.raw?.term ?? 0;
    if (this.#steps > 200 && nodes.some((node) => node.isLeader && (node.raw?.term ?? 0) > term)) {
      this.#steps = 60 + below(120);
    }
    if (--this.#steps > 0) return;
    note(`${old.id} is let in again`);
    this.end();
    if (below(4) > 0) network.join();
    // Whoever comes back has much to overwrite, and perhaps a slow disk.
    for (const node of nodes) if (below(3) === 0) node.diskStandsFor = 20 + below(120);
  }

  end(): void {
    if (this.#deposed !== undefined) this.#deposed.clockStands = false;
    this.#deposed = undefined;
  }

  #kind(): CutKind {
    return CUT_KINDS[this.#field.below(CUT_KINDS.length)] as CutKind;
  }

  #others(node: FuzzNode): number[] {
    return this.#field.nodes.filter(({ id }) => id !== node.id).map(({ id }) => id);
  }

  #begin(node: FuzzNode, clockStands: boolean): void {
    this.end();
    this.#deposed = node;
    this.#steps = 250 + this.#field.below(400);
    node.clockStands = clockStands;
  }

  /** A leader is cut off; its own clock may stand still, and the others lose patience at once. */
  depose(node: FuzzNode): boolean {
    const { nodes, network, options, below } = this.#field;
    if (!node.isLeader || !node.isUp || nodes.length < 3) return false;
    // Some may go with it: what it appends then reaches them, and is to be overwritten.
    const company = below(2) === 0 ? [] : this.#others(node).filter(() => below(4) === 0);
    const others = this.#others(node).filter((id) => !company.includes(id));
    network.cut([node.id, ...company], others, this.#kind(), false);
    this.#begin(node, below(3) > 0);
    this.#field.note(`${node.id} is cut off while it leads`);
    for (const other of nodes) {
      if (other === node || !other.isUp || below(4) === 0) continue;
      for (let ticks = options.config.electionTicks; ticks > 0; ticks--) other.tick();
    }
    return true;
  }

  /** A leader has told another to campaign: what follows does not reach it. */
  afterTimeoutNow(node: FuzzNode): void {
    const { network, below } = this.#field;
    if (!node.isUp || this.#field.nodes.length < 3 || below(2) === 0) return;
    network.cut(this.#others(node), [node.id], this.#kind(), true);
    this.#begin(node, true);
    this.#field.note(`${node.id} hears nothing of the election it asked for`);
  }

  /** Along the halves of a joint configuration where there is one, around the leader, or anywhere. */
  partition(): void {
    const { nodes, network, below } = this.#field;
    const ids = nodes.map(({ id }) => id);
    const leader = nodes.find((node) => node.isLeader);
    const { voters = [], votersOutgoing = [] } = leader?.confState ?? {};
    const side = below(1 << 16);
    let ones = ids.filter((id) => ((side >> id) & 1) === 0);
    if (leader !== undefined && votersOutgoing.length > 0 && below(3) > 0) {
      const half = below(2) === 0 ? voters : votersOutgoing;
      ones = ids.filter((id) => half.includes(id) || id === leader.id);
    } else if (leader !== undefined && below(3) === 0) {
      ones = [leader.id, ...ids.filter((id) => id !== leader.id && below(4) === 0)];
    }
    const others = ids.filter((id) => !ones.includes(id));
    network.cut(ones, others, this.#kind(), below(3) === 0);
    this.#field.note(`partition of ${network.cuts} ways`);
  }
}
