import type { Cluster } from "./cluster.js";
export class StoreAdmin {
  constructor(cluster: Cluster) {
    void cluster;
  }
}
