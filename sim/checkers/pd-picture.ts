/**
 * 27 PD's picture while it changes (that it is true at rest is of `quiescence.ts`): what a PD process believes of a
 * region never becomes older, however late or out of order reports come.
 *
 *   forall region r: version(PD, r) and conf_ver(PD, r) never fall in one process of PD
 */
import type { SimCluster } from "../cluster.js";
import { Violation } from "../world.js";

interface Believed {
  readonly version: number;
  readonly confVer: number;
}

export class PdPicture {
  #incarnation = -1;
  readonly #believed = new Map<number, Believed>();

  look({ pd }: SimCluster): void {
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
      if (before?.version !== version || before.confVer !== confVer)
        this.#believed.set(meta.id, { version, confVer });
    }
  }
}
