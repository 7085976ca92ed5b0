/**
 * 27 PD's picture while it changes (that it is true at rest is of `quiescence.ts`): what a PD process believes of a
 * region never becomes older, however late or out of order reports come, and is never ahead of what is true.
 *
 *   forall region r: version(PD, r) and conf_ver(PD, r) never fall in one process of PD
 *   forall region r: epoch(PD, r) <= the greatest epoch that a peer of r has shown
 */
import type { SimCluster } from "../cluster.js";
import { Violation } from "../world.js";
import type { Epochs } from "./epoch.js";

interface Believed {
  readonly version: number;
  readonly confVer: number;
}

export class PdPicture {
  #incarnation = -1;
  readonly #believed = new Map<number, Believed>();

  look({ pd }: SimCluster, epochs: Epochs): void {
    if (pd.pd === undefined || !pd.node.isUp) return;
    if (pd.node.incarnation !== this.#incarnation) {
      this.#incarnation = pd.node.incarnation;
      this.#believed.clear();
    }
    for (const { meta } of pd.pd.cluster.regions.all()) {
      const { version, confVer } = meta.epoch;
      const before = this.#believed.get(meta.id);
      if (before !== undefined && (version < before.version || confVer < before.confVer)) {
        throw new Violation(
          "27 PD's picture",
          `PD took region ${meta.id} back from epoch ${before.version}/${before.confVer} to ${version}/${confVer}`,
        );
      }
      const real = epochs.greatest(meta.id);
      if (real !== undefined && (version > real.version || confVer > real.confVer)) {
        throw new Violation(
          "27 PD's picture",
          `PD has region ${meta.id} in epoch ${version}/${confVer}, and no peer is beyond ${real.version}/${real.confVer}`,
        );
      }
      if (before?.version !== version || before.confVer !== confVer)
        this.#believed.set(meta.id, { version, confVer });
    }
  }
}
